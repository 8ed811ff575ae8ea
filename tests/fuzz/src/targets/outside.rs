//! What detectors outside answer.

use weir_config::filter::{Action, Analyzer};
use weir_pii::{Rule, Set, Vault, find, outside as led};
use weir_pipeline::outside;

use super::{Target, seeds, words};

fn analyzer() -> Analyzer {
    let types = [("PERSON", "person"), ("LOCATION", "location"), ("STAFF", "entity")];
    Analyzer {
        types: types.map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned())).into_iter().collect(),
        action: Action::Mask,
        ..Analyzer::default()
    }
}

pub const OUTSIDE: Target = Target {
    name: "outside",
    about: "a detector's answer and, behind a zero byte, the text it is about: what is believed is in the text, on characters, and what it hides leaves a text",
    run: |input| {
        let (said, text) = input.iter().position(|byte| *byte == 0).map_or((input, &[][..]), |at| {
            let (said, text) = input.split_at(at);
            (said, &text[1..])
        });
        let text = String::from_utf8_lossy(text);
        let rule = Rule {
            find: vec!["email".to_owned()],
            words: vec!["Bluebird".to_owned()],
            action: weir_pii::Action::Tokenize,
        };
        let set = Set::new(&[rule]).expect("detectors that exist");
        let mut findings = Vec::new();
        find(&set, &text, &mut findings);
        let shown = led::shown(&text, &findings);
        let Some(hits) = outside::answer(&analyzer(), &shown, said) else { return };
        for hit in hits.iter() {
            let found = shown.get(hit.range.clone()).expect("on borders of characters");
            assert!(!found.is_empty(), "nothing is no finding");
        }
        led::add(&text, &mut findings, &hits);
        let mut at = 0;
        for (range, _) in set.redact(&text, &findings, &mut Vault::new()) {
            assert!(
                range.start >= at && text.get(range.clone()).is_some(),
                "in order, on borders of characters"
            );
            at = range.end;
        }
    },
    seeds: || {
        seeds(&[
            "[]\0nothing",
            r#"[{"analysis_explanation":null,"end":7,"entity_type":"PERSON","score":0.85,"start":0}]"#,
            "[{\"end\":6,\"entity_type\":\"PERSON\",\"score\":0.85,\"start\":0},{\"start\":10,\"end\":14,\"entity_type\":\"LOCATION\"}]\0Jürgen in Köln, j@x.org",
            "[{\"end\":9,\"entity_type\":\"STAFF\",\"start\":2}]\0{\"a\":\"Ann\",\"b\":[\"\u{1f980}\",7]}",
        ])
    },
    words: words::JSON,
    nanos_per_byte: 20_000,
};
