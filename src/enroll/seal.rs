//! Keeps a challenge secret while its transaction is open: AES-256-GCM under a key of this installation.
//!
//! Only replies to signers whose key cannot decrypt need it (RFC 8894 section 3.1: PasswordRecipientInfo is keyed with the
//! challengePassword), and only when they come later than the request. A CSR has its challenge within, in clear, and an order
//! has the CSR as it came, for issuers that want to see it: so that is stored sealed as well.

use zeroize::Zeroizing;

use super::EnrollError;
use crate::algorithm::ContentCipher;
use crate::crypto;
use crate::upstream::IssuanceOrder;

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
        self.seal_octets(challenge.as_bytes())
    }

    /// Opens what [`seal`](Self::seal) made; `None` if it is not of this key.
    pub fn open(&self, sealed: &[u8]) -> Option<Zeroizing<String>> {
        String::from_utf8(self.open_octets(sealed)?.to_vec()).ok().map(Zeroizing::new)
    }

    fn seal_octets(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let provider = crypto::provider();
        let nonce: [u8; 12] = provider.random();
        let sealed = provider.ciphers.encrypt(ContentCipher::Aes256Gcm, &*self.key, &nonce, plain).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    fn open_octets(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(12)?;
        crypto::provider().ciphers.decrypt(ContentCipher::Aes256Gcm, &*self.key, nonce, sealed).ok()
    }
}

/// An order as JSON, its CSR sealed.
pub(super) fn order_to_store(sealer: &Sealer, order: &IssuanceOrder) -> Result<String, EnrollError> {
    let csr = sealer.seal_octets(&order.csr).ok_or_else(|| EnrollError::Internal("the order cannot be sealed".into()))?;
    let stored = IssuanceOrder { csr, ..order.clone() };
    serde_json::to_string(&stored).map_err(|error| EnrollError::Internal(error.to_string()))
}

/// The order that [`order_to_store`] wrote; the error says what is wrong with it.
pub(super) fn stored_order(sealer: &Sealer, json: &str) -> Result<IssuanceOrder, String> {
    let stored: IssuanceOrder = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let csr = sealer.open_octets(&stored.csr).ok_or("it was sealed with another key than secrets/seal-key has now")?;
    Ok(IssuanceOrder { csr: csr.to_vec(), ..stored })
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
