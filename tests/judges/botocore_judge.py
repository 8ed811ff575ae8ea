"""Judges Bedrock traffic with botocore: its service model, its signer, its parsers.

Reads one JSON object per line from standard input and answers with one per line, in order. Each has an
"op" (see OPS) and gets back {"ok": ...} or {"error": ...}. It is an outside oracle: nothing of Weir is
known here. What botocore's ParamValidator leaves out (enums, patterns, upper bounds, base64) is checked
from the same service model below.
"""

import base64
import binascii
import datetime
import hashlib
import io
import json
import re
import sys
from urllib.parse import unquote

import botocore
import botocore.auth
import botocore.awsrequest
import botocore.compat
import botocore.config
import botocore.credentials
import botocore.eventstream
import botocore.exceptions
import botocore.parsers
import botocore.session
import botocore.validate

SESSION = botocore.session.Session()
MODEL = SESSION.get_service_model("bedrock-runtime")


class Problem(Exception):
    pass


# ---------------------------------------------------------------- parameters


def from_wire(shape, value, path, problems):
    """JSON as sent on the wire, as the parameters a caller would have given: blobs become bytes."""
    if getattr(shape, "is_document_type", False):
        return value
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        names = {}
        for name, member in shape.members.items():
            names[member.serialization.get("name", name)] = (name, member)
        found = {}
        for key, inner in value.items():
            if inner is None:
                problems.append(f"{path}.{key}: null")
                continue
            name, member = names.get(key, (key, None))
            found[name] = inner if member is None else from_wire(member, inner, f"{path}.{key}", problems)
        return found
    if kind == "list" and isinstance(value, list):
        return [from_wire(shape.member, v, f"{path}[{i}]", problems) for i, v in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {k: from_wire(shape.value, v, f"{path}.{k}", problems) for k, v in value.items()}
    if kind == "blob":
        if not isinstance(value, str):
            problems.append(f"{path}: a blob is a base64 string")
            return b""
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            problems.append(f"{path}: not base64 ({error})")
            return b""
    if kind in ("float", "double") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return value


def bounds(shape, value, path, problems):
    """Enums, patterns and upper bounds, of which ParamValidator checks none."""
    if getattr(shape, "is_document_type", False):
        return
    kind = shape.type_name
    about = shape.metadata
    if kind == "structure" and isinstance(value, dict):
        for name, inner in value.items():
            if name in shape.members:
                bounds(shape.members[name], inner, f"{path}.{name}", problems)
    elif kind == "list" and isinstance(value, list):
        size(about, len(value), path, problems)
        for i, inner in enumerate(value):
            bounds(shape.member, inner, f"{path}[{i}]", problems)
    elif kind == "map" and isinstance(value, dict):
        size(about, len(value), path, problems)
        for key, inner in value.items():
            bounds(shape.key, key, f"{path} (key)", problems)
            bounds(shape.value, inner, f"{path}.{key}", problems)
    elif kind == "string" and isinstance(value, str):
        size(about, len(value), path, problems)
        if "enum" in about and value not in about["enum"]:
            problems.append(f"{path}: {value!r} is none of {about['enum']}")
        if "pattern" in about:
            try:
                fits = re.fullmatch(about["pattern"], value, re.DOTALL)
            except re.error:
                fits = True  # Java's dialect; nothing to say
            if not fits:
                problems.append(f"{path}: does not match {about['pattern']}")
    elif kind == "blob" and isinstance(value, bytes):
        size(about, len(value), path, problems)
    elif kind in ("integer", "long", "float", "double") and isinstance(value, (int, float)):
        size(about, value, path, problems)


def size(about, value, path, problems):
    if "max" in about and value > about["max"]:
        problems.append(f"{path}: {value} is above {about['max']}")
    if "min" in about and value < about["min"]:
        problems.append(f"{path}: {value} is below {about['min']}")


def parameters(op, model_id, body):
    operation = MODEL.operation_model(op)
    shape = operation.input_shape
    problems = []
    try:
        value = json.loads(body)
    except ValueError as error:
        return [f"body: not JSON ({error})"]
    if not isinstance(value, dict):
        return ["body: not an object"]
    for name, member in shape.members.items():
        if member.serialization.get("location") and name in value:
            problems.append(f"body.{name}: belongs to the {member.serialization['location']}, not the body")
    found = from_wire(shape, value, "", problems)
    found["modelId"] = model_id
    report = botocore.validate.ParamValidator().validate(found, shape)
    if report.has_errors():
        problems.append(report.generate_report())
    bounds(shape, found, "", problems)
    return problems


# ---------------------------------------------------------------- signatures


class Recomputed(botocore.auth.SigV4Auth):
    """Signs exactly the headers that the request says it signed."""

    def __init__(self, *args, names):
        super().__init__(*args)
        self.names = names

    def headers_to_sign(self, request):
        chosen = botocore.compat.HTTPHeaders()
        for name, value in request.headers.items():
            if name.lower() in self.names:
                chosen[name.lower()] = value
        return chosen


def signature(request):
    """The reasons why a request's SigV4 signature is not valid; raises Problem where there is none."""
    headers = [(name.lower(), value) for name, value in request["headers"]]
    first = {}
    for name, value in headers:
        first.setdefault(name, value)
    given = first.get("authorization", "")
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/ ,]+)/(\d{8})/([^/ ,]+)/([^/ ,]+)/aws4_request,"
        r" ?SignedHeaders=([^ ,]+), ?Signature=([0-9a-f]{64})",
        given,
    )
    if not match:
        raise Problem("authorization: not an AWS4-HMAC-SHA256 header")
    key, day, region, service, listed, claimed = match.groups()
    names = listed.split(";")
    reasons = []
    body = base64.b64decode(request["body_b64"])
    if key != request["access_key"]:
        raise Problem("unknown access key")
    if names != sorted(names):
        reasons.append("SignedHeaders is not sorted")
    if len(set(names)) != len(names):
        reasons.append("SignedHeaders names a header twice")
    if "host" not in names:
        reasons.append("host is not signed")
    for name, _ in headers:
        if name.startswith("x-amz-") and name not in names and name != "x-amz-content-sha256":
            reasons.append(f"{name} is not signed")
    for name in names:
        if name not in first:
            reasons.append(f"{name} is signed but was not received")
    if service != "bedrock":
        reasons.append(f"signed for service {service}")
    if request.get("region") and region != request["region"]:
        reasons.append(f"signed for region {region}")
    stamp = first.get("x-amz-date", "")
    if not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
        reasons.append("x-amz-date is missing or malformed")
        return reasons
    if not stamp.startswith(day):
        reasons.append("x-amz-date and the credential's date differ")
    skew = request.get("max_skew_s")
    if skew is not None:
        at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()) > skew:
            reasons.append("x-amz-date is too far from now")
    digest = hashlib.sha256(body).hexdigest()
    claimed_digest = first.get("x-amz-content-sha256")
    if claimed_digest is not None and claimed_digest != digest:
        reasons.append("x-amz-content-sha256 is not the body's")
    token = request.get("session_token")
    if token and first.get("x-amz-security-token") != token:
        reasons.append("x-amz-security-token is not the session's")
    path = request["path"]
    if request.get("query"):
        path += "?" + request["query"]
    again = botocore.awsrequest.AWSRequest(
        method=request["method"], url="https://" + first.get("host", "") + path, data=body
    )
    for name, value in headers:
        if name in names:
            again.headers[name] = value
    again.context["timestamp"] = stamp
    credentials = botocore.credentials.Credentials(request["access_key"], request["secret_key"], token)
    auth = Recomputed(credentials, "bedrock", region, names=set(names))
    canonical = auth.canonical_request(again)
    if claimed_digest is None:
        # The canonical request then ends with the hash of what was received.
        canonical = canonical.rsplit("\n", 1)[0] + "\n" + digest
    expected = auth.signature(auth.string_to_sign(again, canonical), again)
    if expected != claimed:
        reasons.append("signature does not match; canonical request:\n" + canonical)
    return reasons


# ---------------------------------------------------------------- operations


def judge(request):
    """{"signature": [reasons] or null where absent, "parameters": [problems]}"""
    answer = {"parameters": [], "signature": None, "signature_error": None}
    if request.get("check_signature"):
        try:
            answer["signature"] = signature(request)
        except Problem as problem:
            answer["signature_error"] = str(problem)
    if request.get("check_parameters"):
        # A path that is not UTF-8 after decoding names no model.
        model_id = unquote(request["model_id"], errors="replace")
        answer["parameters"] = parameters(request["operation"], model_id, base64.b64decode(request["body_b64"]))
    return answer


def plain(value):
    """Parsed output as JSON: bytes as base64 under a marked key, dates as text."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k != "ResponseMetadata"}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, bytes):
        return {"bytes_b64": base64.b64encode(value).decode()}
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return value


def read_stream(request):
    """Reads a recorded binary stream, fed in pieces of "step" bytes, as botocore's client would."""
    data = base64.b64decode(request["stream_b64"])
    step = request.get("step") or len(data) or 1
    shape = MODEL.operation_model(request.get("operation", "ConverseStream")).output_shape
    stream_shape = shape.members[shape.event_stream_name]
    parser = botocore.parsers.EventStreamJSONParser()
    buffer = botocore.eventstream.EventStreamBuffer()
    events, exceptions = [], []
    for at in range(0, len(data), step):
        buffer.add_data(data[at : at + step])
        for event in buffer:
            raw = event.to_response_dict()
            parsed = parser.parse(raw, stream_shape)
            if raw["status_code"] == 200:
                events.append(plain(parsed))
            else:
                exceptions.append({"kind": raw["headers"].get(":exception-type"), "parsed": plain(parsed)})
    return {"events": events, "exceptions": exceptions}


def read_answer(request):
    """Parses a whole HTTP answer with the operation's output shape, or its error shape."""
    operation = MODEL.operation_model(request.get("operation", "Converse"))
    parser = botocore.parsers.create_parser("rest-json")
    response = {
        "status_code": request["status"],
        "headers": botocore.compat.HTTPHeaders.from_pairs([tuple(h) for h in request["headers"]]),
        "body": base64.b64decode(request["body_b64"]),
    }
    if hasattr(botocore.awsrequest, "HeadersDict"):
        response["headers"] = botocore.awsrequest.HeadersDict(dict(request["headers"]))
    return plain(parser.parse(response, operation.output_shape))


def call(request):
    """A real botocore client against "endpoint": the parsed answer, or the error it raises."""
    options = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=20, parameter_validation=False)
    session = botocore.session.Session()
    arguments = {
        "region_name": request.get("region", "us-east-1"),
        "endpoint_url": request["endpoint"],
        "aws_access_key_id": request.get("access_key", ""),
        "aws_secret_access_key": request.get("secret_key", ""),
        "config": options,
    }
    client = session.create_client("bedrock-runtime", **arguments)
    method = {"Converse": client.converse, "ConverseStream": client.converse_stream}[request["operation"]]
    params = revive(request["params"])
    try:
        answer = method(**params)
        meta = answer["ResponseMetadata"]
        if request["operation"] == "ConverseStream":
            events = []
            try:
                events.extend(plain(event) for event in answer["stream"])
            except botocore.exceptions.EventStreamError as error:
                return {"events": events, "stream_error": plain(error.response), "request_id": meta.get("RequestId")}
            return {"events": events, "request_id": meta.get("RequestId")}
        return {"answer": plain(answer), "request_id": meta.get("RequestId")}
    except botocore.exceptions.ClientError as error:
        meta = error.response["ResponseMetadata"]
        return {
            "client_error": error.response["Error"],
            "status": meta["HTTPStatusCode"],
            "request_id": meta.get("RequestId"),
        }
    except (botocore.exceptions.BotoCoreError, Exception) as error:  # noqa: BLE001 - told to the test
        return {"failed": type(error).__name__, "message": str(error)}


def revive(value):
    """{"bytes_b64": ...} back to bytes."""
    if isinstance(value, dict):
        if set(value) == {"bytes_b64"}:
            return base64.b64decode(value["bytes_b64"])
        return {k: revive(v) for k, v in value.items()}
    if isinstance(value, list):
        return [revive(v) for v in value]
    return value


def sign(request):
    """The headers of a request signed by botocore: for tests that change them afterwards."""
    body = base64.b64decode(request["body_b64"])
    made = botocore.awsrequest.AWSRequest(method=request["method"], url=request["url"], data=body)
    for name, value in request.get("headers", []):
        made.headers[name] = value
    credentials = botocore.credentials.Credentials(
        request["access_key"], request["secret_key"], request.get("session_token")
    )
    botocore.auth.SigV4Auth(credentials, "bedrock", request.get("region", "us-east-1")).add_auth(made)
    return {"headers": [[name, value] for name, value in made.headers.items()]}


def about(_request):
    return {"botocore": botocore.__version__, "operations": len(MODEL.operation_names)}


OPS = {
    "about": about,
    "judge": judge,
    "read_stream": read_stream,
    "read_answer": read_answer,
    "call": call,
    "sign": sign,
}


def main():
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", write_through=True)
    for line in sys.stdin.buffer:
        try:
            request = json.loads(line)
            answer = {"ok": OPS[request["op"]](request)}
        except Exception as error:  # noqa: BLE001 - a judge that dies judges nothing
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
