//! What has to be known before an envelope is open.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ipnet::IpNet;

use super::DeviceGroup;
use crate::algorithm::{ContentCipher, Digest};
use crate::x509::Certificate;

/// A place where devices enroll.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name: the group's for a group's own endpoint.
    pub name: String,
    /// Its path without a slash at the end: `/scep/branch-routers`.
    pub path: String,
    /// Host names that it answers to; empty for any.
    pub hosts: Vec<String>,
    /// Networks that it answers; empty for any.
    pub sources: Vec<IpNet>,
    /// Whether it takes `/cgi-bin/pkiclient.exe` and unknown paths.
    pub default: bool,
    /// How it speaks SCEP.
    pub scep: ScepSettings,
    /// The groups to choose from, highest priority first; never empty.
    pub groups: Vec<Arc<DeviceGroup>>,
    /// The GetCACaps answer, made once per snapshot.
    pub capabilities: OnceLock<Bytes>,
    /// The GetCACert answer, made once per snapshot.
    pub ca_certificates: OnceLock<Bytes>,
}

impl Endpoint {
    /// Whether a request from `source` may use it.
    pub fn admits(&self, source: IpAddr) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|net| net.contains(&source))
    }

    /// Whether it answers to this host name (without port).
    pub fn serves_host(&self, host: Option<&str>) -> bool {
        self.hosts.is_empty() || host.is_some_and(|host| self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)))
    }
}

/// How an endpoint speaks SCEP: the `[scep]` table. Each leniency has a name here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScepSettings {
    /// Content ciphers that requests may use.
    pub accept_ciphers: Vec<ContentCipher>,
    /// Digests that messages, signer certificates' messages and CSRs may use.
    pub accept_digests: Vec<Digest>,
    /// Whether RSAES-OAEP key transport is taken.
    pub accept_oaep: bool,
    /// What GetCACert brings.
    pub ca_certs: CaCertsShape,
    /// What a SUCCESS reply brings.
    pub reply_certs: ReplyShape,
    /// Whether the SignedData of replies carries the RA's signing certificate.
    pub reply_includes_signer: bool,
    /// Largest message in octets.
    pub max_message: usize,
    /// Whose keys open requests and sign replies: the name of an `[[ra]]`, or `None` for those of every endpoint.
    pub ra: Option<String>,
}

impl Default for ScepSettings {
    fn default() -> Self {
        Self {
            accept_ciphers: vec![
                ContentCipher::Aes128Cbc,
                ContentCipher::Aes192Cbc,
                ContentCipher::Aes256Cbc,
                ContentCipher::Aes128Gcm,
                ContentCipher::Aes256Gcm,
            ],
            accept_digests: vec![Digest::Sha256, Digest::Sha384, Digest::Sha512],
            accept_oaep: true,
            ca_certs: CaCertsShape::RaPairChain,
            reply_certs: ReplyShape::Leaf,
            reply_includes_signer: true,
            max_message: 64 * 1024,
            ra: None,
        }
    }
}

/// What GetCACert brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaCertsShape {
    /// The RA's certificates (signing first), then the CA that issued them.
    RaPairCa,
    /// The RA's certificates, then the CA chain up to the root.
    RaPairChain,
    /// The RA's certificates alone.
    RaPair,
    /// The issuing CA certificate alone, for clients that cannot do with more (only where it can encrypt and sign for the RA).
    Ca,
}

crate::algorithm::named!(CaCertsShape, "shape of GetCACert", {
    RaPairCa => "ra-pair+ca",
    RaPairChain => "ra-pair+chain",
    RaPair => "ra-pair",
    Ca => "ca",
});

/// What a SUCCESS reply brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyShape {
    /// The issued certificate alone.
    Leaf,
    /// The issued certificate, then its issuer.
    LeafCa,
    /// The issued certificate, then the chain without the root.
    LeafChain,
    /// The issued certificate, then the chain with the root.
    LeafChainRoot,
}

impl ReplyShape {
    /// How many certificates of the chain above the issued one go along; `chain` has the issuer first.
    pub fn certificates_above(self, chain: &[Arc<Certificate>]) -> usize {
        match self {
            ReplyShape::Leaf => 0,
            ReplyShape::LeafCa => chain.len().min(1),
            ReplyShape::LeafChain => {
                let root = chain.last().is_some_and(|last| last.issuer().matches(last.subject()));
                chain.len() - usize::from(root)
            }
            ReplyShape::LeafChainRoot => chain.len(),
        }
    }
}

crate::algorithm::named!(ReplyShape, "shape of replies", {
    Leaf => "leaf",
    LeafCa => "leaf+ca",
    LeafChain => "leaf+chain",
    LeafChainRoot => "leaf+chain+root",
});
