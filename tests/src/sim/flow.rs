//! Writes an answer: paces its events, cuts their bytes into frames, and breaks off where a fault says so.
//!
//! A provider gives the events (bytes and the tokens they carry); from there the dialect does not matter.
//! One frame is one write: the body lets hyper flush after each by being pending once.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderName, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::book::{Entry, Open, Outcome};
use super::control::{At, Behaviour, Bill, Fault};
use super::cut::Cutter;
use super::rng::Rng;
use super::server::Conn;

/// The connection (HTTP/1) or stream (HTTP/2) must end here, unfinished.
#[derive(Debug)]
pub struct Abort;

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ended by the simulator")
    }
}

impl std::error::Error for Abort {}

/// A piece of the answer that a real server would write at once.
#[derive(Clone, Debug)]
pub struct Event {
    pub bytes: Vec<u8>,
    /// Tokens generated for it.
    pub tokens: u32,
}

/// A whole answer, before pacing, cuts and faults.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// One for an answer that is not streamed.
    pub events: Vec<Event>,
    pub streamed: bool,
    /// The event that says "error" in the provider's stream.
    pub error_event: Vec<u8>,
}

/// A body of an answer on its way to hyper.
pub struct Wire {
    frames: Source,
    /// Bytes still to come where the length was announced: hyper does not ask again after the last.
    remaining: Option<u64>,
    pause: bool,
    open: Option<Open>,
}

enum Source {
    Ready(VecDeque<Bytes>),
    Task(mpsc::Receiver<Result<Bytes, Abort>>),
}

impl Wire {
    /// A JSON answer outside the book.
    pub fn json(status: u16, value: &serde_json::Value) -> Response<Self> {
        let bytes = Bytes::from(value.to_string());
        let mut response = Response::new(Self {
            remaining: Some(bytes.len() as u64),
            frames: Source::Ready(VecDeque::from([bytes])),
            pause: false,
            open: None,
        });
        set_head(&mut response, status, &[("content-type".into(), "application/json".into())]);
        response
    }

    /// A whole body at once, in the book.
    pub fn whole(open: Open, status: u16, headers: &[(String, String)], body: Vec<u8>) -> Response<Self> {
        open.0.note(|r| r.status = status);
        open.0.wrote(&body);
        let mut response = Response::new(Self {
            remaining: Some(body.len() as u64),
            frames: Source::Ready(VecDeque::from([Bytes::from(body)])),
            pause: false,
            open: Some(open),
        });
        set_head(&mut response, status, headers);
        response
    }

    fn close(&mut self, outcome: Outcome) {
        if let Some(open) = self.open.take() {
            open.0.settle(outcome);
        }
    }
}

fn set_head(response: &mut Response<Wire>, status: u16, headers: &[(String, String)]) {
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::IM_A_TEAPOT);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
}

impl Body for Wire {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        if std::mem::take(&mut self.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = match &mut self.frames {
            Source::Ready(frames) => frames.pop_front().map(Ok),
            Source::Task(receiver) => match receiver.poll_recv(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => return Poll::Pending,
            },
        };
        match next {
            Some(Ok(bytes)) => {
                self.pause = true;
                if let Some(remaining) = &mut self.remaining {
                    *remaining = remaining.saturating_sub(bytes.len() as u64);
                    if *remaining == 0 {
                        self.close(Outcome::Answered);
                    }
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Some(Err(abort)) => {
                self.close(Outcome::Faulted);
                Poll::Ready(Some(Err(abort)))
            }
            None => {
                self.close(Outcome::Answered);
                Poll::Ready(None)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == Some(0)
    }
}

/// The faults that end a request before its head; the rest are for [`send`].
pub async fn before_headers(
    fault: Option<&Fault>,
    conn: &Conn,
    http2: bool,
    entry: &Entry,
) -> Result<(), Abort> {
    match fault {
        Some(Fault::ResetBeforeHeaders) => {
            if !http2 {
                conn.will_reset();
            }
            Err(ended(entry))
        }
        Some(Fault::CloseBeforeHeaders) => Err(ended(entry)),
        Some(Fault::GarbageHead { bytes }) => {
            conn.will_say(Rng::new(entry.number()).bytes(*bytes));
            Err(ended(entry))
        }
        Some(Fault::StallBeforeHeaders { ms }) => {
            stall(*ms).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn ended(entry: &Entry) -> Abort {
    entry.settle(Outcome::Faulted);
    Abort
}

/// Waits; without an end the caller is dropped when the client goes.
async fn stall(ms: Option<u64>) {
    match ms {
        Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

/// Starts the answer. `guard` is held until the last byte is written (a place in the provider's queue).
pub async fn send<G: Send + 'static>(
    mut answer: Answer,
    behaviour: Behaviour,
    open: Open,
    conn: Arc<Conn>,
    http2: bool,
    guard: G,
) -> Response<Wire> {
    let entry = open.0.clone();
    entry.note(|r| r.status = answer.status);
    entry.bill(behaviour.bill.unwrap_or(Bill::Stops));
    entry.begin();
    answer.headers.extend(behaviour.headers.iter().cloned());
    if behaviour.gzip == Some(true) {
        encode_gzip(&mut answer.events);
        answer.headers.push(("content-encoding".into(), "gzip".into()));
    }
    let begun = Instant::now();
    if !answer.streamed {
        // The head of a whole answer comes after the whole generation.
        let tokens: u32 = answer.events.iter().map(|e| e.tokens).sum();
        tokio::time::sleep_until(begun + pace(&behaviour, tokens)).await;
        entry.generated(tokens);
    }
    let breaking = Break::find(&answer, &behaviour);
    let length = answer.events.iter().map(|e| e.bytes.len() as u64).sum::<u64>();
    // A break may change the length, and an announced length that is not kept is a fault of its own.
    let announced = !answer.streamed && breaking.as_ref().is_none_or(|b| b.keeps_length());
    let (sender, receiver) = mpsc::channel(1);
    let head = (answer.status, std::mem::take(&mut answer.headers));
    tokio::spawn(async move {
        let gone = sender.clone();
        let mut writer =
            Writer { sender, cutter: Cutter::new(behaviour.chunking.clone().unwrap_or_default()), entry };
        tokio::select! {
            () = gone.closed() => {}
            () = writer.run(answer, &behaviour, breaking, begun, &conn, http2) => {}
        }
        drop(guard);
    });
    let mut response = Response::new(Wire {
        frames: Source::Task(receiver),
        remaining: announced.then_some(length),
        pause: false,
        open: Some(open),
    });
    set_head(&mut response, head.0, &head.1);
    response
}

fn pace(behaviour: &Behaviour, tokens: u32) -> Duration {
    Duration::from_millis(behaviour.ttft_ms.unwrap_or(0))
        + Duration::from_micros(behaviour.token_us.unwrap_or(0)) * tokens.saturating_sub(1)
}

/// Where the answer breaks, and how.
struct Break {
    /// Bytes of the body that still go out.
    at: usize,
    how: How,
}

enum How {
    Stall(Option<u64>),
    Reset,
    Close,
    Cut,
    Error,
    Garbage(usize),
}

impl Break {
    fn find(answer: &Answer, behaviour: &Behaviour) -> Option<Self> {
        let (at, how) = match behaviour.fault.as_ref()? {
            Fault::SilenceAfterHeaders { ms } => (At::Bytes(0), How::Stall(*ms)),
            Fault::StallMidStream { at, ms } => (*at, How::Stall(*ms)),
            Fault::ResetMidStream { at } => (*at, How::Reset),
            Fault::CloseMidStream { at } => (*at, How::Close),
            Fault::CutMidStream { at } => (*at, How::Cut),
            Fault::ErrorFirstFrame { .. } => (At::Bytes(0), How::Error),
            Fault::ErrorMidStream { at, .. } => (*at, How::Error),
            Fault::GarbageBody { bytes } => (At::Bytes(0), How::Garbage(*bytes)),
            Fault::GarbageMidStream { at, bytes } => (*at, How::Garbage(*bytes)),
            _ => return None,
        };
        let total: usize = answer.events.iter().map(|e| e.bytes.len()).sum();
        let at = match at {
            At::Bytes(bytes) => bytes.min(total),
            At::Events(_) if !answer.streamed => total / 2,
            At::Events(count) => answer.events.iter().take(count).map(|e| e.bytes.len()).sum(),
        };
        Some(Self { at, how })
    }

    /// Whether a length announced in the head is still the right thing to announce.
    fn keeps_length(&self) -> bool {
        matches!(self.how, How::Stall(_) | How::Reset | How::Close)
    }
}

struct Writer {
    sender: mpsc::Sender<Result<Bytes, Abort>>,
    cutter: Cutter,
    entry: Entry,
}

impl Writer {
    async fn run(
        &mut self,
        answer: Answer,
        behaviour: &Behaviour,
        mut breaking: Option<Break>,
        begun: Instant,
        conn: &Conn,
        http2: bool,
    ) {
        let (mut tokens, mut written) = (0, 0);
        for event in &answer.events {
            if let Some(found) = breaking.take_if(|b| b.at == written)
                && self.break_off(found.how, &answer.error_event, conn, http2).await
            {
                return;
            }
            if answer.streamed {
                tokens += event.tokens;
                let due = begun + pace(behaviour, tokens);
                if event.tokens > 0 && due > Instant::now() {
                    tokio::time::sleep_until(due).await;
                }
                self.entry.generated(event.tokens);
            }
            let mut rest = &event.bytes[..];
            if let Some(found) = breaking.take_if(|b| b.at < written + rest.len()) {
                let (before, after) = rest.split_at(found.at - written);
                self.cutter.push(before);
                if self.break_off(found.how, &answer.error_event, conn, http2).await {
                    return;
                }
                (rest, written) = (after, found.at);
            }
            written += rest.len();
            self.cutter.push(rest);
            self.write(false).await;
        }
        self.write(true).await;
        if let Some(found) = breaking {
            self.break_off(found.how, &answer.error_event, conn, http2).await;
        }
    }

    /// True where nothing may follow.
    async fn break_off(&mut self, how: How, error: &[u8], conn: &Conn, http2: bool) -> bool {
        self.write(true).await;
        match how {
            How::Stall(ms) => {
                stall(ms).await;
                return false;
            }
            How::Reset | How::Close => {
                // What was written before must leave the kernel first: a reset discards it.
                tokio::time::sleep(Duration::from_millis(20)).await;
                if matches!(how, How::Reset) && !http2 {
                    conn.will_reset();
                }
                self.entry.settle(Outcome::Faulted);
                let _ = self.sender.send(Err(Abort)).await;
                return true;
            }
            How::Cut => {}
            How::Error => self.cutter.push(error),
            How::Garbage(count) => self.cutter.push(&Rng::new(self.entry.number()).bytes(count)),
        }
        self.entry.settle(Outcome::Faulted);
        self.write(true).await;
        true
    }

    async fn write(&mut self, flush: bool) {
        while let Some(frame) = self.cutter.pop(flush) {
            self.entry.wrote(&frame);
            if self.sender.send(Ok(Bytes::from(frame))).await.is_err() {
                return;
            }
        }
    }
}

fn encode_gzip(events: &mut [Event]) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let last = events.len().saturating_sub(1);
    for (at, event) in events.iter_mut().enumerate() {
        let fed = encoder
            .write_all(&event.bytes)
            .and_then(|()| if at == last { encoder.try_finish() } else { encoder.flush() });
        fed.expect("a vector takes every byte");
        event.bytes = std::mem::take(encoder.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_events_decode_one_by_one() {
        use std::io::Read as _;
        let event = |s: &str| Event { bytes: s.as_bytes().to_vec(), tokens: 1 };
        let mut events = vec![event("data: one\n\n"), event("data: two\n\n")];
        encode_gzip(&mut events);
        let whole: Vec<u8> = events.iter().flat_map(|e| e.bytes.clone()).collect();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&whole[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "data: one\n\ndata: two\n\n");
    }
}
