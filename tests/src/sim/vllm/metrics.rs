//! The engine behind the server: its queue, its prefix cache by block hash, its `vllm:*` metrics and the
//! ORCA header made from two of them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Model;
use crate::sim::book::{Entry, Outcome};
use crate::sim::reply::{Finish, Reply};
use crate::sim::rng::hash;

/// Tokens in one block of the prefix cache.
const BLOCK: usize = 16;
/// Blocks the cache holds; the oldest go first.
const BLOCKS: usize = 64 << 10;
const BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Clone, Default)]
struct Histogram {
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn observe(&mut self, value: f64) {
        self.counts.resize(BUCKETS.len(), 0);
        for (count, bound) in self.counts.iter_mut().zip(BUCKETS) {
            *count += u64::from(value <= *bound);
        }
        self.sum += value;
        self.count += 1;
    }
}

#[derive(Clone, Default)]
struct Series {
    running: u64,
    waiting: u64,
    queries: u64,
    hits: u64,
    prompt: u64,
    cached: u64,
    generated: u64,
    finished: BTreeMap<&'static str, u64>,
    first_token: Histogram,
    whole: Histogram,
}

#[derive(Default)]
struct State {
    series: BTreeMap<String, Series>,
    /// Tokens of the requests that run.
    held: u64,
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

pub struct Engine {
    seats: Arc<Semaphore>,
    state: Mutex<State>,
}

/// A running request's place; leaving it books its metrics.
pub struct Seat {
    engine: Arc<Engine>,
    model: String,
    prompt: u64,
    held: u64,
    cached: u64,
    entered: Instant,
    reason: &'static str,
    entry: Option<Entry>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A request in the queue; a client that leaves it takes it out.
struct Waiting<'a>(&'a Engine, &'a str);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with(self.1, |_, s| s.waiting -= 1);
    }
}

impl Engine {
    pub fn new(concurrency: usize) -> Self {
        Self { seats: Arc::new(Semaphore::new(concurrency.max(1))), state: Mutex::default() }
    }

    fn with<T>(&self, model: &str, change: impl FnOnce(&mut u64, &mut Series) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let State { series, held, .. } = &mut *state;
        change(held, series.entry(model.to_owned()).or_default())
    }

    pub async fn enter(self: Arc<Self>, model: &str, prompt: u32) -> Seat {
        self.with(model, |_, s| s.waiting += 1);
        let waiting = Waiting(&self, model);
        let permit = self.seats.clone().acquire_owned().await.ok();
        drop(waiting);
        let held = u64::from(prompt);
        self.with(model, |all, s| {
            s.running += 1;
            s.prompt += held;
            *all += held;
        });
        Seat {
            model: model.to_owned(),
            prompt: held,
            held,
            cached: 0,
            entered: Instant::now(),
            reason: "abort",
            entry: None,
            _permit: permit,
            engine: self,
        }
    }

    /// Tokens of the prompts that are in the prefix cache already; the whole prompts are in it afterwards. What another
    /// salt put there is not found.
    pub fn look_up(&self, prompts: &[Vec<u32>], salt: &str) -> u32 {
        let mut state = self.state.lock().unwrap();
        let mut cached = 0;
        for ids in prompts {
            let (mut hits, mut unbroken) = (0, true);
            let mut chain = if salt.is_empty() { 0 } else { hash(1, salt.as_bytes()) };
            for block in ids.chunks_exact(BLOCK) {
                let bytes: Vec<u8> = block.iter().flat_map(|id| id.to_le_bytes()).collect();
                chain = hash(chain, &bytes);
                if !state.known.insert(chain) {
                    hits += if unbroken { BLOCK } else { 0 };
                    continue;
                }
                unbroken = false;
                state.order.push_back(chain);
                if state.order.len() > BLOCKS
                    && let Some(old) = state.order.pop_front()
                {
                    state.known.remove(&old);
                }
            }
            // The last token is always computed, so a prompt is never cached whole.
            cached += hits.min(ids.len().saturating_sub(1) / BLOCK * BLOCK) as u32;
        }
        cached
    }

    fn load(&self) -> (f64, f64) {
        let state = self.state.lock().unwrap();
        let waiting: u64 = state.series.values().map(|s| s.waiting).sum();
        let capacity = (BLOCKS * BLOCK) as f64;
        ((state.held as f64 / capacity).min(1.0), waiting as f64)
    }

    /// `endpoint-load-metrics`, in the format asked for; none for another format.
    pub fn orca(&self, format: Option<&str>) -> Option<(String, String)> {
        let (cache, waiting) = self.load();
        let value = match format?.to_ascii_uppercase().as_str() {
            "TEXT" => format!(
                "TEXT named_metrics.kv_cache_usage_perc={cache:?}, named_metrics.num_requests_waiting={waiting:?}"
            ),
            "JSON" => {
                let metrics = json!({"kv_cache_usage_perc": cache, "num_requests_waiting": waiting});
                format!("JSON {}", json!({"named_metrics": metrics}))
            }
            _ => return None,
        };
        Some(("endpoint-load-metrics".into(), value))
    }

    /// The Prometheus text of `/metrics`.
    pub fn exposition(&self, models: &[Model]) -> String {
        let (cache, _) = self.load();
        let mut series = self.state.lock().unwrap().series.clone();
        for model in models.iter().filter(|m| m.name != "*") {
            series.entry(model.name.clone()).or_default();
        }
        let mut text = String::new();
        let mut write = |name: &str, kind: &str, value: &dyn Fn(&Series) -> Vec<(String, f64)>| {
            let _ = writeln!(text, "# HELP vllm:{name} Simulated.\n# TYPE vllm:{name} {kind}");
            for (model, one) in &series {
                let model = model.replace('\\', "\\\\").replace('"', "\\\"");
                for (label, value) in value(one) {
                    let (suffix, label) = label.split_once('|').unwrap_or(("", &label));
                    let _ = writeln!(
                        text,
                        "vllm:{name}{suffix}{{engine=\"0\",model_name=\"{model}\"{label}}} {value:?}"
                    );
                }
            }
        };
        let one = |value: u64| vec![(String::new(), value as f64)];
        write("num_requests_running", "gauge", &|s| one(s.running));
        write("num_requests_waiting", "gauge", &|s| one(s.waiting));
        write("kv_cache_usage_perc", "gauge", &|_| vec![(String::new(), cache)]);
        write("prefix_cache_queries_total", "counter", &|s| one(s.queries));
        write("prefix_cache_hits_total", "counter", &|s| one(s.hits));
        write("prompt_tokens_total", "counter", &|s| one(s.prompt));
        write("prompt_tokens_cached_total", "counter", &|s| one(s.cached));
        write("generation_tokens_total", "counter", &|s| one(s.generated));
        write("num_preemptions_total", "counter", &|_| one(0));
        write("request_success_total", "counter", &|s| {
            let counted = |reason: &&'static str| s.finished.get(*reason).copied().unwrap_or(0) as f64;
            ["stop", "length", "abort"]
                .iter()
                .map(|r| (format!(",finished_reason=\"{r}\""), counted(r)))
                .collect()
        });
        write("time_to_first_token_seconds", "histogram", &|s| buckets(&s.first_token));
        write("e2e_request_latency_seconds", "histogram", &|s| buckets(&s.whole));
        text
    }
}

/// `suffix|labels` and value of each line.
fn buckets(histogram: &Histogram) -> Vec<(String, f64)> {
    let at = |i: usize| histogram.counts.get(i).copied().unwrap_or(0) as f64;
    let mut lines: Vec<_> =
        BUCKETS.iter().enumerate().map(|(i, bound)| (format!("_bucket|,le=\"{bound:?}\""), at(i))).collect();
    lines.push(("_bucket|,le=\"+Inf\"".into(), histogram.count as f64));
    lines.push(("_sum|".into(), histogram.sum));
    lines.push(("_count|".into(), histogram.count as f64));
    lines
}

impl Seat {
    /// What will be generated, once it is known.
    pub fn plan(&mut self, entry: Entry, cached: u32, replies: &[Reply]) {
        let tokens: u64 = replies.iter().map(|r| u64::from(r.tokens())).sum();
        self.cached = u64::from(cached);
        self.held += tokens;
        self.reason = match replies.first().map(|r| &r.finish) {
            Some(Finish::Length) => "length",
            _ => "stop",
        };
        self.entry = Some(entry);
        let (prompt, cached) = (self.prompt, self.cached);
        self.engine.with(&self.model, |all, s| {
            *all += tokens;
            s.queries += prompt;
            s.hits += cached;
            s.cached += cached;
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let seen = self.entry.as_ref().map(|e| e.read(|r| (r.generated_tokens, r.outcome, r.first_byte_us)));
        let (generated, outcome, first) = seen.unwrap_or((0, Some(Outcome::Vanished), None));
        let whole = matches!(outcome, None | Some(Outcome::Answered));
        let reason = if whole { self.reason } else { "abort" };
        let (held, took) = (self.held, self.entered.elapsed().as_secs_f64());
        self.engine.with(&self.model, |all, s| {
            *all = all.saturating_sub(held);
            s.running -= 1;
            s.generated += u64::from(generated);
            *s.finished.entry(reason).or_default() += 1;
            s.whole.observe(took);
            if let Some(first) = first {
                s.first_token.observe(first as f64 / 1e6);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_cached_for_its_salt_alone() {
        let engine = Engine::new(1);
        let prompts = [(0..4 * BLOCK as u32).collect::<Vec<_>>()];
        let cached = ["", "a", "b", "", "a", "b"].map(|salt| engine.look_up(&prompts, salt) > 0);
        assert_eq!(cached, [false, false, false, true, true, true]);
    }
}
