//! What the real step-ca says of the provisioner.

use std::time::Duration;

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
    claims: Option<Claims>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "maxTLSCertDuration")]
    longest: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    kid: Option<String>,
}

/// More pages of a hundred provisioners than any CA has.
const MOST_PAGES: usize = 100;

/// Whether the provisioner is there, of this type, with this key.
pub(super) async fn provisioner(ca: &StepCa, ours: &Provisioner) -> Result<Vec<String>, CallError> {
    Ok(match listed(ca, ours).await? {
        Some(found) => compare(&found, ours).into_iter().collect(),
        None => vec![format!("step-ca has no provisioner {:?}", ours.name())],
    })
}

/// The longest validity that it gives, where it says so itself; what holds for the whole CA is not told.
pub(super) async fn longest_validity(ca: &StepCa, ours: &Provisioner) -> Result<Option<Duration>, CallError> {
    let claims = listed(ca, ours).await?.and_then(|found| found.claims);
    Ok(claims.and_then(|claims| claims.longest).and_then(|text| go_duration(&text)))
}

async fn listed(ca: &StepCa, ours: &Provisioner) -> Result<Option<Listed>, CallError> {
    let mut cursor = String::new();
    for _ in 0..MOST_PAGES {
        let answer = ca.get(&format!("/1.0/provisioners?limit=100&cursor={cursor}")).await?.success()?;
        let page: Page = serde_json::from_slice(&answer.body)
            .map_err(|error| CallError::Unclear(format!("the list of provisioners makes no sense: {error}")))?;
        if let Some(found) = page.provisioners.into_iter().flatten().find(|listed| listed.name == ours.name()) {
            return Ok(Some(found));
        }
        cursor = page.next_cursor.unwrap_or_default();
        if cursor.is_empty() || !cursor.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            break;
        }
    }
    Ok(None)
}

/// A duration as Go writes it: `24h0m0s`, `1.5h`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..unit].parse().ok()?;
        let end = rest[unit..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |digits| unit + digits);
        seconds += number
            * match &rest[unit..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                _ => return None,
            };
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

fn compare(found: &Listed, ours: &Provisioner) -> Option<String> {
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
    if !found.kind.eq_ignore_ascii_case(ours.kind()) {
        return Some(format!(
            "the provisioner {:?} is of the type {}, configured is {}",
            found.name,
            short(&found.kind),
            ours.kind()
        ));
    }
    let theirs = found.key.as_ref().and_then(|key| key.kid.as_deref());
    match (ours.kid(), theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            Some(format!("the provisioner {:?} has the key {:?}, configured is {ours:?}", found.name, short(theirs)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let hours = |count: u64| Some(Duration::from_secs(count * 3600));
        assert_eq!(go_duration("24h0m0s"), hours(24));
        assert_eq!(go_duration("8760h"), hours(8760));
        assert_eq!(go_duration("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(go_duration("5m0s"), Some(Duration::from_secs(300)));
        for nonsense in ["", "h", "24", "1d", "-1h", "0s", "1h x"] {
            assert_eq!(go_duration(nonsense), None, "{nonsense:?}");
        }
    }
}
