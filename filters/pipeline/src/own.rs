//! What the policy gives a provider of the tenant whose request it is: vLLM's `cache_salt`, so that nobody can find out by
//! timing what others have asked, and the tenant's entries of Bedrock's `requestMetadata`, which land in its invocation
//! logs. The values come finished from the control plane; here they are only put in their place. Where the client names
//! the same, the policy's word goes first, and what gives way is a loss by name.

use std::ops::Range;

use weir_dialects::hub::Loss;
use weir_sorted::Gather;
use weir_wire::json::{self, Limits};
use weir_wire::splice::Splices;

use crate::paths::Api;

/// Most entries that Bedrock takes.
const MOST: usize = 16;
/// The member of Converse, and the header of InvokeModel.
const METADATA: &str = "requestMetadata";
/// See above.
pub const METADATA_HEADER: &str = "x-amzn-bedrock-request-metadata";
const SALT: &str = "cache_salt";

/// The member in which a client of this API could say the same.
pub fn member(api: Api) -> &'static str {
    if api.aws() { METADATA } else { SALT }
}

fn lose(losses: &mut Vec<Loss>, path: String, reason: &'static str) {
    losses.push(Loss { path, reason });
}

/// The entries of `own` before those of a translated request; the encoder keeps the first of two with one key.
pub fn first(own: &str, labels: &mut Vec<(String, String)>) {
    let text = ["{", own, "}"].concat();
    let Ok(doc) = json::parse(text.as_bytes(), &Limits::default()) else { return };
    let text = |value: json::Value<'_, '_>| value.as_str().unwrap_or_default().into_owned();
    let mut all: Vec<_> =
        doc.root().members().map(|(key, value)| (key.as_str().into_owned(), text(value))).gather();
    all.append(labels);
    *labels = all;
}

/// The entries of `own` and, as far as there is room, the client's others: one JSON object.
pub fn merged(own: &str, theirs: &[u8], losses: &mut Vec<Loss>) -> Vec<u8> {
    let mut out = ["{", own, "}"].concat().into_bytes();
    let mine = out.clone();
    let (Ok(mine), false) = (json::parse(&mine, &Limits::default()), theirs.is_empty()) else { return out };
    let there = json::parse(theirs, &Limits::default());
    let Some(root) =
        there.as_ref().ok().map(json::Doc::root).filter(|root| root.kind() == json::Kind::Object)
    else {
        lose(losses, METADATA.to_owned(), "no object: the policy's entries stand in its place");
        return out;
    };
    let mut entries = mine.root().len();
    out.pop();
    for (key, value) in root.members() {
        let name = key.as_str();
        if entries < MOST && mine.root().get(&name).is_none() {
            entries += 1;
            out.push(b',');
            out.extend_from_slice(theirs.get(key.range().start..value.range().end).unwrap_or_default());
        } else {
            let path = [METADATA, ".", &name].concat();
            lose(losses, path, "the policy's entries go first, and there are 16 at most");
        }
    }
    out.push(b'}');
    out
}

/// Gives a body the member that `own` is for: a salt, or with `converse` entries of metadata. `at` is where the client's
/// stands; empty where it has none.
pub fn put(
    edits: &mut Splices,
    body: &[u8],
    own: &str,
    converse: bool,
    at: Range<usize>,
    losses: &mut Vec<Loss>,
) {
    let (name, value) = if converse {
        (METADATA, merged(own, body.get(at.clone()).unwrap_or_default(), losses))
    } else {
        // Hexadecimal digits need no escapes.
        (SALT, ["\"", own, "\""].concat().into_bytes())
    };
    if at.is_empty() {
        let start = body.iter().position(|byte| *byte == b'{').map_or(0, |brace| brace + 1);
        edits.replace(start..start, &[b"\"", name.as_bytes(), b"\":", &value, b","].concat());
    } else {
        if !converse {
            lose(losses, SALT.to_owned(), "the policy's stands in its place");
        }
        edits.replace(at, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(own: &str, theirs: &str) -> (String, Vec<String>) {
        let mut losses = Vec::new();
        let out = merged(own, theirs.as_bytes(), &mut losses);
        (String::from_utf8(out).unwrap(), losses.into_iter().map(|loss| loss.path).collect())
    }

    #[test]
    fn the_policys_entries_go_first_and_the_clients_others_stay_as_they_are_written() {
        let own = r#""team":"a","tenant":"acme""#;
        assert_eq!(all(own, ""), (format!("{{{own}}}"), vec![]));
        assert_eq!(all(own, "{}"), (format!("{{{own}}}"), vec![]));
        let (out, lost) = all(own, r#"{ "job" : "n\u0069ght", "tenant":"globex","x":""}"#);
        assert_eq!(out, format!(r#"{{{own},"job" : "n\u0069ght","x":""}}"#));
        assert_eq!(lost, ["requestMetadata.tenant"]);
        for nonsense in ["7", "[1]", "{", "null"] {
            assert_eq!(all(own, nonsense), (format!("{{{own}}}"), vec!["requestMetadata".to_owned()]));
        }
        let many: serde_json::Map<_, _> = (10..30).map(|n| (format!("k{n}"), "v".into())).collect();
        let (out, lost) = all(own, &serde_json::Value::Object(many).to_string());
        let kept: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&out).unwrap();
        assert_eq!((kept.len(), kept["tenant"].as_str(), lost.len()), (16, Some("acme"), 6));
        assert_eq!((&*lost[0], kept.contains_key("k23")), ("requestMetadata.k24", true));
    }

    #[test]
    fn a_member_is_put_in_or_takes_the_place_of_the_clients() {
        let edited = |body: &str, own: &str, converse, at| {
            let (mut edits, mut losses) = (Splices::new(), Vec::new());
            put(&mut edits, body.as_bytes(), own, converse, at, &mut losses);
            (String::from_utf8(edits.apply(body.as_bytes()).unwrap()).unwrap(), losses.len())
        };
        assert_eq!(
            edited(" { \"model\":\"m\"}", "ab", false, 0..0),
            (" {\"cache_salt\":\"ab\", \"model\":\"m\"}".into(), 0)
        );
        assert_eq!(
            edited(r#"{"cache_salt":null}"#, "ab", false, 14..18),
            (r#"{"cache_salt":"ab"}"#.into(), 1)
        );
        let theirs = r#"{"requestMetadata":{"a":"b"},"messages":[]}"#;
        let with = r#"{"requestMetadata":{"t":"x","a":"b"},"messages":[]}"#;
        assert_eq!(edited(theirs, r#""t":"x""#, true, 19..28), (with.into(), 0));
    }
}
