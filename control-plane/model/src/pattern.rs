//! Regular expressions of tenants, determinised: the filters run tables and have no engine for expressions. What has
//! no bound, or becomes too large, is refused with its size; what the filters get is checked again there
//! (`filters/pii/src/detect/pattern.rs` has the layout's other half).
//!
//! The table: `1`, the number of byte classes, and as 16-bit little-endian numbers the longest match in characters,
//! the number of states and the number of states that say that a match ended one byte before; then the class of each
//! byte, the start state behind each class and at a text's beginning, and each state's successors by class and at a
//! text's end. State 0 is dead, those of matches follow.

use std::collections::BTreeMap;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind, nfa::thompson};
use regex_syntax::hir::{Hir, Look};

/// Characters of the longest match that a pattern may have.
const LONGEST: usize = 256;
/// Bytes of the largest table.
const LARGEST: usize = 32 << 10;
/// Bytes that determinising may take meanwhile.
const WORK: usize = 8 << 20;

/// The table of a pattern, or why there is none.
pub fn compile(pattern: &str) -> Result<Vec<u8>, String> {
    if !pattern.is_ascii() {
        return Err("has characters beyond ASCII, which patterns do not see: use `words`".to_owned());
    }
    let hir = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(64)
        .build()
        .parse(pattern)
        .map_err(|e| format!("is no regular expression: {}", last_line(&e.to_string())))?;
    let longest = bounds(&hir)?;
    let nfa = thompson::Compiler::new()
        .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(WORK)))
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .build_from_hir(&hir)
        .map_err(|_| too_large(WORK))?;
    let config = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Anchored)
        .determinize_size_limit(Some(WORK))
        .dfa_size_limit(Some(WORK))
        .minimize(false)
        .accelerate(false);
    let dfa = dense::Builder::new().configure(config).build_from_nfa(&nfa).map_err(|_| too_large(WORK))?;
    let table = Table::new(&dfa)?;
    let bytes = table.bytes(longest);
    if bytes.len() > LARGEST {
        let states = table.states.len();
        return Err(format!(
            "has {states} states and takes {} bytes as a table; at most {LARGEST} are sent to gateways",
            bytes.len()
        ));
    }
    Ok(bytes)
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

fn too_large(bytes: usize) -> String {
    format!("takes more than {bytes} bytes to determinise")
}

/// Characters of the longest match.
fn bounds(hir: &Hir) -> Result<usize, String> {
    let properties = hir.properties();
    let local = [
        Look::WordAscii,
        Look::WordAsciiNegate,
        Look::WordStartAscii,
        Look::WordEndAscii,
        Look::WordStartHalfAscii,
        Look::WordEndHalfAscii,
    ];
    if properties.look_set().iter().any(|look| !local.contains(&look)) {
        return Err(
            "asks for the beginning or end of a text or line, which a stream does not show".to_owned()
        );
    }
    if properties.minimum_len().is_none_or(|least| least < 2) {
        return Err("matches what is shorter than 2 characters".to_owned());
    }
    match properties.maximum_len() {
        None => {
            Err(format!("has no longest match: bound its repetitions (at most {LONGEST} characters in all)"))
        }
        Some(most) if most > LONGEST => {
            Err(format!("matches up to {most} characters; at most {LONGEST} can be held back in a stream"))
        }
        Some(most) => Ok(most),
    }
}

/// A dense automaton renumbered.
struct Table {
    classes: Vec<u8>,
    /// A byte of each class.
    bytes: Vec<u8>,
    starts: Vec<u16>,
    states: Vec<Vec<u16>>,
    matches: u16,
}

impl Table {
    fn new(dfa: &dense::DFA<Vec<u32>>) -> Result<Self, String> {
        let by_class = dfa.byte_classes();
        let classes: Vec<u8> = (0..=u8::MAX).map(|byte| by_class.get(byte)).collect();
        let count = classes.iter().max().map_or(0, |most| usize::from(*most) + 1);
        let of = |class: usize| classes.iter().position(|of| usize::from(*of) == class).unwrap_or(0) as u8;
        let bytes: Vec<u8> = (0..count).map(of).collect();
        let start = |behind: Option<u8>| {
            let config = start::Config::new().anchored(Anchored::Yes).look_behind(behind);
            dfa.start_state(&config).map_err(|e| format!("cannot be determinised: {e}"))
        };
        let behind: Vec<Option<u8>> = bytes.iter().copied().map(Some).chain([None]).collect();
        let starts = behind.into_iter().map(start).collect::<Result<Vec<StateID>, String>>()?;
        for byte in 0..=u8::MAX {
            let same = starts.get(usize::from(classes[usize::from(byte)]));
            if same != Some(&start(Some(byte))?) {
                return Err("depends on what stands before it in a way that no table has".to_owned());
            }
        }
        // All that can be reached, those with a match first.
        let mut reached: Vec<StateID> = Vec::new();
        let mut known: BTreeMap<StateID, ()> = BTreeMap::new();
        let mut open = starts.clone();
        while let Some(state) = open.pop() {
            if dfa.is_dead_state(state) || known.insert(state, ()).is_some() {
                continue;
            }
            reached.push(state);
            if reached.len() > LARGEST {
                return Err(format!("has more than {LARGEST} states"));
            }
            open.extend(bytes.iter().map(|byte| dfa.next_state(state, *byte)));
            open.push(dfa.next_eoi_state(state));
        }
        reached.sort_by_key(|state| !dfa.is_match_state(*state));
        let matches = reached.iter().filter(|state| dfa.is_match_state(**state)).count() as u16;
        let numbers: BTreeMap<StateID, u16> =
            reached.iter().enumerate().map(|(index, state)| (*state, index as u16 + 1)).collect();
        let number = |state: StateID| numbers.get(&state).copied().unwrap_or(0);
        let mut states = vec![vec![0; count + 1]];
        for state in &reached {
            let next = bytes.iter().map(|byte| number(dfa.next_state(*state, *byte)));
            states.push(next.chain([number(dfa.next_eoi_state(*state))]).collect());
        }
        Ok(Self { starts: starts.into_iter().map(number).collect(), classes, bytes, states, matches })
    }

    fn bytes(&self, longest: usize) -> Vec<u8> {
        let mut out = vec![1, self.bytes.len() as u8];
        for number in [longest as u16, self.states.len() as u16, self.matches] {
            out.extend(number.to_le_bytes());
        }
        out.extend(&self.classes);
        let rest = self.starts.iter().chain(self.states.iter().flatten());
        rest.for_each(|number| out.extend(number.to_le_bytes()));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn bounded_expressions_have_small_tables() {
        for (pattern, most) in
            [("TCK-[0-9]{6}", 1200), (r"\bEMP[0-9]{4,8}\b", 2000), ("(?i)project[ -]?x", 1500)]
        {
            let size = compile(pattern).map(|table| table.len());
            assert!(size.as_ref().is_ok_and(|size| *size < most), "{pattern}: {size:?}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_the_reason() {
        for (pattern, reason) in [
            ("a+b", "no longest match"),
            ("x{2,300}", "300 characters"),
            ("^TCK", "beginning or end"),
            ("a?", "shorter than 2"),
            ("(ab", "no regular expression"),
            ("Ünal[0-9]", "beyond ASCII"),
            ("[ab]{0,12}a[ab]{10}c", "bytes as a table"),
        ] {
            let refused = compile(pattern).map(|table| table.len());
            assert!(refused.as_ref().is_err_and(|why| why.contains(reason)), "{pattern}: {refused:?}");
        }
    }
}
