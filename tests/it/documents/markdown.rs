//! Parses the Markdown that the documents use: headings and their anchors, links, tables, code.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A file, by its path from the root of the project.
pub struct Document {
    pub path: String,
    text: String,
}

/// A code block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    pub language: String,
    pub text: String,
}

/// All documents of the project, including those of its crates.
pub fn all() -> Vec<Document> {
    let mut paths = Vec::new();
    find(Path::new(ROOT), &mut paths);
    paths.sort();
    paths.iter().map(|path| read(path.strip_prefix(ROOT).unwrap().to_str().unwrap())).collect()
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                find(&path, paths);
            }
        } else if path.extension().is_some_and(|it| it == "md") {
            paths.push(path);
        }
    }
}

pub fn read(path: &str) -> Document {
    let text = fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Document { path: path.to_owned(), text }
}

impl Document {
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }

    /// The lines outside of code blocks.
    pub fn prose(&self) -> impl Iterator<Item = &str> {
        let mut in_block = false;
        self.lines().filter(move |line| {
            let is_fence = line.trim_start().starts_with("```");
            in_block ^= is_fence;
            !in_block && !is_fence
        })
    }

    pub fn blocks(&self, language: &str) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut in_block = false;
        for line in self.lines() {
            if let Some(language) = line.strip_prefix("```") {
                in_block = !in_block;
                if in_block {
                    blocks.push(Block { language: language.to_owned(), text: String::new() });
                }
            } else if in_block && let Some(block) = blocks.last_mut() {
                block.text += line;
                block.text.push('\n');
            }
        }
        blocks.retain(|block| block.language == language);
        blocks
    }

    /// The anchors of the headings.
    pub fn anchors(&self) -> Vec<String> {
        let mut seen: HashMap<String, u32> = HashMap::new();
        let headings = self
            .prose()
            .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
        headings
            .map(|heading| {
                let anchor = anchor(heading);
                let count = seen.entry(anchor.clone()).or_default();
                *count += 1;
                if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
            })
            .collect()
    }

    /// The targets of its links.
    pub fn links(&self) -> Vec<String> {
        self.prose().flat_map(links).collect()
    }

    /// The code spans under this heading, up to the next heading of its level or above. With `first_column` only those
    /// in the first column of tables.
    pub fn code_under(&self, heading: &str, first_column: bool) -> Vec<String> {
        let level = heading.chars().take_while(|c| *c == '#').count();
        let is_end = |line: &&str| {
            let hashes = line.chars().take_while(|c| *c == '#').count();
            hashes > 0 && hashes <= level
        };
        let under = self.prose().skip_while(|line| *line != heading).skip(1).take_while(|line| !is_end(line));
        let lines: Vec<&str> = match first_column {
            true => under.filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect(),
            false => under.collect(),
        };
        assert!(!lines.is_empty(), "{} has nothing under {heading:?}", self.path);
        lines.into_iter().flat_map(code).collect()
    }

    /// All code spans.
    pub fn code(&self) -> Vec<String> {
        self.prose().flat_map(code).collect()
    }
}

/// The anchor of a heading on code hosts.
pub fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// The targets of the links in a line.
pub fn links(line: &str) -> Vec<String> {
    // A link inside of code is no link; the text of a link may be code.
    let outside: String = line.split('`').step_by(2).collect();
    let targets = outside.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The code spans in a line.
pub fn code(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
