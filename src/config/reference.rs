//! The configuration reference, made from the schema that files are read by.

use std::fmt::Write;

use super::schema::{GROUP_FILE, Key, PROFILE_FILE, SERVER_FILE, TableSchema, UPSTREAMS};

/// The reference as Markdown: `docs/src/configuration.md`.
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    let files = [
        ("`ravelin.toml`", "What belongs to the server.", SERVER_FILE),
        ("`policies/NAME.toml`", "A device group; `NAME` is its name and the end of its address, `/scep/NAME`.", GROUP_FILE),
        ("`algorithms/NAME.toml`", "An algorithm profile; `NAME` is its name.", PROFILE_FILE),
    ];
    for (file, what, tables) in files {
        writeln!(out, "\n## {file}\n\n{what}").expect("a string takes anything");
        for table in tables {
            section(&mut out, table);
            if table.name == "upstream" {
                upstreams(&mut out);
            }
        }
    }
    out
}

fn section(out: &mut String, table: &TableSchema) {
    let title = match (table.name, table.repeated) {
        ("", _) => "Top of the file".to_owned(),
        (name, true) => format!("`[[{name}]]`"),
        (name, false) => format!("`[{name}]`"),
    };
    write!(out, "\n### {title}\n\n{}\n", table.doc).expect("a string takes anything");
    keys(out, table.keys);
}

/// The tables of upstreams that are not embedded: what all have, then each kind.
fn upstreams(out: &mut String) {
    for part in UPSTREAMS {
        write!(out, "\n#### {}\n\n{}\n", part.title, part.doc).expect("a string takes anything");
        for (table, own) in part.tables {
            if !own.is_empty() {
                write!(out, "\nIn `[[{table}]]`:\n").expect("a string takes anything");
                keys(out, own);
            }
        }
    }
}

fn keys(out: &mut String, keys: &[Key]) {
    let cell = |text: &str| text.replace('|', "\\|");
    out.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in keys {
        let default = match (key.default, key.kind) {
            ("", "table" | "array of tables") => "",
            ("", _) => "*required*",
            (default, _) => default,
        };
        writeln!(out, "| `{}` | {} | {} | {} |", key.name, cell(key.kind), cell(default), cell(key.doc))
            .expect("a string takes anything");
    }
}

const INTRODUCTION: &str = "# Configuration reference

<!-- Made from the code by a test: RAVELIN_UPDATE_GOLDEN=1 cargo test --lib config -->

The configuration is a folder with `ravelin.toml`, `policies/` and `algorithms/`. Unknown keys stop the start, and one run of
`ravelin check-config` reports all mistakes of all files. Only files that end in `.toml` count. The shipped algorithm profiles are
there without being written down; a file of the same name takes the place of a shipped one. Policies count only where they stand
in `policies/`.

Values of `ravelin.toml` can also come from the environment, `RAVELIN__SERVER__CONTROL_SOCKET=/run/ravelin.sock` for
`control-socket` in `[server]`, or from the command line; the command line wins over the environment, and that over the file.

| value | how it is written |
|---|---|
| duration | a whole number and a unit: `500ms`, `90s`, `15m`, `24h`, `30d`, `2w`, `1y` (365 days) |
| size | octets, or a number and `KiB` or `MiB`: `24KiB` |
| limit | a number and a period: `3/day`, `1/hour`, `10/30d` |
| path | relative to the folder of `ravelin.toml` where nothing else is said |
| percentage | a number from 0 to 100; one that is not whole is text: `5`, `\"0.5\"` |
| threshold | `\"+5%\"`, `\"5%\"` or `\"off\"` |
| network | `10.0.0.0/8`, `2001:db8::/32`, or one address |
| selector | `subject.ATTRIBUTE` (`subject.serialNumber`), `san.dns`, `san.ip`, `san.uri`, `san.email` |
| key rule | `rsa-2048..4096`, `rsa-2048`, `ecdsa-p256`, `ecdsa-p384`, `ecdsa-p521`, `ed25519`, `ml-dsa-65`, `slh-dsa-sha2-128s`, `mldsa65-ecdsa-p256-sha512`, or a family: `ecdsa-*`, `ml-dsa-*`, `slh-dsa-*`, `composite-*` |
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/configuration.md");
        if std::env::var_os("RAVELIN_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == markdown(),
            "{} is out of date; make it anew with RAVELIN_UPDATE_GOLDEN=1 cargo test --lib config",
            path.display()
        );
    }
}
