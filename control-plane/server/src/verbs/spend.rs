//! `weir spend`: what is settled, held, leased and stranded in every budget; or who spent how much.

use clap::Args;
use serde_json::Value;

use super::serve::block_on;
use super::show::{amount, number, table, text, time};
use crate::Failure;
use crate::client::At;

/// Show what is spent.
#[derive(Debug, Args)]
pub struct Spend {
    /// Divide by `tenant`, `key`, `model`, `provider` or `label:NAME`; several with commas. Without --budget: requests,
    /// tokens and cost of the last days.
    #[arg(long, value_name = "WHAT")]
    by: Option<String>,
    /// Only this budget.
    #[arg(long, value_name = "NAME")]
    budget: Option<String>,
    /// Only the counter of this value of the budget's `each`; once for each of its names.
    #[arg(long, value_name = "VALUE", requires = "budget")]
    subject: Vec<String>,
    /// With --by alone: so many days (UTC), today included.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, conflicts_with = "budget")]
    days: u64,
    /// Print what the API answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

impl Spend {
    pub fn run(self) -> Result<(), Failure> {
        let (days, subject) = (self.days.to_string(), self.subject.join("\u{1f}"));
        let mut query: Vec<(&str, &str)> = Vec::new();
        query.extend(self.by.as_deref().map(|by| ("by", by)));
        query.extend(self.budget.as_deref().map(|name| ("budget", name)));
        if !self.subject.is_empty() {
            query.push(("subject", &subject));
        }
        if self.by.is_some() && self.budget.is_none() {
            query.push(("days", &days));
        }
        let client = self.at.client()?;
        let told = block_on(client.get("/api/spend", &query))?;
        if self.json {
            println!("{told:#}");
            return Ok(());
        }
        print!(
            "{}",
            match (&self.by, &self.budget) {
                (Some(_), None) => by_days(&told),
                (Some(_), Some(_)) => by_counter(&told),
                _ => counters(&told),
            }
        );
        Ok(())
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn counters(told: &Value) -> String {
    let mut rows = Vec::new();
    let mut notes = String::new();
    for one in list(&told["counters"]) {
        let unit = one["unit"].as_str().unwrap_or_default();
        let figure = |name: &str| amount(&one[name], unit);
        rows.push(vec![
            text(&one["budget"]),
            text(&one["subject"]),
            unit.to_owned(),
            figure("limit"),
            figure("settled"),
            figure("held"),
            figure("leased"),
            figure("stranded"),
            figure("left"),
            time(&one["to_ms"]),
        ]);
        let name = format!("{} {}", text(&one["budget"]), text(&one["subject"]));
        for (field, says) in [
            ("overcommitted", "more is committed than the limit, which was lowered"),
            (
                "stranded",
                "held by gateways that were not heard of; `weir budget release-stranded` gives it free",
            ),
            ("added", "added to the policy's limit by overrides"),
        ] {
            if one[field].as_u64().is_some_and(|amount| amount > 0) {
                notes.push_str(&format!("{name}: {} {says}\n", figure(field)));
            }
        }
        if one["gone"] == true {
            notes.push_str(&format!("{name}: the policy has this budget no more\n"));
        }
    }
    if rows.is_empty() {
        return "nothing is spent yet\n".into();
    }
    let head = [
        "budget",
        "subject",
        "unit",
        "limit>",
        "settled>",
        "held>",
        "leased>",
        "stranded>",
        "left>",
        "resets",
    ];
    table(&head, &rows) + &notes
}

fn names(told: &Value) -> Vec<&str> {
    list(&told["by"]).filter_map(Value::as_str).collect()
}

fn by_days(told: &Value) -> String {
    let names = names(told);
    let mut head = names.clone();
    head.extend(["requests>", "input>", "output>", "usd>", "estimated>"]);
    let mut rows: Vec<(u64, Vec<String>)> = list(&told["rows"])
        .map(|one| {
            let mut row: Vec<String> = names.iter().map(|name| text(&one[*name])).collect();
            for field in ["requests", "input_tokens", "output_tokens"] {
                row.push(amount(&one[field], "tokens"));
            }
            row.push(amount(&one["usd_nano"], "usd"));
            row.push(amount(&one["estimated"], "requests"));
            let tokens = |name: &str| one[name].as_u64().unwrap_or_default();
            (tokens("usd_nano").max(tokens("input_tokens") + tokens("output_tokens")), row)
        })
        .collect();
    if rows.is_empty() {
        return "no request under a budget was answered on these days\n".into();
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.0));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    let mut out = table(&head, &rows);
    if let Some(dropped) = told["dropped_records"].as_u64().filter(|dropped| *dropped > 0) {
        out.push_str(&format!(
            "{} records found no room in their gateway and are missing here\n",
            number(dropped)
        ));
    }
    out
}

fn by_counter(told: &Value) -> String {
    let names = names(told);
    let mut out = String::new();
    for one in list(&told["counters"]) {
        let unit = one["unit"].as_str().unwrap_or_default();
        out.push_str(&format!(
            "{} {}: {} {unit} settled of {}\n",
            text(&one["budget"]),
            text(&one["subject"]),
            amount(&one["settled"], unit),
            amount(&one["limit"], unit)
        ));
        let mut head = names.clone();
        head.push("settled>");
        let mut rows: Vec<(u64, Vec<String>)> = list(&one["rows"])
            .map(|row| {
                let mut cells: Vec<String> = names.iter().map(|name| text(&row[*name])).collect();
                cells.push(amount(&row["settled"], unit));
                (row["settled"].as_u64().unwrap_or_default(), cells)
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.0));
        let mut last: Vec<String> = vec!["(unattributed)".into()];
        last.resize(names.len(), String::new());
        last.push(amount(&one["unattributed"], unit));
        let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).chain([last]).collect();
        out.push_str(&table(&head, &rows));
    }
    match out.is_empty() {
        true => "nothing is spent yet\n".into(),
        false => out,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_state_has_its_own_column_and_what_needs_a_hand_its_line() {
        let told = json!({"counters": [{
            "budget": "day", "subject": "acme", "unit": "tokens", "limit": 10_000, "settled": 4_000, "held": 300,
            "leased": 200, "stranded": 100, "left": 5_400, "overcommitted": 0, "added": 0, "to_ms": 86_400_000,
        }]});
        let said = counters(&told);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            "BUDGET SUBJECT UNIT LIMIT SETTLED HELD LEASED STRANDED LEFT RESETS"
                .split(' ')
                .collect::<Vec<_>>()
        );
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            "day acme tokens 10,000 4,000 300 200 100 5,400 1970-01-02T00:00:00Z"
                .split(' ')
                .collect::<Vec<_>>()
        );
        assert!(lines[2].contains("100") && lines[2].contains("release-stranded"), "{said}");
    }

    #[test]
    fn what_nobody_explains_is_a_row() {
        let told = json!({"by": ["key"], "counters": [{
            "budget": "day", "subject": "", "unit": "usd", "limit": 5_000_000_000u64, "settled": 2_000_000_000u64,
            "rows": [{"key": "web", "settled": 500_000_000}, {"key": "batch", "settled": 1_250_000_000}],
            "unattributed": 250_000_000,
        }]});
        let said = by_counter(&told);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "day -: 2 usd settled of 5");
        assert!(lines[2].starts_with("batch") && lines[2].ends_with("1.25"), "the most first: {said}");
        assert!(lines[4].starts_with("(unattributed)") && lines[4].ends_with("0.25"), "{said}");
    }
}
