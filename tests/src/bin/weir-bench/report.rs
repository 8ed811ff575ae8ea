//! The table: medians over rounds, ratios within rounds with their spread, and the machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::stats::{median, percentile, spread};
use crate::variants::Variant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    RateCold,
    RateWarm,
    CpuCold,
    CpuWarm,
    ControlCpu,
    Waited,
    LoadedP50,
    LoadedP99,
    AloneP50,
    AloneP99,
    LargeRateCold,
    LargeCpuCold,
    LargeCpuWarm,
    CpuChunk,
    ChunkP50,
    ChunkP99,
    FirstByte,
    StartUp,
    RssIdle,
    RssLoaded,
    RssWorker,
}

impl Metric {
    fn title(self) -> &'static str {
        match self {
            Self::RateCold => "4 KB, cold texts: requests/s",
            Self::RateWarm => "4 KB, warm texts: requests/s",
            Self::CpuCold => "4 KB, cold texts: Envoy CPU per request, µs",
            Self::CpuWarm => "4 KB, warm texts: Envoy CPU per request, µs",
            Self::ControlCpu => "4 KB, cold texts: control plane's CPU per request, µs",
            Self::Waited => "all requests: waited for the ledger, %",
            Self::LoadedP50 => "4 KB, cold texts, under load: latency p50, µs",
            Self::LoadedP99 => "4 KB, cold texts, under load: latency p99, µs",
            Self::AloneP50 => "4 KB, cold texts, one at a time: latency p50, µs",
            Self::AloneP99 => "4 KB, cold texts, one at a time: latency p99, µs",
            Self::LargeRateCold => "64 KB, cold texts: requests/s",
            Self::LargeCpuCold => "64 KB, cold texts: Envoy CPU per request, µs",
            Self::LargeCpuWarm => "64 KB, warm texts: Envoy CPU per request, µs",
            Self::CpuChunk => "stream: Envoy CPU per chunk, µs",
            Self::ChunkP50 => "stream: chunk in to chunk out p50, µs",
            Self::ChunkP99 => "stream: chunk in to chunk out p99, µs",
            Self::FirstByte => "stream: time to first byte p50, µs",
            Self::StartUp => "start-up, ms",
            Self::RssIdle => "RSS after start, MB",
            Self::RssLoaded => "RSS after load, MB",
            Self::RssWorker => "RSS of each further worker, MB",
        }
    }
}

pub struct Report {
    variants: Vec<Variant>,
    /// By round, in order.
    values: BTreeMap<(Metric, Variant), Vec<f64>>,
    delays: BTreeMap<Variant, Vec<f64>>,
    real_text: usize,
}

impl Report {
    pub fn new(variants: &[Variant], real_text: usize) -> Self {
        let mut variants = variants.to_vec();
        variants.sort();
        variants.dedup();
        Self { variants, values: BTreeMap::new(), delays: BTreeMap::new(), real_text }
    }

    pub fn add(&mut self, variant: Variant, metric: Metric, value: f64) {
        self.values.entry((metric, variant)).or_default().push(value);
    }

    pub fn delays(&mut self, variant: Variant, delays: Vec<f64>) {
        self.delays.entry(variant).or_default().extend(delays);
    }

    fn of(&self, metric: Metric, variant: Variant) -> &[f64] {
        self.values.get(&(metric, variant)).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn markdown(mut self, rounds: usize) -> String {
        let has = |variant: &Variant| self.variants.contains(variant);
        let pairs: Vec<(Variant, Variant)> = [
            (Variant::Weir, Variant::Bare),
            (Variant::Weir, Variant::Noop),
            (Variant::Everything, Variant::Bare),
            (Variant::Noop, Variant::Bare),
        ]
        .into_iter()
        .filter(|(a, b)| has(a) && has(b) && (*a != Variant::Noop || !has(&Variant::Weir)))
        .collect();
        let mut text = String::new();
        let _ = writeln!(text, "{}\n", machine());
        let real = match self.real_text {
            0 => "made-up sentences only (no recorded prompts present)".to_owned(),
            bytes => format!(
                "sentences from {:.1} MB of recorded prompts, one in four made up",
                bytes as f64 / 1e6
            ),
        };
        let _ = writeln!(
            text,
            "Medians of {rounds} alternating rounds, a fresh Envoy each; one worker; load, provider and collector on one other \
             thread. Texts: {real}. Differences and ratios are within a round: median (least to greatest).\n"
        );
        let _ = write!(text, "| |");
        for variant in &self.variants {
            let _ = write!(text, " {} |", variant.title());
        }
        for (a, b) in &pairs {
            let _ = write!(text, " {} − {} | {} / {} |", a.title(), b.title(), a.title(), b.title());
        }
        let columns = 1 + self.variants.len() + 2 * pairs.len();
        let _ = writeln!(text, "\n|{}", "---|".repeat(columns));
        let mut metrics: Vec<Metric> = self.values.keys().map(|(m, _)| *m).collect();
        metrics.dedup();
        for metric in metrics {
            let _ = write!(text, "| {} |", metric.title());
            for variant in &self.variants {
                match self.of(metric, *variant) {
                    [] => text.push_str(" |"),
                    values => {
                        let _ = write!(text, " {} |", number(median(values)));
                    }
                }
            }
            for (a, b) in &pairs {
                if self.of(metric, *a).is_empty() || self.of(metric, *b).is_empty() {
                    text.push_str(" | |");
                    continue;
                }
                let both = || self.of(metric, *a).iter().zip(self.of(metric, *b));
                let differences: Vec<f64> = both().map(|(a, b)| a - b).collect();
                let ratios: Vec<f64> = both().map(|(a, b)| a / b).collect();
                let (low, high) = spread(&differences);
                let _ =
                    write!(text, " {} ({} to {}) |", number(median(&differences)), number(low), number(high));
                let (low, high) = spread(&ratios);
                let _ = write!(text, " {:.2} ({low:.2} to {high:.2}) |", median(&ratios));
            }
            let _ = writeln!(text);
        }
        let _ = writeln!(
            text,
            "\nChunk in to chunk out, all rounds together, µs:\n\n| | chunks | p50 | p99 | p99.9 |\n|---|---|---|---|---|"
        );
        for (variant, delays) in &mut self.delays {
            let count = delays.len();
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| number(percentile(delays, share)));
            let _ = writeln!(text, "| {} | {count} | {p50} | {p99} | {p999} |", variant.title());
        }
        text
    }
}

fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1.0 {
        format!("{value:.2}")
    } else if value.abs() < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// Processor, cores, memory and kernel.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: f64 = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    format!(
        "Machine: {}, {cores} cores, {:.0} GB, Linux {}; Envoy {}. Load average when this was written: {}.",
        field(&read("/proc/cpuinfo"), "model name"),
        kib * 1024.0 / 1e9,
        read("/proc/sys/kernel/osrelease").trim(),
        weir_tests::harness::envoy::NEWEST,
        read("/proc/loadavg").split(' ').take(2).collect::<Vec<_>>().join(" and "),
    )
}
