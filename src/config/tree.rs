//! The configuration as a tree of values that know where they came from.
//!
//! Files are read by `toml` with the place of every value. Environment and command line are laid over `ravelin.toml` value by value
//! (figment reads both, but cannot tell places in files), so that a report can point at whatever was wrong.

use std::sync::Arc;

use figment::providers::Env;
use figment::value::{Num, Value};
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Diagnostics, Origin, Source};

/// A value and its origin.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) node: Node,
    pub(super) origin: Origin,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    String(String),
    Integer(i64),
    Bool(bool),
    Array(Vec<Item>),
    Table(Table),
    /// A float or a date: nothing of ours is one.
    Other(&'static str),
}

impl Node {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::String(_) => "a string",
            Node::Integer(_) => "an integer",
            Node::Bool(_) => "a boolean",
            Node::Array(_) => "an array",
            Node::Table(_) => "a table",
            Node::Other(kind) => kind,
        }
    }
}

/// A table in the order of its file.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
    pub(super) origin: Origin,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_origin: Origin,
    pub(super) value: Item,
}

impl Table {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Sets the value at a dotted path; tables on the way are made.
    fn set(&mut self, path: &str, value: Item) {
        let (key, rest) = match path.split_once('.') {
            Some((key, rest)) => (key, Some(rest)),
            None => (path, None),
        };
        let origin = value.origin.clone();
        let at = match self.entries.iter().position(|entry| entry.key == key) {
            Some(at) => at,
            None => {
                let node = Node::Table(Table { entries: Vec::new(), origin: origin.clone() });
                let value = Item { node, origin: origin.clone() };
                self.entries.push(Entry { key: key.to_owned(), key_origin: origin, value });
                self.entries.len() - 1
            }
        };
        let entry = &mut self.entries[at];
        match (rest, &mut entry.value.node) {
            (None, _) => entry.value = value,
            (Some(rest), Node::Table(table)) => table.set(rest, value),
            (Some(rest), node) => {
                let mut table = Table { entries: Vec::new(), origin: value.origin.clone() };
                table.set(rest, value);
                *node = Node::Table(table);
            }
        }
    }
}

/// Reads a file's text. What cannot be read is reported, and what can be is given.
pub(super) fn parse(source: &Arc<Source>, sink: &mut Diagnostics) -> Table {
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let origin = Origin { source: source.clone(), span };
        sink.push(Diagnostic::error("syntax", format!("this is not TOML: {}", error.message())).at(&origin));
    }
    let span = 0..0;
    table(source, root.get_ref(), span)
}

fn table(source: &Arc<Source>, table: &DeTable<'_>, span: std::ops::Range<usize>) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_origin: Origin { source: source.clone(), span: key.span() },
            value: item(source, value.get_ref(), value.span()),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_origin.span.start);
    Table { entries, origin: Origin { source: source.clone(), span } }
}

fn item(source: &Arc<Source>, value: &DeValue<'_>, span: std::ops::Range<usize>) -> Item {
    let node = match value {
        DeValue::String(text) => Node::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Node::Integer(number),
            Err(_) => Node::Other("an integer out of range"),
        },
        DeValue::Boolean(value) => Node::Bool(*value),
        DeValue::Float(_) => Node::Other("a float"),
        DeValue::Datetime(_) => Node::Other("a date"),
        DeValue::Array(items) => Node::Array(items.iter().map(|i| item(source, i.get_ref(), i.span())).collect()),
        DeValue::Table(inner) => Node::Table(self::table(source, inner, span.clone())),
    };
    Item { node, origin: Origin { source: source.clone(), span } }
}

/// What environment and command line say against `ravelin.toml`.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    values: Vec<(String, String, String)>,
}

impl Overrides {
    /// None: the files alone count.
    pub fn none() -> Self {
        Self::default()
    }

    /// What the environment says: `RAVELIN__SERVER__CONTROL_SOCKET` is `server.control-socket`. Two underscores, because a single one
    /// is what orchestrators use for variables of their own.
    pub fn from_environment() -> Self {
        let variables: Vec<(String, String)> =
            Env::prefixed("RAVELIN__").iter().map(|(k, v)| (k.as_str().to_owned(), v)).collect();
        let mut overrides = Self::default();
        for (key, value) in variables {
            overrides = overrides.environment(&key, &value);
        }
        overrides
    }

    /// One variable, without the prefix.
    fn environment(mut self, key: &str, value: &str) -> Self {
        let path = key.to_ascii_lowercase().replace("__", ".").replace('_', "-");
        let shown = format!("RAVELIN__{}", key.to_ascii_uppercase());
        self.values.push((path, value.to_owned(), shown));
        self
    }

    /// One argument: `server.listen` and its value, which is read as the environment's are (`8`, `true`, `["a", "b"]`, text).
    /// Later ones win over earlier ones.
    pub fn set(mut self, path: &str, value: &str) -> Self {
        self.values.push((path.to_owned(), value.to_owned(), format!("--set {path}")));
        self
    }

    /// Lays the values over a file's table.
    pub(super) fn apply(&self, root: &mut Table) {
        for (path, text, shown) in &self.values {
            let secret_safe = format!("{shown}={text}");
            let span = shown.len() + 1..secret_safe.len();
            let name = if shown.starts_with("--") { "command line" } else { "environment" };
            let source = Arc::new(Source { name: name.into(), file: None, text: secret_safe });
            let value: Value = text.parse().expect("figment takes any text as a value");
            root.set(path, from_figment(&value, text, &Origin { source, span }));
        }
    }

    /// All of it, for the digest.
    pub(super) fn fingerprint(&self) -> String {
        self.values.iter().map(|(path, text, _)| format!("{path}={text}\n")).collect()
    }
}

fn from_figment(value: &Value, text: &str, origin: &Origin) -> Item {
    let node = match value {
        Value::String(_, text) => Node::String(text.clone()),
        Value::Char(_, c) => Node::String(c.to_string()),
        Value::Bool(_, value) => Node::Bool(*value),
        Value::Num(_, Num::F32(_) | Num::F64(_)) => Node::String(text.to_owned()),
        Value::Num(_, number) => match number.to_i128().or(number.to_u128().and_then(|n| n.try_into().ok())) {
            Some(number) => i64::try_from(number).map_or(Node::Other("an integer out of range"), Node::Integer),
            None => Node::Other("an integer out of range"),
        },
        Value::Empty(..) => Node::String(String::new()),
        Value::Array(_, items) => Node::Array(items.iter().map(|i| from_figment(i, "", origin)).collect()),
        Value::Dict(_, dict) => Node::Table(Table {
            entries: dict
                .iter()
                .map(|(key, value)| Entry {
                    key: key.clone(),
                    key_origin: origin.clone(),
                    value: from_figment(value, "", origin),
                })
                .collect(),
            origin: origin.clone(),
        }),
    };
    Item { node, origin: origin.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { name: "x.toml".into(), file: Some("x.toml".into()), text: text.into() })
    }

    #[test]
    fn all_syntax_errors_are_reported() {
        let mut sink = Diagnostics::default();
        let table = parse(&source("a = \nb = 2\nc == 3\n"), &mut sink);
        assert!(sink.counts().0 >= 2, "{sink}");
        assert!(table.get("b").is_some());
    }

    #[test]
    fn the_environment_is_laid_over_the_file() {
        let mut sink = Diagnostics::default();
        let mut table = parse(&source("[server]\nnode = \"a\"\nwatch = true\n"), &mut sink);
        Overrides::none()
            .environment("server__control_socket", "x.sock")
            .environment("SERVER__NODE", "7")
            .set("server.listen", "[\"[::1]:80\"]")
            .apply(&mut table);
        let Node::Table(server) = &table.get("server").unwrap().value.node else { panic!("a table") };
        assert!(matches!(&server.get("control-socket").unwrap().value.node, Node::String(s) if s == "x.sock"));
        assert!(matches!(&server.get("node").unwrap().value.node, Node::Integer(7)));
        assert!(matches!(&server.get("listen").unwrap().value.node, Node::Array(items) if items.len() == 1));
        assert!(matches!(&server.get("watch").unwrap().value.node, Node::Bool(true)));
    }
}
