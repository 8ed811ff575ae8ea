//! What Exchange decided, as Attempt reads it, and what a try reports back. Both travel in filter state.
//!
//! The plan carries everything that a try needs from the policy, so that a configuration update between the
//! two cannot mix versions. Not in here: credentials and addresses, which belong to the provider's cluster.

use weir_lease::Need;

use crate::budget::{decode_need, encode_need};
use crate::codec::{Reader, Writer};
use crate::paths::Api;

/// Filter state key of the [`Plan`].
pub const PLAN: &str = "plan";
/// Filter state key of the [`Report`].
pub const REPORT: &str = "report";
/// Filter state key that the route reads: how many tries have begun.
pub const TRIED: &str = "tried";
/// Filter state keys of the cluster slots that the route matches, first try first.
pub const SLOTS: [&str; 3] = ["s1", "s2", "s3"];

/// Request header that names the cluster where tries have no slots. The client's own is removed; each try writes
/// all headers anew, so no provider sees it.
pub const CLUSTER: &str = "x-weir-cluster";
/// Response header with which Envoy's router never retries.
pub const NO_RETRY: &str = "x-envoy-ratelimited";
/// Status by which a try tells the router that the next target's window is larger. No client sees it.
pub const TOO_LONG: u16 = 498;
/// Filter state key that a list's signer reads: the provider of this try.
pub const PROVIDER: &str = "provider";

/// While a module is replaced, one build's Exchange meets another's Attempt for a moment, and a plan that cannot
/// be read is a refused request. So fields are only ever appended: an earlier build passes over what it does not
/// know, and a later one has to do without it. A change of this number refuses requests.
const VERSION: u8 = 1;

/// Where one try goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leg {
    /// Name of the provider.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// Index of the target in the policy's model.
    pub target: u64,
    /// Bedrock is asked by InvokeModel.
    pub invoke: bool,
    /// What the policy gives this provider of the tenant: vLLM a cache salt, Bedrock members of `requestMetadata`.
    pub own: String,
}

/// What Exchange decided for one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Request id, also given to clients.
    pub id: String,
    /// The client's API.
    pub api: Api,
    /// The model name in the body, as the client wrote it.
    pub asked: String,
    /// Byte range of the model's JSON value in the body that leaves Exchange, quotes included.
    pub model_at: (u64, u64),
    /// Bytes of that body.
    pub body_len: u64,
    /// A streamed answer was asked.
    pub stream: bool,
    /// The stream should carry usage.
    pub include_usage: bool,
    /// Unix seconds of the request.
    pub created: u64,
    /// The W3C trace parent that a provider is handed.
    pub traceparent: String,
    /// The caller's W3C trace state, handed on as it came.
    pub tracestate: String,
    /// `:scheme` of the request.
    pub scheme: String,
    /// Tries in order.
    pub legs: Vec<Leg>,
    /// What each try that reached a provider may cost.
    pub needs: Vec<Need>,
    /// All tries are in one cluster, on an Envoy older than 1.39.
    pub one_cluster: bool,
    /// The client's own `anthropic-version` and `anthropic-beta`, for a provider of the same dialect.
    pub anthropic: (String, String),
    /// Milliseconds that Envoy gives the whole request, and each try until its first byte; 0 is no limit.
    pub limits: (u64, u64),
    /// Further headers for a provider of the client's own dialect, as `name: value` lines.
    pub extra: String,
    /// Milliseconds of silence after which an answer that has begun is given up; 0 is no limit.
    pub stall_ms: u64,
    /// Bit by leg: the one after it has a larger window.
    pub wider: u64,
    /// Repeats at one provider are limited to this share of the requests in flight, in hundredths of a percent.
    pub repeats: Option<u32>,
    /// Byte range of what the client itself says there, in the body that leaves Exchange; empty where it says nothing.
    pub own_at: (u64, u64),
}

impl Plan {
    /// Bytes for filter state.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(VERSION);
        w.bytes(self.id.as_bytes()).int(self.api as u64).bytes(self.asked.as_bytes());
        w.int(self.model_at.0).int(self.model_at.1).int(self.body_len);
        w.int(u64::from(self.stream)).int(u64::from(self.include_usage)).int(self.created);
        w.bytes(self.traceparent.as_bytes()).bytes(self.tracestate.as_bytes()).bytes(self.scheme.as_bytes());
        w.int(self.legs.len() as u64);
        for leg in &self.legs {
            w.bytes(leg.provider.as_bytes()).bytes(leg.model.as_bytes()).int(leg.target);
        }
        w.int(self.needs.len() as u64);
        for need in &self.needs {
            encode_need(need, &mut w);
        }
        let soft = self.needs.iter().enumerate().filter(|(_, need)| need.soft);
        let soft: u64 = soft.filter(|(at, _)| *at < 64).map(|(at, _)| 1 << at).sum();
        let (version, beta) = &self.anthropic;
        let headers = !(version.is_empty() && beta.is_empty());
        let invoke = self.legs.iter().enumerate().filter(|(_, leg)| leg.invoke);
        let invoke: u64 = invoke.filter(|(at, _)| *at < 64).map(|(at, _)| 1 << at).sum();
        let own = self.own_at != (0, 0) || self.legs.iter().any(|leg| !leg.own.is_empty());
        let failover = self.stall_ms > 0 || self.wider > 0 || self.repeats.is_some() || own;
        let aws = invoke != 0 || !self.extra.is_empty() || failover;
        let limits = aws || self.limits != (0, 0);
        if self.one_cluster || soft != 0 || headers || limits {
            w.int(u64::from(self.one_cluster));
        }
        if soft != 0 || headers || limits {
            w.int(soft);
        }
        if headers || limits {
            w.bytes(version.as_bytes()).bytes(beta.as_bytes());
        }
        if limits {
            w.int(self.limits.0).int(self.limits.1);
        }
        if aws {
            w.int(invoke).bytes(self.extra.as_bytes());
        }
        if failover {
            w.int(self.stall_ms).int(self.wider).int(self.repeats.map_or(0, |share| u64::from(share) + 1));
        }
        if own {
            w.int(self.own_at.0).int(self.own_at.1);
            for leg in &self.legs {
                w.bytes(leg.own.as_bytes());
            }
        }
        w.finish()
    }

    /// The plan in `bytes`; `None` when they are of another version or damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes, VERSION)?;
        let (id, api) = (r.str(), Api::from_code(r.int())?);
        let mut plan = Plan {
            id: id.to_owned(),
            api,
            asked: r.text(),
            model_at: (r.int(), r.int()),
            body_len: r.int(),
            stream: r.int() != 0,
            include_usage: r.int() != 0,
            created: r.int(),
            traceparent: r.text(),
            tracestate: r.text(),
            scheme: r.text(),
            ..Plan::default()
        };
        for _ in 0..r.int().min(16) {
            plan.legs.push(Leg { provider: r.text(), model: r.text(), target: r.int(), ..Leg::default() });
        }
        for _ in 0..r.int().min(64) {
            plan.needs.push(decode_need(&mut r)?);
        }
        r.whole()?;
        // From here on what an earlier build did not write is 0 or empty.
        plan.one_cluster = r.int() == 1;
        let soft = r.int();
        for (at, need) in plan.needs.iter_mut().enumerate().take(64) {
            need.soft = soft >> at & 1 == 1;
        }
        plan.anthropic = (r.text(), r.text());
        plan.limits = (r.int(), r.int());
        let invoke = r.int();
        for (at, leg) in plan.legs.iter_mut().enumerate() {
            leg.invoke = invoke >> at & 1 == 1;
        }
        plan.extra = r.text();
        plan.stall_ms = r.int();
        plan.wider = r.int();
        plan.repeats = r.int().checked_sub(1).and_then(|share| u32::try_from(share).ok());
        plan.own_at = (r.int(), r.int());
        plan.legs.iter_mut().for_each(|leg| leg.own = r.text());
        Some(plan)
    }
}

/// How far a try has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Progress {
    /// Begun; whether the provider has the request is not known.
    #[default]
    Begun = 0,
    /// The provider refused it by an error status: nothing is billed.
    Refused = 1,
    /// The provider answers.
    Answering = 2,
    /// The answer is complete.
    Complete = 3,
    /// The connection was never made: nothing is billed.
    Unreached = 4,
}

/// What the latest try says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of the try, from 1.
    pub attempt: u64,
    /// How far it has come.
    pub progress: Progress,
    /// Tries before this one whose bill is unknown; each was presumed spent in full.
    pub lost: u64,
    /// HTTP status that the provider gave, 0 before it did.
    pub status: u64,
    /// The provider's own request id.
    pub request_id: String,
    /// What the provider's dialect could not carry: `path: reason` lines.
    pub losses: String,
    /// Number of its leg, from 1, where the host chose it; 0 where it is that of the try.
    pub leg: u64,
    /// Its answer had begun and fell silent before anything of it was told.
    pub stalled: bool,
    /// The tries before this one: number of the leg, from 1, and the provider's status, 0 where it gave none.
    pub earlier: Vec<(u64, u64)>,
    /// The address that answered, `ip:port`.
    pub address: String,
}

impl Report {
    /// Bytes for filter state.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(VERSION);
        w.int(self.attempt).int(self.progress as u64).int(self.lost).int(self.status);
        w.bytes(self.request_id.as_bytes()).bytes(self.losses.as_bytes()).int(self.leg);
        w.int(u64::from(self.stalled)).int(self.earlier.len() as u64);
        for (leg, status) in &self.earlier {
            w.int(*leg).int(*status);
        }
        w.bytes(self.address.as_bytes());
        w.finish()
    }

    /// Index of the target that try number `attempt` went to: only its own report can know better than its number.
    pub fn target(&self, attempt: u64) -> usize {
        let leg = if self.leg > 0 && self.attempt == attempt { self.leg } else { attempt };
        usize::try_from(leg.saturating_sub(1)).unwrap_or(0)
    }

    /// The report in `bytes`; `None` when they are of another version or damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes, VERSION)?;
        let mut report = Report {
            attempt: r.int(),
            progress: match r.int() {
                0 => Progress::Begun,
                1 => Progress::Refused,
                2 => Progress::Answering,
                3 => Progress::Complete,
                4 => Progress::Unreached,
                _ => return None,
            },
            lost: r.int(),
            status: r.int(),
            request_id: r.text(),
            losses: r.text(),
            ..Report::default()
        };
        r.whole()?;
        // The same: an earlier build did not write it.
        report.leg = r.int();
        report.stalled = r.int() == 1;
        let earlier = r.int().min(16);
        for _ in 0..earlier {
            report.earlier.push((r.int(), r.int()));
        }
        if earlier > 0 {
            r.whole()?;
        }
        report.address = r.text();
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_and_a_report_survive_filter_state() {
        let plan = Plan {
            id: "req_1".into(),
            api: Api::OpenaiChat,
            asked: "gpt-4o-mini".into(),
            model_at: (10, 23),
            body_len: 99,
            stream: true,
            include_usage: true,
            created: 1_700_000_000,
            traceparent: "00-1-2-01".into(),
            tracestate: "a=b".into(),
            scheme: "https".into(),
            legs: vec![
                Leg { provider: "gpu".into(), model: "m".into(), target: 3, ..Leg::default() },
                Leg::default(),
            ],
            needs: Vec::new(),
            one_cluster: false,
            anthropic: Default::default(),
            limits: (0, 0),
            extra: String::new(),
            stall_ms: 0,
            wider: 0,
            repeats: None,
            own_at: (0, 0),
        };
        let bytes = plan.encode();
        assert_eq!(Plan::decode(&bytes).as_ref(), Some(&plan));
        for cut in 0..bytes.len() {
            assert_eq!(Plan::decode(&bytes[..cut]), None);
        }
        let plan = Plan { one_cluster: true, ..plan };
        assert_eq!(Plan::decode(&plan.encode()).as_ref(), Some(&plan));
        let plan = Plan { anthropic: ("2023-06-01".into(), "a,b".into()), ..plan };
        assert_eq!(Plan::decode(&plan.encode()).as_ref(), Some(&plan));
        let plan = Plan { limits: (60_000, 300), anthropic: Default::default(), ..plan };
        let bytes = plan.encode();
        assert_eq!(Plan::decode(&bytes).as_ref(), Some(&plan));
        let mut plan = plan;
        plan.extra = "x-a: b\n".into();
        if let Some(leg) = plan.legs.last_mut() {
            leg.invoke = true;
        }
        let bytes = plan.encode();
        assert_eq!(Plan::decode(&bytes).as_ref(), Some(&plan));
        // As a build before the failover's own limits wrote it, and as a later one may.
        let plan = Plan { stall_ms: 30_000, wider: 0b101, repeats: Some(0), ..plan };
        let bytes = plan.encode();
        assert_eq!(Plan::decode(&bytes).as_ref(), Some(&plan));
        let mut plan = plan;
        plan.own_at = (7, 9);
        if let Some(leg) = plan.legs.first_mut() {
            leg.own = "salt".into();
        }
        let bytes = plan.encode();
        assert_eq!(Plan::decode(&bytes).as_ref(), Some(&plan));
        assert_eq!(Plan::decode(&[bytes.as_slice(), b"\x04more"].concat()), Some(plan));
        let report = Report {
            attempt: 2,
            progress: Progress::Unreached,
            lost: 1,
            status: 503,
            leg: 1,
            stalled: true,
            earlier: vec![(1, 503), (3, 0)],
            address: "1.2.3.4:5".into(),
            ..Report::default()
        };
        let bytes = report.encode();
        assert_eq!(Report::decode(&bytes).as_ref(), Some(&report));
        // As builds wrote it before the address, and before the earlier tries.
        let report = Report { address: String::new(), ..report };
        assert_eq!(Report::decode(&bytes[..bytes.len() - 10]).as_ref(), Some(&report));
        let report = Report { earlier: Vec::new(), ..report };
        assert_eq!(Report::decode(&bytes[..bytes.len() - 16]), Some(report));
    }
}
