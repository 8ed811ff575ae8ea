//! What Weir adds to a streamed chunk's way, against a wasm filter that does nothing, in one run.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_tests::harness::Inject;
use weir_tests::harness::inject::{Filters, KEY, MODEL};

use crate::chat_stream;

/// Chunks measured of each gateway.
const CHUNKS: usize = 10_000;
const MEASUREMENTS: usize = 4;
/// Chunks of one stream.
const LENGTH: usize = 200;
/// Time between two chunks of a stream.
const PAUSE: Duration = Duration::from_micros(700);
/// The promise: so much more than the filter that does nothing, at the 99th percentile.
const PROMISE: Duration = Duration::from_millis(1);

/// A provider whose every chunk tells when it left, in microseconds since `epoch`.
async fn provider(epoch: Instant) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, epoch));
        }
    });
    port
}

async fn serve(mut stream: TcpStream, epoch: Instant) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    loop {
        // One request at a time, told by the end of its JSON body.
        while !request.ends_with(b"}") {
            let mut bytes = [0; 16_384];
            match stream.read(&mut bytes).await? {
                0 => return Ok(()),
                count => request.extend_from_slice(&bytes[..count]),
            }
        }
        request.clear();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        for index in 0..LENGTH {
            tokio::time::sleep(PAUSE).await;
            let event = event(index, u64::try_from(epoch.elapsed().as_micros()).unwrap_or(0));
            stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        }
        stream.write_all(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await?;
    }
}

/// An event as vLLM writes it; its content is the time.
fn event(index: usize, micros: u64) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-{index}\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"{MODEL}\",\
         \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" {micros}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

/// One stream's delays.
async fn stream(gate: &Inject, epoch: Instant, number: usize) -> Vec<Duration> {
    let mut raw = gate.raw().await;
    let body = chat_stream(MODEL, &format!("measure {number}")).to_string();
    raw.post("/v1/chat/completions", KEY, body.as_bytes()).await;
    assert_eq!(raw.head().await.status, 200, "{}", gate.envoy.log());
    let mut delays = Vec::with_capacity(LENGTH);
    loop {
        let chunk = raw.chunk().await.expect("a proper end");
        if chunk.data.is_empty() {
            return delays;
        }
        let here = chunk.at - epoch;
        let text = String::from_utf8_lossy(&chunk.data).into_owned();
        // Envoy may put two into one; both are here now.
        let sent =
            text.split("\"content\":\" ").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok());
        delays.extend(sent.map(|micros| here.saturating_sub(Duration::from_micros(micros))));
    }
}

fn percentile(delays: &mut [Duration], percent: usize) -> Duration {
    delays.sort();
    delays[(delays.len() * percent / 100).min(delays.len() - 1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_is_at_most_a_millisecond_later_than_through_an_idle_filter() {
    let epoch = Instant::now();
    let port = provider(epoch).await;
    let gate = |filters, name| {
        Inject::with(name, move |setup| {
            setup.filters = filters;
            setup.provider = Some(port);
        })
    };
    let (weir, idle) = (gate(Filters::Weir, "latency-weir").await, gate(Filters::Idle, "latency-idle").await);
    // What else runs on the machine can only add: one measurement without a neighbour is proof.
    let mut seen = Vec::new();
    for _ in 0..MEASUREMENTS {
        let (high, idle_high) = measure(&weir, &idle, epoch).await;
        if high <= idle_high + PROMISE {
            return;
        }
        seen.push((high, idle_high));
    }
    panic!("99th percentiles (Weir, idle filter): {seen:?}");
}

/// Both 99th percentiles, of streams that run in pairs and so meet the same neighbours.
async fn measure(weir: &Inject, idle: &Inject, epoch: Instant) -> (Duration, Duration) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for number in 0..CHUNKS / LENGTH {
        let pair = tokio::join!(stream(weir, epoch, number), stream(idle, epoch, number));
        with.extend(pair.0);
        without.extend(pair.1);
    }
    assert_eq!((with.len(), without.len()), (CHUNKS, CHUNKS));
    let [median, high] =
        [50, 99].map(|percent| (percentile(&mut with, percent), percentile(&mut without, percent)));
    println!("chunk in to chunk out: median {median:?}, 99th percentile {high:?} (Weir, idle filter)");
    high
}
