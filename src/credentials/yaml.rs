//! YAML, and so JSON, as far as a kubeconfig needs it: a tree of texts, lists and maps that know their lines.
//!
//! The tree is built from the events of the parser, so that nothing in a file costs more than its size: no alias is
//! expanded, and depth and number of the nodes are bounded. A scalar stays the text that it was: what it is to be is
//! for its reader to say, as kubectl does it.

use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Far deeper than any kubeconfig, the settings of its plugins included.
const MOST_LEVELS: usize = 32;

/// Each takes some ten times the memory that its text does.
const MOST_NODES: usize = 100_000;

/// Each is compared with all before it.
const MOST_KEYS: usize = 1000;

/// A value in a file.
pub(super) struct Node {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

pub(super) enum Value {
    Null,
    Text {
        text: String,
        /// Not in quotes: what looks like a number or a boolean is one.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Why a text is not taken, in words that follow the name of its file.
#[derive(Debug)]
pub(super) struct Fault {
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Reads the first document of a text; one without any is null.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut tree = Tree { open: Vec::new(), nodes: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Fault {
            line: error.marker().line(),
            what: format!("not sound YAML: {}", error.info()),
        })?;
        let fail = |what: String| Fault { line: span.start.line(), what };
        if let Some(root) = tree.take(event, span.start.line()).map_err(fail)? {
            return Ok(root);
        }
    }
    Ok(Node { line: 1, value: Value::Null })
}

/// What has been read so far.
struct Tree {
    /// The lists and maps that have not ended yet, the innermost last.
    open: Vec<Open>,
    nodes: usize,
}

struct Open {
    line: usize,
    what: Inside,
}

enum Inside {
    List(Vec<Node>),
    /// The key whose value comes next, if one was read.
    Map(Vec<(String, Node)>, Option<String>),
}

impl Tree {
    /// Takes in one event; the root once it is whole.
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
            Event::Alias(_) => Err("aliases (*name) are not supported; write out what they stand for".into()),
            Event::DocumentEnd => Ok(Some(Node { line, value: Value::Null })),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(None),
        }
    }

    fn enter(&mut self, open: Open) -> Result<Option<Node>, String> {
        if self.open.len() == MOST_LEVELS {
            return Err(format!("nested more than {MOST_LEVELS} levels deep"));
        }
        if let Some(Open { what: Inside::Map(_, None), .. }) = self.open.last() {
            return Err("a key is a list or a map, and has to be a text".into());
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
                    return Err(format!("the key {name:?} comes twice"));
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
    /// The same in JSON, for a plugin that is handed its settings.
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
        assert_eq!(json("a: b\na: c\n"), "line 2: the key \"a\" comes twice");
        assert_eq!(
            json("a:\n  b: &x c\n  d: *x\n"),
            "line 3: aliases (*name) are not supported; write out what they stand for"
        );
        assert_eq!(json("? [a]\n: b\n"), "line 1: a key is a list or a map, and has to be a text");
        assert_eq!(json("~: b\n"), "line 1: a key is empty");
        for (text, line) in [("a:\n\tb: c\n", 2), ("a: 'b\n", 1), ("a: b: c\n", 1), ("a: [b\n", 2), ("{---", 2)] {
            let said = json(text);
            assert!(said.starts_with(&format!("line {line}: not sound YAML: ")), "{text:?}: {said}");
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
