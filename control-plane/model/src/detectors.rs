//! Names of detectors and of their groups.

/// Detectors that the filters have; a test compares them with what they do have.
pub const DETECTORS: &[&str] = &[
    "aba_routing",
    "age",
    "anthropic_key",
    "au_abn",
    "au_medicare",
    "au_tfn",
    "aws_access_key",
    "basic_auth",
    "ca_sin",
    "card_cvv",
    "card_expiry",
    "credit_card",
    "crypto_address",
    "date_of_birth",
    "de_id_card",
    "de_social_security",
    "de_tax_id",
    "email",
    "es_nie",
    "es_nif",
    "fi_hetu",
    "fr_nir",
    "gcp_key",
    "github_token",
    "gitlab_token",
    "huggingface_token",
    "iban",
    "in_aadhaar",
    "in_pan",
    "ip_address",
    "it_fiscal_code",
    "jwt",
    "license_plate",
    "mac_address",
    "medical_record",
    "nl_bsn",
    "npm_token",
    "openai_key",
    "password",
    "phone",
    "pl_pesel",
    "private_key",
    "pypi_token",
    "se_personnummer",
    "sg_nric",
    "slack_token",
    "stripe_key",
    "swift_bic",
    "uk_nhs",
    "uk_nino",
    "uk_utr",
    "url_credentials",
    "us_bank_account",
    "us_driver_license",
    "us_ein",
    "us_itin",
    "us_passport",
    "us_ssn",
    "vin",
];

/// Groups: a name for several detectors. Every detector is in at least one.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("apac", &["au_abn", "au_medicare", "au_tfn", "in_aadhaar", "in_pan", "sg_nric"]),
    ("contact", &["age", "date_of_birth", "email", "ip_address", "mac_address", "phone"]),
    (
        "eu",
        &[
            "de_id_card",
            "de_social_security",
            "de_tax_id",
            "es_nie",
            "es_nif",
            "fi_hetu",
            "fr_nir",
            "it_fiscal_code",
            "license_plate",
            "nl_bsn",
            "pl_pesel",
            "se_personnummer",
            "vin",
        ],
    ),
    (
        "financial",
        &[
            "aba_routing",
            "card_cvv",
            "card_expiry",
            "credit_card",
            "crypto_address",
            "iban",
            "swift_bic",
            "us_bank_account",
        ],
    ),
    (
        "secrets",
        &[
            "anthropic_key",
            "aws_access_key",
            "basic_auth",
            "gcp_key",
            "github_token",
            "gitlab_token",
            "huggingface_token",
            "jwt",
            "npm_token",
            "openai_key",
            "password",
            "private_key",
            "pypi_token",
            "slack_token",
            "stripe_key",
            "url_credentials",
        ],
    ),
    ("uk", &["license_plate", "uk_nhs", "uk_nino", "uk_utr"]),
    (
        "us",
        &[
            "ca_sin",
            "license_plate",
            "medical_record",
            "us_driver_license",
            "us_ein",
            "us_itin",
            "us_passport",
            "us_ssn",
            "vin",
        ],
    ),
];

/// The detectors that a name stands for; `None` for an unknown name.
pub fn members(name: &str) -> Option<Vec<&'static str>> {
    let group = GROUPS.iter().find(|(group, _)| *group == name).map(|(_, members)| members.to_vec());
    let single = || DETECTORS.iter().find(|known| **known == name).map(|known| vec![*known]);
    group.or_else(single)
}

/// Every name that may be written.
pub fn names() -> impl Iterator<Item = &'static str> {
    DETECTORS.iter().copied().chain(GROUPS.iter().map(|(name, _)| *name))
}

/// The detectors that names stand for: sorted, each once.
pub fn resolve<'n>(names: impl IntoIterator<Item = &'n String>) -> Vec<String> {
    let mut found: Vec<_> = names.into_iter().filter_map(|name| members(name)).flatten().collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detector_of_the_filters_is_known_and_in_a_group_and_no_name_means_two_things() {
        let mut built: Vec<_> = weir_pii::DETECTORS.iter().map(|detector| detector.id).collect();
        built.sort_unstable();
        assert_eq!(DETECTORS, built);
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|(_, members)| members.iter().copied()).collect();
        grouped.sort_unstable();
        grouped.dedup();
        assert_eq!(grouped, built);
        let mut all: Vec<_> = names().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn groups_resolve_to_their_members() {
        let names = ["uk", "email", "uk_nhs"].map(str::to_owned);
        assert_eq!(resolve(&names), ["email", "license_plate", "uk_nhs", "uk_nino", "uk_utr"]);
    }
}
