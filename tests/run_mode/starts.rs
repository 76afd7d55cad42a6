//! How a command is started, and what it inherits.

use crate::common::{PATIENCE, wait_until};
use crate::stage::{Part, Stage, all_processes, proc};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

fn cannot(report: &str) -> Option<&str> {
    report.strip_prefix("cannot 7 ")
}

#[test]
fn the_command_gets_the_term_in_its_environment_and_its_exit_code_is_reported() {
    let mut stage = Stage::shell("env > $RUN_MODE_FILE; exit 5", SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 5");
    let file = stage.file();
    for variable in ["NAME=example", "NAMESPACE=default", "ID=run-mode-", "FENCING_TOKEN=7"] {
        assert!(file.contains(&format!("\nLEADER_ELECTION_{variable}")), "no {variable} in {file}");
    }
}

#[test]
fn a_signal_that_ends_the_command_is_reported_as_a_shell_does() {
    let mut stage = Stage::shell("kill -USR1 $$", SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 138");
}

#[test]
fn a_missing_program_is_127_and_a_file_that_is_not_executable_126() {
    let run = |program: &str| {
        let mut stage = Stage::with(&[program.to_owned()], SECOND, |_| {});
        stage.lead(7, LONG);
        let report = stage.report();
        stage.wait_for_end_of_all();
        report
    };
    let missing = run("/nonexistent/program");
    assert_eq!(cannot(&missing), Some("127 No such file or directory (os error 2)"), "{missing}");
    assert_eq!(cannot(&run("no-such-program-in-path")).map(|it| &it[..4]), Some("127 "));
    let file = std::env::temp_dir().join(format!("run-mode-no-program-{}", std::process::id()));
    fs::write(&file, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let no_program = run(file.to_str().unwrap());
    fs::remove_file(file).unwrap();
    assert_eq!(cannot(&no_program), Some("126 Permission denied (os error 13)"), "{no_program}");
    assert_eq!(cannot(&run("/tmp")).map(|it| &it[..4]), Some("126 "));
}

#[test]
fn the_command_inherits_only_the_standard_streams() {
    let input = std::env::temp_dir().join(format!("run-mode-input-{}", std::process::id()));
    fs::write(&input, "a line of input\n").unwrap();
    let stdin = fs::File::open(&input).unwrap();
    let script = "read line; echo \"$line\" > $RUN_MODE_FILE; exec sleep 600";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned);
    let mut stage = Stage::with(&argv, SECOND, |command| {
        command.stdin(stdin).stdout(Stdio::null());
    });
    stage.lead(7, LONG);
    let pid = stage.started(7);
    stage.wait_for_text("a line of input");
    wait_until("it is sleep", || proc(pid, "comm") == "sleep\n");
    // It may have files that this test program itself was started with. sleep closes the files that it opens at its
    // start.
    let target = |pid: i32, fd: &str| fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
    let of_test = |fd: &str| target(std::process::id().cast_signed(), fd);
    wait_until("it has the standard streams and no other file", || {
        let files = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).unwrap();
        let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let (standard, other): (Vec<_>, Vec<_>) = names.partition(|fd| ["0", "1", "2"].contains(&fd.as_str()));
        standard.len() == 3 && other.iter().all(|fd| target(pid.as_raw_pid(), fd) == of_test(fd))
    });
    let status = proc(pid, "status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & (1 << 12 | 1 << 14), 0, "SIGPIPE or SIGTERM is ignored");
    fs::remove_file(input).unwrap();
}

#[test]
fn the_command_and_each_warden_have_process_groups_of_their_own() {
    let mut stage = Stage::shell("exec sleep 600", SECOND);
    stage.lead(7, LONG);
    let pid = stage.started(7);
    let group = |pid| rustix::process::getpgid(Some(pid)).unwrap();
    assert_eq!(group(pid), pid);
    for part in [Part::OuterWarden, Part::Warden] {
        let pid = stage.pid(part);
        assert_eq!(group(pid), pid);
        assert!(proc(pid, "comm").contains("warden"));
    }
}

#[test]
fn the_command_is_not_started_if_it_would_have_to_end_at_once() {
    let mut stage = Stage::shell("exec sleep 600", 10 * SECOND);
    stage.lead(7, 5 * SECOND);
    assert_eq!(stage.children(1), 1); // the command would have been started by now
    stage.lead(8, 60 * SECOND);
    stage.started(8);
}

#[test]
fn a_term_starts_the_command_once_and_again_only_on_request() {
    let mut stage = Stage::shell("echo run >> $RUN_MODE_FILE", SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 0");
    stage.lead(7, LONG);
    stage.restart();
    stage.started(7);
    assert_eq!(stage.report(), "ended 7 0");
    stage.lead(7, LONG);
    stage.lead(9, LONG);
    stage.started(9);
    assert_eq!(stage.report(), "ended 9 0");
    assert_eq!(stage.file().lines().count(), 3);
}

#[test]
fn a_new_term_starts_its_command_after_the_old_one_has_ended() {
    let mut stage = Stage::shell("exec sleep 600", SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    stage.lead(8, LONG);
    assert_eq!(stage.report(), "ended 7 143");
    stage.started(8);
}

#[test]
fn orphans_are_reaped_and_no_other_exit_code_is_lost() {
    let mut stage = Stage::shell("exec sleep 600", SECOND);
    stage.lead(7, LONG);
    stage.started(7);
    let count = 50;
    assert_eq!(stage.children(count), count);
    let elector = stage.pid(Part::Elector).as_raw_pid();
    let is_zombie_of = |pid| {
        let stat = proc(pid, "stat");
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split(' ').skip(1);
        fields.next() == Some("Z") && fields.next() == Some(&elector.to_string())
    };
    wait_until("no zombie is left", || !all_processes().into_iter().any(is_zombie_of));
    stage.end(PATIENCE, true);
    assert_eq!(stage.report(), "ended 7 143");
}
