//! `ravelin hash-challenge`: turns a shared challenge into the hash that a policy file holds.

use std::io::{IsTerminal, Read};

use clap::Args;
use zeroize::Zeroizing;

use super::{Exit, Failed, Outcome, output};
use crate::policy::challenge::SharedChallenge;

/// `ravelin hash-challenge`. The challenge is read from stdin, so that it stands in no process list and no shell history.
#[derive(Debug, Args)]
pub struct HashChallengeArgs {}

impl HashChallengeArgs {
    /// Prints the PHC string.
    pub fn run(self) -> Outcome {
        if std::io::stdin().is_terminal() {
            eprintln!("Type the shared challenge, then Enter and ctrl-D:");
        }
        let mut challenge = Zeroizing::new(String::new());
        std::io::stdin().take(4096).read_to_string(&mut challenge)?;
        let challenge = challenge.trim_end_matches(['\r', '\n']);
        if challenge.is_empty() {
            return Err(Failed::new("no challenge came on stdin; try: printf %s 'the challenge' | ravelin hash-challenge"));
        }
        output::print(&format!("{}\n", SharedChallenge::hash(challenge)));
        Ok(Exit::Ok)
    }
}
