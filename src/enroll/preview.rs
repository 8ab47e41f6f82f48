//! What it will mean to put a group on another profile: told before it is done.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Enroller;
use super::operate::OperateError;
use crate::algorithm::{AlgorithmProfile, KeyAlgorithm, size};

/// What a change of a group's profile means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The device group.
    pub group: String,
    /// The profile that it is on.
    pub from: ProfilePreview,
    /// The one that it would be on.
    pub to: ProfilePreview,
    /// Valid certificates of the group by profile.
    pub certificates: BTreeMap<String, u64>,
    /// Of those, the ones whose keys the other profile does not accept, by kind of key: devices that come again with such a key are
    /// refused.
    pub keys_refused: BTreeMap<String, u64>,
}

/// What a profile does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProfilePreview {
    /// The profile.
    pub profile: String,
    /// What signs.
    pub signature: String,
    /// What signs besides.
    pub alternative: Option<String>,
    /// Who signs: `upstream/ca`.
    pub issuer: String,
    /// In which form the signature stands in the certificate.
    pub form: String,
    /// How long a certificate is valid, in seconds.
    pub validity: u64,
    /// About how large a reply is, in octets, for the keys that the group has.
    pub reply: usize,
    /// The largest reply that it allows.
    pub max_reply: Option<usize>,
}

impl Enroller {
    /// What it means to put `group` on `profile`.
    pub async fn preview(&self, group: &str, profile: &str) -> Result<Preview, OperateError> {
        let snapshot = self.snapshot();
        let group = snapshot.groups.get(group).ok_or_else(|| OperateError::NoSuchGroup(group.to_owned()))?;
        let known = |name: &str| snapshot.profiles.get(name).ok_or_else(|| OperateError::NoSuchProfile(name.to_owned()));
        let (from, to) = (known(&group.profile)?, known(profile)?);
        let counted = self.inventory().census(&group.name).await?;
        let (mut certificates, mut keys_refused) = (BTreeMap::new(), BTreeMap::new());
        let mut common: BTreeMap<String, u64> = BTreeMap::new();
        for one in counted {
            *certificates.entry(one.profile).or_default() += one.count;
            let key = one.key_algorithm.parse::<KeyAlgorithm>().ok();
            if !key.is_some_and(|key| to.accepts(key)) {
                *keys_refused.entry(one.key_algorithm.clone()).or_default() += one.count;
            }
            *common.entry(one.key_algorithm).or_default() += one.count;
        }
        let key = common.into_iter().max_by_key(|(_, count)| *count).and_then(|(key, _)| key.parse().ok());
        let key = key.unwrap_or(KeyAlgorithm::Rsa(2048));
        let told = |profile: &AlgorithmProfile| ProfilePreview {
            profile: profile.name.clone(),
            signature: profile.signature.name().to_owned(),
            alternative: profile.alternative.map(|algorithm| algorithm.name().to_owned()),
            issuer: profile.issuer.to_string(),
            form: profile.form.name().to_owned(),
            validity: profile.validity.as_secs(),
            reply: typical_reply(profile, key),
            max_reply: profile.max_reply,
        };
        Ok(Preview { group: group.name.clone(), from: told(from), to: told(to), certificates, keys_refused })
    }
}

/// About how large a reply is to a device with such a key, and names as devices have them; what comes along of the chain is not in it.
fn typical_reply(profile: &AlgorithmProfile, key: KeyAlgorithm) -> usize {
    const NAMES: usize = 100;
    let alternative = profile.alternative.filter(|_| profile.sibling().is_none());
    let subject = size::spki_len(key) + NAMES;
    size::reply_len(size::certificate_len(subject, profile.signature, alternative, &profile.extensions), 0)
}
