//! A field of a kubeconfig: its value, and its position for messages.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::CredentialsError;
use super::kubeconfig::beside;
use super::yaml::{Node, Value};

/// A field that may have a value.
#[derive(Clone)]
pub(super) struct Field<'a> {
    file: &'a Path,
    /// The full name, such as `users["jane"].user.exec`.
    name: String,
    /// The line of the value, or of the parent if there is none.
    line: usize,
    /// `None` if it is missing or null.
    value: Option<&'a Node>,
}

impl<'a> Field<'a> {
    pub(super) fn root(file: &'a Path, root: &'a Node) -> Field<'a> {
        Field { file, name: String::new(), line: root.line, value: present(root) }
    }

    /// The field `name` of this one, which must be a map or missing.
    pub(super) fn get(&self, name: &str) -> Result<Field<'a>, CredentialsError> {
        let inner = match self.value.map(|node| &node.value) {
            None => None,
            Some(Value::Map(map)) => map.iter().find(|(key, _)| key == name).map(|(_, node)| node),
            Some(_) => return Err(self.fail("it has to be a map")),
        };
        let separator = if self.name.is_empty() { "" } else { "." };
        Ok(Field {
            file: self.file,
            name: format!("{}{separator}{name}", self.name),
            line: inner.map_or(self.line, |node| node.line),
            value: inner.and_then(present),
        })
    }

    /// The same field with another name.
    pub(super) fn named(self, name: &str) -> Field<'a> {
        Field { name: name.to_owned(), ..self }
    }

    /// The value as JSON; `None` if there is none.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        self.value.map(Node::to_json)
    }

    pub(super) fn is_there(&self) -> bool {
        self.value.is_some()
    }

    /// Whether the value is more than an empty string, list or map.
    pub(super) fn says_something(&self) -> bool {
        self.value.is_some_and(|node| match &node.value {
            Value::Null => false,
            Value::Text { text, .. } => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
        })
    }

    /// The string; `None` if it is empty or missing. As in kubectl, an unquoted number or boolean is not a string.
    pub(super) fn text(&self) -> Result<Option<&'a str>, CredentialsError> {
        match self.value.map(|node| &node.value) {
            None => Ok(None),
            Some(Value::Text { plain: true, .. }) if !self.json().is_some_and(|json| json.is_string()) => {
                Err(self.fail("it has to be a text; put it in quotes"))
            }
            Some(Value::Text { text, .. }) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.fail("it has to be a text")),
        }
    }

    /// Whether it is true. A missing field is false.
    pub(super) fn yes(&self) -> Result<bool, CredentialsError> {
        match self.value.map(|node| &node.value) {
            None => Ok(false),
            Some(Value::Text { text, plain: true }) if matches!(text.as_str(), "true" | "True" | "TRUE") => Ok(true),
            Some(Value::Text { text, plain: true }) if matches!(text.as_str(), "false" | "False" | "FALSE") => {
                Ok(false)
            }
            Some(_) => Err(self.fail("it has to be true or false")),
        }
    }

    /// The entries; a missing field has none.
    pub(super) fn list(&self) -> Result<Vec<Field<'a>>, CredentialsError> {
        match self.value.map(|node| &node.value) {
            None => Ok(Vec::new()),
            Some(Value::List(list)) => {
                Ok(list.iter().enumerate().map(|(index, node)| self.entry(index, node)).collect())
            }
            Some(_) => Err(self.fail("it has to be a list")),
        }
    }

    fn entry(&self, index: usize, node: &'a Node) -> Field<'a> {
        Field { file: self.file, name: format!("{}[{index}]", self.name), line: node.line, value: present(node) }
    }

    /// The path in this field, relative to the directory of the kubeconfig.
    pub(super) fn path(&self) -> Result<Option<PathBuf>, CredentialsError> {
        Ok(self.text()?.map(|path| beside(self.file, path)))
    }

    /// The value, decoded from base64.
    pub(super) fn data(&self) -> Result<Option<Vec<u8>>, CredentialsError> {
        let Some(text) = self.text()? else { return Ok(None) };
        // A string may span several lines.
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        // The decoder's error would repeat a byte of what may be a key.
        STANDARD.decode(text).map(Some).map_err(|_| self.fail("it is not base64"))
    }

    /// The name, line and file of the field, for messages.
    pub(super) fn origin(&self) -> String {
        format!("{} in line {} of {}", self.name, self.line, self.file.display())
    }

    /// An error about this field.
    pub(super) fn fail(&self, why: &str) -> CredentialsError {
        let (name, line) = (&self.name, self.line);
        let what = if name.is_empty() { String::new() } else { format!(", {name}") };
        CredentialsError::of_config(format!(
            "cannot use the kubeconfig {}, line {line}{what}: {why}",
            self.file.display()
        ))
    }
}

/// The inverse of [`Field::data`].
pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn present(node: &Node) -> Option<&Node> {
    Some(node).filter(|node| !matches!(node.value, Value::Null))
}
