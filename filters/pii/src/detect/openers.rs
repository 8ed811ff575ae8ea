//! How words without a digit begin that any detector is asked at: by their first four characters. Words with a digit are
//! told otherwise, others hardly ever asked about. Not what is asked there.

/// Beginnings of words, of three kinds: asked about; to be looked up by candidates; asked about only near a detector's
/// words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Openers {
    /// By the first two characters, those of the third, a bit for each; by a mix of the first three, those of the fourth.
    /// Of the first two kinds together: what nearly all words are told by, so that it is small.
    any: Vec<[u32; 2]>,
    /// The same of each of the two.
    each: Vec<[[u32; 2]; 2]>,
    /// By the first two characters, those of the third, of the last kind.
    near: Vec<u32>,
}

const ASKED: usize = 0;
const LOOKED_UP: usize = 1;
const NEAR: usize = 2;

/// The first two of four characters as an index: the last five bits of each, and whether both are capitals. No branch
/// depends on that, since none can be foreseen.
fn pair(four: u32) -> usize {
    let capitals = u32::from(four & 0x6060 == 0x4040);
    (capitals << 10 | (four & 31) << 5 | four >> 8 & 31) as usize
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

impl Openers {
    /// Adds what has such a character in each place; `near` if it matters only near a detector's words.
    pub(super) fn group(&mut self, near: bool, has: &dyn Fn(usize, u8) -> bool) {
        self.insert(if near { NEAR } else { ASKED }, has);
    }

    #[inline(never)]
    fn insert(&mut self, which: usize, has: &dyn Fn(usize, u8) -> bool) {
        self.any.resize(2048, [0; 2]);
        self.each.resize(2048, [[0; 2]; 2]);
        self.near.resize(2048, 0);
        let have = |place| (0..=u8::MAX).filter(move |byte| has(place, *byte));
        let four = |bytes: [u8; 4]| u32::from_le_bytes(bytes);
        let bits = |place, as_told: fn(u32) -> u32| {
            have(place).fold(0u32, |bits, byte| bits | 1 << (as_told(four([byte, 0, 0, 0])) & 31))
        };
        let add = |slots: &mut dyn FnMut(usize, usize, u32), as_told: fn(u32) -> u32| {
            let (third, fourth) = (bits(2, as_told), bits(3, as_told));
            for first in have(0) {
                for second in have(1) {
                    let pair = pair(as_told(four([first, second, 0, 0])));
                    slots(pair, 0, third);
                    (0..32u32)
                        .filter(|byte| third >> byte & 1 != 0)
                        .for_each(|byte| slots(mix(pair, byte << 16), 1, fourth));
                }
            }
        };
        let Self { any, each, near } = self;
        if which == NEAR {
            let mut slot = |index: usize, at: usize, bits: u32| {
                near.get_mut(index).filter(|_| at == 0).into_iter().for_each(|thirds| *thirds |= bits);
            };
            return add(&mut slot, apart);
        }
        let mut slot = |index: usize, at: usize, bits: u32| {
            let slot = any.get_mut(index).and_then(|any| any.get_mut(at));
            slot.into_iter().for_each(|slot| *slot |= bits);
        };
        add(&mut slot, |four| four);
        let mut slot = |index: usize, at: usize, bits: u32| {
            let slot = each.get_mut(index).and_then(|each| each.get_mut(which)?.get_mut(at));
            slot.into_iter().for_each(|slot| *slot |= bits);
        };
        add(&mut slot, apart);
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

    /// Which of the letters that have their bits in `heads`, the first one's being that of `base`, may begin what is asked
    /// about or looked up; nearly all do not, and no branch depends on it.
    #[inline(never)]
    pub(super) fn among(&self, bytes: &[u8], base: usize, mut heads: u64) -> u64 {
        let Some(any) = self.any.first_chunk::<2048>() else { return 0 };
        let mut among = 0;
        while heads != 0 {
            let bit = heads.trailing_zeros();
            let Some(four) = four(bytes, base + bit as usize) else { return among | heads };
            heads &= heads - 1;
            let pair = pair(four);
            let of = |index: usize| any.get(index & 2047).copied().unwrap_or_default();
            among |= u64::from(both(of(pair), of(mix(pair, four)), four)) << bit;
        }
        among
    }

    /// Whether a word that begins here is asked about, and whether it is looked up; so may be what the text's end cuts
    /// off.
    pub(super) fn has(&self, bytes: &[u8], start: usize) -> (bool, bool) {
        let Some(four) = four(bytes, start).map(apart) else { return (true, true) };
        let pair = pair(four);
        let of = |index: usize| self.each.get(index).copied().unwrap_or_default();
        let ([asked, looked_up], [asked_of, looked_up_of]) = (of(pair), of(mix(pair, four)));
        (both(asked, asked_of, four) != 0, both(looked_up, looked_up_of, four) != 0)
    }

    /// Which of the words that have their bits in `heads` may be asked about only near a detector's words.
    #[inline(never)]
    pub(super) fn near(&self, bytes: &[u8], base: usize, mut heads: u64) -> u64 {
        let mut near = 0;
        while heads != 0 {
            let bit = heads.trailing_zeros();
            let Some(four) = four(bytes, base + bit as usize).map(apart) else { return near | heads };
            heads &= heads - 1;
            let thirds = self.near.get(pair(four)).copied().unwrap_or_default();
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
