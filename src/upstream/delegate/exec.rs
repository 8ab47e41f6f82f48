//! A CA that is asked by running a program: the question on its standard input, the answer on its standard output.
//!
//! No shell stands between: the program is started with the arguments as they are configured, in a process group of its own, with
//! none of our environment but what is named. When its time is up, or nobody waits any more, the whole group is killed. What the program
//! leaves behind when it ends by itself is its own affair, and is not waited for.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::{Carrier, Delegate, DelegateSettings};
use crate::upstream::excerpt::short;
use crate::upstream::http::HttpSettings;
use crate::upstream::remote::{CallError, RemoteError};

/// What a program is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSettings {
    /// What it can do.
    pub delegate: DelegateSettings,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The variables of our environment that it gets.
    pub environment: Vec<String>,
    /// The folder that it runs in; ours if not said.
    pub folder: Option<PathBuf>,
}

/// "Nothing was done; try again": EX_TEMPFAIL of sysexits.h.
const TEMPORARY_FAILURE: i32 = 75;

/// How much of what it says on its standard error is read; the log gets the beginning of that.
const MAX_COMPLAINTS: usize = 4 * 1024;

/// Opens a program: sees whether it is there. Time and size of an answer are limited as `limits` says.
pub fn open(settings: &ExecSettings, limits: &HttpSettings) -> Result<Delegate, RemoteError> {
    let bad = |why: String| RemoteError::File { path: settings.program.display().to_string(), why };
    let found = std::fs::metadata(&settings.program).map_err(|error| bad(error.to_string()))?;
    if !found.is_file() {
        return Err(bad("is no program".to_owned()));
    }
    // It may run in another folder than the one that its path starts from.
    let program = std::path::absolute(&settings.program).map_err(|error| bad(error.to_string()))?;
    let settings = Arc::new(ExecSettings { program, ..settings.clone() });
    let delegate = settings.delegate.clone();
    let exec = Exec { settings, timeout: limits.timeout, max_answer: limits.max_answer };
    Ok(Delegate::new(delegate, Box::new(exec)))
}

struct Exec {
    settings: Arc<ExecSettings>,
    timeout: Duration,
    max_answer: usize,
}

#[async_trait]
impl Carrier for Exec {
    async fn carry(&self, question: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let group = Group::default();
        // Dropped with this future, whether the time was up or nobody waits any more.
        let killer = Killer(group.clone());
        let (settings, max_answer) = (Arc::clone(&self.settings), self.max_answer);
        // It goes on without us, so that whatever was started is also waited for.
        let run = tokio::spawn(async move { run(&settings, max_answer, &question, &group).await });
        let done = tokio::time::timeout(self.timeout, run).await;
        drop(killer);
        match done {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => Err(CallError::Unclear(cancelled.to_string())),
            },
            Err(_) => Err(CallError::no_answer(self.timeout)),
        }
    }
}

/// The process group of a program, for as long as its number is surely its own: until its leader is waited for.
#[derive(Clone, Default)]
struct Group(Arc<Mutex<State>>);

#[derive(Clone, Copy, Default)]
enum State {
    /// Not started yet.
    #[default]
    Ready,
    Running(Pid),
    /// Nobody wants its answer any more.
    Unwanted,
    Over,
}

impl Group {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills what runs, and lets nothing start that does not run yet.
    fn kill(&self) {
        let mut state = self.lock();
        match *state {
            State::Running(leader) => {
                // It may have ended just now, and that is as good.
                let _ = kill_process_group(leader, Signal::KILL);
            }
            State::Ready => *state = State::Unwanted,
            State::Unwanted | State::Over => {}
        }
    }

    /// Starts the program, unless nobody wants it any more.
    fn start(&self, settings: &ExecSettings) -> Result<Child, CallError> {
        let mut state = self.lock();
        if !matches!(*state, State::Ready) {
            return Err(CallError::not_taken("it was not started in time"));
        }
        let mut command = Command::new(&settings.program);
        command.args(&settings.arguments).env_clear().process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(settings.environment.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        if let Some(folder) = &settings.folder {
            command.current_dir(folder);
        }
        let child = command
            .spawn()
            .map_err(|error| CallError::not_taken(format!("{} cannot be started: {error}", settings.program.display())))?;
        if let Some(leader) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            *state = State::Running(leader);
        }
        Ok(child)
    }

    /// Waits for the leader. While it is not waited for, its number is nobody else's, so waiting and killing take turns.
    async fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let mut pause = Duration::from_millis(1);
        loop {
            {
                let mut state = self.lock();
                if let Some(status) = child.try_wait()? {
                    *state = State::Over;
                    return Ok(status);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

struct Killer(Group);

impl Drop for Killer {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// How long the pipes of a program that has ended are still read: others that it started may hold them open for ever.
const REST: Duration = Duration::from_millis(100);

/// Runs the program once, until it has ended.
async fn run(settings: &Arc<ExecSettings>, max_answer: usize, question: &[u8], group: &Group) -> Result<Vec<u8>, CallError> {
    let program = settings.program.display();
    let start = {
        let (group, settings) = (group.clone(), Arc::clone(settings));
        tokio::task::spawn_blocking(move || group.start(&settings))
    };
    let mut child = start.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    let (mut answer, mut complaints) = (Vec::new(), Vec::new());
    let (status, read) = match Pipes::of(&mut child) {
        Ok(Pipes { mut stdin, stdout, stderr }) => {
            let mut talk = pin!(async {
                let tell = async move {
                    // A program that does not read all of it has its reasons.
                    let _ = stdin.write_all(question).await;
                };
                let hear = async {
                    let read = read(stdout, &mut answer, max_answer).await;
                    if read.is_err() || answer.len() > max_answer {
                        group.kill();
                    }
                    read
                };
                tokio::join!(hear, tell, read_and_forget(stderr, &mut complaints)).0
            });
            tokio::select! {
                status = group.wait(&mut child) => (status, tokio::time::timeout(REST, talk).await.unwrap_or(Ok(()))),
                read = &mut talk => (group.wait(&mut child).await, read),
            }
        }
        Err(error) => {
            group.kill();
            (group.wait(&mut child).await, Err(error))
        }
    };
    let status = status.map_err(|error| CallError::Unclear(format!("waiting for {program}: {error}")))?;
    let complaints = short(&String::from_utf8_lossy(&complaints));
    if !complaints.is_empty() {
        tracing::info!(program = %program, %status, "The program of an upstream says: {complaints}");
    }
    read.map_err(|error| CallError::Unclear(format!("reading from {program}: {error}")))?;
    if answer.len() > max_answer {
        return Err(CallError::Unclear(format!("{program} answers with more than {max_answer} octets")));
    }
    match status.code() {
        Some(0) => Ok(answer),
        Some(TEMPORARY_FAILURE) => Err(CallError::not_taken(with(format!("{program} cannot now ({status})"), &complaints))),
        _ => Err(CallError::Unclear(with(format!("{program} failed ({status})"), &complaints))),
    }
}

fn with(what: String, complaints: &str) -> String {
    if complaints.is_empty() { what } else { format!("{what}: {complaints}") }
}

/// Our ends.
struct Pipes {
    stdin: Sender,
    stdout: Receiver,
    stderr: Receiver,
}

impl Pipes {
    fn of(child: &mut Child) -> io::Result<Self> {
        fn taken(end: Option<impl Into<OwnedFd>>) -> io::Result<OwnedFd> {
            end.map(Into::into).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
        }
        Ok(Self {
            stdin: Sender::from_owned_fd(taken(child.stdin.take())?)?,
            stdout: Receiver::from_owned_fd(taken(child.stdout.take())?)?,
            stderr: Receiver::from_owned_fd(taken(child.stderr.take())?)?,
        })
    }
}

/// Reads until the end, or until there is more than `limit`. What was read is in `kept`, also where nobody waits for the end.
async fn read(mut from: Receiver, kept: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    while kept.len() <= limit && from.read_buf(kept).await? > 0 {}
    Ok(())
}

/// Reads until the end, so that the program does not block on a full pipe, and keeps the beginning.
async fn read_and_forget(mut from: Receiver, kept: &mut Vec<u8>) {
    let mut part = [0; 1024];
    while let Ok(octets @ 1..) = from.read(&mut part).await {
        let room = MAX_COMPLAINTS.saturating_sub(kept.len());
        kept.extend_from_slice(&part[..octets.min(room)]);
    }
}
