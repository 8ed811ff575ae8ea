//! The REST API: what runs, who has it, and whether all is well.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::control::Control;

/// All routes.
pub fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/api/status", get(status))
        .route("/api/policy", get(policy))
        .route("/api/spend", get(spend))
        .with_state(control)
}

/// Ready once there is something to tell gateways.
async fn ready(State(control): State<Arc<Control>>) -> (StatusCode, &'static str) {
    match control.status().version.is_empty() {
        false => (StatusCode::OK, "ready\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "no policy yet\n"),
    }
}

async fn status(State(control): State<Arc<Control>>) -> Json<Value> {
    Json(json!({
        "policy": control.status(),
        "gateways": control.fleet.gateways(),
        "refusals": control.fleet.refusals(),
    }))
}

async fn policy(State(control): State<Arc<Control>>) -> Json<Value> {
    let status = control.status();
    Json(json!({"version": status.version, "text": status.text}))
}

async fn spend(State(control): State<Arc<Control>>) -> Result<Json<Value>, (StatusCode, String)> {
    let spend = control.ledger.spend().await;
    spend.map(Json).map_err(|why| (StatusCode::SERVICE_UNAVAILABLE, why))
}
