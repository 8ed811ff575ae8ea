//! The store on Redis or Valkey: what a control plane decides is confirmed by one function there, which grants nothing
//! beyond a limit whatever that control plane believes, so that several may share it. Each counter lives in one hash
//! slot. When the server may have forgotten (another process, another history), every gateway reports what it holds
//! and this control plane what it has granted, and nothing is granted meanwhile. What it is not: it spreads nothing
//! over a cluster; the addresses are one primary and its replicas.

mod join;
mod load;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use redis::{Cmd, Connection, Pipeline, cmd, pipe};

use crate::Error;
use crate::book::Key;
use crate::core::{Core, Effect, Params, Reply, Status, Time};
use crate::desk::{Clock, Desk, Guarantee, Store};
use crate::log::Entry;
use join::{field, identity, url};

/// Largest limit that the function counts exactly.
const MAX_LIMIT: u64 = 1 << 53;
/// How often the server is asked who it is, and what others have written, in milliseconds.
const TEND: u64 = 1_000;
/// How often closed windows are deleted, in milliseconds.
const TIDY: u64 = 3_600_000;
/// Operators' doings and alerts that are kept.
const KEPT: isize = 3_000;
/// Commands in one round trip.
const PIPE: usize = 2_000;
/// Vectors of one window in one call.
const TOGETHER: usize = 500;

/// How to reach a ledger on Redis.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `redis://[user:password@]host[:port][/db]` of a primary and its replicas, or `host:port`; whichever is the
    /// primary is used.
    pub addresses: Vec<String>,
    /// Replicas that must have a grant before it is told.
    pub wait_replicas: u32,
    /// A file where this control plane notes the store's id. One that the store does not have says that the store was
    /// emptied, and then nothing is granted until an operator confirms.
    pub note: Option<PathBuf>,
    /// Parameters of the protocol.
    pub params: Params,
    /// For tests: the time in milliseconds, in place of all clocks, the server's included.
    pub fixed_time: Option<Arc<AtomicU64>>,
    /// First part of all keys, for stores that share a server: `weir` when empty.
    pub prefix: String,
}

impl Desk {
    /// Opens the ledger on a Redis 7 or Valkey server. One that does not answer is waited for: until it does, calls are
    /// told so. Refused: addresses that are none, a server that evicts keys, and one in cluster mode.
    pub fn redis(options: Options) -> Result<Desk, Error> {
        let mut clock = Clock::new();
        clock.fixed = options.fixed_time.clone();
        for address in &options.addresses {
            redis::Client::open(url(address))?;
        }
        let store = Shared {
            prefix: if options.prefix.is_empty() { "weir".into() } else { options.prefix.clone() },
            options,
            link: None,
            server: String::new(),
            marker: String::new(),
            guarantee: Guarantee::Hard,
            why: String::new(),
            closed: false,
            untold: false,
            suspect: false,
            tidied: 0,
            read: 0,
            tended: 0,
        };
        let core = Core::new(Params { shared: true, ..store.options.params });
        Desk::serve(core, store, clock)
    }
}

pub(crate) struct Shared {
    options: Options,
    prefix: String,
    link: Option<Connection>,
    /// Which process with which history answers.
    server: String,
    marker: String,
    guarantee: Guarantee,
    /// Why it could not be joined, as was last said.
    why: String,
    /// The store was emptied: nothing is granted until an operator confirms.
    closed: bool,
    /// The server may have forgotten, and not everybody has told it again.
    suspect: bool,
    /// Something was granted that no replica is known to have.
    untold: bool,
    /// Entries of the shared list that have been read or written here.
    read: isize,
    tended: u64,
    tidied: u64,
}

/// Counter, window, session and lane.
type At = (u32, u64, Key);

/// One vector, and what it is to be granted beyond `g`.
struct Call {
    at: At,
    g: u64,
    amount: u64,
}

impl Shared {
    fn key(&self, name: &str) -> String {
        format!("{}:{{ledger}}:{name}", self.prefix)
    }

    fn link(&mut self) -> Result<&mut Connection, Error> {
        self.link.as_mut().ok_or(Error::Away)
    }

    /// The function's call for some vectors of one window.
    fn function(&self, core: &Core, calls: &[Call], now: Time) -> Option<Cmd> {
        let (index, wid, _) = calls.first()?.at;
        let (instance, rolling) = core.counter(index)?;
        let window = core.window_of(index, wid)?;
        let id = format!("{}:{{{:032x}}}", self.prefix, instance.id());
        let limit = core.limit_of(index, now).min(MAX_LIMIT);
        let time = if self.options.fixed_time.is_some() { now.wall } else { 0 };
        let ends = if window.end == u64::MAX { 0 } else { window.end };
        let mut line = cmd("FCALL");
        line.arg("weir1_sync").arg(3);
        line.arg(format!("{id}:c")).arg(format!("{id}:{wid}")).arg(format!("{id}:ring"));
        line.arg(time).arg(window.start).arg(ends);
        line.arg(limit).arg(core.limits_at()).arg(rolling).arg(self.options.params.ahead + 2_000);
        for call in calls {
            let (sid, lane) = call.at.2;
            let vector = core.vector_of(index, wid, call.at.2);
            line.arg(format!("{sid:x}:{lane}")).arg(call.g).arg(vector.r).arg(vector.u);
            line.arg(vector.freed).arg(call.amount);
        }
        Some(line)
    }

    /// Runs calls, those of one window together; whether all was granted, and whether the server had forgotten some.
    fn run(&mut self, core: &mut Core, mut calls: Vec<Call>, now: Time) -> Result<(bool, bool), Error> {
        let (mut granted, mut forgot) = (true, false);
        calls.sort_by_key(|call| (call.at.0, call.at.1));
        let groups: Vec<&[Call]> = calls
            .chunk_by(|a, b| (a.at.0, a.at.1) == (b.at.0, b.at.1))
            .flat_map(|window| window.chunks(TOGETHER))
            .collect();
        for part in groups.chunks(PIPE) {
            let mut line: Pipeline = pipe();
            let mut sent = Vec::with_capacity(part.len());
            for group in part {
                if let Some(function) = self.function(core, group, now) {
                    line.add_command(function);
                    sent.push(*group);
                }
            }
            let answers: Vec<Vec<String>> = line.query(self.link()?)?;
            for (group, answer) in sent.iter().zip(answers) {
                let number =
                    |at: usize| answer.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
                for (i, call) in group.iter().enumerate() {
                    let g = number(2 + 2 * i);
                    granted &= g >= call.g + call.amount;
                    forgot |= number(3 + 2 * i) != 0;
                    core.learn(now, call.at, g, None);
                }
                if let Some(call) = group.first() {
                    let g = number(2);
                    core.learn(now, call.at, g, Some((number(0), number(1))));
                }
            }
        }
        Ok((granted, forgot))
    }

    /// Waits until enough replicas have what was granted. Until they have, no reply leaves that could tell of it: the
    /// grants stand, and their processes learn of them later.
    fn wait(&mut self, core: &mut Core, effect: &mut Effect, now: Time) -> Result<(), Error> {
        let wait = self.options.wait_replicas;
        let tells = effect.replies.iter().any(|(_, reply)| matches!(reply, Ok(Reply::Sync(_))));
        if wait == 0 || !self.untold || !tells {
            return Ok(());
        }
        // A write of this connection, for that is what WAIT waits for.
        let ping = self.key("ping");
        cmd("INCR").arg(ping).query::<()>(self.link()?)?;
        let have: u32 = cmd("WAIT").arg(wait).arg(1_000).query(self.link()?)?;
        self.untold = have < wait;
        if self.untold {
            tracing::warn!(have, wait, "replicas lag: grants are not told");
            refuse(effect, &Status::AWAY);
            core.quarantine(now);
        }
        Ok(())
    }

    fn try_mend(&mut self, core: &mut Core, clock: &mut Clock) -> Result<(), Error> {
        let before = self.server.clone();
        self.connect(clock)?;
        // Remembered until all is done, should the server go away again in between.
        self.suspect |= self.server != before;
        let marker: Option<String> = cmd("GET").arg(self.key("marker")).query(self.link()?)?;
        if marker.as_deref() != Some(&self.marker) {
            if !self.closed {
                tracing::error!(
                    "the ledger's store was emptied: hard budgets stay closed until an operator confirms"
                );
            }
            self.closed = true;
            self.suspect = true;
            core.close_all(true);
        }
        if self.suspect {
            core.quarantine(clock.now());
            self.remind(core, clock)?;
            self.quarantine(core, clock.now())?;
            self.suspect = false;
        }
        self.tended = clock.now().mono;
        Ok(())
    }

    /// Grants pause, everybody reports again.
    fn quarantine(&mut self, core: &mut Core, now: Time) -> Result<(), Error> {
        let epoch = self.key("epoch");
        let raised: u64 = cmd("INCR").arg(epoch).query(self.link()?)?;
        core.raise_epoch(raised);
        core.quarantine(now);
        tracing::warn!(
            epoch = raised,
            "the ledger's store may have forgotten grants: every gateway reports again"
        );
        Ok(())
    }
}

impl Store for Shared {
    fn join(&mut self, core: &mut Core, clock: &mut Clock) -> Result<bool, Error> {
        self.try_join(core, clock)
    }

    fn keep(&mut self, core: &mut Core, effect: &mut Effect, now: Time) -> Result<(), Error> {
        self.untold |= effect.durable;
        if effect.entries.is_empty() {
            return self.wait(core, effect, now);
        }
        let mut line = pipe();
        let (mut listed, mut calls) = (0, BTreeMap::<At, Call>::new());
        for entry in &effect.entries {
            match entry {
                Entry::Session { sid, node, closed } => {
                    line.hset(self.key("sessions"), sid, format!("{} {node}", u8::from(*closed))).ignore();
                }
                Entry::Book { instance, .. } => {
                    let (id, name) =
                        (format!("{:032x}", instance.id()), prost::Message::encode_to_vec(instance));
                    line.hset(self.key("books"), id, name).ignore();
                }
                Entry::Window { index, start, end } => {
                    if let Some((instance, rolling)) = core.counter(*index) {
                        let name = format!("{:032x} {start} {end} {rolling}", instance.id());
                        line.zadd(self.key("windows"), name, *end as f64).ignore();
                    }
                }
                Entry::Override(_) | Entry::Alert(_) | Entry::Audit(_) => {
                    let mut bytes = Vec::new();
                    entry.encode(&mut bytes);
                    line.rpush(self.key("entries"), bytes).ignore();
                    listed += 1;
                }
                Entry::Vector { index, wid, sid, lane, g, .. } => {
                    let at = (*index, *wid, (*sid, *lane));
                    let call = calls.entry(at).or_insert(Call { at, g: *g, amount: 0 });
                    call.g = call.g.max(g - call.amount.min(*g));
                }
                Entry::Freed { index, wid, sid, lane, .. } => {
                    let at = (*index, *wid, (*sid, *lane));
                    let g = core.vector_of(*index, *wid, at.2).g;
                    calls.entry(at).or_insert(Call { at, g, amount: 0 });
                }
                Entry::Grant { index, wid, sid, lane, g, amount } => {
                    let at = (*index, *wid, (*sid, *lane));
                    let call = calls.entry(at).or_insert(Call { at, g: g - amount, amount: 0 });
                    call.amount += amount;
                    call.g = g - call.amount;
                }
                Entry::Epoch(_) | Entry::Bucket { .. } | Entry::Clock { .. } => {}
            }
        }
        if listed > 0 {
            line.ltrim(self.key("entries"), -KEPT, -1).ignore();
        }
        if !line.is_empty() {
            line.query::<()>(self.link()?)?;
            self.read = cmd("LLEN").arg(self.key("entries")).query(self.link()?)?;
        }
        let (granted, forgot) = self.run(core, calls.into_values().collect(), now)?;
        if !granted {
            refuse(effect, &Status::BEHIND);
        }
        if forgot {
            self.quarantine(core, now)?;
        }
        self.wait(core, effect, now)
    }

    fn tend(&mut self, core: &mut Core, clock: &Clock) -> Result<(), Error> {
        let now = clock.now();
        if now.mono.saturating_sub(self.tended) < TEND {
            return Ok(());
        }
        self.tended = now.mono;
        let (epoch_key, list_key) = (self.key("epoch"), self.key("entries"));
        let read = self.read;
        let info: String = cmd("INFO").query(self.link()?)?;
        if identity(&info) != self.server || field(&info, "role") != "master" {
            return Err(Error::Redis("the server is another process, or no primary any more".into()));
        }
        let (epoch, length): (Option<u64>, isize) =
            pipe().cmd("GET").arg(epoch_key).cmd("LLEN").arg(&list_key).query(self.link()?)?;
        match epoch {
            Some(epoch) => core.raise_epoch(epoch),
            None => return Err(Error::Redis("the store was emptied".into())),
        }
        if length > read {
            let fresh: Vec<Vec<u8>> = cmd("LRANGE").arg(list_key).arg(read).arg(-1).query(self.link()?)?;
            self.read = length;
            for bytes in fresh {
                if let Some(entry) = Entry::decode(&mut bytes.as_slice()) {
                    core.restore(entry);
                }
            }
            core.limits_moved(now);
        }
        if now.mono.saturating_sub(self.tidied) >= TIDY {
            self.tidied = now.mono;
            // What nobody can ask for any more, here and there.
            core.snapshot(now);
            self.drop_windows(now.wall)?;
        }
        Ok(())
    }

    /// Connects again. Another process or another history may have forgotten: this control plane tells what it has
    /// granted, the gateways tell what they hold, and nothing is granted for as long as that takes.
    fn mend(&mut self, core: &mut Core, clock: &mut Clock, error: Error) -> Result<bool, Error> {
        match self.try_mend(core, clock) {
            Ok(()) => Ok(true),
            Err(again) => {
                tracing::warn!(%error, %again, "the ledger's store is away");
                Ok(false)
            }
        }
    }

    fn confirm(&mut self, core: &mut Core, clock: &Clock) -> Result<(), Error> {
        if self.closed {
            cmd("SET").arg(self.key("marker")).arg(&self.marker).query::<()>(self.link()?)?;
            self.closed = false;
            core.close_all(false);
            self.quarantine(core, clock.now())?;
        }
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        self.guarantee.clone()
    }
}

/// Says no to every Sync.
fn refuse(effect: &mut Effect, why: &Status) {
    for (_, reply) in &mut effect.replies {
        if matches!(reply, Ok(Reply::Sync(_))) {
            *reply = Err(why.clone());
        }
    }
}
