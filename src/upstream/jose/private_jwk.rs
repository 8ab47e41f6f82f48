//! A private JWK (RFC 7517, RFC 7518 section 6, RFC 8037 section 2) as PKCS#8, which the rest of the product reads.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use der::asn1::ObjectIdentifier;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::JoseError;
use crate::algorithm::KeyAlgorithm;
use crate::x509::tlv::{encode, encode_bits, encode_oid, encode_unsigned, tag};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The curves: their name in a JWK, our name, their identifier, and the octets of a coordinate.
const CURVES: &[(&str, KeyAlgorithm, ObjectIdentifier, usize)] = &[
    ("P-256", KeyAlgorithm::EcdsaP256, ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), 32),
    ("P-384", KeyAlgorithm::EcdsaP384, ObjectIdentifier::new_unwrap("1.3.132.0.34"), 48),
    ("P-521", KeyAlgorithm::EcdsaP521, ObjectIdentifier::new_unwrap("1.3.132.0.35"), 66),
];

/// What a JWK calls the curve of this kind of key.
pub(super) fn curve_name(kind: KeyAlgorithm) -> Option<&'static str> {
    CURVES.iter().find(|(_, known, ..)| *known == kind).map(|(name, ..)| *name)
}

/// A private JWK, as it is written.
#[derive(Deserialize)]
pub(super) struct PrivateJwk {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<Member>,
    y: Option<Member>,
    n: Option<Member>,
    e: Option<Member>,
    d: Option<Member>,
    p: Option<Member>,
    q: Option<Member>,
    dp: Option<Member>,
    dq: Option<Member>,
    qi: Option<Member>,
}

/// A member in base64url, which may be secret.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
struct Member(String);

impl PrivateJwk {
    /// Its `kid`.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The same key as PKCS#8.
    pub(super) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => self.rsa(),
            ("OKP", Some("Ed25519")) => {
                let secret = octets("d", &self.d, Some(32))?;
                let key = Zeroizing::new(encode(tag::OCTET_STRING, &[secret]));
                Ok(pkcs8(&[encode_oid(&ED25519)], &key))
            }
            ("EC", Some(curve)) => self.ec(curve),
            (kty, crv) => {
                Err(JoseError::Malformed(format!("a JWK of the kind {kty:?} {:?} is not supported", crv.unwrap_or(""))))
            }
        }
    }

    /// ECPrivateKey ::= SEQUENCE { version INTEGER (1), privateKey OCTET STRING, publicKey [1] BIT STRING } (RFC 5915 section 3).
    fn ec(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        let known = CURVES.iter().find(|(known, ..)| *known == name);
        let (_, _, curve, length) = known.ok_or_else(|| JoseError::Malformed(format!("the curve {name:?} is not supported")))?;
        let secret = octets("d", &self.d, Some(*length))?;
        let (x, y) = (octets("x", &self.x, Some(*length))?, octets("y", &self.y, Some(*length))?);
        let point = [&[4][..], &x, &y].concat();
        let parts = [
            Zeroizing::new(encode_unsigned(&[1])),
            Zeroizing::new(encode(tag::OCTET_STRING, &[secret])),
            Zeroizing::new(encode(tag::context_constructed(1), &[encode_bits(&point)])),
        ];
        Ok(pkcs8(&[encode_oid(&EC_PUBLIC_KEY), encode_oid(curve)], &Zeroizing::new(encode(tag::SEQUENCE, &parts))))
    }

    /// RSAPrivateKey (RFC 8017 appendix A.1.2).
    fn rsa(&self) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        let members = [
            ("n", &self.n),
            ("e", &self.e),
            ("d", &self.d),
            ("p", &self.p),
            ("q", &self.q),
            ("dp", &self.dp),
            ("dq", &self.dq),
            ("qi", &self.qi),
        ];
        let mut parts = vec![Zeroizing::new(encode_unsigned(&[]))];
        for (name, member) in members {
            parts.push(Zeroizing::new(encode_unsigned(&octets(name, member, None)?)));
        }
        let null = encode::<&[u8]>(tag::NULL, &[]);
        Ok(pkcs8(&[encode_oid(&RSA_ENCRYPTION), null], &Zeroizing::new(encode(tag::SEQUENCE, &parts))))
    }
}

/// The octets of a member, of this length if it has one.
fn octets(name: &str, member: &Option<Member>, length: Option<usize>) -> Result<Zeroizing<Vec<u8>>, JoseError> {
    let text = member.as_ref().ok_or_else(|| JoseError::Malformed(format!("the JWK has no {name:?}")))?;
    let read = URL_SAFE_NO_PAD.decode(text.0.trim_end_matches('=')).map(Zeroizing::new);
    let fits = |read: &Zeroizing<Vec<u8>>| length.is_none_or(|length| read.len() == length) && !read.is_empty();
    read.ok().filter(fits).ok_or_else(|| JoseError::Malformed(format!("{name:?} of the JWK is malformed")))
}

/// PrivateKeyInfo ::= SEQUENCE { version INTEGER (0), privateKeyAlgorithm, privateKey OCTET STRING } (RFC 5958 section 2).
fn pkcs8(algorithm: &[Vec<u8>], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let parts = [
        Zeroizing::new(encode_unsigned(&[])),
        Zeroizing::new(encode(tag::SEQUENCE, algorithm)),
        Zeroizing::new(encode(tag::OCTET_STRING, &[key])),
    ];
    Zeroizing::new(encode(tag::SEQUENCE, &parts))
}

#[cfg(test)]
mod tests {
    use super::super::JwsSigner;
    use super::*;
    use crate::crypto::provider;

    fn read(json: &str) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        serde_json::from_str::<PrivateJwk>(json).unwrap().to_pkcs8()
    }

    #[test]
    fn the_private_keys_of_the_standards_are_read() {
        // RFC 7515 appendix A.3.1, and RFC 8037 appendix A.1 with its thumbprint of appendix A.3.
        let p256 = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
        let signer = provider().keys.signer(&read(p256).unwrap()).unwrap();
        let jwk = JwsSigner::new(signer).unwrap().public_jwk().unwrap();
        assert_eq!(jwk["x"], "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
        assert_eq!(jwk["y"], "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let ed25519 = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
            "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key = JwsSigner::new(provider().keys.signer(&read(ed25519).unwrap()).unwrap()).unwrap();
        assert_eq!(key.public_jwk().unwrap()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.thumbprint().unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // Section A.4: Ed25519 signs the same every time.
        let signed = key.sign(serde_json::json!({}), &serde_json::json!({})).unwrap();
        assert!(signed.starts_with("eyJhbGciOiJFZERTQSJ9."), "the header of RFC 8037 appendix A.4: {signed}");
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        let fails = |json: &str| read(json).unwrap_err().to_string();
        assert_eq!(fails(r#"{"kty":"EC","crv":"P-256","d":"AAAA"}"#), "\"d\" of the JWK is malformed");
        assert_eq!(fails(r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#), "the JWK has no \"d\"");
        assert!(fails(r#"{"kty":"oct","k":"AQAB"}"#).contains("is not supported"));
        assert!(fails(r#"{"kty":"EC","crv":"secp256k1"}"#).contains("is not supported"));
    }
}
