//! The connector against an ACME server that is made by hand: it checks every signature, nonce and binding.

use std::collections::HashSet;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::provider;
use crate::upstream::testing::{Play, Scripted, Seen, TestCa};
use crate::x509::tlv::{encode as encode_der, encode_unsigned, tag};
use crate::x509::{VerifiedCsr, extension};

const KEY: IdempotencyKey = IdempotencyKey([9; 16]);
const KID: &str = "kid-1";
const SECRET: &[u8] = b"a secret that both know, of 32 o";

/// An ACME server.
struct Server {
    ca: TestCa,
    nonces: HashSet<String>,
    /// SubjectPublicKeyInfo of the accounts.
    accounts: Vec<Vec<u8>>,
    orders: Vec<OrderAtCa>,
    issued: usize,
    revoked: usize,
    /// What it is like.
    mood: Mood,
    seen: Vec<String>,
}

#[derive(Clone, Copy, Default)]
struct Mood {
    /// It wants names proven, and does not look.
    wants_proof: bool,
    /// It takes so many questions to issue.
    slow: u32,
    /// It issues, and the answer to `finalize` is lost.
    loses_finalize: bool,
    /// It makes an account, and the answer is lost.
    loses_account: bool,
    /// It refuses this many nonces.
    refuses_nonces: u32,
    /// It refuses CSRs.
    refuses_csr: bool,
    /// It gives the order that is open for the same names.
    reuses_orders: bool,
    /// Another order has met the challenge meanwhile.
    is_quicker: bool,
    /// It answers so to all that an account signs.
    says: Option<(u16, &'static str)>,
}

struct OrderAtCa {
    wanted: Value,
    proven: bool,
    questions: u32,
    certificate: Option<Certificate>,
}

fn unbase64(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

fn spki_of(jwk: &Value) -> Vec<u8> {
    assert_eq!((&jwk["kty"], &jwk["crv"]), (&json!("EC"), &json!("P-256")));
    let mut der = hex::decode("3059301306072a8648ce3d020106082a8648ce3d03010703420004").unwrap();
    der.extend([unbase64(&jwk["x"]), unbase64(&jwk["y"])].concat());
    der
}

fn problem(status: u16, kind: &str) -> Play {
    let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "because", "status": status });
    Play::body(status, "application/problem+json", body.to_string())
}

impl Server {
    fn new(mood: Mood) -> Arc<Mutex<Self>> {
        let (nonces, accounts, orders, seen) = Default::default();
        let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
        Arc::new(Mutex::new(Self { ca, nonces, accounts, orders, issued: 0, revoked: 0, mood, seen }))
    }

    fn nonce(&mut self) -> String {
        let nonce = hex::encode(provider().random::<8>());
        self.nonces.insert(nonce.clone());
        nonce
    }

    fn play(&mut self, seen: &Seen) -> Play {
        let base = format!("http://{}", seen.header("host"));
        self.seen.push(format!("{} {}", seen.method, seen.target));
        let play = match (seen.method.as_str(), seen.target.as_str()) {
            ("GET", "/dir") => {
                let meta = json!({ "externalAccountRequired": true, "profiles": { "short": "six days" } });
                let url = |path: &str| format!("{base}/{path}");
                return Play::json(
                    200,
                    &json!({
                        "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"), "revokeCert": url("revoke"),
                        "meta": meta,
                    }),
                );
            }
            ("HEAD", "/nonce") => Play::status(200),
            ("POST", _) => self.signed(seen, &base),
            other => panic!("{other:?}"),
        };
        let nonce = self.nonce();
        match play {
            Play::Cut => Play::Cut,
            play => play.header("Replay-Nonce", nonce),
        }
    }

    fn signed(&mut self, seen: &Seen, base: &str) -> Play {
        assert_eq!(seen.header("content-type"), "application/jose+json");
        let jws = seen.json();
        let header: Value = serde_json::from_slice(&unbase64(&jws["protected"])).unwrap();
        assert_eq!((&header["alg"], &header["url"]), (&json!("ES256"), &json!(format!("{base}{}", seen.target))));
        let nonce = header["nonce"].as_str().unwrap();
        if !self.nonces.remove(nonce) || self.mood.refuses_nonces > 0 {
            self.mood.refuses_nonces -= 1;
            return problem(400, "badNonce");
        }
        let spki = match &header["jwk"] {
            Value::Null => {
                let id: usize = header["kid"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
                match self.accounts.get(id) {
                    Some(spki) => spki.clone(),
                    None => return problem(400, "accountDoesNotExist"),
                }
            }
            jwk => spki_of(jwk),
        };
        if let (Some((status, kind)), Value::Null) = (self.mood.says, &header["jwk"]) {
            return problem(status, kind);
        }
        let signed = format!("{}.{}", jws["protected"].as_str().unwrap(), jws["payload"].as_str().unwrap());
        let signature = unbase64(&jws["signature"]);
        let numbers = [encode_unsigned(&signature[..32]), encode_unsigned(&signature[32..])];
        let signature = encode_der(tag::SEQUENCE, &numbers);
        provider().verifier.verify(SignatureAlgorithm::EcdsaSha256, &spki, signed.as_bytes(), &signature).unwrap();
        let payload = unbase64(&jws["payload"]);
        let payload: Value = if payload.is_empty() { Value::Null } else { serde_json::from_slice(&payload).unwrap() };
        let parts: Vec<&str> = seen.target.split('/').skip(1).collect();
        let number = || parts[1].parse::<usize>().unwrap();
        match parts[0] {
            "account" => self.account(&spki, &header, &payload, base),
            "order" if parts.len() == 1 => {
                let names = payload["identifiers"].as_array().unwrap();
                if names.iter().any(|name| name["value"] == "blocked.example.net") {
                    return problem(400, "rejectedIdentifier");
                }
                let (proven, wanted) = (!self.mood.wants_proof, payload);
                let open =
                    |order: &OrderAtCa| order.certificate.is_none() && order.wanted["identifiers"] == wanted["identifiers"];
                let reused = self.orders.iter().position(open).filter(|_| self.mood.reuses_orders);
                if reused.is_none() {
                    self.orders.push(OrderAtCa { wanted, proven, questions: 0, certificate: None });
                }
                let number = reused.unwrap_or(self.orders.len() - 1);
                self.tell(number, base, 201).header("Location", format!("{base}/order/{number}"))
            }
            "order" if number() >= self.orders.len() => problem(404, "malformed"),
            "order" => {
                assert_eq!(payload, Value::Null);
                self.orders[number()].questions += 1;
                self.tell(number(), base, 200)
            }
            "authz" => {
                let status = if self.orders[number()].proven { "valid" } else { "pending" };
                let challenge = |kind: &str| json!({ "type": kind, "url": format!("{base}/challenge/{}/{kind}", number()), "status": status });
                Play::json(
                    200,
                    &json!({
                        "status": status, "identifier": { "type": "dns", "value": "router-1.example.net" },
                        "challenges": [challenge("dns-01"), challenge("http-01")],
                    }),
                )
            }
            "challenge" => {
                assert_eq!((parts[2], &payload), ("http-01", &json!({})));
                if self.mood.is_quicker || !self.mood.wants_proof {
                    self.orders[number()].proven = self.mood.is_quicker;
                    return problem(400, "malformed");
                }
                self.orders[number()].proven = true;
                Play::json(200, &json!({ "type": "http-01", "url": "", "status": "processing" }))
            }
            "finalize" => self.finalize(number(), &payload, base),
            "certificate" => {
                let pem = self.orders[number()].certificate.as_ref().unwrap().to_pem() + &self.ca.certificate.to_pem();
                Play::body(200, "application/pem-certificate-chain", pem)
            }
            "revoke" => {
                let certificate = Certificate::from_der(&unbase64(&payload["certificate"])).unwrap();
                certificate.verify_signed_by(self.ca.certificate.spki()).unwrap();
                assert_eq!(payload["reason"], 4);
                self.revoked += 1;
                if self.revoked == 1 { Play::status(200) } else { problem(400, "alreadyRevoked") }
            }
            other => panic!("{other}"),
        }
    }

    fn account(&mut self, spki: &[u8], header: &Value, payload: &Value, base: &str) -> Play {
        let known = self.accounts.iter().position(|known| known == spki);
        let id = match known {
            Some(id) => id,
            None if payload["onlyReturnExisting"] == true => return problem(400, "accountDoesNotExist"),
            None => {
                let binding = &payload["externalAccountBinding"];
                let inner: Value = serde_json::from_slice(&unbase64(&binding["protected"])).unwrap();
                assert_eq!(inner, json!({ "alg": "HS256", "kid": KID, "url": header["url"] }));
                let jwk: Value = serde_json::from_slice(&unbase64(&binding["payload"])).unwrap();
                assert_eq!(jwk, header["jwk"]);
                let signed = format!("{}.{}", binding["protected"].as_str().unwrap(), binding["payload"].as_str().unwrap());
                assert_eq!(unbase64(&binding["signature"]), provider().digester.hmac_sha256(SECRET, signed.as_bytes()));
                assert_eq!(payload["contact"], json!(["mailto:pki@example.net"]));
                self.accounts.push(spki.to_vec());
                if self.mood.loses_account {
                    return Play::Cut;
                }
                self.accounts.len() - 1
            }
        };
        Play::json(if known.is_some() { 200 } else { 201 }, &json!({ "status": "valid" }))
            .header("Location", format!("{base}/account/{id}"))
    }

    fn tell(&mut self, number: usize, base: &str, status: u16) -> Play {
        let (slow, order) = (self.mood.slow, &self.orders[number]);
        let state = match (&order.certificate, order.proven) {
            (Some(_), _) if order.questions > slow => "valid",
            (Some(_), _) => "processing",
            (None, true) => "ready",
            (None, false) => "pending",
        };
        let mut told = json!({
            "status": state, "authorizations": [format!("{base}/authz/{number}")], "finalize": format!("{base}/finalize/{number}"),
        });
        if state == "valid" {
            told["certificate"] = format!("{base}/certificate/{number}").into();
        }
        let play = Play::json(status, &told);
        if state == "processing" { play.header("Retry-After", "7") } else { play }
    }

    fn finalize(&mut self, number: usize, payload: &Value, base: &str) -> Play {
        if self.orders[number].certificate.is_some() {
            return problem(403, "orderNotReady");
        }
        if self.mood.refuses_csr {
            return problem(400, "badCSR");
        }
        let csr = VerifiedCsr::from_der(&unbase64(&payload["csr"])).unwrap();
        let value = extension::subject_alt_names(csr.subject_alt_names()).unwrap();
        let names = crate::x509::Extension { oid: extension::oid::SUBJECT_ALT_NAME, critical: false, value };
        let validity = (Timestamp::now(), Timestamp::now() + jiff::SignedDuration::from_hours(1));
        let certificate = self.ca.certify(csr.subject().clone(), csr.spki(), validity, vec![names]);
        self.orders[number].certificate = Some(certificate);
        self.issued += 1;
        if self.mood.loses_finalize { Play::Cut } else { self.tell(number, base, 200) }
    }
}

async fn serve(server: &Arc<Mutex<Server>>) -> Scripted {
    let server = Arc::clone(server);
    Scripted::answering(move |seen| server.lock().unwrap().play(seen)).await
}

/// The same account each time: a restart.
fn client(server: &Arc<Mutex<Server>>, peer: &Scripted, change: impl FnOnce(&mut AcmeSettings)) -> Acme {
    let server = server.lock().unwrap();
    let secret = server.ca.file("eab");
    std::fs::write(&secret, encode(SECRET)).unwrap();
    let mut settings = AcmeSettings {
        account_key: server.ca.file("made/on/the/way/account.pem"),
        binding: Some((KID.into(), SecretSource::File(secret))),
        contact: vec!["mailto:pki@example.net".into()],
        challenges: Challenges::Refuse,
        dates: false,
        profiles: BTreeMap::new(),
    };
    change(&mut settings);
    let http = crate::upstream::http::HttpSettings { url: format!("{}/dir", peer.url()), ..peer.settings() };
    Acme::open(&settings, "opensesame", Http::open(&http, "").unwrap()).unwrap()
}

fn order_of(server: &Arc<Mutex<Server>>) -> (RemoteCa, IssuanceOrder) {
    let server = server.lock().unwrap();
    (server.ca.remote_ca("devices"), server.ca.order("devices"))
}

/// Submits, and gives the address of the order.
async fn submitted(acme: &Acme, ca: &RemoteCa, order: &IssuanceOrder) -> String {
    match acme.submit(ca, order, &KEY).await {
        Submission::Waiting { reference, retry_after: Duration::ZERO } => reference,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_account_is_bound_and_an_order_is_issued_and_revoked() {
    let server = Server::new(Mood::default());
    let peer = serve(&server).await;
    let (ca, order) = order_of(&server);
    let acme = client(&server, &peer, |settings| {
        settings.dates = true;
        settings.profiles.insert("devices".into(), Some("short".into()));
    });
    let reference = submitted(&acme, &ca, &order).await;
    assert_eq!(server.lock().unwrap().issued, 0, "nothing is issued before the address of the order is known");
    let Submission::Issued { certificate, chain } = acme.poll(&ca, &order, &reference).await else { panic!() };
    assert_eq!((certificate.spki(), chain.len()), (order.spki.as_slice(), 1));
    {
        let server = server.lock().unwrap();
        let wanted = &server.orders[0].wanted;
        assert_eq!(wanted["identifiers"], json!([{ "type": "dns", "value": "router-1.example.net" }]));
        assert_eq!((&wanted["profile"], &wanted["notAfter"]), (&json!("short"), &json!(rfc3339(order.not_after))));
    }
    // It says so again, however often it is asked.
    assert!(matches!(acme.poll(&ca, &order, &reference).await, Submission::Issued { .. }));
    assert_eq!(server.lock().unwrap().issued, 1);
    for _ in 0..2 {
        acme.revoke(&ca, &certificate, RevocationReason::Superseded).await.unwrap();
    }
    assert_eq!(acme.check(&ca).await.unwrap(), Vec::<String>::new());
    assert_eq!(acme.certificates(&ca).await.unwrap().len(), 0);

    // The same key is the same account after a restart, and nobody else reads it.
    let file = server.lock().unwrap().ca.file("made/on/the/way/account.pem");
    assert!(std::fs::read_to_string(&file).unwrap().contains("ENCRYPTED"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    submitted(&client(&server, &peer, |_| ()), &ca, &order).await;
    assert_eq!(server.lock().unwrap().accounts.len(), 1);

    let acme = client(&server, &peer, |settings| {
        settings.binding = None;
        settings.profiles.insert("devices".into(), Some("shrt".into()));
    });
    let wrong = acme.check(&ca).await.unwrap();
    assert_eq!(wrong.len(), 2);
    assert!(wrong[0].contains("\"shrt\"; it has short") && wrong[1].contains("eab-kid"), "{wrong:?}");
    assert!(!format!("{:?}", client(&server, &peer, |_| ()).client.is_bound()).contains("secret"));
}

#[tokio::test]
async fn lost_answers_are_found_and_nothing_is_issued_twice() {
    // The answer to `finalize`.
    let server = Server::new(Mood { loses_finalize: true, ..Mood::default() });
    let peer = serve(&server).await;
    let (ca, order) = order_of(&server);
    let acme = client(&server, &peer, |_| ());
    let reference = submitted(&acme, &ca, &order).await;
    assert!(matches!(acme.poll(&ca, &order, &reference).await, Submission::NotTaken { .. }));
    assert!(matches!(client(&server, &peer, |_| ()).poll(&ca, &order, &reference).await, Submission::Issued { .. }));
    assert_eq!(server.lock().unwrap().issued, 1);

    // The answer that names the account: its secret may be good only once.
    let server = Server::new(Mood { loses_account: true, ..Mood::default() });
    let peer = serve(&server).await;
    let (ca, order) = order_of(&server);
    assert!(matches!(client(&server, &peer, |_| ()).submit(&ca, &order, &KEY).await, Submission::NotTaken { .. }));
    submitted(&client(&server, &peer, |_| ()), &ca, &order).await;
    assert_eq!(server.lock().unwrap().accounts.len(), 1);
}

#[tokio::test]
async fn a_slow_ca_is_polled_when_it_says() {
    let server = Server::new(Mood { slow: 2, ..Mood::default() });
    let peer = serve(&server).await;
    let (ca, order) = order_of(&server);
    let acme = client(&server, &peer, |_| ());
    let reference = submitted(&acme, &ca, &order).await;
    for _ in 0..2 {
        let Submission::Waiting { retry_after, .. } = acme.poll(&ca, &order, &reference).await else { panic!() };
        assert_eq!(retry_after, Duration::from_secs(7));
    }
    assert!(matches!(acme.poll(&ca, &order, &reference).await, Submission::Issued { .. }));
    assert_eq!(server.lock().unwrap().issued, 1);
}

#[tokio::test]
async fn names_that_have_to_be_proven_are_refused_or_assumed() {
    let server = Server::new(Mood { wants_proof: true, ..Mood::default() });
    let peer = serve(&server).await;
    let (ca, order) = order_of(&server);
    let acme = client(&server, &peer, |_| ());
    let reference = submitted(&acme, &ca, &order).await;
    let Submission::Rejected { reason } = acme.poll(&ca, &order, &reference).await else { panic!() };
    assert!(reason.contains("wants proof that \"router-1.example.net\""), "{reason}");
    let acme = client(&server, &peer, |settings| settings.challenges = Challenges::AssumeValid);
    assert!(matches!(acme.poll(&ca, &order, &reference).await, Submission::Issued { .. }));
}

#[tokio::test]
async fn a_challenge_that_another_order_met_is_met() {
    let server = Server::new(Mood { wants_proof: true, is_quicker: true, ..Mood::default() });
    let peer = serve(&server).await;
    let (ca, order) = order_of(&server);
    let acme = client(&server, &peer, |settings| settings.challenges = Challenges::AssumeValid);
    let reference = submitted(&acme, &ca, &order).await;
    let found = acme.poll(&ca, &order, &reference).await;
    assert!(matches!(found, Submission::Issued { .. }), "{found:?}");

    // One that is refused and not met is a refusal.
    let reference = submitted(&acme, &ca, &order).await;
    server.lock().unwrap().mood = Mood::default();
    let found = acme.poll(&ca, &order, &reference).await;
    assert!(matches!(found, Submission::Rejected { .. }), "{found:?}");
}

#[tokio::test]
async fn an_order_that_another_request_finalized_is_for_people_to_look_at() {
    let server = Server::new(Mood { reuses_orders: true, ..Mood::default() });
    let peer = serve(&server).await;
    let (ca, first) = order_of(&server);
    let (_, second) = order_of(&server);
    let acme = client(&server, &peer, |_| ());
    let reference = submitted(&acme, &ca, &first).await;
    assert_eq!(submitted(&acme, &ca, &second).await, reference, "both have the same names");
    assert!(matches!(acme.poll(&ca, &first, &reference).await, Submission::Issued { .. }));
    let Submission::Lost { reason } = acme.poll(&ca, &second, &reference).await else { panic!("it is asked without end") };
    assert!(reason.contains("for another key"), "{reason}");
    // It is another order when it is asked for once more.
    let reference = submitted(&acme, &ca, &second).await;
    assert!(matches!(acme.poll(&ca, &second, &reference).await, Submission::Issued { .. }));
    assert_eq!(server.lock().unwrap().issued, 2);
}

#[tokio::test]
async fn an_account_that_may_nothing_refuses_no_device() {
    let server = Server::new(Mood::default());
    let peer = serve(&server).await;
    let (ca, order) = order_of(&server);
    let acme = client(&server, &peer, |_| ());
    let reference = submitted(&acme, &ca, &order).await;
    let mood = |says| server.lock().unwrap().mood.says = Some(says);
    for says in [(401, "unauthorized"), (408, "timeout")] {
        mood(says);
        let found = acme.submit(&ca, &order, &KEY).await;
        assert!(matches!(found, Submission::NotTaken { .. }), "{says:?}: {found:?}");
        let found = acme.poll(&ca, &order, &reference).await;
        assert!(matches!(found, Submission::NotTaken { .. }), "{says:?}: {found:?}");
    }
    mood((403, "unauthorized"));
    assert!(matches!(acme.submit(&ca, &order, &KEY).await, Submission::Rejected { .. }));
    server.lock().unwrap().mood.says = None;
    assert!(matches!(acme.poll(&ca, &order, &reference).await, Submission::Issued { .. }));
}

#[tokio::test]
async fn a_key_that_another_node_made_is_taken_and_one_that_cannot_be_seen_is_not_replaced() {
    let server = Server::new(Mood::default());
    let peer = serve(&server).await;
    let (ca, order) = order_of(&server);
    let key = server.lock().unwrap().ca.file("made/on/the/way/account.pem");
    // Both find none, and one of them is quicker.
    let acme = [0, 1].map(|_| client(&server, &peer, |_| ()));
    let (one, other) = tokio::join!(acme[0].submit(&ca, &order, &KEY), acme[1].submit(&ca, &order, &KEY));
    assert!([one, other].iter().all(|found| matches!(found, Submission::Waiting { .. })));
    assert_eq!(server.lock().unwrap().accounts.len(), 1);
    let names = std::fs::read_dir(key.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["account.pem"]);

    // Where nobody can tell whether there is one.
    let circle = key.with_file_name("circle.pem");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    let hidden = client(&server, &peer, |settings| settings.account_key = circle.clone());
    assert!(matches!(hidden.submit(&ca, &order, &KEY).await, Submission::NotTaken { .. }));
    assert_eq!(server.lock().unwrap().accounts.len(), 1);
    assert!(circle.is_symlink());
}

#[tokio::test]
async fn what_is_refused_and_what_is_tried_again() {
    let server = Server::new(Mood { refuses_nonces: 3, ..Mood::default() });
    let peer = serve(&server).await;
    let (ca, mut order) = order_of(&server);
    let acme = client(&server, &peer, |_| ());
    let reference = submitted(&acme, &ca, &order).await;

    // Names that ACME does not have, or the CA does not give.
    for (names, why) in [
        (vec![], "has no subject alternative name"),
        (vec![SubjectAltName::Uri("tag:x".into())], "the order has uri:tag:x"),
        (vec![SubjectAltName::Dns("blocked.example.net".into())], "rejectedIdentifier: because"),
    ] {
        let value = if names.is_empty() { Vec::new() } else { extension::subject_alt_names(&names).unwrap() };
        let other = IssuanceOrder { subject_alt_names: value, ..order.clone() };
        let Submission::Rejected { reason } = acme.submit(&ca, &other, &KEY).await else { panic!() };
        assert!(reason.contains(why), "{reason}");
    }
    order.subject_alt_names = extension::subject_alt_names(&[SubjectAltName::Ip([10, 0, 0, 1].into())]).unwrap();
    submitted(&acme, &ca, &order).await;
    assert_eq!(server.lock().unwrap().orders[1].wanted["identifiers"], json!([{ "type": "ip", "value": "10.0.0.1" }]));

    server.lock().unwrap().mood.refuses_csr = true;
    assert!(matches!(acme.poll(&ca, &order, &reference).await, Submission::Rejected { .. }));
    // An order and an account that the CA forgot: somebody has to look. The account is made anew for the next order.
    let gone = format!("{}/order/77", peer.url());
    assert!(matches!(acme.poll(&ca, &order, &gone).await, Submission::Lost { .. }));
    server.lock().unwrap().accounts.clear();
    assert!(matches!(acme.poll(&ca, &order, &reference).await, Submission::Lost { .. }));
    submitted(&acme, &ca, &order).await;

    for play in [Play::status(500), Play::status(503), Play::Cut] {
        let peer = Scripted::playing([play.clone()]).await;
        let found = client(&server, &peer, |_| ()).submit(&ca, &order, &KEY).await;
        assert!(matches!(found, Submission::NotTaken { .. }), "{play:?}: {found:?}");
    }
}
