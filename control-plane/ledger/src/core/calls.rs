//! The calls of gateway processes: sessions that open, report, ask, listen and close.

use weir_lease::message::{
    CloseReply, CloseRequest, DrainReply, DrainRequest, Item, ItemReply, OpenReply, OpenRequest, SyncReply,
    SyncRequest, WatchReply, WatchRequest,
};
use weir_lease::mix;
use weir_lease::mutant::{self, Mutant};

use super::{Core, Pending, Reply, Request, Rest, Session, Status, Time};
use crate::book::Book;
use crate::log::Entry;
use crate::waiting::Parked;

impl Core {
    /// Handles one call. `call` names it among those not answered yet.
    pub fn handle(&mut self, now: Time, call: u64, request: Request) {
        let answer = match request {
            Request::Open(request) => Some(self.open(now, request)),
            Request::Sync(request) => self.sync(now, call, request),
            Request::Watch(request) => self.watch(now, call, request),
            Request::Drain(DrainRequest { sid }) => {
                // An operator's word is no sign of life.
                let known = self.rest.sessions.get_mut(&sid).filter(|session| !session.closed);
                self.rest.ring.insert(sid);
                Some(known.ok_or(Status::NOT_FOUND).map(|session| {
                    session.draining = true;
                    session.drain = true;
                    Reply::Drain(DrainReply {})
                }))
            }
            Request::Close(CloseRequest { sid }) => Some(self.close(now, sid)),
        };
        if let Some(answer) = answer {
            self.rest.out.replies.push((call, answer));
        }
        self.rest.tell();
    }

    fn session(&mut self, now: Time, sid: u64) -> Result<&mut Session, Status> {
        let session = self.rest.sessions.get_mut(&sid).ok_or(Status::NOT_FOUND)?;
        if session.closed {
            return Err(Status::CLOSED);
        }
        session.seen = session.seen.max(now.mono);
        Ok(session)
    }

    /// The session's number is a hash of node and nonce: opening again, even with a ledger that has lost its log, gives
    /// the same, and two process lives never share one.
    fn open(&mut self, now: Time, request: OpenRequest) -> Result<Reply, Status> {
        let mut words = match mutant::on(Mutant::SameSid) {
            false => vec![request.nonce_hi, request.nonce_lo],
            true => Vec::new(),
        };
        words.extend(request.node.bytes().map(u64::from));
        let sid = mix(&words).max(1);
        let fresh = !self.rest.sessions.contains_key(&sid);
        let session = self.rest.sessions.entry(sid).or_default();
        if session.closed {
            return Err(Status::CLOSED);
        }
        session.seen = now.mono;
        if fresh {
            self.rest.living.0 += 1;
            session.node = request.node.clone();
            self.rest.out.entries.push(Entry::Session { sid, node: request.node, closed: false });
        }
        Ok(Reply::Open(OpenReply { sid, epoch: self.rest.epoch, sync_ms: self.rest.sync() as u32 }))
    }

    fn watch(&mut self, now: Time, call: u64, request: WatchRequest) -> Option<Result<Reply, Status>> {
        let epoch = self.rest.epoch;
        let session = match self.session(now, request.sid) {
            Ok(session) => session,
            Err(status) => return Some(Err(status)),
        };
        let until = now.mono + u64::from(request.wait_ms.min(30_000));
        let before = session.watch.replace((call, until));
        let news = session.limits || session.drain || !session.recall.is_empty() || !session.wake.is_empty();
        if let Some((old, _)) = before {
            self.rest.out.replies.push((old, Err(Status::REPLACED)));
        }
        self.rest.watches.insert((until, request.sid));
        if news || request.epoch < epoch {
            self.rest.ring.insert(request.sid);
        }
        None
    }

    fn close(&mut self, now: Time, sid: u64) -> Result<Reply, Status> {
        match self.session(now, sid) {
            Err(status) if status == Status::CLOSED => return Ok(Reply::Close(CloseReply {})),
            other => other?,
        };
        let outstanding = self.books.values().flat_map(|book| {
            let from = book.wid;
            book.periods.iter().filter(move |period| period.window.wid() >= from)
        });
        for period in outstanding {
            if period.vectors.range((sid, 0)..=(sid, u32::MAX)).any(|(_, vector)| vector.outstanding() > 0) {
                return Err(Status::OUTSTANDING);
            }
        }
        if let Some(session) = self.rest.sessions.get_mut(&sid) {
            session.closed = true;
            self.rest.out.entries.push(Entry::Session { sid, node: session.node.clone(), closed: true });
            self.rest.out.durable = true;
        }
        Ok(Reply::Close(CloseReply {}))
    }

    fn sync(&mut self, now: Time, call: u64, request: SyncRequest) -> Option<Result<Reply, Status>> {
        let sid = request.sid;
        if let Err(status) = self.session(now, sid) {
            return Some(Err(status));
        }
        self.rest.counters.syncs += 1;
        let mut pending = Pending { replies: Vec::with_capacity(request.items.len()), left: 0 };
        let mut touched = Vec::new();
        for (at, item) in request.items.iter().enumerate() {
            let index = self.book(item);
            let Some(book) = index.and_then(|index| self.books.get_mut(&index)) else {
                pending.replies.push(Some(ItemReply { gone: true, rev: item.rev, ..ItemReply::default() }));
                continue;
            };
            touched.push(book.index);
            let reply = self.rest.item(book, now, (sid, item.lane), item, &mut |parked| Parked {
                call,
                item: at,
                ..parked
            });
            pending.left += usize::from(reply.is_none());
            pending.replies.push(reply);
        }
        let answer = if pending.left == 0 {
            let items = pending.replies.into_iter().flatten().collect();
            Some(Ok(Reply::Sync(self.rest.sync_reply(items))))
        } else {
            self.rest.pending.insert(call, pending);
            None
        };
        // Returns in this call may serve others; its own answer is already decided.
        for index in touched {
            if let Some(book) = self.books.get_mut(&index) {
                self.rest.pump(book, now);
            }
        }
        answer
    }

    /// The book of an item, made if its budget exists.
    fn book(&mut self, item: &Item) -> Option<u32> {
        let instance = item.instance.as_ref()?;
        if let Some(index) = self.index.get(instance) {
            return Some(*index);
        }
        self.rest.budget(instance)?;
        let index = self.next_index;
        self.next_index += 1;
        self.index.insert(instance.clone(), index);
        self.books.insert(index, Book::new(index, instance.clone()));
        self.rest.out.entries.push(Entry::Book { index, instance: instance.clone() });
        Some(index)
    }
}

impl Rest {
    /// Answers one item of a parked call, and the call when it was the last.
    pub fn resolve(&mut self, parked: &Parked, reply: ItemReply) {
        let Some(pending) = self.pending.get_mut(&parked.call) else { return };
        if let Some(slot) = pending.replies.get_mut(parked.item) {
            *slot = Some(reply);
        }
        pending.left -= 1;
        if pending.left == 0
            && let Some(pending) = self.pending.remove(&parked.call)
        {
            let items = pending.replies.into_iter().flatten().collect();
            let reply = self.sync_reply(items);
            self.out.replies.push((parked.call, Ok(Reply::Sync(reply))));
        }
    }

    /// Answers the long polls of all sessions that have news.
    pub(super) fn tell(&mut self) {
        for sid in std::mem::take(&mut self.ring) {
            let Some(session) = self.sessions.get_mut(&sid) else { continue };
            let Some((call, until)) = session.watch.take() else { continue };
            self.watches.remove(&(until, sid));
            let reply = WatchReply {
                epoch: self.epoch,
                recall: std::mem::take(&mut session.recall).into_iter().map(Into::into).collect(),
                wake: std::mem::take(&mut session.wake).into_iter().map(Into::into).collect(),
                limits: std::mem::take(&mut session.limits),
                // Said again with every answer: the one that said it first may have been lost.
                drain: session.draining,
            };
            session.drain = false;
            self.out.replies.push((call, Ok(Reply::Watch(reply))));
        }
    }

    fn sync_reply(&self, items: Vec<ItemReply>) -> SyncReply {
        SyncReply { epoch: self.epoch, items, sync_ms: self.sync() as u32 }
    }
}
