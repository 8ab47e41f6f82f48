//! GetCACert: the certificates of the other side, and which of them is for what (RFC 8894 sections 2.2 and 4.2).
//!
//! The bag may hold one CA certificate that does everything, one RA certificate that signs and decrypts, or one for each, with the CA
//! chain beside them, in any order. Which is which is told by the key usage; where that is missing or odd, by the place in the chain.

use jiff::Timestamp;

use super::{ClientError, Pin};
use crate::scep::certs_only::CertsOnly;
use crate::x509::{Certificate, DistinguishedName, KeyUsage, ber};

/// The certificates of GetCACert, sorted out.
#[derive(Clone, Debug)]
pub struct Authority {
    certificates: Vec<Certificate>,
    encryption: usize,
}

impl Authority {
    /// Reads the answer of GetCACert: one DER certificate or a certs-only message. The media type would tell; servers exist that
    /// send the wrong one, so the content decides. Certificates that cannot be read are passed over.
    pub fn read(answer: &[u8], pins: &[Pin], now: Timestamp) -> Result<Self, ClientError> {
        let certificates = match Certificate::from_der(answer) {
            Ok(single) => vec![single],
            Err(single) => {
                let der = ber::to_der(answer)?;
                let bag = CertsOnly::read(&der).map_err(|bag| not_certificates(&single, &bag))?;
                bag.certificates.iter().filter_map(|der| Certificate::from_der(der).ok()).collect()
            }
        };
        Self::new(certificates, pins, now)
    }

    /// Sorts certificates out. With pins, only those count that are pinned, or whose signatures lead to one that is.
    pub fn new(certificates: Vec<Certificate>, pins: &[Pin], now: Timestamp) -> Result<Self, ClientError> {
        let certificates = if pins.is_empty() { certificates } else { pinned(certificates, pins)? };
        let encryption = encryption_certificate(&certificates, now).ok_or(ClientError::NoEncryptionCertificate)?;
        Ok(Self { certificates, encryption })
    }

    /// All certificates, in the order of the answer.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The certificate that requests are encrypted to.
    pub fn encryption(&self) -> &Certificate {
        &self.certificates[self.encryption]
    }

    /// The certificates that may sign replies: all of them, for servers exist that sign with whatever they have. Those with a
    /// key usage for it come first.
    pub fn signers(&self) -> Vec<&Certificate> {
        let mut signers: Vec<&Certificate> = self.certificates.iter().collect();
        signers.sort_by_key(|certificate| {
            let usage = certificate.key_usage();
            (certificate.is_ca(), !usage.is_some_and(|usage| usage.contains(KeyUsage::DIGITAL_SIGNATURE)))
        });
        signers
    }

    /// The CA certificates of the bag.
    pub fn ca_certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(|certificate| certificate.is_ca())
    }

    /// The name of the CA that issues, as far as the certificates tell: for CertPoll.
    pub fn issuer(&self) -> &DistinguishedName {
        let encryption = self.encryption();
        if encryption.is_ca() { encryption.subject() } else { encryption.issuer() }
    }

    /// Whether a certificate of the bag is also in `others`, or signed by the same key as one there: the same authority, perhaps
    /// with a new RA certificate.
    pub fn continues(&self, others: &[Certificate]) -> bool {
        let same = |one: &Certificate, other: &Certificate| one.der() == other.der();
        let issuers: Vec<&Certificate> = others.iter().filter(|other| other.is_ca()).collect();
        self.certificates
            .iter()
            .any(|own| others.iter().any(|other| same(own, other)) || issuers.iter().any(|issuer| is_issued_by(own, issuer)))
    }
}

/// Whether the names fit and the signature holds.
pub(super) fn is_issued_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.issuer().matches(issuer.subject()) && certificate.verify_signed_by(issuer.spki()).is_ok()
}

/// The issuers of a certificate out of a heap of them, nearest first; each link is a signature that holds.
pub(super) fn chain_above(leaf: &Certificate, heap: &[&Certificate]) -> Vec<Certificate> {
    let mut chain: Vec<Certificate> = Vec::new();
    let mut current = leaf;
    while !is_self_issued(current) {
        let next = heap.iter().find(|candidate| {
            candidate.der() != current.der()
                && !chain.iter().any(|known| known.der() == candidate.der())
                && is_issued_by(current, candidate)
        });
        let Some(next) = next else { break };
        chain.push((**next).clone());
        current = next;
    }
    chain
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.issuer().matches(certificate.subject()) && certificate.verify_signed_by(certificate.spki()).is_ok()
}

/// What a pin lets through: the pinned certificates themselves and whatever leads up to them.
fn pinned(certificates: Vec<Certificate>, pins: &[Pin]) -> Result<Vec<Certificate>, ClientError> {
    // A pinned CA certificate counts as if it had been in the bag.
    let from_files = pins.iter().filter_map(|pin| match pin {
        Pin::Certificate(certificate) => Some(&**certificate),
        Pin::Fingerprint(_) => None,
    });
    let heap: Vec<&Certificate> = certificates.iter().chain(from_files).collect();
    let is_pinned = |certificate: &Certificate| pins.iter().any(|pin| pin.is(certificate));
    let trusted: Vec<Certificate> = certificates
        .iter()
        .filter(|certificate| is_pinned(certificate) || chain_above(certificate, &heap).iter().any(is_pinned))
        .cloned()
        .collect();
    if trusted.is_empty() { Err(ClientError::NotPinned) } else { Ok(trusted) }
}

/// The certificate to encrypt to: an RSA or ML-KEM key; an RA certificate rather than a CA certificate; one whose key usage says
/// keyEncipherment before one that has none, and that before one which says something else, for CAs exist whose certificates lack
/// the bit (RFC 8894 section 3.5.2); one that is valid now; the CA that issues before the CAs above it.
fn encryption_certificate(certificates: &[Certificate], now: Timestamp) -> Option<usize> {
    let rank = |certificate: &Certificate| {
        let usage = match (certificate.key_usage(), certificate.is_ca()) {
            (Some(usage), ca) if usage.contains(KeyUsage::KEY_ENCIPHERMENT) => {
                if ca {
                    2
                } else {
                    0
                }
            }
            (None, false) => 1,
            (None, true) => 3,
            (Some(_), false) => 4,
            (Some(_), true) => 5,
        };
        let valid = certificate.not_before() <= now && now <= certificate.not_after();
        let issued_others = certificate.is_ca()
            && certificates
                .iter()
                .any(|other| other.der() != certificate.der() && other.is_ca() && is_issued_by(other, certificate));
        (usage, !valid, issued_others)
    };
    (0..certificates.len())
        .filter(|&index| certificates[index].key().is_some_and(|key| key.can_decrypt() || key.can_decapsulate()))
        .min_by_key(|&index| rank(&certificates[index]))
}

fn not_certificates(single: &crate::x509::X509Error, bag: &crate::scep::WireError) -> ClientError {
    ClientError::BadAnswer {
        operation: "GetCACert",
        content_type: None,
        why: format!("neither a certificate ({single}) nor a certs-only message ({bag})"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use super::*;
    use crate::algorithm::{Digest, KeyAlgorithm};
    use crate::crypto::{Signer, provider};
    use crate::scep::certs_only::{self, SetOrder};
    use crate::x509::builder::{self, CertificateTemplate};

    /// A small PKI with one RSA key for all that need one, because making them takes time.
    struct Pki {
        rsa: Arc<dyn Signer>,
        ca_key: Arc<dyn Signer>,
        ca: Certificate,
    }

    impl Pki {
        fn get() -> &'static Pki {
            static PKI: OnceLock<Pki> = OnceLock::new();
            PKI.get_or_init(|| {
                let rsa = provider().keys.generate(KeyAlgorithm::Rsa(2048)).unwrap();
                let ca_key = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
                let extensions = builder::ca_extensions(ca_key.spki(), None, None).unwrap();
                let ca = certificate("CN=CA", "CN=CA", ca_key.spki(), &*ca_key, extensions);
                Pki { rsa, ca_key, ca }
            })
        }

        fn ra(&self, name: &str, usage: Option<KeyUsage>) -> Certificate {
            let extensions = usage.map(builder::key_usage).into_iter().collect();
            certificate(name, "CN=CA", self.rsa.spki(), &*self.ca_key, extensions)
        }

        fn rsa_ca(&self, usage: Option<KeyUsage>) -> Certificate {
            let mut extensions = builder::ca_extensions(self.rsa.spki(), None, None).unwrap();
            extensions.retain(|e| e.oid != crate::x509::extension::oid::KEY_USAGE);
            extensions.extend(usage.map(builder::key_usage));
            certificate("CN=RSA CA", "CN=RSA CA", self.rsa.spki(), &*self.rsa, extensions)
        }
    }

    fn certificate(
        subject: &str,
        issuer: &str,
        spki: &[u8],
        signer: &dyn Signer,
        extensions: Vec<crate::x509::Extension>,
    ) -> Certificate {
        let now = Timestamp::now();
        let template = CertificateTemplate {
            serial: builder::random_serial(),
            issuer: DistinguishedName::parse(issuer, true).unwrap(),
            subject: DistinguishedName::parse(subject, true).unwrap(),
            not_before: now - jiff::SignedDuration::from_hours(1),
            not_after: now + jiff::SignedDuration::from_hours(1),
            spki: spki.to_vec(),
            extensions,
        };
        let algorithm = crate::x509::csr::signature_algorithm_for(signer, Digest::Sha256).unwrap();
        Certificate::from_der(&template.sign(signer, algorithm).unwrap()).unwrap()
    }

    const SIGNS: KeyUsage = KeyUsage::DIGITAL_SIGNATURE;
    const ENCRYPTS: KeyUsage = KeyUsage::KEY_ENCIPHERMENT;

    #[test]
    fn the_bag_is_sorted_out_in_any_order() {
        let pki = Pki::get();
        let (signs, encrypts) = (pki.ra("CN=RA sign", Some(SIGNS)), pki.ra("CN=RA encrypt", Some(ENCRYPTS)));
        let bag = [&pki.ca, &signs, &encrypts];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let ders: Vec<&[u8]> = order.iter().map(|&at| bag[at].der()).collect();
            let answer = certs_only::write(&ders, &[], SetOrder::AsGiven);
            let authority = Authority::read(&answer, &[], Timestamp::now()).unwrap();
            assert_eq!(authority.encryption(), &encrypts, "{order:?}");
            assert_eq!(authority.signers()[0], &signs);
            assert_eq!(authority.issuer(), pki.ca.subject());
        }
    }

    #[test]
    fn one_ca_certificate_does_everything_even_with_the_wrong_usage() {
        let pki = Pki::get();
        for usage in [None, Some(KeyUsage::KEY_CERT_SIGN), Some(ENCRYPTS.union(KeyUsage::KEY_CERT_SIGN))] {
            let ca = pki.rsa_ca(usage);
            let authority = Authority::read(ca.der(), &[], Timestamp::now()).unwrap();
            assert_eq!(authority.encryption(), &ca);
            assert_eq!(authority.issuer(), ca.subject());
        }
        let ec_only = Authority::read(pki.ca.der(), &[], Timestamp::now());
        assert!(matches!(ec_only, Err(ClientError::NoEncryptionCertificate)));
    }

    #[test]
    fn an_ra_certificate_without_usage_comes_before_a_ca_with_it() {
        let pki = Pki::get();
        let (ra, ca) = (pki.ra("CN=RA", None), pki.rsa_ca(Some(ENCRYPTS)));
        assert_eq!(Authority::new(vec![ca, ra.clone()], &[], Timestamp::now()).unwrap().encryption(), &ra);
    }

    #[test]
    fn pins_let_through_what_leads_to_them() {
        let pki = Pki::get();
        let (ra, stranger) = (pki.ra("CN=RA", Some(ENCRYPTS)), pki.rsa_ca(Some(ENCRYPTS)));
        let now = Timestamp::now();
        let bag = vec![stranger.clone(), ra.clone(), pki.ca.clone()];
        for pin in [Pin::Certificate(Box::new(pki.ca.clone())), Pin::Fingerprint(pki.ca.fingerprint())] {
            let authority = Authority::new(bag.clone(), &[pin], now).unwrap();
            assert_eq!(authority.certificates(), [ra.clone(), pki.ca.clone()]);
        }
        // The pinned CA itself need not be in the bag; a fingerprint alone then leads nowhere.
        assert!(Authority::new(vec![ra.clone()], &[Pin::Certificate(Box::new(pki.ca.clone()))], now).is_ok());
        let lost = Authority::new(vec![ra.clone()], &[Pin::Fingerprint(pki.ca.fingerprint())], now);
        assert!(matches!(lost, Err(ClientError::NotPinned)));
        let wrong = Authority::new(vec![stranger], &[Pin::Certificate(Box::new(pki.ca.clone()))], now);
        assert!(matches!(wrong, Err(ClientError::NotPinned)));
        // The same name with another key leads nowhere either.
        let other_key = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
        let extensions = builder::ca_extensions(other_key.spki(), None, None).unwrap();
        let namesake = certificate("CN=CA", "CN=CA", other_key.spki(), &*other_key, extensions);
        assert!(matches!(Authority::new(vec![ra], &[Pin::Certificate(Box::new(namesake))], now), Err(ClientError::NotPinned)));
    }

    #[test]
    fn what_is_no_certificate_is_told_so() {
        for bad in [&b""[..], b"<html>", &[0x30, 0]] {
            assert!(Authority::read(bad, &[], Timestamp::now()).is_err());
        }
    }
}
