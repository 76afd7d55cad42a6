//! The command line: argv and a little of the environment in, a [`Command`] or one [`UsageError`] out.
//!
//! Flags are taken as 0.5 took them, which used pflag (<https://pkg.go.dev/github.com/spf13/pflag>); see [`parse`].

mod argv;
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
use crate::leader_service::Spec;
use crate::lock::{CHOICES, LockKind};
use crate::logging;
use log::LevelFilter;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use timing::Timing;

/// What `--help` prints.
pub const HELP: &str = include_str!("cli/help.txt");

/// What `--version` prints.
pub const VERSION: &str = concat!("leader-elector ", env!("CARGO_PKG_VERSION"), "\n");

/// What the program was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one of them in the life of a process")]
pub enum Command {
    Run(Config),
    /// Ask this elector whether it leads.
    Check(Elector),
    Version,
    Help,
}

/// Everything that the flags decide, checked as far as that goes without looking at anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name of the election and of its lock: a DNS subdomain.
    pub election: String,
    /// The namespace of the lock: a DNS label.
    pub namespace: String,
    /// The kinds of the lock objects, in their order.
    pub lock: &'static [LockKind],
    /// Who this candidate is: not empty, no control characters, at most [`LONGEST_ID`] bytes.
    pub id: String,
    pub timing: Timing,
    /// How long to go on before the lock is released after a signal.
    pub release_delay: Duration,
    /// What tells whether the application is well enough to lead; `None` where it is not asked.
    pub health: Option<HealthCheck>,
    /// The Service that is to lead to the leader, if there is one.
    pub leader_service: Option<Spec>,
    /// What is to run only while this candidate leads, if anything is.
    pub run_mode: Option<RunMode>,
    /// Where to serve HTTP; `None` for nowhere.
    pub http: Option<ListenAddress>,
    /// How many connections that has at a time, 1 to [`MOST_CONNECTIONS`].
    pub http_max_connections: usize,
    /// The URL of the API server, if it was given: one that requests can be sent to.
    pub server: Option<String>,
    pub service_account_dir: Option<PathBuf>,
    pub use_cluster_credentials: bool,
    /// The kubeconfig file, if it was given.
    pub kubeconfig: Option<PathBuf>,
    /// The context of a kubeconfig, if it was given.
    pub context: Option<String>,
    pub log: logging::LogSettings,
    /// Arguments that were accepted and mean nothing here, to be named in one warning.
    pub ignored: Vec<String>,
}

/// What the command line takes from its surroundings.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The identity of a candidate that is given none.
    pub hostname: String,
    /// `RUST_LOG`, if it is set.
    pub rust_log: Option<String>,
    /// What a pod may be told of itself.
    pub pod: PodVariables,
}

/// The variables that the downward API sets where the manifest of a pod asks for them.
#[derive(Clone, Debug, Default)]
pub struct PodVariables {
    /// `POD_IPS`: all addresses, separated by commas.
    pub ips: Option<String>,
    /// `POD_IP`: one address.
    pub ip: Option<String>,
    /// `POD_NAME`.
    pub name: Option<String>,
    /// `POD_UID`.
    pub uid: Option<String>,
    /// `NODE_NAME`.
    pub node: Option<String>,
}

impl Environment {
    pub fn read() -> Environment {
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        // An empty one is none.
        let of_pod = |name| variable(name).filter(|value| !value.trim().is_empty());
        Environment {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            rust_log: variable("RUST_LOG"),
            pod: PodVariables {
                ips: of_pod("POD_IPS"),
                ip: of_pod("POD_IP"),
                name: of_pod("POD_NAME"),
                uid: of_pod("POD_UID"),
                node: of_pod("NODE_NAME"),
            },
        }
    }
}

/// A command line that cannot be used: one or two lines that name the flag, the value and the valid form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The longest identity, in bytes. To 0.5 it is free text; this much fits any annotation with room to spare.
pub const LONGEST_ID: usize = 1024;

/// The most connections that may be asked for: a look at each, which some events cost, still takes no time to speak of.
pub const MOST_CONNECTIONS: usize = 10_000;

/// The longest time that the release may be put off.
const LONGEST_RELEASE_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a command line, the program's own name not included.
///
/// `--flag=value`, `--flag value` and the same with one dash; the last of several wins; `--flag`, `--flag=true` and
/// `--flag=false` for what is yes or no; other arguments are ignored. What stands behind `--` is the command of run mode. One argument
/// that begins with `--` and holds white space is taken as several, as the wrapper script of 0.5 split it.
pub fn parse(args: impl IntoIterator<Item = OsString>, environment: &Environment) -> Result<Command, UsageError> {
    let argv::Argv { pairs, ignored, command } = argv::normalise(args)?;
    let mut flags = Flags(pico_args::Arguments::from_vec(pairs));
    if flags.yes("--help")? {
        return Ok(Command::Help);
    }
    if flags.yes("--version")? {
        return Ok(Command::Version);
    }
    if let Some(url) = flags.text("--check")? {
        return elector(&url, flags.http()?, &ignored).map(Command::Check);
    }
    let (kubeconfig, context) = kubeconfig(&mut flags)?;
    let election = election(flags.text("--election")?)?;
    let namespace = namespace(flags.text("--election-namespace")?)?;
    let id = identity(flags.text("--id")?, &environment.hostname)?;
    let leader_service =
        leader_service::Given { service: flags.text("--leader-service")?, pod_ip: flags.text("--pod-ip")? }.complete(
            &election,
            &namespace,
            &id,
            environment,
        )?;
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
        use_cluster_credentials: flags.yes("--use-cluster-credentials")?,
        kubeconfig,
        context,
        log: log_settings(&mut flags, environment)?,
        ignored,
    };
    one_source(&config)?;
    Ok(Command::Run(config))
}

const LOG_FORMATS: [(&str, logging::Format); 2] = [("text", logging::Format::Text), ("json", logging::Format::Json)];

const LOG_LEVELS: [(&str, LevelFilter); 4] = [
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
];

/// The flags that were given, each at most once; asking for one takes it out.
struct Flags(pico_args::Arguments);

impl Flags {
    fn text(&mut self, flag: &'static str) -> Result<Option<String>, UsageError> {
        let behind_equals = |value: &str| Ok::<_, Infallible>(value.strip_prefix('=').unwrap_or(value).to_owned());
        self.0.opt_value_from_fn(flag, behind_equals).map_err(|error| UsageError(format!("{flag}: {error}")))
    }

    /// Whether a flag that takes no value was given, and not as `--flag=false`.
    fn yes(&mut self, flag: &'static str) -> Result<bool, UsageError> {
        match self.text(flag)?.as_deref() {
            None | Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(value) => Err(bad(flag, value, &format!("write {flag}, {flag}=true or {flag}=false"))),
        }
    }

    fn http(&mut self) -> Result<Option<ListenAddress>, UsageError> {
        // 0.5 took an empty address as none at all.
        self.text("--http")?.filter(|address| !address.is_empty()).map(listen).transpose()
    }

    fn duration(&mut self, flag: &'static str) -> Result<Option<Duration>, UsageError> {
        let read = |value: String| duration::parse(&value).map_err(|error| UsageError(format!("{flag}: {error}")));
        self.text(flag)?.map(read).transpose()
    }

    fn choice<T: Copy>(&mut self, flag: &'static str, choices: &[(&str, T)]) -> Result<Option<T>, UsageError> {
        let Some(value) = self.text(flag)? else { return Ok(None) };
        match choices.iter().find(|(name, _)| *name == value) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(bad(flag, &value, &format!("use one of {}", names.join(", "))))
            }
        }
    }
}

fn bad(flag: &str, value: &str, problem: &str) -> UsageError {
    UsageError(format!("{flag}={value:?}: {problem}"))
}

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

/// What keeps a text from being a label of a DNS name as Kubernetes takes it (RFC 1123, lower case), length aside.
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

/// The identity given, or the hostname, which is the name of the pod in most pods.
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
    timing::Given {
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

/// An empty value is none, as to kubectl.
fn kubeconfig(flags: &mut Flags) -> Result<(Option<PathBuf>, Option<String>), UsageError> {
    let [path, context] = [flags.text("--kubeconfig")?, flags.text("--context")?];
    let path = path.filter(|path| !path.is_empty());
    match path.as_deref().filter(|path| path.contains('\0')) {
        Some(path) => Err(bad("--kubeconfig", path, "name a file")),
        None => Ok((path.map(PathBuf::from), context.filter(|context| !context.is_empty()))),
    }
}

/// Credentials come from a kubeconfig, or from what the other flags say: to mix them would send what is meant for one
/// server to another.
fn one_source(config: &Config) -> Result<(), UsageError> {
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
    // `+1` is a number to Rust.
    let number = Some(&text).filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
    number
        .filter(|number| (1..=MOST_CONNECTIONS).contains(number))
        .ok_or_else(|| bad("--http-max-connections", &text, &format!("give a number from 1 to {MOST_CONNECTIONS}")))
}

/// The elector that `--check` names or, without a name, the one that `--http` starts.
fn elector(url: &str, http: Option<ListenAddress>, ignored: &[String]) -> Result<Elector, UsageError> {
    // Ignored as it is elsewhere, it would ask the wrong elector in silence.
    if let Some(argument) = ignored.iter().find(|argument| !argument.starts_with('-')) {
        return Err(UsageError(format!(
            "{argument:?} is no flag: write --check=http://localhost:4040, with an equals sign"
        )));
    }
    match (url, http) {
        ("true", None) => Ok(Elector::default()),
        ("true", Some(listen)) => Elector::behind(&listen).ok_or_else(|| {
            UsageError(format!("--check cannot know the port that --http={listen} came to: write --check=URL"))
        }),
        _ => url.parse().map_err(|error| UsageError(format!("--check: {error}"))),
    }
}

fn directory(path: String) -> Result<PathBuf, UsageError> {
    if path.is_empty() || path.contains('\0') {
        return Err(bad("--service-account-dir", &path, "name the directory that holds token and ca.crt"));
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
