//! What the span of a try says once it is over.

use weir_sorted::contains;

use super::{Attempt, Outgoing};
use crate::io::Now;
use crate::plan::{Plan, Progress};
use crate::span::Try;

impl Attempt {
    /// What the try's span says, once it is over. `whole` says that the answer came to its end, `details` what the host
    /// says of the exchange at that moment.
    pub fn record(&self, now: Now, whole: bool, details: &str) -> Option<Try> {
        let plan = self.plan.as_ref()?;
        let context = self.context?;
        let error = match (self.request, self.report.progress) {
            (Outgoing::Refused, _) => "not_sent".to_owned(),
            (_, Progress::Refused) if self.answered >= 400 => self.answered.to_string(),
            // 200, and an error in the first frame.
            (_, Progress::Refused) => self.report.status.to_string(),
            (_, Progress::Unreached) => "connect_failed".to_owned(),
            _ if whole => String::new(),
            _ => self.cut(now, plan, details).to_owned(),
        };
        let leg = self.leg();
        Some(Try {
            context,
            tracestate: plan.tracestate.clone(),
            start: self.start,
            end: now.0,
            number: self.report.attempt,
            provider: self.config.provider.clone(),
            model: leg.map(|leg| leg.model.clone()).unwrap_or_default(),
            url: self.url.clone(),
            address: self.report.address.clone(),
            status: self.answered,
            error,
        })
    }

    /// Why there is no whole answer: the client went, as the host says; or time was up, which the host will only say
    /// later; else the provider reset it.
    fn cut(&self, now: Now, plan: &Plan, details: &str) -> &'static str {
        const MS: u64 = 1_000_000;
        const SLACK: u64 = 100 * MS;
        // The request's beginning is known by the second.
        let due = |since: u64, limit: u64, within: u64| {
            let late = (now.0 + SLACK).saturating_sub(since).checked_sub(limit.saturating_mul(MS));
            limit > 0 && late.is_some_and(|late| late < within)
        };
        if contains(details, "downstream") || contains(details, "remote_reset") {
            "cancelled"
        } else if (self.answered == 0 && due(self.start, plan.limits.1, 1_000 * MS))
            || due(plan.created.saturating_mul(1_000 * MS), plan.limits.0, 2_000 * MS)
        {
            "timeout"
        } else {
            "upstream_reset"
        }
    }
}
