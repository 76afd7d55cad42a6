//! The command: this test program again. It is an ignored test, so that it can be started as a process by its name.

use leader_elector::clock;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

/// The file that it writes to, and how it reacts to SIGTERM.
pub const FILE: &str = "HANDOVERS_FILE";
pub const BEHAVIOUR: &str = "HANDOVERS_BEHAVIOUR";

/// It ends; it ignores SIGTERM; it ends and leaves a process behind that ignores SIGTERM, in a session of its own and
/// with all files open.
pub const BEHAVIOURS: [&str; 3] = ["ends", "ignores-sigterm", "leaves-orphan"];

/// The command line.
pub fn argv() -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    [&program, "--exact", "writer::writer", "--ignored", "--nocapture"].map(str::to_owned).into()
}

/// Writes the time every 10 ms, with the fencing token of the term.
#[test]
#[ignore = "a part of another test"]
fn writer() {
    let (Ok(path), Ok(behaviour)) = (std::env::var(FILE), std::env::var(BEHAVIOUR)) else { return };
    let start = |behaviour: &str| {
        let argv = argv();
        Command::new(&argv[0]).args(&argv[1..]).env(BEHAVIOUR, behaviour).spawn().unwrap()
    };
    match behaviour.as_str() {
        "leaves-orphan" => drop(start("parent of an orphan").wait().unwrap()),
        "parent of an orphan" => {
            start("orphan");
            process::exit(0);
        }
        "orphan" => drop(rustix::process::setsid().unwrap()),
        _ => {}
    }
    if ["ignores-sigterm", "orphan"].contains(&behaviour.as_str()) {
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::new(AtomicBool::new(false))).unwrap();
    }
    let token = std::env::var("LEADER_ELECTION_FENCING_TOKEN").unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    loop {
        // A write within one page of the file is carried out completely or not at all, even if the process is killed.
        let line = format!("{:<63}\n", format!("{} {token} {behaviour}", clock::now().uptime().as_nanos()));
        file.write_all(line.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
}
