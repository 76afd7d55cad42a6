//! The times in the record: RFC 3339 text, and microseconds since the Unix epoch.
//!
//! A Lease has exactly six fractional digits, so the unit is a microsecond; a finer time is refused, not rounded. Dates
//! follow the proleptic Gregorian calendar, as in RFC 3339.

/// `0001-01-01T00:00:00.000000Z`, the earliest supported time.
pub const MIN: i64 = -62_135_596_800_000_000;

/// `9999-12-31T23:59:59.999999Z`, the latest supported time.
pub const MAX: i64 = 253_402_300_799_999_999;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Formats microseconds since the Unix epoch as `2026-01-01T00:00:00.000000Z`, always with six digits and in UTC.
///
/// A time outside [`MIN`] to [`MAX`] is clamped.
pub fn format(micros: i64) -> String {
    let micros = micros.clamp(MIN, MAX);
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    let (year, month, day) = date_of(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// Parses an RFC 3339 time into microseconds since the Unix epoch.
///
/// `None` if the text is not an RFC 3339 time, if its date or time of day does not exist (such as a leap second), if it
/// is finer than a microsecond, or if it is outside [`MIN`] to [`MAX`] in UTC.
pub fn parse(text: &str) -> Option<i64> {
    let (date_and_time, rest) = text.as_bytes().split_at_checked(19)?;
    let (fraction, zone) = fraction(rest)?;
    let seconds = seconds(date_and_time)? - offset(zone)?;
    let micros = seconds * MICROS_PER_SECOND + fraction;
    (MIN..=MAX).contains(&micros).then_some(micros)
}

/// Seconds since the epoch at `2026-01-01T00:00:00`, interpreted as UTC.
fn seconds(text: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't', time @ ..] = text else { return None };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = time else { return None };
    let year = digits(&[*y1, *y2, *y3, *y4])?;
    let month = within(1..=12, &[*m1, *m2])?;
    let day = within(1..=days_in_month(year, month), &[*d1, *d2])?;
    let hour = within(0..=23, &[*h1, *h2])?;
    let minute = within(0..=59, &[*n1, *n2])?;
    let second = within(0..=59, &[*s1, *s2])?;
    Some(days_to(year, month, day) * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second)
}

/// The microseconds in `.25` (0 if there is no fraction), and the text after it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', rest @ ..] = text else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (all, rest) = rest.split_at(length);
    let (kept, finer) = all.split_at(length.min(6));
    if kept.is_empty() || finer.iter().any(|digit| *digit != b'0') {
        return None;
    }
    Some((digits(kept)? * 10_i64.pow(6 - kept.len() as u32), rest))
}

/// The offset of `Z` or `+01:30` from UTC in seconds.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let seconds = within(0..=23, &[*h1, *h2])? * 3_600 + within(0..=59, &[*m1, *m2])? * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn within(range: std::ops::RangeInclusive<i64>, text: &[u8]) -> Option<i64> {
    digits(text).filter(|value| range.contains(value))
}

/// A number of a few digits, and only digits.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1 March of the year 0 to 1 January 1970. With years that begin in March, the leap day is the last day of
/// the year and shifts no other day.
const EPOCH: i64 = 719_468;

/// Days since the epoch of an existing date.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    days_to_march(year) + days_to_month(month) + (day - 1) - EPOCH
}

/// The date `days` after the epoch.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    // 400 years have 146097 days. The guess is off by at most one year, because no year starts two days from the
    // average.
    let guess = (days * 400).div_euclid(146_097);
    let year = if days < days_to_march(guess) {
        guess - 1
    } else if days >= days_to_march(guess + 1) {
        guess + 1
    } else {
        guess
    };
    let of_year = days - days_to_march(year);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - days_to_month(month) + 1;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// Days from 1 March of the year 0 to 1 March of `year`.
fn days_to_march(year: i64) -> i64 {
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400)
}

/// Days from 1 March to the first day of the month that is `month` months later. Month lengths repeat 31, 30, 31, 30,
/// 31.
fn days_to_month(month: i64) -> i64 {
    (153 * month + 2) / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_six_digits_and_z_whatever_the_time() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_767_225_600_000_000, "2026-01-01T00:00:00.000000Z"),
            (1_709_210_096_123_456, "2024-02-29T12:34:56.123456Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (-2_203_891_200_000_000, "1900-03-01T00:00:00.000000Z"),
            (MIN, "0001-01-01T00:00:00.000000Z"),
            (MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(format(micros), text);
            assert_eq!(parse(text), Some(micros));
        }
    }

    #[test]
    fn writes_the_nearest_time_there_is_when_a_time_has_no_text() {
        assert_eq!(format(i64::MIN), "0001-01-01T00:00:00.000000Z");
        assert_eq!(format(i64::MAX), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn reads_every_form_of_the_same_instant() {
        for text in [
            "2026-01-01T00:00:00Z",
            "2026-01-01t00:00:00z",
            "2026-01-01T00:00:00.0Z",
            "2026-01-01T00:00:00.000Z",
            "2026-01-01T00:00:00.000000000000000000000000000000Z",
            "2026-01-01T00:00:00+00:00",
            "2026-01-01T00:00:00-00:00",
            "2026-01-01T01:30:00.000+01:30",
            "2025-12-31T16:00:00-08:00",
            "2026-01-01T23:59:00+23:59",
        ] {
            assert_eq!(parse(text), Some(1_767_225_600_000_000), "{text}");
        }
        assert_eq!(parse("2026-01-01T00:00:00.25Z"), Some(1_767_225_600_250_000));
        assert_eq!(parse("2026-01-01T00:00:00.1234560Z"), Some(1_767_225_600_123_456));
    }

    #[test]
    fn refuses_invalid_times_and_fractions_below_a_microsecond() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00,5Z",
            "2026-01-01T00:00:00.0000001Z",
            "2026-01-01T00:00:00Zz",
            "2026-01-01T00:00:00Z ",
            " 2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+01",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+01:60",
            "2026-01-01T24:00:00Z",
            "2026-01-01T23:60:00Z",
            "2016-12-31T23:59:60Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-32T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+026-01-01T00:00:00Z",
            "2026-1-01T00:00:00ZZZ",
            "2026-01-01T0\u{e9}:00:00Z",
            "\u{ff12}026-01-01T00:00Z",
            "10000-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_there_is_follows_the_day_before_it() {
        let (mut year, mut month, mut day) = (1, 1, 1);
        for days in MIN.div_euclid(86_400_000_000)..=MAX.div_euclid(86_400_000_000) {
            assert_eq!(date_of(days), (year, month, day));
            assert_eq!(days_to(year, month, day), days);
            day += 1;
            if day > days_in_month(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }

    #[test]
    fn what_it_writes_it_reads_back() {
        // The step has no common factor with a day, so the loop covers all times of day.
        for micros in (MIN..=MAX).step_by(7_777_777_777_777) {
            assert_eq!(parse(&format(micros)), Some(micros));
        }
        for micros in -100_000..100_000 {
            assert_eq!(parse(&format(micros)), Some(micros));
        }
    }
}
