//! `ravelin serve`.

use std::net::SocketAddr;

use clap::Args;
use tokio::sync::watch;

use super::{Exit, Failed, Global, Outcome};
use crate::config::{Config, Overrides};
use crate::server::{self, Instance, ServeError, instance};
use crate::telemetry::{LogFormat, logs};

/// `ravelin serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Answer devices over plain HTTP here instead of where the configuration says; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<SocketAddr>,
    /// Answer health and metrics here instead of where the configuration says
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
}

impl ServeArgs {
    /// Serves until a signal.
    pub fn run(self, global: &Global) -> Outcome {
        let overrides = overrides(&self.listen, self.admin);
        let config = instance::load(&global.config_path(), &overrides)?;
        start_logs(global, &config, None)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let served = runtime.block_on(async {
            // The sender lives as long as the server: only signals stop it.
            let (_stop, stops) = watch::channel(false);
            let instance = Instance::open_with(config, overrides).await?;
            server::run(instance, stops, |_| ()).await?;
            Ok::<_, ServeError>(())
        });
        // What still runs on other threads has been told to stop and had its grace.
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        served?;
        Ok(Exit::Ok)
    }
}

/// What the environment and the command line set over the configuration.
pub fn overrides(listen: &[SocketAddr], admin: Option<SocketAddr>) -> Overrides {
    let mut overrides = Overrides::from_environment();
    if !listen.is_empty() {
        let list: Vec<String> = listen.iter().map(|address| format!("\"{address}\"")).collect();
        overrides = overrides.set("server.listen", &format!("[{}]", list.join(", ")));
    }
    if let Some(admin) = admin {
        overrides = overrides.set("server.admin", &admin.to_string());
    }
    overrides
}

/// Starts logging as the command line says, else the configuration; `quiet` is the filter if neither says anything.
pub fn start_logs(global: &Global, config: &Config, quiet: Option<&str>) -> Result<(), Failed> {
    let format = match global.log_format {
        Some(format) => format,
        None => config.log.format.parse::<LogFormat>().map_err(Failed::config)?,
    };
    let filter = global.log.as_deref().or(quiet).unwrap_or(&config.log.filter);
    logs::init(format, filter).map_err(Failed::config)
}
