//! The cluster that the kubeconfig names, by kubectl.

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

/// Says that a cluster is meant to be used for this: without it nothing is touched, for a kubeconfig names whatever was
/// used last.
const IMAGE: &str = "IMAGE";

/// Names a command that takes `restart kube-apiserver`, `stop etcd` and `start etcd`.
const CONTROL_PLANE: &str = "CONTROL_PLANE";

/// What each namespace here is labelled with: `kubectl delete namespace -l leader-elector-e2e` removes what a killed run
/// has left.
pub const LABEL: &str = "leader-elector-e2e";

/// The process group of everything that is run, which is the proxy's; a new one until that is there.
static GROUP: AtomicI32 = AtomicI32::new(0);

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub struct Cluster {
    proxy: Proxy,
    pub agent: Agent,
    /// The elector's.
    pub image: String,
    /// One with a shell and wget, for applications and clients.
    pub shell_image: String,
    /// How often a handover is measured.
    pub rounds: usize,
    leftovers: Arc<Leftovers>,
}

/// What has to be put right, also when the run is interrupted.
#[derive(Default)]
struct Leftovers {
    namespaces: Mutex<Vec<String>>,
    /// Programs and their arguments.
    undo: Mutex<Vec<Vec<String>>>,
}

/// Something that was done to the cluster itself. It is undone when this is dropped.
pub struct Undo<'c> {
    cluster: &'c Cluster,
    command: Vec<String>,
}

impl Cluster {
    pub fn connect() -> Result<Cluster, Skipped> {
        let image =
            variable(IMAGE).ok_or(Skipped("IMAGE names no image of the elector that the cluster's nodes have"))?;
        let version = Cluster::program().args(["get", "--raw", "/version"]).stderr(Stdio::inherit()).output();
        if !version.map_err(|_| Skipped("there is no kubectl"))?.status.success() {
            return Err(Skipped("kubectl reaches no cluster"));
        }
        let proxy = Proxy::start(Cluster::program())?;
        GROUP.store(proxy.pid().as_raw_nonzero().get(), Ordering::Relaxed);
        let leftovers = Arc::<Leftovers>::default();
        leftovers.remove_when_interrupted(proxy.pid());
        let rounds = variable("ROUNDS").map_or(20, |it| it.parse().expect("ROUNDS is a number"));
        let shell_image = variable("SHELL_IMAGE").unwrap_or_else(|| "busybox:1.36".into());
        Ok(Cluster { proxy, agent: agent(), image, shell_image, rounds, leftovers })
    }

    /// kubectl, in a process group apart: Ctrl-C is for the test program. Once it was interrupted, nobody gets one.
    pub fn program() -> Command {
        while IS_INTERRUPTED.load(Ordering::Relaxed) {
            thread::park();
        }
        in_group(GROUP.load(Ordering::Relaxed))
    }

    pub fn name(&self) -> String {
        let version =
            self.get("/version").map_or(Value::Null, |(_, body)| serde_json::from_str(&body).unwrap_or_default());
        let (nodes, _) = kubectl::run(Cluster::program(), &["get", "nodes", "--output=name"]);
        format!(
            "Kubernetes {} with {} node(s), {}",
            version["gitVersion"].as_str().unwrap_or("?"),
            nodes.lines().count(),
            self.image
        )
    }

    /// GET through kubectl's proxy: status and body.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(&self.agent, &self.url(path))
    }

    /// Where kubectl's proxy has a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.proxy.url)
    }

    /// Makes a namespace where pods keep to this standard, to be removed by [`Cluster::remove`] or at the end.
    pub fn add_namespace(&self, name: &str, level: &str) {
        self.leftovers.namespaces.lock().unwrap().push(name.to_owned());
        let labels = serde_json::json!({LABEL: "yes", "pod-security.kubernetes.io/enforce": level});
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        });
        kubectl::run_with(Cluster::program(), &["create", "--filename=-"], &namespace.to_string());
    }

    /// Takes note of the command that undoes what is done next.
    pub fn will_undo(&self, command: &[&str]) -> Undo<'_> {
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        self.leftovers.undo.lock().unwrap().push(command.clone());
        Undo { cluster: self, command }
    }

    /// The command that stops and starts programs of the control plane, with these words at its end.
    pub fn control_plane(words: &[&str]) -> Result<Vec<String>, Skipped> {
        let program = variable(CONTROL_PLANE).ok_or(Skipped("CONTROL_PLANE names no command that stops etcd"))?;
        Ok(program.split_whitespace().chain(words.iter().copied()).map(str::to_owned).collect())
    }

    /// Whether the API server answers, and has what it needs.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }

    /// Begins to remove a namespace with all that is in it.
    pub fn remove_namespace(&self, name: &str) {
        let arguments = ["delete", "namespace", name, "--ignore-not-found", "--wait=false"];
        let _ = Cluster::program().args(arguments).stdout(Stdio::null()).status();
    }

    /// Removes everything, and waits until it is gone.
    pub fn clean_up(&self) {
        if !is_kept() {
            self.leftovers.remove();
        }
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let is_known = self.cluster.leftovers.undo.lock().unwrap().contains(&self.command);
        let is_undone = !is_known || run(&self.command); // known until it is undone, in case of an interruption
        self.cluster.leftovers.undo.lock().unwrap().retain(|command| *command != self.command);
        assert!(is_undone || thread::panicking(), "{:?} failed", self.command);
    }
}

/// Runs a command in a process group of its own; whether it succeeds.
pub fn run(command: &[String]) -> bool {
    let mut program = Command::new(&command[0]);
    program.args(&command[1..]).process_group(0).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Leftovers {
    fn remove(&self) {
        let undo = std::mem::take(&mut *self.undo.lock().unwrap());
        let is_undone = undo.iter().all(|command| run(command));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !undo.is_empty() && is_undone && !answers() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(200));
        }
        let names = std::mem::take(&mut *self.namespaces.lock().unwrap());
        if !names.is_empty() {
            let delete = ["delete", "namespace", "--ignore-not-found", "--timeout=120s"];
            let _ = in_group(0).args(delete).args(names).stdout(Stdio::null()).status();
        }
    }

    fn remove_when_interrupted(self: &Arc<Leftovers>, proxy: Pid) {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).expect("they can be caught");
        let leftovers = Arc::clone(self);
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                eprintln!("interrupted; removing the namespaces");
                IS_INTERRUPTED.store(true, Ordering::Relaxed);
                std::panic::set_hook(Box::new(|_| ())); // the scenario fails now, and nobody asked
                let _ = kill_process_group(proxy, Signal::KILL);
                leftovers.remove();
                std::process::exit(128 + signal);
            }
        });
    }
}

/// kubectl in this process group; 0 for one of its own.
fn in_group(group: i32) -> Command {
    let mut command = Command::new("kubectl");
    command.process_group(group);
    command
}

/// Whether the API server is ready, by kubectl.
fn answers() -> bool {
    let output = in_group(0).args(["get", "--raw", "/readyz"]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Whether the namespaces are to be looked at afterwards.
pub fn is_kept() -> bool {
    variable("KEEP").is_some()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// It keeps its connections.
pub fn agent() -> Agent {
    let timeout = Some(Duration::from_secs(5));
    Agent::config_builder().proxy(None).http_status_as_error(false).timeout_global(timeout).build().into()
}

pub fn get(agent: &Agent, url: &str) -> Option<(u16, String)> {
    let mut answer = agent.get(url).call().ok()?;
    let status = answer.status().as_u16();
    answer.body_mut().read_to_string().ok().map(|body| (status, body))
}
