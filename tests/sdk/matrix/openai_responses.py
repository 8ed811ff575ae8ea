"""The conversation by OpenAI's own client, Responses API, the history kept here. Arguments: base URL, key, KIND=MODEL."""

import json
import sys

import common
import openai
from openai.types.responses import Response

url, key, *pairs = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)
TOOLS = [
    {"type": "function", "name": name, "description": f"The {name} of a city.", "parameters": common.PARAMETERS, "strict": False}
    for name in common.NAMES
]


def whole(answer):
    assert isinstance(answer, Response) and answer.id.startswith("resp_"), answer
    usage = answer.usage
    assert usage.input_tokens > 0 and usage.output_tokens > 0, usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens, usage
    return answer


def converse(kind, model):
    seen = []

    def ask(content, **more):
        if content is not None:
            seen.append({"role": "user", "content": content})
        more = {"instructions": common.SYSTEM, "store": False, "tools": TOOLS, **more}
        answer = whole(client.responses.create(model=model, input=seen, **more))
        seen.extend(item.model_dump(exclude_none=True) for item in answer.output)
        return answer

    image = {"type": "input_image", "image_url": f"data:image/png;base64,{common.PICTURE64}", "detail": "auto"}
    answer = ask([{"type": "input_text", "text": common.TOOLS_ASK}, image], tool_choice="required")
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [call.name for call in calls] == list(common.NAMES), answer
    assert len({call.call_id for call in calls}) == 2, calls
    assert all(isinstance(json.loads(call.arguments)["city"], str) for call in calls), calls
    seen.extend({"type": "function_call_output", "call_id": call.call_id, "output": "21"} for call in calls)
    answer = ask(None)
    assert answer.output_text and answer.status == "completed", answer

    form = {"format": {"type": "json_schema", "name": "place", "schema": common.SCHEMA, "strict": True}}
    answer = ask(common.SHAPE_ASK, text=form)
    assert json.loads(answer.output_text) == common.CITY, answer

    answer = ask(common.THINK_ASK, reasoning={"effort": "low"}, include=["reasoning.encrypted_content"])
    assert answer.output_text and answer.status == "completed", answer

    answer = ask(common.REFUSE_ASK)
    parts = [part for item in answer.output if item.type == "message" for part in item.content]
    said = "".join(part.refusal if part.type == "refusal" else part.text for part in parts)
    assert said == common.REFUSAL, answer

    seen.append({"role": "user", "content": common.STREAM_ASK})
    text, kinds, final = "", [], None
    for event in client.responses.create(model=model, input=seen, tools=TOOLS, store=False, stream=True):
        kinds.append(event.type)
        text += event.delta if event.type == "response.output_text.delta" else ""
        final = event.response if event.type == "response.completed" else final
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    assert whole(final).output_text == text and text, final
    common.long(final.usage.output_tokens, len(kinds))


common.run(converse, pairs, "openai_responses")
