//! The subset of YAML (and so of JSON) that a kubeconfig needs: a tree of strings, lists and maps with line numbers.
//!
//! The tree is built from parser events, so memory is proportional to the size of the file: aliases are not expanded,
//! and the depth and the number of nodes are limited. A scalar stays a string; its reader decides on the type, as in
//! kubectl.

use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Far deeper than any kubeconfig, including plugin settings.
const MOST_LEVELS: usize = 32;

/// A node takes about ten times the memory of its text.
const MOST_NODES: usize = 100_000;

/// Each key is compared with all keys before it.
const MOST_KEYS: usize = 1000;

/// A value in a file.
pub(super) struct Node {
    /// The line at which it begins, from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

pub(super) enum Value {
    Null,
    Text {
        text: String,
        /// Not quoted: it may be a number or a boolean.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A parse error, phrased to follow the name of the file.
#[derive(Debug)]
pub(super) struct YamlError {
    line: usize,
    what: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Parses the first document; an empty text is null.
pub(super) fn parse(text: &str) -> Result<Node, YamlError> {
    let mut tree = Tree { open: Vec::new(), nodes: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError {
            line: error.marker().line(),
            what: format!("invalid YAML: {}", error.info()),
        })?;
        let fail = |what: String| YamlError { line: span.start.line(), what };
        if let Some(root) = tree.take(event, span.start.line()).map_err(fail)? {
            return Ok(root);
        }
    }
    Ok(Node { line: 1, value: Value::Null })
}

/// The part of the tree parsed so far.
struct Tree {
    /// The lists and maps that have not ended, the innermost last.
    open: Vec<Open>,
    nodes: usize,
}

struct Open {
    line: usize,
    what: Inside,
}

enum Inside {
    List(Vec<Node>),
    /// The last key, if its value comes next.
    Map(Vec<(String, Node)>, Option<String>),
}

impl Tree {
    /// Handles one event. Returns the root when it is complete.
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<Option<Node>, String> {
        match event {
            Event::Scalar(text, style, ..) => {
                let plain = matches!(style, ScalarStyle::Plain);
                let value = match plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    true => Value::Null,
                    false => Value::Text { text: text.into_owned(), plain },
                };
                self.put(Node { line, value })
            }
            Event::SequenceStart(..) => self.enter(Open { line, what: Inside::List(Vec::new()) }),
            Event::MappingStart(..) => self.enter(Open { line, what: Inside::Map(Vec::new(), None) }),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, what }) = self.open.pop() else { return Ok(None) };
                let value = match what {
                    Inside::List(list) => Value::List(list),
                    Inside::Map(map, _) => Value::Map(map),
                };
                self.put(Node { line, value })
            }
            Event::Alias(_) => Err("aliases (*name) are not supported; write the value itself".into()),
            Event::DocumentEnd => Ok(Some(Node { line, value: Value::Null })),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(None),
        }
    }

    fn enter(&mut self, open: Open) -> Result<Option<Node>, String> {
        if self.open.len() == MOST_LEVELS {
            return Err(format!("nested more than {MOST_LEVELS} levels deep"));
        }
        if let Some(Open { what: Inside::Map(_, None), .. }) = self.open.last() {
            return Err("a key is a list or a map, but must be a string".into());
        }
        self.open.push(open);
        Ok(None)
    }

    fn put(&mut self, node: Node) -> Result<Option<Node>, String> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(format!("more than {MOST_NODES} values are too many"));
        }
        let Some(open) = self.open.last_mut() else { return Ok(Some(node)) };
        match &mut open.what {
            Inside::List(list) => list.push(node),
            Inside::Map(map, key @ None) => {
                let name = match node.value {
                    Value::Text { text, .. } => text,
                    _ => return Err("a key is empty".into()),
                };
                if map.len() == MOST_KEYS {
                    return Err(format!("more than {MOST_KEYS} keys in a map are too many"));
                }
                if map.iter().any(|(known, _)| *known == name) {
                    return Err(format!("the key {name:?} occurs twice"));
                }
                *key = Some(name);
            }
            Inside::Map(map, key) => {
                if let Some(key) = key.take() {
                    map.push((key, node));
                }
            }
        }
        Ok(None)
    }
}

impl Node {
    /// The value as JSON, for the settings of a plugin.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Text { text, plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" => true.into(),
                "false" | "False" | "FALSE" => false.into(),
                number => number.parse::<serde_json::Number>().map_or_else(|_| text.as_str().into(), Into::into),
            },
            Value::Text { text, .. } => text.as_str().into(),
            Value::List(list) => list.iter().map(Node::to_json).collect(),
            Value::Map(map) => map.iter().map(|(key, node)| (key.clone(), node.to_json())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        parse(text).map_or_else(|fault| fault.to_string(), |node| node.to_json().to_string())
    }

    #[test]
    fn yaml_and_json_are_read_alike() {
        let yaml = "# of a cluster\na:\n- b: 'c'\n  d: [true, 1, x, \"1\"]\n- ~\ne: |\n  two\n  lines\nf:\n";
        let tree = r#"{"a":[{"b":"c","d":[true,1,"x","1"]},null],"e":"two\nlines\n","f":null}"#;
        assert_eq!(json(yaml), tree);
        assert_eq!(json(tree), tree);
        assert_eq!(json("{\n\t\"a\": [\n\t\t\"\\u00e9\\/\"\n\t]\n}\n"), r#"{"a":["é/"]}"#);
        assert_eq!(json("\u{feff}a: b\r\nc: d\r\n"), r#"{"a":"b","c":"d"}"#);
    }

    #[test]
    fn the_first_document_counts() {
        assert_eq!(json("---\na: b\n---\nc: d\n"), r#"{"a":"b"}"#);
        for nothing in ["", "\n", "# nothing\n", "---\n", "---\n...\n"] {
            assert_eq!(json(nothing), "null", "{nothing:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(json("a: b\na: c\n"), "line 2: the key \"a\" occurs twice");
        assert_eq!(
            json("a:\n  b: &x c\n  d: *x\n"),
            "line 3: aliases (*name) are not supported; write the value itself"
        );
        assert_eq!(json("? [a]\n: b\n"), "line 1: a key is a list or a map, but must be a string");
        assert_eq!(json("~: b\n"), "line 1: a key is empty");
        for (text, line) in [("a:\n\tb: c\n", 2), ("a: 'b\n", 1), ("a: b: c\n", 1), ("a: [b\n", 2), ("{---", 2)] {
            let said = json(text);
            assert!(said.starts_with(&format!("line {line}: invalid YAML: ")), "{text:?}: {said}");
        }
    }

    #[test]
    fn no_text_takes_more_than_its_size() {
        let laughs = (1..9).fold("a0: &a0 [lol, lol]\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)
        });
        assert!(json(&laughs).contains("aliases"), "{}", json(&laughs));
        for deep in ["[".repeat(1 << 20), "{a: ".repeat(1 << 18), "- ".repeat(1 << 19), "? ".repeat(1 << 19)] {
            let said = json(&deep);
            assert!(said.starts_with("line 1: ") && said.len() < 200, "{said}");
        }
        assert_eq!(json(&format!("[{}]", "a,".repeat(1 << 19))), "line 1: more than 100000 values are too many");
        let keys: String = (0..200_000).map(|n| format!("{n}: \n")).collect();
        assert_eq!(json(&keys), "line 1001: more than 1000 keys in a map are too many");
        let level = |levels: usize| json(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
        assert_eq!(level(MOST_LEVELS), format!("{}{}", "[".repeat(MOST_LEVELS), "]".repeat(MOST_LEVELS)));
        assert_eq!(level(MOST_LEVELS + 1), "line 1: nested more than 32 levels deep");
    }
}
