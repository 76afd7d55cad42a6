//! The log on stderr, and the line on stdout that names the leader.
//!
//! Nothing here panics, stops the program or blocks if a stream is closed, fails or is not read. Lines are lost instead
//! (see [`crate::logging::output`]).

pub mod escape;
pub mod output;
pub mod secrets;

use self::output::Stream;
use crate::rfc3339;
use env_logger::{Builder, Target};
use log::{LevelFilter, Record};
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The format and the level of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub format: Format,
    pub filter: Filter,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `2026-01-01T00:00:00.000000Z INFO message`
    Text,
    /// `{"time":"2026-01-01T00:00:00.000000Z","level":"INFO","message":"message"}`
    Json,
}

/// Selects the lines that are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Lines of this level and above.
    Level(LevelFilter),
    /// What `RUST_LOG` says: a level, or directives such as `info,leader_elector::api=debug`, on top of `info`.
    RustLog(String),
}

/// Starts the log. A second call changes nothing.
///
/// Other crates log only warnings and errors, or up to `debug` if `debug` or more is asked for: the `trace` level of
/// the HTTP client prints tokens. An invalid part of `RUST_LOG` is ignored, with a warning.
pub fn start(settings: &LogSettings) {
    let rules = Rules::of(&settings.filter);
    let started = builder(settings.format, &rules, Target::Pipe(Box::new(Queue))).try_init();
    if started.is_ok() && !rules.unreadable.is_empty() {
        log::warn!(
            "RUST_LOG: ignored {}; write a level (error, warn, info, debug) or directives such as info,ureq=debug",
            rules.unreadable.join(", ")
        );
    }
}

/// Prints `<holder> is the leader` on stdout, as 0.5 does at each change.
///
/// Control characters are escaped, because other candidates choose the name of the holder.
pub fn say_leader(holder: &str) {
    output::put(Stream::Stdout, leader_line(holder).into_bytes());
}

/// The target of the log. env_logger writes a whole line at a time.
struct Queue;

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        output::put(Stream::Stderr, bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn leader_line(holder: &str) -> String {
    format!("{} is the leader\n", Escaped(holder))
}

/// The name of this crate.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// The maximum level of other crates.
const OTHERS_AT_MOST: LevelFilter = LevelFilter::Debug;

/// A parsed filter: a level for this crate, one for all others, and exceptions by module.
#[derive(Debug, PartialEq, Eq)]
struct Rules {
    ours: LevelFilter,
    others: LevelFilter,
    modules: Vec<(String, LevelFilter)>,
    unreadable: Vec<String>,
}

impl Rules {
    fn of(filter: &Filter) -> Rules {
        match filter {
            Filter::Level(level) => Rules::at(*level),
            Filter::RustLog(text) => Rules::read(text),
        }
    }

    fn at(level: LevelFilter) -> Rules {
        let others = if level >= LevelFilter::Debug { OTHERS_AT_MOST } else { level.min(LevelFilter::Warn) };
        Rules { ours: level, others, modules: Vec::new(), unreadable: Vec::new() }
    }

    /// Parses `level`, `module` and `module=level`, separated by commas.
    fn read(text: &str) -> Rules {
        let (mut level, mut modules, mut unreadable) = (LevelFilter::Info, Vec::new(), Vec::new());
        // A slash precedes a filter for the text of messages, which this build of env_logger does not support.
        let (directives, text_filter) = text.split_once('/').unwrap_or((text, ""));
        for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            match read_directive(directive) {
                Some(("", plain)) => level = plain,
                Some((module, level)) => modules.push((module.to_owned(), allowed(module, level))),
                None => unreadable.push(format!("{directive:?}")),
            }
        }
        if !text_filter.is_empty() {
            unreadable.push(format!("{:?}", format!("/{text_filter}")));
        }
        Rules { modules, unreadable, ..Rules::at(level) }
    }
}

/// The module and its level; an empty module means all.
fn read_directive(directive: &str) -> Option<(&str, LevelFilter)> {
    match directive.split_once('=').map(|(module, level)| (module.trim(), level.trim())) {
        None => Some(match directive.parse() {
            Ok(level) => ("", level),
            Err(_) => (directive, LevelFilter::max()),
        }),
        Some(("", _)) => None,
        Some((module, "")) => Some((module, LevelFilter::max())),
        Some((module, level)) => Some((module, level.parse().ok()?)),
    }
}

/// The level asked for, capped for other crates.
fn allowed(module: &str, level: LevelFilter) -> LevelFilter {
    // env_logger matches prefixes of module names, so a prefix of this crate's name may match other crates too.
    if module.starts_with(OURS) { level } else { level.min(OTHERS_AT_MOST) }
}

fn builder(format: Format, rules: &Rules, target: Target) -> Builder {
    let mut builder = Builder::new();
    builder.filter_level(rules.others).filter_module(OURS, rules.ours);
    for (module, level) in &rules.modules {
        builder.filter_module(module, *level);
    }
    builder.format(move |out, record| {
        let micros = micros_since_epoch(SystemTime::now());
        out.write_all(line(format, micros, record).as_bytes())
    });
    builder.target(target);
    builder
}

fn micros_since_epoch(time: SystemTime) -> i64 {
    let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => micros(after),
        Err(before) => -micros(before.duration()),
    }
}

/// One record as one line, even if its message contains line breaks.
fn line(format: Format, micros: i64, record: &Record<'_>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: &'a str,
        level: &'a str,
        message: &'a str,
    }
    let message = secrets::without_secrets(record.args().to_string());
    let (time, level) = (rfc3339::format(micros), record.level().as_str());
    let line = match format {
        Format::Text => format!("{time} {level} {}", Escaped(&message)),
        // Strings always serialize, so the default is never used.
        Format::Json => serde_json::to_string(&Line { time: &time, level, message: &message }).unwrap_or_default(),
    };
    line + "\n"
}

/// Text with escaped control characters, so that it stays on one line and cannot control a terminal.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Level, Log};
    use std::sync::{Arc, Mutex};

    const NEW_YEAR: i64 = 1_767_225_600_000_000;

    fn line_of(format: Format, message: &str) -> String {
        line(format, NEW_YEAR, &Record::builder().level(Level::Info).args(format_args!("{message}")).build())
    }

    #[test]
    fn a_line_of_text_begins_with_time_and_level() {
        assert_eq!(line_of(Format::Text, "leading"), "2026-01-01T00:00:00.000000Z INFO leading\n");
    }

    #[test]
    fn a_message_cannot_break_out_of_its_line() {
        assert_eq!(
            line_of(Format::Text, "a\nb\r\u{1b}[31m\u{85}\u{b5}"),
            "2026-01-01T00:00:00.000000Z INFO a\\nb\\r\\u{1b}[31m\\u{85}\u{b5}\n"
        );
    }

    #[test]
    fn a_line_of_json_is_one_object_and_one_line() {
        let line = line_of(Format::Json, "say \"hi\"\n\u{1b}\\ \u{1f600}");
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line:?}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "time": "2026-01-01T00:00:00.000000Z", "level": "INFO", "message": "say \"hi\"\n\u{1b}\\ \u{1f600}"
            })
        );
    }

    #[test]
    fn the_leader_line_cannot_be_forged_by_a_holder() {
        assert_eq!(leader_line("pod-1"), "pod-1 is the leader\n");
        assert_eq!(leader_line("x is the leader\npod-1"), "x is the leader\\npod-1 is the leader\n");
    }

    #[test]
    fn a_time_before_the_epoch_is_negative() {
        assert_eq!(micros_since_epoch(UNIX_EPOCH - std::time::Duration::from_micros(1)), -1);
        assert_eq!(micros_since_epoch(UNIX_EPOCH + std::time::Duration::from_secs(1)), 1_000_000);
    }

    /// The maximum level at which `target` may log with a filter, as the real logger decides.
    fn most(filter: Filter, target: &str) -> LevelFilter {
        let logger = builder(Format::Text, &Rules::of(&filter), Target::Stderr).build();
        let enabled = |level: &Level| logger.enabled(&log::Metadata::builder().level(*level).target(target).build());
        Level::iter().filter(enabled).max().map_or(LevelFilter::Off, |level| level.to_level_filter())
    }

    fn rust_log(text: &str) -> Filter {
        Filter::RustLog(text.to_owned())
    }

    #[test]
    fn other_crates_are_held_to_warnings_until_debug_is_asked_for() {
        use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
        for (asked, ours, others) in
            [(Off, Off, Off), (Error, Error, Error), (Warn, Warn, Warn), (Info, Info, Warn), (Debug, Debug, Debug)]
        {
            assert_eq!(most(Filter::Level(asked), "leader_elector::api"), ours);
            for target in ["ureq", "ureq_proto::client", "rustls::conn", "anything"] {
                assert_eq!(most(Filter::Level(asked), target), others, "{asked} {target}");
            }
        }
        assert_eq!(most(Filter::Level(Trace), "leader_elector"), Trace);
    }

    #[test]
    fn no_rust_log_makes_another_crate_print_its_traces() {
        for text in
            ["trace", "TRACE", "ureq=trace", "ureq", "ureq=", "ureq_proto::client=trace", "u=trace", "info,ureq=trace"]
        {
            for target in ["ureq", "ureq_proto::client", "ureq_proto::client::test", "rustls"] {
                assert!(most(rust_log(text), target) <= LevelFilter::Debug, "{text} {target}");
            }
        }
    }

    #[test]
    fn rust_log_takes_a_level_or_directives() {
        use LevelFilter::{Debug, Info, Off, Trace, Warn};
        for (text, target, expected) in [
            ("debug", "leader_elector", Debug),
            ("trace", "leader_elector::api", Trace),
            ("off", "leader_elector", Off),
            ("ureq=debug", "ureq::pool", Debug),
            ("ureq=debug", "rustls", Warn),
            ("ureq=debug", "leader_elector", Info),
            ("warn, leader_elector::api = debug", "leader_elector::api", Debug),
            ("warn,leader_elector::api=debug", "leader_elector::http", Warn),
            ("leader_elector", "leader_elector", Trace),
            ("debug,rustls=off", "rustls::conn", Off),
        ] {
            assert_eq!(most(rust_log(text), target), expected, "{text} {target}");
        }
    }

    #[test]
    fn a_broken_rust_log_is_skipped_where_it_is_broken() {
        let rules = Rules::read("leader_elector=loud,,=debug,a=b=c,warn/hidden");
        assert_eq!(rules.unreadable, ["\"leader_elector=loud\"", "\"=debug\"", "\"a=b=c\"", "\"/hidden\""]);
        assert_eq!((rules.ours, rules.modules.len()), (LevelFilter::Warn, 0));
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn warning<'a>() -> Record<'a> {
        Record::builder().level(Level::Warn).target("leader_elector").args(format_args!("careful")).build()
    }

    #[test]
    fn the_logger_writes_what_passes_the_filter_in_the_format_asked_for() {
        let written = Shared::default();
        let rules = Rules::at(LevelFilter::Info);
        let logger = builder(Format::Json, &rules, Target::Pipe(Box::new(written.clone()))).build();
        logger.log(&warning());
        logger.log(&Record::builder().level(Level::Debug).target("leader_elector").args(format_args!("no")).build());
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("{\"time\":\"20"), "{text}");
        assert!(text.ends_with("Z\",\"level\":\"WARN\",\"message\":\"careful\"}\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_closed_stream_loses_only_the_line() {
        let logger = builder(Format::Text, &Rules::at(LevelFilter::Info), Target::Pipe(Box::new(Broken))).build();
        logger.log(&warning());
        logger.log(&warning());
    }
}
