//! One immutable picture of the configuration: endpoints, groups, profiles, issuers and the RA's keys, resolved and cross-checked.
//!
//! A request pins the snapshot that was current when it came, and is decided by that one to the end. A reload builds a new one
//! as a whole or not at all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::algorithm::{AlgorithmProfile, IssuerRef};
use crate::crypto::RaIdentity;
use crate::policy::{DeviceGroup, Endpoint};
use crate::upstream::UpstreamCa;
use crate::x509::Certificate;

/// The picture.
pub struct Snapshot {
    /// Counts loads since the start, from 1.
    pub generation: u64,
    /// SHA-256 over all that was read.
    pub digest: [u8; 32],
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// The endpoints, longest path first.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// The device groups by name.
    pub groups: BTreeMap<String, Arc<DeviceGroup>>,
    /// The algorithm profiles by name.
    pub profiles: BTreeMap<String, Arc<AlgorithmProfile>>,
    /// The upstreams by name.
    pub upstreams: BTreeMap<String, Arc<dyn UpstreamCa>>,
    /// The RA's keys on the SCEP transport.
    pub ra: Arc<RaIdentity>,
    /// Further ones by name, for endpoints that name them.
    pub ras: BTreeMap<String, Arc<RaIdentity>>,
    /// How long a request waits for its issuer before the answer is PENDING.
    pub patience: Duration,
    /// How many requests may wait for one upstream; the others are told to come again at once, so that one that is slow takes no
    /// places from requests that need another.
    pub most_waiting: usize,
    /// CA certificates whose leaves make a request a renewal: those of our issuers (earlier generations too), and the earlier CAs
    /// that groups name.
    pub renewal_issuers: Vec<Arc<Certificate>>,
}

impl Snapshot {
    /// The endpoint for a request: by path (any suffix such as `/pkiclient.exe` is taken), host and source; else the default one.
    pub fn endpoint(&self, host: Option<&str>, path: &str, source: IpAddr) -> Option<&Arc<Endpoint>> {
        let fits = |endpoint: &&Arc<Endpoint>| endpoint.serves_host(host) && endpoint.admits(source);
        let under = |endpoint: &&Arc<Endpoint>| {
            path.strip_prefix(endpoint.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.endpoints
            .iter()
            .filter(under)
            .find(fits)
            .or_else(|| self.endpoints.iter().filter(|endpoint| endpoint.default).find(fits))
    }

    /// Every profile that a device of a group may get: the one that the group is on, then the candidate, then what these fall back to.
    pub fn profiles_of<'a>(&'a self, group: &'a DeviceGroup) -> impl Iterator<Item = &'a Arc<AlgorithmProfile>> {
        let mut found: Vec<&Arc<AlgorithmProfile>> = group.profiles().filter_map(|name| self.profiles.get(name)).collect();
        let mut at = 0;
        while let Some(profile) = found.get(at) {
            let next = profile.fallback.as_deref().and_then(|name| self.profiles.get(name));
            found.extend(next.filter(|next| !found.iter().any(|known| known.name == next.name)));
            at += 1;
        }
        found.into_iter()
    }

    /// The RA's keys at an endpoint.
    pub fn ra_of(&self, endpoint: &Endpoint) -> &Arc<RaIdentity> {
        // That the name is known was checked when the snapshot was built.
        endpoint.scep.ra.as_ref().and_then(|name| self.ras.get(name)).unwrap_or(&self.ra)
    }

    /// All keys of the RA, those of most endpoints first.
    pub fn all_ras(&self) -> impl Iterator<Item = &Arc<RaIdentity>> {
        std::iter::once(&self.ra).chain(self.ras.values())
    }

    /// The profile that a group is on.
    pub fn profile_of(&self, group: &DeviceGroup) -> Option<&Arc<AlgorithmProfile>> {
        self.profiles.get(&group.profile)
    }

    /// The issuer of a profile.
    pub fn upstream_of(&self, profile: &AlgorithmProfile) -> Option<&Arc<dyn UpstreamCa>> {
        self.upstreams.get(&profile.issuer.upstream)
    }

    /// The chain of an issuer, as far as it is known: the issuing certificate first, the root last.
    pub fn chain_of(&self, issuer: &IssuerRef) -> Arc<[Arc<Certificate>]> {
        self.upstreams.get(&issuer.upstream).and_then(|upstream| upstream.chain(&issuer.ca)).unwrap_or_default()
    }

    /// The digest as hex.
    pub fn digest_hex(&self) -> String {
        hex::encode(self.digest)
    }
}
