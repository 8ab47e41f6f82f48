//! One CA at a remote upstream: the certificates that it is known by.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{RemoteError, signatures_by};
use crate::algorithm::SignatureAlgorithm;
use crate::upstream::NamesRule;
use crate::x509::Certificate;

/// What is configured for every CA at a remote upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCaSettings {
    /// What algorithm profiles call it.
    pub name: String,
    /// PEM: the certificate of the CA that signs, then those above it. What is issued has to chain to one of these.
    pub chain: PathBuf,
    /// PEM: earlier certificates of the CA, whose leaves may still renew.
    pub previous: Option<PathBuf>,
    /// Where the CA publishes its CRL.
    pub crl_url: Option<String>,
    /// How much of the names is the CA's to decide.
    pub names: NamesRule,
}

/// A CA at a remote upstream.
pub struct RemoteCa {
    name: String,
    crl_url: Option<String>,
    names: NamesRule,
    /// What is configured: what the CA tells of itself has to lead to one of these.
    anchors: Vec<Arc<Certificate>>,
    /// Earlier certificates that are configured.
    previous: Vec<Arc<Certificate>>,
    /// The certificate that signs and those above it: as configured, or as the CA told later.
    known: ArcSwap<Known>,
}

struct Known {
    chain: Arc<[Arc<Certificate>]>,
    /// What it was before, newest first.
    earlier: Vec<Arc<[Arc<Certificate>]>>,
}

impl RemoteCa {
    /// Reads its certificates. Blocks.
    pub fn open(settings: &RemoteCaSettings) -> Result<Self, RemoteError> {
        let chain = read_certificates(&settings.chain)?;
        let failed = |why: &str| RemoteError::File { path: settings.chain.display().to_string(), why: why.to_owned() };
        let first = chain.first().ok_or_else(|| failed("there is no certificate in it"))?;
        if !first.is_ca() {
            return Err(failed("its first certificate is not that of a CA"));
        }
        for pair in chain.windows(2) {
            if !signed_by(&pair[0], &pair[1]) {
                return Err(failed(&format!(
                    "{} is not issued by {}: the certificate of the CA that signs comes first, then the one above it, and so on",
                    pair[0].subject(),
                    pair[1].subject()
                )));
            }
        }
        if signatures_by_certificate(first).is_empty() {
            return Err(failed("its first certificate has a key of a kind that is not known"));
        }
        let previous = settings.previous.as_deref().map(read_certificates).transpose()?.unwrap_or_default();
        Ok(Self {
            name: settings.name.clone(),
            crl_url: settings.crl_url.clone(),
            names: settings.names,
            anchors: chain.clone(),
            previous,
            known: ArcSwap::from_pointee(Known { chain: chain.into(), earlier: Vec::new() }),
        })
    }

    /// What algorithm profiles call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it publishes its CRL, if that is configured.
    pub fn crl_url(&self) -> Option<&str> {
        self.crl_url.as_deref()
    }

    /// How much of the names is its to decide.
    pub fn names(&self) -> NamesRule {
        self.names
    }

    /// The certificate that signs now.
    pub fn certificate(&self) -> Arc<Certificate> {
        Arc::clone(&self.known.load().chain[0])
    }

    /// The certificate that signs and those above it.
    pub fn chain(&self) -> Arc<[Arc<Certificate>]> {
        Arc::clone(&self.known.load().chain)
    }

    /// The chain above a certificate: of the present or an earlier certificate of the CA, whichever signed it.
    pub fn chain_above(&self, certificate: &Certificate) -> Arc<[Arc<Certificate>]> {
        let known = self.known.load();
        let above = |chain: &&Arc<[Arc<Certificate>]>| signed_by(certificate, &chain[0]);
        // The usual case costs no signature check: who has the name of only one of them is that one's.
        let mut named = std::iter::once(&known.chain).chain(&known.earlier);
        let mut named = named.by_ref().filter(|chain| certificate.issuer().matches(chain[0].subject()));
        match (named.next(), named.next()) {
            (Some(only), None) => Arc::clone(only),
            _ => {
                let mut all = std::iter::once(&known.chain).chain(&known.earlier);
                let previous = || self.previous.iter().find(|previous| signed_by(certificate, previous));
                match all.find(above) {
                    Some(chain) => Arc::clone(chain),
                    None => previous().map_or_else(|| Arc::clone(&known.chain), |previous| Arc::from([Arc::clone(previous)])),
                }
            }
        }
    }

    /// Earlier certificates of the CA.
    pub fn previous(&self) -> Vec<Arc<Certificate>> {
        let known = self.known.load();
        self.previous.iter().chain(known.earlier.iter().map(|chain| &chain[0])).cloned().collect()
    }

    /// What it can sign with.
    pub fn signatures(&self) -> Vec<SignatureAlgorithm> {
        signatures_by_certificate(&self.certificate())
    }

    /// Takes over what the CA tells of itself, if it leads to a certificate that is configured; `true` if it was news. A CA that
    /// tells nothing changes nothing.
    pub fn learn(&self, told: &[Arc<Certificate>]) -> Result<bool, String> {
        let known = self.known.load();
        if told.is_empty() || told.iter().any(|one| one.der() == known.chain[0].der()) {
            return Ok(false);
        }
        // The one that signs is a CA that signed none of the others.
        let signs_another = |one: &Arc<Certificate>| told.iter().any(|other| other.der() != one.der() && signed_by(other, one));
        let lowest = told.iter().filter(|one| one.is_ca() && !signs_another(one));
        let mut candidates = lowest.filter_map(|one| self.path_of(one, told));
        let Some(chain) = candidates.next() else {
            let subjects: Vec<_> = told.iter().map(|one| one.subject().to_string()).collect();
            return Err(format!(
                "the CA says that its certificates are {}, and none of them leads to one in the file of `chain`",
                subjects.join("; ")
            ));
        };
        let mut earlier = vec![Arc::clone(&known.chain)];
        earlier.extend(known.earlier.iter().filter(|old| old[0].der() != chain[0].der()).cloned());
        self.known.store(Arc::new(Known { chain: chain.into(), earlier }));
        Ok(true)
    }

    /// The path from a certificate up to one that is configured, and on.
    fn path_of(&self, lowest: &Arc<Certificate>, told: &[Arc<Certificate>]) -> Option<Vec<Arc<Certificate>>> {
        let mut path = vec![Arc::clone(lowest)];
        // No path is longer than there are certificates.
        for _ in 0..told.len() + self.anchors.len() {
            let last = path.last()?;
            if let Some(at) = self.anchors.iter().position(|anchor| anchor.der() == last.der()) {
                path.extend(self.anchors[at + 1..].iter().cloned());
                return Some(path);
            }
            let above = self.anchors.iter().chain(told).find(|above| above.der() != last.der() && signed_by(last, above))?;
            path.push(Arc::clone(above));
        }
        None
    }
}

fn signatures_by_certificate(certificate: &Certificate) -> Vec<SignatureAlgorithm> {
    certificate.key().map(signatures_by).unwrap_or_default()
}

fn signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.issuer().matches(issuer.subject()) && certificate.verify_signed_by(issuer.spki()).is_ok()
}

/// Reads certificates out of a PEM file.
fn read_certificates(path: &Path) -> Result<Vec<Arc<Certificate>>, RemoteError> {
    let failed = |why: String| RemoteError::File { path: path.display().to_string(), why };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let certificates = Certificate::chain_from_pem(&text).map_err(|error| failed(error.to_string()))?;
    Ok(certificates.into_iter().map(Arc::new).collect())
}
