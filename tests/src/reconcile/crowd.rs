//! The clients of a run: some stay to the end, the others go at a random moment, before, while or after they are
//! answered. Requests are of two dialects and three providers, streamed and whole; a few are for models that nobody has,
//! and a few meet a provider that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Plan;
use super::stage::{ALL, ANTHROPIC, BEDROCK, FAILING, LEAVES_KEY, OVERLOADED, STAYS_KEY, VLLM};
use crate::harness::Client;
use crate::sim::rng::Rng;

/// The tenant of clients that stay.
pub const STAYS: &str = "stays";
/// The tenant of clients that leave.
pub const LEAVES: &str = "leaves";

/// How long a client that leaves may stay, in microseconds: about twice what an answer takes.
const LONGEST_STAY_US: usize = 120_000;

/// What clients met.
#[derive(Debug, Default)]
pub struct Met {
    /// Read to the end, status 200.
    pub answered: AtomicU64,
    /// Read to the end, another status.
    pub refused: AtomicU64,
    /// Left before the end.
    pub left: AtomicU64,
    /// Was to leave, but the answer had ended.
    pub too_late: AtomicU64,
}

/// One request.
struct Request {
    path: &'static str,
    body: String,
    trace: String,
    leaves: bool,
    /// After how long, and with how much of the body sent (in hundredths), for those that leave.
    stay: Duration,
    body_percent: usize,
}

/// The trace id of a request.
pub fn trace(plan: &Plan, number: u64) -> String {
    format!("{:016x}{:016x}", plan.seed | 1 << 60, number + 1)
}

fn request(plan: &Plan, number: u64) -> Request {
    let mut rng = Rng::new(plan.seed << 32 | number);
    let mut below = |n: usize| rng.between(0, n - 1);
    let leaves = (below(100) as u64) < plan.aborted_percent;
    let chance = below(100);
    let (model, mark) = match below(4) {
        _ if chance < 2 => ("no-such-model", ""),
        _ if chance < 3 => (VLLM, FAILING),
        0 => (VLLM, ""),
        1 => (BEDROCK, ""),
        2 => (ANTHROPIC, ""),
        _ if below(3) == 0 => (ALL, OVERLOADED),
        _ => (ALL, ""),
    };
    let words = "word ".repeat(below(40));
    let text = format!("Request {number} asks {mark} for something of interest: {words}");
    let messages = below(2) == 0;
    let mut body = json!({
        "model": model, "max_tokens": 16 + below(48), "stream": below(10) < 6,
        "messages": [{"role": "user", "content": text}],
    });
    if below(8) == 0 {
        let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let description = "Looks up the weather";
        body["tools"] = match messages {
            true => json!([{"name": "weather", "description": description, "input_schema": parameters}]),
            false => json!([{"type": "function", "function": {
                "name": "weather", "description": description, "parameters": parameters,
            }}]),
        };
    }
    let stay = Duration::from_micros(below(LONGEST_STAY_US) as u64);
    let body_percent = if below(10) == 0 { below(100) } else { 100 };
    Request {
        path: if messages { "/v1/messages" } else { "/v1/chat/completions" },
        body: body.to_string(),
        trace: trace(plan, number),
        leaves,
        stay,
        body_percent,
    }
}

/// Sends all of them.
pub async fn send(plan: &Plan, port: u16) -> Result<Arc<Met>, String> {
    let (met, next) = (Arc::new(Met::default()), Arc::new(AtomicU64::new(0)));
    let client = Client::new(port, STAYS_KEY);
    let mut clients = Vec::new();
    for _ in 0..plan.clients {
        let (met, next, plan, client) = (met.clone(), next.clone(), *plan, client.clone());
        clients.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.requests {
                    return Ok::<(), String>(());
                }
                let request = request(&plan, number);
                if request.leaves {
                    leave(port, &request, &met).await.map_err(|e| format!("request {number}: {e}"))?;
                } else {
                    stay(&client, request, &met).await.map_err(|e| format!("request {number}: {e}"))?;
                }
            }
        }));
    }
    for client in clients {
        client.await.map_err(|e| e.to_string())??;
    }
    Ok(met)
}

async fn stay(client: &Client, request: Request, met: &Met) -> Result<(), String> {
    let parent = format!("00-{}-00000000000000aa-01", request.trace);
    let post = client.post(request.path, request.body).header("traceparent", parent);
    let post = post.header("anthropic-version", "2023-06-01");
    let answer = Client::try_answer(post).await.map_err(|e| format!("{e:?}"))?;
    let count = if answer.status == 200 { &met.answered } else { &met.refused };
    count.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// On a connection of its own, closed at the moment of leaving; the head has been sent by then.
async fn leave(port: u16, request: &Request, met: &Met) -> Result<(), std::io::Error> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-type: application/json\r\n\
         authorization: Bearer {LEAVES_KEY}\r\nanthropic-version: 2023-06-01\r\n\
         traceparent: 00-{}-00000000000000aa-01\r\ncontent-length: {}\r\n\r\n",
        request.path,
        request.trace,
        request.body.len()
    );
    let part = &request.body.as_bytes()[..request.body.len() * request.body_percent / 100];
    socket.write_all(&[head.as_bytes(), part].concat()).await?;
    let mut buffer = [0; 4096];
    let read = async { while matches!(socket.read(&mut buffer).await, Ok(read) if read > 0) {} };
    let ended = tokio::time::timeout(request.stay, read).await.is_ok();
    let count = if ended { &met.too_late } else { &met.left };
    count.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
