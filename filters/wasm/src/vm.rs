//! One VM: its plugins (root contexts), its streams, and what they share.

use std::cell::RefCell;
use std::rc::Rc;

use weir_pipeline::Policy;
use weir_pipeline::config;
use weir_pipeline::io::{Now, Step};
use weir_pipeline::learned::{self, Learned, Sample};
use weir_pipeline::lost::Open;
use weir_pipeline::record;
use weir_pipeline::repeats::InFlight;
use weir_pipeline::span::Span;
use weir_sorted::{Gather, Map};

use crate::attempt::{AttemptStream, Provider};
use crate::decisions::Decisions;
use crate::exchange::ExchangeStream;
use crate::host::{self, Call};
use crate::lease::{HostData, Lease, TOP_UP};
use crate::opinions::Opinions;
use crate::spans::Telemetry;

/// A plugin instance.
enum Root {
    /// Not configured yet, or for a role that does not exist.
    None,
    /// The client's side. Without a policy every request is refused.
    Exchange(Option<Rc<Policy>>),
    /// The providers' side of one cluster.
    Attempt(Provider),
}

/// A stream of one of the two machines.
enum Stream {
    Exchange(Box<ExchangeStream>),
    Attempt(Box<AttemptStream>),
}

/// What the streams of a VM share.
pub struct Shared {
    /// Client of the budget ledger.
    pub lease: Lease,
    /// Spans, metrics and statistics on their way.
    pub telemetry: Telemetry,
    /// Decision records on theirs.
    pub decisions: Decisions,
    /// Scores of answers on theirs.
    pub opinions: Opinions,
    /// What would be lost with this VM.
    pub open: Open,
    /// What the providers of unknown vocabularies taught.
    learned: Rc<RefCell<Learned>>,
    random: [u64; 4],
    /// Requests, and how many of them are repeats.
    pub in_flight: InFlight,
    /// Repeats are limited: the other workers are told what is in flight.
    limited: bool,
    /// The queue by which this VM calls itself, and the plugin that is called.
    bell: Option<(u32, u32)>,
    /// Streams that wait for it.
    rings: Vec<u32>,
    /// HTTP calls of streams in flight: the stream, and its number for it.
    pub calls: Vec<(Call, u32, u32)>,
    /// When silent streams were last looked for, in nanoseconds.
    swept: u64,
}

/// How often silent streams are looked for, in nanoseconds.
const SWEEP: u64 = 50_000_000;

/// The VM.
pub struct Vm {
    /// A handful, so that a search is a walk.
    roots: Vec<(u32, Root)>,
    streams: Map<u32, Stream>,
    shared: Shared,
}

thread_local! {
    static VM: RefCell<Option<Box<Vm>>> = const { RefCell::new(None) };
}

/// Runs a callback on the VM. Should the host ever call in from inside a host call, `otherwise` is the answer.
pub fn with<R>(otherwise: R, mut callback: impl FnMut(&mut Vm) -> R) -> R {
    let mut answer = otherwise;
    enter(&mut |vm| answer = callback(vm));
    answer
}

/// The way in, once for all callbacks.
#[inline(never)]
fn enter(callback: &mut dyn FnMut(&mut Vm)) {
    VM.with(|vm| match vm.try_borrow_mut() {
        Ok(mut vm) => callback(vm.get_or_insert_with(Vm::new)),
        Err(_) => host::log(host::Level::Error, "weir: a callback inside a host call was not served"),
    });
}

impl Shared {
    /// Takes in what a provider reported, and what its neighbours learned.
    pub fn learn(&mut self, sample: &Sample) {
        if let Some(cell) = learned::learn(&mut HostData, sample) {
            self.learned.borrow_mut().put(cell);
        }
    }

    /// One repeat more at a provider, if the share allows it.
    pub fn repeat(&mut self, now: Now, share: u32) -> bool {
        self.named();
        self.in_flight.repeat(&mut HostData, now, share)
    }

    /// Tells what VMs that are gone left open, and that this one lives.
    fn bury(&mut self, now: Now) {
        self.named();
        for lost in self.open.tick(&mut HostData, now, self.in_flight.vm()) {
            if lost.logged {
                self.decisions.push(now, &record::encode(&lost.span, true), false);
            }
            self.telemetry.exchange(&lost.span);
        }
    }

    /// Notes that an exchange is let in; where.
    pub fn admitted(&mut self, now: Now, span: &Span, logged: bool) -> Option<u16> {
        if !self.telemetry.exports() {
            return None;
        }
        if !self.open.known() {
            // Before the first tick.
            self.bury(now);
        }
        self.open.open(&mut HostData, span, logged)
    }

    fn named(&mut self) {
        if !self.in_flight.known() {
            let [name, ..] = self.entropy();
            self.in_flight.name(name);
        }
    }

    /// Has the stream called again at once, by a queue of this VM's own.
    pub fn ring(&mut self, context: u32, root: u32) -> bool {
        let bell = match self.bell {
            Some((of, bell)) if of == root => bell,
            _ => {
                self.named();
                let Ok(bell) = host::bell(&self.in_flight.queue()) else { return false };
                self.bell = Some((root, bell));
                bell
            }
        };
        let first = self.rings.is_empty();
        self.rings.push(context);
        if first && host::ring(bell).is_err() {
            self.rings.clear();
            return false;
        }
        true
    }

    /// 256 fresh random bits: xoshiro256++, seeded once from the host.
    pub fn entropy(&mut self) -> [u64; 4] {
        if self.random == [0; 4] {
            self.random = host::entropy();
        }
        std::array::from_fn(|_| self.next())
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.random;
        let out = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c2, d2) = (c ^ a, d ^ b);
        self.random = [a ^ d2, b ^ c2, c2 ^ (b << 17), d2.rotate_left(45)];
        out
    }
}

impl Vm {
    #[inline(never)]
    fn new() -> Box<Self> {
        let shared = Shared {
            lease: Lease::new(),
            telemetry: Telemetry::default(),
            decisions: Decisions::default(),
            opinions: Opinions::default(),
            open: Open::default(),
            learned: Rc::default(),
            random: [0; 4],
            in_flight: InFlight::default(),
            limited: false,
            bell: None,
            rings: Vec::new(),
            calls: Vec::new(),
            swept: 0,
        };
        Box::new(Self { roots: Vec::new(), streams: Map::new(), shared })
    }

    /// A context begins: a plugin (`root` 0) or a stream of one.
    pub fn create(&mut self, context: u32, root: u32) {
        if root == 0 {
            self.set_root(context, Root::None);
            return;
        }
        let stream = match self.roots.iter().find(|(of, _)| *of == root).map(|(_, root)| root) {
            Some(Root::Attempt(provider)) => {
                Stream::Attempt(Box::new(AttemptStream::new(context, root, provider.clone())))
            }
            // Without a role every request is refused: never a pass.
            other => {
                let policy = match other {
                    Some(Root::Exchange(policy)) => policy.clone(),
                    _ => None,
                };
                Stream::Exchange(Box::new(ExchangeStream::new(context, root, policy)))
            }
        };
        if matches!(stream, Stream::Exchange(_)) {
            self.shared.in_flight.request(1);
        }
        self.streams.insert(context, stream);
    }

    fn set_root(&mut self, context: u32, root: Root) {
        match self.roots.iter_mut().find(|(of, _)| *of == context) {
            Some((_, old)) => *old = root,
            None => self.roots.push((context, root)),
        }
    }

    /// A plugin receives its configuration; `false` refuses it and Envoy keeps the last good one.
    pub fn configure(&mut self, root: u32, size: usize) -> bool {
        let role = host::property("plugin_root_id").unwrap_or_default();
        let bytes = if size == 0 {
            Vec::new()
        } else {
            host::buffer(host::Buffer::Configuration, 0, size).unwrap_or_default()
        };
        match self.configured(&role, &bytes, root) {
            Ok(configured) => {
                self.set_root(root, configured);
                true
            }
            Err(why) => {
                let role = String::from_utf8(role).unwrap_or_default();
                host::log(host::Level::Error, &format!("weir: configuration of `{role}` refused: {why}"));
                false
            }
        }
    }

    fn configured(&mut self, role: &[u8], bytes: &[u8], root: u32) -> Result<Root, String> {
        match role {
            b"exchange" if bytes.is_empty() => Ok(Root::Exchange(None)),
            b"exchange" => {
                let config = config::exchange(bytes).map_err(|e| e.to_string())?;
                let mut policy = Policy::new(config).map_err(|e| e.to_string())?;
                policy.learned = self.shared.learned.clone();
                self.shared.telemetry.configure(&policy.config.telemetry, root);
                self.shared.decisions.configure(policy.config.telemetry.decisions.as_ref(), root);
                self.shared.lease.configure(policy.config.ledger.as_ref(), root);
                self.shared.limited = policy.config.retry.budget.is_some();
                let tick = if policy.config.ledger.is_some() { 20 } else { 100 };
                host::tick_every(tick).map_err(|e| format!("no tick: status {}", e.0))?;
                Ok(Root::Exchange(Some(Rc::new(policy))))
            }
            b"attempt" | b"attempts" if bytes.is_empty() => {
                Err("an attempt filter needs its provider's configuration".into())
            }
            b"attempt" => {
                let config = config::attempt(bytes).map_err(|e| e.to_string())?;
                Ok(Root::Attempt(Provider::One(Rc::new(config))))
            }
            b"attempts" => {
                let config = config::attempts(bytes).map_err(|e| e.to_string())?;
                Ok(Root::Attempt(Provider::OfHost(config.providers.into_iter().map(Rc::new).collect())))
            }
            other => Err(format!(
                "root_id `{}` is none of `exchange`, `attempt`, `attempts`",
                std::str::from_utf8(other).unwrap_or_default()
            )),
        }
    }

    /// Time passes on a plugin.
    pub fn tick(&mut self, root: u32) {
        let now = Now(host::now());
        self.shared.telemetry.statistics.lease(self.shared.lease.counted());
        self.shared.telemetry.tick(now, root);
        self.shared.lease.tick(now, root, &mut self.shared.random);
        self.shared.decisions.tick(now, root);
        self.shared.opinions.tick(now, &mut self.shared.telemetry);
        self.shared.bury(now);
        self.wake(now);
        if now.0.saturating_sub(self.shared.swept) >= SWEEP {
            self.shared.swept = now.0;
            self.sweep(now);
        }
    }

    /// Gives up what is silent for too long, and tells the other workers what is in flight.
    fn sweep(&mut self, now: Now) {
        if self.shared.limited {
            self.shared.named();
            self.shared.in_flight.tell(&mut HostData, now);
        }
        // Should a call have been lost, as when its plugin was replaced.
        self.ring_out();
        let due = |stream: &Stream| match stream {
            Stream::Exchange(s) => s.due(now),
            Stream::Attempt(s) => s.due(now),
        };
        let due: Vec<u32> =
            self.streams.iter().filter(|(_, stream)| due(stream)).map(|(context, _)| *context).gather();
        for context in due {
            match self.streams.get_mut(&context) {
                Some(Stream::Exchange(s)) => s.tick(now, &mut self.shared),
                Some(Stream::Attempt(s)) => s.tick(now, &mut self.shared),
                None => {}
            }
        }
    }

    /// The VM called itself.
    pub fn rung(&mut self, bell: u32) {
        for _ in 0..64 {
            if !host::rung(bell) {
                break;
            }
        }
        self.ring_out();
    }

    fn ring_out(&mut self) {
        for context in std::mem::take(&mut self.shared.rings) {
            if let Some(Stream::Exchange(s)) = self.streams.get_mut(&context) {
                s.rung();
            }
        }
    }

    /// A gRPC call ended: a message of `size` bytes, or a status.
    pub fn grpc_answer(&mut self, token: u32, answer: Result<usize, u32>) {
        let message = answer.map(|size| host::buffer(host::Buffer::GrpcMessage, 0, size).unwrap_or_default());
        host::ended((false, token));
        self.answered(Now(host::now()), (false, token), message);
    }

    /// An HTTP call ended with a body of `size` bytes. The host says to which plugin it belongs, not to which stream.
    pub fn http_answer(&mut self, token: u32, size: usize) {
        let call = (true, token);
        host::ended(call);
        let calls = &mut self.shared.calls;
        let Some(at) = calls.iter().position(|(of, ..)| *of == call) else {
            let now = Now(host::now());
            let message = self.shared.telemetry.heard(now, call, size);
            self.answered(now, call, message);
            return;
        };
        let (_, context, id) = calls.swap_remove(at);
        if let Some(Stream::Exchange(s)) = self.streams.get_mut(&context) {
            s.asked(id, size, &mut self.shared);
        }
    }

    /// A call to the control plane or the collector ended; whose it was is settled.
    fn answered(&mut self, now: Now, call: Call, answer: Result<Vec<u8>, u32>) {
        let shared = &mut self.shared;
        if shared.decisions.answer(now, call, answer.is_ok())
            || shared.telemetry.answer(now, call, &answer)
            || shared.opinions.answer(now, call, answer.is_ok())
        {
            return;
        }
        shared.lease.answer(now, call, answer);
        self.wake(now);
    }

    /// Tells streams that waited for the ledger what it said.
    fn wake(&mut self, now: Now) {
        // Each outcome may let another request finish and free what a third waits for, hence the bounded loop.
        for _ in 0..16 {
            let woken = self.shared.lease.woken();
            if woken.is_empty() {
                return;
            }
            for (waiter, outcome) in woken {
                let Ok(context) = u32::try_from(waiter & !TOP_UP) else { continue };
                if host::act_on(context).is_err() {
                    continue;
                }
                match self.streams.get_mut(&context) {
                    Some(Stream::Exchange(s)) if waiter & TOP_UP != 0 => s.topped(outcome, &mut self.shared),
                    Some(Stream::Exchange(s)) => s.reserved(outcome, &mut self.shared),
                    Some(Stream::Attempt(s)) => s.reserved(now, outcome, &mut self.shared),
                    // The stream is gone: what was held for it goes back.
                    None => self.shared.lease.abandon(now, outcome),
                }
            }
        }
    }

    /// Request headers have come.
    pub fn request_headers(&mut self, context: u32, end: bool) -> Step {
        match self.streams.get_mut(&context) {
            Some(Stream::Exchange(s)) => s.request_headers(end, &mut self.shared),
            Some(Stream::Attempt(s)) => s.request_headers(end, &mut self.shared),
            None => Step::Pause,
        }
    }

    /// Part of the request body has come.
    pub fn request_body(&mut self, context: u32, size: usize, end: bool) -> Step {
        match self.streams.get_mut(&context) {
            Some(Stream::Exchange(s)) => s.request_body(size, end, &mut self.shared),
            Some(Stream::Attempt(s)) => s.request_body(size, end, &mut self.shared),
            None => Step::Pause,
        }
    }

    /// Request trailers have come: the body is complete.
    pub fn request_trailers(&mut self, context: u32) -> Step {
        match self.streams.get_mut(&context) {
            Some(Stream::Exchange(s)) => s.request_trailers(&mut self.shared),
            Some(Stream::Attempt(s)) => s.request_trailers(&mut self.shared),
            None => Step::Pause,
        }
    }

    /// Response headers have come.
    pub fn response_headers(&mut self, context: u32, end: bool) -> Step {
        match self.streams.get_mut(&context) {
            Some(Stream::Exchange(s)) => s.response_headers(end, &mut self.shared),
            Some(Stream::Attempt(s)) => s.response_headers(end, &mut self.shared),
            None => Step::Continue,
        }
    }

    /// Part of the response body has come.
    pub fn response_body(&mut self, context: u32, size: usize, end: bool) -> Step {
        match self.streams.get_mut(&context) {
            Some(Stream::Exchange(s)) => s.response_body(size, end, &mut self.shared),
            Some(Stream::Attempt(s)) => s.response_body(size, end, &mut self.shared),
            None => Step::Continue,
        }
    }

    /// Response trailers have come: the body is complete.
    pub fn response_trailers(&mut self, context: u32) -> Step {
        match self.streams.get_mut(&context) {
            Some(Stream::Exchange(s)) => s.response_trailers(&mut self.shared),
            Some(Stream::Attempt(s)) => s.response_trailers(&mut self.shared),
            None => Step::Continue,
        }
    }

    /// A stream is over; for upstream filters the last callback before deletion.
    pub fn done(&mut self, context: u32) {
        if let Some(Stream::Attempt(s)) = self.streams.get_mut(&context) {
            s.done(&mut self.shared);
        }
    }

    /// A downstream stream is over and its access log line is about to be written.
    pub fn log(&mut self, context: u32) {
        if let Some(Stream::Exchange(s)) = self.streams.get_mut(&context) {
            s.done(&mut self.shared);
        }
    }

    /// A context ends.
    pub fn delete(&mut self, context: u32) {
        if let Some(Stream::Exchange(_)) = self.streams.remove(&context) {
            self.shared.in_flight.request(-1);
        }
        weir_sorted::keep(&mut self.roots, |(of, _)| *of != context);
        for call in host::cut_off(context) {
            weir_sorted::keep(&mut self.shared.calls, |(of, ..)| *of != call);
            self.answered(Now(host::now()), call, Err(host::UNAVAILABLE));
        }
    }
}
