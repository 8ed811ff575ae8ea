//! What a control plane reads of the store when it begins, and tells it again when the store may have forgotten.

use std::collections::{BTreeMap, HashMap};

use redis::cmd;
use weir_lease::Instance;

use super::{Call, Shared};
use crate::Error;
use crate::core::Core;
use crate::desk::Clock;
use crate::log::Entry;

/// Closed windows are kept for this long, in milliseconds.
const DAY: u64 = 86_400_000;

impl Shared {
    /// Reads everything, and begins a new epoch. A store without its marker was emptied if this control plane knows
    /// better, and is new if not.
    pub(super) fn load(&mut self, core: &mut Core, clock: &Clock) -> Result<(), Error> {
        let now = clock.now();
        let found: Option<String> = cmd("GET").arg(self.key("marker")).query(self.link()?)?;
        let noted = self.options.note.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        match (found, noted.filter(|id| !id.is_empty())) {
            (Some(marker), _) => self.marker = marker,
            (None, Some(known)) => {
                self.marker = known;
                self.closed = true;
                tracing::error!(
                    "the ledger's store is empty: hard budgets stay closed until an operator confirms"
                );
            }
            (None, None) => {
                let server = self.server.split(' ').next().unwrap_or_default().to_owned();
                let fresh = format!("{server}-{}", now.wall);
                let key = self.key("marker");
                cmd("SET").arg(&key).arg(fresh).arg("NX").query::<()>(self.link()?).ok();
                self.marker = cmd("GET").arg(key).query(self.link()?)?;
            }
        }
        let sessions: HashMap<u64, String> = cmd("HGETALL").arg(self.key("sessions")).query(self.link()?)?;
        for (sid, text) in sessions {
            let (closed, node) = text.split_once(' ').unwrap_or(("0", ""));
            core.restore(Entry::Session { sid, node: node.to_owned(), closed: closed == "1" });
        }
        let books: BTreeMap<String, Vec<u8>> = cmd("HGETALL").arg(self.key("books")).query(self.link()?)?;
        let mut numbers = BTreeMap::new();
        for (index, (id, bytes)) in (0u32..).zip(books) {
            let instance: Instance = prost::Message::decode(bytes.as_slice())
                .map_err(|_| Error::Redis(format!("counter {id} cannot be read")))?;
            core.restore(Entry::Book { index, instance });
            numbers.insert(id, index);
        }
        self.drop_windows(now.wall)?;
        let windows: Vec<String> =
            cmd("ZRANGE").arg(self.key("windows")).arg(0).arg(-1).query(self.link()?)?;
        for name in windows {
            self.load_window(core, &numbers, &name)?;
        }
        let entries: Vec<Vec<u8>> =
            cmd("LRANGE").arg(self.key("entries")).arg(0).arg(-1).query(self.link()?)?;
        self.read = entries.len() as isize;
        for bytes in entries {
            if let Some(entry) = Entry::decode(&mut bytes.as_slice()) {
                core.restore(entry);
            }
        }
        let epoch: u64 = cmd("INCR").arg(self.key("epoch")).query(self.link()?)?;
        core.resume(now, epoch, now.wall);
        core.close_all(self.closed);
        Ok(())
    }

    /// Deletes windows that ended two of their lengths and a day ago.
    pub(super) fn drop_windows(&mut self, now: u64) -> Result<(), Error> {
        let key = self.key("windows");
        let ended = now.saturating_sub(DAY);
        let names: Vec<String> = cmd("ZRANGEBYSCORE").arg(&key).arg(0).arg(ended).query(self.link()?)?;
        for name in names {
            let parts: Vec<&str> = name.split(' ').collect();
            let [id, start, end, _] = parts[..] else { continue };
            let number = |text: &str| text.parse::<u64>().unwrap_or(0);
            let (start, end) = (number(start), number(end));
            let length = end.saturating_sub(start);
            if end.saturating_add(length.saturating_mul(2)).saturating_add(DAY) < now {
                let window = format!("{}:{{{id}}}:{}", self.prefix, start / 1_000);
                cmd("DEL").arg(window).query::<()>(self.link()?)?;
                cmd("ZREM").arg(&key).arg(&name).query::<()>(self.link()?)?;
            }
        }
        Ok(())
    }

    fn load_window(
        &mut self,
        core: &mut Core,
        numbers: &BTreeMap<String, u32>,
        name: &str,
    ) -> Result<(), Error> {
        let parts: Vec<&str> = name.split(' ').collect();
        let [id, start, end, rolling] = parts[..] else { return Ok(()) };
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        let (start, end, rolling) = (number(start), number(end), number(rolling));
        let (wid, base) = (start / 1_000, format!("{}:{{{id}}}", self.prefix));
        let Some(index) = numbers.get(id).copied() else { return Ok(()) };
        core.restore(Entry::Window { index, start, end });
        if rolling > 0 {
            let buckets: BTreeMap<u64, u64> =
                cmd("HGETALL").arg(format!("{base}:ring")).query(self.link()?)?;
            for (bucket, units) in buckets {
                core.restore(Entry::Bucket { index, window: rolling, bucket, units });
            }
        }
        let fields: HashMap<String, String> =
            cmd("HGETALL").arg(format!("{base}:{wid}")).query(self.link()?)?;
        for (field, text) in fields {
            let Some((sid, lane)) = field.split_once(':') else { continue };
            let (Ok(sid), Ok(lane)) = (u64::from_str_radix(sid, 16), lane.parse()) else { continue };
            let numbers: Vec<u64> = text.split(' ').map(number).collect();
            let [g, r, u, at] = numbers[..] else { continue };
            core.restore(Entry::Vector { index, wid, sid, lane, g, r, u });
            core.restore(Entry::Freed { index, wid, sid, lane, at });
        }
        Ok(())
    }

    /// Tells the store every vector that is known here.
    pub(super) fn remind(&mut self, core: &mut Core, clock: &Clock) -> Result<(), Error> {
        let calls: Vec<Call> = core
            .vectors()
            .into_iter()
            .map(|at| Call { at, g: core.vector_of(at.0, at.1, at.2).g, amount: 0 })
            .collect();
        self.run(core, calls, clock.now()).map(drop)
    }
}
