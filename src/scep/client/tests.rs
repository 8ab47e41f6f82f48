//! The client against replies that are made by hand: each check is one that something fails.

use super::transaction::Outgoing;
use super::*;
use crate::crypto::Signer;
use crate::scep::cert_rep::CertRep;
use crate::scep::certs_only::{self, SetOrder};
use crate::scep::envelope::{EnvelopePolicy, Recipient};
use crate::scep::testing::{self, device, ec_device, ra};
use crate::scep::{Envelope, FailInfo, MessageType, PkiMessage, WireError};
use crate::x509::builder::{CertificateTemplate, random_serial};
use crate::x509::{DistinguishedName, VerifiedCsr};

fn key_of(identity: &testing::Identity) -> DeviceKey {
    DeviceKey::from_pkcs8(&identity.signer.export_pkcs8().unwrap()).unwrap()
}

fn request(identity: &testing::Identity) -> Request {
    Request {
        key: key_of(identity),
        csr: CsrSource::Template {
            subject: identity.certificate.subject().clone(),
            subject_alt_names: Vec::new(),
            extended_key_usages: Vec::new(),
            key_usage: None,
        },
        challenge: Some("s3cret".to_owned().into()),
        renewal: None,
        transport_key: None,
        reply_key: None,
        message_type: None,
        transaction_id: None,
    }
}

fn transaction_with(request: Request, options: &Options, capabilities: &str) -> Result<Transaction, ClientError> {
    let authority = Authority::new(vec![(*ra().certificate).clone()], &[], Timestamp::now()).unwrap();
    Transaction::new(request, Arc::new(authority), &Capabilities::parse(capabilities), options, Timestamp::now())
}

fn transaction() -> Transaction {
    transaction_with(request(device()), &Options::default(), "SCEPStandard\nRenewal").unwrap()
}

/// A certificate of the RA's name for this key.
fn issued_for(spki: &[u8]) -> Vec<u8> {
    let now = Timestamp::now();
    CertificateTemplate {
        serial: random_serial(),
        issuer: ra().certificate.subject().clone(),
        subject: DistinguishedName::parse("CN=issued", true).unwrap(),
        not_before: now,
        not_after: now + jiff::SignedDuration::from_hours(1),
        spki: spki.to_vec(),
        extensions: Vec::new(),
    }
    .sign(&*ra().signer, crate::algorithm::SignatureAlgorithm::RsaSha256)
    .unwrap()
}

/// What a reply is made with; each test changes one thing.
struct Server<'a> {
    signer: &'a dyn Signer,
    certificate: &'a Certificate,
    include_signer: bool,
    id: &'a str,
    nonce: Option<&'a [u8]>,
    digest: Digest,
}

impl<'a> Server<'a> {
    fn good(transaction: &'a Transaction) -> Self {
        Server {
            signer: &*ra().signer,
            certificate: &ra().certificate,
            include_signer: true,
            id: transaction.id(),
            nonce: Some(&transaction.message.sender_nonce),
            digest: Digest::Sha256,
        }
    }

    fn rep(&self) -> CertRep<'_> {
        CertRep {
            signer: self.signer,
            signer_certificate: self.certificate,
            include_signer: self.include_signer,
            transaction_id: self.id,
            request_nonce: self.nonce,
            digest: self.digest,
        }
    }

    fn success(&self, transaction: &Transaction, certificates: &[&[u8]], cipher: ContentCipher) -> Vec<u8> {
        let recipient = Recipient::Certificate(&transaction.identity.certificate, KeyTransport::Pkcs1v15);
        let content = certs_only::write(certificates, &[], SetOrder::AsGiven);
        self.rep().success(&content, recipient, cipher).unwrap()
    }
}

fn open(transaction: &Transaction, reply: &[u8]) -> Result<Outcome, ClientError> {
    transaction.open(&transaction.message, reply)
}

const AES: ContentCipher = ContentCipher::Aes128Cbc;

#[test]
fn the_request_is_what_a_server_reads() {
    let transaction = transaction();
    let message = PkiMessage::read(transaction.message()).unwrap();
    message.verify(&message.signer_certificate().unwrap(), &[Digest::Sha256]).unwrap();
    let attributes = message.attributes();
    assert_eq!(attributes.message_type, Some(19));
    assert_eq!(
        attributes.transaction_id.as_deref(),
        Some(hex::encode(provider().digester.sha256(device().signer.spki())).as_str())
    );
    assert_eq!(attributes.sender_nonce.as_ref().map(Vec::len), Some(16));
    let envelope = Envelope::read(message.content().unwrap()).unwrap();
    let policy = EnvelopePolicy { ciphers: &[AES], oaep: false };
    let csr = VerifiedCsr::from_der(&envelope.open(&[ra().decrypter()], policy).unwrap().content).unwrap();
    assert_eq!((csr.spki(), csr.challenge_password()), (device().signer.spki(), Some("s3cret")));
}

#[test]
fn a_good_reply_brings_the_certificate_and_its_chain_in_any_order() {
    let transaction = transaction();
    let (leaf, other) = (issued_for(device().signer.spki()), issued_for(ec_device().signer.spki()));
    let certificates = [other.as_slice(), ra().certificate.der(), &leaf];
    let mut server = Server::good(&transaction);
    for include_signer in [true, false] {
        server.include_signer = include_signer;
        let outcome = open(&transaction, &server.success(&transaction, &certificates, AES)).unwrap();
        let Outcome::Issued(issued) = outcome else { panic!("{outcome:?}") };
        assert_eq!(issued.certificate.der(), leaf);
        assert_eq!(issued.chain, [(*ra().certificate).clone()]);
        assert_eq!((issued.protection.cipher, issued.protection.transport), (Some(AES), Some(KeyTransport::Pkcs1v15)));
    }
}

#[test]
fn refusals_and_patience_are_no_errors() {
    let transaction = transaction();
    let server = Server::good(&transaction);
    assert_eq!(open(&transaction, &server.rep().pending().unwrap()).unwrap(), Outcome::Pending);
    let refused = open(&transaction, &server.rep().failure(FailInfo::BadRequest, "No.").unwrap()).unwrap();
    let failure = Failure { fail_info: Some(FailInfo::BadRequest), number: Some(2), text: Some("No.".into()) };
    assert_eq!(refused, Outcome::Failed(failure));
}

#[test]
fn a_reply_has_to_belong_to_the_request() {
    let transaction = transaction();
    let pending = |change: &dyn Fn(&mut Server<'_>)| {
        let mut server = Server::good(&transaction);
        change(&mut server);
        open(&transaction, &server.rep().pending().unwrap()).unwrap_err()
    };
    assert!(matches!(pending(&|server| server.nonce = None), ClientError::WrongNonce));
    assert!(matches!(pending(&|server| server.nonce = Some(&[0; 16])), ClientError::WrongNonce));
    assert!(matches!(pending(&|server| server.id = "other"), ClientError::AnotherTransaction(Some(_))));
    let stranger = |server: &mut Server<'_>| {
        server.signer = &*device().signer;
        server.certificate = &device().certificate;
    };
    assert!(matches!(pending(&stranger), ClientError::UnknownSigner));
    // The right name with the wrong key.
    let forger = |server: &mut Server<'_>| server.signer = &*device().signer;
    assert!(matches!(pending(&forger), ClientError::Reply(WireError::BadSignature)));
    // The request itself, sent back.
    assert!(matches!(open(&transaction, transaction.message()), Err(ClientError::UnknownSigner)));
}

#[test]
fn a_certificate_for_another_key_is_none() {
    let transaction = transaction();
    let server = Server::good(&transaction);
    let other = issued_for(ec_device().signer.spki());
    for certificates in [&[other.as_slice()][..], &[], &[transaction.identity.certificate.der()]] {
        let reply = server.success(&transaction, certificates, AES);
        assert!(matches!(open(&transaction, &reply), Err(ClientError::NoCertificateForKey)));
    }
}

#[test]
fn outdated_replies_are_taken_only_if_named() {
    let leaf = issued_for(device().signer.spki());
    let cases: [(Options, bool, bool); 4] = [
        (Options::default(), false, false),
        (Options { accept_ciphers: vec![ContentCipher::DesCbc], ..Options::default() }, true, false),
        (Options { accept_digests: vec![Digest::Sha1], ..Options::default() }, false, true),
        (Options { digest: Some(Digest::Sha1), cipher: Some(ContentCipher::DesCbc), ..Options::default() }, true, true),
    ];
    for (options, takes_des, takes_sha1) in cases {
        let transaction = transaction_with(request(device()), &options, "").unwrap();
        let mut server = Server::good(&transaction);
        let des = open(&transaction, &server.success(&transaction, &[&leaf], ContentCipher::DesCbc));
        assert_eq!(des.is_ok(), takes_des, "{des:?}");
        server.digest = Digest::Sha1;
        let sha1 = open(&transaction, &server.success(&transaction, &[&leaf], AES));
        assert_eq!(sha1.is_ok(), takes_sha1, "{sha1:?}");
    }
}

#[test]
fn a_key_that_cannot_decrypt_has_its_reply_under_the_challenge() {
    let transaction = transaction_with(request(ec_device()), &Options::default(), "SCEPStandard").unwrap();
    let leaf = issued_for(ec_device().signer.spki());
    let content = certs_only::write(&[&leaf], &[], SetOrder::AsGiven);
    let server = Server::good(&transaction);
    let reply = |password| server.rep().success(&content, Recipient::Password(password), AES).unwrap();
    let Outcome::Issued(issued) = open(&transaction, &reply("s3cret")).unwrap() else { panic!("not issued") };
    assert_eq!((issued.certificate.der(), issued.protection.transport), (leaf.as_slice(), None));
    assert!(matches!(open(&transaction, &reply("other")), Err(ClientError::Reply(WireError::Envelope))));

    let without = Request { challenge: None, ..request(ec_device()) };
    assert!(matches!(transaction_with(without, &Options::default(), ""), Err(ClientError::NeedsChallenge)));
}

#[test]
fn a_renewal_is_signed_by_the_old_certificate_and_named_by_what_the_server_knows() {
    let identity = Identity::new(key_of(device()), Certificate::clone(&device().certificate)).unwrap();
    let renewal = |message_type| Request { renewal: Some(identity.clone()), message_type, ..request(ec_device()) };
    for (capabilities, asked, expected) in [
        ("Renewal", None, MessageType::RenewalReq),
        ("AES", None, MessageType::PkcsReq),
        ("", Some(MessageType::RenewalReq), MessageType::RenewalReq),
        ("Renewal", Some(MessageType::PkcsReq), MessageType::PkcsReq),
    ] {
        let transaction = transaction_with(renewal(asked), &Options::default(), capabilities).unwrap();
        assert_eq!(transaction.message_type(), expected);
        let message = PkiMessage::read(transaction.message()).unwrap();
        assert_eq!(message.signer_certificate().unwrap(), *device().certificate);
        assert_eq!(transaction.csr().spki(), ec_device().signer.spki());
        // The new key cannot decrypt, the old one can: the reply goes to the old one.
        let leaf = issued_for(ec_device().signer.spki());
        let reply = Server::good(&transaction).success(&transaction, &[&leaf], AES);
        assert!(matches!(open(&transaction, &reply), Ok(Outcome::Issued(_))));
    }
    let poll = transaction_with(renewal(Some(MessageType::CertPoll)), &Options::default(), "");
    assert!(matches!(poll, Err(ClientError::BadRequest(_))));
}

#[test]
fn a_csr_for_another_key_is_not_sent() {
    let made_before = transaction_with(request(ec_device()), &Options::default(), "").unwrap();
    let csr = CsrSource::Der(made_before.csr().der().to_vec().into());
    let refused = transaction_with(Request { csr, ..request(device()) }, &Options::default(), "");
    assert!(matches!(refused, Err(ClientError::CsrOfAnotherKey)));
}

#[test]
fn a_saved_transaction_goes_on_and_keeps_its_nonce() {
    let begun = transaction();
    let text = serde_json::to_string(&begun.save("http://ra.example/scep")).unwrap();
    let saved: SavedTransaction = serde_json::from_str(&text).unwrap();
    assert!(!format!("{saved:?}").contains("s3cret"));
    let again = |key: &testing::Identity, authority: Authority| {
        saved.resume(&key_of(key), &key_of(key), None, authority, &Options::default())
    };
    let resumed = again(device(), begun.authority().clone()).unwrap();
    assert_eq!((resumed.id(), resumed.message(), &resumed.protect), (begun.id(), begun.message(), &begun.protect));
    let Outgoing { der, sender_nonce } = resumed.poll_message().unwrap();
    assert_eq!(PkiMessage::read(&der).unwrap().attributes().message_type, Some(20));
    assert_ne!(sender_nonce, begun.message.sender_nonce);

    assert!(matches!(again(ec_device(), begun.authority().clone()), Err(ClientError::CsrOfAnotherKey)));
    let other = Authority::new(vec![(*device().certificate).clone()], &[], Timestamp::now()).unwrap();
    assert!(matches!(again(device(), other), Err(ClientError::AnotherAuthority)));
}

#[test]
fn damaged_replies_are_errors_and_no_panic() {
    let transaction = transaction();
    let leaf = issued_for(device().signer.spki());
    let reply = Server::good(&transaction).success(&transaction, &[&leaf], AES);
    for len in (0..reply.len()).step_by(7) {
        assert!(open(&transaction, &reply[..len]).is_err());
    }
    // Past the certificate of the signer, where every octet is under the signature.
    for at in (0..reply.len()).step_by(13) {
        let mut changed = reply.clone();
        changed[at] ^= 0x20;
        if let Ok(Outcome::Issued(issued)) = open(&transaction, &changed) {
            assert_eq!(issued.certificate.der(), leaf, "at {at}");
        }
    }
}
