//! The access log: one JSON line per request, with the record that the exchange filter leaves in filter state.

use envoy_types::pb::envoy::config::accesslog::v3::{self as accesslog, access_log};
use envoy_types::pb::envoy::extensions::access_loggers::{file, stream};

use super::any::pack_as;
use crate::input::AccessLog;
use crate::ordered::{FileAccessLog, JsonFormat, StdoutAccessLog, Struct, Value};

/// From `wasm.rec` a span that was lost on its way can be rebuilt.
const FIELDS: [(&str, &str); 13] = [
    ("time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("status", "%RESPONSE_CODE%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream", "%UPSTREAM_HOST%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("received", "%BYTES_RECEIVED%"),
    ("sent", "%BYTES_SENT%"),
    ("duration_ms", "%DURATION%"),
    ("protocol", "%PROTOCOL%"),
    ("weir", "%FILTER_STATE(wasm.rec:PLAIN)%"),
];

pub fn access_log(to: &AccessLog) -> Vec<accesslog::AccessLog> {
    let fields = FIELDS.iter().map(|(name, format)| ((*name).to_owned(), Value::text(format))).collect();
    let format = Some(JsonFormat { json: Some(Struct { fields }) });
    let (name, config) = match to {
        AccessLog::Off => return Vec::new(),
        AccessLog::Stdout => (
            "envoy.access_loggers.stdout",
            pack_as::<stream::v3::StdoutAccessLog>(&StdoutAccessLog { format }),
        ),
        AccessLog::File(path) => (
            "envoy.access_loggers.file",
            pack_as::<file::v3::FileAccessLog>(&FileAccessLog { path: path.clone(), format }),
        ),
    };
    vec![accesslog::AccessLog {
        name: name.to_owned(),
        config_type: Some(access_log::ConfigType::TypedConfig(config)),
        ..Default::default()
    }]
}
