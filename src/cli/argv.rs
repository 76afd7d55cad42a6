//! Normalises argv for pico-args.
//!
//! pico-args takes the first of several equal flags, and finds a flag inside the value of another flag. So it gets each
//! flag once, by its full name, and each value with an equals sign, with which no flag begins.

use super::UsageError;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;

/// A normalised argv.
pub(super) struct Argv {
    /// Alternating `--flag` and `=value`; `=true` for a flag without a value.
    pub pairs: Vec<OsString>,
    /// The ignored arguments in order.
    pub ignored: Vec<String>,
    /// The arguments after `--`; `None` without `--`.
    pub command: Option<Vec<String>>,
}

/// Splits an argv into flags with values, ignored arguments and the command.
pub(super) fn normalise(args: impl IntoIterator<Item = OsString>) -> Result<Argv, UsageError> {
    let mut rest = Arguments::new(args)?;
    let mut given = BTreeMap::new();
    let mut ignored = Vec::new();
    let mut command = None;
    while let Some(argument) = rest.next() {
        if argument == "--" {
            command = Some(rest.0.into());
            break;
        }
        if argument == "-" || !argument.starts_with('-') {
            ignored.push(argument);
            continue;
        }
        let (flag, value) = read(&argument)?;
        let value = match (flag.takes, value) {
            (_, Some(value)) => value.to_owned(),
            (Takes::Nothing, None) => "true".to_owned(),
            (Takes::Value(example), None) => rest
                .next_value()
                .ok_or_else(|| UsageError(format!("{} needs a value, such as {}={example}", flag.name, flag.name)))?,
        };
        match flag.is_glog {
            true => ignored.push(format!("{}={value}", flag.name)),
            false => drop(given.insert(flag.name, value)),
        }
    }
    let pairs = given.into_iter().flat_map(|(flag, value)| [flag.into(), format!("={value}").into()]).collect();
    Ok(Argv { pairs, ignored, command })
}

/// The arguments not yet parsed.
struct Arguments(VecDeque<String>);

impl Arguments {
    fn new(args: impl IntoIterator<Item = OsString>) -> Result<Arguments, UsageError> {
        let not_text = |bytes: OsString| {
            let shown = bytes.to_string_lossy();
            UsageError(format!("the argument {shown:?} is not valid UTF-8: write every argument in UTF-8"))
        };
        args.into_iter()
            .map(|argument| argument.into_string().map_err(not_text))
            .collect::<Result<_, _>>()
            .map(Arguments)
    }

    /// The next argument where a flag may be. An argument with several flags is split here.
    fn next(&mut self) -> Option<String> {
        let argument = self.0.pop_front()?;
        if !argument.trim_start().starts_with("--") {
            return Some(argument);
        }
        for part in argument.split_ascii_whitespace().rev() {
            self.0.push_front(part.to_owned());
        }
        self.0.pop_front()
    }

    /// The next argument as a value, unchanged, including dashes and spaces, as pflag does.
    fn next_value(&mut self) -> Option<String> {
        self.0.pop_front()
    }
}

/// A known flag.
#[derive(Clone, Copy)]
struct Flag {
    name: &'static str,
    takes: Takes,
    /// A flag of glog, which 0.5 used. Manifests still contain it; it is accepted and has no effect.
    is_glog: bool,
}

#[derive(Clone, Copy)]
enum Takes {
    /// A value, with an example.
    Value(&'static str),
    /// A boolean, optionally with `=value`.
    Nothing,
}

const FLAGS: [Flag; 37] = [
    flag("--check", Takes::Nothing),
    flag("--context", Takes::Value("my-cluster")),
    flag("--election", Takes::Value("my-app")),
    flag("--election-namespace", Takes::Value("default")),
    flag("--health-check", Takes::Value("http://127.0.0.1:8080/healthz")),
    flag("--health-failures", Takes::Value("3")),
    flag("--health-interval", Takes::Value("2s")),
    flag("--health-timeout", Takes::Value("1s")),
    flag("--help", Takes::Nothing),
    flag("--http", Takes::Value("localhost:4040")),
    flag("--http-max-connections", Takes::Value("256")),
    flag("--id", Takes::Value("my-app-0")),
    flag("--kubeconfig", Takes::Value("/home/me/.kube/config")),
    flag("--leader-service", Takes::Value("my-app-leader:8080")),
    flag("--lease-duration", Takes::Value("15s")),
    flag("--lock", Takes::Value("leases")),
    flag("--log-format", Takes::Value("json")),
    flag("--log-level", Takes::Value("info")),
    flag("--on-exit", Takes::Value("restart")),
    flag("--pod-ip", Takes::Value("10.0.0.1")),
    flag("--release-delay", Takes::Value("5s")),
    flag("--renew-deadline", Takes::Value("10s")),
    flag("--retry-period", Takes::Value("2s")),
    flag("--server", Takes::Value("https://10.0.0.1:6443")),
    flag("--service-account-dir", Takes::Value("/var/run/secrets/kubernetes.io/serviceaccount")),
    flag("--stop-timeout", Takes::Value("2s")),
    flag("--ttl", Takes::Value("10s")),
    flag("--use-cluster-credentials", Takes::Nothing),
    flag("--version", Takes::Nothing),
    glog("--alsologtostderr", Takes::Nothing),
    glog("--log-backtrace-at", Takes::Value("main.go:10")),
    glog("--log-dir", Takes::Value("/tmp")),
    glog("--log-flush-frequency", Takes::Value("5s")),
    glog("--logtostderr", Takes::Nothing),
    glog("--stderrthreshold", Takes::Value("INFO")),
    glog("--v", Takes::Value("4")),
    glog("--vmodule", Takes::Value("main=4")),
];

const fn flag(name: &'static str, takes: Takes) -> Flag {
    Flag { name, takes, is_glog: false }
}

const fn glog(name: &'static str, takes: Takes) -> Flag {
    Flag { name, takes, is_glog: true }
}

/// The flag of an argument, and the value after its equals sign.
fn read(argument: &str) -> Result<(Flag, Option<&str>), UsageError> {
    let body = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).unwrap_or(argument);
    if body.starts_with(['-', '=']) {
        return Err(UsageError(format!("{argument:?} is not a flag: write --flag=value or --flag value")));
    }
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    if let Some(flag) = find(name) {
        return Ok((flag, value));
    }
    // The only short flag of 0.5 also accepts its number without a space: -v4.
    match (find("v"), argument.strip_prefix("-v")) {
        (Some(flag), Some(level)) if level.bytes().all(|byte| byte.is_ascii_digit()) => Ok((flag, Some(level))),
        _ => Err(unknown(name)),
    }
}

fn find(name: &str) -> Option<Flag> {
    if name == "h" {
        return find("help");
    }
    FLAGS.into_iter().find(|flag| {
        let known = &flag.name[2..];
        // glog writes its flags with underscores.
        name == known || flag.is_glog && name.replace('_', "-") == known
    })
}

fn unknown(name: &str) -> UsageError {
    let flag = format!("--{name}");
    let nearest = FLAGS.iter().map(|known| (edits(&flag, known.name), known.name)).min();
    UsageError(match nearest {
        Some((edits, known)) if edits <= 2 || edits * 4 <= name.len() => {
            format!("the flag {flag:?} is unknown; did you mean {known}? --help lists all flags")
        }
        _ => format!("the flag {flag:?} is unknown; --help lists all flags"),
    })
}

/// The edit distance of two texts: characters to insert, delete or replace.
fn edits(from: &str, to: &str) -> usize {
    // One row of the table: the distance from the part of `from` read so far to each prefix of `to`.
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (read, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = read + 1;
        for (column, b) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.chars().count()]
}
