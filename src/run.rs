//! Assembles the program: credentials, the HTTP port, signals, and the candidate on the calling thread.

use crate::api::Api;
use crate::candidate::sole_instance;
use crate::candidate::{Candidate, Stop};
use crate::cli::Config;
use crate::clock;
use crate::command::CommandRunner;
use crate::credentials::{Credentials, CredentialsError, SERVICE_ACCOUNT_DIR};
use crate::duration;
use crate::election::Settings;
use crate::http::{BindError, Limits, Server};
use crate::lock::Locks;
use crate::logging::output;
use crate::metrics::Metrics;
use crate::random;
use crate::signals::Signals;
use crate::status::{Snapshot, Status};
use crate::threads;
use log::{error, info, warn};
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the port may take to send the last events.
const LAST_EVENTS_LIMIT: Duration = Duration::from_millis(100);

/// A lock that this candidate has never seen is created after this time, or after R/8 if that is shorter. It is many times
/// what a leader needs to write its lock again if somebody has just deleted it.
const CREATION_DELAY: Duration = Duration::from_millis(250);

/// Why the program cannot start or continue.
#[derive(Debug)]
pub enum RunError {
    Credentials(CredentialsError),
    Bind(BindError),
    /// A thread could not be started.
    Threads(io::Error),
    /// The candidate ended with an error.
    Candidate(io::Error),
    /// The HTTP port ended with an error.
    Port(String),
}

impl RunError {
    /// Whether the configuration is wrong, rather than the environment.
    pub fn is_of_config(&self) -> bool {
        matches!(self, RunError::Credentials(error) if error.is_of_config())
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Credentials(error) => error.fmt(f),
            RunError::Bind(error) => error.fmt(f),
            RunError::Threads(error) => write!(f, "cannot start the threads of the election: {error}"),
            RunError::Candidate(error) => error.fmt(f),
            RunError::Port(why) => write!(f, "the HTTP port cannot be served any longer: {why}"),
        }
    }
}

impl Error for RunError {}

impl From<CredentialsError> for RunError {
    fn from(error: CredentialsError) -> RunError {
        RunError::Credentials(error)
    }
}

/// Runs the elector until a signal stops it or the command of run mode ends. `signals` must be registered before
/// anything else.
///
/// Returns the exit code of the command in run mode.
pub fn run(config: Config, signals: Signals) -> Result<Option<u8>, RunError> {
    if config.run_mode.is_some() {
        signals.register_forwarded().map_err(RunError::Threads)?;
    }
    let started = Started::default();
    start_signals(signals, Arc::clone(&started)).map_err(RunError::Threads)?;
    let credentials = credentials(&config)?;
    let limits = Limits { connections: config.http_max_connections, ..Limits::default() };
    let server = config.http.as_ref().map(|listen| Server::bind(listen, limits)).transpose().map_err(RunError::Bind)?;
    let settings = settings(&config);
    let locks = Arc::new(Locks { kinds: config.lock, namespace: config.namespace, name: config.election });
    let status = Arc::new(Status::new(unknown(&settings, &locks)));
    let metrics = Arc::new(Metrics::default());
    info!(
        "standing for {locks} as {:?} at {}; lease {}, renew deadline {}, retry period {}, request timeout {}",
        settings.identity,
        credentials.server_url(),
        in_millis(settings.lease),
        in_millis(settings.renew_deadline),
        in_millis(settings.retry_period),
        in_millis(settings.request_timeout),
    );
    if let Some(namespace) = credentials.namespace().filter(|namespace| *namespace != locks.namespace) {
        info!(
            "this pod is in the namespace {namespace:?}; --election-namespace puts the lock into {:?}",
            locks.namespace
        );
    }
    let credentials = Arc::new(credentials);
    let api = Api::new(Arc::clone(&credentials), settings.retry_period.saturating_mul(2));
    let service_api = api.sibling();
    let mut slot = started.lock().unwrap_or_else(PoisonError::into_inner);
    let mut candidate =
        Candidate::start(settings, locks, api, Arc::clone(&status), Arc::clone(&metrics)).map_err(RunError::Threads)?;
    if let Some(check) = config.health {
        candidate.check_health(check).map_err(RunError::Threads)?;
    }
    if let Some(spec) = config.leader_service {
        candidate.lead_service(spec, service_api).map_err(RunError::Threads)?;
    }
    let command = config.run_mode.map(|run_mode| candidate.run_command(run_mode)).transpose();
    *slot = Some((candidate.stop_handle(), command.map_err(RunError::Threads)?));
    drop(slot);
    let plugin = start_plugin_check(Arc::clone(&credentials), candidate.stop_handle()).map_err(RunError::Threads)?;
    let (stop, shown) = (candidate.stop_handle(), Arc::clone(&status));
    let port = server
        .map(|server| start_http(server, limits.connections, shown, metrics, stop))
        .transpose()
        .map_err(RunError::Threads)?;
    let outcome = candidate.run();
    status.close();
    credentials.close();
    // Once the port has sent its last events, it drops the channel.
    let port_failed = port.and_then(|failures| failures.recv_timeout(LAST_EVENTS_LIMIT).ok());
    let exit_code = outcome.map_err(RunError::Candidate)?;
    if let Ok(unusable) = plugin.try_recv() {
        return Err(unusable.into());
    }
    match port_failed {
        Some(failure) => Err(failure),
        None => Ok(exit_code),
    }
}

/// A duration for messages, in milliseconds.
fn in_millis(time: Duration) -> String {
    duration::format(Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

fn credentials(config: &Config) -> Result<Credentials, CredentialsError> {
    if let Some(path) = &config.kubeconfig {
        return Credentials::kubeconfig(path, config.context.as_deref());
    }
    let given = config.service_account_dir.as_deref();
    let mounted = given.unwrap_or(Path::new(SERVICE_ACCOUNT_DIR));
    match &config.server {
        // A proxy that accepts plain HTTP adds its own credentials.
        Some(url) if config.use_cluster_credentials && url.starts_with("https:") => {
            Credentials::server(url, Some(mounted))
        }
        Some(url) => Credentials::server(url, given),
        None if config.use_cluster_credentials || given.is_some() => Credentials::in_cluster(mounted),
        None => Credentials::find(config.context.as_deref(), mounted),
    }
}

fn settings(config: &Config) -> Settings {
    let timing = &config.timing;
    Settings {
        identity: config.id.as_str().into(),
        process: u128::from(random::bits()) << 64 | u128::from(random::bits()),
        host: if outlived_by_command(config) { None } else { sole_instance::find() },
        lease: timing.lease_duration,
        renew_deadline: timing.renew_deadline,
        retry_period: timing.retry_period,
        request_timeout: timing.request_timeout,
        release_delay: config.release_delay,
        creation_delay: (timing.retry_period / 8).min(CREATION_DELAY),
        health_failures: config.health.as_ref().map(|check| check.failures),
    }
}

/// Whether the command may outlive this process, so that its death proves nothing (S9): a warden gives the command time
/// to end. If the first process of a container dies, all others die at once.
fn outlived_by_command(config: &Config) -> bool {
    config.run_mode.is_some() && std::process::id() != 1
}

fn unknown(settings: &Settings, locks: &Arc<Locks>) -> Snapshot {
    let stuck_at = clock::now().saturating_add(settings.lease.saturating_mul(3));
    Snapshot::unknown(settings.identity.clone(), Arc::clone(locks), settings.lease, stuck_at)
}

/// What a signal stops: the candidate, and the command that gets forwarded signals, once they have started.
type Started = Arc<Mutex<Option<(Stop, Option<CommandRunner>)>>>;

fn start_signals(signals: Signals, started: Started) -> io::Result<()> {
    let of_command = Arc::clone(&started);
    let forward = move |signal| {
        if let Some((_, Some(command))) = &*of_command.lock().unwrap_or_else(PoisonError::into_inner) {
            command.forward(signal);
        }
    };
    let on_signal = move |signal| {
        info!("received {signal}");
        let started = started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((stop, _)) = &*started {
            return stop.stop();
        }
        // Nothing was sent yet, and nothing can start while this thread holds the mutex. Exit at once, because startup may
        // be blocked, for example on a network file system.
        output::flush();
        std::process::exit(0);
    };
    threads::spawn("signals", move || signals.run(forward, on_signal))
}

/// Stops the candidate if the credential plugin returns unusable credentials; the channel then holds the error. Nothing
/// waits for this check, because a plugin may be slow.
fn start_plugin_check(credentials: Arc<Credentials>, stop: Stop) -> io::Result<Receiver<CredentialsError>> {
    let (unusable, errors) = channel();
    if credentials.has_plugin() {
        threads::spawn("plugin check", move || {
            if let Err(error) = credentials.first_answer() {
                let _ = unusable.send(error); // the receiver may be gone
                stop.stop();
            }
        })?;
    }
    Ok(errors)
}

/// Serves the port. Without it nobody learns who leads, so if it fails, the candidate stops; the channel then holds the
/// error.
fn start_http(
    server: Server,
    max_connections: usize,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    stop: Stop,
) -> io::Result<Receiver<RunError>> {
    for address in server.local_addrs() {
        info!("serving http://{address}/");
    }
    if server.max_connections() < max_connections {
        warn!(
            "serving at most {} HTTP connections at a time, not {max_connections}: this process may not open more \
             files (see ulimit -n)",
            server.max_connections()
        );
    }
    let (failed, failures) = channel();
    threads::spawn("http", move || {
        let why = match catch_unwind(AssertUnwindSafe(|| server.run(status, metrics))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "a bug, see the panic above".to_owned(),
        };
        let failure = RunError::Port(why);
        error!("{failure}");
        let _ = failed.send(failure); // the receiver may be gone
        stop.stop();
    })?;
    Ok(failures)
}
