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
    Shipped { name: "catalyst-ecdsa-p256-mldsa65", text: include_str!("../../algorithms/catalyst-ecdsa-p256-mldsa65.toml") },
    Shipped { name: "catalyst-rsa-mldsa65", text: include_str!("../../algorithms/catalyst-rsa-mldsa65.toml") },
    Shipped { name: "composite-mldsa65-ecdsa-p256", text: include_str!("../../algorithms/composite-mldsa65-ecdsa-p256.toml") },
    Shipped { name: "composite-mldsa65-rsa3072-pss", text: include_str!("../../algorithms/composite-mldsa65-rsa3072-pss.toml") },
    Shipped { name: "composite-mldsa87-ecdsa-p384", text: include_str!("../../algorithms/composite-mldsa87-ecdsa-p384.toml") },
    Shipped { name: "ecdsa-p256", text: include_str!("../../algorithms/ecdsa-p256.toml") },
    Shipped { name: "ecdsa-p384", text: include_str!("../../algorithms/ecdsa-p384.toml") },
    Shipped { name: "ed25519", text: include_str!("../../algorithms/ed25519.toml") },
    Shipped { name: "ml-dsa-44", text: include_str!("../../algorithms/ml-dsa-44.toml") },
    Shipped { name: "ml-dsa-65", text: include_str!("../../algorithms/ml-dsa-65.toml") },
    Shipped { name: "ml-dsa-87", text: include_str!("../../algorithms/ml-dsa-87.toml") },
    Shipped { name: "paired-ecdsa-p256-mldsa65", text: include_str!("../../algorithms/paired-ecdsa-p256-mldsa65.toml") },
    Shipped { name: "rsa-pss-sha256", text: include_str!("../../algorithms/rsa-pss-sha256.toml") },
    Shipped { name: "rsa-sha256", text: include_str!("../../algorithms/rsa-sha256.toml") },
    Shipped { name: "slh-dsa-sha2-128s", text: include_str!("../../algorithms/slh-dsa-sha2-128s.toml") },
    Shipped { name: "slh-dsa-shake-128f", text: include_str!("../../algorithms/slh-dsa-shake-128f.toml") },
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
