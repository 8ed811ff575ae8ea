//! `weir budget`: what operators do to budgets while everything runs. Each of it is in the audit.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::serve::block_on;
use super::show::{amount, table, text, time};
use crate::Failure;
use crate::client::{At, escape};

/// Look at budgets and change them for a while.
#[derive(Debug, Args)]
pub struct Budget {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The budgets, their fullest counters, and what is added to them.
    List(Plain),
    /// Add to a limit until a time; what is to stay belongs into the policy. `--add 0` ends it.
    Override(Override),
    /// Give free what gateways that were not heard of have. Should one of them live, what it still spends comes on top
    /// of the limit.
    ReleaseStranded(Release),
    /// A Redis that was emptied keeps hard budgets closed, for nobody knows what was spent; this opens them, from nothing.
    ConfirmEmpty(Plain),
    /// Who did what.
    Audit(Plain),
}

#[derive(Debug, Args)]
struct Plain {
    /// Print what the API answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
struct Override {
    /// The budget.
    budget: String,
    /// Only the counter of this value of its `each`; once for each of its names. Left out: every counter gets it.
    #[arg(long, value_name = "VALUE")]
    subject: Vec<String>,
    /// How much: 100k, 2M; USD as 2.50.
    #[arg(long, value_name = "AMOUNT")]
    add: String,
    /// Until when: 2h from now, or 2030-01-31T18:00:00Z.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Of a budget with several limits: `tokens`, `requests` or `usd`.
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    #[command(flatten)]
    plain: Plain,
}

#[derive(Debug, Args)]
struct Release {
    /// The budget.
    budget: String,
    /// Only the counter of this value of its `each`; once for each of its names.
    #[arg(long, value_name = "VALUE")]
    subject: Vec<String>,
    /// Only this limit of the budget.
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    /// Only of this gateway process, as the API's /api/sessions names it.
    #[arg(long, value_name = "SID")]
    sid: Option<String>,
    #[command(flatten)]
    plain: Plain,
}

impl Budget {
    pub fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::List(plain) => plain.show("/api/budgets", list),
            Verb::ConfirmEmpty(plain) => {
                let client = plain.at.client()?;
                let told = block_on(client.post("/api/ledger/confirm-empty", &json!({})))?;
                plain.print(&told, |_| "budgets are open again and count from nothing\n".into());
                Ok(())
            }
            Verb::Audit(plain) => plain.show("/api/audit", audit),
            Verb::Override(verb) => verb.run(),
            Verb::ReleaseStranded(verb) => verb.run(),
        }
    }
}

impl Plain {
    fn show(&self, path: &str, show: fn(&Value) -> String) -> Result<(), Failure> {
        let client = self.at.client()?;
        self.print(&block_on(client.get(path, &[]))?, show);
        Ok(())
    }

    fn print(&self, told: &Value, show: fn(&Value) -> String) {
        match self.json {
            true => println!("{told:#}"),
            false => print!("{}", show(told)),
        }
    }
}

impl Override {
    fn run(self) -> Result<(), Failure> {
        let mut body = json!({"add": self.add});
        for (name, value) in [("until", &self.until), ("unit", &self.unit)] {
            if let Some(value) = value {
                body[name] = value.clone().into();
            }
        }
        if !self.subject.is_empty() {
            body["subject"] = self.subject.clone().into();
        }
        let client = self.plain.at.client()?;
        let path = format!("/api/budgets/{}/override", escape(&self.budget));
        let told = block_on(client.post(&path, &body))?;
        self.plain.print(&told, |told| {
            let unit = told["unit"].as_str().unwrap_or_default();
            match told["add"].as_u64() {
                Some(0) => format!("{}: the policy's limit is in force again\n", text(&told["budget"])),
                _ => format!(
                    "{} {}: {} {unit} more until {}\n",
                    text(&told["budget"]),
                    text(&told["subject"]),
                    amount(&told["add"], unit),
                    time(&told["until_ms"])
                ),
            }
        });
        Ok(())
    }
}

impl Release {
    fn run(self) -> Result<(), Failure> {
        let mut body = json!({});
        for (name, value) in [("unit", &self.unit), ("sid", &self.sid)] {
            if let Some(value) = value {
                body[name] = value.clone().into();
            }
        }
        if !self.subject.is_empty() {
            body["subject"] = self.subject.clone().into();
        }
        let client = self.plain.at.client()?;
        let path = format!("/api/budgets/{}/release-stranded", escape(&self.budget));
        let told = block_on(client.post(&path, &body))?;
        self.plain.print(&told, released);
        Ok(())
    }
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn list(told: &Value) -> String {
    let mut rows = Vec::new();
    let mut notes = String::new();
    for one in each(&told["budgets"]) {
        let unit = one["unit"].as_str().unwrap_or_default();
        let names: Vec<&str> = each(&one["each"]).filter_map(Value::as_str).collect();
        rows.push(vec![
            text(&one["budget"]),
            unit.to_owned(),
            amount(&one["limit"], unit),
            text(&one["window"]),
            text(&one["timezone"]),
            if names.is_empty() { "-".into() } else { names.join(", ") },
            amount(&one["counters"], "requests"),
            amount(&one["fullest"]["left"], unit),
            text(&one["fullest"]["subject"]),
        ]);
        for more in each(&one["overrides"]) {
            notes.push_str(&format!(
                "{} {}: {} {unit} more until {}\n",
                text(&one["budget"]),
                text(&more["subject"]),
                amount(&more["add"], unit),
                time(&more["until_ms"])
            ));
        }
    }
    if rows.is_empty() {
        return "the policy has no budgets\n".into();
    }
    let head =
        ["budget", "unit", "limit>", "window", "timezone", "each", "counters>", "least left>", "there"];
    table(&head, &rows) + &notes
}

fn released(told: &Value) -> String {
    let rows: Vec<Vec<String>> = each(&told["released"])
        .map(|one| {
            let unit = one["unit"].as_str().unwrap_or_default();
            vec![
                text(&one["node"]),
                text(&one["sid"]),
                text(&one["subject"]),
                unit.to_owned(),
                amount(&one["units"], unit),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => format!("{}: nothing is stranded\n", text(&told["budget"])),
        false => table(&["gateway", "session", "subject", "unit", "released>"], &rows),
    }
}

fn audit(told: &Value) -> String {
    let mut all: Vec<(u64, Vec<String>)> = Vec::new();
    for one in each(&told["calls"]) {
        let what = match one["failed"].as_str() {
            Some(why) => format!("{} FAILED: {why}", text(&one["what"])),
            None => text(&one["what"]),
        };
        all.push((one["at_ms"].as_u64().unwrap_or(0), vec![time(&one["at_ms"]), text(&one["by"]), what]));
    }
    let rows: Vec<Vec<String>> = all.into_iter().map(|(_, row)| row).collect();
    match rows.is_empty() {
        true => "nobody has changed anything by hand\n".into(),
        false => table(&["when", "who", "what"], &rows),
    }
}
