//! Budgets and their ledger for Prometheus: one series per budget and unit, however many counters `each` makes of it.
//! Units are whole tokens, requests, or nano-dollars, as the ledger counts them.

use std::collections::BTreeMap;

use weir_lease::Unit;
use weir_ledger::Spend;

use super::metrics::Page;
use crate::ledger::Ledger;

/// All of a budget's counters in their present windows.
#[derive(Default)]
struct Sums {
    counters: u64,
    exhausted: u64,
    limit: u64,
    parts: [u64; PARTS.len()],
}

type Part = (&'static str, &'static str, fn(&Spend) -> u64);

/// What a limit is made of.
const PARTS: [Part; 6] = [
    ("weir_budget_settled", "Units settled in the present windows, over all counters.", |of| of.settled),
    ("weir_budget_held", "Units that running requests hold.", |of| of.held),
    ("weir_budget_leased", "Units free inside gateways, which the ledger may call home.", |of| of.leased),
    ("weir_budget_stranded", "Units of lost gateways, presumed spent.", |of| of.stranded),
    ("weir_budget_headroom", "Units kept back for answers dearer than their bounds.", |of| of.headroom),
    ("weir_budget_left", "Units that may still be granted.", |of| of.left),
];

/// Writes them. While the ledger's store is away nobody knows what is spent, and only that is said.
pub async fn write(ledger: &Ledger, page: &mut Page) {
    page.gauge("weir_ledger_up", "Whether the ledger's store can be reached.")
        .add(&[], u64::from(!ledger.away()));
    if let Ok((counters, epoch)) = ledger.busy().await {
        page.gauge("weir_ledger_epoch", "Raised when the ledger may have forgotten grants.").add(&[], epoch);
        for (name, help, value) in [
            ("weir_ledger_calls_total", "Reports and asks of gateways.", counters.syncs),
            ("weir_ledger_asks_total", "Counters that gateways asked units of.", counters.acquires),
            ("weir_ledger_waits_total", "Asks that waited for units of other gateways.", counters.parked),
            ("weir_ledger_short_total", "Asks that were not met in full.", counters.short),
            ("weir_ledger_recalls_total", "Calls to gateways to return units.", counters.recalls),
            ("weir_ledger_wakes_total", "Gateways told that there is room again.", counters.wakes),
            ("weir_ledger_healed_total", "Grants that only a gateway remembered.", counters.healed),
        ] {
            page.counter(name, help).add(&[], value);
        }
    }
    let Ok(all) = ledger.spend().await else { return };
    let mut budgets: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
    let known = ledger.budgets();
    for def in known.iter() {
        budgets.insert((&def.name, unit(def.unit)), Sums { limit: def.limit, ..Sums::default() });
    }
    for spend in all.iter().filter(|spend| !spend.gone) {
        let name = (spend.instance.budget.as_str(), unit(spend.instance.unit()));
        let sums = budgets.entry(name).or_default();
        sums.counters += 1;
        sums.exhausted += u64::from(spend.left == 0);
        sums.limit = sums.limit.max(spend.limit);
        for (sum, (_, _, value)) in sums.parts.iter_mut().zip(PARTS) {
            *sum = sum.saturating_add(value(spend));
        }
    }
    let mut gauge = |name, help, value: &dyn Fn(&Sums) -> u64| {
        let mut samples = page.gauge(name, help);
        for ((budget, unit), sums) in &budgets {
            samples.add(&[("budget", budget), ("unit", unit)], value(sums));
        }
    };
    gauge("weir_budget_limit", "Units that one counter may spend, the highest override included.", &|of| {
        of.limit
    });
    gauge("weir_budget_counters", "Counters of the budget in their present windows.", &|of| of.counters);
    gauge("weir_budget_exhausted", "Counters with nothing left to grant.", &|of| of.exhausted);
    for (at, (name, help, _)) in PARTS.into_iter().enumerate() {
        gauge(name, help, &|of| of.parts[at]);
    }
}

/// What one unit is.
fn unit(of: Unit) -> &'static str {
    match of {
        Unit::NanoUsd => "nano_usd",
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use weir_config::filter::LedgerLost;
    use weir_lease::Instance;
    use weir_lease::message::{Ask, Item, OpenRequest, SyncRequest};
    use weir_ledger::Engine as _;
    use weir_model::{BudgetDef, LedgerStore};

    use super::*;

    fn budget(name: &str, unit: weir_model::Unit, each: &[&str]) -> BudgetDef {
        BudgetDef {
            name: name.into(),
            unit,
            limit: 1_000,
            window: "month".into(),
            timezone: "UTC".into(),
            definition: 7,
            each: each.iter().map(|name| (*name).to_owned()).collect(),
            ledger_lost: LedgerLost::Deny,
            alert_at: Vec::new(),
        }
    }

    fn value(page: &str, sample: &str) -> Option<u64> {
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
    }

    #[tokio::test]
    async fn a_budget_is_one_series_whatever_its_counters_and_the_parts_add_up() {
        let folder = std::env::temp_dir().join(format!("weir-budget-metrics-{}", std::process::id()));
        let ledger = Ledger::open(&folder, &LedgerStore::default()).unwrap();
        let budgets = [
            budget("day", weir_model::Unit::Tokens, &["key"]),
            budget("idle", weir_model::Unit::UsdNano, &[]),
        ];
        ledger.set_budgets(&budgets, 60_000).await.unwrap();
        let engine = ledger.engine();
        let open = OpenRequest { node: "n".into(), nonce_hi: 1, nonce_lo: 2, version: 1 };
        let sid = engine.open(open).await.unwrap().sid;
        let item = |subject: &str, full: u64| Item {
            instance: Some(Instance::new("day", Unit::Tokens, subject, "0000000000000007")),
            lane: 16,
            rev: 1,
            d: full,
            mean: full,
            ask: Some(Ask { full, floor: full, min: full, one: full }),
            ..Item::default()
        };
        let items = vec![item("a", 1_000), item("b", 300), item("c", 2_000)];
        let granted = engine.sync(SyncRequest { sid, epoch: 0, items }).await.unwrap().items;
        assert_eq!((granted[0].g, granted[1].g), (1_000, 300));
        // 400 of the first are used, 100 held.
        let (wid, g) = (granted[0].wid, granted[0].g);
        let report = Item { ask: None, wid, g, u: 400, h: 100, n: 1, rev: 2, ..item("a", 0) };
        engine.sync(SyncRequest { sid, epoch: 0, items: vec![report] }).await.unwrap();

        let mut page = Page::default();
        write(&ledger, &mut page).await;
        let text = page.text();
        let of = |name: &str| value(text, &format!("{name}{{budget=\"day\",unit=\"tokens\"}}"));
        assert_eq!(of("weir_budget_limit"), Some(1_000));
        assert_eq!(of("weir_budget_counters"), Some(3));
        assert_eq!(of("weir_budget_exhausted"), Some(1));
        assert_eq!(of("weir_budget_settled"), Some(400));
        assert_eq!(of("weir_budget_held"), Some(100));
        assert_eq!(of("weir_budget_stranded"), Some(0));
        let parts = PARTS.iter().map(|(name, _, _)| of(name).unwrap()).sum::<u64>();
        assert_eq!(parts, 3 * 1_000, "{text}");
        assert_eq!(
            value(text, "weir_budget_limit{budget=\"idle\",unit=\"nano_usd\"}"),
            Some(1_000),
            "{text}"
        );
        assert_eq!(value(text, "weir_ledger_up"), Some(1));
        assert_eq!(value(text, "weir_ledger_calls_total"), Some(2));
        assert_eq!(value(text, "weir_ledger_asks_total"), Some(3));
        assert_eq!(value(text, "weir_ledger_short_total"), Some(1));
        drop(ledger);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
