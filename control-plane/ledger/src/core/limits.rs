//! Limits and those who set them: budgets of the policy, overrides that end, stranded units given free, thresholds, and
//! what all of that has to show.

use std::collections::BTreeMap;

use weir_lease::Instance;

use super::{Core, Rest, Session, Time, keep};
use crate::Error;
use crate::book::Book;
use crate::budget::{Budget, BudgetDef, Spend};
use crate::log::Entry;
use crate::operate::{Alert, Audit, Holder, Override, Released, Scope};
use crate::window::WindowKind;

impl Core {
    /// Replaces all budgets.
    pub fn set_budgets(&mut self, now: Time, budgets: Vec<BudgetDef>) -> Result<(), Error> {
        let mut fresh = BTreeMap::new();
        for def in budgets {
            fresh.insert((def.name.clone(), def.unit as i32), Budget::new(def)?);
        }
        let same = fresh.len() == self.rest.budgets.len()
            && fresh.iter().zip(&self.rest.budgets).all(|((_, new), (_, old))| new.def == old.def);
        if same {
            return Ok(());
        }
        self.rest.budgets = fresh;
        self.rest.limits_at = now.wall;
        self.limits_changed(now, &|_| true);
        Ok(())
    }

    /// The state of every counter in its present window.
    pub fn spend(&mut self, now: Time) -> Vec<Spend> {
        let mut all = Vec::new();
        for book in self.books.values_mut() {
            self.rest.roll(book, now);
            self.rest.look(book, now);
            all.extend(self.rest.spend(book, now));
        }
        all
    }

    /// See [`crate::Engine::override_limit`].
    pub fn override_limit(
        &mut self,
        now: Time,
        scope: Scope,
        add: u64,
        until: u64,
        by: String,
    ) -> Result<(), Error> {
        if !self.rest.budgets.values().any(|budget| scope.names(&budget.def)) {
            return Err(Error::NoBudget(scope.budget));
        }
        // Other control planes number theirs by their clocks, too.
        let id = (self.rest.last_override + 1).max(now.wall);
        let new = Override { id, scope, add, until };
        let counter = new.scope.subject.as_deref().unwrap_or("all");
        let what = match add {
            0 => format!("budget {} ({counter}): overrides ended", new.scope.budget),
            add => format!("budget {} ({counter}): {add} added until {until}", new.scope.budget),
        };
        self.rest.note(now, by, what);
        self.rest.out.entries.push(Entry::Override(new.clone()));
        let scope = new.scope.clone();
        self.rest.keep_override(new);
        self.rest.limits_at = now.wall;
        self.limits_changed(now, &|instance| scope.covers(instance));
        Ok(())
    }

    /// The overrides in force.
    pub fn overrides(&self, now: Time) -> Vec<Override> {
        let wall = self.rest.wall.max(now.wall);
        self.rest.overrides.iter().filter(|one| one.until > wall && one.add > 0).cloned().collect()
    }

    pub(super) fn end_overrides(&mut self, now: Time) {
        let before = self.rest.wall;
        self.rest.wall = before.max(now.wall);
        let wall = self.rest.wall;
        let ended: Vec<Scope> = self
            .rest
            .overrides
            .extract_if(.., |one| one.until <= wall)
            .filter(|one| one.add > 0)
            .map(|one| one.scope)
            .collect();
        if !ended.is_empty() {
            self.rest.limits_at = wall;
            self.limits_changed(now, &|instance| ended.iter().any(|scope| scope.covers(instance)));
        }
    }

    /// Serves those who wait for new limits, calls home what lowered ones do not allow, and tells everybody.
    pub(super) fn limits_changed(&mut self, now: Time, which: &dyn Fn(&Instance) -> bool) {
        for book in self.books.values_mut().filter(|book| which(&book.instance)) {
            self.rest.limit_changed(book, now);
        }
        for (sid, session) in &mut self.rest.sessions {
            session.limits = true;
            self.rest.ring.insert(*sid);
        }
        self.rest.tell();
    }

    /// See [`crate::Engine::release_stranded`].
    pub fn release_stranded(
        &mut self,
        now: Time,
        scope: &Scope,
        sid: Option<u64>,
        by: String,
    ) -> Vec<Released> {
        let mut all = Vec::new();
        for book in self.books.values_mut().filter(|book| scope.covers(&book.instance)) {
            self.rest.release(book, now, sid, &mut all);
        }
        let units: u128 = all.iter().map(|one| u128::from(one.units)).sum();
        let what = format!("budget {}: {units} stranded units released", scope.budget);
        self.rest.note(now, by, what);
        self.rest.tell();
        all
    }

    /// The thresholds that were crossed, the latest last.
    pub fn alerts(&self) -> Vec<Alert> {
        self.rest.alerts.iter().cloned().collect()
    }

    /// What operators did, the latest last.
    pub fn audit(&self) -> Vec<Audit> {
        self.rest.audit.iter().cloned().collect()
    }

    /// The gateway processes.
    pub fn holders(&self, now: Time) -> Vec<Holder> {
        let mut counters: BTreeMap<u64, u32> = BTreeMap::new();
        for (key, vector) in self.books.values().flat_map(Book::current).flat_map(|period| &period.vectors) {
            if vector.outstanding() > 0 {
                *counters.entry(key.0).or_default() += 1;
            }
        }
        let holder = |(sid, session): (&u64, &Session)| {
            let silent_ms = now.mono.saturating_sub(session.seen);
            Holder {
                sid: *sid,
                node: session.node.clone(),
                silent_ms,
                lost: silent_ms > self.rest.params.session_ttl && !session.closed,
                draining: session.draining,
                closed: session.closed,
                counters: counters.get(sid).copied().unwrap_or(0),
            }
        };
        self.rest.sessions.iter().map(holder).collect()
    }
}

impl Rest {
    /// The budget of a counter, unless it was removed or defined anew.
    pub fn budget(&self, instance: &Instance) -> Option<&Budget> {
        // BTreeMap has no borrowed lookup by a pair; the clone is one short name per item.
        let budget = self.budgets.get(&(instance.budget.clone(), instance.unit))?;
        (budget.def.definition == instance.definition).then_some(budget)
    }

    /// The limit of a counter with the overrides in force; `None` when its budget was removed or defined anew.
    pub fn limit(&self, instance: &Instance, wall: u64) -> Option<u64> {
        let limit = self.budget(instance)?.def.limit;
        Some(limit.saturating_add(self.added(instance, wall)))
    }

    /// What overrides add.
    pub fn added(&self, instance: &Instance, wall: u64) -> u64 {
        let wall = self.wall.max(wall);
        let in_force = self.overrides.iter().filter(|one| one.until > wall && one.scope.covers(instance));
        in_force.fold(0, |sum, one| sum.saturating_add(one.add))
    }

    pub(super) fn keep_override(&mut self, new: Override) {
        if new.id <= self.last_override {
            return;
        }
        self.last_override = new.id;
        if new.add == 0 {
            self.overrides.retain(|one| one.scope != new.scope);
        }
        // One that adds nothing stays until then too: a snapshot has to carry the number.
        self.overrides.push(new);
    }

    fn note(&mut self, now: Time, by: String, what: String) {
        let audit = Audit { at: now.wall, by, what };
        self.out.entries.push(Entry::Audit(audit.clone()));
        self.out.durable = true;
        keep(&mut self.audit, audit);
    }

    /// The interval in which each threshold is told once; see [`Alert::wid`].
    pub fn interval(&self, book: &Book, now: Time) -> u64 {
        match self.budget(&book.instance).map(|budget| budget.def.window) {
            Some(WindowKind::Rolling(length)) => self.clock(now) / length.max(1) + 1,
            _ => book.wid,
        }
    }

    /// Tells the thresholds that a counter has crossed, each once in a window.
    pub fn look(&mut self, book: &mut Book, now: Time) {
        let Some(budget) = self.budget(&book.instance).filter(|budget| !budget.def.alert_at.is_empty())
        else {
            return;
        };
        let thresholds = budget.def.alert_at.clone();
        let Some(limit) = self.limit(&book.instance, now.wall) else { return };
        let spent = book.used(book.wid) + self.sums(book, now).stranded;
        let wid = self.interval(book, now);
        for threshold in thresholds {
            let crossed = spent * 10_000 >= u128::from(limit) * u128::from(threshold);
            if wid == 0 || !crossed || !book.note_alert(wid, threshold) {
                continue;
            }
            let spent = u64::try_from(spent).unwrap_or(u64::MAX);
            let instance = book.instance.clone();
            let alert = Alert { instance, wid, threshold, spent, limit, at: now.wall };
            self.out.entries.push(Entry::Alert(alert.clone()));
            keep(&mut self.alerts, alert);
        }
    }
}
