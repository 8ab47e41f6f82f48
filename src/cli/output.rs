//! What commands print: aligned tables and `name: value` lists for people, JSON for programs.

use std::io::{IsTerminal, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;

/// A table with a head; columns are as wide as their widest cell.
#[derive(Debug, Default)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Appends a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, without spaces at line ends.
    pub fn render(&self) -> String {
        let mut widths: Vec<usize> = self.head.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Prints the table, its head bold at a terminal; `nothing` if there is no row.
    pub fn print(&self, nothing: &str) {
        if self.is_empty() {
            return print(&format!("{nothing}\n"));
        }
        let text = self.render();
        match text.split_once('\n') {
            Some((head, rows)) if colour(&std::io::stdout()) => print(&format!("\x1b[1m{head}\x1b[0m\n{rows}")),
            _ => print(&text),
        }
    }
}

/// A list of `name  value` lines, aligned; empty values are left out.
pub fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        for (number, line) in value.lines().enumerate() {
            let name = if number == 0 { *name } else { "" };
            text.push_str(&format!("{name:width$}  {line}\n"));
        }
    }
    text
}

/// A PEM text (RFC 7468).
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Prints JSON.
pub fn json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("what is printed can be written as JSON");
    print(&format!("{text}\n"));
}

/// How to call this program again from here: by its name where the shell finds it, else by its path.
pub fn program() -> String {
    let Ok(exe) = std::env::current_exe() else { return "ravelin".to_owned() };
    let name = exe.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|candidate| candidate.is_file());
    if found.and_then(|found| found.canonicalize().ok()) == exe.canonicalize().ok() {
        return name.display().to_string();
    }
    let here = std::env::current_dir().unwrap_or_default();
    let near = exe.strip_prefix(&here).map(std::path::Path::to_owned).unwrap_or(exe);
    near.display().to_string()
}

/// Prints to stdout. A reader that went away (`| head`) is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Prints an error to stderr.
pub fn error(message: &str) {
    let message = message.trim_end();
    let mut err = std::io::stderr().lock();
    // Diagnostics bring their own `error:` head.
    let _ = if message.starts_with("error") || message.starts_with("\x1b") {
        writeln!(err, "{message}")
    } else if colour(&std::io::stderr()) {
        writeln!(err, "\x1b[1;31merror\x1b[0m: {message}")
    } else {
        writeln!(err, "error: {message}")
    };
}

/// Whether to colour what goes there: a terminal, and no NO_COLOR (<https://no-color.org>).
pub fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A field of a JSON object as text; nothing for null and what is not there.
///
/// Some of it comes from devices: control characters, which a terminal would obey, are written out.
pub fn text(value: &Value, field: &str) -> String {
    let text = raw_text(value, field);
    let obeyed = |c: char| c.is_control() && c != '\n';
    if !text.contains(obeyed) {
        return text;
    }
    text.chars().map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn raw_text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect::<Vec<_>>().join(", ")
        }
        Some(Value::Object(map)) => map
            .iter()
            .map(|(k, v)| format!("{k}={}", v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
            .collect::<Vec<_>>()
            .join(", "),
        Some(other) => other.to_string(),
    }
}

/// A JSON object as a list of its fields.
pub fn object(value: &Value) -> String {
    let Some(map) = value.as_object() else { return format!("{value}\n") };
    let pairs: Vec<(String, String)> = map.keys().map(|key| (key.replace('_', " "), text(value, key))).collect();
    fields(&pairs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect::<Vec<_>>())
}

/// A timestamp of JSON as people read it: without fractions of a second.
pub fn time(value: &Value, field: &str) -> String {
    let text = text(value, field);
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_have_no_trailing_blanks() {
        let mut table = Table::new(&["ID", "GROUP"]);
        table.row(["3f2a", "branch"]);
        table.row(["ü", ""]);
        assert_eq!(table.render(), "ID    GROUP\n3f2a  branch\nü\n");
    }

    #[test]
    fn fields_leave_out_what_is_empty_and_indent_what_goes_on() {
        let text = fields(&[("group", "branch".into()), ("note", String::new()), ("names", "a\nb".into())]);
        assert_eq!(text, "group  branch\nnames  a\n       b\n");
    }

    #[test]
    fn json_values_read_as_text() {
        let value = serde_json::json!({"a": ["x", 1], "b": null, "c": {"k": "v"}, "at": "2026-01-02T03:04:05.678Z"});
        assert_eq!(text(&value, "a"), "x, 1");
        assert_eq!(text(&value, "b"), "");
        assert_eq!(text(&value, "c"), "k=v");
        assert_eq!(time(&value, "at"), "2026-01-02 03:04:05Z");
    }

    #[test]
    fn what_a_device_named_itself_does_not_move_the_cursor() {
        let one = serde_json::json!({ "device": "r1\u{1b}[2J", "pem": "a\nb\n" });
        assert_eq!(text(&one, "device"), "r1\\u{1b}[2J");
        assert_eq!(text(&one, "pem"), "a\nb\n");
    }
}
