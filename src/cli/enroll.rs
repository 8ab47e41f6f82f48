//! `ravelin enroll`: a SCEP client on the command line.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Exit, Failed, Global, Outcome as CommandOutcome, output};
use crate::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport, MlKem};
use crate::crypto::keystore;
use crate::scep::client::{
    Client, ClientError, CsrSource, DeviceKey, Enrollment, Identity, Method, Options, Outcome, Pin, Polling, ReplyKey, Request,
    SavedTransaction, Transaction,
};
use crate::scep::{MessageType, WireError};
use crate::x509::{Certificate, DistinguishedName, SubjectAltName, extension, pem};

mod report;

use report::Report;

/// `ravelin enroll`.
#[derive(Clone, Debug, Args)]
pub struct EnrollArgs {
    /// The SCEP address, such as https://ra.example.net/scep/routers
    pub url: String,
    /// The challenge password (it stands in the process list: prefer --challenge-file)
    #[arg(long, value_name = "TEXT", conflicts_with = "challenge_file")]
    pub challenge: Option<String>,
    /// A file with the challenge password; - is stdin
    #[arg(long, value_name = "FILE")]
    pub challenge_file: Option<PathBuf>,
    /// The subject, such as CN=router-1,O=Example; that of the old certificate in a renewal
    #[arg(long, value_name = "NAME", required_unless_present_any = ["renew", "get_ca_caps_only", "csr", "state"])]
    pub subject: Option<String>,
    /// A subject alternative name: dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS; may be repeated
    #[arg(long, value_name = "KIND:VALUE", value_parser = alternative_name)]
    pub san: Vec<SubjectAltName>,
    /// An extended key usage to ask for, such as clientAuth or a dotted OID; may be repeated
    #[arg(long, value_name = "USAGE", value_parser = usage)]
    pub usage: Vec<der::oid::ObjectIdentifier>,
    /// A finished certification request, PEM or DER, for the key of --key; the challenge is the one in it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["subject", "san", "usage", "challenge", "challenge_file"])]
    pub csr: Option<PathBuf>,
    /// The key to make: rsa-2048, ecdsa-p256, ml-dsa-65, mldsa65-ecdsa-p256-sha512, slh-dsa-sha2-128s, ...
    #[arg(long, value_name = "KEY", default_value = "rsa-2048")]
    pub key_type: KeyAlgorithm,
    /// The private key, PEM: used if it is there, made and written there if not
    #[arg(long, value_name = "FILE", default_value = "device.key")]
    pub key: PathBuf,
    /// A file with the passphrase of the private key; without it the key is not encrypted
    #[arg(long, value_name = "FILE")]
    pub key_passphrase_file: Option<PathBuf>,
    /// Where the certificate goes, PEM
    #[arg(long, value_name = "FILE", default_value = "device.crt")]
    pub out: PathBuf,
    /// Where the certificates above it go, PEM
    #[arg(long, value_name = "FILE")]
    pub chain_out: Option<PathBuf>,
    /// Sign a first request with a transport key of this kind, such as rsa-2048, for servers that cannot encrypt to --key-type
    #[arg(long, value_name = "KEY", conflicts_with = "renew")]
    pub signer_key_type: Option<KeyAlgorithm>,
    /// The transport key, PEM: used if it is there, made and written there if not [default: signer.key with --signer-key-type]
    #[arg(long, value_name = "FILE", conflicts_with = "renew")]
    pub signer_key: Option<PathBuf>,
    /// Have the reply encrypted to a key of this kind, where the key that signs cannot decrypt: ml-kem-768, rsa-2048, ...
    #[arg(long, value_name = "KEY", value_parser = reply_key_type)]
    pub reply_key_type: Option<KeyAlgorithm>,
    /// The reply key, PEM: used if it is there, made and written there if not [default: reply.key with --reply-key-type]
    #[arg(long, value_name = "FILE")]
    pub reply_key: Option<PathBuf>,
    /// Renew this certificate, PEM; --renew-key is its key, --key the new one
    #[arg(long, value_name = "CERT", requires = "renew_key")]
    pub renew: Option<PathBuf>,
    /// The key of the certificate to renew, PEM
    #[arg(long, value_name = "FILE", requires = "renew")]
    pub renew_key: Option<PathBuf>,
    /// A file with the passphrase of --renew-key
    #[arg(long, value_name = "FILE", requires = "renew_key")]
    pub renew_key_passphrase_file: Option<PathBuf>,
    /// What the request is sent as; by the server's capabilities if not set
    #[arg(long, value_enum)]
    pub message_type: Option<RequestType>,
    /// The transactionID; the SHA-256 of the key in hex if not set
    #[arg(long, value_name = "TEXT")]
    pub transaction_id: Option<String>,
    /// Seconds between polls while the answer is PENDING
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub poll_interval: Duration,
    /// How often to poll at most; 0 does not poll
    #[arg(long, value_name = "COUNT", default_value_t = 60)]
    pub max_poll: u32,
    /// How to poll: with a CertPoll, or by sending the same request again
    #[arg(long, value_enum, default_value_t = PollBy::CertPoll)]
    pub poll_by: PollBy,
    /// Remember a pending request in this file, and ask for its certificate when run with the same file again
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// How PKIOperation is sent; auto goes by the server's capabilities
    #[arg(long, value_enum, default_value_t = HttpMethod::Auto)]
    pub method: HttpMethod,
    /// The digest of signatures: sha-1 to sha-512, md5; by the server's capabilities if not set
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<Digest>,
    /// The content cipher: aes-128-cbc to aes-256-cbc, des-ede3-cbc, des-cbc; by the server's capabilities if not set
    #[arg(long, value_name = "CIPHER")]
    pub cipher: Option<ContentCipher>,
    /// Take this outdated digest or cipher in replies, besides what is sent; may be repeated
    #[arg(long, value_name = "ALGORITHM", value_parser = legacy)]
    pub accept: Vec<Legacy>,
    /// How the content key travels
    #[arg(long, value_enum, default_value_t = Transport::Pkcs1)]
    pub key_transport: Transport,
    /// A file with the CA certificates (PEM) that the certificates of GetCACert must chain to
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The SHA-256, in hex, of a certificate that the certificates of GetCACert must chain to; may be repeated
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    pub ca_fingerprint: Vec<[u8; 32]>,
    /// The name of the CA, for servers that have several
    #[arg(long, value_name = "NAME")]
    pub ca_identifier: Option<String>,
    /// A file with the root certificates (PEM) for HTTPS
    #[arg(long, value_name = "FILE")]
    pub tls_roots: Option<PathBuf>,
    /// Seconds that one exchange with the server may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub timeout: Duration,
    /// Only ask for the capabilities (GetCACaps) and print them
    #[arg(long)]
    pub get_ca_caps_only: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How PKIOperation is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HttpMethod {
    /// In the request target, base64.
    Get,
    /// In the body.
    Post,
    /// POST where the server names it.
    Auto,
}

/// How the content-encryption key travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// RSAES-PKCS1-v1_5.
    Pkcs1,
    /// RSAES-OAEP with SHA-256.
    OaepSha256,
    /// RSAES-OAEP with SHA-1, as old implementations have it.
    OaepSha1,
}

/// What the request is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RequestType {
    /// PKCSReq (19), which many clients send for renewals too.
    PkcsReq,
    /// RenewalReq (17).
    RenewalReq,
}

/// How to poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PollBy {
    /// With a CertPoll.
    CertPoll,
    /// By sending the same octets again, as some devices do.
    Resend,
}

/// An outdated algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legacy {
    /// A digest.
    Digest(Digest),
    /// A content cipher.
    Cipher(ContentCipher),
}

/// What an enrollment brought.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The certificate.
    pub certificate: Certificate,
}

impl EnrollArgs {
    /// Enrolls, and prints what came of it.
    pub async fn run(self, _global: &Global) -> CommandOutcome {
        if self.get_ca_caps_only {
            return self.capabilities().await;
        }
        match self.execute().await {
            Ok(report) => {
                report.print(self.json);
                Ok(report.exit())
            }
            Err(Trouble { code, failed }) if self.json => {
                output::json(&json!({ "status": "error", "code": code, "message": failed.message() }));
                Ok(failed.exit())
            }
            Err(trouble) => Err(trouble.failed),
        }
    }

    /// Enrolls, writes key and certificate to their files, and prints nothing.
    pub async fn perform(&self) -> Result<Enrolled, Failed> {
        let report = self.execute().await.map_err(|trouble| trouble.failed)?;
        match &report.outcome {
            Outcome::Issued(issued) => Ok(Enrolled { certificate: issued.certificate.clone() }),
            _ => Err(Failed::new(report.sentence())),
        }
    }

    async fn capabilities(&self) -> CommandOutcome {
        let capabilities = Client::new(&self.url, self.options()?)?.capabilities().await?;
        if self.json {
            output::json(&json!({ "capabilities": capabilities.keywords() }));
        } else {
            output::print(&capabilities.keywords().iter().map(|word| format!("{word}\n")).collect::<String>());
        }
        Ok(Exit::Ok)
    }

    async fn execute(&self) -> Result<Report, Trouble> {
        let client = Client::new(&self.url, self.options()?)?;
        let renewal_key = match &self.renew_key {
            Some(path) => Some(read_key(path, self.renew_key_passphrase_file.as_deref())?),
            None => None,
        };
        let saved = self.saved()?;
        if saved.is_some() && !self.key.exists() {
            return Err(Failed::new(format!("{}: the key of the saved transaction is not there", self.key.display())).into());
        }
        let (key, made_key) = self.key().await?;
        let transport_key = self.transport_key().await?;
        let reply_key = self.reply_key().await?;
        let (transaction, mut outcome) = match saved {
            Some(saved) => {
                let transaction =
                    client.resume(&saved, &key, renewal_key.as_ref().or(transport_key.as_ref()), reply_key.as_ref()).await?;
                let outcome = self.ask(&client, &transaction).await?;
                (transaction, outcome)
            }
            None => {
                let Enrollment { transaction, outcome } =
                    client.enroll(self.request(key, renewal_key, transport_key, reply_key)?).await?;
                (transaction, outcome)
            }
        };
        if outcome == Outcome::Pending {
            // Before the waiting, which may be interrupted.
            self.save(&transaction)?;
            let resend = self.poll_by == PollBy::Resend;
            outcome = client.wait(&transaction, Polling { interval: self.poll_interval, max: self.max_poll, resend }).await?;
        }
        let report = Report {
            url: self.url.clone(),
            key: self.key.clone(),
            made_key,
            out: self.out.clone(),
            chain_out: self.chain_out.clone(),
            state: self.state.clone(),
            transaction,
            outcome,
        };
        report.write_certificates()?;
        match (&self.state, &report.outcome) {
            (Some(state), Outcome::Issued(_) | Outcome::Failed(_)) if state.exists() => {
                fs::remove_file(state).map_err(|error| at(state, error))?;
            }
            _ => {}
        }
        Ok(report)
    }

    async fn ask(&self, client: &Client, transaction: &Transaction) -> Result<Outcome, ClientError> {
        match self.poll_by {
            PollBy::CertPoll => client.poll(transaction).await,
            PollBy::Resend => client.send(transaction).await,
        }
    }

    fn options(&self) -> Result<Options, Failed> {
        let mut pins: Vec<Pin> = self.ca_fingerprint.iter().copied().map(Pin::Fingerprint).collect();
        if let Some(path) = &self.ca_file {
            pins.extend(certificates(path)?.into_iter().map(|ca| Pin::Certificate(Box::new(ca))));
        }
        let oaep = |digest| KeyTransport::Oaep { digest, mgf1: digest };
        let mut options = Options {
            method: match self.method {
                HttpMethod::Get => Method::Get,
                HttpMethod::Post => Method::Post,
                HttpMethod::Auto => Method::Auto,
            },
            digest: self.digest,
            cipher: self.cipher,
            key_transport: match self.key_transport {
                Transport::Pkcs1 => KeyTransport::Pkcs1v15,
                Transport::OaepSha256 => oaep(Digest::Sha256),
                Transport::OaepSha1 => oaep(Digest::Sha1),
            },
            pins,
            tls_roots: self.tls_roots.as_deref().map(certificates).transpose()?.unwrap_or_default(),
            ca_identifier: self.ca_identifier.clone(),
            timeout: self.timeout,
            ..Options::default()
        };
        for algorithm in &self.accept {
            match *algorithm {
                Legacy::Digest(digest) => options.accept_digests.push(digest),
                Legacy::Cipher(cipher) => options.accept_ciphers.push(cipher),
            }
        }
        Ok(options)
    }

    /// The device's key: read if it is there, else made. Says whether it was made.
    async fn key(&self) -> Result<(DeviceKey, bool), Failed> {
        let passphrase = self.key_passphrase_file.as_deref();
        if self.key.exists() {
            return Ok((read_key(&self.key, passphrase)?, false));
        }
        let algorithm = self.key_type;
        let key = tokio::task::spawn_blocking(move || DeviceKey::generate(algorithm)).await??;
        let pkcs8 = key.signer().export_pkcs8().ok_or_else(|| Failed::new("the new key cannot be exported"))?;
        match passphrase {
            Some(file) => keystore::write_key(&self.key, &pkcs8, &keystore::read_passphrase(file)?)?,
            None => keystore::write_plain_key(&self.key, &pkcs8)?,
        }
        Ok((key, true))
    }

    /// The key that signs in the place of the device's own, if one is asked for.
    async fn transport_key(&self) -> Result<Option<DeviceKey>, Failed> {
        if self.signer_key.is_none() && self.signer_key_type.is_none() {
            return Ok(None);
        }
        let path = self.signer_key.clone().unwrap_or_else(|| PathBuf::from("signer.key"));
        if path.exists() {
            return Ok(Some(read_key(&path, None)?));
        }
        let algorithm = self.signer_key_type.unwrap_or(KeyAlgorithm::Rsa(2048));
        let key = tokio::task::spawn_blocking(move || DeviceKey::generate(algorithm)).await??;
        let pkcs8 = key.signer().export_pkcs8().ok_or_else(|| Failed::new("the new key cannot be exported"))?;
        keystore::write_plain_key(&path, &pkcs8)?;
        Ok(Some(key))
    }

    /// The key that the reply is encrypted to, if one is asked for.
    async fn reply_key(&self) -> Result<Option<ReplyKey>, Failed> {
        if self.reply_key.is_none() && self.reply_key_type.is_none() {
            return Ok(None);
        }
        let path = self.reply_key.clone().unwrap_or_else(|| PathBuf::from("reply.key"));
        if path.exists() {
            let pkcs8 = keystore::read_key(&path, None)?;
            return Ok(Some(ReplyKey::from_pkcs8(&pkcs8).map_err(|error| at(&path, error))?));
        }
        let algorithm = self.reply_key_type.unwrap_or(KeyAlgorithm::MlKem(MlKem::MlKem768));
        let key = tokio::task::spawn_blocking(move || ReplyKey::generate(algorithm)).await??;
        keystore::write_plain_key(&path, key.pkcs8())?;
        Ok(Some(key))
    }

    fn request(
        &self,
        key: DeviceKey,
        renewal_key: Option<DeviceKey>,
        transport_key: Option<DeviceKey>,
        reply_key: Option<ReplyKey>,
    ) -> Result<Request, Failed> {
        let renewal = match (&self.renew, renewal_key) {
            (Some(path), Some(key)) => {
                let certificate = certificates(path)?.swap_remove(0);
                let identity = Identity::new(key, certificate);
                Some(identity.map_err(|_| Failed::new(format!("{}: --renew-key is not its key", path.display())))?)
            }
            _ => None,
        };
        let csr = match &self.csr {
            Some(path) => CsrSource::Der(Zeroizing::new(request_file(path)?)),
            None => {
                let old = renewal.as_ref().map(|renewal| &renewal.certificate);
                let subject = match (&self.subject, old) {
                    (Some(text), _) => DistinguishedName::parse(text, true)?,
                    (None, Some(old)) => old.subject().clone(),
                    (None, None) => return Err(Failed::new("a subject is needed: --subject CN=…")),
                };
                let subject_alt_names = match old {
                    Some(old) if self.san.is_empty() => old.subject_alt_names(),
                    _ => self.san.clone(),
                };
                CsrSource::Template { subject, subject_alt_names, extended_key_usages: self.usage.clone(), key_usage: None }
            }
        };
        Ok(Request {
            key,
            csr,
            challenge: self.challenge()?,
            renewal,
            transport_key,
            reply_key,
            message_type: self.message_type.map(|kind| match kind {
                RequestType::PkcsReq => MessageType::PkcsReq,
                RequestType::RenewalReq => MessageType::RenewalReq,
            }),
            transaction_id: self.transaction_id.clone(),
        })
    }

    fn challenge(&self) -> Result<Option<Zeroizing<String>>, Failed> {
        let text = match (&self.challenge, &self.challenge_file) {
            (Some(challenge), _) => return Ok(Some(Zeroizing::new(challenge.clone()))),
            (None, Some(path)) if path.as_os_str() == "-" => {
                let mut text = Zeroizing::new(String::new());
                std::io::stdin().read_to_string(&mut text)?;
                text
            }
            (None, Some(path)) => Zeroizing::new(fs::read_to_string(path).map_err(|error| at(path, error))?),
            (None, None) => return Ok(None),
        };
        // What editors and echo put at the end belongs to the file, not to the challenge.
        Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
    }

    fn saved(&self) -> Result<Option<SavedTransaction>, Failed> {
        let Some(path) = self.state.as_ref().filter(|path| path.exists()) else { return Ok(None) };
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| at(path, error))?);
        let saved: SavedTransaction = serde_json::from_str(&text).map_err(|error| at(path, error))?;
        if saved.url != self.url {
            return Err(Failed::new(format!("{}: the saved transaction is with {}", path.display(), saved.url)));
        }
        Ok(Some(saved))
    }

    fn save(&self, transaction: &Transaction) -> Result<(), Failed> {
        let Some(path) = &self.state else { return Ok(()) };
        let text = Zeroizing::new(serde_json::to_string_pretty(&transaction.save(&self.url))?);
        // The challenge is in it.
        Ok(keystore::write_secret(path, text.as_bytes())?)
    }
}

/// Why nothing came of it, with the code for programs.
struct Trouble {
    code: &'static str,
    failed: Failed,
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        let code = error.code();
        let hint = match &error {
            ClientError::Reply(WireError::DigestNotAllowed(name) | WireError::CipherNotAllowed(name)) if legacy(name).is_ok() => {
                format!("; if that is good enough, say --accept {name}")
            }
            ClientError::OnlyLegacyDigest(digest) => format!(": --digest {digest}"),
            ClientError::OnlyLegacyCipher(cipher) => format!(": --cipher {cipher}"),
            ClientError::NoTlsRoots => "; say --tls-roots FILE".to_owned(),
            _ => String::new(),
        };
        Self { code, failed: Failed::new(format!("{error}{hint}")) }
    }
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        Self { code: "failed", failed }
    }
}

fn at(path: &Path, error: impl std::fmt::Display) -> Failed {
    Failed::new(format!("{}: {error}", path.display()))
}

fn read_key(path: &Path, passphrase_file: Option<&Path>) -> Result<DeviceKey, Failed> {
    let passphrase = passphrase_file.map(keystore::read_passphrase).transpose()?;
    let pkcs8 = keystore::read_key(path, passphrase.as_ref().map(|text| text.as_str()))?;
    DeviceKey::from_pkcs8(&pkcs8).map_err(|error| at(path, error))
}

/// At least one certificate.
fn certificates(path: &Path) -> Result<Vec<Certificate>, Failed> {
    let text = fs::read_to_string(path).map_err(|error| at(path, error))?;
    let certificates = Certificate::chain_from_pem(&text).map_err(|error| at(path, error))?;
    if certificates.is_empty() {
        return Err(at(path, "no PEM block CERTIFICATE in it"));
    }
    Ok(certificates)
}

/// A CSR in DER, out of PEM or DER.
fn request_file(path: &Path) -> Result<Vec<u8>, Failed> {
    let octets = fs::read(path).map_err(|error| at(path, error))?;
    let Ok(text) = std::str::from_utf8(&octets) else { return Ok(octets) };
    for label in ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"] {
        if let Some(der) = pem::read(text, label).map_err(|error| at(path, error))?.into_iter().next() {
            return Ok(der);
        }
    }
    Err(at(path, "neither DER nor a PEM block CERTIFICATE REQUEST"))
}

/// Keys that something can be encrypted to.
fn reply_key_type(text: &str) -> Result<KeyAlgorithm, String> {
    match (text.parse(), text.parse()) {
        (Ok(set), _) => Ok(KeyAlgorithm::MlKem(set)),
        (_, Ok(rsa @ KeyAlgorithm::Rsa(_))) => Ok(rsa),
        _ => Err(format!("{text:?} is none of ml-kem-512, ml-kem-768, ml-kem-1024, rsa-2048, rsa-3072, rsa-4096")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| format!("{text:?} is not a number of seconds"))
}

fn alternative_name(text: &str) -> Result<SubjectAltName, String> {
    let (kind, value) = text.split_once(':').ok_or("it has to be KIND:VALUE, such as dns:router-1.example.net")?;
    if value.is_empty() {
        return Err("the value is missing".into());
    }
    Ok(match kind.to_ascii_lowercase().as_str() {
        "dns" => SubjectAltName::Dns(value.to_owned()),
        "ip" => SubjectAltName::Ip(value.parse().map_err(|_| format!("{value:?} is not an IP address"))?),
        "uri" => SubjectAltName::Uri(value.to_owned()),
        "email" => SubjectAltName::Email(value.to_owned()),
        other => return Err(format!("unknown kind {other:?}; known are dns, ip, uri, email")),
    })
}

fn usage(text: &str) -> Result<der::oid::ObjectIdentifier, String> {
    extension::extended_key_usage_oid(text).ok_or_else(|| format!("{text:?} is neither a known usage nor an OID"))
}

fn legacy(text: &str) -> Result<Legacy, String> {
    if let Ok(digest) = text.parse() {
        return Ok(Legacy::Digest(digest));
    }
    text.parse().map(Legacy::Cipher).map_err(|_| {
        let known = [Digest::Md5.name(), Digest::Sha1.name(), ContentCipher::DesCbc.name(), ContentCipher::DesEde3Cbc.name()];
        format!("{text:?} is neither a digest nor a cipher; what needs this option is {}", known.join(", "))
    })
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let compact: String = text.chars().filter(|c| *c != ':' && !c.is_whitespace()).collect();
    hex::decode(compact).ok().and_then(|octets| octets.try_into().ok()).ok_or_else(|| "it has to be 64 hex digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_when_they_are_read() {
        assert_eq!(alternative_name("dns:r1.example").unwrap(), SubjectAltName::Dns("r1.example".into()));
        assert_eq!(alternative_name("ip:2001:db8::1").unwrap(), SubjectAltName::Ip("2001:db8::1".parse().unwrap()));
        for bad in ["r1", "dns:", "ip:r1", "x400:a"] {
            assert!(alternative_name(bad).is_err(), "{bad}");
        }
        assert_eq!(legacy("sha-1").unwrap(), Legacy::Digest(Digest::Sha1));
        assert_eq!(legacy("des-cbc").unwrap(), Legacy::Cipher(ContentCipher::DesCbc));
        assert!(legacy("rot13").unwrap_err().contains("des-ede3-cbc"));
        assert_eq!(fingerprint(&"AB:".repeat(32)).unwrap(), [0xab; 32]);
        assert!(fingerprint("abcd").is_err());
        assert!(usage("clientAuth").is_ok() && usage("nonsense").is_err());
    }
}
