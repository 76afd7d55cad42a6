//! A small test harness for programs with their own `main`, whose scenarios share one cluster. It runs each scenario on
//! a thread of its own, and prints one line for each result.

use std::any::Any;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// The reason why a scenario was skipped.
pub struct Skipped(pub &'static str);

/// The result of a scenario that did not fail: its measurements, if it has any. A scenario fails by a panic.
pub type ScenarioResult<T = ()> = Result<T, Skipped>;

/// What the line of a passed scenario shows.
pub trait Summary {
    fn summary(self) -> String;
}

impl Summary for () {
    fn summary(self) -> String {
        String::new()
    }
}

impl Summary for String {
    fn summary(self) -> String {
        self
    }
}

/// The outcome of a scenario, and its duration.
pub struct ScenarioReport {
    name: &'static str,
    outcome: Outcome,
    duration: Duration,
}

enum Outcome {
    Passed(String),
    Skipped(&'static str),
    /// The message of the panic.
    Failed(String),
}

impl ScenarioReport {
    pub fn skipped(name: &'static str, reason: &'static str) -> ScenarioReport {
        ScenarioReport { name, outcome: Outcome::Skipped(reason), duration: Duration::ZERO }
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }

    pub fn print(&self) {
        let (word, details) = match &self.outcome {
            Outcome::Passed(summary) if summary.is_empty() => ("passed", String::new()),
            Outcome::Passed(summary) => ("passed", format!(": {summary}")),
            Outcome::Skipped(reason) => ("skipped", format!("  ({reason})")),
            Outcome::Failed(message) => ("FAILED", format!("  ({message})")),
        };
        println!("{word:<8}{:>6.1} s  {}{details}", self.duration.as_secs_f64(), self.name.replace('_', " "));
    }
}

/// The arguments on the command line: which scenarios to run, or `--list`.
pub struct Selection {
    words: Vec<String>,
    pub list_only: bool,
}

impl Selection {
    /// Ignores the flags of Rust's own test harness, such as --nocapture.
    pub fn from_command_line() -> Selection {
        let (flags, words): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|it| it.starts_with("--"));
        Selection { words, list_only: flags.iter().any(|it| it == "--list") }
    }

    /// Whether the name contains one of the words. Without words, all scenarios are selected.
    pub fn selects(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Runs a scenario on a thread that has its name, so that a panic message shows the name.
pub fn run<T: Summary + Send>(
    name: &'static str,
    scenario: impl FnOnce() -> ScenarioResult<T> + Send,
) -> ScenarioReport {
    let start = Instant::now();
    let result: Result<ScenarioResult<T>, Box<dyn Any + Send>> = thread::scope(|scope| {
        let runner = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, scenario);
        runner.expect("cannot start a thread").join()
    });
    let outcome = match result {
        Ok(Ok(measured)) => Outcome::Passed(measured.summary()),
        Ok(Err(Skipped(reason))) => Outcome::Skipped(reason),
        Err(panic) => Outcome::Failed(message_of(&*panic)),
    };
    ScenarioReport { name, outcome, duration: start.elapsed() }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked without a message".into())
}

/// Prints the totals in the format of Rust's own test harness. The exit code is that of a failure if a scenario failed.
pub fn print_totals(reports: &[ScenarioReport]) -> ExitCode {
    let count = |is: fn(&Outcome) -> bool| reports.iter().filter(|report| is(&report.outcome)).count();
    let failed = count(|it| matches!(it, Outcome::Failed(_)));
    let (passed, skipped) =
        (count(|it| matches!(it, Outcome::Passed(_))), count(|it| matches!(it, Outcome::Skipped(_))));
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {skipped} ignored\n");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
