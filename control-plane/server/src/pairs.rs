//! Key pairs for AWS's SDKs: issued here, kept here with their secrets, in a file that only this program's user may
//! read. What leaves is the access key, the secret once to whoever asked for it, and for gateways keys derived from it
//! that are good for one day: yesterday's, today's and tomorrow's, so that neither midnight nor a control plane that is
//! away for some hours is noticed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use weir_config::filter;
use weir_pipeline::sigv4::hmac;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// What access keys begin with: unlike AWS's own, so that nobody takes one for the other.
const PREFIX: &str = "AKWEIR";

/// A pair, with its secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Unique, shown in spans and spend.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// What requests name it by.
    pub access_key: String,
    /// What they are signed with.
    pub secret: String,
    /// Labels that override the tenant's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Unix seconds.
    pub created: u64,
    /// Unix seconds from which it is refused.
    #[serde(default)]
    pub expires: Option<u64>,
}

/// All pairs, and the file that holds them.
pub struct Pairs {
    file: PathBuf,
    all: Mutex<(u64, Vec<Pair>)>,
}

/// Why a pair cannot be issued or revoked.
#[derive(Debug)]
pub enum PairError {
    /// Another one has this id.
    Taken(String),
    /// The file.
    Io(io::Error),
}

impl std::fmt::Display for PairError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Taken(id) => write!(f, "another key has the id `{id}`"),
            Self::Io(why) => write!(f, "the key pairs cannot be kept: {why}"),
        }
    }
}

impl std::error::Error for PairError {}

impl Pairs {
    /// The pairs in the folder `data`.
    pub fn open(data: &Path) -> io::Result<Self> {
        let file = data.join("key-pairs.json");
        let all = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(why) => return Err(why),
        };
        Ok(Self { file, all: Mutex::new((0, all)) })
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Vec<Pair>)> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes with every change of the pairs and every day: then gateways must be told anew.
    pub fn mark(&self, now: u64) -> (u64, u64) {
        (self.lock().0, now / DAY)
    }

    /// All of them.
    pub fn list(&self) -> Vec<Pair> {
        self.lock().1.clone()
    }

    /// Issues a pair; it is kept before it is told.
    pub fn issue(
        &self,
        tenant: &str,
        id: &str,
        labels: BTreeMap<String, String>,
        expires: Option<u64>,
        now: u64,
    ) -> Result<Pair, PairError> {
        let mut random = [0; 64];
        let mut source = std::fs::File::open("/dev/urandom").map_err(PairError::Io)?;
        source.read_exact(&mut random).map_err(PairError::Io)?;
        let pick = |bytes: &[u8], letters: &[u8]| -> String {
            bytes.iter().map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect()
        };
        let (name, secret) = random.split_at(14);
        let base32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let base64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let pair = Pair {
            id: id.to_owned(),
            tenant: tenant.to_owned(),
            access_key: format!("{PREFIX}{}", pick(name, base32)),
            secret: pick(&secret[..40], base64),
            labels,
            created: now,
            expires,
        };
        let mut all = self.lock();
        if all.1.iter().any(|one| one.id == id) {
            return Err(PairError::Taken(id.to_owned()));
        }
        let mut next = all.1.clone();
        next.push(pair.clone());
        self.keep(&next).map_err(PairError::Io)?;
        *all = (all.0 + 1, next);
        Ok(pair)
    }

    /// Takes a pair back, by its id or its access key; none where nobody has it.
    pub fn revoke(&self, name: &str) -> Result<Option<Pair>, PairError> {
        let mut all = self.lock();
        let Some(at) = all.1.iter().position(|one| one.id == name || one.access_key == name) else {
            return Ok(None);
        };
        let mut next = all.1.clone();
        let gone = next.remove(at);
        self.keep(&next).map_err(PairError::Io)?;
        *all = (all.0 + 1, next);
        Ok(Some(gone))
    }

    fn keep(&self, all: &[Pair]) -> io::Result<()> {
        let part = self.file.with_extension("part");
        // A part that was left over may have other rights.
        let _ = std::fs::remove_file(&part);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(&serde_json::to_vec_pretty(all)?)?;
        file.sync_all()?;
        std::fs::rename(&part, &self.file)
    }

    /// Gives tenants their pairs, with the keys of the days around `now`, in Unix seconds. A pair of a tenant that the
    /// policy does not have is nobody's.
    pub fn hand_out(&self, exchange: &mut filter::Exchange, now: u64) {
        // Nothing that the policy would not look at leaves here.
        if !exchange.identity.from.iter().any(|source| source.scheme.as_deref() == Some("aws4-hmac-sha256")) {
            return;
        }
        for pair in &self.lock().1 {
            let Some(tenant) = exchange.tenants.iter_mut().find(|tenant| tenant.name == pair.tenant) else {
                continue;
            };
            let days = [now.saturating_sub(DAY), now, now + DAY];
            tenant.pairs.push(filter::KeyPair {
                id: pair.id.clone(),
                access_key: pair.access_key.clone(),
                days: days.into_iter().map(|at| day_key(&pair.secret, at)).collect(),
                labels: pair.labels.clone().into_iter().collect(),
                expires: pair.expires,
            });
        }
    }
}

/// The day of a moment, and the key that Signature Version 4 derives for it.
fn day_key(secret: &str, at: u64) -> (String, String) {
    let day = Timestamp::from_second(at.cast_signed()).unwrap_or_default().to_zoned(TimeZone::UTC);
    let day = day.strftime("%Y%m%d").to_string();
    let key = hmac(format!("AWS4{secret}").as_bytes(), &[day.as_bytes()]);
    let key = key.iter().map(|byte| format!("{byte:02x}")).collect();
    (day, key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn exchange() -> filter::Exchange {
        let source =
            filter::KeySource { header: "authorization".into(), scheme: Some("aws4-hmac-sha256".into()) };
        let tenant = |name: &str| filter::Tenant { name: name.into(), ..filter::Tenant::default() };
        filter::Exchange {
            identity: filter::Identity { from: vec![source], anonymous: None },
            tenants: vec![tenant("acme"), tenant("globex")],
            ..filter::Exchange::default()
        }
    }

    #[test]
    fn gateways_get_keys_of_three_days_and_no_secret() {
        let data = std::env::temp_dir().join(format!("weir-pairs-{}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        let pairs = Pairs::open(&data).unwrap();
        let before = pairs.mark(0);
        let now = 1_795_249_800;
        let pair = pairs.issue("acme", "boto", BTreeMap::new(), None, now).unwrap();
        assert!(pair.access_key.len() == 20 && pair.secret.len() == 40);
        assert!(matches!(pairs.issue("acme", "boto", BTreeMap::new(), None, now), Err(PairError::Taken(_))));
        pairs.issue("nobody", "lost", BTreeMap::new(), None, now).unwrap();
        assert_ne!(pairs.mark(0), before);
        assert_ne!(pairs.mark(DAY), pairs.mark(DAY - 1), "a new day is a change");
        let mode = std::fs::metadata(data.join("key-pairs.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        // What a restart finds.
        let again = Pairs::open(&data).unwrap();
        let mut told = exchange();
        again.hand_out(&mut told, now);
        let [one] = told.tenants[0].pairs.as_slice() else { panic!() };
        assert!(told.tenants[1].pairs.is_empty());
        assert_eq!(one.days.keys().collect::<Vec<_>>(), ["20261120", "20261121", "20261122"]);
        assert!(!serde_json::to_string(&told).unwrap().contains(&pair.secret));
        let mut unasked = filter::Exchange { identity: filter::Identity::default(), ..exchange() };
        again.hand_out(&mut unasked, now);
        assert!(unasked.tenants[0].pairs.is_empty(), "no source asks for signatures");

        assert_eq!(again.revoke("boto").unwrap().unwrap().access_key, pair.access_key);
        assert!(again.revoke("boto").unwrap().is_none());
        let _ = std::fs::remove_dir_all(&data);
    }

    #[test]
    fn a_days_key_is_the_first_step_of_awss_own_example() {
        // The derivation in AWS's documentation continues from this one.
        let (day, key) = day_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 1_440_938_160);
        assert_eq!(day, "20150830");
        let key = weir_pipeline::sigv4::unhex(key.as_bytes()).unwrap();
        let signing = hmac(&hmac(&hmac(&key, &[b"us-east-1"]), &[b"iam"]), &[b"aws4_request"]);
        let hex: String = signing.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }
}
