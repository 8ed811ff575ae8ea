//! How words without a digit begin that any detector is asked at: by their first four characters. Words with a digit are
//! told otherwise, others hardly ever asked about. Not what is asked there.

use super::signs::Bits;
use super::warm::warm;

/// Beginnings of words, of three kinds: asked about; to be looked up by candidates; asked about only near a detector's
/// words.
///
/// What words are told by is small, since little of it is in the processor's caches when a request comes: bits by a hash,
/// which now and then take a word for another one. Whoever is asked about it says so.
#[derive(Clone, Debug)]
pub(crate) struct Openers {
    /// By the first three characters, what nearly all words are told by: of the first two kinds, but for those that begin
    /// with two capitals; of the last kind.
    any: [u32; ANY],
    near: [u32; NEARBY],
    /// By the first three, or four, of each of the first two kinds.
    hashed: [[u32; 2]; HASHED],
    /// Those of too many characters for that: asked about, asked about near words.
    classes: Classes,
    nearby: Classes,
}

/// Beginnings by the characters that each of six places may have.
#[derive(Clone, Debug, Default)]
struct Class {
    /// Of the first two places, of all.
    either: [Characters; 2],
    all: Vec<[Characters; 6]>,
}

/// Characters of ASCII, a bit for each.
type Characters = [u64; 2];

/// By whether the first is a capital, and whether the second is a sign, a capital or a small letter; none where there are
/// none at all.
type Classes = Vec<Class>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Asked,
    LookedUp,
    Near,
}

/// Words of 32 bits in [`Openers::any`], [`Openers::near`] and [`Openers::hashed`].
const ANY: usize = 1 << 9;
const NEARBY: usize = 1 << 7;
const HASHED: usize = 1 << 8;
/// Beginnings of one kind that are hashed; what has more is a class.
const FEW: usize = 128;

/// Characters, by the last five bits of each, hashed: the index of a word of so many, and the bit.
#[inline]
fn hash(characters: u32, words: usize) -> (usize, u32) {
    let hash = characters.wrapping_mul(0x9e37_79b1) >> (27 - words.trailing_zeros());
    ((hash >> 5) as usize, hash & 31)
}

/// The last five bits of the first three of four characters; of all, so that no three are alike.
#[inline]
fn three(four: u32) -> u32 {
    four & 0x001f_1f1f
}

#[inline]
fn all(four: u32) -> u32 {
    four & 0x1f1f_1f1f | 1 << 31
}

/// Whether the first two of four characters are capitals.
#[inline]
fn capitals(four: u32) -> bool {
    four & 0x6060 == 0x4040
}

/// Four characters so that the signs beside words have not the last five bits of common letters.
#[inline]
fn apart(four: u32) -> u32 {
    four ^ (((!four & 0x4040_4040) >> 6) * 0x11)
}

/// Four characters; none where the text ends before.
#[inline]
fn four(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}

/// The class of what begins with two characters.
#[inline]
fn class(first: u8, second: u8) -> usize {
    usize::from(first & 0x60 == 0x40) * 3 + usize::from(second >> 5 & 3).saturating_sub(1)
}

/// Whether a character is among those: 1 if it is. Those that are not ASCII may be taken for others.
#[inline]
fn among([low, high]: &Characters, byte: u8) -> u64 {
    (if byte & 0x40 == 0 { low } else { high }) >> (byte & 63) & 1
}

/// Whether what begins with four characters at `start` is of a class.
#[inline]
fn within(classes: &Classes, bytes: &[u8], start: usize, four: u32) -> bool {
    let [first, second, ..] = four.to_le_bytes();
    let Some(class) = classes.get(class(first, second)) else { return false };
    let [a, b] = &class.either;
    among(a, first) & among(b, second) != 0 && class.has(bytes.get(start..).unwrap_or_default())
}

impl Class {
    /// Adds beginnings, to others that differ from them in one place only.
    #[inline(never)]
    fn add(&mut self, places: &[Characters]) {
        fn join([a, b]: &mut Characters, [c, d]: &Characters) {
            (*a, *b) = (*a | c, *b | d);
        }
        self.either.iter_mut().zip(places).for_each(|(all, one)| join(all, one));
        for class in &mut self.all {
            let both = || places.iter().zip(class.iter());
            if both().all(|([a, b], [c, d])| a & !c == 0 && b & !d == 0) {
                return;
            }
            if both().filter(|(one, all)| one == all).count() + 1 == places.len() {
                return class.iter_mut().zip(places).for_each(|(all, one)| join(all, one));
            }
        }
        self.all.extend(<[Characters; 6]>::try_from(places).ok());
    }

    /// Whether a text begins so; what its end cuts off may be anything.
    #[inline(never)]
    fn has(&self, text: &[u8]) -> bool {
        let begins = |class: &[Characters; 6]| text.iter().zip(class).all(|(byte, of)| among(of, *byte) != 0);
        self.all.iter().any(begins)
    }
}

impl Default for Openers {
    fn default() -> Self {
        Self {
            any: [0; ANY],
            near: [0; NEARBY],
            hashed: [[0; 2]; HASHED],
            classes: Vec::new(),
            nearby: Vec::new(),
        }
    }
}

impl Openers {
    /// Adds what has such a character in each place; `near` if it matters only near a detector's words.
    pub(super) fn group(&mut self, near: bool, has: &dyn Fn(usize, u8) -> bool) {
        self.insert(if near { Kind::Near } else { Kind::Asked }, has);
    }

    #[inline(never)]
    fn insert(&mut self, kind: Kind, has: &dyn Fn(usize, u8) -> bool) {
        let places = |told: fn(u32) -> u32| {
            let mut places = [0; 4];
            places.iter_mut().enumerate().for_each(|(place, bits)| *bits = bits_of(has, place, told));
            places
        };
        let upper = |place| have(has, place).all(|byte| byte.is_ascii_uppercase());
        let (places, as_is, capitals) = (places(apart), places(|byte| byte), upper(0) && upper(1));
        let add = |classes: &mut Classes| {
            let mut kinds = 0u8;
            have(has, 0).for_each(|first| have(has, 1).for_each(|second| kinds |= 1 << class(first, second)));
            classes.resize_with(6, Class::default);
            let of = classes.iter_mut().enumerate().filter(|(kind, _)| kinds >> kind & 1 != 0);
            let mut exact = [[0; 2]; 6];
            exact.iter_mut().enumerate().for_each(|(place, of)| *of = exactly(has, place));
            of.for_each(|(_, class)| class.add(&exact));
        };
        if kind == Kind::Near {
            if capitals || count(as_is, 3) > FEW {
                return add(&mut self.nearby);
            }
            return each(as_is, 3, &mut |four| set(&mut self.near, hash(four, NEARBY)));
        }
        if !capitals {
            each(as_is, 3, &mut |four| set(&mut self.any, hash(four, ANY)));
        }
        let [_, _, _, fourth] = places;
        let characters = if fourth == u32::MAX { 3 } else { 4 };
        if capitals || count(places, characters) > FEW {
            return add(&mut self.classes);
        }
        each(places, characters, &mut |four| {
            let (index, bit) = hash(if characters == 3 { four } else { all(four) }, HASHED);
            let slot = self
                .hashed
                .get_mut(index)
                .and_then(|kinds| kinds.get_mut(usize::from(kind == Kind::LookedUp)));
            slot.into_iter().for_each(|bits| *bits |= 1 << bit);
        });
    }

    /// Adds a beginning without regard to case; `X` is a hexadecimal letter, `*` is anything.
    pub(super) fn add(&mut self, text: &str, near: bool) {
        let text = text.as_bytes();
        self.group(near, &|place, byte| match text.get(place) {
            Some(b'X') => matches!(byte | 0x20, b'a'..=b'f'),
            Some(b'*') | None => true,
            Some(one) => one.eq_ignore_ascii_case(&byte),
        });
    }

    /// Adds a word that candidates look up.
    pub(super) fn word(&mut self, text: &[u8]) {
        self.insert(Kind::LookedUp, &|place, byte| {
            text.get(place).is_none_or(|one| one.eq_ignore_ascii_case(&byte))
        });
    }

    /// Reads each part of what most words are told by; see [`warm`](super::warm).
    pub(super) fn warm(&self) -> u64 {
        warm(&self.any) ^ warm(&self.near) ^ warm(self.hashed.as_flattened())
    }

    /// Which of the letters that have their bits in `heads`, the first one's being that of `base`, may begin what is asked
    /// about or looked up; nearly all do not, and no branch depends on it.
    #[inline(never)]
    pub(super) fn among(&self, bytes: &[u8], base: usize, mut heads: u64) -> u64 {
        let may = |four: u32| {
            let (index, bit) = hash(three(four), ANY);
            self.any.get(index).copied().unwrap_or_default() >> bit & 1 | u32::from(capitals(four))
        };
        let rest = bytes.get(base..).unwrap_or_default();
        let mut among = 0;
        if let Some(block) = rest.first_chunk::<67>() {
            while heads != 0 {
                let bit = heads.trailing_zeros() & 63;
                heads &= heads - 1;
                let four =
                    block.get(bit as usize..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
                among |= u64::from(may(u32::from_le_bytes(four))) << bit;
            }
            return among;
        }
        while heads != 0 {
            let bit = heads.trailing_zeros();
            // What the end cuts off may be anything.
            let Some(four) = four(rest, bit as usize) else { return among | heads };
            heads &= heads - 1;
            among |= u64::from(may(four)) << bit;
        }
        among
    }

    /// Whether a word that begins here is asked about, and whether it is looked up; so may be what the text's end cuts
    /// off, but that no word that is looked up is shorter than three letters.
    pub(super) fn has(&self, bytes: &[u8], start: usize) -> (bool, bool) {
        let Some(raw) = four(bytes, start) else { return (true, bytes.len() > start + 2) };
        let four = apart(raw);
        let of = |(index, bit): (usize, u32)| {
            self.hashed.get(index).copied().unwrap_or_default().map(|bits| bits >> bit & 1)
        };
        let ([asked, looked_up], [asked_of, looked_up_of]) =
            (of(hash(three(four), HASHED)), of(hash(all(four), HASHED)));
        ((asked | asked_of) != 0 || within(&self.classes, bytes, start, raw), (looked_up | looked_up_of) != 0)
    }

    /// Which of the words that have their bits in `heads` may be asked about only near a detector's words.
    #[inline(never)]
    pub(super) fn near(&self, bytes: &[u8], base: usize, mut heads: u64) -> u64 {
        let rest = bytes.get(base..).unwrap_or_default();
        let mut near = 0;
        while heads != 0 {
            let bit = heads.trailing_zeros();
            let Some(raw) = four(rest, bit as usize) else { return near | heads };
            heads &= heads - 1;
            let (index, of) = hash(three(raw), NEARBY);
            let mut may = self.near.get(index).copied().unwrap_or_default() >> of & 1 != 0;
            // What is a class begins with two capitals, or with one letter that stands alone.
            if capitals(raw) || raw & 0x4000 == 0 {
                may |= within(&self.nearby, rest, bit as usize, raw);
            }
            near |= u64::from(may) << bit;
        }
        near
    }
}

/// What characters a place may have.
type Has<'h> = &'h dyn Fn(usize, u8) -> bool;

fn have(has: Has<'_>, place: usize) -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(move |byte| has(place, *byte))
}

/// The characters of a place, by what they are told as.
#[inline(never)]
fn bits_of(has: Has<'_>, place: usize, told: fn(u32) -> u32) -> u32 {
    have(has, place).fold(0, |bits, byte| bits | 1 << (told(u32::from(byte)) & 31))
}

/// Those that are ASCII.
#[inline(never)]
fn exactly(has: Has<'_>, place: usize) -> Characters {
    let ascii = have(has, place).filter(|byte| *byte < 0x80);
    ascii.fold([0; 2], |[low, high], byte| match byte & 0x40 {
        0 => [low | 1 << (byte & 63), high],
        _ => [low, high | 1 << (byte & 63)],
    })
}

/// How many texts have such characters in the first places, about.
fn count(places: [u32; 4], characters: usize) -> usize {
    places.iter().take(characters).map(|bits| bits.count_ones() as usize).product()
}

/// Each of them.
fn each([a, b, c, d]: [u32; 4], characters: usize, of: &mut dyn FnMut(u32)) {
    let ones = |bits: u32| Bits(u64::from(bits)).map(u64::trailing_zeros);
    for a in ones(a) {
        for b in ones(b) {
            for c in ones(c) {
                ones(if characters == 4 { d } else { 1 }).for_each(|d| of(a | b << 8 | c << 16 | d << 24));
            }
        }
    }
}

fn set(table: &mut [u32], (index, bit): (usize, u32)) {
    table.get_mut(index).into_iter().for_each(|bits| *bits |= 1 << bit);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openers() -> Openers {
        let mut openers = Openers::default();
        ["begi", "XXXX:", "sk-"].iter().for_each(|text| openers.add(text, false));
        openers.add("dec", true);
        [&b"ssn"[..], b"passport"].iter().for_each(|word| openers.word(word));
        openers
    }

    /// Asked about, looked up, asked about near others' words.
    fn told(text: &str) -> (bool, bool, bool) {
        let (openers, text) = (openers(), text.as_bytes());
        let (asked, looked_up) = openers.has(text, 0);
        let among = openers.among(text, 0, 1) == 1;
        assert!(among || !asked && !looked_up, "what one of the two tells, both together tell: {text:?}");
        (asked, looked_up, openers.near(text, 0, 1) == 1)
    }

    #[test]
    fn what_was_added_is_told_in_any_case_and_nothing_like_it() {
        for text in ["begin", "BEGI", "Beginning", "fade:", "FADE:1", "deaf", "sk-proj", "SK-1"] {
            assert!(told(text).0, "{text}");
        }
        for text in ["ssn is", "SSN: ", "passport", "PassPort"] {
            assert_eq!((told(text).0, told(text).1), (false, true), "{text}");
        }
        for text in ["each", "face it", "faded", "below", "skip", "account", "the house", "pause", "smth"] {
            assert_eq!((told(text).0, told(text).1), (false, false), "{text}");
        }
        assert!(told("decided").2 && told("Dec 5").2 && !told("mars").2);
    }

    #[test]
    fn what_the_end_cuts_off_may_be_anything() {
        let openers = openers();
        for text in ["z", "zz", "zzz"] {
            assert_eq!(told(text), (true, text.len() > 2, true), "{text}");
        }
        // Only of the last word no four characters are there.
        assert_eq!(openers.among(b"ends zz zzz", 0, 0b1_0010_0001), 0b1_0000_0000);
    }
}
