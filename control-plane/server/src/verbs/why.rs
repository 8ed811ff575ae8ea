//! `weir why`: what was decided on one request and for which reason, from the decision log; and whether that log is as it
//! was written.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::serve::block_on;
use super::show::{amount, number, text, time};
use crate::client::{At, escape};
use crate::{Failure, decisions};

/// Explain one request from the decision log.
#[derive(Debug, Args)]
pub struct Why {
    /// The request's id, as in `x-weir-request-id` of its answer; or its trace's id, or the answer's own.
    #[arg(value_name = "REQUEST_ID", required_unless_present = "verify")]
    id: Option<String>,
    /// Read the whole log: exit 1, and the place, where it is not as it was written.
    #[arg(long, conflicts_with = "id")]
    verify: bool,
    /// Read this log instead of asking the control plane.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print what the API answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

impl Why {
    pub fn run(self) -> Result<(), Failure> {
        let told = match (&self.id, &self.file) {
            (Some(id), Some(file)) => decisions::why(file, None, id).map_err(|why| unreadable(file, &why))?,
            (None, Some(file)) => decisions::verify(file, None).map_err(|why| unreadable(file, &why))?,
            (Some(id), None) => {
                block_on(self.at.client()?.get(&format!("/api/decisions/{}", escape(id)), &[]))?
            }
            (None, None) => block_on(self.at.client()?.get("/api/decisions/verify", &[]))?,
        };
        if self.json {
            println!("{told:#}");
        }
        if self.verify {
            let said = verified(&told);
            if told["wrong"].is_object() {
                return Err(Failure::new(said));
            }
            if !self.json {
                println!("{said}");
            }
            return Ok(());
        }
        let found: Vec<&Value> = told["found"].as_array().into_iter().flatten().collect();
        if found.is_empty() {
            return Err(Failure::new("the log has no such request"));
        }
        if !self.json {
            found.into_iter().for_each(|one| print!("{}", explained(one)));
        }
        Ok(())
    }
}

fn unreadable(file: &std::path::Path, why: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {why}", file.display()))
}

fn verified(told: &Value) -> String {
    let count = |name: &str| number(told[name].as_u64().unwrap_or_default());
    let wrong = &told["wrong"];
    if wrong.is_object() {
        let record = match wrong["record"].as_u64() {
            Some(record) if record > 0 => format!(" (record {})", number(record)),
            _ => String::new(),
        };
        return format!(
            "{}: {}: bytes {} to {}{record}; the chain holds up to record {}",
            text(&wrong["file"]),
            text(&wrong["what"]),
            wrong["from"],
            wrong["to"],
            count("records"),
        );
    }
    let mut out = format!(
        "{}: records {} to {} are as they were written; the last one's SHA-256 is {}",
        text(&told["file"]),
        count("first"),
        count("records"),
        text(&told["hash"]),
    );
    if told["unfinished"].as_u64().is_some_and(|bytes| bytes > 0) {
        out.push_str("; an unfinished line follows, which nobody was told is kept");
    }
    out
}

/// The stage at which a refusal's code says that it ended.
const STAGES: &[(&str, &[&str])] = &[
    (
        "identity",
        &[
            "missing_api_key",
            "invalid_api_key",
            "expired_api_key",
            "multiple_api_keys",
            "invalid_signature",
            "clock_skew",
            "signing_keys_stale",
        ],
    ),
    ("limits", &["input_too_long", "request_too_large"]),
    ("redaction", &["content_blocked", "unreadable_tokens", "answer_unreadable", "answer_too_large"]),
    ("boundaries", &["outside_boundaries"]),
    ("allowlist", &["model_not_allowed"]),
    ("route", &["model_not_found"]),
    (
        "budgets",
        &[
            "budget_exhausted",
            "budget_held",
            "budget_contended",
            "budget_unavailable",
            "budget_quarantine",
            "unboundable",
        ],
    ),
    ("decision log", &["decisions_unavailable"]),
    ("policy", &["no_policy"]),
    ("client", &["client_gone"]),
    ("gateway", &["weir.vm_lost", "edit_failed", "body_changed", "no_plan", "misrouted"]),
    ("provider", &["timeout", "upstream_cut", "retry_budget", "provider_timeout"]),
];

fn stage(code: &str) -> &'static str {
    let of = STAGES.iter().find(|(_, codes)| codes.contains(&code));
    match of {
        Some((stage, _)) => stage,
        None if code.bytes().all(|byte| byte.is_ascii_digit()) => "provider",
        None => "request",
    }
}

fn explained(one: &Value) -> String {
    let record = &one["record"];
    let has = |name: &str| !record[name].is_null();
    let said = |name: &str| text(&record[name]);
    let figure = |name: &str| amount(&record[name], "tokens");
    let mut lines: Vec<(&str, String)> = Vec::new();
    let nanos = |name: &str| record[name].as_u64().unwrap_or_default();
    let ms = nanos("end").saturating_sub(nanos("start")) / 1_000_000;
    let begun = time(&Value::from(nanos("start") / 1_000_000));
    lines.push(("request", format!("{}, {begun}, {} ms", said("id"), number(ms))));
    lines.push(("trace", said("trace")));
    lines.push(("policy", said("policy")));
    lines.push((
        "identity",
        match (has("tenant"), has("key")) {
            (true, true) => format!("tenant {}, key {}", said("tenant"), said("key")),
            (true, false) => format!("tenant {}, without a key", said("tenant")),
            _ => "not known".into(),
        },
    ));
    if has("tenant") {
        lines.push(("redaction", redaction(record)));
    }
    if has("model") {
        lines.push(("route", route(record)));
    }
    lines.extend(rewrite(record).map(|line| ("rewrite", line)));
    for budget in record["budgets"].as_array().into_iter().flatten() {
        let unit = budget["unit"].as_str().unwrap_or_default();
        let figure = |name: &str| amount(&budget[name], unit);
        let settled = match budget["used"].is_null() {
            true => "nothing settled yet".to_owned(),
            false => format!("{} settled", figure("used")),
        };
        let line = format!("{}: {} {unit} held, {settled}", text(&budget["name"]), figure("held"));
        lines.push(("budget", line));
    }
    for (at, one) in record["tries"].as_array().into_iter().flatten().enumerate() {
        let status = match one["status"].as_u64() {
            Some(0) | None => "no answer".to_owned(),
            Some(status) => status.to_string(),
        };
        let line = format!("{}. {} {}: {status}", at + 1, text(&one["provider"]), text(&one["target"]));
        lines.push(("try", line));
    }
    let error = record["error"].as_str().unwrap_or_default();
    let status = match nanos("status") {
        0 => "no status".to_owned(),
        status => format!("status {status}"),
    };
    let mut ending = match error {
        "" => status,
        code => format!("{status}, {code} ({})", stage(code)),
    };
    if has("finish") {
        ending.push_str(&format!(", finished by {}", said("finish")));
    }
    lines.push(("ending", ending));
    if has("input") {
        let cost = match has("cost_usd_nano") {
            true => format!("{} USD", amount(&record["cost_usd_nano"], "usd")),
            false => "unpriced".to_owned(),
        };
        let usage =
            format!("{} tokens in, {} out ({}), {cost}", figure("input"), figure("output"), said("usage"));
        lines.push(("usage", usage));
    }
    let at = format!("record {} of {}", amount(&one["number"], "records"), text(&one["file"]));
    lines.push(("log", format!("{at}, SHA-256 {}", text(&one["hash"]))));
    lines.into_iter().map(|(name, line)| format!("{name:<10} {line}\n")).collect()
}

fn redaction(record: &Value) -> String {
    let mut found: Vec<String> = Vec::new();
    for (kind, count) in record["findings"].as_object().into_iter().flatten() {
        found.push(format!("{kind} {count}"));
    }
    let mut line = match found.is_empty() {
        true => "nothing found".to_owned(),
        false => format!("found {}", found.join(", ")),
    };
    if record["error"] == "content_blocked" {
        line.push_str(", blocked");
    }
    if let Some(part) = record["unsearched"].as_str() {
        line.push_str(&format!("; the {part} could not be searched and passed"));
    }
    line
}

fn route(record: &Value) -> String {
    let said = |name: &str| text(&record[name]);
    let mut line = format!("asked {}", said("model"));
    if !record["chosen"].is_null() {
        line.push_str(&format!(", model {}", said("chosen")));
    }
    match record["route"].is_null() {
        true => line.push_str(", by no route"),
        false => line.push_str(&format!(", by route {}", said("route"))),
    }
    line
}

fn rewrite(record: &Value) -> impl Iterator<Item = String> {
    let mut lines = Vec::new();
    let downgrade = &record["downgrade"];
    if downgrade.is_object() {
        let (budget, model) = (text(&downgrade["budget"]), text(&downgrade["model"]));
        lines.push(format!("budget {budget} had too little left: model {model} instead"));
    }
    if !record["target"].is_null() {
        let mut line = format!("model {} at {}", text(&record["target"]), text(&record["provider"]));
        if let Some(losses) = record["losses"].as_u64().filter(|losses| *losses > 0) {
            line.push_str(&format!(", {losses} things that its dialect cannot carry left out"));
        }
        lines.push(line);
    }
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_told_stage_by_stage() {
        let said = explained(&json!({
            "number": 1_700, "hash": "ab12", "file": "/var/why.log",
            "record": {
                "id": "req_1", "trace": "0af7", "policy": "7-3fa9", "tenant": "acme", "key": "web", "model": "auto",
                "chosen": "fast", "route": "short", "provider": "bedrock", "target": "claude", "losses": 2,
                "findings": {"email": 2}, "start": 1_000_000u64, "end": 1_235_000_000u64, "status": 200,
                "downgrade": {"budget": "day", "model": "fast"},
                "budgets": [{"name": "day", "unit": "usd", "held": 2_000_000_000u64, "used": 500_000_000u64}],
                "tries": [{"provider": "pool", "target": "oss", "status": 503}, {"provider": "bedrock", "target": "claude", "status": 200}],
                "finish": "stop", "input": 1_200, "output": 30, "usage": "provider", "cost_usd_nano": 500_000_000u64,
            },
        }));
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines,
            [
                "request    req_1, 1970-01-01T00:00:00Z, 1,234 ms",
                "trace      0af7",
                "policy     7-3fa9",
                "identity   tenant acme, key web",
                "redaction  found email 2",
                "route      asked auto, model fast, by route short",
                "rewrite    budget day had too little left: model fast instead",
                "rewrite    model claude at bedrock, 2 things that its dialect cannot carry left out",
                "budget     day: 2 usd held, 0.5 settled",
                "try        1. pool oss: 503",
                "try        2. bedrock claude: 200",
                "ending     status 200, finished by stop",
                "usage      1,200 tokens in, 30 out (provider), 0.5 USD",
                "log        record 1,700 of /var/why.log, SHA-256 ab12",
            ]
        );
    }

    #[test]
    fn a_refusal_names_its_stage() {
        let of = |code: &str| {
            let record = json!({"id": "req_1", "status": 401, "error": code});
            explained(&json!({"record": record}))
                .lines()
                .rfind(|line| line.starts_with("ending"))
                .map(str::to_owned)
        };
        assert_eq!(
            of("invalid_api_key").as_deref(),
            Some("ending     status 401, invalid_api_key (identity)")
        );
        assert_eq!(of("503").as_deref(), Some("ending     status 401, 503 (provider)"));
        assert_eq!(of("invalid_json").as_deref(), Some("ending     status 401, invalid_json (request)"));
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let wrong = json!({"file": "why.log", "from": 97, "to": 180, "record": 3, "what": "changed"});
        let said = verified(&json!({"wrong": wrong, "records": 2}));
        assert_eq!(said, "why.log: changed: bytes 97 to 180 (record 3); the chain holds up to record 2");
        let said =
            verified(&json!({"file": "why.log", "first": 1, "records": 2, "hash": "ab", "wrong": null}));
        assert!(
            said.contains("records 1 to 2 are as they were written") && said.contains("SHA-256 is ab"),
            "{said}"
        );
    }
}
