//! The registry of detectors. A new one is a file with its vectors, a line here, and nothing else.

mod aba_routing;
mod age;
mod anthropic_key;
mod ask;
mod au_abn;
mod au_medicare;
mod au_tfn;
mod aws_access_key;
mod basic_auth;
mod ca_sin;
mod card_cvv;
mod card_expiry;
pub(crate) mod check;
mod context;
mod credit_card;
mod crypto_address;
mod date_of_birth;
mod de_id_card;
mod de_social_security;
mod de_tax_id;
mod email;
mod es_nie;
mod es_nif;
mod fi_hetu;
mod fr_nir;
mod gcp_key;
mod github_token;
mod gitlab_token;
mod huggingface_token;
mod iban;
mod in_aadhaar;
mod in_pan;
mod ip_address;
mod it_fiscal_code;
mod jwt;
mod license_plate;
mod mac_address;
mod marks;
mod medical_record;
mod nl_bsn;
mod npm_token;
mod numbers;
mod openai_key;
mod openers;
pub(crate) mod pass;
mod password;
pub(crate) mod pattern;
mod phone;
mod pl_pesel;
mod prefix;
mod private_key;
mod pypi_token;
mod row;
mod se_personnummer;
mod series;
mod sg_nric;
mod signs;
mod slack_token;
mod stripe_key;
mod swift_bic;
mod uk_nhs;
mod uk_nino;
mod uk_utr;
mod url_credentials;
mod us_bank_account;
mod us_driver_license;
mod us_ein;
mod us_itin;
mod us_passport;
mod us_ssn;
mod vin;
mod warm;
pub(crate) mod words;

use ask::{Ask, AskWord, Digits};
use prefix::Prefix;
use row::Row;

use crate::tail::Tail;

/// Bytes before a value that may decide whether it is one: no detector looks farther back.
pub(crate) const CONTEXT: usize = 128;

/// A match, as a range of the view.
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// How it goes on behind `end`.
    pub(crate) tail: Option<Tail>,
}

impl Match {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end, tail: None }
    }
}

/// What is known of a place where a value may begin.
pub(crate) enum Verdict {
    /// None does.
    No,
    /// This one.
    Yes(Match),
    /// The text ended too early; a value may begin at this character, or later.
    Cut(usize),
}

/// How a detector finds its values.
pub(crate) enum Scan {
    /// Groups of letters and digits, as data.
    Rows(&'static [Row]),
    /// Tokens by what they begin with, as data.
    Prefixes(&'static [Prefix]),
    /// Asked at words.
    Word(Ask),
    /// Asked at series of nine digits and more.
    Digits(Digits),
    /// Asked at every `@`, and at the end of a text that goes on.
    Ats(AskWord),
}

/// One type of personal data.
pub struct Detector {
    /// The type's name in policies and counts.
    pub id: &'static str,
    /// What stands in its place when masked; without the last bracket also what placeholders begin with.
    pub mask: &'static str,
    /// Bytes of the longest text that a match can be.
    pub longest: usize,
    /// Words that have to stand near a value, lower case; which values need them is the scan's affair.
    pub(crate) context: &'static [&'static str],
    pub(crate) scan: Scan,
}

/// All detectors. The position is the [`Kind`]; new ones go to the end.
pub static DETECTORS: &[Detector] = &[
    email::DETECTOR,
    credit_card::DETECTOR,
    us_ssn::DETECTOR,
    iban::DETECTOR,
    us_itin::DETECTOR,
    phone::DETECTOR,
    ip_address::DETECTOR,
    mac_address::DETECTOR,
    url_credentials::DETECTOR,
    swift_bic::DETECTOR,
    aba_routing::DETECTOR,
    us_bank_account::DETECTOR,
    card_expiry::DETECTOR,
    card_cvv::DETECTOR,
    crypto_address::DETECTOR,
    us_ein::DETECTOR,
    us_passport::DETECTOR,
    us_driver_license::DETECTOR,
    medical_record::DETECTOR,
    vin::DETECTOR,
    license_plate::DETECTOR,
    date_of_birth::DETECTOR,
    age::DETECTOR,
    ca_sin::DETECTOR,
    uk_nino::DETECTOR,
    uk_nhs::DETECTOR,
    uk_utr::DETECTOR,
    de_tax_id::DETECTOR,
    de_id_card::DETECTOR,
    de_social_security::DETECTOR,
    fr_nir::DETECTOR,
    es_nif::DETECTOR,
    es_nie::DETECTOR,
    it_fiscal_code::DETECTOR,
    nl_bsn::DETECTOR,
    pl_pesel::DETECTOR,
    se_personnummer::DETECTOR,
    fi_hetu::DETECTOR,
    au_tfn::DETECTOR,
    au_abn::DETECTOR,
    au_medicare::DETECTOR,
    in_aadhaar::DETECTOR,
    in_pan::DETECTOR,
    sg_nric::DETECTOR,
    private_key::DETECTOR,
    jwt::DETECTOR,
    aws_access_key::DETECTOR,
    gcp_key::DETECTOR,
    github_token::DETECTOR,
    gitlab_token::DETECTOR,
    slack_token::DETECTOR,
    stripe_key::DETECTOR,
    anthropic_key::DETECTOR,
    openai_key::DETECTOR,
    huggingface_token::DETECTOR,
    npm_token::DETECTOR,
    pypi_token::DETECTOR,
    basic_auth::DETECTOR,
    password::DETECTOR,
];

/// Types that no pattern finds, as name and mask: detectors outside do. New ones go to the end.
const OUTSIDE: [(&str, &str); 7] = [
    ("person", "[PERSON]"),
    ("location", "[LOCATION]"),
    ("address", "[ADDRESS]"),
    ("organization", "[ORGANIZATION]"),
    ("nrp", "[NRP]"),
    ("date_time", "[DATE_TIME]"),
    ("entity", "[ENTITY]"),
];

/// The type of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(u8);

impl Kind {
    /// A word of the house.
    pub const WORD: Self = Self(u8::MAX);
    /// A tenant's pattern.
    pub const PATTERN: Self = Self(u8::MAX - 1);
    /// The first of those that only detectors outside find; see [`OUTSIDE`].
    const FIRST_OUTSIDE: u8 = u8::MAX - 1 - OUTSIDE.len() as u8;

    /// The kind of a detector.
    pub fn of(id: &str) -> Option<Self> {
        DETECTORS.iter().position(|detector| detector.id == id).map(|index| Self(index as u8))
    }

    /// The kind of a detector, or of what only detectors outside find.
    pub fn named(name: &str) -> Option<Self> {
        let outside = || OUTSIDE.iter().position(|(id, _)| *id == name);
        Self::of(name).or_else(|| outside().map(|index| Self(Self::FIRST_OUTSIDE + index as u8)))
    }

    /// Every kind.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        std::iter::successors(Some(Self(0)), |kind| {
            let next = kind.0.checked_add(1)?;
            Some(Self(if usize::from(next) == DETECTORS.len() { Self::FIRST_OUTSIDE } else { next }))
        })
    }

    pub(crate) fn detector(self) -> Option<&'static Detector> {
        DETECTORS.get(usize::from(self.0))
    }

    /// The kind of a detector by its place.
    pub(crate) fn numbered(detector: u8) -> Self {
        Self(detector)
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The type's name: a detector's id, `word`, `pattern`, or what a detector outside finds.
    pub fn name(self) -> &'static str {
        self.detector().map_or_else(|| self.other().0, |detector| detector.id)
    }

    /// What stands in place of a masked value: `[EMAIL]`.
    pub fn mask(self) -> &'static str {
        self.detector().map_or_else(|| self.other().1, |detector| detector.mask)
    }

    /// Name and mask of what has no detector here.
    fn other(self) -> (&'static str, &'static str) {
        let outside = OUTSIDE.get(usize::from(self.0.wrapping_sub(Self::FIRST_OUTSIDE))).copied();
        outside.unwrap_or(if self == Self::WORD { ("word", "[WORD]") } else { ("pattern", "[PATTERN]") })
    }

    /// The name inside the brackets: `EMAIL`.
    pub(crate) fn label(self) -> &'static str {
        let mask = self.mask();
        mask.get(1..mask.len().saturating_sub(1)).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod vectors {
    use std::rc::Rc;

    use crate::view::tests::{ESCAPES, written};
    use crate::{Action, Finding, Redactor, Rule, Set, Written, find, find_written};

    /// A character as others write it.
    type Coded = fn(char) -> String;

    /// As URLs write what stands in them, as HTML and source code may write any sign, and a letter here and there.
    const CODED: [Coded; 4] = [
        |c| match c {
            c if c.is_ascii_alphanumeric() || !c.is_ascii() || "-_.!~*'()".contains(c) => c.into(),
            c => format!("%{:02X}", u32::from(c)),
        },
        |c| match c {
            c if c.is_ascii_alphanumeric() => c.into(),
            c => format!("&#{};", u32::from(c)),
        },
        |c| match c {
            c if c.is_ascii_alphanumeric() => c.into(),
            c if c.is_ascii() => format!("\\x{:02x}", u32::from(c)),
            c => format!("&#x{:x};", u32::from(c)),
        },
        |c| match c {
            'e' | '7' | '@' | ' ' => format!("\\\\u{:04x}", u32::from(c)),
            c => c.into(),
        },
    ];

    /// Asserts that exactly `values` are found in `text`, however it is coded, and that the stream agrees at every split.
    pub(crate) fn check(id: &str, text: &str, values: &[&str]) {
        as_written(id, text, values);
        if text.contains(['%', '&', '\\', '\u{1b}']) {
            return;
        }
        for coded in CODED {
            let (mut whole, mut parts, mut rest) = (String::new(), Vec::new(), text);
            for value in values {
                let at = rest.find(value).unwrap();
                whole.extend(rest[..at].chars().map(coded));
                let part: String = value.chars().map(coded).collect();
                whole += &part;
                parts.push(part);
                rest = &rest[at + value.len()..];
            }
            whole.extend(rest.chars().map(coded));
            // Words have to be as near, in bytes, and values no longer.
            if whole.len() < text.len() + 20 && whole != text {
                as_written(id, &whole, &parts.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
    }

    fn as_written(id: &str, text: &str, values: &[&str]) {
        let rule = Rule { find: vec![id.to_owned()], words: Vec::new(), action: Action::Mask };
        let set = Rc::new(Set::new(&[rule]).unwrap());
        let mut findings = Vec::new();
        find(&set, text, &mut findings);
        let found: Vec<&str> = findings.iter().map(|Finding { range, .. }| &text[range.clone()]).collect();
        assert_eq!(found, values, "{text:?}");
        for every in 1..4 {
            let raw = written(text, |at| at % every == 0);
            let whole = Written { raw: &raw, escapes: &ESCAPES, text: &|| text, message: false };
            let mut escaped = Vec::new();
            find_written(&set, &whole, &mut escaped);
            assert_eq!(escaped, findings, "{raw:?}");
        }
        let mut masked = text.to_owned();
        for finding in findings.iter().rev() {
            masked.replace_range(finding.range.clone(), finding.kind.mask());
            assert!(finding.range.len() <= finding.kind.detector().unwrap().longest, "{text:?}");
        }
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (mut redactor, mut out) = (Redactor::new(set.clone()), String::new());
            redactor.push(&text[..at], &mut out);
            redactor.push(&text[at..], &mut out);
            redactor.finish(&mut out);
            assert_eq!(out, masked, "{text:?} split at {at}");
        }
        let characters: Vec<char> = text.chars().collect();
        for size in 1..=characters.len() {
            let (mut redactor, mut out) = (Redactor::new(set.clone()), String::new());
            for piece in characters.chunks(size) {
                redactor.push(&piece.iter().collect::<String>(), &mut out);
            }
            redactor.finish(&mut out);
            assert_eq!(out, masked, "{text:?} in pieces of {size} characters");
        }
    }

    /// The same for texts whose every value is between `<` and `>` in the vector.
    pub(crate) fn marked(id: &str, vectors: &[&str]) {
        for vector in vectors {
            let values: Vec<&str> =
                vector.split('<').skip(1).map(|piece| piece.split('>').next().unwrap()).collect();
            check(id, &vector.replace(['<', '>'], ""), &values);
        }
    }

    /// For every beginning of tokens and length of what follows: such a token is found whole, a longer one too,
    /// a shorter one is none.
    pub(crate) fn tokens(id: &str, beginnings: &[(&str, usize)]) {
        let body =
            |length: usize| -> String { "A1B2C3D4E5F6G7H8J9K0".chars().cycle().take(length).collect() };
        for (beginning, length) in beginnings {
            let shown = beginning.strip_prefix("https://").unwrap_or(beginning);
            let front = beginning.strip_suffix(shown).unwrap();
            for more in [0, 1, 40] {
                let token = format!("{shown}{}", body(length + more));
                check(id, &format!("key: {front}{token}, \"{token}\"\n"), &[&token, &token]);
                check(id, &format!("{front}{token}"), &[&token]);
            }
            check(id, &format!("x{}{} {shown} {}", shown, body(*length), shown.to_lowercase()), &[]);
        }
    }

    #[test]
    fn the_registry_is_consistent() {
        for (index, detector) in super::DETECTORS.iter().enumerate() {
            let kind = super::Kind::of(detector.id).unwrap();
            assert_eq!(
                (usize::from(kind.number()), kind.name()),
                (index, detector.id),
                "twice in the registry"
            );
            assert_eq!(kind.label(), detector.id.to_uppercase());
            assert_eq!(detector.mask, format!("[{}]", kind.label()));
            assert!((1..=1024).contains(&detector.longest));
            for word in detector.context {
                // What finds them compares three letters first, in the order of the words.
                let first = word.as_bytes().first_chunk::<3>();
                assert!(first.is_some_and(|first| first.iter().all(|byte| byte & 0x20 != 0)), "{word}");
            }
        }
        for (name, mask) in super::OUTSIDE {
            let kind = super::Kind::named(name).unwrap();
            assert_eq!((kind.name(), kind.mask()), (name, mask));
            assert_eq!((kind.label(), super::Kind::of(name)), (name.to_uppercase().as_str(), None));
        }
        let rows = super::DETECTORS.iter().map(|detector| match detector.scan {
            super::Scan::Rows(rows) => rows.len(),
            _ => 0,
        });
        assert!(rows.sum::<usize>() <= usize::from(u8::MAX), "where rows begin is told by a byte");
        let asked = super::DETECTORS.iter().filter(|detector| matches!(detector.scan, super::Scan::Word(_)));
        assert!(asked.count() <= 8, "a byte has a bit for each of them");
        let digits = super::DETECTORS.iter().filter(|found| matches!(found.scan, super::Scan::Digits(_)));
        assert!(digits.count() <= 8, "here, too");
        for detector in super::DETECTORS {
            if let super::Scan::Prefixes(prefixes) = detector.scan {
                assert!(prefixes.iter().all(|prefix| prefix.text.len() >= 2), "{}", detector.id);
            }
        }
        // What replaces a value has to be escaped nowhere, and digits are a placeholder's number.
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        assert!(super::Kind::all().all(|kind| kind.label().bytes().all(plain)));
        let all: Vec<u8> = super::Kind::all().map(super::Kind::number).collect();
        assert!(
            all.is_sorted_by(|a, b| a < b) && all.len() == super::DETECTORS.len() + super::OUTSIDE.len() + 2
        );
        assert_eq!((super::Kind::WORD.name(), super::Kind::WORD.label()), ("word", "WORD"));
        assert_eq!((super::Kind::PATTERN.name(), super::Kind::PATTERN.label()), ("pattern", "PATTERN"));
    }
}
