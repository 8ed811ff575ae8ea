//! The embedded ledger of this control plane: opened in the data folder, told its budgets, asked what is spent.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_lease::Unit;
use weir_ledger::{BudgetDef, Embedded, Engine, LedgerServer, Spend, WindowKind};

use crate::Failure;

/// Where budgets are kept.
pub struct Ledger {
    engine: Arc<Embedded>,
}

impl Ledger {
    /// Opens or creates the ledger below `data`.
    pub fn open(data: &Path) -> Result<Self, Failure> {
        let engine = Embedded::open(&data.join("ledger")).map_err(|why| Failure::new(why.to_string()))?;
        Ok(Self { engine: Arc::new(engine) })
    }

    /// The gRPC service for gateways.
    pub fn service(&self) -> LedgerServer<Embedded> {
        weir_ledger::service(self.engine.clone())
    }

    /// Replaces all budgets.
    pub async fn set_budgets(&self, budgets: &[weir_model::BudgetDef]) -> Result<(), String> {
        let budgets: Result<Vec<BudgetDef>, weir_ledger::Error> = budgets.iter().map(definition).collect();
        let told = self.engine.set_budgets(budgets.map_err(|why| why.to_string())?);
        told.await.map_err(|why| why.to_string())
    }

    /// Every counter with something in it.
    pub async fn spend(&self) -> Result<Value, String> {
        let spend = self.engine.spend().await.map_err(|why| why.to_string())?;
        Ok(json!({"counters": spend.iter().map(counter).collect::<Vec<Value>>()}))
    }
}

fn definition(of: &weir_model::BudgetDef) -> Result<BudgetDef, weir_ledger::Error> {
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
    })
}

fn counter(of: &Spend) -> Value {
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
        "settled": of.settled,
        "held": of.held,
        "leased": of.leased,
        "stranded": of.stranded,
        "left": of.left,
        "overcommitted": of.overcommitted,
        "running": of.running,
    })
}
