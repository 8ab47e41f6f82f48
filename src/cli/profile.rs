//! `ravelin profile`: algorithm profiles.

use clap::Subcommand;

use super::connect::{Connection, segment};
use super::{Exit, Global, Outcome, output};

/// `ravelin profile`.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Its name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl ProfileCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let connection = Connection::open(global).await?;
        match self {
            ProfileCommand::List { json } => {
                let listed = connection.get("/v1/profiles").await?;
                if json {
                    output::json(&listed);
                    return Ok(Exit::Ok);
                }
                let mut table = output::Table::new(&["NAME", "ACCEPTS", "FORM", "SIGNATURE", "ISSUER", "VALIDITY"]);
                for one in listed["profiles"].as_array().into_iter().flatten() {
                    table.row(
                        ["name", "accepts", "form", "signature", "issuer", "validity"].map(|field| output::text(one, field)),
                    );
                }
                table.print("There are no profiles; a profile is a file in the algorithms folder.");
            }
            ProfileCommand::Show { name, json } => {
                let one = connection.get(&format!("/v1/profiles/{}", segment(&name))).await?;
                if json {
                    output::json(&one);
                } else {
                    output::print(&super::output::object(&one));
                }
            }
        }
        Ok(Exit::Ok)
    }
}
