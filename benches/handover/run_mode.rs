//! The memory of the elector and its two wardens in run mode, with all other features on, without the command.

use crate::Bench;
use crate::common::candidate::{Candidate, proc_field};
use crate::common::program::Program;
use crate::common::wait_until;
use crate::report::{Measurement, Report};
use leader_elector::processes::each_descendant;
use rustix::process::Pid;
use std::collections::BTreeSet;
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
    let elector = candidate.pid();
    let mut descendants = Vec::new();
    wait_until("the command runs", Duration::from_millis(2), || {
        descendants.clear();
        let found = each_descendant(elector, &BTreeSet::new(), |process| descendants.push(process.pid));
        found.expect("/proc is readable");
        descendants.len() == 3
    });
    // A parent comes before its children: outer warden, warden, command.
    let processes = [elector, descendants[0], descendants[1]];
    thread::sleep(Duration::from_secs(2));
    for (field, what) in FIELDS {
        let kb: u64 = processes.into_iter().map(|pid| memory_kb(pid, field)).sum();
        let values = bench
            .programs
            .iter()
            .map(|it| it.is_leader_elector().then_some(Measurement::Single(kb as f64 / 1000.0)))
            .collect();
        report.add(field, format!("run mode, the elector and both wardens: memory, {what}"), "MB", values);
    }
}

fn memory_kb(pid: Pid, field: &str) -> u64 {
    let number = proc_field(&format!("/proc/{}/smaps_rollup", pid.as_raw_pid()), field);
    number.unwrap_or_else(|| panic!("cannot read {field} of process {}", pid.as_raw_pid()))
}
