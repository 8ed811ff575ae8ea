"""OpenAI's own client against a whole gateway: each provider answers everything, whatever its dialect.

Arguments: base URL, key, models. Prints `ok MODEL STEP` for each step; any surprise is an exception.
"""

import asyncio
import base64
import json
import sys

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.completion_usage import CompletionUsage

from start import NAMES, PARAMETERS, about, picture

base_url, key, *models = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": about(name),
            "parameters": PARAMETERS,
        },
    }
    for name in NAMES
]


def whole(answer, model):
    """What every answer must be, by the SDK's own types, none of them constructed leniently."""
    assert isinstance(answer, ChatCompletion), answer
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-"), answer
    assert isinstance(answer.created, int) and answer.created > 1_600_000_000, answer
    assert answer.model, answer
    # The SDK itself lets wrong types pass.
    ChatCompletion.model_validate(answer.model_dump(), strict=True)
    usage = answer.usage
    assert isinstance(usage, CompletionUsage), answer
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage
    assert [choice.index for choice in answer.choices] == [0], answer
    assert answer.choices[0].message.role == "assistant", answer
    return answer.choices[0]


def streamed(chunks):
    """A stream put together: text, calls by index, finish, usage."""
    text, calls, finish, usage, ids = "", {}, [], None, set()
    for chunk in chunks:
        assert isinstance(chunk, ChatCompletionChunk) and chunk.object == "chat.completion.chunk", chunk
        ChatCompletionChunk.model_validate(chunk.model_dump(), strict=True)
        ids.add(chunk.id)
        if chunk.usage:
            assert usage is None, "two usages"
            usage = chunk.usage
        for choice in chunk.choices:
            assert not finish, "something after the end"
            text += choice.delta.content or ""
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, {"id": None, "name": "", "arguments": ""})
                call["id"] = call["id"] or part.id
                call["name"] += part.function.name or ""
                call["arguments"] += part.function.arguments or ""
            if choice.finish_reason:
                finish.append(choice.finish_reason)
    assert len(ids) == 1, ids
    assert len(finish) == 1, finish
    return text, calls, finish[0], usage


def chat(model):
    ask = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say something."}]
    choice = whole(client.chat.completions.create(model=model, messages=ask), model)
    assert choice.message.content and choice.finish_reason == "stop", choice
    choice = whole(client.chat.completions.create(model=model, messages=ask, max_tokens=5), model)
    assert choice.finish_reason == "length", choice


def stream(model):
    ask = [{"role": "user", "content": "Tell a story."}]
    once = client.chat.completions.create(model=model, messages=ask, temperature=0)
    for options in ({}, {"stream_options": {"include_usage": True}}):
        chunks = client.chat.completions.create(model=model, messages=ask, temperature=0, stream=True, **options)
        text, calls, finish, usage = streamed(chunks)
        assert text == once.choices[0].message.content and finish == "stop" and not calls, text
        assert (usage is not None) == bool(options), usage
        if usage:
            assert usage.completion_tokens == once.usage.completion_tokens, usage


def tools(model):
    ask = [{"role": "user", "content": "Use the tools for Berlin."}]
    kinds = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": True}
    choice = whole(client.chat.completions.create(model=model, messages=ask, **kinds), model)
    calls = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and len(calls) == 2, choice
    assert [call.function.name for call in calls] == ["weather", "time"], calls
    assert len({call.id for call in calls}) == 2, calls
    for call in calls:
        assert call.type == "function" and isinstance(json.loads(call.function.arguments)["city"], str), call
    _, parts, finish, _ = streamed(client.chat.completions.create(model=model, messages=ask, stream=True, **kinds))
    assert finish == "tool_calls" and sorted(parts) == [0, 1], parts
    assert [parts[at]["name"] for at in (0, 1)] == ["weather", "time"], parts
    assert all(part["id"] and json.loads(part["arguments"])["city"] for part in parts.values()), parts
    # Both results go back in one turn, and the conversation goes on.
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name}: 21"} for call in calls]
    ask = [*ask, choice.message.model_dump(exclude_none=True), *results]
    choice = whole(client.chat.completions.create(model=model, messages=ask, tools=TOOLS, tool_choice="none"), model)
    assert choice.message.content and choice.finish_reason == "stop", choice


def image(model):
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    ask = [{"role": "user", "content": content}]
    choice = whole(client.chat.completions.create(model=model, messages=ask), model)
    assert choice.message.content, choice
    text, _, _, _ = streamed(client.chat.completions.create(model=model, messages=ask, stream=True))
    assert text, "an empty stream"


def shape(model):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}
    ask = [{"role": "user", "content": "A city, please."}]
    choice = whole(client.chat.completions.create(model=model, messages=ask, response_format=form), model)
    assert choice.message.content, choice


def at_once(model):
    async def ask(number):
        own = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)
        async with own:
            answer = await own.chat.completions.create(
                model=model, messages=[{"role": "user", "content": f"Question {number}."}], stream=True
            )
            chunks = [chunk async for chunk in answer]
        text, _, finish, _ = streamed(chunks)
        assert text and finish == "stop", text

    async def all_of_them():
        await asyncio.gather(*(ask(number) for number in range(8)))

    asyncio.run(all_of_them())


for model in models:
    for step in (chat, stream, tools, image, shape, at_once):
        step(model)
        print("ok", model, step.__name__, flush=True)

try:
    client.chat.completions.create(model="no-such-model", messages=[{"role": "user", "content": "x"}])
except openai.NotFoundError as error:
    assert error.code == "model_not_found" and error.param == "model", error
    print("ok errors")
