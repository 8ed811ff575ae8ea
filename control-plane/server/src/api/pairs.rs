//! Key pairs for AWS's SDKs: issue, list, revoke. A secret is told once, to whoever has it issued.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_config::policy::Date;

use super::auth::Caller;
use super::{Answer, Problem};
use crate::control::Control;
use crate::fleet::unix_ms;
use crate::pairs::PairError;

/// What is wanted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    tenant: String,
    id: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    expires: Option<Date>,
}

/// `GET /api/pairs`.
pub async fn list(State(control): State<Arc<Control>>) -> Answer {
    let pairs = control.pairs.list();
    let shown = pairs.iter().map(|pair| {
        json!({
            "id": pair.id, "tenant": pair.tenant, "access_key": pair.access_key, "labels": pair.labels,
            "created_ms": pair.created * 1000, "expires_ms": pair.expires.map(|at| at * 1000),
        })
    });
    Ok(Json(json!({"pairs": shown.collect::<Vec<Value>>()})))
}

/// `POST /api/pairs`.
pub async fn issue(
    State(control): State<Arc<Control>>,
    Extension(Caller(by)): Extension<Caller>,
    body: Result<Json<Wanted>, JsonRejection>,
) -> Answer {
    let Json(wanted) = body.map_err(|why| {
        Problem::bad(format!("{}; send {{\"tenant\": \"NAME\", \"id\": \"NAME\"}}", why.body_text()))
    })?;
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if wanted.id.is_empty() || wanted.id.len() > 64 || !wanted.id.chars().all(good) {
        return Err(Problem::bad("an `id` has 1 to 64 letters, digits, `-`, `_` and `.`"));
    }
    let tenants = control.tenants();
    let Some((_, keys)) = tenants.iter().find(|(name, _)| *name == wanted.tenant) else {
        let names: Vec<&str> = tenants.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!("no tenant `{}`; the policy has {}", wanted.tenant, names.join(", "));
        return Err(Problem::new(StatusCode::NOT_FOUND, message));
    };
    if keys.contains(&wanted.id) {
        return Err(Problem::bad(format!("a key of the policy has the id `{}`", wanted.id)));
    }
    let expires = wanted.expires.map(|date| date.unix);
    let now = unix_ms() / 1000;
    let done = control.pairs.issue(&wanted.tenant, &wanted.id, wanted.labels, expires, now);
    let what = format!("key pair {} of tenant {} issued", wanted.id, wanted.tenant);
    control.audit.write(&by, &what, done.as_ref().err().map(PairError::to_string));
    match done {
        Ok(pair) => Ok(Json(json!({
            "id": pair.id, "tenant": pair.tenant, "access_key": pair.access_key, "secret": pair.secret,
        }))),
        Err(why @ PairError::Taken(_)) => Err(Problem::new(StatusCode::CONFLICT, why.to_string())),
        Err(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string())),
    }
}

/// `POST /api/pairs/NAME/revoke`: from then on it is refused everywhere, in under a second.
pub async fn revoke(
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
    Extension(Caller(by)): Extension<Caller>,
) -> Answer {
    let done = control.pairs.revoke(&name);
    let what = format!("key pair {name} revoked");
    control.audit.write(&by, &what, done.as_ref().err().map(PairError::to_string));
    match done {
        Ok(Some(pair)) => Ok(Json(json!({"id": pair.id, "access_key": pair.access_key}))),
        Ok(None) => Err(Problem::new(StatusCode::NOT_FOUND, format!("no key pair `{name}`"))),
        Err(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string())),
    }
}
