//! CRLs of remote CAs: fetched once for all who ask within a while. Anybody may ask, so that a CA which does not answer may hold up
//! only a few of those who do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex as Turn, Semaphore};

use super::{CallError, RemoteCa};
use crate::x509::crl::{read_crl, verify_crl};

/// How long a CRL is given without asking again.
const FRESH: Duration = Duration::from_secs(60);

/// How long a CA that gave none is not asked again.
const FAILED: Duration = Duration::from_secs(10);

/// How many wait for what another is fetching.
const WAITING: usize = 16;

/// The newest CRLs by CA.
#[derive(Default)]
pub(super) struct CrlCache {
    all: Mutex<HashMap<String, Arc<Place>>>,
}

struct Place {
    known: Mutex<Known>,
    /// Whoever has it fetches.
    turn: Turn<()>,
    waiting: Semaphore,
}

#[derive(Default)]
struct Known {
    kept: Option<Kept>,
    failed: Option<(Timestamp, CallError)>,
}

#[derive(Clone)]
struct Kept {
    der: Vec<u8>,
    at: Timestamp,
    /// What it says of the next one.
    next_update: Option<Timestamp>,
}

/// A CRL that was looked at.
#[derive(Debug)]
pub(super) struct Fetched {
    der: Vec<u8>,
    /// What it says of the next one.
    next_update: Option<Timestamp>,
}

impl Fetched {
    /// Looks at what came, on a thread of its own: it may be long, and the way may have been plain HTTP. It has to be signed by this CA.
    pub(super) async fn look(ca: &Arc<RemoteCa>, der: Vec<u8>) -> Result<Self, CallError> {
        let ca = Arc::clone(ca);
        let looked = tokio::task::spawn_blocking(move || {
            let crl = read_crl(&der).map_err(|error| CallError::Unclear(format!("what came is no CRL: {error}")))?;
            let mut generations = std::iter::once(ca.certificate()).chain(ca.previous());
            if !generations.any(|by| crl.issuer.matches(by.subject()) && verify_crl(&der, by.spki()).is_ok()) {
                let (says, is) = (crl.issuer, ca.certificate());
                return Err(CallError::Unclear(format!("the CRL that came is of {says}, and not signed by {}", is.subject())));
            }
            Ok(Self { der, next_update: crl.next_update })
        });
        looked.await.unwrap_or_else(|join| Err(CallError::Unclear(join.to_string())))
    }
}

impl CrlCache {
    /// The CRL of a CA: the one that is kept, or a new one. While the CA cannot be asked, or another asks it, the kept one is given as
    /// long as it holds.
    pub(super) async fn current(
        &self,
        ca: &str,
        now: Timestamp,
        patience: Duration,
        fetch: impl Future<Output = Result<Option<Fetched>, CallError>>,
    ) -> Result<Option<Vec<u8>>, CallError> {
        let place = Arc::clone(self.lock().entry(ca.to_owned()).or_default());
        let began = Instant::now();
        let later = || now.saturating_add(SignedDuration::try_from(began.elapsed()).unwrap_or_default()).unwrap_or(now);
        if let Some(answer) = place.known().answer(now) {
            return answer.map(Some);
        }
        let turn = match (place.turn.try_lock(), place.known().holds(now)) {
            (Ok(turn), _) => Some(turn),
            (Err(_), Some(kept)) => return Ok(Some(kept)),
            (Err(_), None) => None,
        };
        let found = tokio::time::timeout(patience, async {
            let _turn = match turn {
                Some(turn) => turn,
                None => {
                    let busy = || CallError::not_taken("too many wait for this CRL already");
                    let _waiting = place.waiting.try_acquire().map_err(|_| busy())?;
                    let turn = place.turn.lock().await;
                    if let Some(answer) = place.known().answer(later()) {
                        return answer.map(Some);
                    }
                    turn
                }
            };
            let fetched = fetch.await;
            place.known().learn(ca, later(), fetched)
        })
        .await;
        // Whoever waited for another only, and in vain, waited for the same CA.
        found.unwrap_or_else(|_| place.known().learn(ca, later(), Err(CallError::no_answer(patience))))
    }

    /// Forgets the CRL of a CA: it has revoked a certificate.
    pub(super) fn forget(&self, ca: &str) {
        self.lock().remove(ca);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Place>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self { known: Mutex::default(), turn: Turn::default(), waiting: Semaphore::new(WAITING) }
    }
}

impl Place {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What can be said without asking the CA.
    fn answer(&self, now: Timestamp) -> Option<Result<Vec<u8>, CallError>> {
        let within = |at: Timestamp, limit: Duration| Duration::try_from(now.duration_since(at)).unwrap_or_default() < limit;
        match (&self.kept, &self.failed) {
            (Some(kept), _) if kept.holds(now) && within(kept.at, FRESH) => Some(Ok(kept.der.clone())),
            (_, Some((at, error))) if within(*at, FAILED) => Some(self.holds(now).ok_or_else(|| error.clone())),
            _ => None,
        }
    }

    /// The kept one, as long as it holds.
    fn holds(&self, now: Timestamp) -> Option<Vec<u8>> {
        self.kept.as_ref().filter(|kept| kept.holds(now)).map(|kept| kept.der.clone())
    }

    fn learn(
        &mut self,
        ca: &str,
        now: Timestamp,
        fetched: Result<Option<Fetched>, CallError>,
    ) -> Result<Option<Vec<u8>>, CallError> {
        match fetched {
            Ok(None) => Ok(None),
            Ok(Some(Fetched { der, next_update })) => {
                *self = Known { kept: Some(Kept { der: der.clone(), at: now, next_update }), failed: None };
                Ok(Some(der))
            }
            Err(error) => {
                self.failed = Some((now, error.clone()));
                match self.kept.as_ref().filter(|kept| kept.holds(now)) {
                    Some(kept) => {
                        tracing::warn!(ca, "The CRL is that of {}: a newer one cannot be had: {error}.", kept.at);
                        Ok(Some(kept.der.clone()))
                    }
                    None => Err(error),
                }
            }
        }
    }
}

impl Kept {
    fn holds(&self, now: Timestamp) -> bool {
        self.next_update.is_none_or(|next| now < next)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::algorithm::KeyAlgorithm;
    use crate::upstream::testing::TestCa;
    use crate::x509::crl::CrlTemplate;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn fetched(der: &[u8], next_update: Option<Timestamp>) -> Result<Option<Fetched>, CallError> {
        Ok(Some(Fetched { der: der.to_vec(), next_update }))
    }

    fn unreachable() -> Result<Option<Fetched>, CallError> {
        panic!("one is enough")
    }

    #[tokio::test]
    async fn a_ca_that_does_not_answer_holds_up_nobody_for_longer_than_one_answer() {
        let (cache, now) = (CrlCache::default(), Timestamp::now());
        let (began, asked) = (Instant::now(), AtomicUsize::new(0));
        let stalled = || async {
            asked.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        };
        let ask = || async {
            assert!(cache.current("ca", now, PATIENCE, stalled()).await.is_err());
            began.elapsed()
        };
        let mut all: Vec<_> = (0..WAITING + 4).map(|_| Box::pin(ask())).collect();
        let mut times = Vec::new();
        std::future::poll_fn(|context| {
            all.retain_mut(|one| match one.as_mut().poll(context) {
                std::task::Poll::Ready(time) => {
                    times.push(time);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        assert!(times.iter().all(|time| *time < PATIENCE * 3), "{times:?}");
        assert_eq!(times.iter().filter(|time| **time < PATIENCE / 2).count(), 3, "some need not wait at all: {times:?}");
        // It is not asked again at once, and then it is.
        let before = asked.load(Ordering::SeqCst);
        assert!(cache.current("ca", now + SignedDuration::from_secs(9), PATIENCE, stalled()).await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), before);
        let later = now + SignedDuration::from_secs(11);
        assert_eq!(cache.current("ca", later, PATIENCE, async { fetched(b"new", None) }).await, Ok(Some(b"new".to_vec())));
    }

    #[tokio::test]
    async fn the_kept_one_is_given_while_another_is_fetched() {
        let (cache, now) = (CrlCache::default(), Timestamp::now());
        let holds = Some(now + SignedDuration::from_hours(1));
        let first = cache.current("ca", now, PATIENCE, async { fetched(b"old", holds) }).await;
        assert_eq!(first, Ok(Some(b"old".to_vec())));
        let later = now + SignedDuration::from_secs(61);
        let slow = cache.current("ca", later, PATIENCE, std::future::pending());
        let quick = async {
            tokio::task::yield_now().await;
            let began = Instant::now();
            let given = cache.current("ca", later, PATIENCE, async { unreachable() }).await;
            (given, began.elapsed())
        };
        let (slow, (quick, took)) = tokio::join!(slow, quick);
        assert_eq!((slow, quick), (Ok(Some(b"old".to_vec())), Ok(Some(b"old".to_vec()))));
        assert!(took < PATIENCE / 2, "{took:?}");
        // One that does not hold any more is not given.
        let late = now + SignedDuration::from_hours(2);
        let failed = async { Err(CallError::Unclear("gone".into())) };
        assert!(cache.current("ca", late, PATIENCE, failed).await.is_err());
    }

    #[tokio::test]
    async fn only_a_crl_that_the_ca_signed_is_taken() {
        let (ours, others) = (TestCa::new(KeyAlgorithm::EcdsaP256), TestCa::new(KeyAlgorithm::EcdsaP256));
        let remote = Arc::new(ours.remote_ca("devices"));
        let crl = |ca: &TestCa| {
            let template = CrlTemplate {
                issuer: ours.certificate.subject().clone(),
                authority_key_identifier: ca.certificate.subject_key_identifier().unwrap(),
                number: 1,
                this_update: Timestamp::now(),
                next_update: Timestamp::now() + SignedDuration::from_hours(1),
                revoked: Vec::new(),
            };
            template.sign(&*ca.signer, ca.signer.algorithms()[0]).unwrap()
        };
        let own = crl(&ours);
        assert_eq!(Fetched::look(&remote, own.clone()).await.unwrap().der, own);
        let error = Fetched::look(&remote, crl(&others)).await.unwrap_err();
        assert!(error.to_string().contains("not signed by"), "{error}");
        assert!(Fetched::look(&remote, b"a page".to_vec()).await.is_err());
    }
}
