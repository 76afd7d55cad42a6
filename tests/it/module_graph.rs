//! The modules of the program have no cycle, the state machine depends only on time and the record, and no two types
//! that are visible outside of their file have the same name.
//!
//! The tests find each `crate::NAME` and each type in a source file outside of unit tests; `self::` and `super::` stay
//! within a module. They do not see what a macro builds, and they allow private types of the same name, such as `State`,
//! each in its own file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Graph = BTreeMap<String, BTreeSet<String>>;

/// All source files in a directory.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|it| it == "rs"));
    files.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

/// The top-level module of a file.
fn module(file: &Path) -> String {
    let within = file.strip_prefix("src").unwrap().components().next().unwrap();
    within.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// A source text without comments and unit tests.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.join("\n")
}

/// The name that a text begins with.
fn name(text: &str) -> Option<String> {
    let name: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The types that a text defines and that are visible outside of its file.
fn visible_types(text: &str) -> Vec<String> {
    let defined = |line: &str| {
        let line = line.strip_prefix("pub")?;
        let line = if line.starts_with('(') { line.split_once(')')?.1 } else { line };
        let kinds = [" struct ", " enum ", " trait ", " type "];
        name(kinds.iter().find_map(|kind| line.strip_prefix(kind))?)
    };
    code(text).lines().filter_map(defined).collect()
}

/// The modules that a text names with `crate::`, also in braces, without comments and unit tests.
fn named(text: &str) -> BTreeSet<String> {
    let code = code(text);
    let mut names = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        match path.strip_prefix('{') {
            None => names.extend(name(path)),
            Some(list) => names.extend(top_level(list).into_iter().filter_map(name)),
        }
    }
    names
}

/// The items of a list in braces, up to the closing brace, without nested braces.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn graph() -> Graph {
    let mut graph = Graph::new();
    for file in sources(Path::new("src")) {
        let from = module(&file);
        let names = named(&fs::read_to_string(&file).unwrap());
        graph.entry(from.clone()).or_default().extend(names.into_iter().filter(|to| *to != from));
    }
    graph
}

/// The modules of a cycle; `None` if there is none.
fn ring(graph: &Graph) -> Option<Vec<String>> {
    let mut left: BTreeSet<&String> = graph.keys().collect();
    // A module that uses no remaining module, or is used by none, is in no cycle.
    let is_free = |it: &&String, left: &BTreeSet<&String>| {
        graph[*it].iter().all(|to| !left.contains(to)) || left.iter().all(|by| !graph[*by].contains(*it))
    };
    while let Some(free) = left.iter().find(|it| is_free(it, &left)).copied() {
        left.remove(free);
    }
    (!left.is_empty()).then(|| left.into_iter().cloned().collect())
}

#[test]
fn no_modules_depend_on_each_other_in_a_cycle() {
    assert_eq!(ring(&graph()), None);
}

#[test]
fn the_election_depends_on_time_and_the_record_only() {
    let known: Vec<String> = graph()["election"].iter().cloned().collect();
    assert_eq!(known, ["record", "time"]);
}

#[test]
fn a_name_belongs_to_one_type() {
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in sources(Path::new("src")) {
        for name in visible_types(&fs::read_to_string(&file).unwrap()) {
            files.entry(name).or_default().push(file.clone());
        }
    }
    assert!(files.len() > 100, "the types are found: {files:?}");
    files.retain(|_, files| files.len() > 1);
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn visible_types_are_found_and_private_ones_are_not() {
    let text = "pub struct A;\npub(super) enum B {}\nstruct C;\n// pub struct D;\npub type E<T> = F<T>;\n\
                pub fn g() {}\n#[cfg(test)]\nmod tests {\npub struct H;\n}";
    assert_eq!(visible_types(text), ["A", "B", "E"]);
}

#[test]
fn a_cycle_is_found_however_it_is_written() {
    let text = "use crate::{a::{b, c},\n d};\nuse crate::e::F;\nlet x = crate::g::h();\n// crate::i\n\
                #[cfg(test)]\nmod tests { use crate::j; }";
    assert_eq!(named(text).into_iter().collect::<Vec<_>>(), ["a", "d", "e", "g"]);
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            graph.entry((*to).to_owned()).or_default();
        }
        graph
    };
    assert_eq!(ring(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(ring(&graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "a")])).unwrap(), ["a", "b", "c"]);
}
