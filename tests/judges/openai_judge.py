"""Judges OpenAI traffic with OpenAI's own Python SDK: its request types, its answer types, its stream readers.

Reads one JSON object per line from standard input and answers with one per line, in order. Each has an "op" (see
OPS) and gets back {"ok": ...} or {"error": ...}. It is an outside oracle: nothing of Weir is known here. Requests are
checked against the SDK's TypedDicts, which no code of the SDK does by itself.
"""

import base64
import json
import sys
import typing

import openai
from openai import NOT_GIVEN
from openai._streaming import SSEDecoder
from openai.lib.streaming.chat._completions import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types import CreateEmbeddingResponse, embedding_create_params
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat import completion_create_params
from openai.types.responses import Response, ResponseStreamEvent, response_create_params
from pydantic import TypeAdapter

from typed import check

PARAMS = {
    ("chat", False): completion_create_params.CompletionCreateParamsNonStreaming,
    ("chat", True): completion_create_params.CompletionCreateParamsStreaming,
    ("responses", False): response_create_params.ResponseCreateParamsNonStreaming,
    ("responses", True): response_create_params.ResponseCreateParamsStreaming,
    ("embeddings", False): embedding_create_params.EmbeddingCreateParams,
}
# Members that are on the wire and that the SDK's types do not have.
PADDING = {"obfuscation", "store", "frequency_penalty", "presence_penalty", "billing"}
EVENTS = {
    typing.get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in typing.get_args(typing.get_args(ResponseStreamEvent)[0])
}


def body_of(ask):
    return base64.b64decode(ask["body_b64"])


def request(ask):
    body = json.loads(body_of(ask))
    kind = PARAMS.get((ask["api"], body.get("stream") is True))
    problems = []
    if kind is None:
        return ["stream: Unknown parameter"]
    if ask["api"] == "responses" and isinstance(body.get("tools"), list):
        # The API takes a null where the SDK's type wants the key alone.
        for tool in body["tools"]:
            if isinstance(tool, dict) and tool.get("type") == "function":
                tool.setdefault("parameters", None)
                tool.setdefault("strict", None)
    for message in body["messages"] if ask["api"] == "chat" and isinstance(body.get("messages"), list) else []:
        # The API takes its own answers back as they were.
        if isinstance(message, dict) and message.get("role") == "assistant":
            for key in ("annotations", "refusal", "audio", "function_call"):
                if not message.get(key):
                    message.pop(key, None)
    check(kind, body, "", problems, open_kinds=set())
    return problems


def known(kind, value):
    unknown = set(value) - set(kind.model_fields) - PADDING
    if unknown:
        raise ValueError(f"unknown members: {sorted(unknown)}")


def strictly(kind, raw):
    """A whole answer: strict, and without anything that the SDK's type does not have at the top."""
    TypeAdapter(kind).validate_json(raw, strict=True)
    value = json.loads(raw)
    known(kind, value)
    return value


def answer(ask):
    kind = {"chat": ChatCompletion, "responses": Response, "embeddings": CreateEmbeddingResponse}[ask["api"]]
    return strictly(kind, body_of(ask))


def chat_stream(ask):
    state, error, done, finished = ChatCompletionStreamState(), None, False, None
    for sse in SSEDecoder().iter_bytes(iter([body_of(ask)])):
        if done:
            raise ValueError("something after [DONE]")
        if sse.data == "[DONE]":
            done = True
            continue
        value = json.loads(sse.data)
        if value.get("error"):
            error = value["error"]
            continue
        known(ChatCompletionChunk, value)
        state.handle_chunk(TypeAdapter(ChatCompletionChunk).validate_json(sse.data, strict=True))
    if done:
        finished = state.current_completion_snapshot.model_dump(exclude_unset=True)
    return {"answer": finished, "error": error, "done": done}


def responses_stream(ask):
    """Through the SDK's own reader: every event strict and in its turn, and the response that it makes of them."""
    state = ResponseStreamState(text_format=NOT_GIVEN, input_tools=NOT_GIVEN)
    kinds, error, final, said = [], None, None, {}
    for sse in SSEDecoder().iter_bytes(iter([body_of(ask)])):
        value = json.loads(sse.data)
        if value.get("type") != sse.event:
            raise ValueError(f"event {sse.event} holds {value.get('type')}")
        if value.get("sequence_number") != len(kinds):
            raise ValueError(f"event {len(kinds)} is numbered {value.get('sequence_number')}")
        kinds.append(sse.event)
        event = EVENTS[sse.event].model_validate_json(sse.data, strict=True)
        if event.type == "error":
            error = value.get("error") or value
            continue
        if event.type == "response.output_text.delta":
            said[event.item_id] = said.get(event.item_id, "") + event.delta
        if event.type == "response.output_text.done" and said.get(event.item_id, "") != event.text:
            raise ValueError(f"{event.item_id} said {said.get(event.item_id)!r} and ends as {event.text!r}")
        state.handle_event(event)
        if event.type in ("response.completed", "response.incomplete"):
            final = value["response"]
            known(Response, final)
    done = bool(kinds) and kinds[-1] in ("response.completed", "response.incomplete")
    return {"kinds": kinds, "answer": final, "error": error, "done": done}


OPS = {
    "about": lambda ask: {"openai": openai.__version__},
    "request": request,
    "answer": answer,
    "stream": lambda ask: (chat_stream if ask["api"] == "chat" else responses_stream)(ask),
}

for line in sys.stdin:
    try:
        ask = json.loads(line)
        told = {"ok": OPS[ask["op"]](ask)}
    except Exception as problem:  # noqa: BLE001 - whatever it is, the asker must hear of it
        told = {"error": f"{type(problem).__name__}: {problem}"}
    print(json.dumps(told), flush=True)
