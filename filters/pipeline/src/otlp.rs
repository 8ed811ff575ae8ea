//! Spans in OTLP's protobuf, by the OpenTelemetry GenAI conventions. The few fields used are written by hand:
//! generated messages would be a third of the module's code.
//!
//! Field numbers: opentelemetry-proto `collector/trace/v1/trace_service.proto` and `trace/v1/trace.proto`.

use crate::span::{Counted, Span};

/// The gRPC method that takes a batch.
pub const SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";
/// Its name.
pub const METHOD: &str = "Export";

const SCHEMA: &str = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev";
const KIND_CLIENT: u64 = 3;
const STATUS_ERROR: u64 = 2;

#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn fixed64(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn fixed32(&mut self, field: u64, value: u32) {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn message(&mut self, field: u64, inner: Message) {
        self.bytes(field, &inner.0);
    }

    fn attribute(&mut self, field: u64, key: &str, value: Message) {
        let mut pair = Message::default();
        pair.bytes(1, key.as_bytes());
        pair.message(2, value);
        self.message(field, pair);
    }
}

fn string(value: &str) -> Message {
    let mut m = Message::default();
    m.bytes(1, value.as_bytes());
    m
}

fn boolean(value: bool) -> Message {
    let mut m = Message::default();
    m.int(2, u64::from(value));
    m
}

fn integer(value: i64) -> Message {
    let mut m = Message::default();
    m.int(3, value as u64);
    m
}

fn double(value: f64) -> Message {
    let mut m = Message::default();
    m.fixed64(4, value.to_bits());
    m
}

fn strings(values: &[String]) -> Message {
    let mut array = Message::default();
    for v in values {
        array.message(1, string(v));
    }
    let mut m = Message::default();
    m.message(5, array);
    m
}

/// `ExportTraceServiceRequest` of spans encoded by [`encode`].
pub fn batch(spans: &[Vec<u8>], version: &str) -> Vec<u8> {
    let mut resource = Message::default();
    resource.attribute(1, "service.name", string("weir"));
    resource.attribute(1, "service.version", string(version));
    let mut scope = Message::default();
    scope.bytes(1, b"weir");
    scope.bytes(2, version.as_bytes());
    let mut scoped = Message::default();
    scoped.message(1, scope);
    for span in spans {
        scoped.bytes(2, span);
    }
    scoped.bytes(3, SCHEMA.as_bytes());
    let mut resources = Message::default();
    resources.message(1, resource);
    resources.message(2, scoped);
    let mut request = Message::default();
    request.message(1, resources);
    request.0
}

/// One span.
pub fn encode(span: &Span) -> Vec<u8> {
    const ATTRIBUTES: u64 = 9;
    let mut m = Message(Vec::with_capacity(1024));
    m.bytes(1, &span.context.trace);
    m.bytes(2, &span.context.span);
    if !span.tracestate.is_empty() {
        m.bytes(3, span.tracestate.as_bytes());
    }
    if let Some(parent) = &span.context.parent {
        m.bytes(4, parent);
    }
    let mut name = span.operation.to_owned();
    if !span.request_model.is_empty() {
        name.push(' ');
        name.push_str(&span.request_model);
    }
    m.bytes(5, name.as_bytes());
    m.int(6, KIND_CLIENT);
    m.fixed64(7, span.start);
    m.fixed64(8, span.end);

    let text = |m: &mut Message, key: &str, value: &str| {
        if !value.is_empty() {
            m.attribute(ATTRIBUTES, key, string(value));
        }
    };
    let count = |m: &mut Message, key: &str, value: u64| {
        m.attribute(ATTRIBUTES, key, integer(i64::try_from(value).unwrap_or(i64::MAX)));
    };
    text(&mut m, "gen_ai.operation.name", span.operation);
    text(&mut m, "gen_ai.provider.name", &span.provider);
    text(&mut m, "gen_ai.request.model", &span.request_model);
    text(&mut m, "gen_ai.response.model", &span.response_model);
    text(&mut m, "gen_ai.response.id", &span.response_id);
    if !span.finish_reasons.is_empty() {
        m.attribute(ATTRIBUTES, "gen_ai.response.finish_reasons", strings(&span.finish_reasons));
    }
    if span.counted != Counted::No {
        count(&mut m, "gen_ai.usage.input_tokens", span.usage.input);
        count(&mut m, "gen_ai.usage.output_tokens", span.usage.output);
        for (key, value) in [
            ("gen_ai.usage.cache_read.input_tokens", span.usage.cache_read),
            ("gen_ai.usage.cache_creation.input_tokens", span.usage.cache_write),
            ("gen_ai.usage.reasoning.output_tokens", span.usage.reasoning),
        ] {
            if value > 0 {
                count(&mut m, key, value);
            }
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
    for (key, value) in &span.floats {
        m.attribute(ATTRIBUTES, key, double(*value));
    }
    if !span.stop.is_empty() {
        m.attribute(ATTRIBUTES, "gen_ai.request.stop_sequences", strings(&span.stop));
    }
    if let Some((host, port)) = span.address.rsplit_once(':') {
        text(&mut m, "server.address", host.trim_matches(['[', ']']));
        if let Ok(port) = port.parse::<u16>() {
            count(&mut m, "server.port", u64::from(port));
        }
    }
    if let Some(error) = &span.error {
        text(&mut m, "error.type", error);
    }
    if span.status != 0 {
        count(&mut m, "http.response.status_code", u64::from(span.status));
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
    if span.error.is_some() {
        let mut status = Message::default();
        status.int(3, STATUS_ERROR);
        m.message(15, status);
    }
    // Bits 0–7 of flags are the W3C trace flags; 8 says that "is remote" is known, 9 that the parent is.
    let flags = u32::from(span.context.flags) | if span.context.parent.is_some() { 0x300 } else { 0 };
    m.fixed32(16, flags);
    m.0
}
