//! The provider's end of a drill: it keeps what it is told, and says what it was asked to say, whole or in small pieces.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::Failure;

/// Characters of a streamed piece.
const PIECE: usize = 3;
/// Asks for what was agreed to be said; letters only, so that nothing takes it for a number.
const SAY: &str = "say what was agreed";

#[derive(Default)]
struct Told {
    /// The texts of the last request.
    seen: String,
    /// What is said when it is asked for.
    agreed: String,
}

/// The provider.
pub struct Provider {
    told: Arc<Mutex<Told>>,
    /// Where it listens.
    pub port: u16,
}

impl Provider {
    /// Listens at an address until the program ends.
    pub async fn listen(address: &str) -> Result<Self, Failure> {
        let failed = |why: std::io::Error| Failure::new(format!("{address}: {why}"));
        let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let told = Arc::new(Mutex::new(Told::default()));
        let router = Router::new().fallback(answer).with_state(told.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { told, port })
    }

    /// The texts of the last request; nothing where none came.
    pub fn seen(&self) -> String {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }

    /// Forgets the last request.
    pub fn forget(&self) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).seen.clear();
    }

    /// Agrees on what is said; answered is what asks for it.
    pub fn say(&self, text: &str) -> String {
        text.clone_into(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner).agreed);
        format!("Please {SAY}.")
    }
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        // A probe of its health.
        return "ok".into_response();
    };
    let mut seen = String::new();
    strings(&request, &mut seen);
    let text = {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let text = if seen.contains(SAY) { told.agreed.clone() } else { "Noted.".to_owned() };
        told.seen = seen;
        text
    };
    let model = &request["model"];
    if request["stream"] != true {
        let message = json!({"role": "assistant", "content": text});
        let body = json!({
            "id": "drill", "object": "chat.completion", "created": 1, "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        });
        return axum::Json(body).into_response();
    }
    let mut events = String::new();
    let mut event = |delta: Value, finish: Value| {
        let choice = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        let event = json!({"id": "drill", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choice});
        events.push_str(&format!("data: {event}\n\n"));
    };
    event(json!({"role": "assistant", "content": ""}), Value::Null);
    let characters: Vec<char> = text.chars().collect();
    for piece in characters.chunks(PIECE) {
        event(json!({"content": piece.iter().collect::<String>()}), Value::Null);
    }
    event(json!({}), json!("stop"));
    events.push_str("data: [DONE]\n\n");
    ([(CONTENT_TYPE, "text/event-stream")], events).into_response()
}

/// Every string, and every name of a member: all of it is told to a provider.
fn strings(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => {
            out.push_str(text);
            out.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
        Value::Object(members) => {
            for (name, member) in members {
                out.push_str(name);
                out.push('\n');
                strings(member, out);
            }
        }
        _ => {}
    }
}
