//! What clients think of an answer: `POST /v1/weir/feedback {"response_id": "…", "score": 1}`, told to the collector as the
//! event `gen_ai.evaluation.result` in the answer's own trace.
//!
//! Which trace that is, the process remembers in its shared data, in so many slots for the latest answers: a score is
//! taken once, from the tenant that had the answer, and for as long as no later answer took the slot.

use weir_lease::{SharedData, mix};
use weir_wire::json::{Kind, Writer as Json};

use crate::codec::{Reader, Writer};
use crate::io::{Now, Reply};
use crate::otlp::{Any, Message, Signal};
use crate::prompt;
use crate::refusal::Refusal;
use crate::shared;
use crate::span::Span;

/// The path.
pub const PATH: &str = "/v1/weir/feedback";
/// Largest body, in bytes.
pub const MAX_BODY: u64 = 4096;
/// Where events are taken.
pub const LOGS: Signal =
    Signal { service: "opentelemetry.proto.collector.logs.v1.LogsService", path: "/v1/logs" };
/// Answers that are remembered.
const SLOTS: u64 = 8192;
const KEY: &str = "weir/1/said/";
/// Longest id of an answer.
const MAX_ID: usize = 256;
const VERSION: u8 = 1;

/// A score of one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    /// Whose.
    pub tenant: String,
    /// The provider's id of the answer, as the client read it.
    pub response_id: String,
    /// How good it was.
    pub score: f64,
    /// By which measure.
    pub name: String,
}

impl Feedback {
    /// Reads a body.
    pub fn read(body: &[u8], tenant: &str) -> Result<Self, Refusal> {
        let doc = prompt::parse(body)?;
        let wrong =
            |field: &str, what: &'static str| Err(Refusal::request(400, "invalid_value", what).at(field));
        if doc.root().kind() != Kind::Object {
            return wrong("", "send an object with `response_id` and `score`");
        }
        let (mut id, mut score, mut name) = (None, None, "feedback".to_owned());
        for (key, value) in doc.root().members() {
            if key.is("response_id") {
                id = value.as_str().filter(|id| !id.is_empty() && id.len() <= MAX_ID);
            } else if key.is("score") {
                score = value.as_f64().filter(|score| score.is_finite());
            } else if key.is("name") {
                let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
                match value.as_str().filter(|it| (1..=64).contains(&it.len()) && it.bytes().all(word)) {
                    Some(given) => name = given.into_owned(),
                    None => {
                        return wrong(
                            "name",
                            "`name` is a word of at most 64 letters, digits, `_`, `-`, `.`",
                        );
                    }
                }
            } else {
                return wrong(&key.as_str(), "only `response_id`, `score` and `name` are known");
            }
        }
        let Some(id) = id else { return wrong("response_id", "`response_id` is the id of an answer") };
        let Some(score) = score else { return wrong("score", "`score` is a number") };
        Ok(Self { tenant: tenant.to_owned(), response_id: id.into_owned(), score, name })
    }

    /// Finds the answer and takes the score: the event, or why not.
    pub fn take(&self, store: &mut dyn SharedData, now: Now) -> Result<Vec<u8>, Refusal> {
        let unknown = || {
            let what = "no recent answer to this tenant has this `response_id`";
            Err(Refusal::request(404, "response_not_found", what))
        };
        let mut told = unknown();
        let taken = shared::change(store, &key(&self.response_id), &mut |bytes| {
            told = unknown();
            let said = Said::decode(bytes)?;
            if said.id != self.response_id || said.tenant != self.tenant {
                return None;
            }
            if said.scored {
                let what = "this answer has its score already";
                told = Err(Refusal::request(409, "feedback_repeated", what));
                return None;
            }
            told = Ok(self.event(&said, now));
            Some(Said { scored: true, ..said }.encode())
        });
        if told.is_ok() && !taken { unknown() } else { told }
    }

    /// A log record.
    fn event(&self, said: &Said<'_>, now: Now) -> Vec<u8> {
        let mut m = Message::default();
        m.fixed64(1, now.0);
        for (key, value) in [
            ("gen_ai.evaluation.name", Any::Text(&self.name)),
            ("gen_ai.evaluation.score.value", Any::Double(self.score)),
            ("gen_ai.response.id", Any::Text(&self.response_id)),
            ("weir.tenant", Any::Text(&self.tenant)),
        ] {
            m.attribute(6, key, value);
        }
        m.fixed32(8, u32::from(said.flags));
        m.bytes(9, said.trace);
        m.bytes(10, said.span);
        m.fixed64(11, now.0);
        m.bytes(12, b"gen_ai.evaluation.result");
        m.0
    }
}

/// The answer to a score that was taken.
pub fn accepted() -> Reply {
    let mut w = Json::new(Vec::new());
    w.begin_object().key("status").str("accepted").end_object();
    let headers = vec![("content-type", "application/json".to_owned())];
    Reply { status: 202, headers, body: w.into_inner() }
}

/// An answer that is remembered.
struct Said<'b> {
    scored: bool,
    id: &'b str,
    tenant: &'b str,
    trace: &'b [u8],
    span: &'b [u8],
    flags: u8,
}

impl<'b> Said<'b> {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(VERSION);
        w.int(u64::from(self.scored)).bytes(self.id.as_bytes()).bytes(self.tenant.as_bytes());
        w.bytes(self.trace).bytes(self.span).int(u64::from(self.flags));
        w.finish()
    }

    fn decode(bytes: &'b [u8]) -> Option<Self> {
        let mut r = Reader::new(bytes, VERSION)?;
        let said = Said {
            scored: r.int() == 1,
            id: r.str(),
            tenant: r.str(),
            trace: r.bytes(),
            span: r.bytes(),
            flags: r.int() as u8,
        };
        r.whole().map(|()| said)
    }
}

fn key(id: &str) -> String {
    let mut words = Vec::with_capacity(8);
    for part in id.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
        words.push(u64::from_le_bytes(word));
    }
    let slot = mix(&words) % SLOTS;
    let mut key = String::from(KEY);
    crate::span::hex(&mut key, &(slot as u16).to_be_bytes());
    key
}

/// Remembers where an answer's trace is.
pub fn remember(store: &mut dyn SharedData, span: &Span) {
    if span.response_id.is_empty() || span.response_id.len() > MAX_ID {
        return;
    }
    let said = Said {
        scored: false,
        id: &span.response_id,
        tenant: &span.tenant,
        trace: &span.context.trace,
        span: &span.context.span,
        flags: span.context.flags,
    };
    let _ = store.set(&key(&span.response_id), &said.encode(), None);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Told;
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use prost::Message as _;

    use super::*;
    use crate::shared::memory::Memory;
    use crate::span::TraceContext;

    fn span(id: &str) -> Span {
        let context = TraceContext::continued(None, &[1, 2, 3, 4]);
        Span { response_id: id.into(), tenant: "acme".into(), context, ..Span::default() }
    }

    fn read(text: &str) -> Result<Feedback, Refusal> {
        Feedback::read(text.as_bytes(), "acme")
    }

    #[test]
    fn a_score_is_an_event_of_the_answers_span_and_taken_once() {
        let mut store = Memory::default();
        remember(&mut store, &span("chatcmpl-1"));
        let feedback = read(r#"{"response_id":"chatcmpl-1","score":0.5,"name":"helpful"}"#).unwrap();
        let other = Feedback { tenant: "globex".into(), ..feedback.clone() };
        assert_eq!(other.take(&mut store, Now(7)).unwrap_err().status, 404, "another tenant's answer");
        let event = LogRecord::decode(feedback.take(&mut store, Now(7)).unwrap().as_slice()).unwrap();
        assert_eq!(event.event_name, "gen_ai.evaluation.result");
        let context = span("").context;
        assert_eq!((event.trace_id, event.span_id), (context.trace.to_vec(), context.span.to_vec()));
        assert_eq!((event.time_unix_nano, event.observed_time_unix_nano, event.flags), (7, 7, 1));
        let told: Vec<(String, Option<Told>)> = event
            .attributes
            .into_iter()
            .map(|pair| (pair.key, pair.value.and_then(|value| value.value)))
            .collect();
        let text = |text: &str| Some(Told::StringValue(text.into()));
        assert_eq!(
            told,
            [
                ("gen_ai.evaluation.name".to_owned(), text("helpful")),
                ("gen_ai.evaluation.score.value".to_owned(), Some(Told::DoubleValue(0.5))),
                ("gen_ai.response.id".to_owned(), text("chatcmpl-1")),
                ("weir.tenant".to_owned(), text("acme")),
            ]
        );
        assert_eq!(feedback.take(&mut store, Now(8)).unwrap_err().code, "feedback_repeated");
        let unknown = read(r#"{"response_id":"chatcmpl-2","score":1}"#).unwrap();
        assert_eq!(unknown.take(&mut store, Now(8)).unwrap_err().code, "response_not_found");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut store = Memory::default();
        for n in 0..100_000 {
            remember(&mut store, &span(&format!("chatcmpl-{n}")));
        }
        remember(&mut store, &span(&"x".repeat(300)));
        assert!(
            store.values.len() as u64 <= SLOTS && store.values.len() as u64 > SLOTS * 9 / 10,
            "{}",
            store.values.len()
        );
        let last = read(r#"{"response_id":"chatcmpl-99999","score":-1}"#).unwrap();
        assert!(last.take(&mut store, Now(1)).is_ok());
        let first = read(r#"{"response_id":"chatcmpl-0","score":1}"#).unwrap();
        assert_eq!(first.take(&mut store, Now(1)).unwrap_err().status, 404, "a later one has its slot");
    }

    #[test]
    fn what_is_no_score_is_refused_by_name() {
        let long = format!(r#"{{"response_id":"{}","score":1}}"#, "x".repeat(257));
        for (body, field) in [
            (r#"{"score":1}"#, "response_id"),
            (r#"{"response_id":"","score":1}"#, "response_id"),
            (r#"{"response_id":7,"score":1}"#, "response_id"),
            (long.as_str(), "response_id"),
            (r#"{"response_id":"a"}"#, "score"),
            (r#"{"response_id":"a","score":"good"}"#, "score"),
            (r#"{"response_id":"a","score":1,"name":"a b"}"#, "name"),
            (r#"{"response_id":"a","score":1,"comment":"Jane is nice"}"#, "comment"),
        ] {
            let refusal = read(body).unwrap_err();
            assert_eq!((refusal.status, refusal.param.as_deref()), (400, Some(field)), "{body}");
        }
        assert_eq!(read("").unwrap_err().code, "empty_body");
        assert_eq!(read("{").unwrap_err().code, "invalid_json");
        assert_eq!(read("[]").unwrap_err().status, 400);
    }
}
