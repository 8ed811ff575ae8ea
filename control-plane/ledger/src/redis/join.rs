//! How a control plane finds its server: which address is the primary, what it promises, and what is read of it when it
//! is found, at the start or later.

use std::time::{Duration, Instant};

use redis::{Connection, cmd};

use super::Shared;
use crate::Error;
use crate::core::{Core, Params};
use crate::desk::{Clock, Guarantee};

const LIBRARY: &str = include_str!("weir.lua");
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_millis(2_000);

impl Shared {
    /// Finds the server and reads everything; `false` when it does not answer, which is said once per reason.
    pub(super) fn try_join(&mut self, core: &mut Core, clock: &mut Clock) -> Result<bool, Error> {
        let late = !self.why.is_empty();
        // A server that goes away again while it is read leaves nothing behind.
        let mut fresh = Core::new(Params { shared: true, ..self.options.params });
        match self.connect(clock).and_then(|()| self.load(&mut fresh, clock)).and_then(|()| self.note()) {
            Ok(()) => core.become_restored(fresh),
            // One that was away and is not as it must be now: somebody may see to that.
            Err(Error::Down(why)) => return Ok(self.away(&why)),
            Err(error) if late => return Ok(self.away(&error.to_string())),
            Err(error) => return Err(error),
        }
        if late {
            // By the server's clock: the limits that were told meanwhile are the latest there are.
            core.limits_moved(clock.now());
            tracing::info!(guarantee = ?self.guarantee, "the ledger's store is there: budgets are served");
        }
        Ok(true)
    }

    /// Says that it is not there yet.
    fn away(&mut self, why: &str) -> bool {
        self.link = None;
        if self.why != why {
            tracing::error!(
                "the ledger's store cannot be used yet ({why}): it is looked for, and until then hard budgets \
                 decide by `ledger_lost`"
            );
            why.clone_into(&mut self.why);
        }
        false
    }

    /// Notes the store's id, so that one which was emptied is known to have been another.
    fn note(&self) -> Result<(), Error> {
        let Some(file) = &self.options.note else { return Ok(()) };
        if std::fs::read_to_string(file).is_ok_and(|noted| noted == self.marker) {
            return Ok(());
        }
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(file, &self.marker)?)
    }

    /// Connects to whichever address is the primary, and checks what it promises.
    pub(super) fn connect(&mut self, clock: &mut Clock) -> Result<(), Error> {
        self.link = None;
        let mut last = Error::Redis("no address".into());
        for address in self.options.addresses.clone() {
            match self.try_connect(&address) {
                Ok(link) => {
                    self.link = Some(link);
                    return self.check(clock);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn try_connect(&self, address: &str) -> Result<Connection, Error> {
        let client = redis::Client::open(url(address))?;
        let mut link = client.get_connection_with_timeout(PATIENCE)?;
        link.set_read_timeout(Some(PATIENCE))?;
        link.set_write_timeout(Some(PATIENCE))?;
        let info: String = cmd("INFO").arg("replication").query(&mut link)?;
        match field(&info, "role") {
            "master" => Ok(link),
            // It may be promoted yet.
            role => Err(Error::Down(format!("{} is a {role}, not the primary", shown(address)))),
        }
    }

    fn check(&mut self, clock: &mut Clock) -> Result<(), Error> {
        let wait = self.options.wait_replicas;
        let link = self.link()?;
        let info: String = cmd("INFO").query(link)?;
        if field(&info, "cluster_enabled") == "1" {
            return Err(Error::Redis(
                "cluster mode is not supported: give a primary and its replicas".into(),
            ));
        }
        let policy = field(&info, "maxmemory_policy");
        if policy != "noeviction" {
            return Err(Error::Redis(format!(
                "maxmemory-policy is {policy:?}: a server that evicts keys forgets what was spent; set noeviction"
            )));
        }
        let setting = |link: &mut Connection, name: &str| -> String {
            let found: Result<Vec<String>, _> = cmd("CONFIG").arg("GET").arg(name).query(link);
            found.ok().and_then(|pair| pair.into_iter().nth(1)).unwrap_or_default()
        };
        let fsync = setting(link, "appendfsync");
        let appends = field(&info, "aof_enabled") == "1";
        let guarantee = match (appends, fsync.as_str()) {
            (true, "always") => Guarantee::Hard,
            (true, _) if wait > 0 => Guarantee::Hard,
            (false, _) => Guarantee::HardExceptLostTail("appendonly is off".into()),
            (true, fsync) => Guarantee::HardExceptLostTail(format!("appendfsync is {fsync:?}, not always")),
        };
        let loaded: Result<String, _> =
            cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(LIBRARY).query::<String>(link);
        loaded.map_err(|error| match Error::from(error) {
            Error::Redis(why) => Error::Redis(format!("needs Redis 7 or Valkey: {why}")),
            other => other,
        })?;
        self.guarantee = guarantee;
        self.server = identity(&info);
        self.set_clock(clock)
    }

    /// Moves this machine's wall clock to the server's.
    fn set_clock(&mut self, clock: &mut Clock) -> Result<(), Error> {
        let before = Instant::now();
        let (seconds, micros): (u64, u64) = cmd("TIME").query(self.link()?)?;
        let server = seconds * 1_000 + micros / 1_000 + before.elapsed().as_millis() as u64 / 2;
        clock.ahead = 0;
        clock.ahead = server as i64 - clock.now().wall as i64;
        Ok(())
    }
}

/// An address as a URL.
pub(super) fn url(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("redis://{address}") }
}

/// The value of a line of INFO.
pub(super) fn field<'a>(info: &'a str, name: &str) -> &'a str {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim()
}

/// The process and the history of a server.
pub(super) fn identity(info: &str) -> String {
    format!("{} {}", field(info, "run_id"), field(info, "master_replid"))
}

/// An address without its password.
fn shown(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}
