"""boto3 against a budget that is spent for a long time: it must not try again, in neither of its retry modes.

Argument: the model. Prints `ok one request`; any surprise is an exception.
"""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

(model,) = sys.argv[1:]
sent = []
for mode in ("legacy", "standard", "adaptive"):
    aws = boto3.client("bedrock-runtime", region_name="us-east-1", config=Config(retries={"mode": mode}))
    aws.meta.events.register("before-send.bedrock-runtime.*", lambda request, **_: sent.append(request))
    for call in (aws.converse, aws.converse_stream):
        sent.clear()
        try:
            call(modelId=model, messages=[{"role": "user", "content": [{"text": "Hello"}]}])
        except ClientError as error:
            told = error.response
            assert told["Error"]["Code"] == "ServiceQuotaExceededException", told
            assert isinstance(error, aws.exceptions.ServiceQuotaExceededException), told
            assert "resets in" in told["Error"]["Message"], told
            assert told["ResponseMetadata"]["HTTPStatusCode"] == 400, told
        else:
            raise AssertionError("it was answered")
        assert len(sent) == 1, [request.url for request in sent]
print("ok one request")
