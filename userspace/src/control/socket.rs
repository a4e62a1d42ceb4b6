//! The daemon's end of the control socket.

use std::io;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::protocol::{Failure, MAX_REQUEST, Request, Response};

/// Connections at once; more wait in the system's backlog.
pub const MAX_CONNECTIONS: usize = 16;

/// How long a client may take to send its request, or to take its response.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nobody is let in after letting one in failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Does what a request asks for; may block.
pub type Handler = Arc<dyn Fn(Request) -> Response + Send + Sync>;

/// Connections that the system holds until they are taken.
const BACKLOG: i32 = 16;

/// Binds the socket with mode 0600, in place of one that nobody listens on any more.
pub fn bind(path: &Path) -> io::Result<StdUnixListener> {
    match StdUnixStream::connect(path) {
        Ok(_) => {
            let message = "another daemon answers there already";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)?;
        }
        Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the mode that the socket has when it is bound (Linux, unix_bind): at no moment
    // may others open it, and the process's umask is left alone.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Serves the socket until `stop` says true, then answers what was asked before. To be called
/// within a tokio runtime.
pub async fn serve(
    listener: StdUnixListener,
    handler: Handler,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let handler = Arc::clone(&handler);
                connections.spawn(async move {
                    if let Err(error) = connection(stream, handler).await {
                        tracing::debug!(%error, "control connection");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "taking a control connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn connection(stream: UnixStream, handler: Handler) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut reader = BufReader::new(read.take(MAX_REQUEST));
    let mut line = String::new();
    if timeout(PATIENCE, reader.read_line(&mut line)).await?? == 0 {
        return Ok(());
    }
    let response = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let handled = tokio::task::spawn_blocking(move || handler(request)).await;
            handled.unwrap_or_else(|_| {
                Response::Error(Failure::new("internal", "the daemon failed at this request"))
            })
        }
        Err(error) => {
            let message = format!("this is no request that the daemon knows: {error}");
            Response::Error(
                Failure::new("request", message)
                    .with_hint("use the `sealdns` command of the same version as the daemon"),
            )
        }
    };
    let mut line = serde_json::to_vec(&response)?;
    line.push(b'\n');
    timeout(PATIENCE, write.write_all(&line)).await??;
    write.shutdown().await
}
