//! Messages that other programs made, and other programs reading ours: OpenSSL's command line where it is installed, and published
//! messages where the vectors folder beside the project is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use der::SecretDocument;
use jiff::Timestamp;
use ravelin::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport, SignatureAlgorithm};
use ravelin::crypto::ra::RaDecrypter;
use ravelin::crypto::{Signer, provider};
use ravelin::scep::cert_rep::CertRep;
use ravelin::scep::certs_only::{CertsOnly, SetOrder, write};
use ravelin::scep::envelope::{EnvelopePolicy, Recipient, seal};
use ravelin::scep::{Envelope, FailInfo, PkiMessage, PkiStatus, WireError};
use ravelin::x509::builder::CertificateTemplate;
use ravelin::x509::{Certificate, DistinguishedName, VerifiedCsr, ber::to_der, builder};

const ANY: EnvelopePolicy<'static> = EnvelopePolicy { ciphers: ContentCipher::ALL, oaep: true };

// --- OpenSSL ---

/// A folder with a key and a certificate, for the command line.
struct Bench {
    folder: tempfile::TempDir,
    signer: Arc<dyn Signer>,
    certificate: Certificate,
}

impl Bench {
    /// `None`, and a line that says so, where there is no OpenSSL.
    fn new(test: &str) -> Option<Self> {
        if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
            println!("skipped: {test}: openssl is not installed");
            return None;
        }
        let signer = provider().keys.generate(KeyAlgorithm::Rsa(2048)).unwrap();
        let name = DistinguishedName::parse("CN=device,O=Example", true).unwrap();
        let now = Timestamp::now();
        let der = CertificateTemplate {
            serial: builder::random_serial(),
            issuer: name.clone(),
            subject: name,
            not_before: now - Duration::from_secs(3600),
            not_after: now + Duration::from_secs(86_400),
            spki: signer.spki().to_vec(),
            // OpenSSL names a recipient by its key identifier only where the certificate has one.
            extensions: vec![builder::subject_key_identifier(signer.spki()).unwrap()],
        }
        .sign(&*signer, SignatureAlgorithm::RsaSha256)
        .unwrap();
        let certificate = Certificate::from_der(&der).unwrap();
        let bench = Self { folder: tempfile::tempdir().unwrap(), signer, certificate };
        let pkcs8 = SecretDocument::try_from(bench.signer.export_pkcs8().unwrap().as_slice()).unwrap();
        let pem = pkcs8.to_pem("PRIVATE KEY", Default::default()).unwrap();
        bench.write("key.pem", pem.as_bytes());
        bench.write("cert.pem", bench.certificate.to_pem().as_bytes());
        Some(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, octets: &[u8]) {
        std::fs::write(self.path(name), octets).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn decrypter(&self) -> RaDecrypter {
        let key = provider().keys.decrypter(&self.signer.export_pkcs8().unwrap()).unwrap();
        RaDecrypter { key: key.into(), certificate: Arc::new(self.certificate.clone()) }
    }

    fn cert_rep(&self) -> CertRep<'_> {
        CertRep {
            signer: &*self.signer,
            signer_certificate: &self.certificate,
            include_signer: true,
            transaction_id: "HVvzN0228V+AW+dUuDe8OPyDXD0=",
            request_nonce: Some(&[7; 16]),
            digest: Digest::Sha256,
        }
    }
}

#[test]
fn openssl_verifies_and_opens_our_replies() {
    let Some(bench) = Bench::new("openssl_verifies_and_opens_our_replies") else { return };
    let content = write(&[bench.certificate.der()], &[], SetOrder::AsGiven);
    let oaep = KeyTransport::Oaep { digest: Digest::Sha256, mgf1: Digest::Sha256 };
    for (digest, cipher, transport) in [
        (Digest::Sha256, ContentCipher::Aes128Cbc, KeyTransport::Pkcs1v15),
        (Digest::Sha512, ContentCipher::Aes256Cbc, oaep),
        (Digest::Sha384, ContentCipher::DesEde3Cbc, KeyTransport::Pkcs1v15),
    ] {
        let cert_rep = CertRep { digest, ..bench.cert_rep() };
        let recipient = Recipient::Certificate(&bench.certificate, transport);
        bench.write("reply.der", &cert_rep.success(&content, recipient, cipher).unwrap());
        let verify = ["cms", "-verify", "-noverify", "-inform", "DER", "-binary", "-in", "reply.der", "-out", "envelope.der"];
        bench.openssl(&verify);
        let opened = ["-inkey", "key.pem", "-recip", "cert.pem", "-out", "content.der"];
        bench.openssl(&[&["cms", "-decrypt", "-inform", "DER", "-binary", "-in", "envelope.der"][..], &opened].concat());
        assert_eq!(bench.read("content.der"), content);
        bench.openssl(&["pkcs7", "-inform", "DER", "-in", "content.der", "-print_certs", "-noout"]);
    }
    for reply in [bench.cert_rep().pending().unwrap(), bench.cert_rep().failure(FailInfo::BadAlg, "no").unwrap()] {
        bench.write("reply.der", &reply);
        bench.openssl(&["cms", "-verify", "-noverify", "-inform", "DER", "-in", "reply.der", "-out", "nothing"]);
        assert!(bench.read("nothing").is_empty());
    }
}

#[test]
fn openssl_opens_what_we_seal_with_a_password() {
    let Some(bench) = Bench::new("openssl_opens_what_we_seal_with_a_password") else { return };
    for cipher in [ContentCipher::Aes128Cbc, ContentCipher::Aes256Cbc] {
        bench.write("envelope.der", &seal(b"certificates", Recipient::Password("s3cret"), cipher).unwrap());
        let decrypt = ["cms", "-decrypt", "-inform", "DER", "-binary", "-in", "envelope.der", "-pwri_password", "s3cret"];
        bench.openssl(&[&decrypt[..], &["-out", "content"]].concat());
        assert_eq!(bench.read("content"), b"certificates");
    }
    // And the other way round: PBKDF2 with HMAC-SHA-1, which is the default there.
    bench.write("content", b"something");
    let encrypt = ["cms", "-encrypt", "-binary", "-in", "content", "-aes128", "-pwri_password", "s3cret", "-outform", "DER"];
    bench.openssl(&[&encrypt[..], &["-out", "sealed.der"]].concat());
    let sealed = bench.read("sealed.der");
    let der = to_der(&sealed).unwrap();
    let opened = Envelope::read(&der).unwrap().open_with_password("s3cret", ANY).unwrap();
    assert_eq!(opened.content.as_slice(), b"something");
}

#[test]
fn we_open_what_openssl_encrypts() {
    let Some(bench) = Bench::new("we_open_what_openssl_encrypts") else { return };
    let content = vec![0x5a; 10_000];
    bench.write("content", &content);
    let oaep = ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"];
    for (cipher, more) in [
        ("-aes128", &[][..]),
        ("-aes192", &["-stream"]),
        ("-aes256", &["-keyid"]),
        ("-des3", &["-stream", "-keyid"]),
        ("-aes-128-gcm", &[]),
        ("-aes-256-gcm", &["-stream"]),
        ("-aes256", &oaep),
    ] {
        let mut arguments = vec!["cms", "-encrypt", "-binary", "-in", "content", cipher, "-outform", "DER", "-out", "sealed.der"];
        // -recip comes before -keyopt, which belongs to the recipient before it.
        let position: Vec<&str> =
            more.iter().copied().filter(|option| !option.contains("rsa_") && *option != "-keyopt").collect();
        arguments.extend(&position);
        arguments.extend(["-recip", "cert.pem"]);
        if more.contains(&"-keyopt") {
            arguments.extend(more);
        }
        bench.openssl(&arguments);
        let sealed = bench.read("sealed.der");
        let der = to_der(&sealed).unwrap();
        let opened = Envelope::read(&der).unwrap().open(&[bench.decrypter()], ANY).unwrap();
        assert_eq!(opened.content.as_slice(), content, "{cipher} {more:?}");
        assert_eq!(opened.transport != Some(KeyTransport::Pkcs1v15), more.contains(&"-keyopt"));
    }
}

#[test]
fn we_verify_what_openssl_signs() {
    let Some(bench) = Bench::new("we_verify_what_openssl_signs") else { return };
    bench.write("content", &vec![0x5a; 10_000]);
    let pss = ["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest"];
    for (digest, more) in
        [("sha256", &[][..]), ("sha512", &["-stream"]), ("sha384", &["-keyid", "-stream"]), ("sha1", &[]), ("sha256", &pss)]
    {
        let mut arguments = vec!["cms", "-sign", "-nodetach", "-binary", "-in", "content", "-md", digest, "-outform", "DER"];
        arguments.extend(["-signer", "cert.pem", "-inkey", "key.pem", "-out", "signed.der"]);
        arguments.extend(more);
        bench.openssl(&arguments);
        let signed = bench.read("signed.der");
        let der = to_der(&signed).unwrap();
        let message = PkiMessage::read(&der).unwrap();
        let certificate = message.signer_certificate().unwrap();
        assert_eq!(certificate, bench.certificate, "{digest} {more:?}");
        assert_eq!(message.verify(&certificate, Digest::ALL), Ok(()), "{digest} {more:?}");
        assert_eq!(message.content().map(<[u8]>::len), Some(10_000));
    }
}

// --- published messages ---

/// The folder `scep` of the vectors, or a line that says that it is not there.
fn vectors(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("RAVELIN_SHARED_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"), PathBuf::from);
    let folder = root.join("scep");
    if !folder.is_dir() {
        println!("skipped: {test}: there are no vectors in {}", root.display());
        return None;
    }
    Some(folder)
}

#[test]
fn samples_of_jscep() {
    let Some(folder) = vectors("samples_of_jscep") else { return };
    let read = |name: &str| std::fs::read(folder.join("jscep").join(name)).unwrap();
    let (request, reply) = (read("scep_req2.der"), read("scep_resp2.der"));
    let der = to_der(&request).unwrap();
    let message = PkiMessage::read(&der).unwrap();
    let signer = message.signer_certificate().unwrap();
    assert_eq!(message.verify(&signer, &[Digest::Sha256]), Ok(()));
    assert_eq!(message.attributes().message_type, Some(19));
    assert_eq!(message.attributes().sender_nonce.as_ref().map(Vec::len), Some(16));
    assert_eq!(message.content(), Some(read("scep_req1.der").as_slice()));
    let content = to_der(message.content().unwrap()).unwrap();
    assert_eq!(Envelope::read(&content).unwrap().cipher(), Some(ContentCipher::Aes128Cbc));
    let csr = VerifiedCsr::from_der(&read("scep_req0.der")).unwrap();
    assert_eq!(csr.challenge_password(), Some("NQ3C6-GS3ZN-2XPGL-SEJTQ"));

    let der = to_der(&reply).unwrap();
    let message = PkiMessage::read(&der).unwrap();
    assert_eq!(message.verify(&message.signer_certificate().unwrap(), &[Digest::Sha256]), Ok(()));
    let attributes = message.attributes();
    assert_eq!((attributes.message_type, attributes.pki_status), (Some(3), Some(PkiStatus::Success.number())));
    assert_eq!(attributes.sender_nonce, None);
    assert_eq!(attributes.recipient_nonce.as_ref().map(Vec::len), Some(16));
    assert_eq!(message.content(), Some(read("scep_resp1.der").as_slice()));
    let inner = read("scep_resp0.der");
    let inner = to_der(&inner).unwrap();
    assert!(!CertsOnly::read(&inner).unwrap().certificates.is_empty());
}

#[test]
fn a_request_of_an_apple_client() {
    let Some(folder) = vectors("a_request_of_an_apple_client") else { return };
    let folder = folder.join("micromdm");
    let octets = std::fs::read(folder.join("PKCSReq.der")).unwrap();
    let der = to_der(&octets).unwrap();
    let message = PkiMessage::read(&der).unwrap();
    let signer = message.signer_certificate().unwrap();
    assert_eq!(message.verify(&signer, &[Digest::Sha256]), Err(WireError::DigestNotAllowed("sha-1".into())));
    assert_eq!(message.verify(&signer, &[Digest::Sha1]), Ok(()));
    assert_eq!(message.attributes().transaction_id.as_deref(), Some("A13090761A30F66664F85D37433D2065E1112BA1"));
    assert_eq!(message.attributes().sender_nonce.as_ref().map(Vec::len), Some(8));
    let content = to_der(message.content().unwrap()).unwrap();
    let envelope = Envelope::read(&content).unwrap();
    assert_eq!(envelope.cipher(), Some(ContentCipher::DesEde3Cbc));
    let pem = std::fs::read_to_string(folder.join("testca/ca.key.decrypted.pem")).unwrap();
    let (label, key) = SecretDocument::from_pem(&pem).unwrap();
    let pkcs8 = match label {
        "PRIVATE KEY" => key.as_bytes().to_vec(),
        _ => pkcs8_of(key.as_bytes()),
    };
    let ca = Certificate::from_pem(&std::fs::read_to_string(folder.join("testca/ca.pem")).unwrap()).unwrap();
    let decrypter = RaDecrypter { key: provider().keys.decrypter(&pkcs8).unwrap().into(), certificate: Arc::new(ca) };
    let opened = envelope.open(&[decrypter], ANY).unwrap();
    assert_eq!(opened.content.as_slice(), std::fs::read(folder.join("PKCSReq.expected-csr.der")).unwrap());
}

/// PrivateKeyInfo around an RSAPrivateKey.
fn pkcs8_of(key: &[u8]) -> Vec<u8> {
    use der::Encode;
    let algorithm = spki::AlgorithmIdentifierRef {
        oid: der::oid::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"),
        parameters: Some(der::asn1::AnyRef::NULL),
    };
    let key = der::asn1::OctetStringRef::new(key).unwrap();
    pkcs8::PrivateKeyInfoRef::new(algorithm, key).to_der().unwrap()
}

#[test]
fn replies_of_other_servers() {
    let Some(folder) = vectors("replies_of_other_servers") else { return };
    let folder = folder.join("smallstep");
    let ndes = std::fs::read(folder.join("testca2/CertRep_NoCertificatesForSigners.der")).unwrap();
    let der = to_der(&ndes).unwrap();
    let message = PkiMessage::read(&der).unwrap();
    assert_eq!(message.signer_certificate(), Err(WireError::NoSignerCertificate));
    let known = std::fs::read_to_string(folder.join("testca2/ca2.pem")).unwrap();
    let signer = Certificate::chain_from_pem(&known).unwrap().into_iter().find(|known| message.is_signed_with(known)).unwrap();
    assert_eq!(message.verify(&signer, &[Digest::Sha1]), Ok(()));
    assert_eq!(message.attributes().transaction_id.as_deref(), Some("HVvzN0228V+AW+dUuDe8OPyDXD0="));
    assert_eq!(message.attributes().recipient_nonce.as_ref().map(Vec::len), Some(16));
    let content = to_der(message.content().unwrap()).unwrap();
    assert_eq!(Envelope::read(&content).unwrap().cipher(), Some(ContentCipher::Aes128Cbc));

    let des = std::fs::read(folder.join("CertRep.der")).unwrap();
    let der = to_der(&des).unwrap();
    let message = PkiMessage::read(&der).unwrap();
    assert_eq!(message.attributes().recipient_nonce.as_ref().map(Vec::len), Some(8));
    assert_eq!(message.digest(), Some(Digest::Sha1));
    let content = to_der(message.content().unwrap()).unwrap();
    let envelope = Envelope::read(&content).unwrap();
    assert_eq!(envelope.cipher(), Some(ContentCipher::DesCbc));
    let aes = EnvelopePolicy { ciphers: &[ContentCipher::Aes128Cbc], oaep: true };
    assert_eq!(envelope.open(&[], aes).unwrap_err(), WireError::CipherNotAllowed("des-cbc".into()));
}
