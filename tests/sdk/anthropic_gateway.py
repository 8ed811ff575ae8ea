"""Anthropic's own client against a whole gateway: each provider answers everything, whatever its dialect.

Arguments: base URL, key, then models as NAME or NAME+thinking for those whose provider signs its thoughts. Prints
`ok MODEL STEP` for each step; any surprise is an exception.
"""

import asyncio
import base64
import sys

import anthropic
from anthropic.types import Message

from start import NAMES, PARAMETERS, about, picture

base_url, key, *models = sys.argv[1:]
client = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0, timeout=30)

TOOLS = [
    {
        "name": name,
        "description": about(name),
        "input_schema": PARAMETERS,
    }
    for name in NAMES
]


def whole(answer):
    """What every answer must be, by the SDK's own types, none of them constructed leniently."""
    assert isinstance(answer, Message), answer
    assert answer.type == "message" and answer.role == "assistant" and answer.id.startswith("msg_"), answer
    assert answer.model and answer._request_id, answer
    # The SDK itself lets wrong types pass.
    Message.model_validate_json(answer.model_dump_json(exclude={"parsed_output"}, warnings=False), strict=True)
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer.usage
    return answer


def said(answer):
    return "".join(block.text for block in answer.content if block.type == "text")


def ask(model, content, **more):
    return {"model": model, "max_tokens": 2000, "messages": [{"role": "user", "content": content}], **more}


def streamed(request):
    """A stream by the SDK's own helper: its final message, and what came on the way."""
    text, kinds = "", []
    with client.messages.stream(**request) as stream:
        for event in stream:
            kinds.append(event.type)
            if event.type == "text":
                text += event.text
        final = stream.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert kinds.count("message_start") == 1 and kinds.count("message_stop") == 1, kinds
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == len(final.content), kinds
    whole_ish = final.usage
    assert whole_ish.input_tokens > 0 and whole_ish.output_tokens > 0, final
    assert text == said(final), final
    return final


def chat(model):
    answer = whole(client.messages.create(**ask(model, "Say something.", system="Be brief.")))
    assert said(answer) and answer.stop_reason == "end_turn" and answer.stop_sequence is None, answer
    answer = whole(client.messages.create(**{**ask(model, "Say something."), "max_tokens": 5}))
    assert answer.stop_reason == "max_tokens" and answer.usage.output_tokens == 5, answer


def stream(model):
    request = ask(model, [{"type": "text", "text": "Tell a story."}])
    once = client.messages.create(**request)
    final = streamed(request)
    assert said(final) == said(once) and final.stop_reason == "end_turn", final
    assert final.usage.output_tokens == once.usage.output_tokens, (final.usage, once.usage)
    assert final.usage.input_tokens == once.usage.input_tokens, (final.usage, once.usage)


def tools(model):
    more = {"tools": TOOLS, "tool_choice": {"type": "any"}}
    request = ask(model, "Use the tools for Berlin.", **more)
    answer = whole(client.messages.create(**request))
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert answer.stop_reason == "tool_use" and len(calls) == 2, answer
    assert [call.name for call in calls] == ["weather", "time"], calls
    assert len({call.id for call in calls}) == 2 and all(isinstance(call.input["city"], str) for call in calls), calls
    final = streamed(request)
    again = [block for block in final.content if block.type == "tool_use"]
    assert final.stop_reason == "tool_use" and [call.input for call in again] == [call.input for call in calls], final
    # One call only, where the client says so.
    single = {"tools": TOOLS, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    if not model.startswith("vllm"):
        answer = whole(client.messages.create(**ask(model, "Use the tools for Berlin.", **single)))
        assert sum(block.type == "tool_use" for block in answer.content) == 1, answer
    # Both results go back in one turn, out of order, and the conversation goes on.
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "21"}]}
        for call in reversed(calls)
    ]
    request["messages"] += [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in calls]},
        {"role": "user", "content": [*results, {"type": "text", "text": "Now sum it up."}]},
    ]
    request["tool_choice"] = {"type": "none"}
    if "bedrock" in model:  # It has no word for none, and the model decides.
        del request["tool_choice"]
    answer = whole(client.messages.create(**request))
    assert said(answer) and answer.stop_reason == "end_turn", answer


def image(model):
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(picture()).decode()}
    content = [{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}]
    assert said(whole(client.messages.create(**ask(model, content))))
    assert said(streamed(ask(model, content)))


def shape(model):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    form = {"format": {"type": "json_schema", "schema": schema}}
    assert said(whole(client.messages.create(**ask(model, "A city, please.", output_config=form))))


def thinking(model):
    """The thought of a tool's turn goes back with the result, its signature whole."""
    more = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "tools": TOOLS}
    request = ask(model, "Use the weather tool for Berlin.", **more)
    once, final = whole(client.messages.create(**request)), streamed(request)
    for answer in (once, final):
        thought = answer.content[0]
        assert thought.type == "thinking" and thought.thinking and thought.signature, answer
        calls = [block for block in answer.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "21"} for call in calls]
        content = [block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in answer.content]
        follow = {**request, "messages": [*request["messages"]]}
        follow["messages"] += [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
        last = whole(client.messages.create(**follow))
        assert last.content[0].type == "thinking" and said(last), last
    assert once.content[0] == final.content[0], (once.content[0], final.content[0])


def at_once(model):
    async def one(number):
        own = anthropic.AsyncAnthropic(base_url=base_url, api_key=key, max_retries=0, timeout=30)
        async with own, own.messages.stream(**ask(model, f"Question {number}.")) as events:
            final = await events.get_final_message()
        assert said(final) and final.stop_reason == "end_turn", final

    async def all_of_them():
        await asyncio.gather(*(one(number) for number in range(8)))

    asyncio.run(all_of_them())


def count(model):
    request = {"model": model, "messages": [{"role": "user", "content": "How many?"}]}
    counted = client.messages.count_tokens(**request).input_tokens
    billed = client.messages.create(**request, max_tokens=5).usage.input_tokens
    assert counted == billed, (counted, billed)


for model in models:
    model, _, signs = model.partition("+")
    steps = [chat, stream, tools, image, shape, at_once]
    steps += [thinking, count] if signs else []
    for step in steps:
        step(model)
        print("ok", model, step.__name__, flush=True)

listed = client.models.list()
assert {model.partition("+")[0] for model in models} <= {one.id for one in listed.data}, listed
print("ok models")

try:
    client.messages.create(**ask("no-such-model", "x"))
except anthropic.NotFoundError as error:
    assert error.body["error"]["type"] == "not_found_error", error.body
    assert error.body["error"]["details"]["error_code"] == "model_not_found", error.body
    print("ok errors")
try:
    anthropic.Anthropic(base_url=base_url, api_key="nobody", max_retries=0).messages.create(**ask(model, "x"))
except anthropic.AuthenticationError as error:
    assert error.body["type"] == "error" and error.response.headers["x-should-retry"] == "false", error.body
    print("ok strangers")
