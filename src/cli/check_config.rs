//! `ravelin check-config`.

use clap::Args;

use super::{Exit, Failed, Global, Outcome, connect, output};
use crate::server::instance;

/// `ravelin check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// Ask every upstream CA whether it is well too
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
        let (snapshot, warnings) = instance::check(config).await?;
        if !warnings.is_empty() {
            eprintln!("{}", instance::report(&warnings));
            if self.deny_warnings {
                let (_, count) = warnings.counts();
                return Err(Failed::config(format!("there are warnings ({count}), and --deny-warnings is set")));
            }
        }
        if self.online {
            let mut ill = Vec::new();
            for (name, upstream) in &snapshot.upstreams {
                if let Err(error) = upstream.health().await {
                    ill.push(format!("{name}: {error}"));
                }
            }
            if !ill.is_empty() {
                return Err(Failed::unavailable(format!("upstreams that cannot be reached:\n{}", ill.join("\n"))));
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
