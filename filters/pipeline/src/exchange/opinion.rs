//! A score of an earlier answer: told apart as any request is, and taken by the host, which remembers answers.

use super::{Exchange, State};
use crate::feedback::{Feedback, MAX_BODY};
use crate::identity;
use crate::io::{Effect, Headers, Now, Step};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::sigv4::Signed;

/// Whose score is awaited.
pub(super) struct Opinion {
    tenant: String,
    signed: Option<Signed>,
}

impl Exchange {
    /// Headers of a score.
    pub(super) fn opinion(
        &mut self,
        policy: &Policy,
        headers: &Headers<'_>,
        now: Now,
    ) -> Result<Step, Refusal> {
        if headers.get(":method") != Some("POST") {
            return Err(
                Refusal::request(405, "method_not_allowed", "use POST for this path").header("allow", "POST")
            );
        }
        let (caller, signed) = identity::identify(policy, headers, now)?;
        self.state = State::Opinion(Box::new(Opinion { tenant: caller.name, signed }));
        Ok(Step::Pause)
    }

    /// Its body.
    pub(super) fn scored(
        &mut self,
        opinion: Box<Opinion>,
        body: &[u8],
        size: usize,
        end: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<Step, Refusal> {
        if size as u64 > MAX_BODY {
            return Err(Refusal::request(413, "request_too_large", "a score has at most 4096 bytes"));
        }
        if !end {
            self.state = State::Opinion(opinion);
            return Ok(Step::Pause);
        }
        if let Some(signed) = &opinion.signed {
            signed.verify(body).map_err(identity::unsigned)?;
        }
        let feedback = Feedback::read(body, &opinion.tenant)?;
        self.state = State::Refused;
        effects.push(Effect::Feedback(Box::new(feedback)));
        Ok(Step::Pause)
    }
}
