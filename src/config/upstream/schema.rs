//! The keys of `[[upstream]]` and `[[upstream.ca]]`.

use crate::config::schema::{Key, TableSchema, key};

/// A part of the reference: keys by table.
pub struct UpstreamPart {
    /// Its title.
    pub title: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Tables and keys.
    pub tables: &'static [(&'static str, &'static [Key])],
}

/// The parts of the reference: what all have first.
pub static UPSTREAMS: &[&UpstreamPart] = &[
    &COMMON,
    &super::est::PART,
    &super::cmp::PART,
    &super::step_ca::PART,
    &super::vault::PART,
    &super::ejbca::PART,
    &super::acme::PART,
    &super::scep::PART,
    &super::ad_cs::PART,
    &super::aws_pca::PART,
    &super::webhook::PART,
    &super::exec::PART,
];

static COMMON: UpstreamPart = UpstreamPart {
    title: "CAs behind a network",
    doc: "What all kinds below have. A CA is reached over connections that are kept, is asked no faster than `rate`, and is left alone for a while after failures in a row; devices wait meanwhile (PENDING), and other upstreams are not held up. Paths are relative to the folder of `ravelin.toml`. A secret is `{ file = \"secrets/x\" }` or `{ env = \"NAME\" }`.",
    tables: &[("upstream", UPSTREAM), ("upstream", HTTP), ("upstream.ca", CA)],
};

pub(super) const UPSTREAM: &[Key] = &[
    key("name", "string", "", "What algorithm profiles call it."),
    key("kind", "name", "", "What it is."),
    key("ca", "array of tables", "*required*", "Its CAs, one table each: `[[upstream.ca]]`."),
    key("rate", "limit", "none", "How many orders it is sent: `7/second`, `600/minute`."),
    key(
        "burst",
        "integer",
        "`1`",
        "How many orders may come at once after a rest, and more than `rate` in the second that follows.",
    ),
    key("connections", "integer", "`16`", "Orders under way at a time."),
    key(
        "queue",
        "integer",
        "`10000`",
        "Orders that may be open, waiting for their turn or for the CA. A new request beyond that is told to come again (HTTP 503).",
    ),
    key("trip-after", "integer", "`5`", "Failures in a row after which it is left alone until it answers again."),
    key(
        "cooldown",
        "duration",
        "`10s`",
        "How long it is left alone before it is looked whether it answers again; twice as long each time that it does not, up to five minutes.",
    ),
];

pub(super) const HTTP: &[Key] = &[
    key(
        "url",
        "URL",
        "",
        "Where it is: `https://…`. `http://…` is taken for an address on this machine, and for `cmp` and `scep`, whose messages protect themselves.",
    ),
    key(
        "trust",
        "path",
        "needed for https",
        "PEM: what the TLS certificate of the server has to chain to, or that certificate itself. No other root is trusted.",
    ),
    key("client-certificate", "path", "none", "PEM: the TLS client certificate that it is shown, then those above it."),
    key(
        "client-key",
        "path",
        "none",
        "PEM: the key of that certificate, PKCS#8, plain or encrypted with the passphrase of `[keys]`.",
    ),
    key(
        "client-ra",
        "name",
        "none",
        "Instead of the two: the RA whose signing certificate the server is shown, `default` or the name of an `[[ra]]`.",
    ),
    key(
        "proxy",
        "`environment`, `none` or URL",
        "`environment`",
        "The way there: `http://PROXY:PORT` or `socks5://PROXY:PORT`; `environment` is what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say.",
    ),
    key("proxy-credentials", "secret", "none", "`name:password` for that proxy."),
    key("connect-timeout", "duration", "`5s`", "How long connecting may take, a proxy's part and TLS included."),
    key("timeout", "duration", "`30s`", "How long an answer may take, connecting included; at most 70 s."),
    key("max-answer", "size", "`1MiB`", "The largest answer that is read."),
];

pub(super) const CA: &[Key] = &[
    key("name", "string", "", "What `ca` of an algorithm profile's `issuer` calls it."),
    key(
        "chain",
        "path",
        "",
        "PEM: the certificate of the CA that signs, then those above it. Its key says which signatures there are, and what is issued has to chain to one of these.",
    ),
    key("previous", "path", "none", "PEM: earlier certificates of the CA, whose leaves may still renew."),
    key("crl-url", "URL", "what the protocol gives", "Where the CA publishes its CRL."),
    key(
        "names",
        "`as-ordered`, `may-add` or `ca-decides`",
        "`as-ordered`",
        "How much of subject and alternative names is the CA's to decide. A certificate that says anything else is not delivered.",
    ),
];

pub(super) static SECRET: TableSchema = TableSchema {
    name: "secret",
    repeated: false,
    doc: "Where a secret comes from.",
    keys: &[
        key("file", "path", "none", "A file; white space at its end does not count."),
        key("env", "string", "none", "An environment variable."),
    ],
    shared: &[],
};
