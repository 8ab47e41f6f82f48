//! A transaction on paper, so that another process can ask days later what became of it.
//!
//! It holds the CSR with the challenge in it, so it is a secret. The private keys are not in it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::transaction::{Outgoing, Protect};
use super::{Authority, ClientError, DeviceKey, Identity, Options, ReplyKey, Transaction};
use crate::algorithm::{ContentCipher, Digest, KeyTransport};
use crate::scep::MessageType;
use crate::x509::{Certificate, VerifiedCsr};

/// What [`Transaction::save`] gives: to be kept as JSON, where nobody else can read it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SavedTransaction {
    version: u32,
    /// Where it was sent to.
    pub url: String,
    /// The transactionID.
    pub transaction_id: String,
    message_type: u32,
    digest: Digest,
    cipher: ContentCipher,
    key_transport: String,
    accept_digests: Vec<Digest>,
    accept_ciphers: Vec<ContentCipher>,
    csr: String,
    signer_certificate: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_certificate: Option<String>,
    ca_certificates: Vec<String>,
    message: String,
    sender_nonce: String,
}

impl Transaction {
    /// What another process needs, but for the private keys. `url` is only remembered.
    pub fn save(&self, url: &str) -> SavedTransaction {
        SavedTransaction {
            version: VERSION,
            url: url.to_owned(),
            transaction_id: self.id.clone(),
            message_type: self.message_type.number(),
            digest: self.protect.digest,
            cipher: self.protect.cipher,
            key_transport: key_transport_name(self.protect.transport),
            accept_digests: self.protect.accept_digests.clone(),
            accept_ciphers: self.protect.accept_ciphers.clone(),
            csr: STANDARD.encode(self.csr.der()),
            signer_certificate: STANDARD.encode(self.identity.certificate.der()),
            reply_certificate: self.identity.reply_certificate().map(|certificate| STANDARD.encode(certificate.der())),
            ca_certificates: self.authority.certificates().iter().map(|ca| STANDARD.encode(ca.der())).collect(),
            message: STANDARD.encode(&self.message.der),
            sender_nonce: hex::encode(&self.message.sender_nonce),
        }
    }
}

impl SavedTransaction {
    /// The transaction again, with its keys: the one to be certified, and the one that signed.
    pub(super) fn resume(
        &self,
        key: &DeviceKey,
        signing_key: &DeviceKey,
        reply_key: Option<&ReplyKey>,
        authority: Authority,
        options: &Options,
    ) -> Result<Transaction, ClientError> {
        let bad = |why: &str| ClientError::BadState(why.to_owned());
        let octets = |text: &str| STANDARD.decode(text).map_err(|error| ClientError::BadState(error.to_string()));
        if self.version != VERSION {
            return Err(bad("it was written by another version of this program"));
        }
        let message_type = MessageType::from_number(self.message_type).ok_or_else(|| bad("unknown messageType"))?;
        let csr = VerifiedCsr::from_der(&zeroize::Zeroizing::new(octets(&self.csr)?))?;
        if csr.spki() != key.signer().spki() {
            return Err(ClientError::CsrOfAnotherKey);
        }
        let certificate = Certificate::from_der(&octets(&self.signer_certificate)?)?;
        let identity = Identity::new(signing_key.clone(), certificate)
            .map_err(|_| bad("the key given is not the one that signed the request"))?;
        let identity = match (&self.reply_certificate, reply_key) {
            (None, _) => identity,
            (Some(_), None) => return Err(bad("the reply is encrypted to a key of its own, which is needed")),
            (Some(certificate), Some(reply_key)) => identity
                .with_reply_certificate(reply_key, Certificate::from_der(&octets(certificate)?)?)
                .map_err(|_| bad("the reply key given is not the one that was named in the request"))?,
        };
        let mut known = Vec::new();
        for ca in &self.ca_certificates {
            known.push(Certificate::from_der(&octets(ca)?)?);
        }
        if options.pins.is_empty() && !authority.continues(&known) {
            return Err(ClientError::AnotherAuthority);
        }
        let protect = Protect {
            digest: self.digest,
            cipher: self.cipher,
            transport: key_transport(&self.key_transport).ok_or_else(|| bad("unknown key transport"))?,
            accept_digests: self.accept_digests.iter().chain(&options.accept_digests).copied().collect(),
            accept_ciphers: self.accept_ciphers.iter().chain(&options.accept_ciphers).copied().collect(),
        };
        let message = Outgoing {
            der: octets(&self.message)?,
            sender_nonce: hex::decode(&self.sender_nonce).map_err(|error| ClientError::BadState(error.to_string()))?,
        };
        Ok(Transaction {
            id: self.transaction_id.clone(),
            message_type,
            csr: Arc::new(csr),
            identity,
            authority: Arc::new(authority),
            protect,
            message: Arc::new(message),
        })
    }
}

/// Leaves the challenge out: it is a secret.
impl std::fmt::Debug for SavedTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SavedTransaction")
            .field("url", &self.url)
            .field("transaction_id", &self.transaction_id)
            .finish_non_exhaustive()
    }
}

/// Names a key transport: `pkcs1`, or `oaep-` and its digest (twice, if that of the mask is another one).
pub fn key_transport_name(transport: KeyTransport) -> String {
    match transport {
        KeyTransport::Pkcs1v15 => "pkcs1".to_owned(),
        KeyTransport::Oaep { digest, mgf1 } if digest == mgf1 => format!("oaep-{digest}"),
        KeyTransport::Oaep { digest, mgf1 } => format!("oaep-{digest}-mgf1-{mgf1}"),
    }
}

/// The key transport with this name.
pub fn key_transport(name: &str) -> Option<KeyTransport> {
    if name == "pkcs1" {
        return Some(KeyTransport::Pkcs1v15);
    }
    let digests = name.strip_prefix("oaep-")?;
    let (digest, mgf1) = digests.split_once("-mgf1-").unwrap_or((digests, digests));
    Some(KeyTransport::Oaep { digest: digest.parse().ok()?, mgf1: mgf1.parse().ok()? })
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_transports_have_names() {
        let mixed = KeyTransport::Oaep { digest: Digest::Sha256, mgf1: Digest::Sha1 };
        let oaep = |digest| KeyTransport::Oaep { digest, mgf1: digest };
        for transport in [KeyTransport::Pkcs1v15, mixed, oaep(Digest::Sha1), oaep(Digest::Sha256)] {
            assert_eq!(key_transport(&key_transport_name(transport)), Some(transport));
        }
        assert_eq!(key_transport("oaep"), None);
        assert_eq!(key_transport("oaep-sha3"), None);
    }
}
