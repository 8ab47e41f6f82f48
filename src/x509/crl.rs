//! Building and reading CRLs (RFC 5280 section 5).

use jiff::Timestamp;

use super::extension::{self, oid};
use super::signed::{self, Signed};
use super::tlv::{Reader, encode, encode_unsigned, tag};
use super::{DistinguishedName, Extension, X509Error, algorithm_identifier, alternative, builder, time};
use crate::algorithm::SignatureAlgorithm;
use crate::crypto::{CryptoError, Signer};

/// Why a certificate was revoked (RFC 5280 section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RevocationReason {
    /// unspecified (0).
    Unspecified,
    /// keyCompromise (1).
    KeyCompromise,
    /// cACompromise (2).
    CaCompromise,
    /// affiliationChanged (3).
    AffiliationChanged,
    /// superseded (4).
    Superseded,
    /// cessationOfOperation (5).
    CessationOfOperation,
    /// certificateHold (6).
    CertificateHold,
    /// privilegeWithdrawn (9).
    PrivilegeWithdrawn,
}

crate::algorithm::named!(RevocationReason, "revocation reason", {
    Unspecified => "unspecified",
    KeyCompromise => "keyCompromise",
    CaCompromise => "cACompromise",
    AffiliationChanged => "affiliationChanged",
    Superseded => "superseded",
    CessationOfOperation => "cessationOfOperation",
    CertificateHold => "certificateHold",
    PrivilegeWithdrawn => "privilegeWithdrawn",
});

/// One entry of a CRL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Content octets of the serial number.
    pub serial: Vec<u8>,
    /// When.
    pub revoked_at: Timestamp,
    /// Why; `unspecified` leaves the extension out, as RFC 5280 section 5.3.1 asks.
    pub reason: RevocationReason,
}

/// All that stands in a CRL but the signature.
#[derive(Clone, Debug)]
pub struct CrlTemplate {
    /// The issuer.
    pub issuer: DistinguishedName,
    /// Key identifier of the issuer's key.
    pub authority_key_identifier: Vec<u8>,
    /// The CRL number; it only grows.
    pub number: u64,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is due at the latest.
    pub next_update: Timestamp,
    /// The entries.
    pub revoked: Vec<RevokedCertificate>,
}

impl CrlTemplate {
    /// Signs, and gives the DER CRL.
    pub fn sign(&self, signer: &dyn Signer, algorithm: SignatureAlgorithm) -> Result<Vec<u8>, X509Error> {
        signed::sign(&self.tbs(&signed::encode_identifier(&algorithm.identifier()), &[])?, signer, algorithm)
    }

    /// Signs with an alternative signature besides (X.509 (10/2019) section 9.8; see [`alternative`]).
    pub fn sign_catalyst(
        &self,
        signer: &dyn Signer,
        algorithm: SignatureAlgorithm,
        alternative_signer: &dyn Signer,
        alternative_algorithm: SignatureAlgorithm,
    ) -> Result<Vec<u8>, X509Error> {
        let named = alternative::algorithm_extension(alternative_algorithm);
        let signature = alternative_signer.sign(alternative_algorithm, &self.tbs(&[], std::slice::from_ref(&named))?)?;
        let both = [named, alternative::value_extension(&signature)];
        signed::sign(&self.tbs(&signed::encode_identifier(&algorithm.identifier()), &both)?, signer, algorithm)
    }

    /// ```text
    /// TBSCertList ::= SEQUENCE { version INTEGER { v2(1) }, signature AlgorithmIdentifier, issuer, thisUpdate, nextUpdate,
    ///                            revokedCertificates SEQUENCE OF ... OPTIONAL, crlExtensions [0] }
    /// ```
    ///
    /// An alternative signature is over it without `signature`.
    fn tbs(&self, signature: &[u8], more: &[Extension]) -> Result<Vec<u8>, X509Error> {
        let entries = self.revoked.iter().map(encode_entry).collect::<Vec<_>>();
        // Absent, not empty, where nothing is revoked (RFC 5280 section 5.1.2.6).
        let revoked = if entries.is_empty() { Vec::new() } else { encode(tag::SEQUENCE, &entries) };
        let mut extensions = vec![
            builder::authority_key_identifier(&self.authority_key_identifier)?,
            Extension { oid: oid::CRL_NUMBER, critical: false, value: encode_unsigned(&self.number.to_be_bytes()) },
        ];
        extensions.extend_from_slice(more);
        let extensions = extension::encode_extensions(&extensions);
        Ok(encode(
            tag::SEQUENCE,
            &[
                &encode_unsigned(&[1]),
                signature,
                self.issuer.der(),
                &time::encode_time(self.this_update),
                &time::encode_time(self.next_update),
                &revoked,
                &encode(tag::context_constructed(0), &[extensions]),
            ],
        ))
    }
}

/// SEQUENCE { userCertificate INTEGER, revocationDate Time, crlEntryExtensions OPTIONAL }
fn encode_entry(entry: &RevokedCertificate) -> Vec<u8> {
    let extensions = match entry.reason {
        RevocationReason::Unspecified => Vec::new(),
        reason => {
            let value = encode(tag::ENUMERATED, &[[reason.code()]]);
            extension::encode_extensions(&[Extension { oid: oid::REASON_CODE, critical: false, value }])
        }
    };
    // As it stands in the certificate: a serial number that came from elsewhere may be anything.
    let serial = encode(tag::INTEGER, &[&entry.serial]);
    encode(tag::SEQUENCE, &[serial, time::encode_time(entry.revoked_at), extensions])
}

impl RevocationReason {
    /// The number in the standard.
    pub const fn code(self) -> u8 {
        match self {
            RevocationReason::Unspecified => 0,
            RevocationReason::KeyCompromise => 1,
            RevocationReason::CaCompromise => 2,
            RevocationReason::AffiliationChanged => 3,
            RevocationReason::Superseded => 4,
            RevocationReason::CessationOfOperation => 5,
            RevocationReason::CertificateHold => 6,
            RevocationReason::PrivilegeWithdrawn => 9,
        }
    }

    /// The reason with this number, if it is one of ours.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

/// A CRL that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    /// The issuer.
    pub issuer: DistinguishedName,
    /// The CRL number, if there is one and it has at most 64 bits.
    pub number: Option<u64>,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is due at the latest.
    pub next_update: Option<Timestamp>,
    /// The entries; a reason that we do not know is `unspecified`.
    pub revoked: Vec<RevokedCertificate>,
    /// The extensions of the list.
    pub extensions: Vec<Extension>,
    /// The signature algorithm, if we know it.
    pub signature_algorithm: Option<SignatureAlgorithm>,
}

/// Reads a CRL with tolerance; trailing octets are refused. Its signature is checked by [`verify_crl`].
pub fn read_crl(der: &[u8]) -> Result<Crl, X509Error> {
    let signed = Signed::read(WHAT, der)?;
    let mut tbs = signed.content.reader();
    tbs.optional(tag::INTEGER)?;
    tbs.tag(tag::SEQUENCE)?;
    let issuer = DistinguishedName::from_der(tbs.tag(tag::SEQUENCE)?.raw)?;
    let this_update = time::read(&tbs.any()?)?;
    let next_update = match tbs.peek() {
        Some(tag::UTC_TIME | tag::GENERALIZED_TIME) => Some(time::read(&tbs.any()?)?),
        _ => None,
    };
    let mut revoked = Vec::new();
    if let Some(entries) = tbs.optional(tag::SEQUENCE)? {
        let mut entries = entries.reader();
        while !entries.is_empty() {
            revoked.push(read_entry(entries.tag(tag::SEQUENCE)?.reader())?);
        }
    }
    let extensions = match tbs.optional(tag::context_constructed(0))? {
        Some(extensions) => extension::read_extensions(&extensions.reader().tag(tag::SEQUENCE)?)?,
        None => Vec::new(),
    };
    tbs.finish()?;
    let number = extensions
        .iter()
        .find(|e| e.oid == oid::CRL_NUMBER)
        .and_then(|e| Reader::single(WHAT, &e.value, tag::INTEGER).ok()?.unsigned());
    Ok(Crl { issuer, number, this_update, next_update, revoked, extensions, signature_algorithm: signed.algorithm()? })
}

/// Checks that the key of the issuer signed this DER CRL.
pub fn verify_crl(der: &[u8], issuer_spki: &[u8]) -> Result<(), X509Error> {
    let signed = Signed::read(WHAT, der)?;
    let mut tbs = signed.content.reader();
    tbs.optional(tag::INTEGER)?;
    let inner = tbs.tag(tag::SEQUENCE)?;
    let algorithm = signed.algorithm()?.ok_or(CryptoError::Unsupported)?;
    if algorithm_identifier::read_signature_algorithm(&inner)? != Some(algorithm) {
        return Err(inner.error("two different signature algorithms (RFC 5280 section 5.1.1.2)"));
    }
    let verifier = crate::crypto::provider().verifier;
    Ok(verifier.verify(algorithm, issuer_spki, signed.content.raw, signed.signature.bit_octets()?)?)
}

fn read_entry(mut fields: Reader<'_>) -> Result<RevokedCertificate, X509Error> {
    let serial = fields.tag(tag::INTEGER)?.value.to_vec();
    let revoked_at = time::read(&fields.any()?)?;
    let mut reason = RevocationReason::Unspecified;
    if let Some(extensions) = fields.optional(tag::SEQUENCE)? {
        let extensions = extension::read_extensions(&extensions)?;
        if let Some(extension) = extensions.iter().find(|e| e.oid == oid::REASON_CODE) {
            let code = Reader::single(WHAT, &extension.value, tag::ENUMERATED)?.unsigned();
            reason = code.and_then(|code| RevocationReason::from_code(code.try_into().ok()?)).unwrap_or(reason);
        }
    }
    fields.finish()?;
    Ok(RevokedCertificate { serial, revoked_at, reason })
}

const WHAT: &str = "CRL";
