//! The embedded store: a log on a disk of this machine. One sync of the disk serves a whole batch. A disk that fails
//! ends the ledger, for what it has kept is not known any more.

use std::path::Path;

use crate::Error;
use crate::core::{Core, Effect, Params, Time};
use crate::desk::{Clock, Desk, Guarantee, Store};
use crate::disk::Disk;

impl Desk {
    /// Opens the ledger in a directory, which no other process may have open. It knows no budgets until
    /// [`crate::Engine::set_budgets`]: give them before the service listens, or first requests are told that theirs is
    /// gone.
    pub fn open(directory: &Path) -> Result<Desk, Error> {
        Desk::with(directory, Params::default())
    }

    /// With other parameters than the protocol's.
    pub fn with(directory: &Path, params: Params) -> Result<Desk, Error> {
        let mut core = Core::new(params);
        let mut disk = Disk::open(directory, &mut core)?;
        let clock = Clock::new();
        core.start(clock.now());
        let effect = core.take();
        disk.append(&effect.entries)?;
        disk.sync()?;
        Desk::serve(core, disk, clock)
    }
}

impl Store for Disk {
    fn keep(&mut self, _: &mut Core, effect: &mut Effect, _: Time) -> Result<(), Error> {
        if !effect.entries.is_empty() {
            self.append(&effect.entries)?;
        }
        if effect.durable {
            self.sync()?;
        }
        Ok(())
    }

    fn tend(&mut self, core: &mut Core, clock: &Clock) -> Result<(), Error> {
        if self.bloated() {
            let snapshot = core.snapshot(clock.now());
            self.compact(&snapshot)?;
        }
        Ok(())
    }

    fn mend(&mut self, _: &mut Core, _: &mut Clock, error: Error) -> Result<bool, Error> {
        Err(error)
    }

    fn confirm(&mut self, _: &mut Core, _: &Clock) -> Result<(), Error> {
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Hard
    }
}
