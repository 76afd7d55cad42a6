//! The memory of the elector and its two wardens in run mode, with all other features on, without the command.

use crate::Bench;
use crate::common::candidate::Candidate;
use crate::common::program::Program;
use crate::common::wait_until;
use crate::report::{Measurement, Report};
use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

/// Fields of `/proc/PID/smaps_rollup`, and what their sum over several processes means.
const FIELDS: [(&str, &str); 3] = [
    ("Rss", "sum of RSS: the pages of the program's file count three times"),
    ("Pss", "sum of PSS: each page counts once"),
    ("Private_Dirty", "not shared with the file of the program"),
];

pub fn memory(bench: &Bench, report: &mut Report) {
    let application = TcpListener::bind("127.0.0.1:0").expect("cannot bind a port");
    let health_check = format!("--health-check=tcp://{}", application.local_addr().expect("the socket is bound"));
    let flags =
        ["--election=run-mode", "--ttl=15s", "--leader-service=run-mode:80", "--pod-ip=10.1.0.1", &health_check];
    let command = ["--", "/bin/sleep", "600"];
    let flags = flags.into_iter().chain(command).map(str::to_owned).collect();
    let flags = [bench.server.flags("run-mode"), flags].concat();
    let mut candidate = Candidate::spawn(&Program::leader_elector(), "a", &flags);
    wait_until("the candidate leads", Duration::from_millis(2), || candidate.leads());
    let mut processes = vec![candidate.pid()];
    wait_until("the command runs", Duration::from_millis(2), || {
        processes.truncate(1);
        // Each process has one child: elector, outer warden, warden, command.
        while let Some(child) = child(processes[processes.len() - 1]) {
            processes.push(child);
        }
        processes.len() == 4
    });
    thread::sleep(Duration::from_secs(2));
    for (field, what) in FIELDS {
        let kb: u64 = processes[..3].iter().map(|pid| memory_kb(*pid, field)).sum();
        let values = bench
            .programs
            .iter()
            .map(|it| it.is_leader_elector().then_some(Measurement::Single(kb as f64 / 1000.0)))
            .collect();
        report.add(field, format!("run mode, the elector and both wardens: memory, {what}"), "MB", values);
    }
}

fn memory_kb(pid: u32, field: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("cannot read {field} of process {pid}"))
}

/// The first child of this process.
fn child(pid: u32) -> Option<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children.filter_map(|children| children.split_whitespace().next()?.parse().ok()).next()
}
