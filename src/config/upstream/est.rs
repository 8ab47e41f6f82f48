//! `kind = "est"`.

use std::time::Duration;

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables, text};
use crate::config::diagnostic::Diagnostic;
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::est::{EstSettings, Repeats};
use crate::upstream::remote::ConnectorSettings;

pub(super) const KIND: Kind = Kind { name: "est", upstream: &TABLE, ca: &CA_TABLE, needs_tls: true, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"est\"`",
    doc: "Enrollment over Secure Transport (RFC 7030, RFC 8951, RFC 9908). The CSR goes to the CA as it is; the CA decides usages and validity. EST has no revocation and no CRL.",
    tables: &[("upstream", KEYS), ("upstream.ca", CA_KEYS)],
};

const KEYS: &[Key] = &[
    key("username", "string", "none", "The user name for HTTP Basic."),
    key("password", "secret", "none", "Its password."),
    key(
        "repeats",
        "`new-certificate` or `same-certificate`",
        "`new-certificate`",
        "What the server does with a request that it has answered already. Only where it surely gives the same certificate again is a request repeated after a lost answer.",
    ),
    key(
        "longest-wait",
        "duration",
        "`24h`",
        "After how long a waiting order is asked after again at the latest, whatever the server says.",
    ),
];

const CA_KEYS: &[Key] = &[key(
    "label",
    "string",
    "none",
    "The label in the address: `/.well-known/est/LABEL/simpleenroll`. It may have several segments.",
)];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema =
    TableSchema { name: "upstream.ca", repeated: true, doc: "One CA of an EST server.", keys: CA_KEYS, shared: &[CA] };

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let table = &tables.upstream;
    table.must_go_together("username", "password");
    if let (Some(origin), false) =
        (table.origin_of("username"), ["client-certificate", "client-ra"].iter().any(|key| table.has(key)))
    {
        let message = "servers that keep to RFC 7030 refuse requests with a challenge from who shows no certificate of an RA";
        let help = "the challenge of a SCEP device stands in its request; show a client certificate with the extended key usage id-kp-cmcRA";
        table.report(Diagnostic::warning("est-challenge", message).at(&origin).help(help));
    }
    Some(ConnectorSettings::Est(EstSettings {
        username: text(table, "username"),
        password: tables.secret("password"),
        repeats: table.named::<Repeats>("repeats").map_or_else(Repeats::default, |repeats| repeats.value),
        longest_wait: table
            .duration("longest-wait")
            .map_or(Duration::from_secs(24 * 3600), |wait| wait.max(Duration::from_secs(1))),
        labels: tables.of_cas(|ca| ca.parsed("label", label).map(|label| label.value)),
    }))
}

fn label(text: &str) -> Result<String, String> {
    let is_segment = |segment: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%".contains(c);
        !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(fits)
    };
    match text.split('/').all(is_segment) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no label, such as \"devices\" or \"IOT_1/devices\"")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Overrides, UpstreamKind};
    use crate::upstream::http::Proxy;
    use crate::upstream::secret::SecretSource;

    #[test]
    fn the_keys_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config/good/est");
        let config = config::load(&folder, &Overrides::none()).unwrap();
        let named = |name: &str| config.upstreams.iter().find(|upstream| upstream.name == name).unwrap();
        let corporate = named("corporate");
        let UpstreamKind::Remote(remote) = &corporate.kind else { panic!("it is remote") };
        let ConnectorSettings::Est(est) = &remote.connector else { panic!("it is EST") };
        assert_eq!(est.repeats, Repeats::SameCertificate);
        assert_eq!(est.longest_wait, Duration::from_secs(3600));
        assert_eq!(est.labels["devices"].as_deref(), Some("IOT_1/devices"));
        let credentials = Some(SecretSource::Environment("PROXY".into()));
        assert_eq!(remote.http.proxy, Proxy::Url { address: "socks5://proxy.example.net:1080".into(), credentials });
        // The signing certificate of the RA of that name.
        let client = remote.http.client.as_ref().unwrap();
        let ra = folder.join("data/ra-outer");
        assert_eq!((&client.certificate, &client.key), (&ra.join("signer.pem"), &ra.join("signer.key.pem")));
        assert_eq!(client.chain.as_ref(), Some(&ra.join("chain.pem")));
        // Whatever is read of files is watched, and files of others are not.
        for file in ["tls/roots.pem", "ca/chain.pem", "data/ra-outer/signer.pem", "secrets/est"] {
            assert!(config.watched.contains(&folder.join(file)), "{file}");
        }
        assert!(!corporate.files.contains(&folder.join("secrets/est")) && named("local").files.is_empty());
    }

    #[test]
    fn a_secret_that_changes_counts() {
        let dir = tempfile::tempdir().unwrap();
        let text = "version = 1\n[[upstream]]\nname = \"lab\"\nkind = \"est\"\nurl = \"http://localhost\"\nusername = \"x\"\n\
                    password = { file = \"secret\" }\n[[upstream.ca]]\nname = \"devices\"\nchain = \"chain.pem\"\n";
        std::fs::write(dir.path().join("ravelin.toml"), text).unwrap();
        let load = || config::load(dir.path(), &Overrides::none()).unwrap();
        std::fs::write(dir.path().join("secret"), "one").unwrap();
        let before = load();
        std::fs::write(dir.path().join("secret"), "two").unwrap();
        let after = load();
        assert_eq!(before.digest, after.digest);
        assert_ne!(before.credentials, after.credentials);
    }
}
