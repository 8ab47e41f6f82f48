//! Keys, certificates and messages for the tests of this room.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::attributes::{Attributes, MessageType};
use super::pki_message::MessageTemplate;
use crate::algorithm::{Digest, KeyAlgorithm};
use crate::crypto::ra::RaDecrypter;
use crate::crypto::{Signer, provider};
use crate::x509::{Certificate, DistinguishedName, builder};

/// A key with a certificate of its own.
pub(crate) struct Identity {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) certificate: Arc<Certificate>,
}

impl Identity {
    pub(crate) fn new(name: &str, key: KeyAlgorithm) -> Self {
        let signer = provider().keys.generate(key).unwrap();
        let subject = DistinguishedName::parse(name, true).unwrap();
        let digest = if key.is_post_quantum() { Digest::Sha512 } else { Digest::Sha256 };
        let der = builder::self_signed(&subject, &*signer, digest, Timestamp::now()).unwrap();
        Self { signer, certificate: Arc::new(Certificate::from_der(&der).unwrap()) }
    }

    pub(crate) fn decrypter(&self) -> RaDecrypter {
        let key = provider().keys.decrypter(&self.signer.export_pkcs8().unwrap()).unwrap();
        RaDecrypter { key: key.into(), certificate: Arc::clone(&self.certificate) }
    }
}

/// The RA; made once, because RSA keys take their time.
pub(crate) fn ra() -> &'static Identity {
    static RA: OnceLock<Identity> = OnceLock::new();
    RA.get_or_init(|| Identity::new("CN=RA", KeyAlgorithm::Rsa(2048)))
}

/// A device with an RSA key.
pub(crate) fn device() -> &'static Identity {
    static DEVICE: OnceLock<Identity> = OnceLock::new();
    DEVICE.get_or_init(|| Identity::new("CN=router-1,O=Example", KeyAlgorithm::Rsa(2048)))
}

/// A device with an EC key.
pub(crate) fn ec_device() -> &'static Identity {
    static DEVICE: OnceLock<Identity> = OnceLock::new();
    DEVICE.get_or_init(|| Identity::new("CN=sensor-1", KeyAlgorithm::EcdsaP256))
}

/// What clients put under the signature.
pub(crate) fn request_attributes(kind: MessageType) -> Attributes {
    Attributes {
        transaction_id: Some("4FF2".into()),
        message_type: Some(kind.number()),
        sender_nonce: Some(vec![0xa5; 16]),
        ..Attributes::default()
    }
}

/// Signs what a client would send.
pub(crate) fn message(by: &Identity, content: &[u8], attributes: &Attributes, digest: Digest) -> Vec<u8> {
    MessageTemplate {
        content,
        attributes,
        digest,
        signer: &*by.signer,
        signer_certificate: &by.certificate,
        certificates: &[by.certificate.der()],
    }
    .sign()
    .unwrap()
}
