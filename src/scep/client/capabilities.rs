//! GetCACaps: what a server says it can do (RFC 8894 section 3.5), and what a client makes of it.
//!
//! The answer is authenticated by nothing. So it may choose between good algorithms and never lead to a bad one: what is outdated is
//! used only when the caller names it (RFC 8894 section 7.5).

use super::ClientError;
use crate::algorithm::{ContentCipher, Digest, KeyAlgorithm};
use crate::scep::pki_message::preferred_digest;

/// The keywords of a GetCACaps answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    keywords: Vec<String>,
}

impl Capabilities {
    /// Reads the text: one keyword a line; LF, CR LF or blanks between them.
    pub fn parse(text: &str) -> Self {
        let keywords = text.split_ascii_whitespace().take(MAX_KEYWORDS).map(str::to_owned).collect();
        Self { keywords }
    }

    /// The keywords as they came.
    pub fn keywords(&self) -> &[String] {
        &self.keywords
    }

    /// Whether this keyword is there. Letter case does not count, though the RFC has it exact.
    pub fn has(&self, keyword: &str) -> bool {
        self.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword))
    }

    /// Whether messages can be sent by POST.
    pub fn post(&self) -> bool {
        self.has("POSTPKIOperation") || self.has(STANDARD)
    }

    /// Whether RenewalReq is understood.
    pub fn renewal(&self) -> bool {
        self.has("Renewal")
    }

    /// Whether GetNextCACert is answered.
    pub fn next_ca_certificate(&self) -> bool {
        self.has("GetNextCACert")
    }

    /// The digest for this key: SHA-256, or a stronger one where that is not named. A server that names nothing at all is taken
    /// at the RFC's word (section 2.9), by which it knows SHA-256.
    pub fn digest(&self, key: KeyAlgorithm) -> Result<Digest, ClientError> {
        if key.only_signature().is_some() {
            return Ok(preferred_digest(key));
        }
        let named = |(keyword, digest): &(&str, Digest)| self.has(keyword).then_some(*digest);
        match DIGESTS.iter().find_map(named) {
            Some(digest) => Ok(digest),
            None if self.has(STANDARD) => Ok(Digest::Sha256),
            None if self.has("SHA-1") => Err(ClientError::OnlyLegacyDigest(Digest::Sha1)),
            None => Ok(Digest::Sha256),
        }
    }

    /// The content cipher: AES-128, which is what `AES` means. What holds of digests holds here.
    pub fn cipher(&self) -> Result<ContentCipher, ClientError> {
        if !self.has("AES") && !self.has(STANDARD) && self.has("DES3") {
            return Err(ClientError::OnlyLegacyCipher(ContentCipher::DesEde3Cbc));
        }
        Ok(ContentCipher::Aes128Cbc)
    }
}

/// Implies AES, POSTPKIOperation, SHA-256 and all else that RFC 8894 section 2.9 demands.
const STANDARD: &str = "SCEPStandard";

/// In the order of preference: RFC 8894 section 3.5.2 asks for SHA-256 where it is known.
const DIGESTS: &[(&str, Digest)] = &[("SHA-256", Digest::Sha256), ("SHA-384", Digest::Sha384), ("SHA-512", Digest::Sha512)];

const MAX_KEYWORDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: KeyAlgorithm = KeyAlgorithm::Rsa(2048);

    #[test]
    fn any_line_ends_and_unknown_words() {
        let caps = Capabilities::parse("AES\r\nPOSTPKIOperation\nFrobnicate\r\nsha-512");
        assert!(caps.post() && caps.has("aes") && !caps.renewal());
        assert_eq!(caps.digest(RSA).unwrap(), Digest::Sha512);
        assert_eq!(caps.keywords().len(), 4);
    }

    #[test]
    fn the_standard_implies_what_it_implies() {
        let caps = Capabilities::parse("SCEPStandard");
        assert!(caps.post());
        assert_eq!(caps.digest(RSA).unwrap(), Digest::Sha256);
        assert_eq!(caps.cipher().unwrap(), ContentCipher::Aes128Cbc);
    }

    #[test]
    fn nothing_outdated_is_chosen_unasked() {
        let caps = Capabilities::parse("DES3\nSHA-1");
        assert!(matches!(caps.digest(RSA), Err(ClientError::OnlyLegacyDigest(Digest::Sha1))));
        assert!(matches!(caps.cipher(), Err(ClientError::OnlyLegacyCipher(ContentCipher::DesEde3Cbc))));
        let silent = Capabilities::parse("");
        assert_eq!((silent.digest(RSA).unwrap(), silent.cipher().unwrap()), (Digest::Sha256, ContentCipher::Aes128Cbc));
        assert!(!silent.post());
        assert_eq!(silent.digest(KeyAlgorithm::MlDsa44).unwrap(), Digest::Sha512);
    }
}
