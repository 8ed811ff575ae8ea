//! A drill: made-up values are sent through a running gateway in every type and direction, and what comes out on the other
//! side is searched for pieces of them. The drill is both ends, the client and the provider of a model that the policy
//! leads to it, because what a provider was told nobody else can say. It knows nothing of how the gateway searches.

pub mod provider;
pub mod values;

use serde_json::{Value, json};

use crate::Failure;
use provider::Provider;
use values::Planted;

/// What became of a value in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No piece of it came out.
    Held,
    /// The gateway refused the request because of it.
    Refused,
    /// A piece of it came out.
    Leaked,
    /// It could not be seen: what went wrong.
    Unseen(String),
}

impl Outcome {
    /// In a table.
    pub fn shown(&self) -> &str {
        match self {
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Leaked => "LEAK",
            Self::Unseen(why) => why,
        }
    }

    /// Nothing got through, as far as can be seen, and that is far enough.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Held | Self::Refused)
    }
}

/// A way through the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What the client sends.
    Request,
    /// What the model says, at once.
    Answer,
    /// What the model says, piece by piece.
    Stream,
}

/// The APIs that a drill speaks as a client.
pub const APIS: &[&str] = &["chat", "messages", "responses"];

/// The client's end.
pub struct Drill<'p> {
    /// The gateway's address, with its scheme.
    pub gateway: String,
    /// The credential that it knows.
    pub key: String,
    /// A model that leads to this drill.
    pub model: String,
    /// The provider's end.
    pub provider: &'p Provider,
    /// Speaks HTTP.
    pub http: reqwest::Client,
}

impl Drill<'_> {
    /// What both ends see where nothing is planted: none of it is a leak.
    pub async fn harmless(&self, api: &str) -> Result<String, Failure> {
        let mut all = String::new();
        for stream in [false, true] {
            let (status, text) = self.ask(api, "Please note: nothing, that is all.", stream).await?;
            let seen = self.provider.seen();
            if status != 200 || seen.is_empty() {
                let what =
                    if status == 200 { "the model does not lead to this drill" } else { "the gateway" };
                return Err(Failure::new(format!("{api}: {what}: status {status}: {text}")));
            }
            all.push_str(&seen);
            all.push_str(&text);
        }
        Ok(all)
    }

    /// Sends a value one way.
    pub async fn send(&self, api: &str, planted: &Planted, way: Way, harmless: &str) -> Outcome {
        let text = match way {
            Way::Request => planted.text(),
            Way::Answer | Way::Stream => self.provider.say(&planted.text()),
        };
        let (status, heard) = match self.ask(api, &text, way == Way::Stream).await {
            Ok(answer) => answer,
            Err(why) => return Outcome::Unseen(why.message),
        };
        let seen = self.provider.seen();
        let shown = if way == Way::Request { &seen } else { &heard };
        if planted.leaks_into(shown.as_bytes(), harmless.as_bytes()) {
            return Outcome::Leaked;
        }
        match status {
            200 if seen.is_empty() => Outcome::Unseen("the provider was not asked".to_owned()),
            200 => Outcome::Held,
            403 if heard.contains("content_blocked") => Outcome::Refused,
            status => Outcome::Unseen(format!("status {status}")),
        }
    }

    /// The status, and the texts of the answer; of a refusal all of it.
    async fn ask(&self, api: &str, text: &str, stream: bool) -> Result<(u16, String), Failure> {
        self.provider.forget();
        let messages = json!([{"role": "user", "content": text}]);
        let (path, mut body) = match api {
            "messages" => ("/v1/messages", json!({"max_tokens": 256, "messages": messages})),
            "responses" => ("/v1/responses", json!({"input": text, "store": false})),
            _ => ("/v1/chat/completions", json!({"messages": messages})),
        };
        body["model"] = json!(self.model);
        body["stream"] = json!(stream);
        let request = self.http.post(format!("{}{path}", self.gateway)).bearer_auth(&self.key);
        let request = request.header("anthropic-version", "2023-06-01").json(&body);
        let failed = |why: reqwest::Error| Failure::new(format!("{}: {why}", self.gateway));
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.text().await.map_err(failed)?;
        Ok((status, if status == 200 { said(&body) } else { body }))
    }
}

/// The texts of an answer, whole or streamed, one behind the other as its reader has them.
fn said(body: &str) -> String {
    let mut out = String::new();
    match serde_json::from_str::<Value>(body) {
        Ok(whole) => texts(&whole, &mut out),
        Err(_) => {
            for data in body.lines().filter_map(|line| line.strip_prefix("data:")) {
                if let Ok(event) = serde_json::from_str::<Value>(data) {
                    texts(&event, &mut out);
                }
            }
        }
    }
    out
}

/// What models say stands in these members, in all three APIs; the others are ids and numbers.
fn texts(value: &Value, out: &mut String) {
    const SAID: &[&str] = &["content", "text", "delta", "arguments", "partial_json"];
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| SAID.contains(&name.as_str())) {
                    Some(text) => out.push_str(text),
                    None => texts(member, out),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_s_texts_are_one_text() {
        let chat = "data: {\"choices\":[{\"delta\":{\"content\":\"a@\"}}],\"id\":\"x\"}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b.c\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(said(chat), "a@b.c");
        let messages = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";
        assert_eq!(said(messages), "a");
        assert_eq!(
            said("{\"choices\":[{\"message\":{\"content\":\"a\\u0040b\"}}],\"created\":12345}"),
            "a@b"
        );
    }
}
