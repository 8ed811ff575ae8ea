//! What comes back from the ledger: grants are merged and reserved in the same compare-and-swap, so that a neighbour
//! cannot take what a waiting request was granted.

use weir_sorted::Gather;

use crate::flight::{Flight, Method};
use crate::lessee::{Lessee, Part, Tried, Waiter, short_of, shortfall, shortfalls};
use crate::level::Cell;
use crate::message::ItemReply;
use crate::record::Word;
use crate::refusal::{Code, Shortfall};
use crate::shared::{self, Session};
use crate::store::{self, Place, SharedData, Update, WAYS};
use crate::wire;
use crate::{ACQUIRE_TIMEOUT, MS, Nanos, REFUND_FLUSH, ROUNDS};

/// gRPC: the ledger does not know the session.
const NOT_FOUND: u32 = 5;
/// gRPC: the session is closed.
const FAILED_PRECONDITION: u32 = 9;
/// How soon a failed call is tried again.
const RETRY: Nanos = 100 * MS;

impl Lessee {
    /// The reply to a call: the message, or a gRPC status. Take [`Lessee::woken`] and [`Lessee::calls`] afterwards.
    pub fn reply(&mut self, now: Nanos, store: &mut dyn SharedData, id: u32, result: Result<&[u8], u32>) {
        let Some(at) = self.flights.iter().position(|flight| flight.id == id) else { return };
        let flight = self.flights.swap_remove(at);
        let failed = match (flight.method, result) {
            (_, Err(status)) => Some(status),
            (Method::Open, Ok(body)) => self.opened(now, store, &flight, body),
            (Method::Sync, Ok(body)) => self.synced(now, store, &flight, body),
            (Method::Watch, Ok(body)) => self.watched(now, store, body),
            (Method::Drain, Ok(_)) => None,
            (Method::Close, Ok(_)) => {
                self.change(store, &mut |session| session.closed = true);
                None
            }
        };
        let Some(status) = failed else { return };
        match status {
            NOT_FOUND => self.change(store, &mut |session| session.sid = 0),
            // A refused Close only means that the ledger still counts something: it is tried again.
            FAILED_PRECONDITION if flight.method != Method::Close => {
                self.change(store, &mut |session| session.closed = true);
            }
            _ => {}
        }
        if flight.method == Method::Watch {
            self.watch_after = now + RETRY;
        }
        let hopeless = self.session.closed || self.session.lost(now);
        for id in flight.waiters {
            let Some(mut waiter) = self.waiters.remove(id) else { continue };
            waiter.after = now + RETRY;
            if hopeless || now >= waiter.deadline {
                let outcome = self.refused(shortfalls(&waiter.slips, Code::Unavailable));
                self.woken.push((id, outcome));
            } else {
                self.wait(id, waiter);
            }
        }
    }

    fn change(&mut self, store: &mut dyn SharedData, change: &mut dyn FnMut(&mut Session)) {
        let changed = shared::change_session(store, &mut |session| {
            let before = *session;
            change(session);
            *session != before
        });
        if let Some(session) = changed {
            self.session = session;
        }
    }

    fn opened(
        &mut self,
        now: Nanos,
        store: &mut dyn SharedData,
        flight: &Flight,
        body: &[u8],
    ) -> Option<u32> {
        let reply = match wire::open_reply(body) {
            Some(reply) if reply.sid != 0 => reply,
            _ => return Some(13),
        };
        self.change(store, &mut |session| {
            session.sid = reply.sid;
            session.epoch = session.epoch.max(reply.epoch);
            session.heard = session.heard.max(flight.sent);
            if reply.sync_ms > 0 {
                session.sync_ms = reply.sync_ms;
            }
        });
        self.session_at = Some(now);
        // Nothing that was reported before is known to be remembered.
        self.resend = true;
        None
    }

    fn watched(&mut self, now: Nanos, store: &mut dyn SharedData, body: &[u8]) -> Option<u32> {
        let Some(reply) = wire::watch_reply(body) else { return Some(13) };
        if reply.epoch > self.session.epoch {
            self.change(store, &mut |session| session.epoch = session.epoch.max(reply.epoch));
        }
        if reply.drain && !self.session.draining {
            self.drain(now, store);
        }
        self.resend |= reply.limits;
        for (list, recall) in [(&reply.recall, true), (&reply.wake, false)] {
            for id in list {
                let id = u128::from(*id);
                let set = self.set_of(id);
                for way in 0..WAYS {
                    let place = Place { set, way };
                    let Some(found) = store::read(store, place) else { break };
                    let lane = found.record.lane;
                    if found.record.id != id {
                        continue;
                    }
                    if !recall {
                        self.hurry(now);
                    }
                    if recall {
                        self.stats.recalls += 1;
                        self.soon(place, lane, now, true);
                    } else {
                        store::update(store, place, lane, &mut self.stats.cas_retries, &mut |record| {
                            core::mem::take(&mut record.refuse_until) != 0
                        });
                    }
                }
            }
        }
        if self.leader && !self.session.closed {
            self.watch(now);
        }
        None
    }

    fn synced(
        &mut self,
        now: Nanos,
        store: &mut dyn SharedData,
        flight: &Flight,
        body: &[u8],
    ) -> Option<u32> {
        let reply = match wire::sync_reply(body) {
            Some(reply) if reply.items.len() == flight.refs.len() => reply,
            _ => return Some(13),
        };
        if let Some(session) = shared::heard(store, flight.sent, reply.epoch, reply.sync_ms) {
            self.session = session;
            self.session_at = Some(now);
        }
        let mut waiters: Vec<(u64, Box<Waiter>)> =
            flight.waiters.iter().filter_map(|id| Some((*id, self.waiters.remove(*id)?))).gather();
        for (one, item) in flight.refs.iter().zip(&reply.items) {
            self.take_in(now, store, flight.sent, one, item, &mut waiters);
        }
        for (id, waiter) in waiters {
            self.decide(now, store, id, waiter, flight, &reply.items);
        }
        None
    }

    /// Merges one answer into its record and reserves for those who waited for it, in their order.
    fn take_in(
        &mut self,
        now: Nanos,
        store: &mut dyn SharedData,
        sent: Nanos,
        one: &crate::flight::Ref,
        item: &ItemReply,
        waiters: &mut [(u64, Box<Waiter>)],
    ) {
        if item.gone {
            // Nothing is granted any more, and nothing more is to be said of this record.
            store::update(store, one.place, one.lane, &mut self.stats.cas_retries, &mut |record| {
                record.acked = record.acked.max(one.rev);
                true
            });
            self.forgive(one.id);
            return;
        }
        let next = item.next.unwrap_or_default();
        let word = Word {
            wid: item.wid,
            // From when the call was sent, so that the end is never put too late.
            ends_at: sent.saturating_add(item.ends_in_ms.saturating_mul(MS)),
            g: item.g,
            g_sent: one.g,
            cap: item.cap,
            tight: item.tight,
            roomy: item.roomy,
            rev: item.rev,
            next: (next.wid, next.g, sent.saturating_add(next.ends_in_ms.saturating_mul(MS))),
            hold_ms: item.hold_ms,
        };
        let vm = self.vm;
        let mut parts: Vec<Option<Part>> = Vec::new();
        let mut flush = false;
        let updated = store::update(store, one.place, one.lane, &mut self.stats.cas_retries, &mut |record| {
            parts.clear();
            record.merge(&word);
            let mut unserved = u64::MAX;
            for slip in waiters.iter().flat_map(|(_, waiter)| &waiter.slips) {
                if !slip.short || slip.part.is_some() || slip.id != one.id || slip.name != one.name {
                    continue;
                }
                let need = &slip.need;
                let mut ticket = record.reserve(now, vm, need.full);
                if let (None, Some(short)) = (ticket, item.short) {
                    let floor = if short.terminal { need.min } else { need.floor };
                    let free = record.now.free().min(need.full);
                    if free >= floor.max(1) {
                        ticket = record.reserve(now, vm, free);
                    }
                }
                if ticket.is_none() {
                    unserved = unserved.min(need.min);
                }
                let spent = record.now.u.saturating_add(record.now.h);
                parts.push(ticket.map(|ticket| Part {
                    place: one.place,
                    lane: one.lane,
                    ticket,
                    id: one.id,
                    spent,
                }));
            }
            match item.short {
                Some(short) if unserved < u64::MAX => {
                    let live = now < record.refuse_until && record.refuse_from > 0;
                    record.refuse_from = match short.quarantine {
                        true => 0,
                        false if live => record.refuse_from.min(unserved),
                        false => unserved,
                    };
                    record.refuse_until = now + Nanos::from(short.for_ms) * MS;
                }
                Some(_) => {}
                None if !parts.is_empty() => record.refuse_until = 0,
                None => {}
            }
            flush = record.surplus(now) > 0 && record.tight;
            true
        });
        if updated == Update::Done {
            let mut parts = parts.into_iter();
            for (_, waiter) in waiters.iter_mut() {
                for slip in &mut waiter.slips {
                    if slip.short && slip.part.is_none() && slip.id == one.id && slip.name == one.name {
                        slip.part = parts.next().flatten();
                    }
                }
            }
        }
        if flush {
            self.soon(one.place, one.lane, now + REFUND_FLUSH, false);
        }
        if item.limit > 0 && updated == Update::Done {
            let base = if one.wid == item.wid { one.spent } else { 0 };
            let (limit, room) = (item.limit, item.room);
            Cell { id: one.id, wid: item.wid, ends_at: word.ends_at, limit, room, base }
                .write(store, one.place);
        }
        if let Some(figures) = &item.figures {
            self.keep_figures(one.id, item.wid, figures.clone());
        }
    }

    /// What becomes of a request whose Acquire was answered.
    fn decide(
        &mut self,
        now: Nanos,
        store: &mut dyn SharedData,
        id: u64,
        mut waiter: Box<Waiter>,
        flight: &Flight,
        items: &[ItemReply],
    ) {
        let mut refused = Vec::new();
        for slip in waiter.slips.iter().filter(|slip| slip.short && slip.part.is_none()) {
            let at = flight.refs.iter().position(|one| one.id == slip.id && one.name == slip.name);
            let Some(item) = at.and_then(|at| items.get(at)) else { continue };
            let need = &slip.need;
            if item.gone {
                refused.push(shortfall(slip, Code::Unavailable));
            } else if let Some(short) = item.short {
                let figures = item.figures.clone().unwrap_or_default();
                refused.push(match short.quarantine {
                    true => Shortfall::new(&need.instance, Code::Quarantine, need.min, Some(figures)),
                    false => short_of(need, figures),
                });
            }
        }
        if !refused.is_empty() {
            self.roll_back(now, store, &mut waiter.slips);
            return self.wait_or_refuse(now, id, waiter, refused);
        }
        match self.hold_all(now, store, &mut waiter.slips, false) {
            Tried::Held(hold) => self.woken.push((id, crate::Reserve::Held(hold))),
            Tried::Refused(list) => self.wait_or_refuse(now, id, waiter, list),
            Tried::Short if waiter.round + 1 >= ROUNDS => {
                let list = shortfalls(&waiter.slips, Code::Contended);
                self.wait_or_refuse(now, id, waiter, list);
            }
            Tried::Short => {
                waiter.round += 1;
                waiter.after = now;
                waiter.deadline = now + ACQUIRE_TIMEOUT;
                self.wait(id, waiter);
            }
        }
    }
}
