//! `ravelin ca`: the CAs of the embedded upstream.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::connect::{self, Connection};
use super::{Exit, Failed, Global, Outcome, ca_rollover, output, setup};
use crate::admin::views;
use crate::algorithm::KeyAlgorithm;
use crate::config::{Config, UpstreamKind};
use crate::crypto::CryptoPool;
use crate::server::{Folder, Lock, OpenError};
use crate::upstream::UpstreamCa;
use crate::upstream::local::{LocalCa, NewCa};
use crate::x509::{Certificate, DistinguishedName, spki};

/// `ravelin ca`.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// List them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one, with its certificate
    Show {
        /// Its name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make one
    Create(CreateArgs),
    /// Take one to another key or algorithm, step by step
    #[command(subcommand)]
    Rollover(ca_rollover::RolloverCommand),
    /// Short for: rollover prepare
    Next {
        /// Its name
        name: String,
        /// Another kind of key
        #[arg(long, value_name = "KEY")]
        key: Option<KeyAlgorithm>,
        /// Another kind of key for its alternative signatures
        #[arg(long, value_name = "KEY")]
        alternative: Option<KeyAlgorithm>,
        /// How long it is valid
        #[arg(long, value_name = "TIME", default_value = "10y", value_parser = span)]
        validity: Duration,
    },
    /// Short for: rollover switch
    Activate {
        /// Its name
        name: String,
    },
    /// Write the current CRL of one
    Crl {
        /// Its name
        name: String,
        /// The file
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
}

/// `ravelin ca create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name: that of its folder, and what algorithm profiles call it
    #[arg(required_unless_present = "profile", conflicts_with = "profile")]
    pub name: Option<String>,
    /// Make the CAs that this algorithm profile and its fallbacks name, as far as they are not there
    #[arg(long, value_name = "PROFILE", conflicts_with_all = ["subject", "alternative", "crl_url", "no_crl_url", "parent", "path_len"])]
    pub profile: Option<String>,
    /// Its subject, such as O=Example,CN=Example Device CA
    #[arg(long, value_name = "NAME", required_unless_present = "profile")]
    pub subject: Option<String>,
    /// Its key
    #[arg(long, value_name = "KEY", default_value = "ecdsa-p256")]
    pub key: KeyAlgorithm,
    /// The key of its alternative signatures (X.509 section 9.8), such as ml-dsa-65
    #[arg(long, value_name = "KEY")]
    pub alternative: Option<KeyAlgorithm>,
    /// How long it is valid
    #[arg(long, value_name = "TIME", default_value = "10y", value_parser = span)]
    pub validity: Duration,
    /// Where its CRL will be found, with {key} for the name of the key that signs; may be repeated [default: at this server's
    /// public-url]
    #[arg(long, value_name = "URL")]
    pub crl_url: Vec<String>,
    /// Say nothing in certificates about where the CRL is
    #[arg(long, conflicts_with = "crl_url")]
    pub no_crl_url: bool,
    /// The CA of the same upstream that certifies it; it certifies itself if not set
    #[arg(long, value_name = "CA")]
    pub parent: Option<String>,
    /// How many CAs may stand below it
    #[arg(long, value_name = "COUNT")]
    pub path_len: Option<u8>,
}

impl CaCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let config = connect::load(&global.config_path())?;
        match self {
            CaCommand::List { json } => {
                let local = load(&config)?;
                let views: Vec<_> = local.names().iter().map(|name| view(&local, name)).collect();
                if json {
                    output::json(&json!({ "cas": views }));
                    return Ok(Exit::Ok);
                }
                let mut table = output::Table::new(&["NAME", "SUBJECT", "KEY", "ALTERNATIVE", "EXPIRES", "NEXT"]);
                for one in &views {
                    table.row([
                        output::text(one, "name"),
                        output::text(one, "subject"),
                        output::text(one, "key"),
                        output::text(one, "alternative"),
                        output::time(one, "not_after"),
                        output::time(one, "next_not_after"),
                    ]);
                }
                table.print("There are no CAs; make one with: ravelin ca create NAME --subject CN=...");
            }
            CaCommand::Show { name, json } => {
                let local = load(&config)?;
                let certificate = known(&local, &name)?;
                let mut shown = view(&local, &name);
                if json {
                    shown["pem"] = json!(certificate.to_pem());
                    output::json(&shown);
                } else {
                    output::print(&output::object(&shown));
                    output::print(&certificate.to_pem());
                }
            }
            CaCommand::Create(CreateArgs { profile: Some(profile), .. }) => create_for_profile(global, &config, &profile).await?,
            CaCommand::Create(args) => {
                let (upstream, dir) = local_upstream(&config)?;
                let changing = Changing::begin(global, &config).await?;
                let passphrase = Folder::of(&config).passphrase()?;
                // Clap sees to it that they are there without a profile.
                let (name, subject) = (args.name.unwrap_or_default(), args.subject.unwrap_or_default());
                let subject = DistinguishedName::parse(&subject, true)?;
                let mut crl_urls = args.crl_url;
                if crl_urls.is_empty() && !args.no_crl_url {
                    crl_urls.push(setup::crl_url(&config.server.public_url, upstream, &name));
                }
                let new = NewCa {
                    subject,
                    key: args.key,
                    alternative: args.alternative,
                    not_before: Timestamp::now() - SignedDuration::from_hours(1),
                    validity: args.validity,
                    crl_urls,
                    path_len: args.path_len,
                    parent: args.parent,
                };
                LocalCa::create_ca(dir, &passphrase, &name, &new)?;
                output::print(&format!("Made {upstream}/{name}.\n"));
                changing.end().await?;
            }
            CaCommand::Rollover(command) => return command.run(global, &config).await,
            CaCommand::Next { name, key, alternative, validity } => {
                return ca_rollover::prepare(global, &config, &name, key, alternative, validity).await;
            }
            CaCommand::Activate { name } => return ca_rollover::switch(global, &config, &name, &[]).await,
            CaCommand::Crl { name, out } => {
                let (upstream, _) = local_upstream(&config)?;
                let target = format!("/v1/cas/{}/{}/crl", connect::segment(upstream), connect::segment(&name));
                let answer = Connection::open(global).await?.get(&target).await?;
                use base64::Engine;
                let der = base64::prelude::BASE64_STANDARD.decode(output::text(&answer, "der"))?;
                std::fs::write(&out, der).map_err(|error| Failed::new(format!("{}: {error}", out.display())))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// Makes what a profile lacks.
async fn create_for_profile(global: &Global, config: &Config, name: &str) -> Result<(), Failed> {
    let profile = config.profile(name).ok_or_else(|| {
        let known: Vec<_> = config.profiles.iter().map(|profile| profile.name.as_str()).collect();
        Failed::new(format!("there is no profile {name:?}; known are {}", known.join(", ")))
    })?;
    let changing = Changing::begin(global, config).await?;
    let passphrase = Folder::of(config).passphrase()?;
    let missing = setup::missing_cas_of(config, profile);
    for ca in &missing {
        ca.create(&passphrase)?;
        output::print(&format!("Made {ca}.\n"));
    }
    if missing.is_empty() {
        output::print(&format!("All CAs that profile {name} names are there.\n"));
        return Ok(());
    }
    changing.end().await
}

/// A change to key files: no two processes at a time, and a running server takes it up at the end.
pub(super) struct Changing {
    /// On the key files: a server does not hold it.
    keys: Lock,
    lock: Option<Lock>,
    server: Option<Connection>,
}

impl Changing {
    /// Takes the lock on the key files, and that on the data folder or else finds the running server that has it.
    pub(super) async fn begin(global: &Global, config: &Config) -> Result<Self, Failed> {
        let folder = Folder::of(config);
        let keys = folder.lock_keys()?;
        match folder.lock() {
            Ok(lock) => Ok(Self { keys, lock: Some(lock), server: None }),
            Err(OpenError::Locked(_)) => {
                // Asked before anything is changed: who holds the folder must be a server that can load the change.
                let server = Connection::to_server(global).await?;
                server.get("/v1/status").await?;
                Ok(Self { keys, lock: None, server: Some(server) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the running server load what was changed.
    pub(super) async fn end(self) -> Result<(), Failed> {
        let Self { keys, lock, server } = self;
        drop(lock);
        if let Some(server) = server {
            server.post("/v1/reload", &Value::Null).await?;
            output::print("The running server has loaded the change.\n");
        }
        drop(keys);
        Ok(())
    }
}

/// The embedded upstream of a configuration: its name and folder.
pub(super) fn local_upstream(config: &Config) -> Result<(&str, &std::path::Path), Failed> {
    config
        .upstreams
        .iter()
        .find_map(|upstream| match &upstream.kind {
            UpstreamKind::Local { dir } => Some((upstream.name.as_str(), dir.as_path())),
            UpstreamKind::Remote(_) => None,
        })
        .ok_or_else(|| Failed::config("the configuration has no upstream of kind \"local\""))
}

/// Loads the embedded upstream.
pub(super) fn load(config: &Config) -> Result<LocalCa, Failed> {
    let (name, dir) = local_upstream(config)?;
    let passphrase = Folder::of(config).passphrase()?;
    Ok(LocalCa::load(name, dir, &passphrase, CryptoPool::start(1, 8))?)
}

fn known(local: &LocalCa, name: &str) -> Result<Arc<Certificate>, Failed> {
    local.certificate(name).ok_or_else(|| Failed::new(format!("there is no CA {name:?}; known are {}", local.names().join(", "))))
}

fn view(local: &LocalCa, name: &str) -> Value {
    let Some(certificate) = local.certificate(name) else { return Value::Null };
    let next = local.next_certificate(name);
    let settings = local.settings(name);
    json!({
        "name": name,
        "subject": certificate.subject().to_string(),
        "alternative": certificate.alternative_spki().and_then(|spki| spki::key_algorithm(spki).ok()),
        "issuer": certificate.issuer().to_string(),
        "serial": certificate.serial_hex(),
        "key": certificate.key(),
        "signs_with": local.preferred_signature(name),
        "not_before": certificate.not_before(),
        "not_after": certificate.not_after(),
        "fingerprint": hex::encode(certificate.fingerprint()),
        "crl_urls": settings.map(|settings| settings.crl_urls).unwrap_or_default(),
        "next_not_after": next.map(|next| next.not_after()),
        "earlier": local.previous_certificates(name).len(),
    })
}

/// A time span of the command line.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    views::parse_span(text).ok_or_else(|| format!("{text:?} is no time span; write 24h, 90d or 10y"))
}
