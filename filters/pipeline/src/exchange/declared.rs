//! What an application says of a request for its span alone: who its end user is, shown as a digest by the tenant's own
//! key, and which documents it has put into the prompt. None of it decides anything.

use weir_sorted::trim;
use weir_wire::json::Value;

use super::Exchange;
use crate::io::Headers;
use crate::policy::{Caller, Policy};
use crate::sigv4::hmac;
use crate::span::hex;
use crate::trace::Stage;

/// Most bytes of what names an end user: more is no name.
const MOST_USER: usize = 1024;
/// Bytes of the digest that are shown.
const SHOWN: usize = 16;
const USER: &str = "weir.user.hash";
/// Documents that a span names at most, and bytes of an id.
const MOST_DOCUMENTS: usize = 32;
const MOST_ID: usize = 128;
/// The longest time that is believed, in milliseconds: a day.
const MOST_MS: u64 = 86_400_000;

impl Exchange {
    /// Takes what the headers say.
    pub(super) fn declared(&mut self, policy: &Policy, caller: &Caller, headers: &Headers<'_>) {
        let telemetry = &policy.config.telemetry;
        if let Some(user) = headers.get(&telemetry.user_header) {
            self.end_user(policy, caller, user);
        }
        if !telemetry.retrieval {
            return;
        }
        let mut omitted = 0i64;
        for id in headers.all("x-weir-documents").flat_map(|ids| ids.split(|byte| *byte == b',')) {
            let id = id.trim_ascii();
            let usable = id.len() <= MOST_ID && id.iter().all(u8::is_ascii_graphic);
            match std::str::from_utf8(id) {
                Ok("") => {}
                Ok(id) if usable && self.span.documents.len() < MOST_DOCUMENTS => {
                    self.span.documents.push(id.to_owned());
                }
                _ => omitted += 1,
            }
        }
        if omitted > 0 {
            self.span.ints.push(("weir.retrieval.documents.omitted", omitted));
        }
        let took = headers.get("x-weir-retrieval-ms").and_then(|ms| trim(ms).parse::<u64>().ok());
        if let Some(ms) = took.filter(|ms| *ms <= MOST_MS) {
            self.span.floats.push(("weir.retrieval.duration", ms as f64 / 1e3));
        }
    }

    /// Takes what the body says of its end user, where no header has.
    pub(super) fn end_user_in(&mut self, policy: &Policy, caller: &Caller, body: Value<'_, '_>) {
        let named = ["safety_identifier", "user"].iter().find_map(|name| body.get(name));
        let named = named.or_else(|| body.get("metadata")?.get("user_id"));
        if let Some(user) = named.and_then(|user| user.as_str()) {
            self.end_user(policy, caller, &user);
        }
    }

    fn end_user(&mut self, policy: &Policy, caller: &Caller, user: &str) {
        let key = policy.tenant(caller).map(|tenant| tenant.user_key.as_bytes()).unwrap_or_default();
        let user = trim(user).as_bytes();
        let known = self.span.words.iter().any(|(name, _)| *name == USER);
        if key.is_empty() || known || user.is_empty() || user.len() > MOST_USER {
            return;
        }
        let digest = hmac(key, &[user]);
        let mut shown = String::with_capacity(2 * SHOWN);
        hex(&mut shown, digest.get(..SHOWN).unwrap_or_default());
        self.trace.note(Stage::Identity, || format!("end user {shown}"));
        self.span.words.push((USER, shown));
    }
}
