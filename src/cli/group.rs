//! `ravelin group`: device groups.

use clap::Subcommand;

use super::connect::{Connection, segment};
use super::{Exit, Global, Outcome, output};

/// `ravelin group`.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
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

impl GroupCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let connection = Connection::open(global).await?;
        match self {
            GroupCommand::List { json } => {
                let listed = connection.get("/v1/groups").await?;
                if json {
                    output::json(&listed);
                    return Ok(Exit::Ok);
                }
                let mut table = output::Table::new(&["NAME", "PROFILE", "APPROVAL", "ENDPOINTS", "DESCRIPTION"]);
                for one in listed["groups"].as_array().into_iter().flatten() {
                    table.row(["name", "profile", "approval", "endpoints", "description"].map(|field| output::text(one, field)));
                }
                table.print("There are no groups; a group is a file in the policies folder.");
            }
            GroupCommand::Show { name, json } => {
                let one = connection.get(&format!("/v1/groups/{}", segment(&name))).await?;
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
