//! The degenerate SignedData that carries certificates and CRLs and has no signer: the content of a SUCCESS (RFC 8894 section
//! 3.3.2), and the answer to GetCACert (section 4.2.1).

use super::WireError;
use super::attributes::ID_DATA;
use super::pki_message::{ID_SIGNED_DATA, any_content, certificate_set, content_info, encapsulated_content};
use crate::x509::tlv::{Node, Reader, encode, encode_oid, tag};

/// In which order the certificates are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetOrder {
    /// As they are given: BER, and what clients want that take the first certificate for the one that was issued.
    #[default]
    AsGiven,
    /// Ascending, as DER has it for a SET OF.
    Der,
}

/// Writes the ContentInfo.
pub fn write(certificates: &[&[u8]], crls: &[&[u8]], order: SetOrder) -> Vec<u8> {
    let signed_data = Node::value(
        tag::SEQUENCE,
        [
            Node::Octets(&[tag::INTEGER, 1, 1, tag::SET, 0]),
            encode(tag::SEQUENCE, &[encode_oid(&ID_DATA)]).into(),
            set(0, certificates, order),
            set(1, crls, order),
            Node::Octets(&[tag::SET, 0]),
        ],
    );
    content_info(&ID_SIGNED_DATA, signed_data)
}

/// One of the two sets; nothing where it would be empty.
fn set<'a>(number: u8, members: &[&'a [u8]], order: SetOrder) -> Node<'a> {
    let tag = tag::context_constructed(number);
    let mut members = members.to_vec();
    if order == SetOrder::Der {
        members.sort_unstable();
    }
    match members.as_slice() {
        [] => Node::Octets(&[]),
        members => Node::value(tag, members.iter().copied().map(Node::from).collect::<Vec<_>>()),
    }
}

/// What was in a degenerate SignedData, in the order of the encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertsOnly<'a> {
    /// Certificates, DER.
    pub certificates: Vec<&'a [u8]>,
    /// CRLs, DER.
    pub crls: Vec<&'a [u8]>,
}

impl<'a> CertsOnly<'a> {
    /// Reads a ContentInfo with SignedData; signers, if there are any, are not looked at. The input is DER:
    /// [`crate::x509::ber::to_der`] makes it so.
    pub fn read(der: &'a [u8]) -> Result<Self, WireError> {
        let info = Reader::single("certs-only message", der, tag::SEQUENCE)?;
        let (kind, content) = any_content(&info)?;
        if kind != Some(ID_SIGNED_DATA) {
            return Err(WireError::Malformed("certs-only message: not SignedData".into()));
        }
        let mut fields = content.reader();
        fields.tag(tag::INTEGER)?;
        fields.tag(tag::SET)?;
        encapsulated_content(fields.tag(tag::SEQUENCE)?)?;
        let certificates = certificate_set(&mut fields)?;
        let mut crls = Vec::new();
        if let Some(set) = fields.optional(tag::context_constructed(1))? {
            let mut set = set.reader();
            while !set.is_empty() {
                let choice = set.any()?;
                if choice.tag == tag::SEQUENCE {
                    crls.push(choice.raw);
                }
            }
        }
        fields.tag(tag::SET)?;
        fields.finish()?;
        Ok(Self { certificates, crls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept_or_sorted() {
        let (large, small) = (encode(tag::SEQUENCE, &[[2u8; 9]]), encode(tag::SEQUENCE, &[[1u8; 3]]));
        let crl = encode(tag::SEQUENCE, &[[3u8; 3]]);
        let given = write(&[&large, &small], &[&crl], SetOrder::AsGiven);
        let read = CertsOnly::read(&given).unwrap();
        assert_eq!(read.certificates, [large.as_slice(), &small]);
        assert_eq!(read.crls, [crl.as_slice()]);
        let sorted = write(&[&large, &small], &[], SetOrder::Der);
        let read = CertsOnly::read(&sorted).unwrap();
        assert_eq!(read.certificates, [small.as_slice(), &large]);
        assert!(read.crls.is_empty());
    }

    #[test]
    fn truncation_and_trailing_octets_are_errors() {
        let whole = write(&[&encode(tag::SEQUENCE, &[[1u8; 3]])], &[], SetOrder::AsGiven);
        for len in 0..whole.len() {
            assert!(CertsOnly::read(&whole[..len]).is_err(), "{len}");
        }
        assert!(CertsOnly::read(&[whole.as_slice(), &[0]].concat()).is_err());
    }
}
