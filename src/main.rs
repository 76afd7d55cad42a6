//! The `leader-elector` program: command line, configuration, run, exit code.

use leader_elector::check::Elector;
use leader_elector::cli::{self, Environment, Invocation};
use leader_elector::command;
use leader_elector::logging::output::{self, Stream};
use leader_elector::signals::Signals;
use leader_elector::{logging, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = command::play_part(std::env::args_os().skip(1)) {
        return code;
    }
    let code = elect();
    output::flush();
    code
}

fn elect() -> ExitCode {
    // Register first: process 1 of a container gets no signal that it has no handler for.
    let signals = match Signals::register() {
        Ok(signals) => signals,
        Err(error) => return fail(1, &format!("cannot handle signals: {error}")),
    };
    let config = match cli::parse(std::env::args_os().skip(1), &Environment::read()) {
        Ok(Invocation::Run(config)) => config,
        Ok(Invocation::Check(elector)) => return check(&elector),
        Ok(Invocation::Help) => return print(cli::HELP),
        Ok(Invocation::Version) => return print(cli::VERSION),
        Err(error) => return fail(2, &error.to_string()),
    };
    logging::start(&config.log);
    if !config.ignored.is_empty() {
        log::warn!("ignoring arguments that have no effect: {}", config.ignored.join(" "));
    }
    match run::run(config, signals) {
        Ok(exit_code) => ExitCode::from(exit_code.unwrap_or(0)),
        Err(error) => fail(if error.is_of_config() { 2 } else { 1 }, &error.to_string()),
    }
}

fn check(elector: &Elector) -> ExitCode {
    match elector.ask() {
        Ok(answer) => {
            print(&format!("{}\n", answer.body));
            ExitCode::from(if answer.leads { 0 } else { 1 })
        }
        Err(error) => fail(2, &error),
    }
}

fn print(text: &str) -> ExitCode {
    output::put(Stream::Stdout, text.as_bytes().to_vec());
    ExitCode::SUCCESS
}

fn fail(code: u8, what: &str) -> ExitCode {
    output::put(Stream::Stderr, format!("leader-elector: {what}\n").into_bytes());
    ExitCode::from(code)
}
