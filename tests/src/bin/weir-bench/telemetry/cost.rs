//! What all telemetry costs Envoy: the same load with it and without, in turn, on two Envoys that run all the time, so
//! that neighbours on the machine disturb both alike.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_tests::harness::{Collector, EnvoyConfig, inject};

use crate::load::Load;
use crate::stats::{median, percentile, spread};
use crate::texts::Texts;
use crate::upstream;
use crate::variants::{self, Running, Variant};

const CONNECTIONS: usize = 16;
const REQUESTS: usize = 6_000;
const BODIES: usize = 256;

/// One thread for the load, the provider and the collector, so that Envoy has a core of two for itself.
pub fn run(rounds: usize) -> Result<String, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(measure(rounds))
}

async fn measure(rounds: usize) -> Result<String, String> {
    let start = Instant::now();
    let texts = Texts::load();
    let upstream = upstream::start(start).await.map_err(|e| e.to_string())?;
    let collector = Collector::start().await;
    let quiet = weir_tests::harness::paths::weir().join("bench").join("exchange-without-telemetry.json");
    let mut exchange = EnvoyConfig::read("envoy/inject/envoy.yaml").configuration("exchange");
    exchange.as_object_mut().ok_or("Exchange's configuration is no object")?.remove("telemetry");
    std::fs::create_dir_all(quiet.parent().unwrap_or(&quiet)).map_err(|e| e.to_string())?;
    std::fs::write(&quiet, exchange.to_string()).map_err(|e| e.to_string())?;
    let on = variants::start(Variant::Weir, upstream, collector.port(), None, 1).await?;
    let off = variants::start(Variant::Weir, upstream, collector.port(), Some(&quiet), 1).await?;
    let bodies: Vec<Bytes> =
        (0..BODIES as u64).map(|n| texts.chat(n, 4 << 10, inject::MODEL).into()).collect();
    let mut figures: [[Vec<f64>; 2]; 2] = Default::default();
    let mut differences = Vec::new();
    for round in 0..=rounds {
        let mut cpu = [0.0; 2];
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let gateway = if which == 0 { &on } else { &off };
            let (own, median) = load(gateway, &bodies, start).await?;
            cpu[which] = own;
            if round > 0 {
                figures[which][0].push(own);
                figures[which][1].push(median);
            }
        }
        // The first round is for the engine, which compiles what runs often.
        if round > 0 {
            differences.push(cpu[0] - cpu[1]);
        }
    }
    if collector.count(|_| true) == 0 {
        return Err("no span came: nothing was measured".into());
    }
    let mut out = String::from("| 4 KB chats, warm | telemetry on | off | on − off |\n|---|---|---|---|\n");
    let (least, most) = spread(&differences);
    let _ = writeln!(
        out,
        "| Envoy CPU per request, µs, {rounds} rounds of {REQUESTS} | {:.1} | {:.1} | {:.1} ({least:.1} to {most:.1}) |",
        median(&figures[0][0]),
        median(&figures[1][0]),
        median(&differences)
    );
    let _ = writeln!(
        out,
        "| request to whole answer, p50, µs | {:.0} | {:.0} | {:.0} |",
        median(&figures[0][1]),
        median(&figures[1][1]),
        median(&figures[0][1]) - median(&figures[1][1])
    );
    Ok(out)
}

/// Envoy's CPU per request until the last span has left, and the median latency, both in microseconds.
async fn load(gateway: &Running, bodies: &[Bytes], start: Instant) -> Result<(f64, f64), String> {
    let load = Load {
        port: gateway.port,
        connections: CONNECTIONS,
        limit: Duration::from_secs(30),
        start,
        bodies,
        requests: REQUESTS,
    };
    let before = gateway.envoy.cpu();
    let begun = Instant::now();
    let seen = load.run().await?;
    // The rest of the spans leaves with the next ticks, which are idle ones of the other.
    let rest = Duration::from_millis(2_500);
    tokio::time::sleep(rest).await;
    let cpu = (gateway.envoy.cpu() - before).as_secs_f64() * 1e6;
    let idle = idle(gateway).await * begun.elapsed().as_secs_f64();
    let mut latencies = crate::stats::micros(&seen.latencies);
    Ok(((cpu - idle) / seen.requests as f64, percentile(&mut latencies, 0.5)))
}

/// Microseconds of CPU per second of a gateway without requests: its timers.
async fn idle(gateway: &Running) -> f64 {
    let (before, begun) = (gateway.envoy.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    (gateway.envoy.cpu() - before).as_secs_f64() * 1e6 / begun.elapsed().as_secs_f64()
}
