//! Makes the tables of `docs/src/errors.md` out of what the service answers, logs and writes down.
//!
//! `RAVELIN_UPDATE_GOLDEN=1 cargo test --test errors` writes them; without it, a difference is a failure.

mod faults_support;
mod support;
mod wire_support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use faults_support::{Folder, Process};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use jiff::{SignedDuration, Timestamp};
use ravelin::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport};
use ravelin::crypto::CryptoPool;
use ravelin::enroll::{Enroller, Parts, Peer, RejectionCode};
use ravelin::inventory::sqlite::{SqliteInventory, SqliteOptions};
use ravelin::inventory::{CertificateSearch, TransactionState};
use ravelin::scep::issuer_and::{IssuerAndSerialNumber, IssuerAndSubject};
use ravelin::scep::service::fail_info;
use ravelin::scep::wire_error::WireAnswer;
use ravelin::scep::{FailInfo, MessageType, PkiMessage, PkiStatus, ScepService, WireError};
use ravelin::telemetry::Metrics;
use ravelin::x509::crl::RevocationReason;
use ravelin::x509::{Certificate, SubjectAltName};
use support::{ROUTERS, World};
use tower::ServiceExt;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use wire_support::{Draft, Holder, double_of, sealed, sealed_with, subject, tlv};

const DAY: i64 = 86_400;

/// The fields of each log line.
type Lines = Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>;

/// Keeps what is logged in this thread.
struct Capture(Lines);

impl<S: tracing::Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Fields(BTreeMap<&'static str, String>);
        impl tracing::field::Visit for Fields {
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                self.0.insert(field.name(), value.to_owned());
            }
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name(), format!("{value:?}"));
            }
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        self.0.lock().expect("no panic").push(fields.0);
    }
}

/// One line of a table.
struct Row {
    what: String,
    status: String,
    fail_info: String,
    told: String,
    code: String,
    recorded: String,
}

/// A service on a world of its own, and what was seen of it.
struct Lab {
    world: World,
    lines: Lines,
    ra: Arc<Certificate>,
    rows: Mutex<Vec<Row>>,
}

impl Lab {
    fn new() -> Self {
        let bound = ROUTERS.replace("ttl = \"1h\"", "ttl = \"1h\", bind = [\"subject.commonName\"]");
        let manual = ROUTERS.replace("[enforce]", "[enforce]\napproval = \"manual\"");
        let limited = format!("{ROUTERS}\n[limits]\nper-device = \"1/day\"\n");
        let closed: String = ROUTERS
            .lines()
            .filter(|l| !l.starts_with("challenge") && !l.starts_with("renewal"))
            .fold(String::new(), |all, line| all + line + "\n");
        let transport = ROUTERS.replace("[enforce]", "signer-key = \"may-differ\"\n[enforce]");
        let renewable = ROUTERS.replace(", window = \"30d\"", "");
        let world = World::new(&[
            ("routers", ROUTERS),
            ("bound", &bound),
            ("manual", &manual),
            ("limited", &limited),
            ("closed", &closed),
            ("renewable", &renewable),
            ("others", &renewable),
            ("transport", &transport),
        ]);
        let ra = Arc::clone(&world.snapshot.load().ra.decrypters[0].certificate);
        Self { world, lines: Lines::default(), ra, rows: Mutex::default() }
    }

    fn device(&self) -> Holder {
        Holder::new("r1", KeyAlgorithm::EcdsaP256)
    }

    async fn challenge(&self) -> String {
        self.world.challenge("routers").await
    }

    /// A good first request of a fresh device.
    async fn draft(&self) -> Draft {
        let device = self.device();
        let challenge = self.challenge().await;
        Draft::request(&device, &device.csr("r1", Some(&challenge)), &self.ra)
    }

    async fn states(&self) -> Vec<(TransactionState, usize)> {
        let mut found = Vec::new();
        for state in TransactionState::ALL {
            found.push((*state, self.world.inventory.transactions(*state, 1000).await.expect("read").len()));
        }
        found
    }

    /// Sends a request, and writes a row of what became of it.
    async fn see(&self, what: &str, request: Request<Full<Bytes>>) -> Response<Bytes> {
        self.see_with(&self.world.enroller, what, request).await
    }

    async fn see_with(&self, enroller: &Enroller, what: &str, mut request: Request<Full<Bytes>>) -> Response<Bytes> {
        request.extensions_mut().insert(Peer { address: "192.0.2.7:50000".parse().expect("an address"), tls: false });
        let events = self.world.inventory.audit_log(0, 10_000).await.expect("read").len() as u64;
        let states = self.states().await;
        self.lines.lock().expect("no panic").clear();
        let service = ScepService::new(enroller.clone(), Arc::new(Metrics::default()));
        let response = service.oneshot(request).await.expect("infallible");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("infallible").to_bytes();

        let mut recorded = Vec::new();
        for ((state, before), (_, after)) in states.into_iter().zip(self.states().await) {
            if after > before {
                recorded.push(format!("transaction {}", state.name()));
            }
        }
        for record in self.world.inventory.audit_log(events, 100).await.expect("read") {
            recorded.push(format!("audit `{}`", record.event.event));
        }
        let code = {
            let lines = self.lines.lock().expect("no panic");
            let answered = lines.iter().filter(|line| line.contains_key("status")).collect::<Vec<_>>();
            assert_eq!(answered.len(), 1, "{what}: one line for each request: {lines:#?}");
            assert_eq!(answered[0]["status"], head.status.as_u16().to_string(), "{what}");
            answered[0]["code"].clone()
        };
        let (fail_info, told) = self.told(what, &head, &body);
        let retry = if head.headers.contains_key("retry-after") { ", `Retry-After`" } else { "" };
        self.rows.lock().expect("no panic").push(Row {
            what: what.to_owned(),
            status: format!("{}{retry}", head.status.as_u16()),
            fail_info,
            told,
            code,
            recorded: if recorded.is_empty() { "nothing".to_owned() } else { recorded.join(", ") },
        });
        Response::from_parts(head, body)
    }

    /// failInfo, and the sentence or the status that the device gets.
    fn told(&self, what: &str, head: &http::response::Parts, body: &[u8]) -> (String, String) {
        if head.headers["content-type"] != "application/x-pki-message" {
            return (String::new(), String::from_utf8_lossy(body).trim().to_owned());
        }
        let reply = PkiMessage::read(body).unwrap_or_else(|error| panic!("{what}: {error}"));
        let signer = &self.world.snapshot.load().ra.signer_certificate;
        reply.verify(signer, Digest::ALL).unwrap_or_else(|error| panic!("{what}: {error}"));
        let attributes = reply.attributes();
        match attributes.pki_status.and_then(PkiStatus::from_number).expect("a status") {
            PkiStatus::Failure => {
                let info = attributes.fail_info.and_then(FailInfo::from_number).expect("a known failInfo");
                (info.name().to_owned(), attributes.fail_info_text.clone().expect("a sentence"))
            }
            PkiStatus::Success => (String::new(), "SUCCESS".to_owned()),
            PkiStatus::Pending => (String::new(), "PENDING".to_owned()),
        }
    }

    async fn post(&self, what: &str, message: &[u8]) -> Response<Bytes> {
        self.post_to("routers", what, message).await
    }

    async fn post_to(&self, group: &str, what: &str, message: &[u8]) -> Response<Bytes> {
        self.see(what, post(group, message)).await
    }

    async fn get(&self, what: &str, target: &str) {
        self.see(what, Request::get(target).body(Full::default()).expect("a request")).await;
    }

    /// Enrolls without a row: what has to be there before the case.
    async fn enroll(&self, group: &str, device: &Holder, name: &str, challenge: &str) -> Vec<u8> {
        let message = Draft::request(device, &device.csr(name, Some(challenge)), &self.ra).der();
        let response = self.post_to(group, "not a row", &message).await;
        let row = self.rows.lock().expect("no panic").pop().expect("a row");
        assert!(row.told == "SUCCESS" || row.told == "PENDING", "{}: {}", row.told, row.code);
        drop(response);
        message
    }

    /// The device with the certificate that it enrolled for.
    async fn enrolled(&self, group: &str, device: &Holder, name: &str) -> Holder {
        let challenge = self.world.challenge(group).await;
        self.enroll(group, device, name, &challenge).await;
        let found =
            self.world.inventory.certificates(&CertificateSearch { limit: 1000, ..Default::default() }).await.expect("read");
        let of_key = |der: &[u8]| Certificate::from_der(der).expect("ours").spki() == device.signer.spki();
        let record = found.into_iter().find(|record| of_key(&record.der)).expect("issued");
        Holder::named(Arc::clone(&device.signer), &record.der)
    }

    /// Begins a new table, and gives the one before.
    fn table(&self) -> String {
        let rows = std::mem::take(&mut *self.rows.lock().expect("no panic"));
        let mut text =
            "| what came | HTTP | failInfo | what the device is told | `code` in the log | what is written down |\n|---|---|---|---|---|---|\n"
                .to_owned();
        for Row { what, status, fail_info, told, code, recorded } in rows {
            let _ = writeln!(text, "| {what} | {status} | {fail_info} | {told} | `{code}` | {recorded} |");
        }
        text
    }
}

fn post(group: &str, message: &[u8]) -> Request<Full<Bytes>> {
    Request::post(format!("/scep/{group}?operation=PKIOperation"))
        .header("content-type", "application/x-pki-message")
        .body(Full::new(Bytes::copy_from_slice(message)))
        .expect("a request")
}

/// No message in it, or none that can be read.
async fn unreadable(lab: &Lab) -> String {
    lab.get("GET of a path that no endpoint has", "/scep/nobody?operation=GetCACaps").await;
    let put = Request::put("/scep/routers?operation=PKIOperation").body(Full::default()).expect("a request");
    lab.see("another method than GET and POST", put).await;
    lab.get("GET without an operation", "/scep/routers").await;
    lab.get("an unknown operation", "/scep/routers?operation=GetCoffee").await;
    lab.get("GetNextCACert where there is no next CA certificate", "/scep/routers?operation=GetNextCACert").await;
    lab.get("PKIOperation by GET without a message", "/scep/routers?operation=PKIOperation").await;
    lab.get("a message that is no base64", "/scep/routers?operation=PKIOperation&message=*AAA").await;
    lab.post("POST without a body", b"").await;

    let mut random = wire_support::Random(0x5eed_0e44_0412);
    lab.post("random octets", &random.octets(700)).await;
    let good = lab.draft().await.der();
    lab.post("a truncated message", &good[..good.len() / 2]).await;
    lab.post("octets after the message", &[&good[..], b"\n\n"].concat()).await;
    lab.post("values nested 5000 deep", &[[0x30, 0x80].repeat(5000), vec![0; 10_000]].concat()).await;
    let most = lab.world.snapshot.load().endpoints[0].scep.max_message;
    lab.post("a message larger than `max-message`", &vec![0x30; most + 1]).await;
    let mut draft = lab.draft().await;
    draft.transaction_id = None;
    lab.post("no transactionID", &draft.der()).await;
    lab.post("a certificate in place of a message", lab.ra.der()).await;
    lab.table()
}

/// The signature, and what stands under it.
async fn outside_the_envelope(lab: &Lab) -> String {
    let mut draft = lab.draft().await;
    draft.kind = None;
    lab.post("no messageType", &draft.der()).await;
    draft.kind = Some(99);
    lab.post("an unknown messageType", &draft.der()).await;
    draft.kind = Some(MessageType::CertRep.number());
    lab.post("a CertRep from a device", &draft.der()).await;

    let mut draft = lab.draft().await;
    draft.nonce = None;
    lab.post("no senderNonce", &draft.der()).await;
    let mut draft = lab.draft().await;
    draft.certificates.clear();
    lab.post("no signer's certificate", &draft.der()).await;
    draft.certificates.push(tlv(0x30, &[&[2, 1, 5]]));
    lab.post("a signer's certificate that cannot be read", &draft.der()).await;

    let mut draft = lab.draft().await;
    draft.by.certificate = lab.device().certificate;
    draft.certificates.insert(0, lab.device().certificate.der().to_vec());
    lab.post("a signer that names a certificate that did not come along", &draft.der()).await;

    let mut message = lab.draft().await.der();
    let last = message.len() - 1;
    message[last] ^= 1;
    lab.post("a wrong signature", &message).await;
    let mut draft = lab.draft().await;
    draft.signed_envelope = Some(draft.envelope.iter().rev().copied().collect());
    lab.post("a wrong digest: the content is not what was signed", &draft.der()).await;
    let mut draft = lab.draft().await;
    draft.forger = Some(lab.device().signer);
    lab.post("signed with another key than the certificate has", &draft.der()).await;

    let rsa = Holder::new("r1", KeyAlgorithm::Rsa(2048));
    let mut draft = Draft::request(&rsa, &rsa.csr("r1", Some("x")), &lab.ra);
    draft.digest = Digest::Sha1;
    lab.post("signed with a forbidden digest, sha-1", &draft.der()).await;
    // Nothing of ours signs with MD5 any more: refused by its name, before the signature is looked at.
    let md5 = Digest::Md5.oid().to_string();
    let mut draft = Draft::request(&rsa, &rsa.csr("r1", Some("x")), &lab.ra);
    draft.digest_name = Some(md5);
    lab.post("signed with a forbidden digest, md5", &draft.der()).await;
    let mut draft = lab.draft().await;
    draft.digest_name = Some("2.16.840.1.101.3.4.2.99".into());
    lab.post("signed with an unknown digest", &draft.der()).await;

    let device = lab.device();
    lab.post("no content", &Draft::around(&device, MessageType::PkcsReq, Vec::new()).der()).await;
    lab.post("content that is no envelope", &Draft::around(&device, MessageType::PkcsReq, tlv(0x30, &[&[2, 1, 5]])).der()).await;
    lab.table()
}

/// The envelope, and the certification request in it. All that can go wrong behind the decryption looks the same.
async fn inside_the_envelope(lab: &Lab) -> String {
    let device = lab.device();
    let challenge = lab.challenge().await;
    let csr = device.csr("r1", Some(&challenge));
    let around = |envelope: Vec<u8>| Draft::around(&device, MessageType::PkcsReq, envelope).der();

    for cipher in [ContentCipher::DesCbc, ContentCipher::DesEde3Cbc] {
        let envelope = sealed_with(&csr, &lab.ra, cipher, KeyTransport::Pkcs1v15);
        lab.post(&format!("encrypted with a forbidden cipher, {}", cipher.name()), &around(envelope)).await;
    }
    let other = Holder::new("another RA", KeyAlgorithm::Rsa(2048));
    lab.post("encrypted to another recipient", &around(sealed(&csr, &other.certificate))).await;
    let double = double_of(&lab.ra, &*other.signer);
    let garbled = lab.post("a content key that does not decrypt", &around(sealed(&csr, &double))).await;

    let envelope = sealed(&csr, &lab.ra);
    let mut cut = envelope.clone();
    let last = cut.len() - 1;
    cut[last] ^= 1;
    let padding = lab.post("a content whose padding is wrong", &around(cut)).await;
    let noise = lab.post("random octets in the envelope", &around(sealed(b"no request at all", &lab.ra))).await;
    let mut forged = csr.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let unproved = lab.post("a request without proof of possession", &around(sealed(&forged, &lab.ra))).await;
    for (other, what) in [(padding, "padding"), (noise, "noise"), (unproved, "possession")] {
        assert_eq!(other.status(), garbled.status(), "{what}");
        assert_eq!(other.body().len(), garbled.body().len(), "{what}");
    }

    let rsa = Holder::new("r1", KeyAlgorithm::Rsa(2048));
    let weakly = rsa.csr_with("r1", &[], Some(&challenge), Digest::Sha1);
    lab.post("a request signed with a forbidden digest, sha-1", &Draft::request(&rsa, &weakly, &lab.ra).der()).await;
    lab.table()
}

/// What policy says.
async fn refused(lab: &Lab) -> String {
    let anew = |device: &Holder, name: &str, challenge: Option<&str>| {
        Draft::request(device, &device.csr(name, challenge), &lab.ra).der()
    };

    let rsa = Holder::new("r1", KeyAlgorithm::Rsa(2048));
    let challenge = lab.challenge().await;
    let other = Draft::request(&rsa, &lab.device().csr("r1", Some(&challenge)), &lab.ra);
    lab.post("a first request signed by another key than its own", &other.der()).await;
    lab.post("no challenge", &anew(&rsa, "r1", None)).await;
    lab.post("a wrong challenge", &anew(&lab.device(), "r1", Some("guessed"))).await;
    let spent = lab.challenge().await;
    lab.enroll("routers", &lab.device(), "r1", &spent).await;
    lab.post("a spent challenge", &anew(&lab.device(), "r2", Some(&spent))).await;
    let revoked = lab.challenge().await;
    let row = lab.world.inventory.challenges(Some("routers"), false, 100).await.expect("read");
    let digest = ravelin::enroll::challenge::digest(&revoked);
    let id = row.into_iter().find(|row| row.digest == digest).expect("there").id;
    let event = lab.world.inventory.audit_log(0, 1).await.expect("read").remove(0).event;
    assert!(lab.world.inventory.revoke_challenge(&id, event).await.expect("written"));
    lab.post("a revoked challenge", &anew(&lab.device(), "r2", Some(&revoked))).await;
    let new = ravelin::enroll::operate::NewChallenges {
        group: "bound".into(),
        bind: [("subject.commonName".to_owned(), "r9".to_owned())].into(),
        ..Default::default()
    };
    let (bound, _) = lab.world.enroller.mint_challenges(new, "tester").await.expect("made").remove(0);
    lab.post_to("bound", "a challenge that is bound to another device", &anew(&lab.device(), "r2", Some(&bound))).await;
    lab.post_to("closed", "a group that takes neither challenges nor renewals", &anew(&lab.device(), "r2", Some("x"))).await;

    let challenge = lab.challenge().await;
    let with =
        async |what: &str, device: Holder, csr: Vec<u8>| lab.post(what, &Draft::request(&device, &csr, &lab.ra).der()).await;
    let small = Holder::new("r1", KeyAlgorithm::Rsa(1024));
    with("a weak key, RSA with 1024 bits", small.clone(), small.csr("r3", Some(&challenge))).await;
    let d = lab.device();
    let long = KeyTransport::Oaep { digest: Digest::Sha512, mgf1: Digest::Sha512 };
    let envelope = sealed_with(&d.csr("r3", Some(&challenge)), &lab.ra, ContentCipher::Aes128Cbc, long);
    let draft = Draft::around(&small, MessageType::PkcsReq, envelope);
    lab.post("key transport that the signer's key is too short for: OAEP with SHA-512, RSA with 1024 bits", &draft.der()).await;
    let d = lab.device();
    with("a subject that the group does not allow", d.clone(), d.csr("R_3", Some(&challenge))).await;
    let names = [SubjectAltName::Dns("www.example.com".into())];
    let d = lab.device();
    with(
        "a subject alternative name that the group does not allow",
        d.clone(),
        d.csr_with("r3", &names, Some(&challenge), Digest::Sha256),
    )
    .await;

    let first = lab.world.challenge("limited").await;
    lab.enroll("limited", &lab.device(), "r4", &first).await;
    let second = lab.world.challenge("limited").await;
    lab.post_to("limited", "one certificate more than the group's limit", &anew(&lab.device(), "r4", Some(&second))).await;

    let device = lab.device();
    lab.enrolled("routers", &device, "r5").await;
    let challenge = lab.challenge().await;
    lab.post("a key that another device has a certificate for", &anew(&device, "r6", Some(&challenge))).await;

    // Renewals: by an RSA key, for an EC key without a challenge cannot open any reply.
    let holder = lab.enrolled("routers", &rsa, "r7").await;
    lab.post("a renewal before its time", &anew(&holder, "r7", None)).await;
    let ec = lab.enrolled("renewable", &lab.device(), "r8").await;
    lab.post_to("renewable", "a renewal whose reply could not be encrypted: an EC key, and no challenge", &anew(&ec, "r8", None))
        .await;
    let rsa = Holder::new("r1", KeyAlgorithm::Rsa(2048));
    let holder = lab.enrolled("renewable", &rsa, "r9").await;
    lab.post_to("renewable", "a renewal under another name", &anew(&holder, "r10", None)).await;
    lab.post_to("others", "a renewal of another group's certificate", &anew(&holder, "r9", None)).await;
    let record = lab.world.inventory.certificate(&holder.certificate.fingerprint()).await.expect("read").expect("there");
    assert!(lab.world.enroller.revoke(&record, RevocationReason::Superseded, "tester").await.expect("revoked"));
    lab.post_to("renewable", "a renewal of a revoked certificate", &anew(&holder, "r9", None)).await;

    let challenge = lab.world.challenge("manual").await;
    let device = lab.device();
    let message = lab.enroll("manual", &device, "r11", &challenge).await;
    let waiting = lab.world.inventory.transactions(TransactionState::AwaitingApproval, 10).await.expect("read");
    let waiting = waiting.into_iter().find(|transaction| transaction.subject.contains("r11")).expect("it waits");
    lab.world.enroller.deny(waiting.id, "unknown device", "tester").await.expect("denied");
    let names = IssuerAndSubject { issuer: lab.ra.issuer().der().to_vec(), subject: subject("r11").der().to_vec() }.to_der();
    let poll = Draft::around(&device, MessageType::CertPoll, sealed(&names, &lab.ra)).der();
    lab.post_to("manual", "CertPoll after people said no", &poll).await;
    lab.post_to("manual", "the same request again after people said no", &message).await;

    let stranger = lab.device();
    let poll = Draft::around(&stranger, MessageType::CertPoll, sealed(&names, &lab.ra)).der();
    lab.post("CertPoll for a transaction that there is not, or of another signer", &poll).await;
    let nothing = IssuerAndSerialNumber { issuer: lab.ra.issuer().der().to_vec(), serial: vec![1, 2, 3] }.to_der();
    lab.post(
        "GetCert of a certificate that there is not",
        &Draft::around(&stranger, MessageType::GetCert, sealed(&nothing, &lab.ra)).der(),
    )
    .await;
    let nobody = IssuerAndSerialNumber { issuer: subject("nobody").der().to_vec(), serial: vec![1] }.to_der();
    lab.post("GetCRL of an unknown issuer", &Draft::around(&stranger, MessageType::GetCrl, sealed(&nobody, &lab.ra)).der()).await;

    let late = lab.challenge().await;
    lab.world.clock.forward(2 * 3600);
    lab.post("an expired challenge", &anew(&lab.device(), "r12", Some(&late))).await;
    lab.table()
}

/// What is odd, and no error.
async fn taken(lab: &Lab) -> String {
    let mut draft = lab.draft().await;
    draft.signing_time = Some(Timestamp::now() + SignedDuration::from_hours(24 * 3650));
    lab.post("a signingTime ten years ahead: it counts for nothing, many devices have no clock", &draft.der()).await;
    let device = lab.device();
    let challenge = lab.challenge().await;
    let expired = device.valid(-20 * DAY, -10 * DAY);
    lab.post(
        "signed with a self-made certificate that is expired",
        &Draft::request(&expired, &device.csr("r20", Some(&challenge)), &lab.ra).der(),
    )
    .await;
    let device = lab.device();
    let challenge = lab.challenge().await;
    let future = device.valid(10 * DAY, 20 * DAY);
    lab.post(
        "signed with a self-made certificate of the future",
        &Draft::request(&future, &device.csr("r21", Some(&challenge)), &lab.ra).der(),
    )
    .await;
    let (signer, subject) = (lab.device(), lab.device());
    let challenge = lab.world.challenge("transport").await;
    let mismatched = Draft::request(&signer, &subject.csr("r22", Some(&challenge)), &lab.ra).der();
    lab.post_to("transport", "a first request signed by another key than its own, where `signer-key` lets it", &mismatched).await;
    let challenge = lab.challenge().await;
    let message = lab.enroll("routers", &lab.device(), "r23", &challenge).await;
    let first = lab.post("replayed: the octets of a request that was granted", &message).await;
    let again = lab.post("not a row", &message).await;
    lab.rows.lock().expect("no panic").pop();
    assert_eq!(first.body(), again.body(), "the same octets get the same octets");
    let device = lab.device();
    let wrong = Draft::request(&device, &device.csr("r24", Some("guessed")), &lab.ra).der();
    let refused = lab.post("not a row", &wrong).await;
    lab.rows.lock().expect("no panic").pop();
    let again = lab.post("replayed: the octets of a request that was refused", &wrong).await;
    assert_eq!(refused.body(), again.body(), "the same octets get the same octets");
    let device = lab.device();
    let challenge = lab.world.challenge("manual").await;
    let message = lab.enroll("manual", &device, "r25", &challenge).await;
    lab.post_to("manual", "replayed: the octets of a request that waits for people", &message).await;
    lab.table()
}

/// What is our fault: the device may come again, and nothing is a final answer.
async fn our_fault(lab: &Lab) -> String {
    let parts = |inventory, pool| Parts {
        snapshot: Arc::clone(&lab.world.snapshot),
        inventory,
        pool,
        metrics: Arc::new(Metrics::default()),
        clock: Arc::clone(&lab.world.clock) as Arc<dyn ravelin::clock::Clock>,
        seal_key: [5; 32],
        node: "test".into(),
    };
    let message = lab.draft().await.der();

    let pool = CryptoPool::start(1, 1);
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = std::sync::mpsc::channel::<()>();
    let busy = {
        let pool = pool.clone();
        tokio::spawn(async move {
            let hold = move || {
                begun.send(()).expect("the test waits");
                let _ = held.recv();
            };
            pool.run(hold).await
        })
    };
    tokio::task::yield_now().await;
    begins.recv_timeout(Duration::from_secs(30)).expect("the pool works");
    let full = Enroller::new(parts(Arc::clone(&lab.world.inventory), pool));
    lab.see_with(&full, "the queue for cryptography is full", post("routers", &message)).await;
    let_go.send(()).expect("it waits");
    busy.await.expect("no panic").expect("it ran");

    let file = lab.world.folder.path().join("inventory.sqlite");
    let options = SqliteOptions { busy_timeout: Duration::from_millis(20), ..SqliteOptions::default() };
    let inventory = Arc::new(SqliteInventory::open(&file, options).expect("opens"));
    let hoarder = rusqlite::Connection::open(&file).expect("opens");
    hoarder.execute_batch("BEGIN IMMEDIATE").expect("begins");
    let enroller = Enroller::new(parts(inventory, CryptoPool::start(1, 16)));
    lab.see_with(&enroller, "the inventory takes no writes: disk full, read-only or locked", post("routers", &message)).await;
    hoarder.execute_batch("ROLLBACK").expect("ends");
    lab.see_with(&enroller, "the same request once it can be written again", post("routers", &message)).await;
    lab.table()
}

/// What never reaches the service: asked of the real server, over TCP.
fn connections() -> String {
    let folder = Folder::new();
    folder.edit("ravelin.toml", |text| {
        let limits = "[limits]\nheader-timeout = \"1s\"\nbody-timeout = \"1s\"\nidle-timeout = \"1s\"\nper-source = 2\nper-source-burst = 4";
        text.replace("[limits]", limits)
    });
    let process = Process::start(&folder);
    let mut rows = "| what came | what the device sees |\n|---|---|\n".to_owned();
    let mut row = |what: &str, (status, head, body): (u16, String, String)| {
        let mut seen = if status == 0 { "the connection ends, without a word".to_owned() } else { status.to_string() };
        for (header, shown) in [("retry-after:", ", `Retry-After`"), ("connection: close", ", `Connection: close`")] {
            if head.contains(header) {
                seen.push_str(shown);
            }
        }
        if !body.trim().is_empty() {
            let _ = write!(seen, ": {}", body.trim());
        }
        let _ = writeln!(rows, "| {what} | {seen} |");
    };
    let say = |text: &str| {
        let mut stream = TcpStream::connect(process.devices).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        stream.write_all(text.as_bytes()).expect("written");
        faults_support::answer(&mut stream)
    };
    row("a connection without a request, for `header-timeout`", say(""));
    row("half a request head, for `header-timeout`", say("GET /scep/default?operation=GetCACaps HTTP/1.1\r\nhost:"));
    let head = "POST /scep/default?operation=PKIOperation HTTP/1.1\r\nhost: x\r\ncontent-length: ";
    row("half a body, for `body-timeout`", say(&format!("{head}100\r\n\r\n0123456789")));
    row("a body larger than `max-body`", say(&format!("{head}100000000\r\n\r\n")));
    std::thread::sleep(Duration::from_secs(2));
    let (status, _, _) = say("GET /scep/default?operation=GetCACaps HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status, 200, "answered, and then cut off: reading ends only with the connection");
    let often = "GET /scep/default?operation=GetCACaps HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let refused = (0..50).map(|_| say(often)).find(|(status, _, _)| *status != 200).expect("the limit is two a second");
    row("more requests than `per-source` allows", refused);
    rows
}

fn codes() -> (String, String) {
    let mut wire = "| code | answer | what the device is told |\n|---|---|---|\n".to_owned();
    for error in WireError::examples() {
        let answer = match error.answer() {
            WireAnswer::Status(status) => format!("HTTP {}", status.as_u16()),
            WireAnswer::Failure(info) => info.name().to_owned(),
        };
        let _ = writeln!(wire, "| `{}` | {answer} | {} |", error.code(), error.public());
    }
    let mut rejections = "| code | failInfo | what the device is told |\n|---|---|---|\n".to_owned();
    for code in RejectionCode::all() {
        let _ = writeln!(rejections, "| `{}` | {} | {} |", code.name(), fail_info(code).name(), code.public());
    }
    (wire, rejections)
}

/// Puts the tables between their marks.
fn page(text: &str, tables: &[(&str, String)]) -> String {
    let mut page = text.to_owned();
    for (name, table) in tables {
        let (begin, end) = (format!("<!-- table: {name} -->\n"), format!("<!-- end: {name} -->\n"));
        let from = page.find(&begin).unwrap_or_else(|| panic!("{begin} is missing")) + begin.len();
        let to = page.find(&end).unwrap_or_else(|| panic!("{end} is missing"));
        page.replace_range(from..to, &format!("\n{table}\n"));
    }
    page
}

#[tokio::test]
async fn the_page_tells_what_happens() {
    let lab = Lab::new();
    let subscriber = tracing_subscriber::registry().with(Capture(Arc::clone(&lab.lines)));
    let _guard = tracing::subscriber::set_default(subscriber);
    let unreadable = unreadable(&lab).await;
    let outside = outside_the_envelope(&lab).await;
    let inside = inside_the_envelope(&lab).await;
    let taken = taken(&lab).await;
    let ours = our_fault(&lab).await;
    let refused = refused(&lab).await;
    let connections = tokio::task::spawn_blocking(connections).await.expect("no panic");
    let (wire, rejections) = codes();
    let tables = [
        ("unreadable", unreadable),
        ("outside", outside),
        ("inside", inside),
        ("refused", refused),
        ("taken", taken),
        ("ours", ours),
        ("connections", connections),
        ("wire-codes", wire),
        ("rejection-codes", rejections),
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/errors.md");
    let stored = std::fs::read_to_string(&path).expect("in the repository");
    let made = page(&stored, &tables);
    if std::env::var_os("RAVELIN_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).expect("written");
        return;
    }
    let differs = stored.lines().zip(made.lines()).find(|(stored, made)| stored != made);
    assert!(
        stored == made,
        "docs/src/errors.md is not what happens (RAVELIN_UPDATE_GOLDEN=1 cargo test --test errors writes it): {differs:#?}"
    );
}
