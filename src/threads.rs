//! All threads of the elector are started here.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::thread;

/// The exit code after a panic, as the standard library has it for the main thread.
const PANICKED: i32 = 101;

/// Starts a thread. After a panic in it the process exits with 101, unless the thread catches the panic itself.
///
/// Otherwise a candidate whose command thread has panicked, for example, would renew the lock and run no command.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            process::exit(PANICKED); // the panic itself has been printed
        }
    };
    thread::Builder::new().name(name.into()).spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{PANICKED, spawn};
    use std::process::{self, Command};
    use std::thread;
    use std::time::Duration;

    /// Set in the process that panics.
    const INSIDE: &str = "LEADER_ELECTOR_TEST_PANIC";

    #[test]
    fn a_panic_ends_the_process() {
        if std::env::var_os(INSIDE).is_some() {
            spawn("doomed", || panic!("this panic is part of a test")).unwrap();
            thread::sleep(Duration::from_secs(30));
            process::exit(0);
        }
        let mut this = Command::new(std::env::current_exe().unwrap());
        this.args(["--exact", "threads::tests::a_panic_ends_the_process", "--nocapture"]).env(INSIDE, "1");
        let output = this.output().unwrap();
        assert_eq!(output.status.code(), Some(PANICKED), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("'doomed'"), "{output:?}");
    }
}
