//! The command: this test program again. It is a test that is ignored, so that it can be run as a process by its name.

use leader_elector::clock;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

/// The file that it writes to, and in what manner it ends.
pub const FILE: &str = "HANDOVERS_FILE";
pub const MANNER: &str = "HANDOVERS_MANNER";

/// It ends when it is asked to; it ignores that; it ends and leaves behind, in a session of its own and with all its files
/// open, a process that ignores that.
pub const MANNERS: [&str; 3] = ["polite", "stubborn", "orphans"];

/// Its command line.
pub fn argv() -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    [&program, "--exact", "writer::writer", "--ignored", "--nocapture"].map(str::to_owned).into()
}

/// Writes the time every 10 ms, with the fencing token of the term.
#[test]
#[ignore = "a part of another test"]
fn writer() {
    let (Ok(path), Ok(manner)) = (std::env::var(FILE), std::env::var(MANNER)) else { return };
    let start = |manner: &str| {
        let argv = argv();
        Command::new(&argv[0]).args(&argv[1..]).env(MANNER, manner).spawn().unwrap()
    };
    match manner.as_str() {
        "orphans" => drop(start("parent of an orphan").wait().unwrap()),
        "parent of an orphan" => {
            start("orphan");
            process::exit(0);
        }
        "orphan" => drop(rustix::process::setsid().unwrap()),
        _ => {}
    }
    if ["stubborn", "orphan"].contains(&manner.as_str()) {
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::new(AtomicBool::new(false))).unwrap();
    }
    let token = std::env::var("LEADER_ELECTION_FENCING_TOKEN").unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    loop {
        // A write that ends within a page of the file is done whole or not at all, also by a process that is killed.
        let line = format!("{:<63}\n", format!("{} {token} {manner}", clock::now().uptime().as_nanos()));
        file.write_all(line.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
}
