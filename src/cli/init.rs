//! `ravelin init`.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failed, Global, Outcome, connect, output, setup};
use crate::config::template;

/// `ravelin init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder to make
    #[arg(long, value_name = "DIR", default_value = "ravelin-data")]
    pub dir: PathBuf,
}

impl InitArgs {
    /// Makes the folder. What is there already stays.
    pub fn run(self, _global: &Global) -> Outcome {
        let file = self.dir.join("ravelin.toml");
        let fresh = !file.exists();
        template::write(&self.dir, &template::Options::default())
            .map_err(|error| Failed::new(format!("{}: {error}", self.dir.display())))?;
        let config = connect::load(&file)?;
        let made = setup::make(&config)?;
        output::print(&format!("{} {}\n", if fresh { "Wrote" } else { "Kept" }, file.display()));
        for ca in &made.cas {
            output::print(&format!("Made the CA {ca}\n"));
        }
        if made.ra {
            output::print("Made the RA's keys and certificates\n");
        }
        output::print(&format!("Next:\n  {1} -c {0} check-config\n  {1} -c {0} serve\n", file.display(), output::program()));
        Ok(Exit::Ok)
    }
}
