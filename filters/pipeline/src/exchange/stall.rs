//! An answer that falls silent after its client has seen a part of it: the client is told so in its own dialect, and
//! then its connection is cut. It never ends as if it were whole, and never hangs.

use super::{Exchange, State};
use crate::answer::Answer;
use crate::io::{Effect, Effects, Now, Step};
use crate::plan::Report;
use crate::refusal::Refusal;

const MS: u64 = 1_000_000;

impl Exchange {
    /// The answer is a stream that may fall silent: the host keeps a place open for its last word.
    pub fn watched(&self) -> bool {
        matches!(&self.state, State::Sent(flight)
            if flight.plan.stall_ms > 0 && flight.heard > 0 && matches!(flight.answer, Answer::Stream(_)))
    }

    /// The time has come for [`Input::Tick`](crate::io::Input::Tick).
    pub fn due(&self, now: Now) -> bool {
        let State::Sent(flight) = &self.state else { return false };
        let limit = flight.plan.stall_ms.saturating_mul(MS);
        let silent = limit > 0 && flight.heard > 0 && now.0.saturating_sub(flight.heard) >= limit;
        flight.silenced || silent
    }

    /// Gives up an answer that is silent for too long. `Continue` hands on its last word; without one, or once it was
    /// said, the provider is cut off.
    pub(super) fn silent(&mut self, now: Now, effects: &mut Vec<Effect>) -> Step {
        if !self.due(now) {
            return Step::Pause;
        }
        let State::Sent(flight) = &mut self.state else { return Step::Pause };
        let before = std::mem::replace(&mut flight.silenced, true);
        let last = if before { Vec::new() } else { flight.answer.give_up() };
        if !flight.answer.complete() {
            self.span.error.get_or_insert_with(|| "timeout".into());
        }
        if last.is_empty() {
            effects.push(Effect::Cut);
            return Step::Pause;
        }
        effects.respond_body(last);
        Step::Continue
    }

    /// The last try's answer fell silent before its client saw any of it.
    pub(super) fn stalled(&mut self, report: Report, effects: &mut Vec<Effect>) -> Step {
        let State::Sent(flight) = &mut self.state else { return Step::Continue };
        let message =
            format!("the provider began to answer and was silent for {} ms: try again", flight.plan.stall_ms);
        flight.report = Some(report);
        let mut reply = Refusal::server(504, "provider_timeout", message).reply(flight.plan.api);
        self.span.status = reply.status;
        self.span.error = Some("timeout".into());
        self.show(&mut reply);
        effects.push(Effect::Reply(reply));
        Step::Pause
    }
}
