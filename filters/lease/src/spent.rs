//! What was spent for whom: one record per settled request on its way to the control plane, in a stream of its own.
//! Enforcement never looks at it. It answers "whose spend is this", may lag, and may lose what a dying VM had not sent;
//! the ledger's own sums show how much that is.

use crate::outbox::Outbox;
use crate::wire::{bytes, number, text};
use crate::{Hold, Nanos, SECOND};

/// The gRPC service that takes batches.
pub const SPEND_SERVICE: &str = "weir.spend.v1.Spend";
/// Its only method.
pub const SPEND_METHOD: &str = "Report";
/// The call's time limit in milliseconds.
pub const SPEND_TIMEOUT_MS: u32 = 2_000;

/// Bytes of records that wait in a VM: some thousand requests.
const MAX_WAITING: usize = 1 << 20;

/// What one request was and used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent<'a> {
    /// Tenant.
    pub tenant: &'a str,
    /// Id of the key.
    pub key: &'a str,
    /// The policy's name of the model.
    pub model: &'a str,
    /// The policy's name of the provider.
    pub provider: &'a str,
    /// Labels that the policy names as cost dimensions.
    pub labels: &'a [(String, String)],
    /// Input tokens.
    pub input: u64,
    /// Output tokens.
    pub output: u64,
    /// Cost; 0 where there is no price.
    pub nano_usd: u64,
    /// The figures are bounds: nobody said what it used.
    pub estimated: bool,
    /// What budgets were charged; see [`Hold::charges`].
    pub charges: &'a [u8],
}

impl Hold {
    /// What settling with `actual` charges each counter, encoded for [`Spent::charges`].
    pub fn charges(&self, actual: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        for (i, ((name, amount), wid)) in self.names().zip(self.amounts()).zip(self.windows()).enumerate() {
            let amount = actual.get(i).copied().unwrap_or(amount);
            if wid == 0 || amount == 0 {
                continue;
            }
            let mut charge = Vec::with_capacity(name.len() + 24);
            bytes(&mut charge, 1, name);
            number(&mut charge, 2, wid);
            number(&mut charge, 3, amount);
            bytes(&mut out, 10, &charge);
        }
        out
    }
}

impl Outbox {
    /// Takes in one record of what was spent.
    pub fn push(&mut self, now: Nanos, of: &Spent<'_>) {
        if self.waiting() >= MAX_WAITING {
            self.drop_one();
            return;
        }
        let mut record = Vec::with_capacity(96 + of.charges.len());
        for (tag, value) in (1..).zip([of.tenant, of.key, of.model, of.provider]) {
            text(&mut record, tag, value);
        }
        for (name, value) in of.labels {
            let mut label = Vec::new();
            text(&mut label, 1, name);
            text(&mut label, 2, value);
            bytes(&mut record, 5, &label);
        }
        for (tag, value) in (6..).zip([of.input, of.output, of.nano_usd, u64::from(of.estimated)]) {
            number(&mut record, tag, value);
        }
        record.extend_from_slice(of.charges);
        self.add(now, &record);
    }

    /// The batch to send now, if any; [`Outbox::answer`] must follow. `sid` is the process's session, `vm` random bits of
    /// this VM.
    pub fn batch(&mut self, now: Nanos, sid: u64, vm: u64) -> Option<&[u8]> {
        self.due(now, SECOND, sid, vm)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::message::{SpendReport, SpentRecord};

    fn record(input: u64) -> Spent<'static> {
        Spent { tenant: "acme", key: "web", model: "fast", provider: "pool", input, ..Spent::default() }
    }

    fn read(outbox: &mut Outbox, now: Nanos) -> SpendReport {
        SpendReport::decode(outbox.batch(now, 7, 9).expect("a batch is due")).unwrap()
    }

    #[test]
    fn a_record_is_what_the_derived_code_reads() {
        let labels = [("team".to_owned(), "support".to_owned())];
        let instance = crate::Instance::new("day", crate::Unit::Tokens, "acme", "f00d");
        let mut charge = Vec::new();
        bytes(&mut charge, 1, &crate::wire::instance(&instance));
        number(&mut charge, 2, 5);
        number(&mut charge, 3, 70);
        let mut charges = Vec::new();
        bytes(&mut charges, 10, &charge);
        let mut outbox = Outbox::default();
        let spent = Spent {
            labels: &labels,
            output: 3,
            nano_usd: 4,
            estimated: true,
            charges: &charges,
            ..record(2)
        };
        outbox.push(0, &spent);
        let report = read(&mut outbox, SECOND);
        assert_eq!((report.sid, report.vm, report.seq, report.dropped), (7, 9, 1, 0));
        let [one] = report.records.as_slice() else { panic!("one record") };
        assert_eq!((one.tenant.as_str(), one.key.as_str()), ("acme", "web"));
        assert_eq!((one.model.as_str(), one.provider.as_str()), ("fast", "pool"));
        assert_eq!((one.labels[0].name.as_str(), one.labels[0].value.as_str()), ("team", "support"));
        assert_eq!((one.input, one.output, one.nano_usd, one.estimated), (2, 3, 4, true));
        assert_eq!(one.charges[0].instance.as_ref(), Some(&instance));
        assert_eq!((one.charges[0].wid, one.charges[0].amount), (5, 70));
        assert_eq!(SpentRecord::decode(one.encode_to_vec().as_slice()).unwrap(), *one);
    }

    #[test]
    fn a_batch_keeps_its_number_until_it_is_taken() {
        let mut outbox = Outbox::default();
        outbox.push(0, &record(1));
        assert!(outbox.batch(SECOND / 2, 7, 9).is_none(), "it gathers for a second");
        assert!(outbox.batch(SECOND, 0, 9).is_none(), "without a session it has no name");
        let first = read(&mut outbox, SECOND);
        outbox.push(SECOND, &record(2));
        assert!(outbox.batch(9 * SECOND, 7, 9).is_none(), "one at a time");
        outbox.answer(9 * SECOND, Err(14));
        assert_eq!(read(&mut outbox, 10 * SECOND), first, "the same again");
        outbox.answer(11 * SECOND, Ok(()));
        let second = read(&mut outbox, 12 * SECOND);
        assert_eq!((second.seq, second.records[0].input), (2, 2));
        outbox.answer(13 * SECOND, Err(12));
        assert!(outbox.batch(20 * SECOND, 7, 9).is_none(), "nobody there who knows what it is");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let mut outbox = Outbox::default();
        let long = "x".repeat(1 << 10);
        for _ in 0..2_000 {
            outbox.push(0, &Spent { tenant: &long, ..Spent::default() });
        }
        assert!(outbox.waiting() < MAX_WAITING + (2 << 10));
        let report = read(&mut outbox, 0);
        assert_eq!(report.records.len() as u64 + report.dropped, 2_000);
        assert!(report.dropped > 900);
    }
}
