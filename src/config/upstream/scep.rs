//! `kind = "scep"`.

use std::time::Duration;

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables, text};
use crate::config::reader::values;
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::remote::ConnectorSettings;
use crate::upstream::scep::{ScepCa, ScepSettings, Trust};

pub(super) const KIND: Kind = Kind { name: "scep", upstream: &TABLE, ca: &CA_TABLE, needs_tls: false, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"scep\"`",
    doc: "Another SCEP server (RFC 8894): NDES, a CA, another Ravelin. The CSR goes there as it is, with the challenge in it; the CA decides usages and validity. SCEP has no revocation.",
    tables: &[("upstream", KEYS), ("upstream.ca", CA_KEYS)],
};

const KEYS: &[Key] = &[
    key(
        "authenticate",
        "`device-challenge` or `ra-certificate`",
        "",
        "Why the server lets a request in: the device brings a challenge that the server knows, or the server trusts the certificate of `signer-certificate` and asks for no challenge. There is no third way: the challenge is in the CSR, which the device has signed.",
    ),
    key(
        "signer-certificate",
        "path",
        "",
        "PEM: the certificate that messages are signed with, and replies encrypted to; that of the RA will do: `ra/signer.pem` in the data folder.",
    ),
    key("signer-key", "path", "", "PEM: its key, RSA, PKCS#8, plain or encrypted with the passphrase of `[keys]`."),
    key("message", "`PKCSReq` or `RenewalReq`", "`PKCSReq`", "How a request is sent; `RenewalReq` is for `ra-certificate` only."),
    key(
        "find-again",
        "boolean",
        "`false`",
        "Whether the server answers a CertPoll for whatever it has, and badCertId for what it never had; so Ravelin does. Then an answer that was lost is found again.",
    ),
    key("get-crl", "boolean", "`false`", "Whether the server answers GetCRL."),
    key("poll-interval", "duration", "`1m`", "How often an order that waits is asked after."),
    key("digest", "name", "by GetCACaps", "The digest of messages."),
    key("cipher", "name", "by GetCACaps", "The content cipher of messages."),
    key("accept-digests", "names", "`[]`", "Outdated digests that replies may have: `sha-1`."),
    key("accept-ciphers", "names", "`[]`", "Outdated ciphers that replies may have: `des-ede3-cbc`."),
];

const CA_KEYS: &[Key] = &[
    key("path", "string", "none", "What is added to `url` for this CA: `/certsrv/mscep/mscep.dll`."),
    key("ca-identifier", "string", "none", "What GetCACert and GetCACaps name this CA by."),
    key(
        "recipients",
        "path",
        "those that lead to `chain`",
        "PEM: the only certificates that requests are encrypted to and replies signed with. Without https, any certificate of the CA could pass for the server's: name them.",
    ),
];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema =
    TableSchema { name: "upstream.ca", repeated: true, doc: "One CA of a SCEP server.", keys: CA_KEYS, shared: &[CA] };

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let table = &tables.upstream;
    for key in ["authenticate", "signer-certificate", "signer-key"] {
        table.must_have(key);
    }
    let trust = table.parsed("authenticate", |text| match text {
        "device-challenge" => Ok(Trust::DeviceChallenge),
        "ra-certificate" => Ok(Trust::RaCertificate),
        other => Err(format!(
            "{other:?} cannot be: the challenge is in the CSR, which the device has signed, so Ravelin can put no other one there. \
             Either the server knows the challenge that the device brings (\"device-challenge\"), or it trusts the certificate of \
             Ravelin and asks for none (\"ra-certificate\")"
        )),
    });
    let renews = table.parsed("message", |text| match text {
        "PKCSReq" => Ok(false),
        "RenewalReq" => Ok(true),
        other => Err(format!("{other:?} is neither \"PKCSReq\" nor \"RenewalReq\"")),
    });
    if let (Some(Trust::DeviceChallenge), Some(renews)) = (trust.as_ref().map(|trust| trust.value), &renews)
        && renews.value
    {
        let why = "a RenewalReq is let in by the certificate that signs it, not by a challenge: it needs `authenticate = \"ra-certificate\"`";
        table.bad(&renews.origin, why);
        return None;
    }
    let (certificate, key) = (table.path("signer-certificate", tables.folder), table.path("signer-key", tables.folder));
    Some(ConnectorSettings::Scep(Box::new(ScepSettings {
        trust: trust?.value,
        certificate: certificate?.value,
        key: key?.value,
        renews: renews.is_some_and(|renews| renews.value),
        finds_again: table.boolean("find-again").unwrap_or(false),
        gives_crl: table.boolean("get-crl").unwrap_or(false),
        poll: table.duration("poll-interval").filter(|poll| !poll.is_zero()).unwrap_or(Duration::from_secs(60)),
        digest: table.named("digest").map(|digest| digest.value),
        cipher: table.named("cipher").map(|cipher| cipher.value),
        accept_digests: table.named_list("accept-digests").map(values).unwrap_or_default(),
        accept_ciphers: table.named_list("accept-ciphers").map(values).unwrap_or_default(),
        cas: tables.of_cas(|ca| ScepCa {
            path: text(ca, "path"),
            identifier: text(ca, "ca-identifier"),
            recipients: ca.path("recipients", tables.folder).map(|path| path.value),
        }),
    })))
}
