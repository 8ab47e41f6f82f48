//! A provisioner of step-ca, from its client's side: who makes tokens, and how.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::upstream::files::read_certificates;
use crate::upstream::jose::{JwsSigner, read_key_file};
use crate::upstream::remote::{CallError, RemoteError};
use crate::upstream::secret::SecretSource;
use crate::upstream::{IdempotencyKey, IssuanceOrder};
use crate::x509::{Certificate, DistinguishedName, KeyUsage, extension};

/// What is configured for a provisioner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionerSettings {
    /// Its name.
    pub name: String,
    /// Its private key (JWK), or that of the certificate (x5c).
    pub key: PathBuf,
    /// What opens the key.
    pub password: Option<SecretSource>,
    /// The `kid` of the key, where it is not its thumbprint and does not stand in the file.
    pub key_id: Option<String>,
    /// PEM: the certificate, then those above it: an x5c provisioner.
    pub certificate: Option<PathBuf>,
    /// What its template is given, a JSON object.
    pub template_data: Map<String, Value>,
}

/// A provisioner.
pub(super) struct Provisioner {
    name: String,
    signer: Arc<JwsSigner>,
    proof: Proof,
    template_data: Map<String, Value>,
    /// Whether step-ca took the last token of ours, as far as that was seen.
    trusted: AtomicBool,
    /// Orders whose token was not taken, though others were.
    refused: Mutex<HashSet<IdempotencyKey>>,
}

/// What says whose key signed.
enum Proof {
    /// The key's name.
    Kid(String),
    /// A certificate, and its chain.
    X5c { header: Vec<String>, leaf: Arc<Certificate> },
}

/// What a token is for.
pub(super) struct TokenRequest<'a> {
    pub(super) authority: &'a str,
    pub(super) path: &'a str,
    pub(super) subject: &'a str,
    /// What makes it a token for one time.
    pub(super) id: &'a str,
    /// More claims.
    pub(super) more: Value,
}

/// How long a token is good, and how much clocks may differ: step-ca itself allows for a minute.
const LIFETIME: i64 = 5 * 60;
const SKEW: i64 = 60;

/// As many orders are remembered at a time.
const REMEMBERED: usize = 10_000;

impl Provisioner {
    /// Reads its key and its certificate. Blocks. `passphrase` opens a key that is encrypted and has no password of its own.
    pub(super) fn open(settings: &ProvisionerSettings, passphrase: &str) -> Result<Self, RemoteError> {
        let bad = |path: &PathBuf, why: String| RemoteError::File { path: path.display().to_string(), why };
        let password = settings.password.as_ref().map(SecretSource::read).transpose()?;
        let password = password.as_ref().map_or(passphrase, |password| password.as_str());
        let key = read_key_file(&settings.key, Some(password).filter(|password| !password.is_empty()))?;
        let (signer, kid) = key.into_jws().map_err(|error| bad(&settings.key, error.to_string()))?;
        let proof = match &settings.certificate {
            None => Proof::Kid(settings.key_id.clone().unwrap_or(kid)),
            Some(path) => {
                let chain = read_certificates(path)?;
                let header = chain.iter().map(|certificate| STANDARD.encode(certificate.der())).collect();
                let leaf = chain.into_iter().next().ok_or_else(|| bad(path, "there is no certificate in it".to_owned()))?;
                if leaf.spki() != signer.spki() {
                    return Err(bad(path, format!("its first certificate is not for the key in {}", settings.key.display())));
                }
                if leaf.key_usage().is_some_and(|usage| !usage.contains(KeyUsage::DIGITAL_SIGNATURE)) {
                    return Err(bad(path, "its first certificate is not for digital signatures".to_owned()));
                }
                Proof::X5c { header, leaf }
            }
        };
        Ok(Self {
            name: settings.name.clone(),
            signer: Arc::new(signer),
            proof,
            template_data: settings.template_data.clone(),
            trusted: AtomicBool::new(true),
            refused: Mutex::default(),
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its type, as step-ca calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self.proof {
            Proof::Kid(_) => "JWK",
            Proof::X5c { .. } => "X5C",
        }
    }

    /// What the key is called, for a JWK provisioner.
    pub(super) fn kid(&self) -> Option<&str> {
        match &self.proof {
            Proof::Kid(kid) => Some(kid),
            Proof::X5c { .. } => None,
        }
    }

    /// Makes a token.
    pub(super) async fn token(&self, request: TokenRequest<'_>) -> Result<String, CallError> {
        let now = Timestamp::now();
        let mut audience = format!("{}{}", request.authority, request.path);
        let header = match &self.proof {
            Proof::Kid(kid) => json!({ "typ": "JWT", "kid": kid }),
            Proof::X5c { header, leaf } => {
                if !(leaf.not_before()..leaf.not_after()).contains(&now) {
                    let why = format!(
                        "the certificate for the provisioner {:?} is valid {} to {}",
                        self.name,
                        leaf.not_before(),
                        leaf.not_after()
                    );
                    return Err(CallError::not_taken(why));
                }
                audience.push_str(&format!("#x5c/{}", self.name));
                json!({ "typ": "JWT", "x5c": header })
            }
        };
        let now = now.as_second();
        let mut claims = json!({
            "iss": self.name,
            "sub": request.subject,
            "aud": audience,
            // Not earlier: step-ca takes no token from before its start.
            "iat": now,
            "nbf": now - SKEW,
            "exp": now + LIFETIME,
            "jti": request.id,
        });
        if let (Some(claims), Value::Object(more)) = (claims.as_object_mut(), request.more) {
            claims.extend(more);
        }
        let signer = Arc::clone(&self.signer);
        // An RSA signature takes a millisecond or more.
        let signed = tokio::task::spawn_blocking(move || signer.sign(header, &claims)).await;
        signed.map_err(|error| CallError::not_taken(error.to_string()))?.map_err(|error| CallError::not_taken(error.to_string()))
    }

    /// How long what is ordered may be valid: no longer than the certificate of an x5c provisioner, as step-ca insists.
    pub(super) fn end_of(&self, order: &IssuanceOrder) -> Timestamp {
        match &self.proof {
            Proof::Kid(_) => order.not_after,
            Proof::X5c { leaf, .. } => order.not_after.min(leaf.not_after()),
        }
    }

    /// What the template of the provisioner is given: what is configured, and what was ordered.
    pub(super) fn template_data(&self, order: &IssuanceOrder, subject: &DistinguishedName) -> Value {
        let usages = order.extended_key_usages.iter().filter_map(|usage| usage.parse().ok());
        let (known, unknown): (Vec<String>, Vec<String>) =
            usages.map(|oid| extension::extended_key_usage_name(&oid)).partition(|name| STEP_USAGES.contains(&name.as_str()));
        let mut data = self.template_data.clone();
        let ordered = json!({
            "group": order.group,
            "profile": order.profile,
            "device": order.device,
            "subject": subject.to_string(),
            "keyUsage": key_usages(order.key_usage),
            "extKeyUsage": known,
            "unknownExtKeyUsage": unknown
                .iter()
                .filter_map(|name| extension::extended_key_usage_oid(name))
                .map(|oid| oid.to_string())
                .collect::<Vec<_>>(),
        });
        data.insert("ravelin".to_owned(), ordered);
        Value::Object(data)
    }

    /// Whether our tokens were taken lately.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    /// Remembers whether a token was taken.
    pub(super) fn note_trust(&self, taken: bool) {
        self.trusted.store(taken, Ordering::Relaxed);
    }

    /// Remembers that the token of this order was not taken; `true` if that was so before.
    pub(super) fn was_refused_before(&self, key: &IdempotencyKey) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= REMEMBERED {
            refused.clear();
        }
        !refused.insert(*key)
    }
}

/// The extended key usages that templates of step-ca have names for, of those that we have names for.
const STEP_USAGES: &[&str] = &["serverAuth", "clientAuth", "codeSigning", "emailProtection", "timeStamping", "OCSPSigning"];

/// Key usages by the names that templates of step-ca know.
fn key_usages(usage: KeyUsage) -> Vec<&'static str> {
    const NAMES: [(KeyUsage, &str); 9] = [
        (KeyUsage::DIGITAL_SIGNATURE, "digitalSignature"),
        (KeyUsage::NON_REPUDIATION, "contentCommitment"),
        (KeyUsage::KEY_ENCIPHERMENT, "keyEncipherment"),
        (KeyUsage::DATA_ENCIPHERMENT, "dataEncipherment"),
        (KeyUsage::KEY_AGREEMENT, "keyAgreement"),
        (KeyUsage::KEY_CERT_SIGN, "certSign"),
        (KeyUsage::CRL_SIGN, "crlSign"),
        (KeyUsage::ENCIPHER_ONLY, "encipherOnly"),
        (KeyUsage::DECIPHER_ONLY, "decipherOnly"),
    ];
    NAMES.iter().filter(|(bit, _)| usage.contains(*bit)).map(|(_, name)| *name).collect()
}
