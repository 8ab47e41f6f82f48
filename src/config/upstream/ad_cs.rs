//! `kind = "ad-cs"`.

use std::time::Duration;

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables, text};
use crate::config::diagnostic::Diagnostic;
use crate::config::reader::Reader;
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::ad_cs::{AdCsCa, AdCsSettings};
use crate::upstream::remote::ConnectorSettings;

pub(super) const KIND: Kind = Kind { name: "ad-cs", upstream: &TABLE, ca: &CA_TABLE, needs_tls: true, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"ad-cs\"`",
    doc: "The web enrollment pages of Active Directory Certificate Services; `url` is all of their base, as in `https://ca.example.net/certsrv`. The CSR goes to the CA as it is; the template there decides usages and validity, and often names. There is no revocation by this way, and no means to find an order again whose answer was lost.",
    tables: &[("upstream", KEYS), ("upstream.ca", CA_KEYS)],
};

const KEYS: &[Key] = &[
    key("username", "string", "none", "The account for HTTP Basic: `DOMAIN\\name` or `name@domain`."),
    key("password", "secret", "none", "Its password."),
    key("poll-interval", "duration", "`2m`", "How often a request that waits for a manager of the CA is asked after."),
];

const CA_KEYS: &[Key] = &[
    key("template", "string", "none", "The certificate template: its name, not its display name. An enterprise CA needs one."),
    key("attributes", "strings", "`[]`", "Further request attributes, each `name:value`."),
];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema =
    TableSchema { name: "upstream.ca", repeated: true, doc: "One template of the CA.", keys: CA_KEYS, shared: &[CA] };

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let upstream = &tables.upstream;
    let (username, password) = (text(upstream, "username"), tables.secret("password"));
    for (there, missing) in [("username", "password"), ("password", "username")] {
        if let (Some(origin), None) = (upstream.origin_of(there), upstream.origin_of(missing)) {
            upstream.report(Diagnostic::error("missing-key", format!("`{there}` needs `{missing}`")).at(&origin));
        }
    }
    Some(ConnectorSettings::AdCs(AdCsSettings {
        username,
        password,
        poll_interval: upstream.duration("poll-interval").unwrap_or(Duration::from_secs(120)),
        cas: tables.of_cas(ca),
    }))
}

fn ca(table: &Reader<'_>) -> AdCsCa {
    let attribute = |text: &str| match text.split_once(':') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() && !text.contains(['\r', '\n']) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no attribute; write `name:value`")),
    };
    let template = table.parsed("template", |text| match text.contains(['\r', '\n', ':']) || text.is_empty() {
        true => Err(format!("{text:?} is no name of a template")),
        false => Ok(text.to_owned()),
    });
    let attributes = table.parsed_list("attributes", attribute).unwrap_or_default();
    AdCsCa { template: template.map(|template| template.value), attributes: attributes.into_iter().map(|a| a.value).collect() }
}
