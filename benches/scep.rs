//! The message codec of SCEP: what each layer costs, cryptography included. `cargo bench --bench scep`

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use ravelin::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport};
use ravelin::crypto::ra::RaDecrypter;
use ravelin::crypto::{Signer, provider};
use ravelin::scep::cert_rep::CertRep;
use ravelin::scep::certs_only::{SetOrder, write};
use ravelin::scep::envelope::{EnvelopePolicy, Recipient, seal};
use ravelin::scep::{Attributes, Envelope, MessageTemplate, MessageType, PkiMessage};
use ravelin::x509::csr::CsrTemplate;
use ravelin::x509::{Certificate, DistinguishedName, VerifiedCsr, ber, builder};

struct Identity {
    signer: Arc<dyn Signer>,
    certificate: Certificate,
}

fn identity(name: &str) -> Identity {
    let signer = provider().keys.generate(KeyAlgorithm::Rsa(2048)).expect("a key");
    let name = DistinguishedName::parse(name, true).expect("a name");
    let der = builder::self_signed(&name, &*signer, Digest::Sha256, Timestamp::now()).expect("a certificate");
    Identity { certificate: Certificate::from_der(&der).expect("ours"), signer }
}

fn scep(c: &mut Criterion) {
    let (ra, device) = (identity("CN=RA"), identity("CN=router-1,O=Example"));
    let key = provider().keys.decrypter(&ra.signer.export_pkcs8().expect("a soft key")).expect("RSA");
    let keys = [RaDecrypter { key: key.into(), certificate: Arc::new(ra.certificate.clone()) }];
    let policy = EnvelopePolicy { ciphers: ContentCipher::ALL, oaep: true };
    let digests = [Digest::Sha256];
    let csr = CsrTemplate {
        subject: device.certificate.subject(),
        subject_alt_names: &[],
        extended_key_usages: &[],
        key_usage: None,
        challenge_password: Some("secret"),
    }
    .sign(&*device.signer, Digest::Sha256)
    .expect("a request");
    let recipient = Recipient::Certificate(&ra.certificate, KeyTransport::Pkcs1v15);
    let envelope = seal(&csr, recipient, ContentCipher::Aes128Cbc).expect("seals");
    let attributes = Attributes {
        transaction_id: Some("A13090761A30F66664F85D37433D2065E1112BA1".into()),
        message_type: Some(MessageType::PkcsReq.number()),
        sender_nonce: Some(vec![7; 16]),
        ..Attributes::default()
    };
    let message = MessageTemplate {
        content: &envelope,
        attributes: &attributes,
        digest: Digest::Sha256,
        signer: &*device.signer,
        signer_certificate: &device.certificate,
        certificates: &[device.certificate.der()],
    }
    .sign()
    .expect("signs");

    let mut group = c.benchmark_group("scep");
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("read", |b| {
        b.iter(|| {
            let der = ber::to_der(black_box(&message)).expect("DER");
            PkiMessage::read(&der).expect("a message").attributes().message_type
        })
    });
    group.bench_function("read-and-verify", |b| {
        b.iter(|| {
            let message = PkiMessage::read(black_box(&message)).expect("a message");
            let signer = message.signer_certificate().expect("it came along");
            message.verify(&signer, &digests).expect("signed");
        })
    });
    group.bench_function("open", |b| {
        b.iter(|| Envelope::read(black_box(&envelope)).expect("an envelope").open(&keys, policy).expect("for us"))
    });
    group.bench_function("request-to-csr", |b| {
        b.iter(|| {
            let der = ber::to_der(black_box(&message)).expect("DER");
            let message = PkiMessage::read(&der).expect("a message");
            let signer = message.signer_certificate().expect("it came along");
            message.verify(&signer, &digests).expect("signed");
            let envelope = Envelope::read(message.content().expect("content")).expect("an envelope");
            let opened = envelope.open(&keys, policy).expect("for us");
            VerifiedCsr::from_der(&opened.content).expect("a request")
        })
    });
    let cert_rep = CertRep {
        signer: &*ra.signer,
        signer_certificate: &ra.certificate,
        include_signer: true,
        transaction_id: "A13090761A30F66664F85D37433D2065E1112BA1",
        request_nonce: Some(&[7; 16]),
        digest: Digest::Sha256,
    };
    group.bench_function("success", |b| {
        b.iter(|| {
            let content = write(&[device.certificate.der()], &[], SetOrder::AsGiven);
            let recipient = Recipient::Certificate(&device.certificate, KeyTransport::Pkcs1v15);
            cert_rep.success(&content, recipient, ContentCipher::Aes128Cbc).expect("makes a reply")
        })
    });
    group.bench_function("pending", |b| b.iter(|| cert_rep.pending().expect("makes a reply")));
    group.finish();
}

criterion_group!(benches, scep);
criterion_main!(benches);
