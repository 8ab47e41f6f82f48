//! SIGTERM and SIGINT stop, SIGHUP loads the configuration again.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::reload::{Cause, Reloader};

/// Whatever ends a server.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    stop: watch::Receiver<bool>,
}

impl Signals {
    /// Listens for signals from now on, and for `stop`.
    pub fn listen(stop: watch::Receiver<bool>) -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, stop })
    }

    /// Waits for the first of them, and names it.
    pub async fn stopped(mut self) -> &'static str {
        let told = async {
            // A sender that is gone can not tell any more.
            if self.stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = told => "told to stop",
        }
    }
}

/// Loads the configuration again at each SIGHUP.
pub async fn reload_on_hangup(reloader: Arc<Reloader>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return tracing::error!("SIGHUP cannot be heard: {error}."),
    };
    while hangup.recv().await.is_some() {
        // What went wrong is logged where it goes wrong.
        let _ = reloader.reload(Cause::Signal).await;
    }
}
