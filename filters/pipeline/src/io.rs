//! What goes into the two machines and what comes out: plain data, no host.
//!
//! A shell (the wasm module, a test, the playground) turns host callbacks into [`Input`]s, hands them to
//! [`Exchange::handle`](crate::Exchange::handle) or [`Attempt::handle`](crate::Attempt::handle) and carries
//! out the [`Effect`]s in order before it obeys the [`Step`].

use std::borrow::Cow;

use crate::budget::Settlement;
use crate::span::Span;

/// The host's clock at the time of the call: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

impl Now {
    /// Whole seconds since the Unix epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

/// Header fields in order, names in lower case, pseudo-headers included.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(pub &'a [(&'a [u8], &'a [u8])]);

impl<'a> Headers<'a> {
    /// The first value of `name`.
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(k, _)| *k == name.as_bytes()).map(|(_, v)| *v)
    }

    /// The first value of `name`, if it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.bytes(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// Every value of `name`.
    pub fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a [u8]> + 'b {
        self.0.iter().filter(move |(k, _)| *k == name.as_bytes()).map(|(_, v)| *v)
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Request headers are complete. `entropy` is fresh randomness for ids and weighted choices.
    RequestHeaders {
        /// The fields.
        headers: Headers<'a>,
        /// No body follows.
        end: bool,
        /// 256 random bits.
        entropy: [u64; 4],
    },
    /// The request body so far: the whole of it once `end` is set.
    RequestBody {
        /// Everything received so far. May be empty while `end` is unset: then only `size` counts.
        body: &'a [u8],
        /// Bytes received so far.
        size: usize,
        /// The body is complete.
        end: bool,
    },
    /// The answer to [`Effect::Reserve`].
    Reserved(Result<weir_lease::Granted, weir_lease::Refusal>),
    /// The answer to [`Effect::Ask`]: its status and body, or nothing where there is none.
    Asked {
        /// The question's number.
        id: u32,
        /// What came back.
        answer: Option<(u16, &'a [u8])>,
    },
    /// The answer to [`Effect::TopUp`].
    ToppedUp(Result<weir_lease::Granted, weir_lease::Refusal>),
    /// The answer to [`Effect::Try`] where too little is at hand.
    Short,
    /// Time has passed: what is silent for too long is given up.
    Tick,
    /// Response headers are complete.
    ResponseHeaders {
        /// The fields.
        headers: Headers<'a>,
        /// No body follows.
        end: bool,
        /// How the response came about.
        origin: Origin<'a>,
    },
    /// One piece of the response body.
    ResponseBody {
        /// Its bytes.
        chunk: &'a [u8],
        /// The body is complete.
        end: bool,
    },
    /// Response trailers have come: the body is complete.
    ResponseTrailers,
    /// The stream is over for the host, whatever came before. Always the last input, once.
    Done {
        /// What the last try left in filter state under [`crate::plan::REPORT`].
        report: Option<&'a [u8]>,
        /// The host's reason, such as `via_upstream` or `downstream_remote_disconnect`.
        details: &'a str,
    },
}

/// How a response came about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The host's reason: `via_upstream` for a provider's answer.
    pub details: &'a str,
    /// The upstream address, `ip:port`; empty where the report says it.
    pub address: &'a str,
    /// What the answering try left in filter state under [`crate::plan::REPORT`].
    pub report: Option<&'a [u8]>,
    /// Tries made, where the host was asked; 0 where the report says it.
    pub attempts: u64,
}

/// What the shell must do, in the order given.
#[derive(Debug)]
pub enum Effect {
    /// Set a request header, replacing all its values.
    SetRequestHeader(&'static str, String),
    /// Remove a request header.
    RemoveRequestHeader(Cow<'static, str>),
    /// Replace all request headers.
    RequestHeaders(Vec<(String, String)>),
    /// Replace the whole request body.
    RequestBody(Vec<u8>),
    /// Write filter state.
    State(&'static str, Vec<u8>),
    /// Set a response header.
    SetResponseHeader(&'static str, String),
    /// Remove a response header.
    RemoveResponseHeader(&'static str),
    /// Replace what the current response callback holds: the chunk, or the whole body where it was held.
    ResponseBody(Vec<u8>),
    /// Answer the client at once instead of going on.
    Reply(Reply),
    /// Ask for these amounts; answered by [`Input::Reserved`], which may follow at once.
    Reserve(Vec<weir_lease::Need>),
    /// As `Reserve`, but only if the lease at hand has plenty; else answered by [`Input::Short`].
    Try(Vec<weir_lease::Need>),
    /// Reserve these amounts too, while the stream goes on; answered by [`Input::ToppedUp`], which may follow at once.
    TopUp(Vec<weir_lease::Need>),
    /// Ask a detector outside; answered by [`Input::Asked`].
    Ask(Ask),
    /// Learn from what a provider reported.
    Learn(crate::learned::Sample),
    /// Give back what was reserved and book what was used.
    Settle(Settlement),
    /// Emit the exchange's record.
    Emit(Box<Span>),
    /// Find the answer that this scores, and answer the client.
    Feedback(Box<crate::feedback::Feedback>),
    /// Send this record to the decision log; whether it was promised a place.
    Decided(Vec<u8>, bool),
    /// Cut the upstream short: the client has been told why.
    Cut,
    /// Tell the process to leave a target alone.
    Cool(crate::cooling::Cool),
}

/// The effects that are asked for most, in one call each: built where they are asked for they are a good part of both
/// machines' code.
pub(crate) trait Effects {
    /// Sets a response header.
    fn respond(&mut self, name: &'static str, value: &str);
    /// Sets a response header to a number.
    fn respond_number(&mut self, name: &'static str, value: u64);
    /// Removes a response header.
    fn respond_without(&mut self, name: &'static str);
    /// Replaces what the response callback holds.
    fn respond_body(&mut self, bytes: Vec<u8>);
    /// Sets a request header.
    fn request(&mut self, name: &'static str, value: &str);
    /// Sets a request header to a number.
    fn request_number(&mut self, name: &'static str, value: u64);
}

impl Effects for Vec<Effect> {
    #[inline(never)]
    fn respond(&mut self, name: &'static str, value: &str) {
        self.push(Effect::SetResponseHeader(name, value.to_owned()));
    }

    #[inline(never)]
    fn respond_number(&mut self, name: &'static str, value: u64) {
        self.push(Effect::SetResponseHeader(name, value.to_string()));
    }

    #[inline(never)]
    fn respond_without(&mut self, name: &'static str) {
        self.push(Effect::RemoveResponseHeader(name));
    }

    #[inline(never)]
    fn respond_body(&mut self, bytes: Vec<u8>) {
        self.push(Effect::ResponseBody(bytes));
    }

    #[inline(never)]
    fn request(&mut self, name: &'static str, value: &str) {
        self.push(Effect::SetRequestHeader(name, value.to_owned()));
    }

    #[inline(never)]
    fn request_number(&mut self, name: &'static str, value: u64) {
        self.push(Effect::SetRequestHeader(name, value.to_string()));
    }
}

/// A question by HTTP, with JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its number, in this exchange.
    pub id: u32,
    /// Envoy cluster.
    pub cluster: String,
    /// `:authority`.
    pub authority: String,
    /// `:path` of a POST.
    pub path: String,
    /// The body.
    pub body: Vec<u8>,
    /// How long the answer may take, in milliseconds.
    pub timeout_ms: u32,
}

/// What the host does with the stream after a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hand on what has come.
    Continue,
    /// Keep what has come until the machine says otherwise.
    Pause,
}

/// A local answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header fields besides `content-length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body, in the client's dialect.
    pub body: Vec<u8>,
}
