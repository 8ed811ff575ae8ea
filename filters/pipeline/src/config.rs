//! The filters' configuration read from JSON: what serde would read, in a tenth of its machine code.
//!
//! Strict as the types themselves: an unknown field, a value of another type or an unknown word is an error that names
//! the path; a missing field is its default. Stricter than serde in what nobody writes: a struct is an object and
//! never an array, a word is a string, a key is given once. The module is compiled at Envoy's start, and serde makes a
//! parser of its own for every struct; here every struct is a table of its fields behind one `dyn` reader.

use std::fmt;

use weir_config::filter::{
    Action, Analyzer, Attempt, Attempts, Boundary, Budget, Decisions, Exchange, Identity, Key, KeyPair,
    KeySource, Ledger, LedgerLost, Limits, List, Mirror, Model, Price, Provider, ProviderKind, Redaction,
    Retry, Route, ShowHeaders, Target, Telemetry, Tenant, Tier, UnknownPaths, When,
};
use weir_sorted::Map;
use weir_wire::json::{self, Value};

/// Why a configuration cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Where, as in `tenants[0].keys[1].id`; empty for the whole document.
    pub path: String,
    /// What is wrong there.
    pub what: What,
}

/// What is wrong in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The text is no JSON document.
    Json(json::Error),
    /// A field that does not exist.
    Unknown,
    /// A value that must be this.
    Not(&'static str),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Json(error) => return error.fmt(f),
            What::Unknown => f.write_str("unknown field `")?,
            What::Not(_) => f.write_str("`")?,
        }
        f.write_str(&self.path)?;
        f.write_str("`")?;
        match self.what {
            What::Not(expected) => {
                f.write_str(" must be ")?;
                f.write_str(expected)
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads what an `exchange` filter is given.
pub fn exchange(text: &[u8]) -> Result<Exchange, ReadError> {
    let mut config = Exchange::EMPTY;
    document(text, &mut config)?;
    Ok(config)
}

/// Reads what an `attempt` filter is given.
pub fn attempt(text: &[u8]) -> Result<Attempt, ReadError> {
    let mut config = Attempt::EMPTY;
    document(text, &mut config)?;
    Ok(config)
}

/// Reads what an `attempts` filter is given.
pub fn attempts(text: &[u8]) -> Result<Attempts, ReadError> {
    let mut config = Attempts::EMPTY;
    document(text, &mut config)?;
    Ok(config)
}

fn document(text: &[u8], into: &mut dyn Read) -> Result<(), ReadError> {
    let doc = json::parse(text, &json::Limits::default())
        .map_err(|error| ReadError { path: String::new(), what: What::Json(error) })?;
    into.read(doc.root())
}

/// A place that takes a value; it holds its default before.
trait Read {
    fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError>;
}

/// Its default as data: copied from a table, where `default` is code that writes each field of it.
trait Empty: Sized {
    const EMPTY: Self;
}

impl Empty for String {
    const EMPTY: Self = Self::new();
}

impl Empty for bool {
    const EMPTY: Self = false;
}

impl Empty for u64 {
    const EMPTY: Self = 0;
}

impl Empty for u32 {
    const EMPTY: Self = 0;
}

impl<T> Empty for Option<T> {
    const EMPTY: Self = None;
}

impl<T> Empty for Vec<T> {
    const EMPTY: Self = Self::new();
}

impl<K: Ord, T> Empty for Map<K, T> {
    const EMPTY: Self = Self::new();
}

/// Something that holds others of one type.
trait Holder {
    /// A new place, under a name where places have names.
    fn place(&mut self, name: &str) -> Option<&mut dyn Read>;
}

fn not(expected: &'static str) -> ReadError {
    ReadError { path: String::new(), what: What::Not(expected) }
}

impl ReadError {
    /// The error as seen from one level above.
    fn below(mut self, name: &str) -> Self {
        if !self.path.is_empty() && !self.path.starts_with('[') {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, name);
        self
    }
}

/// A struct with named fields.
trait Fields {
    /// The place of a field by its number. The first one stands for all that do not exist: so the compiler makes two
    /// tables of this, of places and of readers, and no code for each field.
    fn field(&mut self, at: usize) -> &mut dyn Read;
}

/// A struct, and the names of its fields in their order.
#[inline(never)]
fn object(value: Value<'_, '_>, names: &[&str], fields: &mut dyn Fields) -> Result<(), ReadError> {
    if value.kind() != json::Kind::Object {
        return Err(not("an object"));
    }
    for (key, value) in value.members() {
        let read = match names.iter().position(|name| key.is(name)) {
            Some(at) => fields.field(at).read(value),
            None => Err(ReadError { path: String::new(), what: What::Unknown }),
        };
        read.map_err(|error| error.below(&key.as_str()))?;
    }
    Ok(())
}

fn array(value: Value<'_, '_>, into: &mut dyn Holder) -> Result<(), ReadError> {
    if value.kind() != json::Kind::Array {
        return Err(not("an array"));
    }
    for (at, value) in value.items().enumerate() {
        if let Some(place) = into.place("") {
            place.read(value).map_err(|error| error.below(&format!("[{at}]")))?;
        }
    }
    Ok(())
}

fn map(value: Value<'_, '_>, into: &mut dyn Holder) -> Result<(), ReadError> {
    if value.kind() != json::Kind::Object {
        return Err(not("an object"));
    }
    for (key, value) in value.members() {
        let name = key.as_str();
        if let Some(place) = into.place(&name) {
            place.read(value).map_err(|error| error.below(&name))?;
        }
    }
    Ok(())
}

impl Read for String {
    fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError> {
        *self = value.as_str().ok_or(not("a string"))?.into_owned();
        Ok(())
    }
}

impl Read for bool {
    fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError> {
        *self = value.as_bool().ok_or(not("true or false"))?;
        Ok(())
    }
}

impl Read for u64 {
    fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError> {
        *self = value.as_u64().ok_or(not("a whole number from 0"))?;
        Ok(())
    }
}

impl Read for u32 {
    fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError> {
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        *self = number.ok_or(not("a whole number from 0 to 4294967295"))?;
        Ok(())
    }
}

impl<T: Read + Empty> Read for Option<T> {
    fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError> {
        if value.is_null() {
            return Ok(());
        }
        self.get_or_insert(T::EMPTY).read(value)
    }
}

impl<T: Read + Empty> Read for Vec<T> {
    fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError> {
        array(value, self)
    }
}

impl<T: Read + Empty> Holder for Vec<T> {
    fn place(&mut self, _name: &str) -> Option<&mut dyn Read> {
        self.push(T::EMPTY);
        self.last_mut().map(|place| place as &mut dyn Read)
    }
}

impl<T: Read + Empty> Read for Map<String, T> {
    fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError> {
        map(value, self)
    }
}

impl<T: Read + Empty> Holder for Map<String, T> {
    fn place(&mut self, name: &str) -> Option<&mut dyn Read> {
        self.insert(name.to_owned(), T::EMPTY);
        self.get_mut(name).map(|place| place as &mut dyn Read)
    }
}

/// The fields of structs. One that is missing here does not compile.
macro_rules! structs {
    ($($name:ident { $first:ident $(, $field:ident)* })+) => {$(
        impl Read for $name {
            fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError> {
                object(value, &[stringify!($first) $(, stringify!($field))*], self)
            }
        }

        impl Empty for $name {
            const EMPTY: Self = Self { $first: Empty::EMPTY $(, $field: Empty::EMPTY)* };
        }

        impl Fields for $name {
            fn field(&mut self, at: usize) -> &mut dyn Read {
                #[allow(non_camel_case_types, dead_code, reason = "they number the fields")]
                enum Number { $first $(, $field)* }
                let Self { $first $(, $field)* } = self;
                match at {
                    $(at if at == Number::$field as usize => $field,)*
                    _ => $first,
                }
            }
        }
    )+};
}

/// The words of enums. One that is missing here does not compile.
macro_rules! words {
    ($($name:ident: $default:ident { $($word:literal = $variant:ident),+ })+) => {$(
        impl Empty for $name {
            const EMPTY: Self = Self::$default;
        }

        impl Read for $name {
            fn read(&mut self, value: Value<'_, '_>) -> Result<(), ReadError> {
                const WORDS: &[&str] = &[$($word),+];
                const VALUES: &[$name] = &[$($name::$variant),+];
                const _: fn($name) = |value| match value { $($name::$variant => {})+ };
                const EXPECTED: &str = one_of!($($word),+);
                let at = word(value, WORDS).ok_or(not(EXPECTED))?;
                *self = VALUES.get(at).copied().unwrap_or(Self::EMPTY);
                Ok(())
            }
        }
    )+};
}

macro_rules! one_of {
    ($first:literal $(, $word:literal)+) => { concat!("one of `", $first, "`", $(", `", $word, "`"),+) };
}

fn word(value: Value<'_, '_>, words: &[&str]) -> Option<usize> {
    words.iter().position(|word| value.is_str(word))
}

structs! {
    Exchange {
        version, max_body, request_timeout_ms, unknown_paths, headers, identity, client_labels, tenants, providers, lists,
        models, boundaries, routes, retry, budgets, ledger, redaction, analyzers, telemetry
    }
    Identity { from, anonymous }
    KeySource { header, scheme }
    Tenant { name, keys, pairs, models, labels, limits, digest_key, user_key }
    Key { id, sha256, labels, expires }
    KeyPair { id, access_key, days, labels, expires }
    Limits { max_input_tokens, max_output_tokens }
    Provider { name, kind, region, cluster, stops, tenants }
    List { cluster, providers }
    Model { name, aliases, targets }
    Target { provider, model, priority, weight, tokenizer, learned, invoke, context, supports, price, tiers }
    Tier { name, price }
    Price { input_pico, output_pico, cache_read_pico, cache_write_pico, reasoning_pico }
    When { tenant, key, model, labels, found }
    Boundary { name, when, providers, regions }
    Route { name, when, model, fallback, mirror }
    Mirror { provider, model, percent }
    Retry { tries, on, first_byte_ms, stall_ms, budget }
    Budget {
        name, when, each, tokens, requests, usd_nano, window, definition, ledger_lost, soft, min_output, exceeded, unbounded,
        progressive, wait_ms
    }
    Ledger { cluster }
    Redaction { name, when, find, words, patterns, action, request, response, pass }
    Analyzer { name, when, cluster, authority, path, region, rest, types, action, timeout_ms, max_text, parallel, pass }
    Telemetry { otlp_cluster, otlp_http, sample, sample_above, labels, count, content, user_header, retrieval, decisions }
    Decisions { cluster, when, deny }
    Attempt { provider, kind, authority, path_prefix, authorization }
    Attempts { providers }
}

words! {
    UnknownPaths: Deny { "deny" = Deny, "pass" = Pass }
    ShowHeaders: Ids { "none" = None, "ids" = Ids, "reasons" = Reasons }
    ProviderKind: Vllm { "vllm" = Vllm, "openai" = Openai, "bedrock" = Bedrock, "anthropic" = Anthropic, "bedrock_openai" = BedrockOpenai }
    LedgerLost: Deny { "deny" = Deny, "allow_local" = AllowLocal }
    Action: Tokenize { "report" = Report, "tokenize" = Tokenize, "hash" = Hash, "mask" = Mask, "block" = Block }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! empty_is_default {
        ($($name:ident)+) => {$( assert_eq!($name::EMPTY, $name::default()); )+};
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        empty_is_default! {
            Exchange Identity KeySource Tenant Key KeyPair Limits Provider List Model Target Tier Price When Boundary Route
            Mirror Retry Budget Ledger Redaction Analyzer Telemetry Decisions Attempt Attempts UnknownPaths ShowHeaders
            ProviderKind LedgerLost Action
        }
    }
}
