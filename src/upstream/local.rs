//! The embedded CA: one upstream that holds any number of CAs, each in a folder of its own.
//!
//! It signs what an [`IssuanceOrder`] says with the key of the CA that the order names. A repeated submission makes the same
//! certificate again, serial number included, so nothing has to be stored here: the inventory is the memory.
//!
//! The calls that make keys or read them block, and say so; a running service makes them on the [`CryptoPool`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{
    Capabilities, CrlSource, IdempotencyKey, IssuanceOrder, NamesRule, RevocationRegister, Revoke, Submission, UpstreamCa,
    UpstreamError, crl_key_name,
};
use crate::algorithm::{KeyAlgorithm, KeyRule, SignatureAlgorithm};
use crate::clock::{Clock, SystemClock};
use crate::crypto::{CryptoPool, Lane, Signer};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

mod assembly;
pub(crate) mod authority;
mod create;
mod crl;
mod cross;
mod error;
pub(crate) mod files;
mod leaf;
mod rollover;
mod settings;

pub use create::{NewCa, NextCa};
pub use error::LocalCaError;
pub use rollover::{Generation, Phase};
pub use settings::Settings;

use authority::Authority;
use crl::CrlIssuer;

/// The embedded CA.
pub struct LocalCa {
    name: String,
    dir: PathBuf,
    passphrase: Zeroizing<String>,
    pool: CryptoPool,
    clock: Arc<dyn Clock>,
    authorities: ArcSwap<BTreeMap<String, Arc<Authority>>>,
    /// Held while files change.
    changing: Mutex<()>,
}

impl LocalCa {
    /// Loads every CA in the folders of `dir`; a missing `dir` has none. Blocks, a few tens of milliseconds a CA.
    pub fn load(name: impl Into<String>, dir: &Path, passphrase: &str, pool: CryptoPool) -> Result<Self, LocalCaError> {
        Ok(LocalCa {
            name: name.into(),
            dir: dir.to_owned(),
            passphrase: Zeroizing::new(passphrase.to_owned()),
            pool,
            clock: Arc::new(SystemClock),
            authorities: ArcSwap::from_pointee(load_all(dir, passphrase)?),
            changing: Mutex::new(()),
        })
    }

    /// Takes the time from somewhere else.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes a new CA in the folder `dir/name`: whole, or not at all. Blocks, for RSA up to seconds.
    pub fn create_ca(dir: &Path, passphrase: &str, name: &str, new: &NewCa) -> Result<(), LocalCaError> {
        create::create(dir, passphrase, name, new)
    }

    /// The names of the CAs.
    pub fn names(&self) -> Vec<String> {
        self.authorities.load().keys().cloned().collect()
    }

    /// The certificate of a CA.
    pub fn certificate(&self, ca: &str) -> Option<Arc<Certificate>> {
        Some(Arc::clone(&self.authority(ca)?.certificate))
    }

    /// The settings of a CA.
    pub fn settings(&self, ca: &str) -> Option<Settings> {
        Some(self.authority(ca)?.settings.clone())
    }

    /// The certificates of earlier generations of a CA, oldest first: what they issued may still be renewed.
    pub fn previous_certificates(&self, ca: &str) -> Vec<Arc<Certificate>> {
        self.authority(ca).iter().flat_map(|a| a.previous.iter()).map(|p| Arc::clone(&p.certificate)).collect()
    }

    /// The signature that a CA makes when nobody asks for another one.
    pub fn preferred_signature(&self, ca: &str) -> Option<SignatureAlgorithm> {
        self.authority(ca)?.keys.algorithms().first().copied()
    }

    /// Reads all folders again. What cannot be read leaves everything as it was. Blocks.
    pub fn reload(&self) -> Result<(), LocalCaError> {
        let _changing = self.lock();
        self.authorities.store(Arc::new(load_all(&self.dir, &self.passphrase)?));
        Ok(())
    }

    /// Prepares the next key and certificate of a CA (RFC 8894 section 4.7), under the same name and by the same parent. Blocks,
    /// for RSA up to seconds.
    pub fn prepare_next(&self, ca: &str, next: &NextCa) -> Result<Arc<Certificate>, LocalCaError> {
        let _changing = self.lock();
        let authority = self.known(ca)?;
        create::prepare_next(&self.dir, &self.passphrase, ca, &authority, next)?;
        let fresh = self.replace(ca)?;
        Ok(Arc::clone(fresh.next.as_ref().expect("prepared a moment ago")))
    }

    /// Signs with the next key from now on. The certificate and key until now stay as a previous generation. Blocks.
    pub fn activate_next(&self, ca: &str) -> Result<Arc<Certificate>, LocalCaError> {
        let _changing = self.lock();
        let place = self.dir.join(ca);
        let authority = self.known(ca)?;
        // All that could be wrong with it is found before anything is moved.
        authority.with_next(&place, &self.passphrase)?.ok_or_else(|| LocalCaError::NoNext { ca: ca.to_owned() })?;
        authority::activate(&place)?;
        Ok(Arc::clone(&self.replace(ca)?.certificate))
    }

    /// Issues what the order says. Blocks; [`submit`](UpstreamCa::submit) does the same on the pool, unless it is brief.
    pub fn issue(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        submission(self.signing(order).and_then(|signing| signing.issue(order, key)))
    }

    /// Which generation of which CA carries out an order.
    fn signing(&self, order: &IssuanceOrder) -> Result<Signing, Refused> {
        let authority = self.authority(&order.issuer.ca).ok_or_else(|| self.unknown_ca(&order.issuer.ca))?;
        let earlier = match authority.generation(order.issuer_key.as_deref()) {
            Ok(None) => None,
            Ok(Some(previous)) => Some((previous.clone(), self.passphrase.clone())),
            Err(why) => return Err(Refused::for_good(format!("the CA {:?} cannot issue: {why}", order.issuer.ca))),
        };
        Ok(Signing { authority, earlier })
    }

    fn authority(&self, ca: &str) -> Option<Arc<Authority>> {
        self.authorities.load().get(ca).cloned()
    }

    fn known(&self, ca: &str) -> Result<Arc<Authority>, LocalCaError> {
        self.authority(ca).ok_or_else(|| LocalCaError::NoSuchCa {
            name: ca.to_owned(),
            dir: self.dir.clone(),
            known: self.names().join(", "),
        })
    }

    fn no_such_ca(&self, ca: &str) -> UpstreamError {
        UpstreamError::NoSuchCa { upstream: self.name.clone(), ca: ca.to_owned() }
    }

    fn unknown_ca(&self, ca: &str) -> Refused {
        Refused::for_good(self.no_such_ca(ca).to_string())
    }

    /// Loads one CA afresh; call it with the lock held.
    fn replace(&self, ca: &str) -> Result<Arc<Authority>, LocalCaError> {
        let fresh = Arc::new(Authority::load(&self.dir.join(ca), &self.passphrase)?);
        let mut all = BTreeMap::clone(&self.authorities.load());
        all.insert(ca.to_owned(), Arc::clone(&fresh));
        self.authorities.store(Arc::new(all));
        Ok(fresh)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        // The guarded thing is the folder; whoever panicked left it as a crash would, which `Authority::load` can take.
        self.changing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Why an order was not carried out.
struct Refused {
    reason: String,
    retryable: bool,
}

impl Refused {
    /// The same order will be refused again.
    fn for_good(reason: String) -> Self {
        Refused { reason, retryable: false }
    }

    /// The same order may be carried out later, or elsewhere.
    fn for_now(reason: String) -> Self {
        Refused { reason, retryable: true }
    }
}

/// A generation of a CA that carries out an order.
struct Signing {
    authority: Arc<Authority>,
    /// An earlier generation, and what opens its key.
    earlier: Option<(authority::Previous, Zeroizing<String>)>,
}

impl Signing {
    fn issue(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Submission, Refused> {
        let Some((previous, passphrase)) = &self.earlier else { return issue(&self.authority, order, key) };
        let earlier = previous
            .authority(&self.authority, passphrase)
            .map_err(|e| Refused::for_now(format!("the CA {:?} cannot read its earlier key: {e}", order.issuer.ca)))?;
        issue(&earlier, order, key)
    }
}

fn issue(authority: &Authority, order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Submission, Refused> {
    // A key that signs nothing cannot come in a device's request: it is the RA's own.
    if order.key.can_sign() && !subject_keys().iter().any(|rule| rule.admits(order.key)) {
        return Err(Refused::for_good(format!("the local CA does not certify keys {}", order.key)));
    }
    let assembly = authority.keys.assembly(order.form, order.signature, order.alternative).ok_or_else(|| {
        let names = |able: Vec<SignatureAlgorithm>| able.iter().map(|a| a.name()).collect::<Vec<_>>().join(", ");
        let able = names(authority.keys.algorithms());
        Refused::for_good(match (order.alternative, names(authority.keys.alternatives())) {
            (Some(alternative), besides) if besides.is_empty() => {
                format!("the CA {:?} has no key for an alternative signature with {alternative}", order.issuer.ca)
            }
            (Some(alternative), besides) => format!(
                "the CA {:?} cannot sign with {} and {alternative} besides; its keys can: {able}; {besides} besides",
                order.issuer.ca, order.signature
            ),
            (None, _) => format!(
                "the CA {:?} cannot sign with {} in the form {}; its key can: {able}",
                order.issuer.ca, order.signature, order.form
            ),
        })
    })?;
    let template = leaf::template(authority, order, key)?;
    let signed = authority
        .keys
        .sign(template, assembly)
        .and_then(Certificate::from_octets)
        .map_err(|e| Refused::for_now(format!("the CA {:?} failed to sign: {e}", order.issuer.ca)))?;
    Ok(Submission::Issued { certificate: Arc::new(signed), chain: authority.chain.to_vec() })
}

fn submission(result: Result<Submission, Refused>) -> Submission {
    result.unwrap_or_else(|Refused { reason, retryable }| match retryable {
        true => Submission::NotTaken { reason, retry_after: None },
        false => Submission::Rejected { reason },
    })
}

/// What keys the embedded CA certifies: all that we know the name of. Which of them a device may bring is for its profile to say.
fn subject_keys() -> Vec<KeyRule> {
    let mut rules = vec![KeyRule::RsaRange { min: 1024, max: 8192 }];
    rules.extend(KeyAlgorithm::all_but_rsa().map(KeyRule::Exactly));
    rules
}

/// Loads all CAs side by side: opening an encrypted key is slow on purpose.
fn load_all(dir: &Path, passphrase: &str) -> Result<BTreeMap<String, Arc<Authority>>, LocalCaError> {
    let names = authority::folders(dir)?;
    std::thread::scope(|scope| {
        let loading: Vec<_> = names
            .into_iter()
            .map(|name| {
                let place = dir.join(&name);
                (name, scope.spawn(move || Authority::load(&place, passphrase)))
            })
            .collect();
        loading
            .into_iter()
            .map(|(name, thread)| {
                let authority = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                Ok((name, Arc::new(authority)))
            })
            .collect()
    })
}

#[async_trait]
impl UpstreamCa for LocalCa {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self, ca: &str) -> Option<Capabilities> {
        let authority = self.authority(ca)?;
        Some(Capabilities {
            signatures: authority.keys.algorithms(),
            alternatives: authority.keys.alternatives(),
            binds_related: true,
            takes_extensions: true,
            subject_keys: subject_keys(),
            overrides_subject: true,
            overrides_subject_alt_names: true,
            overrides_usages: true,
            overrides_validity: true,
            names: NamesRule::AsOrdered,
            can_wait: false,
            can_revoke: true,
            // Not found but made again, with the same serial number.
            can_find_again: true,
            poll_may_issue: false,
            sees_challenge: false,
            wants_challenge: false,
        })
    }

    async fn submit(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let signing = match self.signing(order) {
            Ok(signing) => signing,
            Err(refused) => return submission(Err(refused)),
        };
        // An earlier key is opened first, which is slow on purpose.
        if order.signature.is_brief() && order.alternative.is_none() && signing.earlier.is_none() {
            return submission(signing.issue(order, key));
        }
        let (order, key) = (order.clone(), *key);
        // What comes here was let in when its envelope was opened: it waits for its turn, unless the signature is a slow one.
        let lane = Lane::of([order.signature].into_iter().chain(order.alternative));
        match self.pool.run_signature(lane, move || signing.issue(&order, &key)).await {
            Ok(result) => submission(result),
            Err(e) => submission(Err(Refused::for_now(format!("the local CA issued nothing: {e}")))),
        }
    }

    async fn poll(&self, order: &IssuanceOrder, _reference: &str) -> Submission {
        Submission::Unknown { reason: format!("the local CA {:?} never lets an order wait", order.issuer.ca) }
    }

    fn chain(&self, ca: &str) -> Option<Arc<[Arc<Certificate>]>> {
        Some(Arc::clone(&self.authority(ca)?.chain))
    }

    fn chain_above(&self, ca: &str, certificate: &Certificate) -> Option<Arc<[Arc<Certificate>]>> {
        Some(Arc::clone(self.authority(ca)?.chain_above(certificate)))
    }

    fn issuer_key(&self, ca: &str) -> Option<String> {
        Some(crl_key_name(&self.authority(ca)?.certificate))
    }

    fn generations(&self, certificate: &Certificate) -> Vec<Arc<Certificate>> {
        let all = self.authorities.load();
        let of = |authority: &Authority| -> Vec<Arc<Certificate>> {
            let living = authority.previous.iter().filter(|previous| !previous.retired()).map(|previous| &previous.certificate);
            std::iter::once(&authority.certificate).chain(living).cloned().collect()
        };
        all.values().map(|authority| of(authority)).find(|all| all.iter().any(|one| **one == *certificate)).unwrap_or_default()
    }

    fn next_certificate(&self, ca: &str) -> Option<Arc<Certificate>> {
        self.authority(ca)?.next.clone()
    }

    fn previous_certificates(&self, ca: &str) -> Vec<Arc<Certificate>> {
        LocalCa::previous_certificates(self, ca)
    }

    async fn health(&self) -> Result<(), UpstreamError> {
        let now = self.clock.now();
        let all = self.authorities.load();
        let ended: Vec<_> = all
            .iter()
            .filter(|(_, a)| a.certificate.not_after() <= now)
            .map(|(name, a)| format!("the certificate of the CA {name:?} ended {}", a.certificate.not_after()))
            .collect();
        if ended.is_empty() {
            Ok(())
        } else {
            Err(UpstreamError::Failed { upstream: self.name.clone(), reason: ended.join("; ") })
        }
    }

    fn revoke(&self) -> Option<&dyn Revoke> {
        Some(self)
    }

    fn crl(&self) -> Option<&dyn CrlSource> {
        Some(self)
    }

    fn ca_signer(&self, ca: &str) -> Option<Arc<dyn Signer>> {
        Some(Arc::clone(&self.authority(ca)?.keys.primary))
    }

    fn signer_of(&self, certificate: &Certificate) -> Option<Arc<dyn Signer>> {
        let all = self.authorities.load();
        all.values().find(|authority| *authority.certificate == *certificate).map(|authority| Arc::clone(&authority.keys.primary))
    }
}

#[async_trait]
impl Revoke for LocalCa {
    /// The inventory keeps what is revoked and the CRL is made from it; what is left to do here is to see that the certificate is
    /// ours, and to forget the CRL.
    async fn revoke(&self, ca: &str, certificate: &Certificate, _reason: RevocationReason) -> Result<(), UpstreamError> {
        let authority = self.authority(ca).ok_or_else(|| self.no_such_ca(ca))?;
        let generations = std::iter::once(&authority.certificate).chain(authority.previous.iter().map(|p| &p.certificate));
        let ours = generations
            .into_iter()
            .any(|g| certificate.issuer() == g.subject() && certificate.verify_signed_by(g.spki()).is_ok());
        if !ours {
            return Err(UpstreamError::Failed {
                upstream: self.name.clone(),
                reason: format!("the certificate {} was not issued by the CA {ca:?}", certificate.serial_hex()),
            });
        }
        authority.crls.forget().await;
        Ok(())
    }
}

#[async_trait]
impl CrlSource for LocalCa {
    fn makes_them(&self) -> bool {
        true
    }

    async fn crl(&self, ca: &str, register: &dyn RevocationRegister) -> Result<Vec<u8>, UpstreamError> {
        let certificate = self.certificate(ca).ok_or_else(|| self.no_such_ca(ca))?;
        self.crl_of(ca, &certificate, register).await?.ok_or_else(|| self.no_such_ca(ca))
    }

    /// A previous key is read from its file for this: it signs nothing else any more.
    async fn crl_of(
        &self,
        ca: &str,
        issuer: &Certificate,
        register: &dyn RevocationRegister,
    ) -> Result<Option<Vec<u8>>, UpstreamError> {
        let authority = self.authority(ca).ok_or_else(|| self.no_such_ca(ca))?;
        let now = self.clock.now();
        let crl_issuer =
            |certificate| CrlIssuer { upstream: &self.name, certificate, settings: &authority.settings, pool: &self.pool };
        if issuer.der() == authority.certificate.der() {
            let keys = authority.keys.clone();
            return authority.crls.current(crl_issuer(&authority.certificate), register, now, move || Ok(keys)).await.map(Some);
        }
        let found = authority.previous.iter().find(|p| p.certificate.der() == issuer.der());
        // A key that is retired signs no CRLs.
        let Some(previous) = found.filter(|previous| !previous.retired()) else { return Ok(None) };
        let (generation, passphrase) = (previous.clone(), self.passphrase.clone());
        let keys = move || generation.keys(&passphrase);
        authority.crls.current(crl_issuer(&previous.certificate), register, now, keys).await.map(Some)
    }
}

#[cfg(test)]
mod tests;
