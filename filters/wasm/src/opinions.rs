//! Scores of answers on their way to the collector, as events.

use weir_pipeline::feedback::{self, Feedback, LOGS};
use weir_pipeline::io::{Now, Reply};
use weir_pipeline::paths::Api;
use weir_pipeline::refusal::Refusal;

use crate::host::Call;
use crate::lease::HostData;
use crate::spans::Telemetry;

/// Events that wait: when there are more, clients are told to come again.
const MOST: usize = 1024;
/// The pause after a failure, in nanoseconds.
const PAUSE: u64 = 1_000_000_000;

/// The events of a VM.
#[derive(Default)]
pub struct Opinions {
    waiting: Vec<Vec<u8>>,
    /// How many of them are on their way, and by which call.
    sending: Option<(Call, usize)>,
    not_before: u64,
}

impl Opinions {
    /// Takes a score, and says what the client is told.
    pub fn take(&mut self, now: Now, feedback: &Feedback) -> Reply {
        let taken = if self.waiting.len() < MOST {
            feedback.take(&mut HostData, now)
        } else {
            Err(Refusal::server(503, "feedback_unavailable", "scores cannot be kept now: try again later"))
        };
        match taken {
            Ok(event) => {
                self.waiting.push(event);
                feedback::accepted()
            }
            Err(refusal) => refusal.reply(Api::OpenaiChat),
        }
    }

    /// Sends what waits.
    pub fn tick(&mut self, now: Now, telemetry: &mut Telemetry) {
        if self.sending.is_none() && !self.waiting.is_empty() && now.0 >= self.not_before {
            self.sending = telemetry.call(&LOGS, &self.waiting).map(|call| (call, self.waiting.len()));
        }
    }

    /// Whether `call` was ours; if so it is settled.
    pub fn answer(&mut self, now: Now, call: Call, taken: bool) -> bool {
        let Some((_, sent)) = self.sending.take_if(|(sending, _)| *sending == call) else { return false };
        if taken {
            self.waiting.drain(..sent.min(self.waiting.len()));
        } else {
            self.not_before = now.0 + PAUSE;
        }
        true
    }
}
