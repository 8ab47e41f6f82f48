//! `kind = "step-ca"`.

use serde_json::{Map, Value};

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables, secret, text, url_text};
use crate::config::reader::Reader;
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::remote::ConnectorSettings;
use crate::upstream::step_ca::{ProvisionerSettings, StepCaSettings};

pub(super) const KIND: Kind = Kind { name: "step-ca", upstream: &TABLE, ca: &CA_TABLE, needs_tls: true, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"step-ca\"`",
    doc: "step-ca (smallstep certificates), with one-time tokens of a JWK or an x5c provisioner, one provisioner for each `[[upstream.ca]]`. The template of the provisioner decides subject and usages; the validity is what the profile says.",
    tables: &[("upstream", KEYS), ("upstream.ca", CA_KEYS)],
};

const KEYS: &[Key] = &[
    key(
        "authority",
        "URL",
        "`url`",
        "How the CA calls itself, where that is not the address at which it is reached: `https://` and one of its `dnsNames`.",
    ),
    key(
        "keeps-tokens",
        "boolean",
        "`false`",
        "Whether the CA keeps used tokens in a database that outlives it and that all its instances share (`db` in its `ca.json`). Then an order whose answer was lost may be sent again with the same token, and is issued once.",
    ),
];

const CA_KEYS: &[Key] = &[
    key("provisioner", "string", "", "The name of the provisioner."),
    key(
        "provisioner-key",
        "path",
        "",
        "Its private key: a JWK, an encrypted one (JWE), the provisioner with its `encryptedKey` as step-ca lists it, or PEM (PKCS#8). Of an x5c provisioner: the key of `provisioner-certificate`.",
    ),
    key("provisioner-password", "secret", "the passphrase of `[keys]`", "What opens `provisioner-key`, if it is encrypted."),
    key("provisioner-key-id", "string", "what stands in the key, or its thumbprint", "The `kid` of a JWK provisioner's key."),
    key(
        "provisioner-certificate",
        "path",
        "none",
        "PEM: the certificate, then those above it, without the root. With it the provisioner is of the type x5c.",
    ),
    key(
        "template-data",
        "JSON object",
        "`{}`",
        "What the template of the provisioner finds in `.Insecure.User`. What was ordered stands there too, as `.Insecure.User.ravelin`.",
    ),
];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema =
    TableSchema { name: "upstream.ca", repeated: true, doc: "One provisioner of a step-ca.", keys: CA_KEYS, shared: &[CA] };

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let authority = tables.upstream.parsed("authority", url_text).map(|url| url.value);
    let keeps_tokens = tables.upstream.boolean("keeps-tokens").unwrap_or(false);
    let provisioners = tables.of_cas(|ca| provisioner(ca, tables)).into_iter();
    let provisioners = provisioners.map(|(ca, settings)| settings.map(|settings| (ca, settings))).collect::<Option<_>>()?;
    Some(ConnectorSettings::StepCa(StepCaSettings { authority, keeps_tokens, provisioners }))
}

fn provisioner(ca: &Reader<'_>, tables: &Tables<'_>) -> Option<ProvisionerSettings> {
    ca.must_have("provisioner-key");
    let name = ca.required("provisioner");
    let key = ca.path("provisioner-key", tables.folder);
    let settings = ProvisionerSettings {
        password: secret(ca, "provisioner-password", tables.folder),
        key_id: text(ca, "provisioner-key-id"),
        certificate: ca.path("provisioner-certificate", tables.folder).map(|path| path.value),
        template_data: ca.parsed("template-data", object).map(|data| data.value).unwrap_or_default(),
        name: name?.value,
        key: key?.value,
    };
    Some(settings)
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err("write a JSON object in a string, such as '{\"site\": \"north\"}'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Config, Overrides, UpstreamKind, load};
    use super::*;

    fn loaded(upstream: &str, ca: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let head = "version = 1\n[[upstream]]\nname = \"step\"\nkind = \"step-ca\"\nurl = \"https://ca.example.net:9000\"\ntrust = \"root.pem\"\n";
        let table = "[[upstream.ca]]\nname = \"one\"\nchain = \"chain.pem\"\n";
        std::fs::write(dir.path().join("ravelin.toml"), format!("{head}{upstream}\n{table}{ca}")).unwrap();
        load(dir.path(), &Overrides::none()).map_err(|findings| findings.to_string())
    }

    #[test]
    fn a_provisioner_is_read_with_its_files() {
        let ca = "provisioner = \"p\"\nprovisioner-key = \"p.jwk\"\nprovisioner-certificate = \"p.pem\"\nprovisioner-password = { file = \"pw\" }\n\
                  template-data = '{\"site\": \"north\"}'\n";
        let config = loaded("keeps-tokens = true", ca).unwrap_or_else(|findings| panic!("{findings}"));
        let UpstreamKind::Remote(remote) = &config.upstreams[0].kind else { panic!("not remote") };
        let ConnectorSettings::StepCa(settings) = &remote.connector else { panic!("not a step-ca") };
        let one = &settings.provisioners["one"];
        assert!(settings.keeps_tokens && settings.authority.is_none());
        assert_eq!((one.name.as_str(), one.template_data["site"].as_str()), ("p", Some("north")));
        assert!(one.certificate.is_some() && one.password.is_some());
        for file in ["p.jwk", "p.pem", "pw"] {
            assert!(config.upstreams[0].files.iter().any(|path| path.ends_with(file)), "{file} is not watched");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let cases = [
            ("", "provisioner-key = \"p.jwk\"\n", "`provisioner`"),
            ("", "provisioner = \"p\"\n", "`provisioner-key`"),
            ("authority = \"ca\"", "provisioner = \"p\"\nprovisioner-key = \"p\"\n", "is no address"),
            ("", "provisioner = \"p\"\nprovisioner-key = \"p\"\ntemplate-data = \"[1]\"\n", "write a JSON object"),
        ];
        for (upstream, ca, finding) in cases {
            let findings = loaded(upstream, ca).map(drop).unwrap_err();
            assert!(findings.contains(finding), "{upstream} {ca}: {findings}");
        }
    }
}
