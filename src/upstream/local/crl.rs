//! CRLs of the embedded CA, made from the register when one is asked for, and kept while they are good.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::authority::key_identifier;
use super::{LocalCaError, Settings};
use crate::crypto::{CryptoPool, Signer};
use crate::upstream::{RevocationRegister, UpstreamError};
use crate::x509::Certificate;
use crate::x509::crl::{CrlTemplate, RevokedCertificate};

/// The CRLs of the generations of one CA, by the fingerprint of the certificate whose key signed.
#[derive(Default)]
pub(super) struct CrlCache {
    kept: Mutex<HashMap<[u8; 32], Kept>>,
}

struct Kept {
    der: Vec<u8>,
    revoked: Vec<RevokedCertificate>,
    renew_at: Timestamp,
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
    /// The lock is held meanwhile: many who ask at once cause one CRL, not many.
    pub(super) async fn current(
        &self,
        issuer: CrlIssuer<'_>,
        register: &dyn RevocationRegister,
        now: Timestamp,
        signer: impl FnOnce() -> Result<Arc<dyn Signer>, LocalCaError> + Send + 'static,
    ) -> Result<Vec<u8>, UpstreamError> {
        let failed = |reason: String| UpstreamError::Failed { upstream: issuer.upstream.to_owned(), reason };
        let mut revoked = register.revoked(issuer.certificate).await?;
        revoked.sort_by(|a, b| a.serial.cmp(&b.serial));

        let fingerprint = issuer.certificate.fingerprint();
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.get(&fingerprint)
            && kept.revoked == revoked
            && now < kept.renew_at
        {
            return Ok(kept.der.clone());
        }

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
        let sign = move || -> Result<Vec<u8>, LocalCaError> {
            let signer = signer()?;
            let algorithm = *signer.algorithms().first().ok_or(crate::crypto::CryptoError::Unsupported)?;
            Ok(template.sign(signer.as_ref(), algorithm)?)
        };
        let der = issuer
            .pool
            .run(sign)
            .await
            .map_err(|full| failed(full.to_string()))?
            .map_err(|e| failed(format!("cannot sign the CRL: {e}")))?;
        kept.insert(fingerprint, Kept { der: der.clone(), revoked, renew_at });
        Ok(der)
    }

    /// Forgets what is kept.
    pub(super) async fn forget(&self) {
        self.kept.lock().await.clear();
    }
}
