//! The daemon's end of the control socket.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::protocol::{
    Failure, MAX_REQUEST, ProtocolError, Request, Response, SAME_VERSION, read_request,
    write_response,
};

/// Connections at once; more wait in the system's backlog.
pub const MAX_CONNECTIONS: usize = 16;

/// Requests at once that may wait for a zone to be loaded. Others have the connections that are left: who
/// asks how the daemon is gets an answer.
const MAX_WAITING: usize = 12;

/// How long a client may take to send its request, or to take its response.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nobody is let in after letting one in failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Does what a request asks for; may block.
pub type Handler = Arc<dyn Fn(Request) -> Response + Send + Sync>;

/// Connections that the system holds until they are taken.
const BACKLOG: i32 = 16;

/// Binds the socket with mode 0600, in place of one of an earlier daemon that nobody listens on any more.
/// Nothing else is ever removed.
pub fn bind(path: &Path) -> io::Result<StdUnixListener> {
    // Between looking and binding no other daemon may do the same: it would remove what is bound here.
    let _turn = turn(path);
    match std::fs::symlink_metadata(path) {
        Ok(found) => clear(path, &found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
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

/// How often a turn is tried, and the time between two tries: a daemon has its own for a few milliseconds.
const TURN_TRIES: u32 = 20;
const TURN_PAUSE: Duration = Duration::from_millis(25);

/// Waits for daemons that bind in the same folder; none if it cannot be locked, as it seldom matters.
///
/// Nobody is waited for without an end: a state directory is locked as long as its daemon runs, and the socket may lie in
/// it.
fn turn(path: &Path) -> Option<Flock<File>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
    for _ in 0..TURN_TRIES {
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(turn) => return Some(turn),
            Err((opened, _taken)) => folder = opened,
        }
        std::thread::sleep(TURN_PAUSE);
    }
    None
}

/// Removes what is found at the path, if an earlier daemon left it there.
fn clear(path: &Path, found: &Metadata) -> io::Result<()> {
    let taken = |message: &str| io::Error::new(io::ErrorKind::AddrInUse, message);
    if !found.file_type().is_socket() {
        let message = "there is a file that is not a socket; it is left alone: move it away, or set \
                       `control` in [server] to another path";
        return Err(taken(message));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => return Err(taken("another daemon answers there already")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) => return Err(error),
    }
    // Ours have this mode.
    if found.mode() & 0o777 != 0o600 {
        let message = "a socket of another program is there; it is left alone: remove it, or set \
                       `control` in [server] to another path";
        return Err(taken(message));
    }
    std::fs::remove_file(path)
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
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (handler, waiting) = (Arc::clone(&handler), Arc::clone(&waiting));
                connections.spawn(async move {
                    if let Err(error) = connection(stream, handler, &waiting).await {
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

async fn connection(stream: UnixStream, handler: Handler, waiting: &Semaphore) -> io::Result<()> {
    let peer = Peer::of(&stream);
    let (read, mut write) = stream.into_split();
    let mut reader = BufReader::new(read.take(MAX_REQUEST));
    let mut line = String::new();
    if timeout(PATIENCE, reader.read_line(&mut line)).await?? == 0 {
        return Ok(());
    }
    let response = match read_request(&line) {
        Ok(request) => answer(request, handler, waiting, &peer).await,
        Err(error) => {
            let code = match error {
                ProtocolError::Version { .. } => "version",
                ProtocolError::Content(_) => "request",
            };
            let message = format!("the command is not understood: {error}");
            Response::Error(Failure::new(code, message).with_hint(SAME_VERSION))
        }
    };
    let line = write_response(&response)?;
    timeout(PATIENCE, write.write_all(&line)).await??;
    write.shutdown().await
}

/// Does what is asked for; what changes anything is in the log, with who asked.
async fn answer(request: Request, handler: Handler, waiting: &Semaphore, peer: &Peer) -> Response {
    let action = request.action();
    if let Some(action) = &action {
        tracing::info!("{action}: asked for by {peer}");
    }
    let may_wait = match request.may_wait() {
        true => match waiting.try_acquire() {
            Ok(place) => Some(place),
            Err(_) => {
                let message = format!("{MAX_WAITING} commands wait for the daemon already");
                return Response::Error(
                    Failure::new("busy", message).with_hint("ask again when zones are loaded"),
                );
            }
        },
        false => None,
    };
    let handled = tokio::task::spawn_blocking(move || handler(request)).await;
    drop(may_wait);
    let response = handled.unwrap_or_else(|_| {
        Response::Error(Failure::new("internal", "the daemon failed at this request"))
    });
    if let (Some(action), Response::Error(failure)) = (&action, &response) {
        tracing::warn!("{action}: not done: {failure}");
    }
    response
}

/// Who asks, as the kernel knows (SO_PEERCRED, unix(7)).
struct Peer {
    uid: Option<u32>,
    pid: Option<i32>,
}

impl Peer {
    fn of(stream: &UnixStream) -> Peer {
        let credentials = stream.peer_cred().ok();
        Peer {
            uid: credentials.as_ref().map(|credentials| credentials.uid()),
            pid: credentials.as_ref().and_then(|credentials| credentials.pid()),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.uid.map(nix::unistd::Uid::from_raw);
        let name = user.and_then(|uid| nix::unistd::User::from_uid(uid).ok().flatten());
        match (name, user) {
            (Some(user), _) => write!(f, "{}", user.name)?,
            (None, Some(uid)) => write!(f, "user {uid}")?,
            (None, None) => write!(f, "somebody")?,
        }
        self.pid.iter().try_for_each(|pid| write!(f, " (process {pid})"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nothing_is_removed_that_no_daemon_has_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        type Make = fn(&Path);
        let makers: [(&str, Make); 5] = [
            ("not a socket", |path| std::fs::write(path, "precious").unwrap()),
            ("not a socket", |path| std::fs::create_dir(path).unwrap()),
            // Whatever it points to.
            ("not a socket", |path| std::os::unix::fs::symlink("/nowhere", path).unwrap()),
            ("not a socket", |path| nix::unistd::mkfifo(path, Mode::S_IRUSR).unwrap()),
            ("another program", |path| {
                drop(StdUnixListener::bind(path).unwrap());
                std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
            }),
        ];
        for (said, make) in makers {
            make(&path);
            let before = std::fs::symlink_metadata(&path).unwrap().ino();
            let error = bind(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(std::fs::symlink_metadata(&path).unwrap().ino(), before);
            let away = folder.path().join("away");
            std::fs::rename(&path, &away).unwrap();
            let _ = std::fs::remove_file(&away).or_else(|_| std::fs::remove_dir(&away));
        }
        // A live one is another daemon's; what it leaves is in nobody's way.
        let live = bind(&path).unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("another daemon"));
        drop(live);
        bind(&path).unwrap();
    }

    #[test]
    fn a_folder_that_stays_locked_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        // As the daemon locks its state directory, in which the socket may lie.
        let opened = File::open(folder.path()).unwrap();
        let _locked = Flock::lock(opened, FlockArg::LockExclusiveNonblock).unwrap();
        bind(&folder.path().join("control.sock")).unwrap();
    }

    #[test]
    fn of_daemons_that_start_together_one_has_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        for _ in 0..50 {
            drop(bind(&path).unwrap());
            let bound: Vec<_> = std::thread::scope(|scope| {
                let binding: Vec<_> = (0..4).map(|_| scope.spawn(|| bind(&path))).collect();
                binding.into_iter().map(|one| one.join().unwrap()).collect()
            });
            assert_eq!(bound.iter().filter(|one| one.is_ok()).count(), 1);
            StdUnixStream::connect(&path).unwrap();
        }
    }
}
