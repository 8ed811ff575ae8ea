"""OpenAI's own client against a budget that is spent for a long time: it must not try again.

Arguments: base URL, key, model. Prints `ok one request`; any surprise is an exception.
"""

import sys

try:
    import httpx2 as httpx
except ImportError:
    import httpx
import openai

base_url, key, model = sys.argv[1:]
sent = []
http = httpx.Client(event_hooks={"request": [sent.append]})
# The client's own number of retries.
client = openai.OpenAI(base_url=base_url, api_key=key, http_client=http)
assert client.max_retries == 2, client.max_retries

for stream in (False, True):
    sent.clear()
    try:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}], stream=stream)
    except openai.RateLimitError as error:
        assert error.type == "insufficient_quota", error.body
        assert error.code == "budget_exhausted", error.body
        assert "resets in" in error.message, error.message
    else:
        raise AssertionError("it was answered")
    assert len(sent) == 1, [str(request.url) for request in sent]
print("ok one request")
