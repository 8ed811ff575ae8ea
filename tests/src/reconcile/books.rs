//! The four books laid side by side: what is equal to the token and the nano-dollar, what is at least, and what is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Plan;
use super::crowd::{self, LEAVES, Met, STAYS};
use super::stage::{Price, Stage};
use crate::harness::Collector;
use crate::harness::collector::Span;
use crate::sim::Record;

/// Tokens and nano-dollars.
pub type Bill = (u64, u64);

/// One tenant's figures.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Exchanges with a span.
    pub spans: u64,
    /// Of these, so many whose end nobody saw, so that a bound was charged.
    pub estimated: u64,
    /// What the spans say was charged.
    pub charged: Bill,
    /// What the providers' books say.
    pub billed: Bill,
    /// What the ledger says: settled, and still held.
    pub ledger: Bill,
    pub held: Bill,
    /// Requests that were sent on, by the spans, and by the ledger.
    pub sent: u64,
    pub ledger_requests: u64,
    /// Exchanges that the provider bills otherwise than their spans say, where the end was seen.
    pub unequal: u64,
    /// Exchanges that the provider bills higher than what was charged for them.
    pub above: u64,
    /// Providers' records of requests without a span.
    pub unspanned: u64,
}

/// What a run has shown.
#[derive(Debug, Default)]
pub struct Verdict {
    pub requests: u64,
    pub took: Duration,
    /// Requests without a span, and spans beyond the first of a request.
    pub missing: u64,
    pub twice: u64,
    /// Of no request of this run.
    pub strange: u64,
    pub stays: Group,
    pub leaves: Group,
    /// As the clients saw it: answered, refused, left, and those that wanted to leave too late.
    pub clients: [u64; 4],
    /// Envoy's counters of spans: sent, dropped, rejected.
    pub counters: [u64; 3],
    /// Some of what is wrong, in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Which promises were not kept.
    pub fn problems(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                all.push(what);
            }
        };
        must(self.missing == 0, format!("{} requests have no span", self.missing));
        must(self.twice == 0, format!("{} spans come a second time", self.twice));
        must(self.strange == 0, format!("{} spans are of no request", self.strange));
        for (name, group) in [(STAYS, &self.stays), (LEAVES, &self.leaves)] {
            let Group { charged, ledger, billed, held, .. } = group;
            must(charged == ledger, format!("{name}: spans say {charged:?}, the ledger {ledger:?}"));
            must(*held == (0, 0), format!("{name}: {held:?} still held"));
            must(group.unequal == 0, format!("{name}: {} bills differ from their spans", group.unequal));
            must(group.unspanned == 0, format!("{name}: {} bills without a span", group.unspanned));
            let (sent, requests) = (group.sent, group.ledger_requests);
            must(sent == requests, format!("{name}: {sent} requests were sent, the ledger says {requests}"));
            let covers = charged.0 >= billed.0 && charged.1 >= billed.1;
            must(covers, format!("{name}: {charged:?} charged is less than {billed:?} billed"));
        }
        must(self.stays.charged == self.stays.billed, format!("{STAYS}: not what providers bill"));
        must(self.stays.estimated == 0, format!("{STAYS}: {} were estimated", self.stays.estimated));
        all
    }

    /// All figures, for people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let [answered, refused, left, late] = self.clients;
        let _ = writeln!(
            out,
            "{} requests in {:.0} s: {answered} answered, {refused} refused or failed, {left} left, {late} ended \
             before they would have left. Spans: {} missing, {} twice, {} strange; Envoy counts {} sent, {} dropped, \
             {} rejected.\n",
            self.requests,
            self.took.as_secs_f64(),
            self.missing,
            self.twice,
            self.strange,
            self.counters[0],
            self.counters[1],
            self.counters[2],
        );
        out.push_str("| | clients that stay | clients that leave |\n|---|---|---|\n");
        let mut row = |name: &str, of: &dyn Fn(&Group) -> String| {
            let _ = writeln!(out, "| {name} | {} | {} |", of(&self.stays), of(&self.leaves));
        };
        let bill = |(tokens, nano): Bill| format!("{tokens} tokens, {nano} nano-USD");
        row("exchange spans", &|group| group.spans.to_string());
        row("charged by a bound, since nobody saw the end", &|group| group.estimated.to_string());
        row("spans", &|group| bill(group.charged));
        row("ledger", &|group| bill(group.ledger));
        row("providers' books", &|group| bill(group.billed));
        let more = |group: &Group| {
            let (charged, billed) = (group.charged, group.billed);
            bill((charged.0.saturating_sub(billed.0), charged.1.saturating_sub(billed.1)))
        };
        row("charged beyond what was billed", &more);
        row("single bills above their charge", &|group| group.above.to_string());
        for example in &self.examples {
            let _ = writeln!(out, "  {example}");
        }
        out
    }
}

/// Nano-dollars of one bill, rounded up once.
fn nano(record: &Record, Price(price): &Price) -> Bill {
    let (input, output) = (record.billed_prompt_tokens, record.billed_completion_tokens);
    let billed = input > 0;
    let (read, write) = if billed { (record.cached_tokens, record.cache_write_tokens) } else { (0, 0) };
    let plain = input - read - write;
    let pico: u128 = [plain, output, read, write]
        .iter()
        .zip(price)
        .map(|(tokens, price)| u128::from(*tokens) * u128::from(*price))
        .sum();
    (u64::from(input) + u64::from(output), u64::try_from(pico.div_ceil(1_000)).unwrap_or(u64::MAX))
}

/// The trace that a provider was asked under.
fn trace_of(record: &Record) -> Option<String> {
    record.header("traceparent")?.split('-').nth(1).map(str::to_owned)
}

pub async fn compare(
    plan: &Plan,
    stage: &Stage,
    collector: &Collector,
    met: &Met,
    took: Duration,
) -> Result<Verdict, String> {
    let get = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let mut verdict = Verdict {
        requests: plan.requests,
        took,
        clients: [get(&met.answered), get(&met.refused), get(&met.left), get(&met.too_late)],
        ..Verdict::default()
    };
    for (at, name) in ["sent", "dropped", "rejected"].iter().enumerate() {
        verdict.counters[at] = stage.envoy.stat(&format!("weir_spans_{name}_total")).await;
    }
    let mut bills: BTreeMap<String, Bill> = BTreeMap::new();
    for (server, price) in &stage.providers {
        for record in server.book().summaries() {
            let (tokens, cost) = nano(&record, price);
            let bill = bills.entry(trace_of(&record).unwrap_or_default()).or_default();
            *bill = (bill.0 + tokens, bill.1 + cost);
        }
    }
    let mut wanted: BTreeMap<String, bool> =
        (0..plan.requests).map(|number| (crowd::trace(plan, number), false)).collect();
    let mut example = |text: String| {
        if verdict.examples.len() < 12 {
            verdict.examples.push(text);
        }
    };
    for span in collector.matching(Span::is_exchange) {
        let trace = span.trace_id();
        match wanted.get_mut(&trace) {
            None => verdict.strange += 1,
            Some(seen) if *seen => {
                verdict.twice += 1;
                continue;
            }
            Some(seen) => *seen = true,
        }
        let group = if span.get("weir.tenant") == LEAVES { &mut verdict.leaves } else { &mut verdict.stays };
        let number = |name: &str| span.get(name).as_u64().unwrap_or(0);
        group.spans += 1;
        let estimated = span.get("weir.usage.source") == "estimated";
        group.estimated += u64::from(estimated);
        let tokens = match span.get("weir.usage.tokens.charged").as_u64() {
            Some(tokens) => tokens,
            None => number("gen_ai.usage.input_tokens") + number("gen_ai.usage.output_tokens"),
        };
        let charged = (tokens, number("weir.cost.usd_nano"));
        group.sent += u64::from(number("weir.attempts") > 0);
        group.charged = (group.charged.0 + charged.0, group.charged.1 + charged.1);
        let billed = bills.remove(&trace).unwrap_or_default();
        group.billed = (group.billed.0 + billed.0, group.billed.1 + billed.1);
        let above = billed.0 > charged.0 || billed.1 > charged.1;
        group.above += u64::from(above);
        let unequal = !estimated && billed != charged;
        group.unequal += u64::from(unequal);
        if above || unequal {
            let about = ["weir.target.provider", "error.type", "weir.usage.source", "weir.attempts"]
                .map(|name| span.get(name).to_string())
                .join(" ");
            example(format!("{trace} {about}: charged {charged:?}, billed {billed:?}"));
        }
    }
    for (trace, seen) in wanted.iter().filter(|(_, seen)| !**seen) {
        verdict.missing += u64::from(!seen);
        let billed = bills.get(trace).copied().unwrap_or_default();
        example(format!("{trace} has no span; billed {billed:?}"));
    }
    verdict.leaves.unspanned = bills.values().filter(|bill| bill.0 > 0).count() as u64;
    for (tenant, group) in [(STAYS, &mut verdict.stays), (LEAVES, &mut verdict.leaves)] {
        let (tokens, usd) = (stage.counter(tenant, "tokens").await?, stage.counter(tenant, "usd").await?);
        (group.ledger, group.held) = ((tokens.0, usd.0), (tokens.1, usd.1));
        group.ledger_requests = stage.counter(tenant, "requests").await?.0;
    }
    Ok(verdict)
}
