//! `kind = "est"`.

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables, text};
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::est::EstSettings;
use crate::upstream::remote::ConnectorSettings;

pub(super) const KIND: Kind = Kind { name: "est", upstream: &TABLE, ca: &CA_TABLE, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"est\"`",
    doc: "Enrollment over Secure Transport (RFC 7030, RFC 8951). The CSR goes to the CA as it is; the CA decides usages and validity. EST has no revocation and no CRL.",
    tables: &[("upstream", KEYS), ("upstream.ca", CA_KEYS)],
};

const KEYS: &[Key] =
    &[key("username", "string", "none", "The user name for HTTP Basic."), key("password", "secret", "none", "Its password.")];

const CA_KEYS: &[Key] = &[key("label", "string", "none", "The label in the address: `/.well-known/est/LABEL/simpleenroll`.")];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema =
    TableSchema { name: "upstream.ca", repeated: true, doc: "One CA of an EST server.", keys: CA_KEYS, shared: &[CA] };

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    Some(ConnectorSettings::Est(EstSettings {
        username: text(&tables.upstream, "username"),
        password: tables.secret("password"),
        labels: tables.of_cas(|ca| text(ca, "label")),
    }))
}
