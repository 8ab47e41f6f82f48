//! What operators see and do about what was learned of devices.

use serde::Serialize;
use serde_json::json;

use super::Enroller;
use super::learn;
use super::operate::OperateError;
use crate::inventory::DeviceFinding;
use crate::rollout::Given;

/// How many certificates of a device a report tells.
const TOLD: usize = 20;

/// What is known of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// The device group.
    pub group: String,
    /// The device.
    pub device: String,
    /// What was learned of it, what was taken back included.
    pub findings: Vec<DeviceFinding>,
    /// The newest certificates that it was given.
    pub certificates: Vec<Given>,
}

impl Enroller {
    /// What is known of a device.
    pub async fn device(&self, group: &str, device: &str) -> Result<DeviceReport, OperateError> {
        let inventory = self.inventory();
        let findings = inventory.findings_of(group, device).await?;
        let certificates = inventory.given(group, device, TOLD).await?;
        if findings.is_empty() && certificates.is_empty() {
            return Err(OperateError::NoSuchDevice { group: group.to_owned(), device: device.to_owned() });
        }
        Ok(DeviceReport { group: group.to_owned(), device: device.to_owned(), findings, certificates })
    }

    /// Forgets what was learned of a device, under one profile or all; gives what was forgotten. It gets the profile that is chosen
    /// for it from the next request on, and what it showed before does not count again.
    pub async fn forget_device(
        &self,
        group: &str,
        device: &str,
        profile: Option<&str>,
        reason: &str,
        operator: &str,
    ) -> Result<Vec<DeviceFinding>, OperateError> {
        let core = self.core();
        let holds =
            |finding: &DeviceFinding| finding.gone_at.is_none() && profile.is_none_or(|profile| finding.profile == profile);
        let mut forgotten = Vec::new();
        for finding in core.inventory.findings_of(group, device).await?.into_iter().filter(holds) {
            let (now, actor) = (core.now(), format!("operator:{operator}"));
            let event =
                learn::event("device.forgotten", &actor, &finding, json!({ "reason": reason, "was": finding.detail }), now);
            if core.inventory.unlearn(group, device, &finding.profile, now, event).await? {
                forgotten.push(finding);
            }
        }
        match forgotten.is_empty() {
            true => Err(OperateError::NoSuchDevice { group: group.to_owned(), device: device.to_owned() }),
            false => Ok(forgotten),
        }
    }
}
