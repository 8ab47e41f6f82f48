//! The steps of a rollover after the preparation: back and forth, and the end of a key.
//!
//! ```text
//! prepare ──▶ announced ──▶ switch ──▶ overlap ──▶ retire
//!    ◀── cancel ───┘          ◀── undo ────┘
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::authority;
use super::{LocalCa, LocalCaError};
use crate::algorithm::KeyAlgorithm;
use crate::upstream::crl_key_name;
use crate::x509::Certificate;

/// One generation of a CA.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Where it stands.
    pub phase: Phase,
    /// The name of its key ([`crl_key_name`]).
    pub key: String,
    /// Its certificate.
    pub certificate: Arc<Certificate>,
}

/// Where a generation of a CA stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Prepared and announced; signs nothing yet.
    Next,
    /// Signs.
    Current,
    /// Signs CRLs, and certificates that were ordered in its time.
    Earlier,
    /// Its key is destroyed.
    Retired,
}

impl Phase {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Next => "next",
            Phase::Current => "current",
            Phase::Earlier => "earlier",
            Phase::Retired => "retired",
        }
    }
}

impl Generation {
    fn new(phase: Phase, certificate: &Arc<Certificate>) -> Self {
        Generation { phase, key: crl_key_name(certificate), certificate: Arc::clone(certificate) }
    }

    /// The kind of its key.
    pub fn kind(&self) -> Option<KeyAlgorithm> {
        self.certificate.key()
    }

    /// Whether this generation signed a certificate.
    pub fn signed(&self, certificate: &Certificate) -> bool {
        let named = certificate.authority_key_identifier();
        let own = authority::key_identifier(&self.certificate).ok();
        certificate.issuer() == self.certificate.subject()
            && match (named, own) {
                (Some(named), Some(own)) => named == own,
                _ => certificate.verify_signed_by(self.certificate.spki()).is_ok(),
            }
    }
}

impl LocalCa {
    /// All generations of a CA: the next one, the current one, and the earlier ones from the latest to the oldest.
    pub fn all_generations(&self, ca: &str) -> Result<Vec<Generation>, LocalCaError> {
        let authority = self.known(ca)?;
        let mut all: Vec<_> = authority.next.iter().map(|next| Generation::new(Phase::Next, next)).collect();
        all.push(Generation::new(Phase::Current, &authority.certificate));
        all.extend(authority.previous.iter().rev().map(|previous| {
            let phase = if previous.retired() { Phase::Retired } else { Phase::Earlier };
            Generation::new(phase, &previous.certificate)
        }));
        Ok(all)
    }

    /// These CAs as they will be once this one signs with its next key: to see what that would mean. No file changes. Blocks.
    pub fn as_if_activated(&self, ca: &str) -> Result<LocalCa, LocalCaError> {
        let authority = self.known(ca)?;
        let next = authority.with_next(&self.dir.join(ca), &self.passphrase)?;
        let next = next.ok_or_else(|| LocalCaError::NoNext { ca: ca.to_owned() })?;
        let mut all = BTreeMap::clone(&self.authorities.load());
        all.insert(ca.to_owned(), Arc::new(next));
        Ok(LocalCa {
            name: self.name.clone(),
            dir: self.dir.clone(),
            passphrase: self.passphrase.clone(),
            pool: self.pool.clone(),
            clock: Arc::clone(&self.clock),
            authorities: ArcSwap::from_pointee(all),
            changing: Mutex::new(()),
        })
    }

    /// Takes back what [`prepare_next`](LocalCa::prepare_next) made: the next key is destroyed. Blocks.
    pub fn cancel_next(&self, ca: &str) -> Result<(), LocalCaError> {
        let _changing = self.lock();
        if self.known(ca)?.next.is_none() {
            return Err(LocalCaError::NoNext { ca: ca.to_owned() });
        }
        authority::cancel(&self.dir.join(ca))?;
        self.replace(ca).map(drop)
    }

    /// Goes back to the generation before: it signs again from now on, and the one until now stays as an earlier one. Doing it twice
    /// is as if nothing had been done. Blocks.
    pub fn undo_activation(&self, ca: &str) -> Result<Arc<Certificate>, LocalCaError> {
        self.prepare_earlier(ca)?;
        self.activate_next(ca)
    }

    /// Prepares the generation before as the next one: the first half of [`undo_activation`](Self::undo_activation). Its own files stay,
    /// also when this is taken back. Blocks.
    pub fn prepare_earlier(&self, ca: &str) -> Result<Arc<Certificate>, LocalCaError> {
        let _changing = self.lock();
        let authority = self.known(ca)?;
        if authority.next.is_some() {
            return Err(LocalCaError::NextPrepared { ca: ca.to_owned() });
        }
        let latest = authority.previous.last().ok_or_else(|| LocalCaError::NoEarlier { ca: ca.to_owned() })?;
        authority::prepare_earlier(&self.dir.join(ca), &latest.certificate)?;
        Ok(Arc::clone(self.replace(ca)?.next.as_ref().expect("prepared a moment ago")))
    }

    /// Destroys the key of an earlier generation. Whether anything depends on it is for the caller to know. Blocks.
    pub fn retire(&self, ca: &str, key: &str) -> Result<(), LocalCaError> {
        let _changing = self.lock();
        let authority = self.known(ca)?;
        let names = || authority.previous.iter().filter(|p| !p.retired()).map(|p| crl_key_name(&p.certificate));
        let found = authority.previous.iter().find(|previous| crl_key_name(&previous.certificate) == key);
        let previous = found.ok_or_else(|| LocalCaError::NoSuchKey {
            ca: ca.to_owned(),
            key: key.to_owned(),
            known: names().collect::<Vec<_>>().join(", "),
        })?;
        if previous.retired() {
            return Err(LocalCaError::Retired { key: key.to_owned() });
        }
        authority::retire(&self.dir.join(ca), &previous.certificate)?;
        self.replace(ca).map(drop)
    }

    /// The certificates of neighbouring CAs, of any generation that signs CRLs, that this generation certified and that have not ended.
    pub fn certified_by(&self, ca: &str, generation: &Generation, now: Timestamp) -> Vec<String> {
        let mut found = Vec::new();
        for (name, authority) in self.authorities.load().iter().filter(|(name, _)| *name != ca) {
            let living = authority.previous.iter().filter(|previous| !previous.retired()).map(|previous| &previous.certificate);
            let all = std::iter::once(&authority.certificate).chain(authority.next.iter()).chain(living);
            for certificate in all.filter(|c| c.not_after() > now && generation.signed(c)) {
                found.push(format!("the certificate of the CA {name:?} (key {})", crl_key_name(certificate)));
            }
        }
        found
    }
}
