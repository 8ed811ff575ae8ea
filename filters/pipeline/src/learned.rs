//! Upper bounds for models whose vocabulary is not known, learned from what their providers report: the tokens by a
//! stand-in vocabulary times a ratio that 99.9 % of the requests kept to.
//!
//! Requests of one kind are learned together, in a *cell*: one target, with tools or without, within a factor of four
//! in size, since what a template or a hidden prompt adds weighs more on short requests. Before a cell has seen 1,000
//! requests, or where its requests are beyond its scale, it says nothing and the bound by bytes holds. A cell is a
//! histogram of fixed size; the VMs of a process share it in shared data, each transition one compare-and-swap.
//! A request reads this VM's copy, which its settlements refresh: no host call is made for a bound.

use weir_lease::{SharedData, mix};

use crate::shared;

/// Requests before a cell says anything.
const SETTLED: u32 = 1000;
/// Answers before their length is known.
const ANSWERED: u32 = 100;
/// Bins of the histogram, eight an octave, from a ratio of 1/4 up to 64.
const BINS: usize = 64;
/// Ratios are in parts of this.
const ONE: u64 = 256;
/// Cells of a process; a cell takes the place of another that hashes to the same number.
const CELLS: u64 = 1024;
/// Providers and budgets that are remembered.
const NOTES: usize = 256;
const VERSION: u8 = 1;

/// A request whose usage will be learned from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Its cell.
    pub cell: u64,
    /// Its input by the stand-in vocabulary.
    pub counted: u64,
    /// What was reserved for the input.
    pub bound: u64,
    /// What the provider reported.
    pub reported: u64,
}

/// What is known of requests of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    id: u64,
    settled: u32,
    /// Settlements above what was reserved.
    over: u32,
    bins: [u16; BINS],
}

/// The cell of a request.
pub fn cell(provider: &str, model: &str, tools: bool, counted: u64) -> u64 {
    let mut words = vec![u64::from(tools), u64::from((counted | 15).ilog2() / 2), provider.len() as u64];
    for text in [provider, model] {
        for part in text.as_bytes().chunks(8) {
            words.push(part.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }
    mix(&words)
}

/// The cell of what a model answers, in output tokens a choice. No prompt is so large that it shares it.
pub fn answers(provider: &str, model: &str) -> u64 {
    cell(provider, model, true, u64::MAX)
}

/// What an answer of so many output tokens teaches.
pub fn said(provider: &str, model: &str, output: u64) -> Sample {
    Sample { cell: answers(provider, model), counted: ONE, bound: u64::MAX, reported: output }
}

/// The bin of a ratio; the last one holds all above.
fn bin(ratio: u64) -> usize {
    let ratio = ratio.max(ONE / 4);
    let octave = ratio.ilog2();
    let eighth = (ratio >> (octave - 3)) & 7;
    usize::try_from(u64::from(octave - 6) * 8 + eighth).unwrap_or(BINS).min(BINS - 1)
}

/// The end of a bin: every ratio in it is below.
fn end(bin: usize) -> u64 {
    (8 + bin as u64 % 8 + 1) << (bin / 8 + 3)
}

impl Cell {
    fn new(id: u64) -> Self {
        Self { id, settled: 0, over: 0, bins: [0; BINS] }
    }

    /// Takes in a sample.
    pub fn learn(&mut self, sample: &Sample) {
        let ratio = sample.reported.saturating_mul(ONE).div_ceil(sample.counted.max(1));
        self.settled = self.settled.saturating_add(1);
        self.over = self.over.saturating_add(u32::from(sample.reported > sample.bound));
        if let Some(of) = self.bins.get_mut(bin(ratio)) {
            *of += 1;
            if *of == u16::MAX {
                // The shape stays, and what is old weighs less.
                self.bins.iter_mut().for_each(|n| *n = n.div_ceil(2));
            }
        }
    }

    /// Requests seen, and how many of them were above what was reserved.
    pub fn seen(&self) -> (u32, u32) {
        (self.settled, self.over)
    }

    /// What a request of this cell costs at most, if enough were seen.
    pub fn bound(&self, counted: u64) -> Option<u64> {
        let most = self.most(SETTLED, 1000)?;
        counted.checked_mul(most).map(|bound| bound.div_ceil(ONE))
    }

    /// Of a cell of answers: the output tokens that nineteen of twenty do not exceed, if enough were seen. Beyond the
    /// scale it is all that may be.
    pub fn usual(&self) -> Option<u64> {
        (self.settled >= ANSWERED).then(|| self.most(ANSWERED, 20).unwrap_or(u64::MAX))
    }

    /// What all but one in `part` keep to, if it is within the scale and enough were seen.
    fn most(&self, seen: u32, part: u64) -> Option<u64> {
        if self.settled < seen {
            return None;
        }
        let total: u64 = self.bins.iter().map(|n| u64::from(*n)).sum();
        let mut above = 0;
        for (at, n) in self.bins.iter().enumerate().rev() {
            above += u64::from(*n);
            if above > total / part {
                return (at + 1 < BINS).then(|| end(at));
            }
        }
        None
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + 2 * BINS);
        out.extend_from_slice(&[VERSION, 0, 0, 0]);
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.settled.to_le_bytes());
        out.extend_from_slice(&self.over.to_le_bytes());
        self.bins.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, bins) = bytes.split_first_chunk::<20>()?;
        let (version, head) = head.split_first()?;
        let id = u64::from_le_bytes(*head.get(3..)?.first_chunk()?);
        let word = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let mut cell = Self { settled: word(11)?, over: word(15)?, ..Self::new(id) };
        if *version != VERSION || bins.len() != 2 * BINS {
            return None;
        }
        for (to, from) in cell.bins.iter_mut().zip(bins.as_chunks().0) {
            *to = u16::from_le_bytes(*from);
        }
        Some(cell)
    }
}

/// Books a sample in the process's shared data; the cell afterwards.
pub fn learn(store: &mut dyn SharedData, sample: &Sample) -> Option<Cell> {
    let mut key = String::from("weir/1/n/");
    for nibble in (0..3).rev() {
        let digit = ((sample.cell % CELLS) >> (4 * nibble)) & 15;
        key.push(char::from_digit(digit as u32, 16).unwrap_or('0'));
    }
    let mut learned = None;
    let written = shared::change(store, &key, &mut |bytes| {
        let found = Cell::decode(bytes).filter(|cell| cell.id == sample.cell);
        let cell = learned.insert(found.unwrap_or(Cell::new(sample.cell)));
        cell.learn(sample);
        Some(cell.encode())
    });
    learned.filter(|_| written)
}

/// What one VM knows; it outlives configurations.
#[derive(Debug, Default)]
pub struct Learned {
    cells: Vec<Cell>,
    /// Providers that answered without usage.
    silent: Vec<u64>,
    /// Budgets that were short, and until when that is believed, in nanoseconds of the host's clock.
    tight: Vec<(u64, u64)>,
}

impl Learned {
    /// What is known of requests of a cell.
    pub fn cell(&self, id: u64) -> Option<&Cell> {
        let at = self.cells.binary_search_by_key(&id, |cell| cell.id).ok()?;
        self.cells.get(at)
    }

    /// Takes what the process knows.
    pub fn put(&mut self, cell: Cell) {
        match self.cells.binary_search_by_key(&cell.id, |known| known.id) {
            Ok(at) => {
                if let Some(known) = self.cells.get_mut(at) {
                    *known = cell;
                }
            }
            Err(_) if self.cells.len() as u64 >= CELLS => {}
            Err(at) => self.cells.insert(at, cell),
        }
    }

    /// A provider answered, with usage or without.
    pub fn answered(&mut self, provider: &str, usage: bool) {
        let id = cell(provider, "", false, 0);
        match (self.silent.iter().position(|of| *of == id), usage) {
            (Some(at), true) => {
                self.silent.swap_remove(at);
            }
            (None, false) if self.silent.len() < NOTES => self.silent.push(id),
            _ => {}
        }
    }

    /// Whether a provider's latest answer had no usage.
    pub fn silent(&self, provider: &str) -> bool {
        !self.silent.is_empty() && self.silent.contains(&cell(provider, "", false, 0))
    }

    /// A budget was short of a bound: until then its requests are counted first.
    pub fn short(&mut self, budget: &str, until: u64) {
        let id = cell(budget, "", true, 0);
        let full = self.tight.len() >= NOTES;
        let known = match self.tight.iter().position(|(of, _)| *of == id) {
            None if full => {
                self.tight.iter().enumerate().min_by_key(|(_, (_, until))| *until).map(|(at, _)| at)
            }
            known => known,
        };
        match known.and_then(|at| self.tight.get_mut(at)) {
            Some(known) => *known = (id, until),
            None => self.tight.push((id, until)),
        }
    }

    /// Whether a budget was short of late.
    pub fn tight(&self, budget: &str, now: u64) -> bool {
        if self.tight.is_empty() {
            return false;
        }
        let id = cell(budget, "", true, 0);
        self.tight.iter().any(|(of, until)| *of == id && *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::memory::Memory;

    fn random(state: &mut u64) -> u64 {
        *state = mix(&[*state]);
        *state
    }

    #[test]
    fn a_ratio_is_below_the_end_of_its_bin_and_not_far() {
        for ratio in 0..40_000 {
            let at = bin(ratio);
            if at + 1 < BINS {
                assert!(ratio < end(at) && (ratio < ONE / 4 || end(at) <= ratio + ratio / 8 + 1), "{ratio}");
            } else {
                assert!(ratio >= 60 * ONE);
            }
        }
        assert_eq!(bin(u64::MAX), BINS - 1);
    }

    #[test]
    fn nothing_is_said_before_a_thousand_requests_nor_beyond_the_scale() {
        let mut cell = Cell::new(1);
        let sample = Sample { cell: 1, counted: 100, bound: 1000, reported: 150 };
        for _ in 0..999 {
            cell.learn(&sample);
            assert_eq!(cell.bound(100), None);
        }
        cell.learn(&sample);
        let bound = cell.bound(100).unwrap();
        assert!((150..=170).contains(&bound), "{bound}");
        // One in a thousand may be beyond, two may not.
        cell.learn(&Sample { reported: 900, ..sample });
        assert_eq!((cell.bound(100), cell.seen()), (Some(bound), (1001, 0)));
        cell.learn(&Sample { reported: 1001, ..sample });
        assert!(cell.bound(100).unwrap() >= 900);
        assert_eq!(cell.seen(), (1002, 1));
        cell.learn(&Sample { reported: u64::MAX, ..sample });
        cell.learn(&Sample { reported: u64::MAX, ..sample });
        assert_eq!(cell.bound(100), None);
        let mut none = Cell::new(1);
        (0..2000).for_each(|_| none.learn(&Sample::default()));
        assert_eq!(none.bound(u64::MAX), None);
    }

    #[test]
    fn the_usual_length_of_answers_is_what_one_in_twenty_exceeds() {
        let mut cell = Cell::new(1);
        for n in 0..100u64 {
            assert_eq!(cell.usual(), None);
            // From 10 to 1,000 tokens.
            cell.learn(&said("p", "m", 10 * (n + 1)));
        }
        let usual = cell.usual().unwrap();
        assert!((950..=1_070).contains(&usual), "{usual}");
        (0..6).for_each(|_| cell.learn(&said("p", "m", 100_000)));
        assert_eq!(cell.usual(), Some(u64::MAX), "beyond the scale");
        // Its cell is no prompt's, however large.
        let own = answers("p", "m");
        for tools in [false, true] {
            for bits in 0..62 {
                assert_ne!(super::cell("p", "m", tools, 1 << bits), own);
            }
        }
    }

    #[test]
    fn old_requests_weigh_less_and_the_memory_stays_its_size() {
        let mut cell = Cell::new(1);
        let sample = |reported| Sample { cell: 1, counted: 1000, bound: 9000, reported };
        (0..5000).for_each(|_| cell.learn(&sample(4000)));
        assert!(cell.bound(1000).unwrap() >= 4000);
        (0..300_000).for_each(|_| cell.learn(&sample(1200)));
        (0..300_000).for_each(|_| cell.learn(&sample(1200)));
        assert!(cell.bound(1000).unwrap() < 4000 || cell.bins[bin(4 * ONE)] > 60);
        assert_eq!(Cell::decode(&cell.encode()), Some(cell));
        assert_eq!(cell.encode().len(), 148);
    }

    #[test]
    fn vms_learn_together_and_damaged_records_begin_anew() {
        let mut store = Memory::default();
        let sample = Sample { cell: 77, counted: 10, bound: 20, reported: 12 };
        for n in 1..=1500 {
            store.busy = n % 4;
            assert_eq!(learn(&mut store, &sample).unwrap().seen().0, n);
        }
        store.busy = shared::TRIES;
        assert_eq!(learn(&mut store, &sample), None, "a sample may be lost, never a request");
        assert_eq!(store.values.len(), 1);
        let key = store.values.keys().next().unwrap().clone();
        assert_eq!(key, "weir/1/n/04d");
        for damage in [vec![], vec![1; 7], vec![9; 148], vec![1; 149]] {
            store.busy = 0;
            store.values.insert(key.clone(), (damage, 5));
            assert_eq!(learn(&mut store, &sample).unwrap().seen().0, 1);
        }
        // Another cell of the same number begins anew: nobody's ratio is taken for another's.
        assert_eq!(learn(&mut store, &Sample { cell: 77 + CELLS, ..sample }).unwrap().seen().0, 1);
    }

    /// An adversary: a tokenizer of other sizes, a template of its own, and 0 to 346 hidden tokens with tools. What is
    /// billed above the bound must be rare once the bound is learned, and never happen before.
    #[test]
    fn an_unknown_tokenizer_with_hidden_prompts_is_bounded() {
        let mut store = Memory::default();
        let mut learned = Learned::default();
        let mut seed = 7;
        let (mut calibrated, mut over, mut reserved, mut billed_sum, mut worst) =
            (0u64, 0u64, 0u64, 0u64, 0u64);
        for n in 0..200_000u64 {
            let tools = random(&mut seed).is_multiple_of(3);
            // From a line to a book, in tokens of the stand-in; four bytes each.
            let counted = 8 + (1 << (random(&mut seed) % 13)) + random(&mut seed) % 64;
            let bytes = 4 * counted + 16 + if tools { 1024 } else { 0 };
            // 0.7 to 1.9 of our tokens, by the text.
            let rate = 179 + random(&mut seed) % 307;
            let hidden = if tools { random(&mut seed) % 347 } else { random(&mut seed) % 12 };
            let billed = (counted * rate / 256 + hidden).min(bytes);
            let id = cell("cloud", "claude", tools, counted);
            let bound = match learned.cell(id).and_then(|cell| cell.bound(counted)) {
                Some(bound) => {
                    calibrated += 1;
                    over += u64::from(billed > bound);
                    worst = worst.max(billed.saturating_sub(bound));
                    reserved += bound.min(bytes);
                    billed_sum += billed;
                    bound
                }
                None => bytes,
            };
            let sample = Sample { cell: id, counted, bound, reported: billed };
            if let Some(cell) = learn(&mut store, &sample) {
                learned.put(cell);
            }
            if n < 1000 {
                assert_eq!(calibrated, 0);
            }
        }
        println!(
            "calibrated {calibrated} of 200000, above the bound {over}, by {worst} at most; reserved {:.2} of billed",
            reserved as f64 / billed_sum as f64
        );
        assert!(calibrated > 150_000, "{calibrated}");
        assert!(over * 500 <= calibrated, "{over} of {calibrated}");
        assert!(reserved < 2 * billed_sum);
        assert!(learned.cells.len() <= 32 && store.values.len() <= 32);
    }

    #[test]
    fn silent_providers_and_short_budgets_are_remembered_within_bounds() {
        let mut learned = Learned::default();
        learned.answered("a", false);
        assert!(learned.silent("a") && !learned.silent("b"));
        learned.answered("a", true);
        assert!(!learned.silent("a"));
        for n in 0..1000u64 {
            learned.answered(&n.to_string(), false);
            learned.short(&n.to_string(), n);
        }
        assert!(learned.silent.len() <= NOTES && learned.tight.len() <= NOTES);
        assert!(learned.tight("999", 998) && !learned.tight("999", 999) && !learned.tight("0", 0));
    }
}
