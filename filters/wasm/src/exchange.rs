//! One downstream stream: host callbacks for the [`Exchange`] machine.

use std::rc::Rc;

use weir_pipeline::cooling::Cooling;
use weir_pipeline::io::{Effect, Headers, Input, Now, Origin, Step};
use weir_pipeline::plan::REPORT;
use weir_pipeline::{Exchange, Policy};

use crate::effects;
use crate::host::{self, Buffer, Direction, Map};
use crate::lease::{Asked, Decided, Holds, HostData};
use crate::vm::Shared;

/// Largest piece with which a place is opened for a stream's last word: Envoy holds it for a moment.
const MAX_HELD: usize = 256 << 10;

/// The address of the host that a request went to.
pub const ADDRESS: &str = "upstream\0address";

/// Largest answer of a detector outside, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// Whether the answer's last word has a place. Envoy takes bytes from a filter outside of a piece's callback only where
/// it holds a piece back; so the first piece is held until this VM is called again, which is at once, and every
/// later one is handed on by hand while the filter stays paused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Off,
    /// So many bytes are held, which the machine has seen.
    Opening(usize),
    On,
}

/// The stream.
pub struct ExchangeStream {
    context: u32,
    root: u32,
    machine: Exchange,
    effects: Vec<Effect>,
    holds: Holds,
    /// The client has been answered here; callbacks for that answer are not the provider's.
    replied: bool,
    /// Request bytes received, where the host hands them on piece by piece.
    size: usize,
    watch: Watch,
    /// What the host holds before the piece that the machine is at.
    kept: Vec<u8>,
    /// Bytes of the answer that the machine has seen and has the host keep.
    seen: usize,
    /// Bytes that the last callback left in the host's buffer in the piece's place.
    left: Option<usize>,
    /// Its decision record has a place.
    placed: bool,
    /// It was let in, and where that is noted until its end.
    sent: bool,
    slot: Option<u16>,
}

impl ExchangeStream {
    /// A stream under `policy`.
    pub fn new(context: u32, root: u32, policy: Option<Rc<Policy>>) -> Self {
        Self {
            context,
            root,
            machine: Exchange::new(policy),
            effects: Vec::new(),
            holds: Holds::default(),
            replied: false,
            size: 0,
            watch: Watch::Off,
            kept: Vec::new(),
            seen: 0,
            left: None,
            placed: false,
            sent: false,
            slot: None,
        }
    }

    fn feed(&mut self, now: Now, input: Input<'_>, shared: &mut Shared) -> Step {
        let mut step = self.machine.handle(now, input, &mut self.effects);
        if !self.placed && self.machine.has_place() {
            self.placed = true;
            shared.decisions.admit();
        }
        // A reservation that is granted at once is an input of its own; there is at most one a request.
        for _ in 0..4 {
            if !self.kept.is_empty() {
                for effect in &mut self.effects {
                    if let Effect::ResponseBody(bytes) = effect {
                        let mut whole = std::mem::take(&mut self.kept);
                        whole.append(bytes);
                        *bytes = whole;
                    }
                }
            }
            let outcome = effects::run(&mut self.effects, now, self.context, &mut self.holds, shared);
            self.replied |= outcome.replied;
            self.left = outcome.body.or(self.left);
            if !outcome.unasked.is_empty() && !self.replied {
                for id in outcome.unasked {
                    step = self.machine.handle(now, Input::Asked { id, answer: None }, &mut self.effects);
                }
                continue;
            }
            match outcome.reserved {
                Some(Asked::Now(answer)) => {
                    step = self.machine.handle(now, Input::Reserved(answer), &mut self.effects);
                }
                Some(Asked::Short) => step = self.machine.handle(now, Input::Short, &mut self.effects),
                Some(Asked::Later) => {
                    step = Step::Pause;
                    break;
                }
                None => match outcome.topped {
                    Some(Asked::Now(answer)) => {
                        self.machine.handle(now, Input::ToppedUp(answer), &mut self.effects);
                    }
                    _ => break,
                },
            }
        }
        if !self.sent && self.machine.sent() {
            self.sent = true;
            self.slot = shared.admitted(now, self.machine.span(), self.machine.is_logged());
        }
        self.machine.spent(host::now().saturating_sub(now.0));
        if self.replied { Step::Pause } else { step }
    }

    /// Request headers have come.
    pub fn request_headers(&mut self, end: bool, shared: &mut Shared) -> Step {
        let now = Now(host::now());
        let map = host::map(Map::RequestHeaders).unwrap_or_default();
        let fields = host::pairs(&map);
        let headers = Headers(&fields);
        #[cfg(feature = "planted-faults")]
        plant(&headers, "panic");
        let entropy = shared.entropy();
        self.feed(now, Input::RequestHeaders { headers, end, entropy }, shared)
    }

    /// Part of the request body has come. While it is held, `size` is all of it so far.
    pub fn request_body(&mut self, size: usize, end: bool, shared: &mut Shared) -> Step {
        if self.replied {
            return Step::Pause;
        }
        self.size = size;
        if !end && self.machine.waits(size) {
            return Step::Pause;
        }
        let now = Now(host::now());
        if end {
            self.machine.cooling(Cooling::read(&mut HostData));
            self.machine.decision_room(shared.decisions.room());
        }
        // Only the whole is looked at; until then its size is enough.
        let body =
            if end { host::buffer(Buffer::RequestBody, 0, size).unwrap_or_default() } else { Vec::new() };
        self.feed(now, Input::RequestBody { body: &body, size, end }, shared)
    }

    /// Request trailers have come, and with them the end of the body.
    pub fn request_trailers(&mut self, shared: &mut Shared) -> Step {
        self.request_body(self.size, true, shared)
    }

    /// The ledger has answered.
    pub fn reserved(&mut self, decided: Decided, shared: &mut Shared) {
        let answer = self.holds.take(decided);
        let step = self.feed(Now(host::now()), Input::Reserved(answer), shared);
        if step == Step::Continue && !self.replied {
            let _ = host::resume(Direction::Request);
        }
    }

    /// The ledger has answered what the stream asked for on its way.
    pub fn topped(&mut self, decided: Decided, shared: &mut Shared) {
        let answer = self.holds.add(decided);
        self.feed(Now(host::now()), Input::ToppedUp(answer), shared);
    }

    /// A detector outside has answered question `id` with a body of `size` bytes, or not at all.
    pub fn asked(&mut self, id: u32, size: usize, shared: &mut Shared) {
        let map = host::map(Map::CallAnswer).unwrap_or_default();
        let status = Headers(&host::pairs(&map)).get(":status").and_then(|status| status.parse().ok());
        let body = match status {
            Some(200) if size <= MAX_ANSWER => host::buffer(Buffer::CallBody, 0, size).unwrap_or_default(),
            _ => Vec::new(),
        };
        let answer = status.map(|status| (status, body.as_slice()));
        if host::act_on(self.context).is_ok()
            && self.feed(Now(host::now()), Input::Asked { id, answer }, shared) == Step::Continue
            && !self.replied
        {
            let _ = host::resume(Direction::Request);
        }
    }

    /// Response headers have come: the provider's, Envoy's own, or those of our own reply.
    pub fn response_headers(&mut self, end: bool, shared: &mut Shared) -> Step {
        if self.replied {
            return Step::Continue;
        }
        let now = Now(host::now());
        let map = host::map(Map::ResponseHeaders).unwrap_or_default();
        let fields = host::pairs(&map);
        let report = host::property(REPORT);
        let good = Headers(&fields).bytes(":status").and_then(<[u8]>::first).is_some_and(|c| *c < b'4');
        // Of a good answer its try has said whence it came.
        let (details, attempts, address) = if good && report.is_some() {
            ("via_upstream".into(), 0, String::new())
        } else {
            (text(host::property("response\0code_details")), attempts(), text(host::property(ADDRESS)))
        };
        let origin = Origin { details: &details, address: &address, report: report.as_deref(), attempts };
        self.feed(now, Input::ResponseHeaders { headers: Headers(&fields), end, origin }, shared)
    }

    /// Part of the response body has come.
    pub fn response_body(&mut self, size: usize, end: bool, shared: &mut Shared) -> Step {
        if self.replied {
            return Step::Continue;
        }
        let now = Now(host::now());
        let more = size.saturating_sub(self.seen);
        let chunk = if more == 0 {
            Vec::new()
        } else {
            host::buffer(Buffer::ResponseBody, self.seen, more).unwrap_or_default()
        };
        let before = if let Watch::Opening(held) = self.watch { held } else { 0 };
        let (seen, fresh) = chunk.split_at_checked(before).unwrap_or((&[], &chunk));
        self.kept = seen.to_vec();
        self.left = None;
        let step = self.feed(now, Input::ResponseBody { chunk: fresh, end }, shared);
        self.kept.clear();
        self.seen = if step == Step::Pause { self.left.unwrap_or(size) } else { 0 };
        self.held(step, self.left.unwrap_or(size), end, shared)
    }

    /// Where a place is kept for the stream's last word, the piece goes on by hand.
    fn held(&mut self, step: Step, size: usize, end: bool, shared: &mut Shared) -> Step {
        if end || self.replied || step == Step::Pause || !self.machine.watched() {
            self.watch = Watch::Off;
            return step;
        }
        match self.watch {
            Watch::Off if size == 0 || size > MAX_HELD => return Step::Continue,
            Watch::Off if !shared.ring(self.context, self.root) => return Step::Continue,
            Watch::Off | Watch::Opening(_) => self.watch = Watch::Opening(size),
            Watch::On if size > 0 => {
                let _ = host::resume(Direction::Response);
            }
            Watch::On => {}
        }
        Step::Pause
    }

    /// The VM is called again: what was held goes on.
    pub fn rung(&mut self) {
        if matches!(self.watch, Watch::Opening(_)) && host::act_on(self.context).is_ok() {
            self.watch = Watch::On;
            let _ = host::resume(Direction::Response);
        }
    }

    /// The answer is silent for too long.
    pub fn due(&self, now: Now) -> bool {
        !self.replied && !matches!(self.watch, Watch::Opening(_)) && self.machine.due(now)
    }

    /// Gives it up.
    pub fn tick(&mut self, now: Now, shared: &mut Shared) {
        if host::act_on(self.context).is_ok() && self.feed(now, Input::Tick, shared) == Step::Continue {
            let _ = host::resume(Direction::Response);
        }
    }

    /// Response trailers have come.
    pub fn response_trailers(&mut self, shared: &mut Shared) -> Step {
        if self.replied {
            return Step::Continue;
        }
        self.feed(Now(host::now()), Input::ResponseTrailers, shared)
    }

    /// The stream is over.
    pub fn done(&mut self, shared: &mut Shared) {
        let now = Now(host::now());
        let (report, details) = if self.replied || self.machine.complete() {
            (None, String::new())
        } else {
            (host::property(REPORT), text(host::property("response\0code_details")))
        };
        self.feed(now, Input::Done { report: report.as_deref(), details: &details }, shared);
        if let Some(slot) = self.slot.take() {
            shared.open.close(&mut HostData, slot);
        }
        // Whatever the machine did not settle is not known to have been spent by nobody.
        shared.lease.settle_rest(now, self.context, &mut self.holds);
    }
}

/// Tries that Envoy has made for the effective context's request.
pub fn attempts() -> u64 {
    host::property("upstream\0request_attempt_count")
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

/// A property that is text.
pub fn text(bytes: Option<Vec<u8>>) -> String {
    bytes.and_then(|b| String::from_utf8(b).ok()).unwrap_or_default()
}

/// Tests only: traps the VM where a request asks for it.
#[cfg(feature = "planted-faults")]
#[allow(clippy::panic, reason = "a planted fault is meant to trap")]
fn plant(headers: &Headers<'_>, fault: &str) {
    if headers.get("x-weir-plant") == Some(fault) {
        panic!("planted");
    }
}
