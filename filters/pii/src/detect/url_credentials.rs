//! Names and passwords inside addresses: `https://user:password@host`, `postgres://user:password@db`. Only what
//! stands between the scheme and the `@` is the value.

use super::ask::{Ask, Beside, Word};
use super::context::Context;
use super::{Detector, Match, Scan, Verdict};

/// Bytes of a value.
const LONGEST: usize = 320;
/// Characters of a value.
const CHARACTERS: usize = 160;

pub(super) const DETECTOR: Detector = Detector {
    id: "url_credentials",
    mask: "[URL_CREDENTIALS]",
    longest: LONGEST,
    context: &[],
    scan: Scan::Word(Ask { behind: true, before: Beside::Of(b"/:_-.~%$!"), ..Ask::new(at) }),
};

/// Asked at every word, it looks whether that is the first of an address's authority.
fn at(context: &mut Context<'_>, word: Word, _: u8) -> Verdict {
    let view = context.view;
    let bytes = view.bytes();
    let start = word.start;
    // Signs before the first letter, as in `redis://:password@host`, stay: in a stream they went out before it.
    let (mut from, mut colon) = (start, false);
    while start - from < 4
        && matches!(view.before(from), b':' | b'_' | b'-' | b'.' | b'~' | b'%' | b'$' | b'!')
    {
        from -= 1;
        colon |= view.at(from) == b':';
    }
    let scheme = from.checked_sub(3).and_then(|scheme| bytes.get(scheme..from));
    if scheme != Some(b"://") {
        return Verdict::No;
    }
    let rest = bytes.get(start..).unwrap_or_default();
    let inside = |byte: u8| {
        byte.is_ascii_graphic() && !matches!(byte, b'/' | b'@' | b'"' | b'\'' | b'<' | b'>' | b'`')
    };
    let mut length = view.goes_on(start, CHARACTERS, inside);
    if view.at(start + length) != b'@' && (context.last || start + length < bytes.len()) {
        // Its end may be written as a coding itself.
        length = rest.iter().take(CHARACTERS).take_while(|byte| inside(**byte)).count();
    }
    let end = start + length;
    if end == bytes.len() && !context.last {
        return if view.left(start) <= LONGEST { Verdict::Cut(start) } else { Verdict::No };
    }
    let value = rest.get(..length).unwrap_or_default();
    let secret = colon
        || value.iter().position(|byte| *byte == b':').is_some_and(|at| at + 1 < length)
        || length >= 20;
    let fits = view.fits(start, end, LONGEST - 1);
    if view.at(end) == b'@' && secret && fits { Verdict::Yes(Match::new(start, end)) } else { Verdict::No }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn credentials_are_found_between_scheme_and_host() {
        marked(
            "url_credentials",
            &[
                "see https://<jane:s3cret>@example.com/x",
                "https://<app:p%40ss.and-many-more-signs-behind-it>@db/ http://<a:pw>%40db/ postgres://<app:p%40ss>@db:5432/app, redis://:<hunter2>@cache, https://::-<2397user:pw9>@x",
                "https://<abcdefghij0123456789xyz>@github.com/x.git",
                "mongodb+srv://<u:p>@cluster0.mongodb.net",
                "https://example.com:80/a@b git@github.com:x/y ssh://git@host/x http://a:b c@d",
            ],
        );
    }
}
