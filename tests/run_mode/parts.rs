//! The processes of these tests, which run this test program. They are ignored tests, so that each can be started as a
//! process by its name.

use leader_elector::clock;
use leader_elector::command::{CommandReport, CommandRunner, CommandSpec, exit_code};
use leader_elector::leadership::Leadership;
use leader_elector::processes::own;
use leader_elector::time::Time;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

/// Environment variables that tell a part what to do.
pub const CONTROL: &str = "RUN_MODE_CONTROL";
pub const ARGV: &str = "RUN_MODE_ARGV";
pub const IDENTITY: &str = "RUN_MODE_IDENTITY";
pub const STOP_TIMEOUT: &str = "RUN_MODE_STOP_TIMEOUT";
pub const FILE: &str = "RUN_MODE_FILE";
pub const BEHAVIOUR: &str = "RUN_MODE_BEHAVIOUR";

/// The command line of a part.
pub fn argv(part: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    [&program, "--exact", &format!("parts::{part}"), "--ignored", "--nocapture"].map(str::to_owned).into()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        println!("a part of another test");
        process::exit(0)
    })
}

/// Reads orders line by line, passes them to the library's command, and writes each report.
#[test]
#[ignore = "a part of other tests"]
fn elector() {
    let control = UnixStream::connect(variable(CONTROL)).unwrap();
    let spec = CommandSpec {
        argv: variable(ARGV).lines().map(Into::into).collect(),
        program: env!("CARGO_BIN_EXE_leader-elector").into(),
        election: "example".into(),
        namespace: "default".into(),
        identity: variable(IDENTITY),
        stop_timeout: Duration::from_millis(variable(STOP_TIMEOUT).parse().unwrap()),
    };
    let out = control.try_clone().unwrap();
    let report = move |report| {
        let line = match report {
            CommandReport::Started { fencing_token, pid } => format!("started {fencing_token} {pid}"),
            CommandReport::Ended { fencing_token, status, .. } => {
                format!("ended {fencing_token} {}", exit_code(status))
            }
            CommandReport::CannotStart { fencing_token, status, error } => {
                format!("cannot {fencing_token} {status} {error}")
            }
            CommandReport::Idle => "idle".to_owned(),
        };
        writeln!(&out, "{line}").unwrap();
    };
    let command = CommandRunner::start(spec, report).unwrap();
    for line in BufReader::new(&control).lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "lead" => command.tell(Leadership::Leading {
                fencing_token: number(1),
                until: Time::after_boot(Duration::from_nanos(number(2))),
            }),
            "end" => command.tell(Leadership::Ended {
                fencing_token: 0,
                until: if number(2) == 1 { Time::after_boot(Duration::from_nanos(number(1))) } else { Time::ZERO },
            }),
            "signal" => command.forward(words[1].parse().unwrap()),
            "restart" => command.restart(),
            "idle?" => writeln!(&control, "{}", if command.is_idle() { "yes" } else { "no" }).unwrap(),
            "children" => {
                let statuses: Vec<_> = (0..number(1)).map(|_| thread::spawn(child_that_leaves_an_orphan)).collect();
                let right = statuses.into_iter().map(|it| it.join().unwrap());
                writeln!(&control, "statuses {}", right.filter(|code| *code == Some(3)).count()).unwrap();
            }
            _ => panic!("what is {line:?}?"),
        }
    }
    process::exit(0);
}

/// Starts a child that leaves an orphan, as a credential plugin may, and polls it, as the program polls a plugin.
fn child_that_leaves_an_orphan() -> Option<i32> {
    let mut shell = process::Command::new("/bin/sh");
    let mut child = own::spawn(shell.args(["-c", "sh -c 'sleep 0.02 &'; exit 3"])).unwrap();
    loop {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(10)),
            Ok(Some(status)) => return status.code(),
            Err(_) => return None, // other code waited for it
        }
    }
}

/// Writes the time every 10 ms, with one of several behaviours.
#[test]
#[ignore = "a part of other tests"]
fn command() {
    let path = variable(FILE);
    let behaviour = variable(BEHAVIOUR);
    let again = |behaviour: &str| {
        let argv = argv("command");
        process::Command::new(&argv[0]).args(&argv[1..]).env(BEHAVIOUR, behaviour).spawn().unwrap()
    };
    if behaviour != "ends" {
        // Ignores SIGTERM, so that only SIGKILL ends it.
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::new(AtomicBool::new(false))).unwrap();
    }
    match behaviour.as_str() {
        "leaves-orphan" => drop(again("parent of an orphan").wait().unwrap()),
        "parent of an orphan" => {
            again("orphan");
            process::exit(0);
        }
        "orphan" => drop(rustix::process::setsid().unwrap()),
        _ => {}
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    loop {
        // In one write, because two processes write to the file, and each may be killed at any moment.
        let line = format!("{} {behaviour}\n", clock::now().uptime().as_nanos());
        file.write_all(line.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
}
