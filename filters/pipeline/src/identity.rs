//! Who calls: the first configured credential that is present decides; a bad one is refused, never tried further.

use sha2::{Digest, Sha256};

use crate::io::{Headers, Now};
use crate::policy::{Caller, Policy};
use crate::refusal::Refusal;

/// Finds the caller of a request.
pub fn identify(policy: &Policy, headers: &Headers<'_>, now: Now) -> Result<Caller, Refusal> {
    for source in &policy.config.identity.from {
        let mut values = headers.all(&source.header);
        let Some(value) = values.next() else { continue };
        // Hosts join the values of a repeated header by commas; no key holds one.
        if values.next().is_some() || value.contains(&b',') {
            return Err(unauthorized(
                "multiple_api_keys",
                format!("the header `{}` is sent more than once: send one key", source.header),
            ));
        }
        let Some(key) = key_in(value, source.scheme.as_deref()) else {
            return Err(unauthorized("invalid_api_key", expected(&source.header, source.scheme.as_deref())));
        };
        let hash: [u8; 32] = Sha256::digest(key).into();
        return match policy.caller(&hash, now) {
            Some(Ok(caller)) => Ok(caller),
            Some(Err(id)) => Err(unauthorized(
                "expired_api_key",
                format!("the API key `{id}` has expired: ask for a new one"),
            )),
            None => {
                Err(unauthorized("invalid_api_key", "the API key is not known to this gateway".to_owned()))
            }
        };
    }
    if let Some(caller) = policy.anonymous() {
        return Ok(caller);
    }
    let how = policy.config.identity.from.first().map_or_else(
        || "the policy names no way to identify callers".to_owned(),
        |s| expected(&s.header, s.scheme.as_deref()),
    );
    Err(unauthorized("missing_api_key", format!("no API key: {how}")))
}

fn expected(header: &str, scheme: Option<&str>) -> String {
    match scheme {
        Some(scheme) => format!("send `{header}: {scheme} KEY`"),
        None => format!("send `{header}: KEY`"),
    }
}

fn unauthorized(code: &'static str, message: String) -> Refusal {
    Refusal::request(401, code, message)
        .header("www-authenticate", "Bearer")
        .header("x-should-retry", "false")
}

fn key_in<'a>(value: &'a [u8], scheme: Option<&str>) -> Option<&'a [u8]> {
    let value = value.trim_ascii();
    let key = match scheme {
        None => value,
        Some(scheme) => {
            let (word, rest) = value.split_at_checked(scheme.len())?;
            if !word.eq_ignore_ascii_case(scheme.as_bytes()) || rest.first() != Some(&b' ') {
                return None;
            }
            rest.trim_ascii()
        }
    };
    // A key has no blanks, and nothing that long is one: hashing is bounded.
    (!key.is_empty() && key.len() <= 4096 && !key.contains(&b' ') && !key.contains(&b',')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_follows_the_scheme() {
        assert_eq!(key_in(b"Bearer abc", Some("bearer")), Some(&b"abc"[..]));
        assert_eq!(key_in(b"bearer   abc ", Some("bearer")), Some(&b"abc"[..]));
        assert_eq!(key_in(b"Bearerabc", Some("bearer")), None);
        assert_eq!(key_in(b"Basic abc", Some("bearer")), None);
        assert_eq!(key_in(b"Bearer ", Some("bearer")), None);
        assert_eq!(key_in(b"Bearer a b", Some("bearer")), None);
        assert_eq!(key_in(b"Bearer a,Bearer b", Some("bearer")), None);
        assert_eq!(key_in(b"abc", None), Some(&b"abc"[..]));
        assert_eq!(key_in(&[b'a'; 4097], None), None);
    }
}
