//! An OpenTelemetry collector that keeps what it gets: the messages and the server are OpenTelemetry's own crate's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::collector_http;

/// A span, flattened for assertions.
#[derive(Clone, Debug)]
pub struct Span {
    /// As sent.
    pub raw: otlp::Span,
    /// The span's attributes.
    pub attributes: BTreeMap<String, Value>,
    /// The resource's attributes.
    pub resource: BTreeMap<String, Value>,
}

impl Span {
    /// 32 hex digits.
    pub fn trace_id(&self) -> String {
        hex(&self.raw.trace_id)
    }

    /// 16 hex digits.
    pub fn span_id(&self) -> String {
        hex(&self.raw.span_id)
    }

    /// 16 hex digits; empty for a root.
    pub fn parent_id(&self) -> String {
        hex(&self.raw.parent_span_id)
    }

    /// Of a whole exchange; the others are tries.
    pub fn is_exchange(&self) -> bool {
        !self.get("weir.request.id").is_null()
    }

    /// An attribute, null when absent.
    pub fn get(&self, name: &str) -> &Value {
        self.attributes.get(name).unwrap_or(&Value::Null)
    }

    /// Every text in it: its names, and its attributes and those of its events, but for those whose names begin with one
    /// of `but`. Numbers, times and the ids of traces and spans are none.
    pub fn texts(&self, but: &[&str]) -> Vec<String> {
        let raw = &self.raw;
        let mut texts = vec![raw.name.clone(), raw.trace_state.clone()];
        texts.extend(raw.status.iter().map(|status| status.message.clone()));
        texts.extend(raw.events.iter().map(|event| event.name.clone()));
        let events = raw.events.iter().flat_map(|event| attributes(event.attributes.clone()));
        for (name, value) in self.attributes.clone().into_iter().chain(events) {
            if !but.iter().any(|but| name.starts_with(but)) {
                texts.push(name);
                self::texts(&value, &mut texts);
            }
        }
        texts
    }
}

fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            out.push(name.clone());
            texts(member, out);
        }),
        _ => {}
    }
}

/// An event: a log record with a name.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
}

/// A histogram of one export.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its series.
    pub points: Vec<Point>,
}

/// A point of a histogram.
#[derive(Clone, Debug)]
pub struct Point {
    /// The series' attributes.
    pub attributes: BTreeMap<String, Value>,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// The same.
    pub at: u64,
    /// Values recorded.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Values by bucket.
    pub counts: Vec<u64>,
    /// Upper bounds of the buckets but the last.
    pub bounds: Vec<f64>,
}

/// How a collector takes spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// All of them, at once.
    #[default]
    Well,
    /// None: it says so with this gRPC status.
    Refusing(i32),
    /// All, after so many milliseconds.
    Slow(u64),
    /// All but so many of a batch.
    Rejecting(i64),
}

/// A running collector; it ends with this value.
pub struct Collector {
    port: u16,
    store: Store,
    task: JoinHandle<()>,
}

/// The resource's instance, the metric's name and its attributes; the newest point of each is kept.
type Series = (String, String, String);

#[derive(Clone, Default)]
pub(super) struct Store {
    spans: Arc<Mutex<Vec<Span>>>,
    events: Arc<Mutex<Vec<Event>>>,
    exports: Arc<Mutex<usize>>,
    reports: Arc<Mutex<usize>>,
    metrics: Arc<Mutex<BTreeMap<Series, Metric>>>,
    mood: Arc<Mutex<Mood>>,
}

impl Collector {
    /// Listens on a port of its own.
    pub async fn start() -> Self {
        Self::on(0).await
    }

    /// Listens on this port; 0 is a free one.
    pub async fn on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let store = Store::default();
        let spans = TraceServiceServer::new(store.clone());
        let metrics = MetricsServiceServer::new(store.clone());
        let server = tonic::transport::Server::builder().add_service(spans).add_service(metrics);
        let server = server.add_service(LogsServiceServer::new(store.clone()));
        let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move {
            let _ = serving.await;
        });
        Self { port, store, task }
    }

    /// One that speaks OTLP/HTTP, with paths that begin with `prefix`. A refusal asks to be left alone for so many seconds,
    /// where there are some.
    pub async fn over_http(prefix: &str, pause: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let store = Store::default();
        let task = tokio::spawn(collector_http::serve(listener, store.clone(), prefix.to_owned(), pause));
        Self { port, store, task }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.store.spans.lock().map(|spans| spans.clone()).unwrap_or_default()
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.store.events.lock().map(|events| events.clone()).unwrap_or_default()
    }

    /// Those that `wanted` accepts.
    pub fn matching(&self, wanted: impl Fn(&Span) -> bool) -> Vec<Span> {
        let spans = self.store.spans.lock().expect("no test panics while it holds this");
        spans.iter().filter(|span| wanted(span)).cloned().collect()
    }

    /// How many `wanted` accepts.
    pub fn count(&self, wanted: impl Fn(&Span) -> bool) -> usize {
        let spans = self.store.spans.lock().expect("no test panics while it holds this");
        spans.iter().filter(|span| wanted(span)).count()
    }

    /// How it takes spans from now on; metrics are only ever slow.
    pub fn mood(&self, mood: Mood) {
        *self.store.mood.lock().expect("no test panics while it holds this") = mood;
    }

    /// The newest state of every series; each instance that exports has its own.
    pub fn metrics(&self) -> Vec<Metric> {
        let metrics = self.store.metrics.lock().expect("no test panics while it holds this");
        metrics.values().cloned().collect()
    }

    /// Calls with metrics so far.
    pub fn reports(&self) -> usize {
        self.store.reports.lock().map(|count| *count).unwrap_or_default()
    }

    /// Calls with spans so far.
    pub fn exports(&self) -> usize {
        self.store.exports.lock().map(|count| *count).unwrap_or_default()
    }

    /// Waits until there are `count` spans that `wanted` accepts and gives them.
    pub async fn wait(&self, count: usize, wanted: impl Fn(&Span) -> bool) -> Vec<Span> {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let spans: Vec<Span> = self.spans().into_iter().filter(|span| wanted(span)).collect();
            if spans.len() >= count {
                return spans;
            }
            assert!(Instant::now() < deadline, "{} of {count} spans came", spans.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tonic::async_trait]
impl TraceService for Store {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        *self.exports.lock().map_err(|_| Status::internal("poisoned"))? += 1;
        let mood = *self.mood.lock().map_err(|_| Status::internal("poisoned"))?;
        let mut rejected = 0;
        match mood {
            Mood::Well => {}
            Mood::Refusing(code) => return Err(Status::new(code.into(), "not now")),
            Mood::Slow(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Mood::Rejecting(count) => rejected = count,
        }
        let mut spans = self.spans.lock().map_err(|_| Status::internal("poisoned"))?;
        for resource in request.into_inner().resource_spans {
            let about = attributes(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
            for raw in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let attributes = attributes(raw.attributes.clone());
                spans.push(Span { raw, attributes, resource: about.clone() });
            }
        }
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: "full".into() };
        Ok(Response::new(ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) }))
    }
}

#[tonic::async_trait]
impl LogsService for Store {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mut events = self.events.lock().map_err(|_| Status::internal("poisoned"))?;
        let scopes = request.into_inner().resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        for record in scopes.flat_map(|scope| scope.log_records) {
            events.push(Event {
                name: record.event_name,
                trace_id: hex(&record.trace_id),
                span_id: hex(&record.span_id),
                attributes: attributes(record.attributes),
            });
        }
        Ok(Response::new(ExportLogsServiceResponse { partial_success: None }))
    }
}

#[tonic::async_trait]
impl MetricsService for Store {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        *self.reports.lock().map_err(|_| Status::internal("poisoned"))? += 1;
        let mood = *self.mood.lock().map_err(|_| Status::internal("poisoned"))?;
        if let Mood::Slow(ms) = mood {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        let mut series = self.metrics.lock().map_err(|_| Status::internal("poisoned"))?;
        for resource in request.into_inner().resource_metrics {
            let about = attributes(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
            let instance = about.get("service.instance.id").cloned().unwrap_or_default().to_string();
            for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                let Some(Data::Histogram(histogram)) = metric.data else {
                    return Err(Status::invalid_argument("only histograms are known here"));
                };
                if histogram.aggregation_temporality != 2 {
                    return Err(Status::invalid_argument("cumulative sums are wanted"));
                }
                for point in histogram.data_points {
                    let attributes = attributes(point.attributes);
                    let key = (instance.clone(), metric.name.clone(), json!(attributes).to_string());
                    let point = Point {
                        attributes,
                        start: point.start_time_unix_nano,
                        at: point.time_unix_nano,
                        count: point.count,
                        sum: point.sum.unwrap_or(f64::NAN),
                        counts: point.bucket_counts,
                        bounds: point.explicit_bounds,
                    };
                    let (name, unit) = (metric.name.clone(), metric.unit.clone());
                    series.insert(key, Metric { name, unit, points: vec![point] });
                }
            }
        }
        Ok(Response::new(ExportMetricsServiceResponse { partial_success: None }))
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

fn value(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        None => Value::Null,
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(yes)) => json!(yes),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::ArrayValue(list)) => list.values.into_iter().map(|item| self::value(Some(item))).collect(),
        Some(Any::KvlistValue(list)) => json!(attributes(list.values)),
        Some(Any::BytesValue(bytes)) => json!(hex(&bytes)),
        #[allow(unreachable_patterns, reason = "later versions of the protocol have more kinds")]
        Some(_) => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
