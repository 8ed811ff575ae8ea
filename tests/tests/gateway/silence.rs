//! Answers that fall silent: before their client has seen a byte another try is made, or the client is told; after, it
//! reads its own dialect's error within the time, and its connection is cut. Never a clean end, never a hang.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use weir_tests::harness::Client;
use weir_tests::sim::{At, Behaviour, Fault, Order, Rule, Server};

use crate::anthropic::{ANTHROPIC, BEDROCK, VLLM, start};
use crate::chat::said;
use crate::policy::{KEY, VLLM_FIRST};
use crate::setup::Gateway;

/// Between two pieces of an answer.
const STALL: Duration = Duration::from_millis(900);
/// Until the first byte of a stream.
const FIRST_BYTE: Duration = Duration::from_secs(6);
/// What a busy machine may add, and the rhythm at which silence is looked for.
const SLACK: Duration = Duration::from_millis(1500);

const DIALECTS: [&str; 2] = ["/v1/chat/completions", "/v1/messages"];

fn body(model: &str, text: &str, stream: bool) -> String {
    let messages = json!([{"role": "user", "content": text}]);
    json!({"model": model, "max_tokens": 100, "stream": stream, "messages": messages}).to_string()
}

/// What a client saw: when its last piece before the error came, when the error came, and how it ended.
struct Seen {
    text: String,
    silent: Duration,
    /// The connection ended as if the answer were whole.
    clean: bool,
}

async fn ask(client: Client, path: &str, body: String) -> Seen {
    let asked = body.clone();
    let mut answer = client.post(path, body).header("x-api-key", KEY).send().await.expect("a head");
    assert_eq!(answer.status(), 200, "{path} {asked}");
    let (mut text, mut last, mut silent) = (String::new(), Instant::now(), Duration::ZERO);
    let clean = loop {
        match tokio::time::timeout(Duration::from_secs(20), answer.chunk()).await.expect("no hang") {
            Ok(Some(piece)) => {
                silent = last.elapsed();
                last = Instant::now();
                text.push_str(&String::from_utf8_lossy(&piece));
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    Seen { text, silent, clean }
}

fn tell(gateway: &Gateway, claude: &Server, mark: &str, behaviour: &Behaviour) {
    for server in [gateway.vllm(), &gateway.bedrock, claude] {
        let rule = Rule { contains: mark.into(), times: None, behaviour: behaviour.clone() };
        server.order(Order { rules: vec![rule], ..Order::default() });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_silent_provider_is_told_in_time() {
    let (gateway, claude) = start("silence", |plan| {
        let ms = |time: Duration| json!(format!("{}ms", time.as_millis()));
        // Who is silent keeps a seat.
        plan.vllm.concurrency = 256;
        plan.policy["retry"]["tries"] = json!(2);
        plan.policy["retry"]["stall"] = ms(STALL);
        plan.policy["retry"]["first_byte"] = ms(FIRST_BYTE);
    })
    .await;
    let stall = |at| Behaviour::fault(Fault::StallMidStream { at, ms: None });
    let slow = Behaviour { reply_tokens: Some(5), token_us: Some(450_000), ..Behaviour::default() };
    for (mark, behaviour) in [
        ("begins and stops.", stall(At::Events(8))),
        // In the middle of an event, too.
        ("stops anywhere.", stall(At::Bytes(1500))),
        ("half a document.", stall(At::Bytes(40))),
        ("only a head.", Behaviour::fault(Fault::SilenceAfterHeaders { ms: None })),
        ("slowly.", slow),
    ] {
        tell(&gateway, &claude, mark, &behaviour);
    }

    let mut running: JoinSet<Result<(), String>> = JoinSet::new();
    for model in [VLLM, BEDROCK, ANTHROPIC] {
        for path in DIALECTS {
            for h2 in [false, true] {
                for mark in ["begins and stops.", "stops anywhere."] {
                    let client = match h2 {
                        true => Client::h2(gateway.ports.gateway, KEY),
                        false => gateway.client(),
                    };
                    running.spawn(async move {
                        let seen = ask(client, path, body(model, mark, true)).await;
                        let case = format!("{model} {path} h2 {h2} {mark}: {}", seen.text);
                        let told = seen.text.contains("silent in the middle of its answer");
                        // Where the provider's dialect is the client's, half an event may stand before it.
                        if !told || !seen.text.ends_with("\n\n") {
                            return Err(format!("not told: {case}"));
                        }
                        if seen.clean || seen.text.contains("[DONE]") || seen.text.contains("message_stop") {
                            return Err(format!("ends as if it were whole: {case}"));
                        }
                        if seen.silent < STALL - Duration::from_millis(100) || seen.silent > STALL + SLACK {
                            return Err(format!("told after {:?}: {case}", seen.silent));
                        }
                        Ok(())
                    });
                }
            }
            // One that is slow is not silent.
            let client = gateway.client();
            running.spawn(async move {
                let seen = ask(client, path, body(model, "slowly.", true)).await;
                let end = seen.text.contains("[DONE]") || seen.text.contains("message_stop");
                if seen.clean && end { Ok(()) } else { Err(format!("{model} {path}: {}", seen.text)) }
            });
            // Before the client has seen a byte: two tries, then it is told.
            for (mark, stream, least) in
                [("half a document.", false, STALL * 2), ("only a head.", true, FIRST_BYTE * 2)]
            {
                let client = gateway.client();
                running.spawn(async move {
                    let begun = Instant::now();
                    let post = client.post(path, body(model, mark, stream)).header("x-api-key", KEY);
                    let answer = Client::answer(post).await;
                    let took = begun.elapsed();
                    let case = format!("{model} {path} {mark} after {took:?}: {}", answer.text());
                    let message = answer.json()["error"]["message"].is_string();
                    match answer.status == 504 && message && took >= least && took < least + 3 * SLACK {
                        true => Ok(()),
                        false => Err(case),
                    }
                });
            }
        }
    }
    let client = gateway.client();
    running.spawn(async move {
        let answer = client.chat(body(VLLM_FIRST, "half a document.", false)).await;
        // Bedrock was told to be silent as well.
        if answer.status == 504 { Ok(()) } else { Err(answer.text()) }
    });
    let mut failures = Vec::new();
    while let Some(done) = running.join_next().await {
        failures.extend(done.expect("a row does not panic").err());
    }
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), gateway.envoy.log());

    // A whole answer that falls silent is another provider's to give.
    gateway.vllm().next(stall(At::Bytes(40)));
    let answer = gateway.client().chat(body(VLLM_FIRST, "Hello.", false)).await;
    let target = answer.header("x-weir-target").unwrap_or_default().to_owned();
    assert!(said(&answer, false).is_ok() && target.starts_with("bedrock:"), "{target}: {}", answer.text());
    assert_eq!(gateway.envoy.stat("vm_reload").await, 0, "no trap");
}
