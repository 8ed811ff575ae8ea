"""boto3 against a whole gateway with nothing changed but AWS_ENDPOINT_URL_BEDROCK_RUNTIME and its credentials: each
provider answers everything, whatever its dialect, and botocore's own parsers read it.

Credentials come by the environment: a key pair, or WEIR_BEARER in the place of AWS_BEARER_TOKEN_BEDROCK, which botocore
sends over TLS only: the header is the same. Arguments: models as NAME; those that
InvokeModel can ask in Anthropic's dialect as NAME+invoke. Prints `ok MODEL STEP` for each step; any surprise is an
exception.
"""

import concurrent.futures
import json
import os
import sys

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from start import NAMES, PARAMETERS, about, picture

sent = []


def client(**more):
    bearer = os.environ.get("WEIR_BEARER")
    config = Config(read_timeout=30, signature_version=UNSIGNED if bearer else None)
    made = boto3.client("bedrock-runtime", region_name="eu-central-1", config=config, **more)

    def authorize(params, **_):
        params["headers"]["Authorization"] = f"Bearer {bearer}"

    if bearer:
        made.meta.events.register("before-call.bedrock-runtime.*", authorize)
    made.meta.events.register("before-send.bedrock-runtime.*", lambda request, **_: sent.append(request))
    return made


TOOLS = [
    {
        "toolSpec": {
            "name": name,
            "description": about(name),
            "inputSchema": {
                "json": PARAMETERS
            },
        }
    }
    for name in NAMES
]

aws = client()


def ask(model, *content, **more):
    content = [{"text": part} if isinstance(part, str) else part for part in content]
    return {
        "modelId": model,
        "messages": [{"role": "user", "content": content}],
        "inferenceConfig": {"maxTokens": 2000},
        **more,
    }


def whole(answer):
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200 and answer["ResponseMetadata"]["RequestId"], answer
    assert answer["output"]["message"]["role"] == "assistant", answer
    usage = answer["usage"]
    assert usage["inputTokens"] > 0 and usage["outputTokens"] > 0, usage
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"] + cached, usage
    return answer


def said(answer):
    return "".join(block.get("text", "") for block in answer["output"]["message"]["content"])


def streamed(request):
    """A stream put together as an application does; the order of its events is judged."""
    answer = aws.converse_stream(**request)
    assert answer["ResponseMetadata"]["RequestId"], answer
    blocks, kinds, out = {}, [], {}
    for event in answer["stream"]:
        ((kind, value),) = event.items()
        kinds.append(kind)
        if kind == "contentBlockStart":
            assert value["contentBlockIndex"] not in blocks, value
            blocks[value["contentBlockIndex"]] = {"toolUse": {**value["start"]["toolUse"], "input": ""}}
        elif kind == "contentBlockDelta":
            block = blocks.setdefault(value["contentBlockIndex"], {})
            for key, piece in value["delta"].items():
                if key == "toolUse":
                    block["toolUse"]["input"] += piece["input"]
                elif key == "text":
                    block["text"] = block.get("text", "") + piece
        elif kind == "messageStop":
            out["stopReason"] = value["stopReason"]
        elif kind == "metadata":
            out["usage"] = value["usage"]
    assert kinds[0] == "messageStart" and kinds[-2:] == ["messageStop", "metadata"], kinds
    assert kinds.count("contentBlockStop") == len(blocks), (kinds, blocks)
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    out["output"] = {"message": {"role": "assistant", "content": [blocks[at] for at in sorted(blocks)]}}
    out["ResponseMetadata"] = answer["ResponseMetadata"]
    return whole(out), kinds


def chat(model):
    answer = whole(aws.converse(**ask(model, "Say something.", system=[{"text": "Be brief."}])))
    assert said(answer) and answer["stopReason"] == "end_turn", answer
    few = ask(model, "Say something.")
    few["inferenceConfig"] = {"maxTokens": 5}
    answer = whole(aws.converse(**few))
    assert answer["stopReason"] == "max_tokens" and answer["usage"]["outputTokens"] == 5, answer


def stream(model):
    request = ask(model, "Tell a story.")
    once = whole(aws.converse(**request))
    final, _ = streamed(request)
    assert said(final) == said(once) and final["stopReason"] == "end_turn", final
    assert final["usage"] == {**once["usage"], **final["usage"]}, (final["usage"], once["usage"])
    long, kinds = streamed(ask(model, "[200 events] Tell a long story."))
    assert said(long) and len(kinds) > 5, kinds


def tools(model):
    request = ask(model, "Use the tools for Berlin.", toolConfig={"tools": TOOLS, "toolChoice": {"any": {}}})
    answer = whole(aws.converse(**request))
    calls = [block["toolUse"] for block in answer["output"]["message"]["content"] if "toolUse" in block]
    assert answer["stopReason"] == "tool_use" and [call["name"] for call in calls] == ["weather", "time"], answer
    assert len({call["toolUseId"] for call in calls}) == 2, calls
    assert all(isinstance(call["input"]["city"], str) for call in calls), calls
    final, _ = streamed(request)
    again = [block["toolUse"] for block in final["output"]["message"]["content"] if "toolUse" in block]
    assert [call["input"] for call in again] == [call["input"] for call in calls], (again, calls)
    # Both results go back in one turn, out of order, and the conversation goes on.
    results = [
        {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "21"}, {"json": {"unit": "C"}}]}}
        for call in reversed(calls)
    ]
    request["messages"] += [
        {"role": "assistant", "content": [{"toolUse": call} for call in calls]},
        {"role": "user", "content": [*results, {"text": "Now sum it up."}]},
    ]
    request["toolConfig"] = {"tools": TOOLS}
    answer = whole(aws.converse(**request))
    assert said(answer) and answer["stopReason"] == "end_turn", answer


def image(model):
    content = ["What is this?", {"image": {"format": "png", "source": {"bytes": picture()}}}]
    assert said(whole(aws.converse(**ask(model, *content))))
    assert said(streamed(ask(model, *content))[0])


def shape(model):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
    form = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema), "name": "city"}}}
    assert said(whole(aws.converse(**ask(model, "A city, please.", outputConfig={"textFormat": form}))))


def at_once(model):
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(streamed, ask(model, f"Question {number}.")) for number in range(8)]
        assert all(said(one.result()[0]) for one in asked)


def invoke(model):
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": "Say something."}],
    }
    answer = aws.invoke_model(modelId=model, body=json.dumps(body))
    once = json.loads(answer["body"].read())
    assert once["type"] == "message" and once["content"][0]["text"] and once["usage"]["output_tokens"] > 0, once
    text, kinds = "", []
    answer = aws.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
    for event in answer["body"]:
        event = json.loads(event["chunk"]["bytes"])
        kinds.append(event["type"])
        text += event.get("delta", {}).get("text", "")
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert text == once["content"][0]["text"], (text, once)


def bedrock_sdk(model):
    """Anthropic's own client for Bedrock, which signs by botocore."""
    import anthropic

    if "WEIR_BEARER" in os.environ:
        return
    endpoint = os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"]
    own = anthropic.AnthropicBedrock(base_url=endpoint, aws_region="us-west-2", max_retries=0)
    request = {"model": model, "max_tokens": 2000, "messages": [{"role": "user", "content": "Say something."}]}
    once = own.messages.create(**request)
    assert once.content[0].text and once.usage.output_tokens > 0, once
    with own.messages.stream(**request) as events:
        final = events.get_final_message()
    assert final.content[0].text == once.content[0].text, (final, once)


def refused(call, code, status):
    sent.clear()
    try:
        call()
    except ClientError as error:
        told = error.response
        assert told["Error"]["Code"] == code and told["Error"]["Message"], told
        assert told["ResponseMetadata"]["HTTPStatusCode"] == status, told
        assert told["ResponseMetadata"]["RequestId"], told
        assert len(sent) == 1, [request.url for request in sent]
        return
    raise AssertionError("it was answered")


for model in sys.argv[1:]:
    model, _, more = model.partition("+")
    for step in [chat, stream, tools, image, shape, at_once, *([invoke, bedrock_sdk] if more else [])]:
        step(model)
        print("ok", model, step.__name__, flush=True)

refused(lambda: aws.converse(**ask("no-such-model", "x")), "ResourceNotFoundException", 404)
refused(lambda: aws.count_tokens(modelId="x", input={"converse": {"messages": []}}), "UnknownOperationException", 404)
print("ok errors")
if "WEIR_BEARER" not in os.environ:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    wrong = client(aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key=secret[::-1])
    refused(lambda: wrong.converse(**ask(model, "x")), "InvalidSignatureException", 403)
    strange = client(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key=secret)
    refused(lambda: strange.converse(**ask(model, "x")), "UnrecognizedClientException", 403)
print("ok strangers")
