//! Private keys in PEM blocks (RFC 7468) and their relatives of OpenSSH and OpenPGP. From the opening line on
//! everything belongs to the key, up to its end line or to what cannot be in a block: a key that breaks off is
//! hidden as far as it goes, and in a stream nothing of it is held back.

use super::ask::{Ask, Beside, Word};
use super::context::Context;
use super::{Detector, Match, Scan, Verdict};
use crate::class::CAPITAL;
use crate::tail::Tail;

/// Bytes of an opening line.
const LONGEST: usize = 128;
/// Characters of a key's name: `ENCRYPTED PRIVATE KEY`.
const NAME: usize = 48;
/// Hyphens before and behind what an opening line says.
const HYPHENS: usize = 5;
const BEGINS: &[u8] = b"-----BEGIN ";

pub(super) const DETECTOR: Detector = Detector {
    id: "private_key",
    mask: "[PRIVATE_KEY]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Word(Ask {
        kinds: 1 << CAPITAL,
        longest: 5,
        opens: &["begi"],
        hyphens: HYPHENS,
        before: Beside::Of(b"-"),
        after: Beside::Of(b" "),
        ..Ask::new(at)
    }),
};

/// Asked at the word `BEGIN`.
fn at(context: &mut Context<'_>, word: Word, _: u8) -> Verdict {
    let (view, last) = (context.view, context.last);
    let bytes = view.bytes();
    let start = word.start.saturating_sub(HYPHENS);
    let rest = bytes.get(start..).unwrap_or_default();
    let Some(name) = rest.strip_prefix(BEGINS) else {
        return if !last && BEGINS.starts_with(rest) { Verdict::Cut(start) } else { Verdict::No };
    };
    let letter = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ';
    let length = name.iter().take(NAME).take_while(letter).count();
    let (name, after) = name.split_at_checked(length).unwrap_or_default();
    // The hyphens behind the name are the tail's, since they may already begin an end line.
    let end = start + BEGINS.len() + length;
    if length < NAME && after.len() < HYPHENS && b"-----".starts_with(after) && !last {
        return if view.left(start) <= LONGEST + 64 { Verdict::Cut(start) } else { Verdict::No };
    }
    let named = name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK");
    if named && after.starts_with(b"-----") && view.fits(start, end, LONGEST) {
        return Verdict::Yes(Match { start, end, tail: Some(Tail::Pem) });
    }
    Verdict::No
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
