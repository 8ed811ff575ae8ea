"""OpenAI's own client against a whole gateway by the Responses API and by embeddings: each provider answers, whatever its
dialect, by the SDK's own types.

Arguments: base URL, key, the model that a provider of the same dialect serves, other models. Prints `ok MODEL STEP` for
each step; any surprise is an exception.
"""

import asyncio
import base64
import json
import sys

import openai
from openai.types import CreateEmbeddingResponse
from openai.types.responses import Response

from start import NAMES, PARAMETERS, about, picture

base_url, key, own, *others = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)

TOOLS = [
    {
        "type": "function",
        "name": name,
        "description": about(name),
        "parameters": PARAMETERS,
        "strict": None,
    }
    for name in NAMES
]


def whole(answer):
    """What every response must be, by the SDK's own types, none of them constructed leniently."""
    assert isinstance(answer, Response) and answer.id.startswith("resp_"), answer
    assert answer.created_at > 1_600_000_000 and answer.model, answer
    raw = answer.model_dump(exclude_unset=True, by_alias=True)
    Response.model_validate(raw, strict=True)
    usage = answer.usage
    assert usage.input_tokens > 0 and usage.output_tokens > 0, usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens, usage
    return answer


def streamed(**ask):
    """A stream through the SDK's own reader: its events in their order, and the response that it makes of them."""
    kinds, text, arguments = [], "", {}
    with client.responses.stream(**ask) as stream:
        for event in stream:
            assert event.sequence_number == len(kinds), (event.sequence_number, len(kinds), event.type)
            kinds.append(event.type)
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type == "response.function_call_arguments.delta":
                arguments[event.output_index] = arguments.get(event.output_index, "") + event.delta
        final = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"], kinds
    assert final.output_text == text, (final.output_text, text)
    calls = {at: item.arguments for at, item in enumerate(final.output) if item.type == "function_call"}
    assert calls == arguments, (calls, arguments)
    return final, kinds


def chat(model):
    answer = whole(client.responses.create(model=model, instructions="Be brief.", input="Say something."))
    assert answer.status == "completed" and answer.output_text, answer
    assert answer.instructions == "Be brief.", answer
    answer = whole(client.responses.create(model=model, input="Say something.", max_output_tokens=16))
    assert answer.status == "incomplete" and answer.incomplete_details.reason == "max_output_tokens", answer


def stream(model):
    ask = {"model": model, "input": [{"role": "user", "content": "Tell a story."}]}
    once = client.responses.create(**ask)
    final, kinds = streamed(**ask)
    assert final.output_text == once.output_text and kinds[-1] == "response.completed", kinds
    assert final.usage == once.usage, (final.usage, once.usage)


def tools(model):
    ask = [{"role": "user", "content": "Use the tools for Berlin."}]
    kinds = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": True}
    answer = whole(client.responses.create(model=model, input=ask, **kinds))
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["weather", "time"], calls
    assert len({call.call_id for call in calls}) == 2, calls
    assert all(isinstance(json.loads(call.arguments)["city"], str) for call in calls), calls
    assert [tool.name for tool in answer.tools] == ["weather", "time"], answer
    final, _ = streamed(model=model, input=ask, **kinds)
    assert [item.name for item in final.output if item.type == "function_call"] == ["weather", "time"], final
    # All items go back as they came, both results behind them, and the conversation goes on.
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"{call.name}: 21"} for call in calls
    ]
    ask = [*ask, *[item.to_dict() for item in answer.output], *results]
    answer = whole(client.responses.create(model=model, input=ask, tools=TOOLS, tool_choice="none"))
    assert answer.output_text and answer.status == "completed", answer


def image(model):
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    answer = whole(client.responses.create(model=model, input=[{"role": "user", "content": content}]))
    assert answer.output_text, answer


def shape(model):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    form = {"format": {"type": "json_schema", "name": "place", "schema": schema, "strict": True}}
    answer = whole(client.responses.create(model=model, input="A city, please.", text=form))
    assert answer.output_text and answer.text.format.name == "place", answer


def at_once(model):
    async def ask(number):
        own = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)
        async with own:
            events = await own.responses.create(model=model, input=f"Question {number}.", stream=True)
            last = [event async for event in events][-1]
        assert last.type == "response.completed" and last.response.output_text, last

    async def all_of_them():
        await asyncio.gather(*(ask(number) for number in range(8)))

    asyncio.run(all_of_them())


def reasoning(model):
    """The provider seals its reasoning; it comes back as it was given."""
    ask = [{"role": "user", "content": "Use the weather tool for Berlin."}]
    more = {
        "tools": TOOLS,
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    answer = whole(client.responses.create(model=model, input=ask, **more))
    thought = answer.output[0]
    assert thought.type == "reasoning" and thought.summary[0].text and thought.encrypted_content, thought
    assert answer.usage.output_tokens_details.reasoning_tokens > 0, answer.usage
    final, _ = streamed(model=model, input=ask, **more)
    assert final.output[0].encrypted_content == thought.encrypted_content, final.output[0]
    calls = [item for item in answer.output if item.type == "function_call"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "21"} for call in calls]
    items = [item.to_dict() for item in answer.output]
    again = client.responses.create(model=model, input=[*ask, *items, *results], **more)
    assert whole(again).status == "completed", again


def kept(model):
    """The provider keeps the conversation; the next turn names it."""
    first = whole(client.responses.create(model=model, input="Say something.", store=True))
    answer = whole(client.responses.create(model=model, input="And more.", previous_response_id=first.id))
    assert answer.previous_response_id == first.id, answer
    assert answer.usage.input_tokens > first.usage.input_tokens, (answer.usage, first.usage)


def embeddings(model):
    """Texts and their tokens have one embedding, as base64 and as numbers."""
    text, ids = "Straße nach Zürich", [2645, 8085, 8954, 36541, 62423, 713]
    answers = [client.embeddings.create(model=model, input=one) for one in (text, [text, "b"], ids, [ids, [65]])]
    answers.append(client.embeddings.create(model=model, input=text, encoding_format="float", dimensions=4))
    for answer in answers:
        assert isinstance(answer, CreateEmbeddingResponse) and answer.usage.prompt_tokens > 0, answer
        assert [item.index for item in answer.data] == list(range(len(answer.data))), answer
    assert [len(answer.data) for answer in answers] == [1, 2, 1, 2, 1]
    assert len(answers[0].data[0].embedding) == 16 and len(answers[4].data[0].embedding) == 4
    assert answers[0].data[0].embedding == answers[1].data[0].embedding, answers
    assert answers[2].data[0].embedding == answers[3].data[0].embedding, answers


for model in (own, *others):
    for step in (chat, stream, tools, image, shape, at_once):
        step(model)
        print("ok", model, step.__name__, flush=True)
for step in (reasoning, kept, embeddings):
    step(own)
    print("ok", own, step.__name__, flush=True)

# What other providers keep no memory for, and have no tools for, is refused by name.
for model in others:
    for field, value in (
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("background", True),
        ("tools", [{"type": "web_search"}]),
        ("input", [{"type": "item_reference", "id": "msg_1"}]),
    ):
        try:
            client.responses.create(**{"model": model, "input": "x", field: value})
        except openai.BadRequestError as error:
            assert error.code == "unsupported_value" and error.param.startswith(field), error
        else:
            raise AssertionError(f"{model} took {field}")
    print("ok", model, "refusals", flush=True)
try:
    client.responses.create(model="no-such-model", input="x")
except openai.NotFoundError as error:
    assert error.code == "model_not_found" and error.param == "model", error
    print("ok errors")
