//! Reads the values of flags by type.

use super::{UsageError, listen};
use crate::duration;
use crate::http::ListenAddress;
use std::convert::Infallible;
use std::ffi::OsString;
use std::time::Duration;

/// The given flags, each at most once. Reading a flag removes it.
pub(super) struct Flags(pico_args::Arguments);

impl Flags {
    pub(super) fn new(pairs: Vec<OsString>) -> Flags {
        Flags(pico_args::Arguments::from_vec(pairs))
    }

    pub(super) fn text(&mut self, flag: &'static str) -> Result<Option<String>, UsageError> {
        let behind_equals = |value: &str| Ok::<_, Infallible>(value.strip_prefix('=').unwrap_or(value).to_owned());
        self.0.opt_value_from_fn(flag, behind_equals).map_err(|error| UsageError(format!("{flag}: {error}")))
    }

    /// Whether a boolean flag is set.
    pub(super) fn boolean(&mut self, flag: &'static str) -> Result<bool, UsageError> {
        match self.text(flag)?.as_deref() {
            None | Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(value) => Err(bad(flag, value, &format!("write {flag}, {flag}=true or {flag}=false"))),
        }
    }

    pub(super) fn http(&mut self) -> Result<Option<ListenAddress>, UsageError> {
        // In 0.5 an empty address means no port.
        self.text("--http")?.filter(|address| !address.is_empty()).map(listen).transpose()
    }

    pub(super) fn duration(&mut self, flag: &'static str) -> Result<Option<Duration>, UsageError> {
        let read = |value: String| duration::parse(&value).map_err(|error| UsageError(format!("{flag}: {error}")));
        self.text(flag)?.map(read).transpose()
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        flag: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, UsageError> {
        let Some(value) = self.text(flag)? else { return Ok(None) };
        match choices.iter().find(|(name, _)| *name == value) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(bad(flag, &value, &format!("use one of {}", names.join(", "))))
            }
        }
    }
}

/// The error for an invalid value.
pub(super) fn bad(flag: &str, value: &str, problem: &str) -> UsageError {
    UsageError(format!("{flag}={value:?}: {problem}"))
}
