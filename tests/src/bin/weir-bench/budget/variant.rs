//! What goes wrong, and the course of one run.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use serde_json::Value;
use weir_tests::harness::Child;
use weir_tests::sim::Bill;

use super::Options;
use super::crowd::{Crowd, Met, Ways};
use super::report::{R1, Row};
use super::stage::{Counts, Engine, Model, Plan, Stage};

/// How often the driver looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Nothing billed for so long, and nothing running: the budget is at its end.
const STILL: Duration = Duration::from_secs(3);
/// A ledger that is down is so for this long.
const DOWN: Duration = Duration::from_secs(10);
/// Trouble begins at this share of the limit, in percent.
const HALF_WAY: u64 = 40;
/// How long the last word may take: a lost gateway is known as such after fifteen seconds.
const LAST_WORD: Duration = Duration::from_secs(40);

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Variant {
    /// Nothing.
    Baseline,
    /// One of the two Envoys is killed.
    EnvoyKilled,
    /// The control plane is killed and started again.
    ControlKilled,
    /// The ledger does not answer for ten seconds: control plane, or Redis, stopped.
    LedgerDown,
    /// Redis is killed and started again. With `--ledger redis`.
    RedisRestarted,
    /// Every second client leaves its streams; the provider stops when it notices.
    AbortsStop,
    /// The same; the provider bills the whole answer.
    AbortsBilled,
    /// The window ends in the middle.
    Rollover,
    /// The limit is lowered to half, below what is spent.
    Lowered,
    /// A model whose vocabulary nobody here has: another tokenizer, hidden tokens with tools, thoughts that are billed.
    Learned,
    /// The same, and the budget is in money: prompts are written to the provider's cache, which is dearer than input.
    Money,
    /// More than enough for everybody: how many wait for the ledger.
    Roomy,
}

/// Times the limit of the other variants that a model is given whose bounds are to be learned first: each gateway
/// learns from a thousand requests of a kind.
const TO_LEARN: u64 = 5;
/// Nano-USD for a token of the others' limit.
const NANO_PER_TOKEN: u64 = 6_000;
/// Times the others' limit that nobody gets through.
const PLENTY: u64 = 1_000_000;
/// How long it takes until every gateway has a lease, and has said how many waited for it.
const COLD: Duration = Duration::from_secs(3);
/// How long a budget that is not spent is asked.
const ROOMY_FOR: Duration = Duration::from_secs(30);

impl Variant {
    /// All that an engine can meet.
    pub fn all(engine: Engine) -> Vec<Self> {
        let met = |one: &&Self| **one != Self::RedisRestarted || engine == Engine::Redis;
        Self::value_variants().iter().filter(met).copied().collect()
    }

    /// Clients offer tools every second time, and a bound is learned.
    pub fn learns(self) -> bool {
        matches!(self, Self::Learned | Self::Money)
    }

    pub fn title(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub async fn run(self, options: &Options) -> Result<Row, String> {
        if self == Self::RedisRestarted && options.ledger != Engine::Redis {
            return Err("needs --ledger redis".into());
        }
        let limit = match self {
            Self::Learned => options.limit * TO_LEARN,
            Self::Money => options.limit * TO_LEARN * NANO_PER_TOKEN,
            Self::Roomy => options.limit * PLENTY,
            _ => options.limit,
        };
        let plan = Plan {
            limit,
            counts: if self == Self::Money { Counts::NanoUsd } else { Counts::Tokens },
            model: if self.learns() { Model::Unknown } else { Model::Known },
            window: if self == Self::Rollover { "minute" } else { "month" },
            bill: if self == Self::AbortsBilled { Bill::All } else { Bill::Stops },
            engine: options.ledger,
        };
        let stage = Stage::start(plan).await?;
        if self == Self::Rollover {
            // The first window has half a minute left, so that it is used up before it ends.
            while (unix_ms() / 1_000) % 60 != 28 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let leaving = matches!(self, Self::AbortsStop | Self::AbortsBilled);
        let ways = Ways { leaving, tools: self.learns() };
        let crowd = Crowd::start(&stage, options.clients, limit, ways);
        let mut run = Run {
            variant: self,
            options,
            stage,
            crowd,
            begun: Instant::now(),
            limit,
            bound: limit,
            ops: Ops::default(),
            windows: Vec::new(),
            cold: None,
        };
        run.course().await?;
        run.end().await
    }
}

/// Calls of the ledger, over its restarts.
#[derive(Default)]
struct Ops {
    before: [u64; 3],
    last: [u64; 3],
}

impl Ops {
    fn note(&mut self, said: &Value) {
        let now = ["syncs", "acquires", "recalls"].map(|name| said[name].as_u64().unwrap_or(0));
        if now[0] < self.last[0] {
            for (sum, last) in self.before.iter_mut().zip(self.last) {
                *sum += last;
            }
        }
        self.last = now;
    }

    fn sums(&self) -> [u64; 3] {
        std::array::from_fn(|i| self.before[i] + self.last[i])
    }
}

struct Run<'o> {
    variant: Variant,
    options: &'o Options,
    stage: Stage,
    crowd: Crowd,
    begun: Instant,
    /// The limit in force.
    limit: u64,
    /// What must not be exceeded: the limit, or what was committed when it was lowered.
    bound: u64,
    ops: Ops,
    /// Billed in each window that is over.
    windows: Vec<u64>,
    /// Requests, and those that waited for the ledger, while the gateways had no lease yet.
    cold: Option<(u64, u64)>,
}

impl Run<'_> {
    async fn course(&mut self) -> Result<(), String> {
        let mut trouble = false;
        let (mut billed_before, mut still_since) = (0, Instant::now());
        let mut base = 0;
        let mut window = unix_ms() / 60_000;
        let mut looked = Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.variant == Variant::Rollover && unix_ms() / 60_000 > window {
                window += 1;
                self.crowd.edge(Duration::from_millis(unix_ms() - window * 60_000));
                let (total, _) = self.stage.book();
                self.windows.push(total - base);
                base = total;
            }
            let billed = self.crowd.look(&self.stage, base);
            let open = self.stage.book().1;
            if billed != billed_before || open > 0 {
                (billed_before, still_since) = (billed, Instant::now());
            }
            if looked.elapsed() > Duration::from_millis(500) {
                looked = Instant::now();
                if let Some(said) = self.stage.api("/api/ledger").await {
                    self.ops.note(&said);
                }
                self.note_reservation().await;
            }
            if self.cold.is_none() && self.begun.elapsed() > COLD {
                let asked = Met::get(&self.crowd.met.asked);
                self.cold = Some((asked, self.stage.stats("weir_admit_waited_total").await));
            }
            if !trouble && billed * 100 >= self.limit * HALF_WAY {
                trouble = true;
                self.trouble().await?;
            }
            let asked = Met::get(&self.crowd.met.asked);
            let admitted = Met::get(&self.crowd.met.answered) + Met::get(&self.crowd.met.left);
            let total = self.stage.book().0;
            let demand = u128::from(asked) * u128::from(total) / u128::from(admitted.max(1));
            let demanded = demand >= u128::from(self.options.demand) * u128::from(self.limit);
            let rolled = self.variant != Variant::Rollover || self.windows.len() == 1;
            let spent = demanded && rolled && still_since.elapsed() > STILL;
            let over = spent || (self.variant == Variant::Roomy && self.begun.elapsed() > ROOMY_FOR);
            if over || self.begun.elapsed() > Duration::from_secs(self.options.seconds) {
                if self.variant == Variant::Rollover {
                    self.windows.push(self.stage.book().0 - base);
                }
                return Ok(());
            }
        }
    }

    /// What a request reserves, as the ledger hears it: a roomy budget bounds prompts by their bytes, a tight one has
    /// them counted, so the most of late is taken.
    async fn note_reservation(&self) {
        let Some(said) = self.stage.counter().await else { return };
        let (held, running) = (said["held"].as_u64().unwrap_or(0), said["running"].as_u64().unwrap_or(0));
        if running > 0 {
            self.crowd.judge.reservation.fetch_max(held.div_ceil(running), Ordering::Relaxed);
        }
    }

    async fn trouble(&mut self) -> Result<(), String> {
        match self.variant {
            Variant::EnvoyKilled => {
                // What it held is in no book; the judge by the book has nothing to say from here on.
                self.crowd.judge.limit.store(0, Ordering::Relaxed);
                if let Some(mut envoy) = self.stage.envoys.pop() {
                    envoy.process().signal("KILL");
                    self.wait(Duration::from_millis(50)).await;
                    drop(envoy);
                }
            }
            Variant::ControlKilled => {
                self.stage.control = None;
                self.wait(Duration::from_millis(500)).await;
                self.stage.start_control();
            }
            Variant::LedgerDown => {
                self.ledger()?.signal("STOP");
                self.wait(DOWN).await;
                self.ledger()?.signal("CONT");
            }
            Variant::RedisRestarted => {
                self.stage.redis = None;
                self.wait(Duration::from_millis(500)).await;
                self.stage.start_redis();
            }
            Variant::Lowered => {
                let lower = self.limit * HALF_WAY / 200;
                self.stage.set_limit(lower)?;
                self.crowd.judge.limit.store(lower, Ordering::Relaxed);
                self.limit = lower;
                let lowered = |said: &Value| said["counters"][0]["limit"].as_u64() == Some(lower);
                let said = self.stage.until("the new limit is in force", "/api/spend", lowered).await?;
                let counter = &said["counters"][0];
                // From here on committed only falls; whatever is billed was committed now.
                let committed =
                    ["settled", "held", "leased", "stranded"].map(|name| counter[name].as_u64().unwrap_or(0));
                self.bound = lower.max(committed.iter().sum());
            }
            Variant::Baseline
            | Variant::AbortsStop
            | Variant::AbortsBilled
            | Variant::Rollover
            | Variant::Learned
            | Variant::Money
            | Variant::Roomy => {}
        }
        Ok(())
    }

    fn ledger(&self) -> Result<&Child, String> {
        let ledger = match self.options.ledger {
            Engine::Embedded => self.stage.control.as_ref(),
            Engine::Redis => self.stage.redis.as_ref(),
        };
        ledger.ok_or_else(|| "nothing to stop".into())
    }

    /// Waits; the judge goes on looking.
    async fn wait(&self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            tokio::time::sleep(LOOK_EVERY).await;
            self.crowd.look(&self.stage, 0);
        }
    }

    async fn end(mut self) -> Result<Row, String> {
        let took = self.begun.elapsed();
        let reservation = Met::get(&self.crowd.judge.reservation);
        let met = self.crowd.stop().await;
        let verdict = met.free_by_book(reservation, reservation.max(self.limit / 50));
        // The last word of the ledger: nothing is held, or only by the one that died.
        let waiting = Instant::now();
        let counter = loop {
            let counter = self.stage.counter().await;
            if let Some(said) = &counter {
                let quiet =
                    said["held"] == 0 && (self.variant != Variant::EnvoyKilled || said["stranded"] != 0);
                if quiet || waiting.elapsed() > LAST_WORD {
                    break counter.unwrap_or_default();
                }
            } else if waiting.elapsed() > LAST_WORD {
                return Err("the control plane does not answer any more".into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        if let Some(said) = self.stage.api("/api/ledger").await {
            self.ops.note(&said);
        }
        let (billed, _) = self.stage.book();
        let waited = self.stage.stats("weir_admit_waited_total").await;
        let excess = self.stage.stats("weir_budget_excess_units_total").await;
        // All that may be in flight when the room reaches 0, each as much above its bound as any was.
        let r1 = self.variant.learns().then(|| {
            let bounds = self.stage.bounds();
            let units = self.stage.worth(bounds.most) * self.options.clients as u64;
            R1 { bounds, units, excess }
        });
        let (overspent, used) = match self.windows.as_slice() {
            [] => (billed.saturating_sub(self.bound), billed),
            windows => {
                let over = windows.iter().map(|one| one.saturating_sub(self.limit)).sum();
                // The least used of the windows that saw the whole demand.
                (over, windows.iter().copied().min().unwrap_or(0))
            }
        };
        let figure = |name: &str| counter[name].as_u64().unwrap_or(0);
        let head = met.head_us.lock().map(|all| all.clone()).unwrap_or_default();
        Ok(Row {
            variant: self.variant,
            title: self.variant.title(),
            limit: self.limit,
            bound: self.bound,
            billed,
            used,
            overspent,
            settled: figure("settled"),
            stranded: figure("stranded"),
            windows: self.windows,
            ops: self.ops.sums(),
            head: head.into_iter().map(f64::from).collect(),
            took,
            verdict,
            waited,
            cold: self.cold,
            r1,
            met,
        })
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}
