//! The in-memory API server as a program; see `--help`.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use apiserver::{Options, Rule, Server};

const HELP: &str = "\
An in-memory Kubernetes API server: Endpoints, ConfigMaps and Leases.

Usage: apiserver [options]

  --listen=ADDR        address to listen on (default 127.0.0.1:8001; port 0: any)
  --tls                speak HTTPS, with a certificate authority of its own
  --ca-out=FILE        write the authority's certificate there, in PEM
  --client=USER[,GROUP]=PREFIX
                       write a client certificate for a day to PREFIX.crt and its key to
                       PREFIX.key (repeatable; needs --tls)
  --token=USER=TOKEN   know this bearer token (repeatable)
  --allow=USER:VERB,VERB:RESOURCE[:NAME[:NAMESPACE]]
                       allow that; * stands for everything (repeatable)
  --with-stdin         end when standard input is closed
  --help               show this

Prints its URL when it is ready. Without --token and --allow everybody may do
everything; otherwise only what is allowed, and who comes with neither a token
nor a client certificate is system:anonymous.

  kubectl --server=http://127.0.0.1:8001 get leases

To compare it with the recorded exchanges of a real API server:

  apiserver --listen=127.0.0.1:8443 --tls \\
    --token=admin=TOKEN '--allow=admin:*:*' --token=legacy=legacytoken
  exchange.py compare https://127.0.0.1:8443 TOKEN kube-apiserver-1.36.json
";

/// What the command line asks for.
struct Arguments {
    options: Options,
    ca_out: Option<String>,
    /// User and groups, and where to put the certificate.
    clients: Vec<(String, String)>,
    with_stdin: bool,
    help: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("apiserver: {problem}; see apiserver --help");
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("apiserver: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let mut stdout = std::io::stdout();
    if arguments.help {
        return stdout.write_all(HELP.as_bytes()).map_err(|e| format!("cannot write: {e}"));
    }
    apiserver::raise_file_limit();
    let listen = arguments.options.listen.clone();
    let server = Server::start(arguments.options).map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let write =
        |path: &str, pem: &str| std::fs::write(path, pem).map_err(|error| format!("cannot write {path}: {error}"));
    if let (Some(path), Some(pem)) = (&arguments.ca_out, server.ca_pem()) {
        write(path, pem)?;
    }
    for (names, prefix) in &arguments.clients {
        let (user, group) = names.split_once(',').map_or((names.as_str(), None), |(user, group)| (user, Some(group)));
        let tomorrow = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
        let client = server.client_certificate(user, group, tomorrow).map_err(|error| error.to_string())?;
        write(&format!("{prefix}.crt"), &client.certificate_pem)?;
        write(&format!("{prefix}.key"), &client.key_pem)?;
    }
    writeln!(stdout, "{}", server.url())
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("cannot write the URL: {error}"))?;
    if arguments.with_stdin {
        wait_for_end_of_stdin();
        return Ok(());
    }
    loop {
        std::thread::park();
    }
}

fn wait_for_end_of_stdin() {
    let mut waste = [0; 1024];
    while let Ok(1..) = std::io::stdin().read(&mut waste) {}
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    // A program that runs for days must not keep data that only tests need.
    let options =
        Options { listen: "127.0.0.1:8001".to_owned(), keep_changes: 0, keep_requests: 0, ..Options::default() };
    let mut parsed = Arguments { options, ca_out: None, clients: Vec::new(), with_stdin: false, help: false };
    for argument in arguments {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        match (name, value) {
            ("--listen", Some(address)) => address.clone_into(&mut parsed.options.listen),
            ("--tls", None) => parsed.options.tls = true,
            ("--ca-out", Some(path)) => parsed.ca_out = Some(path.to_owned()),
            ("--client", Some(client)) => parsed.clients.push(parse_client(client)?),
            ("--token", Some(token)) => parsed.options.tokens.push(parse_token(token)?),
            ("--allow", Some(rule)) => parsed.options.rules.push(parse_rule(rule)?),
            ("--with-stdin", None) => parsed.with_stdin = true,
            ("--help" | "-h", None) => parsed.help = true,
            _ => return Err(format!("cannot read the argument {argument:?}")),
        }
    }
    if (parsed.ca_out.is_some() || !parsed.clients.is_empty()) && !parsed.options.tls {
        return Err("--ca-out and --client need --tls".to_owned());
    }
    Ok(parsed)
}

fn parse_client(argument: &str) -> Result<(String, String), String> {
    match argument.split_once('=') {
        Some((names, prefix)) if !names.is_empty() && !prefix.is_empty() => Ok((names.to_owned(), prefix.to_owned())),
        _ => Err(format!("--client={argument} must be --client=USER[,GROUP]=PREFIX")),
    }
}

fn parse_token(argument: &str) -> Result<(String, String), String> {
    match argument.split_once('=') {
        Some((user, token)) if !user.is_empty() && !token.is_empty() => Ok((token.to_owned(), user.to_owned())),
        _ => Err(format!("--token={argument} must be --token=USER=TOKEN")),
    }
}

/// User names of Kubernetes may contain colons, the other parts cannot. So the user is what remains.
fn parse_rule(argument: &str) -> Result<Rule, String> {
    let form = "--allow=USER:VERB,VERB:RESOURCE[:NAME[:NAMESPACE]]";
    let parts: Vec<&str> = argument.split(':').collect();
    let known = |part: &&str| matches!(*part, "*" | "endpoints" | "configmaps" | "leases" | "endpointslices");
    let resource_at = parts.iter().skip(2).position(known).map(|at| at + 2);
    let resource_at = resource_at.ok_or_else(|| format!("--allow={argument} must be {form}"))?;
    let (before, after) = parts.split_at(resource_at);
    let (verbs, user) = before.split_last().unwrap_or((&"", &[]));
    let verbs: Vec<&str> = verbs.split(',').collect();
    let rule = Rule::new(&user.join(":"), &verbs, after[0]);
    match after[1..] {
        [] | ["" | "*"] | ["" | "*", "" | "*"] => Ok(rule),
        [name] | [name, "" | "*"] => Ok(rule.on(name)),
        ["" | "*", namespace] => Ok(rule.within(namespace)),
        [name, namespace] => Ok(rule.on(name).within(namespace)),
        _ => Err(format!("--allow={argument} must be {form}")),
    }
}
