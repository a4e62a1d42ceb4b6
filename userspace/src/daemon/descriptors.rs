//! File descriptors: as many as the limits of the configuration need, got at start, or the limits made to fit.
//!
//! A server that runs out of them takes no TCP connections, and nobody can ask it over its control socket why. So the
//! soft limit is raised (RLIMIT_NOFILE; its usual 1,024 is for programs that use select), the hard one too where we
//! may, and if that does not give enough there are fewer TCP connections: what else needs descriptors has its own.

use std::num::NonZeroUsize;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Config;
use crate::control::socket;

/// UDP sockets per address at most: one per core, and no more than this many.
pub const MAX_UDP_WORKERS: usize = 16;

/// What is open whatever is configured: standard streams, epoll, signals, files being read (`$INCLUDE` nests 16 deep).
const ALWAYS: usize = 64;

/// Maps and programs of XDP and TCX, twice: those of an earlier daemon that are being taken over are open as well.
const XDP: usize = 256;

/// Links, and sockets to the kernel, of one interface.
const XDP_INTERFACE: usize = 8;

/// TCP connections that have lost their places and are not closed yet.
const ENDING: usize = 32;

/// How many descriptors are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// For TCP connections.
    connections: usize,
    /// For everything else, connections to the control socket among it.
    others: usize,
}

impl Needs {
    fn of(config: &Config, cores: usize) -> Needs {
        let server = &config.server;
        let xdp = match config.xdp.interfaces.len() {
            0 => 0,
            interfaces => XDP + interfaces * XDP_INTERFACE,
        };
        // Each listening socket twice: a copy is there for a reload.
        let notify = config.front.as_ref().is_some_and(|front| front.notify.is_some());
        let plain = (server.listen.len() + usize::from(notify)) * (cores.min(MAX_UDP_WORKERS) + 2);
        let sockets = plain + server.listen_tls.len() * 2;
        let control = 1 + socket::MAX_CONNECTIONS;
        let connections = if sockets == 0 { 0 } else { server.tcp_connections.get() };
        Needs { connections, others: ALWAYS + xdp + sockets + control + ENDING }
    }

    fn all(self) -> usize {
        self.connections.saturating_add(self.others)
    }

    /// How many connections there may be with so many descriptors; one is always tried.
    fn connections_within(self, descriptors: usize) -> NonZeroUsize {
        let connections = self.connections.min(descriptors.saturating_sub(self.others));
        NonZeroUsize::new(connections).unwrap_or(NonZeroUsize::MIN)
    }
}

/// Gets the descriptors that the configuration needs; if there are not as many, lowers `tcp-connections` to what there
/// is, with a warning.
pub fn secure(config: &mut Config) {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let needs = Needs::of(config, cores);
    let granted = raise(needs.all());
    if granted >= needs.all() {
        return;
    }
    let fit = needs.connections_within(granted);
    let (wanted, others) = (needs.connections, needs.others);
    tracing::warn!(
        "the process may have {granted} file descriptors (RLIMIT_NOFILE), and {others} are not for TCP \
         connections: at most {fit} TCP connections are open at once, instead of {wanted} as \
         `tcp-connections` says; set LimitNOFILE={} in the unit",
        needs.all()
    );
    if config.server.tcp_connections > fit {
        config.server.tcp_connections = fit;
    }
}

/// Raises the soft limit to `wanted` as far as we may; returns what it is then.
fn raise(wanted: usize) -> usize {
    let limits = || getrlimit(Resource::RLIMIT_NOFILE);
    let Ok((soft, hard)) = limits() else { return usize::MAX };
    let wanted = wanted as u64;
    if soft < wanted {
        // Above the hard limit only with CAP_SYS_RESOURCE, and never above fs.nr_open.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted));
        if raised.is_err() {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
        }
    }
    let soft = limits().map_or(soft, |(soft, _)| soft);
    usize::try_from(soft).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(server: &str, xdp: &str) -> Config {
        let text = format!("version = \"v1\"\n[server]\n{server}\n[xdp]\n{xdp}\n");
        Config::parse(&text, Path::new("sealdns.toml")).unwrap()
    }

    #[test]
    fn each_limit_of_the_configuration_counts() {
        let none = Needs::of(&config("listen = []", ""), 4);
        assert_eq!(none, Needs { connections: 0, others: ALWAYS + ENDING + 17 });
        let two = "listen = [\"192.0.2.1:53\", \"192.0.2.2:53\"]\ntcp-connections = 5000";
        let sockets = Needs::of(&config(two, ""), 4);
        assert_eq!(sockets, Needs { connections: 5000, others: none.others + 12 });
        let many_cores = Needs::of(&config(two, ""), 400);
        assert_eq!(many_cores.others, none.others + 2 * 18);
        let xdp = Needs::of(&config(two, "interfaces = [\"a\", \"b\"]"), 4);
        assert_eq!(xdp.others, sockets.others + XDP + 2 * XDP_INTERFACE);
    }

    #[test]
    fn what_there_is_not_is_taken_from_tcp_connections() {
        let needs = Needs { connections: 1000, others: 200 };
        for (descriptors, connections) in
            [(5000, 1000), (1200, 1000), (1199, 999), (201, 1), (200, 1), (0, 1)]
        {
            assert_eq!(needs.connections_within(descriptors).get(), connections, "{descriptors}");
        }
    }
}
