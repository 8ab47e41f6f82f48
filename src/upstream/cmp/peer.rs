//! One CA as CMP sees it: settings, and what was read out of the files that they name.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::mac::MacKind;
use super::message::body_tag;
use super::protection::Credential;
use super::responders::Responders;
use super::template::{self, Asked};
use crate::upstream::IssuanceOrder;
use crate::upstream::files::{Identity, read_certificates, read_identity};
use crate::upstream::remote::{RemoteCa, RemoteError};
use crate::upstream::secret::SecretSource;
use crate::x509::{Certificate, DistinguishedName, X509Error, spki};

/// What is configured for one CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmpCaSettings {
    /// Where it is at the server: begins with a slash.
    pub path: String,
    /// What is sent to it.
    pub message: RequestKind,
    /// What a request by a template asks for.
    pub asked: Asked,
    /// What our messages are protected with.
    pub credential: CredentialSettings,
    /// Our name, if it is not that of the certificate, or CN with the reference value.
    pub sender: Option<DistinguishedName>,
    /// Which secret or key it is, if not by the identifier of the certificate's key.
    pub reference: Option<String>,
    /// The name of the CA in messages, if it is not that of its certificate.
    pub recipient: Option<DistinguishedName>,
    /// The certificate profile that is asked for.
    pub cert_profile: Option<String>,
    /// PEM: what signers of answers have to be, or to chain to, if not the certificates of the CA.
    pub trust_responses: Option<PathBuf>,
    /// The name of a signer of answers that is taken whatever its usages.
    pub responder: Option<DistinguishedName>,
    /// How far the CA's clock may be from ours.
    pub clock_tolerance: Duration,
    /// What the CA does when it hears of a transaction again.
    pub repeats: Repeats,
    /// Whether errors are believed that nothing protects.
    pub unprotected_errors: bool,
    /// Whether the CA is asked to go without a confirmation.
    pub implicit_confirm: bool,
}

/// What our messages are protected with, before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSettings {
    /// A shared secret.
    Secret(SecretSource, MacKind),
    /// A certificate and its key.
    Signature {
        /// PEM: the certificate, then those above it.
        certificate: PathBuf,
        /// PEM: PKCS#8, plain or encrypted with the passphrase of the data folder.
        key: PathBuf,
    },
}

/// The message that a certificate is asked for with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestKind {
    /// The device's PKCS#10 as it came.
    #[default]
    P10cr,
    /// A template of ours in a certification request.
    Cr,
    /// A template of ours in an initialization request.
    Ir,
}

crate::algorithm::named!(RequestKind, "CMP message", { P10cr => "p10cr", Cr => "cr", Ir => "ir" });

/// What a CA does when it hears of a transaction again whose answer was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// Nobody knows; it might issue twice.
    #[default]
    No,
    /// The same request in the same transaction is answered with the same certificate.
    Request,
    /// A poll in the same transaction is answered.
    Poll,
}

crate::algorithm::named!(Repeats, "way to ask again", { No => "no", Request => "request", Poll => "poll" });

/// One CA.
pub struct Peer {
    pub(super) settings: CmpCaSettings,
    pub(super) credential: Credential,
    pub(super) sender: DistinguishedName,
    pub(super) sender_kid: Vec<u8>,
    trust: Option<Vec<Arc<Certificate>>>,
    /// The certificates that came in protected answers, for a CA that does not tell them when it is asked.
    told: Mutex<Vec<Arc<Certificate>>>,
    belief: Mutex<Belief>,
    /// What it said in the place of its certificates.
    remark: Mutex<Option<String>>,
}

/// Whether the answers of a CA are protected in a way that we can check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Belief {
    /// Nothing has come yet.
    #[default]
    Unknown,
    /// The last one was.
    Good,
    /// The last one was an error without any protection: it says nothing, but that somebody is there.
    Bare,
    /// The last one was not, for this reason: nobody can tell what the CA makes of our messages.
    Bad(String),
}

impl Peer {
    /// Reads certificates, keys and secrets. Blocks.
    pub fn open(settings: &CmpCaSettings, passphrase: &str) -> Result<Self, RemoteError> {
        let reference = settings.reference.as_ref().map(|reference| reference.as_bytes().to_vec());
        let (credential, name, kid) = match &settings.credential {
            CredentialSettings::Secret(source, kind) => {
                let named = settings.reference.as_deref().map(common_name).transpose();
                let named = named.map_err(|error| failed(source, error))?;
                (Credential::Secret { secret: source.read()?, kind: *kind }, named, reference.unwrap_or_default())
            }
            CredentialSettings::Signature { certificate, key } => {
                let (credential, kid) = read_signature(certificate, key, passphrase)?;
                let name = match &credential {
                    Credential::Signature { chain, .. } => Some(chain[0].subject().clone()),
                    Credential::Secret { .. } => None,
                };
                (credential, name, reference.unwrap_or(kid))
            }
        };
        let nobody = || DistinguishedName::from_rdns(Vec::new()).expect("the empty name has an encoding");
        let trust = settings.trust_responses.as_deref().map(read_certificates).transpose()?;
        Ok(Self {
            credential,
            sender: settings.sender.clone().or(name).unwrap_or_else(nobody),
            sender_kid: kid,
            trust,
            told: Mutex::default(),
            belief: Mutex::default(),
            remark: Mutex::default(),
            settings: settings.clone(),
        })
    }

    /// The tag and the content of the request for an order.
    pub(super) fn request(&self, order: &IssuanceOrder) -> Result<(u8, Vec<u8>), X509Error> {
        Ok(match self.settings.message {
            RequestKind::P10cr => (body_tag::P10CR, order.csr.clone()),
            RequestKind::Cr => (body_tag::CR, template::requests(order, self.settings.asked)?),
            RequestKind::Ir => (body_tag::IR, template::requests(order, self.settings.asked)?),
        })
    }

    /// The certReqId of that request.
    pub(super) fn request_id(&self) -> i64 {
        if self.settings.message == RequestKind::P10cr { -1 } else { 0 }
    }

    /// Who may sign answers of this CA.
    pub(super) fn responders(&self, ca: &RemoteCa) -> Responders {
        let anchors = self.trust.clone().unwrap_or_else(|| ca.chain().to_vec());
        Responders { anchors, name: self.settings.responder.clone() }
    }

    /// Remembers what the CA told of itself beside a certificate.
    pub(super) fn remember(&self, told: Vec<Arc<Certificate>>) {
        if !told.is_empty() {
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
    }

    /// Whether its answers can be believed.
    pub(super) fn belief(&self) -> Belief {
        self.belief.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says whether its last answer could be.
    pub(super) fn believe(&self, belief: Belief) {
        *self.belief.lock().unwrap_or_else(PoisonError::into_inner) = belief;
    }

    /// What the CA said when it was asked for its certificates, if that was no answer.
    pub(super) fn remark(&self) -> Option<String> {
        self.remark.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what it said, and gives what it told before.
    pub(super) fn tells_nothing(&self, said: &dyn std::fmt::Display) -> Vec<Arc<Certificate>> {
        self.keep_remark(Some(format!("asked for its certificates (genm caCerts) the CA says: {said}")));
        self.told()
    }

    /// Keeps that, or nothing.
    pub(super) fn keep_remark(&self, remark: Option<String>) {
        *self.remark.lock().unwrap_or_else(PoisonError::into_inner) = remark;
    }

    /// What the CA told of itself.
    pub(super) fn told(&self) -> Vec<Arc<Certificate>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn failed(path: impl std::fmt::Display, why: impl std::fmt::Display) -> RemoteError {
    RemoteError::File { path: path.to_string(), why: why.to_string() }
}

/// `CN=` and the reference value: how a sender with a shared secret is called (RFC 9483 section 3.1).
fn common_name(reference: &str) -> Result<DistinguishedName, X509Error> {
    use crate::x509::name::{Attribute, attribute_oid};
    let oid = attribute_oid("CN").expect("CN is a known attribute");
    DistinguishedName::from_rdns(vec![vec![Attribute { oid, value: reference.to_owned() }]])
}

/// Reads the certificate and the key, and gives the identifier of the key besides.
fn read_signature(certificate: &Path, key: &Path, passphrase: &str) -> Result<(Credential, Vec<u8>), RemoteError> {
    let Identity { chain, signer } = read_identity(certificate, key, passphrase)?;
    let chain: Vec<Certificate> = chain.into_iter().map(Arc::unwrap_or_clone).collect();
    let own = &chain[0];
    let algorithm = *signer.algorithms().first().ok_or_else(|| failed(key.display(), "the key does not sign"))?;
    let identifier = match own.subject_key_identifier() {
        Some(identifier) => identifier,
        None => spki::key_identifier(own.spki()).map_err(|error| failed(certificate.display(), error))?.to_vec(),
    };
    Ok((Credential::Signature { signer, algorithm, chain }, identifier))
}
