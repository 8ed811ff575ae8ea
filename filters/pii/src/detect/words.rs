//! Words of the house: project names, codenames. Compared without case, as whole words; white space of any
//! kind and length is one space, look-alike characters are alike, invisible ones do not count. Composed and
//! decomposed accents are different words here.

use weir_sorted::trim;

use crate::characters::{invisible, look_alike, plainly_wide};
use crate::coding::{self, Coding};
use crate::view::INVISIBLE;
use crate::{Action, Finding, Kind};

/// Bytes of white space in a row that are one space; more are a break, since a match has to be bounded.
const SPACE: usize = 12;

/// A set of words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// Sorted by their characters, so that words with the same first character stand together.
    words: Vec<Word>,
    /// First bytes at which a word may start.
    starts: Vec<bool>,
}

#[derive(Clone, Debug)]
struct Word {
    folded: Vec<char>,
    action: Action,
    longest: usize,
    /// Codings are read.
    coded: bool,
}

enum Outcome {
    No,
    Yes(usize),
    Cut,
}

impl Words {
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Adds a word, or makes its action stricter; a word of nothing but space is none.
    pub(crate) fn add(&mut self, word: &str, action: Action) {
        let mut folded = Vec::new();
        let mut letters = Letters { coded: false, ..Letters::new(trim(word), true) };
        while let Some(Letter::Is(lower, _)) = letters.next() {
            folded.extend(lower);
        }
        if folded.is_empty() {
            return;
        }
        match self.words.binary_search_by(|known| known.folded.cmp(&folded)) {
            Ok(index) => {
                if let Some(known) = self.words.get_mut(index) {
                    known.action = known.action.max(action);
                }
            }
            Err(index) => {
                let longest = folded.len() * 4 + 64;
                // One that is written with such signs is meant as it is written.
                let coded = !folded.iter().any(|c| matches!(c, '%' | '&' | '\\'));
                self.words.insert(index, Word { folded, action, longest, coded });
            }
        }
        let first = |byte: u8| self.words.iter().any(|word| word.folded.first() == Some(&char::from(byte)));
        // Any character beyond ASCII may fold into the first one of a word.
        self.starts = (0..=u8::MAX).map(|byte| byte >= 0xc2 || first(byte.to_ascii_lowercase())).collect();
    }

    /// What happens to the word that most happens to.
    pub(crate) fn strictest(&self) -> Action {
        self.words.iter().map(|word| word.action).max().unwrap_or(Action::Report)
    }

    /// Bytes of the longest match.
    pub(crate) fn longest(&self) -> usize {
        self.words.iter().map(|word| word.longest).max().unwrap_or(0)
    }

    /// Pushes all matches; returns the offset from which on a text that goes on may have others.
    pub(crate) fn scan(&self, text: &str, last: bool, hits: &mut Vec<Finding>) -> usize {
        let mut hold = text.len();
        for (at, byte) in text.bytes().enumerate() {
            if !self.starts.get(usize::from(byte)).copied().unwrap_or(false) {
                continue;
            }
            let Some(rest) = text.get(at..) else { continue };
            let Some(initial) = initial(rest) else { continue };
            let from = self.words.partition_point(|word| word.folded.first() < Some(&initial));
            let same = self.words.iter().skip(from).take_while(|word| word.folded.first() == Some(&initial));
            for (index, word) in same.enumerate() {
                if index == 0 && joins(before(text, at), initial) {
                    break;
                }
                match word.at(rest, last) {
                    Outcome::No => {}
                    Outcome::Yes(length) => {
                        hits.push(Finding {
                            kind: Kind::WORD,
                            range: at..at + length,
                            action: word.action,
                            decided: at + length,
                            endless: false,
                            open: None,
                        });
                    }
                    Outcome::Cut if rest.len() <= word.longest + INVISIBLE + 4 => hold = hold.min(at),
                    Outcome::Cut => {}
                }
            }
        }
        hold
    }
}

impl Word {
    /// Compares with the start of `text`.
    fn at(&self, text: &str, last: bool) -> Outcome {
        let cut = if last { Outcome::No } else { Outcome::Cut };
        let mut letters = Letters { coded: self.coded, ..Letters::new(text, last) };
        let mut expected = self.folded.iter();
        let mut end = 0;
        while !expected.as_slice().is_empty() {
            match letters.next() {
                Some(Letter::Is(lower, after)) => {
                    for c in lower {
                        if expected.next() != Some(&c) {
                            return Outcome::No;
                        }
                    }
                    end = after;
                }
                Some(Letter::Break) => return Outcome::No,
                None => return cut,
            }
        }
        if end > self.longest {
            return Outcome::No;
        }
        let edge = self.folded.last().copied().unwrap_or_default();
        match letters.next() {
            Some(Letter::Is(lower, _)) if lower.clone().next().is_some_and(|next| joins(edge, next)) => {
                Outcome::No
            }
            None if !last => cut,
            _ => Outcome::Yes(end),
        }
    }
}

/// The folded first character; none where nothing visible starts.
fn initial(text: &str) -> Option<char> {
    let c = text.chars().next()?;
    if plainly_wide(c) {
        return Some(c);
    }
    if invisible(c) { None } else { look_alike(c).unwrap_or(c).to_lowercase().next() }
}

/// Whether two neighbours are inside one word. Scripts without spaces have no such inside.
fn joins(a: char, b: char) -> bool {
    let narrow = |c: char| c.is_alphanumeric() && c < '\u{2e80}';
    narrow(a) && narrow(b)
}

/// The visible character before `at`.
fn before(text: &str, at: usize) -> char {
    let mut hidden = 0;
    for (sign, length) in [(b'\\', 2), (b'%', 3)] {
        let Some(from) = at.checked_sub(length) else { break };
        if text.as_bytes().get(from) == Some(&sign)
            && let Coding::Yes(c, width) = coding::read(text.as_bytes(), from, true)
            && width == length
        {
            return c;
        }
    }
    for c in text.get(..at).unwrap_or_default().chars().rev() {
        if !invisible(c) {
            return look_alike(c).unwrap_or(c);
        }
        hidden += c.len_utf8();
        if hidden > INVISIBLE {
            break;
        }
    }
    ' '
}

/// Visible characters, folded, each with the offset after it.
struct Letters<'t> {
    text: &'t str,
    at: usize,
    space: bool,
    last: bool,
    /// Codings are read.
    coded: bool,
}

enum Letter {
    Is(std::char::ToLowercase, usize),
    /// Too many invisible characters or spaces.
    Break,
}

impl<'t> Letters<'t> {
    fn new(text: &'t str, last: bool) -> Self {
        Self { text, at: 0, space: false, last, coded: true }
    }

    fn next(&mut self) -> Option<Letter> {
        let start = self.at;
        loop {
            let rest = self.text.get(self.at..)?;
            let mut c = rest.chars().next()?;
            let mut length = c.len_utf8();
            match coding::at(self.text.as_bytes(), self.at, self.last) {
                Coding::Yes(coded, width) if self.coded => (c, length) = (coded, width),
                Coding::Cut => return None,
                // It ends values, and no words.
                Coding::No if self.coded && rest.starts_with("\\\"") => (c, length) = ('"', 2),
                _ => {}
            }
            self.at += length;
            let hidden = invisible(c);
            if !hidden {
                let c = look_alike(c).unwrap_or(c);
                if !c.is_whitespace() {
                    self.space = false;
                    return Some(Letter::Is(c.to_lowercase(), self.at));
                }
                if !self.space {
                    self.space = true;
                    return Some(Letter::Is(' '.to_lowercase(), self.at));
                }
            }
            if self.at - start > if self.space { SPACE } else { INVISIBLE } {
                return Some(Letter::Break);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::rc::Rc;

    use crate::{Action, Redactor, Rule, Set, find};

    fn check(words: &[&str], marked: &str) {
        let text = marked.replace(['<', '>'], "");
        let values: Vec<&str> =
            marked.split('<').skip(1).map(|piece| piece.split('>').next().unwrap()).collect();
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let set = Rc::new(Set::new(&[Rule { find: Vec::new(), words, action: Action::Mask }]).unwrap());
        let mut findings = Vec::new();
        find(&set, &text, &mut findings);
        let found: Vec<&str> = findings.iter().map(|finding| &text[finding.range.clone()]).collect();
        assert_eq!(found, values, "{text:?}");
        let mut masked = text.clone();
        findings.iter().rev().for_each(|finding| masked.replace_range(finding.range.clone(), "[WORD]"));
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (mut redactor, mut out) = (Redactor::new(set.clone()), String::new());
            redactor.push(&text[..at], &mut out);
            redactor.push(&text[at..], &mut out);
            redactor.finish(&mut out);
            assert_eq!(out, masked, "{text:?} split at {at}");
        }
    }

    #[test]
    fn a_word_that_is_written_with_signs_of_codings_is_meant_as_it_is_written() {
        let words = ["CORP\\nick", "AT&amp;T", "100%25 sure"];
        check(&words, "<corp\\nick>, <AT&amp;T> and <100%25 Sure>, not AT&T, 100% sure");
    }

    #[test]
    fn words_are_found_whole_and_without_case() {
        let words = ["Project Bluebird", "acme", "Übersee", "青い鳥", "C++", "the \"Eagle\""];
        check(&words, "<Project Bluebird>, <PROJECT BLUEBIRD> and <project  bluebird>'s cost");
        check(&words, "projects bluebird, Project Bluebirds, xProject Bluebird, Project-Bluebird, Project");
        check(&words, "<Acme> acmes <ACME>-x (<acme>) _<acme>_ a cme");
        check(&words, "<ÜBERSEE> überseeß <übersee>.");
        check(&words, "その<青い鳥>です");
        check(&words, "<c++>, <C++>11");
        check(
            &words,
            "\\n<acme>, x%20<acme>%20y &lt;<acme>&gt; q=<project%20bluebird> <Project&nbsp;Bluebird> <ac\\u006de>",
        );
        check(
            &words,
            "<the \"Eagle\"> {\\\"a\\\": \\\"<the \\\"Eagle\\\">\\\"} the \\Eagle\\ <the &quot;eagle&quot;>",
        );
        check(&words, "\\nacmes Project%20Bluebirds %61acme \\xacme nacme");
        check(
            &words,
            "<Project\nBluebird> <Project\u{a0}Bluebird> <Project \u{200b} Bluebird> <\u{ff41}cme>",
        );
        check(
            &words,
            "<Pro\u{ad}ject Blue\u{200b}bird>\u{200b}, Project\u{200b}\u{200b}\u{200b}\u{200b}\u{200b} Bluebird",
        );
        check(&words, "Project                    Bluebird");
        check(&[" ", ""], "nothing at all");
    }

    #[test]
    fn one_word_inside_another_is_one_finding() {
        check(&["blue", "blue bird", "bird song"], "a <blue bird song> and <blue>");
    }

    #[test]
    fn the_strictest_action_of_a_word_wins() {
        let rule =
            |action| Rule { find: Vec::new(), words: vec!["Acme".to_owned(), "ACME ".to_owned()], action };
        let set = Set::new(&[rule(Action::Block), rule(Action::Report)]).unwrap();
        let mut findings = Vec::new();
        find(&set, "acme", &mut findings);
        assert_eq!((findings.len(), findings[0].action, findings[0].kind.name()), (1, Action::Block, "word"));
    }
}
