//! The record of one exchange: everything that its OpenTelemetry span says, filled in as it becomes known.

use weir_dialects::hub::Usage;

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
        for (to, from) in fresh.iter_mut().zip(a.to_be_bytes().into_iter().chain(b.to_be_bytes())) {
            *to = from;
        }
        // An id of zeros is invalid.
        let span = if *c == 0 { 1 } else { *c }.to_be_bytes();
        match header.and_then(parse) {
            Some((trace, parent, flags)) => Self { trace, parent: Some(parent), span, flags },
            None => Self { trace: fresh, parent: None, span, flags: 1 },
        }
    }

    /// The `traceparent` that this exchange hands on.
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
    let mut parts = header.trim().split('-');
    let version = unhex::<1>(parts.next()?)?;
    let (trace, parent, flags) =
        (unhex::<16>(parts.next()?)?, unhex::<8>(parts.next()?)?, unhex::<1>(parts.next()?)?);
    let valid = version != [0xff]
        && (version != [0] || parts.next().is_none())
        && trace.iter().any(|b| *b != 0)
        && parent.iter().any(|b| *b != 0);
    let [flags] = flags;
    valid.then_some((trace, parent, flags))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0u8; N];
    if text.len() != 2 * N || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = ((*high as char).to_digit(16)? * 16 + (*low as char).to_digit(16)?) as u8;
    }
    Some(out)
}

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
    /// `gen_ai.request.stop_sequences`.
    pub stop: Vec<String>,
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
