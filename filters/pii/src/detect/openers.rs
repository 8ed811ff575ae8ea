//! How words without a digit begin that any detector is asked at: by their first four characters. Words with a digit are
//! told otherwise, others hardly ever asked about. Not what is asked there.

use super::warm::warm;

/// Beginnings of words, of three kinds: asked about; to be looked up by candidates; asked about only near a detector's
/// words.
///
/// What words are told by is small, since little of it is in the processor's caches when a request comes. Some of it are
/// bits by a hash, which now and then take a word for another one: whoever is asked about it says so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Openers {
    /// By the first two characters, those of the third: what nearly all words are told by. Of the first two kinds, but for
    /// those that begin with two capitals.
    any: Vec<u32>,
    /// Where anything may follow the first two: by the first, those of the second, asked about.
    twos: Vec<u32>,
    /// By the first three, and by the first four, each of the two kinds.
    threes: Vec<[u32; 2]>,
    fours: Vec<[u32; 2]>,
    /// Those of too many characters for that, asked about: by each place the characters that it may have.
    classes: Vec<[u32; 4]>,
    /// Where the first two are capitals: by these, those of the third; by a mix of the first three, those of the fourth. Of
    /// each of the two kinds.
    capitals: Vec<[[u32; 2]; 2]>,
    /// By the first two characters, those of the third, of the last kind.
    near: Vec<u32>,
}

const ASKED: usize = 0;
const LOOKED_UP: usize = 1;
const NEAR: usize = 2;

/// Bits of each of [`Openers::threes`] and [`Openers::fours`], as a power of two.
const BITS: u32 = 12;
/// Beginnings of one kind that are hashed; what has more is a class.
const HASHED: usize = 128;
/// Pairs of first characters, and in [`Openers::near`].
const PAIRS: usize = 1 << 10;
const NEAR_PAIRS: usize = 2 * PAIRS;

/// The last five bits of so many first characters, hashed: the index of a word of bits, and the bit.
fn hash(four: u32, characters: u32) -> (usize, u32) {
    let hash = (four & (0x1f1f_1f1f >> (32 - 8 * characters))).wrapping_mul(0x9e37_79b1) >> (32 - BITS);
    ((hash >> 5) as usize, hash & 31)
}

/// Whether the first two of four characters are capitals.
fn capitals(four: u32) -> bool {
    four & 0x6060 == 0x4040
}

/// The first two of four characters as an index: the last five bits of each.
fn pair(four: u32) -> usize {
    ((four & 31) << 5 | four >> 8 & 31) as usize
}

/// The same, where two capitals stand elsewhere.
fn near_pair(four: u32) -> usize {
    pair(four) + if capitals(four) { PAIRS } else { 0 }
}

/// The first three, mixed.
fn mix(pair: usize, four: u32) -> usize {
    pair ^ ((four >> 16 & 31) << 5) as usize
}

/// Whether the third and the fourth of four characters are among those: 1 if they are.
fn both([thirds, _]: [u32; 2], [_, fourths]: [u32; 2], four: u32) -> u32 {
    thirds >> (four >> 16 & 31) & fourths >> (four >> 24 & 31) & 1
}

/// Four characters so that the signs beside words have not the last five bits of common letters.
fn apart(four: u32) -> u32 {
    four ^ (((!four & 0x4040_4040) >> 6) * 0x11)
}

/// Four characters; none where the text ends before.
fn four(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}

/// The numbers of the bits that are set.
fn ones(bits: u32) -> impl Iterator<Item = u32> + Clone {
    (0..32).filter(move |bit| bits >> bit & 1 != 0)
}

impl Openers {
    /// Adds what has such a character in each place; `near` if it matters only near a detector's words.
    pub(super) fn group(&mut self, near: bool, has: &dyn Fn(usize, u8) -> bool) {
        self.insert(if near { NEAR } else { ASKED }, has);
    }

    #[inline(never)]
    fn insert(&mut self, which: usize, has: &dyn Fn(usize, u8) -> bool) {
        self.any.resize(PAIRS, 0);
        self.twos.resize(32, 0);
        self.threes.resize(1 << (BITS - 5), [0; 2]);
        self.fours.resize(1 << (BITS - 5), [0; 2]);
        self.capitals.resize(PAIRS, [[0; 2]; 2]);
        self.near.resize(NEAR_PAIRS, 0);
        let have = |place| (0..=u8::MAX).filter(move |byte| has(place, *byte));
        let four = |bytes: [u8; 4]| u32::from_le_bytes(bytes);
        let bits = |place, as_told: fn(u32) -> u32| {
            have(place).fold(0u32, |bits, byte| bits | 1 << (as_told(four([byte, 0, 0, 0])) & 31))
        };
        let as_is: fn(u32) -> u32 = |four| four;
        let pairs = || have(0).flat_map(|first| have(1).map(move |second| four([first, second, 0, 0])));
        if which == NEAR {
            let third = bits(2, as_is);
            for pair in pairs() {
                self.near.get_mut(near_pair(pair)).into_iter().for_each(|thirds| *thirds |= third);
            }
            return;
        }
        let places = [0, 1, 2, 3].map(|place| bits(place, apart));
        let [_, _, third, fourth] = places;
        for pair in pairs().filter(|pair| capitals(*pair)).map(pair) {
            let mut add = |index: usize, at: usize, bits: u32| {
                let slot = self.capitals.get_mut(index).and_then(|all| all.get_mut(which)?.get_mut(at));
                slot.into_iter().for_each(|slot| *slot |= bits);
            };
            add(pair, 0, third);
            ones(third).for_each(|third| add(mix(pair, third << 16), 1, fourth));
        }
        if pairs().all(capitals) {
            return;
        }
        let [a, b, _, _] = places;
        let thirds = bits(2, as_is);
        for pair in pairs().map(pair) {
            self.any.get_mut(pair).into_iter().for_each(|any| *any |= thirds);
        }
        let all = |[a, b, c, d]: [u32; 4], of: &mut dyn FnMut(u32)| {
            for a in ones(a) {
                for b in ones(b) {
                    for c in ones(c) {
                        ones(d).for_each(|d| of(a | b << 8 | c << 16 | d << 24));
                    }
                }
            }
        };
        let short = fourth == u32::MAX;
        if short && third == u32::MAX && which == ASKED {
            let twos = self.twos.iter_mut().enumerate().filter(|(first, _)| a >> first & 1 != 0);
            twos.for_each(|(_, seconds)| *seconds |= b);
            return;
        }
        let few: u32 = places.iter().take(if short { 3 } else { 4 }).map(|bits| bits.count_ones()).product();
        if few as usize > HASHED && which == ASKED {
            let within = |class: &[u32; 4]| places.iter().zip(class).all(|(one, all)| one & !all == 0);
            if !self.classes.iter().any(within) {
                self.classes.push(places);
            }
            return;
        }
        let (characters, table) = if short { (3, &mut self.threes) } else { (4, &mut self.fours) };
        all([a, b, third, if short { 1 } else { fourth }], &mut |one| {
            let (index, bit) = hash(one, characters);
            let slot = table.get_mut(index).and_then(|bits| bits.get_mut(which));
            slot.into_iter().for_each(|bits| *bits |= 1 << bit);
        });
    }

    /// Adds a beginning without regard to case; `X` is a hexadecimal letter, `?` one, a colon or a full stop, `*` is
    /// anything.
    pub(super) fn add(&mut self, text: &str, near: bool) {
        let text = text.as_bytes();
        self.group(near, &|place, byte| match text.get(place) {
            Some(b'X') => matches!(byte | 0x20, b'a'..=b'f'),
            Some(b'?') => matches!(byte | 0x20, b'a'..=b'f' | b':' | b'.'),
            Some(b'*') | None => true,
            Some(one) => one.eq_ignore_ascii_case(&byte),
        });
    }

    /// Adds a word that candidates look up.
    pub(super) fn word(&mut self, text: &[u8]) {
        self.insert(LOOKED_UP, &|place, byte| {
            text.get(place).is_none_or(|one| one.eq_ignore_ascii_case(&byte))
        });
    }

    /// Reads each part of what most words are told by; see [`warm`](super::warm).
    pub(super) fn warm(&self) -> u32 {
        let pairs = |bits: &[u32; 2]| bits[0];
        warm(&self.any, |bits| *bits)
            ^ warm(&self.threes, pairs)
            ^ warm(&self.fours, pairs)
            ^ warm(self.near.get(..PAIRS).unwrap_or_default(), |bits| *bits)
    }

    /// Which of the letters that have their bits in `heads`, the first one's being that of `base`, may begin what is asked
    /// about or looked up; nearly all do not, and no branch depends on it.
    #[inline(never)]
    pub(super) fn among(&self, bytes: &[u8], base: usize, mut heads: u64) -> u64 {
        let Some(any) = self.any.first_chunk::<PAIRS>() else { return 0 };
        let may = |four: u32| {
            let thirds = any.get(pair(four)).copied().unwrap_or_default();
            thirds >> (four >> 16 & 31) & 1 | u32::from(capitals(four))
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
    /// off.
    pub(super) fn has(&self, bytes: &[u8], start: usize) -> (bool, bool) {
        let Some(raw) = four(bytes, start) else { return (true, true) };
        let four = apart(raw);
        if capitals(raw) {
            let pair = pair(four);
            let of = |index: usize| self.capitals.get(index).copied().unwrap_or_default();
            let ([asked, looked_up], [asked_of, looked_up_of]) = (of(pair), of(mix(pair, four)));
            return (both(asked, asked_of, four) != 0, both(looked_up, looked_up_of, four) != 0);
        }
        let of = |table: &[[u32; 2]], (index, bit): (usize, u32)| {
            table.get(index).copied().unwrap_or_default().map(|bits| bits >> bit & 1)
        };
        let [asked, looked_up] = of(&self.threes, hash(four, 3));
        let [asked_of, looked_up_of] = of(&self.fours, hash(four, 4));
        let two = self.twos.get((four & 31) as usize).copied().unwrap_or_default() >> (four >> 8 & 31);
        let class = self.classes.iter().fold(two, |any, [a, b, c, d]| {
            let is = |bits: &u32, place: u32| bits >> (four >> place & 31);
            any | is(a, 0) & is(b, 8) & is(c, 16) & is(d, 24)
        });
        ((asked | asked_of | class) & 1 != 0, (looked_up | looked_up_of) != 0)
    }

    /// Which of the words that have their bits in `heads` may be asked about only near a detector's words.
    #[inline(never)]
    pub(super) fn near(&self, bytes: &[u8], base: usize, mut heads: u64) -> u64 {
        let rest = bytes.get(base..).unwrap_or_default();
        let mut near = 0;
        while heads != 0 {
            let bit = heads.trailing_zeros();
            let Some(four) = four(rest, bit as usize) else { return near | heads };
            heads &= heads - 1;
            let thirds = self.near.get(near_pair(four)).copied().unwrap_or_default();
            near |= u64::from(thirds >> (four >> 16 & 31) & 1) << bit;
        }
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openers() -> Openers {
        let mut openers = Openers::default();
        ["begi", "XXX?", "sk-"].iter().for_each(|text| openers.add(text, false));
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
        for text in ["begin", "BEGI", "Beginning", "fade", "Bad:", "add.", "sk-proj", "SK-1"] {
            assert!(told(text).0, "{text}");
        }
        for text in ["ssn is", "SSN: ", "passport", "PassPort"] {
            assert_eq!((told(text).0, told(text).1), (false, true), "{text}");
        }
        for text in ["each", "below", "skip", "account", "the house", "pause", "smth"] {
            assert_eq!((told(text).0, told(text).1), (false, false), "{text}");
        }
        assert!(told("decided").2 && told("Dec 5").2 && !told("mars").2);
    }

    #[test]
    fn what_the_end_cuts_off_may_be_anything() {
        let openers = openers();
        for text in ["z", "zz", "zzz"] {
            assert_eq!(told(text), (true, true, true), "{text}");
        }
        // Only of the last word no four characters are there.
        assert_eq!(openers.among(b"ends zz zzz", 0, 0b1_0010_0001), 0b1_0000_0000);
    }
}
