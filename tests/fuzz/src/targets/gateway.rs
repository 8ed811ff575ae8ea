//! The two machines with everything on, and what they read besides bodies: configuration, headers, each other's words,
//! the ledger's.

use std::collections::BTreeMap;
use std::rc::Rc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::de::DeserializeOwned;
use weir_config::filter::{self, ProviderKind};
use weir_lease::{Instance, LedgerLost, Lessee, Mismatch, Need, Record, SECOND, Setup, SharedData, Unit};
use weir_pipeline::otlp::{self, Source};
use weir_pipeline::plan::{Plan, Report};
use weir_pipeline::span::TraceContext;
use weir_pipeline::{Policy, config, paths, record};

use super::{Target, goldens, is_json, parts, seeds, words};
use drive::{Answer, Cuts, Gateway};

#[path = "../../../../filters/pipeline/tests/drive/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    missing_docs,
    reason = "the pipeline's own host in miniature, of which a part is used here"
)]
mod drive;

/// One tenant, one model on each kind of provider, redaction both ways, a budget, everything counted.
const POLICY: &str = r#"{
  "version": "7", "max_body": 100000, "headers": "reasons", "client_labels": ["workflow"],
  "identity": {"from": [{"header": "authorization", "scheme": "bearer"}, {"header": "x-api-key"}]},
  "tenants": [{"name": "acme", "models": ["m", "vllm", "bedrock", "anthropic"],
    "keys": [{"id": "web", "sha256": "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"}],
    "limits": {"max_input_tokens": 100000, "max_output_tokens": 5000}}],
  "providers": [{"name": "vllm", "kind": "vllm", "region": "r", "cluster": "weir-vllm"},
                {"name": "bedrock", "kind": "bedrock", "region": "r", "cluster": "weir-bedrock"},
                {"name": "anthropic", "kind": "anthropic", "region": "r", "cluster": "weir-anthropic"}],
  "models": [MODELS],
  "redaction": [{"name": "p", "find": ["email", "credit_card", "us_ssn"], "words": ["Bluebird"], "action": "tokenize", "request": true},
                {"name": "q", "find": ["email", "credit_card"], "action": "mask", "response": true}],
  "budgets": [{"name": "b", "each": ["tenant"], "tokens": 1000000, "window": "day", "definition": "00ff", "ledger_lost": "deny"}],
  "ledger": {"cluster": "weir"}, "retry": {"tries": 1}, "telemetry": {"count": true}
}"#;

fn gateway() -> &'static Gateway {
    thread_local! {
        static GATEWAY: &'static Gateway = Box::leak(Box::new(build()));
    }
    GATEWAY.with(|gateway| *gateway)
}

fn build() -> Gateway {
    let model = |name: &str, aliases: &str, tokenizer: &str| {
        format!(
            r#"{{"name":"{name}","aliases":[{aliases}],"targets":[{{"provider":"{name}","model":"us.anthropic.claude-x","weight":1,{tokenizer}"context":100000,
            "supports":["tools","json_schema","images","documents"],"price":{{"input_pico":30000,"output_pico":120000}}}}]}}"#
        )
    };
    let o200k = r#""tokenizer":"o200k_base","#;
    let models = [
        model("vllm", "\"m\"", o200k),
        model("bedrock", "\"aws\"", ""),
        model("anthropic", "\"claude\"", ""),
    ]
    .join(",");
    let config =
        config::exchange(POLICY.replace("MODELS", &models).as_bytes()).expect("the policy of this target");
    let attempt = |provider: &str, kind| {
        let config = filter::Attempt {
            provider: provider.into(),
            kind,
            authority: "a.test".into(),
            ..filter::Attempt::default()
        };
        (format!("weir-{provider}"), Rc::new(config))
    };
    Gateway {
        policy: Some(Rc::new(Policy::new(config).expect("the policy of this target"))),
        attempts: BTreeMap::from([
            attempt("vllm", ProviderKind::Vllm),
            attempt("bedrock", ProviderKind::Bedrock),
            attempt("anthropic", ProviderKind::Anthropic),
        ]),
        ledger: Default::default(),
        roomy: false,
    }
}

pub const GATEWAY: Target = Target {
    name: "gateway",
    about: "a request and its answer through both machines, redaction and a budget on: cut anywhere the same bytes leave, one settlement, a span that OTLP reads",
    run: |input| {
        // The path and the answer's status by the first byte; the request's body, a zero, the answer's.
        let Some((first, rest)) = input.split_first() else { return };
        let path = ["/v1/chat/completions", "/v1/messages", "/v1/completions", "/v1/messages/count_tokens"]
            [usize::from(first & 3)];
        let status = [200, 200, 400, 503][usize::from(first >> 2 & 3)];
        let kind =
            ["application/json", "text/event-stream", "application/vnd.amazon.eventstream", "text/html"]
                [usize::from(first >> 4 & 3)];
        let mut rest = parts(rest);
        let (body, answer) = (rest.next().unwrap_or_default(), rest.next().unwrap_or_default());
        let headers = [
            (":method", "POST"),
            (":path", path),
            (":scheme", "http"),
            (":authority", "llm.test"),
            ("content-type", "application/json"),
            ("authorization", "Bearer key"),
        ];
        let answer =
            Answer { status, headers: vec![("content-type".into(), kind.into())], body: answer.to_vec() };
        let run = |up, down| gateway().run(&headers, body, std::slice::from_ref(&answer), up, down);
        let whole = run(Cuts::Whole, Cuts::Whole);
        let size = 1 + input.len() % 13;
        for (up, down) in [(Cuts::Every(size), Cuts::Every(1)), (Cuts::At(size), Cuts::Every(size))] {
            let cut = run(up, down);
            assert_eq!((whole.status, &whole.sent), (cut.status, &cut.sent), "cut otherwise");
            assert_eq!(
                String::from_utf8_lossy(&whole.body),
                String::from_utf8_lossy(&cut.body),
                "cut otherwise"
            );
            assert_eq!(whole.settled, cut.settled, "cut otherwise");
        }
        assert!((200..600).contains(&whole.status));
        let settled = whole.settled.iter().filter(|parts| !parts.is_empty()).count();
        assert!(settled <= whole.reserved.max(whole.tried.len()));
        for (_, _, sent) in &whole.sent {
            is_json(sent);
        }
        assert!(
            whole.body.len() <= 20_000 + 100 * input.len(),
            "{} bytes became {}",
            input.len(),
            whole.body.len()
        );
        let span = whole.span.expect("every request has its span");
        let line = record::encode(&span, true);
        is_json(&line);
        assert!(!line.contains(&b'\n'));
        let source = Source { version: "1", instance: "i" };
        let batch = otlp::batch(&[otlp::encode(&span)], &source);
        let read = ExportTraceServiceRequest::decode(batch.as_slice()).expect("OTLP");
        assert_eq!(read.resource_spans.len(), 1);
    },
    seeds: || {
        let answer = r#"{"id":"i","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi jane@example.org"},"finish_reason":"stop"}],"usage":{"prompt_tokens":14,"completion_tokens":3,"total_tokens":17}}"#;
        let message = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}"#;
        let ask = |model: &str, stream: bool| {
            format!(
                r#"{{"model":"{model}","max_tokens":50,"stream":{stream},"messages":[{{"role":"user","content":"Write to jane@example.org about Bluebird"}}]}}"#
            )
        };
        let mut all = vec![
            [b"\0", ask("m", false).as_bytes(), b"\0", answer.as_bytes()].concat(),
            [b"\x01", ask("anthropic", false).as_bytes(), b"\0", message.as_bytes()].concat(),
            [b"\x01", ask("vllm", false).as_bytes(), b"\0", answer.as_bytes()].concat(),
            [b"\0", ask("claude", false).as_bytes(), b"\0", message.as_bytes()].concat(),
            [
                b"\x02",
                &br#"{"model":"m","prompt":"a b","max_tokens":5}"#[..],
                b"\0",
                br#"{"id":"i","choices":[{"index":0,"text":"x","finish_reason":"stop"}]}"#,
            ]
            .concat(),
            [b"\x03", ask("vllm", false).as_bytes()].concat(),
        ];
        for stream in goldens("chat_stream_to_messages", "sse") {
            all.push([b"\x10", ask("vllm", true).as_bytes(), b"\0", &stream].concat());
            all.push([b"\x11", ask("vllm", true).as_bytes(), b"\0", &stream].concat());
        }
        for stream in goldens("messages_stream_to_chat", "sse") {
            all.push([b"\x10", ask("claude", true).as_bytes(), b"\0", &stream].concat());
            all.push([b"\x11", ask("claude", true).as_bytes(), b"\0", &stream].concat());
        }
        for whole in goldens("converse_answer_to_chat", "json") {
            all.push([b"\0", ask("aws", false).as_bytes(), b"\0", &whole].concat());
            all.push([b"\x01", ask("aws", false).as_bytes(), b"\0", &whole].concat());
        }
        all
    },
    words: words::CHUNKS,
    nanos_per_byte: 400_000,
};

pub const CONFIG: Target = Target {
    name: "config",
    about: "the filters' configuration: the module's reader gives what serde gives, and refuses what serde refuses",
    run: |input| {
        agree(input, config::exchange(input).ok());
        agree(input, config::attempt(input).ok());
        agree(input, config::attempts(input).ok());
        if let Ok(read) = config::exchange(input) {
            _ = Policy::new(read);
        }
    },
    seeds: || {
        let mut all = seeds(&[
            r#"{"provider":"aws","kind":"openai","authority":"a.b","path_prefix":"/openai","authorization":"Bearer x"}"#,
            "{}",
        ]);
        all.push(POLICY.replace("MODELS", "").into_bytes());
        all
    },
    words: words::CONFIG,
    nanos_per_byte: 60_000,
};

/// Where both accept, both read the same; the module's reader accepts nothing that serde does not.
fn agree<T: DeserializeOwned + PartialEq + std::fmt::Debug>(input: &[u8], ours: Option<T>) {
    if let Some(ours) = ours {
        match serde_json::from_slice::<T>(input) {
            Ok(theirs) => assert_eq!(ours, theirs),
            Err(error) => panic!("only the module accepts it: {error}"),
        }
    }
}

pub const HEADERS: Target = Target {
    name: "headers",
    about: "request headers, a line each: every request is answered or goes on, a continued trace is a valid one",
    run: |input| {
        let text = String::from_utf8_lossy(input);
        let mut headers = vec![
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            (":scheme", "http"),
            (":authority", "a"),
        ];
        for line in text.lines().take(100) {
            // A pseudo-header's name begins with a colon itself.
            let at = line.get(1..).and_then(|rest| rest.find(':')).map(|at| at + 1);
            let Some((name, value)) = at.and_then(|at| Some((line.get(..at)?, line.get(at + 1..)?))) else {
                continue;
            };
            if name.starts_with(':') {
                headers.retain(|(known, _)| *known != name);
            }
            headers.push((name, value.trim_start()));
            paths::classify("POST", value.trim_start());
            if let Some(context) = TraceContext::under(value.trim_start(), 7) {
                let told = context.traceparent();
                assert_eq!(told.len(), 55);
                assert!(TraceContext::under(&told, 8).is_some_and(|below| below.trace == context.trace));
            }
        }
        let body = br#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#;
        let answer = Answer {
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            body: br#"{"id":"i","choices":[]}"#.to_vec(),
        };
        let outcome = gateway().run(&headers, body, &[answer], Cuts::Whole, Cuts::Whole);
        assert!((200..600).contains(&outcome.status));
        for (_, sent, _) in &outcome.sent {
            assert!(!sent.iter().any(|(name, _)| name.starts_with("x-weir-label-") || name == "x-api-key"));
        }
    },
    seeds: || {
        seeds(&[
            "authorization: Bearer key\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\ntracestate: a=b\nx-weir-label-workflow: night",
            ":path: /v1/messages\nx-api-key: key\nanthropic-version: 2023-06-01\nanthropic-beta: a,b",
            ":path: /v1/models\n:method: GET\nauthorization: Bearer key",
        ])
    },
    words: words::HEADERS,
    nanos_per_byte: 60_000,
};

pub const PLAN: Target = Target {
    name: "plan",
    about: "the machines' words to each other, a lease's record in shared data: damaged ones are none, others are written as they were read",
    run: |input| {
        if let Some(plan) = Plan::decode(input) {
            assert_eq!(Plan::decode(&plan.encode()).as_ref(), Some(&plan));
        }
        if let Some(report) = Report::decode(input) {
            assert_eq!(Report::decode(&report.encode()).as_ref(), Some(&report));
        }
        if let Some(record) = Record::decode(input) {
            let again = Record::decode(&record.encode()).expect("as it was written");
            assert_eq!(again.encode(), record.encode());
        }
        _ = otlp::rejected(input);
    },
    seeds: || {
        let plan = Plan {
            id: "req_1".into(),
            asked: "m".into(),
            legs: vec![Default::default(); 2],
            limits: (5, 6),
            ..Plan::default()
        };
        let need = Need::whole(Instance::new("b", Unit::Tokens, "acme", "00ff"), 500, LedgerLost::Deny);
        let needs = Plan { needs: vec![need; 3], ..plan.clone() };
        let report = Report { attempt: 1, status: 200, request_id: "r".into(), ..Report::default() };
        vec![
            plan.encode(),
            needs.encode(),
            report.encode(),
            Record::new(7, b"b".to_vec(), 1).encode(),
            vec![0x0a, 2, 8, 5],
        ]
    },
    words: &["\u{1}", "\u{7f}", "\0\0\0\0", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    nanos_per_byte: 5_000,
};

#[derive(Default)]
struct Memory(BTreeMap<String, (Vec<u8>, u32)>);

impl SharedData for Memory {
    fn get(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.get(key).cloned()
    }

    fn set(&mut self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Mismatch> {
        let found = self.0.get(key).map_or(0, |(_, version)| *version);
        if cas.is_some_and(|cas| cas != found && found != 0) {
            return Err(Mismatch);
        }
        self.0.insert(key.to_owned(), (value.to_owned(), found + 1));
        Ok(())
    }
}

pub const LEASE: Target = Target {
    name: "lease",
    about: "the ledger's answers to a gateway, a zero byte between them: no answer makes a reservation larger than a grant, and every one settles",
    run: |input| {
        let mut lessee = Lessee::new(Setup { node: "edge".into(), random: [1, 2] });
        let mut store = Memory::default();
        let mut now = 100 * SECOND;
        let mut holds = Vec::new();
        for (waiter, answer) in parts(input).take(40).enumerate() {
            now += SECOND / 2;
            let need = Need::whole(Instance::new("b", Unit::Tokens, "", "d"), 100, LedgerLost::Deny);
            if let weir_lease::Reserve::Held(hold) =
                lessee.reserve(now, &mut store, waiter as u64, vec![need])
            {
                holds.push(hold);
            }
            for call in lessee.calls(now, &mut store) {
                lessee.reply(now, &mut store, call.id, Ok(answer));
            }
            for (_, reserved) in lessee.woken() {
                if let weir_lease::Reserve::Held(hold) = reserved {
                    holds.push(hold);
                }
            }
            lessee.tick(now, &mut store);
        }
        for hold in holds {
            lessee.settle(now, &mut store, hold, &[u64::MAX]);
        }
        lessee.drain(now, &mut store);
    },
    seeds: || {
        use weir_lease::message::{ItemReply, OpenReply, SyncReply, WatchReply};
        let open = OpenReply { sid: 9, epoch: 1, sync_ms: 1_000 }.encode_to_vec();
        let item = ItemReply {
            wid: 5,
            ends_in_ms: 3_600_000,
            g: 1_000,
            cap: 1 << 40,
            rev: 1,
            ..ItemReply::default()
        };
        let sync = SyncReply { epoch: 1, items: vec![item], ..SyncReply::default() }.encode_to_vec();
        let watch = WatchReply { epoch: 1, ..WatchReply::default() }.encode_to_vec();
        vec![[open.clone(), sync.clone(), sync, watch].join(&0), open]
    },
    words: &["\u{8}\u{9}\u{10}\u{1}", "\u{12}\u{4}", "\u{a}\u{2}", "\u{7f}", "\0"],
    nanos_per_byte: 400_000,
};
