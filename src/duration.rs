//! Durations in Go's format, as in the `--ttl` of 0.5 and in messages.
//!
//! The grammar is that of Go's `time.ParseDuration`, the output that of Go's `time.Duration.String`
//! (<https://pkg.go.dev/time>).

use std::fmt;
use std::time::Duration;

/// Parses a Go duration: `0`, or numbers with units such as `10s`, `1m30.5s` or `300ms`, with an optional sign.
///
/// Digits below a nanosecond are dropped. A duration below zero is [`Error::Negative`]; `-0s` is zero.
pub fn parse(text: &str) -> Result<Duration, Error> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let nanos = match unsigned {
        "0" => 0,
        _ => sum(unsigned).map_err(|fault| Error::Invalid { input: text.to_owned(), fault })?,
    };
    if text.starts_with('-') && nanos > 0 {
        return Err(Error::Negative { input: text.to_owned() });
    }
    Ok(from_nanos(nanos))
}

/// Why a text is not a usable duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Go rejects it too.
    Invalid { input: String, fault: DurationFault },
    /// Go accepts it, but a duration here cannot be negative.
    Negative { input: String },
}

/// What is wrong according to Go's grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationFault {
    /// A number is missing, or is only a point.
    NoNumber,
    /// A number without a unit.
    NoUnit,
    /// A unit that does not exist.
    UnknownUnit(String),
    /// More than 2^63 - 1 nanoseconds, about 292 years.
    TooLong,
}

/// Quotes the input, says what is wrong with it, and shows a valid form.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid { input, fault } => write!(f, "{input:?} {fault}")?,
            Error::Negative { input } => write!(f, "{input:?} must not be negative")?,
        }
        f.write_str("; write it like 10s, 1m30s or 300ms")
    }
}

impl fmt::Display for DurationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurationFault::NoNumber => f.write_str("is not a duration"),
            DurationFault::NoUnit => f.write_str("lacks a unit"),
            DurationFault::UnknownUnit(unit) => write!(f, "has the unknown unit {unit:?}"),
            DurationFault::TooLong => f.write_str("is too long"),
        }
    }
}

impl std::error::Error for Error {}

/// Go stores a duration as a signed 64-bit number of nanoseconds. More is an overflow in Go, and an error here.
const MAX_NANOS: u128 = i64::MAX as u128;

/// The nanoseconds of one or more numbers with units.
fn sum(text: &str) -> Result<u128, DurationFault> {
    let (mut nanos, mut rest) = term(text)?;
    while !rest.is_empty() {
        let (more, after) = term(rest)?;
        nanos = nanos.saturating_add(more);
        rest = after;
    }
    if nanos > MAX_NANOS { Err(DurationFault::TooLong) } else { Ok(nanos) }
}

/// The nanoseconds of the first number and unit in the text, and the rest of the text.
fn term(text: &str) -> Result<(u128, &str), DurationFault> {
    let (whole, rest) = split_where(text, |c| !c.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_where(rest, |c| !c.is_ascii_digit()),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationFault::NoNumber);
    }
    let (unit, rest) = split_where(rest, |c| c == '.' || c.is_ascii_digit());
    let unit = unit_nanos(unit)?;
    Ok((integer(whole).saturating_mul(unit).saturating_add(fraction_nanos(fraction, unit)), rest))
}

/// Splits at the first character that is a `boundary`.
fn split_where(text: &str, boundary: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(boundary).unwrap_or(text.len()))
}

/// Microseconds may be written with `u`, the micro sign or the Greek letter mu.
fn unit_nanos(unit: &str) -> Result<u128, DurationFault> {
    match unit {
        "ns" => Ok(1),
        "us" | "\u{b5}s" | "\u{3bc}s" => Ok(1_000),
        "ms" => Ok(1_000_000),
        "s" => Ok(1_000_000_000),
        "m" => Ok(60_000_000_000),
        "h" => Ok(3_600_000_000_000),
        "" => Err(DurationFault::NoUnit),
        _ => Err(DurationFault::UnknownUnit(unit.to_owned())),
    }
}

fn integer(digits: &str) -> u128 {
    digits.bytes().fold(0, |value: u128, digit| value.saturating_mul(10).saturating_add(u128::from(digit - b'0')))
}

/// The nanoseconds in `0.<digits>` units.
fn fraction_nanos(digits: &str, unit: u128) -> u128 {
    // More than twenty digits do not matter: they are below a nanosecond even for hours. Twenty fit into 128 bits.
    let digits = &digits[..digits.len().min(20)];
    integer(digits) * unit / 10_u128.pow(digits.len() as u32)
}

fn from_nanos(nanos: u128) -> Duration {
    // `nanos` is at most MAX_NANOS: the seconds fit into 64 bits, and the remainder is below 10^9.
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

/// Formats a duration as Go does: `1m30s`, `2.1s`, `300ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    match (seconds, nanos) {
        (0, 0) => "0s".to_owned(),
        (0, ..1_000) => format!("{nanos}ns"),
        (0, ..1_000_000) => format!("{}\u{b5}s", decimal(nanos, 3)),
        (0, _) => format!("{}ms", decimal(nanos, 6)),
        _ => {
            let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
            let fraction = decimal(nanos, 9);
            let fraction = fraction.trim_start_matches('0');
            let seconds = seconds % 60;
            match (hours, minutes) {
                (0, 0) => format!("{seconds}{fraction}s"),
                (0, _) => format!("{minutes}m{seconds}{fraction}s"),
                _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
            }
        }
    }
}

/// `nanos` with a decimal point `places` digits from the right and without trailing zeros: 2100 with 3 is `2.1`.
fn decimal(nanos: u32, places: usize) -> String {
    let scale = 10_u32.pow(places as u32);
    let text = format!("{}.{:0places$}", nanos / scale, nanos % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> u128 {
        parse(text).unwrap_or_else(|error| panic!("{error}")).as_nanos()
    }

    fn error(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn takes_what_go_takes() {
        for (text, expected) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("-0s", 0),
            ("0h0m", 0),
            ("10s", 10_000_000_000),
            ("+10s", 10_000_000_000),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            ("1m30.5s", 90_500_000_000),
            ("1us", 1_000),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("7ns", 7),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("010s", 10_000_000_000),
            ("5s1h5s", 3_610_000_000_000),
            ("0.9ns", 0),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("0.100000000000000000000000000000000000000000h", 360_000_000_000),
            ("9223372036854775807ns", i64::MAX as u128),
            ("2562047h47m16.854775807s", i64::MAX as u128),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses_and_shows_the_valid_form() {
        for (text, complaint) in [
            ("", "\"\" is not a duration"),
            ("s", "\"s\" is not a duration"),
            (".", "\".\" is not a duration"),
            (".s", "\".s\" is not a duration"),
            ("-", "\"-\" is not a duration"),
            ("--1s", "\"--1s\" is not a duration"),
            ("+-1s", "\"+-1s\" is not a duration"),
            (" 1s", "\" 1s\" is not a duration"),
            ("1s-1s", "\"1s-1s\" has the unknown unit \"s-\""),
            ("00", "\"00\" lacks a unit"),
            ("10", "\"10\" lacks a unit"),
            ("1h30", "\"1h30\" lacks a unit"),
            ("1.2.3s", "\"1.2.3s\" lacks a unit"),
            ("10 s", "\"10 s\" has the unknown unit \" s\""),
            ("10s ", "\"10s \" has the unknown unit \"s \""),
            ("10S", "\"10S\" has the unknown unit \"S\""),
            ("1d", "\"1d\" has the unknown unit \"d\""),
            ("1e3s", "\"1e3s\" has the unknown unit \"e\""),
            ("10s\n", "\"10s\\n\" has the unknown unit \"s\\n\""),
            ("9223372036854775808ns", "\"9223372036854775808ns\" is too long"),
            ("2562047h47m16.854775808s", "\"2562047h47m16.854775808s\" is too long"),
            ("3000000h", "\"3000000h\" is too long"),
            ("-3000000h", "\"-3000000h\" is too long"),
        ] {
            assert_eq!(error(text), format!("{complaint}; write it like 10s, 1m30s or 300ms"));
        }
        assert!(error(&format!("{}h", "9".repeat(400))).contains("is too long"));
    }

    #[test]
    fn a_negative_duration_is_an_error_of_its_own() {
        assert_eq!(parse("-10s"), Err(Error::Negative { input: "-10s".to_owned() }));
        assert_eq!(error("-1ns"), "\"-1ns\" must not be negative; write it like 10s, 1m30s or 300ms");
    }

    #[test]
    fn prints_what_go_prints() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (300_000_000, "300ms"),
            (2_100_000_000, "2.1s"),
            (10_000_000_000, "10s"),
            (90_000_000_000, "1m30s"),
            (245_001_000_000, "4m5.001s"),
            (480_000_000_001, "8m0.000000001s"),
            (3_600_000_000_000, "1h0m0s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (86_400_000_000_000, "24h0m0s"),
        ] {
            assert_eq!(format(Duration::from_nanos(nanos)), expected);
        }
    }

    #[test]
    fn what_it_prints_it_reads_back() {
        for power in 0..=62 {
            for nanos in [1_u64 << power, (1 << power) + 1, (1 << power) - 1, (1 << power) / 1_000 * 1_000] {
                let duration = Duration::from_nanos(nanos);
                assert_eq!(parse(&format(duration)), Ok(duration));
            }
        }
    }
}
