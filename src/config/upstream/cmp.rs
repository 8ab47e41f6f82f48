//! `kind = "cmp"`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables, secret, text};
use crate::config::diagnostic::Diagnostic;
use crate::config::reader::Reader;
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::cmp::{Asked, CmpCaSettings, CmpSettings, CredentialSettings, MacKind, Repeats, RequestKind};
use crate::upstream::remote::ConnectorSettings;
use crate::upstream::secret::SecretSource;
use crate::x509::DistinguishedName;

pub(super) const KIND: Kind = Kind { name: "cmp", upstream: &TABLE, ca: &CA_TABLE, needs_tls: false, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"cmp\"`",
    doc: "The Certificate Management Protocol (RFC 9810, RFC 9811, RFC 9483). What both tables may have is said once in `[[upstream]]` for all its CAs, or for one of them in `[[upstream.ca]]`, which counts more. Either `secret` with `reference` or `signing-certificate` with `signing-key` has to be there.",
    tables: &[("upstream", BOTH), ("upstream.ca", CA_KEYS), ("upstream.ca", BOTH)],
};

const BOTH: &[Key] = &[
    key("secret", "secret", "none", "The shared secret that messages are protected with."),
    key("reference", "string", "needed with `secret`", "The reference value: which secret it is. It is sent as senderKID."),
    key(
        "protection",
        "`pbm` or `pbmac1`",
        "`pbm`",
        "How the secret protects: the password-based MAC that all servers know, or PBMAC1 (RFC 9481).",
    ),
    key(
        "signing-certificate",
        "path",
        "none",
        "PEM: our certificate, then those above it. Messages are signed with its key: RSA, ECDSA, Ed25519, ML-DSA and what else Ravelin knows.",
    ),
    key(
        "signing-key",
        "path",
        "none",
        "PEM: the key of that certificate, PKCS#8, plain or encrypted with the passphrase of `[keys]`.",
    ),
    key("sender", "name", "the certificate's subject, or `CN=` and `reference`", "Our name in messages."),
    key(
        "trust-responses",
        "path",
        "`chain`",
        "PEM: what signers of answers have to be, or to chain to. Who is not itself in there needs the extended key usage cmcCA or cmcRA, or the name `responder`.",
    ),
    key("responder", "name", "none", "The name of a signer of answers that is taken whatever its extended key usages."),
    key("clock-tolerance", "duration", "`5m`", "How far the time in an answer may be from ours."),
    key(
        "unprotected-errors",
        "boolean",
        "`false`",
        "Whether error messages are believed that nothing protects. Anybody on the way can write such.",
    ),
    key(
        "implicit-confirm",
        "boolean",
        "`true`",
        "Whether the CA is asked to go without a confirmation, which saves a round trip.",
    ),
    key(
        "repeats",
        "`no`, `request` or `poll`",
        "`no`",
        "What the CA does when it hears again of a transaction whose answer was lost: nobody knows (an operator decides), it answers the same request with the same certificate, or it answers a poll.",
    ),
];

const CA_KEYS: &[Key] = &[
    key("path", "string", "`/.well-known/cmp`", "Where it is at the server: `/ejbca/publicweb/cmp/ALIAS`."),
    key("label", "string", "none", "In the place of `path`: `/.well-known/cmp/p/LABEL`."),
    key(
        "message",
        "`p10cr`, `cr` or `ir`",
        "`p10cr`",
        "What it is sent: the device's PKCS#10 as it came, or a template of ours, for which the CA has to take our word that the device has the key (raVerified).",
    ),
    key(
        "usages",
        "`as-ordered` or `ca-decides`",
        "`as-ordered`",
        "With `cr` and `ir`: whether the template asks for key usage and extended key usages.",
    ),
    key(
        "validity",
        "`as-ordered` or `ca-decides`",
        "`as-ordered`",
        "With `cr` and `ir`: whether the template asks for start and end of the validity.",
    ),
    key("recipient", "name", "the subject of the CA", "The name of the CA in messages."),
    key("cert-profile", "string", "none", "The certificate profile that is asked for in the message's header (certProfile)."),
];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: BOTH, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema =
    TableSchema { name: "upstream.ca", repeated: true, doc: "One CA of a CMP server.", keys: CA_KEYS, shared: &[BOTH, CA] };

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let shared = Both::read(&tables.upstream, tables.folder);
    let cas = tables.cas.iter().map(|(name, ca)| Some((name.clone(), read_ca(ca, &shared, tables.folder)?)));
    // Every table is read, so that all that is wrong is reported at once.
    let cas: Vec<Option<_>> = cas.collect();
    Some(ConnectorSettings::Cmp(CmpSettings { cas: cas.into_iter().collect::<Option<_>>()? }))
}

fn read_ca(ca: &Reader<'_>, shared: &Both, folder: &Path) -> Option<CmpCaSettings> {
    let own = Both::read(ca, folder);
    let path = path(ca);
    let message = ca.named::<RequestKind>("message").map_or(RequestKind::default(), |kind| kind.value);
    let decided = |key| ca.parsed(key, as_ordered).is_none_or(|ordered| ordered.value);
    let asked = Asked { usages: decided("usages"), validity: decided("validity") };
    let (recipient, cert_profile) = (name(ca, "recipient"), text(ca, "cert-profile"));
    let reference = own.reference.or_else(|| shared.reference.clone());
    let protection = own.protection.or(shared.protection).unwrap_or_default();
    let credential = match if own.credential == Said::Nothing { &shared.credential } else { &own.credential } {
        Said::Nothing => {
            let message = "a CMP server takes nothing that is not protected: there is neither `secret` nor `signing-certificate`";
            let help = "secret = { file = \"secrets/cmp\" } with reference = \"…\", or signing-certificate and signing-key";
            ca.report(Diagnostic::error("missing-key", message).at(ca.origin()).help(help));
            None
        }
        Said::Secret(_) if reference.is_none() => {
            let message = "`secret` needs `reference`: how the CA knows which secret it is";
            ca.report(Diagnostic::error("missing-key", message).at(ca.origin()));
            None
        }
        Said::Secret(source) => Some(CredentialSettings::Secret(source.clone(), protection)),
        Said::Signature(certificate, key) => {
            Some(CredentialSettings::Signature { certificate: certificate.clone(), key: key.clone() })
        }
        Said::Wrong => None,
    };
    Some(CmpCaSettings {
        path: path?,
        message,
        asked,
        credential: credential?,
        sender: own.sender.or_else(|| shared.sender.clone()),
        reference,
        recipient,
        cert_profile,
        trust_responses: own.trust_responses.or_else(|| shared.trust_responses.clone()),
        responder: own.responder.or_else(|| shared.responder.clone()),
        clock_tolerance: own.clock_tolerance.or(shared.clock_tolerance).unwrap_or(Duration::from_secs(300)),
        repeats: own.repeats.or(shared.repeats).unwrap_or_default(),
        unprotected_errors: own.unprotected_errors.or(shared.unprotected_errors).unwrap_or(false),
        implicit_confirm: own.implicit_confirm.or(shared.implicit_confirm).unwrap_or(true),
    })
}

/// What either table may say.
struct Both {
    credential: Said,
    reference: Option<String>,
    protection: Option<MacKind>,
    sender: Option<DistinguishedName>,
    trust_responses: Option<PathBuf>,
    responder: Option<DistinguishedName>,
    clock_tolerance: Option<Duration>,
    repeats: Option<Repeats>,
    unprotected_errors: Option<bool>,
    implicit_confirm: Option<bool>,
}

impl Both {
    fn read(table: &Reader<'_>, folder: &Path) -> Self {
        Self {
            credential: Said::read(table, folder),
            reference: text(table, "reference"),
            protection: table.named("protection").map(|kind| kind.value),
            sender: name(table, "sender"),
            trust_responses: table.path("trust-responses", folder).map(|path| path.value),
            responder: name(table, "responder"),
            clock_tolerance: table.duration("clock-tolerance"),
            repeats: table.named("repeats").map(|repeats| repeats.value),
            unprotected_errors: table.boolean("unprotected-errors"),
            implicit_confirm: table.boolean("implicit-confirm"),
        }
    }
}

/// What a table says of how messages are protected.
#[derive(PartialEq)]
enum Said {
    Nothing,
    /// It was reported.
    Wrong,
    Secret(SecretSource),
    Signature(PathBuf, PathBuf),
}

impl Said {
    fn read(table: &Reader<'_>, folder: &Path) -> Self {
        table.must_go_together("signing-certificate", "signing-key");
        let secret_at = table.origin_of("secret");
        let (source, certificate, key) =
            (secret(table, "secret", folder), table.path("signing-certificate", folder), table.path("signing-key", folder));
        match (secret_at, source, certificate, key) {
            (None, _, None, None) => Said::Nothing,
            (None, _, Some(certificate), Some(key)) => Said::Signature(certificate.value, key.value),
            (Some(_), Some(source), None, None) => Said::Secret(source),
            (Some(origin), Some(_), ..) => {
                table.bad(&origin, "`secret` and `signing-certificate` are two ways to protect messages: say one");
                Said::Wrong
            }
            _ => Said::Wrong,
        }
    }
}

fn name(table: &Reader<'_>, key: &str) -> Option<DistinguishedName> {
    table.parsed(key, distinguished_name).map(|name| name.value)
}

fn path(ca: &Reader<'_>) -> Option<String> {
    let sound = |text: &str| text.bytes().all(|octet| octet.is_ascii_graphic() && !b"?#\"<>\\".contains(&octet));
    let path = ca.parsed("path", |text| match text {
        text if text.starts_with('/') && sound(text) => Ok(text.to_owned()),
        text => Err(format!("{text:?} is no path, such as \"/ejbca/publicweb/cmp/ALIAS\"")),
    });
    let label = ca.parsed("label", |text| match text {
        text if !text.is_empty() && !text.contains('/') && sound(text) => Ok(format!("/.well-known/cmp/p/{text}")),
        text => Err(format!("{text:?} is no label: one part of an address")),
    });
    match (path, label) {
        (Some(_), Some(label)) => {
            ca.bad(&label.origin, "`label` is another way to say `path`: say one");
            None
        }
        (Some(path), None) | (None, Some(path)) => Some(path.value),
        (None, None) => Some("/.well-known/cmp".to_owned()),
    }
}

fn as_ordered(text: &str) -> Result<bool, String> {
    match text {
        "as-ordered" => Ok(true),
        "ca-decides" => Ok(false),
        other => Err(format!("{other:?} is neither `as-ordered` nor `ca-decides`")),
    }
}

fn distinguished_name(text: &str) -> Result<DistinguishedName, String> {
    DistinguishedName::parse(text, true).map_err(|error| error.to_string())
}
