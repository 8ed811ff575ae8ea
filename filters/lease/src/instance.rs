//! What one counter counts: a budget, its unit, the value of `each`, and the hash of its definition.

/// What a budget is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Unit {
    /// Input and output tokens together.
    Tokens = 0,
    /// Requests.
    Requests = 1,
    /// Nano-USD, 10⁻⁹ USD.
    NanoUsd = 2,
}

impl Unit {
    /// The name in metrics and texts: `tokens`, `requests`, `usd`.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Tokens => "tokens",
            Unit::Requests => "requests",
            Unit::NanoUsd => "usd",
        }
    }
}

/// 128 bits that stand for an [`Instance`] in keys and lists.
pub type InstanceId = u128;

/// One counter. Changing a budget's limit keeps the counter; changing its definition starts a new one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Instance {
    /// Name of the budget.
    #[prost(string, tag = "1")]
    pub budget: String,
    /// What is counted; see [`Unit`].
    #[prost(enumeration = "Unit", tag = "2")]
    pub unit: i32,
    /// Values of `each`, joined by the caller; empty for a budget that everyone shares.
    #[prost(string, tag = "3")]
    pub subject: String,
    /// Hash of when, each, unit and window, as the policy compiler wrote it.
    #[prost(string, tag = "4")]
    pub definition: String,
}

/// Longest subject kept as it is, in bytes; a longer one is cut and its hash appended, since clients may choose it.
pub const MAX_SUBJECT: usize = 128;

impl Instance {
    /// An instance; an overlong subject is cut to a prefix and the hash of the whole.
    pub fn new(budget: &str, unit: Unit, subject: &str, definition: &str) -> Instance {
        let subject = match subject.len() > MAX_SUBJECT {
            false => subject.to_owned(),
            true => {
                let mut cut = String::with_capacity(MAX_SUBJECT);
                for c in subject.chars() {
                    if cut.len() + c.len_utf8() > MAX_SUBJECT - 33 {
                        break;
                    }
                    cut.push(c);
                }
                cut.push('#');
                let hash = absorb(SEED, subject.as_bytes());
                for i in (0..32).rev() {
                    let digit = (hash >> (4 * i)) as u32 & 15;
                    cut.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
                cut
            }
        };
        Instance { budget: budget.to_owned(), unit: unit as i32, subject, definition: definition.to_owned() }
    }

    /// 128-bit FNV-1a over the four fields, each behind its length. It only finds things fast: wherever two instances
    /// could be confused the fields themselves are compared, so that a made-up collision gains nothing.
    pub fn id(&self) -> InstanceId {
        let mut hash = SEED;
        for field in [
            self.budget.as_bytes(),
            &self.unit.to_le_bytes(),
            self.subject.as_bytes(),
            self.definition.as_bytes(),
        ] {
            hash = absorb(hash, &(field.len() as u32).to_le_bytes());
            hash = absorb(hash, field);
        }
        hash
    }
}

const SEED: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = (1 << 88) + 0x13b;

fn absorb(mut hash: u128, bytes: &[u8]) -> u128 {
    for byte in bytes {
        hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    }
    hash
}

/// 64 well-mixed bits of several words (the finalizer of splitmix64, absorbed word by word).
pub fn mix(words: &[u64]) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for word in words {
        let mut z = (hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash = z ^ (z >> 31);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_tells_instances_apart() {
        let base = Instance::new("b", Unit::Tokens, "s", "d");
        for other in [
            Instance::new("c", Unit::Tokens, "s", "d"),
            Instance::new("b", Unit::Requests, "s", "d"),
            Instance::new("b", Unit::Tokens, "t", "d"),
            Instance::new("b", Unit::Tokens, "s", "e"),
            Instance::new("bs", Unit::Tokens, "", "d"),
            Instance::new("", Unit::Tokens, "bs", "d"),
        ] {
            assert_ne!(base.id(), other.id());
        }
    }

    #[test]
    fn the_hash_is_fnv_1a_of_128_bits() {
        // From the reference vectors of FNV: "" and "a" and "foobar".
        assert_eq!(absorb(SEED, b""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(absorb(SEED, b"a"), 0xd228cb696f1a8caf78912b704e4a8964);
        assert_eq!(absorb(SEED, b"foobar"), 0x343e1662793c64bf6f0d3597ba446f18);
    }

    #[test]
    fn a_long_subject_is_cut_and_still_distinct() {
        let long = "é".repeat(500);
        let a = Instance::new("b", Unit::Tokens, &long, "d");
        let b = Instance::new("b", Unit::Tokens, &(long.clone() + "x"), "d");
        assert!(a.subject.len() <= MAX_SUBJECT && b.subject.len() <= MAX_SUBJECT);
        assert_ne!(a, b);
    }
}
