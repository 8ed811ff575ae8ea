"""Judges Anthropic traffic with Anthropic's own Python SDK: its request types, its answer types, its stream reader.

Reads one JSON object per line from standard input and answers with one per line, in order. Each has an "op" (see
OPS) and gets back {"ok": ...} or {"error": ...}. It is an outside oracle: nothing of Weir is known here. Requests are
checked against the SDK's TypedDicts, which no code of the SDK does by itself: required keys, unknown keys, the type of
every value. The API's beta fields are allowed only where the request names a beta.
"""

import base64
import json
import sys

import anthropic
from anthropic._streaming import SSEDecoder
from anthropic.lib.streaming._beta_messages import accumulate_event as beta_accumulate
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from anthropic.types.beta import message_create_params as beta_create_params
from pydantic import TypeAdapter

from typed import check

# JSON Schema and the like: any keys.
OPEN = {"InputSchemaTyped", "InputSchema", "BetaInputSchema", "JSONOutputFormatParam"}


def request(ask):
    body = json.loads(base64.b64decode(ask["body_b64"]))
    stream = body.get("stream") is True
    if ask.get("count"):
        kind = message_count_tokens_params.MessageCountTokensParams
    elif ask.get("beta"):
        module = beta_create_params
        kind = module.MessageCreateParamsStreaming if stream else module.MessageCreateParamsNonStreaming
    else:
        module = message_create_params
        kind = module.MessageCreateParamsStreaming if stream else module.MessageCreateParamsNonStreaming
    problems = []
    if ask.get("version") == "2023-06-01":
        # The SDK's own version of the API, a later one, has these no more.
        for key, number in (("temperature", float), ("top_p", float), ("top_k", int)):
            if key in body:
                check(number, body.pop(key), key, problems, OPEN)
    check(kind, body, "", problems, OPEN)
    return problems


def strictly(kind, ask):
    """A whole answer: strict, and without anything that the SDK's type does not have at the top."""
    body = base64.b64decode(ask["body_b64"])
    TypeAdapter(kind).validate_json(body, strict=True)
    value = json.loads(body)
    unknown = set(value) - set(kind.model_fields)
    if unknown:
        raise ValueError(f"unknown members: {sorted(unknown)}")
    return value


def message(ask):
    return strictly(BetaMessage if ask.get("beta") else Message, ask)


def count(ask):
    return strictly(MessageTokensCount, ask)


def stream(ask):
    """A streamed answer through the SDK's own reader: every event strict, and the message that it makes of them."""
    snapshot, buffers, kinds, error = None, {}, [], None
    adapter = TypeAdapter(BetaRawMessageStreamEvent if ask.get("beta") else RawMessageStreamEvent)
    accumulate, more = (beta_accumulate, {"request_headers": {}}) if ask.get("beta") else (accumulate_event, {})
    for sse in SSEDecoder().iter_bytes(iter([base64.b64decode(ask["body_b64"])])):
        kinds.append(sse.event)
        if sse.event == "ping":
            continue
        value = json.loads(sse.data)
        if value.get("type") != sse.event:
            raise ValueError(f"event {sse.event} holds {value.get('type')}")
        if sse.event == "error":
            error = value
            continue
        event = adapter.validate_json(sse.data, strict=True)
        snapshot = accumulate(event=event, current_snapshot=snapshot, json_bufs=buffers, **more)
    done = bool(kinds) and kinds[-1] == "message_stop"
    made = None if snapshot is None else snapshot.to_dict()
    return {"kinds": kinds, "message": made, "error": error, "done": done}


OPS = {
    "about": lambda ask: {"anthropic": anthropic.__version__},
    "request": request,
    "message": message,
    "count": count,
    "stream": stream,
}

for line in sys.stdin:
    try:
        ask = json.loads(line)
        answer = {"ok": OPS[ask["op"]](ask)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the asker must hear of it
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
