//! `ravelin ra rollover`: the RA from one set of keys to the next, in steps that can be taken back until the last.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::ca::{self, Changing, span};
use super::{Exit, Failed, Global, Outcome, output};
use crate::algorithm::{KeyAlgorithm, MlKem};
use crate::config::Config;
use crate::crypto::ra::RaPhase;
use crate::ra::{RaKeys, RaSet, RaStore};
use crate::x509::Certificate;

/// `ravelin ra rollover`.
#[derive(Debug, Subcommand)]
pub enum RaRolloverCommand {
    /// Make the next keys and certificates, and announce them (GetNextCACert); those in use stay in use
    Prepare(PrepareArgs),
    /// Say which sets of keys there are, and what comes next
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put the next certificates into GetCACert; what is encrypted to the ones until now is still answered
    Switch,
    /// Put the certificates of before into GetCACert again
    Undo,
    /// Destroy the next keys before they were put into GetCACert
    Cancel,
    /// Destroy earlier keys: what is encrypted to them is not answered any more
    Retire {
        /// How long after the switch devices may still have the earlier certificates
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = span)]
        after: Duration,
        /// At once, however short ago the switch was
        #[arg(long)]
        force: bool,
    },
}

/// `ravelin ra rollover prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// Have fresh keys certified by this embedded CA
    #[arg(long, value_name = "CA", required_unless_present = "signer_certificate")]
    pub ca: Option<String>,
    /// The size of fresh RSA keys; that of the ones in use if not set
    #[arg(long, conflicts_with = "signer")]
    pub bits: Option<u32>,
    /// Another kind of key that signs; goes with --recipient
    #[arg(long, value_name = "KEY", requires = "recipient")]
    pub signer: Option<KeyAlgorithm>,
    /// Another kind of key that requests are encrypted to: ml-kem-512, ml-kem-768 or ml-kem-1024
    #[arg(long, value_name = "KEY", requires = "signer")]
    pub recipient: Option<MlKem>,
    /// How long the certificates are valid
    #[arg(long, value_name = "TIME", default_value = "3y", value_parser = span)]
    pub validity: Duration,
    /// Instead of --ca: the certificate of a CA outside for the signing key of `ravelin ra create`, PEM
    #[arg(long, value_name = "FILE", requires = "chain", conflicts_with_all = ["ca", "bits", "signer"])]
    pub signer_certificate: Option<PathBuf>,
    /// The one for the encryption key, PEM; none if one key does both
    #[arg(long, value_name = "FILE", requires = "signer_certificate")]
    pub decrypter_certificate: Option<PathBuf>,
    /// The CA certificates above, PEM, in any order
    #[arg(long, value_name = "FILE", requires = "signer_certificate")]
    pub chain: Option<PathBuf>,
}

impl RaRolloverCommand {
    /// Runs it on the keys in `store`; `ra` is the name of an `[[ra]]`.
    pub async fn run(self, global: &Global, config: &Config, store: &RaStore, ra: Option<&str>) -> Outcome {
        let now = Timestamp::now();
        let command = ra.map_or_else(|| "ravelin ra".to_owned(), |ra| format!("ravelin ra --ra {ra}"));
        match self {
            RaRolloverCommand::Status { json } => return status(store, &command, now, json),
            RaRolloverCommand::Prepare(args) => {
                let changing = Changing::begin(global, config).await?;
                let prepared = match (&args.signer_certificate, &args.chain) {
                    (Some(signer), Some(chain)) => {
                        let decrypter = args.decrypter_certificate.as_deref().map(super::ra::certificate).transpose()?;
                        let chain = Certificate::chain_from_pem(&super::ra::read(chain)?)?;
                        store.prepare(super::ra::certificate(signer)?, decrypter, chain, now)?
                    }
                    _ => {
                        let keys = keys(&args, RaStore::kinds_of(&store.load()?), ra)?;
                        let local = ca::load(config)?;
                        let begin = now - SignedDuration::from_hours(1);
                        store.prepare_by(&local, &args.ca.unwrap_or_default(), keys, begin, args.validity, now)?
                    }
                };
                let next = prepared.rollover.next.as_ref().ok_or_else(|| Failed::new("nothing was prepared"))?;
                output::print(&format!(
                    "The next certificates are ready, valid until {}. What is encrypted to them is answered already.\nDevices that ask learn of \
                     them (GetNextCACert) where an embedded CA is above the RA. Once they know them: {command} rollover switch\n",
                    next.signer.not_after().min(next.decrypter.not_after())
                ));
                changing.end().await?;
            }
            RaRolloverCommand::Switch => {
                let changing = Changing::begin(global, config).await?;
                let identity = store.switch(now)?;
                output::print(&format!(
                    "GetCACert brings the new certificates, valid until {}. What is encrypted to the ones before is still answered.\n",
                    identity.signer_certificate.not_after()
                ));
                changing.end().await?;
                output::print(&format!("Back with: {command} rollover undo\n"));
            }
            RaRolloverCommand::Undo => {
                let changing = Changing::begin(global, config).await?;
                let identity = store.undo(now)?;
                output::print(&format!(
                    "GetCACert brings the earlier certificates again, valid until {}.\n",
                    identity.signer_certificate.not_after()
                ));
                changing.end().await?;
            }
            RaRolloverCommand::Cancel => {
                let changing = Changing::begin(global, config).await?;
                store.cancel()?;
                output::print("The next keys are destroyed; all is as it was before.\n");
                changing.end().await?;
            }
            RaRolloverCommand::Retire { after, force } => {
                let changing = Changing::begin(global, config).await?;
                let earlier: Vec<_> = store.sets()?.into_iter().filter(|set| set.phase == RaPhase::Earlier).collect();
                let until = if force { None } else { Some(now - SignedDuration::try_from(after)?) };
                let count = store.retire(until)?;
                let left = earlier.len() - count;
                if count == 0 {
                    let latest = earlier.iter().filter_map(|set| set.replaced).min();
                    return Err(match latest {
                        None => Failed::new("there are no earlier keys to retire"),
                        Some(at) => Failed::new(format!(
                            "the earlier keys were replaced {}, and devices may still have those certificates: the metric ravelin_ra_requests_total \
                             tells whether messages to them come. To destroy them sooner: --after TIME, or --force",
                            at.strftime("%Y-%m-%d %H:%M:%SZ")
                        )),
                    });
                }
                output::print(&format!(
                    "{count} sets of earlier keys are destroyed; {left} are left. Backups may still hold them.\n"
                ));
                changing.end().await?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// Which keys to make: of the same kinds, unless it is said otherwise.
fn keys(args: &PrepareArgs, now: RaKeys, ra: Option<&str>) -> Result<RaKeys, Failed> {
    Ok(match (args.signer, args.recipient, args.bits, now) {
        (Some(_), Some(_), ..) if ra.is_none() => {
            return Err(Failed::new(
                "every endpoint has these keys unless it names others, and old devices cannot encrypt to ML-KEM",
            ));
        }
        (Some(signer), Some(recipient), ..) => RaKeys::Encapsulation { signer, recipient },
        (_, _, Some(bits), RaKeys::Single { .. }) => RaKeys::Single { bits },
        (_, _, Some(bits), _) => RaKeys::Pair { bits },
        (_, _, None, now) => now,
    })
}

fn status(store: &RaStore, command: &str, now: Timestamp, as_json: bool) -> Outcome {
    let sets = store.sets()?;
    let has = |phase| sets.iter().any(|set| set.phase == phase);
    let next_step = match (has(RaPhase::Next), has(RaPhase::Earlier)) {
        (true, _) => Some(format!(
            "announced; once devices know the next certificates: {command} rollover switch (or: {command} rollover cancel)"
        )),
        (false, true) => Some(format!(
            "overlap; once no messages come to the earlier keys any more: {command} rollover retire (or back: {command} rollover undo)"
        )),
        (false, false) => None,
    };
    let shown: Vec<Value> = sets.iter().map(|set| view(set, now)).collect();
    if as_json {
        output::json(&json!({ "sets": shown, "next_step": next_step }));
        return Ok(Exit::Ok);
    }
    let mut table = output::Table::new(&["PHASE", "SIGNS", "EXPIRES", "DECRYPTS", "EXPIRES", "SERIAL", "REPLACED"]);
    for one in &shown {
        table.row([
            output::text(one, "phase"),
            output::text(&one["signer"], "key"),
            output::time(&one["signer"], "not_after"),
            output::text(&one["decrypter"], "key"),
            output::time(&one["decrypter"], "not_after"),
            output::text(&one["decrypter"], "serial"),
            output::time(one, "replaced"),
        ]);
    }
    table.print("There are no RA keys.");
    if let Some(next) = next_step {
        output::print(&format!("{next}\n"));
    }
    Ok(Exit::Ok)
}

fn view(set: &RaSet, now: Timestamp) -> Value {
    let one = |certificate: &Certificate| {
        json!({
            "subject": certificate.subject().to_string(),
            "issuer": certificate.issuer().to_string(),
            "serial": certificate.serial_hex(),
            "key": certificate.key(),
            "not_after": certificate.not_after(),
            "days_left": certificate.not_after().duration_since(now).as_hours() / 24,
        })
    };
    json!({
        "phase": set.phase.name(),
        "numbers": set.numbers,
        "signer": set.signer.as_deref().map(one),
        "decrypter": one(&set.decrypter),
        "replaced": set.replaced,
    })
}
