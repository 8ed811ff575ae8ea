//! The registry of detectors. A new one is a file with its vectors, a line here, and nothing else.

mod credit_card;
mod email;
mod us_ssn;
pub(crate) mod words;

use crate::view::View;

/// Bytes before a value that may decide whether it is one: no detector looks farther back.
pub(crate) const CONTEXT: usize = 128;

/// A match, as a range of the view.
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// One type of personal data.
pub struct Detector {
    /// The type's name in policies and counts.
    pub id: &'static str,
    /// What stands in its place when masked; without the last bracket also what placeholders begin with.
    pub mask: &'static str,
    /// Bytes of the longest text that a match can be.
    pub longest: usize,
    /// Finds all matches in a view, and says from which character on a text that goes on may have others:
    /// matches before it are final. The flag says that the text does not go on.
    pub(crate) scan: fn(&View<'_>, bool, &mut Vec<Match>) -> usize,
}

/// All detectors. The position is the [`Kind`]; new ones go to the end.
pub const DETECTORS: &[Detector] = &[email::DETECTOR, credit_card::DETECTOR, us_ssn::DETECTOR];

/// The type of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(u8);

impl Kind {
    /// A word of the house.
    pub const WORD: Self = Self(u8::MAX);

    /// The kind of a detector.
    pub fn of(id: &str) -> Option<Self> {
        DETECTORS.iter().position(|detector| detector.id == id).map(|index| Self(index as u8))
    }

    /// Every kind.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..DETECTORS.len()).map(|index| Self(index as u8)).chain([Self::WORD])
    }

    pub(crate) fn detector(self) -> Option<&'static Detector> {
        DETECTORS.get(usize::from(self.0))
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The type's name: a detector's id, or `word`.
    pub fn name(self) -> &'static str {
        self.detector().map_or("word", |detector| detector.id)
    }

    /// What stands in place of a masked value: `[EMAIL]`.
    pub fn mask(self) -> &'static str {
        self.detector().map_or("[WORD]", |detector| detector.mask)
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

    use crate::{Action, Finding, Redactor, Rule, Set, find};

    /// Asserts that exactly `values` are found in `text`, and that the stream agrees at every split.
    pub(crate) fn check(id: &str, text: &str, values: &[&str]) {
        let rule = Rule { find: vec![id.to_owned()], words: Vec::new(), action: Action::Mask };
        let set = Rc::new(Set::new(&[rule]).unwrap());
        let mut findings = Vec::new();
        find(&set, text, &mut findings);
        let found: Vec<&str> = findings.iter().map(|Finding { range, .. }| &text[range.clone()]).collect();
        assert_eq!(found, values, "{text:?}");
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
    }

    /// The same for texts whose every value is between `<` and `>` in the vector.
    pub(crate) fn marked(id: &str, vectors: &[&str]) {
        for vector in vectors {
            let values: Vec<&str> =
                vector.split('<').skip(1).map(|piece| piece.split('>').next().unwrap()).collect();
            check(id, &vector.replace(['<', '>'], ""), &values);
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
        }
        assert_eq!((super::Kind::WORD.name(), super::Kind::WORD.label()), ("word", "WORD"));
    }
}
