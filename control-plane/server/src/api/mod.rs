//! The REST API: what runs, who has it, whether all is well, whose spend it is; and what operators do to budgets.
//!
//! Reading is free to whoever reaches the port. Changing needs the token, or without one a caller on this machine
//! (`auth`). Every error is `{"error": "what is wrong, and what to do next"}`.

mod auth;
mod budget_metrics;
mod budgets;
mod decisions;
mod drain;
mod metrics;
mod pairs;
mod spend;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::{Value, json};

pub use auth::{Guard, token};

use crate::control::Control;

/// All routes.
pub fn router(control: Arc<Control>, guard: Guard) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/status", get(status))
        .route("/api/policy", get(policy))
        .route("/api/spend", get(spend::spend))
        .route("/api/budgets", get(budgets::list))
        .route("/api/budgets/{name}/override", post(budgets::override_limit))
        .route("/api/budgets/{name}/release-stranded", post(budgets::release))
        .route("/api/alerts", get(budgets::alerts))
        .route("/api/decisions", get(decisions::status))
        .route("/api/decisions/verify", get(decisions::verify))
        .route("/api/decisions/{id}", get(decisions::why))
        .route("/api/audit", get(budgets::audit))
        .route("/api/pairs", get(pairs::list).post(pairs::issue))
        .route("/api/pairs/{name}/revoke", post(pairs::revoke))
        .route("/api/ledger", get(budgets::ledger))
        .route("/api/ledger/confirm-empty", post(budgets::confirm_empty))
        .route("/api/sessions", get(drain::sessions))
        .route("/api/drain", post(drain::drain))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no such path; the paths are in the README"))
        .layer(middleware::from_fn_with_state(Arc::new(guard), auth::check))
        .with_state(control)
}

/// The part of it that gateways may use, on the port where they fetch their configuration: taking themselves out of
/// service. They could say as much by the ledger's own service.
pub fn for_gateways(control: Arc<Control>) -> Router {
    Router::new()
        .route("/api/sessions", get(drain::sessions))
        .route("/api/drain", post(drain::drain))
        .with_state(control)
}

/// Why a call failed, for people.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    /// A status, and what to do next.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The caller's mistake.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The ledger's word.
    pub fn ledger(why: &weir_ledger::Error) -> Self {
        let message = format!("{why}; look at the control plane's log, nothing was changed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.message}))).into_response()
    }
}

type Answer = Result<Json<Value>, Problem>;

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
