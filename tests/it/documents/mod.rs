//! The documents match the program: links work; flags, paths, fields and metrics are those of the program; messages are
//! those in the source; and commands are run ([`commands`]).

mod commands;
mod markdown;
mod releases;

use crate::common::cluster::{elector, plain_server};
use leader_elector::cli::HELP;
use leader_elector::clock;
use leader_elector::election::Claim;
use leader_elector::lock::{LockKind, Locks};
use leader_elector::metrics::{HTTP_PATHS, Metrics};
use leader_elector::status::Snapshot;
use markdown::{Document, ROOT};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

const REFERENCE: &str = "docs/reference.md";
const OPERATIONS: &str = "docs/operations.md";

/// The limit for the README.
const README_LINES: usize = 200;

#[test]
fn every_link_works() {
    for document in markdown::all() {
        for link in document.links() {
            if let Some(why) = broken(&document, &link) {
                panic!("{}: the link {link:?} is broken: {why}", document.path);
            }
        }
    }
}

/// What is wrong with a link, if anything is. Links to other sites are not followed.
fn broken(document: &Document, link: &str) -> Option<&'static str> {
    if link.starts_with("https://") {
        return None;
    }
    if link.contains("://") || link.starts_with('/') {
        return Some("it is neither https nor relative");
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let folder = Path::new(&document.path).parent().expect("a file is in a folder");
    let target = if path.is_empty() { document.path.clone().into() } else { folder.join(path) };
    let Ok(target) = fs::canonicalize(Path::new(ROOT).join(target)) else { return Some("there is no such file") };
    let Ok(inside) = target.strip_prefix(fs::canonicalize(ROOT).expect("it is there")) else {
        return Some("it leads out of the project");
    };
    let inside = inside.to_str().expect("our names are text");
    match anchor {
        Some(_) if !inside.ends_with(".md") => Some("only documents have headings"),
        Some(anchor) if !markdown::read(inside).anchors().iter().any(|it| it == anchor) => {
            Some("there is no such heading")
        }
        _ => None,
    }
}

#[test]
fn a_broken_link_is_found() {
    let document = markdown::read(REFERENCE);
    for link in ["guarantees.md", "#flags", "guarantees.md#the-contract", "../README.md", "../src", "https://x.example"]
    {
        assert_eq!(broken(&document, link), None, "{link}");
    }
    for link in
        ["README.md", "#flagged", "guarantees.md#nothing", "../../..", "/etc/hosts", "http://x.example", "../src#x"]
    {
        assert!(broken(&document, link).is_some(), "{link}");
    }
    assert_eq!(markdown::links("[`a`](#b) and `[c](d)` and [e f](g.md#h)"), ["#b", "g.md#h"]);
    assert_eq!(markdown::anchor("S9: a candidate's own name, `x`"), "s9-a-candidates-own-name-x");
}

/// Nobody finds a document without a link to it.
#[test]
fn every_document_is_linked_from_another() {
    let all = markdown::all();
    for document in all.iter().filter(|it| it.path != "README.md") {
        let name = Path::new(&document.path).file_name().unwrap().to_str().unwrap();
        let leads_here = |it: &Document| {
            let folder = Path::new(ROOT).join(&it.path).parent().unwrap().to_owned();
            let target = fs::canonicalize(Path::new(ROOT).join(&document.path)).unwrap();
            it.links().iter().any(|link| {
                let path = link.split('#').next().unwrap_or_default();
                path.ends_with(name) && fs::canonicalize(folder.join(path)).is_ok_and(|it| it == target)
            })
        };
        assert!(all.iter().any(|it| it.path != document.path && leads_here(it)), "{}", document.path);
    }
}

#[test]
fn the_readme_has_at_most_200_lines() {
    let lines = markdown::read("README.md").lines().count();
    assert!(lines <= README_LINES, "{lines} lines");
}

#[test]
fn lines_fit_the_screen() {
    for document in markdown::all().iter().filter(|it| !it.path.starts_with("tests/")) {
        for line in document.prose().filter(|line| !line.starts_with('|')) {
            assert!(line.chars().count() <= 120, "{}: {line}", document.path);
            assert!(
                line.matches('`').count() % 2 == 0,
                "{}: code that goes on in the next line: {line}",
                document.path
            );
        }
    }
}

#[test]
fn the_reference_has_the_flags_of_the_help() {
    let help = flags_of_help();
    assert!(help.len() > 20, "{help:?}");
    let reference = markdown::read(REFERENCE);
    assert_eq!(flags(&reference.code_under("## Flags", true).join(" ")), help);
    assert!(reference.code_under("## Flags", true).contains(&"-h".to_owned()));
    let defaults = reference.prose().filter(|line| line.starts_with("| `--"));
    for (flag, default) in defaults.filter_map(|line| {
        let columns: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        let default = columns.last()?.strip_prefix('`')?.strip_suffix('`').filter(|it| !it.contains('`'))?;
        Some((flags(columns[0]).into_iter().next()?, default.to_owned()))
    }) {
        let told = help_on(&flag);
        assert!(
            told.contains(&format!("Default: {default}")),
            "{flag} has the default {default:?}, and --help:\n{told}"
        );
    }
}

fn flags_of_help() -> BTreeSet<String> {
    let mut flags = flags(HELP);
    assert!(flags.remove("--flag"), "that stands for each of them");
    flags
}

/// The flags in a text.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
}

/// The text of `--help` for a flag, on one line.
fn help_on(flag: &str) -> String {
    let is_next = |line: &&str| line.starts_with("  -") || !line.starts_with(' ');
    let names_it =
        |line: &&str| line.trim_start().starts_with("--") && flags(line).first().is_some_and(|it| it == flag);
    let mut lines = HELP.lines().skip_while(|line| !names_it(line));
    let first = lines.next().unwrap_or_default();
    let rest = lines.take_while(|line| !is_next(line));
    [first].into_iter().chain(rest).flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// Programs whose flags are not ours.
const OTHERS: [&str; 6] = ["cargo", "git", "helm", "kubectl", "node", "skopeo"];

/// Flags of other programs that appear without the program.
const OTHER_FLAGS: [&str; 6] =
    ["--etcd-servers-overrides", "--experimental-eventsource", "--schedules", "--from", "--seed", "--without"];

#[test]
fn no_document_names_a_flag_that_does_not_exist() {
    let help = flags(HELP);
    for document in markdown::all() {
        for code in document.code() {
            let is_of_other = OTHERS.iter().any(|it| code.split_whitespace().next() == Some(it));
            for flag in flags(&code).into_iter().filter(|_| !is_of_other) {
                assert!(help.contains(&flag) || OTHER_FLAGS.contains(&&*flag), "{}: {flag}", document.path);
            }
        }
    }
}

#[test]
fn the_reference_has_the_environment_of_the_help() {
    let (_, told) = HELP.split_once("Environment:\n").unwrap();
    let (told, _) = told.split_once("\n\n").unwrap();
    let is_variable = |word: &&str| word.len() > 5 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let words = told.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(is_variable);
    let variables: BTreeSet<String> = words.map(str::to_owned).collect();
    assert_eq!(set(markdown::read(REFERENCE).code_under("## Environment", true)), variables);
}

#[test]
fn the_reference_has_the_paths_of_the_port() {
    let told = markdown::read(REFERENCE).code_under("## HTTP paths", true);
    let told: BTreeSet<String> = told.into_iter().filter(|it| it.starts_with('/')).collect();
    let paths = HTTP_PATHS.into_iter().filter(|it| it.starts_with('/')).chain(["/livez"]);
    assert_eq!(told, paths.map(str::to_owned).collect());
    let help: BTreeSet<&str> =
        HELP.split(|c: char| c.is_whitespace() || c == ',').filter(|it| told.contains(*it)).collect();
    assert_eq!(help.len(), told.len(), "--help names only {help:?}");
}

#[test]
fn the_reference_has_the_fields_of_the_status() {
    let server = plain_server();
    let elector = elector(&server, "a", &[]);
    elector.wait_to_lead();
    let (_, body) = elector.ask("/status").expect("the port is served");
    let status: Value = serde_json::from_str(&body).expect("it is JSON");
    let fields: BTreeSet<String> = status.as_object().expect("it is an object").keys().cloned().collect();
    let told = set(markdown::read(REFERENCE).code_under("### `/status`", true));
    let classes: BTreeSet<String> = CLASSES.iter().map(|class| (*class).to_owned()).collect();
    assert_eq!(told, &fields | &classes);
}

/// The values of `lastError`.
const CLASSES: [&str; 10] = [
    "forbidden",
    "unauthorized",
    "invalid",
    "not_found",
    "throttled",
    "unavailable",
    "unreadable",
    "unhealthy",
    "foreign",
    "outdated",
];

#[test]
fn the_reference_has_the_series_of_the_metrics() {
    let reference = markdown::read(REFERENCE);
    let told: BTreeMap<String, BTreeSet<String>> = reference
        .code_under("### `/metrics`", true)
        .into_iter()
        .filter(|it| it.starts_with("leader_elect"))
        .map(|series| match series.split_once('{') {
            Some((name, labels)) => {
                (name.to_owned(), labels.trim_end_matches('}').split(',').map(str::to_owned).collect())
            }
            None => (series, BTreeSet::new()),
        })
        .collect();
    assert_eq!(told, series(&page()));
    for document in markdown::all().iter().filter(|it| !it.path.starts_with("tests/")) {
        let words = document.lines().flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
        for word in words.filter(|it| it.starts_with("leader_elector_") || it.starts_with("leader_election_")) {
            assert!(told.contains_key(word), "{}: {word}", document.path);
        }
    }
}

/// The output of a leader on `/metrics`.
fn page() -> String {
    let now = clock::now();
    let locks = Locks { kinds: &[LockKind::Leases], namespace: "default".into(), name: "example".into() };
    let unknown = Snapshot::unknown("a".into(), locks.into(), Duration::from_secs(10), now);
    let claim = Some(Claim { until: now.saturating_add(Duration::from_secs(5)), fencing_token: 1 });
    Metrics::default().page(&Snapshot { claim, renewed: Some(now), server_reached: Some(now), ..unknown }, now)
}

/// The metrics in that output with their labels, except the bounds of histograms.
fn series(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    types
        .map(|name| {
            let samples = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once('}'));
            let labels = samples.flat_map(|(labels, _)| labels.split("\",")).filter_map(|it| it.split_once('='));
            (name.to_owned(), labels.map(|(label, _)| label.to_owned()).collect())
        })
        .collect()
}

#[test]
fn the_messages_in_troubleshooting_are_in_the_source() {
    let source = source(&Path::new(ROOT).join("src"));
    let told = markdown::read(OPERATIONS).code_under("## Troubleshooting", true);
    let messages: Vec<&String> = told.iter().filter(|it| it.contains('…')).collect();
    assert!(messages.len() >= 4, "{told:?}");
    for part in messages.iter().flat_map(|message| message.split('…')).map(str::trim).filter(|it| !it.is_empty()) {
        assert!(source.contains(part), "nothing in the source says {part:?}");
    }
}

/// Each function in the table "Where to look" exists in its file.
#[test]
fn functions_named_in_the_architecture_exist() {
    let page = markdown::read("docs/architecture.md");
    let rows = page.lines().skip_while(|line| *line != "## Where to look").take_while(|line| *line != "## Lexicon");
    let mut found = 0;
    for row in rows.filter(|line| line.starts_with('|')) {
        for part in row.split("](../src/").skip(1) {
            let (file, behind) = part.split_once(')').expect("a link ends");
            let text = fs::read_to_string(Path::new(ROOT).join("src").join(file)).unwrap_or_else(|_| panic!("{file}"));
            let before_next_link = behind.split('[').next().unwrap_or_default();
            for name in markdown::code(before_next_link) {
                let name = name.rsplit("::").next().unwrap_or_default();
                let is_there = |kind: &str| text.contains(&format!("{kind} {name}"));
                assert!(["fn", "const", "struct"].into_iter().any(is_there), "{file} has no {name}");
                found += 1;
            }
        }
    }
    assert!(found > 10, "only {found} names");
}

/// All source in a directory, with each string literal on one line.
fn source(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.map(|path| match path.is_dir() {
        true => source(&path),
        false if path.extension().is_some_and(|it| it == "rs") => {
            fs::read_to_string(&path).unwrap().split("\\\n").map(str::trim_start).collect()
        }
        false => String::new(),
    });
    texts.collect()
}

fn set(list: Vec<String>) -> BTreeSet<String> {
    list.into_iter().collect()
}
