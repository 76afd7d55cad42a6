//! Runs a program once and captures its output.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, kill_process_group};

use crate::logging::escape::escaped_end;
use crate::processes::own::{self, OwnChild};

/// Larger than any credentials.
const MOST_OUTPUT: usize = 1024 * 1024;

/// The end of stderr is kept, because that is where the reason is.
const KEPT_COMPLAINT: usize = 4 * 1024;

/// How often to check whether the program has ended, if its output does not show it.
const TICK: Duration = Duration::from_millis(10);

/// How long to wait for output after the program has ended. Another program in a pipe, such as `tee`, may end later; a
/// background process may keep the pipe open forever.
const REST: Duration = Duration::from_secs(1);

/// The output of a successful run.
#[derive(Debug, PartialEq)]
pub(super) struct Printed {
    pub(super) output: Vec<u8>,
    /// What it wrote to stderr, as the end of a sentence; empty if it wrote nothing.
    pub(super) complaint: String,
}

/// A failed run. It contains stderr, but never stdout.
#[derive(Debug, PartialEq)]
pub(super) struct Failed {
    pub(super) why: String,
    /// It cannot be started, for a reason other than a temporary lack of resources.
    pub(super) for_good: bool,
}

/// Runs a program without input. It is killed with its process group after `patience`, or when `stop` becomes true.
pub(super) fn run<'a>(
    program: &Path,
    args: &[String],
    env: impl Iterator<Item = &'a (String, String)>,
    patience: Duration,
    stop: &AtomicBool,
) -> Result<Printed, Failed> {
    // Process 1 of a container inherits orphans and must reap them.
    if getpid().is_init() {
        own::reap_orphans();
    }
    let mut command = Command::new(program);
    command.args(args).envs(env.map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A process group of its own, so that its children can be killed too.
    command.process_group(0);
    let child = own::spawn(&mut command).map_err(|error| not_started(&error))?;
    let mut running = Running { child, output: Vec::new(), complaint: Vec::new(), status: None };
    let outcome = running.read_to_end(Instant::now() + patience, stop);
    running.end();
    let complaint = match escaped_end(running.complaint().trim_ascii()) {
        said if said.is_empty() => said,
        said => format!("; it said \"{said}\""),
    };
    let why = match outcome {
        Ok(Ended::With(status)) if status.success() => return Ok(Printed { output: running.output, complaint }),
        Ok(Ended::With(status)) => format!("{status}{complaint}"),
        Ok(Ended::TooLate) => format!("it has not ended within {patience:?}, and was killed{complaint}"),
        Ok(Ended::TooMuch) => format!("it printed more than {MOST_OUTPUT} bytes, and was killed{complaint}"),
        Err(error) => format!("what it prints cannot be read: {error}"),
    };
    Err(Failed { why, for_good: false })
}

fn not_started(error: &io::Error) -> Failed {
    let (hint, for_good) = match error.kind() {
        io::ErrorKind::NotFound => {
            ("; the interpreter that its first line names, or its dynamic linker, is not there", true)
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ArgumentListTooLong => ("", true),
        _ if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            ("; it is for another architecture, or a script without a first line that names its interpreter", true)
        }
        _ => ("", false),
    };
    Failed { why: format!("it cannot be started: {error}{hint}"), for_good }
}

enum Ended {
    With(ExitStatus),
    TooLate,
    TooMuch,
}

struct Running {
    child: OwnChild,
    output: Vec<u8>,
    /// The end of stderr.
    complaint: Vec<u8>,
    status: Option<ExitStatus>,
}

impl Running {
    /// Reads stdout and stderr until both have ended, or a little longer than the program.
    fn read_to_end(&mut self, mut deadline: Instant, stop: &AtomicBool) -> io::Result<Ended> {
        let (mut stdout, mut stderr) = (self.child.stdout.take(), self.child.stderr.take());
        loop {
            if self.status.is_none() {
                self.status = self.child.try_wait()?;
                if self.status.is_some() {
                    deadline = deadline.min(Instant::now() + REST);
                }
            }
            self.read(&mut stdout, &mut stderr)?;
            if self.output.len() > MOST_OUTPUT {
                return Ok(Ended::TooMuch);
            }
            let late = Instant::now() >= deadline || stop.load(Ordering::Relaxed);
            match self.status {
                Some(status) if late || stdout.is_none() && stderr.is_none() => return Ok(Ended::With(status)),
                None if late => return Ok(Ended::TooLate),
                _ => {}
            }
        }
    }

    /// Reads the available output, or waits for a moment if there is none.
    fn read(&mut self, stdout: &mut Option<ChildStdout>, stderr: &mut Option<ChildStderr>) -> io::Result<()> {
        let wait = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        let streams = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        let mut fds: Vec<PollFd> =
            streams.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&wait)))?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let ready = streams.map(|stream| stream.is_some() && ready.next() == Some(true));
        if ready[0] {
            read_some(stdout, &mut self.output)?;
        }
        if ready[1] {
            read_some(stderr, &mut self.complaint)?;
            let surplus = self.complaint.len().saturating_sub(KEPT_COMPLAINT);
            self.complaint.drain(..surplus);
        }
        Ok(())
    }

    /// The end of stderr, in whole words: a part of a token would not be recognised as one.
    fn complaint(&self) -> &[u8] {
        if self.complaint.len() < KEPT_COMPLAINT {
            return &self.complaint;
        }
        // The first word may have been cut.
        let word_ends = self.complaint.iter().position(u8::is_ascii_whitespace);
        &self.complaint[word_ends.unwrap_or(self.complaint.len())..]
    }

    /// Kills the process and its group.
    fn end(&mut self) {
        if self.status.is_some() {
            return;
        }
        // Not reaped yet, so its process id is still valid.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        // It may have left its group.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads once from a stream with data; drops the stream at its end.
fn read_some(stream: &mut Option<impl Read>, into: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 4096];
    let count = match stream {
        Some(stream) => stream.read(&mut chunk)?,
        None => 0,
    };
    if count == 0 {
        *stream = None;
    }
    into.extend_from_slice(&chunk[..count]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::secrets;

    fn shell(script: &str, patience: Duration) -> Result<String, String> {
        let args = ["-c".to_owned(), script.to_owned()];
        let env = [("NAME".to_owned(), "value".to_owned())];
        let printed = run(Path::new("/bin/sh"), &args, env.iter(), patience, &AtomicBool::new(false));
        printed.map(|it| String::from_utf8(it.output).unwrap()).map_err(|failed| failed.why)
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn what_it_prints_comes_back_whole() {
        assert_eq!(shell("printf %s \"$NAME\"", LONG).as_deref(), Ok("value"));
        assert_eq!(shell("exec >&- 2>&-; sleep 0.1", LONG).as_deref(), Ok(""));
        let much =
            shell("i=0; while [ $i -lt 20000 ]; do echo 0123456789 >&2; echo 0123456789; i=$((i+1)); done", LONG);
        assert_eq!(much.map(|output| output.len()), Ok(220_000));
    }

    #[test]
    fn what_it_leaves_in_the_background_is_not_waited_for() {
        let began = Instant::now();
        assert_eq!(shell("sleep 60 & echo done", LONG).as_deref(), Ok("done\n"));
        assert!(began.elapsed() < LONG);
    }

    #[test]
    fn what_comes_through_another_program_is_waited_for() {
        assert_eq!(shell("(sleep 0.2; echo late) &", LONG).as_deref(), Ok("late\n"));
        let error = shell("(sleep 0.2; echo reason >&2) & exit 1", LONG);
        assert_eq!(error, Err("exit status: 1; it said \"reason\"".into()));
    }

    #[test]
    fn one_that_is_not_waited_for_any_longer_is_killed() {
        let (args, none) = (["-c".to_owned(), "sleep 60".to_owned()], []);
        let stopped = run(Path::new("/bin/sh"), &args, none.iter(), LONG, &AtomicBool::new(true));
        assert!(!stopped.unwrap_err().for_good);
    }

    #[test]
    fn its_complaint_is_shown_and_its_output_is_not() {
        assert_eq!(
            shell("echo hunter2; echo 'no network' >&2; exit 3", LONG),
            Err("exit status: 3; it said \"no network\"".into())
        );
        assert_eq!(shell("kill -9 $$", LONG), Err("signal: 9 (SIGKILL)".into()));
    }

    #[test]
    fn no_part_of_a_token_is_shown_of_a_long_complaint() {
        let token: String = (0..1000).map(|number| format!("{number:05}")).collect();
        secrets::hide(&token);
        // Only the last 300 characters are shown, and of the second text only the last 4 KiB are kept.
        for length in [400, token.len()] {
            let shown = &token[..length];
            let error = shell(&format!("printf '%s %280s' '{shown}' reason >&2; exit 1"), LONG).unwrap_err();
            let said = error.split_once("it said").unwrap().1;
            assert!(said.ends_with("reason\"") && !said.contains(|c: char| c.is_ascii_digit()), "{error}");
        }
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let script = "echo $$ >&2; sleep 60; echo never";
        let error = shell(script, Duration::from_millis(200)).unwrap_err();
        let group = error.split('"').nth(1).and_then(|said| said.parse().ok()).and_then(Pid::from_raw).unwrap();
        assert!(error.starts_with("it has not ended within 200ms, and was killed; it said \""), "{error}");
        // The group is gone once its last process is; the shell's child needs a moment to die.
        let deadline = Instant::now() + LONG;
        while rustix::process::test_kill_process_group(group).is_ok() {
            assert!(Instant::now() < deadline);
        }
    }

    #[test]
    fn one_that_prints_without_end_is_killed() {
        let error = shell("exec cat /dev/zero", LONG).unwrap_err();
        assert_eq!(error, format!("it printed more than {MOST_OUTPUT} bytes, and was killed"));
    }

    #[test]
    fn one_that_cannot_be_started_is_an_error() {
        let dir = std::env::temp_dir().join(format!("leader-elector-start-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = |name: &str, content: &str, mode: u32| {
            use std::os::unix::fs::PermissionsExt;
            let path = dir.join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        for (path, why) in [
            (file("no-interpreter", "#!/nonexistent/sh\n", 0o755), "the interpreter that its first line names"),
            (file("no-program", "echo no first line\n", 0o755), "for another architecture, or a script without"),
            (file("no-right", "#!/bin/sh\n", 0o644), "it cannot be started: Permission denied"),
        ] {
            let failed = run(&path, &[], [].iter(), LONG, &AtomicBool::new(false)).unwrap_err();
            assert!(failed.for_good && failed.why.contains(why), "{failed:?}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
