//! Calendar windows by IANA time zone: which interval an instant lies in. Days have 23 or 25 hours where the clocks
//! change, months are as they are, weeks start on Monday.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::Error;

/// Length of a calendar window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// From :00 seconds.
    Minute,
    /// From :00 minutes of local time.
    Hour,
    /// From local midnight, or the first instant after it where the clocks skip it.
    Day,
    /// From Monday.
    Week,
    /// From the first of the month.
    Month,
    /// The last so many milliseconds, at any moment.
    Rolling(u64),
}

impl WindowKind {
    /// From the keyword of the policy.
    pub fn parse(keyword: &str) -> Result<WindowKind, Error> {
        Ok(match keyword {
            "minute" => WindowKind::Minute,
            "hour" => WindowKind::Hour,
            "day" => WindowKind::Day,
            "week" => WindowKind::Week,
            "month" => WindowKind::Month,
            other => WindowKind::Rolling(length(other).ok_or_else(|| Error::Window(other.to_owned()))?),
        })
    }

    /// The keyword of the window that is at most as long, for a counter whose definition is gone.
    pub(crate) fn of(window: Window) -> WindowKind {
        match window.end.saturating_sub(window.start) / 1_000 {
            0..=60 => WindowKind::Minute,
            61..=3_600 => WindowKind::Hour,
            3_601..=90_000 => WindowKind::Day,
            90_001..=700_000 => WindowKind::Week,
            _ => WindowKind::Month,
        }
    }

    /// As the policy writes it: the keyword, or a rolling window's length.
    pub fn name(self) -> String {
        match self {
            WindowKind::Minute => "minute".to_owned(),
            WindowKind::Hour => "hour".to_owned(),
            WindowKind::Day => "day".to_owned(),
            WindowKind::Week => "week".to_owned(),
            WindowKind::Month => "month".to_owned(),
            WindowKind::Rolling(ms) => {
                let unit = UNITS.iter().find(|(_, unit)| ms.is_multiple_of(*unit));
                unit.map_or_else(|| format!("{ms}ms"), |(name, unit)| format!("{}{name}", ms / unit))
            }
        }
    }
}

/// Units of a rolling window's length, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length such as `30d` or `1.5h`, in milliseconds.
fn length(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == &text[digits.len()..])?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if part.len() > 9 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let part =
        if part.is_empty() { 0 } else { part.parse::<u64>().ok()? * unit / 10u64.pow(part.len() as u32) };
    whole.checked_mul(*unit)?.checked_add(part).filter(|ms| *ms > 0)
}

/// The one interval of a rolling window.
pub(crate) const ROLLING: Window = Window { start: 1_000, end: u64::MAX };

/// A calendar: a window length in a time zone.
#[derive(Clone, Debug)]
pub struct Calendar {
    kind: WindowKind,
    zone: TimeZone,
}

/// One interval of a [`Calendar`], in Unix milliseconds: `start <= t < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First instant.
    pub start: u64,
    /// First instant of the next window.
    pub end: u64,
}

impl Window {
    /// Its number: the Unix second in which it starts. Unique, and later windows have greater ones.
    pub const fn wid(&self) -> u64 {
        self.start / 1_000
    }
}

impl Calendar {
    /// `timezone` is an IANA name.
    pub fn new(kind: WindowKind, timezone: &str) -> Result<Calendar, Error> {
        let zone = TimeZone::get(timezone).map_err(|_| Error::Timezone(timezone.to_owned()))?;
        Ok(Calendar { kind, zone })
    }

    /// The window that holds an instant in Unix milliseconds.
    pub fn at(&self, ms: u64) -> Window {
        if let WindowKind::Rolling(_) = self.kind {
            return ROLLING;
        }
        // Beyond the calendar's range (year 9999) every instant shares one window that never ends.
        self.exact(ms).unwrap_or(Window { start: 0, end: u64::MAX })
    }

    fn exact(&self, ms: u64) -> Option<Window> {
        let instant = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        let local = instant.to_zoned(self.zone.clone());
        let (start, end) = match self.kind {
            WindowKind::Rolling(_) => return Some(ROLLING),
            WindowKind::Minute => return Some(cut(ms, 60_000, 0)),
            WindowKind::Hour => return self.hour(ms, &local),
            WindowKind::Day => {
                let today = local.date();
                (self.midnight(today)?, self.midnight(today.tomorrow().ok()?)?)
            }
            WindowKind::Week => {
                let today = local.date();
                let monday =
                    today.checked_sub(i64::from(today.weekday().since(Weekday::Monday)).days()).ok()?;
                (self.midnight(monday)?, self.midnight(monday.checked_add(7.days()).ok()?)?)
            }
            WindowKind::Month => {
                let first = local.date().first_of_month();
                (self.midnight(first)?, self.midnight(first.checked_add(1.month()).ok()?)?)
            }
        };
        (start <= ms && ms < end).then_some(Window { start, end })
    }

    /// The first instant of a date.
    fn midnight(&self, date: jiff::civil::Date) -> Option<u64> {
        let start = date.to_zoned(self.zone.clone()).ok()?.start_of_day().ok()?;
        u64::try_from(start.timestamp().as_millisecond()).ok()
    }

    /// Local hours, cut where the offset changes inside one: Lord Howe shifts by half an hour.
    fn hour(&self, ms: u64, local: &Zoned) -> Option<Window> {
        let mut window = cut(ms, 3_600_000, i64::from(local.offset().seconds()) * 1_000);
        let instant = local.timestamp();
        if let Some(change) = self.zone.preceding(instant.checked_add(1.nanosecond()).ok()?).next()
            && let Ok(at) = u64::try_from(change.timestamp().as_millisecond())
        {
            window.start = window.start.max(at);
        }
        if let Some(change) = self.zone.following(instant).next()
            && let Ok(at) = u64::try_from(change.timestamp().as_millisecond())
        {
            window.end = window.end.min(at);
        }
        Some(window)
    }
}

fn cut(ms: u64, length: u64, offset: i64) -> Window {
    let into = (ms as i64 + offset).rem_euclid(length as i64) as u64;
    Window { start: ms.saturating_sub(into), end: ms.saturating_sub(into) + length }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kind: WindowKind, zone: &str, at: &str) -> (String, String) {
        let at: Timestamp = at.parse().unwrap();
        let window = Calendar::new(kind, zone).unwrap().at(at.as_millisecond() as u64);
        let show = |ms| Timestamp::from_millisecond(ms as i64).unwrap().to_string();
        (show(window.start), show(window.end))
    }

    #[test]
    fn windows_are_those_of_the_calendar() {
        use WindowKind::*;
        for (kind, zone, at, start, end) in [
            (Minute, "UTC", "2026-03-01T10:20:59.999Z", "2026-03-01T10:20:00Z", "2026-03-01T10:21:00Z"),
            (Minute, "UTC", "2026-03-01T10:21:00Z", "2026-03-01T10:21:00Z", "2026-03-01T10:22:00Z"),
            (Hour, "Asia/Kolkata", "2026-03-01T10:20:00Z", "2026-03-01T09:30:00Z", "2026-03-01T10:30:00Z"),
            (Day, "Europe/Berlin", "2026-07-01T23:00:00Z", "2026-07-01T22:00:00Z", "2026-07-02T22:00:00Z"),
            // 23 and 25 hours.
            (Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Day, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // Midnight does not exist: the day begins at 01:00.
            (Day, "America/Santiago", "2024-09-08T12:00:00Z", "2024-09-08T04:00:00Z", "2024-09-09T03:00:00Z"),
            (Week, "UTC", "2026-03-01T10:20:00Z", "2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z"),
            (Week, "UTC", "2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"),
            (Month, "UTC", "2024-02-29T10:20:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            (
                Month,
                "America/New_York",
                "2026-03-31T12:00:00Z",
                "2026-03-01T05:00:00Z",
                "2026-04-01T04:00:00Z",
            ),
            (Month, "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            // The hour that comes twice is two windows; Lord Howe's change by half an hour cuts one.
            (Hour, "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
            (Hour, "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),
            (
                Hour,
                "Australia/Lord_Howe",
                "2026-04-04T14:45:00Z",
                "2026-04-04T14:00:00Z",
                "2026-04-04T15:00:00Z",
            ),
            (
                Hour,
                "Australia/Lord_Howe",
                "2026-04-04T15:10:00Z",
                "2026-04-04T15:00:00Z",
                "2026-04-04T15:30:00Z",
            ),
        ] {
            assert_eq!(window(kind, zone, at), (start.into(), end.into()), "{kind:?} {zone} {at}");
        }
    }

    #[test]
    fn windows_follow_one_another_without_gap_or_overlap() {
        use WindowKind::*;
        for zone in [
            "UTC",
            "Europe/Berlin",
            "America/Santiago",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
            "Africa/Cairo",
        ] {
            for (kind, count) in [(Hour, 9_000), (Day, 800), (Week, 120), (Month, 40)] {
                let calendar = Calendar::new(kind, zone).unwrap();
                let mut window = calendar.at(1_767_225_600_000);
                for _ in 0..count {
                    assert!(window.start < window.end);
                    let next = calendar.at(window.end);
                    assert_eq!(next.start, window.end, "{kind:?} in {zone}");
                    assert_eq!(calendar.at(window.end - 1), window, "{kind:?} in {zone}");
                    assert!(next.wid() > window.wid());
                    window = next;
                }
            }
        }
    }

    #[test]
    fn a_rolling_window_is_named_by_its_length() {
        for (text, ms, name) in [
            ("30d", 2_592_000_000, "30d"),
            ("90m", 5_400_000, "90m"),
            ("1.5h", 5_400_000, "90m"),
            ("1500ms", 1_500, "1500ms"),
            ("24h", 86_400_000, "1d"),
        ] {
            let kind = WindowKind::parse(text).unwrap();
            assert_eq!((kind, kind.name().as_str()), (WindowKind::Rolling(ms), name));
            assert_eq!(WindowKind::parse(name).unwrap(), kind);
        }
    }

    #[test]
    fn unknown_names_are_errors() {
        assert!(matches!(Calendar::new(WindowKind::Day, "Mars/Olympus"), Err(Error::Timezone(_))));
        for bad in ["fortnight", "", "d", "0d", "5", "1.x h", "-1h", "99999999999999999999d"] {
            assert!(matches!(WindowKind::parse(bad), Err(Error::Window(_))), "{bad}");
        }
    }
}
