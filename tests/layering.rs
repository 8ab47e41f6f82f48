//! Who may import whom: reads the paths in `src/` and fails on an arrow that runs the wrong way.
//!
//! The rooms and their arrows are drawn in `docs/src/architecture.md`. A path is an arrow when it names another room of this crate:
//! `use crate::policy::…`, `crate::policy::…` in an expression, `super::super::policy::…`. Comments, strings and `#[cfg(test)]`
//! code do not count: tests may reach for anything that helps them to test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, or a part of one that has arrows of its own: everything whose module path starts with `name`.
struct Room {
    name: &'static str,
    may_use: &'static [&'static str],
}

const fn room(name: &'static str, may_use: &'static [&'static str]) -> Room {
    Room { name, may_use }
}

/// The picture, bottom to top. The longest name that fits a file wins. A room may use itself and what stands in [`FREE`].
const ROOMS: &[Room] = &[
    room("algorithm", &[]),
    room("clock", &[]),
    room("telemetry", &[]),
    room("crypto", &["algorithm"]),
    // The RA's identity is a pair of keys with their certificates, so it names the certificate type of the room above.
    room("crypto/ra", &["algorithm", "x509"]),
    room("x509", &["algorithm", "crypto"]),
    // The message codec knows bytes, keys and certificates, and nothing of who is let in.
    room("scep", &["algorithm", "crypto", "x509"]),
    // Connectors to other CAs speak with the message codec and the client of SCEP.
    room("upstream", &["algorithm", "crypto", "x509", "scep"]),
    // The RA's keys and certificates on disk; it asks a CA to certify them.
    room("ra", &["algorithm", "crypto", "x509", "upstream"]),
    // Which profile a request gets while a group moves from one to another: it decides, and reads and writes nothing.
    room("rollout", &["algorithm", "crypto"]),
    room("inventory", &["algorithm", "crypto", "x509", "rollout"]),
    room("policy", &["algorithm", "crypto", "x509", "upstream", "rollout"]),
    room("snapshot", &["algorithm", "crypto", "x509", "upstream", "rollout", "policy"]),
    room("config", &["algorithm", "crypto", "x509", "upstream", "rollout", "policy", "snapshot"]),
    room("enroll", &["algorithm", "crypto", "x509", "upstream", "rollout", "inventory", "policy", "snapshot"]),
    // The HTTP front end translates between the codec and the core.
    room("scep/service", &["algorithm", "crypto", "x509", "policy", "snapshot", "enroll"]),
    room("worker", &["algorithm", "crypto", "x509", "upstream", "rollout", "inventory", "policy", "snapshot", "enroll"]),
    room(
        "admin",
        &[
            "algorithm",
            "crypto",
            "x509",
            "upstream",
            "rollout",
            "inventory",
            "policy",
            "snapshot",
            "ra",
            "config",
            "enroll",
            "worker",
        ],
    ),
    room(
        "server",
        &[
            "algorithm",
            "crypto",
            "x509",
            "upstream",
            "rollout",
            "inventory",
            "policy",
            "snapshot",
            "ra",
            "config",
            "enroll",
            "scep",
            "worker",
            "admin",
        ],
    ),
    room(
        "cli",
        &[
            "algorithm",
            "crypto",
            "x509",
            "upstream",
            "rollout",
            "inventory",
            "policy",
            "snapshot",
            "ra",
            "config",
            "enroll",
            "scep",
            "worker",
            "admin",
            "server",
        ],
    ),
    room("main", &["cli"]),
];

/// Rooms that all may use: they know none of the others.
const FREE: &[&str] = &["clock", "telemetry"];

#[test]
fn arrows_run_downwards() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(
        files.len() > 20,
        "only {} files found under {}: is this test looking in the right place?",
        files.len(),
        src.display()
    );

    let sources: Vec<(Vec<String>, String)> = files
        .iter()
        .map(|file| (module_path(file.strip_prefix(&src).expect("listed under it")), fs::read_to_string(file).expect("readable")))
        .collect();
    let test_only: BTreeSet<Vec<String>> = sources.iter().flat_map(|(module, text)| test_modules(module, text)).collect();

    let mut wrong = Vec::new();
    let mut arrows = 0;
    for (module, text) in &sources {
        if module == &["lib"] || test_only.iter().any(|skipped| module.starts_with(skipped)) {
            continue;
        }
        let found = check(module, text);
        arrows += found.0;
        wrong.extend(found.1);
    }
    assert!(arrows > 20, "only {arrows} arrows found: the reader is blind");
    assert!(wrong.is_empty(), "arrows that run the wrong way:\n  {}\n", wrong.join("\n  "));
}

#[test]
fn wrong_arrows_are_seen() {
    let module = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let wrong = |path: &str, text: &str| check(&module(path), text).1;

    assert_eq!(wrong("crypto/pool", "use crate::enroll::Outcome;").len(), 1);
    assert_eq!(wrong("crypto/pool", "fn f() -> crate::x509::Certificate { todo }").len(), 1);
    assert_eq!(wrong("algorithm", "pub use crate::{crypto::Signer, x509};").len(), 2);
    assert_eq!(wrong("algorithm", "use crate::{\n    x509::{self, Certificate},\n    algorithm::Digest,\n};").len(), 1);
    assert_eq!(wrong("x509/name", "use super::super::policy::Permit;").len(), 1);
    assert_eq!(wrong("x509", "mod inner { use super::super::policy::Permit; }").len(), 1);
    assert_eq!(wrong("scep/message", "use crate::enroll::Outcome;").len(), 1);
    assert_eq!(wrong("enroll", "use crate::server::Server;").len(), 1);
    assert_eq!(wrong("main", "fn main() { ravelin::server::start() }").len(), 1);
    assert_eq!(wrong("attic", "").len(), 1, "a room that is not in the picture");

    assert_eq!(wrong("crypto/pool", "use crate::algorithm::Digest; // not crate::enroll").len(), 0);
    assert_eq!(wrong("crypto/pool", "/* crate::enroll */ const A: &str = \"crate::enroll\\\" crate::cli\";").len(), 0);
    assert_eq!(wrong("crypto/pool", "const A: &str = r#\"a \" crate::enroll\"#; const C: char = '\"'; fn f<'a>() {}").len(), 0);
    assert_eq!(wrong("crypto/pool", "const C: char = '\"'; use crate::enroll::X;").len(), 1);
    assert_eq!(wrong("x509/name", "use super::policy::Permit; mod tests { use super::super::spki; }").len(), 0);
    assert_eq!(wrong("crypto/ra", "use crate::x509::Certificate;").len(), 0);
    assert_eq!(wrong("scep/service", "use crate::enroll::Outcome;").len(), 0);
    assert_eq!(wrong("crypto", "#[cfg(test)]\nmod tests { use crate::enroll::Outcome; fn f() {} }").len(), 0);
    assert_eq!(wrong("crypto", "#[cfg(test)] mod tests { fn f() {} } use crate::enroll::Outcome;").len(), 1);
    assert_eq!(wrong("crypto", "#[cfg(test)] use crate::enroll::A; use crate::enroll::B;").len(), 1);
    assert_eq!(test_modules(&module("enroll"), "#[cfg(test)]\npub(crate) mod testing;"), vec![module("enroll/testing")]);
}

#[test]
fn the_picture_has_no_circle() {
    // A room above may use the rooms that stand before it in the table, so the table itself is the order.
    for (position, room) in ROOMS.iter().enumerate() {
        for used in room.may_use {
            let home = ROOMS.iter().position(|other| other.name == *used).unwrap_or_else(|| panic!("{used} is no room"));
            assert!(home < position || room.name == "crypto/ra", "{} uses {used}, which stands above it", room.name);
        }
    }
}

/// Checks one file. Gives how many arrows to other rooms it has, and the wrong ones in words.
fn check(module: &[String], text: &str) -> (usize, Vec<String>) {
    let name = module.join("/");
    let Some(room) = ROOMS
        .iter()
        .filter(|room| name == room.name || name.strip_prefix(room.name).is_some_and(|rest| rest.starts_with('/')))
        .max_by_key(|room| room.name.len())
    else {
        return (0, vec![format!("src/{name}.rs: this room is not in the picture; draw it in tests/layering.rs and the docs")]);
    };
    let used = rooms_used(module, &without_tests(&without_comments_and_strings(text)));
    let others: Vec<&String> = used.iter().filter(|used| **used != module[0] && !FREE.contains(&used.as_str())).collect();
    let wrong = others.iter().filter(|used| !room.may_use.contains(&used.as_str()));
    (others.len(), wrong.map(|used| format!("src/{name}.rs uses crate::{used}; `{}` may not", room.name)).collect())
}

/// The rooms that a file's paths lead to.
fn rooms_used(module: &[String], text: &str) -> BTreeSet<String> {
    let tokens = tokens(text);
    let mut used = BTreeSet::new();
    // Inline modules that we are in, as the brace depth outside each.
    let mut inline: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "{" => {
                if at >= 2 && tokens[at - 2] == "mod" {
                    inline.push(depth);
                }
                depth += 1;
            }
            "}" => {
                depth -= 1;
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
            }
            "crate" | "ravelin" if tokens.get(at + 1) == Some(&"::") => first_segments(&tokens, at + 2, &mut used),
            "super" if at == 0 || tokens[at - 1] != "::" => {
                let mut up = 0;
                while tokens.get(at) == Some(&"super") && tokens.get(at + 1) == Some(&"::") {
                    up += 1;
                    at += 2;
                }
                if up == module.len() + inline.len() {
                    first_segments(&tokens, at, &mut used);
                }
                if up > 0 {
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    // What stands at the crate's root and is no module: macros, for one.
    used.retain(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    used
}

/// The first segment of the path that starts at `at`, or of each path of the group that starts there.
fn first_segments(tokens: &[&str], at: usize, used: &mut BTreeSet<String>) {
    if tokens.get(at) != Some(&"{") {
        // `crate::name!` is a macro at the root.
        if let Some(name) = tokens.get(at).filter(|_| tokens.get(at + 1) != Some(&"!")) {
            used.insert((*name).to_owned());
        }
        return;
    }
    let mut depth = 0;
    let mut expected = false;
    for token in &tokens[at..] {
        match *token {
            "{" => {
                depth += 1;
                expected = depth == 1;
            }
            "}" if depth == 1 => return,
            "}" => depth -= 1,
            "," => expected = depth == 1,
            name if expected => {
                used.insert(name.to_owned());
                expected = false;
            }
            _ => {}
        }
    }
}

/// Words, `::` and single signs.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The text with comments gone and strings and characters empty.
fn without_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            string(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !out.ends_with(|c: char| c.is_alphanumeric() || c == '_')) {
            length
        } else if first == '\'' {
            character(rest)
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.push(' ');
        rest = &rest[skipped..];
    }
    out
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string (`r"…"`, `br#"…"#`), if one starts here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// The length of a character literal, or 1 where the sign begins a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// The text without what `#[cfg(test)]` stands before.
fn without_tests(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let mut depth = 0;
        let end = item.char_indices().find_map(|(at, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ';' if depth == 0 => return Some(at + 1),
                _ => return None,
            }
            (depth == 0).then_some(at + 1)
        });
        rest = &item[end.unwrap_or(item.len())..];
    }
    out.push_str(rest);
    out
}

/// The modules in files of their own that `#[cfg(test)]` stands before.
fn test_modules(module: &[String], text: &str) -> Vec<Vec<String>> {
    let text = without_comments_and_strings(text);
    let mut found = Vec::new();
    for (at, attribute) in text.match_indices("#[cfg(test)]") {
        let item = &text[at + attribute.len()..];
        let item = item[..item.find([';', '{']).map_or(0, |end| end + 1)].trim();
        let words = tokens(item);
        if let [.., "mod", name, ";"] = words.as_slice() {
            let parent = if module == ["lib"] { &[] } else { module };
            found.push(parent.iter().cloned().chain([(*name).to_owned()]).collect());
        }
    }
    found
}

/// `scep/service/get.rs` → `scep`, `service`, `get`.
fn module_path(file: &Path) -> Vec<String> {
    file.with_extension("").iter().map(|part| part.to_str().expect("file names are ASCII").to_owned()).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the crate") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}
