//! Putting a group on another profile, and back: shown, checked, written, loaded; or nothing of it.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::connect::{Connection, query, segment};
use super::policy_file::{Edit, Entry, PolicyFile, with_profile, without_rollout};
use super::{Exit, Failed, Global, Outcome, output};

/// How a change is made.
#[derive(Clone, Copy, Debug, Args)]
pub struct ChangeArgs {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Show what it would be, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON; does not ask either
    #[arg(long)]
    pub json: bool,
}

/// What becomes of the history.
enum Step {
    /// A change that can be undone.
    Forward,
    /// One that undoes the entry in this file.
    Back(PathBuf),
}

/// `ravelin group set-profile`.
pub async fn set_profile(global: &Global, group: &str, profile: &str, args: ChangeArgs) -> Outcome {
    let file = PolicyFile::read(&global.config_path(), group)?;
    let (now, candidate) = PolicyFile::profiles(&file.text)?;
    if now == profile {
        output::print(&format!("Group {group} is on {profile} already: nothing to do.\n"));
        return Ok(Exit::Ok);
    }
    if candidate.as_deref() == Some(profile) {
        return Err(Failed::new(format!(
            "{profile} is the candidate of group {group}: put all devices on it with `ravelin rollout promote {group}`"
        )));
    }
    let after = with_profile(&file.text, profile)?;
    change(global, file.propose(after)?, Step::Forward, args).await
}

/// `ravelin rollout promote`: the candidate becomes the profile, and the rollout is over.
pub async fn promote(global: &Global, group: &str, args: ChangeArgs) -> Outcome {
    let file = PolicyFile::read(&global.config_path(), group)?;
    let Some(candidate) = PolicyFile::profiles(&file.text)?.1 else {
        return Err(Failed::new(format!("group {group:?} tries no candidate: add a table [rollout] to its policy")));
    };
    let after = without_rollout(&with_profile(&file.text, &candidate)?)?;
    change(global, file.propose(after)?, Step::Forward, args).await
}

/// `ravelin group undo`: what the newest change of a command replaced comes back.
pub async fn undo(global: &Global, group: &str, args: ChangeArgs) -> Outcome {
    let file = PolicyFile::read(&global.config_path(), group)?;
    // The configuration of now says where the history is, if it can be read at all.
    let text = file.text.clone();
    let now = file.propose(text)?;
    let Some((path, entry)) = now.history().newest()? else {
        return Err(Failed::new(format!("no command has changed the profile of group {group}: there is nothing to undo")));
    };
    if now.file.text != entry.after {
        return Err(Failed::new(format!(
            "{} was changed since {} became {}, and an undo would overwrite that; to change the profile alone: ravelin group \
             set-profile {group} {}",
            now.file.path.display(),
            entry.from,
            entry.to,
            entry.from
        )));
    }
    change(global, now.file.propose(entry.before)?, Step::Back(path), args).await
}

async fn change(global: &Global, edit: Edit, step: Step, args: ChangeArgs) -> Outcome {
    let connection = Connection::open(global).await?;
    let group = edit.file.group.clone();
    let target = query(&format!("/v1/groups/{}/preview", segment(&group)), &[("profile", Some(edit.to.clone()))]);
    let preview = connection.get(&target).await?;
    if !args.json {
        output::print(&edit.diff());
        output::print(&meaning(&edit, &preview));
    }
    if args.dry_run {
        match args.json {
            true => output::json(
                &json!({ "group": group, "from": edit.from, "to": edit.to, "diff": edit.diff(), "preview": preview, "written": false }),
            ),
            false => output::print("Nothing was changed.\n"),
        }
        return Ok(Exit::Ok);
    }
    if !args.yes && !args.json && !confirmed()? {
        output::print("Nothing was changed.\n");
        return Ok(Exit::Ok);
    }
    let loaded = apply(&connection, &edit, step).await?;
    if args.json {
        output::json(
            &json!({ "group": group, "from": edit.from, "to": edit.to, "diff": edit.diff(), "preview": preview, "written": true, "loaded": loaded }),
        );
        return Ok(Exit::Ok);
    }
    let done = match &connection {
        Connection::Socket(_) => {
            format!("it holds from the next request on (generation {})", output::text(&loaded, "generation"))
        }
        Connection::Folder(..) => "no server runs; the next one starts with it".to_owned(),
    };
    output::print(&format!("Group {group} is on {}: {done}. Back with: {} group undo {group}\n", edit.to, output::program()));
    Ok(Exit::Ok)
}

/// Writes the file and has it loaded. Whatever goes wrong, the file is as it was before.
async fn apply(connection: &Connection, edit: &Edit, step: Step) -> Result<Value, Failed> {
    let kept = match &step {
        Step::Forward => Some(edit.history().push(&Entry {
            at: jiff::Timestamp::now(),
            from: edit.from.clone(),
            to: edit.to.clone(),
            before: edit.file.text.clone(),
            after: edit.after.clone(),
        })?),
        Step::Back(_) => None,
    };
    let loaded = match edit.write() {
        Ok(()) => match connection.post("/v1/reload", &Value::Null).await {
            Ok(loaded) => Ok(loaded),
            Err(refused) => {
                let back = match edit.take_back() {
                    Ok(()) => "the file is as it was before, and the configuration before goes on serving".to_owned(),
                    Err(failed) => format!("and the file could not be put back: {}", failed.message()),
                };
                let message = format!("{}\nThe change was not taken: {back}.", refused.message());
                Err(if refused.exit() == Exit::Config { Failed::config(message) } else { Failed::new(message) })
            }
        },
        Err(failed) => Err(failed),
    };
    let obsolete = match (&loaded, step) {
        (Ok(_), Step::Back(undone)) => Some(undone),
        (Ok(_), Step::Forward) => None,
        (Err(_), _) => kept,
    };
    if let Some(path) = obsolete {
        std::fs::remove_file(&path).map_err(|error| Failed::new(format!("{}: {error}", path.display())))?;
    }
    loaded
}

/// What signs under a profile.
fn signatures(profile: &Value) -> String {
    let (signature, alternative) = (output::text(profile, "signature"), output::text(profile, "alternative"));
    if alternative.is_empty() { signature } else { format!("{signature} and {alternative}") }
}

/// What the change means, in words.
fn meaning(edit: &Edit, preview: &Value) -> String {
    let (from, to) = (&preview["from"], &preview["to"]);
    let text = |value: &Value, field: &str| output::text(value, field);
    let group = &edit.file.group;
    let mut lines = vec![format!(
        "From the next request on, certificates of group {group} are of profile {}: signed with {} by {} (now {} by {}).",
        edit.to,
        signatures(to),
        text(to, "issuer"),
        signatures(from),
        text(from, "issuer"),
    )];
    let reply = |value: &Value| format!("{:.1} KiB", value["reply"].as_f64().unwrap_or(0.0) / 1024.0);
    lines.push(format!("A reply has about {} (now {}).", reply(to), reply(from)));
    let counted: Vec<String> = counts(&preview["certificates"]);
    lines.push(match counted.as_slice() {
        [] => "The group has no valid certificates.".to_owned(),
        some => format!("Valid certificates: {}. They stay as they are until their devices come again.", some.join(", ")),
    });
    let refused = counts(&preview["keys_refused"]);
    if !refused.is_empty() {
        lines.push(format!(
            "{} does not accept these keys of theirs, and refuses devices that come with such a one: {}.",
            edit.to,
            refused.join(", ")
        ));
    }
    let warnings = &edit.config.warnings;
    if !warnings.is_empty() {
        lines.push(crate::server::instance::report(warnings));
    }
    lines.join("\n") + "\n"
}

fn counts(value: &Value) -> Vec<String> {
    let all = value.as_object().into_iter().flatten();
    all.map(|(name, count)| format!("{count} of {name}")).collect()
}

/// Asks at the terminal.
fn confirmed() -> Result<bool, Failed> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failed::new("nobody is there to ask: say --yes to do it, or --dry-run to see it"));
    }
    eprint!("Do it? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
