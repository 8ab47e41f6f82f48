//! Reads one table of a file against its schema. Every reader goes on after a mistake, so that one run reports all of them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::diagnostic::{Diagnostic, Diagnostics, Origin, did_you_mean, listing, suggestion};
use super::schema::{Key, TableSchema};
use super::tree::{Entry, Item, Node, Table};
use crate::algorithm::UnknownAlgorithm;
use crate::rollout::Share;

/// A value with its origin.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// Where findings go.
pub(super) type Sink = RefCell<Diagnostics>;

/// A table that is being read.
pub(super) struct Reader<'a> {
    table: &'a Table,
    schema: &'static TableSchema,
    sink: &'a Sink,
}

impl<'a> Reader<'a> {
    /// Starts reading; keys that the schema does not know are reported here.
    pub(super) fn new(table: &'a Table, schema: &'static TableSchema, sink: &'a Sink) -> Self {
        let known = || schema.all_keys().map(|key| key.name);
        for entry in &table.entries {
            if known().any(|name| name == entry.key) {
                continue;
            }
            let message = format!("unknown key `{}` in {}", entry.key, schema.shown());
            let mut found = Diagnostic::error("unknown-key", message).at(&entry.key_origin);
            found = match did_you_mean(&entry.key, known()) {
                Some(name) => found.help(format!("did you mean `{name}`?")),
                None => found.help(format!("known keys are {}", known().collect::<Vec<_>>().join(", "))),
            };
            sink.borrow_mut().push(found);
        }
        Reader { table, schema, sink }
    }

    /// Reports a finding.
    pub(super) fn report(&self, diagnostic: Diagnostic) {
        self.sink.borrow_mut().push(diagnostic);
    }

    /// Reports a wrong value.
    pub(super) fn bad(&self, origin: &Origin, message: impl Into<String>) {
        self.report(Diagnostic::error("bad-value", message).at(origin));
    }

    /// The place of the table itself.
    pub(super) fn origin(&self) -> &Origin {
        &self.table.origin
    }

    fn entry(&self, key: &str) -> Option<&'a Entry> {
        debug_assert!(
            self.schema.all_keys().any(|known| known.name == key),
            "{key} is not in the schema of {}",
            self.schema.name
        );
        self.table.get(key)
    }

    fn wrong_type<T>(&self, key: &str, item: &Item, wanted: &str) -> Option<T> {
        let message = format!("`{key}` is {}, but should be {wanted}", item.node.kind());
        self.report(Diagnostic::error("wrong-type", message).at(&item.origin).label(format!("expected {wanted}")));
        None
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Where the value of a key stands.
    pub(super) fn origin_of(&self, key: &str) -> Option<Origin> {
        self.entry(key).map(|entry| entry.value.origin.clone())
    }

    /// Where the key itself stands.
    pub(super) fn key_origin_of(&self, key: &str) -> Option<Origin> {
        self.entry(key).map(|entry| entry.key_origin.clone())
    }

    /// A string.
    pub(super) fn string(&self, key: &str) -> Option<Located<String>> {
        let item = &self.entry(key)?.value;
        self.item_string(key, item)
    }

    fn item_string(&self, key: &str, item: &Item) -> Option<Located<String>> {
        match &item.node {
            Node::String(text) => Some(Located { value: text.clone(), origin: item.origin.clone() }),
            _ => self.wrong_type(key, item, "a string"),
        }
    }

    /// A string that must be there.
    pub(super) fn required(&self, key: &str) -> Option<Located<String>> {
        self.must_have(key);
        self.string(key)
    }

    /// Reports a key that is missing.
    pub(super) fn must_have(&self, key: &str) {
        if self.entry(key).is_none() {
            let message = format!("{} lacks the key `{key}`", self.schema.shown());
            let schema = self.schema.all_keys().find(|known| known.name == key);
            let found = Diagnostic::error("missing-key", message).at(self.origin());
            self.report(match schema {
                Some(schema) => found.help(format!("`{key}`: {}", schema.doc)),
                None => found,
            });
        }
    }

    /// A string that something reads.
    pub(super) fn parsed<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<Located<T>> {
        let text = self.string(key)?;
        self.read(&text, read)
    }

    /// Reads a string; what is wrong with it is reported.
    pub(super) fn read<T>(&self, text: &Located<String>, read: impl Fn(&str) -> Result<T, String>) -> Option<Located<T>> {
        match read(&text.value) {
            Ok(value) => Some(Located { value, origin: text.origin.clone() }),
            Err(why) => {
                self.bad(&text.origin, why);
                None
            }
        }
    }

    /// A registered name.
    pub(super) fn named<T: FromStr<Err = UnknownAlgorithm>>(&self, key: &str) -> Option<Located<T>> {
        let text = self.string(key)?;
        self.read_named(&text)
    }

    /// Reads a registered name; an unknown one is reported with what was probably meant.
    pub(super) fn read_named<T: FromStr<Err = UnknownAlgorithm>>(&self, text: &Located<String>) -> Option<Located<T>> {
        match text.value.parse() {
            Ok(value) => Some(Located { value, origin: text.origin.clone() }),
            Err(unknown) => {
                let known = unknown.known.split(", ");
                let (message, help) = match unknown.refused {
                    Some(why) => {
                        let name = unknown.name.strip_prefix("id-").unwrap_or(&unknown.name);
                        (format!("the {} `{}` is not taken: {why}", unknown.kind, unknown.name), listing(name, known))
                    }
                    None => (format!("unknown {} `{}`", unknown.kind, unknown.name), suggestion(&unknown.name, known)),
                };
                self.report(Diagnostic::error("unknown-name", message).at(&text.origin).help(help));
                None
            }
        }
    }

    /// Strings; a single one may stand without brackets.
    pub(super) fn strings(&self, key: &str) -> Option<Vec<Located<String>>> {
        let item = &self.entry(key)?.value;
        match &item.node {
            Node::String(text) => Some(vec![Located { value: text.clone(), origin: item.origin.clone() }]),
            Node::Array(items) => Some(items.iter().filter_map(|item| self.item_string(key, item)).collect()),
            _ => self.wrong_type(key, item, "an array of strings"),
        }
    }

    /// Strings that something reads.
    pub(super) fn parsed_list<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<Vec<Located<T>>> {
        Some(self.strings(key)?.iter().filter_map(|text| self.read(text, &read)).collect())
    }

    /// Registered names.
    pub(super) fn named_list<T: FromStr<Err = UnknownAlgorithm>>(&self, key: &str) -> Option<Vec<Located<T>>> {
        Some(self.strings(key)?.iter().filter_map(|text| self.read_named(text)).collect())
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        let item = &self.entry(key)?.value;
        match item.node {
            Node::Bool(value) => Some(value),
            _ => self.wrong_type(key, item, "`true` or `false`"),
        }
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, key: &str, min: i64, max: i64) -> Option<i64> {
        let item = &self.entry(key)?.value;
        match item.node {
            Node::Integer(value) if (min..=max).contains(&value) => Some(value),
            Node::Integer(value) => {
                self.bad(&item.origin, format!("`{key}` is {value}, but should be from {min} to {max}"));
                None
            }
            _ => self.wrong_type(key, item, "a whole number"),
        }
    }

    /// A size: octets as a number, or text with a unit.
    pub(super) fn size(&self, key: &str, min: usize, max: usize) -> Option<usize> {
        let item = &self.entry(key)?.value;
        let size = match &item.node {
            Node::Integer(octets) => usize::try_from(*octets).map_err(|_| format!("{octets} is no size")),
            Node::String(text) => super::value::size(text),
            _ => return self.wrong_type(key, item, "a size such as \"24KiB\""),
        };
        match size {
            Ok(size) if (min..=max).contains(&size) => Some(size),
            Ok(size) => {
                self.bad(&item.origin, format!("`{key}` is {size} octets, but should be from {min} to {max}"));
                None
            }
            Err(why) => {
                self.bad(&item.origin, why);
                None
            }
        }
    }

    /// A percentage: a whole number, or text for a fraction.
    pub(super) fn share(&self, key: &str) -> Option<Located<Share>> {
        let item = &self.entry(key)?.value;
        let text = match &item.node {
            Node::Integer(number) => number.to_string(),
            Node::String(text) => text.clone(),
            _ => return self.wrong_type(key, item, "a percentage such as 5 or \"0.5\""),
        };
        self.read(&Located { value: text, origin: item.origin.clone() }, Share::parse)
    }

    /// A duration.
    pub(super) fn duration(&self, key: &str) -> Option<std::time::Duration> {
        self.parsed(key, super::value::duration).map(|d| d.value)
    }

    /// A path; a relative one starts at `base`.
    pub(super) fn path(&self, key: &str, base: &Path) -> Option<Located<PathBuf>> {
        let text = self.string(key)?;
        self.read(&text, |text| if text.is_empty() { Err("the path is empty".into()) } else { Ok(base.join(text)) })
    }

    /// Reports one of two keys that is there without the other.
    pub(super) fn must_go_together(&self, one: &str, other: &str) {
        for (there, missing) in [(one, other), (other, one)] {
            if let (Some(origin), None) = (self.origin_of(there), self.origin_of(missing)) {
                self.report(Diagnostic::error("missing-key", format!("`{there}` needs `{missing}`")).at(&origin));
            }
        }
    }

    /// The files that its keys name, secrets included; what is wrong with them is reported by whoever reads the keys.
    pub(super) fn files(&self, base: &Path) -> Vec<PathBuf> {
        let named = |key: &Key| {
            let node = &self.table.get(key.name)?.value.node;
            let text = match (key.kind, node) {
                ("path", Node::String(text)) => text,
                ("secret", Node::Table(table)) => match &table.get("file")?.value.node {
                    Node::String(text) => text,
                    _ => return None,
                },
                _ => return None,
            };
            Some(base.join(text))
        };
        self.schema.all_keys().filter_map(named).collect()
    }

    /// Reads an inner table.
    pub(super) fn table(&self, key: &str, schema: &'static TableSchema) -> Option<Reader<'a>> {
        let item = &self.entry(key)?.value;
        match &item.node {
            Node::Table(table) => Some(Reader::new(table, schema, self.sink)),
            _ => self.wrong_type(key, item, "a table"),
        }
    }

    /// Reads an array of tables; a single table may stand without brackets.
    pub(super) fn tables(&self, key: &str, schema: &'static TableSchema) -> Option<Vec<Reader<'a>>> {
        let item = &self.entry(key)?.value;
        match &item.node {
            Node::Table(table) => Some(vec![Reader::new(table, schema, self.sink)]),
            Node::Array(items) => {
                let tables = items.iter().filter_map(|item| match &item.node {
                    Node::Table(table) => Some(Reader::new(table, schema, self.sink)),
                    _ => self.wrong_type(key, item, "a table"),
                });
                Some(tables.collect())
            }
            _ => self.wrong_type(key, item, "a table, or an array of tables"),
        }
    }

    /// Inner tables as they stand, for which the schema is still to be found; a single table may stand without brackets.
    pub(super) fn raw_tables(&self, key: &str) -> Option<Vec<&'a Table>> {
        let item = &self.entry(key)?.value;
        let table = |item: &'a Item| match &item.node {
            Node::Table(table) => Some(table),
            _ => self.wrong_type(key, item, "a table"),
        };
        match &item.node {
            Node::Array(items) => Some(items.iter().filter_map(table).collect()),
            _ => Some(table(item).into_iter().collect()),
        }
    }

    /// Where an empty array stands, if the value is one.
    pub(super) fn empty_array(&self, key: &str) -> Option<Origin> {
        let item = &self.entry(key)?.value;
        matches!(&item.node, Node::Array(items) if items.is_empty()).then(|| item.origin.clone())
    }

    /// Whether the value is a table: some keys take a list or a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|entry| matches!(entry.value.node, Node::Table(_)))
    }
}

/// The values without their origins.
pub(super) fn values<T>(located: Vec<Located<T>>) -> Vec<T> {
    located.into_iter().map(|l| l.value).collect()
}
