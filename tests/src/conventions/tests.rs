//! The judge finds planted faults, and only those.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1 as otlp;
use serde_json::{Value, json};

use super::{COVERAGE, Conventions, Coverage, EXCEPTIONS, Told};
use crate::harness::collector::{Metric, Point, Span};

fn good() -> Span {
    let attributes = json!({
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5, "gen_ai.usage.input_tokens": 3,
        "gen_ai.response.finish_reasons": ["stop"], "server.address": "127.0.0.1", "server.port": 80,
        "weir.tenant": "acme",
    });
    span("chat m", attributes)
}

fn span(name: &str, attributes: Value) -> Span {
    let raw = otlp::Span {
        name: name.into(),
        kind: 3,
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..otlp::Span::default()
    };
    let attributes = attributes.as_object().expect("an object").clone().into_iter().collect();
    Span { raw, attributes, resource: BTreeMap::new() }
}

fn faults(span: &Span, told: &Told<'_>) -> Vec<String> {
    Conventions::small().judge(span, told).into_iter().map(|fault| fault.of).collect()
}

#[test]
fn a_good_span_has_no_fault() {
    let request = json!({"model": "m", "temperature": 0.5});
    let told = Told { request: Some(&request), answered: true, ..Told::default() };
    assert_eq!(Conventions::small().judge(&good(), &told), []);
}

#[test]
fn every_planted_fault_is_found_and_named() {
    let request = json!({"model": "m", "temperature": 0.5});
    let told = Told { request: Some(&request), answered: true, ..Told::default() };
    type Plant = fn(&mut Span);
    let planted: [(&str, Plant); 19] = [
        ("name", |s| s.raw.name = "chat".into()),
        ("kind", |s| s.raw.kind = 2),
        ("status", |s| s.raw.status = Some(otlp::Status { message: String::new(), code: 2 })),
        ("time", |s| s.raw.start_time_unix_nano = 3),
        ("weir.late", |s| {
            s.raw.events.push(otlp::span::Event {
                name: "weir.late".into(),
                time_unix_nano: 9,
                ..Default::default()
            });
        }),
        ("gen_ai.operation.name", |s| {
            s.raw.name = "talk m".into();
            s.attributes.insert("gen_ai.operation.name".into(), json!("talk"));
        }),
        ("gen_ai.provider.name", |s| drop(s.attributes.remove("gen_ai.provider.name"))),
        ("gen_ai.provider.name", |s| drop(s.attributes.insert("gen_ai.provider.name".into(), json!("vllm")))),
        ("gen_ai.request.temperature", |s| drop(s.attributes.remove("gen_ai.request.temperature"))),
        ("gen_ai.request.temperature", |s| {
            s.attributes.insert("gen_ai.request.temperature".into(), json!("0.5"));
        }),
        ("gen_ai.usage.input_tokens", |s| drop(s.attributes.remove("gen_ai.usage.input_tokens"))),
        ("gen_ai.usage.input_tokens", |s| {
            s.attributes.insert("gen_ai.usage.input_tokens".into(), json!(3.5));
        }),
        ("gen_ai.response.finish_reasons", |s| {
            s.attributes.insert("gen_ai.response.finish_reasons".into(), json!("stop"));
        }),
        ("server.port", |s| drop(s.attributes.remove("server.port"))),
        ("server.port", |s| drop(s.attributes.insert("server.port".into(), json!("80")))),
        ("error.type", |s| drop(s.attributes.insert("error.type".into(), json!("500")))),
        ("gen_ai.request.stream", |s| drop(s.attributes.insert("gen_ai.request.stream".into(), json!(true)))),
        ("gen_ai.cost", |s| drop(s.attributes.insert("gen_ai.cost".into(), json!(1)))),
        ("http.route", |s| drop(s.attributes.insert("http.route".into(), json!("/")))),
    ];
    for (of, plant) in planted {
        let mut span = good();
        plant(&mut span);
        assert_eq!(faults(&span, &told), [of]);
    }
}

#[test]
fn a_failure_needs_its_type_and_status() {
    let request = json!({"model": "m", "temperature": 0.5});
    let told = Told { request: Some(&request), failed: true, ..Told::default() };
    assert_eq!(faults(&good(), &told), ["status", "error.type"]);
}

#[test]
fn exceptions_hold_for_their_own_case_only() {
    let bedrock = json!({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "aws.bedrock"});
    assert_eq!(faults(&span("chat", bedrock.clone()), &Told::default()), Vec::<String>::new());
    let request = json!({"model": "m"});
    let told = Told { request: Some(&request), ..Told::default() };
    assert_eq!(faults(&span("chat", bedrock), &told), ["gen_ai.request.model"]);
    assert!(EXCEPTIONS.iter().all(|exception| exception.reason.len() > 20));
}

#[test]
fn every_planted_fault_of_a_metric_is_found() {
    let good = || Metric {
        name: "gen_ai.client.operation.duration".into(),
        unit: "s".into(),
        points: vec![Point {
            attributes: [("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "openai")]
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .into(),
            start: 1,
            at: 2,
            count: 3,
            sum: 1.5,
            counts: vec![1, 2],
            bounds: vec![0.1],
        }],
    };
    let found = |metric: &Metric| -> Vec<String> {
        Conventions::small().judge_metric(metric).into_iter().map(|fault| fault.of).collect()
    };
    assert_eq!(found(&good()), Vec::<String>::new());
    type Plant = fn(&mut Metric);
    let planted: [(&str, Plant); 7] = [
        ("gen_ai.client.calls", |m| m.name = "gen_ai.client.calls".into()),
        ("unit", |m| m.unit = "ms".into()),
        ("gen_ai.operation.name", |m| drop(m.points[0].attributes.remove("gen_ai.operation.name"))),
        ("tenant", |m| drop(m.points[0].attributes.insert("tenant".into(), json!("acme")))),
        ("count", |m| m.points[0].count = 4),
        ("buckets", |m| m.points[0].bounds = vec![0.1, 0.2]),
        ("time", |m| m.points[0].start = 2),
    ];
    for (of, plant) in planted {
        let mut metric = good();
        plant(&mut metric);
        assert_eq!(found(&metric), [of]);
    }
}

#[test]
fn every_attribute_of_the_registry_is_emitted_or_named_with_why_not() {
    let Some(conventions) = Conventions::published() else { return };
    let listed: std::collections::BTreeSet<&str> = COVERAGE.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed.len(), COVERAGE.len(), "an attribute is listed twice");
    assert_eq!(listed, conventions.registry());
    for (name, coverage) in COVERAGE {
        assert!(!matches!(coverage, Coverage::No(why) if why.len() < 15), "{name}: why not?");
    }
}

#[test]
fn every_planted_fault_of_a_message_is_found() {
    let Some(conventions) = Conventions::published() else { return };
    let request = json!({"model": "m", "temperature": 0.5});
    let told = Told { request: Some(&request), ..Told::default() };
    let found = |name: &str, value: Value| -> Vec<String> {
        let mut span = good();
        span.attributes.insert(name.into(), value);
        let faults = conventions.judge(&span, &told).into_iter().map(|fault| fault.of);
        faults.filter(|of| of.ends_with("messages") || of.ends_with("instructions")).collect()
    };
    let message = |part: Value| json!([{"role": "user", "parts": [part]}]).to_string();
    for part in [
        json!({"type": "text", "content": "x"}),
        json!({"type": "tool_call", "name": "f", "id": "i", "arguments": {"a": 1}}),
        json!({"type": "tool_call_response", "response": "r"}),
        json!({"type": "weir.omitted"}),
    ] {
        assert_eq!(found("gen_ai.input.messages", json!(message(part))), Vec::<String>::new());
    }
    for (name, value) in [
        ("gen_ai.input.messages", json!(message(json!({"type": "text"})))),
        ("gen_ai.input.messages", json!(message(json!({"type": "tool_call", "arguments": {}})))),
        ("gen_ai.input.messages", json!(message(json!({"content": "x"})))),
        ("gen_ai.input.messages", json!(r#"[{"parts":[]}]"#)),
        ("gen_ai.input.messages", json!([{"role": "user", "parts": []}])),
        ("gen_ai.output.messages", json!(r#"[{"role":"assistant","parts":[]}]"#)),
        ("gen_ai.system_instructions", json!("\"Be brief.\"")),
        ("gen_ai.system_instructions", json!("Be brief.")),
    ] {
        assert_eq!(found(name, value.clone()), [name], "{value}");
    }
}
