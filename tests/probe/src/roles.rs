//! The roles. What they saw goes into response headers, where a test reads it.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

/// Does nothing; every callback is the trait's own.
pub struct Idle;

impl Context for Idle {}

impl HttpContext for Idle {}

/// Overwrites filter state: `v0` at request headers, then a greater number at each later callback.
/// The response header `x-read` lists what was read after each write up to the response headers.
#[derive(Default)]
pub struct Rewriter {
    writes: u32,
    read: String,
}

impl Rewriter {
    fn write(&mut self) {
        let value = format!("v{}", self.writes);
        self.writes += 1;
        self.set_property(vec!["probe"], Some(value.as_bytes()));
        let read = self.get_property(vec!["probe"]).unwrap_or_default();
        if !self.read.is_empty() {
            self.read.push(' ');
        }
        self.read.push_str(&String::from_utf8_lossy(&read));
    }
}

impl Context for Rewriter {}

impl HttpContext for Rewriter {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.write();
        Action::Continue
    }

    fn on_http_request_body(&mut self, _size: usize, end: bool) -> Action {
        if end {
            self.write();
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.write();
        self.set_http_response_header("x-read", Some(&self.read));
        Action::Continue
    }

    fn on_http_response_body(&mut self, _size: usize, end: bool) -> Action {
        if end {
            self.write();
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        self.write();
    }
}

/// Answers itself: 200 with `code=VERSION held=WHAT_SHARED_DATA_HELD`, then holds its own version.
pub struct Sharer {
    /// Which code this is.
    pub version: &'static str,
}

impl Context for Sharer {}

impl HttpContext for Sharer {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let (held, cas) = self.get_shared_data("probe.version");
        let held = held.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let wrote = self.set_shared_data("probe.version", Some(self.version.as_bytes()), cas).is_ok();
        let body = format!("code={} held={held} wrote={wrote}", self.version);
        self.send_http_response(200, vec![], Some(body.as_bytes()));
        Action::Pause
    }
}
