//! One run of a program: its output, or why there is none.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::printable::printable;

/// No credentials come near this.
const MOST_OUTPUT: usize = 1024 * 1024;

/// The end of what it said is where the reason stands.
const KEPT_COMPLAINT: usize = 4 * 1024;

/// How often is looked whether it has ended, where it does not show by its output.
const TICK: Duration = Duration::from_millis(10);

/// Runs a program with these arguments and variables and without input, and returns what it printed on stdout. It is
/// killed, and its children with it, after `patience`. An error shows what it printed on stderr, and nothing else.
pub(super) fn run<'a>(
    program: &Path,
    args: &[String],
    env: impl Iterator<Item = &'a (String, String)>,
    patience: Duration,
) -> Result<Vec<u8>, String> {
    let mut command = Command::new(program);
    command.args(args).envs(env.map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that whatever it starts can be ended with it.
    command.process_group(0);
    let child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let mut running = Running { child, output: Vec::new(), complaint: Vec::new(), status: None };
    let outcome = running.read_to_end(Instant::now() + patience);
    running.end();
    let complaint = match printable(running.complaint.trim_ascii()) {
        said if said.is_empty() => said,
        said => format!("; it said \"{said}\""),
    };
    match outcome {
        Err(error) => Err(format!("what it prints cannot be read: {error}")),
        Ok(Ended::TooLate) => Err(format!("it has not ended within {patience:?}, and was killed{complaint}")),
        Ok(Ended::TooMuch) => Err(format!("it printed more than {MOST_OUTPUT} bytes, and was killed{complaint}")),
        Ok(Ended::With(status)) if status.success() => Ok(std::mem::take(&mut running.output)),
        Ok(Ended::With(status)) => Err(format!("{status}{complaint}")),
    }
}

enum Ended {
    With(ExitStatus),
    TooLate,
    TooMuch,
}

struct Running {
    child: Child,
    output: Vec<u8>,
    complaint: Vec<u8>,
    status: Option<ExitStatus>,
}

impl Running {
    /// Reads both of its streams until it has ended. Their own ends are not waited for: whatever it left behind in the
    /// background may hold them.
    fn read_to_end(&mut self, deadline: Instant) -> io::Result<Ended> {
        let (mut stdout, mut stderr) = (self.child.stdout.take(), self.child.stderr.take());
        loop {
            // Asked first: what it wrote before it ended is then there to be read.
            self.status = self.child.try_wait()?;
            let came = self.read(&mut stdout, &mut stderr)?;
            if self.output.len() > MOST_OUTPUT {
                return Ok(Ended::TooMuch);
            }
            let late = Instant::now() >= deadline;
            match self.status {
                Some(status) if !came || late => return Ok(Ended::With(status)),
                None if late => return Ok(Ended::TooLate),
                _ => {}
            }
        }
    }

    /// Reads what there is; waits for a moment if there is nothing. Whether anything came.
    fn read(&mut self, stdout: &mut Option<ChildStdout>, stderr: &mut Option<ChildStderr>) -> io::Result<bool> {
        let wait = if self.status.is_some() { Duration::ZERO } else { TICK };
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        let streams = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        let mut fds: Vec<PollFd> =
            streams.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&wait)))?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let ready = streams.map(|stream| stream.is_some() && ready.next() == Some(true));
        let mut came = false;
        if ready[0] {
            came |= read_some(stdout, &mut self.output)?;
        }
        if ready[1] {
            came |= read_some(stderr, &mut self.complaint)?;
            let surplus = self.complaint.len().saturating_sub(KEPT_COMPLAINT);
            self.complaint.drain(..surplus);
        }
        Ok(came)
    }

    /// Leaves nothing of it behind.
    fn end(&mut self) {
        if self.status.is_some() {
            return;
        }
        // Not waited for yet, so the number is still its own.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Reads once from a stream that has something; forgets it at its end. Whether anything came.
fn read_some(stream: &mut Option<impl Read>, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    let count = match stream {
        Some(stream) => stream.read(&mut chunk)?,
        None => 0,
    };
    if count == 0 {
        *stream = None;
    }
    into.extend_from_slice(&chunk[..count]);
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Result<String, String> {
        let args = ["-c".to_owned(), script.to_owned()];
        let env = [("NAME".to_owned(), "value".to_owned())];
        run(Path::new("/bin/sh"), &args, env.iter(), patience).map(|output| String::from_utf8(output).unwrap())
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
    fn its_complaint_is_shown_and_its_output_is_not() {
        assert_eq!(
            shell("echo hunter2; echo 'no network' >&2; exit 3", LONG),
            Err("exit status: 3; it said \"no network\"".into())
        );
        assert_eq!(shell("kill -9 $$", LONG), Err("signal: 9 (SIGKILL)".into()));
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
        let error = run(Path::new("/dev/null"), &[], [].iter(), LONG).unwrap_err();
        assert!(error.starts_with("it cannot be started: "), "{error}");
    }
}
