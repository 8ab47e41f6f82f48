//! What the real step-ca says of the provisioner.

use serde::Deserialize;

use super::StepCa;
use super::provisioner::Provisioner;
use crate::upstream::remote::CallError;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    provisioners: Option<Vec<Listed>>,
    #[serde(default)]
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    key: Option<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: Option<String>,
}

/// More pages of a hundred provisioners than any CA has.
const MOST_PAGES: usize = 100;

/// Whether the provisioner is there, of this type, with this key.
pub(super) async fn provisioner(ca: &StepCa, ours: &Provisioner) -> Result<Vec<String>, CallError> {
    let mut cursor = String::new();
    for _ in 0..MOST_PAGES {
        let answer = ca.get(&format!("/1.0/provisioners?limit=100&cursor={cursor}")).await?.success()?;
        let page: Page = serde_json::from_slice(&answer.body)
            .map_err(|error| CallError::Unclear(format!("the list of provisioners makes no sense: {error}")))?;
        if let Some(found) = page.provisioners.into_iter().flatten().find(|listed| listed.name == ours.name()) {
            return Ok(compare(&found, ours).into_iter().collect());
        }
        cursor = page.next_cursor.unwrap_or_default();
        if cursor.is_empty() || !cursor.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            break;
        }
    }
    Ok(vec![format!("step-ca has no provisioner {:?}", ours.name())])
}

fn compare(found: &Listed, ours: &Provisioner) -> Option<String> {
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
    if !found.kind.eq_ignore_ascii_case(ours.kind()) {
        return Some(format!("the provisioner {:?} is of the type {}, configured is {}", found.name, short(&found.kind), ours.kind()));
    }
    let theirs = found.key.as_ref().and_then(|key| key.kid.as_deref());
    match (ours.kid(), theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            Some(format!("the provisioner {:?} has the key {:?}, configured is {ours:?}", found.name, short(theirs)))
        }
        _ => None,
    }
}
