//! From the command line to a daemon that serves: what is done while it may do everything, and privileges given
//! up.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use nix::unistd::User;

use super::listening::{AddressSockets, endpoints};
use super::parts::Daemon;
use super::source::Source;
use super::{descriptors, hash_key, prepare, privileges, startup, supervise, tls_files, tsig_keys};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::file::SocketFile;
use crate::control::socket;
use crate::datapath::seam::{DataPlane, ExpectedSize};

/// Opens the data plane: loads XDP and attaches it where the configuration says.
pub type OpenPlane = fn(&Config, ExpectedSize) -> anyhow::Result<Box<dyn DataPlane>>;

/// Runs the daemon with the configuration at `path` until it is told to stop. `control` is the
/// control socket's path, if not the configured one.
/// `ready` is the line that is printed to stderr when all is served.
pub fn run(
    path: &Path,
    control: Option<&Path>,
    ready: &'static str,
    open_plane: OpenPlane,
) -> anyhow::Result<()> {
    let source = Source { path: path.to_owned(), control: control.map(Path::to_owned), ready };
    let mut config = source.load()?;
    descriptors::secure(&mut config);
    startup::warn_if_alone(&config);
    supervise::log_panics();
    let user = privileges::target(&config.server.user)?;
    let _state = startup::take_state(&config, user.as_ref())?;
    let sockets = Sockets::bind(&config, user.as_ref())?;
    let (expected, unsummed) = privileges::as_user(user.as_ref(), || {
        (prepare::expected_size(&config), prepare::unsummed_files(&config))
    })?;
    let (plane, digests) = beside(|| unsummed.sum_up(), || open_plane(&config, expected));
    let mut plane = plane?;
    match &user {
        Some(user) => privileges::drop_to(user)?,
        None if nix::unistd::Uid::effective().is_root() => {
            privileges::stay_root()?;
        }
        None => {}
    }
    match hash_key::kept_in(&config.server.state_dir) {
        Ok(key) => plane.set_hash_key(key),
        Err(error) => {
            tracing::warn!(
                "zones are compiled anew at the next start: the key of their names is not kept: {error:#}"
            );
        }
    }
    let control = SocketFile::at(&config.server.control);
    let prepare = Arc::new(prepare::ZoneFiles::new(&config).knowing(digests.unwrap_or_default()));
    let drain = config.server.shutdown_timeout.duration();
    let section = config.cookies.clone();
    tsig_keys::warn_of_weak(&config);
    let tsig_keys = tsig_keys::load(&config)?;
    let tls = tls_files::load(&config)?;
    let daemon = Arc::new(Daemon::new(source, config, plane, prepare, Clock::MACHINE));
    let secrets = daemon.presented.load_secrets(path, &section);
    secrets.context("the secret of DNS cookies")?;
    daemon.presented.set_tsig_keys(tsig_keys);
    daemon.zones.listening.tls().set(tls);
    daemon.limits.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(daemon.serve(sockets, drain));
    // Whatever still runs was given its time.
    runtime.shutdown_background();
    if let Ok(control) = control {
        control.remove();
    }
    result
}

/// Does two things at once, the first one in a thread that has ended when this returns: privileges are given up by one
/// thread for itself. `None` if the first one came to no end.
fn beside<A: Send, B>(
    aside: impl FnOnce() -> A + Send,
    work: impl FnOnce() -> B,
) -> (B, Option<A>) {
    thread::scope(|scope| {
        let aside = thread::Builder::new().name("kept zones".to_owned()).spawn_scoped(scope, aside);
        let worked = work();
        (worked, aside.ok().and_then(|aside| aside.join().ok()))
    })
}

/// Everything bound before privileges are given up.
pub(super) struct Sockets {
    pub(super) dns: Vec<AddressSockets>,
    pub(super) control: UnixListener,
}

impl Sockets {
    fn bind(config: &Config, user: Option<&User>) -> anyhow::Result<Sockets> {
        let server = &config.server;
        if let Some(folder) = server.control.parent() {
            privileges::make_folder(folder, 0o755, user)?;
        }
        let control = privileges::bind(&server.control, user, socket::bind)
            .with_context(|| format!("the control socket {}", server.control.display()))?;
        let dns = endpoints(config).into_iter().map(AddressSockets::bind);
        Ok(Sockets { dns: dns.collect::<anyhow::Result<_>>()?, control })
    }
}
