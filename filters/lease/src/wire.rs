//! The messages' bytes as the module writes and reads them. The derived code of `message` serves the ledger; it would
//! be a third of this crate's machine code, and Envoy compiles that at every start. So the process's side has this
//! small writer and reader, and the derived code is the oracle that tests hold it against.

use crate::instance::Instance;
use crate::message::{Ask, Figures, Id, ItemReply, NextGrant, OpenReply, Short, SyncReply, WatchReply};
use crate::record::Record;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number, left out when it is 0.
#[inline(never)]
pub fn number(out: &mut Vec<u8>, tag: u64, value: u64) {
    if value != 0 {
        varint(out, tag << 3);
        varint(out, value);
    }
}

/// A number of eight bytes, left out when it is 0.
#[inline(never)]
pub fn fixed(out: &mut Vec<u8>, tag: u64, value: u64) {
    if value != 0 {
        varint(out, tag << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A string or an embedded message.
#[inline(never)]
pub fn bytes(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    varint(out, tag << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A string, left out when it is empty.
pub fn text(out: &mut Vec<u8>, tag: u64, value: &str) {
    if !value.is_empty() {
        bytes(out, tag, value.as_bytes());
    }
}

/// An [`Instance`].
pub fn instance(one: &Instance) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + one.budget.len() + one.subject.len() + one.definition.len());
    text(&mut out, 1, &one.budget);
    number(&mut out, 2, one.unit as u64);
    text(&mut out, 3, &one.subject);
    text(&mut out, 4, &one.definition);
    out
}

/// An [`crate::message::OpenRequest`].
pub fn open(node: &str, nonce: [u64; 2], version: u32) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 1, node);
    fixed(&mut out, 2, nonce[0]);
    fixed(&mut out, 3, nonce[1]);
    number(&mut out, 4, u64::from(version));
    out
}

/// The head of a [`crate::message::SyncRequest`]; items follow.
pub fn sync(sid: u64, epoch: u64) -> Vec<u8> {
    let mut out = Vec::new();
    fixed(&mut out, 1, sid);
    number(&mut out, 2, epoch);
    out
}

/// A [`crate::message::WatchRequest`]; without epoch and wait also a Drain or a Close.
pub fn watch(sid: u64, epoch: u64, wait_ms: u32) -> Vec<u8> {
    let mut out = sync(sid, epoch);
    number(&mut out, 3, u64::from(wait_ms));
    out
}

/// One [`crate::message::Item`] of a Sync.
pub fn item(out: &mut Vec<u8>, record: &Record, ask: Option<&Ask>, no_grant: bool) {
    let mut body = Vec::with_capacity(96 + record.name.len());
    bytes(&mut body, 1, &record.name);
    let now = &record.now;
    let values = [
        u64::from(record.lane),
        record.wid,
        now.g,
        now.r,
        now.u,
        now.h,
        u64::from(record.running()),
        record.rate(),
        record.mean,
        record.rev,
    ];
    for (tag, value) in (2..).zip(values) {
        number(&mut body, tag, value);
    }
    let mut embed = |tag: u64, values: &[u64]| {
        let mut inner = Vec::new();
        for (tag, value) in (1..).zip(values) {
            number(&mut inner, tag, *value);
        }
        bytes(&mut body, tag, &inner);
    };
    if record.prev_wid != 0 {
        let prev = &record.prev;
        embed(12, &[record.prev_wid, prev.g, prev.r, prev.u, prev.h]);
    }
    if let Some(ask) = ask {
        embed(13, &[ask.full, ask.floor, ask.min, ask.one]);
    }
    number(&mut body, 14, u64::from(no_grant));
    number(&mut body, 15, record.headroom());
    bytes(out, 3, &body);
}

/// A field's value: a number, or bytes.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    fn number(self) -> u64 {
        match self {
            Value::Number(value) => value,
            Value::Bytes(_) => 0,
        }
    }
}

/// Walks the fields of a message; `None` when the bytes are none.
#[inline(never)]
fn fields<'a>(mut from: &'a [u8], each: &mut dyn FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    fn varint(from: &mut &[u8]) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = from.split_first()?;
            *from = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
    while !from.is_empty() {
        let key = varint(&mut from)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut from)?),
            1 => {
                let (head, rest) = from.split_first_chunk()?;
                from = rest;
                Value::Number(u64::from_le_bytes(*head))
            }
            2 => {
                let length = usize::try_from(varint(&mut from)?).ok()?;
                let (head, rest) = from.split_at_checked(length)?;
                from = rest;
                Value::Bytes(head)
            }
            5 => {
                let (head, rest) = from.split_first_chunk()?;
                from = rest;
                Value::Number(u64::from(u32::from_le_bytes(*head)))
            }
            _ => return None,
        };
        each(key >> 3, value)?;
    }
    Some(())
}

/// The numbers of a message's first `N` fields, and what is not a number to `other`.
fn numbers<'a, const N: usize>(
    from: &'a [u8],
    other: &mut dyn FnMut(u64, &'a [u8]) -> Option<()>,
) -> Option<[u64; N]> {
    let mut all = [0; N];
    fields(from, &mut |tag, value| match value {
        Value::Number(value) => {
            if let Some(slot) = usize::try_from(tag).ok().and_then(|tag| all.get_mut(tag.wrapping_sub(1))) {
                *slot = value;
            }
            Some(())
        }
        Value::Bytes(bytes) => other(tag, bytes),
    })?;
    Some(all)
}

/// An [`OpenReply`].
pub fn open_reply(from: &[u8]) -> Option<OpenReply> {
    let [sid, epoch, sync_ms] = numbers(from, &mut |_, _| Some(()))?;
    Some(OpenReply { sid, epoch, sync_ms: sync_ms as u32 })
}

/// A [`SyncReply`].
pub fn sync_reply(from: &[u8]) -> Option<SyncReply> {
    let mut items = Vec::new();
    let [epoch, _, sync_ms] = numbers(from, &mut |tag, bytes| {
        if tag == 2 {
            items.push(item_reply(bytes)?);
        }
        Some(())
    })?;
    Some(SyncReply { epoch, items, sync_ms: sync_ms as u32 })
}

fn item_reply(from: &[u8]) -> Option<ItemReply> {
    let (mut short, mut next, mut figures) = (None, None, None);
    let [wid, ends_in_ms, g, cap, tight, roomy, gone, rev, _, _, _, limit, room, hold_ms] =
        numbers(from, &mut |tag, bytes| {
            match tag {
                9 => {
                    let [for_ms, terminal, quarantine] = numbers(bytes, &mut |_, _| Some(()))?;
                    short = Some(Short {
                        for_ms: for_ms as u32,
                        terminal: terminal != 0,
                        quarantine: quarantine != 0,
                    });
                }
                10 => {
                    let [wid, g, ends_in_ms] = numbers(bytes, &mut |_, _| Some(()))?;
                    next = Some(NextGrant { wid, g, ends_in_ms });
                }
                11 => figures = Some(figures_of(bytes)?),
                _ => {}
            }
            Some(())
        })?;
    Some(ItemReply {
        wid,
        ends_in_ms,
        g,
        cap,
        tight: tight != 0,
        roomy: roomy != 0,
        gone: gone != 0,
        rev,
        short,
        next,
        figures,
        limit,
        room,
        hold_ms: hold_ms as u32,
    })
}

fn figures_of(from: &[u8]) -> Option<Figures> {
    let (mut window, mut timezone) = (String::new(), String::new());
    let [limit, settled, held, leased, stranded, left, running, reset_in_ms, release_in_ms, _, _, headroom] =
        numbers(from, &mut |tag, bytes| {
            let text = core::str::from_utf8(bytes).ok()?;
            match tag {
                10 => window = text.to_owned(),
                11 => timezone = text.to_owned(),
                _ => {}
            }
            Some(())
        })?;
    let running = running as u32;
    Some(Figures {
        limit,
        settled,
        held,
        leased,
        stranded,
        left,
        running,
        reset_in_ms,
        release_in_ms,
        window,
        timezone,
        headroom,
    })
}

/// A [`WatchReply`].
pub fn watch_reply(from: &[u8]) -> Option<WatchReply> {
    let mut reply = WatchReply::default();
    fields(from, &mut |tag, value| {
        match (tag, value) {
            (2 | 3, Value::Bytes(bytes)) => {
                let [hi, lo] = numbers(bytes, &mut |_, _| Some(()))?;
                let list = if tag == 2 { &mut reply.recall } else { &mut reply.wake };
                list.push(Id { hi, lo });
            }
            (1, _) => reply.epoch = value.number(),
            (4, _) => reply.limits = value.number() != 0,
            (5, _) => reply.drain = value.number() != 0,
            _ => {}
        }
        Some(())
    })?;
    Some(reply)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::instance::{Unit, mix};
    use crate::message::{CloseRequest, DrainRequest, Item, OpenRequest, Past, SyncRequest, WatchRequest};
    use crate::record::{Slot, Vector};

    /// Numbers of every size, zero among them.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 += 1;
            let bits = mix(&[self.0]);
            bits.checked_shr((bits % 70) as u32).unwrap_or(0)
        }

        fn flag(&mut self) -> bool {
            self.next().is_multiple_of(2)
        }

        fn text(&mut self) -> String {
            "añ中".repeat((self.next() % 4) as usize)
        }
    }

    #[test]
    fn requests_are_what_the_derived_code_reads() {
        let mut n = Numbers(0);
        for _ in 0..500 {
            let (node, nonce, version) = (n.text(), [n.next(), n.next()], n.next() as u32);
            let expected =
                OpenRequest { node: node.clone(), nonce_hi: nonce[0], nonce_lo: nonce[1], version };
            assert_eq!(open(&node, nonce, version), expected.encode_to_vec());

            let (sid, epoch, wait_ms) = (n.next(), n.next(), n.next() as u32);
            assert_eq!(watch(sid, epoch, wait_ms), WatchRequest { sid, epoch, wait_ms }.encode_to_vec());
            assert_eq!(watch(sid, 0, 0), DrainRequest { sid }.encode_to_vec());
            assert_eq!(watch(sid, 0, 0), CloseRequest { sid }.encode_to_vec());

            let who = Instance::new(&n.text(), Unit::NanoUsd, &n.text(), &n.text());
            assert_eq!(instance(&who), who.encode_to_vec());
            let mut record = Record::new(who.id(), instance(&who), n.next() as u32);
            record.wid = n.next();
            record.now = Vector { g: n.next(), r: n.next(), u: n.next(), h: n.next() };
            record.prev_wid = n.next();
            record.prev = Vector { g: n.next(), r: n.next(), u: n.next(), h: n.next() };
            (record.rev, record.mean, record.demand) = (n.next(), n.next(), n.next());
            record.slots = vec![Slot { n: n.next() as u32 / 2, ..Slot::default() }];
            let ask = n.flag().then(|| Ask { full: n.next(), floor: n.next(), min: n.next(), one: n.next() });
            let no_grant = n.flag();
            let mut body = sync(sid, epoch);
            item(&mut body, &record, ask.as_ref(), no_grant);
            let prev = Past {
                wid: record.prev_wid,
                g: record.prev.g,
                r: record.prev.r,
                u: record.prev.u,
                h: record.prev.h,
            };
            let expected = Item {
                instance: Some(who),
                lane: record.lane,
                wid: record.wid,
                g: record.now.g,
                r: record.now.r,
                u: record.now.u,
                h: record.now.h,
                n: record.running(),
                d: record.rate(),
                mean: record.mean,
                rev: record.rev,
                prev: (prev.wid != 0).then_some(prev),
                ask,
                no_grant,
                headroom: record.headroom(),
            };
            let expected = SyncRequest { sid, epoch, items: vec![expected] };
            assert_eq!(SyncRequest::decode(body.as_slice()).unwrap(), expected);
        }
    }

    #[test]
    fn replies_are_read_as_the_derived_code_writes_them() {
        let mut n = Numbers(7);
        for _ in 0..500 {
            let reply = OpenReply { sid: n.next(), epoch: n.next(), sync_ms: n.next() as u32 };
            assert_eq!(open_reply(&reply.encode_to_vec()), Some(reply));
            let id = Id { hi: n.next(), lo: n.next() };
            let reply = WatchReply {
                epoch: n.next(),
                recall: vec![id; (n.next() % 3) as usize],
                wake: vec![id; (n.next() % 3) as usize],
                limits: n.flag(),
                drain: n.flag(),
            };
            assert_eq!(watch_reply(&reply.encode_to_vec()), Some(reply));
            let mut items = Vec::new();
            for _ in 0..n.next() % 3 {
                let short = n.flag().then(|| Short {
                    for_ms: n.next() as u32,
                    terminal: n.flag(),
                    quarantine: n.flag(),
                });
                let next = n.flag().then(|| NextGrant { wid: n.next(), g: n.next(), ends_in_ms: n.next() });
                let figures = n.flag().then(|| Figures {
                    limit: n.next(),
                    settled: n.next(),
                    held: n.next(),
                    leased: n.next(),
                    stranded: n.next(),
                    left: n.next(),
                    running: n.next() as u32,
                    reset_in_ms: n.next(),
                    release_in_ms: n.next(),
                    window: n.text(),
                    timezone: n.text(),
                    headroom: n.next(),
                });
                items.push(ItemReply {
                    wid: n.next(),
                    ends_in_ms: n.next(),
                    g: n.next(),
                    cap: n.next(),
                    tight: n.flag(),
                    roomy: n.flag(),
                    gone: n.flag(),
                    rev: n.next(),
                    short,
                    next,
                    figures,
                    limit: n.next(),
                    room: n.next(),
                    hold_ms: n.next() as u32,
                });
            }
            let reply = SyncReply { epoch: n.next(), items, sync_ms: n.next() as u32 };
            let bytes = reply.encode_to_vec();
            assert_eq!(sync_reply(&bytes), Some(reply));
            for cut in 0..bytes.len() {
                // Never a panic; what the derived code refuses is refused.
                let ours = sync_reply(&bytes[..cut]);
                assert_eq!(ours, SyncReply::decode(&bytes[..cut]).ok(), "cut at {cut}");
            }
        }
    }
}
