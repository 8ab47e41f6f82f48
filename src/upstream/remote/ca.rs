//! One CA at a remote upstream: the certificates that it is known by.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{RemoteError, signatures_by};
use crate::algorithm::SignatureAlgorithm;
use crate::upstream::NamesRule;
use crate::upstream::files::read_certificates;
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
    anchors: Arc<[Arc<Certificate>]>,
    /// Earlier certificates that are configured.
    previous: Vec<Arc<Certificate>>,
    /// The certificate that signs and those above it: as configured, or as the CA told later.
    known: ArcSwap<Known>,
    /// Held while `known` is changed.
    learning: Mutex<()>,
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
            anchors: chain.clone().into(),
            previous,
            known: ArcSwap::from_pointee(Known { chain: chain.into(), earlier: Vec::new() }),
            learning: Mutex::new(()),
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

    /// Takes over what the CA tells of itself, if it leads to a certificate that is configured; `true` if it was news. A CA that tells
    /// nothing changes nothing; nor does one that tells of the certificate that is known among others, for it does not say which one
    /// signs ([`learn_issuer_of`](Self::learn_issuer_of) sees that).
    pub async fn learn(&self, told: &[Arc<Certificate>]) -> Result<bool, String> {
        let known = self.known.load_full();
        if told.is_empty() || told.iter().any(|one| one.der() == known.chain[0].der()) {
            return Ok(false);
        }
        let told = Told::of(&self.anchors, told)?;
        let chain = off_thread(move || told.lowest().ok_or_else(|| told.leads_nowhere())).await?;
        Ok(self.take_over(chain))
    }

    /// Whether a key that is known as the CA's, now or from earlier, signed this certificate.
    pub(in crate::upstream) async fn knows_issuer_of(&self, certificate: &Arc<Certificate>) -> bool {
        let known = self.known.load();
        let chains = std::iter::once(&known.chain).chain(&known.earlier).map(|chain| &chain[0]);
        let named = chains.chain(&self.previous).filter(|one| certificate.issuer().matches(one.subject()));
        let named: Vec<_> = named.cloned().collect();
        // The usual case costs no signature check. Whether it is what it says is looked at further on.
        let identifier = certificate.authority_key_identifier();
        if identifier.is_some() && named.iter().any(|one| one.subject_key_identifier() == identifier) {
            return true;
        }
        let certificate = Arc::clone(certificate);
        let knows = move || Ok(named.iter().any(|one| certificate.verify_signed_by(one.spki()).is_ok()));
        off_thread(knows).await.unwrap_or(false)
    }

    /// Takes over the certificate whose key signed this one, if it is among those that the CA told, whatever else is among them, and
    /// leads to a certificate that is configured.
    pub(in crate::upstream) async fn learn_issuer_of(
        &self,
        certificate: &Arc<Certificate>,
        told: &[Arc<Certificate>],
    ) -> Result<(), String> {
        let (told, certificate) = (Told::of(&self.anchors, told)?, Arc::clone(certificate));
        let chain = off_thread(move || told.above(&certificate)).await?;
        self.take_over(chain);
        Ok(())
    }

    /// Takes a chain for that of the CA; `true` if it is another one than before.
    fn take_over(&self, chain: Vec<Arc<Certificate>>) -> bool {
        let _alone = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load();
        if known.chain[0].der() == chain[0].der() {
            return false;
        }
        let mut earlier = vec![Arc::clone(&known.chain)];
        earlier.extend(known.earlier.iter().filter(|old| old[0].der() != chain[0].der()).cloned());
        earlier.truncate(MOST_EARLIER);
        self.known.store(Arc::new(Known { chain: chain.into(), earlier }));
        true
    }
}

/// Earlier certificates of a CA that are kept.
const MOST_EARLIER: usize = 16;

/// Certificates that a CA may tell of itself: to sort them out takes a signature check for every two of them.
const MOST_TOLD: usize = 64;

/// Certificates that a CA told of itself, and those that they have to lead to. What it does is slow.
struct Told {
    anchors: Arc<[Arc<Certificate>]>,
    /// CAs, all of them.
    told: Vec<Arc<Certificate>>,
}

impl Told {
    fn of(anchors: &Arc<[Arc<Certificate>]>, told: &[Arc<Certificate>]) -> Result<Self, String> {
        let told: Vec<_> = told.iter().filter(|one| one.is_ca()).cloned().collect();
        match told.len() > MOST_TOLD {
            true => Err(format!("the CA tells of {} certificates, more than {MOST_TOLD}", told.len())),
            false => Ok(Self { anchors: Arc::clone(anchors), told }),
        }
    }

    /// The path up from the one that signs: it signed none of the others.
    fn lowest(&self) -> Option<Vec<Arc<Certificate>>> {
        let signs_another =
            |one: &Arc<Certificate>| self.told.iter().any(|other| other.der() != one.der() && signed_by(other, one));
        self.told.iter().filter(|one| !signs_another(one)).find_map(|one| self.path_of(one))
    }

    /// The path up from the one that signed this certificate.
    fn above(&self, certificate: &Certificate) -> Result<Vec<Arc<Certificate>>, String> {
        let mut signers = self.told.iter().filter(|one| signed_by(certificate, one)).peekable();
        if signers.peek().is_none() {
            return Err(format!("{} issued it, whose certificate the CA does not tell", certificate.issuer()));
        }
        signers.find_map(|one| self.path_of(one)).ok_or_else(|| self.leads_nowhere())
    }

    fn leads_nowhere(&self) -> String {
        let subjects: Vec<_> = self.told.iter().map(|one| one.subject().to_string()).collect();
        let subjects = subjects.join("; ");
        format!("the CA says that its certificates are {subjects}, and none of them leads to one in the file of `chain`")
    }

    /// The path from a certificate up to one that is configured, and on.
    fn path_of(&self, lowest: &Arc<Certificate>) -> Option<Vec<Arc<Certificate>>> {
        let mut path = vec![Arc::clone(lowest)];
        // No path is longer than there are certificates.
        for _ in 0..self.told.len() + self.anchors.len() {
            let last = path.last()?;
            if let Some(at) = self.anchors.iter().position(|anchor| anchor.der() == last.der()) {
                path.extend(self.anchors[at + 1..].iter().cloned());
                return Some(path);
            }
            let mut above = self.anchors.iter().chain(&self.told);
            let above = above.find(|above| above.der() != last.der() && signed_by(last, above))?;
            path.push(Arc::clone(above));
        }
        None
    }
}

/// Signature checks take their time.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|join| Err(join.to_string()))
}

fn signatures_by_certificate(certificate: &Certificate) -> Vec<SignatureAlgorithm> {
    certificate.key().map(signatures_by).unwrap_or_default()
}

fn signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.issuer().matches(issuer.subject()) && certificate.verify_signed_by(issuer.spki()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::algorithm::KeyAlgorithm;
    use crate::scep::certs_only::{self, SetOrder};
    use crate::upstream::est::{Est, EstSettings, Repeats};
    use crate::upstream::remote::{Remote, RemoteSettings};
    use crate::upstream::testing::{Play, Scripted, TestCa};
    use crate::upstream::{IdempotencyKey, Limits, Submission, UpstreamCa};

    fn bag(certificates: &[&Certificate]) -> Play {
        let certificates: Vec<_> = certificates.iter().map(|one| one.der()).collect();
        let message = certs_only::write(&certificates, &[], SetOrder::AsGiven);
        Play::body(200, "application/pkcs7-mime", STANDARD.encode(message))
    }

    fn remote(peer: &Scripted, ca: &TestCa) -> Remote {
        let settings = EstSettings {
            username: None,
            password: None,
            repeats: Repeats::NewCertificate,
            longest_wait: Duration::from_secs(60),
            labels: BTreeMap::new(),
        };
        let ca = RemoteCaSettings {
            name: "devices".into(),
            chain: ca.chain_file(),
            previous: None,
            crl_url: None,
            names: NamesRule::default(),
        };
        let patience = Duration::from_secs(6);
        let common = RemoteSettings { name: "remote".into(), cas: vec![ca], patience, limits: Limits::NONE };
        let http = peer.http();
        Remote::open(&common, Box::new(Est::open(&settings, http.clone()).unwrap()), http).unwrap()
    }

    /// In a rollover a CA tells its old certificate beside the new one, or nothing at all beside what it issues.
    #[tokio::test]
    async fn a_ca_that_was_rolled_over_is_known_from_its_first_certificate_on() {
        let root = TestCa::new(KeyAlgorithm::EcdsaP256);
        let old = root.below(KeyAlgorithm::EcdsaP256);
        let new = old.rolled_over(KeyAlgorithm::EcdsaP384, &root);
        let (order, key) = (old.order("devices"), IdempotencyKey([7; 16]));
        let leaf = new.issue(&order);
        let by_old = old.issue(&order);
        let both = || bag(&[&old.certificate, &new.certificate, &root.certificate]);
        for (plays, requests) in [
            // The leaf alone; then what the CA tells of itself.
            (vec![bag(&[&leaf]), both(), bag(&[&leaf]), bag(&[&by_old])], 4),
            // The chain beside the leaf, the old certificate too.
            (vec![bag(&[&old.certificate, &leaf, &new.certificate]), bag(&[&leaf]), bag(&[&by_old])], 3),
        ] {
            let peer = Scripted::playing(plays).await;
            let remote = remote(&peer, &old);
            for leaf in [&leaf, &leaf, &by_old] {
                let submission = remote.submit(&order, &key).await;
                let Submission::Issued { certificate, chain } = submission else { panic!("{submission:?}") };
                assert_eq!((certificate.der(), chain.len()), (leaf.der(), 0));
                let above = remote.chain_above("devices", &certificate).unwrap();
                assert!(signed_by(&certificate, &above[0]) && above[1].der() == root.certificate.der());
            }
            assert_eq!(peer.seen().len(), requests);
            assert_eq!(remote.chain("devices").unwrap()[0].der(), new.certificate.der());
            assert_eq!(remote.previous_certificates("devices")[0].der(), old.certificate.der());
        }
    }

    /// Nothing is learned that does not lead to what is configured; the certificate is handed on, to be refused.
    #[tokio::test]
    async fn a_stranger_is_not_learned() {
        let (ca, stranger) = (TestCa::new(KeyAlgorithm::EcdsaP256), TestCa::new(KeyAlgorithm::EcdsaP256));
        let impostor = ca.rolled_over(KeyAlgorithm::EcdsaP256, &stranger);
        let (order, key) = (ca.order("devices"), IdempotencyKey([7; 16]));
        // Issued with a certificate that is none of a CA.
        let device = ca.issue(&ca.order("devices"));
        for (issuer, beside) in [(&stranger, vec![]), (&impostor, vec![&*stranger.certificate, &device])] {
            let leaf = issuer.issue(&order);
            let told = || bag(&[&[&leaf, &*issuer.certificate], beside.as_slice()].concat());
            let peer = Scripted::playing([told(), told()]).await;
            let remote = remote(&peer, &ca);
            assert!(matches!(remote.submit(&order, &key).await, Submission::Issued { .. }));
            assert_eq!(peer.seen().len(), 2);
            assert_eq!(remote.chain("devices").unwrap()[0].der(), ca.certificate.der());
            assert!(remote.previous_certificates("devices").is_empty());
        }
    }

    /// What a CA tells when it is asked: alone it is news, beside the old certificate it says nothing of who signs.
    #[tokio::test]
    async fn what_a_ca_tells_of_itself_is_learned() {
        let root = TestCa::new(KeyAlgorithm::EcdsaP256);
        let old = root.below(KeyAlgorithm::EcdsaP256);
        let new = old.rolled_over(KeyAlgorithm::EcdsaP256, &root);
        let ca = old.remote_ca("devices");
        let told = |cas: &[&TestCa]| -> Vec<_> { cas.iter().map(|ca| Arc::clone(&ca.certificate)).collect() };
        assert_eq!(ca.learn(&[]).await, Ok(false));
        assert_eq!(ca.learn(&told(&[&new, &old])).await, Ok(false));
        assert_eq!(ca.learn(&told(&[&root, &new])).await, Ok(true));
        assert_eq!(ca.certificate().der(), new.certificate.der());
        assert!(ca.learn(&told(&[&TestCa::new(KeyAlgorithm::EcdsaP256)])).await.is_err());
        let many: Vec<_> = std::iter::repeat_n(Arc::clone(&root.certificate), 65).collect();
        assert!(ca.learn(&many).await.unwrap_err().contains("more than 64"));
    }
}
