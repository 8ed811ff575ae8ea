//! Who calls: the first configured credential that is present decides; a bad one is refused, never tried further.

use sha2::{Digest, Sha256};

use crate::io::{Headers, Now};
use crate::policy::{Caller, Policy};
use crate::refusal::Refusal;
use crate::sigv4::{self, Fault, Signed};

/// Finds the caller of a request. A signature is still to be verified over the body.
pub fn identify(
    policy: &Policy,
    headers: &Headers<'_>,
    now: Now,
) -> Result<(Caller, Option<Signed>), Refusal> {
    let from = &policy.config.identity.from;
    let signature = |scheme: Option<&str>| scheme.is_some_and(|s| s.eq_ignore_ascii_case(sigv4::SCHEME));
    let verifies = from.iter().any(|source| signature(source.scheme.as_deref()));
    for source in from {
        let mut values = headers.all(&source.header);
        let Some(value) = values.next() else { continue };
        let signed = verifies && value.starts_with(sigv4::SCHEME.as_bytes());
        if signed != signature(source.scheme.as_deref()) {
            // The other kind of credential in the same header.
            continue;
        }
        if signed {
            if values.next().is_some() {
                return Err(unsigned(Fault::Form("`authorization` is sent more than once")));
            }
            return signer(policy, headers, value, now);
        }
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
            Some(Ok(caller)) => Ok((caller, None)),
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
        return Ok((caller, None));
    }
    let how = policy.config.identity.from.first().map_or_else(
        || "the policy names no way to identify callers".to_owned(),
        |s| expected(&s.header, s.scheme.as_deref()),
    );
    Err(unauthorized("missing_api_key", format!("no API key: {how}")))
}

fn signer(
    policy: &Policy,
    headers: &Headers<'_>,
    authorization: &[u8],
    now: Now,
) -> Result<(Caller, Option<Signed>), Refusal> {
    let text = std::str::from_utf8(authorization).ok().filter(|text| text.len() <= 8192);
    let key = text.and_then(|text| Some((text, sigv4::access_key(text)?)));
    let Some((text, key)) = key else {
        return Err(unsigned(Fault::Form("`authorization` needs Credential, SignedHeaders and Signature")));
    };
    let (caller, pair) = match policy.signer(key, now) {
        Some(Ok(known)) => known,
        Some(Err(id)) => {
            return Err(unauthorized(
                "expired_api_key",
                format!("the key pair `{id}` has expired: ask for a new one"),
            ));
        }
        None => return Err(unsigned(Fault::Unknown)),
    };
    let day_key = |day: &str| sigv4::unhex(pair.days.get(day)?.as_bytes());
    let signed = Signed::read(text, headers, now, day_key).map_err(unsigned)?;
    Ok((caller, Some(signed)))
}

/// Why a signature is not accepted, in AWS's words where it has some.
pub fn unsigned(fault: Fault) -> Refusal {
    let (code, message) = match fault {
        Fault::Form(why) => ("invalid_signature", why),
        Fault::Unknown => (
            "invalid_api_key",
            "the security token included in the request is invalid: no key pair of this gateway has this access key",
        ),
        Fault::Skewed => (
            "clock_skew",
            "Signature expired: `x-amz-date` is more than five minutes from this gateway's clock",
        ),
        Fault::NoKey => {
            return Refusal::server(
                503,
                "signing_keys_stale",
                "this gateway has no signing key of today: its control plane has not been heard of for a day",
            );
        }
        Fault::Wrong => (
            "invalid_signature",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method",
        ),
    };
    unauthorized(code, message.to_owned())
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
