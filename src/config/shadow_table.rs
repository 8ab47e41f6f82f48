//! The `[shadow]` table of a policy.

use super::diagnostic::Diagnostic;
use super::reader::Reader;
use super::{Origins, schema};

/// The profile that the table names.
pub(super) fn read(root: &Reader<'_>, name: &str, profile: &str, origins: &mut Origins) -> Option<String> {
    let table = root.table("shadow", &schema::SHADOW)?;
    let candidate = table.required("candidate")?;
    origins.note(format!("group/{name}/shadow.candidate"), &candidate.origin);
    if candidate.value == profile {
        let finding = Diagnostic::error("bad-value", format!("`{profile}` is the profile of the group already"));
        table.report(finding.at(&candidate.origin).help("name another one to try, or take the table `[shadow]` out"));
    }
    Some(candidate.value)
}
