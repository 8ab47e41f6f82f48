//! The connector against a SCEP server that is made by hand, out of the message codec and a small CA.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use super::*;
use crate::algorithm::{KeyAlgorithm, KeyTransport};
use crate::scep::cert_rep::CertRep;
use crate::scep::certs_only::{self, SetOrder};
use crate::scep::envelope::{EnvelopePolicy, Recipient};
use crate::scep::testing::{Identity as Keys, device as other_keys, ra as server_keys};
use crate::scep::{Envelope, PkiMessage};
use crate::upstream::testing::{Play, Scripted, Seen, TestCa};
use crate::x509::DistinguishedName;
use crate::x509::crl::CrlTemplate;

const KEY: IdempotencyKey = IdempotencyKey([0xab; 16]);

/// What the server does with requests.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Issue,
    Wait,
    Refuse,
    /// Issues, and the answer is lost.
    IssueAndCut,
}

/// A SCEP server with an RA certificate of the CA's.
struct Server {
    ca: TestCa,
    keys: &'static Keys,
    certificate: Certificate,
    mood: Mood,
    /// What CertPoll is refused with, whatever is asked after.
    refuses_polls: Option<FailInfo>,
    /// Whether it fails where it is asked what it is.
    is_mute: bool,
    capabilities: &'static str,
    /// By transactionID.
    orders: HashMap<String, Option<Certificate>>,
    issued: usize,
    /// The kinds of messages that came.
    kinds: Vec<u32>,
    csr: Vec<u8>,
}

fn certify(ca: &TestCa, name: &str, keys: &Keys) -> Certificate {
    let now = Timestamp::now();
    let validity = (now, now + jiff::SignedDuration::from_hours(1));
    ca.certify(DistinguishedName::parse(name, true).unwrap(), keys.signer.spki(), validity, Vec::new())
}

impl Server {
    fn new() -> Arc<Mutex<Self>> {
        let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
        let certificate = certify(&ca, "CN=upstream RA", server_keys());
        let capabilities = "SCEPStandard\nRenewal";
        let (orders, kinds, csr) = (HashMap::new(), Vec::new(), Vec::new());
        let (keys, mood, issued) = (server_keys(), Mood::Issue, 0);
        let (refuses_polls, is_mute) = (None, false);
        let server = Self { ca, keys, certificate, mood, refuses_polls, is_mute, capabilities, orders, issued, kinds, csr };
        Arc::new(Mutex::new(server))
    }

    fn play(&mut self, seen: &Seen) -> Play {
        let query = seen.target.split_once('?').unwrap().1;
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        match value("operation").unwrap() {
            "GetCACaps" | "GetCACert" if self.is_mute => Play::status(500),
            "GetCACaps" => Play::body(200, "text/plain", self.capabilities),
            "GetCACert" => {
                let bag = certs_only::write(&[self.certificate.der(), self.ca.certificate.der()], &[], SetOrder::AsGiven);
                Play::body(200, "application/x-x509-ca-ra-cert", bag)
            }
            _ => {
                let message = match seen.method.as_str() {
                    "POST" => seen.body.clone(),
                    _ => STANDARD.decode(&*percent_decode_str(value("message").unwrap()).decode_utf8().unwrap()).unwrap(),
                };
                self.operate(&message)
            }
        }
    }

    fn operate(&mut self, message: &[u8]) -> Play {
        let message = PkiMessage::read(message).unwrap();
        let signer = message.signer_certificate().unwrap();
        message.verify(&signer, &[Digest::Sha256]).unwrap();
        let attributes = message.attributes();
        let id = attributes.transaction_id.clone().unwrap();
        let kind = attributes.message_type.unwrap();
        self.kinds.push(kind);
        let reply = CertRep {
            signer: &*self.keys.signer,
            signer_certificate: &self.certificate,
            include_signer: true,
            transaction_id: &id,
            request_nonce: attributes.sender_nonce.as_deref(),
            digest: Digest::Sha256,
        };
        let answer = |message: Result<Vec<u8>, _>| Play::body(200, "application/x-pki-message", message.unwrap());
        let policy = EnvelopePolicy { ciphers: &[ContentCipher::Aes128Cbc], oaep: false };
        let keys = crate::crypto::ra::RaDecrypter { certificate: Arc::new(self.certificate.clone()), ..self.keys.decrypter() };
        let Ok(opened) = Envelope::read(message.content().unwrap()).unwrap().open(&[keys], policy) else {
            return answer(reply.failure(FailInfo::BadMessageCheck, ""));
        };
        let success = |certificates: &[&[u8]], crls: &[&[u8]]| {
            let content = certs_only::write(certificates, crls, SetOrder::AsGiven);
            let recipient = Recipient::Certificate(&signer, KeyTransport::Pkcs1v15);
            answer(reply.success(&content, recipient, ContentCipher::Aes128Cbc))
        };
        if kind == MessageType::GetCrl.number() {
            let crl = CrlTemplate {
                issuer: self.ca.certificate.subject().clone(),
                authority_key_identifier: self.ca.certificate.subject_key_identifier().unwrap(),
                number: 7,
                this_update: Timestamp::now(),
                next_update: Timestamp::now() + jiff::SignedDuration::from_hours(1),
                revoked: Vec::new(),
            };
            let crl = crl.sign(&*self.ca.signer, self.ca.signer.algorithms()[0]).unwrap();
            return success(&[], &[&crl]);
        }
        if let Some(reason) = self.refuses_polls.filter(|_| kind == MessageType::CertPoll.number()) {
            return answer(reply.failure(reason, ""));
        }
        if kind == MessageType::CertPoll.number() {
            return match self.orders.get(&id) {
                None => answer(reply.failure(FailInfo::BadCertId, "")),
                Some(None) => answer(reply.pending()),
                Some(Some(certificate)) => success(&[certificate.der()], &[]),
            };
        }
        let csr = VerifiedCsr::from_der(&opened.content).unwrap();
        self.csr = csr.der().to_vec();
        match self.mood {
            Mood::Refuse => answer(reply.failure(FailInfo::BadRequest, "Not you.")),
            Mood::Wait => {
                self.orders.insert(id.clone(), None);
                answer(reply.pending())
            }
            Mood::Issue | Mood::IssueAndCut => {
                let now = Timestamp::now();
                let validity = (now, now + jiff::SignedDuration::from_hours(1));
                let certificate = self.ca.certify(csr.subject().clone(), csr.spki(), validity, Vec::new());
                self.issued += 1;
                let play = success(&[certificate.der()], &[]);
                self.orders.insert(id.clone(), Some(certificate));
                if self.mood == Mood::IssueAndCut { Play::Cut } else { play }
            }
        }
    }

    /// What the CA decides about an order that waits.
    fn decide(&mut self, order: &IssuanceOrder, id: &str) {
        let certificate = self.ca.issue(order);
        self.orders.insert(id.to_owned(), Some(certificate));
    }
}

async fn serve(server: &Arc<Mutex<Server>>) -> Scripted {
    let server = Arc::clone(server);
    Scripted::answering(move |seen| server.lock().unwrap().play(seen)).await
}

/// Our RA's key and certificate in files.
fn our_files() -> &'static (tempfile::TempDir, PathBuf, PathBuf) {
    static FILES: OnceLock<(tempfile::TempDir, PathBuf, PathBuf)> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("ra.pem"), dir.path().join("ra.key"));
        std::fs::write(&certificate, other_keys().certificate.to_pem()).unwrap();
        keystore::write_key(&key, &other_keys().signer.export_pkcs8().unwrap(), "opensesame").unwrap();
        (dir, certificate, key)
    })
}

fn settings() -> ScepSettings {
    let (_, certificate, key) = our_files();
    ScepSettings {
        trust: Trust::RaCertificate,
        certificate: certificate.clone(),
        key: key.clone(),
        renews: false,
        finds_again: true,
        gives_crl: true,
        poll: Duration::from_secs(5),
        digest: None,
        cipher: None,
        accept_digests: Vec::new(),
        accept_ciphers: Vec::new(),
        cas: BTreeMap::from([(
            "devices".to_owned(),
            ScepCa { path: Some("/scep/x".into()), identifier: Some("corp CA".into()), recipients: None },
        )]),
    }
}

fn client(peer: &Scripted, settings: &ScepSettings) -> Scep {
    Scep::open(settings, "opensesame", peer.http()).unwrap()
}

#[tokio::test]
async fn the_request_goes_on_as_it_is_and_the_certificate_comes_back() {
    let server = Server::new();
    let peer = serve(&server).await;
    let (remote, order) = {
        let server = server.lock().unwrap();
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    for (post, renews, kind) in [(true, false, 19), (false, false, 19), (true, true, 17)] {
        server.lock().unwrap().capabilities = if post { "SCEPStandard\nRenewal" } else { "AES\nSHA-256" };
        let scep = client(&peer, &ScepSettings { renews, ..settings() });
        let before = peer.seen().len();
        let Submission::Issued { certificate, .. } = scep.submit(&remote, &order, &KEY).await else { panic!() };
        assert_eq!(certificate.spki(), order.spki);
        let seen = &peer.seen()[before..];
        assert_eq!(seen[0].target, "/scep/x?operation=GetCACaps&message=corp%20CA");
        assert_eq!(seen[1].target, "/scep/x?operation=GetCACert&message=corp%20CA");
        assert_eq!(seen[2].method, if post { "POST" } else { "GET" });
        assert!(seen[2].target.starts_with("/scep/x?operation=PKIOperation"));
        let server = server.lock().unwrap();
        assert_eq!((server.kinds.last(), &server.csr), (Some(&kind), &order.csr));
        assert!(server.orders.contains_key(&KEY.to_string()), "the transactionID is the idempotency key");
    }
    // The server is asked once for what it says of itself.
    let scep = client(&peer, &settings());
    scep.submit(&remote, &order, &KEY).await;
    let before = peer.seen().len();
    scep.submit(&remote, &order, &IdempotencyKey([1; 16])).await;
    assert_eq!(peer.seen().len(), before + 1);

    let told = scep.certificates(&remote).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].der(), remote.certificate().der());
    assert_eq!(scep.check(&remote).await.unwrap(), Vec::<String>::new());
    let crl = scep.crl(&remote).await.unwrap().unwrap();
    assert_eq!(crate::x509::crl::read_crl(&crl).unwrap().number, Some(7));
    server.lock().unwrap().capabilities = "DES3\nSHA-1";
    let wrong = client(&peer, &ScepSettings { renews: true, ..settings() }).check(&remote).await.unwrap();
    assert_eq!(wrong.len(), 3, "{wrong:?}");
}

#[tokio::test]
async fn what_waits_is_found_again_after_a_restart() {
    let server = Server::new();
    server.lock().unwrap().mood = Mood::Wait;
    let peer = serve(&server).await;
    let (remote, order) = {
        let server = server.lock().unwrap();
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    let Submission::Waiting { reference, retry_after } = client(&peer, &settings()).submit(&remote, &order, &KEY).await else {
        panic!()
    };
    assert_eq!(retry_after, Duration::from_secs(5));
    let restarted = client(&peer, &settings());
    let Submission::Waiting { reference: again, .. } = restarted.poll(&remote, &order, &reference).await else { panic!() };
    assert_eq!(again, reference);
    server.lock().unwrap().decide(&order, &KEY.to_string());
    assert!(matches!(restarted.poll(&remote, &order, &reference).await, Submission::Issued { .. }));
    // A server that forgot it, and a key that is another one now: somebody has to look.
    server.lock().unwrap().orders.clear();
    assert!(matches!(restarted.poll(&remote, &order, &reference).await, Submission::Lost { .. }));
    let foreign = format!("{} 0011223344556677", KEY);
    let before = peer.seen().len();
    let Submission::Lost { reason } = restarted.poll(&remote, &order, &foreign).await else { panic!() };
    assert!(reason.contains("another key"), "{reason}");
    assert_eq!(peer.seen().len(), before);
}

#[tokio::test]
async fn a_lost_answer_is_found_by_its_transaction_and_nothing_is_issued_twice() {
    let server = Server::new();
    server.lock().unwrap().mood = Mood::IssueAndCut;
    let peer = serve(&server).await;
    let (remote, order) = {
        let server = server.lock().unwrap();
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    let scep = client(&peer, &settings());
    assert!(matches!(scep.submit(&remote, &order, &KEY).await, Submission::Unknown { .. }));
    assert!(matches!(scep.find(&remote, &order, &KEY).await, Submission::Issued { .. }));
    let seen = {
        let server = server.lock().unwrap();
        (server.issued, server.kinds.clone())
    };
    assert_eq!(seen, (1, vec![19, 20]));
    // One that never got there goes out.
    server.lock().unwrap().mood = Mood::Issue;
    assert!(matches!(scep.find(&remote, &order, &IdempotencyKey([3; 16])).await, Submission::Issued { .. }));
    assert_eq!(server.lock().unwrap().kinds, [19, 20, 20, 19]);
    // Whether it can be found is for the configuration to say.
    assert!(scep.abilities(&remote).can_find_again);
    let able = client(&peer, &ScepSettings { finds_again: false, ..settings() }).abilities(&remote);
    assert!(!able.can_find_again && !able.can_revoke && able.can_wait && able.sees_challenge);
}

#[tokio::test]
async fn failures_say_whether_the_server_has_heard_of_it() {
    let server = Server::new();
    let (remote, order) = {
        let server = server.lock().unwrap();
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    server.lock().unwrap().mood = Mood::Refuse;
    let peer = serve(&server).await;
    let Submission::Rejected { reason } = client(&peer, &settings()).submit(&remote, &order, &KEY).await else { panic!() };
    assert_eq!(reason, "the SCEP server refuses: badRequest, \"Not you.\"");

    // Questions before the request take nothing with them.
    let gone = Scripted::playing([Play::status(500)]).await;
    assert!(matches!(client(&gone, &settings()).submit(&remote, &order, &KEY).await, Submission::NotTaken { .. }));
    for (play, taken) in [
        (Play::status(500), Some(true)),
        (Play::Cut, Some(true)),
        (Play::body(200, "application/x-pki-message", "nonsense"), Some(true)),
        (Play::status(503), Some(true)),
        (Play::status(503).header("Retry-After", "5"), Some(false)),
        (Play::status(404), Some(false)),
        (Play::status(400), None),
    ] {
        let (server, last) = (Arc::clone(&server), play.clone());
        let peer = Scripted::answering(move |seen| match seen.method.as_str() {
            "POST" => last.clone(),
            _ => server.lock().unwrap().play(seen),
        })
        .await;
        let found = client(&peer, &settings()).submit(&remote, &order, &KEY).await;
        match taken {
            Some(true) => assert!(matches!(found, Submission::Unknown { .. }), "{play:?}: {found:?}"),
            Some(false) => assert!(matches!(found, Submission::NotTaken { .. }), "{play:?}: {found:?}"),
            None => assert!(matches!(found, Submission::Rejected { .. }), "{play:?}: {found:?}"),
        }
    }
}

/// What makes the server issue goes by GET to one that knows nothing else: it is not sent again, however the connection ended.
#[tokio::test]
async fn an_order_by_get_is_sent_once() {
    let server = Server::new();
    let (remote, order) = {
        let mut server = server.lock().unwrap();
        server.capabilities = "Renewal\nSHA-256\nAES";
        server.mood = Mood::IssueAndCut;
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    let peer = serve(&server).await;
    let found = client(&peer, &settings()).submit(&remote, &order, &KEY).await;
    assert!(matches!(found, Submission::Unknown { .. }), "{found:?}");
    let operations = peer.seen().into_iter().filter(|seen| seen.target.contains("PKIOperation"));
    assert_eq!(operations.map(|seen| seen.method).collect::<Vec<_>>(), ["GET"]);
    assert_eq!(server.lock().unwrap().issued, 1);
}

#[tokio::test]
async fn a_server_with_another_key_by_now_has_taken_nothing() {
    let server = Server::new();
    let peer = serve(&server).await;
    let (remote, order) = {
        let server = server.lock().unwrap();
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    let scep = client(&peer, &settings());
    assert!(matches!(scep.submit(&remote, &order, &KEY).await, Submission::Issued { .. }));
    static NEXT: OnceLock<Keys> = OnceLock::new();
    let next = NEXT.get_or_init(|| Keys::new("CN=next", KeyAlgorithm::Rsa(2048)));
    {
        let mut server = server.lock().unwrap();
        server.certificate = certify(&server.ca, "CN=upstream RA 2", next);
        server.keys = next;
    }
    let found = scep.submit(&remote, &order, &IdempotencyKey([4; 16])).await;
    assert!(matches!(&found, Submission::NotTaken { reason, .. } if reason.contains("another certificate")), "{found:?}");
    assert!(matches!(scep.submit(&remote, &order, &IdempotencyKey([4; 16])).await, Submission::Issued { .. }));
}

#[tokio::test]
async fn an_order_waits_on_where_only_the_question_after_it_is_refused() {
    let server = Server::new();
    server.lock().unwrap().mood = Mood::Wait;
    let peer = serve(&server).await;
    let (remote, order) = {
        let server = server.lock().unwrap();
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    let scep = client(&peer, &settings());
    let Submission::Waiting { reference, .. } = scep.submit(&remote, &order, &KEY).await else { panic!() };
    // A new server certificate: the question was encrypted to the one before.
    static NEXT: OnceLock<Keys> = OnceLock::new();
    let next = NEXT.get_or_init(|| Keys::new("CN=next", KeyAlgorithm::Rsa(2048)));
    {
        let mut server = server.lock().unwrap();
        server.certificate = certify(&server.ca, "CN=upstream RA 2", next);
        server.keys = next;
        server.decide(&order, &KEY.to_string());
    }
    let found = scep.poll(&remote, &order, &reference).await;
    assert!(matches!(found, Submission::NotTaken { .. }), "{found:?}");
    assert!(matches!(scep.poll(&remote, &order, &reference).await, Submission::Issued { .. }));

    for reason in [FailInfo::BadMessageCheck, FailInfo::BadTime, FailInfo::BadAlg] {
        server.lock().unwrap().refuses_polls = Some(reason);
        let found = client(&peer, &settings()).poll(&remote, &order, &reference).await;
        assert!(matches!(found, Submission::Waiting { .. }), "{reason:?}: {found:?}");
    }
    server.lock().unwrap().refuses_polls = Some(FailInfo::BadRequest);
    assert!(matches!(scep.poll(&remote, &order, &reference).await, Submission::Rejected { .. }));
}

#[tokio::test]
async fn a_signed_refusal_took_nothing_though_the_server_tells_no_more_of_itself() {
    let server = Server::new();
    let peer = serve(&server).await;
    let (remote, order) = {
        let server = server.lock().unwrap();
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    let scep = client(&peer, &settings());
    assert!(matches!(scep.submit(&remote, &order, &KEY).await, Submission::Issued { .. }));
    {
        let mut server = server.lock().unwrap();
        (server.mood, server.is_mute) = (Mood::Refuse, true);
    }
    let found = scep.submit(&remote, &order, &IdempotencyKey([5; 16])).await;
    assert!(matches!(&found, Submission::NotTaken { reason, .. } if reason.contains("a refusal, and then")), "{found:?}");
}

#[tokio::test]
async fn a_server_that_is_slow_to_tell_of_itself_was_sent_nothing() {
    let server = Server::new();
    let (remote, order) = {
        let server = server.lock().unwrap();
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    let peer = Scripted::answering({
        let server = Arc::clone(&server);
        move |seen| server.lock().unwrap().play(seen).after(Duration::from_millis(700))
    })
    .await;
    let timeout = Duration::from_secs(1);
    let http = Http::open(&crate::upstream::http::HttpSettings { timeout, ..peer.settings() }, "").unwrap();
    let scep = Scep::open(&settings(), "opensesame", http).unwrap();
    // Each of its answers comes in time, and all together do not.
    let found = tokio::time::timeout(timeout, scep.submit(&remote, &order, &KEY)).await;
    assert!(matches!(found, Ok(Submission::NotTaken { .. })), "{found:?}");
    assert_eq!(server.lock().unwrap().kinds, [0; 0]);
}

#[tokio::test]
async fn only_who_belongs_to_the_ca_is_spoken_to() {
    let (server, order) = {
        let server = Server::new();
        let order = server.lock().unwrap().ca.order("devices");
        (server, order)
    };
    let peer = serve(&server).await;
    let stranger = TestCa::new(KeyAlgorithm::EcdsaP256);
    let found = client(&peer, &settings()).submit(&stranger.remote_ca("devices"), &order, &KEY).await;
    assert!(matches!(found, Submission::NotTaken { .. }), "{found:?}");
    // A certificate of the CA, but not that of the server.
    let remote = server.lock().unwrap().ca.remote_ca("devices");
    let recipients = our_files().0.path().join("recipients.pem");
    std::fs::write(&recipients, certify(&server.lock().unwrap().ca, "CN=some device", other_keys()).to_pem()).unwrap();
    let mut pinned = settings();
    pinned.cas.get_mut("devices").unwrap().recipients = Some(recipients.clone());
    assert!(matches!(client(&peer, &pinned).submit(&remote, &order, &KEY).await, Submission::NotTaken { .. }));
    std::fs::write(&recipients, server.lock().unwrap().certificate.to_pem()).unwrap();
    assert!(matches!(client(&peer, &pinned).submit(&remote, &order, &KEY).await, Submission::Issued { .. }));
}

#[tokio::test]
async fn without_the_challenge_that_is_wanted_nothing_is_sent() {
    let server = Server::new();
    let peer = serve(&server).await;
    let (remote, mut order) = {
        let server = server.lock().unwrap();
        (server.ca.remote_ca("devices"), server.ca.order("devices"))
    };
    let scep = client(&peer, &ScepSettings { trust: Trust::DeviceChallenge, ..settings() });
    assert!(matches!(scep.submit(&remote, &order, &KEY).await, Submission::Issued { .. }));
    let device = crate::crypto::provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = crate::x509::csr::CsrTemplate {
        subject: &DistinguishedName::parse("CN=router-1", true).unwrap(),
        subject_alt_names: &[],
        extended_key_usages: &[],
        key_usage: None,
        challenge_password: None,
    };
    order.csr = csr.sign(&*device, Digest::Sha256).unwrap();
    let Submission::Rejected { reason } = scep.submit(&remote, &order, &KEY).await else { panic!() };
    assert!(reason.contains("has none"), "{reason}");
    assert_eq!(server.lock().unwrap().kinds, [19]);
}

#[test]
fn keys_that_cannot_be_are_refused_when_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let ec = Keys::new("CN=ec", KeyAlgorithm::EcdsaP256);
    let key = dir.path().join("ec.key");
    keystore::write_plain_key(&key, &ec.signer.export_pkcs8().unwrap()).unwrap();
    let http = || Http::open(&crate::upstream::testing::settings("http://scep.example"), "").unwrap();
    let open = |settings: &ScepSettings| Scep::open(settings, "opensesame", http()).map(|_| ()).unwrap_err().to_string();
    assert!(open(&ScepSettings { key, ..settings() }).contains("has to be an RSA key"));
    let key = dir.path().join("other.key");
    keystore::write_plain_key(&key, &server_keys().signer.export_pkcs8().unwrap()).unwrap();
    assert!(open(&ScepSettings { key, ..settings() }).contains("not the key of"));
    assert!(open(&ScepSettings { certificate: dir.path().join("missing"), ..settings() }).contains("missing"));
}
