//! The control socket: a Unix socket that only its owner may open.

use std::convert::Infallible;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;

use super::ServeError;
use crate::admin::{Control, Problem};

/// The largest body: a SCEP message to explain is far smaller.
const MAX_BODY: usize = 1024 * 1024;

/// The bound socket.
pub struct ControlSocket {
    socket: UnixListener,
}

impl ControlSocket {
    /// Binds, mode 0600. What an earlier run left there is replaced: whoever holds the data folder's lock owns the path.
    pub fn bind(path: &Path) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Bind { address: path.display().to_string(), source };
        // Bound where nobody else can look, and moved into place once its mode is right: there is no moment at which others
        // could open it.
        let nook = nook(path);
        let _ = fs::remove_dir_all(&nook);
        DirBuilder::new().mode(0o700).create(&nook).map_err(failed)?;
        let hidden = nook.join("s");
        let bound = UnixListener::bind(&hidden).and_then(|socket| {
            fs::set_permissions(&hidden, Permissions::from_mode(0o600))?;
            fs::rename(&hidden, path)?;
            Ok(socket)
        });
        let _ = fs::remove_dir_all(&nook);
        Ok(Self { socket: bound.map_err(failed)? })
    }

    /// Answers until the task ends.
    pub async fn serve(self, control: Arc<Control>) {
        loop {
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("A control connection could not be accepted: {error}.");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let control = Arc::clone(&control);
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(Arc::clone(&control), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(30))
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    tracing::debug!("A control connection ended: {error}.");
                }
            });
        }
    }
}

async fn answer(control: Arc<Control>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let response = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => control.handle(Request::from_parts(head, body.to_bytes())).await,
        Err(error) => Problem::bad_request(format!("the body cannot be read: {error}")).response(),
    };
    Ok(response.map(Full::new))
}

/// A folder beside the socket with a name so short that the path fits into a socket address if the socket's own does.
fn nook(path: &Path) -> PathBuf {
    path.with_file_name(".ctl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_owner_may_open_it_and_a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        fs::write(&path, "left behind").unwrap();
        let _socket = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!dir.path().join(".ctl").exists());
        tokio::net::UnixStream::connect(&path).await.unwrap();
    }
}
