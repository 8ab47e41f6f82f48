//! What the real OpenBao or Vault says of a role, and of what we may do there.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::session::Session;
use super::wire::{self, Data};
use super::{Mode, NamesFrom, RoleSettings};
use crate::upstream::remote::CallError;

/// A role, as far as it is looked at.
#[derive(Deserialize)]
struct Role {
    #[serde(default = "yes")]
    use_csr_common_name: bool,
    #[serde(default = "yes")]
    use_csr_sans: bool,
    #[serde(default)]
    not_after: String,
}

fn yes() -> bool {
    true
}

/// Looks at the role, and at what the token may do.
pub(super) async fn role(session: &Session, ours: &RoleSettings) -> Result<Vec<String>, CallError> {
    let mut findings = permissions(session, ours).await?;
    let Some(name) = &ours.role else { return Ok(findings) };
    let answer = session.send(Method::GET, &format!("{}/roles/{name}", ours.mount), None, None).await?;
    match answer.status {
        StatusCode::NOT_FOUND => findings.push(format!("there is no role {name:?} at {:?}", ours.mount)),
        // It need not be allowed to us.
        StatusCode::FORBIDDEN => tracing::info!(role = name, "The role cannot be looked at: the policy of the token does not allow to read it."),
        _ => {
            let body = wire::success(answer)?.body;
            let Data::<Role> { data } = serde_json::from_slice(&body).map_err(wire::unclear)?;
            findings.extend(compare(name, &data, ours));
        }
    }
    Ok(findings)
}

fn compare(name: &str, role: &Role, ours: &RoleSettings) -> Vec<String> {
    let mut findings = Vec::new();
    if ours.mode == Mode::Sign && ours.names_from == NamesFrom::Request {
        for (reads, key) in [(role.use_csr_common_name, "use_csr_common_name"), (role.use_csr_sans, "use_csr_sans")] {
            if reads {
                findings.push(format!("the role {name:?} has `{key}`; with `names-from = \"request\"` it has to be false"));
            }
        }
    }
    if ours.mode == Mode::Sign && !role.not_after.is_empty() {
        findings.push(format!("the role {name:?} has a fixed `not_after`; the validity of the profile cannot be asked for"));
    }
    findings
}

/// Whether the token may sign and revoke there.
async fn permissions(session: &Session, ours: &RoleSettings) -> Result<Vec<String>, CallError> {
    let paths = [(ours.sign_path(), "issue"), (ours.revoke_path(), "revoke")];
    let body = json!({ "paths": paths.each_ref().map(|(path, _)| path) });
    let answer = session.send(Method::POST, "sys/capabilities-self", Some(&body), None).await?;
    if answer.status == StatusCode::FORBIDDEN {
        return Ok(Vec::new());
    }
    let body = wire::success(answer)?.body;
    let Data::<BTreeMap<String, Option<serde_json::Value>>> { data } = serde_json::from_slice(&body).map_err(wire::unclear)?;
    let may = |path: &str| {
        let granted = data.get(path).and_then(Option::as_ref).and_then(serde_json::Value::as_array);
        granted.is_none_or(|all| all.iter().any(|one| matches!(one.as_str(), Some("update" | "root"))))
    };
    let missing = paths.iter().filter(|(path, _)| !may(path));
    Ok(missing.map(|(path, what)| format!("our token may not {what}: its policy lacks `update` on {path:?}")).collect())
}
