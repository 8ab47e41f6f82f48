//! `ravelin ra`: the keys and certificates of the registration authority on the SCEP transport.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::ca::{self, Changing, span};
use super::ra_rollover::RaRolloverCommand;
use super::{Exit, Failed, Global, Outcome, connect, output};
use crate::algorithm::{KeyAlgorithm, MlKem};
use crate::crypto::RaIdentity;
use crate::crypto::ra::RaPhase;
use crate::ra::{self, RaKeys, RaStore, RaSubjects, Severity};
use crate::server::Folder;
use crate::x509::{Certificate, DistinguishedName};

/// `ravelin ra`.
#[derive(Debug, Args)]
pub struct RaArgs {
    /// Which keys and certificates: the name of an [[ra]] in ravelin.toml [default: those that every endpoint has]
    #[arg(long, global = true, value_name = "NAME")]
    pub ra: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: RaCommand,
}

/// What can be done with the RA's keys and certificates.
#[derive(Debug, Subcommand)]
pub enum RaCommand {
    /// Show the certificates in use
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make keys; they wait for certificates, and those in use stay in use until then
    Create(CreateArgs),
    /// Write certification requests for a CA that the fleet already trusts
    Request(RequestArgs),
    /// Install the certificates that such a CA made
    Install(InstallArgs),
    /// Say what would keep devices from enrolling, now or soon
    Check {
        /// How far to look ahead
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = span)]
        soon: Duration,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Renew certificates of an embedded CA: rollover prepare and switch in one
    Renew(RenewArgs),
    /// Take the RA to other keys or certificates, step by step
    #[command(subcommand)]
    Rollover(RaRolloverCommand),
    /// Short for: rollover status
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `ravelin ra create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The size of each RSA key
    #[arg(long, default_value_t = 2048)]
    pub bits: u32,
    /// One key for both uses, for clients that cannot tell two certificates apart
    #[arg(long)]
    pub single: bool,
    /// The key that signs, such as ml-dsa-65; goes with --recipient
    #[arg(long, value_name = "KEY", requires = "recipient", conflicts_with_all = ["bits", "single"])]
    pub signer: Option<KeyAlgorithm>,
    /// The key that requests are encrypted to: ml-kem-512, ml-kem-768 or ml-kem-1024
    #[arg(long, value_name = "KEY", requires_all = ["signer", "ca"], conflicts_with_all = ["bits", "single"])]
    pub recipient: Option<MlKem>,
    /// Have them certified by this embedded CA at once
    #[arg(long, value_name = "CA")]
    pub ca: Option<String>,
    /// The name in the certificates
    #[arg(long, default_value = "Ravelin")]
    pub name: String,
    /// How long the certificates are valid
    #[arg(long, value_name = "TIME", default_value = "3y", value_parser = span)]
    pub validity: Duration,
    /// Throw away keys that wait for certificates
    #[arg(long)]
    pub discard: bool,
}

/// `ravelin ra request`.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// The folder for signer.csr and decrypter.csr
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// The name in the certificates
    #[arg(long, default_value = "Ravelin")]
    pub name: String,
    /// The whole subject of the signing certificate, instead of CN=NAME RA signing
    #[arg(long, value_name = "SUBJECT")]
    pub signer_subject: Option<String>,
    /// The whole subject of the encryption certificate, instead of CN=NAME RA encryption
    #[arg(long, value_name = "SUBJECT")]
    pub decrypter_subject: Option<String>,
}

/// `ravelin ra install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The certificate of the signing key, PEM
    #[arg(long, value_name = "FILE")]
    pub signer: PathBuf,
    /// The certificate of the encryption key, PEM; none if one key does both
    #[arg(long, value_name = "FILE")]
    pub decrypter: Option<PathBuf>,
    /// The CA certificates above, PEM, in any order
    #[arg(long, value_name = "FILE")]
    pub chain: PathBuf,
}

/// `ravelin ra renew`.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// The embedded CA
    #[arg(long, value_name = "CA")]
    pub ca: String,
    /// Keep the keys
    #[arg(long)]
    pub same_keys: bool,
    /// The size of fresh RSA keys; others are made of the same kind again
    #[arg(long, default_value_t = 2048)]
    pub bits: u32,
    /// How long the certificates are valid
    #[arg(long, value_name = "TIME", default_value = "3y", value_parser = span)]
    pub validity: Duration,
}

impl RaArgs {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let config = connect::load(&global.config_path())?;
        let folder = Folder::of(&config);
        let passphrase = folder.passphrase()?;
        let store = match self.ra.as_deref().filter(|name| *name != "default") {
            None => folder.ra(&passphrase),
            Some(name) => {
                let others = folder.other_ras(&passphrase);
                let unknown = format!("there is no [[ra]] of the name {name:?} in {}", global.config_path().display());
                others
                    .into_iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, store)| store)
                    .ok_or_else(|| Failed::config(unknown))?
            }
        };
        let now = Timestamp::now();
        match self.command {
            RaCommand::Show { json } => {
                let shown = view(&store.load()?);
                if json {
                    output::json(&shown);
                } else {
                    for (name, one) in shown.as_object().into_iter().flatten() {
                        output::print(&format!("{name}\n{}", indent(&output::object(one))));
                    }
                }
            }
            RaCommand::Create(args) => {
                let changing = Changing::begin(global, &config).await?;
                if args.discard {
                    store.discard_waiting_keys()?;
                }
                let keys = match (args.signer, args.recipient) {
                    (Some(_), Some(_)) if self.ra.is_none() => {
                        return Err(Failed::new(
                            "every endpoint has these keys unless it names others, and old devices cannot encrypt to ML-KEM: add an [[ra]] \
                             with a name to ravelin.toml, and say --ra NAME",
                        ));
                    }
                    (Some(signer), Some(recipient)) => RaKeys::Encapsulation { signer, recipient },
                    _ if args.single => RaKeys::Single { bits: args.bits },
                    _ => RaKeys::Pair { bits: args.bits },
                };
                store.create_keys(keys)?;
                match args.ca {
                    Some(ca) => {
                        let local = ca::load(&config)?;
                        let subjects = RaSubjects::named(&args.name)?;
                        store.self_made(&local, &ca, &subjects, now - SignedDuration::from_hours(1), args.validity, now)?;
                        output::print("The RA has new keys and certificates.\n");
                        changing.end().await?;
                    }
                    None => output::print("The keys wait for certificates. Next: ravelin ra request, then ravelin ra install\n"),
                }
            }
            RaCommand::Rollover(command) => return command.run(global, &config, &store, self.ra.as_deref()).await,
            RaCommand::Status { json } => {
                return RaRolloverCommand::Status { json }.run(global, &config, &store, self.ra.as_deref()).await;
            }
            RaCommand::Request(args) => request(&store, args)?,
            RaCommand::Install(args) => {
                let changing = Changing::begin(global, &config).await?;
                let signer = certificate(&args.signer)?;
                let decrypter = args.decrypter.as_deref().map(certificate).transpose()?;
                let chain = Certificate::chain_from_pem(&read(&args.chain)?)?;
                let identity = store.install(signer, decrypter, chain, now)?;
                output::print(&format!(
                    "Installed; the signing certificate is valid until {}.\n",
                    identity.signer_certificate.not_after()
                ));
                changing.end().await?;
            }
            RaCommand::Check { soon, json } => return check(&store.load()?, now, soon, json),
            RaCommand::Renew(args) => {
                let changing = Changing::begin(global, &config).await?;
                let local = ca::load(&config)?;
                let fresh = match RaStore::kinds_of(&store.load()?) {
                    _ if args.same_keys => None,
                    kinds @ RaKeys::Encapsulation { .. } => Some(kinds),
                    _ => Some(RaKeys::Pair { bits: args.bits }),
                };
                let begin = now - SignedDuration::from_hours(1);
                let identity = store.renew(&local, &args.ca, fresh, begin, args.validity, now)?;
                output::print(&format!("Renewed; valid until {}.\n", identity.signer_certificate.not_after()));
                changing.end().await?;
            }
        }
        Ok(Exit::Ok)
    }
}

fn request(store: &RaStore, args: RequestArgs) -> Result<(), Failed> {
    let mut subjects = RaSubjects::named(&args.name)?;
    if let Some(subject) = &args.signer_subject {
        subjects.signer = DistinguishedName::parse(subject, true)?;
    }
    if let Some(subject) = &args.decrypter_subject {
        subjects.decrypter = DistinguishedName::parse(subject, true)?;
    }
    let requests = store.requests(&subjects)?;
    std::fs::create_dir_all(&args.out).map_err(|error| Failed::new(format!("{}: {error}", args.out.display())))?;
    let both = [("signer.csr", Some(requests.signer)), ("decrypter.csr", requests.decrypter)];
    for (name, der) in both.into_iter().filter_map(|(name, der)| Some((name, der?))) {
        let path = args.out.join(name);
        std::fs::write(&path, output::pem("CERTIFICATE REQUEST", &der))
            .map_err(|error| Failed::new(format!("{}: {error}", path.display())))?;
        output::print(&format!("Wrote {}\n", path.display()));
    }
    Ok(())
}

fn check(identity: &RaIdentity, now: Timestamp, soon: Duration, as_json: bool) -> Outcome {
    let findings = ra::check(identity, now, soon);
    let word = |severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    if as_json {
        let findings: Vec<_> = findings
            .iter()
            .map(|finding| json!({ "severity": word(finding.severity), "code": finding.code, "message": finding.message }))
            .collect();
        output::json(&json!({ "findings": findings }));
    } else if findings.is_empty() {
        output::print("The RA's certificates are good.\n");
    } else {
        for finding in &findings {
            output::print(&format!("{}[{}]: {}\n", word(finding.severity), finding.code, finding.message));
        }
    }
    let bad = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if bad { Exit::Failure } else { Exit::Ok })
}

fn view(identity: &RaIdentity) -> Value {
    let one = |certificate: &Certificate| {
        json!({
            "subject": certificate.subject().to_string(),
            "issuer": certificate.issuer().to_string(),
            "serial": certificate.serial_hex(),
            "key": certificate.key(),
            "valid_from": certificate.not_before(),
            "valid_until": certificate.not_after(),
            "fingerprint": hex::encode(certificate.fingerprint()),
        })
    };
    let mut shown = json!({ "signer": one(&identity.signer_certificate) });
    for (number, decrypter) in identity.decrypters.iter().enumerate() {
        let name = match identity.phase_of(&decrypter.certificate) {
            RaPhase::Current => "decrypter".to_owned(),
            RaPhase::Next => "next decrypter".to_owned(),
            RaPhase::Earlier => format!("earlier decrypter {number}"),
        };
        shown[name] = one(&decrypter.certificate);
    }
    for (number, certificate) in identity.chain.iter().enumerate() {
        shown[format!("chain {}", number + 1)] = one(certificate);
    }
    shown
}

pub(super) fn read(path: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(path).map_err(|error| Failed::new(format!("{}: {error}", path.display())))
}

pub(super) fn certificate(path: &Path) -> Result<Certificate, Failed> {
    Certificate::from_pem(&read(path)?).map_err(|error| Failed::new(format!("{}: {error}", path.display())))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
