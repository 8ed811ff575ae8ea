//! `overhead`: what Weir costs over bare Envoy and over filters that do nothing.
//!
//! Rounds alternate over the variants, each with a fresh Envoy, so that neighbours on the machine disturb
//! all alike; figures are medians over rounds and ratios are taken within a round. "Cold" requests have
//! texts that no round has sent before, "warm" ones repeat sixteen texts. The load, the provider and the
//! collector share one thread: with one worker, Envoy has a core of two for itself.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_tests::harness::{Child, Collector, inject};

use crate::load::{Load, Seen};
use crate::report::{Metric, Report};
use crate::stats::{micros, percentile};
use crate::texts::Texts;
use crate::upstream;
use crate::variants::{self, Running, Variant};

#[derive(clap::Args)]
pub struct Options {
    /// Rounds over all variants.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Requests of 4 KB per phase; phases of 64 KB send an eighth.
    #[arg(long, default_value_t = 1600)]
    requests: usize,
    /// Connections at once.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Streams of 200 chunks per round, eight at a time.
    #[arg(long, default_value_t = 24)]
    streams: usize,
    /// Seconds that one phase may take.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// What to run.
    #[arg(long, value_delimiter = ',', default_value = "bare,noop,weir,everything")]
    variants: Vec<Variant>,
    /// JSON file with Exchange's configuration, in place of the example's, for the variant `weir`.
    #[arg(long)]
    exchange: Option<PathBuf>,
    /// Write the report here too.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Requests before the first phase, so that the engine has compiled what runs often.
const WARM_UP: usize = 1600;
const WARM_TEXTS: usize = 16;
const SMALL: usize = 4 << 10;
const LARGE: usize = 64 << 10;

pub fn run(options: &Options) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let report = runtime.block_on(rounds(options))?;
    let text = report.markdown(options.rounds);
    println!("{text}");
    match &options.out {
        Some(path) => std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display())),
        None => Ok(()),
    }
}

async fn rounds(options: &Options) -> Result<Report, String> {
    let texts = Texts::load();
    let start = Instant::now();
    let upstream = upstream::start(start).await.map_err(|e| e.to_string())?;
    let collector = Collector::start().await;
    let mut report = Report::new(&options.variants, texts.real);
    for round in 0..options.rounds {
        let inputs = Inputs::make(&texts, options, round as u64);
        for at in 0..options.variants.len() {
            // Another one begins each round, so that none always runs after the same neighbour.
            let variant = options.variants[(round + at) % options.variants.len()];
            eprintln!("round {} of {}: {}", round + 1, options.rounds, variant.title());
            let start_one = async |workers: u32| {
                let exchange = options.exchange.as_deref();
                variants::start(variant, upstream, collector.port(), exchange, workers).await
            };
            let one = start_one(1).await?;
            let one_worker = one.envoy.rss();
            let run = Run { options, gateway: one, start, inputs: &inputs };
            let figures = run.all().await.map_err(|e| format!("{}: {e}", variant.title()))?;
            let more_workers = start_one(3).await?.envoy.rss();
            report.add(variant, Metric::RssWorker, more_workers.saturating_sub(one_worker) as f64 / 2e6);
            for (metric, value) in figures.values {
                report.add(variant, metric, value);
            }
            report.delays(variant, figures.delays);
        }
    }
    Ok(report)
}

/// The bodies of one round; every variant gets the same.
struct Inputs {
    warm_up: Vec<Bytes>,
    small: Vec<Bytes>,
    latency: Vec<Bytes>,
    large: Vec<Bytes>,
    stream: Vec<Bytes>,
    short: Vec<Bytes>,
}

impl Inputs {
    fn make(texts: &Texts, options: &Options, round: u64) -> Self {
        let make = |kind: u64, count: usize, bytes: usize| -> Vec<Bytes> {
            let number = |i: u64| (round + 1) << 40 | kind << 32 | i;
            (0..count as u64).map(|i| texts.chat(number(i), bytes, inject::MODEL).into()).collect()
        };
        let short = make(5, 64, 600);
        let stream = |body: &Bytes| {
            let mut text = body[..body.len() - 1].to_vec();
            // As the usage is asked for, no variant has to change the body.
            text.extend_from_slice(b",\"stream_options\":{\"include_usage\":true},\"stream\":true}");
            Bytes::from(text)
        };
        Self {
            warm_up: make(1, WARM_UP, SMALL),
            small: make(2, options.requests, SMALL),
            latency: make(3, options.requests / 4, SMALL),
            large: make(4, options.requests / 8, LARGE),
            stream: short.iter().map(stream).collect(),
            short,
        }
    }
}

struct Run<'a> {
    options: &'a Options,
    gateway: Running,
    start: Instant,
    inputs: &'a Inputs,
}

#[derive(Default)]
struct Figures {
    values: Vec<(Metric, f64)>,
    delays: Vec<f64>,
}

impl Run<'_> {
    async fn load(
        &self,
        bodies: &[Bytes],
        requests: usize,
        connections: usize,
    ) -> Result<(Seen, Duration), String> {
        let load = Load {
            port: self.gateway.port,
            connections,
            limit: Duration::from_secs(self.options.seconds),
            start: self.start,
            bodies,
            requests,
        };
        let before = self.gateway.envoy.cpu();
        let seen = load.run().await?;
        Ok((seen, self.gateway.envoy.cpu() - before))
    }

    async fn all(mut self) -> Result<Figures, String> {
        let mut figures = Figures::default();
        let mut add = |metric: Metric, value: f64| figures.values.push((metric, value));
        add(Metric::StartUp, self.gateway.started_in.as_secs_f64() * 1e3);
        add(Metric::RssIdle, self.gateway.envoy.rss() as f64 / 1e6);
        let many = self.options.connections;
        self.load(&self.inputs.warm_up, WARM_UP, many).await?;

        let per_request = |seen: &Seen, cpu: Duration| cpu.as_secs_f64() * 1e6 / seen.requests as f64;
        let rate = |seen: &Seen| seen.requests as f64 / seen.took.as_secs_f64();
        let requests = self.options.requests;
        let small = &self.inputs.small;
        let control = |gateway: &Running| gateway.control.as_ref().map(Child::cpu);
        let before = control(&self.gateway);
        let (seen, cpu) = self.load(small, requests, many).await?;
        if let (Some(before), Some(after)) = (before, control(&self.gateway)) {
            add(Metric::ControlCpu, per_request(&seen, after - before));
        }
        add(Metric::RateCold, rate(&seen));
        add(Metric::CpuCold, per_request(&seen, cpu));
        let mut latencies = micros(&seen.latencies);
        add(Metric::LoadedP50, percentile(&mut latencies, 0.5));
        add(Metric::LoadedP99, percentile(&mut latencies, 0.99));
        let warm = &small[..WARM_TEXTS.min(small.len())];
        self.load(warm, warm.len(), 1).await?;
        let (seen, cpu) = self.load(warm, requests, many).await?;
        add(Metric::RateWarm, rate(&seen));
        add(Metric::CpuWarm, per_request(&seen, cpu));

        let (seen, _) = self.load(&self.inputs.latency, self.inputs.latency.len(), 1).await?;
        let mut latencies = micros(&seen.latencies);
        add(Metric::AloneP50, percentile(&mut latencies, 0.5));
        add(Metric::AloneP99, percentile(&mut latencies, 0.99));

        let large = &self.inputs.large;
        let (seen, cpu) = self.load(large, large.len(), many).await?;
        add(Metric::LargeRateCold, rate(&seen));
        add(Metric::LargeCpuCold, per_request(&seen, cpu));
        let warm = &large[..WARM_TEXTS.min(large.len())];
        self.load(warm, warm.len(), 1).await?;
        let (seen, cpu) = self.load(warm, large.len(), many).await?;
        add(Metric::LargeCpuWarm, per_request(&seen, cpu));

        // What a short request costs is taken off, so that the chunks' own cost remains.
        let (seen, cpu) = self.load(&self.inputs.short, requests / 2, 8).await?;
        let request = per_request(&seen, cpu);
        let idle = self.idle().await;
        let (seen, cpu) = self.load(&self.inputs.stream, self.options.streams, 8).await?;
        let own = cpu.as_secs_f64() * 1e6 - idle * seen.took.as_secs_f64() - request * seen.requests as f64;
        add(Metric::CpuChunk, own / (seen.requests * upstream::CHUNKS) as f64);
        let mut delays = micros(&seen.delays);
        add(Metric::ChunkP50, percentile(&mut delays, 0.5));
        add(Metric::ChunkP99, percentile(&mut delays, 0.99));
        let mut first = micros(&seen.first_bytes);
        add(Metric::FirstByte, percentile(&mut first, 0.5));
        add(Metric::RssLoaded, self.gateway.envoy.rss() as f64 / 1e6);
        if self.gateway.control.is_some() {
            // The filters tell Envoy's statistics on their tick.
            tokio::time::sleep(Duration::from_millis(1200)).await;
            let [local, waited] = [
                self.gateway.envoy.stat("weir_admit_local").await,
                self.gateway.envoy.stat("weir_admit_waited").await,
            ];
            add(Metric::Waited, waited as f64 * 100.0 / (local + waited).max(1) as f64);
        }
        if let Some(status) = self.gateway.envoy.process().ended() {
            return Err(format!("Envoy ended with {status}:\n{}", self.gateway.envoy.log()));
        }
        figures.delays = delays;
        Ok(figures)
    }

    /// Microseconds of CPU per second of a gateway without requests: its timers.
    async fn idle(&self) -> f64 {
        let (before, begun) = (self.gateway.envoy.cpu(), Instant::now());
        tokio::time::sleep(Duration::from_millis(500)).await;
        (self.gateway.envoy.cpu() - before).as_secs_f64() * 1e6 / begun.elapsed().as_secs_f64()
    }
}
