//! JSON Web Signatures, Keys and Encryption (RFC 7515 to 7518, RFC 8037), as far as CAs with a JSON API ask for them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::{CryptoError, Signer, provider};
use crate::x509::X509Error;
use crate::x509::tlv::{Reader, Tlv, tag};

mod key_file;
mod private_jwk;
mod sealed;

pub use key_file::{KeyFile, read_key_file};

/// A private key that signs compact JWS.
pub struct JwsSigner {
    signer: Arc<dyn Signer>,
    algorithm: SignatureAlgorithm,
    name: &'static str,
    /// Octets of one of the two numbers of an ECDSA signature.
    half: Option<usize>,
}

impl JwsSigner {
    /// For a key of a kind that JWS knows: RSA of 2048 bits and more, ECDSA, Ed25519.
    pub fn new(signer: Arc<dyn Signer>) -> Result<Self, JoseError> {
        use SignatureAlgorithm as S;
        let (algorithm, name, half) = match signer.key() {
            KeyAlgorithm::EcdsaP256 => (S::EcdsaSha256, "ES256", Some(32)),
            KeyAlgorithm::EcdsaP384 => (S::EcdsaSha384, "ES384", Some(48)),
            KeyAlgorithm::EcdsaP521 => (S::EcdsaSha512, "ES512", Some(66)),
            KeyAlgorithm::Ed25519 => (S::Ed25519, "EdDSA", None),
            KeyAlgorithm::Rsa(bits) if bits >= 2048 => (S::RsaSha256, "RS256", None),
            other => return Err(JoseError::KindOfKey(other)),
        };
        Ok(Self { signer, algorithm, name, half })
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        self.signer.spki()
    }

    /// Signs claims: the header is given without `alg`, which is put in. Slow for RSA.
    pub fn sign(&self, header: Value, claims: &Value) -> Result<String, JoseError> {
        self.sign_octets(header, claims.to_string().as_bytes())
    }

    /// The same for any payload, as ACME has empty ones.
    pub fn sign_octets(&self, mut header: Value, payload: &[u8]) -> Result<String, JoseError> {
        header["alg"] = self.name.into();
        let signed = format!("{}.{}", encode(header.to_string()), encode(payload));
        let mut signature = self.signer.sign(self.algorithm, signed.as_bytes())?;
        if let Some(half) = self.half {
            signature = both_numbers(&signature, half).map_err(|_| CryptoError::Backend)?;
        }
        Ok(format!("{signed}.{}", encode(signature)))
    }

    /// The public key as a JWK, its required members only, in the order in which a thumbprint wants them.
    pub fn public_jwk(&self) -> Result<Value, JoseError> {
        let malformed = |_: X509Error| JoseError::Crypto(CryptoError::BadKey);
        let mut fields = Reader::single("key", self.spki(), tag::SEQUENCE).map_err(malformed)?.reader();
        fields.tag(tag::SEQUENCE).map_err(malformed)?;
        let key = fields.tag(tag::BIT_STRING).and_then(|key| key.bit_octets().map(<[u8]>::to_vec)).map_err(malformed)?;
        Ok(match self.signer.key() {
            KeyAlgorithm::Rsa(_) => {
                let mut fields = Reader::single("key", &key, tag::SEQUENCE).map_err(malformed)?.reader();
                let (n, e) = (fields.tag(tag::INTEGER).map_err(malformed)?, fields.tag(tag::INTEGER).map_err(malformed)?);
                json!({ "e": encode(magnitude(&e)), "kty": "RSA", "n": encode(magnitude(&n)) })
            }
            KeyAlgorithm::Ed25519 => json!({ "crv": "Ed25519", "kty": "OKP", "x": encode(key) }),
            curve => {
                let (x, y) = key.get(1..).unwrap_or_default().split_at(key.len() / 2);
                let name = private_jwk::curve_name(curve).ok_or(JoseError::KindOfKey(curve))?;
                json!({ "crv": name, "kty": "EC", "x": encode(x), "y": encode(y) })
            }
        })
    }

    /// The thumbprint of the key (RFC 7638): what a `kid` is where nothing else is said.
    pub fn thumbprint(&self) -> Result<String, JoseError> {
        // The members stand in the order of their names, without white space: so serde_json writes them.
        Ok(encode(provider().digester.sha256(self.public_jwk()?.to_string().as_bytes())))
    }
}

impl std::fmt::Debug for JwsSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwsSigner").field("algorithm", &self.name).finish_non_exhaustive()
    }
}

/// What went wrong with a key or a signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoseError {
    /// There is no JWS algorithm for it.
    #[error("JSON Web Signatures are not made with {0} keys")]
    KindOfKey(KeyAlgorithm),
    /// It cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The password does not open it.
    #[error("the password does not open this key")]
    WrongPassword,
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// base64url without padding (RFC 7515 section 2).
pub fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER } as two numbers of a fixed length (RFC 7518 section 3.4).
fn both_numbers(der: &[u8], half: usize) -> Result<Vec<u8>, X509Error> {
    let mut fields = Reader::single("signature", der, tag::SEQUENCE)?.reader();
    let mut out = Vec::with_capacity(2 * half);
    for _ in 0..2 {
        let number = fields.tag(tag::INTEGER)?;
        let digits = magnitude(&number);
        let missing = half.checked_sub(digits.len()).ok_or_else(|| number.error("a number that is too long"))?;
        out.resize(out.len() + missing, 0);
        out.extend_from_slice(digits);
    }
    fields.finish()?;
    Ok(out)
}

/// The octets of a non-negative INTEGER without zeros before it.
fn magnitude<'a>(number: &Tlv<'a>) -> &'a [u8] {
    let zeros = number.value.iter().take_while(|&&octet| octet == 0).count();
    &number.value[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(jws: &str) -> (Value, Value, String, Vec<u8>) {
        let [header, claims, signature] = jws.split('.').collect::<Vec<_>>()[..] else { panic!("three parts: {jws}") };
        let read = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let value = |part: &str| serde_json::from_slice(&read(part)).unwrap();
        (value(header), value(claims), format!("{header}.{claims}"), read(signature))
    }

    #[test]
    fn every_kind_of_key_signs_what_verifies() {
        let kinds = [
            (KeyAlgorithm::EcdsaP256, "ES256"),
            (KeyAlgorithm::EcdsaP384, "ES384"),
            (KeyAlgorithm::EcdsaP521, "ES512"),
            (KeyAlgorithm::Ed25519, "EdDSA"),
            (KeyAlgorithm::Rsa(2048), "RS256"),
        ];
        for (kind, name) in kinds {
            let key = JwsSigner::new(provider().keys.generate(kind).unwrap()).unwrap();
            // Numbers with zeros before them are rare: often enough to meet some.
            for round in 0..if key.half.is_some() { 300 } else { 1 } {
                let jws = key.sign(json!({ "typ": "JWT", "kid": "k" }), &json!({ "round": round })).unwrap();
                let (header, claims, signed, mut signature) = parts(&jws);
                assert_eq!((&header["alg"], &header["kid"], &claims["round"]), (&name.into(), &"k".into(), &round.into()));
                if let Some(half) = key.half {
                    assert_eq!(signature.len(), 2 * half);
                    let (r, s) = signature.split_at(half);
                    let numbers = [r, s].map(crate::x509::tlv::encode_unsigned);
                    signature = crate::x509::tlv::encode(tag::SEQUENCE, &numbers);
                }
                provider().verifier.verify(key.algorithm, key.spki(), signed.as_bytes(), &signature).unwrap();
            }
        }
    }

    #[test]
    fn keys_of_other_kinds_are_refused() {
        let ml_dsa = provider().keys.generate(KeyAlgorithm::MlDsa44).unwrap();
        assert!(matches!(JwsSigner::new(ml_dsa), Err(JoseError::KindOfKey(KeyAlgorithm::MlDsa44))));
    }

    #[test]
    fn the_thumbprint_of_rfc_7638_comes_out() {
        // Section 3.1: the RSA key of the example.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
                 tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwk = json!({ "n": n, "kty": "RSA", "e": "AQAB" });
        assert_eq!(encode(provider().digester.sha256(jwk.to_string().as_bytes())), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
