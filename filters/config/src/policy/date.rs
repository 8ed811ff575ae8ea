//! A moment as a date, in the Gregorian calendar and UTC; no clock and no time zones.

#[cfg(feature = "schema")]
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::quantity::{BadQuantity, as_text, quantity};
use super::scalar;

/// A moment: `2030-01-31` (its midnight, UTC) or `2030-01-31T12:00:00Z`, kept as Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix: u64,
}

const DATE: &str = "a date such as 2030-01-31 or 2030-01-31T12:00:00Z, from 1970 to 9999";
const DAY: u64 = 86_400;

/// Days from 1970-01-01 to the first of the year, in the Gregorian calendar.
fn days_to_year(year: u64) -> u64 {
    let before = year.saturating_sub(1);
    let leaps = before / 4 - before / 100 + before / 400;
    // 719,162 days lie between 0001-01-01 and 1970-01-01.
    (before * 365 + leaps).saturating_sub(719_162)
}

fn month_lengths(year: u64) -> [u64; 12] {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn parse_day(text: &str) -> Option<u64> {
    let mut parts = text.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let lengths = month_lengths(year);
    let length = *lengths.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if parts.next().is_some() || year < 1970 || day == 0 || day > length {
        return None;
    }
    let months: u64 = lengths.iter().zip(1..month).map(|(length, _)| length).sum();
    Some(days_to_year(year) + months + day - 1)
}

fn parse_time(text: &str) -> Option<u64> {
    let mut parts = text.strip_suffix('Z')?.split(':');
    let (h, m, s) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    (parts.next().is_none() && h < 24 && m < 60 && s < 60).then_some(h * 3600 + m * 60 + s)
}

impl FromStr for Date {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
        let unix = parse_day(day).zip(parse_time(time)).map(|(day, time)| day * DAY + time);
        unix.map(|unix| Date { unix }).ok_or(BadQuantity::Form(DATE))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, time) = (self.unix / DAY, self.unix % DAY);
        // 400 years have 146,097 days: the estimate is at most one year too late or early.
        let mut year = 1970 + days * 400 / 146_097;
        while days_to_year(year) > days {
            year -= 1;
        }
        while days_to_year(year + 1) <= days {
            year += 1;
        }
        let (mut day, mut month) = (days - days_to_year(year), 1);
        for length in month_lengths(year) {
            if day < length {
                break;
            }
            day -= length;
            month += 1;
        }
        write!(f, "{year:04}-{month:02}-{:02}", day + 1)?;
        if time > 0 {
            write!(f, "T{:02}:{:02}:{:02}Z", time / 3600, time / 60 % 60, time % 60)?;
        }
        Ok(())
    }
}

as_text!(Date);
quantity!(Date, "a date such as 2030-01-31 or 2030-01-31T12:00:00Z, from 1970 to 9999", {
    "description": "A moment: 2030-01-31 (its midnight, UTC) or 2030-01-31T12:00:00Z.",
    "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$"
});
