//! Thousands of broken messages against the service with its real core: no panic, bounded time and memory, and every answer is a
//! status of HTTP or a CertRep that is well formed and signed. And what is wrong inside an envelope cannot be told from outside.
//!
//! `RAVELIN_MUTATIONS` sets how many are made of each seed (300 if not set).

mod support;
mod wire_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use ravelin::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport};
use ravelin::crypto::provider;
use ravelin::enroll::Peer;
use ravelin::inventory::audit::verify_chain;
use ravelin::scep::issuer_and::{IssuerAndSerialNumber, IssuerAndSubject};
use ravelin::scep::service::query_string::{Parameters, decode_message};
use ravelin::scep::{MessageType, PkiMessage, PkiStatus, ScepService};
use ravelin::telemetry::Metrics;
use ravelin::x509::Certificate;
use support::{ROUTERS, World};
use tower::ServiceExt;
use wire_support::{Draft, Holder, NONCE, Random, double_of, mutate, position, sealed, sealed_with, subject, tlv};

/// Longer than any answer takes, on a machine that does ten other things.
const SLOW: Duration = Duration::from_secs(20);

fn mutations() -> usize {
    std::env::var("RAVELIN_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(300)
}

struct Target {
    world: World,
    ra: Arc<Certificate>,
    slowest: Duration,
    answers: std::collections::BTreeMap<String, usize>,
}

impl Target {
    fn new() -> Self {
        let world = World::new(&[("routers", ROUTERS)]);
        let ra = Arc::clone(&world.snapshot.load().ra.decrypters[0].certificate);
        Self { world, ra, slowest: Duration::ZERO, answers: Default::default() }
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> (StatusCode, bool, Bytes) {
        request.extensions_mut().insert(Peer { address: "192.0.2.7:50000".parse().expect("an address"), tls: false });
        let service = ScepService::new(self.world.enroller.clone(), Arc::new(Metrics::default()));
        let response = service.oneshot(request).await.expect("infallible");
        let signed = response.headers()["content-type"] == "application/x-pki-message";
        (response.status(), signed, response.into_body().collect().await.expect("infallible").to_bytes())
    }

    async fn post(&self, message: &[u8]) -> (StatusCode, bool, Bytes) {
        let body = Full::new(Bytes::copy_from_slice(message));
        self.send(Request::post("/scep/routers?operation=PKIOperation").body(body).expect("a request")).await
    }

    /// Sends a message and looks at the answer, whatever it is.
    async fn strike(&mut self, message: &[u8]) {
        let began = Instant::now();
        let (status, signed, body) = self.post(message).await;
        self.slowest = self.slowest.max(began.elapsed());
        assert!(began.elapsed() < SLOW, "{:?} for {}", began.elapsed(), hex::encode(message));
        assert!(body.len() < 64 * 1024, "{} octets for {}", body.len(), hex::encode(message));
        let kind = if signed {
            assert_eq!(status, StatusCode::OK, "{}", hex::encode(message));
            let reply = PkiMessage::read(&body).unwrap_or_else(|error| panic!("{error}: {}", hex::encode(message)));
            let signer = &self.world.snapshot.load().ra.signer_certificate;
            reply.verify(signer, Digest::ALL).unwrap_or_else(|error| panic!("{error}: {}", hex::encode(message)));
            let attributes = reply.attributes();
            assert_eq!(attributes.message_type, Some(MessageType::CertRep.number()), "{}", hex::encode(message));
            assert!(attributes.transaction_id.is_some(), "{}", hex::encode(message));
            let status = attributes.pki_status.and_then(PkiStatus::from_number).expect("a status");
            format!("{status:?} {}", attributes.fail_info_text.as_deref().unwrap_or_default())
        } else {
            assert!(status.is_client_error(), "{status} for {}", hex::encode(message));
            status.to_string()
        };
        *self.answers.entry(kind).or_default() += 1;
    }
}

/// Resident memory in octets.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn captured() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/scep/captured");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("in the repository").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let messages = files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "der"));
    messages.map(|path| std::fs::read(path).expect("read")).collect()
}

#[tokio::test]
async fn broken_messages_do_no_harm() {
    let mut target = Target::new();
    let mut random = Random(0x5eed_0b0b_0057);
    let device = Holder::new("r1", KeyAlgorithm::EcdsaP256);
    let ra = Arc::clone(&target.ra);
    let csr = device.csr("r1", Some("no such challenge"));
    let of_subject = IssuerAndSubject { issuer: ra.issuer().der().to_vec(), subject: subject("r1").der().to_vec() }.to_der();
    let of_serial = IssuerAndSerialNumber { issuer: ra.issuer().der().to_vec(), serial: ra.serial().to_vec() }.to_der();
    let contents = [
        (MessageType::PkcsReq, csr),
        (MessageType::CertPoll, of_subject),
        (MessageType::GetCert, of_serial.clone()),
        (MessageType::GetCrl, of_serial),
    ];
    let whole: Vec<Vec<u8>> = contents
        .iter()
        .map(|(kind, content)| Draft::around(&device, *kind, sealed(content, &ra)).der())
        .chain(captured())
        .collect();
    for message in &whole {
        target.strike(message).await;
    }
    let before = resident();
    let mut count = 0;
    let aes256 = |content: &[u8]| sealed_with(content, &ra, ContentCipher::Aes256Cbc, KeyTransport::Pkcs1v15);
    for _ in 0..mutations() {
        // Outside: the signature catches most, the reader the rest.
        for message in &whole {
            target.strike(&mutate(message, &mut random)).await;
        }
        for (kind, content) in &contents {
            // Under a good signature: the envelope's reader, and the decryption.
            let envelope = mutate(&sealed(content, &ra), &mut random);
            target.strike(&Draft::around(&device, *kind, envelope).der()).await;
            // Under a good signature and in a good envelope: the readers of what a device asks for.
            let content = mutate(content, &mut random);
            let envelope = if random.below(2) == 0 { sealed(&content, &ra) } else { aes256(&content) };
            target.strike(&Draft::around(&device, *kind, envelope).der()).await;
            // Attributes that nobody would send.
            let mut draft = Draft::around(&device, *kind, sealed(&content, &ra));
            let length = random.below(300);
            draft.transaction_id = Some(String::from_utf8_lossy(&random.octets(length)).into_owned());
            let length = random.below(300);
            draft.nonce = Some(random.octets(length));
            draft.certificates.insert(0, mutate(device.certificate.der(), &mut random));
            target.strike(&draft.der()).await;
            count += 3;
        }
        count += whole.len();
    }
    let grown = resident().saturating_sub(before);
    println!("{count} messages, slowest {:?}, memory grew by {} KiB", target.slowest, grown / 1024);
    println!("{:#?}", target.answers);
    assert!(grown < 64 * 1024 * 1024, "memory grew by {grown} octets");
    // The mutations reached all layers, and came to no certificate.
    for reached in [
        "400 Bad Request",
        "Failure The signature does not verify.",
        "Failure The content cannot be read.",
        "Failure There is no such object.",
    ] {
        assert!(target.answers.contains_key(reached), "{reached}: {:#?}", target.answers);
    }
    let statistics = target.world.inventory.statistics().await.expect("read");
    assert_eq!((statistics.certificates, statistics.issuing, statistics.unknown), (0, 0, 0));
    verify_chain(&*target.world.inventory).await.expect("read").expect("it holds");
    // And the house still stands.
    let challenge = target.world.challenge("routers").await;
    let device = Holder::new("r1", KeyAlgorithm::EcdsaP256);
    target.answers.clear();
    target.strike(&Draft::request(&device, &device.csr("r1", Some(&challenge)), &ra).der()).await;
    assert_eq!(target.answers.keys().collect::<Vec<_>>(), ["Success "]);
}

#[tokio::test]
async fn broken_queries_do_no_harm() {
    let target = Target::new();
    let mut random = Random(0x5eed_00e7_9e37);
    let seeds = [
        "operation=PKIOperation&message=MIIBCgKCAQEA%2B%2F%3D%3D",
        "operation=GetCACert&message=routers",
        "message=AAAA&operation=PKIOperation&message=BBBB",
        "operation=%50KIOperation&message=-_-_%0A%0D",
    ];
    for seed in seeds {
        for _ in 0..mutations() {
            let mutated = mutate(seed.as_bytes(), &mut random);
            let text = String::from_utf8_lossy(&mutated);
            let parameters = Parameters::read(&text);
            if let Some(message) = parameters.message {
                let _ = decode_message(message, 64 * 1024);
            }
            let Ok(uri) = format!("/scep/routers?{text}").parse::<http::Uri>() else { continue };
            let (status, _, _) = target.send(Request::get(uri).body(Full::default()).expect("a request")).await;
            assert!(status == StatusCode::OK || status.is_client_error(), "{status} for {text:?}");
        }
    }
}

/// A message whose envelope is wrong in one way; the same transaction and the same nonce in all.
fn wrong_inside(device: &Holder, ra: &Certificate) -> Vec<(&'static str, Vec<u8>)> {
    let csr = device.csr("r1", Some("x"));
    let envelope = sealed(&csr, ra);
    let mut all: Vec<(&str, Vec<u8>)> = Vec::new();

    // What stands in for the RSA ciphertext, in an envelope that is otherwise good.
    let modulus = 256;
    let at = position(&envelope, &[4, 0x82, 1, 0]) + 4;
    let with_key = |ciphertext: &[u8]| {
        let mut changed = envelope.clone();
        changed[at..at + modulus].copy_from_slice(ciphertext);
        changed
    };
    let mut random = Random(0x00da_c1e5);
    let mut noise = random.octets(modulus);
    noise[0] = 0;
    all.push(("a ciphertext whose padding is wrong", with_key(&noise)));
    all.push(("zeros as ciphertext", with_key(&[0; 256])));
    let mut one = [0; 256];
    one[255] = 1;
    all.push(("the number one as ciphertext", with_key(&one)));
    all.push(("a ciphertext larger than the modulus", with_key(&[0xff; 256])));
    // Padding that is right, around another key: of the right length, and of wrong ones.
    for (what, length) in
        [("another content key", 16), ("a content key that is too short", 5), ("a content key that is too long", 32)]
    {
        let key = random.octets(length);
        let wrapped = provider().transport.wrap_key(KeyTransport::Pkcs1v15, ra.spki(), &key).expect("encrypts");
        all.push((what, with_key(&wrapped)));
    }
    let elsewhere = Holder::new("elsewhere", KeyAlgorithm::Rsa(2048));
    all.push(("a key for somebody else under our name", sealed(&csr, &double_of(ra, &*elsewhere.signer))));

    // The content: its padding, its last block, what it is.
    let mut content = envelope.clone();
    let last = content.len() - 1;
    content[last] ^= 0x80;
    all.push(("a last block that is wrong", content));
    let mut content = envelope.clone();
    content[last - 20] ^= 0x80;
    all.push(("the padding of the content is wrong", content));
    all.push(("no octets", sealed(b"", ra)));
    all.push(("text", sealed(b"no request at all, in a good envelope", ra)));
    all.push(("a SEQUENCE that is no request", sealed(&tlv(0x30, &[&[2, 1, 5]]), ra)));
    all.push(("a request that is cut", sealed(&csr[..csr.len() - 9], ra)));
    let mut forged = csr.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    all.push(("a request without proof of possession", sealed(&forged, ra)));
    all.into_iter().map(|(what, envelope)| (what, Draft::around(device, MessageType::PkcsReq, envelope).der())).collect()
}

#[tokio::test]
async fn what_is_wrong_inside_looks_the_same() {
    let target = Target::new();
    let device = Holder::new("r1", KeyAlgorithm::EcdsaP256);
    let mut first: Option<(&str, Vec<u8>)> = None;
    let cases = wrong_inside(&device, &target.ra);
    assert!(cases.len() >= 12);
    for (what, message) in cases {
        let (status, signed, body) = target.post(&message).await;
        assert!(status == StatusCode::OK && signed, "{what}: {status} {}", String::from_utf8_lossy(&body));
        let reply = PkiMessage::read(&body).expect("a CertRep");
        assert_eq!(reply.attributes().fail_info_text.as_deref(), Some("The content cannot be read."), "{what}");
        assert_eq!(reply.attributes().recipient_nonce.as_deref(), Some(&NONCE[..]), "{what}");
        // What differs for good reasons: our own nonce, and the signature over it, which stands last.
        let mut blank = body.to_vec();
        let nonce = reply.attributes().sender_nonce.clone().expect("there");
        let at = position(&blank, &nonce);
        blank[at..at + nonce.len()].fill(0);
        let signature = blank.len() - 256;
        blank[signature..].fill(0);
        match &first {
            None => first = Some((what, blank)),
            Some((other, expected)) => assert_eq!(hex::encode(&blank), hex::encode(expected), "{what} and {other}"),
        }
    }
    let log = target.world.inventory.audit_log(0, 10).await.expect("read");
    assert!(log.is_empty(), "whoever can send messages cannot fill the log: {log:?}");
}
