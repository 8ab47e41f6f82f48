//! TLS to a CA: pinned roots, the hybrid key exchange first, and what we show of ourselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{ClientCertificate, HttpSettings};
use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::Signer;
use crate::upstream::files::{Identity, bad_file, read_certificates, read_identity};
use crate::upstream::remote::RemoteError;
use crate::x509::Certificate;

/// How TLS is spoken with a CA, and with other servers that it names.
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    client: Option<Arc<CertifiedKey>>,
}

impl Tls {
    /// Reads roots, certificate and key; `None` if there are no roots, so that nobody can be trusted. Blocks.
    pub(super) fn open(settings: &HttpSettings, passphrase: &str) -> Result<Option<Self>, RemoteError> {
        let client = settings.client.as_ref().map(|client| identity(client, passphrase)).transpose()?;
        let Some(trust) = &settings.trust else { return Ok(None) };
        let failed = |why: String| bad_file(trust, why);
        let pinned = read_certificates(trust)?;
        let mut roots = RootCertStore::empty();
        for root in &pinned {
            roots.add(root.der().to_vec().into()).map_err(|error| failed(format!("{}: {error}", root.subject())))?;
        }
        let crypto = Arc::new(crypto());
        let webpki = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&crypto))
            .build()
            .map_err(|_| failed("there is no certificate in it".to_owned()))?;
        let verifier = PinnedRoots { webpki, pinned, file: trust.display().to_string() };
        let mut config = ClientConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Some(Self { config: Arc::new(config), client }))
    }

    /// The settings for one connection, with or without our certificate, and what becomes known of it.
    pub(super) fn connection(&self, with_certificate: bool) -> (Arc<ClientConfig>, Arc<Shown>) {
        let shown = Arc::new(Shown { client: self.client.clone().filter(|_| with_certificate), ..Shown::default() });
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = Arc::clone(&shown) as Arc<dyn ResolvesClientCert>;
        if !with_certificate {
            // A session that is taken up again is that of whoever began it.
            config.resumption = rustls::client::Resumption::disabled();
        }
        (Arc::new(config), shown)
    }
}

/// The provider, with the hybrid key exchange first, so that what passes today cannot be read by tomorrow's quantum computer.
pub(super) fn crypto() -> CryptoProvider {
    use rustls::crypto::aws_lc_rs;
    let mut provider = aws_lc_rs::default_provider();
    let hybrid = aws_lc_rs::kx_group::X25519MLKEM768;
    provider.kx_groups.retain(|group| group.name() != hybrid.name());
    provider.kx_groups.insert(0, hybrid);
    provider
}

/// Our certificate, those above it, and the key.
fn identity(files: &ClientCertificate, passphrase: &str) -> Result<Arc<CertifiedKey>, RemoteError> {
    let Identity { mut chain, signer } = read_identity(&files.certificate, &files.key, passphrase)?;
    if let Some(above) = files.chain.as_deref().filter(|path| path.exists()) {
        chain.extend(read_certificates(above)?);
    }
    if !SCHEMES.iter().any(|scheme| scheme.fits(&*signer)) {
        let why = format!("it is a key of the kind {}, which TLS has no signature scheme for", signer.key());
        return Err(bad_file(&files.key, why));
    }
    // A root at the end is what the server has already.
    let below_root = |(at, one): &(usize, &Arc<Certificate>)| *at == 0 || one.issuer() != one.subject();
    let chain = chain.iter().enumerate().filter(below_root).map(|(_, one)| CertificateDer::from(one.der().to_vec())).collect();
    Ok(Arc::new(CertifiedKey::new(chain, Arc::new(TlsKey(signer)))))
}

/// What we show on one connection, and whether the server asked.
#[derive(Debug, Default)]
pub(super) struct Shown {
    client: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
    unfit: AtomicBool,
}

impl Shown {
    /// Whether the server asked for a certificate and was shown one.
    pub(super) fn is_shown(&self) -> bool {
        self.client.is_some() && self.was_asked() && !self.is_unfit()
    }

    /// Whether the server asked for a certificate.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether the server takes no signature that our key can make.
    pub(super) fn is_unfit(&self) -> bool {
        self.unfit.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        let client = self.client.as_ref()?;
        if client.key.choose_scheme(schemes).is_none() {
            self.unfit.store(true, Ordering::Relaxed);
            return None;
        }
        Some(Arc::clone(client))
    }

    fn has_certs(&self) -> bool {
        self.client.is_some()
    }
}

/// A signature scheme of TLS (RFC 8446 section 4.2.3) and what it is with us.
struct Scheme {
    scheme: SignatureScheme,
    algorithm: SignatureAlgorithm,
    /// The only key that it goes with, where TLS 1.3 ties it to one.
    key: Option<KeyAlgorithm>,
}

impl Scheme {
    const fn of(scheme: SignatureScheme, algorithm: SignatureAlgorithm, key: Option<KeyAlgorithm>) -> Self {
        Self { scheme, algorithm, key }
    }

    fn fits(&self, signer: &dyn Signer) -> bool {
        self.key.is_none_or(|key| key == signer.key()) && signer.algorithms().contains(&self.algorithm)
    }
}

/// The ones to prefer first.
const SCHEMES: &[Scheme] = &[
    Scheme::of(SignatureScheme::ML_DSA_87, SignatureAlgorithm::MlDsa87, None),
    Scheme::of(SignatureScheme::ML_DSA_65, SignatureAlgorithm::MlDsa65, None),
    Scheme::of(SignatureScheme::ML_DSA_44, SignatureAlgorithm::MlDsa44, None),
    Scheme::of(SignatureScheme::ED25519, SignatureAlgorithm::Ed25519, None),
    Scheme::of(SignatureScheme::ECDSA_NISTP256_SHA256, SignatureAlgorithm::EcdsaSha256, Some(KeyAlgorithm::EcdsaP256)),
    Scheme::of(SignatureScheme::ECDSA_NISTP384_SHA384, SignatureAlgorithm::EcdsaSha384, Some(KeyAlgorithm::EcdsaP384)),
    Scheme::of(SignatureScheme::ECDSA_NISTP521_SHA512, SignatureAlgorithm::EcdsaSha512, Some(KeyAlgorithm::EcdsaP521)),
    Scheme::of(SignatureScheme::RSA_PSS_SHA256, SignatureAlgorithm::RsaPssSha256, None),
    Scheme::of(SignatureScheme::RSA_PSS_SHA384, SignatureAlgorithm::RsaPssSha384, None),
    Scheme::of(SignatureScheme::RSA_PSS_SHA512, SignatureAlgorithm::RsaPssSha512, None),
    Scheme::of(SignatureScheme::RSA_PKCS1_SHA256, SignatureAlgorithm::RsaSha256, None),
    Scheme::of(SignatureScheme::RSA_PKCS1_SHA384, SignatureAlgorithm::RsaSha384, None),
    Scheme::of(SignatureScheme::RSA_PKCS1_SHA512, SignatureAlgorithm::RsaSha512, None),
];

/// One of our keys, for TLS.
struct TlsKey(Arc<dyn Signer>);

impl rustls::sign::SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let chosen = SCHEMES.iter().find(|one| offered.contains(&one.scheme) && one.fits(&*self.0))?;
        Some(Box::new(TlsSigner { key: Arc::clone(&self.0), scheme: chosen }))
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        use crate::algorithm::Family;
        match self.0.key().family() {
            Family::Rsa => rustls::SignatureAlgorithm::RSA,
            Family::Ecdsa => rustls::SignatureAlgorithm::ECDSA,
            Family::Ed25519 => rustls::SignatureAlgorithm::ED25519,
            // TLS 1.3 has no place for it.
            _ => rustls::SignatureAlgorithm::Unknown(0),
        }
    }
}

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsKey({})", self.0.key())
    }
}

struct TlsSigner {
    key: Arc<dyn Signer>,
    scheme: &'static Scheme,
}

impl rustls::sign::Signer for TlsSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key.sign(self.scheme.algorithm, message).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme.scheme
    }
}

impl std::fmt::Debug for TlsSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsSigner({:?})", self.scheme.scheme)
    }
}

/// Takes what chains to a root of the file, or is itself in it; and says well what is wrong.
#[derive(Debug)]
struct PinnedRoots {
    webpki: Arc<WebPkiServerVerifier>,
    pinned: Vec<Arc<Certificate>>,
    file: String,
}

impl PinnedRoots {
    /// A certificate that stands in the file itself: its name and dates count still.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> bool {
        let Some(pinned) = self.pinned.iter().find(|pinned| pinned.der() == certificate.as_ref()) else { return false };
        let second = |time: jiff::Timestamp| u64::try_from(time.as_second()).unwrap_or(0);
        let is_valid = (second(pinned.not_before())..=second(pinned.not_after())).contains(&now.as_secs());
        let parsed = ParsedCertificate::try_from(certificate);
        is_valid && parsed.is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
    }

    /// What is wrong with a server's certificate, for who has to mend it.
    fn explain(&self, error: rustls::Error, certificate: &CertificateDer<'_>) -> rustls::Error {
        let rustls::Error::InvalidCertificate(why) = &error else { return error };
        let Ok(certificate) = Certificate::from_der(certificate) else { return error };
        let whose =
            format!("the TLS certificate of the server (subject {}, issuer {})", certificate.subject(), certificate.issuer());
        let what = match why {
            CertificateError::UnknownIssuer => format!("chains to none of the certificates in {} (`trust`)", self.file),
            CertificateError::BadSignature => {
                format!("is not signed by the certificate in {} (`trust`) that has the name of its issuer", self.file)
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("or one above it is no longer valid; its own validity ends at {}", certificate.not_after())
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("or one above it is not valid yet; its own validity begins at {}", certificate.not_before())
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                let names: Vec<_> = certificate.subject_alt_names().iter().map(|name| name.value()).collect();
                let names =
                    if names.is_empty() { "no name at all (a common name does not count)".into() } else { names.join(", ") };
                format!("is not for the host of `url`, but for {names}")
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "is not for servers: serverAuth is missing in its extended key usages".to_owned()
            }
            _ => format!("cannot be taken: {error}"),
        };
        // Kept apart from the kinds that rustls knows, so that the text reaches whoever reads the log.
        let told = CertificateError::Other(OtherError(Arc::new(Refused(format!("{whose} {what}")))));
        rustls::Error::InvalidCertificate(told)
    }
}

/// What is wrong with a server's certificate.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

impl ServerCertVerifier for PinnedRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(_) if self.is_pinned(end_entity, name, now) => Ok(ServerCertVerified::assertion()),
            verdict => verdict.map_err(|error| self.explain(error, end_entity)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
