//! `ravelin reload`.

use clap::Args;

use super::connect::Connection;
use super::{Exit, Global, Outcome, output};

/// `ravelin reload`.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl ReloadArgs {
    /// Asks the running server to load its configuration, and says what came of it.
    pub async fn run(self, global: &Global) -> Outcome {
        let answer = Connection::to_server(global).await?.post("/v1/reload", &serde_json::Value::Null).await?;
        if self.json {
            output::json(&answer);
        } else {
            let generation = output::text(&answer, "generation");
            let digest = output::text(&answer, "digest");
            output::print(&format!("Loaded: generation {generation}, digest {}.\n", &digest[..digest.len().min(16)]));
        }
        Ok(Exit::Ok)
    }
}
