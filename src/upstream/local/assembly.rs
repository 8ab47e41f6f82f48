//! How a signature comes to stand in a certificate: one function for each [`Form`].
//!
//! A form with more than one signature gets its other keys from [`IssuerKeys`] and its own function here; nothing else in the
//! embedded CA has to know.

use std::sync::Arc;

use crate::algorithm::{Form, SignatureAlgorithm};
use crate::crypto::Signer;
use crate::x509::X509Error;
use crate::x509::builder::CertificateTemplate;

/// The keys of a CA.
#[derive(Clone)]
pub(super) struct IssuerKeys {
    /// Signs certificates and CRLs.
    pub(super) primary: Arc<dyn Signer>,
}

/// Signs a template in one form, and gives the DER certificate.
pub(super) type Assemble = fn(&CertificateTemplate, &IssuerKeys, SignatureAlgorithm) -> Result<Vec<u8>, X509Error>;

impl IssuerKeys {
    /// What the keys can sign with, in the order of preference.
    pub(super) fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        self.primary.algorithms()
    }

    /// How these keys sign in this form with this algorithm; `None` if they cannot.
    pub(super) fn assembly(&self, form: Form, algorithm: SignatureAlgorithm) -> Option<Assemble> {
        match form {
            Form::Single => self.primary.algorithms().contains(&algorithm).then_some(single as Assemble),
        }
    }
}

/// One signature by one key (RFC 5280 section 4.1).
fn single(template: &CertificateTemplate, keys: &IssuerKeys, algorithm: SignatureAlgorithm) -> Result<Vec<u8>, X509Error> {
    template.sign(keys.primary.as_ref(), algorithm)
}
