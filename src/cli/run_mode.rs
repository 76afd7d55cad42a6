//! Run mode: the command after `--`, and its flags.

use super::{Flags, Timing, UsageError, bad};
use crate::command::{KILL_MARGIN, OnExit, RunMode};
use crate::duration::format;
use std::time::Duration;

const ON_EXIT: [(&str, OnExit); 3] =
    [("release", OnExit::Release), ("restart", OnExit::Restart), ("standby", OnExit::Standby)];

/// The command, if there is one.
pub(super) fn run_mode(
    flags: &mut Flags,
    command: Option<Vec<String>>,
    timing: &Timing,
) -> Result<Option<RunMode>, UsageError> {
    let stop_timeout = flags.duration("--stop-timeout")?;
    let on_exit = flags.choice("--on-exit", &ON_EXIT)?;
    let Some(argv) = command else {
        let given = [("--stop-timeout", stop_timeout.is_some()), ("--on-exit", on_exit.is_some())];
        return match given.iter().find(|(_, given)| *given) {
            None => Ok(None),
            Some((flag, _)) => Err(UsageError(format!(
                "{flag} has no effect without a command: write it after --, such as -- /app/server --port=80"
            ))),
        };
    };
    if argv.first().is_none_or(String::is_empty) {
        return Err(UsageError("the command after -- is missing: write it like -- /app/server --port=80".to_owned()));
    }
    if let Some(argument) = argv.iter().find(|argument| argument.contains('\0')) {
        return Err(bad("--", argument, "an argument must not contain a zero byte"));
    }
    let stop_timeout = stop_timeout.unwrap_or(timing.renew_deadline / 3);
    fits(timing, stop_timeout)?;
    Ok(Some(RunMode { argv, stop_timeout, on_exit: on_exit.unwrap_or_default() }))
}

/// The command is stopped only after two failed renewals: 2R ≤ D − stop timeout.
fn fits(timing: &Timing, stop_timeout: Duration) -> Result<(), UsageError> {
    let Timing { renew_deadline, retry_period, .. } = timing;
    let stops = stop_timeout.max(KILL_MARGIN);
    if *retry_period * 2 <= renew_deadline.saturating_sub(stops) {
        return Ok(());
    }
    let longest = renew_deadline.saturating_sub(*retry_period * 2);
    let [stop, deadline, retry] = [stop_timeout, *renew_deadline, *retry_period].map(|time| format(whole_millis(time)));
    let instead = if longest >= KILL_MARGIN {
        format!("set --stop-timeout={} or less, or raise --ttl", format(whole_millis(longest)))
    } else {
        format!("raise --ttl: stopping a command needs {} of the renew deadline", format(KILL_MARGIN))
    };
    Err(UsageError(format!(
        "--stop-timeout={stop} and two retry periods of {retry} must fit into the renew deadline of {deadline}: {instead}"
    )))
}

/// Rounded down to a value that is easy to type.
fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
