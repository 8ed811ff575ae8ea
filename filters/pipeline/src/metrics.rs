//! The metrics of the GenAI conventions as cumulative histograms, kept by one VM and exported whole, so that a lost
//! export loses nothing. Bounded: beyond so many series everything goes into one that says so, as OpenTelemetry's SDK
//! specification wants it. Addresses of providers, though recommended, are no attributes: pods come and go.
//!
//! Field numbers: opentelemetry-proto `metrics/v1/metrics.proto`.

use weir_sorted::Map;

use crate::otlp::{Message, Signal, Source, boolean, string};
use crate::span::{Counted, Pace, Span};

/// Where they are taken.
pub const METRICS: Signal =
    Signal { service: "opentelemetry.proto.collector.metrics.v1.MetricsService", path: "/v1/metrics" };

/// Buckets of every histogram: 14 bounds and what is above.
pub const BUCKETS: usize = 15;
/// Series of one VM.
const MAX_SERIES: usize = 500;
const CUMULATIVE: u64 = 2;
const ATTRIBUTES: u64 = 9;

/// One of the conventions' metrics.
struct Kind {
    name: &'static str,
    unit: &'static str,
    /// The lowest bound, in tokens or nanoseconds.
    first: u64,
    /// Each bound is the one before shifted left by this.
    shift: u32,
    /// Units of a value in one of the metric's.
    scale: f64,
}

const KINDS: [Kind; 4] = [
    Kind { name: "gen_ai.client.token.usage", unit: "{token}", first: 1, shift: 2, scale: 1.0 },
    seconds("gen_ai.client.operation.duration"),
    seconds("gen_ai.client.operation.time_to_first_chunk"),
    seconds("gen_ai.client.operation.time_per_output_chunk"),
];
const USAGE: u8 = 0;
const DURATION: u8 = 1;
const FIRST_CHUNK: u8 = 2;
const PER_CHUNK: u8 = 3;

const fn seconds(name: &'static str) -> Kind {
    Kind { name, unit: "s", first: 10_000_000, shift: 1, scale: 1e9 }
}

/// The bucket of a value whose lowest bound is `first` and whose bounds grow by `shift` bits; bounds are inclusive.
fn place(value: u64, first: u64, shift: u32) -> usize {
    let steps = value.div_ceil(first.max(1)).max(1);
    let bits = u64::BITS - (steps - 1).leading_zeros();
    (bits.div_ceil(shift.max(1)) as usize).min(BUCKETS - 1)
}

/// The bucket of a number of nanoseconds.
pub fn bucket(nanos: u64) -> usize {
    place(nanos, 10_000_000, 1)
}

#[derive(Default)]
struct Series {
    count: u64,
    sum: u64,
    buckets: [u64; BUCKETS],
}

/// The histograms of one VM.
#[derive(Default)]
pub struct Metrics {
    /// By kind and encoded attributes.
    series: Map<(u8, Vec<u8>), Series>,
    started: u64,
    changed: bool,
}

impl Metrics {
    /// Takes in an exchange that is over.
    pub fn record(&mut self, span: &Span) {
        if span.operation.is_empty() || span.end <= span.start {
            return;
        }
        if self.started == 0 {
            self.started = span.start;
        }
        self.changed = true;
        let mut common = Message::default();
        common.attribute(ATTRIBUTES, "gen_ai.operation.name", string(span.operation));
        common.attribute(ATTRIBUTES, "gen_ai.provider.name", string(&span.provider));
        // A name that no route knows is anything that a client may write.
        if !span.model.is_empty() {
            common.attribute(ATTRIBUTES, "gen_ai.request.model", string(&span.request_model));
        }
        if !span.response_model.is_empty() {
            common.attribute(ATTRIBUTES, "gen_ai.response.model", string(&span.response_model));
        }
        if span.counted != Counted::No {
            for (kind, tokens) in [("input", span.usage.input), ("output", span.usage.output)] {
                let mut attributes = common.clone();
                attributes.attribute(ATTRIBUTES, "gen_ai.token.type", string(kind));
                self.add(USAGE, attributes, tokens);
            }
        }
        if span.stream && span.error.is_none() {
            if let Some(first) = span.first_chunk {
                self.add(FIRST_CHUNK, common.clone(), first);
            }
            self.merge(PER_CHUNK, common.clone(), &span.pace);
        }
        if let Some(error) = &span.error {
            common.attribute(ATTRIBUTES, "error.type", string(error));
        }
        self.add(DURATION, common, span.end - span.start);
    }

    /// An export did not arrive: the next one is due even if nothing changes.
    pub fn again(&mut self) {
        self.changed = true;
    }

    fn series(&mut self, kind: u8, attributes: Message) -> Option<&mut Series> {
        let mut key = (kind, attributes.0);
        if !self.series.contains_key(&key) {
            if self.series.len() >= MAX_SERIES {
                let mut overflow = Message::default();
                overflow.attribute(ATTRIBUTES, "otel.metric.overflow", boolean(true));
                key.1 = overflow.0;
            }
            if !self.series.contains_key(&key) {
                self.series.insert(key.clone(), Series::default());
            }
        }
        self.series.get_mut(&key)
    }

    fn add(&mut self, kind: u8, attributes: Message, value: u64) {
        let Some(about) = KINDS.get(usize::from(kind)) else { return };
        let Some(series) = self.series(kind, attributes) else { return };
        series.count += 1;
        series.sum = series.sum.saturating_add(value);
        if let Some(bucket) = series.buckets.get_mut(place(value, about.first, about.shift)) {
            *bucket += 1;
        }
    }

    fn merge(&mut self, kind: u8, attributes: Message, pace: &Pace) {
        if pace.buckets.iter().all(|count| *count == 0) {
            return;
        }
        let Some(series) = self.series(kind, attributes) else { return };
        series.sum = series.sum.saturating_add(pace.sum);
        for (sum, count) in series.buckets.iter_mut().zip(pace.buckets) {
            *sum += u64::from(count);
            series.count += u64::from(count);
        }
    }

    /// `ExportMetricsServiceRequest` of everything, if anything changed since the last.
    pub fn export(&mut self, now: u64, source: &Source<'_>) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let mut metrics = Vec::with_capacity(KINDS.len());
        for (kind, about) in (0..).zip(&KINDS) {
            let mut histogram = Message::default();
            for ((of, attributes), series) in self.series.iter() {
                if *of == kind {
                    histogram.message(1, point(about, attributes, series, self.started, now));
                }
            }
            if histogram.0.is_empty() {
                continue;
            }
            histogram.int(2, CUMULATIVE);
            let mut metric = Message::default();
            metric.bytes(1, about.name.as_bytes());
            metric.bytes(3, about.unit.as_bytes());
            metric.message(9, histogram);
            metrics.push(metric.0);
        }
        Some(source.request(metrics.iter().map(Vec::as_slice)))
    }
}

fn point(kind: &Kind, attributes: &[u8], series: &Series, start: u64, now: u64) -> Message {
    let mut m = Message(attributes.to_vec());
    m.fixed64(2, start);
    m.fixed64(3, now);
    m.fixed64(4, series.count);
    m.fixed64(5, (series.sum as f64 / kind.scale).to_bits());
    let mut packed = Vec::with_capacity(BUCKETS * 8);
    for count in series.buckets {
        packed.extend_from_slice(&count.to_le_bytes());
    }
    m.bytes(6, &packed);
    packed.clear();
    let mut bound = kind.first;
    for _ in 1..BUCKETS {
        packed.extend_from_slice(&(bound as f64 / kind.scale).to_le_bytes());
        bound <<= kind.shift;
    }
    m.bytes(7, &packed);
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_whose_bound_it_does_not_pass() {
        for kind in &KINDS {
            let bounds: Vec<u64> = (0..14).map(|i| kind.first << (kind.shift * i)).collect();
            let values =
                bounds.iter().flat_map(|b| [b - 1, *b, b + 1]).chain([0, 1, 7, u64::MAX / 2, u64::MAX]);
            for value in values {
                let expected = bounds.iter().position(|bound| value <= *bound).unwrap_or(14);
                assert_eq!(place(value, kind.first, kind.shift), expected, "{} {value}", kind.name);
            }
        }
        assert_eq!(KINDS[0].first << (2 * 13), 67_108_864);
        assert_eq!((KINDS[1].first << 13) as f64 / KINDS[1].scale, 81.92);
    }

    #[test]
    fn series_are_bounded_and_what_is_beyond_is_counted_as_such() {
        let mut metrics = Metrics::default();
        for n in 0..2_000 {
            metrics.record(&Span {
                operation: "chat",
                start: 1,
                end: 2,
                response_model: format!("model-{n}"),
                ..Span::default()
            });
        }
        assert_eq!(metrics.series.len(), MAX_SERIES + 1);
        assert_eq!(metrics.series.values().map(|series| series.count).sum::<u64>(), 2_000);
        let source = Source { version: "1", instance: "a" };
        assert!(metrics.export(3, &source).is_some());
        assert!(metrics.export(4, &source).is_none(), "nothing has changed");
    }
}
