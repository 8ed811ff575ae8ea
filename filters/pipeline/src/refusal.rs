//! Why a request is refused, and the answer that says so in the client's dialect.

use std::ops::{Deref, DerefMut};

use weir_dialects::{anthropic, bedrock, openai_chat};

use crate::io::Reply;
use crate::paths::Api;

/// The header in which AWS's SDKs look for an error's class.
pub const ERROR_TYPE: &str = "x-amzn-errortype";

/// A refusal, before it is put into a dialect. One word wide, since every stage hands it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal(Box<Said>);

/// What a [`Refusal`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// HTTP status.
    pub status: u16,
    /// The SDK's word: `invalid_request_error`, `insufficient_quota`, `server_error`.
    pub kind: &'static str,
    /// Ours: `invalid_api_key`, `budget_exhausted`; stable, for programs.
    pub code: &'static str,
    /// For people: what is wrong and what to do next.
    pub message: String,
    /// The request's field that is at fault.
    pub param: Option<String>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Deref for Refusal {
    type Target = Said;

    fn deref(&self) -> &Said {
        &self.0
    }
}

impl DerefMut for Refusal {
    fn deref_mut(&mut self) -> &mut Said {
        &mut self.0
    }
}

impl Refusal {
    /// One of this kind.
    #[cold]
    #[inline(never)]
    pub fn new(status: u16, kind: &'static str, code: &'static str, message: &str) -> Self {
        Self(Box::new(Said { status, kind, code, message: message.to_owned(), ..Said::default() }))
    }

    /// A fault of the request.
    pub fn request(status: u16, code: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(status, "invalid_request_error", code, message.as_ref())
    }

    /// A refusal by policy.
    pub fn policy(code: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(403, "permission_error", code, message.as_ref())
    }

    /// A fault of ours or of the providers.
    pub fn server(status: u16, code: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(status, "server_error", code, message.as_ref())
    }

    /// Names the field at fault.
    #[inline(never)]
    pub fn at(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        self.add(name, value.as_ref());
        self
    }

    #[inline(never)]
    fn add(&mut self, name: &'static str, value: &str) {
        self.headers.push((name, value.to_owned()));
    }

    /// The answer to a client of this API.
    pub fn reply(&self, api: Api) -> Reply {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        headers.extend_from_slice(&self.headers);
        let (status, code, param) = (self.status, Some(self.code), self.param.as_deref());
        if api.aws() {
            let (status, class) = bedrock::class_of(status, self.kind, code);
            headers.push((ERROR_TYPE, class.to_owned()));
            return Reply { status, headers, body: bedrock::error(code, &self.message, param) };
        }
        let body = if api.anthropic() {
            anthropic::error(status, code, &self.message, param)
        } else {
            openai_chat::error(status, self.kind, code, &self.message, param)
        };
        // Said outright, so that no client hammers by a guess of its own.
        if api.anthropic() && !headers.iter().any(|(name, _)| *name == "x-should-retry") {
            let again = matches!(status, 408 | 429) || status >= 500;
            headers.push(("x-should-retry", again.to_string()));
        }
        Reply { status, headers, body }
    }
}
