//! How a signature comes to stand in a certificate: the keys of a CA, and what they can do for each [`Form`].
//!
//! A pair is two certificates by two CAs, each of which signs in a form of its own: there is nothing to it here.

use std::sync::Arc;

use crate::algorithm::{Family, Form, SignatureAlgorithm};
use crate::crypto::{CryptoError, Signer};
use crate::x509::X509Error;
use crate::x509::builder::CertificateTemplate;
use crate::x509::crl::CrlTemplate;

/// The keys of a CA.
#[derive(Clone)]
pub(super) struct IssuerKeys {
    /// Signs certificates and CRLs.
    pub(super) primary: Arc<dyn Signer>,
    /// Makes alternative signatures.
    pub(super) alternative: Option<Arc<dyn Signer>>,
}

/// What stands in a certificate: one signature, or an alternative one besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assembly {
    signature: SignatureAlgorithm,
    alternative: Option<SignatureAlgorithm>,
}

impl IssuerKeys {
    /// What the keys can sign with, in the order of preference.
    pub(super) fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        self.primary.algorithms()
    }

    /// What alternative signatures they can make.
    pub(super) fn alternatives(&self) -> Vec<SignatureAlgorithm> {
        self.alternative.as_ref().map(|key| key.algorithms()).unwrap_or_default()
    }

    /// How these keys sign in this form with these algorithms; `None` if they cannot.
    pub(super) fn assembly(
        &self,
        form: Form,
        signature: SignatureAlgorithm,
        alternative: Option<SignatureAlgorithm>,
    ) -> Option<Assembly> {
        let fits = match form {
            Form::Single | Form::Paired => signature.family() != Family::Composite && alternative.is_none(),
            Form::Composite => signature.family() == Family::Composite && alternative.is_none(),
            Form::Catalyst => alternative.is_some_and(|alternative| self.alternatives().contains(&alternative)),
        };
        (fits && self.algorithms().contains(&signature)).then_some(Assembly { signature, alternative })
    }

    /// How these keys sign what is the CA's own: with all that they have.
    pub(super) fn own_assembly(&self) -> Result<Assembly, CryptoError> {
        let signature = *self.algorithms().first().ok_or(CryptoError::Unsupported)?;
        Ok(Assembly { signature, alternative: self.alternatives().first().copied() })
    }

    /// Signs a certificate, and gives its DER.
    pub(super) fn sign(&self, template: CertificateTemplate, assembly: Assembly) -> Result<Vec<u8>, X509Error> {
        match self.alternative_of(assembly)? {
            Some((key, algorithm)) => template.sign_catalyst(self.primary.as_ref(), assembly.signature, key, algorithm),
            None => template.sign(self.primary.as_ref(), assembly.signature),
        }
    }

    /// Signs a CRL, and gives its DER.
    pub(super) fn sign_crl(&self, template: &CrlTemplate) -> Result<Vec<u8>, X509Error> {
        let assembly = self.own_assembly()?;
        match self.alternative_of(assembly)? {
            Some((key, algorithm)) => template.sign_catalyst(self.primary.as_ref(), assembly.signature, key, algorithm),
            None => template.sign(self.primary.as_ref(), assembly.signature),
        }
    }

    fn alternative_of(&self, assembly: Assembly) -> Result<Option<(&dyn Signer, SignatureAlgorithm)>, CryptoError> {
        let Some(algorithm) = assembly.alternative else { return Ok(None) };
        let key = self.alternative.as_deref().ok_or(CryptoError::Unsupported)?;
        Ok(Some((key, algorithm)))
    }
}
