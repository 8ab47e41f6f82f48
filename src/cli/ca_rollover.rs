//! `ravelin ca rollover`: one CA of the embedded upstream from one key to the next, in steps that can be taken back until the last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::{Value, json};
use toml_edit::DocumentMut;

use super::ca::{self, Changing, local_upstream, span};
use super::connect::{Connection, segment};
use super::{Exit, Failed, Global, Outcome, output, policy_file, setup};
use crate::algorithm::{AlgorithmProfile, Family, Form, KeyAlgorithm, SignatureAlgorithm};
use crate::config::{self, Config, Overrides, UpstreamKind, shipped};
use crate::crypto::CryptoPool;
use crate::server::{Folder, instance};
use crate::snapshot::Snapshot;
use crate::upstream::UpstreamCa;
use crate::upstream::local::{Generation, LocalCa, NextCa, Phase};
use crate::upstream::remote;
use crate::x509::{Certificate, spki};

/// `ravelin ca rollover`.
#[derive(Debug, Subcommand)]
pub enum RolloverCommand {
    /// Make the next key and certificate: devices that ask (GetNextCACert) learn of it from now on
    Prepare {
        /// The CA
        name: String,
        /// Another kind of key
        #[arg(long, value_name = "KEY")]
        key: Option<KeyAlgorithm>,
        /// Another kind of key for its alternative signatures
        #[arg(long, value_name = "KEY")]
        alternative: Option<KeyAlgorithm>,
        /// How long the certificate is valid
        #[arg(long, value_name = "TIME", default_value = "10y", value_parser = span)]
        validity: Duration,
    },
    /// Say which keys there are, what depends on each, and what comes next
    Status {
        /// The CA; all of them if none is named
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Sign with the next key from the next request on
    Switch {
        /// The CA
        name: String,
        /// Let this algorithm profile promise what the next key signs, by the same step; may be repeated
        #[arg(long, value_name = "PROFILE")]
        profile: Vec<String>,
    },
    /// Sign with the key before again; profiles that were changed have to be named
    Undo {
        /// The CA
        name: String,
        /// Let this algorithm profile promise what that key signs, by the same step; may be repeated
        #[arg(long, value_name = "PROFILE")]
        profile: Vec<String>,
    },
    /// Destroy the next key before it was used
    Cancel {
        /// The CA
        name: String,
    },
    /// Destroy an earlier key: there is no way back from this one
    Retire {
        /// The CA
        name: String,
        /// The name of the key, if there are several
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        /// Even if something depends on it
        #[arg(long)]
        force: bool,
    },
}

impl RolloverCommand {
    /// Runs it.
    pub async fn run(self, global: &Global, config: &Config) -> Outcome {
        match self {
            RolloverCommand::Prepare { name, key, alternative, validity } => {
                prepare(global, config, &name, key, alternative, validity).await
            }
            RolloverCommand::Status { name, json } => status(global, config, name.as_deref(), json).await,
            RolloverCommand::Switch { name, profile } => switch(global, config, &name, &profile).await,
            RolloverCommand::Undo { name, profile } => undo(global, config, &name, &profile).await,
            RolloverCommand::Cancel { name } => {
                let changing = Changing::begin(global, config).await?;
                ca::load(config)?.cancel_next(&name)?;
                output::print(&format!("The next key of {name} is destroyed; all is as it was before.\n"));
                changing.end().await?;
                Ok(Exit::Ok)
            }
            RolloverCommand::Retire { name, key, force } => retire(global, config, &name, key, force).await,
        }
    }
}

/// `ravelin ca rollover prepare`.
pub(super) async fn prepare(
    global: &Global,
    config: &Config,
    name: &str,
    key: Option<KeyAlgorithm>,
    alternative: Option<KeyAlgorithm>,
    validity: Duration,
) -> Outcome {
    let changing = Changing::begin(global, config).await?;
    let local = ca::load(config)?;
    let next = local.prepare_next(name, &NextCa { key, alternative, not_before: Timestamp::now(), validity })?;
    output::print(&format!(
        "The next certificate of {name} is ready: {}, valid until {}.\nDevices that ask learn of it (GetNextCACert). Once they know it: ravelin ca rollover switch {name}\n",
        kinds(&next),
        next.not_after()
    ));
    for unfit in unfit_profiles(config, &local, name)? {
        output::print(&format!(
            "Profile {} promises {} and has to change with the switch: --profile {}\n",
            unfit.0, unfit.1, unfit.0
        ));
    }
    changing.end().await?;
    Ok(Exit::Ok)
}

/// `ravelin ca rollover switch`.
pub(super) async fn switch(global: &Global, config: &Config, name: &str, profiles: &[String]) -> Outcome {
    let changing = Changing::begin(global, config).await?;
    let local = ca::load(config)?;
    let edits = checked(config, &local, name, profiles, "switch")?;
    let now = local.activate_next(name)?;
    write_all(&edits, || local.undo_activation(name).map(drop))?;
    output::print(&format!("{name} signs with its new key now: {}, valid until {}.\n", kinds(&now), now.not_after()));
    tell(&edits);
    changing.end().await?;
    output::print(&format!("Back with: ravelin ca rollover undo {name}\n"));
    Ok(Exit::Ok)
}

/// `ravelin ca rollover undo`.
async fn undo(global: &Global, config: &Config, name: &str, profiles: &[String]) -> Outcome {
    let changing = Changing::begin(global, config).await?;
    let local = ca::load(config)?;
    local.prepare_earlier(name)?;
    let edits = checked(config, &local, name, profiles, "undo").inspect_err(|_| drop(local.cancel_next(name)))?;
    let now = local.activate_next(name)?;
    write_all(&edits, || local.undo_activation(name).map(drop))?;
    output::print(&format!("{name} signs with its earlier key again: {}, valid until {}.\n", kinds(&now), now.not_after()));
    tell(&edits);
    changing.end().await?;
    Ok(Exit::Ok)
}

/// A profile file to change with a step.
struct Edit {
    path: PathBuf,
    /// `None` if there is no file of that name: the shipped profile counts.
    before: Option<String>,
    after: String,
    what: String,
}

/// Checks the whole configuration as it will be once the CA signs with its next key and these profiles are changed; nothing is
/// changed yet.
fn checked(config: &Config, local: &LocalCa, name: &str, profiles: &[String], step: &str) -> Result<Vec<Edit>, Failed> {
    let then = local.as_if_activated(name)?;
    let certificate = then.certificate(name).ok_or_else(|| Failed::new(format!("there is no CA {name:?}")))?;
    let mut edits = Vec::new();
    for profile in profiles {
        edits.push(edit(config, local.name(), name, profile, &certificate)?);
    }
    let texts: BTreeMap<PathBuf, String> = edits.iter().map(|edit| (edit.path.clone(), edit.after.clone())).collect();
    let would = config::load_with(&config.path, &Overrides::from_environment(), &texts)
        .map_err(|found| Failed::config(instance::report(&found)))?;
    let passphrase = Folder::of(config).passphrase()?;
    let mut upstreams: Vec<Arc<dyn UpstreamCa>> = Vec::new();
    for other in config.upstreams.iter().filter(|upstream| upstream.name != local.name()) {
        upstreams.push(match &other.kind {
            UpstreamKind::Local { dir } => Arc::new(LocalCa::load(&other.name, dir, &passphrase, CryptoPool::start(1, 8))?),
            UpstreamKind::Remote(remote) => Arc::new(remote::open(remote, &passphrase)?),
        });
    }
    upstreams.push(Arc::new(then));
    let findings = Snapshot::check(&would, &upstreams, Timestamp::now());
    let unfit: Vec<String> = unfit_profiles(config, local, name)?
        .into_iter()
        .map(|(unfit, _)| unfit)
        .filter(|unfit| !profiles.contains(unfit))
        .collect();
    if !findings.has_errors() && unfit.is_empty() {
        return Ok(edits);
    }
    let mut help = String::new();
    if !unfit.is_empty() {
        let options: String = unfit.iter().map(|unfit| format!(" --profile {unfit}")).collect();
        help = format!(
            "\nThe next key of {name} ({}) signs otherwise than these profiles promise. Put their groups on other profiles first, or change \
             the profiles with the same step: ravelin ca rollover {step} {name}{options}",
            kinds(&certificate)
        );
    }
    let report = if findings.has_errors() { instance::report(&findings) } else { String::new() };
    Err(Failed::config(format!("{report}{help}\nNothing was changed.")))
}

/// The profiles in use that this CA could not sign for with its next key, and what they promise.
fn unfit_profiles(config: &Config, local: &LocalCa, name: &str) -> Result<Vec<(String, String)>, Failed> {
    let then = local.as_if_activated(name)?;
    let (Some(able), Some(certificate)) = (then.capabilities(name), then.certificate(name)) else { return Ok(Vec::new()) };
    // Its key may be able to sign with the digest of another curve: nobody asked for that.
    let signs = |signature: SignatureAlgorithm| {
        able.signatures.contains(&signature) && certificate.key().is_some_and(|key| setup::can_sign(key, signature))
    };
    let mut unfit = BTreeSet::new();
    for profile in config.profiles.iter().filter(|profile| config::in_use(config, profile)) {
        let from_here = |issuer: &crate::algorithm::IssuerRef| issuer.upstream == local.name() && issuer.ca == name;
        if profile.primary_issuers().any(from_here) {
            let catalyst = profile.alternative.filter(|_| profile.form == Form::Catalyst);
            if !signs(profile.signature) || catalyst.is_some_and(|one| !able.alternatives.contains(&one)) {
                unfit.insert((profile.name.clone(), promised(profile)));
            }
        }
        if let Some((signature, issuer)) = profile.sibling()
            && from_here(issuer)
            && !signs(signature)
        {
            unfit.insert((profile.name.clone(), promised(profile)));
        }
    }
    Ok(unfit.into_iter().collect())
}

fn promised(profile: &AlgorithmProfile) -> String {
    match profile.alternative {
        Some(alternative) => format!("{} and {alternative}", profile.signature),
        None => profile.signature.to_string(),
    }
}

/// What a profile file has to say for a CA with this certificate.
fn edit(config: &Config, upstream: &str, ca: &str, name: &str, certificate: &Certificate) -> Result<Edit, Failed> {
    let profile = config.profile(name).ok_or_else(|| Failed::new(format!("there is no profile {name:?}")))?;
    let folder = config.path.parent().map(|parent| parent.join("algorithms")).unwrap_or_default();
    let path = folder.join(format!("{name}.toml"));
    let shipped = shipped::PROFILES.iter().find(|shipped| shipped.name == name).map(|shipped| shipped.text);
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failed::new(format!("{}: {error}", path.display()))),
    };
    let text = before.as_deref().or(shipped).ok_or_else(|| Failed::new(format!("there is no file {}", path.display())))?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| Failed::config(error.to_string()))?;
    let key = certificate.key().ok_or_else(|| Failed::new("the next certificate has a key that we do not know"))?;
    let is = |issuer: &crate::algorithm::IssuerRef| issuer.upstream == upstream && issuer.ca == ca;
    let mut what = Vec::new();
    let mut set = |entry: &str, value: &str| {
        if document.get(entry).and_then(|item| item.as_str()) != Some(value) {
            policy_file::set_value(&mut document, entry, value);
            what.push(format!("{entry} = {value:?}"));
        }
    };
    if is(&profile.issuer) {
        let signature = signature_by(key, profile.signature)
            .ok_or_else(|| Failed::new(format!("no profile can promise what a key {key} signs")))?;
        set("signature", signature.name());
        let alternative = certificate.alternative_spki().and_then(|spki| spki::key_algorithm(spki).ok());
        let alternative = alternative.and_then(KeyAlgorithm::only_signature);
        let form = match (profile.form, alternative) {
            (Form::Paired, _) => Form::Paired,
            (Form::Catalyst, Some(_)) => Form::Catalyst,
            _ if signature.family() == Family::Composite => Form::Composite,
            _ => Form::Single,
        };
        if form != profile.form {
            set("form", &form.to_string());
        }
        if let (Form::Catalyst, Some(alternative)) = (form, alternative) {
            set("alternative", alternative.name());
        }
        for (entry, obsolete) in [("digest", true), ("alternative", form != Form::Catalyst && form != Form::Paired)] {
            if obsolete && document.remove(entry).is_some() {
                what.push(format!("no {entry}"));
            }
        }
    } else if let Some((signature, _)) = profile.sibling().filter(|(_, issuer)| is(issuer)) {
        let signature =
            signature_by(key, signature).ok_or_else(|| Failed::new(format!("no profile can promise what a key {key} signs")))?;
        set("alternative", signature.name());
    } else {
        return Err(Failed::new(format!("profile {name} has another issuer than {upstream}/{ca}")));
    }
    let what = format!("Profile {name} says {} now ({}).", what.join(", "), path.display());
    Ok(Edit { path, before, after: document.to_string(), what })
}

/// What a CA with this key signs with: as until now, if it can.
fn signature_by(key: KeyAlgorithm, now: SignatureAlgorithm) -> Option<SignatureAlgorithm> {
    let fits = |signature: &SignatureAlgorithm| setup::can_sign(key, *signature);
    let rest =
        SignatureAlgorithm::ALL.iter().copied().filter(|signature| !signature.digest().is_some_and(|digest| digest.is_legacy()));
    key.only_signature().or_else(|| std::iter::once(now).chain(rest).find(fits))
}

/// Writes the profiles; if that fails, what was written is put back, and `back` takes the step back.
fn write_all(edits: &[Edit], back: impl FnOnce() -> Result<(), crate::upstream::local::LocalCaError>) -> Result<(), Failed> {
    for (done, edit) in edits.iter().enumerate() {
        let Err(error) = policy_file::replace(&edit.path, &edit.after) else { continue };
        for written in &edits[..done] {
            match &written.before {
                Some(text) => policy_file::replace(&written.path, text)?,
                None => std::fs::remove_file(&written.path)
                    .map_err(|error| Failed::new(format!("{}: {error}", written.path.display())))?,
            }
        }
        back()?;
        return Err(error);
    }
    Ok(())
}

fn tell(edits: &[Edit]) {
    for edit in edits {
        output::print(&format!("{}\n", edit.what));
    }
}

/// The kinds of the keys in a CA certificate.
fn kinds(certificate: &Certificate) -> String {
    let key = certificate.key().map_or_else(|| "a key of an unknown kind".to_owned(), |key| key.to_string());
    match certificate.alternative_spki().and_then(|spki| spki::key_algorithm(spki).ok()) {
        Some(alternative) => format!("{key} and {alternative}"),
        None => key,
    }
}

/// What depends on each key of a CA.
async fn dependants(connection: &Connection, upstream: &str, name: &str) -> Result<Value, Failed> {
    let target = format!("/v1/cas/{}/{}/dependants", segment(upstream), segment(name));
    Ok(connection.get(&target).await?["keys"].take())
}

/// `ravelin ca rollover status`.
async fn status(global: &Global, config: &Config, name: Option<&str>, as_json: bool) -> Outcome {
    let local = ca::load(config)?;
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => local.names(),
    };
    let connection = Connection::open(global).await?;
    let mut shown = Vec::new();
    for name in &names {
        let generations = local.all_generations(name)?;
        let counted = dependants(&connection, local.name(), name).await?;
        let rows: Vec<Value> = generations.iter().map(|generation| view(generation, &counted)).collect();
        shown.push(json!({ "name": name, "generations": rows, "next_step": next_step(name, &generations) }));
    }
    if as_json {
        output::json(&json!({ "cas": shown }));
        return Ok(Exit::Ok);
    }
    let mut table = output::Table::new(&["CA", "PHASE", "KEY", "KIND", "EXPIRES", "CERTIFICATES", "UNTIL", "OPEN ORDERS"]);
    for one in &shown {
        for row in one["generations"].as_array().into_iter().flatten() {
            table.row([
                output::text(one, "name"),
                output::text(row, "phase"),
                output::text(row, "key"),
                output::text(row, "kind"),
                output::time(row, "not_after"),
                output::text(row, "certificates"),
                output::time(row, "until"),
                output::text(row, "orders"),
            ]);
        }
    }
    table.print("There are no CAs.");
    for one in shown.iter().filter(|one| one["next_step"].is_string()) {
        output::print(&format!("{}: {}\n", output::text(one, "name"), output::text(one, "next_step")));
    }
    Ok(Exit::Ok)
}

fn view(generation: &Generation, counted: &Value) -> Value {
    let of = &counted[&generation.key];
    json!({
        "phase": generation.phase.name(),
        "key": generation.key,
        "kind": kinds(&generation.certificate),
        "not_before": generation.certificate.not_before(),
        "not_after": generation.certificate.not_after(),
        "fingerprint": hex::encode(generation.certificate.fingerprint()),
        "certificates": of["certificates"],
        "until": of["until"],
        "orders": of["orders"],
    })
}

fn next_step(name: &str, generations: &[Generation]) -> Option<String> {
    let has = |phase| generations.iter().any(|generation| generation.phase == phase);
    match (has(Phase::Next), has(Phase::Earlier)) {
        (true, _) => Some(format!(
            "announced; once devices know the next certificate: ravelin ca rollover switch {name} (or: ravelin ca rollover cancel {name})"
        )),
        (false, true) => Some(format!(
            "overlap; once nothing depends on the earlier key: ravelin ca rollover retire {name} (or back: ravelin ca rollover undo {name})"
        )),
        (false, false) => None,
    }
}

/// `ravelin ca rollover retire`.
async fn retire(global: &Global, config: &Config, name: &str, key: Option<String>, force: bool) -> Outcome {
    let local = ca::load(config)?;
    let earlier: Vec<_> =
        local.all_generations(name)?.into_iter().filter(|generation| generation.phase == Phase::Earlier).collect();
    let generation = match (&key, earlier.as_slice()) {
        (Some(key), all) => all.iter().find(|generation| generation.key == *key),
        (None, []) => None,
        // The oldest: they go in the order in which they came.
        (None, all) => all.last(),
    };
    let Some(generation) = generation else {
        let known: Vec<_> = earlier.iter().map(|generation| generation.key.as_str()).collect();
        return Err(match known.is_empty() {
            true => Failed::new(format!("{name} has no earlier key to retire")),
            false => Failed::new(format!("{name} has no such earlier key; there are: {}", known.join(", "))),
        });
    };
    let needs = what_needs(global, config, &local, name, generation).await?;
    if !needs.is_empty() && !force {
        return Err(Failed::new(format!(
            "the key {} of {name} is still needed:\n{}\nWithout it there are no CRLs for what it signed, so that nobody learns of \
             revocations, and open orders for it fail. To destroy it all the same, say --force",
            generation.key,
            needs.iter().map(|need| format!("  {need}")).collect::<Vec<_>>().join("\n")
        )));
    }
    let changing = Changing::begin(global, config).await?;
    // Loaded again under the lock.
    ca::load(config)?.retire(name, &generation.key)?;
    output::print(&format!(
        "The key {} of {name} is destroyed. Its certificate stays, for those who check what it signed. Backups may still hold the key.\n",
        generation.key
    ));
    for need in &needs {
        output::print(&format!("Left without its CRL: {need}\n"));
    }
    changing.end().await?;
    Ok(Exit::Ok)
}

/// What still needs an earlier key.
async fn what_needs(
    global: &Global,
    config: &Config,
    local: &LocalCa,
    name: &str,
    generation: &Generation,
) -> Result<Vec<String>, Failed> {
    let (upstream, _) = local_upstream(config)?;
    let now = Timestamp::now();
    let mut needs = Vec::new();
    let connection = Connection::open(global).await?;
    let counted = dependants(&connection, upstream, name).await?[&generation.key].take();
    // Without a server it holds the lock of the folder.
    drop(connection);
    match counted["certificates"].as_u64() {
        Some(0) | None => {}
        Some(count) => {
            needs.push(format!("{count} certificates of devices, the last of which ends {}", output::time(&counted, "until")));
        }
    }
    match counted["orders"].as_u64() {
        Some(0) | None => {}
        Some(count) => needs.push(format!("{count} open orders")),
    }
    needs.extend(local.certified_by(name, generation, now));
    let folder = Folder::of(config);
    let passphrase = folder.passphrase()?;
    let others = folder.other_ras(&passphrase);
    let all = std::iter::once(("default".to_owned(), folder.ra(&passphrase))).chain(others);
    for (ra, store) in all.filter(|(_, store)| store.exists()) {
        let identity = store.load()?;
        let decrypters = identity.decrypters.iter().map(|decrypter| &decrypter.certificate);
        for certificate in std::iter::once(&identity.signer_certificate).chain(decrypters) {
            if certificate.not_after() > now && generation.signed(certificate) {
                needs.push(format!("the certificate {} of the RA {ra:?}", certificate.subject()));
            }
        }
    }
    Ok(needs)
}
