//! A SCEP service without sockets: real keys and certificates, and a core that does what a test tells it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use ravelin::algorithm::{
    AlgorithmProfile, ContentCipher, Digest, Form, IssuerRef, KeyAlgorithm, KeyTransport, SignatureAlgorithm,
};
use ravelin::crypto::ra::RaDecrypter;
use ravelin::crypto::{CryptoPool, RaIdentity, Signer, provider};
use ravelin::enroll::{
    Answer, EnrollError, EnrollmentRequest, Intent, IssuedCertificate, Outcome, Peer, Query, Rejection, RejectionCode,
};
use ravelin::inventory::TransactionId;
use ravelin::policy::enforce::{NameRules, OtherNames, Unlisted};
use ravelin::policy::{Approval, DeviceGroup, Endpoint, GroupSettings, Matching, Rules, ScepSettings, SignerKey};
use ravelin::scep::certs_only::CertsOnly;
use ravelin::scep::envelope::{EnvelopePolicy, Recipient, seal};
use ravelin::scep::service::Core;
use ravelin::scep::{Attributes, Envelope, FailInfo, MessageTemplate, MessageType, PkiMessage, PkiStatus, ScepService};
use ravelin::snapshot::Snapshot;
use ravelin::telemetry::Metrics;
use ravelin::upstream::{Capabilities, IdempotencyKey, IssuanceOrder, Submission, UpstreamCa, UpstreamError};
use ravelin::x509::builder::{self, CertificateTemplate};
use ravelin::x509::csr::CsrTemplate;
use ravelin::x509::{Certificate, DistinguishedName, KeyUsage, extension};
use tower::ServiceExt;

/// A key with a certificate.
pub struct Identity {
    pub signer: Arc<dyn Signer>,
    pub certificate: Arc<Certificate>,
}

impl Identity {
    pub fn self_signed(name: &str, key: KeyAlgorithm) -> Self {
        let signer = provider().keys.generate(key).expect("a key");
        Self::with_key(name, signer)
    }

    pub fn with_key(name: &str, signer: Arc<dyn Signer>) -> Self {
        let der = builder::self_signed(&subject(name), &*signer, Digest::Sha256, Timestamp::now()).expect("a certificate");
        Self { signer, certificate: Arc::new(Certificate::from_der(&der).expect("ours")) }
    }

    pub fn issued(name: &str, signer: Arc<dyn Signer>, by: &Identity, usage: KeyUsage) -> Self {
        let certificate = Arc::new(issue(name, signer.spki(), by, usage));
        Self { signer, certificate }
    }

    pub fn decrypter(&self) -> RaDecrypter {
        let pkcs8 = self.signer.export_pkcs8().expect("a soft key");
        RaDecrypter { key: provider().keys.decrypter(&pkcs8).expect("RSA").into(), certificate: Arc::clone(&self.certificate) }
    }

    pub fn csr(&self, challenge: Option<&str>, digest: Digest) -> Vec<u8> {
        CsrTemplate {
            subject: &subject("CN=router-1,O=Example"),
            subject_alt_names: &[],
            extended_key_usages: &[],
            key_usage: None,
            challenge_password: challenge,
        }
        .sign(&*self.signer, digest)
        .expect("a request")
    }
}

pub fn subject(name: &str) -> DistinguishedName {
    DistinguishedName::parse(name, true).expect("a name")
}

fn certificate(name: &str, spki: &[u8], by: &Identity, usage: KeyUsage, ca: bool) -> Vec<u8> {
    let now = Timestamp::now();
    let extensions = match ca {
        true => builder::ca_extensions(spki, None, None).expect("extensions"),
        false => vec![
            extension::Extension {
                oid: der::oid::ObjectIdentifier::new_unwrap("2.5.29.15"),
                critical: true,
                value: extension::key_usage(usage),
            },
            builder::subject_key_identifier(spki).expect("an identifier"),
        ],
    };
    CertificateTemplate {
        serial: builder::random_serial(),
        issuer: by.certificate.subject().clone(),
        subject: subject(name),
        not_before: now - Duration::from_secs(3600),
        not_after: now + Duration::from_secs(86_400),
        spki: spki.to_vec(),
        extensions,
    }
    .sign(&*by.signer, SignatureAlgorithm::EcdsaSha256)
    .expect("a certificate")
}

pub fn issue(name: &str, spki: &[u8], by: &Identity, usage: KeyUsage) -> Certificate {
    Certificate::from_der(&certificate(name, spki, by, usage, false)).expect("ours")
}

/// What the SCEP client of Windows makes for itself; expired, too.
pub fn odd_self_signed(device: &Identity) -> Identity {
    let now = Timestamp::now();
    let mut identifier = builder::authority_key_identifier(&[7; 20]).expect("an identifier");
    identifier.critical = true;
    let template = CertificateTemplate {
        serial: builder::random_serial(),
        issuer: subject("CN=odd"),
        subject: subject("CN=odd"),
        not_before: now - Duration::from_secs(7200),
        not_after: now - Duration::from_secs(3600),
        spki: device.signer.spki().to_vec(),
        extensions: vec![identifier],
    };
    let der = template.sign(&*device.signer, SignatureAlgorithm::RsaSha256).expect("a certificate");
    let certificate = Arc::new(Certificate::from_der(&der).expect("read with tolerance"));
    Identity { signer: Arc::clone(&device.signer), certificate }
}

fn ca(name: &str) -> Identity {
    let plain = Identity::self_signed(name, KeyAlgorithm::EcdsaP256);
    let der = certificate(name, plain.certificate.spki(), &plain, KeyUsage::default(), true);
    Identity { certificate: Arc::new(Certificate::from_der(&der).expect("ours")), signer: plain.signer }
}

/// Everything that takes time to make, made once.
pub struct World {
    pub ca: Identity,
    pub foreign_ca: Identity,
    pub ra_signer: Identity,
    pub ra_decrypter: Identity,
    pub device: Identity,
    pub ec_device: Identity,
}

pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let ca = ca("CN=Test CA,O=Example");
        let rsa = || provider().keys.generate(KeyAlgorithm::Rsa(2048)).expect("a key");
        World {
            ra_signer: Identity::issued("CN=RA sign", rsa(), &ca, KeyUsage::DIGITAL_SIGNATURE),
            ra_decrypter: Identity::issued("CN=RA encrypt", rsa(), &ca, KeyUsage::KEY_ENCIPHERMENT),
            // Its own name is not that of its request: scepclient and Cisco do so.
            device: Identity::self_signed("CN=SCEP SIGNER", KeyAlgorithm::Rsa(2048)),
            ec_device: Identity::self_signed("CN=sensor-1", KeyAlgorithm::EcdsaP256),
            foreign_ca: self::ca("CN=Test CA,O=Example"),
            ca,
        }
    })
}

/// What the core of a test says.
#[derive(Clone)]
pub enum Will {
    Issue,
    Pend,
    Refuse(RejectionCode),
    Busy,
    Say(Outcome),
}

#[derive(Clone)]
pub struct TestCore {
    snapshot: Arc<Snapshot>,
    pool: CryptoPool,
    will: Will,
    pub requests: Arc<Mutex<Vec<EnrollmentRequest>>>,
    pub queries: Arc<Mutex<Vec<Query>>>,
}

impl Core for TestCore {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    fn pool(&self) -> &CryptoPool {
        &self.pool
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn enroll(&self, request: EnrollmentRequest) -> Result<Answer, EnrollError> {
        self.requests.lock().expect("no panic").push(request.clone());
        let outcome = match (&self.will, request.reply.deliverable()) {
            (Will::Busy, _) => return Err(EnrollError::Busy),
            (Will::Refuse(code), _) => Outcome::Refused(Rejection::new(*code, "because")),
            (_, Err(why)) => Outcome::Refused(Rejection::new(RejectionCode::NotDeliverable, why)),
            (Will::Pend, _) => Outcome::Pending { transaction: TransactionId::new(), retry_after: Duration::from_secs(60) },
            (Will::Issue, _) => issued(request.csr.spki()),
            (Will::Say(outcome), _) => outcome.clone(),
        };
        let reply = request.reply.encode(&outcome).expect("encodes");
        Ok(Answer { outcome: Some(outcome), reply: reply.into() })
    }

    async fn query(&self, query: Query) -> Result<Outcome, EnrollError> {
        self.queries.lock().expect("no panic").push(query);
        match &self.will {
            Will::Issue => Ok(issued(world().device.certificate.spki())),
            Will::Pend => Ok(Outcome::Pending { transaction: TransactionId::new(), retry_after: Duration::from_secs(60) }),
            Will::Refuse(code) => Ok(Outcome::Refused(Rejection::new(*code, "because"))),
            Will::Busy => Err(EnrollError::Busy),
            Will::Say(outcome) => Ok(outcome.clone()),
        }
    }
}

pub fn issued(spki: &[u8]) -> Outcome {
    let usage = KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT);
    Outcome::Issued(IssuedCertificate {
        transaction: TransactionId::new(),
        certificate: Arc::new(issue("CN=router-1,O=Example", spki, &world().ca, usage)),
        chain: Arc::new([Arc::clone(&world().ca.certificate)]),
        password: None,
    })
}

/// A service with one endpoint, `/scep/routers`, which is the default one.
pub struct Server {
    pub core: TestCore,
}

impl Server {
    pub fn new(will: Will, scep: ScepSettings) -> Self {
        let world = world();
        let ra = RaIdentity {
            signer: Arc::clone(&world.ra_signer.signer),
            signer_certificate: Arc::clone(&world.ra_signer.certificate),
            decrypters: vec![world.ra_decrypter.decrypter()],
            chain: vec![Arc::clone(&world.ca.certificate)],
            rollover: Default::default(),
        };
        Self::with_ra(will, scep, ra)
    }

    /// With a group whose issuer is `upstream`.
    pub fn with_upstream(upstream: Arc<dyn UpstreamCa>) -> Self {
        let mut server = Self::default_issuing();
        let snapshot = Arc::get_mut(&mut server.core.snapshot).expect("not shared yet");
        let issuer = IssuerRef { upstream: upstream.name().to_owned(), ca: "main".into() };
        let profile = AlgorithmProfile {
            name: "ecdsa-p256".into(),
            description: String::new(),
            accepts: Vec::new(),
            form: Form::Single,
            signature: SignatureAlgorithm::EcdsaSha256,
            issuer,
            validity: Duration::from_secs(86_400),
            max_reply: None,
            alternative: None,
            failover: Vec::new(),
            spread: false,
            alternative_issuer: None,
            fallback: None,
            key_usage: Default::default(),
            extensions: Default::default(),
        };
        let endpoint = Arc::get_mut(&mut snapshot.endpoints[0]).expect("not shared yet");
        endpoint.groups.push(Arc::new(group(&profile.name)));
        snapshot.upstreams.insert(upstream.name().to_owned(), upstream);
        snapshot.profiles.insert(profile.name.clone(), Arc::new(profile));
        server
    }

    pub fn with_ra(will: Will, scep: ScepSettings, ra: RaIdentity) -> Self {
        let endpoint = Arc::new(Endpoint {
            name: "routers".into(),
            path: "/scep/routers".into(),
            hosts: Vec::new(),
            sources: Vec::new(),
            default: true,
            scep,
            groups: Vec::new(),
            capabilities: OnceLock::new(),
            ca_certificates: OnceLock::new(),
        });
        let snapshot = Arc::new(Snapshot {
            generation: 1,
            digest: [0; 32],
            loaded_at: Timestamp::now(),
            endpoints: vec![endpoint],
            groups: BTreeMap::new(),
            profiles: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            ra: Arc::new(ra),
            ras: BTreeMap::new(),
            patience: Duration::from_secs(1),
            most_waiting: 16,
            renewal_issuers: vec![Arc::clone(&world().ca.certificate)],
        });
        let core = TestCore { snapshot, pool: CryptoPool::start(1, 16), will, requests: Arc::default(), queries: Arc::default() };
        Self { core }
    }

    pub fn default_issuing() -> Self {
        Self::new(Will::Issue, ScepSettings::default())
    }

    pub async fn call(&self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        let mut request = request;
        let address: SocketAddr = "192.0.2.7:50000".parse().expect("an address");
        request.extensions_mut().insert(Peer { address, tls: false });
        ScepService::new(self.core.clone(), Arc::new(Metrics::default())).oneshot(request).await.expect("infallible")
    }

    pub async fn get(&self, target: &str) -> (StatusCode, String, Bytes) {
        let request = Request::get(target).body(Full::default()).expect("a request");
        taken_apart(self.call(request).await).await
    }

    pub async fn post(&self, message: &[u8]) -> (StatusCode, String, Bytes) {
        let request = Request::post("/scep/routers/pkiclient.exe?operation=PKIOperation")
            .header("content-type", "application/x-pki-message")
            .body(Full::new(Bytes::copy_from_slice(message)))
            .expect("a request");
        taken_apart(self.call(request).await).await
    }

    /// Posts, and reads the CertRep that has to come.
    pub async fn exchange(&self, message: &[u8]) -> Reply {
        let (status, media_type, body) = self.post(message).await;
        assert_eq!((status, media_type.as_str()), (StatusCode::OK, "application/x-pki-message"), "{body:?}");
        Reply::read(body)
    }

    pub fn last_request(&self) -> EnrollmentRequest {
        self.core.requests.lock().expect("no panic").last().expect("a request came through").clone()
    }

    pub fn intent(&self) -> Intent {
        self.last_request().intent
    }

    pub fn saw_nothing(&self) -> bool {
        self.core.requests.lock().expect("no panic").is_empty()
    }
}

pub async fn taken_apart(response: Response<Full<Bytes>>) -> (StatusCode, String, Bytes) {
    let status = response.status();
    let media_type = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let body = response.into_body().collect().await.expect("infallible").to_bytes();
    (status, media_type, body)
}

fn group(profile: &str) -> DeviceGroup {
    let names = NameRules {
        dns: Vec::new(),
        ip: Vec::new(),
        uri: Vec::new(),
        email: Vec::new(),
        other: OtherNames::Refuse,
        unlisted: Unlisted::Refuse,
        add: Vec::new(),
    };
    DeviceGroup::new(GroupSettings {
        rollout: None,
        deadline: None,
        shadow: None,
        fallback: Default::default(),
        name: "routers".into(),
        description: String::new(),
        priority: 0,
        profile: profile.to_owned(),
        device: Vec::new(),
        challenges: Vec::new(),
        allow_challenge_upstream: false,
        renewal: None,
        signer_key: SignerKey::Same,
        approval: Approval::Automatic,
        per_device: None,
        allow_shared_keys: false,
        replay: Duration::ZERO,
        rules: Rules {
            keys: Vec::new(),
            subject: Vec::new(),
            set_subject: None,
            names,
            usages: Vec::new(),
            default_usages: Vec::new(),
            unlisted_usages: Unlisted::Refuse,
            key_usage: KeyUsage::default(),
            unlisted_key_usage: Unlisted::Refuse,
        },
        matching: Matching::default(),
    })
}

/// An issuer whose next certificate is ready.
pub struct NextCa {
    pub next: Arc<Certificate>,
}

#[async_trait]
impl UpstreamCa for NextCa {
    fn name(&self) -> &str {
        "local"
    }

    fn capabilities(&self, _: &str) -> Option<Capabilities> {
        None
    }

    async fn submit(&self, _: &IssuanceOrder, _: &IdempotencyKey) -> Submission {
        Submission::Unknown { reason: "not asked".into() }
    }

    async fn poll(&self, _: &IssuanceOrder, _: &str) -> Submission {
        Submission::Unknown { reason: "not asked".into() }
    }

    fn chain(&self, _: &str) -> Option<Arc<[Arc<Certificate>]>> {
        Some(Arc::new([Arc::clone(&world().ca.certificate)]))
    }

    fn next_certificate(&self, ca: &str) -> Option<Arc<Certificate>> {
        (ca == "main").then(|| Arc::clone(&self.next))
    }

    async fn health(&self) -> Result<(), UpstreamError> {
        Ok(())
    }

    fn ca_signer(&self, ca: &str) -> Option<Arc<dyn Signer>> {
        (ca == "main").then(|| Arc::clone(&world().ca.signer))
    }
}

/// A CertRep whose signature was checked.
pub struct Reply {
    pub der: Bytes,
    pub attributes: Attributes,
}

impl Reply {
    pub fn read(der: Bytes) -> Self {
        let message = PkiMessage::read(&der).expect("a CertRep");
        message.verify(&world().ra_signer.certificate, Digest::ALL).expect("signed by the RA");
        let attributes = message.attributes().clone();
        assert_eq!(attributes.message_type, Some(MessageType::CertRep.number()));
        assert_eq!(attributes.sender_nonce.as_ref().map(Vec::len), Some(16));
        Self { attributes, der }
    }

    pub fn message(&self) -> PkiMessage<'_> {
        PkiMessage::read(&self.der).expect("read before")
    }

    pub fn status(&self) -> PkiStatus {
        PkiStatus::from_number(self.attributes.pki_status.expect("there")).expect("known")
    }

    pub fn failure(&self) -> (FailInfo, String) {
        assert_eq!(self.status(), PkiStatus::Failure);
        assert_eq!(self.message().content(), None);
        let info = FailInfo::from_number(self.attributes.fail_info.expect("there")).expect("known");
        (info, self.attributes.fail_info_text.clone().expect("there"))
    }

    pub fn cipher(&self) -> ContentCipher {
        let message = self.message();
        Envelope::read(message.content().expect("a SUCCESS has content")).expect("reads").cipher().expect("known")
    }

    /// The certificates and CRLs in a SUCCESS, opened by the device.
    pub fn opened(&self, by: &Identity) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        assert_eq!(self.status(), PkiStatus::Success, "{:?}", self.attributes);
        let message = self.message();
        let envelope = Envelope::read(message.content().expect("content")).expect("reads");
        contents(&envelope.open(&[by.decrypter()], ANY).expect("opens").content)
    }

    pub fn opened_with_password(&self, password: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let message = self.message();
        let envelope = Envelope::read(message.content().expect("content")).expect("reads");
        contents(&envelope.open_with_password(password, ANY).expect("opens").content)
    }
}

fn contents(der: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let read = CertsOnly::read(der).expect("certs-only");
    let own = |all: Vec<&[u8]>| all.into_iter().map(<[u8]>::to_vec).collect();
    (own(read.certificates), own(read.crls))
}

pub const ANY: EnvelopePolicy<'static> = EnvelopePolicy { ciphers: ContentCipher::ALL, oaep: true };

/// A message as a client makes it, with everything that a test may want to be odd.
pub struct Odd<'a> {
    pub by: &'a Identity,
    pub kind: u32,
    pub content: Cow<'a, [u8]>,
    pub digest: Digest,
    pub cipher: ContentCipher,
    pub transport: KeyTransport,
    pub nonce: Option<Vec<u8>>,
    pub transaction_id: Option<String>,
    pub to: &'a Certificate,
}

impl<'a> Odd<'a> {
    /// What RFC 8894 asks for.
    pub fn plain(by: &'a Identity, kind: MessageType, content: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            by,
            kind: kind.number(),
            content: content.into(),
            digest: Digest::Sha256,
            cipher: ContentCipher::Aes128Cbc,
            transport: KeyTransport::Pkcs1v15,
            nonce: Some(vec![0xa5; 16]),
            transaction_id: Some("4FF2".into()),
            to: &world().ra_decrypter.certificate,
        }
    }

    /// A first request with the usual challenge.
    pub fn request(by: &'a Identity) -> Self {
        Self::plain(by, MessageType::PkcsReq, by.csr(Some("secret"), Digest::Sha256))
    }

    pub fn envelope(&self) -> Vec<u8> {
        seal(&self.content, Recipient::Certificate(self.to, self.transport), self.cipher).expect("seals")
    }

    pub fn der(&self) -> Vec<u8> {
        self.around(&self.envelope())
    }

    pub fn around(&self, envelope: &[u8]) -> Vec<u8> {
        let attributes = Attributes {
            transaction_id: self.transaction_id.clone(),
            message_type: Some(self.kind),
            sender_nonce: self.nonce.clone(),
            ..Attributes::default()
        };
        MessageTemplate {
            content: envelope,
            attributes: &attributes,
            digest: self.digest,
            signer: &*self.by.signer,
            signer_certificate: &self.by.certificate,
            certificates: &[self.by.certificate.der()],
        }
        .sign()
        .expect("signs")
    }
}

/// The same value as a BER encoder that streams writes it: indefinite lengths, long strings in pieces. What is implicitly tagged and
/// primitive is cut too where it is longer than a key identifier: that is encryptedContent.
pub fn ber(der: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = der;
    while !rest.is_empty() {
        let (tag, header, len) = match rest[1] {
            short @ 0..=0x7f => (rest[0], 2, usize::from(short)),
            long => {
                let count = usize::from(long & 0x7f);
                (rest[0], 2 + count, rest[2..2 + count].iter().fold(0, |n, &o| n << 8 | usize::from(o)))
            }
        };
        let content = &rest[header..header + len];
        let pieces = || {
            let mut pieces = Vec::new();
            for piece in content.chunks(100) {
                pieces.extend([4, piece.len() as u8]);
                pieces.extend(piece);
            }
            pieces
        };
        match tag {
            constructed if constructed & 0x20 != 0 => {
                out.extend([constructed, 0x80]);
                out.extend(ber(content));
                out.extend([0, 0]);
            }
            0x04 | 0x80 if len > 64 => {
                out.extend([tag | 0x20, 0x80]);
                out.extend(pieces());
                out.extend([0, 0]);
            }
            _ => out.extend(&rest[..header + len]),
        }
        rest = &rest[header + len..];
    }
    out
}
