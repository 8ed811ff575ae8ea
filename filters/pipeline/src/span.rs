//! The record of one exchange: everything that its OpenTelemetry span says, filled in as it becomes known.

use weir_dialects::hub::Usage;
use weir_sorted::trim;

use crate::content::Content;
use crate::parts::Parts;

/// W3C trace context of one exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace id: the caller's, or a fresh one.
    pub trace: [u8; 16],
    /// The caller's span.
    pub parent: Option<[u8; 8]>,
    /// This exchange's span.
    pub span: [u8; 8],
    /// W3C trace flags.
    pub flags: u8,
}

impl TraceContext {
    /// Continues the caller's `traceparent`, or begins a trace. An invalid header begins a new one (W3C §3.2.2.2).
    pub fn continued(header: Option<&str>, entropy: &[u64; 4]) -> Self {
        let [a, b, c, _] = entropy;
        let mut fresh = [0u8; 16];
        let (first, last) = fresh.split_at_mut(8);
        first.copy_from_slice(&a.to_be_bytes());
        last.copy_from_slice(&b.to_be_bytes());
        // An id of zeros is invalid.
        let span = if *c == 0 { 1 } else { *c }.to_be_bytes();
        match header.and_then(parse) {
            Some((trace, parent, flags)) => Self { trace, parent: Some(parent), span, flags },
            None => Self { trace: fresh, parent: None, span, flags: 1 },
        }
    }

    /// A span of its own under the one that `traceparent` names. `None` where that is no valid one.
    pub fn under(traceparent: &str, entropy: u64) -> Option<Self> {
        let (trace, parent, flags) = parse(traceparent)?;
        Some(Self { trace, parent: Some(parent), span: entropy.max(1).to_be_bytes(), flags })
    }

    /// Decides whether the trace is sampled: as its caller says, else by a share of `hundredths` of a percent, by the
    /// bits of the trace id that W3C level 2 wants random.
    pub fn sample(&mut self, hundredths: Option<u32>) {
        if let (None, Some(share), [.., a, b, c, d]) = (self.parent, hundredths, self.trace) {
            let drawn = (u64::from(u32::from_be_bytes([a, b, c, d])) * 10_000) >> 32;
            self.flags = u8::from(drawn < u64::from(share));
        }
    }

    /// The trace is sampled.
    pub fn sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The `traceparent` that this span hands on.
    pub fn traceparent(&self) -> String {
        let mut out = String::with_capacity(55);
        out.push_str("00-");
        hex(&mut out, &self.trace);
        out.push('-');
        hex(&mut out, &self.span);
        out.push('-');
        hex(&mut out, &[self.flags]);
        out
    }
}

/// Appends lower-case hex.
pub fn hex(out: &mut String, bytes: &[u8]) {
    for b in bytes {
        for digit in [b >> 4, b & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

fn parse(header: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let mut parts = trim(header).split('-');
    let (mut version, mut trace, mut parent, mut flags) = ([0], [0; 16], [0; 8], [0]);
    for place in [&mut version[..], &mut trace, &mut parent, &mut flags] {
        unhex(parts.next()?, place)?;
    }
    let valid = version != [0xff]
        && (version != [0] || parts.next().is_none())
        && trace.iter().any(|b| *b != 0)
        && parent.iter().any(|b| *b != 0);
    let [flags] = flags;
    valid.then_some((trace, parent, flags))
}

fn unhex(text: &str, out: &mut [u8]) -> Option<()> {
    if text.len() != 2 * out.len() || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = ((*high as char).to_digit(16)? * 16 + (*low as char).to_digit(16)?) as u8;
    }
    Some(())
}

/// What the time of an exchange went to. The first is the filter's own computing, which is a part of the others: the
/// request's arrival, its admission (the ledger's answer awaited), the provider until it answers, the answer's way.
pub const STAGES: [&str; 5] =
    ["weir.time.own", "weir.time.request", "weir.time.admission", "weir.time.provider", "weir.time.answer"];

/// Where a usage figure comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// Nothing was counted.
    #[default]
    No,
    /// The provider reported it.
    Provider,
    /// Counted here, exactly or by the dialect's rule.
    Here,
    /// A bound, because the answer's end was not seen.
    Estimated,
}

impl Counted {
    /// For attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "none",
            Self::Provider => "provider",
            Self::Here => "counted",
            Self::Estimated => "estimated",
        }
    }
}

/// Something that happened at a moment of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    /// Its name.
    pub name: &'static str,
    /// Its only attribute.
    pub about: (&'static str, String),
}

/// Intervals between the pieces of a streamed answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// When the last piece came.
    pub last: u64,
    /// Nanoseconds in all.
    pub sum: u64,
    /// Intervals by bucket of [`crate::metrics::bucket`].
    pub buckets: [u32; crate::metrics::BUCKETS],
}

/// What a try came to, for the decision log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Provider name in the policy.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// HTTP status of the provider; 0 where it gave none.
    pub status: u64,
}

/// What one budget was asked for, for the decision log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charged {
    /// Name of the budget.
    pub budget: String,
    /// `tokens`, `requests` or `usd`.
    pub unit: &'static str,
    /// Held at most; USD in nano-USD.
    pub held: u64,
    /// Settled.
    pub used: Option<u64>,
}

/// One try at a provider: a span of its own under the exchange's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Try {
    /// Trace ids.
    pub context: TraceContext,
    /// The caller's `tracestate`.
    pub tracestate: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// The same.
    pub end: u64,
    /// From 1.
    pub number: u64,
    /// Provider name in the policy.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// `scheme://authority/path` of the request.
    pub url: String,
    /// `ip:port` of the provider.
    pub address: String,
    /// HTTP status of the provider; 0 where it gave none.
    pub status: u16,
    /// `error.type`; empty where the answer came whole.
    pub error: String,
}

/// The record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Request id, as clients see it.
    pub id: String,
    /// Trace ids.
    pub context: TraceContext,
    /// The caller's `tracestate`.
    pub tracestate: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// The same.
    pub end: u64,
    /// `gen_ai.operation.name`; empty where no operation was understood.
    pub operation: &'static str,
    /// `gen_ai.provider.name` of the target that answered, or of the first one.
    pub provider: String,
    /// What the client asked for.
    pub request_model: String,
    /// What the provider says it used.
    pub response_model: String,
    /// The provider's response id.
    pub response_id: String,
    /// One per choice.
    pub finish_reasons: Vec<String>,
    /// Tokens.
    pub usage: Usage,
    /// Where they come from.
    pub counted: Counted,
    /// What the prompt is made of.
    pub parts: Parts,
    /// Input tokens as counted before the request was sent.
    pub input_counted: Option<u64>,
    /// Input tokens that were reserved at most; 0 where nothing was measured.
    pub bound: u64,
    /// Where that bound comes from: `exact`, `calibrated`, `bytes` or `context`.
    pub basis: &'static str,
    /// Nano-USD.
    pub cost_nano: Option<u64>,
    /// A streamed answer was asked.
    pub stream: bool,
    /// Nanoseconds from the request to the first piece of the answer.
    pub first_chunk: Option<u64>,
    /// Nanoseconds of each of [`STAGES`].
    pub stages: [u64; STAGES.len()],
    /// HTTP status that the client got; 0 when it went before one.
    pub status: u16,
    /// `error.type`: the status, a refusal's code, or an abort.
    pub error: Option<String>,
    /// `ip:port` of the provider.
    pub address: String,
    /// Integer parameters of the request by attribute name.
    pub ints: Vec<(&'static str, i64)>,
    /// Floating-point parameters of the request by attribute name.
    pub floats: Vec<(&'static str, f64)>,
    /// Attributes of the request that are words.
    pub words: Vec<(&'static str, String)>,
    /// `gen_ai.request.stop_sequences`.
    pub stop: Vec<String>,
    /// Ids of documents that the application says it brought.
    pub documents: Vec<String>,
    /// What happened when.
    pub events: Vec<Event>,
    /// How the stream came.
    pub pace: Pace,
    /// Tenant.
    pub tenant: String,
    /// Key id.
    pub key: String,
    /// Labels that the policy wants as attributes.
    pub labels: Vec<(String, String)>,
    /// Policy version.
    pub policy: String,
    /// Route that chose the model.
    pub route: String,
    /// The policy's name of the model that was chosen.
    pub model: String,
    /// Provider name in the policy.
    pub target: String,
    /// The provider's name of the model.
    pub target_model: String,
    /// Tries made.
    pub attempts: u64,
    /// Findings by type.
    pub findings: Vec<(String, u64)>,
    /// What a dialect could not carry.
    pub losses: String,
    /// The budget that had too little left, and the model that serves instead.
    pub downgrade: Option<(String, String)>,
    /// What each try came to, where the decision log keeps the exchange.
    pub tries: Vec<Tried>,
    /// What budgets were asked for, there too.
    pub charged: Vec<Charged>,
    /// What was said, where the policy wants it.
    pub content: Option<Box<Content>>,
}

impl Span {
    /// The service tier that was asked for; empty where none was.
    pub fn tier(&self) -> &str {
        self.words.iter().find(|(key, _)| *key == "openai.request.service_tier").map_or("", |(_, tier)| tier)
    }

    /// A new one. It is large, and handed on boxed.
    #[inline(never)]
    pub fn boxed() -> Box<Self> {
        Box::default()
    }

    /// Notes that something happens.
    pub fn note(&mut self, at: u64, name: &'static str, key: &'static str, value: &str) {
        // A request has a handful; what repeats itself must not grow.
        if self.events.len() < 16 {
            self.events.push(Event { at, name, about: (key, value.to_owned()) });
        }
    }

    /// It belongs into the trace: sampled, or worth it in any case, as what costs more nano-USD than `above` is.
    pub fn kept(&self, above: Option<u64>) -> bool {
        let dear = || above.is_some_and(|above| self.cost_nano > Some(above));
        self.context.sampled() || self.error.is_some() || self.attempts > 1 || dear()
    }
}

impl Pace {
    /// Another piece came, `now`.
    pub fn piece(&mut self, now: u64) {
        let nanos = now.saturating_sub(self.last);
        self.sum = self.sum.saturating_add(nanos);
        if let Some(bucket) = self.buckets.get_mut(crate::metrics::bucket(nanos)) {
            *bucket = bucket.saturating_add(1);
        }
    }
}

impl Try {
    /// It belongs into the trace: sampled, or worth it in any case.
    pub fn kept(&self) -> bool {
        self.context.sampled() || !self.error.is_empty() || self.number > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_decides_on_sampling_and_else_the_share() {
        let header = |flags| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{flags}");
        for (flags, share) in [(0, Some(10_000)), (1, Some(0)), (0, None), (1, None)] {
            let mut context = TraceContext::continued(Some(&header(flags)), &[1, 2, 3, 4]);
            context.sample(share);
            assert_eq!(context.sampled(), flags == 1, "{share:?}");
        }
        let sampled = |share: Option<u32>| {
            let draw = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let traces = (1..=10_000).map(|n| TraceContext::continued(None, &[1, draw(n), 3, 4]));
            traces
                .filter_map(|mut trace| {
                    trace.sample(share);
                    trace.sampled().then_some(())
                })
                .count()
        };
        assert_eq!((sampled(None), sampled(Some(10_000)), sampled(Some(0))), (10_000, 10_000, 0));
        assert!(sampled(Some(2_500)).abs_diff(2_500) < 100, "{}", sampled(Some(2_500)));
        assert!(sampled(Some(1)) < 10);
    }

    #[test]
    fn what_is_not_sampled_is_kept_where_it_failed_was_tried_again_or_cost_more() {
        let span = || Span { cost_nano: Some(500), attempts: 1, ..Span::default() };
        assert_eq!(
            [None, Some(0), Some(499), Some(500), Some(u64::MAX)].map(|above| span().kept(above)),
            [false, true, true, false, false]
        );
        // What has no price has no cost that could be above.
        assert!(!Span { cost_nano: None, ..span() }.kept(Some(0)));
        assert!(Span { error: Some("timeout".into()), ..span() }.kept(None));
        assert!(Span { attempts: 2, ..span() }.kept(None));
    }

    #[test]
    fn a_try_is_a_span_under_the_exchanges() {
        let exchange = TraceContext::continued(None, &[1, 2, 3, 4]);
        let one = TraceContext::under(&exchange.traceparent(), 9).unwrap();
        assert_eq!(
            (one.trace, one.parent, one.span),
            (exchange.trace, Some(exchange.span), 9u64.to_be_bytes())
        );
        assert_eq!(TraceContext::under("nonsense", 9), None);
        assert_eq!(TraceContext::under(&exchange.traceparent(), 0).unwrap().span, 1u64.to_be_bytes());
    }

    #[test]
    fn a_valid_traceparent_is_continued() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::continued(Some(header), &[1, 2, 3, 4]);
        assert_eq!(context.traceparent(), "00-0af7651916cd43dd8448eb211c80319c-0000000000000003-01");
        assert_eq!(context.parent, Some([0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]));
    }

    #[test]
    fn an_invalid_traceparent_begins_a_trace() {
        for header in [
            None,
            Some(""),
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"),
            Some("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
            Some("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
            Some("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"),
        ] {
            let context = TraceContext::continued(header, &[1, 2, 3, 4]);
            assert_eq!(context.parent, None, "{header:?}");
            assert_eq!(context.traceparent(), "00-00000000000000010000000000000002-0000000000000003-01");
        }
    }
}
