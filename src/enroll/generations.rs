//! What still depends on each generation of a CA: the certificates that it signed, which need its CRL until they end, and orders that
//! are to be carried out with its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::operate::{OperateError, stored_order};
use super::{EnrollError, Enroller};
use crate::inventory::{CertificateSearch, TransactionState};
use crate::upstream::{UpstreamError, crl_key_name};
use crate::x509::Certificate;

/// How many certificates are read at a time.
const PAGE: usize = 1000;

/// How many open transactions are looked at.
const OPEN: usize = 100_000;

/// What depends on one key of a CA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dependants {
    /// Certificates of devices that it signed and that have not ended, revoked ones too: those stand in its CRL.
    pub certificates: u64,
    /// When the last of these ends.
    pub until: Option<Timestamp>,
    /// Open transactions whose order names the key.
    pub orders: u64,
}

impl Enroller {
    /// What depends on each key of a CA, the current one and earlier ones, by the name of the key ([`crl_key_name`]). It reads all
    /// certificates that have not ended.
    pub async fn dependants(&self, upstream: &str, ca: &str) -> Result<BTreeMap<String, Dependants>, OperateError> {
        let snapshot = self.snapshot();
        let no_such = || UpstreamError::NoSuchCa { upstream: upstream.to_owned(), ca: ca.to_owned() };
        let connector = snapshot.upstreams.get(upstream).ok_or_else(no_such)?;
        let chain = connector.chain(ca).ok_or_else(no_such)?;
        let generations: Arc<[Arc<Certificate>]> =
            chain.first().cloned().into_iter().chain(connector.previous_certificates(ca)).collect();
        let mut found: BTreeMap<String, Dependants> =
            generations.iter().map(|generation| (crl_key_name(generation), Dependants::default())).collect();

        let mut search = CertificateSearch { expires_after: Some(self.now()), limit: PAGE, ..CertificateSearch::default() };
        loop {
            let rows = self.inventory().certificates(&search).await?;
            let count = rows.len();
            let generations = Arc::clone(&generations);
            let ours: Vec<_> = rows.into_iter().filter(|row| row.upstream == upstream && row.ca == ca).collect();
            let signed = self
                .core()
                .blocking(move || {
                    let of = |der: &[u8]| generation_of(&generations, &Certificate::from_der(der).ok()?);
                    ours.iter().filter_map(|row| Some((of(&row.der)?, row.not_after))).collect::<Vec<_>>()
                })
                .await
                .map_err(|error: EnrollError| UpstreamError::Failed {
                    upstream: upstream.to_owned(),
                    reason: error.to_string(),
                })?;
            for (key, not_after) in signed {
                let one = found.entry(key).or_default();
                one.certificates += 1;
                one.until = one.until.max(Some(not_after));
            }
            if count < PAGE {
                break;
            }
            search.offset += count;
        }

        for state in [TransactionState::AwaitingApproval, TransactionState::Issuing, TransactionState::Unknown] {
            for transaction in self.inventory().transactions(state, OPEN).await? {
                // One whose order cannot be read will not be carried out either.
                let Ok(order) = stored_order(self.core(), &transaction) else { continue };
                let own = (&order.issuer, order.issuer_key.as_ref());
                let sibling = order.sibling.as_ref().map(|sibling| (&sibling.issuer, sibling.issuer_key.as_ref()));
                for (issuer, key) in std::iter::once(own).chain(sibling) {
                    if issuer.upstream == upstream
                        && issuer.ca == ca
                        && let Some(one) = key.and_then(|key| found.get_mut(key))
                    {
                        one.orders += 1;
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The name of the key that signed a certificate.
fn generation_of(generations: &[Arc<Certificate>], certificate: &Certificate) -> Option<String> {
    let named = certificate.authority_key_identifier();
    let by_name = generations.iter().find(|ca| named.is_some() && ca.subject_key_identifier() == named);
    let found = by_name.or_else(|| generations.iter().find(|ca| certificate.verify_signed_by(ca.spki()).is_ok()));
    found.map(|ca| crl_key_name(ca))
}
