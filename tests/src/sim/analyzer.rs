//! Simulated Presidio analyzer: `POST /analyze` as Presidio's API documentation has it, for a table of names.
//!
//! Requests are checked by that documentation: JSON, a text, a language that is served, entities that are known, a
//! threshold from 0 to 1, and no field that it does not name. What is wrong is refused with the status and the shape
//! that Presidio's own server has for it, and noted in the book. Offsets count code points, as Python's strings do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use serde_json::{Value, json};

use super::control::{Behaviour, Fault};
use super::flow::{Abort, Wire, before_headers};
use super::server::{Call, Provider, Server};

type IsOfType = fn(&Value) -> bool;

/// Fields of a request that the documentation names, and their JSON types.
const FIELDS: [(&str, IsOfType); 7] = [
    ("text", Value::is_string),
    ("language", Value::is_string),
    ("correlation_id", Value::is_string),
    ("score_threshold", Value::is_number),
    ("entities", Value::is_array),
    ("return_decision_process", Value::is_boolean),
    ("ad_hoc_recognizers", Value::is_array),
];

/// What it knows.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: String,
    /// What paths begin with, as behind a proxy.
    pub prefix: String,
    pub languages: Vec<String>,
    /// A value, its type, and how sure it is.
    pub names: Vec<(String, String, f64)>,
}

impl Default for Config {
    fn default() -> Self {
        let name = |name: &str, kind: &str, score| (name.to_owned(), kind.to_owned(), score);
        Self {
            listen: "127.0.0.1:0".into(),
            prefix: String::new(),
            languages: vec!["en".into()],
            names: vec![
                name("Qxilvana Wqzrfjx", "PERSON", 0.85),
                name("Übükvüz", "PERSON", 0.85),
                name("Vjqgrad", "LOCATION", 0.85),
                name("Maybe Zqxv", "PERSON", 0.3),
            ],
        }
    }
}

/// Starts the server on the current runtime.
pub async fn start(config: Config) -> io::Result<Server> {
    let listen = config.listen.clone();
    Server::start(&listen, Behaviour::default(), Arc::new(Analyzer { config })).await
}

struct Analyzer {
    config: Config,
}

impl Provider for Analyzer {
    async fn answer(self: Arc<Self>, call: Call) -> Result<Response<Wire>, Abort> {
        let told = call.controls.take("");
        if let Some(ms) = told.ttft_ms {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        before_headers(told.fault.as_ref(), &call.conn, call.head.http2, &call.entry()).await?;
        let (status, body) = match told.fault {
            Some(Fault::Status { code, message, .. }) => {
                (code, message.unwrap_or_else(|| json!({"error": "as it was told"}).to_string()))
            }
            _ => match self.found(&call) {
                Ok(found) => (200, found.to_string()),
                Err((status, why)) => {
                    call.entry().note(|record| record.problems.push(why.clone()));
                    (status, json!({"error": why}).to_string())
                }
            },
        };
        let headers = [("content-type".to_owned(), "application/json".to_owned())];
        Ok(Wire::whole(call.open, status, &headers, body.into_bytes()))
    }
}

impl Analyzer {
    fn found(&self, call: &Call) -> Result<Value, (u16, String)> {
        let bad = |why: &str| (400, why.to_owned());
        let fails = |why: String| (500, why);
        if call.head.path.strip_prefix(self.config.prefix.as_str()) != Some("/analyze") {
            return Err((404, "The requested URL was not found on the server.".into()));
        }
        if call.head.method != "POST" {
            return Err((405, "The method is not allowed for the requested URL.".into()));
        }
        if call.head.header("content-type") != Some("application/json") {
            return Err((415, "Unsupported Media Type".into()));
        }
        let body: Value = serde_json::from_slice(&call.body).map_err(|why| bad(&why.to_string()))?;
        let fields = body.as_object().ok_or_else(|| bad("not an object"))?;
        for (name, value) in fields {
            let is = FIELDS.iter().find(|(field, _)| field == name).map(|(_, is)| is);
            if !is.ok_or_else(|| bad(&format!("unknown field `{name}`")))?(value) {
                return Err(bad(&format!("`{name}` is of another type")));
            }
        }
        let text = body["text"].as_str().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| fails("No text provided".into()))?;
        let language = body["language"].as_str().ok_or_else(|| fails("No language provided".into()))?;
        if !self.config.languages.iter().any(|known| known == language) {
            return Err(fails(format!(
                "No matching recognizers were found to serve the request: {language}"
            )));
        }
        let threshold = body["score_threshold"].as_f64().unwrap_or(0.0);
        if !(0.0..=1.0).contains(&threshold) {
            return Err(bad("a threshold is from 0 to 1"));
        }
        let wanted: Option<Vec<&str>> = match body.get("entities") {
            None => None,
            Some(list) => {
                let list =
                    list.as_array().into_iter().flatten().map(Value::as_str).collect::<Option<Vec<_>>>();
                Some(list.filter(|l| !l.is_empty()).ok_or_else(|| bad("entities are names, at least one"))?)
            }
        };
        let mut found = Vec::new();
        for (name, kind, score) in &self.config.names {
            if *score < threshold || wanted.as_ref().is_some_and(|wanted| !wanted.contains(&kind.as_str())) {
                continue;
            }
            for (at, _) in text.match_indices(name.as_str()) {
                let start = text[..at].chars().count();
                found.push(json!({
                    "analysis_explanation": null, "end": start + name.chars().count(), "entity_type": kind,
                    "score": score, "start": start,
                }));
            }
        }
        Ok(Value::from(found))
    }
}
