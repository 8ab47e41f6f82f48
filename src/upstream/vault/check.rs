//! What the real OpenBao or Vault says of a role, and of what we may do there.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::session::Session;
use super::wire::{self, Data};
use super::{Mode, NamesFrom, RoleSettings};
use crate::algorithm::{KeyAlgorithm, KeyRule};
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
    #[serde(default)]
    key_type: String,
    #[serde(default)]
    key_bits: u32,
}

fn yes() -> bool {
    true
}

/// Looks at the role, and at what the token may do.
pub(super) async fn role(session: &Session, ours: &RoleSettings) -> Result<Vec<String>, CallError> {
    let mut findings = permissions(session, ours).await?;
    let Some(name) = &ours.role else { return Ok(findings) };
    match read(session, ours, name).await? {
        Read::Role(role) => findings.extend(compare(name, &role, ours)),
        Read::Missing => findings.push(format!("there is no role {name:?} at {:?}", ours.mount)),
        Read::Forbidden => {
            tracing::info!(role = name, "The role cannot be looked at: the policy of our token does not allow it.")
        }
    }
    Ok(findings)
}

/// The subject keys that the role takes, where it does not take any. `sign-verbatim` takes any.
pub(super) async fn subject_keys(session: &Session, ours: &RoleSettings) -> Result<Option<Vec<KeyRule>>, CallError> {
    let (Mode::Sign, Some(name)) = (ours.mode, &ours.role) else { return Ok(None) };
    Ok(match read(session, ours, name).await? {
        Read::Role(role) => keys_of(&role),
        Read::Missing | Read::Forbidden => None,
    })
}

/// The keys by `key_type` and `key_bits` of a role: with so many bits or more.
fn keys_of(role: &Role) -> Option<Vec<KeyRule>> {
    let curves = [(256, KeyAlgorithm::EcdsaP256), (384, KeyAlgorithm::EcdsaP384), (521, KeyAlgorithm::EcdsaP521)];
    match role.key_type.as_str() {
        "rsa" => Some(vec![KeyRule::RsaRange { min: role.key_bits.max(2048), max: 8192 }]),
        "ec" => {
            let allowed = curves.into_iter().filter(|(bits, _)| *bits >= role.key_bits);
            Some(allowed.map(|(_, key)| KeyRule::Exactly(key)).collect())
        }
        "ed25519" => Some(vec![KeyRule::Exactly(KeyAlgorithm::Ed25519)]),
        _ => None,
    }
}

/// What became of reading a role.
enum Read {
    Role(Role),
    Missing,
    /// It need not be allowed to us.
    Forbidden,
}

async fn read(session: &Session, ours: &RoleSettings, name: &str) -> Result<Read, CallError> {
    let answer = session.send(Method::GET, &format!("{}/roles/{name}", ours.mount), None, None).await?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(Read::Missing),
        StatusCode::FORBIDDEN => Ok(Read::Forbidden),
        _ => {
            let body = wire::success(answer)?.body;
            let Data::<Role> { data } = serde_json::from_slice(&body).map_err(wire::unclear)?;
            Ok(Read::Role(data))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_says_which_keys_it_takes() {
        let keys =
            |kind: &str, bits: u32| keys_of(&serde_json::from_value(json!({ "key_type": kind, "key_bits": bits })).unwrap());
        assert_eq!(keys("any", 0), None);
        assert_eq!(keys("rsa", 0), Some(vec![KeyRule::RsaRange { min: 2048, max: 8192 }]));
        assert_eq!(keys("rsa", 3072), Some(vec![KeyRule::RsaRange { min: 3072, max: 8192 }]));
        assert_eq!(
            keys("ec", 384),
            Some(vec![KeyRule::Exactly(KeyAlgorithm::EcdsaP384), KeyRule::Exactly(KeyAlgorithm::EcdsaP521)])
        );
        assert_eq!(keys("ed25519", 0), Some(vec![KeyRule::Exactly(KeyAlgorithm::Ed25519)]));
    }
}
