//! Whether the CAs of an upstream answer: all are asked side by side, and learned from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{CallError, Connector, RemoteCa};

/// How long the others may take once one has answered.
const OTHERS: Duration = Duration::from_secs(3);

/// What was said of the CAs last: each thing is logged once, however often it is found.
#[derive(Default)]
pub(super) struct Remarks(Mutex<BTreeMap<String, String>>);

impl Remarks {
    fn note(&self, upstream: &str, ca: &str, remark: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match remark {
            None => drop(all.remove(ca)),
            Some(remark) if all.get(ca) == Some(&remark) => {}
            Some(remark) => {
                tracing::warn!(upstream, ca, "The CA answers, but is not as it should be: {remark}.");
                all.insert(ca.to_owned(), remark);
            }
        }
    }
}

/// Asks the CAs for their certificates; fails if none of them answered. A CA that says no, or tells what leads to nothing that is
/// configured, has answered: there is nothing to wait for, and other CAs at the upstream are well.
pub(super) async fn ask(
    upstream: &str,
    connector: &Arc<dyn Connector>,
    cas: impl Iterator<Item = &Arc<RemoteCa>>,
    remarks: &Remarks,
) -> Result<(), CallError> {
    // They end with this: who asks may lose patience.
    let mut asked = JoinSet::new();
    for ca in cas {
        let (connector, ca) = (Arc::clone(connector), Arc::clone(ca));
        asked.spawn(async move {
            let told = connector.certificates(&ca).await;
            (ca, told)
        });
    }
    let mut failure = None;
    let mut until = None;
    loop {
        let next = match until {
            None => asked.join_next().await,
            Some(until) => timeout_at(until, asked.join_next()).await.ok().flatten(),
        };
        let remark = match next {
            None => break,
            Some(Ok((ca, Ok(told)))) => (ca.clone(), learn(upstream, &ca, &told).await.err()),
            Some(Ok((ca, Err(CallError::Refused(reason))))) => (ca, Some(reason)),
            Some(Ok((_, Err(error)))) => {
                failure = Some(error);
                continue;
            }
            Some(Err(join)) => {
                failure = Some(CallError::Unclear(join.to_string()));
                continue;
            }
        };
        until.get_or_insert_with(|| Instant::now() + OTHERS);
        remarks.note(upstream, remark.0.name(), remark.1);
    }
    match failure {
        Some(error) if until.is_none() => Err(error),
        _ => Ok(()),
    }
}

/// Learns what certificates a CA has now.
pub(super) async fn learn(upstream: &str, ca: &RemoteCa, told: &[Arc<crate::x509::Certificate>]) -> Result<(), String> {
    if ca.learn(told).await? {
        tracing::info!(upstream, ca = ca.name(), "The CA has another certificate or chain.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::algorithm::KeyAlgorithm;
    use crate::upstream::remote::Abilities;
    use crate::upstream::testing::TestCa;
    use crate::upstream::{IdempotencyKey, IssuanceOrder, Submission};
    use crate::x509::Certificate;
    use crate::x509::crl::RevocationReason;

    /// CAs that answer as their names say.
    struct Named(Arc<Certificate>);

    #[async_trait]
    impl Connector for Named {
        fn abilities(&self, _ca: &RemoteCa) -> Abilities {
            Abilities::default()
        }

        async fn submit(&self, _ca: &RemoteCa, _order: &IssuanceOrder, _key: &IdempotencyKey) -> Submission {
            unreachable!("nobody orders")
        }

        async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
            match ca.name() {
                "well" => Ok(Vec::new()),
                "strange" => Ok(vec![Arc::clone(&self.0)]),
                "refuses" => Err(CallError::Refused("no such CA".into())),
                "busy" => Err(CallError::not_taken("503")),
                "panics" => panic!("as it should"),
                _ => std::future::pending().await,
            }
        }

        async fn revoke(&self, _ca: &RemoteCa, _certificate: &Certificate, _reason: RevocationReason) -> Result<(), CallError> {
            unreachable!("nobody revokes")
        }
    }

    #[tokio::test]
    async fn an_upstream_is_well_where_one_of_its_cas_answers() {
        let (ours, other) = (TestCa::new(KeyAlgorithm::EcdsaP256), TestCa::new(KeyAlgorithm::EcdsaP256));
        let connector: Arc<dyn Connector> = Arc::new(Named(Arc::clone(&other.certificate)));
        let remarks = Remarks::default();
        let asked = async |names: &[&str]| {
            let cas: Vec<_> = names.iter().map(|name| Arc::new(ours.remote_ca(name))).collect();
            let call = ask("upstream", &connector, cas.iter(), &remarks);
            tokio::time::timeout(OTHERS * 3, call).await
        };
        for well in [&["well"][..], &["refuses"], &["strange"], &["busy", "well"], &["panics", "refuses"], &["hangs", "well"]] {
            assert_eq!(asked(well).await, Ok(Ok(())), "{well:?}");
        }
        for ill in [&["busy"][..], &["panics"], &["busy", "panics"]] {
            assert!(asked(ill).await.expect("they answer").is_err(), "{ill:?}");
        }
        assert_eq!(remarks.0.lock().unwrap().keys().collect::<Vec<_>>(), ["refuses", "strange"]);
        assert!(asked(&["hangs", "busy"]).await.is_err(), "it may answer yet");
    }
}
