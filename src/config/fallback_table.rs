//! The `[fallback]` table of a policy.

use super::diagnostic::Diagnostic;
use super::reader::Reader;
use super::{Config, Origins, schema};
use crate::policy::DeviceGroup;
use crate::rollout::Learning;

/// What the table says of a group.
pub(super) fn read(root: &Reader<'_>, name: &str, origins: &mut Origins) -> Learning {
    let defaults = Learning::default();
    let Some(table) = root.table("fallback", &schema::FALLBACK) else { return defaults };
    if let Some(origin) = root.key_origin_of("fallback") {
        origins.note(format!("group/{name}/fallback"), &origin);
    }
    let within = table.duration("within").unwrap_or(defaults.within);
    if within.is_zero()
        && let Some(origin) = table.origin_of("within")
    {
        table.bad(&origin, "nobody comes back within no time");
    }
    let returns = table.integer("returns", 1, 100).and_then(|returns| u32::try_from(returns).ok());
    Learning { learn: table.boolean("learn").unwrap_or(defaults.learn), returns: returns.unwrap_or(defaults.returns), within }
}

/// Reports a table that changes nothing.
pub(super) fn check(group: &DeviceGroup, config: &Config) -> Option<(Diagnostic, String)> {
    let says = config.origins.has(&format!("group/{}/fallback", group.name));
    let falls = |name: &str| config.profile(name).is_some_and(|profile| profile.fallback.is_some());
    if !says || group.profiles().any(falls) {
        return None;
    }
    let message = format!("profile `{}` has no fallback: nothing is learned of these devices", group.profile);
    let help = "name one in the profile: fallback = \"NAME\"";
    Some((Diagnostic::warning("never-fits", message).help(help), "fallback".to_owned()))
}
