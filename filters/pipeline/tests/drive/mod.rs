//! A host in miniature: Envoy's buffering, filter state, slots and retries around the two machines, so that vectors
//! run natively, with every body cut where a test wants it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use weir_config::filter;
use weir_lease::{Granted, Need, Refusal};
use weir_pipeline::cooling::Cool;
use weir_pipeline::feedback::Feedback;
use weir_pipeline::io::{Effect, Headers, Input, Now, Origin, Reply, Step};
use weir_pipeline::learned::Sample;
use weir_pipeline::plan::{NO_RETRY, PLAN, REPORT, TOO_LONG};
use weir_pipeline::span::Span;
use weir_pipeline::{Attempt, Exchange, Policy};

pub mod world;

/// What a provider answers to one try.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A provider's name, headers and body.
pub type Sent = (String, Vec<(String, String)>, Vec<u8>);

/// What one request left behind.
#[derive(Debug, Default)]
pub struct Outcome {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// What each try sent: provider, headers, body.
    pub sent: Vec<Sent>,
    pub span: Option<Span>,
    pub reserved: usize,
    /// What was asked of the ledger, in turn.
    pub asked: Vec<Vec<Need>>,
    /// What was asked of the lease at hand, in turn.
    pub tried: Vec<Vec<Need>>,
    /// What the provider's word taught.
    pub learned: Vec<Sample>,
    pub settled: Vec<Vec<u64>>,
    /// What was asked for while the answer came.
    pub topped: Vec<Vec<Need>>,
    /// The provider was cut off.
    pub cut: bool,
    /// Targets that are to be left alone.
    pub cooled: Vec<Cool>,
    /// What the decision log was told, and whether it had been promised.
    pub decided: Vec<(Vec<u8>, bool)>,
    /// A score of an earlier answer.
    pub feedback: Option<Feedback>,
    /// The request headers that Exchange left.
    pub routed: Vec<(String, String)>,
    /// The body that left it.
    pub left: Vec<u8>,
}

/// How bodies are cut.
#[allow(dead_code, reason = "each test program has this module and uses its own part of it")]
#[derive(Clone, Copy, Debug)]
pub enum Cuts {
    Whole,
    /// In two, here.
    At(usize),
    /// In pieces of this size.
    Every(usize),
    /// The same, and trailers end them.
    Trailers(usize),
}

impl Cuts {
    pub fn pieces(self, body: &[u8]) -> Vec<&[u8]> {
        match self {
            Cuts::Whole => vec![body],
            Cuts::At(at) => {
                let (a, b) = body.split_at(at.min(body.len()));
                vec![a, b]
            }
            Cuts::Every(n) | Cuts::Trailers(n) => body.chunks(n.max(1)).collect(),
        }
    }
}

/// Up to here the host keeps an answer, in bytes.
pub const KEPT: usize = 32 << 10;

pub struct Gateway {
    pub policy: Option<Rc<Policy>>,
    pub attempts: BTreeMap<String, Rc<filter::Attempt>>,
    /// What the ledger answers in turn; then everything is granted.
    pub ledger: RefCell<VecDeque<Result<Granted, Refusal>>>,
    /// The lease at hand has plenty for any bound.
    pub roomy: bool,
}

type Fields = Vec<(String, String)>;

fn borrowed(fields: &Fields) -> Vec<(&[u8], &[u8])> {
    fields.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect()
}

fn set(fields: &mut Fields, name: &str, value: String) {
    fields.retain(|(k, _)| k != name);
    fields.push((name.to_owned(), value));
}

fn get<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
}

#[derive(Default)]
struct Side {
    state: BTreeMap<String, Vec<u8>>,
    request: Fields,
    request_body: Vec<u8>,
    response: Fields,
    /// What the current response callback holds.
    piece: Option<Vec<u8>>,
    reply: Option<Reply>,
    span: Option<Span>,
    reserved: usize,
    asked: Vec<Vec<Need>>,
    settled: Vec<Vec<u64>>,
    tried: Vec<Vec<Need>>,
    short: bool,
    learned: Vec<Sample>,
    topping: Option<Vec<Need>>,
    topped: Vec<Vec<Need>>,
    cut: bool,
    cooled: Vec<Cool>,
    decided: Vec<(Vec<u8>, bool)>,
    feedback: Option<Feedback>,
}

impl Side {
    /// Carries out effects; true if a reservation was asked, which is granted at once.
    fn run(&mut self, effects: &mut Vec<Effect>) -> bool {
        let mut asked = false;
        for effect in effects.drain(..) {
            match effect {
                Effect::SetRequestHeader(k, v) => set(&mut self.request, k, v),
                Effect::RemoveRequestHeader(k) => self.request.retain(|(n, _)| *n != k),
                Effect::RequestHeaders(all) => self.request = all,
                Effect::RequestBody(b) => self.request_body = b,
                Effect::State(k, v) => {
                    self.state.insert(k.to_owned(), v);
                }
                Effect::SetResponseHeader(k, v) => set(&mut self.response, k, v),
                Effect::RemoveResponseHeader(k) => self.response.retain(|(n, _)| n != k),
                Effect::ResponseBody(b) => self.piece = Some(b),
                Effect::Reply(r) => self.reply = Some(r),
                Effect::Try(needs) => {
                    self.tried.push(needs);
                    self.short = true;
                    asked = true;
                }
                Effect::Reserve(needs) => {
                    self.asked.push(needs);
                    self.reserved += 1;
                    asked = true;
                }
                Effect::Settle(s) => self.settled.push(s.used),
                Effect::Emit(s) => self.span = Some(*s),
                Effect::Learn(sample) => self.learned.push(sample),
                Effect::TopUp(needs) => self.topping = Some(needs),
                Effect::Cut => self.cut = true,
                Effect::Cool(cool) => self.cooled.push(cool),
                Effect::Ask(ask) => panic!("nobody outside is asked here: {ask:?}"),
                Effect::Feedback(feedback) => self.feedback = Some(*feedback),
                Effect::Decided(record, placed) => self.decided.push((record, placed)),
            }
        }
        asked
    }
}

pub const NOW: Now = Now(1_700_000_000_000_000_000);

impl Gateway {
    /// Runs one request; `answers` are given to the tries in turn.
    pub fn run(
        &self,
        headers: &[(&str, &str)],
        body: &[u8],
        answers: &[Answer],
        up: Cuts,
        down: Cuts,
    ) -> Outcome {
        let mut side = Side {
            request: headers.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            ..Side::default()
        };
        side.request_body = body.to_vec();
        let mut exchange = Exchange::new(self.policy.clone());
        let mut effects = Vec::new();
        let fields = side.request.clone();
        let pairs = borrowed(&fields);
        let entropy = [11, 22, 33, 44];
        let mut step = exchange.handle(
            NOW,
            Input::RequestHeaders { headers: Headers(&pairs), end: false, entropy },
            &mut effects,
        );
        side.run(&mut effects);
        let mut size = 0;
        for piece in up.pieces(body) {
            if side.reply.is_some() {
                break;
            }
            size += piece.len();
            step = exchange.handle(NOW, Input::RequestBody { body: &[], size, end: false }, &mut effects);
            side.run(&mut effects);
        }
        if side.reply.is_none() {
            step =
                exchange.handle(NOW, Input::RequestBody { body, size: body.len(), end: true }, &mut effects);
            while side.run(&mut effects) {
                if std::mem::take(&mut side.short) && !self.roomy {
                    step = exchange.handle(NOW, Input::Short, &mut effects);
                    continue;
                }
                let answer = self.ledger.borrow_mut().pop_front().unwrap_or(Ok(Granted::default()));
                step = exchange.handle(NOW, Input::Reserved(answer), &mut effects);
            }
        }
        let mut out = Outcome::default();
        if side.reply.is_none() {
            assert_eq!(step, Step::Continue, "a request that is not refused goes on");
            self.upstream(&mut exchange, &mut side, answers, down, &mut out);
        }
        let report = side.state.get(REPORT).cloned();
        exchange.handle(
            NOW,
            Input::Done { report: report.as_deref(), details: "via_upstream" },
            &mut effects,
        );
        side.run(&mut effects);
        if let Some(reply) = side.reply {
            out.status = reply.status;
            out.body = reply.body;
            out.headers = reply.headers.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        }
        out.span = side.span;
        out.reserved = side.reserved;
        out.asked = side.asked;
        out.topped = side.topped;
        out.cut = side.cut;
        out.cooled = side.cooled;
        out.decided = side.decided;
        out.feedback = side.feedback;
        out.tried = side.tried;
        out.learned = side.learned;
        out.settled = side.settled;
        out
    }

    fn upstream(
        &self,
        exchange: &mut Exchange,
        side: &mut Side,
        answers: &[Answer],
        down: Cuts,
        out: &mut Outcome,
    ) {
        let retries: usize =
            get(&side.request, "x-envoy-max-retries").and_then(|n| n.parse().ok()).unwrap_or(0);
        let original = side.request_body.clone();
        out.routed = side.request.clone();
        out.left = original.clone();
        for (n, answer) in answers.iter().enumerate() {
            side.request_body = original.clone();
            let slot = side.state.get(["s1", "s2", "s3"][n]).cloned().unwrap_or_default();
            let cluster = String::from_utf8(slot).unwrap();
            let config =
                self.attempts.get(&cluster).unwrap_or_else(|| panic!("no cluster `{cluster}`")).clone();
            let plan = side.state.get(PLAN).cloned();
            let report = side.state.get(REPORT).cloned();
            let mut attempt = Attempt::new(config, n as u64 + 1, plan.as_deref(), report.as_deref());
            if !self.request(&mut attempt, side) {
                return;
            }
            out.sent.push((cluster, side.request.clone(), side.request_body.clone()));
            let last = n == retries;
            if self.response(exchange, &mut attempt, side, answer, down, last, out) {
                return;
            }
        }
    }

    fn request(&self, attempt: &mut Attempt, side: &mut Side) -> bool {
        let mut effects = Vec::new();
        let fields = side.request.clone();
        let pairs = borrowed(&fields);
        attempt.handle(
            NOW,
            Input::RequestHeaders { headers: Headers(&pairs), end: false, entropy: [0; 4] },
            &mut effects,
        );
        if side.run(&mut effects) {
            attempt.handle(NOW, Input::Reserved(Ok(Default::default())), &mut effects);
            side.run(&mut effects);
        }
        if attempt.wants_request_body() {
            let body = side.request_body.clone();
            attempt.handle(
                NOW,
                Input::RequestBody { body: &body, size: body.len(), end: true },
                &mut effects,
            );
            if side.run(&mut effects) {
                attempt.handle(NOW, Input::Reserved(Ok(Default::default())), &mut effects);
                side.run(&mut effects);
            }
        }
        side.reply.is_none()
    }

    /// False when the router would try again.
    #[allow(clippy::too_many_arguments)]
    fn response(
        &self,
        exchange: &mut Exchange,
        attempt: &mut Attempt,
        side: &mut Side,
        answer: &Answer,
        down: Cuts,
        last: bool,
        out: &mut Outcome,
    ) -> bool {
        let mut effects = Vec::new();
        side.response = answer.headers.clone();
        set(&mut side.response, ":status", answer.status.to_string());
        let fields = side.response.clone();
        let pairs = borrowed(&fields);
        let mut held = attempt.handle(
            NOW,
            Input::ResponseHeaders { headers: Headers(&pairs), end: false, origin: Origin::default() },
            &mut effects,
        ) == Step::Pause;
        side.run(&mut effects);
        let mut released = Vec::new();
        let mut buffer = Vec::new();
        let mut pieces: Vec<(&[u8], bool)> =
            down.pieces(&answer.body).into_iter().map(|p| (p, false)).collect();
        pieces.push((&[], true));
        for (piece, end) in pieces {
            buffer.extend_from_slice(piece);
            if attempt.wants_response_body(end) {
                side.piece = None;
                let step = attempt.handle(NOW, Input::ResponseBody { chunk: &buffer, end }, &mut effects);
                side.run(&mut effects);
                if let Some(replaced) = side.piece.take() {
                    buffer = replaced;
                }
                if step == Step::Pause {
                    continue;
                }
            }
            if held || released.is_empty() {
                held = false;
                let status: u16 = get(&side.response, ":status").and_then(|s| s.parse().ok()).unwrap();
                let again = get(&side.response, NO_RETRY).is_none();
                if !last && again && (status >= 500 || matches!(status, 429 | TOO_LONG)) {
                    return false;
                }
            }
            released.push((std::mem::take(&mut buffer), end));
        }
        let fields = side.response.clone();
        let pairs = borrowed(&fields);
        let report = side.state.get(REPORT).cloned();
        let origin = Origin {
            details: "via_upstream",
            address: "127.0.0.1:9101",
            report: report.as_deref(),
            attempts: 0,
        };
        exchange.handle(
            NOW,
            Input::ResponseHeaders { headers: Headers(&pairs), end: false, origin },
            &mut effects,
        );
        side.run(&mut effects);
        // Some fifty tokens a second.
        let mut now = NOW;
        let mut kept = Vec::new();
        let mut waits = false;
        for (piece, end) in released {
            now.0 += piece.len() as u64 * 200_000;
            side.piece = None;
            kept.extend_from_slice(&piece);
            let trailers = end && matches!(down, Cuts::Trailers(_));
            let input =
                if trailers { Input::ResponseTrailers } else { Input::ResponseBody { chunk: &piece, end } };
            let step = exchange.handle(now, input, &mut effects);
            side.run(&mut effects);
            if trailers && !waits {
                let lost = side.piece.take().is_some_and(|piece| !piece.is_empty());
                assert!(!lost, "trailers alone carry no bytes");
            }
            if step == Step::Pause && end {
                // What is no longer waited for is cut off soon.
                assert!(exchange.due(now));
                exchange.handle(now, Input::Tick, &mut effects);
                side.run(&mut effects);
                break;
            }
            if step == Step::Pause {
                waits = true;
                if let Some(replaced) = side.piece.take() {
                    assert!(replaced.is_empty(), "what waits is not changed before its end");
                    kept.clear();
                }
                assert!(kept.len() <= KEPT, "the host keeps no more");
                continue;
            }
            waits = false;
            out.body.extend_from_slice(side.piece.as_ref().unwrap_or(&kept));
            kept.clear();
            while let Some(needs) = side.topping.take() {
                side.topped.push(needs);
                let answer = self.ledger.borrow_mut().pop_front().unwrap_or(Ok(Granted::default()));
                exchange.handle(now, Input::ToppedUp(answer), &mut effects);
                side.run(&mut effects);
            }
            if side.cut {
                break;
            }
        }
        out.status = get(&side.response, ":status").and_then(|s| s.parse().ok()).unwrap();
        out.headers = side.response.iter().cloned().collect();
        if let Some(length) = out.headers.get("content-length") {
            assert_eq!(length, &out.body.len().to_string(), "a client reads as much as it was told");
        }
        true
    }
}
