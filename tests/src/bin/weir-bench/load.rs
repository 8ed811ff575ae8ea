//! The load generator: connections that are kept, one request at a time on each, bounded in number and time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::upstream::STAMP;

/// What one run saw.
#[derive(Default)]
pub struct Seen {
    pub requests: usize,
    pub took: Duration,
    /// Request to the whole answer.
    pub latencies: Vec<Duration>,
    /// Request to the first byte of the answer's body.
    pub first_bytes: Vec<Duration>,
    /// From a chunk's writing by the provider to its arrival here.
    pub delays: Vec<Duration>,
}

/// Where to and how.
pub struct Load<'a> {
    pub port: u16,
    pub connections: usize,
    pub limit: Duration,
    /// The upstream's zero of time.
    pub start: Instant,
    pub bodies: &'a [Bytes],
    /// Requests in all; bodies are taken in turn, from the first on again when they run out.
    pub requests: usize,
}

impl Load<'_> {
    /// Fails at the first answer that is not 200.
    pub async fn run(&self) -> Result<Seen, String> {
        self.run_at("/v1/chat/completions").await
    }

    /// The same at another path.
    pub async fn run_at(&self, path: &str) -> Result<Seen, String> {
        let next = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let begun = Instant::now();
        let mut workers = Vec::new();
        for _ in 0..self.connections.min(self.requests) {
            let worker = Worker {
                sender: connect(self.port).await?,
                path: path.to_owned(),
                next: next.clone(),
                seen: seen.clone(),
                bodies: self.bodies.to_vec(),
                requests: self.requests,
                deadline: begun + self.limit,
                start: self.start,
            };
            workers.push(tokio::spawn(worker.run()));
        }
        for worker in workers {
            worker.await.map_err(|e| e.to_string())??;
        }
        let mut seen = std::mem::take(&mut *seen.lock().map_err(|e| e.to_string())?);
        seen.took = begun.elapsed();
        if seen.requests == 0 {
            return Err("no request was answered in the time given".into());
        }
        Ok(seen)
    }
}

/// A kept connection to this machine.
pub async fn connect(port: u16) -> Result<SendRequest<Full<Bytes>>, String> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
    socket.set_nodelay(true).map_err(|e| e.to_string())?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

struct Worker {
    sender: SendRequest<Full<Bytes>>,
    path: String,
    next: Arc<AtomicUsize>,
    seen: Arc<Mutex<Seen>>,
    bodies: Vec<Bytes>,
    requests: usize,
    deadline: Instant,
    start: Instant,
}

impl Worker {
    async fn run(mut self) -> Result<(), String> {
        let mut own = Seen::default();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests || Instant::now() > self.deadline {
                break;
            }
            let body = self.bodies[number % self.bodies.len()].clone();
            self.one(body, &mut own).await?;
        }
        let mut seen = self.seen.lock().map_err(|e| e.to_string())?;
        seen.requests += own.requests;
        seen.latencies.extend(own.latencies);
        seen.first_bytes.extend(own.first_bytes);
        seen.delays.extend(own.delays);
        Ok(())
    }

    async fn one(&mut self, body: Bytes, own: &mut Seen) -> Result<(), String> {
        let request = Request::post(self.path.as_str())
            .header("host", "bench")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", weir_tests::harness::inject::KEY))
            .body(Full::new(body))
            .map_err(|e| e.to_string())?;
        let begun = Instant::now();
        let response = self.sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let mut body = response.into_body();
        let mut first = None;
        let mut refusal = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| e.to_string())?;
            let now = Instant::now();
            first.get_or_insert(now - begun);
            if let Some(data) = frame.data_ref() {
                if status != 200 {
                    refusal.extend_from_slice(data);
                }
                own.delays.extend(delays(data, now - self.start));
            }
        }
        if status != 200 {
            return Err(format!("status {status}: {}", String::from_utf8_lossy(&refusal)));
        }
        own.latencies.push(begun.elapsed());
        own.first_bytes.extend(first);
        own.requests += 1;
        Ok(())
    }
}

/// How old the stamps in a piece of a stream are; stamps that the piece cuts are left out.
fn delays(data: &[u8], now: Duration) -> impl Iterator<Item = Duration> {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let stamps = text.split(STAMP).skip(1).filter_map(|rest| rest.split_once(' ')?.0.parse::<u64>().ok());
    stamps.map(move |at| now.saturating_sub(Duration::from_nanos(at)))
}
