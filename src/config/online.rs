//! What only the real CAs know: whether the roles, labels and credentials in the configuration are good.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::{Config, build, value};
use crate::algorithm::{KeyAlgorithm, KeyRule};
use crate::upstream::{UpstreamCa, UpstreamError};

/// What is wrong with an upstream that cannot be asked.
pub const UNREACHABLE: &str = "upstream-unreachable";

/// What an upstream says is wrong.
pub const WRONG: &str = "upstream-says";

/// What an upstream says that is worth a look.
pub const REMARK: &str = "upstream-remarks";

/// What a profile accepts, and its CA does not take.
pub const KEYS: &str = "upstream-takes-no-such-key";

/// Asks every CA that a profile in use names, side by side, each no longer than `patience`. It changes nothing there.
pub async fn check(config: &Config, upstreams: &[Arc<dyn UpstreamCa>], patience: Duration) -> Diagnostics {
    let used: BTreeSet<(String, String)> = config
        .profiles
        .iter()
        .filter(|profile| build::in_use(config, profile))
        .flat_map(|profile| profile.issuers())
        .map(|issuer| (issuer.upstream.clone(), issuer.ca.clone()))
        .collect();
    let mut asked = JoinSet::new();
    for (name, ca) in used {
        let Some(upstream) = upstreams.iter().find(|upstream| upstream.name() == name).cloned() else { continue };
        asked.spawn(async move {
            let ask = async {
                let wrong = upstream.check_online(&ca).await?;
                // Where something is wrong with the names, nothing else is known.
                let (takes, longest) = match wrong.is_empty() {
                    true => (upstream.subject_keys_online(&ca).await?, upstream.longest_validity_online(&ca).await?),
                    false => (None, None),
                };
                Ok::<_, UpstreamError>((wrong, (takes, longest)))
            };
            let answer = tokio::time::timeout(patience, ask).await;
            let bounds = if let Ok(Ok((_, bounds))) = &answer { bounds.clone() } else { (None, None) };
            let findings: Vec<_> = match answer {
                Ok(Ok((wrong, _))) => wrong.into_iter().map(|what| (WRONG, what)).collect(),
                Ok(Err(error)) => vec![(UNREACHABLE, error.to_string())],
                Err(_) => vec![(UNREACHABLE, format!("no answer within {} s", patience.as_secs()))],
            };
            let remarks = upstream.remarks(&ca).into_iter().map(|what| (REMARK, what));
            let findings: Vec<_> = findings.into_iter().chain(remarks).collect();
            (name, ca, findings, bounds)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut all = Diagnostics::default();
    for (name, ca, findings, (takes, longest)) in answers {
        let at = [format!("upstream/{name}/ca/{ca}"), format!("upstream/{name}")];
        for (code, what) in findings {
            let message = format!("CA `{ca}` of upstream `{name}`: {what}");
            let finding = if code == REMARK { Diagnostic::warning(code, message) } else { Diagnostic::error(code, message) };
            all.push(config.origins.point(finding, &at));
        }
        let in_use = config.profiles.iter().filter(|profile| build::in_use(config, profile));
        let served = in_use.filter(|profile| profile.issuers().any(|issuer| issuer.upstream == name && issuer.ca == ca));
        for profile in served {
            if let Some(longest) = longest.filter(|longest| profile.validity > *longest) {
                let (asked, given) = (value::show_duration(profile.validity), value::show_duration(longest));
                let what = format!(
                    "algorithm profile `{}` asks for certificates of {asked}, and CA `{ca}` of upstream `{name}` gives {given} at most",
                    profile.name
                );
                all.push(config.origins.point(Diagnostic::error(WRONG, what), &at));
            }
            let untaken = takes.as_ref().map(|takes| untaken(&profile.accepts, takes)).unwrap_or_default();
            if untaken.is_empty() {
                continue;
            }
            let names: Vec<_> = untaken.iter().map(KeyAlgorithm::to_string).collect();
            let what = format!(
                "algorithm profile `{}` accepts keys that CA `{ca}` of upstream `{name}` does not take: {}",
                profile.name,
                names.join(", ")
            );
            all.push(config.origins.point(Diagnostic::warning(KEYS, what), &at));
        }
    }
    all
}

/// The keys that are accepted and not taken: of a range of RSA sizes its ends.
fn untaken(accepts: &[KeyRule], takes: &[KeyRule]) -> Vec<KeyAlgorithm> {
    let mut keys: Vec<_> = accepts.iter().flat_map(|rule| rule.bounds()).collect();
    keys.retain(|key| !takes.iter().any(|rule| rule.admits(*key)));
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_ca_does_not_take_is_named() {
        let rules = |text: &[&str]| text.iter().map(|rule| rule.parse().unwrap()).collect::<Vec<KeyRule>>();
        let takes = rules(&["rsa-2048", "rsa-4096", "ecdsa-p256"]);
        assert_eq!(untaken(&rules(&["rsa-2048..4096", "ecdsa-p256"]), &takes), []);
        let accepts = rules(&["rsa-2048..8192", "ecdsa-p256", "ecdsa-p384", "ecdsa-p384"]);
        assert_eq!(untaken(&accepts, &takes), [KeyAlgorithm::Rsa(8192), KeyAlgorithm::EcdsaP384]);
    }
}
