//! HTTPS for devices: certificate and key are exchanged without a restart; no client certificate is asked for.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsSettings;

/// The certificate in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    current: Arc<Current>,
    provider: Arc<CryptoProvider>,
}

impl Tls {
    /// Loads certificate and key.
    pub fn load(settings: &TlsSettings) -> Result<Self, String> {
        let provider = Arc::new(provider());
        let key = read(settings, &provider)?;
        Ok(Self { current: Arc::new(Current(ArcSwap::from_pointee(key))), provider })
    }

    /// Reads certificate and key again, without taking them into use yet: [`Prepared::commit`] does.
    pub fn prepare(&self, settings: &TlsSettings) -> Result<Prepared, String> {
        Ok(Prepared { current: Arc::clone(&self.current), key: Arc::new(read(settings, &self.provider)?) })
    }

    /// Accepts connections with whatever certificate is in use then.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has the suites of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A certificate and key that were read and checked.
#[derive(Debug)]
pub struct Prepared {
    current: Arc<Current>,
    key: Arc<CertifiedKey>,
}

impl Prepared {
    /// Takes them into use for new connections.
    pub fn commit(self) {
        self.current.0.store(self.key);
    }
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// The provider, with the hybrid key exchange first, so that what passes today cannot be read by tomorrow's quantum computer.
fn provider() -> CryptoProvider {
    use rustls::crypto::aws_lc_rs;
    let mut provider = aws_lc_rs::default_provider();
    let hybrid = aws_lc_rs::kx_group::X25519MLKEM768;
    provider.kx_groups.retain(|group| group.name() != hybrid.name());
    provider.kx_groups.insert(0, hybrid);
    provider
}

fn read(settings: &TlsSettings, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let TlsSettings { certificate, key } = settings;
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{}: {error}", certificate.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: there is no certificate in it", certificate.display()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    CertifiedKey::from_der(chain, private, provider)
        .map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hybrid_key_exchange_comes_first() {
        let groups: Vec<_> = provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups[0], rustls::NamedGroup::X25519MLKEM768);
        assert!(groups.contains(&rustls::NamedGroup::secp256r1), "old clients need a classical one: {groups:?}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let settings = TlsSettings { certificate: "/nonexistent/tls.pem".into(), key: "/nonexistent/tls.key".into() };
        assert!(Tls::load(&settings).unwrap_err().contains("/nonexistent/tls.pem"));
    }
}
