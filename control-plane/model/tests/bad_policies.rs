//! Bad policies and exactly what is said about them: a table of (change to a good policy, problems).

use weir_model::{Problem, read};

/// A good policy, one line for each thing that a case replaces.
const GOOD: &str = "\
apiVersion: weir.dev/v1
timezone: UTC
gateway: {listen: 127.0.0.1:8080}
providers:
- {name: pool, kind: vllm, region: home, endpoints: [http://127.0.0.1:9101]}
- {name: cloud, kind: bedrock, region: us-east-1, auth: {aws: default}}
models:
- {name: fast, aliases: [mini], targets: [{provider: pool, model: m, context: 8k, price: {input: 1, output: 2}}]}
- {name: big, targets: [{provider: cloud, model: b, weight: 1, context: 200k}]}
boundaries: []
routes: []
retry: {tries: 2}
identity: {anonymous: deny, client_labels: [session]}
tenants:
- {name: acme, keys: [{id: web, sha256: KEY}], models: [fast, big, auto], labels: {team: a}, limits: {max_output_tokens: 1k}}
budgets: []
redaction: []
telemetry: {labels: [team]}
";

fn good() -> String {
    GOOD.replace("KEY", &"0123456789abcdef".repeat(4))
}

fn problems(text: &str) -> Vec<Problem> {
    match read(text) {
        Ok(document) => document.check(),
        Err(problems) => problems,
    }
}

fn said(text: &str) -> Vec<String> {
    problems(text).iter().map(ToString::to_string).collect()
}

/// As [`said`], with the text that begins at the place instead of the numbers.
fn said_at(text: &str) -> Vec<String> {
    let place = |problem: &Problem| {
        let line = text.lines().nth(problem.line - 1).unwrap_or_default();
        let rest: String = line.chars().skip(problem.column - 1).collect();
        rest.split(&[',', '}', ']', ':'][..]).next().unwrap_or_default().to_owned()
    };
    let told = |problem: &Problem| {
        let hint = problem.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{} @ {}{hint}", problem.message, place(problem))
    };
    problems(text).iter().map(told).collect()
}

#[test]
fn the_good_policy_is_good() {
    assert_eq!(said(&good()), [""; 0]);
}

#[test]
fn each_mistake_is_told_with_its_place_and_a_way_out() {
    // (what is replaced, by what, what is said @ the text that begins at the place; the hint)
    let table: &[(&str, &str, &[&str])] = &[
        // reading
        (
            "provider: pool, model: m",
            "provider: pool, modle: m",
            &["missing field `model` @ {provider", "unknown field `modle` @ modle; did you mean `model`?"],
        ),
        (
            "timezone: UTC",
            "xyzzyx: 1",
            &[
                "unknown field `xyzzyx` @ xyzzyx; known: `apiVersion`, `enforce`, `timezone`, `gateway`, `providers`, `models`, `prices`, `boundaries`, `routes`, `retry`, `identity`, `tenants`, `budgets`, `ledger`, `redaction`, `guardrails`, `prompts`, `context`, `validate`, `notify`, `telemetry`",
            ],
        ),
        (
            "weir.dev/v1",
            "weir.dev/v2",
            &["unknown value `weir.dev/v2` @ weir.dev/v2; did you mean `weir.dev/v1`?"],
        ),
        ("kind: vllm", "kind: vlm", &["unknown value `vlm` @ vlm; did you mean `vllm`?"]),
        ("name: pool", "name: 7", &["expected text, found `7` @ 7; put it in quotes"]),
        ("[http://127.0.0.1:9101]", "5", &["expected a list, found `5` @ 5"]),
        ("retry: {tries: 2}", "retry: 2", &["expected a map of fields, found `2` @ 2"]),
        ("tries: 2", "tries: two", &["expected a whole number, found `two` @ two"]),
        (
            "tries: 2",
            "on: [429, 404]",
            &["bad value `404`: expected `connect`, `reset`, `429` or `5xx` @ 404"],
        ),
        (
            "tries: 2",
            "first_byte: 60",
            &["bad value `60`: expected a duration with its unit, such as 250ms, 30s, 10m, 24h or 30d @ 60"],
        ),
        ("input: 1,", "input: 0.0000001,", &["bad value `0.0000001`: at most 6 decimal places @ 0.0000001"]),
        (
            "input: 1,",
            "input: 1e3,",
            &["bad value `1e3`: expected USD per 1M tokens as a plain decimal such as 0.03 or 15 @ 1e3"],
        ),
        (
            "input: 1,",
            "input: -1,",
            &["bad value `-1`: expected USD per 1M tokens as a plain decimal such as 0.03 or 15 @ -1"],
        ),
        ("output: 2}", "}", &["missing field `output` @ {input"]),
        (
            "{aws: default}",
            "{bearer: sk-secret}",
            &[
                "a credential is never written into a policy @ sk-secret; say where it is found: {env: NAME}, {file: PATH} or {secret: NAME}",
            ],
        ),
        ("{aws: default}", "{bearer: {evn: X}}", &["unknown value `evn` @ evn; did you mean `env`?"]),
        ("{aws: default}", "{}", &["expected one field of `aws`, `bearer` @ {"]),
        (
            "timezone: UTC",
            "apiVersion: weir.dev/v1",
            &["field `apiVersion` a second time @ apiVersion; the first is at line 1"],
        ),
        ("timezone: UTC", "enforce: !x true", &["tag `!x` is not known here @ !x true"]),
        (
            "budgets: []",
            "budgets: [{name: b, limit: {requests: 1}, window: year}]",
            &["unknown value `year` @ year; known: `minute`, `hour`, `day`, `week`, `month`"],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, limit: {requests: 1}, window: {roling: 1h}}]",
            &[
                "missing field `rolling` @ {roling",
                "unknown field `roling` @ roling; did you mean `rolling`?",
            ],
        ),
        // gateway
        (
            "UTC",
            "Europe/Berln",
            &["unknown time zone `Europe/Berln` @ Europe/Berln; did you mean `Europe/Berlin`?"],
        ),
        (
            "127.0.0.1:8080",
            "0.0.0.0:8080",
            &[
                "0.0.0.0:8080 is reachable from other machines, in clear text @ 0.0.0.0; bind to loopback, or add `tls: {cert, key}`",
            ],
        ),
        (
            "127.0.0.1:8080",
            "localhost",
            &[
                "`localhost` is not an address with a port @ localhost; such as `127.0.0.1:8080` or `[::1]:8080`",
            ],
        ),
        ("{listen: 127.0.0.1:8080}", "{max_body: 2GiB}", &["must be from 1 byte to 1GiB @ 2GiB"]),
        // providers and models
        (
            "name: cloud",
            "name: pool",
            &[
                "two providers are named `pool` @ pool; the first is providers[0].name",
                "unknown provider `cloud` @ cloud; known: `pool`, `pool`",
            ],
        ),
        (
            "name: cloud",
            "name: ledger",
            &[
                "the name `ledger` is reserved @ ledger",
                "unknown provider `cloud` @ cloud; known: `pool`, `ledger`",
            ],
        ),
        ("provider: cloud", "provider: clod", &["unknown provider `clod` @ clod; did you mean `cloud`?"]),
        ("region: us-east-1", "region: frankfurt", &["`frankfurt` is not an AWS region @ frankfurt"]),
        ("region: us-east-1, ", "", &["provider `cloud` needs a `region` @ {name"]),
        (
            ", auth: {aws: default}",
            "",
            &[
                "provider `cloud` has no `auth`: Bedrock refuses unsigned requests @ {name; add `auth: {aws: default}`",
            ],
        ),
        (
            "provider: pool,",
            "provider: pool, api: invoke,",
            &["only providers of kind `bedrock` have several APIs @ invoke"],
        ),
        (
            "http://127.0.0.1:9101",
            "127.0.0.1:9101",
            &["`127.0.0.1:9101` is not an endpoint @ 127.0.0.1; expected http:// or https://"],
        ),
        (
            "http://127.0.0.1:9101",
            "https://llm.example/v1",
            &["`https://llm.example/v1` ends with the path of the API @ https; leave out `/v1`"],
        ),
        (
            "[http://127.0.0.1:9101]",
            "[http://a:1, https://b:1]",
            &["replicas must have one scheme and one path @ https"],
        ),
        (
            "[http://127.0.0.1:9101]",
            "[http://llm:1], auth: {bearer: {env: K}}",
            &["the credential of `pool` goes over the network in clear text @ http"],
        ),
        (
            "aliases: [mini]",
            "aliases: [big]",
            &[
                "two models are named `big` @ big; the first is models[0].aliases[0]",
                "`big` is an alias; only models have rules @ big; write `fast`",
            ],
        ),
        (
            "aliases: [mini]",
            "aliases: [auto]",
            &["the name `auto` is reserved: it asks for a route's choice @ auto"],
        ),
        (
            "weight: 1",
            "weight: 0",
            &["a weight must be from 1 to 1000000 @ 0; a target of no weight is better left out"],
        ),
        (
            ", context: 200k",
            "",
            &["missing `context` @ {provider; the window in tokens bounds what a request can cost"],
        ),
        ("weight: 1", "tokenizer: o200k", &["unknown tokenizer `o200k` @ o200k; did you mean `o200k_base`?"]),
        (
            "weight: 1",
            "tokenizer: r50k_base",
            &[
                "tokenizer `r50k_base` is not built into the module @ r50k_base; build it in with `cargo xtask build --tokenizers r50k,…`",
            ],
        ),
        (
            "weight: 1",
            "tokenizer: house-model",
            &[
                "unknown tokenizer `house-model` @ house-model; known: `cl100k_base`, `o200k_base`, `o200k_harmony`, `learned`; `weir tokenizer add house-model tokenizer.json` makes a model's own one of the module's",
            ],
        ),
        (
            "input: 1,",
            "input: 2000000,",
            &["more than 1 USD a token @ 2000000; prices are USD per 1M tokens"],
        ),
        // rules
        (
            "routes: []",
            "routes: [{name: r, when: {model: fats}, use: {model: mini}}]",
            &[
                "unknown model `fats` @ fats; did you mean `fast`?",
                "`mini` is an alias; only models have rules @ mini; write `fast`",
            ],
        ),
        (
            "routes: []",
            "routes: [{name: r, use: {model: fast}}, {name: s, use: {model: big}}]",
            &["route `s` is never reached: `r` matches everything @ {name"],
        ),
        (
            "routes: []",
            "routes: [{name: r, when: {tenant: acm, key: wbe}, use: {model: fast}}]",
            &[
                "unknown tenant `acm` @ acm; did you mean `acme`?",
                "unknown key `wbe` @ wbe; did you mean `web`?",
            ],
        ),
        (
            "routes: []",
            "routes: [{name: r, when: {labels: {session: x}}, use: {model: fast}}]",
            &["label `session` may be set by clients, so no rule may depend on it @ x"],
        ),
        (
            "routes: []",
            "routes: [{name: r, when: {labels: {taem: x}}, use: {model: fast}}]",
            &["no tenant or key has the label `taem` @ x; did you mean `team`?"],
        ),
        (
            "boundaries: []",
            "boundaries: [{name: b, regions: [hoem], when: {found: emial}}]",
            &[
                "unknown region `hoem` @ hoem; did you mean `home`?",
                "unknown detector `emial` @ emial; did you mean `email`?",
            ],
        ),
        (
            "boundaries: []",
            "boundaries: [{name: b}]",
            &["boundary `b` restricts nothing @ {name; add `providers` or `regions`"],
        ),
        ("tries: 2", "tries: 9", &["tries must be from 1 to 3, the first included @ 9"]),
        // people
        ("anonymous: deny", "anonymous: acm", &["unknown tenant `acm` @ acm; did you mean `acme`?"]),
        (
            "[session]",
            "[team]",
            &["label `team` is set by a tenant or key; clients may not set it too @ team"],
        ),
        (
            "[session]",
            "[Session]",
            &[
                "`Session` cannot name a label @ Session; lower-case letters, digits, `-` and `_`, 64 at most, first a letter",
            ],
        ),
        (
            "anonymous: deny",
            "from: [api_key: {header: x-weir-key}]",
            &["header `x-weir-key` is dropped before it is read @ x-weir-key"],
        ),
        (
            "sha256: 01",
            "sha256: 0",
            &[
                "the sha256 of key `web` is not 64 lower-case hex digits @ 023456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef; printf %s KEY | sha256sum",
            ],
        ),
        (
            "models: [fast, big, auto]",
            "models: []",
            &["tenant `acme` may use no model @ {name; add `models`"],
        ),
        ("name: acme", "name: deny", &["the name `deny` is reserved: it refuses anonymous callers @ deny"]),
        // budgets
        (
            "budgets: []",
            "budgets: [{name: b, limit: {usd: 100}, window: day}]",
            &[
                "a target of `big` has no price, but budget `b` is in USD @ {provider; add `price: {input, output}`",
            ],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, limit: {}, window: day}]",
            &["budget `b` limits nothing @ {name; add `limit: {tokens}`, `{requests}` or `{usd}`"],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, when: {model: fast}, limit: {usd: 9007199.254740993}, window: day}]",
            &["more than 9,007,199.254740992 USD cannot be counted exactly @ 9007199.254740993"],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, each: [tennant], limit: {requests: 1}, window: day}]",
            &["unknown subject `tennant` @ tennant; did you mean `tenant`?"],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, limit: {requests: 1}, window: day, mode: soft, exceeded: {use: fast}, reserve: full}]",
            &[
                "does nothing in a soft budget, which refuses nobody @ {use",
                "does nothing in a soft budget, which refuses nobody @ full",
            ],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, limit: {tokens: 100M}, window: day, wait: 61s}]",
            &["longer than a minute @ 61s; what is free only in the next window does not come back sooner"],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, limit: {tokens: 100M}, window: day, when_short: {min_output: 9}, reserve: progressive}]",
            &[
                "an answer that is reserved ahead ends where the budget does: its ceiling is not lowered @ {min_output; keep `when_short` or `reserve: progressive`",
                "all is reserved where `pool` may answer: it bills an answer that is cut off whole @ progressive; say `on_abort: stops` of the provider, if it does",
            ],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, limit: {tokens: 300k}, window: {rolling: 30m}}]",
            &[
                "8 requests at once hold up to 2.6 % of budget `b` for 1000 output tokens each: others are refused while it is mostly unspent @ 300k; set `limits: {max_output_tokens}` of the tenants, take a longer window, or `reserve: progressive`",
            ],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, limit: {tokens: 100k}, window: minute, reserve: progressive}]",
            &[
                "all is reserved where `pool` may answer: it bills an answer that is cut off whole @ progressive; say `on_abort: stops` of the provider, if it does",
            ],
        ),
        (
            "budgets: []",
            "budgets: [{name: b, limit: {tokens: 100k}, window: minute}]",
            &[
                "8 requests at once hold up to 8.0 % of budget `b` for 1000 output tokens each: others are refused while it is mostly unspent @ 100k; set `limits: {max_output_tokens}` of the tenants, take a longer window, or `reserve: progressive`",
            ],
        ),
        (
            ", limits: {max_output_tokens: 1k}}\nbudgets: []",
            "}\nbudgets: [{name: b, limit: {tokens: 1M}, window: day}]",
            &[
                "8 requests at once hold up to 3.2 % of budget `b` for 4096 output tokens each: others are refused while it is mostly unspent @ 1M; set `limits: {max_output_tokens}` of the tenants, take a longer window, or `reserve: progressive`",
            ],
        ),
        // guards
        (
            "redaction: []",
            "guardrails: [{name: pool, analyzer: {url: ftp://x, find: [persn], do: mask}}]",
            &[
                "a provider is named `pool` too @ pool",
                "`ftp://x` is not an endpoint @ ftp; expected http:// or https://",
                "unknown type `persn` @ persn; did you mean `person`?",
            ],
        ),
        (
            "redaction: []",
            "guardrails: [{name: g, timeout: 0s, analyzer: {url: http://127.0.0.1:5002/analyze, do: hash, language: english, score: 101%, parallel: 0, max_text: 2MiB}}]",
            &[
                "must be more than nothing and 60s at most @ 0s",
                "guardrail `g` finds nothing @ {url; add `find`, such as `find: [person, location]`",
                "`hash` needs a key @ {url; write `key: {env: NAME}` (or file, or secret) beside `do: hash`",
                "`http://127.0.0.1:5002/analyze` ends with the path of the API @ http; leave out `/analyze`",
                "`english` is not a language's two letters @ english",
                "more than 100% @ 101%",
                "must be from 1 to 64 @ 0",
                "a text must be from 1 to 1000000 bytes @ 2MiB",
            ],
        ),
        (
            "redaction: []",
            "guardrails: [{name: g}, {name: g, when: {found: email}, analyzer: {url: http://a.example, find: [PERSON], do: mask}}]",
            &[
                "guardrail `g` asks nobody @ {name; add `analyzer` or `bedrock`",
                "two guardrails are named `g` @ g; the first is guardrails[0].name",
                "a guardrail cannot depend on what is found @ email",
                "texts go to it over the network in clear text @ http",
            ],
        ),
        (
            "redaction: []",
            "redaction: [{name: r, patterns: [a+b], do: mask}]",
            &["`a+b` has no longest match: bound its repetitions (at most 256 characters in all) @ a+b"],
        ),
        (
            "redaction: []",
            "redaction: [{name: r, find: email, do: hash}]",
            &["`hash` needs a key @ {name; write `key: {env: NAME}` (or file, or secret) beside `do: hash`"],
        ),
        (
            "redaction: []",
            "redaction: [{name: r, do: mask}]",
            &["redaction rule `r` finds nothing @ {name; add `find`, `words` or `patterns`"],
        ),
        (
            "redaction: []",
            "redaction: [{name: r, find: emal, words: [x], do: mask}]",
            &[
                "unknown detector `emal` @ emal; did you mean `email`?",
                "`x` must have 2 to 256 bytes, without spaces around it @ x",
            ],
        ),
        (
            "labels: [team]}",
            "labels: [taem], otlp: 'http://c:4317/v1'}",
            &[
                "nobody sets the label `taem` @ taem; did you mean `team`?",
                "OTLP over gRPC has no path @ 'http; such as `http://127.0.0.1:4317`, or say `otlp_protocol: http/protobuf`",
            ],
        ),
    ];
    for (old, new, expected) in table {
        let text = good();
        assert!(text.contains(old), "the case `{old}` replaces nothing");
        assert_eq!(said_at(&text.replacen(old, new, 1)), *expected, "\n{old} -> {new}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_text() {
    let text = "\
apiVersion: weir.dev/v1
gatewy: {}
providers:
- {nam: a, kind: vllm}
- {name: b, kind: what, endpoints: [7]}
models: 3
tenants:
- {name: t, keys: [{id: k, sha256: 1, expires: 2030-02-30}]}
";
    assert_eq!(
        said(text),
        [
            "unknown field `gatewy` at line 2, column 1; did you mean `gateway`?",
            "missing field `name` at line 4, column 3",
            "unknown field `nam` at line 4, column 4; did you mean `name`?",
            "unknown value `what` at line 5, column 19; known: `vllm`, `openai`, `anthropic`, `bedrock`, `bedrock_openai`",
            "expected text, found `7` at line 5, column 37; put it in quotes",
            "expected a list, found `3` at line 6, column 9",
            "bad value `2030-02-30`: expected a date such as 2030-01-31 or 2030-01-31T12:00:00Z, from 1970 to 9999 at \
             line 8, column 48",
        ]
    );
}

#[test]
fn what_is_no_document_says_so() {
    let said_once = |text: &str| {
        let said = said(text);
        assert_eq!(said.len(), 1, "{said:?}");
        said.into_iter().next().unwrap()
    };
    let empty = "the policy is empty; begin with `apiVersion: weir.dev/v1`";
    assert_eq!(said_once(""), empty);
    assert_eq!(said_once("# nothing\n"), empty);
    assert_eq!(said_once("[1]"), "expected a map of fields, found a list at line 1, column 1");
    assert_eq!(said_once("{}"), "missing field `apiVersion` at line 1, column 1");
    assert!(said_once("a: [1\nb: 2").starts_with("not YAML: "));
    assert!(said_once("{\"a\": ]").starts_with("not JSON: expected value at line 1, column 7"));
    assert!(said_once("apiVersion: weir.dev/v1\n---\nx: 1\n").starts_with("a second document at line 2"));
    assert!(said_once(&"[".repeat(100)).contains("nested deeper than 64"));
    let laughs: String = (1..9).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
        format!("{text}a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","))
    });
    assert!(said_once(&laughs).starts_with("too many parts"));
    assert!(said_once("a: &a [*a]").starts_with("an alias of what is not finished"));
}

#[test]
fn an_alias_is_read_where_it_stands() {
    let text = good().replace("endpoints: [http://127.0.0.1:9101]", "endpoints: &e [http://127.0.0.1:9101]");
    let text = text.replace("auth: {aws: default}}", "endpoints: *e, auth: {aws: default}}");
    assert_eq!(said(&text), [""; 0]);
    assert_eq!(read(&text).unwrap().policy.providers[1].endpoints, ["http://127.0.0.1:9101"]);
}

#[test]
fn json_mistakes_have_places_too() {
    let text =
        "{\n  \"apiVersion\": \"weir.dev/v1\",\n  \"r\\u0065try\": {\"é\": 1, \"tries\": 2, \"tries\": 3}\n}";
    assert_eq!(
        said(text),
        [
            "unknown field `é` at line 3, column 18; known: `tries`, `on`, `first_byte`, `stall`, `budget`",
            "field `tries` a second time at line 3, column 38; the first is at line 3",
        ]
    );
}

#[test]
fn a_key_that_everybody_knows_is_accepted_on_loopback_only() {
    let digest = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
    let text = GOOD.replace("KEY", digest);
    assert_eq!(said(&text), [""; 0]);
    let tls = "{listen: 0.0.0.0:8443, tls: {cert: c, key: k}}";
    let exposed = said(&text.replace("{listen: 127.0.0.1:8080}", tls));
    let expected =
        "key `web` is \"key\", which everybody knows: accepted on loopback only at line 15, column 41";
    assert_eq!(exposed, [expected]);
    let injected = said(&text.replace("gateway: {listen: 127.0.0.1:8080}\n", ""));
    assert_eq!(injected.len(), 1, "whoever configures the gateway may expose it");
}

#[test]
fn a_ledger_s_redis_is_an_address_without_tls() {
    let with = |address: &str| said(&format!("{}ledger: {{redis: ['{address}']}}\n", good()));
    for address in ["r:6379", "r", "redis://user:pass@r:6379/0", "redis://[::1]:6379"] {
        assert_eq!(with(address), [""; 0], "{address}");
    }
    for (address, says) in [
        ("rediss://r:6379", "the ledger does not speak TLS to Redis"),
        ("http://r:6379", "not an address that can be used"),
        ("redis://", "not an address that can be used"),
    ] {
        let said = with(address);
        assert!(said.len() == 1 && said[0].contains(says), "{address}: {said:?}");
    }
}
