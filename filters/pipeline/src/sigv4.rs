//! AWS Signature Version 4, verified: the canonical request as AWS's SDKs make it (the path encoded once more, the
//! payload's own hash), a signing key derived from one day's key, a comparison in constant time. Not in here: secrets,
//! which never reach a gateway, and who a key pair belongs to.
//!
//! It takes two steps, because headers come before the body: [`Signed::read`] judges all but the signature itself,
//! [`Signed::verify`] that.

use sha2::{Digest, Sha256};

use weir_sorted::trim;

use crate::io::{Headers, Now};

/// The scheme, as it stands in the `authorization` header.
pub const SCHEME: &str = "AWS4-HMAC-SHA256";
/// The only service whose signatures are meant for this gateway.
const SERVICE: &str = "bedrock";
/// Seconds by which clocks may differ, as AWS has it.
const SKEW: u64 = 300;
/// More than any client signs.
const MOST_HEADERS: usize = 64;

/// Why a signature cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The `authorization` header or `x-amz-date` is not of the scheme's form, or something that must be signed is not.
    Form(&'static str),
    /// The access key is not known.
    Unknown,
    /// The caller's clock, or the request's age, is more than five minutes off.
    Skewed,
    /// No key of that day is at hand.
    NoKey,
    /// It is not the signature of this request by this key.
    Wrong,
}

/// A signature that only the body is missing of.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The canonical request up to the payload's hash.
    head: Vec<u8>,
    /// What the client says of the payload.
    claimed: Option<Vec<u8>>,
    /// `YYYYMMDDTHHMMSSZ`
    date: String,
    /// `YYYYMMDD/REGION/SERVICE/aws4_request`
    scope: String,
    key: [u8; 32],
    signature: [u8; 32],
}

/// The access key of an `authorization` value, if it is of this scheme.
pub fn access_key(authorization: &str) -> Option<&str> {
    let credential = field(parameters(authorization)?, "Credential=")?;
    credential.split('/').next().filter(|key| !key.is_empty())
}

/// What follows the scheme.
fn parameters(authorization: &str) -> Option<&str> {
    authorization.strip_prefix(SCHEME)?.strip_prefix(' ')
}

fn field<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(',').find_map(|part| trim(part).strip_prefix(name))
}

impl Signed {
    /// Reads a signature. `day_key` gives the access key's own key of a day, `YYYYMMDD`.
    pub fn read(
        authorization: &str,
        headers: &Headers<'_>,
        now: Now,
        day_key: impl FnOnce(&str) -> Option<[u8; 32]>,
    ) -> Result<Self, Fault> {
        let parameters = parameters(authorization).ok_or(Fault::Form("the scheme is not known"))?;
        let field = |name| field(parameters, name);
        let (Some(credential), Some(names), Some(signature)) =
            (field("Credential="), field("SignedHeaders="), field("Signature="))
        else {
            return Err(Fault::Form("`authorization` needs Credential, SignedHeaders and Signature"));
        };
        let form = Fault::Form("the credential is not KEY/DATE/REGION/bedrock/aws4_request");
        let (_, scope) = credential.split_once('/').ok_or(form)?;
        let mut parts = scope.split('/');
        let (day, region) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if parts.next() != Some(SERVICE) || parts.next() != Some("aws4_request") || parts.next().is_some() {
            return Err(form);
        }
        let date = headers.get("x-amz-date").unwrap_or_default();
        let at = seconds(date).ok_or(Fault::Form("`x-amz-date` is missing or no date"))?;
        if date.get(..8) != Some(day) {
            return Err(Fault::Form("the credential's date is not that of `x-amz-date`"));
        }
        if at.abs_diff(now.seconds()) > SKEW {
            return Err(Fault::Skewed);
        }
        let signed = |wanted: &str| names.split(';').any(|name| name == wanted);
        let amazon = headers.0.iter().filter(|(name, _)| name.starts_with(b"x-amz-"));
        let mut amazon = amazon.map(|(name, _)| std::str::from_utf8(name).unwrap_or_default());
        // First how many there are, since each header looks for itself among them.
        if names.split(';').count() > MOST_HEADERS
            || !(signed("host") && signed("x-amz-date") && amazon.all(signed))
        {
            return Err(Fault::Form("`host` and every `x-amz-*` header must be signed"));
        }
        let signature =
            unhex(signature.as_bytes()).ok_or(Fault::Form("the signature is not 64 hex digits"))?;
        let key = day_key(day).ok_or(Fault::NoKey)?;
        let key = hmac(&hmac(&hmac(&key, &[region.as_bytes()]), &[SERVICE.as_bytes()]), &[b"aws4_request"]);
        Ok(Self {
            head: head(headers, names),
            claimed: headers.bytes("x-amz-content-sha256").map(<[u8]>::to_vec),
            date: date.to_owned(),
            scope: scope.to_owned(),
            key,
            signature,
        })
    }

    /// Judges the signature over the request with this body.
    pub fn verify(&self, body: &[u8]) -> Result<(), Fault> {
        let payload = hex(&Sha256::digest(body).into());
        // Also where the client would leave it unsigned: what is not covered is not believed.
        if self.claimed.as_ref().is_some_and(|claimed| claimed != &payload) {
            return Err(Fault::Wrong);
        }
        let request: [u8; 32] =
            Sha256::new().chain_update(&self.head).chain_update(payload).finalize().into();
        let parts = [
            SCHEME.as_bytes(),
            b"\n",
            self.date.as_bytes(),
            b"\n",
            self.scope.as_bytes(),
            b"\n",
            &hex(&request),
        ];
        let right = hmac(&self.key, &parts);
        // Every byte is looked at, whichever differs.
        let differs = right.iter().zip(&self.signature).fold(0, |all, (one, other)| all | (one ^ other));
        if std::hint::black_box(differs) == 0 { Ok(()) } else { Err(Fault::Wrong) }
    }
}

/// The canonical request up to the payload's hash.
fn head(headers: &Headers<'_>, names: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let (path, query) = halves(headers.bytes(":path").unwrap_or_default(), b'?');
    append(&mut out, &[headers.bytes(":method").unwrap_or_default(), b"\n"]);
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(byte) {
            append(&mut out, &[&[*byte]]);
        } else {
            let code = [b'%', digit(byte >> 4), digit(byte & 15)].map(|byte| byte.to_ascii_uppercase());
            append(&mut out, &[&code]);
        }
    }
    let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
    let mut rest = query;
    while !rest.is_empty() {
        let pair;
        (pair, rest) = halves(rest, b'&');
        if !pair.is_empty() {
            pairs.push(halves(pair, b'='));
        }
    }
    weir_sorted::sort_by(&mut pairs, Ord::cmp);
    append(&mut out, &[b"\n"]);
    let mut between: &[u8] = b"";
    for (key, value) in pairs {
        append(&mut out, &[between, key, b"=", value]);
        between = b"&";
    }
    append(&mut out, &[b"\n"]);
    for name in names.split(';') {
        append(&mut out, &[name.as_bytes(), b":"]);
        let own = if name == "host" { ":authority" } else { name };
        for (at, value) in headers.all(own).enumerate() {
            append(&mut out, &[if at > 0 { b"," } else { b"" }]);
            let mut between: &[u8] = b"";
            for word in value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
                append(&mut out, &[between, word]);
                between = b" ";
            }
        }
        append(&mut out, &[b"\n"]);
    }
    append(&mut out, &[b"\n", names.as_bytes(), b"\n"]);
    out
}

#[inline(never)]
fn append(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// What is before the first such byte, and what is behind it.
#[inline(never)]
fn halves(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    let place = bytes.iter().position(|byte| *byte == at).unwrap_or(bytes.len());
    let (before, behind) = bytes.split_at_checked(place).unwrap_or_default();
    (before, behind.get(1..).unwrap_or_default())
}

/// HMAC-SHA256 (RFC 2104) of the parts in a row, by a key of at most 64 bytes: longer ones are never used here.
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let (mut inner, mut outer) = ([0x36u8; 64], [0x5cu8; 64]);
    for ((inner, outer), byte) in inner.iter_mut().zip(&mut outer).zip(key) {
        *inner ^= byte;
        *outer ^= byte;
    }
    let mut digest = Sha256::new();
    digest.update(inner);
    parts.iter().for_each(|part| digest.update(part));
    let first = digest.finalize();
    Sha256::new().chain_update(outer).chain_update(first).finalize().into()
}

/// Seconds since 1970 of `YYYYMMDDTHHMMSSZ`.
fn seconds(date: &str) -> Option<u64> {
    let bytes: &[u8; 16] = date.as_bytes().try_into().ok()?;
    let [y1, y2, y3, y4, m1, m2, d1, d2, b'T', h1, h2, n1, n2, s1, s2, b'Z'] = bytes else { return None };
    let number = |digits: &[&u8]| {
        digits
            .iter()
            .try_fold(0u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(**digit - b'0')))
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last of one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + number(&[h1, h2])? * 3600 + number(&[n1, n2])? * 60 + number(&[s1, s2])?)
}

fn digit(half: u8) -> u8 {
    if half < 10 { b'0' + half } else { b'a' + half - 10 }
}

fn hex(bytes: &[u8; 32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    bytes.iter().for_each(|byte| append(&mut out, &[&[digit(byte >> 4), digit(byte & 15)]]));
    out
}

/// The bytes of 64 hex digits.
pub fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let mut digits = pair.iter().map(|digit| char::from(*digit).to_digit(16));
        *byte = u8::try_from(digits.next()?? * 16 + digits.next()??).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        for (date, unix) in [
            ("19700101T000000Z", Some(0)),
            ("20150830T123600Z", Some(1_440_938_160)),
            ("20240229T235959Z", Some(1_709_251_199)),
            ("20261121T083000Z", Some(1_795_249_800)),
            ("20261321T083000Z", None),
            ("20261121 083000Z", None),
            ("", None),
        ] {
            assert_eq!(seconds(date), unix, "{date}");
        }
    }

    #[test]
    fn hmac_is_rfc_4231s() {
        let digest = hmac(&[0x0b; 20], &[b"Hi ", b"There"]);
        let expected = b"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hex(&digest), expected);
    }
}
