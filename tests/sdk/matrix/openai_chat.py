"""The conversation by OpenAI's own client, chat completions. Arguments: base URL, key, then KIND=MODEL."""

import json
import sys

import common
import openai
from common import THINK_ASK, TOOLS_ASK
from openai.types.chat import ChatCompletion, ChatCompletionChunk

url, key, *pairs = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)
TOOLS = [
    {"type": "function", "function": {"name": name, "description": f"The {name} of a city.", "parameters": common.PARAMETERS}}
    for name in common.NAMES
]


def whole(answer):
    assert isinstance(answer, ChatCompletion) and answer.id.startswith("chatcmpl-"), answer
    ChatCompletion.model_validate(answer.model_dump(), strict=True)
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage
    assert [choice.index for choice in answer.choices] == [0], answer
    return answer.choices[0]


def converse(kind, model):
    seen = []

    def ask(content, **more):
        if content is not None:
            seen.append({"role": "user", "content": content})
        choice = whole(client.chat.completions.create(model=model, messages=seen, tools=TOOLS, **more))
        seen.append(choice.message.model_dump(exclude_none=True, exclude={"annotations"}))
        return choice

    seen.append({"role": "system", "content": common.SYSTEM})
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{common.PICTURE64}"}}
    choice = ask([{"type": "text", "text": TOOLS_ASK}, image], tool_choice="required", parallel_tool_calls=True)
    calls = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and [call.function.name for call in calls] == list(common.NAMES), choice
    assert len({call.id for call in calls}) == 2 and all(call.type == "function" for call in calls), calls
    assert all(isinstance(json.loads(call.function.arguments)["city"], str) for call in calls), calls
    seen.extend({"role": "tool", "tool_call_id": call.id, "content": "21"} for call in reversed(calls))
    choice = ask(None)
    assert choice.message.content and choice.finish_reason == "stop" and not choice.message.tool_calls, choice

    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": common.SCHEMA, "strict": True}}
    choice = ask(common.SHAPE_ASK, response_format=form)
    assert json.loads(choice.message.content) == common.CITY and choice.finish_reason == "stop", choice

    # Anthropic's models think by their own setting; others by effort.
    thinking = {"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "max_tokens": 3000}
    choice = ask(THINK_ASK, **(thinking if kind in common.SIGNS else {"reasoning_effort": "low"}))
    extra = choice.message.model_extra
    thought = extra.get("reasoning_content") or extra.get("reasoning")
    assert (thought is not None) == (kind in common.SHOWS_THOUGHTS), (kind, choice)
    if kind in common.SIGNS:
        assert extra["thinking_blocks"][0]["signature"], choice
    if kind == "openai":
        assert client.chat.completions.create(
            model=model, messages=seen[:-1], reasoning_effort="low"
        ).usage.completion_tokens_details.reasoning_tokens >= 0
    assert choice.message.content and choice.finish_reason == "stop", choice

    choice = ask(common.REFUSE_ASK)
    said = choice.message.refusal or choice.message.content
    assert said == common.REFUSAL and choice.finish_reason == common.REFUSED[kind], choice
    assert (choice.message.refusal is not None) == (kind == "openai"), choice

    seen.append({"role": "user", "content": common.STREAM_ASK})
    text, finish, usage, ids, events = "", [], None, set(), 0
    more = {"stream": True, "stream_options": {"include_usage": True}}
    for chunk in client.chat.completions.create(model=model, messages=seen, tools=TOOLS, **more):
        assert isinstance(chunk, ChatCompletionChunk), chunk
        ChatCompletionChunk.model_validate(chunk.model_dump(), strict=True)
        ids.add(chunk.id)
        events += 1
        usage = chunk.usage or usage
        for part in chunk.choices:
            text += part.delta.content or ""
            finish += [part.finish_reason] if part.finish_reason else []
    assert text and finish == ["stop"] and len(ids) == 1, (finish, ids)
    common.long(usage.completion_tokens, events)


common.run(converse, pairs, "openai_chat")
