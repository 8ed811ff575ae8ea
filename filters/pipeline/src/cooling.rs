//! Targets that throttle, left alone for a while: by the provider's word where it gave one, else for a moment. One table
//! for all workers of a process, in shared data, so that what one learned none of them has to learn again.
//!
//! Bounded: a fixed number of targets; the one that is free again first makes room.

use weir_lease::SharedData;
use weir_sorted::{Gather, trim};
use weir_wire::number;

use crate::io::{Headers, Now};
use crate::learned::cell;
use crate::shared;

/// Where it lies in shared data.
const KEY: &str = "weir/1/cool";
/// Targets that are remembered.
const MOST: usize = 64;
/// How long a target is left alone that says nothing, in nanoseconds.
const MOMENT: u64 = 1_000_000_000;
/// The longest that a provider's word is taken for, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;
const SECOND: f64 = 1e9;

/// A target that throttles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cool {
    /// See [`target`].
    pub target: u64,
    /// Nanoseconds of the host's clock.
    pub until: u64,
    /// The provider said so; else it is a guess, which refuses nobody.
    pub told: bool,
}

/// The number of a target.
pub fn target(provider: &str, model: &str) -> u64 {
    cell(provider, model, false, 0)
}

/// How long a throttling answer asks to be left alone.
pub fn asked(target: u64, headers: &Headers<'_>, now: Now) -> Cool {
    let asked = |name: &str| headers.get(name).and_then(|value| number(trim(value)));
    let wait = asked("retry-after-ms")
        .map(|ms| ms * 1e6)
        .or_else(|| asked("retry-after").map(|seconds| seconds * SECOND))
        .or_else(|| {
            let date = date(headers.get("retry-after")?)?;
            Some(date.saturating_sub(now.seconds()) as f64 * SECOND)
        })
        .filter(|wait| *wait >= 0.0);
    let told = wait.is_some();
    // A number of no size is cut off by the conversion.
    let wait = wait.map_or(MOMENT, |wait| (wait as u64).min(LONGEST));
    Cool { target, until: now.0.saturating_add(wait), told }
}

/// Seconds since the Unix epoch of `Sun, 06 Nov 1994 08:49:37 GMT`, the form that RFC 9110 §5.6.7 wants sent.
fn date(text: &str) -> Option<u64> {
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut parts = text.get(5..)?.split([' ', ':']);
    let mut next = || parts.next();
    let day: u64 = next()?.parse().ok()?;
    let month = next()?;
    let month = MONTHS.chunks(3).position(|name| name == month.as_bytes())? as u64;
    let year: u64 = next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut time = 0;
    for most in [24, 60, 61] {
        time = time * 60 + next()?.parse::<u64>().ok().filter(|part| *part < most)?;
    }
    // Months counted from March, so that the leap day is the last of a year.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    days.checked_sub(719_469)?.checked_mul(86_400)?.checked_add(time)
}

/// The targets that are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cooling(Vec<Cool>);

impl Cooling {
    /// As the process knows it.
    pub fn read(store: &mut dyn SharedData) -> Self {
        store.get(KEY).map(|(bytes, _)| Self::decode(&bytes)).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Self {
        let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let one = |bytes: &[u8]| Cool {
            target: word(bytes),
            until: word(bytes.get(8..).unwrap_or_default()),
            told: bytes.get(16) == Some(&1),
        };
        Self(bytes.chunks_exact(17).map(one).gather())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(17 * self.0.len());
        for one in &self.0 {
            out.extend_from_slice(&one.target.to_le_bytes());
            out.extend_from_slice(&one.until.to_le_bytes());
            out.push(u8::from(one.told));
        }
        out
    }

    /// What is known of a target that is to be left alone now.
    pub fn of(&self, provider: &str, model: &str, now: Now) -> Option<Cool> {
        if self.0.is_empty() {
            return None;
        }
        let target = target(provider, model);
        self.0.iter().find(|one| one.target == target && one.until > now.0).copied()
    }

    /// Takes in one more. A guess never takes the place of the provider's word.
    pub fn put(&mut self, cool: Cool, now: Now) {
        weir_sorted::keep(&mut self.0, |one| one.until > now.0);
        match self.0.iter_mut().find(|one| one.target == cool.target) {
            Some(one) if one.told && !cool.told => {}
            Some(one) => *one = cool,
            None => {
                if self.0.len() >= MOST
                    && let Some(first) = self.0.iter().enumerate().min_by_key(|(_, one)| one.until)
                {
                    let at = first.0;
                    self.0.swap_remove(at);
                }
                self.0.push(cool);
            }
        }
    }
}

/// Tells the process.
pub fn tell(store: &mut dyn SharedData, cool: Cool, now: Now) {
    shared::change(store, KEY, &mut |bytes| {
        let mut all = Cooling::decode(bytes);
        all.put(cool, now);
        Some(all.encode())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now(784_111_777_000_000_000);

    fn wait(fields: &[(&str, &str)]) -> (u64, bool) {
        let fields: Vec<_> = fields.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
        let cool = asked(1, &Headers(&fields), NOW);
        ((cool.until - NOW.0) / 1_000_000, cool.told)
    }

    #[test]
    fn a_provider_says_how_long_in_milliseconds_seconds_or_by_a_date() {
        assert_eq!(wait(&[("retry-after-ms", "1500")]), (1500, true));
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "250.5")]), (250, true));
        assert_eq!(wait(&[("retry-after", "7")]), (7000, true));
        assert_eq!(wait(&[("retry-after", "0.5")]), (500, true));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:38 GMT")]), (1000, true));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT")]), (0, true), "in the past");
        assert_eq!(wait(&[("retry-after", "1e30")]), (3_600_000, true), "an hour at most");
        for nonsense in ["", "soon", "-1", "NaN", "Sun, 06 Nov", "Sun, 06 Xyz 1994 08:49:37 GMT", "é, é é é"]
        {
            assert_eq!(wait(&[("retry-after", nonsense)]), (1000, false), "{nonsense}");
        }
        assert_eq!(wait(&[]), (1000, false));
    }

    /// Against a calendar walked day by day.
    #[test]
    fn dates_of_two_centuries_are_their_seconds() {
        const NAMES: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let mut days = 0u64;
        for year in 1970..2200u64 {
            let leap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
            for (month, name) in NAMES.iter().enumerate() {
                let length = match month {
                    1 if leap => 29,
                    1 => 28,
                    3 | 5 | 8 | 10 => 30,
                    _ => 31,
                };
                for day in 1..=length {
                    let text = format!("Mon, {day:02} {name} {year} 01:02:03 GMT");
                    assert_eq!(date(&text), Some(days * 86_400 + 3723), "{text}");
                    days += 1;
                }
            }
        }
    }

    #[test]
    fn the_table_is_bounded_and_a_guess_does_not_shorten_the_providers_word() {
        let mut all = Cooling::default();
        let cool = |target, until, told| Cool { target, until: NOW.0 + until, told };
        let own = target("gpu", "m");
        all.put(cool(own, 100, true), NOW);
        all.put(cool(own, 900, false), NOW);
        assert_eq!(all.of("gpu", "m", NOW), Some(cool(own, 100, true)));
        assert_eq!(all.of("gpu", "other", NOW), None);
        assert_eq!(all.of("gpu", "m", Now(NOW.0 + 100)), None, "it is over");
        for target in 0..200 {
            all.put(cool(target, 200 + target, false), NOW);
        }
        assert_eq!(all.0.len(), MOST);
        assert_eq!(Cooling::decode(&all.encode()), all);
        assert_eq!(Cooling::decode(b"damage"), Cooling::default());
        all.put(cool(7, 5000, true), Now(NOW.0 + 1000));
        assert_eq!(all.0.len(), 1, "what is over makes room");
    }
}
