//! How a group takes challenges.

use std::time::Duration;

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
}

impl std::fmt::Debug for SharedChallenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedChallenge(..)")
    }
}

impl SharedChallenge {
    /// Takes a PHC string (`$argon2id$…`).
    pub fn from_phc(_phc: &str) -> Result<Self, String> {
        todo!()
    }

    /// Hashes a password into a PHC string.
    pub fn hash(_password: &str) -> String {
        todo!()
    }

    /// Whether this is the password. Slow for a password that was not seen before (run it on the crypto pool); quick for one that
    /// was right before: its keyed digest is remembered in memory.
    pub fn verify(&self, _password: &str) -> bool {
        let _ = &self.phc;
        todo!()
    }
}
