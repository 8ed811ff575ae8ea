//! vLLM is killed in the middle of fifty clients' load: whoever has seen no byte yet is answered by Bedrock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_tests::harness::{Answer, Client};
use weir_tests::sim::{Behaviour, book::Totals};

use crate::chat::{chat, said};
use crate::policy::VLLM_FIRST;
use crate::setup::Gateway;

const CLIENTS: usize = 50;
/// How long after the death a byte that vLLM sent before it may still reach its client.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// One request as its client saw it.
struct Seen {
    stream: bool,
    sent: Instant,
    /// When the status line was here, the first that a client sees; absent when it never came.
    head: Option<Instant>,
    /// Or how many bytes of the body came, and why no more.
    result: Result<Answer, (usize, String)>,
}

async fn ask(client: &Client, text: &str, stream: bool) -> Seen {
    let sent = Instant::now();
    let request = client.post("/v1/chat/completions", chat(VLLM_FIRST, text, stream).to_string());
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Seen { stream, sent, head: None, result: Err((0, format!("{error:?}"))) },
    };
    let head = Some(Instant::now());
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    let result = loop {
        match response.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => break Ok(Answer { status, headers, body }),
            Err(error) => {
                break Err((body.len(), format!("{status}, {headers:?}, {} bytes: {error:?}", body.len())));
            }
        }
    };
    Seen { stream, sent, head, result }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_provider_costs_only_the_streams_that_had_begun() {
    let mut gateway = Gateway::start("kill").await;
    // At any moment some wait for their first token and some are in the middle of their answer.
    let slow = Behaviour {
        ttft_ms: Some(300),
        reply_tokens: Some(24),
        token_us: Some(20_000),
        ..Behaviour::default()
    };
    gateway.vllm().always(slow);
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (client, stop, count) = (gateway.client(), stop.clone(), count.clone());
            tokio::spawn(async move {
                let mut all = Vec::new();
                // Not all in step.
                tokio::time::sleep(Duration::from_millis(number as u64 * 17)).await;
                while !stop.load(Ordering::Relaxed) {
                    let round = all.len();
                    // Mostly streams, as the load of chat applications is.
                    let stream = !(number + round).is_multiple_of(4);
                    all.push(ask(&client, &format!("Client {number}, question {round}."), stream).await);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                all
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let vllm = gateway.vllm.take().expect("it runs");
    let by_vllm: Totals = vllm.book().totals();
    let killed = Instant::now();
    vllm.kill().await;
    let dead = Instant::now();
    let before = count.load(Ordering::Relaxed);
    while count.load(Ordering::Relaxed) < before + 4 * CLIENTS as u64 {
        assert!(killed.elapsed() < Duration::from_secs(60), "{}", gateway.envoy.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.expect("a client does not panic"));
    }

    let (mut whole, mut in_the_air, mut begun, mut after) = (0, 0, 0, 0);
    let mut failures = Vec::new();
    for seen in &all {
        let good = match &seen.result {
            Ok(answer) => {
                said(answer, seen.stream).and_then(|said| match said.done && said.finish.is_some() {
                    true => Ok(answer.header("x-weir-target").unwrap_or_default().to_owned()),
                    false => Err(format!("cut: {said:?}")),
                })
            }
            Err((_, why)) => Err(why.clone()),
        };
        let bytes = seen.result.as_ref().map_or_else(|(bytes, _)| *bytes, |answer| answer.body.len());
        let unseen = seen.head.is_none_or(|head| head > dead + ON_ITS_WAY);
        match good {
            Ok(target) => {
                whole += 1;
                let by_bedrock = target.starts_with("bedrock:");
                if unseen && !by_bedrock {
                    failures.push(format!("answered by {target} though it was dead"));
                }
                in_the_air += usize::from(by_bedrock && seen.sent < killed);
                after += usize::from(by_bedrock && seen.sent >= killed);
            }
            // Its client had seen the beginning of the answer: nobody else can go on from there.
            Err(_) if !unseen && seen.stream && bytes > 0 && seen.sent < killed => begun += 1,
            Err(why) => failures.push(why),
        }
    }
    println!(
        "{} requests, {whole} whole; vLLM had answered {}; at its death {begun} streams had begun and were cut, \
         {in_the_air} requests without a byte went on to Bedrock, {after} came later and did too",
        all.len(),
        by_vllm.answered
    );
    assert!(
        failures.is_empty(),
        "{} of {}: {}\n{}",
        failures.len(),
        all.len(),
        failures.join("\n"),
        gateway.envoy.log()
    );
    assert!(in_the_air >= 5 && begun >= 5 && after >= 50, "the kill came at no telling moment");
}
