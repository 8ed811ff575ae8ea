//! Taking a gateway out of service without stranding what it holds.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_ledger::Holder;

use super::auth::Caller;
use super::{Answer, Problem};
use crate::control::Control;

/// Which gateway processes: all of a node, or all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    node: Option<String>,
    /// Must be said, lest a forgotten name drain the fleet.
    #[serde(default)]
    all: bool,
}

/// Which ones to show.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    node: Option<String>,
}

/// `GET /api/sessions`.
pub async fn sessions(State(control): State<Arc<Control>>, Query(ask): Query<Ask>) -> Answer {
    let holders = control.ledger.holders().await.map_err(|why| Problem::ledger(&why))?;
    let here = holders.iter().filter(|one| ask.node.as_ref().is_none_or(|node| *node == one.node));
    Ok(Json(json!({"sessions": here.map(session).collect::<Vec<Value>>()})))
}

/// `POST /api/drain`: tells gateway processes to return what they do not use and to close when nothing is held any
/// more. Answers at once; `GET /api/sessions` shows how far they are.
pub async fn drain(
    State(control): State<Arc<Control>>,
    caller: Option<Extension<Caller>>,
    body: Result<Json<Which>, JsonRejection>,
) -> Answer {
    let Json(which) =
        body.map_err(|why| Problem::bad(format!("{}; send {{\"node\": \"NAME\"}}", why.body_text())))?;
    if which.node.is_none() && !which.all {
        return Err(Problem::bad("say which `node`, as /api/sessions shows it, or {\"all\": true}"));
    }
    if which.all && caller.is_none() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "a gateway drains itself: say its `node`; all at once go over the API",
        ));
    }
    let by = caller.map_or_else(|| "a gateway".to_owned(), |Extension(Caller(by))| by);
    let holders = control.ledger.holders().await.map_err(|why| Problem::ledger(&why))?;
    let mut told = Vec::new();
    for one in holders {
        let meant = which.node.as_ref().is_none_or(|node| *node == one.node);
        if !meant || one.closed || one.lost {
            continue;
        }
        if !one.draining {
            let done = control.ledger.drain(one.sid).await;
            let what = format!("drain of {} ({:016x})", one.node, one.sid);
            control.audit.write(&by, &what, done.as_ref().err().cloned());
            done.map_err(|why| {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{what}: {why}; try again"))
            })?;
        }
        told.push(session(&Holder { draining: true, ..one }));
    }
    Ok(Json(json!({"sessions": told})))
}

fn session(of: &Holder) -> Value {
    json!({
        "sid": format!("{:016x}", of.sid),
        "node": of.node,
        "silent_ms": of.silent_ms,
        "lost": of.lost,
        "draining": of.draining,
        "closed": of.closed,
        "counters": of.counters,
    })
}
