//! Private keys in PEM blocks (RFC 7468) and their relatives of OpenSSH and OpenPGP. From the opening line on
//! everything belongs to the key, up to its end line or to what cannot be in a block: a key that breaks off is
//! hidden as far as it goes, and in a stream nothing of it is held back.

use super::{Detector, Match, Scan};
use crate::tail::Tail;
use crate::view::View;

/// Bytes of an opening line.
const LONGEST: usize = 128;
/// Characters of a key's name: `ENCRYPTED PRIVATE KEY`.
const NAME: usize = 48;
const BEGINS: &[u8] = b"-----BEGIN ";

pub(super) const DETECTOR: Detector = Detector {
    id: "private_key",
    mask: "[PRIVATE_KEY]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Whole(scan),
};

fn scan(view: &View<'_>, last: bool, matches: &mut Vec<Match>) -> usize {
    let bytes = view.bytes();
    let mut hold = bytes.len();
    for start in memchr::memchr_iter(b'-', bytes) {
        let rest = bytes.get(start..).unwrap_or_default();
        let Some(name) = rest.strip_prefix(BEGINS) else {
            if !last && BEGINS.starts_with(rest) {
                hold = hold.min(start);
            }
            continue;
        };
        let letter = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ';
        let length = name.iter().take(NAME).take_while(letter).count();
        let (name, after) = name.split_at_checked(length).unwrap_or_default();
        let fits = view.end(start + BEGINS.len() + length) - view.start(start) <= LONGEST;
        if length < NAME && after.len() < 5 && b"-----".starts_with(after) && !last {
            if view.left(start) <= LONGEST + 64 {
                hold = hold.min(start);
            }
        } else if fits
            && after.starts_with(b"-----")
            && (name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK"))
        {
            // The hyphens behind the name are the tail's, since they may already begin an end line.
            let end = start + BEGINS.len() + length;
            matches.push(Match { start, end, tail: Some(Tail::Pem) });
        }
    }
    hold
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn keys_are_hidden_from_their_opening_line_on() {
        let dashes = "-----";
        let key = |name: &str, body: &str| {
            format!("<{dashes}BEGIN {name}{dashes}{body}{dashes}END {name}{dashes}>")
        };
        let body = "\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\nabc+/==\n";
        for vector in [
            format!("key:\n{}\nthanks", key("PRIVATE KEY", body)),
            format!("{} {}", key("RSA PRIVATE KEY", body), key("OPENSSH PRIVATE KEY", "\\nab\\n")),
            key("PGP PRIVATE KEY BLOCK", "\nVersion: 1\n\nlQOY\n"),
            key("EC PRIVATE KEY", ""),
            format!("<{dashes}BEGIN PRIVATE KEY{dashes}\nMIIEvQIBADAN>; and so on"),
            format!("<{dashes}BEGIN PRIVATE KEY{dashes}\nMIIEvQIBADAN>"),
            format!("<{dashes}BEGIN PRIVATE KEY{dashes}END PRIVATE KEY{dashes}>; x"),
            format!("{dashes}BEGIN PUBLIC KEY{dashes}\nMIIB\n{dashes}END PUBLIC KEY{dashes}"),
            format!("{dashes}BEGIN CERTIFICATE{dashes} {dashes}{dashes} -- | --- | PRIVATE KEY"),
        ] {
            marked("private_key", &[&vector]);
        }
    }
}
