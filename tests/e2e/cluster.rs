//! The cluster of the current kubeconfig, used through kubectl.

use crate::common::kubectl::{self, Proxy};
use crate::common::scenarios::Skipped;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use ureq::Agent;

/// The variable that names the elector's image. Without it no scenario runs: the current kubeconfig may belong to a
/// cluster that is not meant for tests.
const IMAGE: &str = "IMAGE";

/// The variable that names a command with the arguments `restart kube-apiserver`, `stop etcd` and `start etcd`.
const CONTROL_PLANE: &str = "CONTROL_PLANE";

/// The label of every namespace: after a run was killed, `kubectl delete namespace -l leader-elector-e2e` removes them.
pub const LABEL: &str = "leader-elector-e2e";

/// The process group of all kubectl processes: that of `kubectl proxy`, or 0 (a new group each) before it runs.
static GROUP: AtomicI32 = AtomicI32::new(0);

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub struct Cluster {
    proxy: Proxy,
    pub agent: Agent,
    /// The elector's image.
    pub image: String,
    /// An image with a shell and wget or curl, for applications and clients.
    pub shell_image: String,
    /// The number of handovers to measure.
    pub rounds: usize,
    cleanup: Arc<Cleanup>,
}

/// What must be removed or undone at the end, also if the run is interrupted.
#[derive(Default)]
struct Cleanup {
    namespaces: Mutex<Vec<String>>,
    /// Commands with their arguments.
    undo: Mutex<Vec<Vec<String>>>,
}

/// A command that undoes a change of the cluster. It runs when this is dropped.
pub struct Undo<'c> {
    cluster: &'c Cluster,
    command: Vec<String>,
}

impl Cluster {
    pub fn connect() -> Result<Cluster, Skipped> {
        let image = variable(IMAGE)
            .ok_or(Skipped("IMAGE is not set; it must name an image of the elector that the nodes can use"))?;
        let version = Cluster::kubectl().args(["get", "--raw", "/version"]).stderr(Stdio::inherit()).output();
        if !version.map_err(|_| Skipped("kubectl is not installed"))?.status.success() {
            return Err(Skipped("kubectl cannot reach a cluster"));
        }
        let proxy = Proxy::start(Cluster::kubectl())?;
        GROUP.store(proxy.pid().as_raw_nonzero().get(), Ordering::Relaxed);
        let cleanup = Arc::<Cleanup>::default();
        cleanup.run_on_signal(proxy.pid());
        let rounds = variable("ROUNDS").map_or(20, |it| it.parse().expect("ROUNDS must be a number"));
        let shell_image = variable("SHELL_IMAGE").unwrap_or_else(|| "busybox:1.36".into());
        Ok(Cluster { proxy, agent: agent(), image, shell_image, rounds, cleanup })
    }

    /// kubectl in a process group of its own, so that Ctrl-C reaches only the test program. After an interruption this
    /// never returns, so that no scenario changes the cluster during the cleanup.
    pub fn kubectl() -> Command {
        while IS_INTERRUPTED.load(Ordering::Relaxed) {
            thread::park();
        }
        in_group(GROUP.load(Ordering::Relaxed))
    }

    pub fn description(&self) -> String {
        let version =
            self.get("/version").map_or(Value::Null, |(_, body)| serde_json::from_str(&body).unwrap_or_default());
        let (nodes, _) = kubectl::run(Cluster::kubectl(), &["get", "nodes", "--output=name"]);
        format!(
            "Kubernetes {} with {} node(s), {}",
            version["gitVersion"].as_str().unwrap_or("?"),
            nodes.lines().count(),
            self.image
        )
    }

    /// Sends a GET through `kubectl proxy`; returns status and body.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(&self.agent, &self.url(path))
    }

    /// The URL of a path at `kubectl proxy`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.proxy.url)
    }

    /// Creates a namespace that enforces this Pod Security Standard. [`Cluster::remove_namespace`] removes it, or
    /// [`Cluster::clean_up`].
    pub fn add_namespace(&self, name: &str, level: &str) {
        self.cleanup.namespaces.lock().unwrap().push(name.to_owned());
        let labels = serde_json::json!({LABEL: "yes", "pod-security.kubernetes.io/enforce": level});
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        });
        kubectl::run_with(Cluster::kubectl(), &["create", "--filename=-"], &namespace.to_string());
    }

    /// Registers the command that undoes the next change.
    pub fn register_undo(&self, command: &[&str]) -> Undo<'_> {
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        self.cleanup.undo.lock().unwrap().push(command.clone());
        Undo { cluster: self, command }
    }

    /// The command in `CONTROL_PLANE` with these arguments.
    pub fn control_plane(arguments: &[&str]) -> Result<Vec<String>, Skipped> {
        let program = variable(CONTROL_PLANE)
            .ok_or(Skipped("CONTROL_PLANE is not set; it must name a command that stops and starts etcd"))?;
        Ok(program.split_whitespace().chain(arguments.iter().copied()).map(str::to_owned).collect())
    }

    /// Whether `/readyz` of the API server succeeds.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }

    /// Starts the removal of a namespace.
    pub fn remove_namespace(&self, name: &str) {
        let arguments = ["delete", "namespace", name, "--ignore-not-found", "--wait=false"];
        let _ = Cluster::kubectl().args(arguments).stdout(Stdio::null()).status();
    }

    /// Removes all namespaces, and waits until they are gone.
    pub fn clean_up(&self) {
        if !keeps_namespaces() {
            self.cleanup.run();
        }
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let is_registered = self.cluster.cleanup.undo.lock().unwrap().contains(&self.command);
        // It stays registered while it runs, in case the program is interrupted now.
        let is_undone = !is_registered || run(&self.command);
        self.cluster.cleanup.undo.lock().unwrap().retain(|command| *command != self.command);
        assert!(is_undone || thread::panicking(), "{:?} failed", self.command);
    }
}

/// Runs a command in a process group of its own. Returns whether it succeeded.
pub fn run(command: &[String]) -> bool {
    let mut program = Command::new(&command[0]);
    program.args(&command[1..]).process_group(0).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Cleanup {
    fn run(&self) {
        let undo = std::mem::take(&mut *self.undo.lock().unwrap());
        let is_undone = undo.iter().all(|command| run(command));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !undo.is_empty() && is_undone && !is_api_server_ready() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(200));
        }
        let names = std::mem::take(&mut *self.namespaces.lock().unwrap());
        if !names.is_empty() {
            let delete = ["delete", "namespace", "--ignore-not-found", "--timeout=120s"];
            let _ = in_group(0).args(delete).args(names).stdout(Stdio::null()).status();
        }
    }

    fn run_on_signal(self: &Arc<Cleanup>, proxy: Pid) {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).expect("cannot install the signal handlers");
        let cleanup = Arc::clone(self);
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                eprintln!("interrupted; removing the namespaces");
                IS_INTERRUPTED.store(true, Ordering::Relaxed);
                std::panic::set_hook(Box::new(|_| ())); // the running scenario fails, which is of no interest
                let _ = kill_process_group(proxy, Signal::KILL);
                cleanup.run();
                std::process::exit(128 + signal);
            }
        });
    }
}

/// kubectl in this process group; 0 means a new group.
fn in_group(group: i32) -> Command {
    let mut command = Command::new("kubectl");
    command.process_group(group);
    command
}

/// Asks with kubectl, because the proxy has been killed.
fn is_api_server_ready() -> bool {
    let output = in_group(0).args(["get", "--raw", "/readyz"]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Whether the namespaces stay after the run, for debugging.
pub fn keeps_namespaces() -> bool {
    variable("KEEP").is_some()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// An HTTP client that reuses its connections.
pub fn agent() -> Agent {
    let timeout = Some(Duration::from_secs(5));
    Agent::config_builder().proxy(None).http_status_as_error(false).timeout_global(timeout).build().into()
}

pub fn get(agent: &Agent, url: &str) -> Option<(u16, String)> {
    let mut answer = agent.get(url).call().ok()?;
    let status = answer.status().as_u16();
    answer.body_mut().read_to_string().ok().map(|body| (status, body))
}
