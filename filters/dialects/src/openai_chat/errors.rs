//! Errors as OpenAI's SDKs read them, both ways. Which error a decision deserves is not decided here.

use weir_wire::json::{self, Limits, Writer};

use super::fields;
use crate::hub::Failure;

/// The body of an error answer: `{"error":{"message","type","param","code"}}`. The HTTP status is in the headers;
/// it is taken here only so that an error without a `kind` gets the word that SDKs expect with it.
pub fn error(status: u16, kind: &str, code: Option<&str>, message: &str, param: Option<&str>) -> Vec<u8> {
    let kind = if kind.is_empty() { kind_of(status) } else { kind };
    let mut out = Writer::new(Vec::with_capacity(96 + message.len()));
    write_error(&mut out, kind, code, message, param);
    out.into_inner()
}

/// [`error`] of a failure.
pub fn failure(failure: &Failure) -> Vec<u8> {
    error(failure.status, &failure.kind, failure.code.as_deref(), &failure.message, failure.param.as_deref())
}

pub(super) fn write_error(
    out: &mut Writer,
    kind: &str,
    code: Option<&str>,
    message: &str,
    param: Option<&str>,
) {
    out.fill(r#"{"error":{"message":?,"type":?,"param":"#, &[message, kind]).opt(param);
    out.key("code").opt(code).fill("}}", &[]);
}

/// The SDKs' word for an HTTP status.
pub(crate) fn kind_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 => "timeout_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// A provider's error body: OpenAI's form, vLLM's (an integer `code`), vLLM's older flat one, or anything else.
pub fn decode_error(status: u16, body: &[u8]) -> Failure {
    let mut failure = Failure {
        status,
        kind: kind_of(status).into(),
        code: None,
        message: format!("the provider answered with status {status}"),
        param: None,
    };
    let Ok(doc) = json::parse(body, &Limits::default()) else {
        return failure;
    };
    let root = doc.root();
    let error = root.get("error").unwrap_or(root);
    let text = |key| fields::member(error, key);
    if let Some(message) = fields::owned(error).or_else(|| text("message")) {
        failure.message = message;
    }
    if let Some(kind) = fields::said(error, "type") {
        failure.kind = kind;
    }
    // An integer code only repeats the status.
    failure.code = text("code");
    failure.param = text("param");
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_back() {
        let body = error(429, "insufficient_quota", Some("budget_exhausted"), "spent \"all\"", None);
        assert_eq!(
            String::from_utf8(body.clone()).unwrap(),
            r#"{"error":{"message":"spent \"all\"","type":"insufficient_quota","param":null,"code":"budget_exhausted"}}"#
        );
        let read = decode_error(429, &body);
        assert_eq!(
            (read.kind.as_str(), read.code.as_deref()),
            ("insufficient_quota", Some("budget_exhausted"))
        );
    }

    #[test]
    fn every_known_error_form_is_read() {
        for (body, kind, message) in [
            (
                r#"{"error":{"message":"m","type":"BadRequestError","param":"input_tokens","code":400}}"#,
                "BadRequestError",
                "m",
            ),
            (
                r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#,
                "BadRequestError",
                "m",
            ),
            (r#"{"error":"m"}"#, "invalid_request_error", "m"),
            ("<html>", "invalid_request_error", "the provider answered with status 400"),
            ("[]", "invalid_request_error", "the provider answered with status 400"),
        ] {
            let failure = decode_error(400, body.as_bytes());
            assert_eq!((failure.kind.as_str(), failure.message.as_str()), (kind, message), "{body}");
            assert_eq!(failure.code, None);
        }
    }
}
