//! A collector that is away, slow and choosy: what that does to requests, to Envoy's memory, and to the counters.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_tests::harness::collector::Mood;
use weir_tests::harness::{Collector, Envoy, inject};

use crate::load::Load;
use crate::stats::{micros, percentile};
use crate::texts::Texts;
use crate::upstream;
use crate::variants::{self, Variant};

/// Connections; few enough that requests wait for nothing but Envoy.
const CONNECTIONS: usize = 4;
const BODIES: usize = 512;
/// By how much Envoy may grow, in bytes, over what it has after a while with a collector that is well: what one VM may
/// keep, and as much again for the allocator.
const ROOM: u64 = 24 << 20;

/// The table, and what is wrong.
pub async fn run(each: Duration) -> Result<(String, Vec<String>), String> {
    let start = Instant::now();
    let texts = Texts::load();
    let upstream = upstream::start(start).await.map_err(|e| e.to_string())?;
    let collector = Collector::start().await;
    let gateway = variants::start(Variant::Weir, upstream, collector.port(), None, 1).await?;
    let bodies: Vec<Bytes> =
        (0..BODIES as u64).map(|n| texts.chat(n, 1 << 10, inject::MODEL).into()).collect();
    let load = async |limit: Duration| {
        let load = Load {
            port: gateway.port,
            connections: CONNECTIONS,
            limit,
            start,
            bodies: &bodies,
            requests: usize::MAX / 2,
        };
        load.run().await
    };
    load(Duration::from_secs(5)).await?;
    let mut out = String::from(
        "| collector | requests | p50, µs | p99, µs | Envoy's memory, MB | spans sent | dropped | rejected |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut problems = Vec::new();
    let (mut well, mut begun) = (None, counters(&gateway.envoy).await);
    let moods = [
        ("well", Mood::Well),
        ("away", Mood::Refusing(14)),
        ("well again", Mood::Well),
        ("takes 2 s each time", Mood::Slow(2_000)),
        ("takes all but 5 of a batch", Mood::Rejecting(5)),
        ("well at last", Mood::Well),
    ];
    let mut requests = 0;
    for (name, mood) in moods {
        collector.mood(mood);
        let seen = load(each).await?;
        requests += seen.requests as u64;
        let mut latencies = micros(&seen.latencies);
        let (p50, p99) = (percentile(&mut latencies, 0.5), percentile(&mut latencies, 0.99));
        if name == "well at last" {
            // Nothing is on its way any more.
            tokio::time::sleep(Duration::from_secs(8)).await;
        }
        let (rss, now) = (gateway.envoy.rss(), counters(&gateway.envoy).await);
        let [sent, dropped, rejected] = [0, 1, 2].map(|at| now[at] - begun[at]);
        begun = now;
        let _ = writeln!(
            out,
            "| {name} | {} | {p50:.0} | {p99:.0} | {:.0} | {sent} | {dropped} | {rejected} |",
            seen.requests,
            rss as f64 / 1e6
        );
        let (first_p50, first_rss) = *well.get_or_insert((p50, rss));
        if p50 > first_p50 * 1.5 {
            problems.push(format!("collector {name}: p50 is {p50:.0} µs, it was {first_p50:.0} µs"));
        }
        if rss > first_rss + ROOM {
            problems.push(format!("collector {name}: Envoy has {rss} bytes, it had {first_rss}"));
        }
        match mood {
            Mood::Refusing(_) if dropped == 0 => {
                problems.push("nothing was dropped while it was away".into())
            }
            Mood::Rejecting(_) if rejected == 0 => problems.push("no rejection was counted".into()),
            _ => {}
        }
    }
    // The exchange and its try: each is in one of the books, once, whatever the collector did.
    let all = counters(&gateway.envoy).await;
    let spans: u64 = all[..3].iter().sum();
    let _ = writeln!(
        out,
        "\n{requests} requests since it was first well; all spans ever: {spans} of {}",
        2 * all[3]
    );
    if spans != 2 * all[3] {
        problems.push(format!("{spans} spans are in the books of {} exchanges with one try each", all[3]));
    }
    Ok((out, problems))
}

/// Spans sent, dropped and rejected, and exchanges.
async fn counters(envoy: &Envoy) -> [u64; 4] {
    // The filters tell Envoy's statistics on their tick.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let mut all = [0; 4];
    for (to, name) in all.iter_mut().zip(["spans_sent", "spans_dropped", "spans_rejected", "requests"]) {
        *to = envoy.stat(&format!("weir_{name}_total")).await;
    }
    all
}
