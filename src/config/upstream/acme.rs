//! `kind = "acme"`.

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables, text};
use crate::config::reader::values;
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::acme::{AcmeSettings, Challenges};
use crate::upstream::remote::ConnectorSettings;

pub(super) const KIND: Kind = Kind { name: "acme", upstream: &TABLE, ca: &CA_TABLE, needs_tls: true, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"acme\"`",
    doc: "ACME (RFC 8555), for private CAs that do not want names proven; `url` is that of the directory. Orders are for DNS names and addresses; the CSR goes to the CA as it is; the CA decides usages.",
    tables: &[("upstream", KEYS), ("upstream.ca", CA_KEYS)],
};

const KEYS: &[Key] = &[
    key(
        "account-key",
        "path",
        "`upstreams/NAME/account.key.pem` in the data folder",
        "PEM: the key of the account, PKCS#8, plain or encrypted with the passphrase of `[keys]`. It is made if it is not there. Keep it: orders belong to it.",
    ),
    key("eab-kid", "string", "none", "The name of the account at the CA that ours is bound to (external account binding)."),
    key("eab-secret", "secret", "none", "The secret that goes with it, base64url."),
    key("contact", "strings", "`[]`", "Where the CA can reach people: `mailto:pki@example.net`."),
    key(
        "challenges",
        "`refuse` or `assume-valid`",
        "`refuse`",
        "What happens where the CA wants proof of a name: the order is refused, or the CA is told that a challenge is met, for CAs that do not look.",
    ),
    key(
        "dates",
        "boolean",
        "`false`",
        "Whether orders say from when until when they should be valid. Some CAs refuse orders that do.",
    ),
];

const CA_KEYS: &[Key] = &[key("profile", "string", "none", "The profile of the CA, if it has several.")];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema = TableSchema {
    name: "upstream.ca",
    repeated: true,
    doc: "One CA, or one profile, of an ACME server.",
    keys: CA_KEYS,
    shared: &[CA],
};

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let table = &tables.upstream;
    let (name, secret) = (text(table, "eab-kid"), tables.secret("eab-secret"));
    table.must_go_together("eab-kid", "eab-secret");
    Some(ConnectorSettings::Acme(AcmeSettings {
        account_key: table
            .path("account-key", tables.folder)
            .map_or_else(|| tables.data.join("account.key.pem"), |path| path.value),
        binding: name.zip(secret),
        contact: table.strings("contact").map(values).unwrap_or_default(),
        challenges: table.named::<Challenges>("challenges").map(|found| found.value).unwrap_or_default(),
        dates: table.boolean("dates").unwrap_or(false),
        profiles: tables.of_cas(|ca| text(ca, "profile")),
    }))
}
