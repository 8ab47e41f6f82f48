//! A small CA for tests: it issues what is ordered, and certificates for TLS.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use crate::algorithm::{Digest, Form, IssuerRef, KeyAlgorithm};
use crate::crypto::{Signer, keystore, provider};
use crate::upstream::IssuanceOrder;
use crate::upstream::http::ClientCertificate;
use crate::upstream::remote::{RemoteCa, RemoteCaSettings};
use crate::x509::builder::{self, CertificateTemplate};
use crate::x509::csr::CsrTemplate;
use crate::x509::extension::{self, oid};
use crate::x509::{Certificate, DistinguishedName, Extension, KeyUsage, SubjectAltName};

/// A CA with a folder of its own.
pub(crate) struct TestCa {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) certificate: Arc<Certificate>,
    /// Those above it, the next one first.
    above: Vec<Arc<Certificate>>,
    dir: TempDir,
}

impl TestCa {
    /// A root.
    pub(crate) fn new(key: KeyAlgorithm) -> Self {
        Self::make(fresh_name(), key, None)
    }

    /// A CA below this one.
    pub(crate) fn below(&self, key: KeyAlgorithm) -> Self {
        Self::make(fresh_name(), key, Some(self))
    }

    /// The same CA with another key, below this one: as it is once it was rolled over.
    pub(crate) fn rolled_over(&self, key: KeyAlgorithm, parent: &TestCa) -> Self {
        Self::make(self.certificate.subject().clone(), key, Some(parent))
    }

    fn make(subject: DistinguishedName, key: KeyAlgorithm, parent: Option<&TestCa>) -> Self {
        let signer = provider().keys.generate(key).unwrap();
        let template = CertificateTemplate {
            serial: builder::random_serial(),
            issuer: parent.map_or_else(|| subject.clone(), |parent| parent.certificate.subject().clone()),
            subject,
            not_before: Timestamp::now() - SignedDuration::from_hours(2),
            not_after: Timestamp::now() + SignedDuration::from_hours(1000),
            spki: signer.spki().to_vec(),
            extensions: builder::ca_extensions(signer.spki(), parent.map(|parent| parent.signer.spki()), None).unwrap(),
        };
        let issuer = parent.map_or(&signer, |parent| &parent.signer);
        let der = template.sign(&**issuer, issuer.algorithms()[0]).unwrap();
        let certificate = Arc::new(Certificate::from_der(&der).unwrap());
        let above = parent.map(TestCa::chain).unwrap_or_default();
        let ca = Self { signer, certificate, above, dir: tempfile::tempdir().unwrap() };
        let pem: String = ca.chain().iter().map(|certificate| certificate.to_pem()).collect();
        std::fs::write(ca.chain_file(), pem).unwrap();
        ca
    }

    /// Its certificate and those above it.
    pub(crate) fn chain(&self) -> Vec<Arc<Certificate>> {
        std::iter::once(&self.certificate).chain(&self.above).cloned().collect()
    }

    /// PEM: its certificate and those above it.
    pub(crate) fn chain_file(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// A place in its folder, which goes when it goes.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Issues what is ordered.
    pub(crate) fn issue(&self, order: &IssuanceOrder) -> Certificate {
        let usages: Vec<_> = order.extended_key_usages.iter().map(|usage| usage.parse().unwrap()).collect();
        let mut extensions = vec![builder::key_usage(order.key_usage)];
        if !usages.is_empty() {
            let value = extension::extended_key_usage(&usages).unwrap();
            extensions.push(Extension { oid: oid::EXTENDED_KEY_USAGE, critical: false, value });
        }
        if !order.subject_alt_names.is_empty() {
            let value = order.subject_alt_names.clone();
            extensions.push(Extension { oid: oid::SUBJECT_ALT_NAME, critical: false, value });
        }
        let subject = DistinguishedName::from_der(&order.subject).unwrap();
        self.certify(subject, &order.spki, (order.not_before, order.not_after), extensions)
    }

    /// Issues a certificate with these extensions, and key identifiers besides.
    pub(crate) fn certify(
        &self,
        subject: DistinguishedName,
        spki: &[u8],
        (not_before, not_after): (Timestamp, Timestamp),
        mut extensions: Vec<Extension>,
    ) -> Certificate {
        let key_identifier = self.certificate.subject_key_identifier().unwrap();
        extensions.push(builder::subject_key_identifier(spki).unwrap());
        extensions.push(builder::authority_key_identifier(&key_identifier).unwrap());
        let issuer = self.certificate.subject().clone();
        let serial = builder::random_serial();
        let template = CertificateTemplate { serial, issuer, subject, not_before, not_after, spki: spki.to_vec(), extensions };
        Certificate::from_der(&template.sign(&*self.signer, self.signer.algorithms()[0]).unwrap()).unwrap()
    }

    /// A key with a certificate for TLS, as a client and as a server of these names, in files: PEM, the key not encrypted.
    pub(crate) fn identity(&self, key: KeyAlgorithm, names: &[SubjectAltName]) -> ClientCertificate {
        let now = Timestamp::now();
        self.identity_for(key, names, (now - SignedDuration::from_hours(1), now + SignedDuration::from_hours(24)))
    }

    /// The same with a validity.
    pub(crate) fn identity_for(
        &self,
        key: KeyAlgorithm,
        names: &[SubjectAltName],
        validity: (Timestamp, Timestamp),
    ) -> ClientCertificate {
        let signer = provider().keys.generate(key).unwrap();
        let usages = ["serverAuth", "clientAuth"].map(|usage| extension::extended_key_usage_oid(usage).unwrap());
        let mut extensions = vec![
            builder::key_usage(KeyUsage::DIGITAL_SIGNATURE),
            Extension { oid: oid::EXTENDED_KEY_USAGE, critical: false, value: extension::extended_key_usage(&usages).unwrap() },
        ];
        if !names.is_empty() {
            let value = extension::subject_alt_names(names).unwrap();
            extensions.push(Extension { oid: oid::SUBJECT_ALT_NAME, critical: false, value });
        }
        let certificate = self.certify(name("CN=TLS"), signer.spki(), validity, extensions);
        let number = hex::encode(provider().random::<4>());
        let files = ClientCertificate {
            chain: None,
            certificate: self.file(&format!("tls-{number}.pem")),
            key: self.file(&format!("tls-{number}.key")),
        };
        let intermediates = self.chain().into_iter().filter(|one| one.issuer() != one.subject());
        let pem: String = std::iter::once(Arc::new(certificate)).chain(intermediates).map(|one| one.to_pem()).collect();
        std::fs::write(&files.certificate, pem).unwrap();
        keystore::write_plain_key(&files.key, &signer.export_pkcs8().unwrap()).unwrap();
        files
    }

    /// TLS as `localhost` and 127.0.0.1; a client certificate of this CA is asked for, and not insisted on.
    pub(crate) fn server_config(&self) -> rustls::ServerConfig {
        let names = [SubjectAltName::Dns("localhost".into()), SubjectAltName::Ip([127, 0, 0, 1].into())];
        self.server_config_with(&self.identity(KeyAlgorithm::EcdsaP256, &names))
    }

    /// Asks for client certificates of this CA, and does not insist.
    pub(crate) fn client_verifier(&self) -> Arc<dyn rustls::server::danger::ClientCertVerifier> {
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.chain().last().unwrap().der().to_vec().into()).unwrap();
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), crypto);
        clients.allow_unauthenticated().build().unwrap()
    }

    /// TLS with this certificate.
    pub(crate) fn server_config_with(&self, files: &ClientCertificate) -> rustls::ServerConfig {
        use rustls_pki_types::pem::PemObject;
        use rustls_pki_types::{CertificateDer, PrivateKeyDer};
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = CertificateDer::pem_file_iter(&files.certificate).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        rustls::ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(self.client_verifier())
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap())
            .unwrap()
    }

    /// This CA as it is configured at an upstream.
    pub(crate) fn remote_ca(&self, name: &str) -> RemoteCa {
        let settings = RemoteCaSettings {
            name: name.to_owned(),
            chain: self.chain_file(),
            previous: None,
            crl_url: None,
            names: Default::default(),
        };
        RemoteCa::open(&settings).unwrap()
    }

    /// An order to this CA, which profiles call `ca`, for a fresh device.
    pub(crate) fn order(&self, ca: &str) -> IssuanceOrder {
        let device = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
        let not_before = Timestamp::from_second(Timestamp::now().as_second() - 3600).unwrap();
        IssuanceOrder {
            group: "routers".into(),
            rule: "test".into(),
            profile: "test".into(),
            form: Form::Single,
            signature: self.signer.algorithms()[0],
            issuer: IssuerRef { upstream: "remote".into(), ca: ca.into() },
            issuer_key: None,
            failover: Vec::new(),
            spread: false,
            alternative: None,
            sibling: None,
            related: None,
            csr: device_csr(&*device),
            spki: device.spki().to_vec(),
            key: device.key(),
            alternative_spki: Vec::new(),
            subject: name(SUBJECT).der().to_vec(),
            subject_alt_names: extension::subject_alt_names(&subject_alt_names()).unwrap(),
            key_usage: KeyUsage::DIGITAL_SIGNATURE,
            extended_key_usages: vec!["1.3.6.1.5.5.7.3.2".into()],
            allowed: None,
            extensions: Default::default(),
            not_before,
            not_after: not_before + SignedDuration::from_hours(24 * 30),
            device: Some("router-1".into()),
            renews: None,
            snapshot: String::new(),
        }
    }
}

const SUBJECT: &str = "CN=router-1,O=Example";

fn subject_alt_names() -> [SubjectAltName; 1] {
    [SubjectAltName::Dns("router-1.example.net".into())]
}

/// The request of the device that [`TestCa::order`] is for: CN=router-1, router-1.example.net, clientAuth, and the challenge `secret`.
fn device_csr(device: &dyn Signer) -> Vec<u8> {
    let template = CsrTemplate {
        subject: &name(SUBJECT),
        subject_alt_names: &subject_alt_names(),
        extended_key_usages: &[extension::extended_key_usage_oid("clientAuth").unwrap()],
        key_usage: Some(KeyUsage::DIGITAL_SIGNATURE),
        challenge_password: Some("secret"),
    };
    template.sign(device, Digest::Sha256).unwrap()
}

fn fresh_name() -> DistinguishedName {
    name(&format!("CN=Test CA {}", hex::encode(provider().random::<4>())))
}

fn name(text: &str) -> DistinguishedName {
    DistinguishedName::parse(text, true).unwrap()
}
