//! Credentials as HTTP sends them: `Basic` with what decodes to a name and a password (RFC 7617), `Bearer`
//! with a token of letters and digits (RFC 6750).

use super::ask::{Ask, Beside, Word};
use super::check::ends;
use super::context::Context;
use super::{Detector, Match, Scan, Verdict};
use crate::tail::Tail;

/// Bytes of what decides about a value.
const LONGEST: usize = 256;
/// Characters that are looked at.
const CHARACTERS: usize = 96;

pub(super) const DETECTOR: Detector = Detector {
    id: "basic_auth",
    mask: "[BASIC_AUTH]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Word(Ask {
        opens: &["basi", "bear"],
        behind: true,
        before: Beside::Of(b" "),
        spaced: Beside::Of(b"cCrR"),
        ..Ask::new(at)
    }),
};

/// Asked at every word, it looks at the one before.
fn at(context: &mut Context<'_>, word: Word, _: u8) -> Verdict {
    let view = context.view;
    let (bytes, start) = (view.bytes(), word.start);
    let before = |name: &[u8]| ends(bytes, start, name);
    let basic = before(b"basic ");
    if !basic && !before(b"bearer ") {
        return Verdict::No;
    }
    let rest = bytes.get(start..).unwrap_or_default();
    let text =
        rest.iter().take(CHARACTERS).take_while(|byte| Tail::Token.has(**byte) || **byte == b'.' && !basic);
    let length = text.count();
    let end = start + length;
    if end == bytes.len() && length < CHARACTERS && !context.last {
        return if view.left(start) <= LONGEST { Verdict::Cut(start) } else { Verdict::No };
    }
    let text = rest.get(..length).unwrap_or_default();
    let found = if basic {
        // A word of a language is decoded too, to whatever.
        let word = text.iter().skip(1).all(u8::is_ascii_lowercase);
        !word && pair(text)
    } else {
        length >= 20 && text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_alphabetic)
    };
    let fits = view.fits(start, end, LONGEST - 1);
    let tail = if basic { Tail::Token } else { Tail::Dotted };
    if found && fits { Verdict::Yes(Match { start, end, tail: Some(tail) }) } else { Verdict::No }
}

/// Whether base64 text is printable and has a colon inside.
fn pair(text: &[u8]) -> bool {
    let (mut bits, mut held, mut colon) = (0u32, 0, false);
    for byte in text.iter().take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            let byte = (bits >> held) as u8;
            if byte < b' ' || byte == 0x7f {
                return false;
            }
            colon |= byte == b':';
        }
    }
    colon
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn credentials_are_found_behind_their_scheme() {
        marked(
            "basic_auth",
            &[
                "Authorization: Basic <QWxhZGRpbjpvcGVuIHNlc2FtZQ==>",
                "curl -H 'authorization: bearer <abc123def456ghi789jkl012>' x",
                "Basic understanding of Basic English, basic <YTpi> basic abcd; Basic Operation",
                "bearer of bad news, Bearer internationalization-of-words",
            ],
        );
    }
}
