//! Carries out what a machine asks for, on the effective context.

use weir_pipeline::cooling;
use weir_pipeline::feedback;
use weir_pipeline::io::{Ask, Effect, Now};

use crate::host::{self, Buffer, Call, Direction, Map};
use crate::lease::{Asked, Holds, HostData};
use crate::vm::Shared;

/// What became of the effects of one callback.
#[derive(Default)]
pub struct Outcome {
    /// The client has been answered here: nothing goes further.
    pub replied: bool,
    /// The ledger's answer, where it came at once.
    pub reserved: Option<Asked>,
    /// Questions that could not be.
    pub unasked: Vec<u32>,
    /// The same of what a stream asks for on its way.
    pub topped: Option<Asked>,
    /// Bytes that now stand in the place of what the response callback held.
    pub body: Option<usize>,
}

/// Carries out `effects` in order and empties the list.
pub fn run(
    effects: &mut Vec<Effect>,
    now: Now,
    context: u32,
    holds: &mut Holds,
    shared: &mut Shared,
) -> Outcome {
    let mut outcome = Outcome::default();
    for effect in effects.drain(..) {
        let done = match effect {
            Effect::SetRequestHeader(name, value) => host::set_header(Map::RequestHeaders, name, &value),
            Effect::RemoveRequestHeader(name) => host::remove_header(Map::RequestHeaders, &name),
            Effect::RequestHeaders(fields) => host::set_map(Map::RequestHeaders, &fields),
            Effect::RequestBody(bytes) => host::replace_buffer(Buffer::RequestBody, &bytes),
            Effect::State(key, value) => host::set_state(key, &value),
            Effect::SetResponseHeader(name, value) => host::set_header(Map::ResponseHeaders, name, &value),
            Effect::RemoveResponseHeader(name) => host::remove_header(Map::ResponseHeaders, name),
            Effect::ResponseBody(bytes) => {
                outcome.body = Some(bytes.len());
                host::replace_buffer(Buffer::ResponseBody, &bytes)
            }
            Effect::Reply(reply) => {
                outcome.replied = true;
                host::reply(reply.status, &reply.headers, &reply.body)
            }
            Effect::Reserve(needs) => {
                outcome.reserved = Some(shared.lease.reserve(now, context, &needs, holds));
                Ok(())
            }
            Effect::Try(needs) => {
                outcome.reserved = Some(shared.lease.attempt(now, context, &needs, holds));
                Ok(())
            }
            Effect::TopUp(needs) => {
                outcome.topped = Some(shared.lease.top_up(now, context, needs, holds));
                Ok(())
            }
            Effect::Ask(ask) => {
                match put(context, &ask) {
                    Ok(token) => shared.calls.push((token, context, ask.id)),
                    Err(_) => outcome.unasked.push(ask.id),
                }
                Ok(())
            }
            Effect::Learn(sample) => {
                shared.learn(&sample);
                Ok(())
            }
            Effect::Settle(settlement) => {
                shared.lease.settle(now, holds, &settlement);
                Ok(())
            }
            Effect::Emit(mut span) => {
                shared.telemetry.limit(&mut span.labels);
                shared.lease.spent(now, holds, &span);
                if shared.telemetry.exports() {
                    feedback::remember(&mut HostData, &span);
                }
                shared.telemetry.exchange(&span);
                Ok(())
            }
            Effect::Feedback(feedback) => {
                outcome.replied = true;
                let reply = shared.opinions.take(now, &feedback);
                host::reply(reply.status, &reply.headers, &reply.body)
            }
            Effect::Decided(record, placed) => {
                shared.decisions.push(now, &record, placed);
                Ok(())
            }
            Effect::Cut => host::close(Direction::Response),
            Effect::Cool(cool) => {
                cooling::tell(&mut HostData, cool, now);
                Ok(())
            }
        };
        if let Err(status) = done {
            host::log(
                host::Level::Error,
                &format!("weir: the host refused an effect with status {}", status.0),
            );
        }
    }
    outcome
}

fn put(context: u32, ask: &Ask) -> host::Result<Call> {
    let headers = [
        (":method", "POST".to_owned()),
        (":path", ask.path.clone()),
        (":authority", ask.authority.clone()),
        ("content-type", "application/json".to_owned()),
        ("accept", "application/json".to_owned()),
    ];
    host::http(context, &ask.cluster, &headers, &ask.body, ask.timeout_ms)
}
