//! Times in certificates and CRLs (RFC 5280 section 4.1.2.5).

use jiff::Timestamp;
use jiff::civil::Date;

use super::X509Error;
use super::tlv::{Tlv, encode, tag};

/// The last second that GeneralizedTime can say: "no well-defined expiration" (RFC 5280 section 4.1.2.5).
const NO_EXPIRATION: &str = "99991231235959Z";

/// Reads UTCTime or GeneralizedTime, with or without seconds, fraction and offset. What lies beyond our calendar is its last moment.
pub(crate) fn read(value: &Tlv<'_>) -> Result<Timestamp, X509Error> {
    let year_digits = match value.tag {
        tag::UTC_TIME => 2,
        tag::GENERALIZED_TIME => 4,
        _ => return Err(value.error("a time was expected")),
    };
    parse(value.value, year_digits).ok_or_else(|| value.error("not a time"))
}

fn parse(text: &[u8], year_digits: usize) -> Option<Timestamp> {
    let (year, mut rest) = digits(text, year_digits)?;
    let year = match year_digits {
        2 if year < 50 => year + 2000,
        2 => year + 1900,
        _ => year,
    };
    let mut next = || {
        let (number, after) = digits(rest, 2)?;
        rest = after;
        Some(number)
    };
    let (month, day, hour, minute) = (next()?, next()?, next()?, next()?);
    let second = next().unwrap_or(0).min(59);
    if let Some((b'.' | b',', fraction)) = rest.split_first() {
        let end = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        rest = &fraction[end..];
    }
    let offset_seconds = match rest.split_first() {
        Some((b'Z', [])) | None => 0,
        Some((sign @ (b'+' | b'-'), offset)) => {
            let (hours, offset) = digits(offset, 2)?;
            let (minutes, end) = digits(offset, 2)?;
            let seconds = (hours * 60 + minutes) * 60;
            if !end.is_empty() {
                return None;
            }
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    if !(0..24).contains(&hour) || minute > 59 {
        return None;
    }
    let date = Date::new(year as i16, month as i8, day as i8).ok()?;
    let days = i64::from(date.since(Date::new(1970, 1, 1).ok()?).ok()?.get_days());
    let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second - offset_seconds);
    Some(Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX }))
}

fn digits(text: &[u8], count: usize) -> Option<(i32, &[u8])> {
    let (number, rest) = text.split_at_checked(count)?;
    let number = number.iter().try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + i32::from(d - b'0')))?;
    Some((number, rest))
}

/// Writes a time: UTCTime from 1950 to 2049, GeneralizedTime before and after (RFC 5280 section 4.1.2.5). The last moment of our
/// calendar is written as 99991231235959Z.
pub(crate) fn encode_time(time: Timestamp) -> Vec<u8> {
    if time.as_second() == Timestamp::MAX.as_second() {
        return encode(tag::GENERALIZED_TIME, &[NO_EXPIRATION]);
    }
    let civil = jiff::tz::Offset::UTC.to_datetime(time);
    let rest = format!("{:02}{:02}{:02}{:02}{:02}Z", civil.month(), civil.day(), civil.hour(), civil.minute(), civil.second());
    match civil.year() {
        year @ 1950..=2049 => encode(tag::UTC_TIME, &[format!("{:02}{rest}", year % 100)]),
        year => encode(tag::GENERALIZED_TIME, &[format!("{:04}{rest}", year.max(0))]),
    }
}

/// Writes GeneralizedTime whatever the year, as messages have it that are no certificates (RFC 9810 section 5.1.1).
pub(crate) fn encode_generalized(time: Timestamp) -> Vec<u8> {
    let civil = jiff::tz::Offset::UTC.to_datetime(time);
    let date = format!("{:04}{:02}{:02}", civil.year().max(0), civil.month(), civil.day());
    let rest = format!("{:02}{:02}{:02}Z", civil.hour(), civil.minute(), civil.second());
    encode(tag::GENERALIZED_TIME, &[date, rest])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::tlv::Reader;

    fn read_text(tag: u8, text: &str) -> Option<String> {
        let encoded = encode(tag, &[text]);
        read(&Reader::new("time", &encoded).any().unwrap()).ok().map(|t| t.to_string())
    }

    #[test]
    fn times_in_all_spellings() {
        for (tag, text, expected) in [
            (tag::UTC_TIME, "491231235959Z", "2049-12-31T23:59:59Z"),
            (tag::UTC_TIME, "500101000000Z", "1950-01-01T00:00:00Z"),
            (tag::UTC_TIME, "2401010000Z", "2024-01-01T00:00:00Z"),
            (tag::UTC_TIME, "240101000000+0100", "2023-12-31T23:00:00Z"),
            (tag::GENERALIZED_TIME, "21240229120000Z", "2124-02-29T12:00:00Z"),
            (tag::GENERALIZED_TIME, "20240101000000.25Z", "2024-01-01T00:00:00Z"),
        ] {
            assert_eq!(read_text(tag, text).as_deref(), Some(expected), "{text}");
        }
        for bad in ["", "2401", "241301000000Z", "240101250000Z", "240101000000X", "24010100000éZ"] {
            assert_eq!(read_text(tag::UTC_TIME, bad), None, "{bad}");
        }
    }

    #[test]
    fn the_end_of_time_is_kept() {
        let encoded = encode(tag::GENERALIZED_TIME, &[NO_EXPIRATION]);
        let time = read(&Reader::new("time", &encoded).any().unwrap()).unwrap();
        assert_eq!(time, Timestamp::MAX);
        assert_eq!(encode_time(time), encoded);
    }

    #[test]
    fn utc_time_until_2049() {
        let at = |text: &str| encode_time(text.parse().unwrap());
        assert_eq!(at("2049-12-31T23:59:59Z"), b"\x17\x0d491231235959Z");
        assert_eq!(at("2050-01-01T00:00:00Z"), b"\x18\x0f20500101000000Z");
    }

    #[test]
    fn generalized_time_in_any_year() {
        let encoded = encode_generalized("2026-01-02T03:04:05.9Z".parse().unwrap());
        assert_eq!(encoded, b"\x18\x0f20260102030405Z");
    }
}
