"""The conversation by boto3, Converse and InvokeModel; where Bedrock is and the credentials come by the environment.
Arguments: KIND=MODEL."""

import json
import sys

import boto3
import common
from botocore.config import Config

config = Config(read_timeout=30, retries={"total_max_attempts": 1})
aws = boto3.client("bedrock-runtime", region_name="us-east-1", config=config)
TOOLS = [
    {"toolSpec": {"name": name, "description": f"The {name} of a city.", "inputSchema": {"json": common.PARAMETERS}}}
    for name in common.NAMES
]
STOPS = {"stop": "end_turn", "content_filter": "content_filtered"}


def whole(answer):
    assert answer["ResponseMetadata"]["RequestId"] and answer["output"]["message"]["role"] == "assistant", answer
    usage = answer["usage"]
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    assert usage["inputTokens"] > 0 and usage["outputTokens"] > 0, usage
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"] + cached, usage
    return answer


def said(answer):
    return "".join(block.get("text", "") for block in answer["output"]["message"]["content"])


def converse(kind, model):
    seen = []
    base = {"modelId": model, "system": [{"text": common.SYSTEM}], "inferenceConfig": {"maxTokens": 3000}}

    def ask(*content, choice=None, **more):
        seen.append({"role": "user", "content": [{"text": part} if isinstance(part, str) else part for part in content]})
        config = {"tools": TOOLS, **({"toolChoice": choice} if choice else {})}
        answer = whole(aws.converse(messages=seen, toolConfig=config, **base, **more))
        blocks = answer["output"]["message"]["content"]
        signed = lambda block: block["reasoningContent"].get("reasoningText", {}).get("signature")
        seen.append({"role": "assistant", "content": [b for b in blocks if "reasoningContent" not in b or signed(b)]})
        return answer

    image = {"image": {"format": "png", "source": {"bytes": common.PICTURE}}}
    answer = ask(common.TOOLS_ASK, image, choice={"any": {}})
    calls = [block["toolUse"] for block in answer["output"]["message"]["content"] if "toolUse" in block]
    assert answer["stopReason"] == "tool_use" and [call["name"] for call in calls] == list(common.NAMES), answer
    assert len({call["toolUseId"] for call in calls}) == 2, calls
    assert all(isinstance(call["input"]["city"], str) for call in calls), calls
    answer = ask(*({"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "21"}]}} for call in calls))
    assert said(answer) and answer["stopReason"] == "end_turn", answer

    form = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(common.SCHEMA), "name": "place"}}}
    answer = ask(common.SHAPE_ASK, outputConfig={"textFormat": form})
    assert json.loads(said(answer)) == common.CITY and answer["stopReason"] == "end_turn", answer

    thinking = {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}
    answer = ask(common.THINK_ASK, **(thinking if kind in common.SIGNS else {}))
    thoughts = [b["reasoningContent"] for b in answer["output"]["message"]["content"] if "reasoningContent" in b]
    assert bool(thoughts) == (kind in common.SHOWS_THOUGHTS), (kind, answer)
    if kind in common.SIGNS:
        assert thoughts[0]["reasoningText"]["signature"], answer
    assert said(answer), answer

    answer = ask(common.REFUSE_ASK)
    refused = "content_filtered" if kind == "openai" else STOPS[common.REFUSED[kind]]
    assert said(answer) == common.REFUSAL and answer["stopReason"] == refused, answer

    seen.append({"role": "user", "content": [{"text": common.STREAM_ASK}]})
    text, kinds, stop, usage = "", [], None, None
    for event in aws.converse_stream(messages=seen, toolConfig={"tools": TOOLS}, **base)["stream"]:
        ((name, value),) = event.items()
        kinds.append(name)
        text += value.get("delta", {}).get("text", "") if name == "contentBlockDelta" else ""
        stop = value["stopReason"] if name == "messageStop" else stop
        usage = value["usage"] if name == "metadata" else usage
    assert kinds[0] == "messageStart" and kinds[-2:] == ["messageStop", "metadata"], kinds
    assert text and stop == "end_turn", stop
    common.long(usage["outputTokens"], len(kinds))

    if kind in ("anthropic", "bedrock", "invoked"):
        body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
        once = json.loads(aws.invoke_model(modelId=model, body=json.dumps(body))["body"].read())
        assert once["type"] == "message" and once["content"][0]["text"] and once["usage"]["output_tokens"] > 0, once


common.run(converse, sys.argv[1:], "boto3_converse")
