//! Keeps a challenge secret while its transaction is open: AES-256-GCM under a key of this installation.
//!
//! Only replies to signers whose key cannot decrypt need it (RFC 8894 section 3.1: PasswordRecipientInfo is keyed with the
//! challengePassword), and only when they come later than the request.

use zeroize::Zeroizing;

use crate::algorithm::ContentCipher;
use crate::crypto;

/// Seals and opens challenges.
pub struct Sealer {
    key: Zeroizing<[u8; 32]>,
}

impl Sealer {
    /// With this key.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key: Zeroizing::new(key) }
    }

    /// Seals a challenge: nonce, ciphertext, tag.
    pub fn seal(&self, challenge: &str) -> Option<Vec<u8>> {
        let provider = crypto::provider();
        let nonce: [u8; 12] = provider.random();
        let sealed = provider.ciphers.encrypt(ContentCipher::Aes256Gcm, &*self.key, &nonce, challenge.as_bytes()).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`seal`](Self::seal) made; `None` if it is not of this key.
    pub fn open(&self, sealed: &[u8]) -> Option<Zeroizing<String>> {
        let (nonce, sealed) = sealed.split_at_checked(12)?;
        let plain = crypto::provider().ciphers.decrypt(ContentCipher::Aes256Gcm, &*self.key, nonce, sealed).ok()?;
        String::from_utf8(plain.to_vec()).ok().map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens() {
        let sealed = Sealer::new([7; 32]).seal("one time").expect("sealed");
        assert!(!sealed.windows(8).any(|w| w == b"one time"));
        assert_eq!(Sealer::new([7; 32]).open(&sealed).expect("opens").as_str(), "one time");
        assert!(Sealer::new([8; 32]).open(&sealed).is_none());
        assert!(Sealer::new([7; 32]).open(&sealed[..11]).is_none());
    }
}
