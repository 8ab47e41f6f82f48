//! `kind = "exec"`.

use super::schema::{UPSTREAM, UpstreamPart};
use super::webhook::{CA_TABLE, DELEGATE, DELEGATE_CA, delegate};
use super::{Kind, Tables};
use crate::config::reader::values;
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::delegate::exec::ExecSettings;
use crate::upstream::remote::ConnectorSettings;

pub(super) const KIND: Kind = Kind { name: "exec", upstream: &TABLE, ca: &CA_TABLE, needs_tls: true, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"exec\"`",
    doc: "A program of your own that issues: it is run once for each question, which it reads from its standard input, and writes its answer to its standard output ([messages](upstream-webhook.md)). No shell stands between.",
    tables: &[("upstream", KEYS), ("upstream", FETCH), ("upstream", DELEGATE), ("upstream.ca", DELEGATE_CA)],
};

const KEYS: &[Key] = &[
    key("program", "path", "", "The program."),
    key("arguments", "strings", "`[]`", "Its arguments, as they are."),
    key("environment", "strings", "`[]`", "Names of the environment variables of Ravelin that it gets; it gets no others."),
    key("folder", "path", "that of Ravelin", "The folder that it runs in."),
    key("timeout", "duration", "`30s`", "How long it may take; at most 70 s. Then its process group is killed."),
    key("max-answer", "size", "`1MiB`", "The largest answer that is read."),
];

const FETCH: &[Key] = &[
    key("trust", "path", "needed for https", "For `crl-url`: what the TLS certificate of its server has to chain to."),
    key("proxy", "`environment`, `none` or URL", "`environment`", "For `crl-url`: the way there."),
    key("proxy-credentials", "secret", "none", "For `crl-url`: `name:password` for the proxy."),
    key("connect-timeout", "duration", "`5s`", "For `crl-url`: how long connecting may take."),
];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[DELEGATE, FETCH, UPSTREAM] };

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let table = &tables.upstream;
    table.must_have("program");
    let program = table.path("program", tables.folder);
    Some(ConnectorSettings::Exec(ExecSettings {
        delegate: delegate(tables),
        arguments: table.strings("arguments").map(values).unwrap_or_default(),
        environment: table.strings("environment").map(values).unwrap_or_default(),
        folder: table.path("folder", tables.folder).map(|folder| folder.value),
        program: program?.value,
    }))
}
