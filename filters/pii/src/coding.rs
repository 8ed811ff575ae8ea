//! Characters as URLs, HTML and source code write them: `%40`, `&#64;`, `&commat;`, `\u0040`, `\n`; and what colours a
//! terminal. A value that is written so is one, and what is written so before a value is no part of it.

#[cfg(target_feature = "simd128")]
use crate::text::load;

/// Bytes of the longest one: a colour, of which all is written with a backslash.
pub(crate) const LONGEST: usize = 24;

/// Digits of the longest number of a colour.
const COLOUR: usize = 3;

/// Bytes of what is coded again and again.
pub(crate) const AGAIN: usize = 8;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    No,
    /// The text ended too early.
    Cut,
    /// This character, in so many bytes.
    Yes(char, usize),
}

const ESC: u8 = 0x1b;

/// How many bytes there are before the first one that a coding may begin with; one that is not ASCII counts as such, where
/// `ascii` says so.
#[inline(never)]
pub(crate) fn plain(bytes: &[u8], ascii: bool) -> usize {
    let high = if ascii { 0x80 } else { 0 };
    let mut at = 0;
    while let Some([byte, after @ ..]) = bytes.get(at..) {
        let sign = SIGNS.get(usize::from(*byte)).copied().unwrap_or_default();
        let follows =
            after.first().map_or(u8::MAX, |next| SIGNS.get(usize::from(*next)).copied().unwrap_or_default());
        if sign & FIRST & follows >> 4 != 0 || byte & high != 0 {
            break;
        }
        at += 1;
        while let Some(sixteen) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let marks = marks(sixteen, high);
            if marks != 0 {
                at += marks.trailing_zeros() as usize;
                break;
            }
            at += 16;
        }
    }
    at
}

/// Signs that codings begin with, a bit for each, and in the high bits behind which of them a character may follow.
static SIGNS: [u8; 256] = {
    let mut signs = [0; 256];
    let mut at = 0;
    while at < 128 {
        let byte = at as u8;
        let quote = matches!(byte, b'"' | b'\'' | b'`');
        let first = match byte {
            b'%' => 1,
            b'&' => 2,
            b'\\' => 4,
            ESC => 8,
            _ => 0,
        };
        let after = byte.is_ascii_hexdigit() as u8
            | ((byte.is_ascii_alphabetic() || byte == b'#') as u8) << 1
            | ((matches!(byte, b'u' | b'x' | b'n' | b'r' | b't' | b'e' | b'0')
                || byte.is_ascii_punctuation() && !quote && byte != b'\\') as u8)
                << 2
            | ((byte == b'[') as u8) << 3;
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
        {
            signs[at] = first | after << 4;
        }
        at += 1;
    }
    signs
};

const FIRST: u8 = 0xf;

/// Which of sixteen bytes are a sign, or high: a bit for each. No two signs have the same lower half.
#[cfg(target_feature = "simd128")]
#[inline]
fn marks(sixteen: &[u8; 16], high: u8) -> u32 {
    use core::arch::wasm32::{i8x16_swizzle, u8x16_bitmask, u8x16_eq, u8x16_splat, v128_and, v128_or};

    const HALVES: [u8; 16] = {
        let mut halves = [0; 16];
        let mut at = 0;
        while at < 4 {
            #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
            {
                let byte = [b'%', b'&', b'\\', ESC][at];
                halves[byte as usize & 15] = byte;
            }
            at += 1;
        }
        // Nothing but a sign is what stands at its half.
        halves[0] = 1;
        halves
    };
    let bytes = load(sixteen);
    let sign = u8x16_eq(i8x16_swizzle(load(&HALVES), v128_and(bytes, u8x16_splat(15))), bytes);
    u8x16_bitmask(v128_or(sign, v128_and(bytes, u8x16_splat(high)))).into()
}

#[cfg(not(target_feature = "simd128"))]
#[inline]
fn marks(sixteen: &[u8; 16], high: u8) -> u32 {
    let is = |byte: u8| {
        let sign =
            u8::from(byte == b'%') | u8::from(byte == b'&') | u8::from(byte == b'\\') | u8::from(byte == ESC);
        sign | byte & high
    };
    // Told together first: nearly all have none.
    if sixteen.iter().fold(0, |all, byte| all | is(*byte)) == 0 {
        return 0;
    }
    sixteen.iter().rev().fold(0, |marks, byte| marks << 1 | u32::from(is(*byte) != 0))
}

/// Where the first coding at or behind `at` begins, if there is one, or what may become one.
#[inline(never)]
pub(crate) fn first(bytes: &[u8], mut at: usize, last: bool) -> Option<usize> {
    loop {
        at += plain(bytes.get(at..)?, false);
        if at == bytes.len() {
            return None;
        }
        if read(bytes, at, last) != Coding::No {
            return Some(at);
        }
        at += 1;
    }
}

/// What stands at a place, with the backslashes that it was escaped by once more.
#[inline(never)]
pub(crate) fn at(text: &[u8], at: usize, last: bool) -> Coding {
    let here = text.get(at..).unwrap_or_default();
    let more = here.iter().take(AGAIN).take_while(|byte| **byte == b'\\').count().saturating_sub(1);
    let rest = here.get(more..).unwrap_or_default();
    match plain(rest.get(..2).unwrap_or(rest), false) {
        0 => match read(text, at + more, last) {
            Coding::Yes(c, length) => Coding::Yes(c, more + length),
            other => other,
        },
        _ => Coding::No,
    }
}

/// The same where one may begin; the text goes on unless it is the `last` of it.
#[inline(never)]
pub(crate) fn read(text: &[u8], at: usize, last: bool) -> Coding {
    let here = text.get(at..).unwrap_or_default();
    let rest = here.get(..LONGEST).unwrap_or(here);
    let [first, after @ ..] = rest else { return Coding::No };
    // Behind a quote or a space, and before a number, it is rather a sign of its own: `LIKE '%4111…'`.
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    if *first == b'%'
        && matches!(before, Some(..=b' ' | b'"' | b'\''))
        && matches!(after, [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9' | b' ' | b'.' | b'-' | b'/', ..])
        && !after.starts_with(b"25")
    {
        return Coding::No;
    }
    // Of what is coded more than once, the sign is. Before a backslash none begins: those the caller tells.
    let again: &[u8] = match first {
        b'%' => b"25",
        b'&' => b"amp;",
        _ => b"\\",
    };
    let mut more = 0;
    while more < AGAIN && after.get(more..).is_some_and(|after| after.starts_with(again)) {
        more += again.len();
    }
    let mut found = None;
    while let Some(written) = after.get(more..) {
        found = character(*first, written);
        if found.is_some() || more == 0 {
            break;
        }
        more -= again.len();
    }
    let ends = *first == b'\\' && found.is_some_and(|(code, _)| code != ESC.into());
    if !(last || ends || rest.len() == LONGEST) && after.iter().all(u8::is_ascii_graphic) {
        return Coding::Cut;
    }
    let Some((code, length)) = found else { return Coding::No };
    let length = 1 + more + length;
    if code == ESC.into()
        && let Some([b'[', colour @ ..]) = rest.get(length..)
    {
        let (mut digits, mut signs) = (0, 0);
        while let Some(byte) = colour.get(signs).filter(|byte| matches!(byte, b'0'..=b'9' | b';')) {
            digits = if *byte == b';' { 0 } else { digits + 1 };
            if digits > COLOUR {
                return Coding::No;
            }
            signs += 1;
        }
        return match colour.get(signs) {
            Some(ends) if ends.is_ascii_alphabetic() => Coding::Yes('\u{200b}', length + signs + 2),
            _ => Coding::No,
        };
    }
    Coding::Yes(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), length)
}

/// Numbers of characters: the first sign and what follows it, the base, and the fewest and most digits.
static NUMBERS: [(u8, &[u8], u32, usize, usize); 6] = [
    (b'%', b"", 16, 2, 2),
    (b'&', b"#x", 16, 1, 7),
    (b'&', b"#X", 16, 1, 7),
    (b'&', b"#", 10, 1, 8),
    (b'\\', b"u", 16, 4, 4),
    (b'\\', b"x", 16, 2, 2),
];

/// The code of a character that is written behind a sign, and the length of that.
fn character(first: u8, written: &[u8]) -> Option<(u32, usize)> {
    for (_, prefix, radix, least, most) in NUMBERS.iter().filter(|(sign, ..)| *sign == first) {
        let Some(digits) = written.strip_prefix(*prefix) else { continue };
        let (mut code, mut count) = (0, 0);
        while count < *most
            && let Some(digit) = digits.get(count).and_then(|byte| char::from(*byte).to_digit(*radix))
        {
            (code, count) = (code * radix + digit, count + 1);
        }
        if count < *least {
            continue;
        }
        let (ends, length) = (digits.get(count), prefix.len() + count);
        return match (first, code) {
            // Its end tells a number of a character from another one: `&#10.1.2.3`.
            (b'&', ..0x11_0000) => (ends == Some(&b';')).then_some((code, length + 1)),
            // Of control characters only white space is encoded.
            (b'%', 0x09 | 0x0a | 0x0d | 0x20..0x7f) | (b'\\', _) => Some((code, length)),
            _ => None,
        };
    }
    let next = written.first().copied().unwrap_or_default();
    let code = match (first, next) {
        (ESC, _) => return Some((ESC.into(), 0)),
        (b'&', _) => {
            let (mut name, mut length) = (0, 0);
            while let Some(byte) = written.get(length).filter(|byte| byte.is_ascii_alphabetic() && length < 8)
            {
                (name, length) = (name << 8 | u64::from(*byte), length + 1);
            }
            if written.get(length) != Some(&b';') {
                return None;
            }
            let at = NAMES.partition_point(|(known, _)| *known < name);
            let (_, code) = NAMES.get(at).filter(|(known, _)| *known == name)?;
            return Some(((*code).into(), length + 1));
        }
        (b'\\', b'n') => b'\n',
        (b'\\', b'r') => b'\r',
        (b'\\', b't') => b'\t',
        (b'\\', b'e') if written.get(1) == Some(&b'[') => ESC,
        (b'\\', b'0') if written.starts_with(b"033[") => return Some((ESC.into(), 3)),
        (b'\\', b'"' | b'\'' | b'`' | b'\\') => return None,
        (b'\\', sign) if sign.is_ascii_punctuation() => sign,
        _ => return None,
    };
    Some((code.into(), 1))
}

/// Signs and spaces that have a name in HTML, by the name as a number, in order.
static NAMES: [(u64, u16); NAMED.len()] = {
    let mut names = [(0, 0); NAMED.len()];
    let mut at = 0;
    while at < NAMED.len() {
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
        {
            let (name, code) = NAMED[at];
            let mut packed = 0;
            let mut letter = 0;
            while letter < name.len() {
                packed = packed << 8 | name.as_bytes()[letter] as u64;
                letter += 1;
            }
            // It goes to its place among those before.
            let mut place = at;
            while place > 0 && names[place - 1].0 > packed {
                names[place] = names[place - 1];
                place -= 1;
            }
            names[place] = (packed, code);
        }
        at += 1;
    }
    names
};

/// The HTML standard's names of what stands in values, or around them.
const NAMED: &[(&str, u16)] = &[
    ("Hat", 0x5e),
    ("NewLine", 0x0a),
    ("Tab", 0x09),
    ("UnderBar", 0x5f),
    ("amp", 0x26),
    ("apos", 0x27),
    ("ast", 0x2a),
    ("bsol", 0x5c),
    ("bull", 0x2022),
    ("colon", 0x3a),
    ("comma", 0x2c),
    ("commat", 0x40),
    ("dash", 0x2010),
    ("dollar", 0x24),
    ("emsp", 0x2003),
    ("ensp", 0x2002),
    ("equals", 0x3d),
    ("excl", 0x21),
    ("grave", 0x60),
    ("gt", 0x3e),
    ("hairsp", 0x200a),
    ("horbar", 0x2015),
    ("hyphen", 0x2010),
    ("laquo", 0xab),
    ("lbrace", 0x7b),
    ("lbrack", 0x5b),
    ("lcub", 0x7b),
    ("ldquo", 0x201c),
    ("lowbar", 0x5f),
    ("lpar", 0x28),
    ("lsqb", 0x5b),
    ("lsquo", 0x2018),
    ("lt", 0x3c),
    ("mdash", 0x2014),
    ("middot", 0xb7),
    ("minus", 0x2212),
    ("nbsp", 0xa0),
    ("ndash", 0x2013),
    ("num", 0x23),
    ("numsp", 0x2007),
    ("percnt", 0x25),
    ("period", 0x2e),
    ("plus", 0x2b),
    ("puncsp", 0x2008),
    ("quest", 0x3f),
    ("quot", 0x22),
    ("raquo", 0xbb),
    ("rbrace", 0x7d),
    ("rbrack", 0x5d),
    ("rcub", 0x7d),
    ("rdquo", 0x201d),
    ("rpar", 0x29),
    ("rsqb", 0x5d),
    ("rsquo", 0x2019),
    ("semi", 0x3b),
    ("shy", 0xad),
    ("sol", 0x2f),
    ("thinsp", 0x2009),
    ("tilde", 0x2dc),
    ("verbar", 0x7c),
    ("vert", 0x7c),
    ("zwj", 0x200d),
    ("zwnj", 0x200c),
];

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_read_as_others_write_them() {
        for (written, c) in [
            ("%40", '@'),
            ("%2e", '.'),
            ("%2540", '@'),
            ("%252540", '@'),
            ("%30", '0'),
            ("%0A", '\n'),
            ("&#64;", '@'),
            ("&#064;", '@'),
            ("&#x40;", '@'),
            ("&#X2E;", '.'),
            ("&#8209;", '\u{2011}'),
            ("&amp;#64;", '@'),
            ("&amp;amp;commat;", '@'),
            ("&commat;", '@'),
            ("&NewLine;", '\n'),
            ("&nbsp;", '\u{a0}'),
            ("&zwnj;", '\u{200c}'),
            ("&amp;", '&'),
            ("\\u0040", '@'),
            ("\\x2d", '-'),
            ("\\n", '\n'),
            ("\\t", '\t'),
            ("\\/", '/'),
            ("\\\\n", '\n'),
            ("\\\\\\\\u0040", '@'),
            ("\\ud83d", '\u{fffd}'),
            ("\u{1b}[31m", '\u{200b}'),
            ("\\u001b[0m", '\u{200b}'),
            ("\\x1b[01;31m", '\u{200b}'),
            ("\\033[m", '\u{200b}'),
            ("\\e[38;5;196m", '\u{200b}'),
        ] {
            assert_eq!(at(written.as_bytes(), 0, true), Coding::Yes(c, written.len()), "{written}");
            let followed = format!("{written} and so on");
            assert_eq!(at(followed.as_bytes(), 0, false), Coding::Yes(c, written.len()), "{followed}");
            // Cut off it is another one, or what it is nobody knows yet.
            for end in 1..written.len() {
                let cut = at(&written.as_bytes()[..end], 0, false);
                let escape = matches!(cut, Coding::Yes('\n' | '/', _));
                assert!(
                    cut == Coding::Cut || escape || written.starts_with('&'),
                    "{} {cut:?}",
                    &written[..end]
                );
            }
        }
    }

    #[test]
    fn anything_else_stands_for_itself() {
        for text in [
            "%",
            "%4",
            "%zz",
            "%C3",
            "%ff",
            "100% a",
            "& b",
            "&b;",
            "&&",
            "&#",
            "&#;",
            "&#x;",
            "&nbsp",
            "&Amp;",
            "\\",
            "\\\\",
            "\\d",
            "\\example",
            "\\\"",
            "\\'",
            "\\u004",
            "\\xg0",
            "\\0",
            "\\é",
            "é",
            "a",
            "",
            "[31m",
            "%07",
            "&#64",
            "&#4111111111111111;",
            "&#x110000;",
            "\\041",
            "\u{1b}[4111m",
            "\u{1b}[31",
            "\u{1b}[31 ",
        ] {
            assert_eq!(at(text.as_bytes(), 0, true), Coding::No, "{text}");
        }
        assert_eq!([at(b"'%4111111111111111%'", 1, true), at(b" %10.1.2.3", 1, true)], [Coding::No; 2]);
        assert_eq!(at(b"card%204111111111111111", 4, true), Coding::Yes(' ', 3));
    }

    #[test]
    fn where_one_begins_is_told_for_sixteen_bytes_together() {
        let letters = b"aaaaaaaaaaaaaaaaaaaaa4#nt;[\\%&\x1b\xc3";
        let mut random = crate::text::tests::random(7);
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..random(61)).map(|_| letters[random(letters.len())]).collect();
            for ascii in [false, true] {
                let sign = |at: &usize| begins(&text, *at) || ascii && text[*at] >= 0x80;
                assert_eq!(plain(&text, ascii), (0..text.len()).find(sign).unwrap_or(text.len()), "{text:?}");
            }
        }
    }

    /// Whether a coding may begin at a place, told by what follows.
    fn begins(text: &[u8], at: usize) -> bool {
        let next = text.get(at + 1);
        match text[at] {
            b'%' => next.is_none_or(u8::is_ascii_hexdigit),
            b'&' => next.is_none_or(|next| next.is_ascii_alphabetic() || *next == b'#'),
            b'\\' => next.is_none_or(|next| {
                b"uxnrte0".contains(next) || next.is_ascii_punctuation() && !b"\"'`\\".contains(next)
            }),
            0x1b => next.is_none_or(|next| *next == b'['),
            _ => false,
        }
    }

    #[test]
    fn names_are_in_order_and_each_is_found() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        for (name, code) in NAMED {
            assert_eq!(
                at(format!("&{name};").as_bytes(), 0, true),
                Coding::Yes(char::from_u32((*code).into()).unwrap(), name.len() + 2)
            );
        }
    }

    /// Lines of texts to lines of the numbers of their characters.
    const ORACLE: &str = r#"
import codecs, html, sys, urllib.parse
decoders = {"%": urllib.parse.unquote, "&": html.unescape, "\\": lambda text: codecs.decode(text, "unicode_escape")}
for text in sys.stdin.read().split():
    print(*map(ord, decoders[text[0]](text)))
"#;

    #[test]
    fn python_reads_all_of_them_the_same_way() {
        let mut texts: Vec<String> = NAMED.iter().map(|(name, _)| format!("&{name};")).collect();
        for code in 0x20..0x7f {
            texts.extend([format!("%{code:02x}"), format!("%{code:02X}"), format!("&#{code};")]);
            texts.extend([format!("&#x{code:X};"), format!("&#X{code:04x};"), format!("&#{code:07};")]);
            texts.extend([format!("\\x{code:02x}"), format!("\\u{code:04X}")]);
        }
        texts.extend(
            ["%09", "%0a", "%0D", "&#9;", "&#8209;", "&#x1F600;", "\\n", "\\r", "\\t", "\\u2011"]
                .map(String::from),
        );
        let mut python = std::process::Command::new("python3")
            .args(["-c", ORACLE])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut python.stdin.take().unwrap(), texts.join("\n").as_bytes()).unwrap();
        let said = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(said.lines().count(), texts.len());
        for (text, said) in texts.iter().zip(said.lines()) {
            let meant = char::from_u32(said.parse().unwrap()).unwrap();
            assert_eq!(at(text.as_bytes(), 0, true), Coding::Yes(meant, text.len()), "{text}");
        }
    }
}
