//! The default backend: AWS-LC, through `aws-lc-rs` and, where that lacks something, through the calls of `ffi.rs`.

use aws_lc_rs::{digest, hmac, rand};

use super::ml_dsa::MlDsaBackend;
use super::{CryptoError, CryptoProvider, Digester, SecureRandom, ffi};
use crate::algorithm::Digest;

mod content;
mod kem;
mod keys;
mod ml_dsa;
mod padding;
mod public_key;
mod transport;
mod verify;

/// ML-DSA.
pub(super) const ML_DSA: &dyn MlDsaBackend = &AwsLc;

/// What AWS-LC has by itself. Its verifier and its keys are those of RSA, ECDSA and Ed25519: the rest stands in
/// [`Families`](super::Families).
pub const PROVIDER: CryptoProvider = CryptoProvider {
    name: "aws-lc",
    digester: &AwsLc,
    verifier: &AwsLc,
    keys: &AwsLc,
    transport: &AwsLc,
    kem: &AwsLc,
    ciphers: &AwsLc,
    random: &AwsLc,
};

/// All parts of the provider: AWS-LC has no state of its own.
struct AwsLc;

impl Digester for AwsLc {
    fn digest(&self, algorithm: Digest, data: &[u8]) -> Vec<u8> {
        Hash::of(algorithm, data).as_ref().to_vec()
    }

    fn sha256(&self, data: &[u8]) -> [u8; 32] {
        digest::digest(&digest::SHA256, data).as_ref().try_into().expect("SHA-256 gives 32 octets")
    }

    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, data).as_ref().try_into().expect("HMAC-SHA-256 gives 32 octets")
    }

    fn hmac(&self, algorithm: Digest, key: &[u8], data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let algorithm = match algorithm {
            Digest::Md5 => return Err(CryptoError::Unsupported),
            Digest::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Digest::Sha256 => hmac::HMAC_SHA256,
            Digest::Sha384 => hmac::HMAC_SHA384,
            Digest::Sha512 => hmac::HMAC_SHA512,
        };
        Ok(hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec())
    }
}

impl SecureRandom for AwsLc {
    fn fill(&self, out: &mut [u8]) {
        if rand::fill(out).is_err() {
            // Without randomness there is no safe answer to anything.
            eprintln!("The system gives no randomness.");
            std::process::abort();
        }
    }
}

/// A digest that was computed, without an allocation.
enum Hash {
    Md5([u8; 16]),
    Other(digest::Digest),
}

impl Hash {
    fn of(algorithm: Digest, data: &[u8]) -> Self {
        let algorithm = match algorithm {
            Digest::Md5 => return Hash::Md5(ffi::md5(data)),
            Digest::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Digest::Sha256 => &digest::SHA256,
            Digest::Sha384 => &digest::SHA384,
            Digest::Sha512 => &digest::SHA512,
        };
        Hash::Other(digest::digest(algorithm, data))
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        match self {
            Hash::Md5(hash) => hash,
            Hash::Other(hash) => hash.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests;
