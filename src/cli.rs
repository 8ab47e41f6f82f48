//! The command line: one file per subcommand.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::server::{OpenError, ServeError};
use crate::telemetry::LogFormat;

pub mod audit;
pub mod ca;
pub mod ca_rollover;
pub mod certificate;
pub mod challenge;
pub mod change_profile;
pub mod check_config;
pub mod connect;
pub mod device;
pub mod enroll;
pub mod explain;
pub mod forecast;
pub mod group;
pub mod hash_challenge;
pub mod init;
pub mod key;
pub mod manual;
pub mod output;
pub mod pending;
pub mod policy_file;
pub mod profile;
pub mod quickstart;
pub mod ra;
pub mod ra_rollover;
pub mod reload;
pub mod rollout;
pub mod serve;
pub mod setup;
pub mod shadow;
pub mod status;

/// Old devices speak SCEP. Ravelin answers them, decides by policy, and gets the certificate from the CA and with the algorithm
/// that the device's group is on today.
#[derive(Debug, Parser)]
#[command(name = "ravelin", version, propagate_version = true, max_term_width = 120)]
#[command(after_long_help = EXIT_CODES)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The configuration file [default: ./ravelin-data/ravelin.toml if it is there, else /etc/ravelin/ravelin.toml]
    #[arg(short, long, global = true, env = "RAVELIN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines look: auto (text at a terminal, JSON otherwise), text or json
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged, such as info, debug or ravelin=debug,warn
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
}

impl Global {
    /// The configuration file to use.
    pub fn config_path(&self) -> PathBuf {
        match &self.config {
            Some(path) => path.clone(),
            None => {
                let here = PathBuf::from("ravelin-data/ravelin.toml");
                if here.exists() { here } else { PathBuf::from("/etc/ravelin/ravelin.toml") }
            }
        }
    }

    /// Starts logging for a command that is no server: warnings, unless told otherwise.
    pub fn quiet_logs(&self) {
        let filter = self.log.as_deref().unwrap_or("warn");
        // Logging that is already running is good enough for a short command.
        let _ = crate::telemetry::logs::init(self.log_format.unwrap_or(LogFormat::Text), filter);
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up everything in one folder, serve on this machine, and enroll one demo device
    Quickstart(quickstart::QuickstartArgs),
    /// Create the data folder: configuration, keys, an embedded CA, the inventory
    Init(init::InitArgs),
    /// Answer devices
    Serve(serve::ServeArgs),
    /// Make the running server load its changed configuration
    Reload(reload::ReloadArgs),
    /// Say what the running server is doing
    Status(status::StatusArgs),
    /// Check the configuration without touching anything
    CheckConfig(check_config::CheckConfigArgs),
    /// Say what would happen to a certification request or SCEP message: group, rule, profile, issuer, verdict
    Explain(explain::ExplainArgs),
    /// Enroll over SCEP as a client
    Enroll(Box<enroll::EnrollArgs>),
    /// One-time challenges
    #[command(subcommand)]
    Challenge(challenge::ChallengeCommand),
    /// Requests that wait for a decision
    #[command(subcommand)]
    Pending(pending::PendingCommand),
    /// Certificates that were issued
    #[command(subcommand)]
    Certificate(certificate::CertificateCommand),
    /// Device groups
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Devices that cannot digest a profile: what was learned of them
    #[command(subcommand)]
    Device(device::DeviceCommand),
    /// Algorithm profiles
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
    /// Profiles that are tried on some devices of a group first
    #[command(subcommand)]
    Rollout(rollout::RolloutCommand),
    /// CAs of the embedded upstream
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// Keys and certificates of the registration authority on the SCEP transport
    Ra(ra::RaArgs),
    /// Private keys in files: made, shown, taken from one form to another
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Hash a shared challenge for a policy file
    HashChallenge(hash_challenge::HashChallengeArgs),
    /// Print a completion script for a shell
    Completions(manual::CompletionsArgs),
    /// Print the manual page, or write one per command into a folder
    Man(manual::ManArgs),
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Everything went as asked.
    Ok,
    /// Something failed at run time.
    Failure,
    /// The command line cannot be understood.
    Usage,
    /// An upstream cannot be reached (`check-config --online`).
    Unavailable,
    /// A request that was sent is still pending (`enroll`).
    Pending,
    /// The configuration is bad.
    Config,
}

impl Exit {
    /// Every exit, in the order of the codes.
    pub const ALL: &'static [Exit] = &[Exit::Ok, Exit::Failure, Exit::Usage, Exit::Unavailable, Exit::Pending, Exit::Config];

    /// The exit code: those of sysexits.h where there is one, 2 for usage as clap has it.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Unavailable => 69,
            Exit::Pending => 75,
            Exit::Config => 78,
        }
    }

    /// What it means, for the manual.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "everything went as asked",
            Exit::Failure => "something failed at run time",
            Exit::Usage => "the command line cannot be understood",
            Exit::Unavailable => "an upstream CA cannot be reached (check-config --online)",
            Exit::Pending => "the request is still pending: ask again later (enroll)",
            Exit::Config => "the configuration is bad",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

const EXIT_CODES: &str = "Exit codes:\n  \
     0   everything went as asked\n  \
     1   something failed at run time\n  \
     2   the command line cannot be understood\n  \
     69  an upstream CA cannot be reached (check-config --online)\n  \
     75  the request is still pending: ask again later (enroll)\n  \
     78  the configuration is bad";

/// Why a command did not do what it was asked: what is printed, and the exit.
#[derive(Debug)]
pub struct Failed {
    exit: Exit,
    message: String,
}

impl Failed {
    /// A failure at run time.
    pub fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failure, message: message.into() }
    }

    /// A bad configuration.
    pub fn config(message: impl Into<String>) -> Self {
        Self { exit: Exit::Config, message: message.into() }
    }

    /// An upstream that cannot be reached.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unavailable, message: message.into() }
    }

    /// The exit.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What is printed.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Whatever goes wrong in a command is a failure at run time, unless the configuration is at fault.
impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        let error = error.into();
        let configuration = match error.downcast_ref::<ServeError>() {
            Some(ServeError::Open(open)) => open.is_configuration(),
            Some(ServeError::Tls(_)) => true,
            Some(_) => false,
            None => error.downcast_ref::<OpenError>().is_some_and(OpenError::is_configuration),
        };
        Self { exit: if configuration { Exit::Config } else { Exit::Failure }, message: format!("{error:#}") }
    }
}

/// What a command gives.
pub type Outcome = Result<Exit, Failed>;

/// Parses the command line and runs the command.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are printed on stdout and are no error.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit;
        }
    };
    match run(cli) {
        Ok(exit) => exit,
        Err(failed) => {
            output::error(&failed.message);
            failed.exit
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    match command {
        // These bring their own runtime and logs.
        Command::Serve(args) => return args.run(&global),
        Command::Quickstart(args) => return args.run(&global),
        _ => {}
    }
    global.quiet_logs();
    match command {
        Command::Completions(args) => args.run(),
        Command::Man(args) => args.run(),
        Command::HashChallenge(args) => args.run(),
        Command::Init(args) => args.run(&global),
        Command::Key(command) => command.run(&global),
        command => runtime()?.block_on(run_async(&global, command)),
    }
}

async fn run_async(global: &Global, command: Command) -> Outcome {
    match command {
        Command::CheckConfig(args) => args.run(global).await,
        Command::Reload(args) => args.run(global).await,
        Command::Status(args) => args.run(global).await,
        Command::Explain(args) => args.run(global).await,
        Command::Enroll(args) => args.run(global).await,
        Command::Challenge(command) => command.run(global).await,
        Command::Pending(command) => command.run(global).await,
        Command::Certificate(command) => command.run(global).await,
        Command::Group(command) => command.run(global).await,
        Command::Profile(command) => command.run(global).await,
        Command::Device(command) => command.run(global).await,
        Command::Rollout(command) => command.run(global).await,
        Command::Ca(command) => command.run(global).await,
        Command::Ra(command) => command.run(global).await,
        Command::Audit(command) => command.run(global).await,
        Command::Quickstart(_)
        | Command::Init(_)
        | Command::Key(_)
        | Command::Serve(_)
        | Command::HashChallenge(_)
        | Command::Completions(_)
        | Command::Man(_) => unreachable!("these are run before"),
    }
}

/// The runtime of short commands.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_and_the_guide_tell_every_exit_code() {
        let guide = include_str!("../docs/src/operations.md").replace('`', "");
        for exit in Exit::ALL {
            assert!(guide.contains(&format!("| {} | {} |", exit.code(), exit.meaning())), "{exit:?}");
            assert!(EXIT_CODES.contains(&format!("{:<3} {}", exit.code(), exit.meaning())), "{exit:?}");
        }
    }

    #[test]
    fn global_options_stand_after_the_command_too() {
        let cli = Cli::try_parse_from(["ravelin", "check-config", "-c", "/x/ravelin.toml"]).unwrap();
        assert_eq!(cli.global.config_path(), PathBuf::from("/x/ravelin.toml"));
    }
}
