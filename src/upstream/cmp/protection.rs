//! What protects a message: a shared secret, or a signature (RFC 9810 section 5.1.3).

use std::sync::Arc;

use der::Encode;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::mac::{Mac, MacKind};
use super::message::Message;
use super::responders::Responders;
use crate::algorithm::SignatureAlgorithm;
use crate::crypto::{Signer, provider};
use crate::x509::algorithm_identifier::read_signature_algorithm;
use crate::x509::{Certificate, X509Error};

/// What our messages are protected with.
pub enum Credential {
    /// A shared secret.
    Secret {
        /// The secret.
        secret: Zeroizing<String>,
        /// How.
        kind: MacKind,
    },
    /// A key with a certificate.
    Signature {
        /// The key.
        signer: Arc<dyn Signer>,
        /// What it signs with.
        algorithm: SignatureAlgorithm,
        /// Its certificate, then those above it.
        chain: Vec<Certificate>,
    },
}

/// How one message will be protected: the algorithm stands in the header, which is protected too.
pub struct Seal<'a> {
    credential: &'a Credential,
    mac: Option<Mac>,
}

impl Credential {
    /// The protection of one message.
    pub fn seal(&self) -> Seal<'_> {
        let mac = match self {
            Credential::Secret { kind, .. } => Some(Mac::fresh(*kind)),
            Credential::Signature { .. } => None,
        };
        Seal { credential: self, mac }
    }

    /// The certificates that go with a message.
    pub fn certificates(&self) -> Vec<&[u8]> {
        match self {
            Credential::Secret { .. } => Vec::new(),
            Credential::Signature { chain, .. } => chain.iter().map(Certificate::der).collect(),
        }
    }
}

impl Seal<'_> {
    /// The AlgorithmIdentifier.
    pub fn algorithm(&self) -> Vec<u8> {
        match (self.credential, &self.mac) {
            (Credential::Signature { algorithm, .. }, _) => {
                algorithm.identifier().to_der().expect("an AlgorithmIdentifier in memory has an encoding")
            }
            (Credential::Secret { .. }, mac) => mac.as_ref().expect("it is made with the seal").to_der(),
        }
    }

    /// Protects a ProtectedPart. Slow.
    pub fn protect(&self, protected: &[u8]) -> Result<Vec<u8>, X509Error> {
        match (self.credential, &self.mac) {
            (Credential::Signature { signer, algorithm, .. }, _) => Ok(signer.sign(*algorithm, protected)?),
            (Credential::Secret { secret, .. }, mac) => {
                mac.as_ref().expect("it is made with the seal").compute(secret.as_bytes(), protected)
            }
        }
    }
}

/// Leaves the secret out.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Secret { kind, .. } => f.debug_tuple("Secret").field(kind).finish(),
            Credential::Signature { algorithm, .. } => f.debug_tuple("Signature").field(algorithm).finish(),
        }
    }
}

/// Checks that an answer is protected: by our secret, or by somebody who may answer for the CA. The error says what is wrong. Slow.
pub fn verify(message: &Message<'_>, own: &Credential, responders: &Responders, now: Timestamp) -> Result<(), String> {
    let (Some(algorithm), Some(protection)) = (&message.header.protection, message.protection) else {
        return Err("it is not protected".to_owned());
    };
    let protected = message.protected_part();
    if let Some(mac) = Mac::read(algorithm).map_err(|error| error.to_string())? {
        let Credential::Secret { secret, .. } = own else {
            return Err("it is protected by a shared secret, and none is configured".to_owned());
        };
        return match mac.verify(secret.as_bytes(), &protected, protection) {
            true => Ok(()),
            false => Err("it is not protected by our shared secret".to_owned()),
        };
    }
    let algorithm = read_signature_algorithm(algorithm).map_err(|error| error.to_string())?;
    let algorithm = algorithm.ok_or("it is protected in a way that we do not know")?;
    if algorithm.digest().is_some_and(|digest| digest.is_legacy()) {
        return Err(format!("it is signed with {algorithm}"));
    }
    let signed =
        |certificate: &Certificate| provider().verifier.verify(algorithm, certificate.spki(), &protected, protection).is_ok();
    responders.find(message, now, signed)
}
