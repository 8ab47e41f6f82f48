//! Writes a configuration to start from, commented, with everything where people look for it.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::shipped::{POLICIES, PROFILES};

/// What differs between one start and another.
#[derive(Clone, Debug)]
pub struct Options {
    /// The listener for devices.
    pub listen: SocketAddr,
    /// Health and metrics.
    pub admin: Option<SocketAddr>,
    /// The shipped policies that count from the start; all others are written as `NAME.toml.example`.
    pub policies: Vec<String>,
}

/// The group `default` on 127.0.0.1.
impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
            policies: vec!["default".into()],
        }
    }
}

/// Writes `ravelin.toml`, `algorithms/` and `policies/` into a folder, which is made if need be. Files that are there stay as they
/// are. Gives the files that were written.
pub fn write(dir: &Path, options: &Options) -> io::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for folder in [dir.to_owned(), dir.join("algorithms"), dir.join("policies")] {
        fs::create_dir_all(folder)?;
    }
    let mut files = vec![(dir.join("ravelin.toml"), ravelin_toml(options))];
    for profile in PROFILES {
        files.push((dir.join(format!("algorithms/{}.toml", profile.name)), profile.text.to_owned()));
    }
    for policy in POLICIES {
        let ending = if options.policies.iter().any(|name| name == policy.name) { "toml" } else { "toml.example" };
        files.push((dir.join(format!("policies/{}.{ending}", policy.name)), policy.text.to_owned()));
    }
    for (path, text) in files {
        // `create_new`, so that a file that is there is never overwritten.
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                written.push(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn ravelin_toml(options: &Options) -> String {
    let default_endpoint = match options.policies.first() {
        Some(name) => format!("default-endpoint = \"{name}\"      # takes /cgi-bin/pkiclient.exe and unknown paths"),
        None => "# default-endpoint = \"NAME\"      # takes /cgi-bin/pkiclient.exe and unknown paths".to_owned(),
    };
    let admin = options.admin.map_or_else(|| "off".to_owned(), |address| address.to_string());
    format!(
        r#"# Ravelin: what belongs to the server. Device groups are in policies/, algorithm profiles in algorithms/.
# What stands here behind a single # is the default. Check a change before it is loaded: ravelin check-config
# Any value can come from the environment instead: RAVELIN__SERVER__PATIENCE=5s

version = 1
data = "."                          # keys, inventory, control socket; relative to this file
{default_endpoint}

[server]
listen = ["{listen}"]        # plain HTTP for devices; SCEP protects its own messages
# listen-tls = ["0.0.0.0:8443"]     # HTTPS, with:
# tls = {{ certificate = "tls/chain.pem", key = "tls/key.pem" }}
# public-url = "http://{listen}"     # how others reach this server: certificates say that their CRL is there
admin = "{admin}"            # health and metrics, for nobody but you; "off" for none
# control-socket = "control.sock"   # how commands reach the service
# patience = "10s"                  # how long a request waits for its CA before the device is told to come back
# shutdown-grace = "30s"
# retention = "30d"                 # of refused transactions, spent challenges and replies
# keep-transactions = "180d"        # of those that were issued or failed; certificates and the audit log stay
# watch = true                      # load changed files without being told

[limits]
# max-connections = 1024
# max-requests = 256
# per-source = 20                   # requests per second from one address; no limit if not set
# max-body = "128KiB"
# header-timeout = "10s"
# body-timeout = "20s"
# idle-timeout = "60s"

[worker]
# crypto-threads = 2                # as many as there are cores if not set
# crypto-queue = 256
# slow-threads = 1                  # for SLH-DSA signatures; half as many as there are cores if not set
# slow-queue = 32

[log]
# format = "auto"                   # auto, text or json
# filter = "info"

[[ra]]                              # the RA's own two keys: one signs, one decrypts
# name = "default"                  # a second [[ra]] with another name is for endpoints that say [scep] ra = "NAME"
# dir = "ra"

[keys]
# passphrase-file = "secrets/key-passphrase"

[[upstream]]                        # the CAs behind; algorithm profiles name them
name = "local"
kind = "local"                      # the embedded CA: one folder per CA in:
dir = "ca"

# [[endpoint]]                      # one address for several groups, beside each group's own /scep/NAME
# name = "shared"
# path = "/scep/shared"
# groups = ["default", "branch-routers"]
# scep = {{ accept-digests = ["sha-256"] }}
"#,
        listen = options.listen,
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Overrides, load};
    use super::*;

    #[test]
    fn what_is_written_loads_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let written = write(dir.path(), &Options::default()).unwrap();
        assert!(written.iter().any(|path| path.ends_with("policies/legacy-printers.toml.example")));
        let config = load(dir.path(), &Overrides::none()).unwrap_or_else(|findings| panic!("{findings}"));
        assert!(config.warnings.is_empty(), "{}", config.warnings);
        assert_eq!(config.groups.iter().map(|(g, _)| g.name.as_str()).collect::<Vec<_>>(), ["default"]);
        assert_eq!(config.data, dir.path().join("."));
        assert_eq!(config.default_endpoint.as_deref(), Some("default"));

        std::fs::write(dir.path().join("ravelin.toml"), "version = 1\n").unwrap();
        assert_eq!(write(dir.path(), &Options::default()).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(std::fs::read_to_string(dir.path().join("ravelin.toml")).unwrap(), "version = 1\n");
    }

    /// What stands behind a single `#` and is a key is the default, and is read.
    #[test]
    fn the_comments_tell_the_truth() {
        let text = ravelin_toml(&Options::default());
        let uncommented: String = text
            .lines()
            .filter(|line| !line.starts_with("# [[endpoint]]"))
            .take_while(|line| !line.starts_with("# name"))
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .filter(|line| !line.starts_with("listen-tls") && !line.starts_with("tls") && !line.starts_with("per-source"))
            .filter(|line| !line.starts_with("crypto-threads") && !line.starts_with("slow-threads"))
            .collect();
        let load_text = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("ravelin.toml"), text).unwrap();
            let dir_path = dir.path().to_owned();
            std::fs::create_dir(dir.path().join("policies")).unwrap();
            std::fs::write(dir.path().join("policies/default.toml"), POLICIES[1].text).unwrap();
            let config = load(dir.path(), &Overrides::none()).unwrap_or_else(|findings| panic!("{findings}"));
            let shown = format!("{:?} {:?} {:?} {:?}", config.server, config.log, config.ra_dir, config.passphrase_file);
            shown.replace(&dir_path.display().to_string(), "")
        };
        assert!(uncommented.contains("\npatience = \"10s\""), "{uncommented}");
        assert_eq!(load_text(&text), load_text(&uncommented));
    }
}
