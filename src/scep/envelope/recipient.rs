//! RecipientIdentifier: which certificate an envelope is for (RFC 5652 section 6.2.1).
//!
//! ```text
//! RecipientIdentifier ::= CHOICE { issuerAndSerialNumber IssuerAndSerialNumber, subjectKeyIdentifier [0] SubjectKeyIdentifier }
//! ```

use crate::scep::issuer_and::{same_name, same_serial};
use crate::x509::tlv::{Reader, tag};
use crate::x509::{Certificate, X509Error, spki};

#[derive(Clone, Copy, Debug)]
pub(super) enum RecipientIdentifier<'a> {
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    KeyIdentifier(&'a [u8]),
}

impl<'a> RecipientIdentifier<'a> {
    pub(super) fn read(fields: &mut Reader<'a>) -> Result<Self, X509Error> {
        Ok(match fields.peek() {
            Some(CONTEXT_0 | CONTEXT_0_CONSTRUCTED) => {
                // Some clients put the whole OCTET STRING under the implicit tag, constructed or not.
                let id = fields.any()?.value;
                let unwrapped = Reader::single("subjectKeyIdentifier", id, tag::OCTET_STRING).map(|inner| inner.value);
                RecipientIdentifier::KeyIdentifier(unwrapped.unwrap_or(id))
            }
            _ => {
                let mut pair = fields.tag(tag::SEQUENCE)?.reader();
                let issuer = pair.tag(tag::SEQUENCE)?.raw;
                let serial = pair.tag(tag::INTEGER)?.value;
                pair.finish()?;
                RecipientIdentifier::IssuerAndSerial { issuer, serial }
            }
        })
    }

    /// Whether the recipient is the holder of this certificate.
    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        match self {
            RecipientIdentifier::IssuerAndSerial { issuer, serial } => {
                same_serial(certificate.serial(), serial) && same_name(certificate.issuer(), issuer)
            }
            RecipientIdentifier::KeyIdentifier(id) => {
                certificate.subject_key_identifier().is_some_and(|known| known == *id)
                    || spki::key_identifier(certificate.spki()).is_ok_and(|known| known == **id)
            }
        }
    }
}

const CONTEXT_0: u8 = tag::context(0);
const CONTEXT_0_CONSTRUCTED: u8 = tag::context_constructed(0);
