//! The algorithm profiles and policies that come with the program.
//!
//! A shipped profile is there without further ado, and a file of the same name in the configuration's `algorithms/` takes its place.
//! A shipped policy opens nothing: it is a template, and counts once it stands in the configuration's `policies/`.

/// A file that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its stem.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The algorithm profiles.
pub const PROFILES: &[Shipped] = &[
    Shipped { name: "ecdsa-p256", text: include_str!("../../algorithms/ecdsa-p256.toml") },
    Shipped { name: "ecdsa-p384", text: include_str!("../../algorithms/ecdsa-p384.toml") },
    Shipped { name: "rsa-sha256", text: include_str!("../../algorithms/rsa-sha256.toml") },
];

/// The policies.
pub const POLICIES: &[Shipped] = &[
    Shipped { name: "branch-routers", text: include_str!("../../policies/branch-routers.toml") },
    Shipped { name: "default", text: include_str!("../../policies/default.toml") },
    Shipped { name: "legacy-printers", text: include_str!("../../policies/legacy-printers.toml") },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folders_is_in_the_table() {
        for (folder, table) in [("algorithms", PROFILES), ("policies", POLICIES)] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let mut found: Vec<_> =
                std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            found.sort();
            assert_eq!(found, table.iter().map(|file| format!("{}.toml", file.name)).collect::<Vec<_>>());
        }
    }
}
