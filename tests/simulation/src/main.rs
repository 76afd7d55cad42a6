//! The command line: endless schedules, one schedule with its trace, the exhaustive search, the mutants.

use simulation::plan::{Fault, Faults};
use simulation::{exhaustive, mutants, schedule};
use std::process::ExitCode;
use std::time::Instant;

const HELP: &str = "\
Drives the state machine of leader-elector through faults, and judges what it says.

  simulate [--schedules=N] [--from=SEED]   schedules, on all cores; without end if no number is given
  simulate --seed=N                        one schedule, with its trace
  simulate exhaustive                      every interleaving of small worlds
  simulate mutants [NAME…]                 does it find deliberate bugs?

  --without=FAULT,…  leaves kinds of faults out: ";

fn main() -> ExitCode {
    match command() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::from(2)
        }
    }
}

fn command() -> Result<bool, String> {
    let (mut seed, mut schedules, mut from) = (None, None, None);
    let mut faults = Faults::ALL;
    let mut words = Vec::new();
    for arg in std::env::args().skip(1) {
        let number = |value: &str| value.parse::<u64>().map(Some).map_err(|error| format!("{arg}: {error}"));
        match arg.split_once('=') {
            Some(("--seed", value)) => seed = number(value)?,
            Some(("--schedules", value)) => schedules = number(value)?,
            Some(("--from", value)) => from = number(value)?,
            Some(("--without", names)) => faults = faults_without(names)?,
            None if arg == "--help" => {
                let names: Vec<String> = Fault::ALL.iter().map(|fault| fault.name()).collect();
                println!("{HELP}{}", names.join(" "));
                return Ok(true);
            }
            None if !arg.starts_with('-') => words.push(arg),
            _ => return Err(format!("there is no {arg:?}; see --help")),
        }
    }
    match words.first().map(String::as_str) {
        Some("exhaustive") => Ok(exhaustive::print_all()),
        Some("mutants") => mutants::find_all(&words[1..]),
        Some(other) => Err(format!("there is no {other:?}; see --help")),
        None => Ok(match seed {
            Some(seed) => one(seed, faults),
            None => many(schedules, from, faults),
        }),
    }
}

fn faults_without(names: &str) -> Result<Faults, String> {
    let mut faults = Faults::ALL;
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let fault = Fault::ALL.iter().find(|fault| fault.name() == name);
        faults = faults.without(*fault.ok_or_else(|| format!("there is no fault {name:?}; see --help"))?);
    }
    Ok(faults)
}

fn one(seed: u64, faults: Faults) -> bool {
    match schedule::run(seed, faults, true) {
        Ok(summary) => println!("nothing was wrong: {summary:?}"),
        Err(violation) => {
            println!("VIOLATION {violation}");
            return false;
        }
    }
    true
}

fn many(schedules: Option<u64>, from: Option<u64>, faults: Faults) -> bool {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let from = from.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64) >> 16);
    println!("from seed {from}, on {threads} threads");
    let began = Instant::now();
    // In parts, to show progress.
    let piece = 100_000;
    let mut done = 0;
    let mut all = schedule::Total::default();
    while schedules.is_none_or(|wanted| done < wanted) {
        let size = schedules.map_or(piece, |wanted| (wanted - done).min(piece));
        let seed_of = |number| from.wrapping_add(done + number);
        let (total, failure) = schedule::run_many(threads, faults, seed_of, |number| number < size);
        all = all.join(total);
        if let Some((number, failure)) = failure {
            println!(
                "{} after {} schedules\nreplay it with: {}",
                failure.violation,
                done + number + 1,
                failure.replay()
            );
            return false;
        }
        done += size;
        let seconds = began.elapsed().as_secs_f64();
        let each = |sum: u64| sum / all.schedules;
        println!(
            "{done} schedules in {seconds:.1} s, {:.0} a second; each has {} events (at least {}), {} s and {:.1} terms; \
             {} verdicts withheld; no violation",
            done as f64 / seconds,
            each(all.sum.events),
            all.least_events,
            each(all.sum.time) / 1_000_000_000,
            all.sum.terms as f64 / all.schedules as f64,
            all.sum.exemptions,
        );
    }
    true
}
