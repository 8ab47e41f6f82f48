//! The RA's own keys and certificates on disk: made, certified, installed, checked, renewed.
//!
//! Devices encrypt their requests to one certificate of the RA, and check our replies with the other (RFC 8894 section 2.1.2).
//! Both keys are RSA, since that is what devices can encrypt to, and are certified by a classical CA that devices know: the
//! embedded one ([`RaStore::self_made`]), or the one that the fleet trusts already ([`RaStore::requests`] and
//! [`RaStore::install`]).
//!
//! An identity for endpoints of their own may have an ML-KEM key to encrypt to, and then any key and any CA for the other: devices
//! that can encapsulate know the rest as well. An ML-KEM key cannot sign a request, so the embedded CA certifies it directly.
//!
//! ```text
//! <data>/ra/signer.key.pem, signer.pem           signs replies                 (keys: encrypted PKCS#8)
//!           decrypter.key.pem, decrypter.pem     opens requests                (not there if one certificate does both)
//!           chain.pem                            the CA certificates above, issuer first
//!           decrypter-N.key.pem, decrypter-N.pem earlier ones, which devices may still encrypt to
//!           signer-N.key.pem, signer-N.pem       what signs the replies to those
//!           chain-N.pem, replaced-N              what was above them, and when they were replaced
//!           next-*.key.pem                       keys that wait for their certificates
//!           next-*.pem                           their certificates, announced and not in use yet
//!           incoming/                            a set that is being moved in; loading ends what was broken off
//! ```
//!
//! All calls block: a running service makes them on the [`CryptoPool`](crate::crypto::CryptoPool).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::algorithm::{KeyAlgorithm, MlKem};
use crate::crypto::ra::{RaDecrypter, RaRollover};
use crate::crypto::{CryptoError, RaIdentity, RecipientKey, Signer, keystore, provider};
use crate::upstream::local::authority::same_key;
use crate::upstream::local::files;
use crate::x509::Certificate;

mod certify;
mod check;
mod error;
mod install;
mod rollover;

pub use certify::{RaRequests, RaSubjects};
pub use check::{Finding, Severity, check};
pub use error::RaError;
pub use rollover::RaSet;

/// Loads the RA's identity from its folder.
pub fn load(dir: &Path, passphrase: &str) -> Result<RaIdentity, RaError> {
    RaStore::new(dir, passphrase).load()
}

/// The folder of the RA's keys and certificates.
#[derive(Clone)]
pub struct RaStore {
    dir: PathBuf,
    passphrase: Zeroizing<String>,
}

/// Which keys to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaKeys {
    /// Two RSA keys, one that signs and one that decrypts.
    Pair {
        /// Size of each.
        bits: u32,
    },
    /// One RSA key that does both, for clients that cannot tell two RA certificates apart. Some clients refuse a reply that is
    /// signed with the key that they encrypt to.
    Single {
        /// Its size.
        bits: u32,
    },
    /// A key of any kind that signs, and an ML-KEM key: for endpoints of devices that can use them.
    Encapsulation {
        /// The kind of the key that signs.
        signer: KeyAlgorithm,
        /// The kind of the key that secrets are encapsulated to.
        recipient: MlKem,
    },
}

/// What an RA key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Signs replies.
    Signer,
    /// Opens requests.
    Decrypter,
}

impl RaStore {
    /// Names the folder; nothing is read yet.
    pub fn new(dir: impl Into<PathBuf>, passphrase: &str) -> Self {
        RaStore { dir: dir.into(), passphrase: Zeroizing::new(passphrase.to_owned()) }
    }

    /// Loads the identity, after ending an installation that was broken off.
    pub fn load(&self) -> Result<RaIdentity, RaError> {
        install::finish(&self.dir)?;
        let single = !self.dir.join(Role::Decrypter.key_file()).is_file();
        let earlier = self.earlier()?;
        // Opening an encrypted key is slow on purpose: all at once.
        std::thread::scope(|scope| {
            let signer = scope.spawn(|| self.read(Role::Signer.key_file(), Role::Signer.certificate_file()));
            let current =
                (!single).then(|| scope.spawn(|| self.read(Role::Decrypter.key_file(), Role::Decrypter.certificate_file())));
            let earlier: Vec<_> = earlier
                .iter()
                .map(|n| {
                    scope.spawn(move || {
                        let decrypter = self.read(&format!("decrypter-{n}.key.pem"), &format!("decrypter-{n}.pem"))?;
                        let signer = self.earlier_signer(*n, &decrypter)?;
                        Ok((decrypter, signer))
                    })
                })
                .collect();
            let next = scope.spawn(|| self.read_next());

            let signer = join(signer)?;
            let mut decrypters = vec![match current {
                Some(current) => join(current)?.decrypter()?,
                None => signer.decrypter()?,
            }];
            let mut rollover = RaRollover::default();
            // The latest of the earlier ones first.
            for loaded in earlier.into_iter().rev() {
                let (decrypter, signer) = join(loaded)?;
                let decrypter = decrypter.decrypter()?;
                if decrypters.iter().all(|d| d.certificate != decrypter.certificate) {
                    decrypters.push(decrypter);
                    rollover.signers.extend(signer);
                }
            }
            if let Some((decrypter, signer, next)) = join(next)? {
                let decrypter = decrypter.decrypter()?;
                // One that is taken back in is there as an earlier one already.
                if decrypters.iter().all(|d| d.certificate != decrypter.certificate) {
                    decrypters.push(decrypter);
                    rollover.signers.push(signer);
                }
                rollover.next = Some(next);
            }
            let key = provider().keys.signer(&signer.pkcs8)?;
            signer.check(key.spki())?;
            let chain = self.read_chain_of(CHAIN)?;
            Ok(RaIdentity { signer: key, signer_certificate: signer.certificate, decrypters, chain, rollover })
        })
    }

    /// Makes keys that wait for their certificates; the ones in use stay in use until those are installed.
    pub fn create_keys(&self, keys: RaKeys) -> Result<(), RaError> {
        let kinds: Vec<(Role, KeyAlgorithm)> = match keys {
            RaKeys::Pair { bits } => vec![(Role::Signer, KeyAlgorithm::Rsa(bits)), (Role::Decrypter, KeyAlgorithm::Rsa(bits))],
            RaKeys::Single { bits } => vec![(Role::Signer, KeyAlgorithm::Rsa(bits))],
            RaKeys::Encapsulation { signer, recipient } => {
                vec![(Role::Signer, signer), (Role::Decrypter, KeyAlgorithm::MlKem(recipient))]
            }
        };
        for (_, kind) in &kinds {
            if let KeyAlgorithm::Rsa(bits) = *kind
                && !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits)
            {
                return Err(RaError::UnsuitableSize { bits });
            }
        }
        if self.has_waiting_keys() {
            return Err(RaError::KeysWaiting { dir: self.dir.clone() });
        }
        files::create_private_dir(&self.dir).map_err(RaError::io(&self.dir))?;
        let mut made = Vec::new();
        for (role, kind) in kinds {
            let pkcs8 = match kind {
                KeyAlgorithm::MlKem(set) => provider().kem.generate(set)?.export_pkcs8(),
                signs => provider().keys.generate(signs)?.export_pkcs8(),
            };
            made.push((role, pkcs8.ok_or(CryptoError::Unsupported)?));
        }
        // The signer comes last: it is what tells that keys are waiting.
        for (role, pkcs8) in made.iter().rev() {
            keystore::write_key(&self.dir.join(role.waiting_key_file()), pkcs8, &self.passphrase)?;
        }
        Ok(())
    }

    /// Destroys keys that wait for their certificates, or were announced with them.
    pub fn discard_waiting_keys(&self) -> Result<(), RaError> {
        // First what tells of them.
        for name in rollover::NEXT_CERTIFICATES {
            install::remove(&self.dir.join(name))?;
        }
        for role in [Role::Signer, Role::Decrypter] {
            let path = self.dir.join(role.waiting_key_file());
            files::destroy(&path).map_err(RaError::io(&path))?;
        }
        Ok(())
    }

    /// Whether keys wait for their certificates.
    pub fn has_waiting_keys(&self) -> bool {
        self.dir.join(Role::Signer.waiting_key_file()).is_file()
    }

    /// Whether there is an identity to load.
    pub fn exists(&self) -> bool {
        self.dir.join(Role::Signer.certificate_file()).is_file() || self.dir.join(install::INCOMING).is_dir()
    }

    /// The keys to certify: those that wait, else those in use.
    fn keys_to_certify(&self) -> Result<Keys, RaError> {
        install::finish(&self.dir)?;
        let waiting = self.has_waiting_keys();
        let file = |role: Role| self.dir.join(if waiting { role.waiting_key_file() } else { role.key_file() });
        if !file(Role::Signer).is_file() {
            return Err(RaError::NoKeys { dir: self.dir.clone() });
        }
        let decrypter = file(Role::Decrypter);
        Ok(Keys {
            waiting,
            signer: self.read_signer(&file(Role::Signer))?,
            decrypter: if decrypter.is_file() { Some(self.read_recipient(&decrypter)?) } else { None },
        })
    }

    /// The kinds of the keys in use, to make others of the same kinds.
    pub fn kinds_of(identity: &RaIdentity) -> RaKeys {
        let bits = |key| match key {
            KeyAlgorithm::Rsa(bits) => bits,
            _ => MIN_RSA_BITS,
        };
        let signer = identity.signer.key();
        match identity.decrypter().key.key() {
            KeyAlgorithm::MlKem(recipient) => RaKeys::Encapsulation { signer, recipient },
            _ if identity.is_single() => RaKeys::Single { bits: bits(signer) },
            _ => RaKeys::Pair { bits: bits(signer) },
        }
    }

    fn read_recipient(&self, path: &Path) -> Result<ToEncryptTo, RaError> {
        let pkcs8 = keystore::read_key(path, Some(&self.passphrase))?;
        let key = RecipientKey::from_pkcs8(&pkcs8)?;
        let signer = match key {
            RecipientKey::Transport(_) => Some(provider().keys.signer(&pkcs8)?),
            RecipientKey::Encapsulation(_) => None,
        };
        Ok(ToEncryptTo { kind: key.key(), spki: key.spki().to_vec(), signer })
    }

    fn read_signer(&self, path: &Path) -> Result<Arc<dyn Signer>, RaError> {
        Ok(provider().keys.signer(&keystore::read_key(path, Some(&self.passphrase))?)?)
    }

    fn read(&self, key: &str, certificate: &str) -> Result<Pair, RaError> {
        let (key, certificate) = (self.dir.join(key), self.dir.join(certificate));
        if !key.is_file() || !certificate.is_file() {
            return Err(RaError::NoIdentity { missing: if key.is_file() { certificate } else { key } });
        }
        let text = fs::read_to_string(&certificate).map_err(RaError::io(&certificate))?;
        let read = Certificate::from_pem(&text).map_err(|source| RaError::Certificate { path: certificate.clone(), source })?;
        let pkcs8 = keystore::read_key(&key, Some(&self.passphrase))?;
        Ok(Pair { pkcs8, certificate: Arc::new(read), files: (key, certificate) })
    }

    fn read_chain_of(&self, name: &str) -> Result<Vec<Arc<Certificate>>, RaError> {
        let path = self.dir.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => text,
            Ok(_) => return Ok(Vec::new()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(RaError::io(&path)(e)),
        };
        let chain = Certificate::chain_from_pem(&text).map_err(|source| RaError::Certificate { path, source })?;
        Ok(chain.into_iter().map(Arc::new).collect())
    }

    /// Numbers of the earlier decrypters, oldest first.
    fn earlier(&self) -> Result<Vec<u32>, RaError> {
        if !self.dir.is_dir() {
            return Ok(Vec::new());
        }
        files::numbered(&self.dir, "decrypter-", ".pem").map_err(RaError::io(&self.dir))
    }
}

impl Default for RaKeys {
    fn default() -> Self {
        RaKeys::Pair { bits: 2048 }
    }
}

impl Role {
    const fn key_file(self) -> &'static str {
        match self {
            Role::Signer => "signer.key.pem",
            Role::Decrypter => "decrypter.key.pem",
        }
    }

    const fn certificate_file(self) -> &'static str {
        match self {
            Role::Signer => "signer.pem",
            Role::Decrypter => "decrypter.pem",
        }
    }

    const fn waiting_key_file(self) -> &'static str {
        match self {
            Role::Signer => "next-signer.key.pem",
            Role::Decrypter => "next-decrypter.key.pem",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Signer => "signing",
            Role::Decrypter => "encryption",
        })
    }
}

/// Keys to certify. `decrypter` is `None` if one key does both.
struct Keys {
    waiting: bool,
    signer: Arc<dyn Signer>,
    decrypter: Option<ToEncryptTo>,
}

impl Keys {
    /// Whether secrets are encapsulated to the key that decrypts, so that the devices are not the old ones.
    fn encapsulate(&self) -> bool {
        self.decrypter.as_ref().is_some_and(|key| key.kind.can_decapsulate())
    }
}

/// What has to be known of a key to certify it as one to encrypt to.
struct ToEncryptTo {
    kind: KeyAlgorithm,
    spki: Vec<u8>,
    /// Signs a request for it; ML-KEM keys sign nothing.
    signer: Option<Arc<dyn Signer>>,
}

/// A key and its certificate, as read.
struct Pair {
    pkcs8: Zeroizing<Vec<u8>>,
    certificate: Arc<Certificate>,
    files: (PathBuf, PathBuf),
}

impl Pair {
    fn check(&self, spki: &[u8]) -> Result<(), RaError> {
        if same_key(spki, self.certificate.spki()) {
            return Ok(());
        }
        let (key, certificate) = self.files.clone();
        Err(RaError::FilesMismatch { key, certificate })
    }

    fn decrypter(&self) -> Result<RaDecrypter, RaError> {
        let key = RecipientKey::from_pkcs8(&self.pkcs8)?;
        self.check(key.spki())?;
        Ok(RaDecrypter { key, certificate: Arc::clone(&self.certificate) })
    }
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, RaError>>) -> Result<T, RaError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

const CHAIN: &str = "chain.pem";

/// What clients and CAs of today take without objection.
const MIN_RSA_BITS: u32 = 2048;
/// Above this, a request costs more of our time than a small server has.
const MAX_RSA_BITS: u32 = 4096;

#[cfg(test)]
mod tests;
