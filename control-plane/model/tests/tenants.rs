//! What providers are told of tenants: cache salts and request metadata, compiled for the filters, refused where they
//! cannot be.

use std::collections::BTreeSet;

use weir_config::policy::Secret;
use weir_model::{CompileOptions, read};

/// A policy with these fields of its two providers, and these labels of its first tenant.
fn policy(pool: &str, cloud: &str, labels: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1\n\
         providers:\n\
         - {{name: pool, kind: vllm, endpoints: [http://127.0.0.1:9101]{pool}}}\n\
         - {{name: cloud, kind: bedrock, region: us-east-1, auth: {{aws: default}}{cloud}}}\n\
         models: [{{name: fast, targets: [{{provider: pool, model: m, context: 8k}}]}}]\n\
         identity: {{client_labels: [session]}}\n\
         tenants:\n\
         - {{name: acme, keys: [{{id: a, sha256: {}}}], models: [fast], labels: {{{labels}}}}}\n\
         - {{name: globex, keys: [{{id: g, sha256: {}, labels: {{own: x}}}}], models: [fast]}}\n",
        "01".repeat(32),
        "02".repeat(32),
    )
}

fn compiled(text: &str, secret: &str) -> Result<weir_config::filter::Exchange, Vec<String>> {
    let problems = |all: Vec<weir_model::Problem>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let document = read(text).map_err(problems)?;
    let resolve = |_: &Secret| Ok(secret.to_owned());
    let options = CompileOptions { version: "1", resolve: &resolve, listen: None };
    document.compile(&options).map(|compiled| compiled.exchange).map_err(problems)
}

#[test]
fn each_tenant_has_a_salt_of_its_own_that_only_the_secret_gives_away() {
    let text = policy(", cache_salt: {env: SALT}", "", "");
    let salts = |secret: &str| {
        let exchange = compiled(&text, secret).unwrap();
        let [pool, cloud] = exchange.providers.as_slice() else { panic!("{:?}", exchange.providers) };
        assert!(cloud.tenants.is_empty());
        ["acme", "globex"].map(|tenant| pool.tenants.get(tenant).cloned().unwrap())
    };
    let (one, other) = (salts("0123456789abcdef"), salts("0123456789abcdeF"));
    assert_eq!(one, salts("0123456789abcdef"), "every gateway has the same");
    let all: BTreeSet<&String> = one.iter().chain(&other).collect();
    assert_eq!(all.len(), 4);
    // Python: hmac.new(b"0123456789abcdef", b"weir cache salt\0acme", "sha256").hexdigest()
    assert_eq!(one[0], "71da47255f73ef856920b23effb4c0a4451de160c0605f7ca574a6e2d17251d2");
    let refused = compiled(&text, "short").unwrap_err();
    assert!(refused.len() == 1 && refused[0].contains("less than 16 characters"), "{refused:?}");
}

#[test]
fn metadata_is_the_tenants_name_and_its_labels() {
    let text = policy("", ", request_metadata: [team, tenant]", "team: \"a b/c\", other: x");
    let exchange = compiled(&text, "").unwrap();
    let told = &exchange.providers[1].tenants;
    assert_eq!(told.get("acme").map(String::as_str), Some(r#""team":"a b/c","tenant":"acme""#));
    assert_eq!(
        told.get("globex").map(String::as_str),
        Some(r#""tenant":"globex""#),
        "a label that it does not have"
    );
    assert!(exchange.providers[0].tenants.is_empty());
}

#[test]
fn what_does_not_fit_is_refused_and_says_where() {
    let many: Vec<String> = (0..17).map(|n| format!("l{n}")).collect();
    let labels = many.iter().map(|name| format!("{name}: x")).collect::<Vec<_>>().join(", ");
    let many = format!(", request_metadata: [{}]", many.join(", "));
    for (pool, cloud, labels, says) in [
        ("", ", cache_salt: {env: S}", "", "only providers of kind `vllm` take a `cache_salt`"),
        (", request_metadata: tenant", "", "", "only providers of kind `bedrock` take `request_metadata`"),
        ("", ", request_metadata: [tem]", "team: a", "did you mean `team`?"),
        ("", ", request_metadata: [session]", "", "clients set the label `session`"),
        ("", ", request_metadata: [tenant, tenant]", "", "stands there twice"),
        ("", ", request_metadata: team", "team: \"gr\u{fc}n\"", "Bedrock takes letters, digits"),
        ("", ", request_metadata: team", "team: \"a;b\"", "Bedrock takes letters, digits"),
        ("", many.as_str(), labels.as_str(), "at most 16 entries"),
    ] {
        let refused = compiled(&policy(pool, cloud, labels), "0123456789abcdef").unwrap_err();
        assert!(refused.len() == 1 && refused[0].contains(says), "{pool}{cloud}: {refused:?}");
    }
    let text = policy("", ", request_metadata: own", "own: y");
    let said: Vec<_> = read(&text).unwrap().check().iter().map(ToString::to_string).collect();
    assert!(said.len() == 1 && said[0].contains("a key of `globex` has another label"), "{said:?}");
}
