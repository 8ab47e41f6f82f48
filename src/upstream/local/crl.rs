//! CRLs of the embedded CA, made from the register when one is asked for, and kept while they are good.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::assembly::IssuerKeys;
use super::authority::key_identifier;
use super::{LocalCaError, Settings};
use crate::algorithm::KeyAlgorithm;
use crate::crypto::{CryptoPool, Lane};
use crate::upstream::{RevocationRegister, UpstreamError};
use crate::x509::crl::{CrlTemplate, RevokedCertificate};
use crate::x509::{Certificate, spki};

/// The CRLs of the generations of one CA, by the fingerprint of the certificate whose key signed.
#[derive(Default)]
pub(super) struct CrlCache {
    kept: Mutex<HashMap<[u8; 32], Kept>>,
}

struct Kept {
    der: Vec<u8>,
    revoked: Vec<RevokedCertificate>,
    renew_at: Timestamp,
    next_update: Timestamp,
}

/// Whose CRL is wanted, and how it is signed.
pub(super) struct CrlIssuer<'a> {
    pub(super) upstream: &'a str,
    pub(super) certificate: &'a Arc<Certificate>,
    pub(super) settings: &'a Settings,
    pub(super) pool: &'a CryptoPool,
}

impl CrlCache {
    /// Gives the kept CRL, or makes a new one if something was revoked since or half the life of the kept one is over.
    ///
    /// The lock is held meanwhile: many who ask at once cause one CRL, not many. That is what the second half is for: where no new
    /// one can be made now, the kept one still tells the truth.
    pub(super) async fn current(
        &self,
        issuer: CrlIssuer<'_>,
        register: &dyn RevocationRegister,
        now: Timestamp,
        keys: impl FnOnce() -> Result<IssuerKeys, LocalCaError> + Send + 'static,
    ) -> Result<Vec<u8>, UpstreamError> {
        let mut revoked = register.revoked(issuer.certificate).await?;
        revoked.sort_by(|a, b| a.serial.cmp(&b.serial));

        let fingerprint = issuer.certificate.fingerprint();
        let mut kept = self.kept.lock().await;
        let good = kept.get(&fingerprint).filter(|kept| kept.revoked == revoked && now < kept.next_update);
        if let Some(good) = good.filter(|good| now < good.renew_at) {
            return Ok(good.der.clone());
        }
        match make(issuer, register, now, revoked, keys).await {
            Ok(made) => {
                let der = made.der.clone();
                kept.insert(fingerprint, made);
                Ok(der)
            }
            Err(error) => match good {
                Some(good) => {
                    tracing::warn!("No new CRL could be made, the one before is given until {}: {error}.", good.next_update);
                    Ok(good.der.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Forgets what is kept.
    pub(super) async fn forget(&self) {
        self.kept.lock().await.clear();
    }
}

/// Signs a new CRL on the pool.
async fn make(
    issuer: CrlIssuer<'_>,
    register: &dyn RevocationRegister,
    now: Timestamp,
    revoked: Vec<RevokedCertificate>,
    keys: impl FnOnce() -> Result<IssuerKeys, LocalCaError> + Send + 'static,
) -> Result<Kept, UpstreamError> {
    let failed = |reason: String| UpstreamError::Failed { upstream: issuer.upstream.to_owned(), reason };
    let number = register.next_crl_number(issuer.certificate).await?;
    let end = |part: u32| {
        now.checked_add(issuer.settings.crl_validity / part).map_err(|e| failed(format!("the CRL would never end: {e}")))
    };
    let (next_update, renew_at) = (end(1)?, end(2)?);
    let template = CrlTemplate {
        issuer: issuer.certificate.subject().clone(),
        authority_key_identifier: key_identifier(issuer.certificate).map_err(|e| failed(e.to_string()))?,
        number,
        this_update: now,
        next_update,
        revoked: revoked.clone(),
    };
    let sign = move || -> Result<Vec<u8>, LocalCaError> { Ok(keys()?.sign_crl(&template)?) };
    let signed = issuer.pool.run_in(lane(issuer.certificate), sign).await.map_err(|full| failed(full.to_string()))?;
    let der = signed.map_err(|e| failed(format!("cannot sign the CRL: {e}")))?;
    Ok(Kept { der, revoked, renew_at, next_update })
}

/// Where a CRL of this issuer is signed.
fn lane(issuer: &Certificate) -> Lane {
    let alternative = issuer.alternative_spki().and_then(|spki| spki::key_algorithm(spki).ok());
    Lane::of(issuer.key().into_iter().chain(alternative).filter_map(KeyAlgorithm::only_signature))
}
