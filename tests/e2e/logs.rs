//! Container logs with the node's timestamps. They are followed while the pods run, because the log of a deleted pod is
//! lost.

use crate::namespace::TestNamespace;
use leader_elector::rfc3339;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A line that a container printed.
#[derive(Clone, Debug)]
pub struct Line {
    pub pod: String,
    /// The time at which it was printed, in microseconds since 1970, by the clock of the node.
    pub at: i64,
    pub text: String,
}

impl Line {
    /// Parses a line of `kubectl logs --timestamps`.
    fn parse(pod: &str, line: &str) -> Option<Line> {
        let (time, text) = line.split_once(' ')?;
        Some(Line { pod: pod.to_owned(), at: micros(time)?, text: text.to_owned() })
    }
}

/// The lines that a container has printed so far.
pub fn printed(namespace: &TestNamespace, pod: &str, container: &str) -> Vec<Line> {
    let log = namespace.kubectl(&["logs", pod, "--container", container, "--timestamps"]);
    log.lines().filter_map(|line| Line::parse(pod, line)).collect()
}

/// The time by the clock of this machine, in microseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Follows the logs of one container in all pods of the Deployment, from their beginning. Dropping it ends that.
pub struct Logs {
    is_stopped: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Logs {
    pub fn follow<'s>(scope: &'s thread::Scope<'s, '_>, namespace: &'s TestNamespace, container: &'s str) -> Logs {
        Logs::follow_pods(scope, namespace, container, "app%3Dapp")
    }

    /// The same for the pods with this label.
    pub fn follow_pods<'s>(
        scope: &'s thread::Scope<'s, '_>,
        namespace: &'s TestNamespace,
        container: &'s str,
        label: &'s str,
    ) -> Logs {
        let logs = Logs { is_stopped: Arc::default(), lines: Arc::default() };
        let (is_stopped, lines) = (Arc::clone(&logs.is_stopped), Arc::clone(&logs.lines));
        scope.spawn(move || {
            let mut known = BTreeSet::new();
            while !is_stopped.load(Ordering::Relaxed) {
                for pod in namespace.pods_with_label(label) {
                    if known.insert(pod.name.clone()) {
                        let (is_stopped, lines) = (Arc::clone(&is_stopped), Arc::clone(&lines));
                        scope.spawn(move || follow(namespace, &pod.name, container, &is_stopped, &lines));
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
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// Follows the logs of a pod until it is deleted or `is_stopped` is set. There is no log before the container runs, and
/// each restart begins a new one.
fn follow(namespace: &TestNamespace, pod: &str, container: &str, is_stopped: &AtomicBool, lines: &Mutex<Vec<Line>>) {
    let mut last_id = None;
    while !is_stopped.load(Ordering::Relaxed) {
        let object = namespace.get(&format!("pods/{pod}"));
        if object["code"] == 404 {
            return;
        }
        let states = ["containerStatuses", "initContainerStatuses"].map(|list| object["status"][list].as_array());
        let state = states.into_iter().flatten().flatten().find(|it| it["name"] == container);
        let started = state.filter(|it| it["state"]["waiting"].is_null()).and_then(|it| it["containerID"].as_str());
        match started {
            Some(id) if last_id.as_deref() != Some(id) => {
                last_id = Some(id.to_owned());
                follow_container(namespace, pod, container, is_stopped, lines);
            }
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn follow_container(
    namespace: &TestNamespace,
    pod: &str,
    container: &str,
    is_stopped: &AtomicBool,
    lines: &Mutex<Vec<Line>>,
) {
    let mut command = namespace.kubectl_command();
    command.args(["logs", pod, "--container", container, "--follow", "--timestamps"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("cannot run kubectl");
    let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            for line in output.lines().map_while(Result::ok).filter_map(|line| Line::parse(pod, &line)) {
                lines.lock().unwrap().push(line);
            }
        });
        while !reader.is_finished() && !is_stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
    });
}

/// The time at which an elector logged a line, as the line itself says.
pub fn logged_at(line: &Line) -> Option<i64> {
    micros(line.text.split_once(' ')?.0)
}

/// Parses a time in a log, in microseconds since 1970. The kubelet's times have nanoseconds, which are cut off.
fn micros(time: &str) -> Option<i64> {
    let (seconds, rest) = time.split_once('.')?;
    let (fraction, zone) = rest.split_at(rest.find(|it: char| !it.is_ascii_digit())?);
    rfc3339::parse(&format!("{seconds}.{}{zone}", &fraction[..fraction.len().min(6)]))
}
