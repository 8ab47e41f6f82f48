//! What only the real CAs know: whether the roles, labels and credentials in the configuration are good.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::{Config, build};
use crate::upstream::UpstreamCa;

/// What is wrong with an upstream that cannot be asked.
pub const UNREACHABLE: &str = "upstream-unreachable";

/// What an upstream says is wrong.
pub const WRONG: &str = "upstream-says";

/// What an upstream says that is worth a look.
pub const REMARK: &str = "upstream-remarks";

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
            let answer = tokio::time::timeout(patience, upstream.check_online(&ca)).await;
            let findings: Vec<_> = match answer {
                Ok(Ok(wrong)) => wrong.into_iter().map(|what| (WRONG, what)).collect(),
                Ok(Err(error)) => vec![(UNREACHABLE, error.to_string())],
                Err(_) => vec![(UNREACHABLE, format!("no answer within {} s", patience.as_secs()))],
            };
            let remarks = upstream.remarks(&ca).into_iter().map(|what| (REMARK, what));
            let findings: Vec<_> = findings.into_iter().chain(remarks).collect();
            (name, ca, findings)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort();
    let mut all = Diagnostics::default();
    for (name, ca, findings) in answers {
        let at = [format!("upstream/{name}/ca/{ca}"), format!("upstream/{name}")];
        for (code, what) in findings {
            let message = format!("CA `{ca}` of upstream `{name}`: {what}");
            let finding = if code == REMARK { Diagnostic::warning(code, message) } else { Diagnostic::error(code, message) };
            all.push(config.origins.point(finding, &at));
        }
    }
    all
}
