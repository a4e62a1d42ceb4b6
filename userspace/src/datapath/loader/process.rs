//! The loader as a process of its own: how it is started, and what it does until its daemon is gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use caps::Capability;
use nix::sys::signal::SigSet;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_type};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};

use super::capabilities::keep_only;
use super::request::{Refusal, Reply, Request, Start, receive, send};
use super::work::Work;

/// The hidden command that a loader is started with.
pub const COMMAND: &str = "loader";

/// What it keeps: to attach (CAP_NET_ADMIN), and what bpf(2) asks for.
const KEPT: [Capability; 3] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_BPF, Capability::CAP_PERFMON];

/// How long an answer is waited for. No official reference: what it does takes milliseconds, and detaching from a
/// device that is being reset may wait for the driver.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon's end.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    process: Child,
}

impl Client {
    /// Starts a loader that goes on with `work`.
    pub fn start(work: &Work) -> anyhow::Result<Client> {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .context("making a pair of sockets")?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        send(socket.as_fd(), &Start { pins: work.pins() }, work.held())?;
        // Started anew rather than forked: it has none of the daemon's memory.
        let process = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .context("starting the loader")?;
        let mut client = Client { socket, process };
        match client.ask(&Request::Ready, None) {
            Ok((Reply::Done, _)) => Ok(client),
            Ok((reply, _)) => bail!("the loader does not start: {reply:?}"),
            Err(error) => match client.ended() {
                Some(why) => bail!("the loader does not start: {why}"),
                None => Err(error).context("the loader does not start"),
            },
        }
    }

    /// Has one thing done. After an error nothing more can be asked.
    pub fn ask(
        &mut self,
        request: &Request,
        object: Option<BorrowedFd<'_>>,
    ) -> io::Result<(Reply, Option<OwnedFd>)> {
        send(self.socket.as_fd(), request, object)?;
        receive(self.socket.as_fd())?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.process.try_wait().ok()??;
        Some(format!("it has ended ({status})"))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // So it ends, and who started it takes note of that.
        if rustix::net::shutdown(&self.socket, Shutdown::Both).is_ok() {
            let _ = self.process.wait();
        }
    }
}

/// What a process started with [`COMMAND`] does: one request after the other, until its daemon is gone. It has
/// no other thread, no other socket, and reads nothing but requests.
pub fn main() -> anyhow::Result<()> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let is_started = socket_type(&socket).is_ok_and(|kind| kind == SocketType::SEQPACKET);
    ensure!(is_started, "the loader is a part of the daemon, which starts it by itself");
    // A service manager that ends the daemon may send the same signal to all that belongs to it, and the daemon has use for
    // the loader until the end.
    SigSet::all().thread_block().context("blocking signals")?;
    // It keeps root, whose the pins are.
    keep_only(&KEPT)?;
    let Some((Start { pins }, held)) = receive(socket.as_fd())? else { return Ok(()) };
    let mut work = Work::taken_over(pins, held);
    loop {
        let (reply, found) = match receive::<Request>(socket.as_fd()) {
            Ok(None) => return Ok(()),
            Ok(Some((request, object))) => work.answer(&request, object.as_ref().map(AsFd::as_fd)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                (Reply::Refused(Refusal::from(error)), None)
            }
            Err(error) => return Err(error).context("waiting for requests"),
        };
        match send(socket.as_fd(), &reply, found.as_ref().map(AsFd::as_fd)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            sent => sent.context("answering")?,
        }
    }
}
