//! Parses the command line and a few environment variables into an [`Invocation`] or a [`UsageError`].
//!
//! The syntax of flags is that of 0.5, which used pflag (<https://pkg.go.dev/github.com/spf13/pflag>); see [`parse`].

mod argv;
mod environment;
mod flags;
mod health;
mod leader_service;
mod run_mode;
mod timing;

use crate::check::Elector;
use crate::command::RunMode;
use crate::credentials;
use crate::duration;
use crate::health::HealthCheck;
use crate::http::{Limits, ListenAddress};
use crate::leader_service::ServiceSpec;
use crate::lock::{CHOICES, LockKind};
use crate::logging;
use log::LevelFilter;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use environment::{Environment, PodVariables};
use flags::{Flags, bad};
pub use timing::Timing;

/// The output of `--help`.
pub const HELP: &str = include_str!("cli/help.txt");

/// The output of `--version`.
pub const VERSION: &str = concat!("leader-elector ", env!("CARGO_PKG_VERSION"), "\n");

/// What the program should do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one of them in the life of a process")]
pub enum Invocation {
    Run(Config),
    /// Ask this elector whether it leads.
    Check(Elector),
    Version,
    Help,
}

/// The values of all flags, checked as far as possible without I/O.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name of the election and of its lock: a DNS subdomain.
    pub election: String,
    /// The namespace of the lock: a DNS label.
    pub namespace: String,
    /// The kinds of the lock objects in order.
    pub lock: &'static [LockKind],
    /// The identity of this candidate: not empty, no control characters, at most [`LONGEST_ID`] bytes.
    pub id: String,
    pub timing: Timing,
    /// How long the lock is kept after a signal before it is released.
    pub release_delay: Duration,
    /// The health check of the application; `None` if there is none.
    pub health: Option<HealthCheck>,
    /// The leader Service, if there is one.
    pub leader_service: Option<ServiceSpec>,
    /// The command that runs only while this candidate leads, if there is one.
    pub run_mode: Option<RunMode>,
    /// The address of the HTTP port; `None` for no port.
    pub http: Option<ListenAddress>,
    /// The maximum number of HTTP connections, 1 to [`MOST_CONNECTIONS`].
    pub http_max_connections: usize,
    /// The URL of the API server, if given. It is a valid base for requests.
    pub server: Option<String>,
    pub service_account_dir: Option<PathBuf>,
    pub use_cluster_credentials: bool,
    /// The kubeconfig file, if given.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig, if given.
    pub context: Option<String>,
    pub log: logging::LogSettings,
    /// Ignored arguments, for one warning.
    pub ignored: Vec<String>,
}

/// An invalid command line: one or two lines with the flag, the value and the valid form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The maximum length of an identity in bytes. 0.5 allows any text; this length fits into any annotation.
pub const LONGEST_ID: usize = 1024;

/// The maximum of `--http-max-connections`. A scan of that many connections, which some events need, still takes little
/// time.
pub const MOST_CONNECTIONS: usize = 10_000;

/// The maximum of `--release-delay`.
const LONGEST_RELEASE_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses a command line without the program's name.
///
/// Flags are `--flag=value`, `--flag value`, or the same with one dash. Of repeated flags the last one wins. Boolean
/// flags are `--flag`, `--flag=true` or `--flag=false`. Other arguments are ignored. The command of run mode follows
/// `--`. One argument that begins with `--` and contains white space is split, as in the wrapper script of 0.5.
pub fn parse(args: impl IntoIterator<Item = OsString>, environment: &Environment) -> Result<Invocation, UsageError> {
    let argv::Argv { pairs, ignored, command } = argv::normalise(args)?;
    let mut flags = Flags::new(pairs);
    if flags.boolean("--help")? {
        return Ok(Invocation::Help);
    }
    if flags.boolean("--version")? {
        return Ok(Invocation::Version);
    }
    if let Some(url) = flags.text("--check")? {
        return elector(&url, flags.http()?, &ignored).map(Invocation::Check);
    }
    let (kubeconfig, context) = kubeconfig(&mut flags)?;
    let election = election(flags.text("--election")?)?;
    let namespace = namespace(flags.text("--election-namespace")?)?;
    let id = identity(flags.text("--id")?, &environment.hostname)?;
    let leader_service =
        leader_service::ServiceFlags { service: flags.text("--leader-service")?, pod_ip: flags.text("--pod-ip")? }
            .complete(&election, &namespace, &id, environment)?;
    let timing = timing(&mut flags)?;
    let config = Config {
        election,
        namespace,
        lock: flags.choice("--lock", &CHOICES)?.unwrap_or(&[LockKind::Endpoints]),
        id,
        leader_service,
        run_mode: run_mode::run_mode(&mut flags, command, &timing)?,
        timing,
        release_delay: release_delay(flags.duration("--release-delay")?)?,
        health: health::check(&mut flags)?,
        http: flags.http()?,
        http_max_connections: http_max_connections(flags.text("--http-max-connections")?)?,
        server: flags.text("--server")?.map(server).transpose()?,
        service_account_dir: flags.text("--service-account-dir")?.map(directory).transpose()?,
        use_cluster_credentials: flags.boolean("--use-cluster-credentials")?,
        kubeconfig,
        context,
        log: log_settings(&mut flags, environment)?,
        ignored,
    };
    check_single_source(&config)?;
    Ok(Invocation::Run(config))
}

const LOG_FORMATS: [(&str, logging::Format); 2] = [("text", logging::Format::Text), ("json", logging::Format::Json)];

const LOG_LEVELS: [(&str, LevelFilter); 4] = [
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
];

fn election(given: Option<String>) -> Result<String, UsageError> {
    let missing = || UsageError("--election is missing: name the election, such as --election=my-app".to_owned());
    let name = given.ok_or_else(missing)?;
    let fault = if name.len() > 253 { Some(too_long(&name, 253)) } else { name.split('.').find_map(label_fault) };
    match fault {
        None => Ok(name),
        Some(fault) => Err(bad("--election", &name, &format!("{fault}; write it like my-app or my-app.example"))),
    }
}

fn namespace(given: Option<String>) -> Result<String, UsageError> {
    let Some(name) = given else { return Ok("default".to_owned()) };
    let fault = if name.len() > 63 { Some(too_long(&name, 63)) } else { label_fault(&name) };
    match fault {
        None => Ok(name),
        Some(fault) => Err(bad("--election-namespace", &name, &format!("{fault}; write it like my-namespace"))),
    }
}

fn too_long(value: &str, limit: usize) -> String {
    format!("{} bytes are too many, {limit} are allowed", value.len())
}

/// Why a text is not a DNS label as in Kubernetes (RFC 1123, lower case), regardless of its length.
fn label_fault(label: &str) -> Option<String> {
    if label.is_empty() {
        return Some("a name, or a part of it between dots, is empty".to_owned());
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(other) = label.chars().find(|c| !allowed(*c)) {
        return Some(format!("{other:?} is not allowed, only lower-case letters, digits and '-'"));
    }
    let hyphen_outside = label.starts_with('-') || label.ends_with('-');
    hyphen_outside
        .then(|| "a name, and each part of it between dots, begins and ends with a letter or digit".to_owned())
}

/// The given identity, or the hostname, which in most pods is the name of the pod.
fn identity(given: Option<String>, hostname: &str) -> Result<String, UsageError> {
    let (id, origin) = match given {
        Some(id) => (id, "--id"),
        None => (hostname.to_owned(), "--id is missing, and the hostname cannot replace it: hostname"),
    };
    let fault = if id.is_empty() {
        "must not be empty".to_owned()
    } else if id.len() > LONGEST_ID {
        too_long(&id, LONGEST_ID)
    } else if let Some(control) = id.chars().find(|c| c.is_control()) {
        format!("the control character {control:?} is not allowed")
    } else {
        return Ok(id);
    };
    Err(bad(origin, &id, &format!("{fault}; give every candidate a name of its own, such as --id=my-app-0")))
}

fn timing(flags: &mut Flags) -> Result<Timing, UsageError> {
    timing::TimingFlags {
        ttl: flags.duration("--ttl")?,
        lease_duration: flags.duration("--lease-duration")?,
        renew_deadline: flags.duration("--renew-deadline")?,
        retry_period: flags.duration("--retry-period")?,
    }
    .complete()
    .map_err(UsageError)
}

fn release_delay(given: Option<Duration>) -> Result<Duration, UsageError> {
    let delay = given.unwrap_or_default();
    if delay > LONGEST_RELEASE_DELAY {
        return Err(UsageError(format!("--release-delay={}: at most 24h is allowed", duration::format(delay))));
    }
    Ok(delay)
}

fn server(url: String) -> Result<String, UsageError> {
    match credentials::check_url(&url) {
        Ok(()) => Ok(url),
        Err(error) => Err(UsageError(format!("{error}; write it like https://10.0.0.1:6443"))),
    }
}

/// As in kubectl, an empty value counts as not set.
fn kubeconfig(flags: &mut Flags) -> Result<(Option<PathBuf>, Option<String>), UsageError> {
    let [path, context] = [flags.text("--kubeconfig")?, flags.text("--context")?];
    let path = path.filter(|path| !path.is_empty());
    match path.as_deref().filter(|path| path.contains('\0')) {
        Some(path) => Err(bad("--kubeconfig", path, "name a file")),
        None => Ok((path.map(PathBuf::from), context.filter(|context| !context.is_empty()))),
    }
}

/// Credentials come from a kubeconfig or from the other flags, never from both: otherwise a token for one server could
/// be sent to another.
fn check_single_source(config: &Config) -> Result<(), UsageError> {
    let of_kubeconfig = [("--kubeconfig", config.kubeconfig.is_some()), ("--context", config.context.is_some())];
    let of_others = [
        ("--server", config.server.is_some()),
        ("--service-account-dir", config.service_account_dir.is_some()),
        ("--use-cluster-credentials", config.use_cluster_credentials),
    ];
    let given = |flags: &[(&'static str, bool)]| flags.iter().find(|(_, given)| *given).map(|(flag, _)| *flag);
    match given(&of_kubeconfig).zip(given(&of_others)) {
        None => Ok(()),
        Some((one, other)) => Err(UsageError(format!("{one} and {other} exclude each other: leave out one of them"))),
    }
}

fn listen(address: String) -> Result<ListenAddress, UsageError> {
    address.parse().map_err(|error| UsageError(format!("--http: {error}")))
}

fn http_max_connections(given: Option<String>) -> Result<usize, UsageError> {
    let Some(text) = given else { return Ok(Limits::default().connections) };
    // Rust also parses `+1`.
    let number = Some(&text).filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
    number
        .filter(|number| (1..=MOST_CONNECTIONS).contains(number))
        .ok_or_else(|| bad("--http-max-connections", &text, &format!("give a number from 1 to {MOST_CONNECTIONS}")))
}

/// The elector given with `--check`, or else the one that serves `--http`.
fn elector(url: &str, http: Option<ListenAddress>, ignored: &[String]) -> Result<Elector, UsageError> {
    // An ignored argument may be a mistyped URL; the check would then silently ask the wrong elector.
    if let Some(argument) = ignored.iter().find(|argument| !argument.starts_with('-')) {
        return Err(UsageError(format!(
            "{argument:?} is not a flag: write --check=http://localhost:4040, with an equals sign"
        )));
    }
    match (url, http) {
        ("true", None) => Ok(Elector::default()),
        ("true", Some(listen)) => Elector::serving(&listen)
            .ok_or_else(|| UsageError(format!("--check cannot know the port of --http={listen}: write --check=URL"))),
        _ => url.parse().map_err(|error| UsageError(format!("--check: {error}"))),
    }
}

fn directory(path: String) -> Result<PathBuf, UsageError> {
    if path.is_empty() || path.contains('\0') {
        return Err(bad("--service-account-dir", &path, "give the directory with the files token and ca.crt"));
    }
    Ok(PathBuf::from(path))
}

fn log_settings(flags: &mut Flags, environment: &Environment) -> Result<logging::LogSettings, UsageError> {
    let format = flags.choice("--log-format", &LOG_FORMATS)?.unwrap_or(logging::Format::Text);
    let filter = match (flags.choice("--log-level", &LOG_LEVELS)?, &environment.rust_log) {
        (Some(level), _) => logging::Filter::Level(level),
        (None, Some(text)) if !text.trim().is_empty() => logging::Filter::RustLog(text.clone()),
        (None, _) => logging::Filter::Level(LevelFilter::Info),
    };
    Ok(logging::LogSettings { format, filter })
}
