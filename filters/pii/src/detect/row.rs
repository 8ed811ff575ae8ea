//! Values that are groups of letters and digits: the shape of each is a row of data, the scanner is one.
//!
//! A row says how long its groups are (`0x334`: three, three and four characters), which characters they
//! consist of (`d10`: ten digits), what may separate them, which check digit has to be right and which words
//! have to stand near. Rows are sorted by their groups, so that reading one group after the other narrows
//! them down; most numbers fit no row after the first.

mod shape;

use shape::{ALL, Parts, nth, separator};
pub(super) use shape::{COLON, DASH, DOT, PLUS, Row, SLASH, SPACE};
use weir_sorted::sort_by;

use super::ask::{WITH_DIGIT, Word};
use super::context::{Context, Near, Said};
use super::openers::Openers;
use super::{Match, Verdict};
use crate::class::{CAPITAL, DIGIT, HEXADECIMAL, SMALL, WORD, class, run};
use crate::view::View;

/// Bytes of a value.
pub(super) const LONGEST: usize = 160;
/// Bytes after a value that may decide about it: words, and two characters at their widest.
const AFTER: usize = 96;
/// Characters of a value without separators.
const CHARACTERS: usize = 64;

/// The first group is the only one.
const ALONE: u8 = 128;
/// A bit of an index of [`Rows::second`].
const NUMBER: usize = 256;

/// What a character adds to the kinds of several: what words consist of, a bit where it is not hexadecimal, and one where it is
/// none of a word.
fn sum(byte: u8) -> u8 {
    let class = class(byte);
    if class == 0 { OTHER } else { class ^ HEXADECIMAL }
}

/// Beside the classes of characters.
const OTHER: u8 = 16;

/// A row that is looked for, with what tells most values from it.
#[derive(Clone, Debug)]
struct Placed {
    /// The groups, the first one's length in the highest bits.
    groups: u64,
    parts: Parts,
    row: &'static Row,
    detector: u8,
    separators: u8,
    /// Needs no words around.
    free: bool,
    /// Needs them before it.
    announced: bool,
    /// Of hexadecimal digits, so that more groups may have letters, too.
    hexadecimal: bool,
}

/// What rows begin with such a word.
#[derive(Clone, Copy, Debug, Default)]
struct First {
    /// The separators that may follow, or that nothing has to, by what stands behind them: a digit, a capital, a small letter,
    /// or none of these; once for all rows, once for those that need no words around.
    next: [[u8; 2]; 4],
    /// The detectors whose words the others need, a bit for each.
    near: u64,
    /// The separators of rows that are not of hexadecimal digits.
    others: u8,
}

/// Rows by their groups.
#[derive(Clone, Debug)]
struct Sorted {
    rows: Vec<Placed>,
    /// By lengths of the first two groups: where the rows begin that have no less.
    starts: [u8; 257],
}

impl Default for Sorted {
    fn default() -> Self {
        Self { rows: Vec::new(), starts: [0; 257] }
    }
}

impl Sorted {
    fn sort(&mut self) {
        sort_by(&mut self.rows, |a, b| a.groups.cmp(&b.groups).then(a.detector.cmp(&b.detector)));
        for (lengths, start) in self.starts.iter_mut().enumerate() {
            *start = self.rows.partition_point(|row| row.groups >> 56 < lengths as u64) as u8;
        }
    }

    /// Those whose first two lengths are in a range.
    fn between(&self, from: u64, to: u64) -> &[Placed] {
        let start = |lengths: u64| self.starts.get(lengths as usize).map_or(0, |start| usize::from(*start));
        self.rows.get(start(from)..start(to)).unwrap_or_default()
    }
}

/// All rows that are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    all: Sorted,
    /// Those that need no words around.
    free: Sorted,
    /// By length of the first word up to fifteen, and what it consists of.
    first: [First; 128],
    /// By lengths of the first two words, once for a first word with letters and once for a number: the separators that may
    /// be between; once for all rows, once for those that need no words around.
    second: [[u8; 2]; 512],
    /// By the same, of the latter rows: how long a third word may be, a bit for each length; all of them where none has to
    /// follow.
    third: [u16; 512],
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            all: Sorted::default(),
            free: Sorted::default(),
            first: [First::default(); 128],
            second: [[0; 2]; 512],
            third: [0; 512],
        }
    }
}

impl Rows {
    pub(crate) fn add(&mut self, detector: u8, rows: &'static [Row], openers: &mut Openers) {
        for row in rows {
            let groups = row.groups << (row.groups.leading_zeros() / 4 * 4);
            let parts = row.parts();
            let (separators, free) = (row.separators, row.near == Near::Free);
            let announced = matches!(row.near, Near::Before(_));
            let hexadecimal = matches!(parts, [(HEXADECIMAL, _), ..]);
            let placed = Placed { groups, parts, row, detector, separators, free, announced, hexadecimal };
            if free {
                self.free.rows.push(placed.clone());
            }
            self.all.rows.push(placed);
            let length = (groups >> 60) as usize;
            // What the first group may consist of, a bit for each sum.
            let (mut classes, mut kinds) = (0u8, 1u8);
            // Of fifteen and more it is the whole.
            let mut left = if length == 15 { usize::MAX } else { length };
            for (of, count) in parts.into_iter().take_while(|(_, count)| *count > 0) {
                if left == 0 {
                    break;
                }
                let class = match of {
                    DIGIT => 1,
                    HEXADECIMAL => 8,
                    _ if of & SMALL == 0 => 2,
                    _ if of & DIGIT == 0 => 4,
                    _ => 16,
                };
                let of = if of == HEXADECIMAL { 7 } else { of };
                classes |= class;
                let before = kinds;
                kinds = 0;
                for kind in 0..8 {
                    for more in (1..8u8).filter(|more| before & 1 << kind != 0 && more & !of == 0) {
                        kinds |= 1 << (kind | more);
                    }
                }
                left = if count == ALL { 0 } else { left.saturating_sub(usize::from(count)) };
            }
            if classes & 16 != 0 {
                // No row of any characters is without a digit, unless it begins with capitals.
                kinds &= WITH_DIGIT | if classes & 2 != 0 { 1 << CAPITAL } else { 0 };
            }
            let alone = groups << 4 == 0;
            if kinds & !WITH_DIGIT != 0 {
                // Such a word may begin a value without a digit in it.
                let second = (groups >> 56 & 15) as usize;
                openers.group(!free, &|place, byte| {
                    if alone && place >= length || place > length + second {
                        return true;
                    }
                    if place == length {
                        return separator(byte) & row.separators != 0;
                    }
                    if place > length {
                        return class(byte) & nth(&parts, place - 1) != 0;
                    }
                    byte.is_ascii_alphabetic()
                        && match classes {
                            8 => byte.is_ascii_hexdigit(),
                            4 => true,
                            _ => byte.is_ascii_uppercase(),
                        }
                });
            }
            let add = |[all, quiet]: &mut [u8; 2], bits: u8| {
                *all |= bits;
                *quiet |= if free { bits } else { 0 };
            };
            let lengths = (groups >> 56) as usize;
            let third = if groups << 8 == 0 { u16::MAX } else { 1 << (groups >> 52 & 15) };
            for (index, of) in [(lengths, !(1 << DIGIT)), (lengths | NUMBER, 1 << DIGIT)] {
                if kinds & of != 0
                    && let Some(second) = self.second.get_mut(index)
                {
                    add(second, separators);
                    self.third
                        .get_mut(index)
                        .into_iter()
                        .for_each(|slot| *slot |= if free { third } else { 0 });
                }
            }
            let behind = if alone { 0 } else { nth(&parts, length) };
            for kind in (0..8).filter(|kind| kinds & 1 << kind != 0) {
                let Some(first) = self.first.get_mut(length * 8 + kind) else { continue };
                for (slot, of) in first.next.iter_mut().zip([DIGIT, CAPITAL, SMALL, 0]) {
                    add(slot, if alone { ALONE } else { 0 });
                    add(slot, if behind & (of | HEXADECIMAL) != 0 && of != 0 { separators } else { 0 });
                }
                first.near |= if free { 0 } else { 1 << detector.min(63) };
                first.others |= if classes == 8 { 0 } else { separators };
            }
        }
        self.all.sort();
        self.free.sort();
    }

    /// Whether a value may begin with this word: what may follow it in one, as [`First::next`] has it. Most numbers stand beside
    /// no word that any row asks for.
    pub(crate) fn may_start(&self, context: &Context<'_>, word: Word) -> u8 {
        let view = context.view;
        let (before, far) = (view.before(word.start), word.start.checked_sub(2).map_or(0, |at| view.at(at)));
        if !separate(before, far, 0) {
            return 0;
        }
        let length = (word.end - word.start).min(15);
        let Some(first) = self.first.get(length * 8 + usize::from(word.kind)) else { return 0 };
        let (sign, behind) = (separator(view.at(word.end)), word.end + 1);
        let cut = behind >= view.bytes().len() && !context.last;
        let of = match class(view.at(behind)) {
            class if class & DIGIT != 0 => 0,
            class if class & CAPITAL != 0 => 1,
            class if class & SMALL != 0 => 2,
            _ => 3,
        };
        let any = |all: [u8; 2], next: &[u8; 2]| [all[0] | next[0], all[1] | next[1]];
        let [all, free] = if cut {
            first.next.iter().fold([0; 2], any)
        } else {
            first.next.get(of).copied().unwrap_or_default()
        };
        let mut next = [ALONE; 2];
        // Of addresses nearly all words have other characters, and none begins inside of one.
        let may =
            || first.others & sign != 0 || word.hexadecimal && !behind_group(view, word.start, sign, length);
        if all & sign != 0 && separate(before, far, sign) && may() {
            let second = run(view.bytes(), behind, 15, WORD);
            let end = behind + second;
            let index = length << 4 | second | if word.kind == DIGIT { NUMBER } else { 0 };
            let [all, quiet] = self.second.get(index).copied().unwrap_or_default();
            let third = self.third.get(index).copied().unwrap_or_default();
            let fits =
                || separator(view.at(end)) == sign && third & 1 << run(view.bytes(), end + 1, 15, WORD) != 0;
            next = if end + 16 >= view.bytes().len() && !context.last {
                [ALONE | sign; 2]
            } else {
                let quiet = if quiet & sign != 0 && (third == u16::MAX || fits()) { sign } else { 0 };
                [ALONE | all & sign, ALONE | quiet]
            };
        }
        let [any, quiet] = next;
        if all & any != 0 && context.near(first.near, word.start) {
            all & any | free & quiet
        } else {
            free & quiet
        }
    }

    /// Reports every value that begins with the word in `start..end`, behind which `may` follow; false where a text that goes on
    /// may have others there.
    #[inline(never)]
    pub(crate) fn at(
        &self,
        context: &mut Context<'_>,
        (start, end): (usize, usize),
        may: u8,
        found: &mut dyn FnMut(u8, Match),
    ) -> bool {
        let view = context.view;
        let length = view.bytes().len();
        let holds = !context.last && view.left(start) <= LONGEST + AFTER;
        let (before, far) = (view.before(start), start.checked_sub(2).map_or(0, |at| view.at(at)));
        let mut text = [0u8; CHARACTERS];
        let (mut count, mut between) = (0, 0);
        // What the characters are together; see `sum`.
        let mut kinds = 0;
        let (mut groups, mut shift) = (0u64, 64u32);
        let (mut at, mut end) = (start, end);
        let sorted = if context.quiet(start) { &self.free } else { &self.all };
        let mut rows = sorted.rows.as_slice();
        let mut whole = true;
        loop {
            let group = view.bytes().get(at..end).unwrap_or_default();
            let Some(room) = text.get_mut(count..count + group.len()) else { return whole };
            // So few that copying them is dearer by a call.
            for (to, from) in room.iter_mut().zip(group) {
                *to = *from;
                kinds |= sum(*from);
            }
            count += group.len();
            let so_far = text.get(..count).unwrap_or_default();
            if end == length
                && holds
                && rows.iter().any(|row| {
                    row.goes_on(so_far, kinds, between, shift, group.len()) && row.may_stand(context, start)
                })
            {
                return false;
            }
            let Some(next) = shift.checked_sub(4) else { return whole };
            shift = next;
            groups |= (group.len().min(15) as u64) << shift;
            rows = match shift {
                60 => sorted.between(groups >> 56, (groups >> 56) + 16),
                56 => sorted.between(groups >> 56, (groups >> 56) + 1),
                _ => {
                    // A few, so that a search is a walk.
                    let mut few = rows;
                    while let [first, rest @ ..] = few
                        && first.groups >> shift < groups >> shift
                    {
                        few = rest;
                    }
                    while let [rest @ .., last] = few
                        && last.groups >> shift > groups >> shift
                    {
                        few = rest;
                    }
                    few
                }
            };
            // Two groups tell nearly all: of the few rows left the other groups are only to be seen, each where it has to be.
            if shift == 56 && (context.last || end + 2 * CHARACTERS < length) {
                for row in rows {
                    if between & !row.separators != 0 || row.lacks(context, start) {
                        continue;
                    }
                    let Some(last) = row.end(view, end, between) else { continue };
                    let (mut count, mut kinds) = (count, kinds);
                    let rest = view.bytes().get(end..last).unwrap_or_default();
                    // What the characters are, the row's shape says; as many of them separate groups as have to.
                    for byte in rest.iter().filter(|byte| separator(**byte) != between) {
                        let Some(to) = text.get_mut(count) else { break };
                        *to = *byte;
                        (count, kinds) = (count + 1, kinds | sum(*byte));
                    }
                    let so_far = text.get(..count).unwrap_or_default();
                    if let Verdict::Yes(value) = row.verdict(context, (so_far, kinds), start, last, between) {
                        found(row.detector, value);
                    }
                }
                return whole;
            }
            for placed in rows.iter().take_while(|row| row.groups == groups) {
                if between & !placed.separators != 0 || placed.lacks(context, start) {
                    continue;
                }
                match placed.verdict(context, (so_far, kinds), start, end, between) {
                    Verdict::Yes(value) => found(placed.detector, value),
                    Verdict::Cut(_) if holds => whole = false,
                    Verdict::Cut(_) | Verdict::No => {}
                }
            }
            if may & !ALONE == 0 {
                return whole;
            }
            let next = separator(view.at(end));
            let more = rows.last().is_some_and(|row| row.groups != groups);
            if !more || next == 0 || (between != 0 && next != between) {
                return whole;
            }
            if end + 1 == length {
                let waits = |row: &Placed| {
                    row.groups != groups
                        && next & !row.separators == 0
                        && row.fits(so_far, kinds, false)
                        && row.may_stand(context, start)
                };
                return whole && !(holds && rows.iter().any(waits));
            }
            if between == 0 && !separate(before, far, next) {
                return whole;
            }
            between = next;
            at = end + 1;
            end = view.word_end(at);
            if end == at {
                return whole;
            }
        }
    }
}

impl Placed {
    /// Whether characters are the shape's, or the beginning of it; `kinds` is what they are together.
    fn fits(&self, text: &[u8], kinds: u8, whole: bool) -> bool {
        if let [(of, count), (_, 0), ..] = self.parts {
            let count = if count == ALL { text.len() } else { usize::from(count) };
            let others = if of == HEXADECIMAL { HEXADECIMAL } else { WORD & !of } | OTHER;
            return kinds & others == 0 && if whole { text.len() == count } else { text.len() <= count };
        }
        let mut parts = self.parts.iter();
        let (mut of, mut left) = (0, 0);
        for byte in text {
            if left == 0 {
                (of, left) = parts.next().copied().unwrap_or_default();
            }
            if class(*byte) & of == 0 {
                return false;
            }
            left -= u8::from(left != ALL);
        }
        !whole || left == ALL || left == 0 && parts.next().is_none_or(|(_, count)| *count == 0)
    }

    /// Where its last group ends, when the second one ends at `end`; none where the others do not end where they have to.
    fn end(&self, view: &View<'_>, mut end: usize, between: u8) -> Option<usize> {
        let mut left = self.groups << 8;
        while left != 0 {
            let next = end + 1 + (left >> 60) as usize;
            if separator(view.at(end)) != between || class(view.at(next)) != 0 {
                return None;
            }
            (end, left) = (next, left << 4);
        }
        Some(end)
    }

    /// Whether it needs words of which none are near, nor can come.
    #[inline(always)]
    fn lacks(&self, context: &Context<'_>, start: usize) -> bool {
        self.announced && context.unannounced(start) || !self.free && context.lacks(self.detector, start)
    }

    /// Whether characters at the end of a text may be the beginning of such a value, the last group being
    /// incomplete.
    fn goes_on(&self, text: &[u8], kinds: u8, between: u8, shift: u32, group: usize) -> bool {
        let Some(shift) = shift.checked_sub(4) else { return false };
        let length = (self.groups >> shift & 15) as usize;
        between & !self.separators == 0 && (group <= length || length == 15) && self.fits(text, kinds, false)
    }

    /// Whether the words that have to stand before a value do.
    fn may_stand(&self, context: &mut Context<'_>, start: usize) -> bool {
        !self.announced || context.said(self.detector, self.row.near, start, start) == Said::Yes
    }

    fn verdict(
        &self,
        context: &mut Context<'_>,
        (text, kinds): (&[u8], u8),
        start: usize,
        end: usize,
        between: u8,
    ) -> Verdict {
        let (row, view) = (self.row, context.view);
        if !self.fits(text, kinds, true)
            || !separate(view.before(start), start.checked_sub(2).map_or(0, |at| view.at(at)), between)
        {
            return Verdict::No;
        }
        let (length, near, far) = (view.bytes().len(), view.at(end), view.at(end + 1));
        let mut cut =
            end + 2 > length && (end == length || matches!(near, b' ' | b'-' | b'.' | b',' | b'/' | b':'));
        let mut goes_on = !separate(near, if end + 1 < length { far } else { 0 }, between) || near == b'%';
        if self.hexadecimal {
            let group = (self.groups >> 60) as usize;
            if behind_group(view, start, between, group) {
                return Verdict::No;
            }
            if separator(near) == between {
                let left = length.saturating_sub(end + 1);
                cut |= left <= group && run(view.bytes(), end + 1, group, HEXADECIMAL) == left;
                goes_on |= is_group(view, end + 1, group);
            }
        }
        cut &= !context.last;
        if !cut && goes_on || !(row.check)(text) || !view.fits(start, end, LONGEST) {
            return Verdict::No;
        }
        if cut {
            return Verdict::Cut(start);
        }
        match context.said(self.detector, row.near, start, end) {
            Said::Yes => Verdict::Yes(Match::new(start, end)),
            Said::No => Verdict::No,
            Said::Cut => Verdict::Cut(start),
        }
    }
}

/// Whether a group of so many hexadecimal digits stands at `at`.
fn is_group(view: &View<'_>, at: usize, length: usize) -> bool {
    let is = |most, of| run(view.bytes(), at, most, of) == length;
    is(length + 1, WORD) && is(length, HEXADECIMAL)
}

/// Whether one with this separator stands before `start`.
fn behind_group(view: &View<'_>, start: usize, between: u8, length: usize) -> bool {
    separator(view.before(start)) == between
        && start
            .checked_sub(length + 1)
            .is_some_and(|from| class(view.before(from)) == 0 && is_group(view, from, length))
}

/// Whether a value ends where these two characters follow, seen from it: more of the same would make it
/// something else, a longer number or a decimal one.
#[inline(always)]
fn separate(near: u8, far: u8, between: u8) -> bool {
    match near {
        b'+' | b'$' => false,
        b'.' | b',' | b'/' | b':' => !far.is_ascii_digit(),
        b'-' => !far.is_ascii_alphanumeric(),
        b' ' => between != SPACE || !far.is_ascii_digit(),
        _ => true,
    }
}
