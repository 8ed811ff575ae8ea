//! Names of detectors and of their groups, and which of them exist.

/// Detectors that the filters have.
pub const BUILT: &[&str] = &["credit_card", "email", "us_ssn"];

/// Detectors that a policy may name and that do not exist yet.
pub const PLANNED: &[&str] = &["iban", "phone", "secrets", "uk_nhs", "uk_nino", "us_itin"];

/// Groups: a name for several detectors. A group is built when all of its members are.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("contact", &["email", "phone"]),
    ("financial", &["credit_card", "iban"]),
    ("uk", &["uk_nhs", "uk_nino"]),
    ("us", &["us_itin", "us_ssn"]),
];

/// The detectors that a name stands for; `None` for an unknown name.
pub fn members(name: &str) -> Option<Vec<&'static str>> {
    let group = GROUPS.iter().find(|(group, _)| *group == name).map(|(_, members)| members.to_vec());
    let single = || BUILT.iter().chain(PLANNED).find(|known| **known == name).map(|known| vec![*known]);
    group.or_else(single)
}

/// Whether all that a name stands for exists.
pub fn is_built(name: &str) -> bool {
    members(name).is_some_and(|members| members.iter().all(|member| BUILT.contains(member)))
}

/// Every name that may be written.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT.iter().chain(PLANNED).copied().chain(GROUPS.iter().map(|(name, _)| *name))
}

/// The built detectors that names stand for: sorted, each once.
pub fn resolve<'n>(names: impl IntoIterator<Item = &'n String>) -> Vec<String> {
    let mut found: Vec<_> = names.into_iter().filter_map(|name| members(name)).flatten().collect();
    found.retain(|member| BUILT.contains(member));
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_a_group_is_a_known_detector_and_no_name_means_two_things() {
        for (group, members) in GROUPS {
            assert!(
                members.iter().all(|member| BUILT.contains(member) || PLANNED.contains(member)),
                "{group}"
            );
        }
        let mut all: Vec<_> = names().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn groups_resolve_to_what_is_built_of_them() {
        let names = ["contact", "financial", "us", "email"].map(str::to_owned);
        assert_eq!(resolve(&names), ["credit_card", "email", "us_ssn"]);
    }
}
