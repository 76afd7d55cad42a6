//! Scenarios that share one cluster, for test programs with their own `main`: each runs on a thread, and a table shows
//! the results.

use std::any::Any;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Why a scenario was skipped.
pub struct Skipped(pub &'static str);

/// What was measured, if anything. A scenario that fails panics.
pub type Verdict<T = ()> = Result<T, Skipped>;

/// The text for a scenario that passed.
pub trait Figure {
    fn text(self) -> String;
}

impl Figure for () {
    fn text(self) -> String {
        String::new()
    }
}

impl Figure for String {
    fn text(self) -> String {
        self
    }
}

/// The result of a scenario, and its duration.
pub struct Row {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

enum Outcome {
    Passed(String),
    Skipped(&'static str),
    /// The message of its panic.
    Failed(String),
}

impl Row {
    /// A scenario that was skipped.
    pub fn skipped(name: &'static str, why: &'static str) -> Row {
        Row { name, outcome: Outcome::Skipped(why), took: Duration::ZERO }
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }

    pub fn print(&self) {
        let (word, why) = match &self.outcome {
            Outcome::Passed(figure) if figure.is_empty() => ("passed", String::new()),
            Outcome::Passed(figure) => ("passed", format!(": {figure}")),
            Outcome::Skipped(why) => ("skipped", format!("  ({why})")),
            Outcome::Failed(why) => ("FAILED", format!("  ({why})")),
        };
        println!("{word:<8}{:>6.1} s  {}{why}", self.took.as_secs_f64(), self.name.replace('_', " "));
    }
}

/// The command line: words that select scenarios, and whether only to list them.
pub struct Asked {
    words: Vec<String>,
    pub list: bool,
}

impl Asked {
    /// Flags of the usual test programs, such as --nocapture, are ignored.
    pub fn of_command_line() -> Asked {
        let (flags, words): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|it| it.starts_with("--"));
        Asked { words, list: flags.iter().any(|it| it == "--list") }
    }

    pub fn chooses(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Runs a scenario on a thread with its name.
pub fn play<T: Figure + Send>(name: &'static str, game: impl FnOnce() -> Verdict<T> + Send) -> Row {
    let began = Instant::now();
    let outcome: Result<Verdict<T>, Box<dyn Any + Send>> = thread::scope(|scope| {
        let player = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, game);
        player.expect("a thread can be had").join()
    });
    let outcome = match outcome {
        Ok(Ok(figure)) => Outcome::Passed(figure.text()),
        Ok(Err(Skipped(why))) => Outcome::Skipped(why),
        Err(panic) => Outcome::Failed(message_of(&*panic)),
    };
    Row { name, outcome, took: began.elapsed() }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked without a message".into())
}

/// Prints the totals like other test programs; fails if a scenario failed.
pub fn print_sum(rows: &[Row]) -> ExitCode {
    let count = |is: fn(&Outcome) -> bool| rows.iter().filter(|row| is(&row.outcome)).count();
    let failed = count(|it| matches!(it, Outcome::Failed(_)));
    let (passed, skipped) =
        (count(|it| matches!(it, Outcome::Passed(_))), count(|it| matches!(it, Outcome::Skipped(_))));
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {skipped} ignored\n");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
