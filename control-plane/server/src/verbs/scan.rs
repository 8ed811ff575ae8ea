//! `weir scan`: what the detectors find in texts, for evaluation in bulk. It tells types and places, never values.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use weir_pii::{Document, Finding};
use weir_pipeline::search::{self, Hit, Search};

use crate::Failure;

/// Find personal data and secrets in texts: types and byte offsets, never values.
#[derive(Debug, Args)]
pub struct Scan {
    /// A file of lines of JSON: strings, or documents whose every string is a text.
    file: PathBuf,
    /// Detectors and groups, separated by commas; left out: all.
    #[arg(short, long, value_delimiter = ',')]
    find: Vec<String>,
}

impl Scan {
    pub fn run(self) -> Result<(), Failure> {
        let shown = self.file.display();
        let file = std::fs::File::open(&self.file).map_err(|why| Failure::new(format!("{shown}: {why}")))?;
        let set = set(&self.find)?;
        let mut out = std::io::stdout().lock();
        let (mut texts, mut counts) = (0, BTreeMap::new());
        for (number, line) in (1..).zip(BufReader::new(file).lines()) {
            let line = line.map_err(|why| Failure::new(format!("{shown}:{number}: {why}")))?;
            if line.trim().is_empty() {
                continue;
            }
            let document: Value = serde_json::from_str(&line)
                .map_err(|why| Failure::new(format!("{shown}:{number}: no JSON: {why}")))?;
            each(&document, &mut String::new(), &mut |path, text| {
                texts += 1;
                for (kind, start, end) in found(&set, text, path.is_empty()) {
                    *counts.entry(kind).or_insert(0u64) += 1;
                    let finding =
                        json!({"line": number, "path": path, "type": kind, "start": start, "end": end});
                    // Whoever closed the pipe wants no more.
                    let _ = writeln!(out, "{finding}");
                }
            });
        }
        let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let counts = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
        eprintln!("{texts} texts: {counts}");
        Ok(())
    }
}

fn set(find: &[String]) -> Result<weir_pii::Set, Failure> {
    let mut kinds = Vec::new();
    for name in find {
        let members = weir_model::detectors_of(name);
        kinds.extend(members.ok_or_else(|| Failure::new(format!("unknown detector or group `{name}`")))?);
    }
    if find.is_empty() {
        kinds.extend(weir_pii::DETECTORS.iter().map(|detector| detector.id));
    }
    let find = kinds.into_iter().map(str::to_owned).collect();
    let rule = weir_pii::Rule { find, words: Vec::new(), action: weir_pii::Action::Report };
    weir_pii::Set::new(&[rule]).map_err(|why| Failure::new(why.to_string()))
}

/// What is found in a text; one that is a whole line is taken for a user's message, and one that is a document is
/// searched as the gateway does it, without its escapes.
fn found(set: &weir_pii::Set, text: &str, message: bool) -> Vec<(&'static str, usize, usize)> {
    if search::document(text) {
        let mut out = Vec::new();
        let mut find = |document: &Document<'_>, out: &mut Vec<Finding>| {
            weir_pii::find_in_document(set, document, out);
        };
        let mut found = |hit: Hit<'_>| out.push((hit.finding.kind.name(), hit.range.start, hit.range.end));
        Search { find: &mut find, apart: false, level: 0, found: &mut found }.text(text, false);
        out.sort_by_key(|(_, start, _)| *start);
        return out;
    }
    let mut findings = Vec::new();
    let find = if message { weir_pii::find_in_message } else { weir_pii::find };
    find(set, text, &mut findings);
    findings.iter().map(|finding| (finding.kind.name(), finding.range.start, finding.range.end)).collect()
}

/// Every string of a document, names of members included, with its path.
fn each(value: &Value, path: &mut String, take: &mut dyn FnMut(&str, &str)) {
    let length = path.len();
    match value {
        Value::String(text) => take(path, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                each(item, path, take);
                path.truncate(length);
            }
        }
        Value::Object(members) => {
            for (index, (name, member)) in members.iter().enumerate() {
                // A name may be what is looked for: it is told by its number.
                take(&format!("{path}#{index}"), name);
                path.push_str(&format!(".{index}"));
                each(member, path, take);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_searched_and_no_value_is_told() {
        let document = json!({"a": ["none", "to x@y.org"], "mail z@y.org": {"b": "SSN 078-05-1120"}});
        let set = set(&["email".into(), "us".into()]).unwrap();
        let mut told = Vec::new();
        each(&document, &mut String::new(), &mut |path, text| {
            told.extend(
                found(&set, text, false)
                    .into_iter()
                    .map(|(kind, start, end)| format!("{path} {kind} {start} {end}")),
            );
        });
        assert_eq!(told, [".0[1] email 3 10", "#1 email 5 12", ".1.0 us_ssn 4 15"]);
        assert!(super::set(&["emial".into()]).is_err());
    }

    #[test]
    fn a_document_in_a_text_is_searched_as_its_reader_sees_it() {
        let set = set(&[]).unwrap();
        let inner = json!({"to": "\nx@y.org"}).to_string();
        let text = json!({"password": "c0rrect", "mail": "\tx@y.org", "in": inner}).to_string();
        let text = text.replace("c0rrect", r"c0rrect\u0068orse9X");
        let told = found(&set, &text, false);
        let told: Vec<_> = told.iter().map(|(kind, start, end)| (*kind, &text[*start..*end])).collect();
        let expected = [("email", "x@y.org"), ("email", "x@y.org"), ("password", r"c0rrect\u0068orse9X")];
        let mut sorted = told.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{told:?}");
        // No document: what is written before it is no part of it.
        assert_eq!(found(&set, r"[see \nx@y.org", false), [("email", 7, 14)]);
    }
}
