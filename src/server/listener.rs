//! Listening sockets for devices.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

use super::ServeError;
use super::connection::Connections;

/// How many connections the system may hold for us until they are accepted.
const BACKLOG: u32 = 1024;

/// A bound socket.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Binds; with `tls` for HTTPS.
    pub fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Self, ServeError> {
        let socket = bind(address).map_err(|source| ServeError::Bind { address: address.to_string(), source })?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, tls })
    }

    /// Where it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until the task ends.
    pub async fn accept(self, connections: Connections) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => connections.take(stream, peer, self.tls.clone()),
                Err(error) => {
                    // Most likely no file descriptor is left: those in use come free as connections end.
                    tracing::warn!("A connection could not be accepted: {error}.");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Binds a TCP socket.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
