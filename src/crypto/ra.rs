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
    /// The keys that open requests, the current one first; while they are rolled over, earlier ones and the next one follow.
    pub decrypters: Vec<RaDecrypter>,
    /// The CA certificates above the RA certificates: issuer first, root last.
    pub chain: Vec<Arc<Certificate>>,
    /// What there is besides while the keys are rolled over.
    pub rollover: RaRollover,
}

/// Keys and certificates of the RA that are not the current ones, while they are rolled over.
#[derive(Clone, Default)]
pub struct RaRollover {
    /// Who signs the replies to requests that were encrypted to another certificate than the current one.
    pub signers: Vec<RaSigner>,
    /// The certificates that come next. Their keys open requests and sign replies already.
    pub next: Option<RaNext>,
}

/// The signing half of a pair that is not the current one.
#[derive(Clone)]
pub struct RaSigner {
    /// The certificate that the request was encrypted to.
    pub recipient: Arc<Certificate>,
    /// Signs the reply.
    pub signer: Arc<dyn Signer>,
    /// The certificate of the signer.
    pub certificate: Arc<Certificate>,
}

/// The certificates that come next.
#[derive(Clone)]
pub struct RaNext {
    /// The one that signs.
    pub signer: Arc<Certificate>,
    /// The one that is encrypted to; the same if one does both.
    pub decrypter: Arc<Certificate>,
    /// The CA certificates above: issuer first, root last.
    pub chain: Vec<Arc<Certificate>>,
}

/// Which of the RA's certificates a request was encrypted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaPhase {
    /// The one of today.
    Current,
    /// One that was announced as the next.
    Next,
    /// One of before.
    Earlier,
}

impl RaPhase {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            RaPhase::Current => "current",
            RaPhase::Next => "next",
            RaPhase::Earlier => "earlier",
        }
    }
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

    /// Who signs the reply to a request that was encrypted to `recipient`: a device that encrypts to a certificate knows the signing
    /// certificate that came with that one, and may know no other.
    pub fn signer_for(&self, recipient: Option<&Certificate>) -> (&Arc<dyn Signer>, &Arc<Certificate>) {
        let other = recipient.and_then(|recipient| self.rollover.signers.iter().find(|other| *other.recipient == *recipient));
        other.map_or((&self.signer, &self.signer_certificate), |other| (&other.signer, &other.certificate))
    }

    /// Which one a request was encrypted to.
    pub fn phase_of(&self, recipient: &Certificate) -> RaPhase {
        match &self.rollover.next {
            _ if self.decrypters.first().is_some_and(|current| *current.certificate == *recipient) => RaPhase::Current,
            Some(next) if *next.decrypter == *recipient => RaPhase::Next,
            _ => RaPhase::Earlier,
        }
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
