"""What every conversation of the matrix has in common: a picture, two tools, a schema, and the words by which the simulated
providers know what to answer.

Each conversation goes through six turns over one growing history: two tools called in parallel about an image, their
results, an answer by a schema, a reasoning turn, a refusal, and a stream of about 200 events.
"""

import base64
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from start import NAMES, PARAMETERS, picture  # noqa: E402, F401

SYSTEM = "Be brief."
TOOLS_ASK = "Use both tools for the city in the picture."
SHAPE_ASK = "Name a city as JSON."
THINK_ASK = "Think hard: which city is it?"
REFUSE_ASK = "Please refuse this."
STREAM_ASK = "Tell [200 pieces] of a story."

CITY = {"city": "Berlin"}
THOUGHT = "Berlin is big."
ANSWER = "It is Berlin."
REFUSAL = "I will not help with that."
LONG = 200

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
# OpenAI's own API keeps thoughts to itself, and those of open models have no signature.
SHOWS_THOUGHTS = ("vllm", "bedrock", "bedrock_openai", "anthropic", "invoked")
SIGNS = ("bedrock", "anthropic", "invoked")
# How a refusal ends an answer in OpenAI's words: vLLM knows none, its models just say so.
REFUSED = {
    "vllm": "stop",
    "openai": "stop",
    "bedrock_openai": "stop",
    "bedrock": "content_filter",
    "anthropic": "content_filter",
    "invoked": "content_filter",
}


def long(tokens, events):
    """What a long stream must be; the simulators end on whole characters."""
    assert LONG * 0.9 <= tokens <= LONG and events > LONG * 0.6, (tokens, events)


PICTURE = picture()
PICTURE64 = base64.b64encode(PICTURE).decode()


def run(converse, pairs, name):
    """Runs one conversation for each KIND=MODEL; all failures are told, not only the first."""
    failed = False
    for pair in pairs:
        kind, _, model = pair.partition("=")
        begun = time.monotonic()
        try:
            converse(kind, model)
        except Exception as error:
            import traceback

            failed = True
            where = [frame for frame in traceback.extract_tb(error.__traceback__) if "matrix" in frame.filename]
            line = f"{where[-1].name}:{where[-1].lineno} {where[-1].line}" if where else ""
            print("FAILED", name, kind, f"{type(error).__name__}: {error}"[:900], "at", line, flush=True)
        else:
            print("ok", name, kind, flush=True)
        print(f"{name} {kind}: {time.monotonic() - begun:.1f} s", flush=True)
    sys.exit(failed)
