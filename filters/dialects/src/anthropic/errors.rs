//! Errors as Anthropic's SDKs read them, both ways: one table for HTTP answers and for events inside a stream.

use weir_wire::json::{self, Limits, Value, Writer};

use crate::hub::Failure;

/// What an error type of Anthropic is to a client of another dialect: its own status there, ours, word and code.
struct Row {
    kind: &'static str,
    /// What the service sends with it.
    sent: u16,
    status: u16,
    word: &'static str,
    code: Option<&'static str>,
}

const fn row(
    kind: &'static str,
    sent: u16,
    status: u16,
    word: &'static str,
    code: Option<&'static str>,
) -> Row {
    Row { kind, sent, status, word, code }
}

const TABLE: &[Row] = &[
    row("invalid_request_error", 400, 400, "invalid_request_error", None),
    row("not_found_error", 404, 404, "not_found_error", Some("model_not_found")),
    row("request_too_large", 413, 413, "invalid_request_error", Some("request_too_large")),
    row("rate_limit_error", 429, 429, "rate_limit_error", Some("rate_limit_exceeded")),
    row("timeout_error", 504, 504, "server_error", Some("timeout")),
    row("overloaded_error", 529, 503, "server_error", Some("overloaded")),
    row("api_error", 500, 500, "server_error", None),
    // The gateway's own credentials are at fault, not the client's.
    row("authentication_error", 401, 502, "server_error", Some("upstream_auth")),
    row("permission_error", 403, 502, "server_error", Some("upstream_auth")),
    row("billing_error", 402, 502, "server_error", Some("upstream_billing")),
];

/// What to answer to an HTTP error of Anthropic.
pub fn decode_error(status: u16, body: &[u8]) -> Failure {
    let doc = json::parse(body, &Limits::default()).ok();
    of(doc.as_ref().map(|doc| doc.root()), Some(status))
}

/// The failure that an error object is; `status` is the HTTP status, where there was one.
pub(super) fn of(root: Option<Value<'_, '_>>, status: Option<u16>) -> Failure {
    let error = root.and_then(|root| root.get("error"));
    let text = |key: &str| error.and_then(|error| error.get(key)).and_then(|it| it.as_str());
    let kind = text("type").unwrap_or_default();
    let row = TABLE.iter().find(|row| row.kind == kind || kind.is_empty() && Some(row.sent) == status);
    let status = row.map_or(status.filter(|status| *status >= 400).unwrap_or(500), |row| row.status);
    let message = match text("message") {
        Some(message) if !message.is_empty() => message.into_owned(),
        _ => format!("the provider answered with status {status}"),
    };
    let long = status == 400 && crate::bedrock::too_long(&message);
    Failure {
        status,
        kind: row.map_or_else(|| crate::openai_chat::kind_of(status), |row| row.word).into(),
        code: if long { Some("context_length_exceeded") } else { row.and_then(|row| row.code) }
            .map(Into::into),
        message,
        param: None,
    }
}

/// The failure that a payload of a stream is, with the status that the service would have sent before it.
pub fn stream_failure(payload: &[u8]) -> Option<Failure> {
    let doc = json::parse(payload, &Limits::default()).ok()?;
    let root = doc.root();
    if !root.get("type").is_some_and(|kind| kind.is_str("error")) {
        return None;
    }
    Some(of(Some(root), None))
}

/// Anthropic's word for a status.
fn kind_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// The body of an error. The field at fault stands before the message, as Anthropic writes it; our own code is where
/// SDKs look for one.
pub fn error(status: u16, code: Option<&str>, message: &str, param: Option<&str>) -> Vec<u8> {
    let mut out = Writer::new(Vec::with_capacity(96 + message.len()));
    write_error(&mut out, status, code, message, param);
    out.into_inner()
}

/// [`error`] of a failure.
pub fn failure(failure: &Failure) -> Vec<u8> {
    error(failure.status, failure.code.as_deref(), &failure.message, failure.param.as_deref())
}

pub(super) fn write_error(
    out: &mut Writer,
    status: u16,
    code: Option<&str>,
    message: &str,
    param: Option<&str>,
) {
    let named = param.filter(|param| !param.is_empty()).map(|param| [param, ": ", message].concat());
    let message = named.as_deref().unwrap_or(message);
    out.fill(r#"{"type":"error","error":{"type":?,"message":?"#, &[kind_of(status), message]);
    if let Some(code) = code {
        out.fill(r#""details":{"error_code":?}"#, &[code]);
    }
    out.fill("}}", &[]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_meaning_in_an_answer_and_in_a_stream() {
        for row in TABLE {
            let body = format!(r#"{{"type":"error","error":{{"type":"{}","message":"m"}}}}"#, row.kind);
            let failure = decode_error(row.sent, body.as_bytes());
            assert_eq!(
                (failure.status, failure.kind.as_str(), failure.code.as_deref()),
                (row.status, row.word, row.code)
            );
            assert_eq!(stream_failure(body.as_bytes()), Some(failure));
            // Whatever its body, the status says as much.
            assert_eq!(decode_error(row.sent, b"<html>").status, row.status);
        }
        assert_eq!(stream_failure(br#"{"type":"ping"}"#), None);
        let novel = decode_error(418, br#"{"type":"error","error":{"type":"novel","message":"m"}}"#);
        assert_eq!((novel.status, novel.kind.as_str()), (418, "invalid_request_error"));
        assert_eq!(decode_error(200, b"{}").status, 500);
    }

    #[test]
    fn a_prompt_too_long_is_told_by_its_code() {
        let body = br#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#;
        assert_eq!(decode_error(400, body).code.as_deref(), Some("context_length_exceeded"));
    }

    #[test]
    fn an_error_is_in_anthropics_shape() {
        let text = |body: Vec<u8>| String::from_utf8(body).unwrap();
        assert_eq!(
            text(error(429, Some("budget_exhausted"), "spent", None)),
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"spent","details":{"error_code":"budget_exhausted"}}}"#
        );
        assert_eq!(
            text(error(400, None, "Field required", Some("max_tokens"))),
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: Field required"}}"#
        );
    }
}
