//! `GET /api/spend`: every counter as the ledger has it, or divided by who spent.
//!
//! | query | answer |
//! |---|---|
//! | none | all counters |
//! | `budget`, `subject` | those counters |
//! | `by` with `budget` | those counters, each with `rows` and `unattributed` |
//! | `by` alone, `days` | requests, tokens and cost of the last so many days (UTC, today included), by row |

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Problem};
use crate::control::Control;
use crate::fleet::unix_ms;
use crate::ledger;
use crate::spend::By;

/// What is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    budget: Option<String>,
    subject: Option<String>,
    by: Option<String>,
    days: Option<u64>,
}

pub async fn spend(State(control): State<Arc<Control>>, ask: Query<Ask>) -> Answer {
    let Query(ask) = ask;
    let by: Option<By> = ask.by.as_deref().map(str::parse).transpose().map_err(Problem::bad)?;
    if ask.budget.is_none() && by.is_some() {
        let days = ask.days.unwrap_or(1).clamp(1, 62);
        let today = unix_ms() / 86_400_000;
        let from = (today + 1).saturating_sub(days);
        let Some(by) = by else { return Err(Problem::bad("say what to divide by")) };
        let mut told = control.spend.days(from, today, &by);
        told["from_ms"] = (from * 86_400_000).into();
        told["to_ms"] = unix_ms().into();
        return Ok(Json(told));
    }
    if ask.days.is_some() {
        return Err(Problem::bad("`days` goes with `by` alone; a budget's counters are of their own window"));
    }
    let all = control.ledger.spend().await.map_err(|why| Problem::ledger(&why))?;
    let wanted = |counter: &&weir_ledger::Spend| {
        ask.budget.as_ref().is_none_or(|name| *name == counter.instance.budget)
            && ask.subject.as_ref().is_none_or(|subject| *subject == counter.instance.subject)
    };
    if let Some(name) = &ask.budget
        && !control.ledger.budgets().iter().any(|budget| budget.name == *name)
        && !all.iter().any(|counter| counter.instance.budget == *name)
    {
        return Err(no_budget(&control, name));
    }
    let counters: Vec<Value> = all
        .iter()
        .filter(wanted)
        .map(|counter| {
            let mut told = ledger::counter(counter);
            if let Some(by) = &by {
                let (rows, unattributed) = control.spend.counter(counter, ledger::wid(counter), by);
                told["rows"] = rows.into();
                told["unattributed"] = unattributed.map_or(Value::Null, Value::from);
            }
            told
        })
        .collect();
    let mut told = json!({"counters": counters});
    if let Some(by) = by {
        told["by"] = by.names().into();
    }
    Ok(Json(told))
}

/// The name, and those that exist.
pub fn no_budget(control: &Control, name: &str) -> Problem {
    let mut names: Vec<String> =
        control.ledger.budgets().iter().map(|budget| format!("`{}`", budget.name)).collect();
    names.dedup();
    let known = match names.len() {
        0 => "the policy has none".to_owned(),
        1..=20 => format!("the policy has {}", names.join(", ")),
        many => format!("the policy has {many}: `weir budget list` shows them"),
    };
    Problem::new(StatusCode::NOT_FOUND, format!("no budget `{name}`; {known}"))
}
