use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::upstream::secret::SecretSource;
use crate::upstream::testing::{Play, Scripted, TestCa};
use crate::x509::{DistinguishedName, SubjectAltName, extension};

const KEY: IdempotencyKey = IdempotencyKey([7; 16]);

fn role() -> RoleSettings {
    RoleSettings {
        mount: "pki/devices".into(),
        issuer: "devices-2026".into(),
        role: Some("routers".into()),
        mode: Mode::Sign,
        names_from: NamesFrom::Csr,
    }
}

fn secret(ca: &TestCa, name: &str, text: &str) -> (PathBuf, SecretSource) {
    let path = ca.file(name);
    std::fs::write(&path, text).unwrap();
    (path.clone(), SecretSource::File(path))
}

fn token(ca: &TestCa) -> Login {
    Login::Token(secret(ca, "token", "s.given\n").1)
}

fn approle(ca: &TestCa) -> Login {
    Login::AppRole { mount: "approle".into(), role_id: "routers".into(), secret_id: secret(ca, "secret-id", "s3cret\n").1 }
}

fn vault(http: Http, login: Login, role: RoleSettings) -> Vault {
    let settings = VaultSettings { login, namespace: None, roles: BTreeMap::from([("devices".to_owned(), role)]) };
    Vault::open(&settings, http).unwrap()
}

/// What `lookup-self` says of a token that never ends.
fn looked() -> Play {
    Play::json(200, &json!({ "data": { "ttl": 0, "renewable": false, "policies": ["x"] } }))
}

fn granted(token: &str, lasts: u64, renewable: bool) -> Play {
    Play::json(
        200,
        &json!({ "auth": { "client_token": token, "lease_duration": lasts, "renewable": renewable, "accessor": "a" } }),
    )
}

fn issued(certificate: &Certificate, ca: &TestCa) -> Play {
    let data = json!({
        "certificate": certificate.to_pem(),
        "issuing_ca": ca.certificate.to_pem(),
        "ca_chain": [ca.certificate.to_pem()],
        "serial_number": "39:dd",
        "expiration": 1,
    });
    Play::json(200, &json!({ "request_id": "r", "data": data, "warnings": null }))
}

fn wrong(status: u16, error: &str) -> Play {
    Play::json(status, &json!({ "errors": [error] }))
}

#[tokio::test]
async fn a_role_is_asked_with_all_names_said() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let mut order = ca.order("devices");
    let subject = DistinguishedName::parse("CN=router 1,serialNumber=S1", true).unwrap();
    order.subject = subject.der().to_vec();
    let upn = hex::decode("a01e060a2b060104018237140203a0100c0e726f75746572406578616d706c65").unwrap();
    let names = [
        SubjectAltName::Dns("a.example".into()),
        SubjectAltName::Ip([192, 0, 2, 1].into()),
        SubjectAltName::Uri("urn:x:1".into()),
        SubjectAltName::Email("a@example.net".into()),
        SubjectAltName::Other(upn),
    ];
    order.subject_alt_names = extension::subject_alt_names(&names).unwrap();
    let certificate = ca.issue(&order);
    let peer = Scripted::playing([looked(), issued(&certificate, &ca)]).await;
    let vault = vault(peer.http(), token(&ca), RoleSettings { names_from: NamesFrom::Request, ..role() });
    let remote = ca.remote_ca("devices");
    assert!(vault.abilities(&remote).overrides_subject_alt_names);
    let Submission::Issued { certificate: got, .. } = vault.submit(&remote, &order, &KEY).await else { panic!("not issued") };
    assert_eq!(got.der(), certificate.der());

    let [login, sign] = &peer.seen()[..] else { panic!("two requests") };
    assert_eq!((login.method.as_str(), login.target.as_str()), ("GET", "/v1/auth/token/lookup-self"));
    assert_eq!((sign.method.as_str(), sign.target.as_str()), ("POST", "/v1/pki/devices/issuer/devices-2026/sign/routers"));
    assert_eq!((sign.header("X-Vault-Token"), sign.header("X-Vault-Request")), ("s.given", "true"));
    assert_eq!((sign.header("X-Correlation-Id"), sign.header("X-Vault-Namespace")), (KEY.to_string().as_str(), ""));
    let mut body = sign.json();
    let csr = crate::x509::pem::read(body["csr"].as_str().unwrap(), "CERTIFICATE REQUEST").unwrap();
    assert_eq!(csr, [order.csr.clone()]);
    body["csr"] = Value::Null;
    let expected = json!({
        "csr": null,
        "format": "pem",
        "not_after": order.not_after.to_string(),
        "exclude_cn_from_sans": true,
        "common_name": "router 1",
        "alt_names": "a.example,a@example.net",
        "ip_sans": ["192.0.2.1"],
        "uri_sans": ["urn:x:1"],
        "other_sans": ["1.3.6.1.4.1.311.20.2.3;UTF8:router@example"],
        "serial_number": "S1",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn sign_verbatim_is_told_what_a_csr_may_not_say() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    let peer = Scripted::playing([looked(), issued(&ca.issue(&order), &ca), issued(&ca.issue(&order), &ca)]).await;
    let verbatim = RoleSettings { mode: Mode::SignVerbatim, ..role() };
    let without = RoleSettings { role: None, ..verbatim.clone() };
    let with = vault(peer.http(), token(&ca), verbatim);
    let remote = ca.remote_ca("devices");
    assert!(matches!(with.submit(&remote, &order, &KEY).await, Submission::Issued { .. }));
    let sign = &peer.seen()[1];
    assert_eq!(sign.target, "/v1/pki/devices/issuer/devices-2026/sign-verbatim/routers");
    let body = sign.json();
    assert_eq!(body["key_usage"], json!(["DigitalSignature"]));
    assert_eq!(body["ext_key_usage_oids"], json!(["1.3.6.1.5.5.7.3.2"]));
    assert_eq!((&body["signature_bits"], &body["use_pss"], &body["common_name"]), (&json!(256), &json!(false), &Value::Null));
    assert_eq!(without.sign_path(), "pki/devices/issuer/devices-2026/sign-verbatim");
    let able = with.abilities(&remote);
    assert!(!able.overrides_subject && !able.overrides_subject_alt_names && !able.can_find_again && able.sees_challenge);
}

#[tokio::test]
async fn names_that_a_role_cannot_give_are_not_asked_for() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let mut order = ca.order("devices");
    let peer = Scripted::playing([]).await;
    let vault = vault(peer.http(), token(&ca), role());
    let directory = SubjectAltName::Directory(DistinguishedName::parse("CN=x", true).unwrap());
    for name in [directory, SubjectAltName::Other(vec![0x88, 1, 42])] {
        order.subject_alt_names = extension::subject_alt_names(&[name]).unwrap();
        let outcome = vault.submit(&ca.remote_ca("devices"), &order, &KEY).await;
        assert!(matches!(outcome, Submission::Rejected { .. }), "{outcome:?}");
    }
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn statuses_mean_what_they_are_documented_to_mean() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let sorts = [
        (wrong(400, "common name x not allowed by this role"), "rejected"),
        (wrong(404, "no handler for route"), "not taken"),
        (wrong(405, "unsupported operation"), "not taken"),
        (Play::body(403, "text/html", "<h1>Blocked</h1>"), "not taken"),
        (Play::body(400, "text/html", "<h1>Bad Request</h1>"), "not taken"),
        (Play::body(404, "text/html", "<h1>Not Found</h1>"), "not taken"),
        (wrong(412, "required index state not present"), "not taken"),
        (wrong(429, "rate limit quota exceeded"), "not taken"),
        (wrong(503, "Vault is sealed"), "not taken"),
        // It may have been sealed over an order that it had signed, or be a gateway that speaks.
        (wrong(503, "1 error occurred: * unable to store certificate locally: Vault is sealed"), "unknown"),
        (Play::body(503, "text/plain", "upstream connect error or disconnect/reset before headers"), "unknown"),
        (Play::status(408), "unknown"),
        (Play::status(307).header("Location", "https://other/"), "not taken"),
        (wrong(500, "local node not active but active cluster node not found"), "not taken"),
        (wrong(500, "1 error occurred: * unable to store certificate locally"), "unknown"),
        (wrong(502, "bad gateway"), "unknown"),
        (Play::body(200, "application/json", "{\"data\":{}}"), "unknown"),
        (issued(&ca.issue(&ca.order("devices")), &ca), "unknown"),
        (Play::Cut, "unknown"),
    ];
    for (play, sort) in sorts {
        let text = format!("{play:?}");
        let peer = Scripted::playing([looked(), play]).await;
        let outcome = vault(peer.http(), token(&ca), role()).submit(&remote, &order, &KEY).await;
        let found = match &outcome {
            Submission::NotTaken { .. } => "not taken",
            Submission::Rejected { .. } => "rejected",
            Submission::Unknown { .. } => "unknown",
            _ => "something else",
        };
        assert_eq!(found, sort, "{text}: {outcome:?}");
    }
    let peer = Scripted::playing([looked(), wrong(503, "Vault is sealed")]).await;
    let outcome = vault(peer.http(), token(&ca), role()).submit(&remote, &order, &KEY).await;
    assert!(matches!(&outcome, Submission::NotTaken { reason, .. } if reason.contains("Vault is sealed")), "{outcome:?}");
    // And it is never asked again by itself.
    let find = vault(peer.http(), token(&ca), role()).find(&remote, &order, &KEY).await;
    assert!(matches!(&find, Submission::Unknown { reason } if reason.contains(&KEY.to_string())), "{find:?}");
}

#[tokio::test]
async fn a_refused_token_is_had_anew_once() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let certificate = ca.issue(&order);
    let denied = || wrong(403, "permission denied");
    let plays = [
        granted("s.1", 3600, true),
        denied(),
        granted("s.2", 3600, true),
        issued(&certificate, &ca),
        // Later it is the policy that forbids: a fresh token is refused too.
        denied(),
        granted("s.3", 3600, true),
        denied(),
        // So the next refusal does not lead to a login.
        denied(),
    ];
    let peer = Scripted::playing(plays).await;
    let vault = vault(peer.http(), approle(&ca), role());
    assert!(matches!(vault.submit(&remote, &order, &KEY).await, Submission::Issued { .. }));
    for _ in 0..2 {
        let outcome = vault.submit(&remote, &order, &KEY).await;
        assert!(matches!(&outcome, Submission::NotTaken { reason, .. } if reason.contains("permission denied")), "{outcome:?}");
    }
    let seen = peer.seen();
    let tokens: Vec<_> = seen.iter().map(|seen| seen.header("X-Vault-Token")).collect();
    assert_eq!(tokens, ["", "s.1", "", "s.2", "s.2", "", "s.3", "s.3"]);
    assert_eq!(seen[0].target, "/v1/auth/approle/login");
    assert_eq!(seen[0].json(), json!({ "role_id": "routers", "secret_id": "s3cret" }));
}

#[tokio::test]
async fn many_orders_log_in_once() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    let certificate = ca.issue(&order);
    let login = granted("s.1", 3600, true).after(Duration::from_millis(50));
    let pem = issued(&certificate, &ca);
    let peer = Scripted::answering(move |seen| match seen.target.as_str() {
        "/v1/auth/approle/login" => login.clone(),
        _ => pem.clone(),
    })
    .await;
    let vault = Arc::new(vault(peer.http(), approle(&ca), role()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (vault, order, remote) = (Arc::clone(&vault), order.clone(), ca.remote_ca("devices"));
        tasks.spawn(async move { matches!(vault.submit(&remote, &order, &KEY).await, Submission::Issued { .. }) });
    }
    assert_eq!(tasks.join_all().await, [true; 8]);
    let logins = peer.seen().iter().filter(|seen| seen.target.contains("login")).count();
    assert_eq!(logins, 1);
}

#[tokio::test]
async fn a_login_that_fails_leaves_the_order_untaken() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let peer = Scripted::playing([wrong(400, "invalid role or secret ID")]).await;
    let vault = vault(peer.http(), approle(&ca), role());
    for _ in 0..2 {
        let outcome = vault.submit(&remote, &order, &KEY).await;
        assert!(
            matches!(&outcome, Submission::NotTaken { reason, .. } if reason.contains("invalid role or secret ID")),
            "{outcome:?}"
        );
    }
    assert_eq!(peer.seen().len(), 1, "the second one found that a login had just failed");
    let missing = Login::Token(SecretSource::File("/nowhere/token".into()));
    let outcome = super::tests::vault(peer.http(), missing, role()).submit(&remote, &order, &KEY).await;
    assert!(matches!(&outcome, Submission::NotTaken { reason, .. } if reason.contains("/nowhere/token")), "{outcome:?}");
    // What an endpoint of a login says besides is nobody's business.
    let peer = Scripted::playing([Play::json(200, &json!({ "auth": { "client_token": 5, "secret": "s.leaked" } }))]).await;
    let outcome = super::tests::vault(peer.http(), approle(&ca), role()).submit(&remote, &order, &KEY).await;
    assert!(!format!("{outcome:?}").contains("s.leaked"), "{outcome:?}");
}

#[tokio::test]
async fn a_given_token_is_read_anew_where_it_was_exchanged() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let (path, source) = secret(&ca, "token", "s.old");
    let peer = Scripted::playing([
        looked(),
        wrong(403, "permission denied").after(Duration::from_millis(100)),
        looked(),
        issued(&ca.issue(&order), &ca),
    ])
    .await;
    let vault = vault(peer.http(), Login::Token(source), role());
    // Logged in with the old one; then somebody puts another into the file.
    let exchange = async {
        while peer.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::fs::write(&path, "s.new").unwrap();
    };
    let (outcome, ()) = tokio::join!(vault.submit(&remote, &order, &KEY), exchange);
    assert!(matches!(outcome, Submission::Issued { .. }), "{outcome:?}");
    assert_eq!(peer.seen().last().unwrap().header("X-Vault-Token"), "s.new");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_had_anew_when_it_cannot_be() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let pem = issued(&ca.issue(&order), &ca);
    let mut renewals = 0;
    let mut logins = 0;
    let peer = Scripted::answering(move |seen| match seen.target.as_str() {
        "/v1/auth/certs/login" => {
            logins += 1;
            granted(&format!("s.{logins}"), if logins == 1 { 2 } else { 3600 }, true)
        }
        "/v1/auth/token/renew-self" => {
            renewals += 1;
            match renewals {
                1 => granted("s.1", 2, true),
                _ => wrong(403, "permission denied"),
            }
        }
        _ => pem.clone(),
    })
    .await;
    let login = Login::Certificate { mount: "certs".into(), role: Some("ra".into()) };
    let vault = vault(peer.http(), login, role());
    assert!(matches!(vault.submit(&remote, &order, &KEY).await, Submission::Issued { .. }));
    let count = |what: &str| peer.seen().iter().filter(|seen| seen.target.ends_with(what)).count();
    let begun = std::time::Instant::now();
    while count("renew-self") < 2 && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(1500), "no sooner than two thirds of the time, twice");
    // It was refused, so the next order logs in.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(vault.submit(&remote, &order, &KEY).await, Submission::Issued { .. }));
    assert_eq!((count("renew-self"), count("login")), (2, 2));
    let seen = peer.seen();
    assert_eq!(seen[0].json(), json!({ "name": "ra" }));
    assert_eq!(seen.last().unwrap().header("X-Vault-Token"), "s.2");
    let renewal = seen.iter().find(|seen| seen.target.ends_with("renew-self")).unwrap();
    assert_eq!((renewal.method.as_str(), renewal.header("X-Vault-Token")), ("POST", "s.1"));
}

#[tokio::test]
async fn namespaces_go_along_with_everything() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let issuer = json!({ "data": { "certificate": ca.certificate.to_pem(), "ca_chain": [ca.certificate.to_pem()] } });
    let peer = Scripted::playing([Play::json(200, &issuer), looked(), issued(&ca.issue(&ca.order("devices")), &ca)]).await;
    let roles = BTreeMap::from([("devices".to_owned(), role())]);
    let vault =
        Vault::open(&VaultSettings { login: token(&ca), namespace: Some("teams/net".into()), roles }, peer.http()).unwrap();
    let remote = ca.remote_ca("devices");
    assert_eq!(vault.certificates(&remote).await.unwrap().len(), 1);
    let _ = vault.submit(&remote, &ca.order("devices"), &KEY).await;
    let seen = peer.seen();
    assert_eq!(seen.iter().map(|seen| seen.header("X-Vault-Namespace")).collect::<Vec<_>>(), ["teams/net"; 3]);
    assert_eq!(seen[0].target, "/v1/pki/devices/issuer/devices-2026/json");
    assert_eq!(seen[0].header("X-Vault-Token"), "", "that is public");
}

#[tokio::test]
async fn certificates_are_revoked_and_crls_fetched() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let certificate = ca.issue(&ca.order("devices"));
    let plays = [
        looked(),
        Play::json(200, &json!({ "data": { "revocation_time": 1 } })),
        wrong(500, "no"),
        Play::body(200, "application/pkix-crl", b"crl".to_vec()),
        Play::status(204),
        wrong(503, "Vault is sealed"),
    ];
    let peer = Scripted::playing(plays).await;
    let (vault, remote) = (vault(peer.http(), token(&ca), role()), ca.remote_ca("devices"));
    vault.revoke(&remote, &certificate, RevocationReason::Superseded).await.unwrap();
    assert!(vault.revoke(&remote, &certificate, RevocationReason::Superseded).await.is_err());
    assert_eq!(vault.crl(&remote).await.unwrap().unwrap(), b"crl");
    assert_eq!(vault.crl(&remote).await.unwrap(), None);
    assert!(vault.crl(&remote).await.unwrap_err().to_string().contains("sealed"));
    let seen = peer.seen();
    assert_eq!(
        (seen[1].target.as_str(), &seen[1].json()),
        ("/v1/pki/devices/revoke", &json!({ "certificate": certificate.to_pem() }))
    );
    assert_eq!(seen[3].target, "/v1/pki/devices/issuer/devices-2026/crl/der");
}

#[tokio::test]
async fn the_role_and_the_policy_are_looked_at() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (sign, revoke) = ("pki/devices/issuer/devices-2026/sign/routers", "pki/devices/revoke");
    let may = |signing: &[&str], revoking: &[&str]| {
        Play::json(200, &json!({ "data": { sign: signing, revoke: revoking }, sign: signing }))
    };
    let plain = json!({ "use_csr_common_name": true, "use_csr_sans": true, "not_after": "" });
    let fixed = json!({ "use_csr_common_name": false, "use_csr_sans": false, "not_after": "2030-01-01T00:00:00Z" });
    let of = |role: &Value| Play::json(200, &json!({ "data": role }));
    let request = RoleSettings { names_from: NamesFrom::Request, ..role() };
    let cases: Vec<(RoleSettings, Vec<Play>, &[&str])> = vec![
        (role(), vec![may(&["update"], &["root"]), of(&plain)], &[]),
        (role(), vec![may(&["deny"], &["read"]), of(&plain)], &["may not issue", "may not revoke"]),
        (request.clone(), vec![may(&["update"], &["update"]), of(&plain)], &["use_csr_common_name", "use_csr_sans"]),
        (request, vec![may(&["update"], &["update"]), of(&fixed)], &["fixed `not_after`"]),
        (role(), vec![may(&["update"], &["update"]), wrong(404, "")], &["there is no role"]),
    ];
    for (role, plays, findings) in cases {
        let peer = Scripted::playing(std::iter::once(looked()).chain(plays)).await;
        let found = vault(peer.http(), token(&ca), role).check(&ca.remote_ca("devices")).await.unwrap();
        assert_eq!(found.len(), findings.len(), "{found:?}");
        assert!(found.iter().zip(findings).all(|(found, finding)| found.contains(finding)), "{found:?}");
        let body = peer.seen()[1].json();
        assert_eq!(body, json!({ "paths": [sign, revoke] }));
    }
    // Nobody has to allow us to look.
    let denied = || wrong(403, "permission denied");
    let peer = Scripted::playing([looked(), denied(), looked(), denied(), denied()]).await;
    assert_eq!(vault(peer.http(), token(&ca), role()).check(&ca.remote_ca("devices")).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_order_is_not_sent_when_a_login_took_its_time() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let slow = granted("s.1", 3600, true).after(Duration::from_millis(400));
    let peer = Scripted::playing([slow, issued(&ca.issue(&order), &ca)]).await;
    let http =
        Http::open(&crate::upstream::http::HttpSettings { timeout: Duration::from_millis(700), ..peer.settings() }, "").unwrap();
    let vault = vault(http, approle(&ca), role());
    let outcome = vault.submit(&remote, &order, &KEY).await;
    assert!(matches!(&outcome, Submission::NotTaken { reason, .. } if reason.contains("no time left")), "{outcome:?}");
    assert!(matches!(vault.submit(&remote, &order, &KEY).await, Submission::Issued { .. }), "the token is there now");
}
