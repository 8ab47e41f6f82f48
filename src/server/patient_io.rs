//! A connection that loses patience: with a client that says nothing, dribbles its request head, or does not take its answer.
//!
//! Bodies are timed further in, by [`ReadBodyLayer`](super::layers::ReadBodyLayer), since their time is another one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a request head, from the first octet (and, on a new connection, from its beginning).
    pub head: Duration,
    /// For the next request.
    pub idle: Duration,
    /// For the client to take any octet of an answer.
    pub write: Duration,
    /// Whether each head is timed: HTTP/2 mixes heads with other frames, so there only idle time counts.
    pub time_heads: bool,
}

/// Counts the requests of one connection: while one is under way, the client owes us nothing.
#[derive(Debug, Default)]
pub struct Activity {
    under_way: AtomicUsize,
    finished: AtomicUsize,
}

/// A request under way, until it is dropped.
pub struct UnderWay(Arc<Activity>);

impl Activity {
    /// A request begins.
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connection.
pub struct PatientIo<S> {
    inner: S,
    patience: Patience,
    activity: Arc<Activity>,
    /// How many requests were finished when the present wait began.
    seen: usize,
    /// When the present wait ends.
    read_deadline: Instant,
    /// Whether a head has begun to arrive.
    in_head: bool,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> PatientIo<S> {
    /// Wraps a connection that was accepted now.
    pub fn new(inner: S, patience: Patience, activity: Arc<Activity>) -> Self {
        let read_deadline = Instant::now() + patience.head;
        let read_timer = Box::pin(sleep_until(read_deadline));
        // A new connection is as good as in its first head: who connects has something to say.
        Self { inner, patience, activity, seen: 0, read_deadline, in_head: true, read_timer, write_timer: None }
    }

    /// Begins a new wait when a request was finished since the last.
    fn turn(&mut self) {
        let finished = self.activity.finished.load(Ordering::Relaxed);
        if finished != self.seen {
            self.seen = finished;
            self.in_head = false;
            self.read_deadline = Instant::now() + self.patience.idle;
        }
    }

    fn busy(&self) -> bool {
        self.activity.under_way.load(Ordering::Relaxed) > 0
    }

    fn blocked_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let patience = self.patience.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer"))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.turn();
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                if this.patience.time_heads && !this.in_head && buffer.filled().len() > before && !this.busy() {
                    this.in_head = true;
                    this.read_deadline = Instant::now() + this.patience.head;
                }
                Poll::Ready(result)
            }
            Poll::Pending if this.busy() => Poll::Pending,
            Poll::Pending => {
                if this.read_timer.deadline() != this.read_deadline {
                    this.read_timer.as_mut().reset(this.read_deadline);
                }
                ready!(this.read_timer.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client took too long")))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, bytes) {
            Poll::Ready(result) => {
                self.write_timer = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.blocked_write(cx).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(cx) {
            Poll::Ready(result) => {
                self.write_timer = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.blocked_write(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_shutdown(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.blocked_write(cx).map(Err),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(cx, bytes) {
            Poll::Ready(result) => {
                self.write_timer = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.blocked_write(cx).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        write: Duration::from_secs(30),
        time_heads: true,
    };

    #[tokio::test(start_paused = true)]
    async fn a_dribbled_head_is_cut_off_though_octets_keep_coming() {
        let (mut client, server) = duplex(64);
        let mut io = PatientIo::new(server, PATIENCE, Arc::default());
        tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let start = Instant::now();
        let mut all = Vec::new();
        assert_eq!(io.read_to_end(&mut all).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 10);
        assert_eq!(all.len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_counts_from_the_last_answer() {
        let (mut client, server) = duplex(64);
        let activity = Arc::new(Activity::default());
        let mut io = PatientIo::new(server, PATIENCE, Arc::clone(&activity));
        client.write_all(b"request").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(io.read(&mut buffer).await.unwrap(), 7);
        let under_way = activity.begin();
        let start = Instant::now();
        // While a request is under way nothing is expected from the client, however long it takes.
        assert!(tokio::time::timeout(Duration::from_secs(300), io.read(&mut buffer)).await.is_err());
        drop(under_way);
        assert_eq!(io.read(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 360);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let (_client, server) = duplex(8);
        let mut io = PatientIo::new(server, PATIENCE, Arc::default());
        let start = Instant::now();
        assert_eq!(io.write_all(&[0; 64]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 30);
    }
}
