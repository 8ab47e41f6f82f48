//! `kind = "vault"`.

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables, text};
use crate::config::diagnostic::Diagnostic;
use crate::config::reader::Reader;
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::remote::ConnectorSettings;
use crate::upstream::vault::{Login, Mode, NamesFrom, RoleSettings, VaultSettings};

pub(super) const KIND: Kind = Kind { name: "vault", upstream: &TABLE, ca: &CA_TABLE, needs_tls: true, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"vault\"`",
    doc: "The PKI secrets engine of OpenBao and HashiCorp Vault: an issuer and a role for each `[[upstream.ca]]`. The certificate of the issuer decides what signs.",
    tables: &[("upstream", KEYS), ("upstream.ca", CA_KEYS)],
};

const KEYS: &[Key] = &[
    key("login", "`token`, `approle` or `cert`", "*required*", "How Ravelin logs in."),
    key(
        "login-mount",
        "string",
        "`approle` or `cert`",
        "Where the auth method is mounted: `auth/` and this. `cert` shows the certificate of `client-certificate`.",
    ),
    key("token", "secret", "none", "The token, for `login = \"token\"`. It is renewed while it can be."),
    key("role-id", "string", "none", "The role's id, for `login = \"approle\"`."),
    key("secret-id", "secret", "none", "Its secret id; the file is read anew at each login."),
    key("cert-role", "string", "the first that fits", "The role, for `login = \"cert\"`."),
    key("namespace", "string", "none", "The namespace that everything is in (header `X-Vault-Namespace`)."),
];

const CA_KEYS: &[Key] = &[
    key("mount", "string", "`pki`", "Where the secrets engine is mounted."),
    key("issuer", "string", "`default`", "The issuer: its name or its id."),
    key(
        "role",
        "string",
        "*required* for `sign`",
        "The role. With `sign-verbatim` it says how long and whether certificates are stored.",
    ),
    key(
        "mode",
        "`sign` or `sign-verbatim`",
        "`sign`",
        "`sign`: the role decides what may be issued, and gives the subject all but the common name. `sign-verbatim`: what stands in the CSR is issued.",
    ),
    key(
        "names-from",
        "`csr` or `request`",
        "`csr`",
        "Where the role takes names from. `request`: its `use_csr_common_name` and `use_csr_sans` are false, so that Ravelin can set the common name and the alternative names.",
    ),
];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema = TableSchema {
    name: "upstream.ca",
    repeated: true,
    doc: "One issuer of a PKI secrets engine, with a role.",
    keys: CA_KEYS,
    shared: &[CA],
};

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let roles = tables.of_cas(role).into_iter().map(|(ca, role)| role.map(|role| (ca, role))).collect::<Option<_>>();
    let namespace = text(&tables.upstream, "namespace");
    Some(ConnectorSettings::Vault(VaultSettings { login: login(tables)?, namespace, roles: roles? }))
}

fn login(tables: &Tables<'_>) -> Option<Login> {
    let upstream = &tables.upstream;
    let kind = upstream.required("login")?;
    let lacks = |key: &str| {
        let finding = Diagnostic::error("missing-key", format!("`login = {:?}` needs `{key}`", kind.value)).at(&kind.origin);
        if upstream.origin_of(key).is_none() {
            upstream.report(finding);
        }
    };
    let mount = |default: &str| upstream.parsed("login-mount", path).map_or_else(|| default.to_owned(), |mount| mount.value);
    let others = |known: &[&str]| {
        for key in ["token", "role-id", "secret-id", "cert-role", "login-mount"].iter().filter(|key| !known.contains(key)) {
            if let Some(origin) = upstream.origin_of(key) {
                upstream.bad(&origin, format!("`{key}` is of no use with `login = {:?}`", kind.value));
            }
        }
    };
    match kind.value.as_str() {
        "token" => {
            others(&["token"]);
            lacks("token");
            Some(Login::Token(tables.secret("token")?))
        }
        "approle" => {
            others(&["role-id", "secret-id", "login-mount"]);
            lacks("role-id");
            lacks("secret-id");
            let (role_id, secret_id) = (text(upstream, "role-id"), tables.secret("secret-id"));
            Some(Login::AppRole { mount: mount("approle"), role_id: role_id?, secret_id: secret_id? })
        }
        "cert" => {
            others(&["cert-role", "login-mount"]);
            if upstream.origin_of("client-ra").is_none() {
                lacks("client-certificate");
            }
            Some(Login::Certificate { mount: mount("cert"), role: text(upstream, "cert-role") })
        }
        other => {
            upstream.bad(&kind.origin, format!("{other:?} is none of token, approle, cert"));
            None
        }
    }
}

fn role(ca: &Reader<'_>) -> Option<RoleSettings> {
    let mode = ca.named::<Mode>("mode").map_or(Mode::default(), |mode| mode.value);
    let role = ca.parsed("role", segment).map(|role| role.value);
    if mode == Mode::Sign && ca.origin_of("role").is_none() {
        ca.report(Diagnostic::error("missing-key", "`mode = \"sign\"` needs `role`").at(ca.origin()));
        return None;
    }
    let names_from = ca.named::<NamesFrom>("names-from").map_or(NamesFrom::default(), |from| from.value);
    if let (Mode::SignVerbatim, NamesFrom::Request, Some(origin)) = (mode, names_from, ca.origin_of("names-from")) {
        ca.bad(&origin, "`sign-verbatim` takes all names from the CSR");
    }
    Some(RoleSettings {
        mount: ca.parsed("mount", path).map_or_else(|| "pki".to_owned(), |mount| mount.value),
        issuer: ca.parsed("issuer", segment).map_or_else(|| "default".to_owned(), |issuer| issuer.value),
        role,
        mode,
        names_from,
    })
}

/// A part of a path.
fn segment(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    match !text.is_empty() && text.chars().all(fits) && text.chars().any(|c| c != '.') {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no name: letters, digits, '-', '_' and '.' only")),
    }
}

/// A path of one or more parts, without slashes around it.
fn path(text: &str) -> Result<String, String> {
    let inner = text.trim_matches('/');
    inner.split('/').map(segment).collect::<Result<Vec<_>, _>>().map(|parts| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Config, Overrides, UpstreamKind, load};
    use super::*;
    use crate::upstream::secret::SecretSource;

    const CA: &str = "[[upstream.ca]]\nname = \"one\"\nchain = \"chain.pem\"\nrole = \"routers\"\n";

    fn loaded(upstream: &str, ca: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let head = "version = 1\n[[upstream]]\nname = \"vault\"\nkind = \"vault\"\nurl = \"https://vault.example.net:8200\"\ntrust = \"root.pem\"\n";
        std::fs::write(dir.path().join("ravelin.toml"), format!("{head}{upstream}\n{ca}")).unwrap();
        load(dir.path(), &Overrides::none()).map_err(|findings| findings.to_string())
    }

    fn settings(upstream: &str, ca: &str) -> VaultSettings {
        let config = loaded(upstream, ca).unwrap_or_else(|findings| panic!("{findings}"));
        let UpstreamKind::Remote(remote) = &config.upstreams[0].kind else { panic!("not remote") };
        let ConnectorSettings::Vault(settings) = &remote.connector else { panic!("not a vault") };
        settings.clone()
    }

    #[test]
    fn logins_have_their_defaults() {
        let approle = settings("login = \"approle\"\nrole-id = \"r\"\nsecret-id = { env = \"X\" }", CA);
        let secret_id = SecretSource::Environment("X".into());
        assert_eq!(approle.login, Login::AppRole { mount: "approle".into(), role_id: "r".into(), secret_id });
        let role = &approle.roles["one"];
        assert_eq!((role.mount.as_str(), role.issuer.as_str(), role.mode), ("pki", "default", Mode::Sign));
        let client = "client-certificate = \"ra.pem\"\nclient-key = \"ra.key\"\nlogin-mount = \"/teams/cert/\"";
        let certificate = settings(&format!("login = \"cert\"\n{client}"), CA);
        assert_eq!(certificate.login, Login::Certificate { mount: "teams/cert".into(), role: None });
        let token =
            settings("login = \"token\"\ntoken = { env = \"VAULT_TOKEN\" }", &CA.replace("role =", "mode = \"sign-verbatim\" #"));
        assert_eq!(token.login, Login::Token(SecretSource::Environment("VAULT_TOKEN".into())));
        assert_eq!((token.roles["one"].mode, &token.roles["one"].role), (Mode::SignVerbatim, &None));
    }

    #[test]
    fn what_is_missing_or_of_no_use_is_said() {
        let token = "login = \"token\"\ntoken = { env = \"VAULT_TOKEN\" }";
        let cases = [
            ("login = \"approle\"", CA, "`login = \"approle\"` needs `secret-id`"),
            ("login = \"cert\"", CA, "`login = \"cert\"` needs `client-certificate`"),
            ("login = \"ldap\"", CA, "\"ldap\" is none of token, approle, cert"),
            ("", CA, "`login`"),
            ("login = \"token\"\ntoken = { env = \"T\" }\nrole-id = \"r\"", CA, "`role-id` is of no use"),
            (token, &CA.replace("role =", "mode = \"sign\" #"), "`mode = \"sign\"` needs `role`"),
            (token, &format!("{CA}mode = \"sign-verbatim\"\nnames-from = \"request\"\n"), "takes all names from the CSR"),
            (token, &format!("{CA}mount = \"../sys\"\n"), "is no name"),
            (token, &format!("{CA}issuer = \"a/b\"\n"), "is no name"),
        ];
        for (upstream, ca, finding) in cases {
            let findings = loaded(upstream, ca).map(drop).unwrap_err();
            assert!(findings.contains(finding), "{upstream} {ca}: {findings}");
        }
    }
}
