//! What a drill plants: one made-up value of each type, as somebody would write it. None is anybody's. Tokens are put
//! together here, so that no scanner of sources takes them for lost ones.

/// A value in its sentence.
#[derive(Clone, Debug)]
pub struct Planted {
    /// The detector that should find it.
    pub kind: &'static str,
    /// What stands before it.
    pub before: &'static str,
    /// The value.
    pub value: String,
}

/// (type, what stands before the value, the value).
const WRITTEN: &[(&str, &str, &str)] = &[
    ("aba_routing", "routing number ", "121000358"),
    ("age", "Age: ", "34"),
    ("au_abn", "ABN ", "51 824 753 556"),
    ("au_medicare", "Medicare card ", "2123 45670 1"),
    ("au_tfn", "TFN ", "876 543 210"),
    ("basic_auth", "Authorization: Basic ", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
    ("ca_sin", "SIN ", "435 418 165"),
    ("card_cvv", "CVV: ", "4567"),
    ("card_expiry", "expires ", "01/2030"),
    ("credit_card", "card ", "4111 1111 1111 1111"),
    ("crypto_address", "pay to ", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ"),
    ("date_of_birth", "She was born on ", "12/27/1986"),
    ("de_id_card", "Personalausweis: ", "L01X00T44"),
    ("de_social_security", "Versicherungsnummer ", "15070649C103"),
    ("de_tax_id", "Steuer-ID ", "86 095 742 719"),
    ("email", "write to ", "zq.vxkw@wqzrfjx.example"),
    ("es_nie", "NIE ", "Y8063915Z"),
    ("es_nif", "NIF ", "12345678Z"),
    ("fi_hetu", "hetu ", "020594X903P"),
    ("fr_nir", "NIR ", "1 85 05 78 006 084 91"),
    ("iban", "IBAN ", "GB82 WEST 1234 5698 7654 32"),
    ("in_aadhaar", "Aadhaar ", "3998 7654 3211"),
    ("in_pan", "PAN ", "ABBPM4567S"),
    ("ip_address", "host ", "192.168.77.31"),
    ("it_fiscal_code", "codice fiscale ", "RSSMRA85T10A562S"),
    ("license_plate", "license plate ", "7ABC123"),
    ("mac_address", "interface ", "00-1A-2B-3C-4D-5E"),
    ("medical_record", "MRN: ", "00482913"),
    ("nl_bsn", "BSN ", "111222333"),
    ("password", "password=", "hunter2xq9"),
    ("phone", "call ", "+14155550132"),
    ("pl_pesel", "PESEL ", "44051401359"),
    ("se_personnummer", "personnummer ", "199109242397"),
    ("sg_nric", "NRIC ", "S2740116C"),
    ("swift_bic", "SWIFT: ", "DEUTDEFF"),
    ("uk_nhs", "NHS ", "401-023-2137"),
    ("uk_nino", "NINO ", "PR 12 36 12 C"),
    ("uk_utr", "UTR ", "1955839661"),
    ("url_credentials", "see https://", "jane:s3cretq7"),
    ("us_bank_account", "bank account ", "945456787654"),
    ("us_driver_license", "My driver's license number is ", "481195160"),
    ("us_ein", "EIN ", "12-3456789"),
    ("us_itin", "ITIN ", "911-70-1234"),
    ("us_passport", "passport ", "912803456"),
    ("us_ssn", "SSN ", "536-22-8726"),
    ("vin", "VIN ", "1HGCM82633A004352"),
];

/// (type, how its tokens begin, characters that follow).
const TOKENS: &[(&str, &str, usize)] = &[
    ("anthropic_key", "sk-ant-api03-", 40),
    ("aws_access_key", "AKIA", 16),
    ("gcp_key", "AIza", 35),
    ("github_token", "ghp_", 36),
    ("gitlab_token", "glpat-", 20),
    ("huggingface_token", "hf_", 34),
    ("jwt", "eyJ", 60),
    ("npm_token", "npm_", 36),
    ("openai_key", "sk-proj-", 40),
    ("pypi_token", "pypi-AgE", 60),
    ("slack_token", "xoxb-", 30),
    ("stripe_key", "sk_live_", 24),
];

/// One value of each type.
pub fn planted() -> Vec<Planted> {
    let mut all: Vec<Planted> = WRITTEN
        .iter()
        .map(|(kind, before, value)| Planted { kind, before, value: (*value).to_owned() })
        .collect();
    for (kind, begins, more) in TOKENS {
        let body: String = "Q7R2ZX9W4VK8J3YT6".chars().cycle().take(*more).collect();
        all.push(Planted { kind, before: "the token is ", value: format!("{begins}{body}") });
    }
    let key = ["-----BEGIN ", "PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END ", "PRIVATE KEY-----"];
    all.push(Planted { kind: "private_key", before: "the key:\n", value: key.concat() });
    all.sort_by_key(|planted| planted.kind);
    all
}

impl Planted {
    /// The text that is sent or said.
    pub fn text(&self) -> String {
        let after = if self.kind == "url_credentials" { "@db.example/x" } else { ", that is all." };
        format!("Please note: {}{}{after}", self.before, self.value)
    }

    /// Pieces of four bytes that are nobody else's: none of them may be where the value may not be.
    pub fn leaks_into(&self, text: &[u8], harmless: &[u8]) -> bool {
        let has = |text: &[u8], piece: &[u8]| text.windows(piece.len()).any(|window| window == piece);
        let value = self.value.as_bytes();
        // What stands in its place is its type's name.
        let name = self.kind.to_uppercase();
        // A value of two digits is looked for whole.
        value
            .windows(value.len().min(4))
            .filter(|piece| {
                [harmless, self.before.as_bytes(), name.as_bytes()].iter().all(|text| !has(text, piece))
            })
            .any(|piece| has(text, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_planted_once_and_nothing_else_is() {
        let kinds: Vec<&str> = planted().iter().map(|planted| planted.kind).collect();
        let mut known: Vec<&str> = weir_pii::DETECTORS.iter().map(|detector| detector.id).collect();
        known.sort_unstable();
        assert_eq!(kinds, known);
    }

    #[test]
    fn every_value_is_found_where_it_was_planted() {
        for planted in planted() {
            let rule = weir_pii::Rule {
                find: vec![planted.kind.to_owned()],
                words: Vec::new(),
                action: weir_pii::Action::Mask,
            };
            let (set, text) = (weir_pii::Set::new(&[rule]).unwrap(), planted.text());
            let mut found = Vec::new();
            weir_pii::find(&set, &text, &mut found);
            let found: Vec<&str> = found.iter().map(|finding| &text[finding.range.clone()]).collect();
            assert_eq!(found, [planted.value.as_str()], "{}: {text}", planted.kind);
        }
    }

    #[test]
    fn a_piece_of_a_value_is_a_leak_and_its_surroundings_are_none() {
        let mail = planted().into_iter().find(|planted| planted.kind == "email").unwrap();
        assert!(mail.leaks_into(mail.text().as_bytes(), b""));
        assert!(mail.leaks_into(b"..vxkw..", b""));
        assert!(!mail.leaks_into(b"..vxkw..", b"..vxkw.."));
        let key = planted().into_iter().find(|planted| planted.kind == "private_key").unwrap();
        assert!(key.leaks_into(key.text().as_bytes(), b"") && key.leaks_into(b"..qhki..", b""));
        assert!(!key.leaks_into(b"[PRIVATE_KEY_1]", b""));
        assert!(!mail.leaks_into(mail.text().replace(&mail.value, "[EMAIL]").as_bytes(), b""));
    }
}
