//! Making a data folder: what `init` and `quickstart` share.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::Failed;
use crate::algorithm::{AlgorithmProfile, Form, KeyAlgorithm, SignatureAlgorithm};
use crate::config::{Config, UpstreamKind, in_use};
use crate::crypto::CryptoPool;
use crate::ra::{RaKeys, RaSubjects};
use crate::server::Folder;
use crate::upstream::local::{LocalCa, NewCa};
use crate::x509::DistinguishedName;

/// How long an embedded CA is valid.
const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How long the RA's certificates are valid.
const RA_VALIDITY: Duration = Duration::from_secs(3 * 365 * 86_400);

/// Certificates begin a little earlier, for devices whose clocks are late.
const BACKDATE: Duration = Duration::from_secs(3600);

/// The size of RA keys: every SCEP client can do it.
const RA_BITS: u32 = 2048;

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// CAs, as `upstream/ca`.
    pub cas: Vec<String>,
    /// Whether the RA's keys and certificates were made.
    pub ra: bool,
}

/// Makes what the configuration needs and is not there yet: secrets, the embedded CAs that profiles name, the RA's keys and
/// certificates. What is there stays as it is.
pub fn make(config: &Config) -> Result<Made, Failed> {
    let folder = Folder::of(config);
    folder.create()?;
    let (_keys, _lock) = (folder.lock_keys()?, folder.lock()?);
    let passphrase = folder.passphrase()?;
    let ra = folder.ra(&passphrase);
    let missing = missing_cas(config);
    let needs_ra = !ra.exists();

    // RSA keys take a while each; each has a thread of its own.
    std::thread::scope(|scope| {
        let keys = (needs_ra && !ra.has_waiting_keys()).then(|| scope.spawn(|| ra.create_keys(RaKeys::Pair { bits: RA_BITS })));
        let passphrase = passphrase.as_str();
        let cas: Vec<_> = missing.iter().map(|ca| scope.spawn(move || ca.create(passphrase))).collect();
        for ca in cas {
            ca.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        if let Some(keys) = keys {
            keys.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok::<_, Failed>(())
    })?;

    if needs_ra {
        let (upstream, dir, ca) = ra_issuer(config).ok_or_else(|| {
            Failed::config(
                "no profile names a CA of an embedded upstream, so nobody can certify the RA's keys: see ravelin ra request",
            )
        })?;
        let local = LocalCa::load(upstream, dir, &passphrase, CryptoPool::start(1, 8))?;
        let now = Timestamp::now();
        let subjects = RaSubjects::named("Ravelin")?;
        ra.self_made(&local, ca, &subjects, now - jiff::SignedDuration::try_from(BACKDATE)?, RA_VALIDITY, now)?;
    }
    Ok(Made { cas: missing.iter().map(ToString::to_string).collect(), ra: needs_ra })
}

/// A CA that a profile names and that is not there.
pub struct MissingCa<'a> {
    public_url: &'a str,
    upstream: &'a str,
    dir: &'a Path,
    name: &'a str,
    key: KeyAlgorithm,
    alternative: Option<KeyAlgorithm>,
}

impl std::fmt::Display for MissingCa<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.upstream, self.name)
    }
}

impl MissingCa<'_> {
    /// Makes it.
    pub fn create(&self, passphrase: &str) -> Result<(), Failed> {
        let subject = DistinguishedName::parse(&format!("O=Ravelin,CN=Ravelin {} CA", self.name), true)?;
        let now = Timestamp::now();
        let new = NewCa {
            subject,
            key: self.key,
            alternative: self.alternative,
            not_before: now - jiff::SignedDuration::try_from(BACKDATE)?,
            validity: CA_VALIDITY,
            crl_urls: vec![crl_url(self.public_url, self.upstream, self.name)],
            path_len: Some(0),
            parent: None,
        };
        Ok(LocalCa::create_ca(self.dir, passphrase, self.name, &new)?)
    }
}

/// Where the server answers with the CRLs of an embedded CA.
pub fn crl_url(public_url: &str, upstream: &str, ca: &str) -> String {
    format!("{public_url}/crl/{upstream}/{ca}/{{key}}.crl")
}

fn local_dir<'a>(config: &'a Config, upstream: &str) -> Option<&'a Path> {
    config.upstreams.iter().find(|known| known.name == upstream).and_then(|known| match &known.kind {
        UpstreamKind::Local { dir } => Some(dir.as_path()),
        UpstreamKind::Remote(_) => None,
    })
}

/// The CAs that are made without being asked for: for the profiles that devices may come to be on, and for a few that people try next.
/// All others are made by `ravelin ca create --profile NAME`.
fn missing_cas(config: &Config) -> Vec<MissingCa<'_>> {
    let mut missing = Vec::new();
    for profile in config.profiles.iter().filter(|profile| READY.contains(&profile.name.as_str()) || in_use(config, profile)) {
        add_missing(config, profile, &mut missing);
    }
    missing
}

/// The embedded CAs that this profile and its fallbacks name and that are not there.
pub fn missing_cas_of<'a>(config: &'a Config, profile: &'a AlgorithmProfile) -> Vec<MissingCa<'a>> {
    let mut missing = Vec::new();
    let mut step = Some(profile);
    for _ in 0..=config.profiles.len() {
        let Some(here) = step else { break };
        add_missing(config, here, &mut missing);
        step = here.fallback.as_deref().and_then(|next| config.profile(next)).map(std::sync::Arc::as_ref);
    }
    missing
}

/// The shipped profiles whose CAs are there from the start: their keys are made in no time, but for the one of RSA.
const READY: [&str; 4] = ["rsa-sha256", "ecdsa-p256", "ecdsa-p384", "ml-dsa-65"];

fn add_missing<'a>(config: &'a Config, profile: &'a AlgorithmProfile, missing: &mut Vec<MissingCa<'a>>) {
    let alternative = profile.alternative.filter(|_| profile.form == Form::Catalyst).and_then(ca_key);
    let own = profile.primary_issuers().map(|issuer| (profile.signature, issuer, alternative));
    let sibling = profile.sibling().map(|(signature, issuer)| (signature, issuer, None));
    for (signature, issuer, alternative) in own.chain(sibling) {
        let Some(dir) = local_dir(config, &issuer.upstream) else { continue };
        let known = missing.iter().any(|ca| ca.upstream == issuer.upstream && ca.name == issuer.ca);
        if let Some(key) = ca_key(signature)
            && !known
            && !dir.join(&issuer.ca).exists()
        {
            let public_url = &config.server.public_url;
            missing.push(MissingCa { public_url, upstream: &issuer.upstream, dir, name: &issuer.ca, key, alternative });
        }
    }
}

/// The CA that certifies the RA: one with an RSA key if there is one, since that is what the oldest devices can check.
fn ra_issuer(config: &Config) -> Option<(&str, &Path, &str)> {
    let rank = |profile: &&std::sync::Arc<AlgorithmProfile>| match ca_key(profile.signature) {
        Some(KeyAlgorithm::Rsa(_)) => 0,
        Some(_) => 1,
        None => 2,
    };
    config
        .profiles
        .iter()
        .filter(|profile| !profile.signature.is_post_quantum() && profile.form != Form::Catalyst)
        .filter(|profile| local_dir(config, &profile.issuer.upstream).is_some_and(|dir| dir.join(&profile.issuer.ca).exists()))
        .filter_map(|profile| local_dir(config, &profile.issuer.upstream).map(|dir| (profile, dir)))
        .min_by_key(|(profile, _)| rank(profile))
        .map(|(profile, dir)| (profile.issuer.upstream.as_str(), dir, profile.issuer.ca.as_str()))
}

/// Whether a CA with this key signs so.
pub fn can_sign(key: KeyAlgorithm, signature: SignatureAlgorithm) -> bool {
    match key {
        // A curve goes with its digest in what the embedded CA signs.
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521 => ca_key(signature) == Some(key),
        _ => signature.fits(key),
    }
}

/// The key of a CA that signs so; `None` where no certificate is signed so any more.
fn ca_key(signature: SignatureAlgorithm) -> Option<KeyAlgorithm> {
    use SignatureAlgorithm::*;
    Some(match signature {
        RsaSha256 | RsaPssSha256 => KeyAlgorithm::Rsa(3072),
        RsaSha384 | RsaSha512 | RsaPssSha384 | RsaPssSha512 => KeyAlgorithm::Rsa(4096),
        EcdsaSha256 => KeyAlgorithm::EcdsaP256,
        EcdsaSha384 => KeyAlgorithm::EcdsaP384,
        EcdsaSha512 => KeyAlgorithm::EcdsaP521,
        other => return other.only_key(),
    })
}
