"""The conversation by LangChain's three chat models over the same providers, the history in LangChain's own messages.
Arguments: base URL, key, then KIND=MODEL; AWS's credentials and endpoint come by the environment."""

import json
import os
import sys

# Nobody is told that a test ran.
os.environ.setdefault("LANGSMITH_TRACING", "false")

import common
from langchain_anthropic import ChatAnthropic
from langchain_aws import ChatBedrockConverse
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

url, key, *pairs = sys.argv[1:]


class Place(BaseModel):
    """A city."""

    city: str


def looked_up(city: str, days: int = 1) -> str:
    return "21"


TOOLS = [
    StructuredTool.from_function(looked_up, name=name, description=f"The {name} of a city.") for name in common.NAMES
]


def openai(model):
    return ChatOpenAI(base_url=f"{url}/v1", api_key=key, model=model, max_retries=0, timeout=30, stream_usage=True)


def anthropic(model):
    return ChatAnthropic(base_url=url, api_key=key, model=model, max_retries=0, timeout=30, max_tokens=3000)


def bedrock(model):
    # What a model can is told by the gateway's policy, not by its name.
    can = ("auto", "any", "tool")
    return ChatBedrockConverse(model=model, region_name="us-east-1", max_tokens=3000, supports_tool_choice_values=can, disable_streaming=False)


def whole(answer):
    assert isinstance(answer, AIMessage) and answer.id, answer
    usage = answer.usage_metadata
    assert usage["input_tokens"] > 0 and usage["output_tokens"] > 0, usage
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"], usage
    return answer


def conversation(make):
    def converse(kind, model):
        chat = make(model)
        url64 = f"data:image/png;base64,{common.PICTURE64}"
        content = [{"type": "text", "text": common.TOOLS_ASK}, {"type": "image_url", "image_url": {"url": url64}}]
        seen = [SystemMessage(common.SYSTEM), HumanMessage(content)]
        answer = whole(chat.bind_tools(TOOLS, tool_choice="any").invoke(seen))
        calls = answer.tool_calls
        assert [call["name"] for call in calls] == list(common.NAMES) and not answer.invalid_tool_calls, answer
        assert len({call["id"] for call in calls}) == 2, calls
        assert all(isinstance(call["args"]["city"], str) for call in calls), calls
        seen.append(answer)
        seen += [ToolMessage(TOOLS[at].invoke(call["args"]), tool_call_id=call["id"]) for at, call in enumerate(calls)]
        tools = chat.bind_tools(TOOLS)
        answer = whole(tools.invoke(seen))
        assert answer.text and not answer.tool_calls, answer
        seen += [answer, HumanMessage(common.SHAPE_ASK)]

        # By itself: it has no tools, which a history with calls must have.
        if make is not bedrock:
            shaped = chat.with_structured_output(Place, method="json_schema").invoke(common.SHAPE_ASK)
            assert shaped == Place(city="Berlin"), shaped
        answer = whole(tools.invoke(seen))
        assert json.loads(answer.text) == common.CITY, answer

        seen += [answer, HumanMessage(common.THINK_ASK)]
        answer = whole(tools.invoke(seen))
        assert answer.text, answer
        # What was thought, in this library's own blocks, without what only its maker can check.
        seen += [AIMessage(answer.text), HumanMessage(common.REFUSE_ASK)]
        answer = whole(tools.invoke(seen))
        said = answer.text or answer.additional_kwargs.get("refusal")
        assert said == common.REFUSAL, answer

        seen += [AIMessage(said), HumanMessage(common.STREAM_ASK)]
        final, events = None, 0
        for chunk in tools.stream(seen):
            events += 1
            final = chunk if final is None else final + chunk
        assert final.text, final
        common.long(final.usage_metadata["output_tokens"], events)

    return converse


def all_three(kind, model):
    for make in (openai, anthropic, bedrock):
        conversation(make)(kind, model)
        print("ok", f"langchain_{make.__name__}", kind, flush=True)


common.run(all_three, pairs, "langchain")
