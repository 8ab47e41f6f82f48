//! The one thread that writes. It takes what has queued up, runs the commands in one transaction, commits all of them at once, and
//! answers only then: one flush to the disk serves many clients.
//!
//! A command that fails takes nobody along. Where one may, each runs under a savepoint of its own; but SQLite copies every page that is
//! changed under a savepoint, so commands that can be run again go without: should one of them fail, all is undone, and the
//! batch runs anew with savepoints.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::audit::Chain;
use crate::inventory::InventoryError;

/// The way to the writing thread, which ends when this is dropped and the queue is empty.
pub(super) struct Writer {
    queue: Option<SyncSender<Box<dyn Command>>>,
    thread: Option<JoinHandle<()>>,
}

/// What a command works with.
pub(super) struct Write<'a> {
    /// The connection, in a transaction.
    pub(super) connection: &'a Connection,
    /// The end of the audit chain.
    pub(super) chain: &'a mut Chain,
    /// Whether the last commit failed.
    pub(super) failing: bool,
}

impl Writer {
    /// Starts the thread. At most `queue` commands wait, and at most `batch` share a commit.
    pub(super) fn start(connection: Connection, queue: usize, batch: usize) -> Result<Self, InventoryError> {
        let (sender, receiver) = sync_channel(queue);
        let thread = std::thread::Builder::new()
            .name("inventory-writer".to_owned())
            .spawn(move || run(&connection, &receiver, batch))
            .map_err(|error| InventoryError::Unavailable(format!("no thread for the writer: {error}")))?;
        Ok(Self { queue: Some(sender), thread: Some(thread) })
    }

    /// Queues a command and waits until it is committed.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, InventoryError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Write<'_>) -> Result<T, InventoryError> + Send + 'static,
    {
        let mut work = Some(work);
        self.queue(false, move |write: &mut Write<'_>| work.take().expect("it runs once")(write)).await
    }

    /// The same for a command that can be run again after what it wrote was undone: for the writes of every enrollment.
    pub(super) async fn write_again<T, F>(&self, work: F) -> Result<T, InventoryError>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, InventoryError> + Send + 'static,
    {
        self.queue(true, work).await
    }

    async fn queue<T, F>(&self, repeatable: bool, work: F) -> Result<T, InventoryError>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, InventoryError> + Send + 'static,
    {
        let (answer, waiting) = oneshot::channel();
        let command = Box::new(Pending { repeatable, work, result: None, answer });
        let queue = self.queue.as_ref().expect("the queue is there until drop");
        queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => InventoryError::Busy,
            TrySendError::Disconnected(_) => InventoryError::Unavailable("the writer has stopped".to_owned()),
        })?;
        waiting.await.unwrap_or_else(|_| Err(InventoryError::Unavailable("the command broke off".to_owned())))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by the panic hook; there is nobody to tell here.
            let _ = thread.join();
        }
    }
}

/// A queued command, whatever its result is.
trait Command: Send {
    /// Whether it can be run again after what it wrote was undone.
    fn is_repeatable(&self) -> bool;

    /// Runs it and keeps the result.
    fn run(&mut self, write: &mut Write<'_>) -> Ran;

    /// Tells the waiter: the result, or that the commit failed.
    fn answer(self: Box<Self>, commit: Result<(), &str>);
}

/// How a command went.
#[derive(PartialEq, Eq)]
enum Ran {
    Well,
    /// Its writes have to be undone.
    Badly,
    /// The same, because the store took no writes.
    Unavailable,
}

struct Pending<T, F> {
    repeatable: bool,
    work: F,
    result: Option<Result<T, InventoryError>>,
    answer: oneshot::Sender<Result<T, InventoryError>>,
}

impl<T, F> Command for Pending<T, F>
where
    T: Send,
    F: FnMut(&mut Write<'_>) -> Result<T, InventoryError> + Send,
{
    fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    fn run(&mut self, write: &mut Write<'_>) -> Ran {
        // A panic ends this command, and not the thread that everybody needs.
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(write)))
            .unwrap_or_else(|_| Err(InventoryError::Unavailable("the command broke off".to_owned())));
        let ran = match &result {
            Ok(_) => Ran::Well,
            Err(InventoryError::Unavailable(_)) => Ran::Unavailable,
            Err(_) => Ran::Badly,
        };
        self.result = Some(result);
        ran
    }

    fn answer(self: Box<Self>, commit: Result<(), &str>) {
        let result = match (self.result, commit) {
            // It failed by itself: its own reason says more.
            (Some(Err(error)), _) => Err(error),
            (_, Err(reason)) => Err(InventoryError::Unavailable(reason.to_owned())),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(InventoryError::Unavailable("the command was not run".to_owned())),
        };
        // Who no longer waits does not need to know.
        let _ = self.answer.send(result);
    }
}

fn run(connection: &Connection, receiver: &Receiver<Box<dyn Command>>, batch: usize) {
    let mut failing = false;
    let mut commands = Vec::with_capacity(batch);
    while let Ok(first) = receiver.recv() {
        commands.push(first);
        commands.extend(receiver.try_iter().take(batch.saturating_sub(1)));
        let mut refused = false;
        let before = connection.total_changes();
        let outcome = commit(connection, &mut commands, failing, &mut refused);
        // Who had nothing to write shows nothing: a disk that was full is still full.
        let wrote = connection.total_changes() != before;
        let fails = refused || outcome.is_err() || failing && !wrote;
        if fails && !failing {
            let reason = outcome.as_ref().err().map_or("a command was not taken", String::as_str);
            tracing::error!(%reason, "The inventory cannot be written.");
        } else if !fails && failing {
            tracing::info!("The inventory can be written again.");
        }
        failing = fails;
        for command in commands.drain(..) {
            command.answer(outcome.as_ref().copied().map_err(String::as_str));
        }
    }
}

/// Runs the commands in one transaction. `Err` says why none of it is in the database; `refused` is set when the store did not
/// take what one of them wrote.
fn commit(connection: &Connection, commands: &mut [Box<dyn Command>], failing: bool, refused: &mut bool) -> Result<(), String> {
    if commands.iter().all(|command| command.is_repeatable()) {
        let outcome = run_plainly(connection, commands, failing);
        roll_back_unless(connection, outcome == Ok(true));
        if outcome != Ok(false) {
            return outcome.map(drop);
        }
    }
    let outcome = run_apart(connection, commands, failing, refused);
    roll_back_unless(connection, outcome.is_ok());
    outcome
}

/// All commands without savepoints; `Ok(false)` if one of them failed, which leaves the transaction open.
fn run_plainly(connection: &Connection, commands: &mut [Box<dyn Command>], failing: bool) -> Result<bool, String> {
    execute(connection, "BEGIN IMMEDIATE")?;
    let mut chain = Chain::default();
    for command in commands {
        let ran = command.run(&mut Write { connection, chain: &mut chain, failing });
        if ran != Ran::Well || connection.is_autocommit() {
            return Ok(false);
        }
    }
    execute(connection, "COMMIT").map(|()| true)
}

/// Each command under a savepoint: what one that fails has written is undone, and nothing else.
fn run_apart(
    connection: &Connection,
    commands: &mut [Box<dyn Command>],
    failing: bool,
    refused: &mut bool,
) -> Result<(), String> {
    execute(connection, "BEGIN IMMEDIATE")?;
    let mut chain = Chain::default();
    for command in commands {
        execute(connection, "SAVEPOINT command")?;
        let before = chain.clone();
        let ran = command.run(&mut Write { connection, chain: &mut chain, failing });
        *refused |= ran == Ran::Unavailable;
        // After some failures (a full disk is one) SQLite undoes the whole transaction by itself.
        if connection.is_autocommit() {
            return Err("the transaction was undone: the disk is full, or failed".to_owned());
        }
        if ran != Ran::Well {
            chain = before;
            execute(connection, "ROLLBACK TO command")?;
        }
        execute(connection, "RELEASE command")?;
    }
    execute(connection, "COMMIT")
}

fn roll_back_unless(connection: &Connection, committed: bool) {
    if !committed && !connection.is_autocommit() {
        // Should this fail too, the next BEGIN fails, and whoever is in that batch learns of it.
        let _ = execute(connection, "ROLLBACK");
    }
}

fn execute(connection: &Connection, sql: &str) -> Result<(), String> {
    let statement = connection.prepare_cached(sql);
    statement.and_then(|mut statement| statement.execute([])).map(|_| ()).map_err(|error| error.to_string())
}
