//! The ledger of this control plane: opened, told its budgets, asked what is spent, operated by people.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tonic::service::Routes;
use weir_lease::Unit;
use weir_lease::message::DrainRequest;
use weir_ledger::{
    Alert, Audit, BudgetDef, Desk, Engine as _, Error, Guarantee, Holder, Override, RedisOptions, Released,
    Scope, Spend, WindowKind,
};
use weir_model::LedgerStore;

use crate::Failure;

/// Where budgets are kept.
pub struct Ledger {
    engine: Arc<Desk>,
    store: LedgerStore,
    budgets: Mutex<Arc<Vec<BudgetDef>>>,
}

impl Ledger {
    /// Opens or creates the ledger: below `data`, or on Redis.
    pub fn open(data: &Path, store: &LedgerStore) -> Result<Self, Failure> {
        let engine = match store.redis.is_empty() {
            true => Desk::open(&data.join("ledger")).map_err(|why| Failure::new(why.to_string()))?,
            false => redis(data, store)?,
        };
        Ok(Self { engine: Arc::new(engine), store: store.clone(), budgets: Mutex::default() })
    }

    /// Where it keeps budgets, as it was opened: moving them takes a restart.
    pub fn store(&self) -> &LedgerStore {
        &self.store
    }

    /// What the store promises, when that is less than a hard budget asks.
    pub async fn lacks(&self) -> Option<String> {
        match self.engine.guarantee().await {
            Ok(Guarantee::HardExceptLostTail(why)) => Some(why),
            _ => None,
        }
    }

    /// Whether its store cannot be reached at present.
    pub fn away(&self) -> bool {
        self.engine.away()
    }

    /// Says that a store which was emptied is to start from nothing.
    pub async fn confirm(&self) -> Result<(), Error> {
        self.engine.confirm().await
    }

    /// Adds the gRPC service for gateways.
    pub fn serve(&self, routes: Routes) -> Routes {
        routes.add_service(weir_ledger::service(self.engine.clone()))
    }

    /// Replaces all budgets. `max_life`: longest life of a request, in milliseconds.
    pub async fn set_budgets(&self, budgets: &[weir_model::BudgetDef], max_life: u64) -> Result<(), String> {
        let budgets = budgets.iter().map(|of| definition(of, max_life));
        let budgets: Result<Vec<BudgetDef>, Error> = budgets.collect();
        let budgets = budgets.map_err(|why| why.to_string())?;
        self.engine.set_budgets(budgets.clone()).await.map_err(|why| why.to_string())?;
        *self.told() = Arc::new(budgets);
        Ok(())
    }

    /// The budgets in force, one for each unit.
    pub fn budgets(&self) -> Arc<Vec<BudgetDef>> {
        self.told().clone()
    }

    /// Every counter with something in it.
    pub async fn spend(&self) -> Result<Vec<Spend>, Error> {
        self.engine.spend().await
    }

    /// Adds to limits until an instant.
    pub async fn override_limit(&self, scope: Scope, add: u64, until: u64, by: &str) -> Result<(), Error> {
        self.engine.override_limit(scope, add, until, by.to_owned()).await
    }

    /// The overrides in force.
    pub async fn overrides(&self) -> Result<Vec<Override>, Error> {
        self.engine.overrides().await
    }

    /// Gives free what lost gateways have.
    pub async fn release(&self, scope: Scope, sid: Option<u64>, by: &str) -> Result<Vec<Released>, Error> {
        self.engine.release_stranded(scope, sid, by.to_owned()).await
    }

    /// Thresholds crossed, the latest last.
    pub async fn alerts(&self) -> Result<Vec<Alert>, Error> {
        self.engine.alerts().await
    }

    /// What operators did, the latest last.
    pub async fn audit(&self) -> Result<Vec<Audit>, Error> {
        self.engine.audit().await
    }

    /// Counts since this control plane began.
    pub async fn counters(&self) -> Result<Value, Error> {
        let (counters, epoch) = self.engine.counters().await?;
        Ok(json!({
            "up": !self.away(),
            "epoch": epoch,
            "syncs": counters.syncs,
            "acquires": counters.acquires,
            "parked": counters.parked,
            "short": counters.short,
            "recalls": counters.recalls,
            "wakes": counters.wakes,
            "healed": counters.healed,
        }))
    }

    /// The same, and the epoch, as numbers.
    pub async fn busy(&self) -> Result<(weir_ledger::Counters, u64), Error> {
        self.engine.counters().await
    }

    /// Its engine, to be called as gateways call it.
    #[cfg(test)]
    pub fn engine(&self) -> &Desk {
        &self.engine
    }

    /// The gateway processes that hold budget.
    pub async fn holders(&self) -> Result<Vec<Holder>, Error> {
        self.engine.holders().await
    }

    /// Tells a gateway process to return what it does not use and to close.
    pub async fn drain(&self, sid: u64) -> Result<(), String> {
        let told = self.engine.drain(DrainRequest { sid }).await;
        told.map(drop).map_err(|status| status.message.to_owned())
    }

    fn told(&self) -> MutexGuard<'_, Arc<Vec<BudgetDef>>> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ledger on Redis. The id that it gives is noted below `data`, so that a store which was emptied is known to have
/// been another.
fn redis(data: &Path, store: &LedgerStore) -> Result<Desk, Failure> {
    let options = RedisOptions {
        addresses: store.redis.clone(),
        wait_replicas: store.wait_replicas,
        note: Some(data.join("ledger-redis.id")),
        ..RedisOptions::default()
    };
    Desk::redis(options).map_err(|why| Failure::new(why.to_string()))
}

fn definition(of: &weir_model::BudgetDef, max_life: u64) -> Result<BudgetDef, Error> {
    Ok(BudgetDef {
        name: of.name.clone(),
        unit: match of.unit {
            weir_model::Unit::Tokens => Unit::Tokens,
            weir_model::Unit::Requests => Unit::Requests,
            weir_model::Unit::UsdNano => Unit::NanoUsd,
        },
        limit: of.limit,
        window: WindowKind::parse(&of.window)?,
        timezone: of.timezone.clone(),
        // As the filters' configuration writes it.
        definition: format!("{:016x}", of.definition),
        each: of.each.clone(),
        alert_at: of.alert_at.clone(),
        max_life,
    })
}

/// The number of a counter's current window, as gateways name it; none where windows roll.
pub fn wid(of: &Spend) -> Option<u64> {
    match of.kind {
        WindowKind::Rolling(_) => None,
        _ => Some(of.window.wid()),
    }
}

/// A counter, for people.
pub fn counter(of: &Spend) -> Value {
    json!({
        "budget": of.instance.budget,
        "unit": of.instance.unit().name(),
        "each": of.each,
        "subject": of.instance.subject,
        "window": of.kind.name(),
        "from_ms": of.window.start,
        "to_ms": of.window.end,
        "timezone": of.timezone,
        "limit": of.limit,
        "added": of.added,
        "settled": of.settled,
        "held": of.held,
        "leased": of.leased,
        "stranded": of.stranded,
        "headroom": of.headroom,
        "left": of.left,
        "overcommitted": of.overcommitted,
        "running": of.running,
        "gone": of.gone,
    })
}
