//! The SCEP client against our own server, over real HTTP and HTTPS, and against another program's server where one is installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use http::{Method as HttpMethod, Request as HttpRequest};
use jiff::{SignedDuration, Timestamp};
use ravelin::admin::Control;
use ravelin::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport, SignatureAlgorithm};
use ravelin::cli::setup;
use ravelin::config::{Overrides, template};
use ravelin::crypto::provider;
use ravelin::enroll::Enroller;
use ravelin::enroll::operate::NewChallenges;
use ravelin::scep::client::{
    Client, ClientError, CsrSource, DeviceKey, Found, Identity, Issued, Method, Options, Outcome, Pin, Polling, Request,
};
use ravelin::scep::issuer_and::IssuerAndSerialNumber;
use ravelin::scep::{FailInfo, MessageType};
use ravelin::server::{self, Instance, instance};
use ravelin::x509::builder::{self, CertificateTemplate, random_serial};
use ravelin::x509::{Certificate, DistinguishedName, Extension, SubjectAltName, crl, extension};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A server of our own for all tests of this file, on its own threads.
struct World {
    http: String,
    https: String,
    tls_root: Certificate,
    control: Arc<Control>,
    enroller: Enroller,
    dir: PathBuf,
    runtime: Runtime,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::start)
}

/// Everything that the codec can do, old things included.
const WIDE: &str = r#"
accept-ciphers = ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des-ede3-cbc", "des-cbc"]
accept-digests = ["sha-1", "sha-256", "sha-384", "sha-512"]
reply-certs = "leaf+ca"
"#;

fn group(scep: &str, approval: &str) -> String {
    format!(
        r#"
description = "A group of the tests"
profile = "ecdsa-p256"
[device]
id = ["subject.commonName"]
[scep]
{scep}
[authenticate]
challenge = {{ kind = "one-time", ttl = "1h" }}
renewal = {{ issuers = ["own"] }}
[enforce]
subject = {{ allow = "CN={{name:[a-z0-9-]{{1,64}}}}" }}
san = {{ dns = ["{{name}}.example.net"] }}
usages = {{ allow = ["clientAuth"], default = ["clientAuth"] }}
approval = "{approval}"
allow-shared-keys = true
"#
    )
}

impl World {
    fn start() -> World {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("client");
        let _ = std::fs::remove_dir_all(&dir);
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let options = template::Options { listen: anywhere, admin: None, ..template::Options::default() };
        template::write(&dir, &options).unwrap();
        std::fs::write(dir.join("policies/wide.toml"), group(WIDE, "automatic")).unwrap();
        std::fs::write(dir.join("policies/slow.toml"), group("", "manual")).unwrap();
        let tls_root = write_tls(&dir);
        let toml = std::fs::read_to_string(dir.join("ravelin.toml")).unwrap();
        let toml =
            toml.replace("# listen-tls = [\"0.0.0.0:8443\"] ", "listen-tls = [\"127.0.0.1:0\"] ").replace("# tls = {", "tls = {");
        std::fs::write(dir.join("ravelin.toml"), toml).unwrap();

        let config = instance::load(&dir.join("ravelin.toml"), &Overrides::none()).unwrap_or_else(|error| panic!("{error}"));
        setup::make(&config).unwrap_or_else(|failed| panic!("{}", failed.message()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let instance = runtime.block_on(Instance::open(config)).unwrap();
        let (control, enroller) = (instance.control(), instance.enroller().clone());
        let (tell, told) = mpsc::channel();
        let (stop, stops) = watch::channel(false);
        runtime.spawn(async move {
            let _stop = stop;
            server::run(instance, stops, move |bound| tell.send(bound).unwrap()).await.unwrap();
        });
        let bound = told.recv_timeout(Duration::from_secs(60)).expect("the server starts");
        World {
            http: format!("http://{}/scep", bound.devices[0]),
            https: format!("https://{}/scep", bound.devices_tls[0]),
            tls_root,
            control,
            enroller,
            dir,
            runtime,
        }
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn challenge(&self, group: &str) -> String {
        let order = NewChallenges { group: group.into(), count: 1, ttl_seconds: None, bind: BTreeMap::new(), note: None };
        self.run(self.enroller.mint_challenges(order, "test")).unwrap().remove(0).0
    }

    fn client(&self, group: &str, options: Options) -> Client {
        Client::new(&format!("{}/{group}", self.http), options).unwrap()
    }

    fn ask(&self, method: HttpMethod, target: &str) -> Value {
        let request = HttpRequest::builder().method(method).uri(target).header("x-ravelin-operator", "test");
        let response = self.run(self.control.handle(request.body("{}".into()).unwrap()));
        assert!(response.status().is_success(), "{response:?}");
        serde_json::from_slice(response.body()).unwrap()
    }

    /// Approves the one request that waits with this name.
    fn approve(&self, name: &str) {
        let listed = self.ask(HttpMethod::GET, "/v1/transactions?state=awaiting-approval");
        let all = listed["transactions"].as_array().unwrap();
        let one = all.iter().find(|one| one["subject"].as_str() == Some(&format!("CN={name}"))).expect("it waits");
        self.ask(HttpMethod::POST, &format!("/v1/transactions/{}/approve", one["id"].as_str().unwrap()));
    }
}

/// A root of its own with a certificate for 127.0.0.1 under it.
fn write_tls(dir: &Path) -> Certificate {
    let (root_key, key) = (ec_signer(), ec_signer());
    let now = Timestamp::now();
    let template = |subject: &str, spki: &[u8], extensions: Vec<Extension>| CertificateTemplate {
        serial: random_serial(),
        issuer: DistinguishedName::parse("CN=TLS root", true).unwrap(),
        subject: DistinguishedName::parse(subject, true).unwrap(),
        not_before: now - SignedDuration::from_hours(1),
        not_after: now + SignedDuration::from_hours(1),
        spki: spki.to_vec(),
        extensions,
    };
    let sign = |template: CertificateTemplate| {
        Certificate::from_der(&template.sign(&*root_key, SignatureAlgorithm::EcdsaSha256).unwrap()).unwrap()
    };
    let root = sign(template("CN=TLS root", root_key.spki(), builder::ca_extensions(root_key.spki(), None, None).unwrap()));
    let names = extension::subject_alt_names(&[SubjectAltName::Ip([127, 0, 0, 1].into())]).unwrap();
    let san = Extension { oid: extension::oid::SUBJECT_ALT_NAME, critical: false, value: names };
    let leaf = sign(template("CN=server", key.spki(), vec![san]));
    std::fs::create_dir_all(dir.join("tls")).unwrap();
    std::fs::write(dir.join("tls/chain.pem"), leaf.to_pem()).unwrap();
    ravelin::crypto::keystore::write_plain_key(&dir.join("tls/key.pem"), &key.export_pkcs8().unwrap()).unwrap();
    root
}

fn ec_signer() -> Arc<dyn ravelin::crypto::Signer> {
    provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap()
}

/// RSA keys take their time; tests that need no key of their own share this one.
fn rsa() -> DeviceKey {
    static KEY: OnceLock<DeviceKey> = OnceLock::new();
    KEY.get_or_init(|| DeviceKey::generate(KeyAlgorithm::Rsa(2048)).unwrap()).clone()
}

fn request(key: DeviceKey, name: &str, challenge: &str) -> Request {
    Request {
        key,
        csr: CsrSource::Template {
            subject: DistinguishedName::parse(&format!("CN={name}"), true).unwrap(),
            subject_alt_names: Vec::new(),
            extended_key_usages: Vec::new(),
            key_usage: None,
        },
        challenge: Some(challenge.to_owned().into()),
        renewal: None,
        transport_key: None,
        reply_key: None,
        message_type: None,
        transaction_id: Some(format!("tid-{name}-{challenge}")),
    }
}

fn issued(outcome: Outcome) -> Issued {
    match outcome {
        Outcome::Issued(issued) => *issued,
        other => panic!("not issued: {other:?}"),
    }
}

fn oaep(digest: Digest) -> KeyTransport {
    KeyTransport::Oaep { digest, mgf1: digest }
}

#[test]
fn every_digest_cipher_method_and_key_transport() {
    let world = world();
    let mut number = 0;
    for digest in [Digest::Sha1, Digest::Sha256, Digest::Sha384, Digest::Sha512] {
        for cipher in ContentCipher::ALL.iter().copied().filter(|cipher| !cipher.is_aead()) {
            for method in [Method::Get, Method::Post] {
                number += 1;
                // Each key transport with every fifth of them.
                let key_transport = match number % 5 {
                    3 => oaep(Digest::Sha256),
                    4 => oaep(Digest::Sha1),
                    _ => KeyTransport::Pkcs1v15,
                };
                let options = Options { method, digest: Some(digest), cipher: Some(cipher), key_transport, ..Options::default() };
                let request = request(rsa(), &format!("matrix-{number}"), &world.challenge("wide"));
                let enrolled = world.run(world.client("wide", options).enroll(request));
                let issued = issued(enrolled.unwrap_or_else(|e| panic!("{digest} {cipher} {method:?}: {e}")).outcome);
                assert_eq!(issued.certificate.spki(), rsa().signer().spki());
                assert_eq!(issued.protection.digest, Some(digest), "the reply is in the digest of the request");
                assert_eq!(issued.protection.cipher, Some(cipher), "the reply is in the cipher of the request");
                assert!(issued.chain[0].subject().matches(issued.certificate.issuer()));
            }
        }
    }
}

#[test]
fn ec_keys_get_their_reply_under_the_challenge() {
    let world = world();
    for (name, algorithm) in
        [("ec-256", KeyAlgorithm::EcdsaP256), ("ec-384", KeyAlgorithm::EcdsaP384), ("ec-521", KeyAlgorithm::EcdsaP521)]
    {
        let key = DeviceKey::generate(algorithm).unwrap();
        let challenge = world.challenge("wide");
        let client = world.client("wide", Options::default());
        let enrolled = world.run(client.enroll(request(key.clone(), name, &challenge))).unwrap();
        let issued = issued(enrolled.outcome);
        assert_eq!(issued.certificate.key(), Some(algorithm));
        assert_eq!((issued.protection.cipher.is_some(), issued.protection.transport), (true, None));

        let without = Request { challenge: None, ..request(key, name, "") };
        assert!(matches!(world.run(client.enroll(without)), Err(ClientError::NeedsChallenge)));
    }
}

#[test]
fn a_certificate_renews_itself_by_either_message_and_can_be_asked_for() {
    let world = world();
    let client = world.client("wide", Options::default());
    let first = world.run(client.enroll(request(rsa(), "renews", &world.challenge("wide")))).unwrap();
    let mut identity = Identity::new(rsa(), issued(first.outcome).certificate).unwrap();
    for (number, message_type) in [None, Some(MessageType::PkcsReq)].into_iter().enumerate() {
        let key = DeviceKey::generate(KeyAlgorithm::Rsa(2048)).unwrap();
        let renewal = Request {
            challenge: None,
            renewal: Some(identity.clone()),
            message_type,
            transaction_id: Some(format!("renewal-{number}")),
            ..request(key.clone(), "renews", "")
        };
        let renewed = world.run(client.enroll(renewal)).unwrap();
        let expected = message_type.unwrap_or(MessageType::RenewalReq);
        assert_eq!(renewed.transaction.message_type(), expected);
        let certificate = issued(renewed.outcome).certificate;
        assert_ne!(certificate.serial(), identity.certificate.serial());
        identity = Identity::new(key, certificate).unwrap();
    }

    let wanted = IssuerAndSerialNumber::from(&*identity.certificate);
    let found = world.run(client.get_certificate(&identity, &wanted)).unwrap();
    assert_eq!(found, Found::Found((*identity.certificate).clone()));
    let Found::Found(der) = world.run(client.get_crl(&identity, &wanted)).unwrap() else { panic!("no CRL") };
    assert!(crl::read_crl(&der).unwrap().issuer.matches(identity.certificate.issuer()));
    let unknown = IssuerAndSerialNumber { serial: vec![1], ..wanted };
    let Found::Failed(failure) = world.run(client.get_certificate(&identity, &unknown)).unwrap() else { panic!("found") };
    assert_eq!(failure.fail_info, Some(FailInfo::BadCertId));
}

#[test]
fn a_wrong_challenge_is_refused_and_a_challenge_is_good_once() {
    let world = world();
    let client = world.client("wide", Options::default());
    // A key of its own: a request that comes while another of the same key is open gets that one's answer.
    let key = DeviceKey::generate(KeyAlgorithm::Rsa(2048)).unwrap();
    let rsa = || key.clone();
    let refused = |challenge: &str, name: &str| match world.run(client.enroll(request(rsa(), name, challenge))).unwrap().outcome {
        Outcome::Failed(failure) => failure.fail_info,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("wrong", "wrong-challenge"), Some(FailInfo::BadRequest));
    let challenge = world.challenge("wide");
    issued(world.run(client.enroll(request(rsa(), "once-1", &challenge))).unwrap().outcome);
    assert_eq!(refused(&challenge, "once-2"), Some(FailInfo::BadRequest));
}

#[test]
fn pending_is_polled_to_the_end_both_ways() {
    let world = world();
    let client = world.client("slow", Options::default());
    for (name, resend) in [("polls", false), ("sends-again", true)] {
        let enrolled = world.run(client.enroll(request(rsa(), name, &world.challenge("slow")))).unwrap();
        assert_eq!(enrolled.outcome, Outcome::Pending);
        let polling = Polling { interval: Duration::from_millis(20), max: 2, resend };
        assert_eq!(world.run(client.wait(&enrolled.transaction, polling)).unwrap(), Outcome::Pending);
        world.approve(name);
        let polling = Polling { max: 500, ..polling };
        let first = issued(world.run(client.wait(&enrolled.transaction, polling)).unwrap());
        // A lost answer comes again.
        let again = issued(world.run(client.poll(&enrolled.transaction)).unwrap());
        assert_eq!(first.certificate, again.certificate);
    }
}

#[test]
fn what_the_endpoint_does_not_name_is_bad_alg() {
    let world = world();
    for options in [
        Options { cipher: Some(ContentCipher::DesCbc), ..Options::default() },
        Options { digest: Some(Digest::Sha1), accept_digests: vec![Digest::Sha256], ..Options::default() },
    ] {
        let enrolled = world.run(world.client("slow", options).enroll(request(rsa(), "old", "x"))).unwrap();
        let Outcome::Failed(failure) = enrolled.outcome else { panic!("{:?}", enrolled.outcome) };
        assert_eq!(failure.fail_info, Some(FailInfo::BadAlg));
    }
}

#[test]
fn https_needs_its_roots_and_pins_need_their_ca() {
    let world = world();
    let url = format!("{}/wide", world.https);
    assert!(matches!(Client::new(&url, Options::default()), Err(ClientError::NoTlsRoots)));
    let client = |options: Options| Client::new(&url, options).unwrap();
    let trusting = Options { tls_roots: vec![world.tls_root.clone()], ..Options::default() };
    let enrolled = world.run(client(trusting.clone()).enroll(request(rsa(), "tls", &world.challenge("wide")))).unwrap();
    issued(enrolled.outcome);

    // Another root that is none of the server's.
    let other = enrolled.transaction.authority().ca_certificates().next().unwrap().clone();
    let wrong = world.run(client(Options { tls_roots: vec![other], ..Options::default() }).capabilities());
    assert!(matches!(wrong, Err(ClientError::Unreachable { .. })), "{wrong:?}");

    let encryption = enrolled.transaction.authority().encryption().clone();
    let issuer = enrolled.transaction.authority().ca_certificates().find(|ca| encryption.issuer().matches(ca.subject())).cloned();
    let pin = Pin::Certificate(Box::new(issuer.expect("GetCACert brings the RA's issuer")));
    let pinned = Options { pins: vec![pin], ..trusting.clone() };
    assert_eq!(world.run(client(pinned).ca_certificates()).unwrap().encryption(), &encryption);
    let stranger = Options { pins: vec![Pin::Certificate(Box::new(world.tls_root.clone()))], ..trusting };
    assert!(matches!(world.run(client(stranger).ca_certificates()), Err(ClientError::NotPinned)));
}

#[test]
fn answers_that_are_too_long_or_too_late_end_it() {
    let world = world();
    let short = world.client("wide", Options { max_reply: 64, ..Options::default() });
    assert!(matches!(world.run(short.ca_certificates()), Err(ClientError::TooLarge { limit: 64, .. })));

    // Takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/scep", silent.local_addr().unwrap());
    let client = Client::new(&url, Options { timeout: Duration::from_millis(100), ..Options::default() }).unwrap();
    let start = Instant::now();
    assert!(matches!(world.run(client.capabilities()), Err(ClientError::Timeout { .. })));
    assert!(start.elapsed() < Duration::from_secs(10));
}

// --- the command line ---

fn ravelin(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ravelin")).current_dir(dir).args(arguments).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_command_enrolls_waits_in_a_file_and_renews() {
    use std::os::unix::fs::PermissionsExt;
    let world = world();
    let dir = world.dir.join("command");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("challenge"), format!("{}\n", world.challenge("slow"))).unwrap();
    std::fs::write(dir.join("passphrase"), "of the device\n").unwrap();
    let url = format!("{}/slow", world.http);
    let arguments = [
        "enroll",
        &url,
        "--json",
        "--subject",
        "CN=command",
        "--challenge-file",
        "challenge",
        "--key",
        "a.key",
        "--key-passphrase-file",
        "passphrase",
        "--out",
        "a.crt",
        "--state",
        "a.state",
        "--poll-interval",
        "1",
        "--max-poll",
    ];
    let enroll = |max_poll: &str| ravelin(&dir, &[arguments.as_slice(), &[max_poll]].concat());
    let waits = enroll("0");
    assert_eq!(waits.status.code(), Some(75), "{waits:?}");
    assert_eq!(json_of(&waits)["status"], "pending");
    for secret in ["a.key", "a.state"] {
        assert_eq!(std::fs::metadata(dir.join(secret)).unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
    }
    assert!(std::fs::read_to_string(dir.join("a.key")).unwrap().contains("ENCRYPTED PRIVATE KEY"));
    assert_eq!(enroll("0").status.code(), Some(75), "it still waits");
    world.approve("command");
    let comes = enroll("30");
    assert_eq!(comes.status.code(), Some(0), "{comes:?}");
    assert_eq!(json_of(&comes)["certificate"]["subject"], "CN=command");
    assert!(dir.join("a.crt").exists() && !dir.join("a.state").exists());

    let url = format!("{}/wide", world.http);
    let wrong = ravelin(
        &dir,
        &["enroll", &url, "--subject", "CN=command-2", "--challenge", "wrong", "--key", "b.key", "--key-type", "ecdsa-p256"],
    );
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stdout).contains("FAILURE: badRequest"), "{wrong:?}");
    assert_eq!(ravelin(&dir, &["enroll", "https://ra.example", "--subject", "CN=x"]).status.code(), Some(1));
    assert_eq!(ravelin(&dir, &["enroll", &url]).status.code(), Some(2), "no subject");
}

// --- another program's server ---

/// micromdm's scepserver on a port of this machine; it answers in DES and SHA-1 whatever it is asked in.
struct ScepServer {
    process: Child,
    url: String,
    _depot: tempfile::TempDir,
}

impl Drop for ScepServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl ScepServer {
    fn start() -> Option<Self> {
        let depot = tempfile::tempdir().unwrap();
        let path = depot.path().join("depot");
        let made = Command::new("scepserver").args(["ca", "-init", "-keySize", "2048", "-depot"]).arg(&path).output();
        if !made.is_ok_and(|made| made.status.success()) {
            println!("skipped: scepserver (Debian package scep) is not installed");
            return None;
        }
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("scepserver")
            .args(["-challenge", "secret", "-allowrenew", "0", "-port", &port.to_string(), "-depot"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = ScepServer { process, url: format!("http://127.0.0.1:{port}/scep"), _depot: depot };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "scepserver does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }
}

#[test]
fn micromdm_scepserver_issues_renews_and_refuses() {
    let Some(server) = ScepServer::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let old = Options { accept_digests: vec![Digest::Sha1], accept_ciphers: vec![ContentCipher::DesCbc], ..Options::default() };
    let mut last = None;
    for (name, method, digest, cipher) in [
        ("peer-1", Method::Post, Digest::Sha256, ContentCipher::Aes128Cbc),
        ("peer-2", Method::Get, Digest::Sha512, ContentCipher::Aes256Cbc),
        ("peer-3", Method::Post, Digest::Sha1, ContentCipher::DesCbc),
    ] {
        let options = Options { method, digest: Some(digest), cipher: Some(cipher), ..old.clone() };
        let client = Client::new(&server.url, options).unwrap();
        let key = DeviceKey::generate(KeyAlgorithm::Rsa(2048)).unwrap();
        let enrolled = runtime.block_on(client.enroll(request(key.clone(), name, "secret"))).unwrap();
        let issued = issued(enrolled.outcome);
        assert_eq!(issued.certificate.subject().common_name(), Some(name));
        assert_eq!(issued.protection.cipher, Some(ContentCipher::DesCbc));
        assert_eq!(issued.chain.len(), 1);
        last = Some(Identity::new(key, issued.certificate).unwrap());
    }
    let client = Client::new(&server.url, old).unwrap();
    let key = DeviceKey::generate(KeyAlgorithm::Rsa(2048)).unwrap();
    let renewal = Request { renewal: last, ..request(key, "peer-3", "secret") };
    let renewed = runtime.block_on(client.enroll(renewal)).unwrap();
    assert_eq!(renewed.transaction.message_type(), MessageType::RenewalReq);
    issued(renewed.outcome);

    let wrong = runtime.block_on(client.enroll(request(rsa(), "peer-4", "wrong"))).unwrap();
    let Outcome::Failed(failure) = wrong.outcome else { panic!("{:?}", wrong.outcome) };
    assert_eq!(failure.fail_info, Some(FailInfo::BadRequest));

    let strict = Client::new(&server.url, Options::default()).unwrap();
    let refused = runtime.block_on(strict.enroll(request(rsa(), "peer-5", "secret")));
    assert!(matches!(refused, Err(ClientError::Reply(_))), "{refused:?}");
}
