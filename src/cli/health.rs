//! The flags of the health check.

use super::{Flags, UsageError, bad};
use crate::duration::format;
use crate::health::HealthCheck;
use std::ops::RangeInclusive;
use std::time::Duration;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_FAILURES: u32 = 3;

/// A shorter interval would load the application; a longer one would say nothing about its current state.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60 * 60);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const MOST_FAILURES: u32 = 1000;

/// The health check, if one is configured.
pub(super) fn check(flags: &mut Flags) -> Result<Option<HealthCheck>, UsageError> {
    let target = flags.text("--health-check")?.filter(|target| !target.is_empty());
    let [interval, timeout] = [flags.duration("--health-interval")?, flags.duration("--health-timeout")?];
    let failures = flags.text("--health-failures")?;
    let Some(target) = target else {
        let given = [
            ("--health-interval", interval.is_some()),
            ("--health-timeout", timeout.is_some()),
            ("--health-failures", failures.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            None => Ok(None),
            Some((flag, _)) => Err(UsageError(format!(
                "{flag} has no effect without --health-check=URL, such as --health-check=http://127.0.0.1:8080/healthz"
            ))),
        };
    };
    Ok(Some(HealthCheck {
        target: target.parse().map_err(|error| UsageError(format!("--health-check: {error}")))?,
        interval: within("--health-interval", interval.unwrap_or(DEFAULT_INTERVAL), &INTERVALS)?,
        timeout: within("--health-timeout", timeout.unwrap_or(DEFAULT_TIMEOUT), &TIMEOUTS)?,
        failures: failures.map_or(Ok(DEFAULT_FAILURES), |text| number_of_failures(&text))?,
    }))
}

fn within(flag: &str, value: Duration, range: &RangeInclusive<Duration>) -> Result<Duration, UsageError> {
    let [least, most] = [range.start(), range.end()].map(|bound| format(*bound));
    range
        .contains(&value)
        .then_some(value)
        .ok_or_else(|| UsageError(format!("{flag}={}: use {least} to {most}", format(value))))
}

fn number_of_failures(text: &str) -> Result<u32, UsageError> {
    // Rust also parses `+1`.
    let number = Some(text).filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
    number
        .filter(|number| (1..=MOST_FAILURES).contains(number))
        .ok_or_else(|| bad("--health-failures", text, &format!("give a number from 1 to {MOST_FAILURES}")))
}
