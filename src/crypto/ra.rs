//! The registration authority's own identity on the SCEP transport.

use std::sync::Arc;

use super::{RecipientKey, Signer};
use crate::x509::Certificate;

/// The RA's two keys and their certificates: one signs replies, the other opens requests. They are separate from every CA key
/// and from each other, and not governed by any algorithm profile. Those that every endpoint has unless it names others are RSA keys,
/// certified by a classical CA that devices know; an endpoint for devices that can do more may have an ML-DSA and an ML-KEM key.
#[derive(Clone)]
pub struct RaIdentity {
    /// Signs CertRep messages.
    pub signer: Arc<dyn Signer>,
    /// The certificate of the signer.
    pub signer_certificate: Arc<Certificate>,
    /// The keys that open requests, the current one first; earlier ones stay while they are rolled over.
    pub decrypters: Vec<RaDecrypter>,
    /// The CA certificates above the RA certificates: issuer first, root last.
    pub chain: Vec<Arc<Certificate>>,
}

impl RaIdentity {
    /// The decrypter that devices are told of.
    ///
    /// # Panics
    /// If there is none: whoever makes an identity gives it at least one.
    pub fn decrypter(&self) -> &RaDecrypter {
        self.decrypters.first().expect("an RA has a decrypter")
    }

    /// Whether one certificate signs and is encrypted to.
    pub fn is_single(&self) -> bool {
        self.decrypters.first().is_some_and(|d| d.certificate == self.signer_certificate)
    }

    /// The decrypter whose certificate has this issuer (DER Name) and serial number (content octets): an issuerAndSerialNumber
    /// of RFC 5652 section 6.2.1.
    pub fn decrypter_by_serial(&self, issuer: &[u8], serial: &[u8]) -> Option<&RaDecrypter> {
        fn significant(serial: &[u8]) -> &[u8] {
            let zeros = serial.iter().take_while(|octet| **octet == 0).count();
            &serial[zeros..]
        }
        self.decrypters
            .iter()
            .find(|d| d.certificate.issuer().der() == issuer && significant(d.certificate.serial()) == significant(serial))
    }

    /// The decrypter whose certificate has this subjectKeyIdentifier.
    pub fn decrypter_by_key_identifier(&self, identifier: &[u8]) -> Option<&RaDecrypter> {
        self.decrypters.iter().find(|d| d.certificate.subject_key_identifier().is_some_and(|own| own == identifier))
    }
}

/// A key that opens requests, and the certificate that names it as a recipient.
#[derive(Clone)]
pub struct RaDecrypter {
    /// The key.
    pub key: RecipientKey,
    /// The certificate.
    pub certificate: Arc<Certificate>,
}
