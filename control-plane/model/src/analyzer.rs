//! Detectors outside, asked as Presidio's analyzer is: their rules judged and compiled, for requests and clusters.
//!
//! All that a request to one says beside its text is written here, once, so that the filters need only to put the
//! text before it.

use weir_config::filter;
use weir_config::policy::{Analyzer, Guardrail, OnFailure};

use crate::compile::filters;
use crate::endpoint::Endpoint;
use crate::problem::Problem;

/// Rules of one policy at most: each is a search of every text.
pub const MAX_RULES: usize = 16;
/// How long a request waits where nothing is said, in milliseconds.
const TIMEOUT_MS: u64 = 500;
/// The longest wait that may be asked for, in milliseconds.
const MAX_TIMEOUT_MS: u64 = 60_000;
/// Bytes of the longest text that is sent where nothing is said.
const MAX_TEXT: u64 = 100 << 10;
/// And at most: the characters that spaCy, which Presidio builds on, takes by default.
const MOST_TEXT: u64 = 1_000_000;
/// Texts at a time where nothing is said, and at most.
const PARALLEL: (u32, u32) = (8, 64);

/// Types that an analyzer finds: ours and Presidio's. The first ones have no detector in the filters.
const TYPES: [(&str, &str); 37] = [
    ("person", "PERSON"),
    ("location", "LOCATION"),
    ("address", "ADDRESS"),
    ("organization", "ORGANIZATION"),
    ("nrp", "NRP"),
    ("date_time", "DATE_TIME"),
    ("aba_routing", "ABA_ROUTING_NUMBER"),
    ("age", "AGE"),
    ("au_abn", "AU_ABN"),
    ("au_medicare", "AU_MEDICARE"),
    ("au_tfn", "AU_TFN"),
    ("ca_sin", "CA_SIN"),
    ("credit_card", "CREDIT_CARD"),
    ("crypto_address", "CRYPTO"),
    ("de_id_card", "DE_ID_CARD"),
    ("de_social_security", "DE_SOCIAL_SECURITY"),
    ("de_tax_id", "DE_TAX_ID"),
    ("email", "EMAIL_ADDRESS"),
    ("es_nie", "ES_NIE"),
    ("es_nif", "ES_NIF"),
    ("fi_hetu", "FI_PERSONAL_IDENTITY_CODE"),
    ("iban", "IBAN_CODE"),
    ("in_aadhaar", "IN_AADHAAR"),
    ("in_pan", "IN_PAN"),
    ("ip_address", "IP_ADDRESS"),
    ("it_fiscal_code", "IT_FISCAL_CODE"),
    ("mac_address", "MAC_ADDRESS"),
    ("phone", "PHONE_NUMBER"),
    ("pl_pesel", "PL_PESEL"),
    ("sg_nric", "SG_NRIC_FIN"),
    ("uk_nhs", "UK_NHS"),
    ("uk_nino", "UK_NINO"),
    ("us_bank_account", "US_BANK_NUMBER"),
    ("us_driver_license", "US_DRIVER_LICENSE"),
    ("us_itin", "US_ITIN"),
    ("us_passport", "US_PASSPORT"),
    ("us_ssn", "US_SSN"),
];
/// What a finding of any other type is called.
const OTHER: &str = "entity";

/// The type of a name as the policy writes it: ours and its.
fn of(name: &str) -> Option<(&str, &str)> {
    let known = TYPES.iter().find(|(ours, theirs)| *ours == name || *theirs == name).copied();
    let own = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    known.or_else(|| (own && !name.is_empty() && name.len() <= 64).then_some((OTHER, name)))
}

/// What is wrong with a rule at `path`.
pub fn problems(path: &str, rule: &Guardrail, analyzer: &Analyzer) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |field: &str, message: String, hint: &str| {
        let mut problem = Problem::error(format!("{path}.{field}"), message);
        problem.hint = (!hint.is_empty()).then(|| hint.to_owned());
        problems.push(problem);
    };
    match Endpoint::parse(&analyzer.url) {
        Err(why) => wrong("analyzer.url", format!("`{}` is not an endpoint", analyzer.url), why),
        Ok(endpoint) if endpoint.prefix.ends_with("/analyze") => wrong(
            "analyzer.url",
            format!("`{}` ends with the path of the API", analyzer.url),
            "leave out `/analyze`",
        ),
        Ok(_) => {}
    }
    if analyzer.find.is_empty() {
        wrong(
            "analyzer",
            format!("guardrail `{}` finds nothing", rule.name),
            "add `find`, such as `find: [person, location]`",
        );
    }
    for (index, name) in analyzer.find.iter().enumerate().filter(|(_, name)| of(name).is_none()) {
        let known: Vec<&str> = TYPES.iter().map(|(ours, _)| *ours).collect();
        let path = format!("{path}.analyzer.find[{index}]");
        let mut problem = Problem::error(path, format!("unknown type `{name}`")).hint_near(name, &known);
        if !problem.hint.as_ref().is_some_and(|hint| hint.contains('?')) {
            problem.hint = Some("a type of the analyzer's own is written in capitals".to_owned());
        }
        problems.push(problem);
    }
    let mut wrong = |field: &str, message: String| {
        problems.push(Problem::error(format!("{path}.{field}"), message));
    };
    if let Some(language) = &analyzer.language
        && !(language.len() == 2 && language.bytes().all(|b| b.is_ascii_lowercase()))
    {
        wrong("analyzer.language", format!("`{language}` is not a language's two letters"));
    }
    if analyzer.score.is_some_and(|score| score.hundredths > 10_000) {
        wrong("analyzer.score", "more than 100%".to_owned());
    }
    if analyzer.max_text.is_some_and(|size| size.0 == 0 || size.0 > MOST_TEXT) {
        wrong("analyzer.max_text", format!("a text must be from 1 to {MOST_TEXT} bytes"));
    }
    if analyzer.parallel.is_some_and(|texts| texts == 0 || texts > PARALLEL.1) {
        wrong("analyzer.parallel", format!("must be from 1 to {}", PARALLEL.1));
    }
    if rule.timeout.is_some_and(|timeout| timeout.ms == 0 || timeout.ms > MAX_TIMEOUT_MS) {
        wrong("timeout", "must be more than nothing and 60s at most".to_owned());
    }
    if analyzer.region.as_ref().is_some_and(|region| region.trim().is_empty()) {
        wrong("analyzer.region", "is empty".to_owned());
    }
    problems
}

/// The Envoy cluster of a rule's detector. No provider's has a colon.
fn cluster_name(rule: &str) -> String {
    format!("weir-analyzer:{rule}")
}

/// The rule as the filters have it.
pub fn compile(rule: &Guardrail) -> Option<filter::Analyzer> {
    let analyzer = rule.analyzer.as_ref()?;
    let endpoint = Endpoint::parse(&analyzer.url).ok()?;
    let mut types: Vec<(&str, &str)> = analyzer.find.iter().filter_map(|name| of(name)).collect();
    types.sort_unstable_by_key(|(_, theirs)| *theirs);
    types.dedup();
    let entities: Vec<&str> = types.iter().map(|(_, theirs)| *theirs).collect();
    let mut rest = format!(
        ",\"language\":{},\"entities\":{}",
        serde_json::Value::from(analyzer.language.as_deref().unwrap_or("en")),
        serde_json::Value::from(entities),
    );
    if let Some(score) = analyzer.score {
        rest.push_str(&format!(
            ",\"score_threshold\":{}.{:04}",
            score.hundredths / 10_000,
            score.hundredths % 10_000
        ));
    }
    rest.push('}');
    Some(filter::Analyzer {
        name: rule.name.clone(),
        when: filters::when(&rule.when),
        cluster: cluster_name(&rule.name),
        authority: endpoint.authority(),
        path: format!("{}/analyze", endpoint.prefix),
        region: analyzer.region.clone().unwrap_or_default(),
        rest,
        types: types.into_iter().map(|(ours, theirs)| (theirs.to_owned(), ours.to_owned())).collect(),
        action: filters::action(analyzer.action),
        timeout_ms: rule.timeout.map_or(TIMEOUT_MS, |timeout| timeout.ms),
        max_text: analyzer.max_text.map_or(MAX_TEXT, |size| size.0),
        parallel: analyzer.parallel.unwrap_or(PARALLEL.0),
        pass: rule.on_failure == Some(OnFailure::Pass),
    })
}

/// The cluster that reaches a rule's detector.
pub fn cluster(rule: &Guardrail) -> Option<crate::AnalyzerCluster> {
    let endpoint = Endpoint::parse(&rule.analyzer.as_ref()?.url).ok()?;
    Some(crate::AnalyzerCluster {
        name: cluster_name(&rule.name),
        authority: endpoint.authority(),
        tls: endpoint.tls,
        endpoint: (endpoint.host, endpoint.port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_one_that_the_filters_know() {
        for (ours, _) in TYPES.iter().chain([&(OTHER, "")]) {
            assert!(weir_pii::Kind::named(ours).is_some(), "{ours}");
        }
        let mut all: Vec<&str> = TYPES.iter().flat_map(|(ours, theirs)| [*ours, *theirs]).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn names_are_ours_or_its_own() {
        assert_eq!(of("person"), Some(("person", "PERSON")));
        assert_eq!(of("EMAIL_ADDRESS"), Some(("email", "EMAIL_ADDRESS")));
        assert_eq!(of("STAFF_NUMBER_2"), Some(("entity", "STAFF_NUMBER_2")));
        for none in ["", "people", "Person", "STAFF NUMBER", "entity"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn a_rule_compiles_to_what_its_analyzer_is_asked() {
        let rule = Guardrail {
            name: "names".into(),
            analyzer: Some(Analyzer {
                url: "https://Detect.example:5002/presidio/".into(),
                find: vec!["person".into(), "STAFF_NUMBER".into(), "LOCATION".into(), "location".into()]
                    .into(),
                action: weir_config::policy::Action::Mask,
                score: Some("62.5%".parse().unwrap()),
                region: Some("eu".into()),
                ..Analyzer::default()
            }),
            ..Guardrail::default()
        };
        assert_eq!(problems("guardrails[0]", &rule, rule.analyzer.as_ref().unwrap()), []);
        let compiled = compile(&rule).unwrap();
        assert_eq!(
            (compiled.authority.as_str(), compiled.path.as_str()),
            ("detect.example:5002", "/presidio/analyze")
        );
        let asked: serde_json::Value =
            serde_json::from_str(&format!("{{\"text\":\"t\"{}", compiled.rest)).unwrap();
        let entities = ["LOCATION", "PERSON", "STAFF_NUMBER"];
        assert_eq!(
            asked,
            serde_json::json!({"text": "t", "language": "en", "entities": entities, "score_threshold": 0.625})
        );
        let ours: Vec<&str> =
            entities.iter().map(|theirs| compiled.types.get(*theirs).unwrap().as_str()).collect();
        assert_eq!(ours, ["location", "person", "entity"]);
        assert_eq!((compiled.timeout_ms, compiled.max_text, compiled.parallel), (500, 102_400, 8));
        assert_eq!((compiled.action, compiled.pass), (filter::Action::Mask, false));
        let cluster = cluster(&rule).unwrap();
        assert_eq!((cluster.name.as_str(), cluster.tls), (compiled.cluster.as_str(), true));
        assert_eq!(cluster.endpoint, ("detect.example".to_owned(), 5002));
    }
}
