//! Making a data folder: what `init` and `quickstart` share.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::Failed;
use crate::algorithm::{AlgorithmProfile, KeyAlgorithm, SignatureAlgorithm};
use crate::config::{Config, UpstreamKind};
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
    let _lock = folder.lock()?;
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
    Ok(Made { cas: missing.iter().map(|ca| format!("{}/{}", ca.upstream, ca.name)).collect(), ra: needs_ra })
}

/// A CA that a profile names and that is not there.
struct MissingCa<'a> {
    public_url: &'a str,
    upstream: &'a str,
    dir: &'a Path,
    name: &'a str,
    key: KeyAlgorithm,
}

impl MissingCa<'_> {
    fn create(&self, passphrase: &str) -> Result<(), Failed> {
        let subject = DistinguishedName::parse(&format!("O=Ravelin,CN=Ravelin {} CA", self.name), true)?;
        let now = Timestamp::now();
        let new = NewCa {
            subject,
            key: self.key,
            alternative: None,
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
    config.upstreams.iter().find(|known| known.name == upstream).map(|known| match &known.kind {
        UpstreamKind::Local { dir } => dir.as_path(),
    })
}

fn missing_cas(config: &Config) -> Vec<MissingCa<'_>> {
    let mut missing: Vec<MissingCa<'_>> = Vec::new();
    for profile in &config.profiles {
        let issuer = &profile.issuer;
        let Some(dir) = local_dir(config, &issuer.upstream) else { continue };
        let known = missing.iter().any(|ca| ca.upstream == issuer.upstream && ca.name == issuer.ca);
        if let Some(key) = ca_key(profile.signature)
            && !known
            && !dir.join(&issuer.ca).exists()
        {
            let public_url = &config.server.public_url;
            missing.push(MissingCa { public_url, upstream: &issuer.upstream, dir, name: &issuer.ca, key });
        }
    }
    missing
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
        .filter(|profile| !profile.signature.is_post_quantum())
        .filter_map(|profile| local_dir(config, &profile.issuer.upstream).map(|dir| (profile, dir)))
        .min_by_key(|(profile, _)| rank(profile))
        .map(|(profile, dir)| (profile.issuer.upstream.as_str(), dir, profile.issuer.ca.as_str()))
}

/// Whether a CA with this key signs so.
pub fn can_sign(key: KeyAlgorithm, signature: SignatureAlgorithm) -> bool {
    match (ca_key(signature), key) {
        (Some(KeyAlgorithm::Rsa(_)), KeyAlgorithm::Rsa(_)) => true,
        (needed, key) => needed == Some(key),
    }
}

/// The key of a CA that signs so; `None` where the embedded CA makes none.
fn ca_key(signature: SignatureAlgorithm) -> Option<KeyAlgorithm> {
    use SignatureAlgorithm::*;
    Some(match signature {
        RsaSha256 | RsaPssSha256 => KeyAlgorithm::Rsa(3072),
        RsaSha384 | RsaSha512 | RsaPssSha384 | RsaPssSha512 => KeyAlgorithm::Rsa(4096),
        EcdsaSha256 => KeyAlgorithm::EcdsaP256,
        EcdsaSha384 => KeyAlgorithm::EcdsaP384,
        EcdsaSha512 => KeyAlgorithm::EcdsaP521,
        // One kind of key only; none is made for the outdated ones, which no certificate is signed with.
        other => return other.only_key(),
    })
}
