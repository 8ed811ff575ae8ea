//! How two JSON documents differ, as paths with `[]` for any place in a list.

use std::collections::BTreeSet;

use serde_json::Value;

/// Collects the differences. `alike` names one that is only another way of saying the same.
pub fn differences(
    path: &str,
    before: &Value,
    after: &Value,
    alike: fn(&Value, &Value) -> Option<&'static str>,
    out: &mut BTreeSet<String>,
) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => differences(&path, a, b, alike, out),
                    (Some(_), None) => _ = out.insert(format!("{path} is gone")),
                    (None, _) => _ = out.insert(format!("{path} is new")),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| differences(&format!("{path}[]"), a, b, alike, out));
        }
        _ if before == after => {}
        _ => {
            let lists = before.is_array() && after.is_array();
            let what =
                alike(before, after).unwrap_or(if lists { "has another length" } else { "is another" });
            out.insert(format!("{path} {what}"));
        }
    }
}
