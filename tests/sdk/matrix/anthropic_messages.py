"""The conversation by Anthropic's own client. Arguments: base URL, key, then KIND=MODEL."""

import json
import sys

import anthropic
import common
from anthropic.types import Message

url, key, *pairs = sys.argv[1:]
client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=30)
TOOLS = [
    {"name": name, "description": f"The {name} of a city.", "input_schema": common.PARAMETERS} for name in common.NAMES
]
STOPS = {"stop": "end_turn", "content_filter": "refusal"}


def whole(answer):
    assert isinstance(answer, Message) and answer.id.startswith("msg_") and answer.role == "assistant", answer
    Message.model_validate_json(answer.model_dump_json(exclude={"parsed_output"}, warnings=False), strict=True)
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer.usage
    return answer


def said(answer):
    return "".join(block.text for block in answer.content if block.type == "text")


def converse(kind, model):
    seen = []

    def ask(content, **more):
        seen.append({"role": "user", "content": content})
        more = {"system": common.SYSTEM, "tools": TOOLS, "max_tokens": 3000, **more}
        answer = whole(client.messages.create(model=model, messages=seen, **more))
        blocks = [block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in answer.content]
        # Only its maker takes a thought back.
        blocks = [block for block in blocks if block["type"] != "thinking" or block.get("signature")]
        seen.append({"role": "assistant", "content": blocks})
        return answer

    source = {"type": "base64", "media_type": "image/png", "data": common.PICTURE64}
    content = [{"type": "text", "text": common.TOOLS_ASK}, {"type": "image", "source": source}]
    answer = ask(content, tool_choice={"type": "any"})
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert answer.stop_reason == "tool_use" and [call.name for call in calls] == list(common.NAMES), answer
    assert len({call.id for call in calls}) == 2 and all(isinstance(call.input["city"], str) for call in calls), calls
    answer = ask([{"type": "tool_result", "tool_use_id": call.id, "content": "21"} for call in reversed(calls)])
    assert said(answer) and answer.stop_reason == "end_turn", answer

    form = {"format": {"type": "json_schema", "schema": common.SCHEMA}}
    answer = ask(common.SHAPE_ASK, output_config=form)
    assert json.loads(said(answer)) == common.CITY and answer.stop_reason == "end_turn", answer

    answer = ask(common.THINK_ASK, thinking={"type": "enabled", "budget_tokens": 1024})
    thoughts = [block for block in answer.content if block.type == "thinking"]
    assert bool(thoughts) == (kind in common.SHOWS_THOUGHTS), (kind, answer)
    assert all(bool(block.signature) == (kind in common.SIGNS) for block in thoughts), answer
    assert said(answer) and answer.stop_reason == "end_turn", answer

    answer = ask(common.REFUSE_ASK)
    assert said(answer) == common.REFUSAL, answer
    refused = "refusal" if kind == "openai" else STOPS[common.REFUSED[kind]]
    assert answer.stop_reason == refused, answer

    seen.append({"role": "user", "content": common.STREAM_ASK})
    request = {"model": model, "max_tokens": 3000, "messages": seen, "system": common.SYSTEM, "tools": TOOLS}
    kinds = []
    with client.messages.stream(**request) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert said(final) and final.stop_reason == "end_turn" and final.id.startswith("msg_"), final
    common.long(final.usage.output_tokens, len(kinds))

    if kind == "anthropic":
        counted = client.messages.count_tokens(model=model, messages=seen[:1]).input_tokens
        assert counted > 0, counted


common.run(converse, pairs, "anthropic_messages")
