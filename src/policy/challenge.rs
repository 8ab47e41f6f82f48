//! How a group takes challenges.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::clock::bucket::TokenBucket;
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
    seen: Arc<Seen>,
}

/// What was seen of one challenge. The slow hash is for whoever steals the file with it; strangers must not be able to make this server
/// compute it as often as they like. So it is computed once for the right password, once for a wrong one that many devices
/// bring, and only so often per second for all others.
struct Seen {
    /// Keyed digests of passwords. The key lives and dies with the process: they are of no use to whoever finds them.
    digests: Mutex<Digests>,
    /// Pays for computing the hash.
    budget: TokenBucket,
}

impl Seen {
    /// What was seen of this hash, also under a configuration before: a reload must not make devices and strangers queue anew.
    fn of(phc: &str) -> Arc<Self> {
        static ALL: Mutex<BTreeMap<String, Weak<Seen>>> = Mutex::new(BTreeMap::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = all.get(phc).and_then(Weak::upgrade) {
            return seen;
        }
        all.retain(|_, seen| seen.strong_count() > 0);
        let seen = Arc::new(Seen { digests: Mutex::default(), budget: TokenBucket::new(BURST, PER_SECOND) });
        all.insert(phc.to_owned(), Arc::downgrade(&seen));
        seen
    }
}

#[derive(Default)]
struct Digests {
    /// Of the password that was right last.
    right: Option<[u8; 32]>,
    /// Of those that were wrong lately, oldest first.
    wrong: VecDeque<[u8; 32]>,
}

/// Whether a password is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Right,
    /// It is not.
    Wrong,
    /// Too many others had to be computed lately: it cannot be said now. The right one, once seen, is never concerned.
    Later,
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
        Ok(SharedChallenge { phc: phc.to_owned(), seen: Seen::of(phc) })
    }

    /// Hashes a password into a PHC string.
    pub fn hash(password: &str) -> String {
        let salt = SaltString::encode_b64(&provider().random::<16>()).expect("16 octets are a good length for a salt");
        let hashed = hasher().hash_password(password.as_bytes(), &salt);
        hashed.expect("the parameters are constants, and any password can be hashed").to_string()
    }

    /// Whether this is the password, if that is known without computing the hash.
    pub fn known(&self, password: &str) -> Option<Verdict> {
        self.remembered(&digest_of(password))
    }

    /// Whether this is the password. Slow for a password that was not seen lately: run it on the crypto pool.
    pub fn verify(&self, password: &str) -> Verdict {
        let digest = digest_of(password);
        if let Some(verdict) = self.remembered(&digest) {
            return verdict;
        }
        if !self.seen.budget.pays() {
            return Verdict::Later;
        }
        let parsed = PasswordHash::new(&self.phc).expect("checked when it was read");
        let right = hasher().verify_password(password.as_bytes(), &parsed).is_ok();
        let mut digests = self.digests();
        if right {
            digests.right = Some(digest);
            return Verdict::Right;
        }
        if digests.wrong.len() == WRONG {
            digests.wrong.pop_front();
        }
        digests.wrong.push_back(digest);
        Verdict::Wrong
    }

    fn remembered(&self, digest: &[u8; 32]) -> Option<Verdict> {
        let digests = self.digests();
        if digests.right.is_some_and(|right| right.ct_eq(digest).into()) {
            return Some(Verdict::Right);
        }
        digests.wrong.contains(digest).then_some(Verdict::Wrong)
    }

    fn digests(&self) -> MutexGuard<'_, Digests> {
        // Whole between any two steps.
        self.seen.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest_of(password: &str) -> [u8; 32] {
    provider().digester.hmac_sha256(process_key(), password.as_bytes())
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

/// How often the hash of one challenge is computed at once, and per second in the long run: some percent of one core.
const BURST: f64 = 20.0;
const PER_SECOND: f64 = 2.0;

/// How many wrong passwords are remembered.
const WRONG: usize = 64;

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
        assert_eq!(shared.known("correct horse"), None);
        assert_eq!(shared.verify("wrong horse"), Verdict::Wrong);
        let start = Instant::now();
        assert_eq!(shared.verify("correct horse"), Verdict::Right);
        let first = start.elapsed();
        let start = Instant::now();
        assert_eq!(shared.verify("correct horse"), Verdict::Right);
        assert!(start.elapsed() * 10 < first, "{:?} after {first:?}", start.elapsed());
        assert_eq!(shared.known("wrong horse"), Some(Verdict::Wrong));
        assert_eq!(shared.verify("wrong horse"), Verdict::Wrong);
        assert_eq!(shared.verify(""), Verdict::Wrong);
    }

    #[test]
    fn strangers_cannot_have_the_hash_computed_without_end() {
        // As cheap as a hash may be, so that the test is quick.
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let phc = |salt: u8| hasher.hash_password(b"right", &SaltString::encode_b64(&[salt; 16]).unwrap()).unwrap().to_string();
        let shared = SharedChallenge::from_phc(&phc(1)).unwrap();
        let verdicts: Vec<_> = (0..200).map(|number| shared.verify(&format!("wrong {number}"))).collect();
        let computed = verdicts.iter().filter(|verdict| **verdict == Verdict::Wrong).count();
        assert!((20..40).contains(&computed), "{computed} of 200");
        assert_eq!(verdicts[199], Verdict::Later);
        // What was wrong costs nothing, and is told as ever.
        assert_eq!(shared.verify("wrong 0"), Verdict::Wrong);

        let shared = SharedChallenge::from_phc(&phc(2)).unwrap();
        assert_eq!(shared.verify("right"), Verdict::Right);
        let late = (0..200).map(|number| shared.verify(&format!("wrong {number}"))).filter(|v| *v == Verdict::Later).count();
        assert!(late > 150, "{late}");
        assert_eq!(shared.verify("right"), Verdict::Right, "who knows it is let in, whatever strangers do");
        let reloaded = SharedChallenge::from_phc(&phc(2)).unwrap();
        assert_eq!(reloaded.known("right"), Some(Verdict::Right), "a reload forgets nothing");
        assert_eq!(reloaded.verify("wrong as well"), Verdict::Later);
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
