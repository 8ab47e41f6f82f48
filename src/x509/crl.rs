//! Building and reading CRLs (RFC 5280 section 5).

use jiff::Timestamp;

use super::{DistinguishedName, X509Error};
use crate::algorithm::SignatureAlgorithm;
use crate::crypto::Signer;

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
    pub fn sign(&self, _signer: &dyn Signer, _algorithm: SignatureAlgorithm) -> Result<Vec<u8>, X509Error> {
        todo!()
    }
}
