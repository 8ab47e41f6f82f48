//! PasswordRecipientInfo: the content key encrypted with a password (RFC 5652 section 6.2.4, RFC 3211), for signers whose keys
//! cannot decrypt. RFC 8894 section 3.1 makes the challengePassword that password.
//!
//! ```text
//! PasswordRecipientInfo ::= [3] SEQUENCE { version, keyDerivationAlgorithm [0] IMPLICIT AlgorithmIdentifier OPTIONAL,
//!                                          keyEncryptionAlgorithm AlgorithmIdentifier, encryptedKey OCTET STRING }
//! PBKDF2-params ::= SEQUENCE { salt OCTET STRING, iterationCount INTEGER, keyLength INTEGER OPTIONAL,
//!                              prf AlgorithmIdentifier DEFAULT hmacWithSHA1 }
//! ```

use der::oid::ObjectIdentifier;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::algorithm::{ContentCipher, Digest};
use crate::crypto::{CryptoError, provider};
use crate::scep::WireError;
use crate::scep::attributes::{NULL, algorithm_identifier};
use crate::x509::X509Error;
use crate::x509::algorithm_identifier::read as read_algorithm;
use crate::x509::tlv::{Tlv, encode, encode_unsigned, tag};

#[derive(Clone, Debug)]
pub(super) struct PasswordRecipient<'a> {
    derivation: Option<Tlv<'a>>,
    wrapping: Tlv<'a>,
    encrypted_key: &'a [u8],
}

impl<'a> PasswordRecipient<'a> {
    pub(super) fn read(info: Tlv<'a>) -> Result<Self, X509Error> {
        let mut fields = info.reader();
        fields.tag(tag::INTEGER)?;
        let derivation = fields.optional(tag::context_constructed(0))?;
        let wrapping = fields.tag(tag::SEQUENCE)?;
        let encrypted_key = fields.tag(tag::OCTET_STRING)?.value;
        fields.finish()?;
        Ok(Self { derivation, wrapping, encrypted_key })
    }

    /// Gives the content key. What can be read before the password is used has errors of its own; after that there is one.
    pub(super) fn unwrap(&self, password: &str, key_len: usize) -> Result<Zeroizing<Vec<u8>>, WireError> {
        let malformed = |error: X509Error| WireError::BadEnvelope(error.to_string());
        let parameters = self.parameters().map_err(malformed)?;
        let Some(Parameters { digest, salt, iterations, cipher, iv }) = parameters else {
            return Err(WireError::KeyTransportNotAllowed("password recipient with unknown algorithms".into()));
        };
        let crypto = provider();
        let wrapping_key = crypto
            .ciphers
            .pbkdf2(digest, password.as_bytes(), salt, iterations, cipher.key_len())
            .map_err(|_| WireError::Envelope)?;
        unwrap_key(cipher, &wrapping_key, iv, self.encrypted_key, key_len).ok_or(WireError::Envelope)
    }

    fn parameters(&self) -> Result<Option<Parameters<'a>>, X509Error> {
        let Some(derivation) = self.derivation else { return Ok(None) };
        let (Some(ID_PBKDF2), Some(derivation)) = read_algorithm(&derivation)? else { return Ok(None) };
        let mut fields = derivation.reader();
        let salt = fields.tag(tag::OCTET_STRING)?.value;
        let iterations = fields.tag(tag::INTEGER)?.unsigned().filter(|n| (1..=MAX_ITERATIONS).contains(n));
        fields.optional(tag::INTEGER)?;
        let digest = match fields.optional(tag::SEQUENCE)? {
            Some(prf) => read_algorithm(&prf)?.0.and_then(|oid| PRFS.iter().find(|(known, _)| *known == oid)).map(|(_, d)| *d),
            None => Some(Digest::Sha1),
        };
        fields.finish()?;
        let (Some(ID_PWRI_KEK), Some(inner)) = read_algorithm(&self.wrapping)? else { return Ok(None) };
        let (oid, iv) = read_algorithm(&inner)?;
        let cipher = oid.and_then(|oid| ContentCipher::from_oid(&oid)).filter(|cipher| !cipher.is_aead());
        let (Some(iterations), Some(digest), Some(cipher), Some(iv)) = (iterations, digest, cipher, iv) else { return Ok(None) };
        if iv.tag != tag::OCTET_STRING || iv.value.len() != cipher.iv_len() {
            return Ok(None);
        }
        Ok(Some(Parameters { digest, salt, iterations: iterations as u32, cipher, iv: iv.value }))
    }
}

struct Parameters<'a> {
    digest: Digest,
    salt: &'a [u8],
    iterations: u32,
    cipher: ContentCipher,
    iv: &'a [u8],
}

/// Encrypts the content key with a password: PBKDF2 with HMAC-SHA-256, AES-256 in CBC mode.
pub(super) fn seal(password: &str, key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let crypto = provider();
    let cipher = ContentCipher::Aes256Cbc;
    let (salt, iv): ([u8; 16], [u8; 16]) = (crypto.random(), crypto.random());
    let iterations = iterations(password);
    let wrapping_key = crypto.ciphers.pbkdf2(Digest::Sha256, password.as_bytes(), &salt, iterations, cipher.key_len())?;
    let wrapped = wrap_key(cipher, &wrapping_key, &iv, key)?;

    let (hmac_sha256, _) = PRFS.iter().find(|(_, digest)| *digest == Digest::Sha256).expect("it is in the table");
    let derivation = encode(
        tag::SEQUENCE,
        &[
            encode(tag::OCTET_STRING, &[&salt]),
            encode_unsigned(&iterations.to_be_bytes()),
            algorithm_identifier(hmac_sha256, &NULL),
        ],
    );
    let mut derivation = algorithm_identifier(&ID_PBKDF2, &derivation);
    derivation[0] = tag::context_constructed(0);
    let wrapping = algorithm_identifier(&cipher.oid(), &encode(tag::OCTET_STRING, &[&iv]));
    let wrapping = algorithm_identifier(&ID_PWRI_KEK, &wrapping);
    Ok(encode(
        super::PASSWORD_RECIPIENT,
        &[&[tag::INTEGER, 1, 0][..], &derivation, &wrapping, &encode(tag::OCTET_STRING, &[wrapped])],
    ))
}

/// RFC 3211 section 2.3.1: length, complement of the first three octets, key, random padding to whole blocks (two at least), then
/// encrypted twice in CBC mode without starting over.
fn wrap_key(cipher: ContentCipher, wrapping_key: &[u8], iv: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let block = cipher.iv_len();
    let used = 4 + key.len();
    let mut plain = Zeroizing::new(vec![0; used.next_multiple_of(block).max(2 * block)]);
    plain[0] = key.len().try_into().map_err(|_| CryptoError::BadKey)?;
    for at in 0..3 {
        plain[1 + at] = !*key.get(at).ok_or(CryptoError::BadKey)?;
    }
    plain[4..used].copy_from_slice(key);
    provider().random.fill(&mut plain[used..]);
    let ciphers = provider().ciphers;
    let once = ciphers.encrypt_blocks(cipher, wrapping_key, iv, &plain)?;
    ciphers.encrypt_blocks(cipher, wrapping_key, &once[once.len() - block..], &once)
}

/// RFC 3211 section 2.3.2.
fn unwrap_key(
    cipher: ContentCipher,
    wrapping_key: &[u8],
    iv: &[u8],
    wrapped: &[u8],
    key_len: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let block = cipher.iv_len();
    if !wrapped.len().is_multiple_of(block) || wrapped.len() < 2 * block || wrapped.len() < 4 + key_len {
        return None;
    }
    let ciphers = provider().ciphers;
    let (before, last) = wrapped.split_at(wrapped.len() - block);
    let outer_iv = ciphers.decrypt_blocks(cipher, wrapping_key, &before[before.len() - block..], last).ok()?;
    let once = ciphers.decrypt_blocks(cipher, wrapping_key, &outer_iv, wrapped).ok()?;
    let plain = ciphers.decrypt_blocks(cipher, wrapping_key, iv, &once).ok()?;
    let key = &plain[4..4 + key_len];
    let check: Choice = plain[0].ct_eq(&u8::try_from(key_len).ok()?)
        & (plain[1] ^ key[0]).ct_eq(&0xff)
        & (plain[2] ^ key[1]).ct_eq(&0xff)
        & (plain[3] ^ key[2]).ct_eq(&0xff);
    bool::from(check).then(|| Zeroizing::new(key.to_vec()))
}

/// Iterations of PBKDF2 in what we write. What looks like a challenge that was made here has 130 random bits, which no stretching makes
/// harder to guess; the many iterations are for those that people make up.
fn iterations(password: &str) -> u32 {
    let random = |octet: u8| matches!(octet, b'A'..=b'H' | b'J'..=b'N' | b'P'..=b'Z' | b'2'..=b'9');
    match password.len() >= RANDOM_LEN && password.bytes().all(random) {
        true => FEW_ITERATIONS,
        false => MANY_ITERATIONS,
    }
}

/// Length of a challenge that was made here.
const RANDOM_LEN: usize = 26;

/// The least that RFC 8018 section 4.2 has.
const FEW_ITERATIONS: u32 = 1_000;

/// Some tens of milliseconds.
const MANY_ITERATIONS: u32 = 100_000;

/// Most iterations in what we read: about a second.
const MAX_ITERATIONS: u64 = 4_000_000;

/// id-PBKDF2 (RFC 8018 appendix A.2), id-alg-PWRI-KEK (RFC 3211 section 2.3).
const ID_PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
const ID_PWRI_KEK: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.9");

/// id-hmacWithSHA* (RFC 8018 appendix B.1.2).
const PRFS: [(ObjectIdentifier, Digest); 4] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.7"), Digest::Sha1),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.9"), Digest::Sha256),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.10"), Digest::Sha384),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.11"), Digest::Sha512),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_make_up_is_stretched() {
        assert_eq!(iterations("ABCDEFGHJKLMNPQRSTUVWXYZ23"), FEW_ITERATIONS);
        for weak in ["", "secret", "ABCDEFGHJKLMNPQRSTUVWXYZ2", "correct horse battery staple", "abcdefghjklmnpqrstuvwxyz23"] {
            assert_eq!(iterations(weak), MANY_ITERATIONS, "{weak}");
        }
    }

    #[test]
    fn the_key_wrap_of_rfc_3211() {
        for cipher in [ContentCipher::Aes256Cbc, ContentCipher::Aes128Cbc, ContentCipher::DesEde3Cbc] {
            for key_len in [8, 16, 24, 32] {
                let wrapping_key: Vec<u8> = (0..cipher.key_len() as u8).map(|n| n.wrapping_mul(37) ^ 0x5b).collect();
                let iv = vec![9; cipher.iv_len()];
                let key: Vec<u8> = (0..key_len as u8).collect();
                let wrapped = wrap_key(cipher, &wrapping_key, &iv, &key).unwrap();
                assert_eq!(wrapped.len() % cipher.iv_len(), 0);
                assert_eq!(unwrap_key(cipher, &wrapping_key, &iv, &wrapped, key_len).as_deref(), Some(&key));
                let mut other = wrapping_key.clone();
                other[0] ^= 0x80;
                assert_eq!(unwrap_key(cipher, &other, &iv, &wrapped, key_len), None);
                assert_eq!(unwrap_key(cipher, &wrapping_key, &iv, &wrapped[1..], key_len), None);
            }
        }
    }
}
