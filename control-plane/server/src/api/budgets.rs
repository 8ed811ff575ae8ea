//! What operators do to budgets: raise a limit for a while, give free what lost gateways have; and what was done.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_config::policy::{Count, Duration, Usd};
use weir_lease::Unit;
use weir_ledger::{BudgetDef, Error, Scope};

use super::auth::Caller;
use super::spend::no_budget;
use super::{Answer, Problem};
use crate::control::Control;
use crate::fleet::unix_ms;

/// Between two values of a subject with several.
pub const BETWEEN: &str = "\u{1f}";
/// An override ends within a year: what is to last longer belongs into the policy.
const LONGEST: u64 = 366 * 86_400_000;

/// A value that may be written as text or as a number.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// One value, or one for each name of `each`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Subject {
    One(String),
    Several(Vec<String>),
}

/// Which counters of the budget.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    subject: Option<Subject>,
    unit: Option<String>,
    /// Release only: one session, as `GET /api/sessions` names it.
    sid: Option<String>,
}

/// The body of an override.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    subject: Option<Subject>,
    unit: Option<String>,
    add: Scalar,
    /// Left out only where `add` is 0.
    until: Option<Scalar>,
}

/// The budgets, their limits, and what is added to them.
pub async fn list(State(control): State<Arc<Control>>) -> Answer {
    let overrides = control.ledger.overrides().await.map_err(|why| Problem::ledger(&why))?;
    let spend = control.ledger.spend().await.map_err(|why| Problem::ledger(&why))?;
    let budgets = control.ledger.budgets();
    let told = budgets.iter().map(|budget| {
        let counters = spend.iter().filter(|counter| {
            let instance = &counter.instance;
            instance.budget == budget.name && instance.unit() == budget.unit && !counter.gone
        });
        let (mut count, mut fullest) = (0u64, Value::Null);
        let mut most = 0u128;
        for counter in counters {
            count += 1;
            let taken = u128::from(counter.limit.saturating_sub(counter.left));
            let share = taken * 1_000_000 / u128::from(counter.limit.max(1));
            if count == 1 || share > most {
                most = share;
                fullest = json!({
                    "subject": counter.instance.subject,
                    "left": counter.left,
                    "limit": counter.limit,
                });
            }
        }
        let here = overrides.iter().filter(|one| one.scope.names(budget));
        json!({
            "budget": budget.name,
            "unit": budget.unit.name(),
            "limit": budget.limit,
            "window": budget.window.name(),
            "timezone": budget.timezone,
            "each": budget.each,
            "counters": count,
            "fullest": fullest,
            "overrides": here.map(|one| json!({
                "id": one.id,
                "subject": one.scope.subject,
                "add": one.add,
                "until_ms": one.until,
            })).collect::<Vec<Value>>(),
        })
    });
    Ok(Json(json!({"budgets": told.collect::<Vec<Value>>()})))
}

/// `POST /api/budgets/NAME/override`.
pub async fn override_limit(
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
    Extension(Caller(by)): Extension<Caller>,
    body: Result<Json<Raise>, JsonRejection>,
) -> Answer {
    let Json(raise) = body.map_err(|why| {
        Problem::bad(format!("{}; send {{\"add\": \"100k\", \"until\": \"2h\"}}", why.body_text()))
    })?;
    let budget = one_unit(&control, &name, raise.unit.as_deref())?;
    let add = amount(&raise.add.to_string(), budget.unit)?;
    let until = match (&raise.until, add) {
        (None, 0) => unix_ms(),
        (None, _) => return Err(Problem::bad("say `until` when: an hour ahead is \"1h\"")),
        (Some(until), _) => instant(&until.to_string(), unix_ms())?,
    };
    let subject = subject(raise.subject, &budget)?;
    let what = match add {
        0 => "override ended".to_owned(),
        _ => format!("override: add {} until {}", shown(add, budget.unit), time(until)),
    };
    let what = format!("{what}, budget {name}{}", of(subject.as_deref()));
    let scope = Scope { budget: name.clone(), unit: Some(budget.unit), subject: subject.clone() };
    let done = control.ledger.override_limit(scope, add, until, &by).await;
    control.audit.write(&by, &what, done.as_ref().err().map(Error::to_string));
    match done {
        Ok(()) => Ok(Json(json!({
            "budget": name,
            "unit": budget.unit.name(),
            "subject": subject,
            "add": add,
            "until_ms": until,
        }))),
        Err(Error::NoBudget(name)) => Err(no_budget(&control, &name)),
        Err(why) => Err(Problem::ledger(&why)),
    }
}

/// `POST /api/budgets/NAME/release-stranded`.
pub async fn release(
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
    Extension(Caller(by)): Extension<Caller>,
    body: Result<Json<Which>, JsonRejection>,
) -> Answer {
    let Json(which) = body.map_err(|why| Problem::bad(format!("{}; send at least {{}}", why.body_text())))?;
    let budgets = control.ledger.budgets();
    let Some(first) = budgets.iter().find(|budget| budget.name == name) else {
        return Err(no_budget(&control, &name));
    };
    let unit = match &which.unit {
        Some(_) => Some(one_unit(&control, &name, which.unit.as_deref())?.unit),
        None => None,
    };
    let subject = subject(which.subject, first)?;
    let sid = which.sid.as_deref().map(|sid| {
        u64::from_str_radix(sid, 16)
            .map_err(|_| Problem::bad(format!("sid `{sid}`: 16 hex digits, as /api/sessions shows it")))
    });
    let sid = sid.transpose()?;
    let scope = Scope { budget: name.clone(), unit, subject: subject.clone() };
    let done = control.ledger.release(scope, sid, &by).await;
    let what = match &done {
        Ok(released) => {
            let units: u128 = released.iter().map(|one| u128::from(one.units)).sum();
            format!("released {units} stranded units, budget {name}{}", of(subject.as_deref()))
        }
        Err(_) => format!("release of stranded units, budget {name}{}", of(subject.as_deref())),
    };
    control.audit.write(&by, &what, done.as_ref().err().map(Error::to_string));
    let released = match done {
        Ok(released) => released,
        Err(Error::NoBudget(name)) => return Err(no_budget(&control, &name)),
        Err(why) => return Err(Problem::ledger(&why)),
    };
    let rows = released.iter().map(|one| {
        json!({
            "unit": one.instance.unit().name(),
            "subject": one.instance.subject,
            "sid": format!("{:016x}", one.sid),
            "node": one.node,
            "units": one.units,
        })
    });
    Ok(Json(json!({"budget": name, "released": rows.collect::<Vec<Value>>()})))
}

/// `GET /api/ledger`: how busy the ledger is.
pub async fn ledger(State(control): State<Arc<Control>>) -> Answer {
    control.ledger.counters().await.map(Json).map_err(|why| Problem::ledger(&why))
}

/// `POST /api/ledger/confirm-empty`: a Redis that was emptied may start from nothing.
pub async fn confirm_empty(
    State(control): State<Arc<Control>>,
    Extension(Caller(by)): Extension<Caller>,
) -> Answer {
    let done = control.ledger.confirm().await;
    let what = "the ledger's empty store is meant to be empty";
    control.audit.write(&by, what, done.as_ref().err().map(Error::to_string));
    done.map_err(|why| Problem::ledger(&why))?;
    Ok(Json(json!({"confirmed": true})))
}

/// `GET /api/alerts`.
pub async fn alerts(State(control): State<Arc<Control>>) -> Answer {
    let alerts = control.ledger.alerts().await.map_err(|why| Problem::ledger(&why))?;
    let told = alerts.iter().map(|alert| {
        json!({
            "at_ms": alert.at,
            "budget": alert.instance.budget,
            "unit": alert.instance.unit().name(),
            "subject": alert.instance.subject,
            "percent": alert.threshold as f64 / 100.0,
            "spent": alert.spent,
            "limit": alert.limit,
        })
    });
    Ok(Json(json!({"alerts": told.collect::<Vec<Value>>()})))
}

/// `GET /api/audit`: calls to this control plane, and what the ledger itself noted.
pub async fn audit(State(control): State<Arc<Control>>) -> Answer {
    let noted = control.ledger.audit().await.map_err(|why| Problem::ledger(&why))?;
    let ledger: Vec<Value> =
        noted.iter().map(|one| json!({"at_ms": one.at, "by": one.by, "what": one.what})).collect();
    let calls = control.audit.read();
    let calls =
        calls.map_err(|why| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("audit: {why}")))?;
    Ok(Json(json!({"calls": calls, "ledger": ledger})))
}

/// The unit that is meant: the only one, or the one that is named.
fn one_unit(control: &Control, name: &str, unit: Option<&str>) -> Result<BudgetDef, Problem> {
    let budgets = control.ledger.budgets();
    let all: Vec<&BudgetDef> = budgets.iter().filter(|budget| budget.name == name).collect();
    let units: Vec<&str> = all.iter().map(|budget| budget.unit.name()).collect();
    match (all.as_slice(), unit) {
        ([], _) => Err(no_budget(control, name)),
        ([one], None) => Ok((*one).clone()),
        (several, Some(unit)) => several
            .iter()
            .find(|budget| budget.unit.name() == unit)
            .map(|budget| (*budget).clone())
            .ok_or_else(|| {
                Problem::bad(format!("budget `{name}` has no limit in `{unit}`; it has {}", units.join(", ")))
            }),
        (_, None) => Err(Problem::bad(format!(
            "budget `{name}` has limits in {}: say which one, `unit` (or --unit)",
            units.join(" and ")
        ))),
    }
}

fn subject(of: Option<Subject>, budget: &BudgetDef) -> Result<Option<String>, Problem> {
    let values = match of {
        None => return Ok(None),
        Some(Subject::One(one)) => one.split(BETWEEN).map(str::to_owned).collect(),
        Some(Subject::Several(several)) => several,
    };
    if values.len() == budget.each.len() {
        return Ok(Some(values.join(BETWEEN)));
    }
    Err(Problem::bad(match budget.each.as_slice() {
        [] => format!("budget `{}` has one counter for everybody: leave the subject out", budget.name),
        each => {
            let each = each.join(", ");
            format!(
                "budget `{}` has one counter for each {each}: name a subject of each, in this order",
                budget.name
            )
        }
    }))
}

fn of(subject: Option<&str>) -> String {
    subject.map_or_else(String::new, |subject| format!(" of {}", subject.replace(BETWEEN, ", ")))
}

fn amount(text: &str, unit: Unit) -> Result<u64, Problem> {
    let bad = |why: weir_config::policy::BadQuantity| Problem::bad(format!("add `{text}`: {why}"));
    match unit {
        Unit::NanoUsd => Usd::from_str(text).map(|usd| usd.nano).map_err(bad),
        Unit::Tokens | Unit::Requests => Count::from_str(text).map(|count| count.0).map_err(bad),
    }
}

/// A span from now, an RFC 3339 instant, or Unix milliseconds; as Unix milliseconds.
fn instant(text: &str, now: u64) -> Result<u64, Problem> {
    let at = if let Ok(span) = Duration::from_str(text) {
        now.saturating_add(span.ms)
    } else if let Ok(at) = text.parse::<Timestamp>() {
        u64::try_from(at.as_millisecond()).unwrap_or(0)
    } else if let Ok(ms) = text.parse::<u64>() {
        ms
    } else {
        return Err(Problem::bad(format!(
            "until `{text}`: say a span such as 2h, or an instant such as 2030-01-31T18:00:00Z"
        )));
    };
    match at {
        at if at <= now => Err(Problem::bad(format!("until `{text}` is over: name a time to come"))),
        at if at > now + LONGEST => Err(Problem::bad(format!(
            "until `{text}` is more than a year ahead: raise the limit in the policy instead"
        ))),
        at => Ok(at),
    }
}

/// An amount in the words of the policy.
fn shown(amount: u64, unit: Unit) -> String {
    match unit {
        Unit::NanoUsd => format!("{} USD", Usd { nano: amount }),
        Unit::Tokens | Unit::Requests => format!("{amount} {}", unit.name()),
    }
}

fn time(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(String::new, |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_a_span_a_date_or_milliseconds_and_always_ahead() {
        let now = 1_700_000_000_000;
        assert_eq!(instant("2h", now).unwrap(), now + 7_200_000);
        assert_eq!(instant("2023-11-15T00:00:00Z", now).unwrap(), 1_700_006_400_000);
        assert_eq!(instant("2023-11-15T01:00:00+01:00", now).unwrap(), 1_700_006_400_000);
        assert_eq!(instant("1700000000001", now).unwrap(), now + 1);
        for (bad, says) in [
            ("tomorrow", "such as 2h"),
            ("2023-11-14T00:00:00Z", "is over"),
            ("400d", "policy"),
            ("1700000000000", "is over"),
        ] {
            assert!(instant(bad, now).unwrap_err().message.contains(says), "{bad}");
        }
    }

    #[test]
    fn an_amount_is_written_as_in_the_policy() {
        assert_eq!(amount("100k", Unit::Tokens).unwrap(), 100_000);
        assert_eq!(amount("2.5", Unit::NanoUsd).unwrap(), 2_500_000_000);
        assert!(amount("-1", Unit::Tokens).is_err() && amount("lots", Unit::NanoUsd).is_err());
    }
}
