//! What the tests of all connectors share: a scripted HTTP server, and a small CA ([`TestCa`]) for what it plays.
//!
//! ```ignore
//! let peer = Scripted::playing([Play::json(201, &json!({ "crt": ca.issue(&order).to_pem() })), Play::Cut]).await;
//! let http = peer.http();                        // or `peer.settings()`, to change something first
//! …
//! assert_eq!(peer.seen()[0].json()["csr"], …);
//! ```
//!
//! [`Scripted::answering`] takes a closure that sees each request; [`Scripted::over_tls`] does the same over TLS. Who asks more often than
//! the script goes is answered with status 599.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::http::{Http, HttpSettings, Proxy};

mod ca;

pub(crate) use ca::TestCa;

/// What the server does with a request once it was read.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    /// Answers.
    Answer(Reply),
    /// Ends the connection without an answer.
    Cut,
    /// Ends the connection after so many octets of the answer.
    CutInside(Reply, usize),
    /// Never answers.
    Stall,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    after: Duration,
    ends: End,
}

/// How the connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kept,
    /// As `Connection: close` says.
    Closed,
    /// As nothing says.
    ClosedSilently,
}

impl Play {
    /// A status and nothing else.
    pub(crate) fn status(status: u16) -> Self {
        Self::body(status, "text/plain", "")
    }

    /// An answer with a body.
    pub(crate) fn body(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), kind.to_owned())];
        Self::Answer(Reply { status, headers, body: body.into(), after: Duration::ZERO, ends: End::Kept })
    }

    /// An answer in JSON.
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::body(status, "application/json", body.to_string())
    }

    /// The same with one more header field.
    pub(crate) fn header(self, name: &str, value: impl Into<String>) -> Self {
        self.changed(|reply| reply.headers.push((name.to_owned(), value.into())))
    }

    /// The same, but not at once.
    pub(crate) fn after(self, time: Duration) -> Self {
        self.changed(|reply| reply.after = time)
    }

    /// The same, and the connection ends, as the answer says.
    pub(crate) fn closing(self) -> Self {
        self.changed(|reply| reply.ends = End::Closed)
    }

    /// The same, and the connection ends, though the answer does not say so.
    pub(crate) fn closing_silently(self) -> Self {
        self.changed(|reply| reply.ends = End::ClosedSilently)
    }

    /// The same, but cut after so many octets of its body.
    pub(crate) fn cut_in_body(self, octets: usize) -> Self {
        let Play::Answer(reply) = self else { panic!("only an answer can be cut") };
        let head = reply.head().len();
        Play::CutInside(reply, head + octets)
    }

    fn changed(mut self, change: impl FnOnce(&mut Reply)) -> Self {
        match &mut self {
            Play::Answer(reply) | Play::CutInside(reply, _) => change(reply),
            Play::Cut | Play::Stall => panic!("there is no answer to change"),
        }
        self
    }
}

impl Reply {
    fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\nContent-Length: {}\r\n", self.status, self.body.len());
        if self.ends == End::Closed {
            head.push_str("Connection: close\r\n");
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        (head + "\r\n").into_bytes()
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Over which connection it came, counted from 0.
    pub(crate) connection: usize,
    /// The TLS client certificate, DER.
    pub(crate) client: Option<Vec<u8>>,
}

impl Seen {
    /// A header field; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Script = Box<dyn FnMut(&Seen) -> Play + Send>;

struct Shared {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<usize>,
}

/// A server that plays a script; it ends when it is dropped.
pub(crate) struct Scripted {
    address: SocketAddr,
    trust: Option<PathBuf>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Plays one after the other.
    pub(crate) async fn playing(plays: impl IntoIterator<Item = Play>) -> Self {
        Self::answering(one_by_one(plays)).await
    }

    /// Plays what the closure says to each request.
    pub(crate) async fn answering(script: impl FnMut(&Seen) -> Play + Send + 'static) -> Self {
        Self::start(None, None, Box::new(script)).await
    }

    /// The same over TLS, with a certificate of `ca` for `localhost` and 127.0.0.1. A client certificate of `ca` is asked for, and
    /// not insisted on.
    pub(crate) async fn over_tls(ca: &TestCa, script: impl FnMut(&Seen) -> Play + Send + 'static) -> Self {
        Self::with_tls(ca, ca.server_config(), script).await
    }

    /// The same with TLS settings of the caller's; clients trust `ca`.
    pub(crate) async fn with_tls(
        ca: &TestCa,
        config: rustls::ServerConfig,
        script: impl FnMut(&Seen) -> Play + Send + 'static,
    ) -> Self {
        Self::start(Some(Arc::new(config)), Some(ca.chain_file()), Box::new(script)).await
    }

    async fn start(tls: Option<Arc<rustls::ServerConfig>>, trust: Option<PathBuf>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { script: Mutex::new(script), seen: Mutex::default(), connections: Mutex::default() });
        let task = tokio::spawn(accept(listener, tls.map(tokio_rustls::TlsAcceptor::from), Arc::clone(&shared)));
        Self { address, trust, shared, task }
    }

    /// Where it is, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        match self.trust {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many connections there were so far.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// How it is reached: without a proxy, and with little patience.
    pub(crate) fn settings(&self) -> HttpSettings {
        HttpSettings { trust: self.trust.clone(), ..settings(&self.url()) }
    }

    /// A client of it.
    pub(crate) fn http(&self) -> Http {
        Http::open(&self.settings(), "").unwrap()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a server at this address is reached: without a proxy, and with little patience.
pub(crate) fn settings(url: &str) -> HttpSettings {
    HttpSettings {
        url: url.to_owned(),
        trust: None,
        client: None,
        proxy: Proxy::None,
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        max_answer: 1024 * 1024,
    }
}

/// A script that goes through a list, once.
pub(crate) fn one_by_one(plays: impl IntoIterator<Item = Play>) -> impl FnMut(&Seen) -> Play + Send + 'static {
    let mut plays: VecDeque<Play> = plays.into_iter().collect();
    move |_| plays.pop_front().unwrap_or_else(|| Play::body(599, "text/plain", "the script has come to its end"))
}

async fn accept(listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let number = {
            let mut count = shared.connections.lock().unwrap();
            *count += 1;
            *count - 1
        };
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match tls {
                None => converse(stream, number, None, &shared).await,
                Some(tls) => {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let certificates = stream.get_ref().1.peer_certificates();
                    let client = certificates.and_then(|all| all.first()).map(|certificate| certificate.to_vec());
                    converse(stream, number, client, &shared).await;
                }
            }
        });
    }
}

/// Answers the requests that come over one connection.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, connection: usize, client: Option<Vec<u8>>, shared: &Shared) {
    let mut stream = BufReader::new(stream);
    while let Some(mut seen) = read_request(&mut stream).await {
        (seen.connection, seen.client) = (connection, client.clone());
        let play = (shared.script.lock().unwrap())(&seen);
        shared.seen.lock().unwrap().push(seen);
        let (reply, octets) = match play {
            Play::Cut => return,
            Play::Stall => std::future::pending().await,
            Play::Answer(reply) => (reply, usize::MAX),
            Play::CutInside(reply, octets) => (reply, octets),
        };
        tokio::time::sleep(reply.after).await;
        let mut answer = reply.head();
        answer.extend_from_slice(&reply.body);
        answer.truncate(octets);
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        if octets != usize::MAX || reply.ends != End::Kept {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// Reads a request with a body of a stated length or in chunks; `None` at the end of the connection.
async fn read_request(stream: &mut BufReader<impl AsyncRead + Unpin>) -> Option<Seen> {
    let first = read_line(stream).await?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HeaderMap::new();
    loop {
        let line = read_line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.trim()).ok()?);
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some() {
        loop {
            let length = usize::from_str_radix(&read_line(stream).await?, 16).ok()?;
            let mut chunk = vec![0; length];
            stream.read_exact(&mut chunk).await.ok()?;
            read_line(stream).await?;
            if length == 0 {
                break;
            }
            body.append(&mut chunk);
        }
    } else if let Some(length) = headers.get("content-length") {
        body = vec![0; length.to_str().ok()?.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
    }
    Some(Seen { method, target, headers, body, connection: 0, client: None })
}

/// A line without its end.
async fn read_line(stream: &mut BufReader<impl AsyncRead + Unpin>) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await {
        Ok(octets) if octets > 0 => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        _ => None,
    }
}
