//! Numbers with units as people write them, read into integers without a float on the way.
//!
//! Each type prints in a form that reads back as the same value.

#[cfg(feature = "schema")]
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::scalar;

/// Why a quantity could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadQuantity {
    /// Not of the form that the type takes; what it takes.
    Form(&'static str),
    /// Does not fit the integer that holds it.
    TooLarge,
    /// More decimal places than the unit has; how many it has.
    TooFine(u32),
}

impl fmt::Display for BadQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadQuantity::Form(expected) => write!(f, "expected {expected}"),
            BadQuantity::TooLarge => f.write_str("the number is too large"),
            BadQuantity::TooFine(places) => write!(f, "at most {places} decimal places"),
        }
    }
}

impl std::error::Error for BadQuantity {}

/// Reads `12` or `12.5` as an integer of 10^-`places`, at most 9 places.
fn wide(text: &str, places: u32, expected: &'static str) -> Result<u128, BadQuantity> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || text.ends_with('.') || !digits(whole) || !digits(fraction) {
        return Err(BadQuantity::Form(expected));
    }
    let fraction = fraction.trim_end_matches('0');
    let given = u32::try_from(fraction.len()).map_err(|_| BadQuantity::TooFine(places))?;
    let missing = places.checked_sub(given).ok_or(BadQuantity::TooFine(places))?;
    let parse = |part: &str| match part {
        "" => Ok(0),
        part => part.parse::<u64>().map(u128::from).map_err(|_| BadQuantity::TooLarge),
    };
    // Below 2^64 × 10^9 + 10^9, which u128 holds.
    Ok(parse(whole)? * 10u128.pow(places) + parse(fraction)? * 10u128.pow(missing))
}

fn fixed(text: &str, places: u32, expected: &'static str) -> Result<u64, BadQuantity> {
    u64::try_from(wide(text, places, expected)?).map_err(|_| BadQuantity::TooLarge)
}

/// Prints an integer of 10^-`places` as a decimal without trailing zeros.
fn print_fixed(f: &mut fmt::Formatter<'_>, value: u64, places: u32) -> fmt::Result {
    let scale = 10u64.saturating_pow(places).max(1);
    let (whole, fraction) = (value / scale, value % scale);
    if fraction == 0 {
        return write!(f, "{whole}");
    }
    let digits = format!("{fraction:0>width$}", width = places as usize);
    write!(f, "{whole}.{}", digits.trim_end_matches('0'))
}

/// Reads `NUMBER UNIT` where the unit is one of a table of (suffix, factor), longest suffixes first.
fn with_unit(text: &str, units: &[(&str, u64)], expected: &'static str) -> Result<u64, BadQuantity> {
    let unit =
        units.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor)));
    let (number, factor) = unit.ok_or(BadQuantity::Form(expected))?;
    // Nine places hold any sensible fraction and leave room in u128 for factors below 2^34.
    let nano = wide(number, 9, expected)? * u128::from(factor);
    if nano % 1_000_000_000 != 0 {
        return Err(BadQuantity::Form(expected));
    }
    u64::try_from(nano / 1_000_000_000).map_err(|_| BadQuantity::TooLarge)
}

macro_rules! quantity {
    ($name:ident, $expected:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = scalar::text(from, $expected)?;
                text.parse().map_err(|bad| de::Error::custom(format_args!("bad value `{text}`: {bad}")))
            }
        }

        #[cfg(feature = "schema")]
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    };
}

/// How many: `500`, `200k` (thousands), `2M` (millions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

const COUNT: &str = "a count such as 500, 200k or 2M";

impl FromStr for Count {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        with_unit(text, &[("k", 1_000), ("M", 1_000_000), ("", 1)], COUNT).map(Count)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.0)
    }
}

quantity!(Count, "a count such as 500, 200k or 2M", {
    "description": "How many: 500, 200k (thousands), 2M (millions).",
    "type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+(\\.[0-9]+)?[kM]?$"
});

/// Bytes: `4096`, `64KiB`, `32MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZE: &str = "a size such as 64KiB, 32MiB or 1GiB";
const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl FromStr for Size {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        with_unit(text, &SIZES, SIZE).or_else(|_| with_unit(text, &[("", 1)], SIZE)).map(Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_unit(f, self.0, &SIZES, "")
    }
}

/// Prints in the largest unit of the table that divides the value, else with the `small` one.
fn print_unit(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)], small: &str) -> fmt::Result {
    match units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}{small}"),
    }
}

as_text!(Size);
quantity!(Size, "a size such as 64KiB, 32MiB or 1GiB", {
    "description": "Bytes: 4096, 64KiB, 32MiB, 1GiB.",
    "type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+(\\.[0-9]+)?(KiB|MiB|GiB)?$"
});

/// Milliseconds, written with a unit: `250ms`, `30s`, `10m`, `24h`, `30d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Milliseconds.
    pub ms: u64,
}

const DURATION: &str = "a duration with its unit, such as 250ms, 30s, 10m, 24h or 30d";
const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Duration {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        with_unit(text, &DURATIONS, DURATION).map(|ms| Duration { ms })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, s, m, h, d] = DURATIONS;
        print_unit(f, self.ms, &[d, h, m, s], "ms")
    }
}

as_text!(Duration);
quantity!(Duration, "a duration with its unit, such as 250ms, 30s, 10m, 24h or 30d", {
    "description": "A duration with its unit: 250ms, 30s, 10m, 24h, 30d.",
    "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$"
});

/// Hundredths of a percent, written `20%` or `0.5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    /// Hundredths of a percent: 10,000 is all.
    pub hundredths: u64,
}

const PERCENT: &str = "a percentage such as 20% or 0.5%";

impl FromStr for Percent {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let number = text.strip_suffix('%').ok_or(BadQuantity::Form(PERCENT))?;
        fixed(number, 2, PERCENT).map(|hundredths| Percent { hundredths })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_fixed(f, self.hundredths, 2)?;
        f.write_str("%")
    }
}

as_text!(Percent);
quantity!(Percent, "a percentage such as 20% or 0.5%", {
    "description": "A percentage: 20%, 0.5%.", "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,2})?%$"
});

/// A price: exact USD per 1,000,000 tokens, kept as pico-USD (10⁻¹² USD) per token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsdPerMillion {
    /// Pico-USD per token: 1 USD per million tokens is 1,000,000.
    pub pico: u64,
}

const PRICE: &str = "USD per 1M tokens as a plain decimal such as 0.03 or 15";

impl FromStr for UsdPerMillion {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        fixed(text, 6, PRICE).map(|pico| UsdPerMillion { pico })
    }
}

impl fmt::Display for UsdPerMillion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_fixed(f, self.pico, 6)
    }
}

as_text!(UsdPerMillion);
quantity!(UsdPerMillion, "USD per 1M tokens as a plain decimal such as 0.03 or 15", {
    "description": "Exact USD per 1M tokens, at most 6 decimal places.",
    "type": ["number", "string"], "minimum": 0, "pattern": "^[0-9]+(\\.[0-9]+)?$"
});

/// An amount of money: exact USD, kept as nano-USD (10⁻⁹ USD).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd {
    /// Nano-USD.
    pub nano: u64,
}

const USD: &str = "an amount of USD as a plain decimal such as 250 or 0.5";

impl FromStr for Usd {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        fixed(text, 9, USD).map(|nano| Usd { nano })
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_fixed(f, self.nano, 9)
    }
}

as_text!(Usd);
quantity!(Usd, "an amount of USD as a plain decimal such as 250 or 0.5", {
    "description": "Exact USD, at most 9 decimal places.",
    "type": ["number", "string"], "minimum": 0, "pattern": "^[0-9]+(\\.[0-9]+)?$"
});

pub(super) use {as_text, quantity};
