//! Post-quantum keys over SCEP, against our own server over HTTP: every way in that docs/src/pq-scep.md describes, and what it
//! refuses. Published messages of other programs are at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use http::{Method as HttpMethod, Request as HttpRequest};
use jiff::Timestamp;
use ravelin::admin::Control;
use ravelin::algorithm::{Composite, ContentCipher, Digest, KeyAlgorithm, MlKem, SignatureAlgorithm, SlhDsa};
use ravelin::cli::setup;
use ravelin::config::{Overrides, template};
use ravelin::crypto::ra::RaDecrypter;
use ravelin::crypto::{CryptoPool, RecipientKey, Signer, provider};
use ravelin::enroll::Enroller;
use ravelin::enroll::operate::NewChallenges;
use ravelin::ra::{RaKeys, RaStore, RaSubjects};
use ravelin::scep::certs_only::CertsOnly;
use ravelin::scep::client::{
    Client, ClientError, CsrSource, DeviceKey, Enrollment, Found, Identity, Issued, Options, Outcome, Polling, Protection,
    ReplyKey, Request,
};
use ravelin::scep::envelope::{EnvelopePolicy, Recipient, seal};
use ravelin::scep::issuer_and::IssuerAndSerialNumber;
use ravelin::scep::{Attributes, Envelope, FailInfo, MessageTemplate, MessageType, PkiMessage, WireError};
use ravelin::server::{self, Folder, Instance, instance};
use ravelin::upstream::local::LocalCa;
use ravelin::x509::builder::{self, CertificateTemplate};
use ravelin::x509::csr::CsrTemplate;
use ravelin::x509::{Certificate, DistinguishedName, KeyUsage, ber, pem};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;

// --- the server ---

struct World {
    http: String,
    control: Arc<Control>,
    enroller: Enroller,
    runtime: Runtime,
    /// GetCACert and GetCACaps of the classical endpoint, before there was another RA.
    before: (Vec<u8>, Vec<u8>),
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::start)
}

const PROFILE: &str = r#"
description = "Signed with ML-DSA-44"
accepts     = ["rsa-2048..4096", "ecdsa-p256", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87",
               "slh-dsa-sha2-128f", "mldsa44-ecdsa-p256-sha256", "mldsa65-ed25519-sha512"]
form        = "single"
signature   = "ml-dsa-44"
issuer      = { upstream = "local", ca = "ml-dsa-44" }
validity    = "1y"
"#;

fn group(authenticate: &str, enforce: &str) -> String {
    format!(
        r#"
description = "A group of the tests"
profile = "pq"
[device]
id = ["subject.commonName"]
[authenticate]
challenge = {{ kind = "one-time", ttl = "1h" }}
renewal = {{ issuers = ["own"] }}
{authenticate}
[enforce]
subject = {{ allow = "CN={{name:[a-z0-9-]{{1,64}}}}" }}
usages = {{ allow = ["clientAuth"], default = ["clientAuth"] }}
{enforce}
"#
    )
}

impl World {
    fn start() -> World {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pq-scep");
        let _ = std::fs::remove_dir_all(&dir);
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let options = template::Options { listen: anywhere, admin: None, ..template::Options::default() };
        template::write(&dir, &options).unwrap();
        std::fs::create_dir_all(dir.join("algorithms")).unwrap();
        std::fs::write(dir.join("algorithms/pq.toml"), PROFILE).unwrap();
        std::fs::write(dir.join("policies/strict.toml"), group("", "")).unwrap();
        std::fs::write(dir.join("policies/open.toml"), group("signer-key = \"may-differ\"", "")).unwrap();
        std::fs::write(dir.join("policies/slow.toml"), group("", "approval = \"manual\"")).unwrap();
        let file = dir.join("ravelin.toml");
        let load = || instance::load(&file, &Overrides::none()).unwrap_or_else(|error| panic!("{error}"));
        setup::make(&load()).unwrap_or_else(|failed| panic!("{}", failed.message()));

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let instance = runtime.block_on(Instance::open(load())).unwrap();
        let (control, enroller) = (instance.control(), instance.enroller().clone());
        let (tell, told) = mpsc::channel();
        let (stop, stops) = watch::channel(false);
        runtime.spawn(async move {
            let _stop = stop;
            server::run(instance, stops, move |bound| tell.send(bound).unwrap()).await.unwrap();
        });
        let bound = told.recv_timeout(Duration::from_secs(60)).expect("the server starts");
        let http = format!("http://{}/scep", bound.devices[0]);
        let before =
            runtime.block_on(async { (fetch(&http, "strict", "GetCACert").await, fetch(&http, "strict", "GetCACaps").await) });

        // Now the RA with keys of the other kind, and an endpoint of its own for a group that has a classical one too.
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str("\n[[endpoint]]\nname = \"strict-pq\"\ngroups = [\"strict\"]\nscep = { ra = \"pq\" }\n");
        text.push_str("\n[[endpoint]]\nname = \"open-pq\"\ngroups = [\"open\"]\nscep = { ra = \"pq\" }\n");
        text.push_str("\n[[ra]]\nname = \"pq\"\n");
        std::fs::write(&file, text).unwrap();
        let config = load();
        let folder = Folder::of(&config);
        let passphrase = folder.passphrase().unwrap();
        let (_, store) = folder.other_ras(&passphrase).remove(0);
        make_ra(&store, &dir.join("ca"), &passphrase);
        let world = World { http, control, enroller, runtime, before };
        world.ask(HttpMethod::POST, "/v1/reload");
        world
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn challenge(&self, group: &str) -> String {
        let order = NewChallenges { group: group.into(), count: 1, ttl_seconds: None, bind: BTreeMap::new(), note: None };
        self.run(self.enroller.mint_challenges(order, "test")).unwrap().remove(0).0
    }

    fn client(&self, endpoint: &str) -> Client {
        Client::new(&format!("{}/{endpoint}", self.http), Options::default()).unwrap()
    }

    fn enroll(&self, endpoint: &str, request: Request) -> Enrollment {
        self.run(self.client(endpoint).enroll(request)).unwrap_or_else(|error| panic!("{endpoint}: {error}"))
    }

    fn issue(&self, endpoint: &str, request: Request) -> Issued {
        issued(self.enroll(endpoint, request).outcome)
    }

    fn ask(&self, method: HttpMethod, target: &str) -> Value {
        let request = HttpRequest::builder().method(method).uri(target).header("x-ravelin-operator", "test");
        let response = self.run(self.control.handle(request.body("{}".into()).unwrap()));
        assert!(response.status().is_success(), "{response:?}");
        serde_json::from_slice(response.body()).unwrap()
    }

    /// Posts a message and gives the CertRep, whose signature is checked by the client's code elsewhere.
    fn post(&self, endpoint: &str, message: &[u8]) -> Attributes {
        let url = format!("{}/{endpoint}?operation=PKIOperation", self.http);
        let answer = self.run(post(&url, message.to_vec()));
        PkiMessage::read(&answer)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&answer)))
            .attributes()
            .clone()
    }
}

/// Makes an ML-DSA and an ML-KEM key for the RA, certified by an ML-DSA CA.
fn make_ra(store: &RaStore, cas: &Path, passphrase: &str) {
    let local = LocalCa::load("local", cas, passphrase, CryptoPool::start(1, 8)).unwrap();
    let now = Timestamp::now();
    store.create_keys(RaKeys::Encapsulation { signer: KeyAlgorithm::MlDsa65, recipient: MlKem::MlKem768 }).unwrap();
    let subjects = RaSubjects::named("PQ").unwrap();
    assert!(store.requests(&subjects).is_err(), "an ML-KEM key signs no request");
    let begin = now - jiff::SignedDuration::from_hours(1);
    let made = store.self_made(&local, "ml-dsa-44", &subjects, begin, Duration::from_secs(90 * 86_400), now).unwrap();
    assert_eq!(made.decrypter().certificate.key_usage(), Some(KeyUsage::KEY_ENCIPHERMENT));
    assert_eq!(ravelin::ra::check(&made, now, Duration::from_secs(86_400)), []);
    // Renewed with keys of the same kinds; what was encrypted to the earlier one still opens.
    let fresh = RaStore::kinds_of(&made);
    let renewed = store.renew(&local, "ml-dsa-44", Some(fresh), begin, Duration::from_secs(90 * 86_400), now).unwrap();
    assert_eq!(renewed.decrypters.len(), 2);
    assert!(renewed.decrypters.iter().all(|d| matches!(d.key, RecipientKey::Encapsulation(_))));
}

async fn exchange(request: HttpRequest<http_body_util::Full<bytes::Bytes>>) -> Vec<u8> {
    use http_body_util::BodyExt;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let answer = client.request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body().collect().await.unwrap().to_bytes().to_vec()
}

async fn fetch(base: &str, endpoint: &str, operation: &str) -> Vec<u8> {
    exchange(HttpRequest::get(format!("{base}/{endpoint}?operation={operation}")).body(http_body_util::Full::default()).unwrap())
        .await
}

async fn post(url: &str, message: Vec<u8>) -> Vec<u8> {
    let request = HttpRequest::post(url).header("content-type", "application/x-pki-message");
    exchange(request.body(http_body_util::Full::from(message)).unwrap()).await
}

// --- the devices ---

fn key(algorithm: KeyAlgorithm) -> DeviceKey {
    DeviceKey::generate(algorithm).unwrap()
}

/// RSA keys take their time.
fn rsa() -> DeviceKey {
    static KEY: OnceLock<DeviceKey> = OnceLock::new();
    KEY.get_or_init(|| key(KeyAlgorithm::Rsa(2048))).clone()
}

fn rsa_reply_key() -> ReplyKey {
    static KEY: OnceLock<ReplyKey> = OnceLock::new();
    KEY.get_or_init(|| ReplyKey::generate(KeyAlgorithm::Rsa(2048)).unwrap()).clone()
}

fn kem(set: MlKem) -> ReplyKey {
    ReplyKey::generate(KeyAlgorithm::MlKem(set)).unwrap()
}

fn request(key: &DeviceKey, name: &str, challenge: Option<&str>) -> Request {
    Request {
        key: key.clone(),
        csr: CsrSource::Template {
            subject: DistinguishedName::parse(&format!("CN={name}"), true).unwrap(),
            subject_alt_names: Vec::new(),
            extended_key_usages: Vec::new(),
            key_usage: None,
        },
        challenge: challenge.map(|challenge| challenge.to_owned().into()),
        renewal: None,
        transport_key: None,
        reply_key: None,
        message_type: None,
        transaction_id: None,
    }
}

fn issued(outcome: Outcome) -> Issued {
    match outcome {
        Outcome::Issued(issued) => *issued,
        other => panic!("not issued: {other:?}"),
    }
}

fn refused(outcome: Outcome) -> FailInfo {
    match outcome {
        Outcome::Failed(failure) => failure.fail_info.expect("a known failInfo"),
        other => panic!("not refused: {other:?}"),
    }
}

fn renewal(old: &DeviceKey, certificate: &Certificate) -> Option<Identity> {
    Some(Identity::new(old.clone(), certificate.clone()).unwrap())
}

fn by_password(protection: &Protection) -> bool {
    protection.cipher.is_some() && protection.transport.is_none() && protection.kem.is_none()
}

const ML_DSA: [KeyAlgorithm; 3] = [KeyAlgorithm::MlDsa44, KeyAlgorithm::MlDsa65, KeyAlgorithm::MlDsa87];

#[test]
fn a_transport_key_signs_for_a_key_that_cannot_decrypt() {
    let world = world();
    for algorithm in ML_DSA {
        let (device, name) = (key(algorithm), format!("transport-{algorithm}"));
        let first = Request { transport_key: Some(rsa()), ..request(&device, &name, Some(&world.challenge("open"))) };
        let first = world.issue("open", first);
        assert_eq!(first.certificate.key(), Some(algorithm));
        assert_eq!(first.certificate.key_usage().map(|usage| usage.contains(KeyUsage::KEY_ENCIPHERMENT)), Some(false));
        assert!(first.protection.transport.is_some(), "to the RSA key of the signer");

        // The certificate renews itself: with a password,
        let next = key(algorithm);
        let with_password = Request {
            renewal: renewal(&device, &first.certificate),
            ..request(&next, &name, Some("any password of the device"))
        };
        let second = world.issue("open", with_password);
        assert!(by_password(&second.protection));
        // or with an RSA reply key, and no password at all.
        let last = key(algorithm);
        let with_reply_key = Request {
            renewal: renewal(&next, &second.certificate),
            reply_key: Some(rsa_reply_key()),
            ..request(&last, &name, None)
        };
        let third = world.issue("open", with_reply_key);
        assert_eq!(third.certificate.spki(), last.signer().spki());
        assert!(third.protection.transport.is_some());
    }
}

#[test]
fn a_first_request_is_bound_to_its_signer_unless_the_group_says_otherwise() {
    let world = world();
    let (device, challenge) = (key(KeyAlgorithm::MlDsa44), world.challenge("strict"));
    let other = Request { transport_key: Some(rsa()), ..request(&device, "bound", Some(&challenge)) };
    assert_eq!(refused(world.enroll("strict", other).outcome), FailInfo::BadRequest);
    // The challenge is still good: nothing came of the request.
    let own = request(&device, "bound", Some(&challenge));
    let first = world.issue("strict", Request { transaction_id: Some("bound-2".into()), ..own });
    assert!(by_password(&first.protection));

    // Key rollover is no such case: the old certificate speaks for the new key, of whatever kind.
    let rsa_device = rsa();
    let classical = world.issue("strict", request(&rsa_device, "rollover", Some(&world.challenge("strict"))));
    let new = key(KeyAlgorithm::MlDsa65);
    let rollover = Request { renewal: renewal(&rsa_device, &classical.certificate), ..request(&new, "rollover", None) };
    let renewed = world.issue("strict", rollover);
    assert_eq!(renewed.certificate.key(), Some(KeyAlgorithm::MlDsa65));
    assert!(renewed.protection.transport.is_some(), "to the RSA key that signed");
}

#[test]
fn ml_dsa_signers_at_a_classical_endpoint() {
    let world = world();
    for algorithm in ML_DSA {
        let (device, name) = (key(algorithm), format!("signer-{algorithm}"));
        let by_challenge = world.issue("strict", request(&device, &name, Some(&world.challenge("strict"))));
        assert!(by_password(&by_challenge.protection));
        assert_eq!(by_challenge.protection.signer.key().map(|key| key.can_decrypt()), Some(true), "the RA's reply is classical");
    }
    // An ML-KEM reply key goes with a classical RA too.
    let device = key(KeyAlgorithm::MlDsa44);
    let named = Request { reply_key: Some(kem(MlKem::MlKem768)), ..request(&device, "named", Some(&world.challenge("strict"))) };
    assert_eq!(world.issue("strict", named).protection.kem, Some(MlKem::MlKem768));
    // A renewal that could not be answered is not sent.
    let unanswerable = request(&device, "unanswerable", None);
    let result = world.run(world.client("strict").enroll(unanswerable));
    assert!(matches!(result, Err(ClientError::NeedsChallenge)), "{result:?}");
}

#[test]
fn slh_dsa_and_composite_keys_go_every_way_too() {
    let world = world();
    for (algorithm, digest) in [
        (KeyAlgorithm::SlhDsa(SlhDsa::Sha2_128f), Digest::Sha512),
        (KeyAlgorithm::Composite(Composite::MlDsa44EcdsaP256), Digest::Sha256),
        (KeyAlgorithm::Composite(Composite::MlDsa65Ed25519), Digest::Sha512),
    ] {
        let (device, name) = (key(algorithm), format!("other-{algorithm}"));
        // Behind an RSA key,
        let behind = Request { transport_key: Some(rsa()), ..request(&device, &name, Some(&world.challenge("open"))) };
        let first = world.issue("open", behind);
        assert_eq!(first.certificate.key(), Some(algorithm));
        // renewing itself with the answer under a password,
        let next = key(algorithm);
        let by = Request { renewal: renewal(&device, &first.certificate), ..request(&next, &name, Some("a password")) };
        let enrollment = world.enroll("open", by);
        assert_eq!(enrollment.transaction.digest(), digest);
        let second = issued(enrollment.outcome);
        assert!(by_password(&second.protection));
        // and without any RSA.
        let last = key(algorithm);
        let named = Request {
            renewal: renewal(&next, &second.certificate),
            reply_key: Some(kem(MlKem::MlKem768)),
            ..request(&last, &name, None)
        };
        assert_eq!(world.issue("open-pq", named).protection.kem, Some(MlKem::MlKem768));
    }
}

#[test]
fn no_rsa_at_all() {
    let world = world();
    let authority = world.run(world.client("strict-pq").ca_certificates()).unwrap();
    let kinds: Vec<_> = authority.certificates().iter().map(|certificate| certificate.key().unwrap()).collect();
    assert!(kinds.iter().all(|kind| kind.is_post_quantum()), "{kinds:?}");
    assert_eq!(authority.encryption().key(), Some(KeyAlgorithm::MlKem(MlKem::MlKem768)));

    for (algorithm, set) in ML_DSA.into_iter().zip(MlKem::ALL) {
        let (device, name) = (key(algorithm), format!("pure-{algorithm}"));
        let first = Request { reply_key: Some(kem(*set)), ..request(&device, &name, Some(&world.challenge("strict"))) };
        let first = world.issue("strict-pq", first);
        assert_eq!((first.protection.kem, first.protection.cipher), (Some(*set), Some(ContentCipher::Aes256Cbc)));
        assert_eq!((first.protection.signer.key(), first.protection.digest), (Some(KeyAlgorithm::MlDsa65), Some(Digest::Sha512)));
        // The chain leads to the root by ML-DSA signatures that hold.
        assert_eq!(first.chain.len(), 1);

        let next = key(algorithm);
        let again = Request {
            renewal: renewal(&device, &first.certificate),
            reply_key: Some(kem(MlKem::MlKem768)),
            ..request(&next, &name, None)
        };
        let renewed = world.issue("strict-pq", again);
        assert_eq!((renewed.certificate.spki(), renewed.protection.kem), (next.signer().spki(), Some(MlKem::MlKem768)));
        // And with a password.
        let last = key(algorithm);
        let by = Request { renewal: renewal(&next, &renewed.certificate), ..request(&last, &name, Some("a password")) };
        assert!(by_password(&world.issue("strict-pq", by).protection));
    }
}

#[test]
fn classical_signers_at_an_ml_kem_endpoint() {
    let world = world();
    let first = world.issue("strict-pq", request(&rsa(), "mixed", Some(&world.challenge("strict"))));
    assert!(first.protection.transport.is_some());
    assert_eq!(first.protection.signer.key(), Some(KeyAlgorithm::MlDsa65));
    let ec = key(KeyAlgorithm::EcdsaP256);
    let named = Request { reply_key: Some(kem(MlKem::MlKem1024)), ..request(&ec, "mixed-ec", Some(&world.challenge("strict"))) };
    assert_eq!(world.issue("strict-pq", named).protection.kem, Some(MlKem::MlKem1024));
    // The transport key again, to an RA without RSA.
    let device = key(KeyAlgorithm::MlDsa87);
    let first = Request { transport_key: Some(rsa()), ..request(&device, "mixed-87", Some(&world.challenge("open"))) };
    assert!(world.issue("open-pq", first).protection.transport.is_some());
}

#[test]
fn who_waits_is_answered_by_its_reply_key_later() {
    let world = world();
    let (device, reply) = (key(KeyAlgorithm::MlDsa65), kem(MlKem::MlKem768));
    let first = Request { reply_key: Some(reply.clone()), ..request(&device, "patient", Some(&world.challenge("slow"))) };
    let client = world.client("slow");
    let enrollment = world.run(client.enroll(first)).unwrap();
    assert_eq!(enrollment.outcome, Outcome::Pending);
    let saved = serde_json::to_string(&enrollment.transaction.save("x")).unwrap();
    let listed = world.ask(HttpMethod::GET, "/v1/transactions?state=awaiting-approval");
    let all = listed["transactions"].as_array().unwrap();
    let one = all.iter().find(|one| one["subject"].as_str() == Some("CN=patient")).expect("it waits");
    world.ask(HttpMethod::POST, &format!("/v1/transactions/{}/approve", one["id"].as_str().unwrap()));

    let saved = serde_json::from_str(&saved).unwrap();
    assert!(world.run(client.resume(&saved, &device, None, None)).is_err(), "the reply key is needed");
    assert!(world.run(client.resume(&saved, &device, None, Some(&kem(MlKem::MlKem768)))).is_err(), "it is another");
    let transaction = world.run(client.resume(&saved, &device, None, Some(&reply))).unwrap();
    let polling = Polling { interval: Duration::from_millis(100), max: 300, resend: false };
    let polled = issued(world.run(client.wait(&transaction, polling)).unwrap());
    assert_eq!(polled.protection.kem, Some(MlKem::MlKem768));

    // What has no place for a password is answered too: GetCert.
    let identity = Identity::new(device.clone(), polled.certificate.clone()).unwrap();
    let wanted = IssuerAndSerialNumber::from(&polled.certificate);
    let without = world.run(client.get_certificate(&identity, &wanted));
    assert!(matches!(without, Err(ClientError::NeedsChallenge)), "{without:?}");
    let identity = identity.with_reply_key(&reply, Timestamp::now()).unwrap();
    assert_eq!(world.run(client.get_certificate(&identity, &wanted)).unwrap(), Found::Found(polled.certificate));
}

#[test]
fn old_clients_see_nothing_of_it() {
    let world = world();
    let now =
        world.run(async { (fetch(&world.http, "strict", "GetCACert").await, fetch(&world.http, "strict", "GetCACaps").await) });
    assert!(now == world.before, "the classical endpoint answers octet for octet as before");
    let caps = world.run(fetch(&world.http, "strict-pq", "GetCACaps"));
    assert_eq!(caps, now.1, "the capabilities are the same words");
    let bag = world.run(fetch(&world.http, "strict-pq", "GetCACert"));
    assert_ne!(bag, now.0);
    let certificates = CertsOnly::read(&bag).unwrap().certificates.len();
    assert_eq!(certificates, 3, "signer, recipient, CA");
}

// --- what is refused ---

/// A message made by hand.
struct Crafted {
    signer: Arc<dyn Signer>,
    certificate: Certificate,
    digest: Digest,
    reply: Option<Certificate>,
    along: Vec<Certificate>,
}

impl Crafted {
    fn new(algorithm: KeyAlgorithm) -> Self {
        let signer = provider().keys.generate(algorithm).unwrap();
        let der = builder::self_signed(&name("crafted"), &*signer, Digest::Sha512, Timestamp::now()).unwrap();
        let certificate = Certificate::from_der(&der).unwrap();
        Self { signer, certificate, digest: Digest::Sha512, reply: None, along: Vec::new() }
    }

    fn message(&self, to: &Certificate, challenge: &str) -> Vec<u8> {
        let subject = name("crafted");
        let csr = CsrTemplate {
            subject: &subject,
            subject_alt_names: &[],
            extended_key_usages: &[],
            key_usage: None,
            challenge_password: Some(challenge),
        };
        let csr = csr.sign(&*self.signer, Digest::Sha512).unwrap();
        let transport = ravelin::algorithm::KeyTransport::Pkcs1v15;
        let envelope = seal(&csr, Recipient::Certificate(to, transport), ContentCipher::Aes256Cbc).unwrap();
        self.around(&envelope)
    }

    fn around(&self, envelope: &[u8]) -> Vec<u8> {
        let attributes = Attributes {
            transaction_id: Some(hex::encode(provider().random::<8>())),
            message_type: Some(MessageType::PkcsReq.number()),
            sender_nonce: Some(vec![1; 16]),
            reply_key: self.reply.as_ref().map(IssuerAndSerialNumber::from),
            ..Attributes::default()
        };
        let certificates: Vec<&[u8]> = std::iter::once(&self.certificate).chain(&self.along).map(|c| c.der()).collect();
        MessageTemplate {
            content: envelope,
            attributes: &attributes,
            digest: self.digest,
            signer: &*self.signer,
            signer_certificate: &self.certificate,
            certificates: &certificates,
        }
        .sign()
        .unwrap()
    }

    /// A certificate for a fresh ML-KEM key, issued by `issuer`.
    fn reply_certificate(&self, issuer: &dyn Signer, usage: KeyUsage) -> Certificate {
        let template = CertificateTemplate {
            serial: builder::random_serial(),
            issuer: self.certificate.subject().clone(),
            subject: self.certificate.subject().clone(),
            not_before: self.certificate.not_before(),
            not_after: self.certificate.not_after(),
            spki: provider().kem.generate(MlKem::MlKem768).unwrap().spki().to_vec(),
            extensions: vec![builder::key_usage(usage)],
        };
        let algorithm = issuer.algorithms()[0];
        Certificate::from_der(&template.sign(issuer, algorithm).unwrap()).unwrap()
    }
}

fn name(common_name: &str) -> DistinguishedName {
    DistinguishedName::parse(&format!("CN={common_name}"), true).unwrap()
}

#[test]
fn a_reply_key_of_somebody_else_is_refused() {
    let world = world();
    let ra = world.run(world.client("strict-pq").ca_certificates()).unwrap().encryption().clone();
    let send = |crafted: &Crafted| {
        let answer = world.post("strict-pq", &crafted.message(&ra, &world.challenge("strict")));
        (answer.pki_status, answer.fail_info.and_then(FailInfo::from_number))
    };
    let bad = (Some(2), Some(FailInfo::BadMessageCheck));

    let mut crafted = Crafted::new(KeyAlgorithm::MlDsa44);
    let good = crafted.reply_certificate(&*crafted.signer.clone(), KeyUsage::KEY_ENCIPHERMENT);
    crafted.reply = Some(good.clone());
    assert_eq!(send(&crafted), bad, "it is named and not there");
    crafted.along = vec![good];
    assert_eq!(send(&crafted).0, Some(0));

    // Anybody on the way could put in a certificate: only the signer's own counts.
    let mallory = Crafted::new(KeyAlgorithm::MlDsa44);
    let slipped = crafted.reply_certificate(&*mallory.signer, KeyUsage::KEY_ENCIPHERMENT);
    let mut crafted = Crafted::new(KeyAlgorithm::MlDsa44);
    (crafted.reply, crafted.along) = (Some(slipped.clone()), vec![slipped]);
    assert_eq!(send(&crafted), bad);

    let mut crafted = Crafted::new(KeyAlgorithm::MlDsa44);
    let useless = crafted.reply_certificate(&*crafted.signer.clone(), KeyUsage::DIGITAL_SIGNATURE);
    (crafted.reply, crafted.along) = (Some(useless.clone()), vec![useless]);
    assert_eq!(send(&crafted), bad);
}

#[test]
fn a_digest_that_is_too_weak_for_the_key_is_refused() {
    // RFC 9882: SHA-256 goes with ML-DSA-44 only. Ours does not sign so, so the digest is renamed in what it signed.
    let world = world();
    let ra = world.run(world.client("strict-pq").ca_certificates()).unwrap().encryption().clone();
    let message = Crafted::new(KeyAlgorithm::MlDsa65).message(&ra, "x");
    let (sha512, sha256) = (Digest::Sha512.oid(), Digest::Sha256.oid());
    let mut renamed = message.clone();
    for at in 0..renamed.len() - sha512.as_bytes().len() {
        if renamed[at..].starts_with(sha512.as_bytes()) {
            renamed[at..at + sha256.as_bytes().len()].copy_from_slice(sha256.as_bytes());
        }
    }
    let answer = world.post("strict-pq", &renamed);
    assert_eq!(answer.fail_info.and_then(FailInfo::from_number), Some(FailInfo::BadAlg));
    let weak = Crafted { digest: Digest::Sha256, ..Crafted::new(KeyAlgorithm::MlDsa44) };
    let answer = world.post("strict-pq", &weak.message(&ra, &world.challenge("strict")));
    assert_ne!(answer.fail_info.and_then(FailInfo::from_number), Some(FailInfo::BadAlg), "SHA-256 is enough for ML-DSA-44");
}

#[test]
fn envelopes_for_the_other_ra_are_for_nobody() {
    let world = world();
    let classical = world.run(world.client("strict").ca_certificates()).unwrap().encryption().clone();
    let pq = world.run(world.client("strict-pq").ca_certificates()).unwrap().encryption().clone();
    let crafted = Crafted::new(KeyAlgorithm::MlDsa44);
    for (endpoint, other) in [("strict", &pq), ("strict-pq", &classical)] {
        let answer = world.post(endpoint, &crafted.message(other, "x"));
        assert_eq!(answer.fail_info.and_then(FailInfo::from_number), Some(FailInfo::BadMessageCheck), "{endpoint}");
    }
}

#[test]
fn what_fails_behind_the_decapsulation_has_one_face() {
    let world = world();
    let ra = world.run(world.client("strict-pq").ca_certificates()).unwrap().encryption().clone();
    let crafted = Crafted::new(KeyAlgorithm::MlDsa44);
    let transport = ravelin::algorithm::KeyTransport::Pkcs1v15;
    let sealed = |content: &[u8]| seal(content, Recipient::Certificate(&ra, transport), ContentCipher::Aes256Cbc).unwrap();
    let good = sealed(b"no request at all, though it opens");
    let flipped = |at: usize| {
        let mut changed = good.clone();
        changed[at] ^= 1;
        changed
    };
    // The 1088 octets of the ciphertext, the 40 of the wrapped key, the content.
    let ciphertext = good.windows(4).position(|w| w == [0x04, 0x82, 0x04, 0x40]).unwrap() + 4 + 500;
    let wrapped = good.windows(2).position(|w| w == [0x04, 40]).unwrap() + 2 + 7;
    let faces: Vec<_> = [good.clone(), flipped(ciphertext), flipped(wrapped), flipped(good.len() - 20)]
        .iter()
        .map(|envelope| {
            let answer = world.post("strict-pq", &crafted.around(envelope));
            (answer.pki_status, answer.fail_info, answer.fail_info_text)
        })
        .collect();
    assert_eq!(faces[0].1.and_then(FailInfo::from_number), Some(FailInfo::BadMessageCheck));
    assert!(faces.iter().all(|face| *face == faces[0]), "{faces:?}");
}

// --- messages of other programs ---

/// The folder of published vectors beside the project.
fn vectors(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("RAVELIN_SHARED_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not here", path.display());
    None
}

const ANY: EnvelopePolicy<'_> = EnvelopePolicy { ciphers: ContentCipher::ALL, oaep: true };

#[test]
fn the_example_of_rfc_9936_opens() {
    let Some(folder) = vectors("lamps-cms-kyber") else { return };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let cms = pem::read(&read("ML-KEM-512.cms"), "CMS").unwrap().remove(0);
    let certificate = Certificate::from_pem(&read("ML-KEM-512.pem")).unwrap();
    for form in ["seed", "both"] {
        let pkcs8 = pem::read(&read(&format!("ML-KEM-512-{form}.priv")), "PRIVATE KEY").unwrap().remove(0);
        let key = RecipientKey::from_pkcs8(&pkcs8).unwrap();
        assert_eq!(key.spki(), certificate.spki());
        let keys = [RaDecrypter { key, certificate: Arc::new(certificate.clone()) }];
        let der = ber::to_der(&cms).unwrap();
        let opened = Envelope::read(&der).unwrap().open(&keys, ANY).unwrap();
        assert_eq!(opened.content.as_slice(), read("plaintext.txt").trim_end().as_bytes(), "{form}");
        assert_eq!(opened.kem, Some(MlKem::MlKem512));
    }
}

#[test]
fn keys_of_rfc_9935_are_read_and_broken_ones_are_not() {
    let Some(folder) = vectors("lamps-kyber") else { return };
    let key = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        RecipientKey::from_pkcs8(&pem::read(&text, "PRIVATE KEY").unwrap().remove(0))
    };
    for size in ["512", "768", "1024"] {
        let text = std::fs::read_to_string(folder.join(format!("ML-KEM-{size}.crt"))).unwrap();
        let certificate = Certificate::from_pem(&text).unwrap();
        for form in ["seed", "both"] {
            assert_eq!(key(&format!("ML-KEM-{size}-{form}.priv")).unwrap().spki(), certificate.spki(), "{size} {form}");
        }
        assert_eq!(certificate.key_usage(), Some(KeyUsage::KEY_ENCIPHERMENT));
    }
    for bad in 1..=4 {
        assert!(key(&format!("bad-ML-KEM-512-{bad}.priv")).is_err(), "{bad}");
    }
}

#[test]
fn bouncy_castle_seals_and_we_open() {
    let Some(folder) = vectors("pqc-certificates/bc-cms") else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let key = RecipientKey::from_pkcs8(&read("ml-kem-768-2.16.840.1.101.3.4.4.2_priv.der")).unwrap();
    let certificate = Arc::new(Certificate::from_der(&read("ml-kem-768-2.16.840.1.101.3.4.4.2_ee.der")).unwrap());
    let keys = [RaDecrypter { key, certificate }];
    for ukm in ["", "_ukm"] {
        let cms = read(&format!("ml-kem-768-2.16.840.1.101.3.4.4.2_kemri_id-alg-hkdf-with-sha256{ukm}.der"));
        let der = ber::to_der(&cms).unwrap();
        let opened = Envelope::read(&der).unwrap().open(&keys, ANY).unwrap_or_else(|error| panic!("{ukm}: {error}"));
        assert_eq!(opened.content.as_slice(), read("expected_plaintext.txt"), "{ukm}");
    }
}

#[test]
fn others_sign_with_ml_dsa_and_we_verify() {
    let mut checked = 0;
    for (folder, files) in
        [("pqc-certificates/bc-cms", "_signed_attrs.der"), ("pqc-certificates/ossl35-cms", "_signed_attrs.der")]
    {
        let Some(folder) = vectors(folder) else { continue };
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.ends_with(files) || !name.starts_with("ml-dsa") {
                continue;
            }
            let octets = std::fs::read(&path).unwrap();
            let der = ber::to_der(&octets).unwrap();
            let message = PkiMessage::read(&der).unwrap_or_else(|error| panic!("{name}: {error}"));
            if name.contains("with-sha512") {
                // HashML-DSA is not for CMS.
                assert_eq!(message.signature_algorithm(), None, "{name}");
                continue;
            }
            let signer = message.signer_certificate().unwrap();
            // Bouncy Castle goes by the strength of the key, OpenSSL takes SHA-512 for all.
            let own = message.digest().unwrap_or_else(|| panic!("{name}: its digest"));
            message.verify(&signer, &[own]).unwrap_or_else(|error| panic!("{name}: {error}"));
            let other = if own == Digest::Sha384 { Digest::Sha512 } else { Digest::Sha384 };
            assert!(matches!(message.verify(&signer, &[other]), Err(WireError::DigestNotAllowed(_))));
            checked += 1;
        }
    }
    if let Some(folder) = vectors("lamps-cms-ml-dsa") {
        for (file, crt, algorithm) in [
            ("mldsa44", "ML-DSA-44", SignatureAlgorithm::MlDsa44),
            ("mldsa65", "ML-DSA-65", SignatureAlgorithm::MlDsa65),
            ("mldsa87", "ML-DSA-87", SignatureAlgorithm::MlDsa87),
        ] {
            let text = std::fs::read_to_string(folder.join(format!("{file}-signed-attrs.pem"))).unwrap();
            let cms = pem::read(&text, "CMS").unwrap().remove(0);
            let crt = folder.join("../lamps-dilithium").join(format!("{crt}.crt"));
            let signer = Certificate::from_pem(&std::fs::read_to_string(crt).unwrap()).unwrap();
            let der = ber::to_der(&cms).unwrap();
            let message = PkiMessage::read(&der).unwrap();
            assert_eq!(message.signature_algorithm(), Some(algorithm));
            message.verify(&signer, &[Digest::Sha512]).unwrap_or_else(|error| panic!("{file}: {error}"));
            checked += 1;
        }
        assert!(checked >= 3);
    }
}
