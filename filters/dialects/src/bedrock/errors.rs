//! Bedrock's errors in OpenAI's words, and back: one table each for HTTP answers and for exceptions inside a stream.

use weir_sorted::trim;
use weir_wire::json::{self, Limits, Writer};

use crate::hub::Failure;
use crate::write;

/// How one exception is told to the client.
struct Row {
    /// The exception's class; frames spell it in camel case.
    class: &'static str,
    /// HTTP status for the client. Not always Bedrock's: a quota is 400 there.
    status: u16,
    kind: &'static str,
    code: Option<&'static str>,
}

const fn row(class: &'static str, status: u16, kind: &'static str, code: Option<&'static str>) -> Row {
    Row { class, status, kind, code }
}

const TABLE: &[Row] = &[
    row("ValidationException", 400, "invalid_request_error", None),
    // Bedrock says 400; SDKs must hear that waiting a moment does not help.
    row("ServiceQuotaExceededException", 429, "insufficient_quota", Some("insufficient_quota")),
    row("ConflictException", 400, "invalid_request_error", Some("conflict")),
    row("AccessDeniedException", 403, "permission_error", Some("access_denied")),
    row("ResourceNotFoundException", 404, "not_found_error", Some("model_not_found")),
    row("ModelTimeoutException", 408, "timeout_error", Some("timeout")),
    row("ThrottlingException", 429, "rate_limit_error", Some("rate_limit_exceeded")),
    // 429 there, but nobody asked too much: the model is being loaded.
    row("ModelNotReadyException", 503, "server_error", Some("model_not_ready")),
    row("ModelErrorException", 502, "server_error", Some("model_error")),
    row("ModelStreamErrorException", 502, "server_error", Some("model_error")),
    row("InternalServerException", 500, "server_error", None),
    row("ServiceUnavailableException", 503, "server_error", Some("service_unavailable")),
    // The gateway's own credentials are at fault, not the client's.
    row("InvalidSignatureException", 502, "server_error", Some("upstream_auth")),
    row("IncompleteSignature", 502, "server_error", Some("upstream_auth")),
    row("IncompleteSignatureException", 502, "server_error", Some("upstream_auth")),
    row("MissingAuthenticationTokenException", 502, "server_error", Some("upstream_auth")),
    row("UnrecognizedClientException", 502, "server_error", Some("upstream_auth")),
    row("ExpiredTokenException", 502, "server_error", Some("upstream_auth")),
    row("UnknownOperationException", 502, "server_error", Some("upstream_unreadable")),
];

/// What to answer to an HTTP error of Bedrock. `class` is the `x-amzn-errortype` header; without it the body's
/// `__type` or `code` is read, as the protocol says.
pub fn decode_error(status: u16, class: Option<&str>, body: &[u8]) -> Failure {
    let doc = json::parse(body, &Limits::default()).ok();
    let text = |key: &str| {
        let value = doc.as_ref().and_then(|doc| doc.root().get(key));
        value.and_then(|value| value.as_str()).map(|text| text.into_owned())
    };
    let class = match class {
        Some(class) if !bare(class).is_empty() => Some(class.to_owned()),
        _ => text("__type").or_else(|| text("code")),
    };
    let message = text("message").or_else(|| text("Message")).unwrap_or_default();
    of(class.as_deref().unwrap_or_default(), &message, Some(status))
}

/// What to answer to an exception; `status` is the HTTP status, where there was one of use.
pub(super) fn of(class: &str, message: &str, status: Option<u16>) -> Failure {
    let class = bare(class);
    let row = TABLE.iter().find(|row| row.class.eq_ignore_ascii_case(class));
    let status = match row {
        Some(row) => row.status,
        // An unknown class with a status of success cannot be right.
        None => status.filter(|status| *status >= 400).unwrap_or(500),
    };
    let context = row.is_some_and(|row| row.class == "ValidationException") && too_long(message);
    Failure {
        status,
        kind: row.map_or_else(|| crate::openai_chat::kind_of(status), |row| row.kind).into(),
        code: if context {
            Some("context_length_exceeded".into())
        } else {
            row.and_then(|row| row.code).map(Into::into)
        },
        message: match (message.is_empty(), class.is_empty()) {
            (false, _) => message.into(),
            (true, false) => format!("bedrock answered with {class}"),
            (true, true) => format!("bedrock answered with status {status}"),
        },
        param: None,
    }
}

/// The status and the class (`x-amzn-errortype`) in which AWS's SDKs understand an error that has this status, kind and
/// code elsewhere. A quota that waiting does not mend is 400, which none of them repeats.
pub fn class_of(status: u16, kind: &str, code: Option<&str>) -> (u16, &'static str) {
    let code = code.unwrap_or_default();
    let fits = |row: &&Class| {
        (row.from..=row.to).contains(&status)
            && (row.code.is_empty() || row.code == code)
            && (row.kind.is_empty() || row.kind == kind)
    };
    CLASSES.iter().find(fits).map_or((500, "InternalServerException"), |row| (row.status, row.class))
}

/// Statuses from here to there, with this code and this kind or any, as AWS says it.
struct Class {
    from: u16,
    to: u16,
    code: &'static str,
    kind: &'static str,
    status: u16,
    class: &'static str,
}

const fn any(code: &'static str, status: u16, class: &'static str) -> Class {
    Class { from: 0, to: u16::MAX, code, kind: "", status, class }
}

const fn by(from: u16, to: u16, code: &'static str, status: u16, class: &'static str) -> Class {
    Class { from, to, code, kind: "", status, class }
}

/// The first that fits holds.
const CLASSES: &[Class] = &[
    any("invalid_signature", 403, "InvalidSignatureException"),
    any("clock_skew", 403, "RequestTimeTooSkewed"),
    any("missing_api_key", 403, "MissingAuthenticationTokenException"),
    any("expired_api_key", 403, "ExpiredTokenException"),
    by(404, 404, "unknown_path", 404, "UnknownOperationException"),
    by(405, 405, "", 404, "UnknownOperationException"),
    any("model_error", 424, "ModelErrorException"),
    by(429, 429, "model_not_ready", 429, "ModelNotReadyException"),
    by(401, 401, "", 403, "UnrecognizedClientException"),
    by(403, 403, "", 403, "AccessDeniedException"),
    by(404, 404, "", 404, "ResourceNotFoundException"),
    by(408, 408, "", 408, "ModelTimeoutException"),
    by(413, 413, "", 413, "RequestEntityTooLargeException"),
    by(415, 415, "", 415, "UnsupportedMediaTypeException"),
    Class { kind: "insufficient_quota", ..by(429, 429, "", 400, "ServiceQuotaExceededException") },
    by(429, 429, "", 429, "ThrottlingException"),
    by(400, 499, "", 400, "ValidationException"),
    by(502, 504, "", 503, "ServiceUnavailableException"),
    by(529, 529, "", 503, "ServiceUnavailableException"),
];

/// The exception that a stream can end with, in camel case: it has fewer of them.
pub(super) fn class_in_stream(failure: &Failure) -> &'static str {
    by_name!(class_of(failure.status, &failure.kind, failure.code.as_deref()).1 => {
        "ThrottlingException" | "ServiceQuotaExceededException" => "throttlingException",
        "ServiceUnavailableException" => "serviceUnavailableException",
        "ModelErrorException" => "modelStreamErrorException",
        "ValidationException" => "validationException",
        _ => "internalServerException",
    })
}

/// The body of an error; its class is in a header. Our own code stands beside the message, where no SDK minds it.
pub fn error(code: Option<&str>, message: &str, param: Option<&str>) -> Vec<u8> {
    let mut out = Writer::new(Vec::with_capacity(64 + message.len()));
    let named = param.filter(|param| !param.is_empty()).map(|param| [param, ": ", message].concat());
    out.fill(r#"{"message":?"#, &[named.as_deref().unwrap_or(message)]);
    write::text(&mut out, "reason", code);
    out.end_object();
    out.into_inner()
}

/// A class without its namespace before `#` and its address behind `:`.
fn bare(class: &str) -> &str {
    let class = class.split_once(':').map_or(class, |(class, _)| class);
    trim(class.rsplit_once('#').map_or(class, |(_, class)| class))
}

/// Whether Bedrock refuses a prompt for its length; it has no code for that, only words that differ by model.
pub(crate) fn too_long(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "input is too long",
        "too many input tokens",
        "prompt is too long",
        "maximum context length",
        "context window",
    ]
    .iter()
    .any(|words| weir_sorted::contains(&message, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exception_has_its_word() {
        for (status, class, client, kind, code) in [
            (400, "ValidationException", 400, "invalid_request_error", None),
            (400, "ServiceQuotaExceededException", 429, "insufficient_quota", Some("insufficient_quota")),
            (400, "ConflictException", 400, "invalid_request_error", Some("conflict")),
            (403, "AccessDeniedException", 403, "permission_error", Some("access_denied")),
            (404, "ResourceNotFoundException", 404, "not_found_error", Some("model_not_found")),
            (408, "ModelTimeoutException", 408, "timeout_error", Some("timeout")),
            (429, "ThrottlingException", 429, "rate_limit_error", Some("rate_limit_exceeded")),
            (429, "ModelNotReadyException", 503, "server_error", Some("model_not_ready")),
            (424, "ModelErrorException", 502, "server_error", Some("model_error")),
            (424, "ModelStreamErrorException", 502, "server_error", Some("model_error")),
            (500, "InternalServerException", 500, "server_error", None),
            (503, "ServiceUnavailableException", 503, "server_error", Some("service_unavailable")),
            (403, "InvalidSignatureException", 502, "server_error", Some("upstream_auth")),
            (418, "NovelException", 418, "invalid_request_error", None),
        ] {
            let header = format!("{class}:http://internal.amazon.com/coral/com.amazon.bedrock/");
            let failure = decode_error(status, Some(&header), br#"{"message":"words"}"#);
            let seen =
                (failure.status, failure.kind.as_str(), failure.code.as_deref(), failure.message.as_str());
            assert_eq!(seen, (client, kind, code, "words"), "{class}");
            // The same class in a frame, and in the body.
            let mut frame = class.to_owned();
            frame.get_mut(..1).unwrap().make_ascii_lowercase();
            let in_frame = of(&frame, "words", None);
            let in_body = decode_error(
                status,
                None,
                format!(r#"{{"__type":"ns#{class}","message":"words"}}"#).as_bytes(),
            );
            assert_eq!(in_body, failure);
            if class != "NovelException" {
                assert_eq!(in_frame, failure);
            }
        }
    }

    #[test]
    fn a_prompt_too_long_is_told_by_its_code() {
        let failure = decode_error(
            400,
            Some("ValidationException"),
            br#"{"message":"Input is too long for requested model."}"#,
        );
        assert_eq!(failure.code.as_deref(), Some("context_length_exceeded"));
    }

    #[test]
    fn an_error_without_any_word_still_has_one() {
        for (status, body, client) in [(500, "", 500), (403, "<html>", 403), (200, "{}", 500)] {
            let failure = decode_error(status, None, body.as_bytes());
            assert_eq!(failure.status, client);
            assert!(!failure.message.is_empty());
        }
    }
}
