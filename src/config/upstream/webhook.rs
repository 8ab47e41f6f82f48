//! `kind = "webhook"`, and what it has in common with `kind = "exec"`.

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables, text};
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::delegate::webhook::WebhookSettings;
use crate::upstream::delegate::{Can, DelegateSettings};
use crate::upstream::remote::ConnectorSettings;

pub(super) const KIND: Kind = Kind { name: "webhook", upstream: &TABLE, ca: &CA_TABLE, needs_tls: true, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"webhook\"`",
    doc: "A service of your own that issues: it is asked in JSON by HTTP POST to `url` ([messages](upstream-webhook.md)).",
    tables: &[("upstream", KEYS), ("upstream", DELEGATE), ("upstream.ca", DELEGATE_CA)],
};

const KEYS: &[Key] = &[
    key("secret", "secret", "none", "What questions are signed with (HMAC-SHA-256). Without it, use a TLS client certificate."),
    key("authorization", "secret", "none", "The header field `Authorization` of every question: `Bearer …`."),
];

/// What it can do, which nobody but the configuration knows.
pub(super) const DELEGATE: &[Key] = &[key(
    "can",
    "names",
    "`[]`",
    "What it can do. `set-subject`, `set-names`, `set-usages`, `set-validity`: it issues what is ordered, whatever the CSR says. `wait`: it may answer later. `revoke`: it revokes. `find`: it finds an order again by its idempotency key. `repeat`: it answers the same idempotency key with the same certificate.",
)];

pub(super) const DELEGATE_CA: &[Key] = &[key(
    "selector",
    "string",
    "none",
    "What every question about this CA says beside its name: a template, a profile, a folder.",
)];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[DELEGATE, UPSTREAM, HTTP] };

pub(super) static CA_TABLE: TableSchema = TableSchema {
    name: "upstream.ca",
    repeated: true,
    doc: "One CA of a service that is asked in JSON.",
    keys: DELEGATE_CA,
    shared: &[CA],
};

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    Some(ConnectorSettings::Webhook(WebhookSettings {
        delegate: delegate(tables),
        secret: tables.secret("secret"),
        authorization: tables.secret("authorization"),
    }))
}

/// What webhooks and programs have in common.
pub(super) fn delegate(tables: &Tables<'_>) -> DelegateSettings {
    let can = tables.upstream.named_list::<Can>("can").unwrap_or_default();
    DelegateSettings { can: can.into_iter().map(|can| can.value).collect(), selectors: tables.of_cas(|ca| text(ca, "selector")) }
}
