//! The steps of a rollover of the RA's keys: prepared, announced, switched, taken back, retired.
//!
//! A set is a signing key and a decryption key with their certificates. Each set that has not been retired opens what is encrypted to
//! it, and signs the replies to that: a device checks a reply by the certificates that it got together with the one it encrypts to.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::certify::Certified;
use super::install::{self, checked, remove};
use super::{Pair, RaError, RaKeys, RaStore, RaSubjects, Role};
use crate::crypto::ra::{RaNext, RaPhase, RaSigner};
use crate::crypto::{RaIdentity, provider};
use crate::upstream::local::{LocalCa, files};
use crate::x509::{Certificate, KeyUsage};

/// One set of certificates of the RA.
#[derive(Clone, Debug)]
pub struct RaSet {
    /// Where it stands.
    pub phase: RaPhase,
    /// The numbers under which an earlier set is kept, the latest first: several if it came and went.
    pub numbers: Vec<u32>,
    /// The certificate that signs; an old set may have lost it.
    pub signer: Option<Arc<Certificate>>,
    /// The certificate that is encrypted to; the same if one does both.
    pub decrypter: Arc<Certificate>,
    /// When an earlier set was replaced, if that was written down.
    pub replaced: Option<Timestamp>,
}

impl RaStore {
    /// Makes keys, has them certified by an embedded CA under the names of now, and announces them. Those in use stay in use.
    pub fn prepare_by(
        &self,
        ca: &LocalCa,
        ca_name: &str,
        keys: RaKeys,
        not_before: Timestamp,
        validity: Duration,
        now: Timestamp,
    ) -> Result<RaIdentity, RaError> {
        let subjects = RaSubjects::of(&self.load()?);
        self.create_keys(keys)?;
        let prepared =
            self.certified(ca, ca_name, &subjects, not_before, validity).and_then(|certified| self.announce(certified, now));
        if prepared.is_err() {
            self.discard_waiting_keys()?;
        }
        prepared
    }

    /// Announces certificates from a CA outside for the keys that wait.
    pub fn prepare(
        &self,
        signer: Certificate,
        decrypter: Option<Certificate>,
        chain: Vec<Certificate>,
        now: Timestamp,
    ) -> Result<RaIdentity, RaError> {
        if !self.has_waiting_keys() {
            return Err(RaError::NoKeys { dir: self.dir.clone() });
        }
        let keys = self.keys_to_certify()?;
        self.announce(Certified { keys, signer, decrypter, chain }, now)
    }

    fn announce(&self, certified: Certified, now: Timestamp) -> Result<RaIdentity, RaError> {
        let Certified { keys, signer, decrypter, chain } = certified;
        let chain = checked(&keys, &signer, decrypter.as_ref(), chain, now)?;
        let mut texts = vec![(NEXT_CHAIN, chain.iter().map(Certificate::to_pem).collect::<String>())];
        texts.extend(decrypter.map(|decrypter| (NEXT_DECRYPTER, decrypter.to_pem())));
        // The signer's certificate comes last: it is what tells that they are announced.
        texts.push((NEXT_SIGNER, signer.to_pem()));
        for (name, text) in texts {
            let path = self.dir.join(name);
            files::write(&path, text.as_bytes()).map_err(RaError::io(&path))?;
        }
        self.load()
    }

    /// Whether certificates are announced.
    pub fn is_prepared(&self) -> bool {
        self.dir.join(NEXT_SIGNER).is_file() && self.has_waiting_keys()
    }

    /// Takes the announced certificates into use. What is encrypted to the ones until now is still opened, and answered with their
    /// signing key.
    pub fn switch(&self, now: Timestamp) -> Result<RaIdentity, RaError> {
        if !self.is_prepared() {
            return Err(RaError::NotPrepared);
        }
        let keys = self.keys_to_certify()?;
        let signer = self.read_certificate(NEXT_SIGNER)?;
        let decrypter = match keys.decrypter {
            Some(_) => Some(self.read_certificate(NEXT_DECRYPTER)?),
            None => None,
        };
        let chain = self.read_chain_of(NEXT_CHAIN)?.iter().map(|c| Certificate::clone(c)).collect();
        self.install_for(&keys, signer, decrypter, chain, now)
    }

    /// Takes what was announced back, or keys that wait for certificates: they are destroyed.
    pub fn cancel(&self) -> Result<(), RaError> {
        if !self.has_waiting_keys() {
            return Err(RaError::NotPrepared);
        }
        self.discard_waiting_keys()
    }

    /// Takes the latest earlier set into use again. The ones until now become an earlier set.
    pub fn undo(&self, now: Timestamp) -> Result<RaIdentity, RaError> {
        install::finish(&self.dir)?;
        if self.has_waiting_keys() {
            return Err(RaError::KeysWaiting { dir: self.dir.clone() });
        }
        // What a step that was broken off left behind.
        self.discard_waiting_keys()?;
        let current = self.read_certificate(Role::Signer.certificate_file())?;
        let sets = self.sets()?;
        let earlier =
            sets.iter().find(|set| set.phase == RaPhase::Earlier && set.signer.as_deref().is_some_and(|s| *s != current));
        let (Some(set), Some(number)) = (earlier, earlier.and_then(|set| set.numbers.first())) else {
            return Err(RaError::NoEarlier);
        };
        let one = set.signer.as_ref() == Some(&set.decrypter);
        let names: &[(&str, &str)] = match one {
            true => &[("decrypter", "next-signer")],
            false => &[("decrypter", "next-decrypter"), ("signer", "next-signer")],
        };
        let number = *number;
        let chain = self.dir.join(format!("chain-{number}.pem"));
        let chain_text = fs::read_to_string(&chain).map_err(RaError::io(&chain))?;
        let next_chain = self.dir.join(NEXT_CHAIN);
        files::write(&next_chain, chain_text.as_bytes()).map_err(RaError::io(&next_chain))?;
        for ending in ["key.pem", "pem"] {
            for (from, to) in names {
                let from = self.dir.join(format!("{from}-{number}.{ending}"));
                files::keep_as(&from, &self.dir.join(format!("{to}.{ending}"))).map_err(RaError::io(&from))?;
            }
        }
        // The check of certificates may refuse, as when they have ended: then nothing has happened.
        self.switch(now).inspect_err(|_| drop(self.discard_waiting_keys()))
    }

    /// Destroys the keys of earlier sets that were replaced before `until`, or of all of them. What is encrypted to them is not opened
    /// any more. Gives how many sets went.
    pub fn retire(&self, until: Option<Timestamp>) -> Result<usize, RaError> {
        install::finish(&self.dir)?;
        let old = |set: &RaSet| until.is_none_or(|until| set.replaced.is_none_or(|replaced| replaced <= until));
        let sets = self.sets()?;
        let go: Vec<_> = sets.iter().filter(|set| set.phase == RaPhase::Earlier && old(set)).collect();
        for number in go.iter().flat_map(|set| &set.numbers) {
            self.remove_earlier(*number)?;
        }
        // The current one, if it was an earlier one for a time, needs no second name any more.
        for number in sets.iter().filter(|set| set.phase == RaPhase::Current && !go.is_empty()).flat_map(|set| &set.numbers) {
            self.remove_earlier(*number)?;
        }
        Ok(go.len())
    }

    /// The sets: the announced one, the current one, then the earlier ones from the latest to the oldest. Reads no keys.
    pub fn sets(&self) -> Result<Vec<RaSet>, RaError> {
        install::finish(&self.dir)?;
        let read = |name: &str| self.read_certificate(name).map(Arc::new);
        let there = |name: &str| self.dir.join(name).is_file();
        let mut sets = Vec::new();
        if self.is_prepared() {
            let signer = read(NEXT_SIGNER)?;
            let decrypter = if there(NEXT_DECRYPTER) { read(NEXT_DECRYPTER)? } else { Arc::clone(&signer) };
            sets.push(RaSet { phase: RaPhase::Next, numbers: Vec::new(), signer: Some(signer), decrypter, replaced: None });
        }
        let signer = read(Role::Signer.certificate_file())?;
        let two = there(Role::Decrypter.key_file());
        let decrypter = if two { read(Role::Decrypter.certificate_file())? } else { Arc::clone(&signer) };
        sets.push(RaSet { phase: RaPhase::Current, numbers: Vec::new(), signer: Some(signer), decrypter, replaced: None });
        for number in self.earlier()?.into_iter().rev() {
            let decrypter = read(&format!("decrypter-{number}.pem"))?;
            let name = format!("signer-{number}.pem");
            let signer = match there(&name) {
                true => Some(read(&name)?),
                false => signs(&decrypter).then(|| Arc::clone(&decrypter)),
            };
            let replaced = fs::read_to_string(self.dir.join(format!("replaced-{number}"))).ok();
            let replaced = replaced.and_then(|text| text.trim().parse().ok());
            // Certificates of the same key are sets of their own, the same certificate is not.
            let known = sets.iter_mut().filter(|set| set.phase != RaPhase::Next).find(|set| set.decrypter == decrypter);
            match known {
                Some(known) => known.numbers.push(number),
                None => {
                    sets.push(RaSet { phase: RaPhase::Earlier, numbers: vec![number], signer, decrypter, replaced });
                }
            }
        }
        Ok(sets)
    }

    /// Removes an earlier set, its keys first. The certificate that tells of it goes last.
    pub(super) fn remove_earlier(&self, number: u32) -> Result<(), RaError> {
        for name in ["signer", "decrypter"] {
            let path = self.dir.join(format!("{name}-{number}.key.pem"));
            files::destroy(&path).map_err(RaError::io(&path))?;
        }
        for name in [format!("replaced-{number}"), format!("chain-{number}.pem"), format!("signer-{number}.pem")] {
            remove(&self.dir.join(name))?;
        }
        remove(&self.dir.join(format!("decrypter-{number}.pem")))
    }

    /// The signing half of an earlier set.
    pub(super) fn earlier_signer(&self, number: u32, decrypter: &Pair) -> Result<Option<RaSigner>, RaError> {
        let recipient = Arc::clone(&decrypter.certificate);
        if self.dir.join(format!("signer-{number}.pem")).is_file() {
            let pair = self.read(&format!("signer-{number}.key.pem"), &format!("signer-{number}.pem"))?;
            return Ok(Some(pair.signer_for(recipient)?));
        }
        // One certificate did both. One that cannot sign is of a time when its signer was not kept.
        if signs(&decrypter.certificate) { decrypter.signer_for(recipient).map(Some) } else { Ok(None) }
    }

    /// The announced set: its decryption key, its signing half, and what is told of it.
    pub(super) fn read_next(&self) -> Result<Option<(Pair, RaSigner, RaNext)>, RaError> {
        if !self.is_prepared() {
            return Ok(None);
        }
        let signer = self.read(Role::Signer.waiting_key_file(), NEXT_SIGNER)?;
        let two = self.dir.join(Role::Decrypter.waiting_key_file()).is_file();
        let decrypter = match two {
            true => self.read(Role::Decrypter.waiting_key_file(), NEXT_DECRYPTER)?,
            false => self.read(Role::Signer.waiting_key_file(), NEXT_SIGNER)?,
        };
        let half = signer.signer_for(Arc::clone(&decrypter.certificate))?;
        let next = RaNext {
            signer: if two { signer.certificate } else { Arc::clone(&decrypter.certificate) },
            decrypter: Arc::clone(&decrypter.certificate),
            chain: self.read_chain_of(NEXT_CHAIN)?,
        };
        Ok(Some((decrypter, half, next)))
    }

    fn read_certificate(&self, name: &str) -> Result<Certificate, RaError> {
        let path = self.dir.join(name);
        let text = fs::read_to_string(&path).map_err(RaError::io(&path))?;
        Certificate::from_pem(&text).map_err(|source| RaError::Certificate { path, source })
    }
}

impl Pair {
    fn signer_for(&self, recipient: Arc<Certificate>) -> Result<RaSigner, RaError> {
        let signer = provider().keys.signer(&self.pkcs8)?;
        self.check(signer.spki())?;
        Ok(RaSigner { recipient, signer, certificate: Arc::clone(&self.certificate) })
    }
}

fn signs(certificate: &Certificate) -> bool {
    certificate.key_usage().is_some_and(|usage| usage.contains(KeyUsage::DIGITAL_SIGNATURE))
}

const NEXT_SIGNER: &str = "next-signer.pem";
const NEXT_DECRYPTER: &str = "next-decrypter.pem";
const NEXT_CHAIN: &str = "next-chain.pem";

/// The certificates that are announced, the one that tells of them first: it is the first to go.
pub(super) const NEXT_CERTIFICATES: [&str; 3] = [NEXT_SIGNER, NEXT_DECRYPTER, NEXT_CHAIN];
