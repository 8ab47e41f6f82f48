//! Who may sign answers for a CA (RFC 9483 section 3.2): one of the certificates that are configured, or one below them that says that
//! it answers for a CA.
//!
//! A chain alone is not enough. The devices have certificates of the same CA, and none of them may speak for it: a signer that is not
//! configured itself has to be a certification authority or registration authority by its extended key usage, a CA of the same name as one
//! that is configured (which was renewed, or has a new key), or to have the name that is configured.

use std::sync::Arc;

use der::oid::ObjectIdentifier;
use jiff::Timestamp;

use super::message::Message;
use crate::x509::{Certificate, DistinguishedName, KeyUsage};

/// id-kp-cmcCA, id-kp-cmcRA (RFC 6402 section 2.10): those of a CA and of an RA in CMP too (RFC 9810 section 4.5).
const ANSWERS_FOR_A_CA: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.27"), ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.28")];

/// Longest chain that is followed.
const MOST_LINKS: usize = 8;

/// Certificates beside one answer that are tried.
const MOST_TRIES: usize = 4;

/// Who may sign answers.
#[derive(Clone, Debug)]
pub struct Responders {
    /// What signers have to be, or to chain to.
    pub anchors: Vec<Arc<Certificate>>,
    /// The name of a signer that is taken whatever its usages.
    pub name: Option<DistinguishedName>,
}

impl Responders {
    /// Looks for the certificate whose key signed a message, as `signed` says, and checks that it may.
    pub fn find(&self, message: &Message<'_>, now: Timestamp, signed: impl Fn(&Certificate) -> bool) -> Result<(), String> {
        let beside: Vec<_> = message.extra_certificates.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
        let header = &message.header;
        let fits = |certificate: &&Certificate| {
            let named = header.sender.as_ref().is_none_or(|sender| sender.is_empty() || sender.matches(certificate.subject()));
            let identifier = certificate.subject_key_identifier();
            let keyed = header.sender_kid.is_empty() || identifier.is_none_or(|identifier| identifier == header.sender_kid);
            named && keyed
        };
        let configured = self.anchors.iter().map(|anchor| &**anchor).filter(fits);
        let mut candidates = configured.chain(beside.iter().filter(fits).take(MOST_TRIES)).peekable();
        if candidates.peek().is_none() {
            let sender = header.sender.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            return Err(format!("it is signed by {sender}, and no certificate for that is beside it or configured"));
        }
        // Several certificates may have the same key: one of a CA that was renewed, say.
        let mut why = None;
        for signer in candidates.filter(|candidate| signed(candidate)) {
            match self.may_answer(signer, &beside, now) {
                Ok(()) => return Ok(()),
                Err(refused) => why = why.or(Some(refused)),
            }
        }
        Err(why.unwrap_or_else(|| "its signature does not verify".to_owned()))
    }

    fn may_answer(&self, signer: &Certificate, beside: &[Certificate], now: Timestamp) -> Result<(), String> {
        let subject = signer.subject();
        in_time(signer, now)?;
        if self.anchors.iter().any(|anchor| anchor.der() == signer.der()) {
            return Ok(());
        }
        let mut last = signer;
        for links in 0.. {
            if links == MOST_LINKS {
                return Err(format!("it is signed by {subject}, whose chain is too long"));
            }
            if let Some(anchor) = self.anchors.iter().find(|anchor| is_above(anchor, last)) {
                in_time(anchor, now)?;
                break;
            }
            let next = beside.iter().find(|next| next.is_ca() && next.der() != last.der() && is_above(next, last));
            last = next.ok_or_else(|| format!("it is signed by {subject}, which does not chain to what is configured"))?;
            in_time(last, now)?;
        }
        if self.is_the_ca(signer) {
            return Ok(());
        }
        if signer.key_usage().is_some_and(|usage| !usage.contains(KeyUsage::DIGITAL_SIGNATURE)) {
            return Err(format!("it is signed by {subject}, whose key usage is not for signatures"));
        }
        let answers = signer.extended_key_usages().iter().any(|usage| ANSWERS_FOR_A_CA.contains(usage));
        if answers || self.name.as_ref().is_some_and(|name| name.matches(subject)) {
            return Ok(());
        }
        Err(format!(
            "it is signed by {subject}, which has neither cmcCA nor cmcRA among its extended key usages; if that one may answer for \
             the CA, set `responder` to its name, or put its certificate into the file of `trust-responses`"
        ))
    }

    /// Whether this is a certificate of one of the CAs that are configured, renewed or with a new key.
    fn is_the_ca(&self, signer: &Certificate) -> bool {
        let may_certify = signer.key_usage().is_none_or(|usage| usage.contains(KeyUsage::KEY_CERT_SIGN));
        signer.is_ca() && may_certify && self.anchors.iter().any(|anchor| anchor.subject().matches(signer.subject()))
    }
}

fn is_above(issuer: &Certificate, certificate: &Certificate) -> bool {
    certificate.issuer().matches(issuer.subject())
        && issuer.key_usage().is_none_or(|usage| usage.contains(KeyUsage::KEY_CERT_SIGN))
        && certificate.verify_signed_by(issuer.spki()).is_ok()
}

fn in_time(certificate: &Certificate, now: Timestamp) -> Result<(), String> {
    match certificate.not_before() <= now && now <= certificate.not_after() {
        true => Ok(()),
        false => Err(format!(
            "the certificate of {} is valid from {} to {}",
            certificate.subject(),
            certificate.not_before(),
            certificate.not_after()
        )),
    }
}
