//! Kills or stops the elector and the wardens, one or several at a time: the command ends before the claim.

use crate::stage::{Part, Stage, proc};
use Part::{Elector, OuterWarden, Warden};
use leader_elector::command::KILL_MARGIN;
use leader_elector::time::Time;
use rustix::process::Signal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const STOP_TIMEOUT: Duration = Duration::from_secs(1);
const CLAIM: Duration = Duration::from_secs(5);

/// A command that ignores SIGTERM, and an orphan in another session that ignores it too. Both are running.
fn at_work() -> (Stage, Time) {
    at_work_for(CLAIM, STOP_TIMEOUT)
}

fn at_work_for(claim: Duration, stop_timeout: Duration) -> (Stage, Time) {
    let mut stage = Stage::writer("leaves-orphan", stop_timeout);
    let until = stage.lead(7, claim);
    stage.started(7);
    stage.wait_for_text("orphan");
    stage.wait_for_text("leaves-orphan");
    (stage, until)
}

/// Fails if the command writes after the end of the claim, unless this process was kept from running meanwhile too: then
/// it tries again.
fn ends_in_time(faults: &[(&[Part], Signal)]) {
    for _ in 0..10 {
        let stalls = Stalls::measure();
        let (stage, until) = at_work();
        for (parts, signal) in faults {
            stage.signal(parts, *signal);
        }
        stage.wait_for_end_of_command();
        let (late, stall) = (stage.last_write().since(until), stalls.longest());
        if late.is_zero() {
            return;
        }
        assert!(
            stall > KILL_MARGIN / 4,
            "it wrote {late:?} after the end of the claim, and the longest stall was {stall:?}"
        );
    }
    panic!("the machine is too busy: it stalls this process again and again");
}

/// The elector scans `/proc`, and may miss a process that forks and ends meanwhile.
#[test]
fn a_command_that_keeps_forking_has_ended_when_the_elector_says_so() {
    for again in ["sh", "setsid sh"].repeat(4) {
        let mut stage = Stage::forking(again, Duration::ZERO);
        stage.lead(7, Duration::from_millis(1_500));
        stage.started(7);
        stage.signal(&[OuterWarden, Warden], Signal::STOP);
        assert_eq!(stage.report(), "ended 7 137");
        let text = stage.file();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(stage.file().len(), text.len(), "it still writes");
    }
}

/// How late a thread of this process wakes up.
struct Stalls {
    longest: Arc<Mutex<Duration>>,
    /// The thread ends when this is dropped.
    _end: Sender<()>,
}

impl Stalls {
    fn measure() -> Stalls {
        let (end, ended) = channel();
        let stalls = Stalls { longest: Arc::default(), _end: end };
        let longest = Arc::clone(&stalls.longest);
        thread::spawn(move || {
            let pause = Duration::from_millis(5);
            let mut before = Instant::now();
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let mut longest = longest.lock().unwrap();
                *longest = longest.max(before.elapsed().saturating_sub(pause));
                before = Instant::now();
            }
        });
        stalls
    }

    fn longest(&self) -> Duration {
        *self.longest.lock().unwrap()
    }
}

const KILL: Signal = Signal::KILL;
const STOP: Signal = Signal::STOP;

#[test]
fn the_elector_is_killed() {
    ends_in_time(&[(&[Elector], KILL)]);
}

#[test]
fn the_elector_is_killed_long_before_the_claim_ends() {
    let script =
        "trap 'echo TERM >> $RUN_MODE_FILE; exit' TERM; echo ready > $RUN_MODE_FILE; while :; do sleep 0.01; done";
    let mut stage = Stage::shell(script, STOP_TIMEOUT);
    stage.lead(7, Duration::from_secs(600));
    stage.started(7);
    stage.wait_for_text("ready");
    stage.signal(&[Elector], KILL);
    stage.wait_for_text("TERM");
    stage.wait_for_end_of_all();
}

#[test]
fn the_elector_is_stopped() {
    ends_in_time(&[(&[Elector], STOP)]);
}

#[test]
fn the_outer_warden_is_killed() {
    ends_in_time(&[(&[OuterWarden], KILL)]);
}

#[test]
fn the_outer_warden_is_stopped() {
    ends_in_time(&[(&[OuterWarden], STOP)]);
}

#[test]
fn the_warden_is_killed() {
    ends_in_time(&[(&[Warden], KILL)]);
}

#[test]
fn the_warden_is_stopped() {
    ends_in_time(&[(&[Warden], STOP)]);
}

#[test]
fn both_wardens_are_killed() {
    ends_in_time(&[(&[OuterWarden, Warden], KILL)]);
    ends_in_time(&[(&[Warden, OuterWarden], KILL)]);
}

#[test]
fn both_wardens_are_stopped() {
    ends_in_time(&[(&[OuterWarden, Warden], STOP)]);
}

#[test]
fn the_elector_and_a_warden_are_killed() {
    ends_in_time(&[(&[Elector, OuterWarden], KILL)]);
    ends_in_time(&[(&[OuterWarden, Elector], KILL)]);
    ends_in_time(&[(&[Elector, Warden], KILL)]);
}

#[test]
fn the_elector_and_a_warden_are_stopped() {
    ends_in_time(&[(&[Elector, OuterWarden], STOP)]);
    ends_in_time(&[(&[Elector, Warden], STOP)]);
}

#[test]
fn one_is_stopped_and_another_killed() {
    ends_in_time(&[(&[OuterWarden], STOP), (&[Elector], KILL)]);
    ends_in_time(&[(&[Warden], STOP), (&[Elector], KILL)]);
    ends_in_time(&[(&[Elector], STOP), (&[OuterWarden], KILL)]);
    ends_in_time(&[(&[Elector], STOP), (&[Warden], KILL)]);
    ends_in_time(&[(&[OuterWarden], STOP), (&[Warden], KILL)]);
    ends_in_time(&[(&[Warden], STOP), (&[OuterWarden], KILL)]);
    ends_in_time(&[(&[Warden, OuterWarden], STOP), (&[Elector], KILL)]);
    ends_in_time(&[(&[Elector, Warden], STOP), (&[OuterWarden], KILL)]);
}

#[test]
fn all_are_killed_and_the_command_itself_with_them() {
    let (stage, _) = at_work();
    stage.signal(&[Elector, OuterWarden, Warden], KILL);
    let main = |stage: &Stage| {
        stage
            .command_processes()
            .into_iter()
            .any(|pid| proc(pid, "environ").contains("RUN_MODE_BEHAVIOUR=leaves-orphan"))
    };
    crate::common::wait_until("the command is dead", || !main(&stage));
}

#[test]
fn what_dead_wardens_leave_behind_is_killed_at_once() {
    for outer in [None, Some(KILL), Some(STOP)] {
        let (mut stage, _) = at_work_for(Duration::from_secs(600), Duration::from_secs(60));
        if let Some(signal) = outer {
            stage.signal(&[OuterWarden], signal);
        }
        stage.signal(&[Warden], KILL);
        assert_eq!(stage.report(), "ended 7 137");
        assert!(stage.command_processes().is_empty());
    }
}

#[test]
fn a_killed_warden_is_noticed_although_the_outer_one_was_stopped_right_after_starting_it() {
    for _ in 0..10 {
        let mut stage = Stage::writer("leaves-orphan", Duration::from_secs(60));
        stage.lead(7, Duration::from_secs(600));
        crate::common::wait_until("there is a warden", || stage.has(Warden));
        stage.signal(&[OuterWarden], STOP);
        // The command may start without the outer warden, or only when that continues.
        thread::sleep(Duration::from_millis(100));
        if !stage.file().contains("orphan") {
            stage.signal(&[OuterWarden], Signal::CONT);
        }
        stage.started(7);
        stage.wait_for_text("orphan");
        stage.signal(&[OuterWarden], STOP);
        stage.signal(&[Warden], KILL);
        assert_eq!(stage.report(), "ended 7 137");
        assert!(stage.command_processes().is_empty());
    }
}

#[test]
fn the_end_is_reported_when_a_warden_was_killed() {
    for parts in [&[OuterWarden][..], &[Warden], &[OuterWarden, Warden]] {
        let (mut stage, _) = at_work();
        stage.signal(parts, KILL);
        assert_eq!(stage.report(), "ended 7 137");
        assert!(stage.command_processes().is_empty());
        stage.wait_for_end_of_all();
        // The next term has its command.
        stage.lead(8, Duration::from_secs(600));
        stage.started(8);
    }
}
