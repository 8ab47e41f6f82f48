//! Connections to a CA: TCP, then a tunnel through a proxy where there is one, then TLS. All that goes wrong here went wrong before
//! any octet of a request was sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower::Service;

use super::failure;
use super::route::{Hop, HopKind, Route};
use super::tls::{Shown, Tls};

/// Makes connections.
#[derive(Clone)]
pub(super) struct Way {
    inner: Arc<Inner>,
    tcp: HttpConnector,
}

struct Inner {
    /// Where the CA is: who else is asked is shown no certificate of ours.
    own: Uri,
    route: Arc<Route>,
    tls: Option<Tls>,
    timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoConnection(pub(super) String);

/// The connection is TLS 1.3.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsTls13;

/// Whether the connection has carried a request yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried(Arc<AtomicBool>);

impl Carried {
    /// Notes that it has; whether it had before.
    pub(super) fn mark(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }
}

impl Way {
    pub(super) fn new(own: Uri, route: Arc<Route>, tls: Option<Tls>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(timeout));
        tcp.set_nodelay(true);
        Self { inner: Arc::new(Inner { own, route, tls, timeout }), tcp }
    }
}

impl Service<Uri> for Way {
    type Response = Stream;
    type Error = NoConnection;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, NoConnection>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), NoConnection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (inner, tcp) = (Arc::clone(&self.inner), self.tcp.clone());
        Box::pin(async move {
            let connect = inner.connect(tcp, &uri);
            let late = || Err(NoConnection(format!("no connection within {} ms", inner.timeout.as_millis())));
            let connected = tokio::time::timeout(inner.timeout, connect).await.unwrap_or_else(|_| late());
            connected.map_err(|NoConnection(why)| {
                NoConnection(format!("{}: {why}", uri.authority().map_or("", |authority| authority.as_str())))
            })
        })
    }
}

impl Inner {
    async fn connect(&self, mut tcp: HttpConnector, uri: &Uri) -> Result<Stream, NoConnection> {
        let hop = self.route.to(uri).map_err(NoConnection)?;
        let is_tls = uri.scheme_str() == Some("https");
        let (tcp, is_proxied) = match hop {
            None => (tcp.call(uri.clone()).await.map_err(|error| NoConnection(failure::with_causes(&error)))?, false),
            // The proxy is sent the request itself.
            Some(Hop { uri, kind: HopKind::Http, .. }) if !is_tls => {
                (tcp.call(uri.clone()).await.map_err(|error| by(&uri, &error))?, true)
            }
            Some(Hop { uri: proxy, kind: HopKind::Http, basic, .. }) => {
                let mut tunnel = Tunnel::new(proxy.clone(), tcp);
                if let Some(basic) = basic {
                    tunnel = tunnel.with_auth(basic);
                }
                (tunnel.call(uri.clone()).await.map_err(|error| by(&proxy, &error))?, false)
            }
            Some(Hop { uri: proxy, kind: HopKind::Socks, login, .. }) => {
                let mut socks = SocksV5::new(proxy.clone(), tcp);
                if let Some((name, password)) = login {
                    socks = socks.with_auth(name, password.as_str().to_owned());
                }
                let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
                let with_port = format!("{}:{port}", uri.host().unwrap_or_default());
                let with_port = Uri::builder().scheme("http").authority(with_port).path_and_query("/").build();
                let with_port = with_port.map_err(|error| NoConnection(error.to_string()))?;
                (socks.call(with_port).await.map_err(|error| by(&proxy, &error))?, false)
            }
        };
        match is_tls {
            false => Ok(Stream { io: Io::Plain(tcp), is_proxied }),
            true => self
                .handshake(tcp.into_inner(), uri)
                .await
                .map(|tls| Stream { io: Io::Tls(Box::new(TokioIo::new(tls))), is_proxied }),
        }
    }

    async fn handshake(&self, tcp: TcpStream, uri: &Uri) -> Result<TlsStream<TcpStream>, NoConnection> {
        let no_trust = || NoConnection("TLS needs `trust`: certificates that the server's has to chain to".to_owned());
        let tls = self.tls.as_ref().ok_or_else(no_trust)?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| NoConnection(format!("{host:?} is no name for TLS")))?;
        let is_own = uri.authority() == self.own.authority();
        let (config, shown) = tls.connection(is_own);
        let failed = |error: io::Error| NoConnection(failure::of_handshake(&error, &shown));
        let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.map_err(failed)?;
        if shown.is_unfit() {
            let why = "the server asks for a client certificate, and knows no signature that the key of ours can make; \
                       ML-DSA needs TLS 1.3 on the other side too";
            return Err(NoConnection(why.to_owned()));
        }
        if is_tls13(&stream) && shown.is_shown() {
            accepted(&mut stream, &shown).await?;
        }
        Ok(stream)
    }
}

fn by(proxy: &Uri, error: &(dyn std::error::Error + 'static)) -> NoConnection {
    // Without what may stand before an `@`.
    let place = proxy.authority().map_or("", |authority| authority.as_str());
    let place = place.rsplit('@').next().unwrap_or_default();
    NoConnection(format!("by the proxy {place}: {}", failure::with_causes(error)))
}

fn is_tls13(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
}

/// Waits a moment for what the server makes of our certificate: in TLS 1.3 it looks at it only when the handshake is over on our side, and
/// a request that was sent meanwhile would leave open what became of it. A server that takes the certificate sends session tickets,
/// as a rule; one that sends none costs the moment, once a connection.
async fn accepted(stream: &mut TlsStream<TcpStream>, shown: &Shown) -> Result<(), NoConnection> {
    const MOMENT: Duration = Duration::from_millis(500);
    let verdict = std::future::poll_fn(|cx| {
        let (tcp, session) = stream.get_mut();
        loop {
            if session.tls13_tickets_received() > 0 {
                return Poll::Ready(Ok(()));
            }
            match session.read_tls(&mut Ready { tcp, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            match session.process_new_packets() {
                // Nobody has asked for anything: what came is left to whoever reads next.
                Ok(state) if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() => return Poll::Ready(Ok(())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
    });
    match tokio::time::timeout(MOMENT, verdict).await {
        Ok(Err(error)) => Err(NoConnection(failure::of_handshake(&error, shown))),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

/// What can be read now.
struct Ready<'a, 'b, 'c> {
    tcp: &'a mut TcpStream,
    cx: &'b mut Context<'c>,
}

impl io::Read for Ready<'_, '_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut *self.tcp).poll_read(self.cx, &mut into) {
            Poll::Ready(Ok(())) => Ok(into.filled().len()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// A connection.
pub(super) struct Stream {
    io: Io,
    is_proxied: bool,
}

enum Io {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let mut connected = Connected::new().proxy(self.is_proxied).extra(Carried::default());
        if let Io::Tls(stream) = &self.io {
            if stream.inner().get_ref().1.alpn_protocol() == Some(b"h2") {
                connected = connected.negotiated_h2();
            }
            if is_tls13(stream.inner()) {
                connected = connected.extra(IsTls13);
            }
        }
        connected
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => {
                // A server that is gone does not say farewell.
                let _ = ready!(Pin::new(stream).poll_shutdown(cx));
                Poll::Ready(Ok(()))
            }
        }
    }
}
