use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;
use crate::crypto::keystore;
use crate::upstream::jose::{JwsSigner, read_key_file};
use crate::upstream::testing::{Play, Scripted, Seen, TestCa};

const KEY: IdempotencyKey = IdempotencyKey([7; 16]);

/// A provisioner with a fresh key, in files of the CA's folder.
fn jwk(ca: &TestCa) -> ProvisionerSettings {
    let key = ca.file("provisioner.key");
    let signer = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    keystore::write_plain_key(&key, &signer.export_pkcs8().unwrap()).unwrap();
    let name = "ravelin".to_owned();
    ProvisionerSettings { name, key, password: None, key_id: None, certificate: None, template_data: Default::default() }
}

fn step(http: Http, provisioner: ProvisionerSettings, keeps_tokens: bool) -> StepCa {
    let provisioners = BTreeMap::from([("devices".to_owned(), provisioner)]);
    StepCa::open(&StepCaSettings { authority: None, keeps_tokens, provisioners }, http, "").unwrap()
}

fn kid(key: &Path) -> String {
    read_key_file(key, None).unwrap().into_jws().unwrap().1
}

/// Header and claims of a token whose signature holds.
fn token(jws: &str, key: &Path) -> (Value, Value) {
    let parts: Vec<&str> = jws.split('.').collect();
    let read = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let signer = JwsSigner::new(read_key_file(key, None).unwrap().signer).unwrap();
    let (r, s) = (&read(parts[2])[..32], &read(parts[2])[32..]);
    let numbers = [r, s].map(crate::x509::tlv::encode_unsigned);
    let signature = crate::x509::tlv::encode(0x30, &numbers);
    let signed = format!("{}.{}", parts[0], parts[1]);
    let algorithm = crate::algorithm::SignatureAlgorithm::EcdsaSha256;
    provider().verifier.verify(algorithm, signer.spki(), signed.as_bytes(), &signature).unwrap();
    (serde_json::from_slice(&read(parts[0])).unwrap(), serde_json::from_slice(&read(parts[1])).unwrap())
}

fn issued(certificate: &Certificate, ca: &TestCa) -> Play {
    let above = ca.certificate.to_pem();
    Play::json(
        201,
        &json!({ "crt": certificate.to_pem(), "ca": above, "certChain": [certificate.to_pem(), above], "tlsOptions": {} }),
    )
}

fn wrong(status: u16, message: &str) -> Play {
    Play::json(status, &json!({ "status": status, "message": message }))
}

const NOT_TRUSTED: &str =
    "The request lacked necessary authorization to be completed. Please see the certificate authority logs for more info.";

/// A step-ca as it treats tokens: each is written down first, and taken once. `broken` is what becomes of answers to `sign`.
struct Double {
    ca: TestCa,
    order: IssuanceOrder,
    used: Mutex<HashSet<String>>,
    /// How the answers to `sign` end, one after the other; then as they should.
    endings: Mutex<Vec<Ending>>,
    issued: Mutex<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Ending {
    /// Signs, and does not say so.
    SignsAndCuts,
    /// Breaks before it reads the token.
    Cuts,
    /// Believes no token, for its clock.
    Distrusts,
    Answers,
}

impl Double {
    async fn start(endings: Vec<Ending>) -> (Arc<Self>, Scripted) {
        let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
        let order = ca.order("devices");
        let double = Self { ca, order, used: Mutex::default(), endings: Mutex::new(endings), issued: Mutex::default() };
        let double = Arc::new(double);
        let shared = Arc::clone(&double);
        let peer = Scripted::answering(move |seen| shared.play(seen)).await;
        (double, peer)
    }

    fn play(&self, seen: &Seen) -> Play {
        let body = seen.json();
        let claims = body["ott"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        let mut endings = self.endings.lock().unwrap();
        let signs = seen.target == "/1.0/sign";
        let ending = match endings.first().copied().unwrap_or(Ending::Answers) {
            // Who is asked to revoke something has the same clock.
            Ending::Distrusts if !signs => Ending::Distrusts,
            _ if !signs => Ending::Answers,
            _ if endings.is_empty() => Ending::Answers,
            _ => endings.remove(0),
        };
        if ending == Ending::Cuts {
            return Play::Cut;
        }
        let fresh = self.used.lock().unwrap().insert(claims["jti"].as_str().unwrap().to_owned());
        if !fresh || ending == Ending::Distrusts {
            return wrong(401, NOT_TRUSTED);
        }
        if !signs {
            assert_ne!(body["serial"], claims["sub"], "it would be revoked");
            return wrong(
                403,
                "The request was forbidden by the certificate authority: request serial number and token subject do not match.",
            );
        }
        *self.issued.lock().unwrap() += 1;
        match ending {
            Ending::SignsAndCuts => Play::Cut,
            _ => issued(&self.ca.issue(&self.order), &self.ca),
        }
    }
}

#[tokio::test]
async fn an_order_is_signed_with_a_token_of_its_own() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    let certificate = ca.issue(&order);
    let peer = Scripted::playing([issued(&certificate, &ca)]).await;
    let provisioner = jwk(&ca);
    let key_file = provisioner.key.clone();
    let step = step(peer.http(), provisioner, true);
    let remote = ca.remote_ca("devices");

    let Submission::Issued { certificate: got, chain } = step.submit(&remote, &order, &KEY).await else { panic!("not issued") };
    assert_eq!(got.der(), certificate.der());
    assert_eq!(chain.len(), 1, "what the CA says is above it");

    let seen = &peer.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/1.0/sign"));
    let body = seen.json();
    let csr = pem::read(body["csr"].as_str().unwrap(), "CERTIFICATE REQUEST").unwrap();
    assert_eq!(csr, std::slice::from_ref(&order.csr));
    assert_eq!(body["notAfter"], order.not_after.to_string());
    assert_eq!(body["templateData"]["ravelin"]["keyUsage"], json!(["digitalSignature"]));
    assert_eq!(body["templateData"]["ravelin"]["extKeyUsage"], json!(["clientAuth"]));
    let (header, claims) = token(body["ott"].as_str().unwrap(), &key_file);
    assert_eq!(header, json!({ "alg": "ES256", "typ": "JWT", "kid": kid(&key_file) }));
    assert_eq!(claims["iss"], "ravelin");
    assert_eq!(claims["sub"], "router-1");
    assert_eq!(claims["sans"], json!(["router-1.example.net"]));
    assert_eq!(claims["aud"], format!("{}/1.0/sign", peer.url()));
    assert_eq!(claims["jti"], KEY.to_string());
    let digest = URL_SAFE_NO_PAD.encode(provider().digester.sha256(&order.csr));
    assert_eq!(claims["cnf"]["x5rt#S256"], digest);
    let [from, issued_at, until] = ["nbf", "iat", "exp"].map(|claim| claims[claim].as_i64().unwrap());
    assert_eq!((issued_at - from, until - issued_at), (60, 300));
}

#[tokio::test]
async fn an_x5c_provisioner_shows_its_certificate() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let mut order = ca.order("devices");
    let identity = ca.identity(KeyAlgorithm::EcdsaP256, &[]);
    let leaf = Certificate::from_pem(&std::fs::read_to_string(&identity.certificate).unwrap()).unwrap();
    order.not_after = leaf.not_after() + jiff::SignedDuration::from_hours(1);
    let peer = Scripted::playing([issued(&ca.issue(&order), &ca)]).await;
    let settings = ProvisionerSettings { key: identity.key.clone(), certificate: Some(identity.certificate), ..jwk(&ca) };
    let step = step(peer.http(), settings, true);
    assert!(matches!(step.submit(&ca.remote_ca("devices"), &order, &KEY).await, Submission::Issued { .. }));
    let body = peer.seen()[0].json();
    let (header, claims) = token(body["ott"].as_str().unwrap(), &identity.key);
    assert_eq!(header["x5c"][0], STANDARD.encode(leaf.der()));
    assert_eq!(header["kid"], Value::Null);
    assert_eq!(claims["aud"], format!("{}/1.0/sign#x5c/ravelin", peer.url()));
    assert_eq!(body["notAfter"], leaf.not_after().to_string(), "no longer than the certificate that vouches for it");
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_not_shown() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let now = jiff::Timestamp::now();
    let hour = jiff::SignedDuration::from_hours(1);
    let identity = ca.identity_for(KeyAlgorithm::EcdsaP256, &[], (now - hour * 2, now - hour));
    let peer = Scripted::playing([]).await;
    let settings = ProvisionerSettings { key: identity.key, certificate: Some(identity.certificate), ..jwk(&ca) };
    let step = step(peer.http(), settings, true);
    let outcome = step.submit(&ca.remote_ca("devices"), &ca.order("devices"), &KEY).await;
    assert!(matches!(&outcome, Submission::NotTaken { reason, .. } if reason.contains("is valid")), "{outcome:?}");
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn what_step_ca_says_no_to_is_refused() {
    let (double, peer) = Double::start(vec![]).await;
    let ca = double.ca.remote_ca("devices");
    let refusing =
        Scripted::playing([wrong(403, "The request was forbidden by the certificate authority: dns name not allowed.")]).await;
    let step_refusing = step(refusing.http(), jwk(&double.ca), true);
    let outcome = step_refusing.submit(&ca, &double.order, &KEY).await;
    let Submission::Rejected { reason } = outcome else { panic!("{outcome:?}") };
    assert!(reason.ends_with("dns name not allowed."), "{reason}");

    // A name is needed.
    let mut nameless = double.order.clone();
    nameless.subject = DistinguishedName::default().der().to_vec();
    nameless.subject_alt_names = Vec::new();
    let outcome = step(peer.http(), jwk(&double.ca), true).submit(&ca, &nameless, &KEY).await;
    assert!(matches!(&outcome, Submission::Rejected { reason } if reason.contains("needs a common name")), "{outcome:?}");
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn failures_say_whether_it_may_have_issued() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let other = ca.issue(&ca.order("devices"));
    let plays = [
        Play::Cut,
        wrong(500, "The certificate authority encountered an Internal Server Error."),
        Play::body(201, "application/json", "{\"crt\":"),
        issued(&other, &ca),
        issued(&other, &ca).cut_in_body(100),
    ];
    for play in plays {
        let text = format!("{play:?}");
        let peer = Scripted::playing([play]).await;
        let outcome = step(peer.http(), jwk(&ca), true).submit(&remote, &order, &KEY).await;
        assert!(matches!(outcome, Submission::Unknown { .. }), "{text}: {outcome:?}");
    }
    for status in [429, 503] {
        let peer = Scripted::playing([wrong(status, "later").header("Retry-After", "7")]).await;
        let outcome = step(peer.http(), jwk(&ca), true).submit(&remote, &order, &KEY).await;
        let seven = Some(Duration::from_secs(7));
        assert!(matches!(&outcome, Submission::NotTaken { retry_after, .. } if *retry_after == seven), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_not_issued_again() {
    let (double, peer) = Double::start(vec![Ending::SignsAndCuts]).await;
    let ca = double.ca.remote_ca("devices");
    let step = step(peer.http(), jwk(&double.ca), true);
    assert!(matches!(step.submit(&ca, &double.order, &KEY).await, Submission::Unknown { .. }));
    for _ in 0..2 {
        let outcome = step.find(&ca, &double.order, &KEY).await;
        let Submission::Lost { reason } = &outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("received the order") && reason.contains(&KEY.to_string()), "{reason}");
    }
    assert_eq!(*double.issued.lock().unwrap(), 1);
}

#[tokio::test]
async fn an_order_that_was_lost_is_issued_once() {
    let (double, peer) = Double::start(vec![Ending::Cuts]).await;
    let ca = double.ca.remote_ca("devices");
    let step = step(peer.http(), jwk(&double.ca), true);
    assert!(matches!(step.submit(&ca, &double.order, &KEY).await, Submission::Unknown { .. }));
    assert!(matches!(step.find(&ca, &double.order, &KEY).await, Submission::Issued { .. }));
    assert!(matches!(step.find(&ca, &double.order, &KEY).await, Submission::Lost { .. }));
    assert_eq!(*double.issued.lock().unwrap(), 1);
}

#[tokio::test]
async fn without_a_database_nothing_is_sent_again() {
    let (double, peer) = Double::start(vec![Ending::Cuts]).await;
    let ca = double.ca.remote_ca("devices");
    let step = step(peer.http(), jwk(&double.ca), false);
    assert!(!step.abilities(&ca).can_find_again);
    assert!(matches!(step.submit(&ca, &double.order, &KEY).await, Submission::Unknown { .. }));
    assert!(matches!(step.find(&ca, &double.order, &KEY).await, Submission::Unknown { .. }));
    assert_eq!(peer.seen().len(), 1);
}

#[tokio::test]
async fn tokens_are_not_used_up_while_none_is_believed() {
    let (double, peer) = Double::start(vec![Ending::Distrusts; 2]).await;
    let ca = double.ca.remote_ca("devices");
    let step = step(peer.http(), jwk(&double.ca), true);
    // The first one is lost to it. The second one is not even sent, for the probe says how it would end.
    let (first, second) = (KEY, IdempotencyKey([8; 16]));
    for key in [first, second] {
        let outcome = step.submit(&ca, &double.order, &key).await;
        assert!(
            matches!(&outcome, Submission::NotTaken { reason, .. } if reason.contains("takes no token of ours")),
            "{outcome:?}"
        );
    }
    let signs = peer.seen().iter().filter(|seen| seen.target == "/1.0/sign").count();
    assert_eq!(signs, 1);
    // The clock is right again: the second one goes through, and the first one by another token, for its own is used up.
    double.endings.lock().unwrap().clear();
    assert!(matches!(step.submit(&ca, &double.order, &second).await, Submission::Issued { .. }));
    let reference = waits(step.submit(&ca, &double.order, &first).await);
    assert_eq!(reference, format!("{first}.1"));
    assert_eq!(*double.issued.lock().unwrap(), 1);
    assert!(matches!(step.poll(&ca, &double.order, &reference).await, Submission::Issued { .. }));
    assert!(matches!(step.poll(&ca, &double.order, &reference).await, Submission::Lost { .. }));
    assert_eq!(*double.issued.lock().unwrap(), 2);
}

fn waits(submission: Submission) -> String {
    match submission {
        Submission::Waiting { reference, .. } => reference,
        other => panic!("{other:?}"),
    }
}

/// Whatever happens to the second token of an order, it is the only one that is sent from then on.
#[tokio::test]
async fn a_second_token_is_good_once_too() {
    for (ending, issued) in [(Ending::Cuts, true), (Ending::SignsAndCuts, false)] {
        let (double, peer) = Double::start(vec![Ending::Answers, ending]).await;
        let ca = double.ca.remote_ca("devices");
        let step = step(peer.http(), jwk(&double.ca), true);
        // By a clock that was wrong for a moment.
        double.used.lock().unwrap().insert(KEY.to_string());
        let reference = waits(step.submit(&ca, &double.order, &KEY).await);
        assert!(matches!(step.poll(&ca, &double.order, &reference).await, Submission::NotTaken { .. }), "and waits on");
        let outcome = step.poll(&ca, &double.order, &reference).await;
        match issued {
            true => assert!(matches!(outcome, Submission::Issued { .. }), "{outcome:?}"),
            false => assert!(matches!(outcome, Submission::Lost { .. }), "{outcome:?}"),
        }
        assert_eq!(*double.issued.lock().unwrap(), 1);
    }
}

/// Where step-ca forgets its tokens, each has a name of its own: none is ever sent again.
#[tokio::test]
async fn without_a_database_a_refused_token_stands_in_nobodys_way() {
    let (double, peer) = Double::start(vec![Ending::Distrusts]).await;
    let ca = double.ca.remote_ca("devices");
    let step = step(peer.http(), jwk(&double.ca), false);
    assert!(matches!(step.submit(&ca, &double.order, &KEY).await, Submission::NotTaken { .. }));
    assert!(matches!(step.submit(&ca, &double.order, &KEY).await, Submission::Issued { .. }));
    assert_eq!(*double.issued.lock().unwrap(), 1);
}

/// What stands before step-ca refuses in its own words: nothing was taken, and no device is at fault.
#[tokio::test]
async fn a_refusal_by_somebody_else_is_none() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    for status in [400, 403, 404, 413] {
        let peer = Scripted::playing([Play::body(status, "text/html", "<h1>Blocked</h1>")]).await;
        let outcome = step(peer.http(), jwk(&ca), true).submit(&remote, &order, &KEY).await;
        assert!(matches!(&outcome, Submission::NotTaken { reason, .. } if reason.contains("Blocked")), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_outcome_stays_open_while_nothing_can_be_found_out() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let plays = [
        Play::Cut,
        wrong(500, "no"),
        wrong(503, "no"),
        Play::body(403, "text/html", "<h1>Blocked</h1>"),
        Play::body(404, "text/html", "?"),
    ];
    for play in plays {
        let text = format!("{play:?}");
        let peer = Scripted::playing([play]).await;
        let outcome = step(peer.http(), jwk(&ca), true).find(&remote, &order, &KEY).await;
        assert!(matches!(outcome, Submission::Unknown { .. }), "{text}: {outcome:?}");
    }
    // What step-ca itself refuses, with the token taken, had not been received before.
    let peer = Scripted::playing([wrong(403, "The request was forbidden by the certificate authority: no.")]).await;
    let outcome = step(peer.http(), jwk(&ca), true).find(&remote, &order, &KEY).await;
    assert!(matches!(outcome, Submission::Rejected { .. }), "{outcome:?}");
}

#[tokio::test]
async fn certificates_are_revoked_by_number() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let certificate = ca.issue(&ca.order("devices"));
    let revoked = wrong(400, "The request could not be completed: certificate with serial number '1' is already revoked.");
    let peer = Scripted::playing([Play::json(200, &json!({ "status": "ok" })), revoked, wrong(401, NOT_TRUSTED)]).await;
    let provisioner = jwk(&ca);
    let key_file = provisioner.key.clone();
    let (step, remote) = (step(peer.http(), provisioner, true), ca.remote_ca("devices"));
    let reason = RevocationReason::KeyCompromise;
    step.revoke(&remote, &certificate, reason).await.unwrap();
    step.revoke(&remote, &certificate, reason).await.unwrap();
    assert!(step.revoke(&remote, &certificate, reason).await.is_err());
    let body = peer.seen()[0].json();
    assert_eq!(body["serial"], wire::decimal(certificate.serial()));
    assert_eq!((&body["reasonCode"], &body["passive"]), (&json!(1), &json!(true)));
    let (_, claims) = token(body["ott"].as_str().unwrap(), &key_file);
    assert_eq!(claims["sub"], body["serial"]);
    assert_eq!(claims["aud"], format!("{}/1.0/revoke", peer.url()));
    let jti = |seen: &Seen| token(seen.json()["ott"].as_str().unwrap(), &key_file).1["jti"].clone();
    assert_ne!(jti(&peer.seen()[0]), jti(&peer.seen()[1]));
}

#[tokio::test]
async fn its_certificates_and_its_crl_are_fetched() {
    let root = TestCa::new(KeyAlgorithm::EcdsaP256);
    let ca = root.below(KeyAlgorithm::EcdsaP256);
    let crts = |one: &TestCa| Play::json(201, &json!({ "crts": [one.certificate.to_pem()] }));
    let plays = [
        crts(&ca),
        crts(&root),
        wrong(404, "The requested resource could not be found."),
        Play::body(200, "application/pkix-crl", b"crl".to_vec()),
        wrong(404, "no CRL available"),
    ];
    let peer = Scripted::playing(plays).await;
    let (step, remote) = (step(peer.http(), jwk(&ca), true), ca.remote_ca("devices"));
    let told = step.certificates(&remote).await.unwrap();
    assert_eq!(told.iter().map(|one| one.der()).collect::<Vec<_>>(), [ca.certificate.der(), root.certificate.der()]);
    assert!(step.certificates(&remote).await.unwrap().is_empty(), "an old one tells roots only, which say nothing");
    assert_eq!(step.crl(&remote).await.unwrap().unwrap(), b"crl");
    assert_eq!(step.crl(&remote).await.unwrap(), None);
    let targets: Vec<_> = peer.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(targets, ["/1.0/intermediates", "/1.0/roots", "/1.0/intermediates", "/1.0/crl", "/1.0/crl"]);
}

#[tokio::test]
async fn the_provisioner_is_looked_at() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let provisioner = jwk(&ca);
    let kid = kid(&provisioner.key);
    let page =
        |provisioners: Value, cursor: &str| Play::json(200, &json!({ "provisioners": provisioners, "nextCursor": cursor }));
    let listed = |kind: &str, name: &str, kid: &str| json!([{ "type": kind, "name": name, "key": { "kid": kid }, "claims": {} }]);
    let taken = || wrong(403, "The request was forbidden by the certificate authority: x.");
    let cases: Vec<(Vec<Play>, Option<&str>)> = vec![
        (vec![page(listed("JWK", "other", "x"), "next1"), page(listed("JWK", "ravelin", &kid), ""), taken()], None),
        (vec![page(listed("JWK", "other", "x"), "")], Some("has no provisioner \"ravelin\"")),
        (vec![page(listed("X5C", "ravelin", ""), "")], Some("is of the type X5C, configured is JWK")),
        (vec![page(listed("JWK", "ravelin", "another"), "")], Some("has the key \"another\"")),
        (vec![page(listed("JWK", "ravelin", &kid), ""), wrong(401, NOT_TRUSTED)], Some("takes no token of ours")),
    ];
    for (plays, finding) in cases {
        let peer = Scripted::playing(plays).await;
        let step = step(peer.http(), provisioner.clone(), true);
        let findings = step.check(&ca.remote_ca("devices")).await.unwrap();
        match finding {
            None => assert_eq!((findings, peer.seen()[1].target.as_str()), (vec![], "/1.0/provisioners?limit=100&cursor=next1")),
            Some(finding) => assert!(findings.len() == 1 && findings[0].contains(finding), "{finding}: {findings:?}"),
        }
    }
}

#[test]
fn keys_and_certificates_have_to_go_together() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let identity = ca.identity(KeyAlgorithm::EcdsaP256, &[]);
    let settings = ProvisionerSettings { certificate: Some(identity.certificate), ..jwk(&ca) };
    let error = Provisioner::open(&settings, "").err().unwrap().to_string();
    assert!(error.contains("is not for the key in"), "{error}");
    let missing = ProvisionerSettings { key: PathBuf::from("/nowhere/key"), ..jwk(&ca) };
    assert!(Provisioner::open(&missing, "").err().unwrap().to_string().starts_with("/nowhere/key: "));
}
