//! What the control plane reads of decisions: gateways' batches, and its own log after a crash or a hand at it.

use prost::Message;
use weir_lease::message::DecisionReport;
use weir_server::decisions::acceptable;
use weir_server::decisions::chain::{From, Head, Writer, walk};

use super::Target;

fn log() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::begin(Head::default(), &mut out);
    for batch in 1..4 {
        writer.append(batch, Some(From { vm: 7, batch }), b"{\"id\":\"req_1\"}", &mut out);
    }
    out
}

pub const DECISIONS: Target = Target {
    name: "decisions",
    about: "decision records: a batch is read or refused, whatever is accepted is one line that the chain gives back; a log is good up to its first wrong line",
    run: |input| {
        if let Ok(report) = DecisionReport::decode(input) {
            let again = DecisionReport::decode(report.encode_to_vec().as_slice()).expect("as it was written");
            assert_eq!(again, report);
            let mut out = Vec::new();
            let mut writer = Writer::begin(Head::default(), &mut out);
            let kept: Vec<&[u8]> =
                report.records.iter().map(Vec::as_slice).filter(|record| acceptable(record)).collect();
            for record in &kept {
                writer.append(9, Some(From { vm: 7, batch: report.seq }), record, &mut out);
            }
            let mut read = Vec::new();
            let walked = walk(&out, &mut |line| read.push(line.record.to_vec())).expect("a first line");
            assert_eq!((read.len(), walked.good, walked.wrong), (kept.len(), out.len(), None));
            assert!(read.iter().zip(&kept).all(|(read, kept)| read == kept));
        }
        let mut lines = 0;
        if let Some(walked) = walk(input, &mut |_| lines += 1) {
            assert!(walked.good <= input.len());
            let mut again = 0;
            let same = walk(&input[..walked.good], &mut |_| again += 1).expect("what was good");
            assert_eq!((same.good, same.wrong, again), (walked.good, None, lines));
        }
        _ = Head::parse(input);
    },
    seeds: || {
        let records = vec![b"{\"id\":\"req_1\"}".to_vec(), b"{}".to_vec()];
        vec![
            DecisionReport { life: 1, vm: 2, seq: 3, dropped: 4, records }.encode_to_vec(),
            log(),
            Head::default().text().into_bytes(),
        ]
    },
    words: &["weir-decisions 1 ", "{\"id\":\"a\"}", "\n", " - ", "/", "*\n"],
    nanos_per_byte: 40_000,
};
