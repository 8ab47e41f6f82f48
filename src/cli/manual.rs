//! `ravelin completions` and `ravelin man`.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::{Cli, Exit, Failed, Outcome, output};

/// `ravelin completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

impl CompletionsArgs {
    /// Prints the script.
    pub fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ravelin", &mut script);
        output::print(&String::from_utf8_lossy(&script));
        Ok(Exit::Ok)
    }
}

/// `ravelin man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write one page per command into this folder instead of printing the main page
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl ManArgs {
    /// Prints the page, or writes all of them.
    pub fn run(self) -> Outcome {
        let mut command = Cli::command();
        command.build();
        match self.dir {
            None => output::print(&String::from_utf8_lossy(&page(&command, "ravelin")?)),
            Some(dir) => {
                std::fs::create_dir_all(&dir).map_err(|error| Failed::new(format!("{}: {error}", dir.display())))?;
                write_pages(&command, "ravelin", &dir)?;
            }
        }
        Ok(Exit::Ok)
    }
}

fn write_pages(command: &clap::Command, name: &str, dir: &Path) -> Result<(), Failed> {
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page(command, name)?).map_err(|error| Failed::new(format!("{}: {error}", path.display())))?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        write_pages(sub, &format!("{name}-{}", sub.get_name()), dir)?;
    }
    Ok(())
}

/// One manual page: what clap knows, then what holds for all commands.
fn page(command: &clap::Command, name: &str) -> Result<Vec<u8>, Failed> {
    let mut page = Vec::new();
    let man = Man::new(command.clone().after_long_help(None::<&str>)).title(name.to_uppercase());
    man.render(&mut page)?;
    page.extend_from_slice(b".SH EXIT STATUS\n");
    for exit in Exit::ALL {
        page.extend_from_slice(format!(".TP\n\\fB{}\\fR\n{}\n", exit.code(), exit.meaning()).as_bytes());
    }
    if name == "ravelin" {
        page.extend_from_slice(SIGNALS_AND_FILES.as_bytes());
    }
    Ok(page)
}

const SIGNALS_AND_FILES: &str = r".SH SIGNALS
.TP
\fBSIGHUP\fR
Load the configuration again, all or nothing.
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
Take no more connections, finish what is under way within the grace period, and stop.
.SH ENVIRONMENT
.TP
\fBRAVELIN_CONFIG\fR
The configuration file.
.TP
\fBRAVELIN__SECTION__KEY\fR
Overrides a key of ravelin.toml.
.TP
\fBNO_COLOR\fR
Print without colours.
.SH FILES
.TP
\fI/etc/ravelin/ravelin.toml\fR
The configuration, unless ./ravelin-data/ravelin.toml is there.
.TP
\fI/etc/ravelin/policies/*.toml\fR, \fI/etc/ravelin/algorithms/*.toml\fR
Device groups and algorithm profiles.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_exit_codes() {
        let page = String::from_utf8(page(&Cli::command(), "ravelin").unwrap()).unwrap();
        for exit in Exit::ALL {
            assert!(page.contains(&format!("\\fB{}\\fR\n{}", exit.code(), exit.meaning())), "{exit:?}");
        }
        assert!(page.contains("SIGHUP"));
    }

    #[test]
    fn there_is_a_page_for_each_command() {
        let dir = tempfile::tempdir().unwrap();
        ManArgs { dir: Some(dir.path().into()) }.run().unwrap();
        for name in ["ravelin.1", "ravelin-serve.1", "ravelin-challenge-new.1", "ravelin-ra-request.1"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }
}
