//! Which clusters over several providers a policy can ask for: what gateways need that cannot pick another cluster for
//! the next try. Every order of two or three providers of a model that priorities, weights and what rules leave of
//! its targets can produce.

use std::collections::BTreeSet;

use weir_config::filter::{List, Model, Target};
use weir_model::Compiled;

/// Most clusters that are made, pairs first. What has none is tried at as many of its providers as one that is there.
const MOST: usize = 256;
/// Most providers that a request is tried at.
const LONGEST: usize = 3;

/// The lists of a policy, sorted.
pub fn lists(compiled: &Compiled) -> Vec<List> {
    let longest = LONGEST.min(compiled.exchange.retry.tries as usize);
    let mut found: BTreeSet<Vec<&str>> = BTreeSet::new();
    // The shorter first, since a longer one falls back to them.
    for length in 2..=longest {
        for model in &compiled.exchange.models {
            extend(compiled, model, &mut Vec::new(), length, &mut found);
        }
    }
    let list = |providers: Vec<&str>| List {
        // No provider's own cluster has a name with dots.
        cluster: format!("weir-list.{}", providers.join(".")),
        providers: providers.into_iter().map(str::to_owned).collect(),
    };
    found.into_iter().map(list).collect()
}

/// Adds all lists of `length` that begin with these targets. At most three deep.
fn extend<'c>(
    compiled: &'c Compiled,
    model: &'c Model,
    begin: &mut Vec<&'c Target>,
    length: usize,
    found: &mut BTreeSet<Vec<&'c str>>,
) {
    if found.len() >= MOST {
        return;
    }
    if begin.len() == length {
        found.insert(begin.iter().map(|target| target.provider.as_str()).collect());
        return;
    }
    for target in &model.targets {
        let later = begin.last().is_none_or(|last| last.priority <= target.priority);
        if later && begin.iter().all(|other| apart(compiled, &other.provider, &target.provider)) {
            begin.push(target);
            extend(compiled, model, begin, length, found);
            begin.pop();
        }
    }
}

/// Two providers that a cluster can tell apart: Envoy knows hosts by their addresses.
fn apart(compiled: &Compiled, one: &str, other: &str) -> bool {
    let endpoints = |name: &str| {
        compiled.clusters.iter().find(|cluster| cluster.provider == name).map_or(&[][..], |c| &c.endpoints)
    };
    one != other && endpoints(one).iter().all(|endpoint| !endpoints(other).contains(endpoint))
}

#[cfg(test)]
mod tests {
    use weir_model::{CompileOptions, compile};

    use super::*;

    fn of(targets: &[(&str, u32)], tries: u32) -> Vec<String> {
        let mut policy = String::from("apiVersion: weir.dev/v1\nproviders:\n");
        for (port, name) in ["a", "b", "c", "d"].iter().enumerate() {
            policy +=
                &format!("- {{name: {name}, kind: vllm, endpoints: ['http://127.0.0.1:{}']}}\n", 9000 + port);
        }
        policy += "- {name: twin, kind: vllm, endpoints: ['http://127.0.0.1:9000']}\nmodels:\n- name: m\n  targets:\n";
        for (provider, priority) in targets {
            policy +=
                &format!("  - {{provider: {provider}, model: x, priority: {priority}, context: 100}}\n");
        }
        policy += &format!("retry: {{tries: {tries}}}\n");
        let policy = weir_model::parse(&policy).expect("a policy");
        let options = CompileOptions { version: "1", resolve: &|_| Ok(String::new()), listen: None };
        let compiled = compile(&policy, &options).expect("a policy that compiles");
        lists(&compiled).into_iter().map(|list| list.providers.concat()).collect()
    }

    #[test]
    fn every_order_that_can_come_has_a_list() {
        assert_eq!(of(&[("a", 0), ("b", 1)], 2), ["ab"]);
        assert_eq!(of(&[("a", 0), ("b", 0)], 2), ["ab", "ba"]);
        assert_eq!(of(&[("a", 0), ("b", 1)], 1), [""; 0]);
        // A rule may take any target away.
        assert_eq!(of(&[("a", 0), ("b", 1), ("c", 2)], 3), ["ab", "abc", "ac", "bc"]);
        assert_eq!(of(&[("a", 0), ("b", 1), ("c", 2)], 2), ["ab", "ac", "bc"]);
        assert_eq!(of(&[("a", 0), ("b", 1), ("c", 1)], 3), ["ab", "abc", "ac", "acb", "bc", "cb"]);
        assert_eq!(of(&[("a", 0), ("a", 1)], 3), [""; 0]);
    }

    #[test]
    fn hosts_with_one_address_are_in_no_list_together() {
        assert_eq!(of(&[("a", 0), ("twin", 1), ("b", 2)], 3), ["ab", "twinb"]);
    }
}
