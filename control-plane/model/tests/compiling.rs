//! Compilation: secrets, defaults, what a budget's counter depends on, differences of policies.

use weir_config::filter;
use weir_config::policy::{Policy, Secret};
use weir_model::{CompileOptions, Compiled, Problem, diff, parse};

const BASE: &str = "\
apiVersion: weir.dev/v1
providers:
- {name: pool, kind: openai, endpoint: https://LLM.example/openai/, auth: {bearer: {env: POOL_KEY}}}
- {name: cloud, kind: bedrock, region: eu-west-1, auth: {aws: default}}
- {name: two, kind: vllm, endpoints: [http://10.0.0.1:8000, http://10.0.0.2:8000]}
models:
- {name: fast, targets: [{provider: pool, model: m, context: 8k, price: {input: 1, output: 2}}]}
tenants:
- {name: a, keys: [{id: ka, sha256: 0000000000000000000000000000000000000000000000000000000000000001}], models: [fast], labels: {team: x}, limits: {max_output_tokens: 1k}}
- {name: b, keys: [{id: kb, sha256: 0000000000000000000000000000000000000000000000000000000000000002}], models: [fast], limits: {max_output_tokens: 1k}}
budgets:
- {name: day, when: {tenant: [a, b]}, each: [tenant, key], limit: {tokens: 1M, usd: 0.5}, window: day}
";

fn env(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::Env(name) if name == "POOL_KEY" => Ok("sk-1\n".to_owned()),
        other => Err(format!("no such secret: {other:?}")),
    }
}

fn try_compile(text: &str) -> Result<Compiled, Vec<Problem>> {
    let policy = parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    weir_model::compile(&policy, &CompileOptions { version: "7", resolve: &env, listen: None })
}

fn compile(text: &str) -> Compiled {
    try_compile(text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[test]
fn endpoints_become_clusters_and_attempts() {
    let compiled = compile(BASE);
    let pool = &compiled.clusters[0];
    assert_eq!(pool.endpoints, [("llm.example".to_owned(), 443)]);
    assert!(pool.tls && pool.signing.is_none());
    let attempt = &compiled.attempts[0].1;
    assert_eq!(attempt.authority, "llm.example");
    assert_eq!(attempt.path_prefix, "/openai");
    assert_eq!(attempt.authorization.as_deref(), Some("Bearer sk-1"), "whitespace around it is dropped");

    let cloud = &compiled.clusters[1];
    assert_eq!(cloud.endpoints, [("bedrock-runtime.eu-west-1.amazonaws.com".to_owned(), 443)]);
    assert_eq!(cloud.authority, "bedrock-runtime.eu-west-1.amazonaws.com");
    assert!(cloud.tls);
    assert_eq!(compiled.attempts[1].1.authorization, None);
    let two = &compiled.clusters[2];
    assert_eq!(two.endpoints, [("10.0.0.1".to_owned(), 8000), ("10.0.0.2".to_owned(), 8000)]);
    assert_eq!(two.name, "weir-two");
}

#[test]
fn a_condition_on_an_alias_is_one_on_its_model() {
    let text = BASE.replace("name: fast,", "name: fast, aliases: [quick, swift],");
    let rules = "
boundaries:
- {name: inside, when: {model: [quick]}, providers: [pool]}
routes:
- {name: way, when: {model: [swift, fast, auto]}, use: {model: fast}}
redaction:
- {name: mail, when: {model: [quick, swift]}, find: [email], do: mask, in: [request]}
";
    let exchange = compile(&format!("{text}{rules}")).exchange;
    assert_eq!(exchange.boundaries[0].when.model, ["fast"]);
    assert_eq!(exchange.routes[0].when.model, ["auto", "fast"]);
    assert_eq!(exchange.redaction[0].when.model, ["fast"]);
}

#[test]
fn bedrock_has_three_ways_and_signatures_are_a_credential() {
    let text = BASE
        .replace("provider: pool, model: m,", "provider: cloud, model: m, api: invoke,")
        .replace("- {name: two, kind: vllm, endpoints: [http://10.0.0.1:8000, http://10.0.0.2:8000]}",
            "- {name: two, kind: bedrock_openai, region: eu-west-1, auth: {aws: default}}\nidentity: {from: [sigv4: {}]}");
    let compiled = compile(&text);
    assert!(compiled.exchange.models[0].targets[0].invoke);
    let two = &compiled.clusters[2];
    assert_eq!(two.authority, "bedrock-runtime.eu-west-1.amazonaws.com");
    let signing = two.signing.as_ref().unwrap();
    assert_eq!((signing.service.as_str(), signing.region.as_str()), ("bedrock", "eu-west-1"));
    assert_eq!(compiled.attempts[2].1.path_prefix, "/openai");
    let signature =
        filter::KeySource { header: "authorization".into(), scheme: Some("aws4-hmac-sha256".into()) };
    assert_eq!(compiled.exchange.identity.from, [signature]);
    // Secrets are not the policy's, and no pair is.
    assert!(compiled.exchange.tenants.iter().all(|tenant| tenant.pairs.is_empty()));
}

#[test]
fn what_is_left_out_has_its_default() {
    let exchange = compile(BASE).exchange;
    assert_eq!(exchange.version, "7");
    assert_eq!((exchange.max_body, exchange.request_timeout_ms), (32 << 20, 600_000));
    assert_eq!(exchange.headers, filter::ShowHeaders::Ids);
    let bearer = filter::KeySource { header: "authorization".into(), scheme: Some("bearer".into()) };
    assert_eq!(exchange.identity, filter::Identity { from: vec![bearer], anonymous: None });
    let target = &exchange.models[0].targets[0];
    assert_eq!((target.priority, target.weight, target.tokenizer.as_deref()), (0, 1, None));
    assert_eq!((exchange.retry.tries, exchange.retry.first_byte_ms), (2, 60_000));
    assert_eq!(exchange.telemetry.otlp_cluster, None);
    assert_eq!(compile(BASE).listen, None, "no gateway section: others configure the listener");
    let listening = compile(&BASE.replace("providers:", "gateway: {}\nproviders:"));
    assert_eq!(listening.listen.unwrap().to_string(), "127.0.0.1:8080");
}

#[test]
fn a_policy_without_budgets_needs_no_ledger() {
    let (text, _) = BASE.split_once("budgets:").unwrap();
    let compiled = compile(text);
    assert_eq!((compiled.exchange.ledger, compiled.budgets.len()), (None, 0));
}

#[test]
fn a_secret_that_cannot_be_had_or_sent_is_a_problem_that_does_not_show_it() {
    let missing = try_compile(&BASE.replace("POOL_KEY", "OTHER")).unwrap_err();
    assert_eq!(missing[0].path, "providers[0].auth");
    let policy = parse(BASE).unwrap();
    for value in ["", " \n", "two words", "caf\u{e9}", "a\r\nb"] {
        let resolve = |_: &Secret| Ok(value.to_owned());
        let options = CompileOptions { version: "1", resolve: &resolve, listen: None };
        let problems = weir_model::compile(&policy, &options).unwrap_err();
        let said = problems[0].to_string();
        assert!(said.starts_with("the secret is empty or holds what a header cannot carry"), "{said}");
    }
}

#[test]
fn the_listener_may_be_decided_elsewhere_but_not_with_keys_that_everybody_knows() {
    let listen = Some("0.0.0.0:8080".parse().unwrap());
    let options = CompileOptions { version: "1", resolve: &env, listen };
    let compiled = weir_model::compile(&parse(BASE).unwrap(), &options).unwrap();
    assert_eq!(compiled.listen, listen);
    let known = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
    let text = BASE.replace(&format!("{:064}", 1), known).replace("providers:", "gateway: {}\nproviders:");
    assert!(weir_model::compile(&parse(&text).unwrap(), &options).is_err());
    compile(&text);
}

#[test]
fn a_counter_goes_on_through_another_limit_and_starts_anew_with_another_meaning() {
    let definition = |text: &str| compile(text).budgets[0].definition;
    let base = definition(BASE);
    for same in [
        BASE.replace("tokens: 1M", "tokens: 2M"),
        BASE.replace("[a, b]", "[b, a]"),
        BASE.replace("[tenant, key]", "[key, tenant]"),
        BASE.replace("window: day", "window: day, ledger_lost: allow_local"),
        BASE.replace("providers:", "timezone: UTC\nproviders:"),
    ] {
        assert_eq!(definition(&same), base);
    }
    for other in [
        BASE.replace("[a, b]", "a"),
        BASE.replace("[tenant, key]", "[key]"),
        BASE.replace("window: day", "window: week"),
        BASE.replace("providers:", "timezone: Europe/Berlin\nproviders:"),
    ] {
        assert_ne!(definition(&other), base);
    }
}

#[test]
fn a_diff_names_what_changed_by_name_and_warns_of_new_counters() {
    let said =
        |old: &Policy, new: &Policy| diff(old, new).iter().map(ToString::to_string).collect::<Vec<_>>();
    let old = parse(BASE).unwrap();
    assert_eq!(said(&old, &old), [""; 0]);
    let new = BASE
        .replace("tokens: 1M", "tokens: 2M")
        .replace("window: day", "window: week")
        .replace("budgets:", "budgets:\n- {name: first, limit: {requests: 1}, window: day}")
        .replace("labels: {team: x}, ", "");
    assert_eq!(
        said(&old, &parse(&new).unwrap()),
        [
            "~ budgets[day] (its definition changed: a new counter starts at zero)",
            "~ budgets[day].limit.tokens: 1000000 -> 2000000",
            "~ budgets[day].window: \"day\" -> \"week\"",
            "+ budgets[first]: {\"limit\":{\"requests\":1},\"name\":\"first\",\"window\":\"day\"}",
            "- tenants[a].labels: {\"team\":\"x\"}",
        ]
    );
}

#[test]
fn the_order_of_routes_is_a_difference() {
    let routes = |order: &str| format!("{BASE}routes: [{order}]");
    let (r, s) = (
        "{name: r, when: {tenant: a}, use: {model: fast}}",
        "{name: s, when: {tenant: b}, use: {model: fast}}",
    );
    let (old, new) = (routes(&format!("{r}, {s}")), routes(&format!("{s}, {r}")));
    let changes = diff(&parse(&old).unwrap(), &parse(&new).unwrap());
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].to_string(), "~ routes (the order changed)");
}
