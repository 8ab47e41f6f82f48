//! `ravelin group`: device groups.

use clap::Subcommand;

use super::change_profile::{self, ChangeArgs};
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
    /// Put a group on another profile: shows the one line that changes and what it means, checks it, and loads it
    SetProfile {
        /// The device group
        group: String,
        /// The algorithm profile
        profile: String,
        /// How
        #[command(flatten)]
        args: ChangeArgs,
    },
    /// Undo the newest change that a command made to a group; again undoes the one before
    Undo {
        /// The device group
        group: String,
        /// How
        #[command(flatten)]
        args: ChangeArgs,
    },
}

impl GroupCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let connection = match &self {
            GroupCommand::SetProfile { group, profile, args } => {
                return change_profile::set_profile(global, group, profile, *args).await;
            }
            GroupCommand::Undo { group, args } => return change_profile::undo(global, group, *args).await,
            GroupCommand::List { .. } | GroupCommand::Show { .. } => Connection::open(global).await?,
        };
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
            GroupCommand::SetProfile { .. } | GroupCommand::Undo { .. } => unreachable!("these have returned"),
        }
        Ok(Exit::Ok)
    }
}
