//! The descendants of a process, read from `/proc`; see [`own`] for the children of this process.

pub mod own;

use rustix::process::Pid;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};

/// The longest possible line of `/proc/PID/stat` up to the fields that are read: all are numbers except the name, which
/// has at most 64 bytes.
const LONGEST_STAT: usize = 512;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: Pid,
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// It has ended, and its parent has not reaped it yet.
    pub has_ended: bool,
}

/// Calls `visit` with each descendant of this process as soon as it is found, except the spared ones and their
/// descendants.
///
/// A descendant whose parent ends in the meantime may be missed: call this again until there is none. A child of this
/// process itself is always found, if nobody reaps it meanwhile.
pub fn each_descendant(of: Pid, spare: &BTreeSet<i32>, mut visit: impl FnMut(Process)) -> io::Result<()> {
    let mut family = BTreeSet::from([of.as_raw_pid()]);
    let mut others = Vec::new();
    let mut see = |process: Process, family: &mut BTreeSet<i32>| {
        let belongs = family.contains(&process.parent) && !spare.contains(&process.pid.as_raw_pid());
        if belongs && family.insert(process.pid.as_raw_pid()) {
            visit(process);
        }
        belongs
    };
    let mut pids: Vec<i32> = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    // The newest first: a process that forks and ends at once does not live long enough to be reached last.
    for pid in pids.into_iter().rev() {
        let Some(process) = read(pid) else { continue }; // it is gone
        if !see(process, &mut family) {
            others.push(process);
        }
    }
    others.reverse(); // usually a parent is older than its children
    loop {
        let before = others.len();
        others.retain(|process| !see(*process, &mut family));
        if others.len() == before {
            return Ok(());
        }
    }
}

/// Reads the state of this process; `None` if there is none.
fn read(pid: i32) -> Option<Process> {
    let mut stat = [0; LONGEST_STAT];
    let length = File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut stat)).ok()?;
    parse(pid, &stat[..length])
}

/// See proc_pid_stat(5). The name may contain anything, including parentheses.
fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // The 20th field of the line. A process whose first thread has ended looks like one that has ended.
    let threads: u32 = fields.nth(14)?.parse().ok()?;
    Some(Process { pid: Pid::from_raw(pid)?, parent, group, has_ended: matches!(state, "Z" | "X") && threads <= 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_parsed_with_any_name() {
        let stat = |name: &str, state: &str, threads: u32| {
            let line = format!("7 ({name}) {state} 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 {threads} 0 100 0 0");
            parse(7, line.as_bytes()).map(|process| (process.parent, process.has_ended))
        };
        assert_eq!(stat("sh", "S", 1), Some((3, false)));
        assert_eq!(stat("a) Z 1 (b", "R", 2), Some((3, false)));
        assert_eq!(stat("sh", "Z", 1), Some((3, true)));
        assert_eq!(stat("first thread gone", "Z", 2), Some((3, false)));
        assert_eq!(parse(7, b"7 (sh) S"), None);
    }

    #[test]
    fn this_process_descends_from_its_parent_and_not_from_itself() {
        let (me, parent) = (rustix::process::getpid(), rustix::process::getppid().unwrap());
        let found = |of, spare: &[i32]| {
            let mut found = false;
            each_descendant(of, &spare.iter().copied().collect(), |process| found |= process.pid == me).unwrap();
            found
        };
        assert!(found(parent, &[]));
        assert!(!found(parent, &[me.as_raw_pid()]));
        assert!(!found(me, &[]));
    }
}
