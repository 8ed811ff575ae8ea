//! Spans in OTLP's protobuf, by the OpenTelemetry GenAI conventions. The few fields used are written by hand:
//! generated messages would be a third of the module's code.
//!
//! Field numbers: opentelemetry-proto `collector/trace/v1/trace_service.proto` and `trace/v1/trace.proto`.

use crate::parts::{self, PARTS};
use crate::span::{Counted, STAGES, Span, TraceContext, Try};

/// A kind of telemetry, by where a collector takes it.
pub struct Signal {
    /// The gRPC service.
    pub service: &'static str,
    /// The path of OTLP/HTTP.
    pub path: &'static str,
}

/// Spans.
pub const TRACES: Signal =
    Signal { service: "opentelemetry.proto.collector.trace.v1.TraceService", path: "/v1/traces" };
/// The method of each service.
pub const METHOD: &str = "Export";

pub(crate) const SCHEMA: &str = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev";
const KIND_CLIENT: u64 = 3;
const STATUS_ERROR: u64 = 2;

/// Of a span.
const ATTRIBUTES: u64 = 9;

/// A protobuf message, field by field.
#[derive(Clone, Default)]
pub(crate) struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn int(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    pub fn fixed64(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn fixed32(&mut self, field: u64, value: u32) {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub fn message(&mut self, field: u64, inner: Message) {
        self.bytes(field, &inner.0);
    }

    /// A `KeyValue`: lengths first, so that nothing is written twice.
    pub fn attribute(&mut self, field: u64, key: &str, value: Any<'_>) {
        let (own, inner) = (value.len(), value.inner());
        let pair = framed(key.len()) + framed(own);
        self.varint(field << 3 | 2);
        self.varint(pair as u64);
        self.bytes(1, key.as_bytes());
        self.varint(2 << 3 | 2);
        self.varint(own as u64);
        match value {
            Any::Text(text) => self.bytes(1, text.as_bytes()),
            Any::Bool(value) => self.int(2, u64::from(value)),
            Any::Int(value) => self.int(3, value as u64),
            Any::Double(value) => self.fixed64(4, value.to_bits()),
            Any::Texts(texts) => {
                self.varint(5 << 3 | 2);
                self.varint(inner as u64);
                for text in texts {
                    self.varint(1 << 3 | 2);
                    self.varint(framed(text.len()) as u64);
                    self.bytes(1, text.as_bytes());
                }
            }
        }
    }
}

/// An `AnyValue`.
#[derive(Clone, Copy)]
pub(crate) enum Any<'v> {
    Text(&'v str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Texts(&'v [String]),
}

impl Any<'_> {
    /// Bytes of the message.
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => framed(text.len()),
            Self::Bool(_) => 2,
            Self::Int(value) => 1 + width(*value as u64),
            Self::Double(_) => 9,
            Self::Texts(_) => framed(self.inner()),
        }
    }

    /// Bytes of the list within it.
    fn inner(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.iter().map(|text| framed(framed(text.len()))).sum(),
            _ => 0,
        }
    }
}

/// Bytes of a field of this many, whose number is below 16.
fn framed(len: usize) -> usize {
    1 + width(len as u64) + len
}

/// Bytes of a number.
fn width(value: u64) -> usize {
    let bits = (u64::BITS - (value | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

pub(crate) fn string(value: &str) -> Any<'_> {
    Any::Text(value)
}

pub(crate) fn boolean(value: bool) -> Any<'static> {
    Any::Bool(value)
}

fn integer(value: i64) -> Any<'static> {
    Any::Int(value)
}

fn double(value: f64) -> Any<'static> {
    Any::Double(value)
}

fn strings(values: &[String]) -> Any<'_> {
    Any::Texts(values)
}

/// Who exports.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// `service.version`.
    pub version: &'a str,
    /// `service.instance.id`: one for each VM, so that their sums are told apart.
    pub instance: &'a str,
}

impl Source<'_> {
    pub(crate) fn resource(&self) -> Message {
        let mut resource = Message::default();
        resource.attribute(1, "service.name", string("weir"));
        resource.attribute(1, "service.version", string(self.version));
        resource.attribute(1, "service.instance.id", string(self.instance));
        resource
    }

    pub(crate) fn scope(&self) -> Message {
        let mut scope = Message::default();
        scope.bytes(1, b"weir");
        scope.bytes(2, self.version.as_bytes());
        scope
    }

    /// An export request of what one scope has: `items` are messages of field 2.
    pub(crate) fn request<'m>(&self, items: impl Iterator<Item = &'m [u8]>) -> Vec<u8> {
        let mut scoped = Message::default();
        scoped.message(1, self.scope());
        for item in items {
            scoped.bytes(2, item);
        }
        scoped.bytes(3, SCHEMA.as_bytes());
        let mut resources = Message::default();
        resources.message(1, self.resource());
        resources.message(2, scoped);
        let mut request = Message::default();
        request.message(1, resources);
        request.0
    }
}

/// `ExportTraceServiceRequest` of encoded spans.
pub fn batch(spans: &[Vec<u8>], source: &Source<'_>) -> Vec<u8> {
    source.request(spans.iter().map(Vec::as_slice))
}

/// How many items a collector did not take, by its answer: field 1 of `partial_success`, which is field 1.
pub fn rejected(answer: &[u8]) -> u64 {
    inner(answer).and_then(inner_int).unwrap_or(0)
}

/// The field 1 that `message` begins with, where it is a message.
fn inner(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(&[0x0a])?;
    let (len, at) = varint(rest)?;
    let len = usize::try_from(len).ok()?;
    rest.get(at..at.checked_add(len)?)
}

/// The field 1 that `message` begins with, where it is a number.
fn inner_int(message: &[u8]) -> Option<u64> {
    varint(message.strip_prefix(&[0x08])?).map(|(value, _)| value)
}

/// A number, and its length.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * at as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// The fields that every span begins with.
fn begin(context: &TraceContext, tracestate: &str, name: &str, start: u64, end: u64) -> Message {
    let mut m = Message(Vec::with_capacity(2048));
    m.bytes(1, &context.trace);
    m.bytes(2, &context.span);
    if !tracestate.is_empty() {
        m.bytes(3, tracestate.as_bytes());
    }
    if let Some(parent) = &context.parent {
        m.bytes(4, parent);
    }
    m.bytes(5, name.as_bytes());
    m.int(6, KIND_CLIENT);
    m.fixed64(7, start);
    m.fixed64(8, end);
    m
}

/// The fields that every span ends with. `remote` says whether the parent is another process's.
fn finish(m: &mut Message, context: &TraceContext, failed: bool, remote: bool) {
    if failed {
        let mut status = Message::default();
        status.int(3, STATUS_ERROR);
        m.message(15, status);
    }
    // Bits 0–7 of flags are the W3C trace flags; 8 says that "is remote" is known, 9 that the parent is.
    let parent = if context.parent.is_none() { 0 } else { 0x100 | u32::from(remote) << 9 };
    m.fixed32(16, u32::from(context.flags) | parent);
}

fn text(m: &mut Message, key: &str, value: &str) {
    if !value.is_empty() {
        m.attribute(ATTRIBUTES, key, string(value));
    }
}

fn count(m: &mut Message, key: &str, value: u64) {
    m.attribute(ATTRIBUTES, key, integer(i64::try_from(value).unwrap_or(i64::MAX)));
}

fn server(m: &mut Message, address: &str) {
    if let Some((host, port)) = address.rsplit_once(':') {
        text(m, "server.address", host.trim_matches(['[', ']']));
        if let Ok(port) = port.parse::<u16>() {
            count(m, "server.port", u64::from(port));
        }
    }
}

/// The span of one try, by the HTTP conventions.
pub fn encode_try(one: &Try) -> Vec<u8> {
    let mut m = begin(&one.context, &one.tracestate, "POST", one.start, one.end);
    text(&mut m, "http.request.method", "POST");
    text(&mut m, "url.full", &one.url);
    server(&mut m, &one.address);
    if one.status != 0 {
        count(&mut m, "http.response.status_code", u64::from(one.status));
    }
    if one.number > 1 {
        count(&mut m, "http.request.resend_count", one.number - 1);
    }
    text(&mut m, "error.type", &one.error);
    text(&mut m, "weir.target.provider", &one.provider);
    text(&mut m, "weir.target.model", &one.model);
    finish(&mut m, &one.context, !one.error.is_empty(), false);
    m.0
}

/// The span of one exchange.
pub fn encode(span: &Span) -> Vec<u8> {
    let mut name = span.operation.to_owned();
    if !span.request_model.is_empty() {
        name.push(' ');
        name.push_str(&span.request_model);
    }
    let mut m = begin(&span.context, &span.tracestate, &name, span.start, span.end);
    text(&mut m, "gen_ai.operation.name", span.operation);
    text(&mut m, "gen_ai.provider.name", &span.provider);
    text(&mut m, "gen_ai.request.model", &span.request_model);
    text(&mut m, "gen_ai.response.model", &span.response_model);
    text(&mut m, "gen_ai.response.id", &span.response_id);
    for (key, list) in [
        ("gen_ai.response.finish_reasons", &span.finish_reasons),
        ("gen_ai.request.stop_sequences", &span.stop),
        ("weir.retrieval.documents", &span.documents),
    ] {
        if !list.is_empty() {
            m.attribute(ATTRIBUTES, key, strings(list));
        }
    }
    if span.counted != Counted::No {
        count(&mut m, "gen_ai.usage.input_tokens", span.usage.input);
        if span.operation != "embeddings" {
            count(&mut m, "gen_ai.usage.output_tokens", span.usage.output);
        }
        for (key, value) in [
            ("gen_ai.usage.cache_read.input_tokens", span.usage.cache_read),
            ("gen_ai.usage.cache_creation.input_tokens", span.usage.cache_write),
            ("gen_ai.usage.reasoning.output_tokens", span.usage.reasoning),
        ] {
            if value > 0 {
                count(&mut m, key, value);
            }
        }
        if let Some(shares) = parts::shares(&span.parts, span.usage.input).filter(|_| span.usage.input > 0) {
            for (key, tokens) in PARTS.iter().zip(shares).filter(|(_, tokens)| *tokens > 0) {
                count(&mut m, key, tokens);
            }
            text(&mut m, parts::BASIS.0, parts::BASIS.1);
        }
    }
    if span.stream {
        m.attribute(ATTRIBUTES, "gen_ai.request.stream", boolean(true));
        if let Some(ns) = span.first_chunk {
            m.attribute(ATTRIBUTES, "gen_ai.response.time_to_first_chunk", double(ns as f64 / 1e9));
        }
    }
    for (key, value) in &span.ints {
        m.attribute(ATTRIBUTES, key, integer(*value));
    }
    let openai = span.provider == "openai";
    if openai && span.operation == "chat" && !span.words.iter().any(|(key, _)| *key == "openai.api.type") {
        text(&mut m, "openai.api.type", "chat_completions");
    }
    for (key, value) in &span.words {
        if *key == "gen_ai.request.encoding_formats" {
            m.attribute(ATTRIBUTES, key, strings(std::slice::from_ref(value)));
        } else if openai || !key.starts_with("openai.") {
            text(&mut m, key, value);
        }
    }
    for (key, value) in &span.floats {
        m.attribute(ATTRIBUTES, key, double(*value));
    }
    server(&mut m, &span.address);
    if let Some(error) = &span.error {
        text(&mut m, "error.type", error);
    }
    if span.status != 0 {
        count(&mut m, "http.response.status_code", u64::from(span.status));
    }
    for (key, nanos) in STAGES.iter().zip(span.stages).filter(|(_, nanos)| *nanos > 0) {
        m.attribute(ATTRIBUTES, key, double(nanos as f64 / 1e9));
    }
    text(&mut m, "weir.request.id", &span.id);
    text(&mut m, "weir.tenant", &span.tenant);
    text(&mut m, "weir.key", &span.key);
    text(&mut m, "weir.policy.version", &span.policy);
    text(&mut m, "weir.route", &span.route);
    if let Some((budget, model)) = &span.downgrade {
        text(&mut m, "weir.downgrade.budget", budget);
        text(&mut m, "weir.downgrade.model", model);
    }
    text(&mut m, "weir.target.provider", &span.target);
    text(&mut m, "weir.target.model", &span.target_model);
    if span.attempts > 0 {
        count(&mut m, "weir.attempts", span.attempts);
    }
    text(&mut m, "weir.usage.source", span.counted.name());
    if let Some(tokens) = span.input_counted {
        count(&mut m, "weir.usage.input_tokens.counted", tokens);
    }
    if span.bound > 0 {
        count(&mut m, "weir.usage.input_tokens.bound", span.bound);
        text(&mut m, "weir.usage.input_tokens.basis", span.basis);
    }
    if let Some(nano) = span.cost_nano {
        // A double holds every nano-dollar up to nine million dollars exactly as an integer.
        count(&mut m, "weir.cost.usd_nano", nano);
    }
    text(&mut m, "weir.losses", &span.losses);
    for (name, value) in &span.labels {
        let mut key = String::from("weir.label.");
        key.push_str(name);
        text(&mut m, &key, value);
    }
    for (name, n) in &span.findings {
        let mut key = String::from("weir.findings.");
        key.push_str(name);
        count(&mut m, &key, *n);
    }
    if let Some(content) = &span.content {
        text(&mut m, "gen_ai.system_instructions", &content.system);
        text(&mut m, "gen_ai.input.messages", &content.input);
        text(&mut m, "gen_ai.output.messages", &content.output);
        text(&mut m, "weir.content.omitted", content.omitted);
        if content.cut {
            m.attribute(ATTRIBUTES, "weir.content.truncated", boolean(true));
        }
    }
    for event in &span.events {
        let mut message = Message::default();
        message.fixed64(1, event.at);
        message.bytes(2, event.name.as_bytes());
        message.attribute(3, event.about.0, string(&event.about.1));
        m.message(11, message);
    }
    finish(&mut m, &span.context, span.error.is_some(), true);
    m.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_the_same_as_one_of_messages_within_messages() {
        let nested = |key: &str, value: Message| {
            let mut pair = Message::default();
            pair.bytes(1, key.as_bytes());
            pair.message(2, value);
            let mut out = Message::default();
            out.message(9, pair);
            out.0
        };
        let value = |write: &dyn Fn(&mut Message)| {
            let mut m = Message::default();
            write(&mut m);
            m
        };
        let texts: Vec<String> = [0, 1, 126, 127, 128, 300].map(|n| "x".repeat(n)).into();
        let list = value(&|m| {
            let mut array = Message::default();
            texts.iter().for_each(|text| array.message(1, value(&|m| m.bytes(1, text.as_bytes()))));
            m.message(5, array);
        });
        let mut cases = vec![
            (boolean(true), value(&|m| m.int(2, 1))),
            (boolean(false), value(&|m| m.int(2, 0))),
            (double(-0.5), value(&|m| m.fixed64(4, (-0.5f64).to_bits()))),
            (strings(&texts), list),
            (strings(&[]), value(&|m| m.message(5, Message::default()))),
        ];
        for text in &texts {
            cases.push((string(text), value(&|m| m.bytes(1, text.as_bytes()))));
        }
        for n in [0, 1, 127, 128, 16_383, 16_384, i64::MAX, i64::MIN, -1] {
            cases.push((integer(n), value(&|m| m.int(3, n as u64))));
        }
        for (any, expected) in cases {
            for key in ["", "k", &"k".repeat(130)] {
                let mut m = Message::default();
                m.attribute(9, key, any);
                assert_eq!(m.0, nested(key, Message(expected.0.clone())));
            }
        }
    }

    #[test]
    fn what_a_collector_rejected_is_read_and_nonsense_is_nothing() {
        assert_eq!(rejected(b""), 0);
        assert_eq!(rejected(&[0x0a, 0x00]), 0);
        // {rejected: 300, error_message: "ab"}
        let answer = [0x0a, 7, 0x08, 0xac, 0x02, 0x12, 2, b'a', b'b'];
        assert_eq!(rejected(&answer), 300);
        for cut in 0..answer.len() {
            assert_eq!(rejected(&answer[..cut]), 0, "cut at {cut}");
        }
        assert_eq!(rejected(&[0xff; 32]), 0);
        assert_eq!(
            rejected(&[0x0a, 11, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            0
        );
    }
}
