//! Envoy's own statistics of what passes here, which its Prometheus endpoint shows: told on the tick, so that a request
//! waits for none of it. Not what collectors are sent (`spans`).
//!
//! A name carries its labels, `weir_requests_total;tenant=acme;model=fast;`, which `stats_tags` of Envoy's bootstrap
//! take out of it. Their values are the policy's names, never a client's words, and bounded: what comes after so many
//! series is counted as tenant `other`.

use weir_pipeline::span::{Counted, STAGES, Span};
use weir_sorted::Map;

use crate::host::{self, Statistic};

/// Sums of one tenant, route, model and provider; the times are in the order of the record's stages.
const SUMS: [&str; 7 + STAGES.len()] = [
    "weir_requests_total",
    "weir_tries_total",
    "weir_input_tokens_total",
    "weir_output_tokens_total",
    "weir_cost_nano_usd_total",
    "weir_estimated_requests_total",
    "weir_unpriced_requests_total",
    "weir_stage_microseconds_total;stage=own",
    "weir_stage_microseconds_total;stage=request",
    "weir_stage_microseconds_total;stage=admission",
    "weir_stage_microseconds_total;stage=provider",
    "weir_stage_microseconds_total;stage=answer",
];
/// Their histograms.
const TIMES: [&str; 2] = ["weir_request_duration_milliseconds", "weir_first_chunk_milliseconds"];
/// Sums of one thing more than a series.
const ERRORS: &str = "weir_errors_total;reason=";
const FINDINGS: &str = "weir_findings_total;type=";

/// What has no labels.
const PLAIN: [&str; 5 + LEASE] = [
    "weir_spans_sent_total",
    "weir_spans_dropped_total",
    "weir_spans_rejected_total",
    "weir_export_failures_total",
    "weir_spans_unsampled_total",
    "weir_admit_local_total",
    "weir_admit_waited_total",
    "weir_admit_refused_total",
    "weir_ledger_acquires_total",
    "weir_cas_retries_total",
    "weir_presumed_units_total",
    "weir_budget_excess_units_total",
    "weir_fenced_settlements_total",
];
/// How many of them the lease client counts itself; they are the last.
pub const LEASE: usize = 8;
/// Positions of the others.
pub const SENT: usize = 0;
pub const DROPPED: usize = 1;
pub const REJECTED: usize = 2;
pub const FAILURES: usize = 3;
pub const UNSAMPLED: usize = 4;

/// Sets of labels of one VM.
const MAX_SERIES: usize = 1_000;
/// Durations of one series between two ticks.
const MAX_TIMES: usize = 4_096;

/// Sums of the same labels.
#[derive(Default)]
struct Series {
    labels: String,
    names: &'static [&'static str],
    /// What the host has not been told, and its number of the sum once it was.
    sums: Vec<(u64, Option<u32>)>,
    /// Which histogram, and milliseconds.
    times: Vec<(usize, u64)>,
    changed: bool,
    /// Zeros are told too.
    eager: bool,
}

impl Series {
    fn new(names: &'static [&'static str], labels: String) -> Self {
        Self { labels, names, sums: vec![(0, None); names.len()], ..Self::default() }
    }

    fn add(&mut self, at: usize, by: u64) {
        if let Some((sum, _)) = self.sums.get_mut(at) {
            *sum = sum.saturating_add(by);
            self.changed = true;
        }
    }

    fn time(&mut self, which: usize, nanos: u64) {
        if self.times.len() < MAX_TIMES {
            self.times.push((which, nanos / 1_000_000));
        }
    }

    fn tell(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let Self { labels, names, sums, times, eager, .. } = self;
        let define = |kind, name: &str| host::statistic(kind, &[name, labels].concat()).ok();
        for ((more, known), name) in sums.iter_mut().zip(*names) {
            if *more == 0 && !(*eager && known.is_none()) {
                continue;
            }
            let id = known.or_else(|| define(Statistic::Counter, name));
            *known = id;
            if id.is_some_and(|id| host::count(id, *more).is_ok()) {
                *more = 0;
            }
        }
        for (which, name) in TIMES.iter().enumerate() {
            let mut times = times.iter().filter(|(of, _)| *of == which).peekable();
            // Defined once a process: a second time gives the same.
            let id = if times.peek().is_some() { define(Statistic::Histogram, name) } else { None };
            for (_, ms) in times {
                let _ = id.map(|id| host::observe(id, *ms));
            }
        }
        times.clear();
    }
}

/// All of it.
pub struct Statistics {
    /// What has no labels is the first.
    series: Vec<Series>,
    /// Where the others are, by name and labels.
    places: Map<String, usize>,
    /// What the lease client had counted when it was last asked.
    leased: [u64; LEASE],
}

impl Default for Statistics {
    fn default() -> Self {
        let mut plain = Series::new(&PLAIN, String::new());
        // Shown from the beginning: of a counter that begins with an event, Prometheus does not see that event.
        (plain.eager, plain.changed) = (true, true);
        Self { series: vec![plain], places: Map::new(), leased: [0; LEASE] }
    }
}

impl Statistics {
    /// Adds to what has no labels.
    pub fn add(&mut self, plain: usize, by: u64) {
        if let Some(series) = self.series.first_mut().filter(|_| by > 0) {
            series.add(plain, by);
        }
    }

    /// Takes what the lease client has counted since the VM began.
    pub fn lease(&mut self, counted: [u64; LEASE]) {
        for (at, (now, before)) in counted.into_iter().zip(self.leased).enumerate() {
            self.add(PLAIN.len() - LEASE + at, now.saturating_sub(before));
        }
        self.leased = counted;
    }

    /// Takes an exchange that is over.
    pub fn exchange(&mut self, span: &Span) {
        let mut labels = String::with_capacity(96);
        for (name, value) in [
            (";tenant=", &span.tenant),
            (";route=", &span.route),
            (";model=", &span.model),
            (";provider=", &span.target),
        ] {
            if !value.is_empty() {
                labels.push_str(name);
                push(&mut labels, value);
            }
        }
        let error = span.error.as_deref().map(|error| (ERRORS, error, 1));
        let findings = span.findings.iter().map(|(name, n)| (FINDINGS, name.as_str(), *n));
        for (name, value, n) in findings.chain(error) {
            let mut key = String::with_capacity(128);
            key.push_str(name);
            push(&mut key, value);
            key.push_str(&labels);
            if let Some(series) = self.at(&[""], key, name) {
                series.add(0, n);
            }
        }
        let Some(series) = self.at(&SUMS, labels, "") else { return };
        let billed = u64::from(span.counted != Counted::No);
        let usage = &span.usage;
        let sums = [
            1,
            span.attempts,
            usage.input * billed,
            usage.output * billed,
            span.cost_nano.unwrap_or(0) * billed,
            u64::from(span.counted == Counted::Estimated),
            u64::from(span.cost_nano.is_none()) * billed,
        ];
        for (at, by) in sums.iter().enumerate() {
            series.add(at, *by);
        }
        for (at, nanos) in span.stages.iter().enumerate() {
            series.add(sums.len() + at, nanos / 1_000);
        }
        series.time(0, span.end.saturating_sub(span.start));
        if let Some(first) = span.first_chunk.filter(|_| span.stream) {
            series.time(1, first);
        }
    }

    /// The series of a key; where there are too many, that of all others of its name.
    fn at(&mut self, names: &'static [&'static str], mut key: String, name: &str) -> Option<&mut Series> {
        let mut place = self.places.get(&key).copied();
        if place.is_none() && self.series.len() >= MAX_SERIES {
            key.clear();
            key.push_str(name);
            key.push_str(if name.is_empty() { ";tenant=other" } else { "other" });
            place = self.places.get(&key).copied();
        }
        let place = place.unwrap_or(self.series.len());
        if place == self.series.len() {
            self.series.push(Series::new(names, key.clone()));
            self.places.insert(key, place);
        }
        self.series.get_mut(place)
    }

    /// Tells the host, on a plugin's context.
    pub fn tell(&mut self) {
        self.series.iter_mut().for_each(Series::tell);
    }
}

/// Appends a label's value; a semicolon would begin another label.
fn push(to: &mut String, value: &str) {
    for c in value.chars() {
        to.push(if c == ';' { ',' } else { c });
    }
}
