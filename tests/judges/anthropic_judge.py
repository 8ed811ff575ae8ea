"""Judges Anthropic traffic with Anthropic's own Python SDK: its request types, its answer types, its stream reader.

Reads one JSON object per line from standard input and answers with one per line, in order. Each has an "op" (see
OPS) and gets back {"ok": ...} or {"error": ...}. It is an outside oracle: nothing of Weir is known here. Requests are
checked against the SDK's TypedDicts, which no code of the SDK does by itself: required keys, unknown keys, the type of
every value. The API's beta fields are allowed only where the request names a beta.
"""

import base64
import collections.abc
import json
import sys
import typing

import anthropic
import typing_extensions as te
from anthropic._streaming import SSEDecoder
from anthropic.lib.streaming._beta_messages import accumulate_event as beta_accumulate
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from anthropic.types.beta import message_create_params as beta_create_params
from pydantic import TypeAdapter

HINTS = {}
LISTS = (list, collections.abc.Iterable, collections.abc.Sequence)


def hints(kind):
    if kind not in HINTS:
        HINTS[kind] = te.get_type_hints(kind, include_extras=True)
    return HINTS[kind]


def check(kind, value, path, problems):
    """Whether a JSON value is what an annotation says; what is wrong goes into `problems`."""
    while te.get_origin(kind) in (te.Required, te.NotRequired, te.Annotated):
        kind = te.get_args(kind)[0]
    if isinstance(kind, te.TypeAliasType):
        return check(kind.__value__, value, path, problems)
    if kind in (object, typing.Any):
        return
    if kind is None or kind is type(None):
        if value is not None:
            problems.append(f"{path}: not null")
        return
    origin, args = te.get_origin(kind), te.get_args(kind)
    if te.is_typeddict(kind):
        return structure(kind, value, path, problems)
    if origin is typing.Literal:
        if value not in args or isinstance(value, bool) != any(isinstance(a, bool) for a in args):
            problems.append(f"{path}: {value!r} is none of {args}")
    elif origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        one_of(args, value, path, problems)
    elif origin in (dict, collections.abc.Mapping):
        if not isinstance(value, dict):
            problems.append(f"{path}: not an object")
            return
        for key, inner in value.items():
            check(args[1], inner, f"{path}.{key}", problems)
    elif origin in LISTS or "Sequence" in getattr(origin, "__name__", ""):
        if not isinstance(value, list):
            problems.append(f"{path}: not a list")
            return
        for at, inner in enumerate(value):
            check(args[0], inner, f"{path}.{at}", problems)
    elif kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            problems.append(f"{path}: not a number")
    elif kind in (int, str, bool):
        if not isinstance(value, kind) or kind is int and isinstance(value, bool):
            problems.append(f"{path}: not {kind.__name__}")
    elif isinstance(kind, type) and issubclass(kind, dict):
        if not isinstance(value, dict):
            problems.append(f"{path}: not an object")
    elif isinstance(kind, type) and (hasattr(kind, "model_fields") or "IO" in kind.__name__ or "Path" in kind.__name__):
        # What only Python callers can give.
        problems.append(f"{path}: not {kind.__name__}")
    elif kind is dict:
        if not isinstance(value, dict):
            problems.append(f"{path}: not an object")
    else:
        problems.append(f"{path}: an annotation that the judge does not know: {kind!r}")


def one_of(kinds, value, path, problems):
    best = None
    for kind in kinds:
        found = []
        check(kind, value, path, found)
        if not found:
            return
        # The alternative that names the value's own `type` tells most.
        named = te.is_typeddict(kind) and isinstance(value, dict) and "type" in hints(kind)
        if named:
            wrong = []
            check(hints(kind)["type"], value.get("type"), "", wrong)
            named = not wrong
        if best is None or named:
            best = found
    problems.extend(best or [f"{path}: nothing fits"])


def structure(kind, value, path, problems):
    if not isinstance(value, dict):
        problems.append(f"{path}: not an object")
        return
    known = hints(kind)
    for key in kind.__required_keys__:
        if key not in value:
            problems.append(f"{path}.{key}: Field required".lstrip("."))
    for key, inner in value.items():
        if key in known:
            check(known[key], inner, f"{path}.{key}".lstrip("."), problems)
        elif getattr(kind, "__extra_items__", None) in (None, te.NoExtraItems) and kind.__name__ not in OPEN:
            problems.append(f"{path}.{key}: Extra inputs are not permitted".lstrip("."))


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
                check(number, body.pop(key), key, problems)
    check(kind, body, "", problems)
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
