//! `ravelin check-config`.

use std::time::Duration;

use clap::Args;

use super::{Exit, Failed, Global, Outcome, connect, output};
use crate::config::online;
use crate::server::instance;

/// How long a CA may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// `ravelin check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// Ask every upstream CA that is in use too, and change nothing there
    #[arg(long)]
    pub online: bool,
    /// Take warnings for errors
    #[arg(long)]
    pub deny_warnings: bool,
}

impl CheckConfigArgs {
    /// Reads and checks everything that a start reads and checks, and changes nothing.
    pub async fn run(self, global: &Global) -> Outcome {
        let path = global.config_path();
        let config = connect::load(&path)?;
        let (config, snapshot, warnings) = instance::check(config).await?;
        if !warnings.is_empty() {
            eprintln!("{}", instance::report(&warnings));
            if self.deny_warnings {
                let (_, count) = warnings.counts();
                return Err(Failed::config(format!("there are warnings ({count}), and --deny-warnings is set")));
            }
        }
        if self.online {
            let upstreams: Vec<_> = snapshot.upstreams.values().cloned().collect();
            let found = online::check(&config, &upstreams, PATIENCE).await;
            if !found.is_empty() {
                eprintln!("{}", instance::report(&found));
            }
            if self.deny_warnings && !found.is_empty() && !found.has_errors() {
                return Err(Failed::config("upstreams have remarks, and --deny-warnings is set"));
            }
            if found.has_errors() {
                let told = |code: &str| found.iter().any(|finding| finding.code == code);
                let only_away = told(online::UNREACHABLE) && !told(online::WRONG);
                return Err(match only_away {
                    true => Failed::unavailable("not every upstream can be reached"),
                    false => Failed::config("not every upstream is as it is configured"),
                });
            }
        }
        output::print(&format!(
            "{} is good: {} groups, {} profiles, {} endpoints, digest {}.\n",
            path.display(),
            snapshot.groups.len(),
            snapshot.profiles.len(),
            snapshot.endpoints.len(),
            &snapshot.digest_hex()[..16]
        ));
        Ok(Exit::Ok)
    }
}
