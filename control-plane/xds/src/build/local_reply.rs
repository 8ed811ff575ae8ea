//! Envoy's own refusals in the shape that OpenAI clients read.
//!
//! Weir's answers already are in the client's dialect; they are told from Envoy's by their code details.

use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLogFilter, ExtensionFilter, access_log_filter, extension_filter,
};
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;

use super::any::pack;
use crate::ordered::{JsonFormat, LocalReplies, LocalReplyConfig, ResponseMapper, Struct, Value};

pub fn local_replies() -> LocalReplies {
    let mappers = vec![
        mapper("response.code >= 500", UNSERVED, "server_error", "gateway_error"),
        mapper("response.code == 413", TOO_LARGE, "invalid_request_error", "request_too_large"),
        mapper("response.code >= 400", REFUSED, "invalid_request_error", "gateway_refused"),
    ];
    LocalReplies { config: Some(LocalReplyConfig { mappers }) }
}

/// A wasm filter's answers have the details that the filter gave, or none.
const FROM_ENVOY: &str = "response.code_details != 'weir' && response.code_details != ''";
const UNSERVED: &str =
    "The gateway could not serve this request: %LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)";
const TOO_LARGE: &str = "The request body is larger than this gateway takes.";
const REFUSED: &str = "The gateway refused this request: %LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)";

fn mapper(codes: &str, message: &str, kind: &str, code: &str) -> ResponseMapper {
    let expression =
        ExpressionFilter { expression: format!("{FROM_ENVOY} && {codes}"), ..Default::default() };
    let extension = ExtensionFilter {
        name: "envoy.access_loggers.extension_filters.cel".to_owned(),
        config_type: Some(extension_filter::ConfigType::TypedConfig(pack(&expression))),
    };
    let error = Value::object([
        ("message", Value::text(message)),
        ("type", Value::text(kind)),
        ("param", Value::null()),
        ("code", Value::text(code)),
    ]);
    ResponseMapper {
        filter: Some(AccessLogFilter {
            filter_specifier: Some(access_log_filter::FilterSpecifier::ExtensionFilter(extension)),
        }),
        body: Some(JsonFormat { json: Some(Struct::of([("error", error)])) }),
    }
}
