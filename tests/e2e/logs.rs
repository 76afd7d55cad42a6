//! What applications print, as it comes, with the times of the node: a pod that is gone has no log any more.

use crate::stage::Stage;
use leader_elector::rfc3339;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A line of a container.
#[derive(Clone, Debug)]
pub struct Line {
    pub pod: String,
    /// When it was printed, in microseconds since 1970, by the clock of the node.
    pub at: i64,
    pub text: String,
}

impl Line {
    /// A line as `kubectl logs --timestamps` prints it.
    fn of(pod: &str, line: &str) -> Option<Line> {
        let (time, text) = line.split_once(' ')?;
        Some(Line { pod: pod.to_owned(), at: micros(time)?, text: text.to_owned() })
    }
}

/// All that a container has printed.
pub fn so_far(stage: &Stage, pod: &str, container: &str) -> Vec<Line> {
    let printed = stage.kubectl(&["logs", pod, "--container", container, "--timestamps"]);
    printed.lines().filter_map(|line| Line::of(pod, line)).collect()
}

/// The time here, in microseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Follows the logs of one container of every pod of the Deployment, from the start.
pub struct Logs {
    is_over: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Logs {
    pub fn follow<'s>(scope: &'s thread::Scope<'s, '_>, stage: &'s Stage, container: &'s str) -> Logs {
        Logs::follow_pods(scope, stage, container, "app%3Dapp")
    }

    /// The same of the pods with this label.
    pub fn follow_pods<'s>(
        scope: &'s thread::Scope<'s, '_>,
        stage: &'s Stage,
        container: &'s str,
        label: &'s str,
    ) -> Logs {
        let logs = Logs { is_over: Arc::default(), lines: Arc::default() };
        let (is_over, lines) = (Arc::clone(&logs.is_over), Arc::clone(&logs.lines));
        scope.spawn(move || {
            let mut known = BTreeSet::new();
            while !is_over.load(Ordering::Relaxed) {
                for pod in stage.pods_of(label) {
                    if known.insert(pod.name.clone()) {
                        let (is_over, lines) = (Arc::clone(&is_over), Arc::clone(&lines));
                        scope.spawn(move || follow(stage, &pod.name, container, &is_over, &lines));
                    }
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        logs
    }

    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Until the pod is gone or nobody is interested any more. There is no log before the container runs, and another one
/// when it was started again.
fn follow(stage: &Stage, pod: &str, container: &str, is_over: &AtomicBool, lines: &Mutex<Vec<Line>>) {
    let mut followed = None;
    while !is_over.load(Ordering::Relaxed) {
        let object = stage.get(&format!("pods/{pod}"));
        if object["code"] == 404 {
            return;
        }
        let states = ["containerStatuses", "initContainerStatuses"].map(|list| object["status"][list].as_array());
        let state = states.into_iter().flatten().flatten().find(|it| it["name"] == container);
        let begun = state.filter(|it| it["state"]["waiting"].is_null()).and_then(|it| it["containerID"].as_str());
        match begun {
            Some(id) if followed.as_deref() != Some(id) => {
                followed = Some(id.to_owned());
                follow_container(stage, pod, container, is_over, lines);
            }
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn follow_container(stage: &Stage, pod: &str, container: &str, is_over: &AtomicBool, lines: &Mutex<Vec<Line>>) {
    let mut command = stage.program();
    command.args(["logs", pod, "--container", container, "--follow", "--timestamps"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it could be run before");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            for line in output.lines().map_while(Result::ok).filter_map(|line| Line::of(pod, &line)) {
                lines.lock().unwrap().push(line);
            }
        });
        while !reader.is_finished() && !is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
    });
}

/// When an elector logged a line, by its own clock.
pub fn logged_at(line: &Line) -> Option<i64> {
    micros(line.text.split_once(' ')?.0)
}

/// A time in a log, in microseconds since 1970. The kubelet's have nanoseconds.
pub fn micros(time: &str) -> Option<i64> {
    let (seconds, rest) = time.split_once('.')?;
    let (fraction, zone) = rest.split_at(rest.find(|it: char| !it.is_ascii_digit())?);
    rfc3339::parse(&format!("{seconds}.{}{zone}", &fraction[..fraction.len().min(6)]))
}
