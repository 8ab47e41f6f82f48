//! `kind = "ejbca"`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables};
use crate::config::reader::Reader;
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::ejbca::{EjbcaCa, EjbcaSettings, NameTemplate};
use crate::upstream::remote::ConnectorSettings;

pub(super) const KIND: Kind = Kind { name: "ejbca", upstream: &TABLE, ca: &CA_TABLE, needs_tls: true, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"ejbca\"`",
    doc: "The REST interface of EJBCA; `url` is all of its base, as in `https://ca.example.net/ejbca/ejbca-rest-api`. The CSR goes to the CA as it is; profiles there decide usages and validity.",
    tables: &[("upstream", KEYS), ("upstream.ca", CA_KEYS)],
};

const KEYS: &[Key] = &[
    key(
        "token",
        "secret",
        "none",
        "The OAuth bearer token, where it is not the client certificate that says who Ravelin is. A file is read anew for each request.",
    ),
    key(
        "settle",
        "duration",
        "`5m`",
        "How long after a submission without an answer a search that finds nothing proves that it never arrived; longer than EJBCA lets a request run.",
    ),
    key(
        "poll-interval",
        "duration",
        "`2m`",
        "How often an order without an answer is searched for where EJBCA shows no certificates at all.",
    ),
];

const CA_KEYS: &[Key] = &[
    key("authority", "string", "", "What EJBCA calls the CA."),
    key("certificate-profile", "string", "", "The certificate profile."),
    key("end-entity-profile", "string", "", "The end entity profile."),
    key(
        "username",
        "template",
        "`ravelin-{key}`",
        "The name of the end entity. Places: `{key}` (the idempotency key of the attempt, new for each certificate), `{device}` (as the group recognises it), `{cn}`, `{group}`. Without `{key}`, here or in `account-binding-id`, an order cannot be found again after a lost answer.",
    ),
    key("account-binding-id", "template", "none", "The account binding ID, with the same places."),
    key("email", "template", "none", "The e-mail address of the end entity, with the same places."),
    key(
        "dn",
        "string",
        "the subject of the CA's certificate, CN first",
        "The subject of the CA as EJBCA writes it, where it has attributes that EJBCA writes in its own way.",
    ),
];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema =
    TableSchema { name: "upstream.ca", repeated: true, doc: "One CA of an EJBCA.", keys: CA_KEYS, shared: &[CA] };

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let seconds = |key, default| tables.upstream.duration(key).unwrap_or(Duration::from_secs(default));
    let settings = EjbcaSettings {
        token: tables.secret("token"),
        settle: seconds("settle", 300),
        poll_interval: seconds("poll-interval", 120),
        cas: BTreeMap::new(),
    };
    let cas = tables.of_cas(ca);
    let mut complete = BTreeMap::new();
    for (name, ca) in cas {
        complete.insert(name, ca?);
    }
    Some(ConnectorSettings::Ejbca(EjbcaSettings { cas: complete, ..settings }))
}

fn ca(table: &Reader<'_>) -> Option<EjbcaCa> {
    let needed = |key| {
        table.must_have(key);
        super::text(table, key)
    };
    let template = |key| table.parsed(key, |text| text.parse::<NameTemplate>()).map(|template| template.value);
    let (authority, certificate_profile, end_entity_profile) =
        (needed("authority"), needed("certificate-profile"), needed("end-entity-profile"));
    let username = match table.origin_of("username") {
        Some(_) => template("username")?,
        None => "ravelin-{key}".parse().expect("a template"),
    };
    Some(EjbcaCa {
        authority: authority?,
        certificate_profile: certificate_profile?,
        end_entity_profile: end_entity_profile?,
        username,
        account: template("account-binding-id"),
        email: template("email"),
        dn: super::text(table, "dn"),
    })
}
