//! Private keys of RSA, ECDSA and Ed25519: made, read, signing. Every key is parsed once; a signature is then only the mathematics.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair,
};
use der::Decode;
use pkcs8::PrivateKeyInfoRef;
use zeroize::Zeroizing;

use super::public_key::{EC_PUBLIC_KEY, ED25519, RSA_BITS, RSA_ENCRYPTION};
use super::transport::RsaDecrypter;
use super::{AwsLc, Hash};
use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::{CryptoError, Decrypter, KeyFactory, Signer, ffi};

impl KeyFactory for AwsLc {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<Arc<dyn Signer>, CryptoError> {
        let curve = match algorithm {
            KeyAlgorithm::Rsa(bits) if RSA_BITS.contains(&bits) && bits % 128 == 0 => {
                return Ok(Arc::new(ClassicalSigner::new(ffi::PrivateKey::generate_rsa(bits)?)?));
            }
            KeyAlgorithm::EcdsaP256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            KeyAlgorithm::EcdsaP384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            KeyAlgorithm::EcdsaP521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
            KeyAlgorithm::Ed25519 => {
                let key = Ed25519KeyPair::generate().map_err(|_| CryptoError::Backend)?;
                return Ok(Arc::new(Ed25519Signer::new(key)?));
            }
            _ => return Err(CryptoError::Unsupported),
        };
        let made = EcdsaKeyPair::generate(curve).and_then(|key| key.to_pkcs8v1()).map_err(|_| CryptoError::Backend)?;
        Ok(Arc::new(ClassicalSigner::new(ffi::PrivateKey::from_pkcs8(made.as_ref())?)?))
    }

    fn signer(&self, pkcs8: &[u8]) -> Result<Arc<dyn Signer>, CryptoError> {
        let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| CryptoError::BadKey)?;
        match info.algorithm.oid {
            RSA_ENCRYPTION | EC_PUBLIC_KEY => Ok(Arc::new(ClassicalSigner::new(ffi::PrivateKey::from_pkcs8(pkcs8)?)?)),
            ED25519 => {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| CryptoError::BadKey)?;
                Ok(Arc::new(Ed25519Signer::new(key)?))
            }
            _ => Err(CryptoError::BadKey),
        }
    }

    fn decrypter(&self, pkcs8: &[u8]) -> Result<Arc<dyn Decrypter>, CryptoError> {
        let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| CryptoError::BadKey)?;
        if info.algorithm.oid != RSA_ENCRYPTION {
            return Err(CryptoError::BadKey);
        }
        Ok(Arc::new(RsaDecrypter::new(ffi::PrivateKey::from_pkcs8(pkcs8)?)?))
    }
}

/// An RSA or EC key.
struct ClassicalSigner {
    key: ffi::PrivateKey,
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
}

impl ClassicalSigner {
    fn new(key: ffi::PrivateKey) -> Result<Self, CryptoError> {
        let algorithm = key.algorithm()?;
        if matches!(algorithm, KeyAlgorithm::Rsa(bits) if !RSA_BITS.contains(&bits)) {
            return Err(CryptoError::BadKey);
        }
        let spki = key.spki()?;
        Ok(Self { key, algorithm, spki })
    }
}

impl Signer for ClassicalSigner {
    fn key(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        use SignatureAlgorithm as S;
        match self.algorithm {
            KeyAlgorithm::EcdsaP384 => vec![S::EcdsaSha384, S::EcdsaSha256, S::EcdsaSha512],
            KeyAlgorithm::EcdsaP521 => vec![S::EcdsaSha512, S::EcdsaSha256, S::EcdsaSha384],
            KeyAlgorithm::EcdsaP256 => vec![S::EcdsaSha256, S::EcdsaSha384, S::EcdsaSha512],
            _ => vec![
                S::RsaSha256,
                S::RsaSha384,
                S::RsaSha512,
                S::RsaPssSha256,
                S::RsaPssSha384,
                S::RsaPssSha512,
                // For endpoints that name SHA-1, last.
                S::RsaSha1,
            ],
        }
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if !self.algorithms().contains(&algorithm) {
            return Err(CryptoError::Unsupported);
        }
        let digest = algorithm.digest().expect("what RSA and EC keys sign with names a digest");
        let hash = Hash::of(digest, message);
        match self.algorithm {
            KeyAlgorithm::Rsa(_) if algorithm.is_pss() => self.key.rsa_sign_pss(digest, hash.as_ref()),
            KeyAlgorithm::Rsa(_) => self.key.rsa_sign(digest, hash.as_ref()),
            _ => self.key.ecdsa_sign(hash.as_ref()),
        }
    }

    fn export_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.key.pkcs8().ok()
    }
}

/// An Ed25519 key.
struct Ed25519Signer {
    key: Ed25519KeyPair,
    spki: Vec<u8>,
}

impl Ed25519Signer {
    fn new(key: Ed25519KeyPair) -> Result<Self, CryptoError> {
        let spki = spki_of(key.public_key())?;
        Ok(Self { key, spki })
    }
}

impl Signer for Ed25519Signer {
    fn key(&self) -> KeyAlgorithm {
        KeyAlgorithm::Ed25519
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::Ed25519]
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if algorithm != SignatureAlgorithm::Ed25519 {
            return Err(CryptoError::Unsupported);
        }
        self.key.try_sign(message).map(|signature| signature.as_ref().to_vec()).map_err(|_| CryptoError::Backend)
    }

    fn export_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        // Version 1, without the public key: that is what most other programs read.
        self.key.to_pkcs8v1().ok().map(|der| Zeroizing::new(der.as_ref().to_vec()))
    }
}

/// The SubjectPublicKeyInfo of a public key of the safe API.
fn spki_of(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Result<Vec<u8>, CryptoError> {
    key.as_der().map(|der| der.as_ref().to_vec()).map_err(|_| CryptoError::Backend)
}
