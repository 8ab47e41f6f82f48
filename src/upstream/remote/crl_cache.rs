//! CRLs of remote CAs: fetched once for all who ask within a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::CallError;
use crate::x509::crl::read_crl;

/// How long a CRL is given without asking again.
const FRESH: Duration = Duration::from_secs(60);

/// The newest CRLs by CA.
#[derive(Default)]
pub(super) struct CrlCache {
    all: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Kept>>>>>,
}

struct Kept {
    der: Vec<u8>,
    at: Timestamp,
    /// What it says of the next one.
    next_update: Option<Timestamp>,
}

impl CrlCache {
    /// The CRL of a CA: the one that is kept, or a new one. While the CA cannot be asked, the kept one is given as long as it holds.
    pub(super) async fn current(
        &self,
        ca: &str,
        now: Timestamp,
        patience: Duration,
        fetch: impl Future<Output = Result<Option<Vec<u8>>, CallError>>,
    ) -> Result<Option<Vec<u8>>, CallError> {
        let place = Arc::clone(self.lock().entry(ca.to_owned()).or_default());
        let mut kept = place.lock().await;
        let fresh = |kept: &Kept| {
            let age = Duration::try_from(now.duration_since(kept.at)).unwrap_or_default();
            age < FRESH && kept.next_update.is_none_or(|next| now < next)
        };
        if let Some(kept) = kept.as_ref().filter(|kept| fresh(kept)) {
            return Ok(Some(kept.der.clone()));
        }
        let fetched = tokio::time::timeout(patience, fetch).await.unwrap_or_else(|_| Err(CallError::no_answer(patience)));
        match fetched {
            Ok(None) => Ok(None),
            Ok(Some(der)) => {
                let crl = read_crl(&der).map_err(|error| CallError::Unclear(format!("what came is no CRL: {error}")))?;
                *kept = Some(Kept { der: der.clone(), at: now, next_update: crl.next_update });
                Ok(Some(der))
            }
            Err(error) => match kept.as_ref().filter(|kept| kept.next_update.is_none_or(|next| now < next)) {
                Some(kept) => {
                    tracing::warn!(ca, "The CRL is that of {}: a newer one cannot be had: {error}.", kept.at);
                    Ok(Some(kept.der.clone()))
                }
                None => Err(error),
            },
        }
    }

    /// Forgets the CRL of a CA: it has revoked a certificate.
    pub(super) fn forget(&self, ca: &str) {
        self.lock().remove(ca);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Option<Kept>>>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
