"""Drives the gateway with OpenAI's own client: only the base URL and the key are ours.

Arguments: base URL, key, model, alias. Prints `ok STEP` for each step; any surprise is an exception.
"""

import base64
import sys

import openai

base_url, key, model, alias = sys.argv[1:5]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)


def ask(text, **more):
    return client.chat.completions.create(
        model=more.pop("model", model), messages=[{"role": "user", "content": text}], **more
    )


# A plain answer, by either name of the model.
for name in (model, alias):
    answer = ask("Say something.", model=name)
    assert answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason in ("stop", "length"), answer
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0, answer
print("ok chat")

# A stream, with and without usage.
for options in ({}, {"stream_options": {"include_usage": True}}):
    text, finish, usage = "", None, None
    for chunk in ask("Tell a story.", stream=True, **options):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        usage = chunk.usage or usage
    assert text and finish, (text, finish)
    assert (usage is not None) == bool(options), usage
print("ok stream")

# Two parallel tool calls, whole and streamed.
tools = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Looks up the {name} of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
    for name in ("weather", "time")
]
answer = ask("Use the tools for Berlin.", tools=tools, tool_choice="required")
calls = answer.choices[0].message.tool_calls
assert calls and answer.choices[0].finish_reason == "tool_calls", answer
assert all(call.function.name in ("weather", "time") for call in calls), calls
streamed = {}
for chunk in ask("Use the tools for Berlin.", tools=tools, tool_choice="required", stream=True):
    for choice in chunk.choices:
        for part in choice.delta.tool_calls or []:
            name, arguments = streamed.get(part.index, ("", ""))
            streamed[part.index] = (
                name + (part.function.name or ""),
                arguments + (part.function.arguments or ""),
            )
assert [call.function.name for call in calls] == [name for name, _ in streamed.values()], streamed
assert [call.function.arguments for call in calls] == [text for _, text in streamed.values()], streamed
# The results go back, and the conversation goes on.
answer = client.chat.completions.create(
    model=model,
    messages=[
        {"role": "user", "content": "Use the tools for Berlin."},
        {"role": "assistant", "tool_calls": [call.model_dump() for call in calls]},
        *({"role": "tool", "tool_call_id": call.id, "content": "21"} for call in calls),
    ],
    tools=tools,
)
assert answer.choices[0].message.content or answer.choices[0].message.tool_calls, answer
print("ok tools")

# An image part; the picture is one transparent pixel.
pixel = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c626001000000ffff030000060005"
        "57bfabd40000000049454e44ae426082"
    )
).decode()
answer = client.chat.completions.create(
    model=model,
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}},
            ],
        }
    ],
)
assert answer.choices[0].message.content, answer
print("ok image")

# Refusals are the client's own exceptions, with a text and a code.
for expected, call in (
    (openai.NotFoundError, lambda: ask("x", model="no-such-model")),
    (openai.BadRequestError, lambda: client.chat.completions.create(model=model, messages=[])),
    (openai.AuthenticationError, lambda: openai.OpenAI(base_url=base_url, api_key="bad", max_retries=0).models.list()),
):
    try:
        call()
    except expected as error:
        assert error.code and error.type and error.message, (error.code, error.type, error.message)
    else:
        raise AssertionError(f"{expected.__name__} did not come")
print("ok errors")

assert {entry.id for entry in client.models.list()} == {model, alias}
print("ok models")
