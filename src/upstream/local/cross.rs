//! Cross certificates of a root that is rolled over (RFC 4210 section 4.4): each of the two keys vouches for the other, under the same
//! name, so that whoever trusts only one generation can check what the other one signed.

use jiff::Timestamp;

use super::assembly::IssuerKeys;
use super::authority::{Authority, key_identifier};
use super::create::path_len;
use super::{LocalCaError, settings::Settings};
use crate::x509::builder::{self, CertificateTemplate};
use crate::x509::{Certificate, alternative};

/// The new key certified by the old one, then the old key certified by the new one. Both end with the old certificate: after that
/// nothing that the old key signed counts, and nobody who trusts only the old one is left.
pub(super) fn certificates(old: &Authority, new: &Certificate, new_keys: &IssuerKeys) -> Result<Vec<Certificate>, LocalCaError> {
    let (of_old, end) = (&old.certificate, old.certificate.not_after());
    let begin = new.not_before();
    if end <= begin {
        return Ok(Vec::new());
    }
    let by_old = cross(new, of_old, &old.keys, &old.settings, (begin, end.min(new.not_after())))?;
    let by_new = cross(of_old, new, new_keys, &old.settings, (of_old.not_before(), end))?;
    Ok(vec![by_old, by_new])
}

/// A certificate for the key in `subject`, by the key of `issuer`.
fn cross(
    subject: &Certificate,
    issuer: &Certificate,
    keys: &IssuerKeys,
    settings: &Settings,
    (not_before, not_after): (Timestamp, Timestamp),
) -> Result<Certificate, LocalCaError> {
    // A certificate that a CA issues to itself does not count for the length of a path (RFC 5280 section 4.2.1.9).
    let mut extensions = builder::ca_extensions(subject.spki(), Some(issuer.spki()), path_len(subject))?;
    let identifier = builder::authority_key_identifier(&key_identifier(issuer)?)?;
    for extension in extensions.iter_mut().filter(|extension| extension.oid == identifier.oid) {
        *extension = identifier.clone();
    }
    if let Some(spki) = subject.alternative_spki() {
        extensions.push(alternative::key_extension(spki));
    }
    let crls = settings.distribution_points(issuer);
    if !crls.is_empty() {
        extensions.push(builder::crl_distribution_points(&crls)?);
    }
    let template = CertificateTemplate {
        serial: builder::random_serial(),
        issuer: issuer.subject().clone(),
        subject: subject.subject().clone(),
        not_before,
        not_after,
        spki: subject.spki().to_vec(),
        extensions,
    };
    Ok(Certificate::from_der(&keys.sign(template, keys.own_assembly()?)?)?)
}
