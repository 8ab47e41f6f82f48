//! Values with units: durations, sizes, limits.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::policy::DeviceLimitRule;

/// Reads `500ms`, `90s`, `15m`, `24h`, `30d`, `2w`, `1y` (365 days). A number without a unit is refused.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let wrong = || format!("{text:?} is no duration; write a whole number and a unit: ms, s, m, h, d, w or y, as in \"24h\"");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit.trim() {
        "ms" => return Ok(Duration::from_millis(number)),
        unit => period(unit).ok_or_else(wrong)?,
    };
    let total = number.checked_mul(seconds).filter(|total| *total <= MAX_SECONDS);
    total.map(Duration::from_secs).ok_or_else(|| format!("{text:?} is longer than 100 years"))
}

/// Writes a duration as [`duration`] reads it, in the largest unit that fits.
pub fn show_duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if millis > 0 {
        return format!("{}ms", duration.as_millis());
    }
    let units = [(365 * DAY, "y"), (DAY, "d"), (3600, "h"), (60, "m")];
    match units.into_iter().find(|(unit, _)| seconds >= *unit && seconds % unit == 0) {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// Reads `24KiB`, `1MiB` or plain octets.
pub fn size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit.trim() {
        "" | "B" => Some(1),
        "KiB" => Some(1024),
        "MiB" => Some(1024 * 1024),
        _ => None,
    };
    let total = number.parse::<usize>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    total.ok_or_else(|| format!("{text:?} is no size; write octets, or a unit: KiB or MiB, as in \"24KiB\""))
}

/// Reads `3/day`, `1/hour`, `10/30d`.
pub fn limit(text: &str) -> Result<DeviceLimitRule, String> {
    let wrong = || format!("{text:?} is no limit; write a number and a period: \"3/day\", \"1/hour\", \"10/30d\"");
    let (count, per) = text.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
    let period = match per.trim() {
        "second" => Duration::from_secs(1),
        "minute" => Duration::from_secs(60),
        "hour" => Duration::from_secs(3600),
        "day" => Duration::from_secs(DAY),
        "week" => Duration::from_secs(7 * DAY),
        "year" => Duration::from_secs(365 * DAY),
        other => duration(other).map_err(|_| wrong())?,
    };
    if period.is_zero() { Err(wrong()) } else { Ok(DeviceLimitRule { count, period }) }
}

/// Reads `2027-01-10` (its beginning, UTC) or `2027-01-10T06:00:00Z`.
pub fn date(text: &str) -> Result<Timestamp, String> {
    let day = text.parse::<Date>().ok().filter(|_| text.len() == "2027-01-10".len());
    let begins = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|begins| begins.timestamp());
    begins
        .or_else(|| text.parse().ok())
        .ok_or_else(|| format!("{text:?} is no date; write \"2027-01-10\" (0:00 UTC) or \"2027-01-10T06:00:00Z\""))
}

fn period(unit: &str) -> Option<u64> {
    Some(match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => DAY,
        "w" => 7 * DAY,
        "y" => 365 * DAY,
        _ => return None,
    })
}

const DAY: u64 = 24 * 3600;

/// A hundred years: beyond the life of any certificate here, and far from where sums of times overflow.
const MAX_SECONDS: u64 = 100 * 365 * DAY;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("24h", 86_400), ("30d", 2_592_000), ("2w", 1_209_600), ("1y", 31_536_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "24", "h", "-1h", "1.5h", "1h30m", "1 fortnight", "99999999999999999999s", "101y"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for text in ["500ms", "90s", "15m", "1d", "30d", "1y", "0s"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("24KiB"), Ok(24 * 1024));
        assert_eq!(size("1 MiB"), Ok(1024 * 1024));
        assert_eq!(size("512"), Ok(512));
        for bad in ["", "KiB", "24KB", "-1", "1.5MiB", "99999999999999999999MiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits() {
        assert_eq!(limit("3/day"), Ok(DeviceLimitRule { count: 3, period: Duration::from_secs(86_400) }));
        assert_eq!(limit("10/30d").unwrap().period, Duration::from_secs(30 * 86_400));
        for bad in ["", "3", "0/day", "3/", "3/0d", "-1/day", "3/fortnight"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }
}
