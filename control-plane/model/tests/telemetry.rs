//! What is said about a policy's telemetry.

use weir_model::read;

/// What is wrong with a policy of this telemetry and these redaction rules.
fn said(telemetry: &str, redaction: &str) -> Vec<String> {
    let policy = format!(
        "apiVersion: weir.dev/v1\n\
         providers: [{{name: pool, kind: vllm, region: home, endpoints: [http://127.0.0.1:9101]}}]\n\
         models: [{{name: fast, targets: [{{provider: pool, model: m, context: 8k}}]}}]\n\
         redaction: {redaction}\n\
         telemetry: {{{telemetry}}}\n"
    );
    let problems = read(&policy).map_or_else(|problems| problems, |document| document.check());
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_collector_over_http_may_have_a_path_and_each_signal_adds_its_own() {
    let with = |telemetry: &str| said(telemetry, "[]");
    let over_http = "otlp_protocol: http/protobuf";
    for url in ["http://c:4318", "http://c:4318/", "http://c:4318/otel/in"] {
        assert_eq!(with(&format!("otlp: '{url}', {over_http}")), [""; 0], "{url}");
    }
    assert_eq!(with("otlp: 'http://c:4317', otlp_protocol: grpc"), [""; 0]);
    for (telemetry, says) in [
        ("otlp: 'http://c:4317/otel', otlp_protocol: grpc".to_owned(), "OTLP over gRPC has no path"),
        (format!("otlp: 'http://c:4318/v1/traces', {over_http}"), "leave out `/v1/traces`"),
        (over_http.to_owned(), "no collector is named"),
        ("otlp: 'http://c:4318', otlp_protocol: http/json".to_owned(), "http/json"),
    ] {
        let said = with(&telemetry);
        assert!(said.len() == 1 && said[0].contains(says), "{telemetry}: {said:?}");
    }
}

#[test]
fn content_is_shown_where_there_are_spans_and_rules() {
    let rule = "[{name: r, find: [email], do: mask}]";
    let otlp = "content: redacted, otlp: 'http://c:4317'";
    assert_eq!(said(otlp, rule), [""; 0]);
    for (telemetry, redaction, says) in [
        ("content: redacted", rule, "content is shown in spans, and there are none"),
        (otlp, "[]", "nothing is redacted"),
    ] {
        let said = said(telemetry, redaction);
        assert!(said.len() == 1 && said[0].contains(says), "{said:?}");
    }
}

#[test]
fn what_is_said_of_spans_needs_a_collector_and_an_amount_is_exact() {
    let with = |telemetry: &str| said(telemetry, "[]");
    assert_eq!(with("otlp: 'http://c:4317', sample: 1%, sample_above: {usd: 0.000000001}"), [""; 0]);
    for (telemetry, says) in [
        ("sample_above: {usd: 1}", "it is about spans, and there are none"),
        ("otlp: 'http://c:4317', sample_above: {usd: 0.0000000001}", "at most 9 decimal places"),
        ("otlp: 'http://c:4317', sample_above: {usd: -1}", "an amount of USD"),
        ("otlp: 'http://c:4317', sample_above: {usd: 1, eur: 1}", "unknown field `eur`"),
        ("otlp: 'http://c:4317', sample_above: 1", "expected a map of fields, found `1`"),
    ] {
        let said = with(telemetry);
        assert!(said.len() == 1 && said[0].contains(says), "{telemetry}: {said:?}");
    }
}

#[test]
fn end_users_have_a_key_and_a_header_that_can_be_read() {
    let with = |telemetry: &str| said(&format!("otlp: 'http://c:4317', {telemetry}"), "[]");
    let key = "key: {env: USERS}";
    for good in
        [format!("end_user: {{{key}}}"), format!("end_user: {{header: X-User, {key}}}, retrieval: true")]
    {
        assert_eq!(with(&good), [""; 0], "{good}");
    }
    for (telemetry, says) in [
        ("end_user: {header: x-user}".to_owned(), "missing field `key`"),
        (format!("end_user: {{header: 'x user', {key}}}"), "is not a header name"),
        (format!("end_user: {{header: x-weir-user, {key}}}"), "is dropped before it is read"),
        (format!("end_user: {{header: Authorization, {key}}}"), "carries a credential"),
        ("retrieval: maybe".to_owned(), "expected `true` or `false`, found `maybe`"),
    ] {
        let said = with(&telemetry);
        assert!(said.len() == 1 && said[0].contains(says), "{telemetry}: {said:?}");
    }
    for telemetry in [format!("end_user: {{{key}}}"), "retrieval: true".to_owned()] {
        let said = said(&telemetry, "[]");
        assert!(said.len() == 1 && said[0].contains("there are none"), "{telemetry}: {said:?}");
    }
}
