//! The shape that certificates, requests and CRLs share: SEQUENCE { what is signed, AlgorithmIdentifier, BIT STRING }.

use der::Encode;
use spki::AlgorithmIdentifierOwned;

use super::X509Error;
use super::algorithm_identifier::read_signature_algorithm;
use super::tlv::{Node, Reader, Tlv, tag};
use crate::algorithm::SignatureAlgorithm;
use crate::crypto::Signer;

/// Something signed, in the encoding that is being read.
pub(super) struct Signed<'a> {
    /// What the signature is over, byte for byte.
    pub(super) content: Tlv<'a>,
    /// The AlgorithmIdentifier beside it.
    pub(super) algorithm: Tlv<'a>,
    /// The BIT STRING.
    pub(super) signature: Tlv<'a>,
}

impl<'a> Signed<'a> {
    /// Takes it apart; trailing octets are refused.
    pub(super) fn read(what: &'static str, der: &'a [u8]) -> Result<Self, X509Error> {
        let mut fields = Reader::single(what, der, tag::SEQUENCE)?.reader();
        let signed = Signed {
            content: fields.tag(tag::SEQUENCE)?,
            algorithm: fields.tag(tag::SEQUENCE)?,
            signature: fields.tag(tag::BIT_STRING)?,
        };
        fields.finish()?;
        signed.signature.bit_octets()?;
        Ok(signed)
    }

    /// The algorithm by name, if we know it.
    pub(super) fn algorithm(&self) -> Result<Option<SignatureAlgorithm>, X509Error> {
        read_signature_algorithm(&self.algorithm)
    }
}

/// Signs `content` and puts everything together.
pub(super) fn sign(content: &[u8], signer: &dyn Signer, algorithm: SignatureAlgorithm) -> Result<Vec<u8>, X509Error> {
    let signature = signer.sign(algorithm, content)?;
    Ok(assemble(content, &algorithm.identifier(), &signature))
}

/// Puts everything together around a signature that is there already.
pub(super) fn assemble(content: &[u8], algorithm: &AlgorithmIdentifierOwned, signature: &[u8]) -> Vec<u8> {
    let bits = Node::value(tag::BIT_STRING, [Node::Octets(&[0]), signature.into()]);
    Node::value(tag::SEQUENCE, [content.into(), encode_identifier(algorithm).into(), bits]).to_der()
}

/// Encodes an AlgorithmIdentifier.
pub(super) fn encode_identifier(algorithm: &AlgorithmIdentifierOwned) -> Vec<u8> {
    algorithm.to_der().expect("an AlgorithmIdentifier in memory has an encoding")
}
