//! `GET /api/decisions`, `/api/decisions/{id}` and `/api/decisions/verify`: the decision log.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::Value;

use super::{Answer, Problem};
use crate::control::Control;

/// Longest id that is looked for.
const LONGEST: usize = 256;

/// Where the log is, and how far it has come.
pub async fn status(State(control): State<Arc<Control>>) -> Answer {
    control.decisions.status().map(Json).ok_or_else(no_log)
}

/// What was decided on one request.
pub async fn why(State(control): State<Arc<Control>>, Path(id): Path<String>) -> Answer {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if id.len() > LONGEST || !id.bytes().all(plain) {
        return Err(Problem::bad("no such id: it is in `x-weir-request-id` of the answer"));
    }
    let told = read(control.decisions.why(&id).await)?;
    if told["found"].as_array().is_some_and(Vec::is_empty) {
        let why = match told["damaged"].is_object() {
            true => "a part of the log that may have it is damaged: `weir why --verify` says where",
            false => {
                "records come about a second after the answer, and only of requests that `telemetry.decisions.when` names"
            }
        };
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("the log has no request `{id}`; {why}")));
    }
    Ok(Json(told))
}

/// Whether the log is as it was written.
pub async fn verify(State(control): State<Arc<Control>>) -> Answer {
    read(control.decisions.verify().await).map(Json)
}

fn read(told: Option<io::Result<Value>>) -> Result<Value, Problem> {
    let failed = |why: io::Error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("the decision log cannot be read: {why}"))
    };
    told.ok_or_else(no_log)?.map_err(failed)
}

fn no_log() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "the policy names no decision log: `telemetry.decisions`")
}
