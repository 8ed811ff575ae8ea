//! The first event of a stream in the client's own dialect: while it is held, an error in it still fails over.

use weir_dialects::hub::Failure;
use weir_dialects::{anthropic, bedrock, openai_chat, openai_responses};
use weir_wire::json::{self, Limits};
use weir_wire::{eventstream, sse};

use super::MAX_FIRST;
use crate::paths::Api;

pub(super) enum First {
    /// Not complete.
    Unknown,
    /// An event of an answer.
    Good,
    /// An error, or nothing at all.
    Failed(Failure),
}

/// Judges the first event of a stream in the client's dialect.
pub(super) fn judge_first(api: Api, body: &[u8], end: bool) -> First {
    let mut decoder = sse::Decoder::new(MAX_FIRST);
    let mut verdict = First::Unknown;
    if api.aws() {
        let mut frames = eventstream::Decoder::new(MAX_FIRST);
        let read = frames.push(body, &mut |frame| {
            let failure = bedrock::invoke::failure_of(frame);
            if matches!(verdict, First::Unknown) {
                verdict = failure.map_or(First::Good, First::Failed);
            }
        });
        if read.is_err() && matches!(verdict, First::Unknown) {
            return First::Failed(Failure::unreadable("the provider's stream cannot be read"));
        }
    } else {
        let _ = decoder.push(body, &mut |event| {
            if event.has_data && matches!(verdict, First::Unknown) && api == Api::OpenaiResponses {
                verdict = match openai_responses::first(&event.data) {
                    openai_responses::First::Nothing => First::Unknown,
                    openai_responses::First::Good => First::Good,
                    openai_responses::First::Failed(failure) => First::Failed(failure),
                };
            } else if event.has_data && matches!(verdict, First::Unknown) {
                let failure = if api.anthropic() {
                    anthropic::stream_failure(&event.data)
                } else {
                    stream_error(&event.data)
                };
                verdict = match failure {
                    Some(failure) => First::Failed(failure),
                    None => First::Good,
                };
            }
        });
    }
    if end && matches!(verdict, First::Unknown) {
        return First::Failed(Failure::unreadable("the provider's stream ended before its first event"));
    }
    verdict
}

/// The error that a stream's payload is, with the status it names or 503.
fn stream_error(payload: &[u8]) -> Option<Failure> {
    let chunk = openai_chat::read_chunk(payload).ok()?;
    if !chunk.error {
        return None;
    }
    let doc = json::parse(payload, &Limits::default()).ok()?;
    let code = doc.root().get("error").unwrap_or(doc.root()).get("code").and_then(json::Value::as_u64);
    let status = code.and_then(|c| u16::try_from(c).ok()).filter(|c| (400..600).contains(c)).unwrap_or(503);
    Some(openai_chat::decode_error(status, payload))
}
