//! Credential sources, tenants, keys, labels.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sha2::{Digest, Sha256};
use weir_config::policy::{IdentitySource, Tenant};

use super::{Check, DENY, ModelNames, gateway};

/// Names that `each` and conditions have for something else.
const RESERVED_LABELS: [&str; 4] = ["tenant", "key", "model", "provider"];
/// Keys that examples use: good for one machine only.
const KNOWN_KEYS: [&str; 6] = ["key", "test", "secret", "password", "changeme", "weir"];

pub fn check(check: &mut Check<'_>, listen: Option<SocketAddr>) {
    identity(check);
    let tenants = check.policy.tenants.iter().enumerate();
    check.unique(
        "tenants",
        tenants.clone().map(|(i, tenant)| (format!("tenants[{i}].name"), tenant.name.as_str())),
    );
    let mut ids = Vec::new();
    let mut digests: BTreeMap<&str, &str> = BTreeMap::new();
    for (index, tenant) in tenants {
        let path = format!("tenants[{index}]");
        self::tenant(check, &path, tenant);
        for (index, key) in tenant.keys.iter().enumerate() {
            let path = format!("{path}.keys[{index}]");
            ids.push((format!("{path}.id"), key.id.as_str()));
            check.name(format!("{path}.id"), "key", &key.id);
            labels(check, &path, &key.labels);
            digest(check, &format!("{path}.sha256"), &key.sha256, &key.id, listen);
            if let Some(other) = digests.insert(&key.sha256, &key.id) {
                check.error(
                    format!("{path}.sha256"),
                    format!("keys `{other}` and `{}` are the same key", key.id),
                );
            }
        }
    }
    check.unique("keys", ids.into_iter());
}

fn identity(check: &mut Check<'_>) {
    let Some(identity) = &check.policy.identity else { return };
    for (index, source) in identity.from.iter().enumerate() {
        let IdentitySource::ApiKey(key) = source else { continue };
        let path = format!("identity.from[{index}].api_key");
        let header = header_name(check, format!("{path}.header"), &key.header);
        if key.scheme.as_deref().is_some_and(|scheme| !token(scheme)) {
            check.error(format!("{path}.scheme"), "not an authentication scheme");
        }
        if identity.from[..index].contains(source) {
            check.error(path, format!("header `{header}` is looked at twice"));
        }
    }
    if let Some(tenant) = identity.anonymous.as_deref().filter(|tenant| *tenant != DENY) {
        let tenants: Vec<_> = check.tenants.iter().copied().chain([DENY]).collect();
        check.known("identity.anonymous".to_owned(), "tenant", tenant, &tenants);
    }
    for (index, label) in identity.client_labels.iter().enumerate() {
        let path = format!("identity.client_labels[{index}]");
        if check.labels.contains(&label.as_str()) {
            let message = format!("label `{label}` is set by a tenant or key; clients may not set it too");
            check.error(path.clone(), message);
        }
        label_name(check, path, label);
    }
}

fn token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// A header that the policy reads; in lower case.
pub fn header_name(check: &mut Check<'_>, path: String, name: &str) -> String {
    let header = name.to_ascii_lowercase();
    if !token(&header) {
        check.error(path, format!("`{name}` is not a header name"));
    } else if header.starts_with("x-weir-") || header.starts_with("x-envoy-") {
        check.error(path, format!("header `{header}` is dropped before it is read"));
    }
    header
}

fn tenant(check: &mut Check<'_>, path: &str, tenant: &Tenant) {
    let name = &tenant.name;
    check.name(format!("{path}.name"), "tenant", name);
    if name == DENY {
        check.error(format!("{path}.name"), "the name `deny` is reserved: it refuses anonymous callers");
    }
    for (index, model) in tenant.models.iter().enumerate() {
        let path = format!("{path}.models[{index}]");
        if model != super::AUTO {
            check.model(path, model, ModelNames::Chosen);
        }
    }
    let anonymous = check.policy.identity.as_ref().and_then(|identity| identity.anonymous.as_ref());
    if tenant.models.is_empty() {
        check.warn(path, format!("tenant `{name}` may use no model")).hint = Some("add `models`".to_owned());
    } else if tenant.keys.is_empty() && tenant.workloads.is_empty() && anonymous != Some(name) {
        check.warn(path, format!("tenant `{name}` has no keys: nobody can be it"));
    }
    labels(check, path, &tenant.labels);
    let limits = tenant.limits.unwrap_or_default();
    for (field, limit) in
        [("max_input_tokens", limits.max_input_tokens), ("max_output_tokens", limits.max_output_tokens)]
    {
        if limit.is_some_and(|limit| limit.0 == 0 || limit.0 > 1 << 32) {
            check.error(format!("{path}.limits.{field}"), "must be from 1 to 4294967296 tokens");
        }
    }
}

fn labels(check: &mut Check<'_>, path: &str, labels: &BTreeMap<String, String>) {
    for (name, value) in labels {
        let path = format!("{path}.labels.{name}");
        if value.is_empty() || value.len() > 256 || value.contains(char::is_control) {
            check.error(path.clone(), format!("label `{name}` must have 1 to 256 bytes of text"));
        }
        label_name(check, path, name);
    }
}

fn label_name(check: &mut Check<'_>, path: String, name: &str) {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    if RESERVED_LABELS.contains(&name) {
        check.error(path, format!("the label name `{name}` is reserved"));
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.bytes().all(inner)
        || name.len() > 64
    {
        check.error(path, format!("`{name}` cannot name a label")).hint =
            Some("lower-case letters, digits, `-` and `_`, 64 at most, first a letter".to_owned());
    }
}

fn digest(check: &mut Check<'_>, path: &str, sha256: &str, id: &str, listen: Option<SocketAddr>) {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if sha256.len() != 64 || !sha256.bytes().all(hex) {
        check.error(path, format!("the sha256 of key `{id}` is not 64 lower-case hex digits")).hint =
            Some("printf %s KEY | sha256sum".to_owned());
        return;
    }
    let known = KNOWN_KEYS.iter().find(|known| sha256 == format!("{:x}", Sha256::digest(known)));
    if let Some(known) = known.filter(|_| gateway::is_exposed(check, listen)) {
        let message = format!("key `{id}` is \"{known}\", which everybody knows: accepted on loopback only");
        check.error(path, message);
    }
}
