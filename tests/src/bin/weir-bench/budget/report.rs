//! The table, and what in it breaks the promise.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::crowd::{Met, Verdict};
use super::stage::Bounds;
use super::variant::Variant;
use crate::stats::percentile;

/// One run.
pub struct Row {
    pub variant: Variant,
    pub title: String,
    /// The limit at the end.
    pub limit: u64,
    /// What must not be exceeded.
    pub bound: u64,
    /// By the provider's book.
    pub billed: u64,
    /// Of one window.
    pub used: u64,
    pub overspent: u64,
    /// By the ledger.
    pub settled: u64,
    pub stranded: u64,
    /// Billed per window, where there were several.
    pub windows: Vec<u64>,
    /// Syncs, of these acquires; recalls.
    pub ops: [u64; 3],
    /// Microseconds to the head of each answer.
    pub head: Vec<f64>,
    pub took: Duration,
    /// Refused while enough was free by the provider's book.
    pub verdict: Verdict,
    /// Requests that waited for the ledger, by the gateways' own count.
    pub waited: u64,
    /// Of them, and of all requests, those of the first seconds, in which no gateway has a lease.
    pub cold: Option<(u64, u64)>,
    /// What a learned bound may overspend.
    pub r1: Option<R1>,
    pub met: Arc<Met>,
}

/// The bound on what is overspent where bounds are learned: the protocol's r1.
pub struct R1 {
    /// How well prompts were bounded.
    pub bounds: Bounds,
    /// For all that may be in flight when the room reaches 0.
    pub units: u64,
    /// Units that settlements were above their reservations.
    pub excess: u64,
}

fn percent(of: u64, all: u64) -> String {
    format!("{:.2} %", of as f64 * 100.0 / all.max(1) as f64)
}

impl Row {
    /// What was used, and of how much.
    fn utilisation(&self) -> (u64, u64) {
        match self.variant {
            Variant::EnvoyKilled => (self.settled + self.stranded, self.limit),
            // What a client left is charged by its bound: the budget is used, though not all of it is billed.
            Variant::AbortsStop | Variant::AbortsBilled => (self.settled, self.limit),
            Variant::Lowered => (self.used, self.bound),
            _ => (self.used, self.limit),
        }
    }

    /// What is promised besides and was not kept in this run: shares that a busy machine may spoil.
    fn missed(&self) -> Vec<String> {
        let mut out = Vec::new();
        let (used, of) = self.utilisation();
        let least = if self.variant.learns() { 90 } else { 98 };
        // What a lowered limit calls home is not used, and a roomy one is not meant to be.
        let spent = !matches!(self.variant, Variant::Roomy | Variant::Lowered);
        if spent && used * 100 < of * least {
            out.push(format!("{} used, {least} % promised", percent(used, of)));
        }
        let asked = Met::get(&self.met.asked);
        if self.judged() && self.verdict.free * 1_000 >= asked.max(1) {
            out.push(format!(
                "{} refused while enough was free, 0.1 % allowed",
                percent(self.verdict.free, asked)
            ));
        }
        // Refused ones are requests too: the promise is about all.
        if self.ops[0] * 10 > asked * 12 {
            out.push(format!("{} ledger calls for {asked} requests, 1.2 each allowed", self.ops[0]));
        }
        if let (Variant::Roomy, Some((asked, waited))) = (self.variant, self.cold) {
            let later = Met::get(&self.met.asked) - asked;
            if self.waited.saturating_sub(waited) * 100 >= later.max(1) {
                out.push(format!("{} of {later} waited, 1 % allowed", self.waited.saturating_sub(waited)));
            }
        }
        out
    }

    /// The provider's book can tell what was free: what a dead gateway holds is in no book, nor is what was charged
    /// above the bill.
    fn judged(&self) -> bool {
        !matches!(self.variant, Variant::EnvoyKilled | Variant::AbortsStop | Variant::AbortsBilled)
    }

    /// What must never be.
    pub fn broken(&self) -> Option<String> {
        if self.overspent > self.r1.as_ref().map_or(0, |r1| r1.units) {
            return Some(format!("{}: overspent by {} of {}", self.title, self.overspent, self.bound));
        }
        let charged = self.settled + self.stranded;
        if self.windows.is_empty() && charged < self.billed {
            return Some(format!("{}: billed {}, charged only {charged}", self.title, self.billed));
        }
        None
    }

    /// In one line, while others still run.
    pub fn line(&self) -> String {
        format!(
            "billed {} of {}, settled {}, stranded {}, overspent {}; {:.0} s",
            self.billed,
            self.bound,
            self.settled,
            self.stranded,
            self.overspent,
            self.took.as_secs_f64(),
        )
    }

    fn cells(&self) -> Vec<String> {
        let met = &self.met;
        let admitted = Met::get(&met.answered) + Met::get(&met.left);
        let asked = Met::get(&met.asked);
        let mut head = self.head.clone();
        let ms = |micros: f64| format!("{:.0}", micros / 1_000.0);
        // What a dead gateway holds is free in the ledger's figures until the gateway counts as lost.
        let (by_word, by_book) =
            (percent(Met::get(&met.free_by_word), asked), percent(self.verdict.free, asked));
        let by_book = if self.judged() { by_book } else { "–".to_owned() };
        // Of money its words are about something else.
        let mute = matches!(self.variant, Variant::EnvoyKilled | Variant::Money);
        let by_word = if mute { "–".to_owned() } else { by_word };
        let (used, of) = self.utilisation();
        vec![
            self.title.clone(),
            self.overspent.to_string(),
            percent(used, of),
            self.billed.to_string(),
            (self.settled + self.stranded).saturating_sub(self.billed).to_string(),
            self.stranded.to_string(),
            asked.to_string(),
            admitted.to_string(),
            percent(self.waited, asked),
            met.refused().to_string(),
            Met::get(&met.unavailable).to_string(),
            Met::get(&met.quarantine).to_string(),
            by_word,
            by_book,
            format!("{} / {}", ms(percentile(&mut head, 0.5)), ms(percentile(&mut head, 0.99))),
            format!("{:.2}", self.ops[0] as f64 / asked.max(1) as f64),
            format!("{:.2}", self.ops[0] as f64 / admitted.max(1) as f64),
            format!("{:.2}", self.ops[1] as f64 / admitted.max(1) as f64),
            format!("{:.0}", self.took.as_secs_f64()),
        ]
    }
}

/// All runs as Markdown.
pub fn table(options: &Options, rows: &[Row]) -> String {
    let head = [
        "variant",
        "overspent",
        "used (killed: settled + stranded; aborts: settled; lowered: of what was committed)",
        "billed",
        "charged above billed",
        "stranded",
        "asked",
        "admitted",
        "waited for the ledger, of asked",
        "refused",
        "ledger away (503)",
        "ledger recovering",
        "refused while free, by its own words",
        "the same, by the provider's book",
        "to the head p50 / p99, ms",
        "ledger calls per request",
        "per admitted",
        "of these acquires",
        "s",
    ];
    let mut out = format!(
        "2 Envoys × 2 workers, {} clients, budget {} tokens, {:?} ledger; figures of this machine and this run\n\n",
        options.clients, options.limit, options.ledger
    );
    let mut line = |cells: &[String]| {
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    };
    line(&head.map(str::to_owned));
    line(&head.map(|_| "---".to_owned()));
    for row in rows {
        line(&row.cells());
    }
    for row in rows {
        if row.windows.len() > 1 {
            let _ =
                writeln!(out, "\n{}: billed per window {:?} of {} each", row.title, row.windows, row.limit);
        }
        let Verdict { across, latest_us, .. } = row.verdict;
        if across > 0 {
            let _ = writeln!(
                out,
                "\n{}: {across} asked in one window and were refused in the next, the last of them {:.1} ms after its edge",
                row.title,
                f64::from(latest_us) / 1_000.0
            );
        }
        if row.bound != row.limit {
            let _ = writeln!(
                out,
                "\n{}: lowered to {}; {} were committed at that moment, and no more was ever billed",
                row.title, row.limit, row.bound
            );
        }
        if let (Variant::Roomy, Some((asked, waited))) = (row.variant, row.cold) {
            let all = Met::get(&row.met.asked);
            let _ = writeln!(
                out,
                "\n{}: {} of {all} requests waited for the ledger ({}), {waited} of the first {asked}, when no gateway had \
                 a lease yet; after that {}",
                row.title,
                row.waited,
                percent(row.waited, all),
                percent(row.waited.saturating_sub(waited), all - asked),
            );
        }
        if let Some(R1 { bounds, units, excess }) = &row.r1 {
            let rate = |(_, bound, input): (u64, u64, u64)| bound as f64 / input.max(1) as f64;
            let Bounds { learned, proven, over, most } = bounds;
            let _ = writeln!(
                out,
                "\n{}: limit {}; {} prompts bounded by what was learned, at {:.2} times what was billed for them, {} by \
                 their bytes, at {:.2} times; {over} were billed above their bound, by {most} tokens at most, settlements \
                 above reservations came to {excess} units; so r1 allows {units} units to be overspent, and {} were",
                row.title,
                row.limit,
                learned.0,
                rate(*learned),
                proven.0,
                rate(*proven),
                row.overspent
            );
        }
        for missed in row.missed() {
            let _ = writeln!(out, "\n{}: MISSED: {missed}", row.title);
        }
        if let Ok(codes) = row.met.codes.lock() {
            let _ = writeln!(out, "\n{}: {codes:?}", row.title);
        }
        if let Ok(odd) = row.met.odd.lock()
            && !odd.is_empty()
        {
            let _ = writeln!(out, "\n{}: unexpected answers, the first of them: {odd:?}", row.title);
        }
    }
    out
}
