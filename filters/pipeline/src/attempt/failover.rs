//! What one try does for the next: a target that throttles is left to cool, an answer that falls silent before
//! anything of it was told is given up, a prompt that is too long goes on to a larger window, and a repeat at the same
//! provider asks whether there are too many of them already.

use weir_dialects::hub::Failure;
use weir_sorted::contains;

use super::{Attempt, Incoming, Outgoing};
use crate::cooling;
use crate::io::{Effect, Effects, Headers, Now, Step};
use crate::plan::{NO_RETRY, TOO_LONG};

const MS: u64 = 1_000_000;

/// The provider has too much to do: 529 is what Anthropic says when it, not the client, has.
fn throttles(status: u16) -> bool {
    matches!(status, 429 | 529)
}

/// The prompt and what may be answered do not fit into the model's window.
fn too_long(failure: &Failure) -> bool {
    failure.code.as_deref() == Some("context_length_exceeded")
        || (matches!(failure.status, 400 | 413) && contains(&failure.message, "maximum context length"))
}

impl Attempt {
    /// The share of the requests in flight that repeats may be, where this try is one: the same provider was tried
    /// before. What goes to another provider burdens nobody twice.
    pub fn repeats(&self) -> Option<u32> {
        let share = self.plan.as_ref()?.repeats?;
        let own = usize::try_from(self.report.attempt.saturating_sub(1)).unwrap_or(0);
        let before = self.plan.as_ref()?.legs.get(..own).unwrap_or_default();
        before.iter().any(|leg| leg.provider == self.config.provider).then_some(share)
    }

    /// There are too many repeats: this one is not sent.
    pub fn forbid(&mut self) {
        self.forbidden = true;
    }

    /// The leg after this one has a larger window, and the router can still be told to go there.
    pub(super) fn widens(&self) -> bool {
        let at = self.report.target(self.report.attempt);
        let wider = |plan: &crate::plan::Plan| {
            !plan.one_cluster && plan.wider.checked_shr(at as u32).is_some_and(|bits| bits & 1 == 1)
        };
        !self.last_leg() && self.plan.as_ref().is_some_and(wider)
    }

    /// Tells the router to go on where a prompt is too long for this target.
    pub(super) fn go_wider(&self, failure: &Failure, effects: &mut Vec<Effect>) {
        if self.widens() && too_long(failure) {
            effects.respond_number(":status", u64::from(TOO_LONG));
        }
    }

    /// Leaves this target alone for as long as its answer asks.
    pub(super) fn cool(&self, status: u16, headers: &Headers<'_>, now: Now, effects: &mut Vec<Effect>) {
        // A model that is still being loaded says 429 too, and is not served any faster by others.
        let loading = headers.get("x-amzn-errortype").is_some_and(|class| class.starts_with("ModelNotReady"));
        let unavailable = status == 503 && headers.get("retry-after").is_some();
        if (throttles(status) || unavailable)
            && !loading
            && let Some(leg) = self.leg()
        {
            let target = cooling::target(&leg.provider, &leg.model);
            let cool = cooling::asked(target, headers, now);
            let at = self.report.target(self.report.attempt) + 1;
            let next = self.plan.as_ref().and_then(|plan| plan.legs.get(at));
            if cool.told && next.is_some_and(|next| next.provider == leg.provider && next.model == leg.model)
            {
                // It asks for a pause, which the client can make and a repeat cannot.
                effects.respond(NO_RETRY, "true");
            }
            effects.push(Effect::Cool(cool));
        }
    }

    /// The same for a failure in the first frame, which has no headers.
    pub(super) fn cool_failure(&self, failure: &Failure, effects: &mut Vec<Effect>) {
        if throttles(failure.status) {
            self.cool(failure.status, &Headers(&[]), self.now, effects);
        }
    }

    /// The time has come for [`Input::Tick`](crate::io::Input::Tick): a whole answer has begun, none of it was handed
    /// on, and it is silent. A stream that has not begun is the first byte's business.
    pub fn due(&self, now: Now) -> bool {
        let limit = self.plan.as_ref().map_or(0, |plan| plan.stall_ms);
        limit > 0
            && matches!(self.response, Incoming::Held | Incoming::Whole { .. } | Incoming::Judged { .. })
            && now.0.saturating_sub(self.heard) >= limit.saturating_mul(MS)
    }

    /// Gives the answer up. Whether it will be billed nobody knows, so it stays presumed spent.
    pub(super) fn silent(&mut self, effects: &mut Vec<Effect>) -> Step {
        if self.request != Outgoing::Sent || !self.due(self.now) {
            return Step::Pause;
        }
        self.report.stalled = true;
        self.report.status = 504;
        self.tell(effects);
        effects.respond(":status", "504");
        if self.plan.as_ref().is_some_and(|p| p.one_cluster) {
            effects.respond(NO_RETRY, "true");
        }
        self.response = Incoming::Pass;
        Step::Continue
    }
}
