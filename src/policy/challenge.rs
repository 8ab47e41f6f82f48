//! How a group takes challenges.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::provider;

/// One way in by challenge.
#[derive(Clone, Debug)]
pub enum ChallengePolicy {
    /// One-time challenges, made by Ravelin, redeemed once.
    OneTime {
        /// How long a new one can be redeemed.
        ttl: Duration,
        /// Selectors (`subject.serialNumber`, `subject.commonName`, `san.dns`) whose value is fixed when the challenge is made.
        bind: Vec<String>,
    },
    /// One password for the whole group, stored as a hash.
    Shared(SharedChallenge),
}

/// A shared challenge, as its Argon2 hash (PHC string).
#[derive(Clone)]
pub struct SharedChallenge {
    phc: String,
    /// Keyed digest of the password that was right last, so that the slow hash is computed once and not per device. The key lives
    /// and dies with the process: the digest is of no use to whoever finds it.
    right: Arc<Mutex<Option<[u8; 32]>>>,
}

impl SharedChallenge {
    /// Takes a PHC string (`$argon2id$…`).
    pub fn from_phc(phc: &str) -> Result<Self, String> {
        let parsed = PasswordHash::new(phc).map_err(|e| format!("not a PHC string: {e}"))?;
        if parsed.algorithm != argon2::ARGON2ID_IDENT {
            return Err(format!("the hash is {}; only argon2id is taken", parsed.algorithm));
        }
        let params = Params::try_from(&parsed).map_err(|e| format!("wrong Argon2 parameters: {e}"))?;
        if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
            return Err(format!(
                "checking it would take more than {MAX_MEMORY_KIB} KiB, {MAX_PASSES} passes or {MAX_LANES} lanes"
            ));
        }
        if parsed.salt.is_none() || parsed.hash.is_none() {
            return Err("the PHC string has no salt, or no hash".into());
        }
        Ok(SharedChallenge { phc: phc.to_owned(), right: Arc::default() })
    }

    /// Hashes a password into a PHC string.
    pub fn hash(password: &str) -> String {
        let salt = SaltString::encode_b64(&provider().random::<16>()).expect("16 octets are a good length for a salt");
        let hashed = hasher().hash_password(password.as_bytes(), &salt);
        hashed.expect("the parameters are constants, and any password can be hashed").to_string()
    }

    /// Whether this is the password. Slow for a password that was not seen before (run it on the crypto pool); quick for one that
    /// was right before: its keyed digest is remembered in memory.
    pub fn verify(&self, password: &str) -> bool {
        let digest = provider().digester.hmac_sha256(process_key(), password.as_bytes());
        let remembered = *self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.is_some_and(|right| right.ct_eq(&digest).into()) {
            return true;
        }
        let parsed = PasswordHash::new(&self.phc).expect("checked when it was read");
        let right = hasher().verify_password(password.as_bytes(), &parsed).is_ok();
        if right {
            *self.right.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        }
        right
    }
}

impl std::fmt::Debug for SharedChallenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedChallenge(..)")
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("the parameters are constants in their bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The key of remembered digests.
fn process_key() -> &'static [u8; 32] {
    static KEY: OnceLock<Zeroizing<[u8; 32]>> = OnceLock::new();
    KEY.get_or_init(|| Zeroizing::new(provider().random()))
}

/// Memory and passes of new hashes: what OWASP's password storage cheat sheet asks of Argon2id at least.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// Bounds for hashes that others made: checking one must not be a way to take the service down.
const MAX_MEMORY_KIB: u32 = 64 * 1024;
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 8;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_right_password_is_quick_the_second_time() {
        let shared = SharedChallenge::from_phc(&SharedChallenge::hash("correct horse")).unwrap();
        assert!(!shared.verify("wrong horse"));
        let start = Instant::now();
        assert!(shared.verify("correct horse"));
        let first = start.elapsed();
        let start = Instant::now();
        assert!(shared.verify("correct horse"));
        assert!(start.elapsed() * 10 < first, "{:?} after {first:?}", start.elapsed());
        assert!(!shared.verify("wrong horse"));
        assert!(!shared.verify(""));
    }

    #[test]
    fn hashes_are_salted_and_hidden() {
        let (a, b) = (SharedChallenge::hash("x"), SharedChallenge::hash("x"));
        assert_ne!(a, b);
        assert_eq!(format!("{:?}", SharedChallenge::from_phc(&a).unwrap()), "SharedChallenge(..)");
    }

    #[test]
    fn other_hashes_are_refused() {
        for (phc, why) in [
            ("secret", "PHC"),
            ("$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$012345678901234567890123456789012345678901w", "argon2id"),
            ("$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$012345678901234567890123456789012345678901w", "KiB"),
            ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ", "no hash"),
        ] {
            let error = SharedChallenge::from_phc(phc).unwrap_err();
            assert!(error.contains(why), "{phc}: {error}");
        }
    }
}
