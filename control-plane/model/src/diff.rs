//! What changed between two policies, path by path. Items of lists are told apart by their names, so that
//! one put in front does not change all that follow.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use weir_config::policy::Policy;

use crate::compile::definition;
use crate::node::{entry_path, item_path};

/// One change; prints as `+ PATH: VALUE`, `- PATH: VALUE` or `~ PATH: OLD -> NEW`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// `budgets[acme-month].limit.usd`
    pub path: String,
    /// What it was; `None` if it was not there.
    pub before: Option<Value>,
    /// What it is; `None` if it is gone.
    pub after: Option<Value>,
    /// A consequence that the values do not show.
    pub note: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "~ {path}: {before} -> {after}")?,
            (None, Some(after)) => write!(f, "+ {path}: {after}")?,
            (Some(before), None) => write!(f, "- {path}: {before}")?,
            (None, None) => write!(f, "~ {path}")?,
        }
        self.note.as_ref().map_or(Ok(()), |note| write!(f, " ({note})"))
    }
}

/// What changed from one policy to the other, sorted by path.
pub fn diff(old: &Policy, new: &Policy) -> Vec<Change> {
    let (Ok(before), Ok(after)) = (serde_json::to_value(old), serde_json::to_value(new)) else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    compare("", Some(&before), Some(&after), &mut changes);
    for budget in &new.budgets {
        let hash = definition(budget, new);
        let mut before = old.budgets.iter().filter(|before| before.name == budget.name).peekable();
        let renewed = before.peek().is_some() && before.all(|before| definition(before, old) != hash);
        if renewed {
            let note = Some("its definition changed: a new counter starts at zero".to_owned());
            let path = format!("budgets[{}]", budget.name);
            changes.push(Change { path, before: None, after: None, note });
        }
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, out: &mut Vec<Change>) {
    match (before, after) {
        (a, b) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let new = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(new) {
                compare(&entry_path(path, key), a.get(key), b.get(key), out);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => compare_lists(path, a, b, out),
        (before, after) => out.push(Change {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
            note: None,
        }),
    }
}

fn compare_lists(path: &str, before: &[Value], after: &[Value], out: &mut Vec<Change>) {
    let (Some(a), Some(b)) = (by_name(before), by_name(after)) else {
        for index in 0..before.len().max(after.len()) {
            compare(&item_path(path, index), before.get(index), after.get(index), out);
        }
        return;
    };
    let names = |list: &[Value]| list.iter().filter_map(name).map(str::to_owned).collect::<Vec<_>>();
    let common = |names: Vec<String>, other: &BTreeMap<&str, &Value>| {
        names.into_iter().filter(|name| other.contains_key(name.as_str())).collect::<Vec<_>>()
    };
    if common(names(before), &b) != common(names(after), &a) {
        let note = Some("the order changed".to_owned());
        out.push(Change { path: path.to_owned(), before: None, after: None, note });
    }
    for (name, item) in &a {
        compare(&format!("{path}[{name}]"), Some(item), b.get(name).copied(), out);
    }
    for (name, item) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
        compare(&format!("{path}[{name}]"), None, Some(item), out);
    }
}

fn name(item: &Value) -> Option<&str> {
    item.get("name").or_else(|| item.get("id")).and_then(Value::as_str)
}

/// The items by name; `None` where one has none or two have the same.
fn by_name(items: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let map: Option<BTreeMap<_, _>> = items.iter().map(|item| Some((name(item)?, item))).collect();
    map.filter(|map| map.len() == items.len())
}
