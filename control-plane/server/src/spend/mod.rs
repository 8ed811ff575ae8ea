//! Whose spend it is. Gateways tell one record per request, in a stream beside the one that enforces budgets; here the
//! records become sums that survive restarts, and answers to "by tenant, by key, by model, by label".
//!
//! The ledger's word on a counter is what counts. What its records do not explain is shown as `unattributed`: records
//! that are still on their way, that died with a gateway, or attempts that were lost and are presumed spent.

mod by;
mod store;
mod table;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};
use weir_lease::message::{SpendReport, SpendTaken};

use crate::records::Records;

pub use by::{By, Dimension};
use store::Store;
pub use table::OTHER;
use table::{Counter, Sums, Whose};

/// All spend records' sums.
pub struct Spend {
    store: Store,
}

impl Spend {
    /// Opens or creates them in the folder `data`.
    pub fn open(data: &Path) -> io::Result<Self> {
        Ok(Self { store: Store::open(data)? })
    }

    /// Keeps a batch of a gateway; done when it is on the disk.
    async fn take(&self, report: SpendReport) -> Result<(), String> {
        self.store.take(report).await
    }

    /// Forgets the counters of budgets that the policy has no more. `known` holds names and definitions.
    pub fn keep(&self, known: &[(String, String)]) {
        self.store.table().keep_counters(|counter| {
            known.iter().any(|(name, of)| *name == counter.budget && *of == counter.definition)
        });
    }

    /// Requests, tokens and cost of the days `from..=to` (days since 1970, UTC), one row per value of `by`.
    pub fn days(&self, from: u64, to: u64, by: &By) -> Value {
        let mut rows: BTreeMap<Vec<String>, Sums> = BTreeMap::new();
        let table = self.store.table();
        for (whose, sums) in table.days(from, to) {
            rows.entry(by.key(whose)).or_default().add(sums);
        }
        let dropped = table.dropped();
        drop(table);
        let rows = rows.into_iter().map(|(key, sums)| {
            let mut row = by.row(key);
            for (name, figure) in [
                ("requests", sums.requests),
                ("input_tokens", sums.input),
                ("output_tokens", sums.output),
                ("usd_nano", sums.nano_usd),
                ("estimated", sums.estimated),
            ] {
                row.insert(name.into(), figure.into());
            }
            Value::Object(row)
        });
        json!({"by": by.names(), "rows": rows.collect::<Vec<Value>>(), "dropped_records": dropped})
    }

    /// What was charged to one counter in its current window, one row per value of `by`, and what nobody explains.
    /// A rolling window's records cannot be told apart by age: it has no rows.
    pub fn counter(&self, of: &weir_ledger::Spend, wid: Option<u64>, by: &By) -> (Vec<Value>, Option<u64>) {
        let Some(wid) = wid else { return (Vec::new(), None) };
        let mut rows: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        let mut sum = 0u64;
        for (whose, amount) in self.store.table().window(&counter(of), wid) {
            let row = rows.entry(by.key(whose)).or_default();
            *row = row.saturating_add(amount);
            sum = sum.saturating_add(amount);
        }
        let rows = rows.into_iter().map(|(key, amount)| {
            let mut row = by.row(key);
            row.insert("settled".into(), amount.into());
            Value::Object(row)
        });
        (rows.collect(), Some(of.settled.saturating_sub(sum)))
    }
}

fn counter(of: &weir_ledger::Spend) -> Counter {
    Counter {
        budget: of.instance.budget.clone(),
        unit: of.instance.unit,
        subject: of.instance.subject.clone(),
        definition: of.instance.definition.clone(),
    }
}

impl By {
    fn key(&self, whose: &Whose) -> Vec<String> {
        self.0.iter().map(|dimension| dimension.of(whose).to_owned()).collect()
    }

    fn row(&self, key: Vec<String>) -> Map<String, Value> {
        self.names().into_iter().zip(key.into_iter().map(Value::from)).collect()
    }
}

impl Records for Spend {
    const SERVICE: &'static str = weir_lease::SPEND_SERVICE;
    const METHOD: &'static str = weir_lease::SPEND_METHOD;
    const MOST: usize = 8 << 20;
    type Report = SpendReport;
    type Kept = SpendTaken;

    fn keep(&self, report: Self::Report) -> impl Future<Output = Result<(), String>> + Send {
        self.take(report)
    }
}
