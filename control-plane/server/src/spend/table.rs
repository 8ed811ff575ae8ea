//! Whose spend it is: sums of the gateways' spend records by tenant, key, model, provider and labels; per day (UTC),
//! and per counter and window. Pure: no files, no clock.
//!
//! Everything is bounded. A day has so many rows, a label so many values; what comes after that is summed as `other`.
//! A counter that finds no place is not summed at all, and its spend shows as unattributed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weir_lease::message::{SpendReport, SpentRecord};

/// Rows of one day.
const DAY_ROWS: usize = 5_000;
/// Values of one label on one day.
const LABEL_VALUES: usize = 1_000;
/// Rows of one counter and window.
const WINDOW_ROWS: usize = 1_000;
/// Counters.
const COUNTERS: usize = 20_000;
/// Windows of a counter: the current one, and the one before, whose last records may be late.
const WINDOWS: usize = 2;
/// Days that are kept.
const DAYS: u64 = 62;
/// A gateway's VM that has been silent for this long does not repeat itself any more, in milliseconds.
const FORGET: u64 = 86_400_000;
/// Longest text that is kept of a name.
const NAME: usize = 256;

/// Where what does not fit is summed.
pub const OTHER: &str = "other";

/// Whose.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Whose {
    /// Tenant.
    pub tenant: String,
    /// Id of the key.
    pub key: String,
    /// The policy's name of the model.
    pub model: String,
    /// The policy's name of the provider.
    pub provider: String,
    /// Labels that the policy names in `telemetry.labels`.
    pub labels: Vec<(String, String)>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Requests.
    pub requests: u64,
    /// Input tokens.
    pub input: u64,
    /// Output tokens.
    pub output: u64,
    /// Cost.
    pub nano_usd: u64,
    /// Of the requests, those of which nobody said what they used.
    pub estimated: u64,
}

impl Sums {
    /// Adds.
    pub fn add(&mut self, of: &Sums) {
        self.requests = self.requests.saturating_add(of.requests);
        self.input = self.input.saturating_add(of.input);
        self.output = self.output.saturating_add(of.output);
        self.nano_usd = self.nano_usd.saturating_add(of.nano_usd);
        self.estimated = self.estimated.saturating_add(of.estimated);
    }
}

/// A counter, as the ledger names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counter {
    /// Budget.
    pub budget: String,
    /// Unit, as messages number it.
    pub unit: i32,
    /// Value of `each`.
    pub subject: String,
    /// Definition's hash.
    pub definition: String,
}

/// What was heard of a VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    seq: u64,
    dropped: u64,
    at: u64,
}

type Rows<T> = Vec<(Whose, T)>;

/// All sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub struct Table {
    /// By days since 1970.
    days: BTreeMap<u64, Day>,
    windows: BTreeMap<Counter, BTreeMap<u64, BTreeMap<Whose, u64>>>,
    seen: BTreeMap<(u64, u64), Seen>,
    /// Records that gateways had no room for.
    dropped: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Day {
    rows: BTreeMap<Whose, Sums>,
    values: BTreeMap<String, BTreeSet<String>>,
}

/// What was charged, by window.
type Windows = Vec<(u64, Rows<u64>)>;

/// The same for files: maps with keys that are no strings as lists.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Flat {
    days: Vec<(u64, Rows<Sums>)>,
    windows: Vec<(Counter, Windows)>,
    seen: Vec<((u64, u64), Seen)>,
    dropped: u64,
}

impl From<Table> for Flat {
    fn from(table: Table) -> Flat {
        Flat {
            days: table.days.into_iter().map(|(day, of)| (day, of.rows.into_iter().collect())).collect(),
            windows: table
                .windows
                .into_iter()
                .map(|(counter, windows)| {
                    let windows = windows.into_iter().map(|(wid, rows)| (wid, rows.into_iter().collect()));
                    (counter, windows.collect())
                })
                .collect(),
            seen: table.seen.into_iter().collect(),
            dropped: table.dropped,
        }
    }
}

impl From<Flat> for Table {
    fn from(flat: Flat) -> Table {
        let mut days = BTreeMap::new();
        for (day, rows) in flat.days {
            let mut of = Day::default();
            for (whose, sums) in rows {
                for (name, value) in &whose.labels {
                    of.values.entry(name.clone()).or_default().insert(value.clone());
                }
                of.rows.insert(whose, sums);
            }
            days.insert(day, of);
        }
        let windows = flat.windows.into_iter().map(|(counter, windows)| {
            let windows = windows.into_iter().map(|(wid, rows)| (wid, rows.into_iter().collect()));
            (counter, windows.collect())
        });
        Table {
            days,
            windows: windows.collect(),
            seen: flat.seen.into_iter().collect(),
            dropped: flat.dropped,
        }
    }
}

impl Table {
    /// Takes in a batch that came at `now` (Unix milliseconds). `false` when it had been taken before.
    pub fn take(&mut self, now: u64, report: &SpendReport) -> bool {
        let seen = self.seen.entry((report.sid, report.vm)).or_default();
        if report.seq <= seen.seq {
            return false;
        }
        self.dropped = self.dropped.saturating_add(report.dropped.saturating_sub(seen.dropped));
        *seen = Seen { seq: report.seq, dropped: report.dropped.max(seen.dropped), at: now };
        let day = now / 86_400_000;
        if !self.days.contains_key(&day) {
            self.days.retain(|old, _| old.saturating_add(DAYS) > day);
            self.seen.retain(|_, seen| seen.at.saturating_add(FORGET) > now);
        }
        for record in &report.records {
            let whose = self.days.entry(day).or_default().add(record);
            for charge in &record.charges {
                let Some(instance) = &charge.instance else { continue };
                let counter = Counter {
                    budget: instance.budget.clone(),
                    unit: instance.unit,
                    subject: instance.subject.clone(),
                    definition: instance.definition.clone(),
                };
                self.charge(counter, charge.wid, &whose, charge.amount);
            }
        }
        true
    }

    fn charge(&mut self, counter: Counter, wid: u64, whose: &Whose, amount: u64) {
        if self.windows.len() >= COUNTERS && !self.windows.contains_key(&counter) {
            return;
        }
        let windows = self.windows.entry(counter).or_default();
        let oldest = windows.keys().next().copied().filter(|_| windows.len() >= WINDOWS);
        if !windows.contains_key(&wid)
            && let Some(oldest) = oldest
        {
            if wid < oldest {
                return;
            }
            windows.remove(&oldest);
        }
        add_row(windows.entry(wid).or_default(), whose, WINDOW_ROWS, |sum| *sum = sum.saturating_add(amount));
    }

    /// Forgets counters whose budgets are gone.
    pub fn keep_counters(&mut self, keep: impl Fn(&Counter) -> bool) {
        self.windows.retain(|counter, _| keep(counter));
    }

    /// Sums of the days `from..=to`, by row.
    pub fn days(&self, from: u64, to: u64) -> impl Iterator<Item = (&Whose, &Sums)> {
        self.days.range(from..=to.max(from)).flat_map(|(_, day)| &day.rows)
    }

    /// What was charged to a counter in a window, by row.
    pub fn window(&self, counter: &Counter, wid: u64) -> impl Iterator<Item = (&Whose, u64)> {
        let rows = self.windows.get(counter).and_then(|windows| windows.get(&wid));
        rows.into_iter().flatten().map(|(whose, amount)| (whose, *amount))
    }

    /// Records that gateways had no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Day {
    fn add(&mut self, record: &SpentRecord) -> Whose {
        let mut labels = Vec::new();
        for label in record.labels.iter().take(16) {
            let values = self.values.entry(cut(&label.name)).or_default();
            let value = cut(&label.value);
            let fits = values.contains(&value) || values.len() < LABEL_VALUES;
            let value = if fits { value } else { OTHER.to_owned() };
            if fits {
                values.insert(value.clone());
            }
            labels.push((cut(&label.name), value));
        }
        labels.sort_unstable();
        let whose = Whose {
            tenant: cut(&record.tenant),
            key: cut(&record.key),
            model: cut(&record.model),
            provider: cut(&record.provider),
            labels,
        };
        let sums = Sums {
            requests: 1,
            input: record.input,
            output: record.output,
            nano_usd: record.nano_usd,
            estimated: u64::from(record.estimated),
        };
        add_row(&mut self.rows, &whose, DAY_ROWS, |row| row.add(&sums));
        whose
    }
}

/// Adds to the row of `whose`, or to that of all others once there are `most` rows.
fn add_row<T: Default>(rows: &mut BTreeMap<Whose, T>, whose: &Whose, most: usize, add: impl FnOnce(&mut T)) {
    if let Some(row) = rows.get_mut(whose) {
        return add(row);
    }
    let whose = if rows.len() < most { whose.clone() } else { other(whose) };
    add(rows.entry(whose).or_default());
}

fn other(of: &Whose) -> Whose {
    let name = || OTHER.to_owned();
    let labels = of.labels.iter().map(|(label, _)| (label.clone(), name())).collect();
    Whose { tenant: name(), key: name(), model: name(), provider: name(), labels }
}

fn cut(text: &str) -> String {
    let end = (0..=NAME.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use weir_lease::message::{Charge, Label};
    use weir_lease::{Instance, Unit};

    use super::*;

    const NOON: u64 = 20_000 * 86_400_000 + 43_200_000;

    fn record(tenant: &str, input: u64, charges: &[(&str, u64, u64)]) -> SpentRecord {
        let charges = charges.iter().map(|(budget, wid, amount)| Charge {
            instance: Some(Instance::new(budget, Unit::Tokens, "", "d")),
            wid: *wid,
            amount: *amount,
        });
        SpentRecord { tenant: tenant.into(), input, charges: charges.collect(), ..SpentRecord::default() }
    }

    fn report(seq: u64, records: Vec<SpentRecord>) -> SpendReport {
        SpendReport { sid: 1, vm: 2, seq, dropped: 0, records }
    }

    fn counter(budget: &str) -> Counter {
        Counter {
            budget: budget.into(),
            unit: Unit::Tokens as i32,
            subject: String::new(),
            definition: "d".into(),
        }
    }

    fn input(table: &Table) -> u64 {
        table.days(20_000, 20_000).map(|(_, sums)| sums.input).sum()
    }

    #[test]
    fn a_batch_counts_once_however_often_it_comes() {
        let mut table = Table::default();
        assert!(table.take(NOON, &report(1, vec![record("a", 5, &[("b", 3, 5)])])));
        for _ in 0..3 {
            assert!(!table.take(NOON, &report(1, vec![record("a", 5, &[("b", 3, 5)])])));
        }
        assert!(table.take(NOON, &report(2, vec![record("a", 7, &[("b", 3, 7)])])));
        assert_eq!(input(&table), 12);
        assert_eq!(table.window(&counter("b"), 3).map(|(_, sum)| sum).sum::<u64>(), 12);
        let other_vm = SpendReport { vm: 3, ..report(1, vec![record("a", 1, &[])]) };
        assert!(table.take(NOON, &other_vm), "numbers are a VM's own");
        assert_eq!(input(&table), 13);
    }

    #[test]
    fn what_was_dropped_is_the_growth_of_each_vms_own_count() {
        let mut table = Table::default();
        for (seq, dropped) in [(1, 4), (2, 4), (3, 9)] {
            table.take(NOON, &SpendReport { dropped, ..report(seq, vec![]) });
        }
        table.take(NOON, &SpendReport { vm: 5, dropped: 2, ..report(1, vec![]) });
        assert_eq!(table.dropped(), 11);
    }

    #[test]
    fn rows_are_bounded_and_nothing_of_the_sum_is_lost() {
        let mut table = Table::default();
        for i in 0..DAY_ROWS as u64 + 500 {
            table.take(NOON, &report(i + 1, vec![record(&format!("t{i}"), 2, &[("b", 1, 2)])]));
        }
        assert_eq!(table.days(20_000, 20_000).count(), DAY_ROWS + 1);
        assert_eq!(input(&table), 2 * (DAY_ROWS as u64 + 500));
        let rest = table.days(20_000, 20_000).find(|(whose, _)| whose.tenant == OTHER).expect("the rest");
        assert_eq!(rest.1.requests, 500);
        assert_eq!(table.window(&counter("b"), 1).count(), WINDOW_ROWS + 1);
        let charged: u64 = table.window(&counter("b"), 1).map(|(_, sum)| sum).sum();
        assert_eq!(charged, input(&table));
    }

    #[test]
    fn a_label_with_too_many_values_becomes_other() {
        let mut table = Table::default();
        for i in 0..LABEL_VALUES as u64 + 3 {
            let labels = vec![Label { name: "team".into(), value: format!("v{i}") }];
            table.take(NOON, &report(i + 1, vec![SpentRecord { labels, ..record("a", 1, &[]) }]));
        }
        let other = table.days(20_000, 20_000).find(|(whose, _)| whose.labels[0].1 == OTHER);
        assert_eq!(other.expect("a row").1.requests, 3);
    }

    #[test]
    fn two_windows_are_kept_and_days_for_two_months() {
        let mut table = Table::default();
        for wid in [5, 6, 5, 7, 5] {
            let seq = table.seen.get(&(1, 2)).map_or(1, |seen| seen.seq + 1);
            table.take(NOON, &report(seq, vec![record("a", 1, &[("b", wid, 1)])]));
        }
        let sums = |wid| table.window(&counter("b"), wid).map(|(_, sum)| sum).sum::<u64>();
        assert_eq!((sums(5), sums(6), sums(7)), (0, 1, 1));
        let later = NOON + DAYS * 86_400_000;
        table.take(later, &SpendReport { vm: 9, ..report(1, vec![record("a", 1, &[])]) });
        assert_eq!(input(&table), 0);
        assert_eq!(table.seen.len(), 1, "who was silent for a day is forgotten");
    }

    #[test]
    fn a_table_survives_its_file_form() {
        let mut table = Table::default();
        let labels = vec![Label { name: "team".into(), value: "x".into() }];
        let record = SpentRecord { labels, ..record("a", 1, &[("b", 3, 4)]) };
        table.take(NOON, &report(1, vec![record]));
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), table);
    }
}
