//! Assigned secrets: `password = …`, `"api_key": "…"`, `export TOKEN=…`, `AccountKey=…`. The name says what it is;
//! the value has to look like one: long enough, of more than one kind of character, and no reference to
//! something else (`${…}`, `os.environ`, a call).

use super::ask::{Ask, Beside, Word};
use super::check::ends;
use super::context::Context;
use super::pass;

use super::{Detector, Match, Scan, Verdict};
use crate::tail::Tail;
use crate::view::View;

/// Bytes of what decides about a value.
const LONGEST: usize = 256;
/// Characters of a value that are looked at.
const CHARACTERS: usize = 64;
/// Characters between a name and its value.
const BETWEEN: usize = 8;

pub(super) const DETECTOR: Detector = Detector {
    id: "password",
    mask: "[PASSWORD]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Word(Ask {
        behind: true,
        before: Beside::Of(pass::BETWEEN),
        spaced: Beside::Of(b"=:> "),
        ..Ask::new(at)
    }),
};

/// Ends of names.
const NAMES: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passphrase",
    b"pwd",
    b"secret",
    b"token",
    b"apikey",
    b"accesskey",
    b"secretkey",
    b"accountkey",
    b"privatekey",
    b"authkey",
    b"credential",
    b"credentials",
    b"passcode",
];

/// What may stand before `key` after a sign: `api_key`.
const KEYS: &[&[u8]] =
    &[b"api", b"access", b"secret", b"account", b"auth", b"private", b"encryption", b"signing", b"master"];

/// Asked at every word, it looks whether that is the first of an assigned value.
fn at(context: &mut Context<'_>, word: Word, _: u8) -> Verdict {
    let view = context.view;
    let bytes = view.bytes();
    // Signs that a value begins with stay: in a stream they went out before it.
    let start = word.start;
    if view.before(start) == b' '
        && !matches!(start.checked_sub(2).map_or(0, |at| view.at(at)), b'=' | b':' | b'>' | b' ')
    {
        return Verdict::No;
    }
    let mut at = start;
    let mut assigned = false;
    while start - at < BETWEEN {
        let before = view.before(at);
        if !pass::between(before) {
            break;
        }
        assigned |= matches!(before, b'=' | b':');
        at -= 1;
    }
    let Some(least) = named(view, at).filter(|_| assigned) else { return Verdict::No };
    let rest = bytes.get(start..).unwrap_or_default();
    let inside = |byte: u8| {
        byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'"' | b'\'' | b'`' | b'<' | b'>' | b',' | b';' | b'(' | b'{' | b'[' | b'\\' | b'&'
            )
    };
    let length = view.goes_on(start, CHARACTERS, inside);
    let end = start + length;
    if end == bytes.len() && length < CHARACTERS && !context.last {
        return if view.left(start) <= LONGEST { Verdict::Cut(start) } else { Verdict::No };
    }
    let mut text = rest.get(..length).unwrap_or_default();
    // A sentence's full stop is not a part of it.
    while let [shorter @ .., b'.' | b')' | b'}' | b']' | b'!' | b'?'] = text {
        text = shorter;
    }
    let end = start + text.len();
    let fits = view.fits(start, end, LONGEST - 1);
    let called = length < CHARACTERS && matches!(view.at(end), b'(' | b'[' | b'{');
    if text.len() < least || !secret(text) || called || !fits {
        return Verdict::No;
    }
    let tail = (length == CHARACTERS).then_some(Tail::Dotted);
    Verdict::Yes(Match { start, end, tail })
}

/// Characters of the shortest value, if a name of a secret ends before `end`: people choose short passwords, what
/// machines choose is longer.
fn named(view: &View<'_>, end: usize) -> Option<usize> {
    let ends = |end: usize, name: &[u8]| ends(view.bytes(), end, name);
    if !pass::names_secret(view.bytes().get(..end).unwrap_or_default()) {
        return None;
    }
    if let Some(name) = NAMES.iter().find(|name| ends(end, name)) {
        return Some(if name.starts_with(b"p") { 6 } else { 8 });
    }
    let key = end.checked_sub(3).filter(|_| ends(end, b"key"))?;
    let sign = usize::from(matches!(view.before(key), b'_' | b'-' | b' ' | b'.'));
    KEYS.iter().any(|name| ends(key - sign, name)).then_some(8)
}

/// What a character is, a bit each: a small letter, a capital, a digit, a sign, one that hardly stands in names, one that
/// does not stand in a program's.
static KINDS: [u8; 128] = {
    let mut kinds = [0; 128];
    let mut at = 0;
    while at < 128 {
        let byte = at as u8;
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
        {
            kinds[at] = match byte {
                b'a'..=b'z' => LOWER,
                b'A'..=b'Z' => UPPER | FOREIGN,
                b'0'..=b'9' => DIGIT,
                b'_' | b'.' | b':' => SIGN,
                b'!' | b'#' | b'$' | b'%' | b'^' | b'*' | b'@' | b'&' => SIGN | STRONG | FOREIGN,
                _ if byte.is_ascii_punctuation() => SIGN | FOREIGN,
                _ => FOREIGN,
            };
        }
        at += 1;
    }
    kinds
};

const LOWER: u8 = 1;
const UPPER: u8 = 2;
const DIGIT: u8 = 4;
const SIGN: u8 = 8;
const STRONG: u8 = 16;
const FOREIGN: u8 = 32;

/// Whether characters, all of them ASCII, look like a secret.
fn secret(text: &[u8]) -> bool {
    let (mut lower, mut all, mut seen) = (0, 0, 0u64);
    for byte in text {
        let kind = KINDS.get(usize::from(byte & 127)).copied().unwrap_or_default();
        lower += usize::from(kind & LOWER);
        all |= kind;
        seen |= 1 << (byte & 63);
    }
    let has = |kind| all & kind != 0;
    let kinds = (all & (LOWER | UPPER | DIGIT | SIGN)).count_ones();
    // Words and references have no digits: `os.environ.get`, `config.password`, `your-password-here`.
    let varied = seen.count_ones() >= 4 && (has(DIGIT) || kinds >= 3 && has(STRONG));
    let reference = text.starts_with(b"$") && !has(DIGIT) || text.starts_with(b"http");
    // `self.token2`, `generate_key_25519`: names of a program.
    let reference = reference || !has(FOREIGN) && has(SIGN) && lower * 5 >= text.len() * 3;
    kinds >= 2 && varied && !reference
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn assigned_values_are_found() {
        marked(
            "password",
            &[
                "password=<hunter2x>",
                "my password: <S3cr3t!pass>.",
                "{\"api_key\": \"<a1b2c3d4e5f6>\", \"x\": 1}",
                "export GITHUB_TOKEN=<a1b2c3d4e5f6> # note",
                "AWS_SECRET_ACCESS_KEY=<wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY>",
                "AccountKey=<Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==>;x",
                "pwd := '<P@ssw0rd>'; secret => \"!<x9!y8!z7>\"",
                "client-secret: <8Q~abcdef123>",
                "Server=db;User=sa;Password=<Str0ng#Pass>;Encrypt=1",
            ],
        );
    }

    #[test]
    fn references_and_words_are_left_alone() {
        marked(
            "password",
            &[
                "password = os.environ['DB_PASSWORD'] token: string, secret: SecretStr",
                "password: ${DB_PASSWORD} api_key=YOUR_API_KEY token = get_token()",
                "passwords: many; token count: 1024 tokens: 4096, max_tokens=4096",
                "password 12345678 password:12345 key: value1234 keyboard: a1b2c3",
                "token=None password=true token: Colon2 secret = self.colon2_token, key_secret=x25519_generate_key",
            ],
        );
    }
}
