//! Two namespaces and the wire between them.

use std::{process::Command, time::Duration};

use anyhow::Result;
use testbed::net::{self, End, Namespace};
use tests::{harness::Verdict, prog_test_run::lab};

/// The addresses of both ends, IPv4 and IPv6.
pub const CLIENTS: [&str; 2] = [CLIENT, "2001:db8::1/64"];
pub const SERVERS: [&str; 2] = [SERVER, "2001:db8::2/64"];

pub const CLIENT: &str = "198.51.100.1/24";
pub const SERVER: &str = "198.51.100.2/24";

/// Two namespaces joined by a veth pair, whose ends are `client` and `server`.
pub struct Pair {
    pub client: Namespace,
    pub server: Namespace,
    pub server_mac: [u8; 6],
}

impl Pair {
    pub fn new(test: &str) -> Result<Self> {
        net::sweep();
        let client = Namespace::new(&format!("{test}-client"))?;
        let server = Namespace::new(&format!("{test}-server"))?;
        let mut pair = Self { client, server, server_mac: Default::default() };
        pair.connect()?;
        Ok(pair)
    }

    /// Makes the devices, which are not there or not there any more.
    pub fn connect(&mut self) -> Result<()> {
        net::veth(
            &End { namespace: &self.client, interface: "client", addresses: &CLIENTS },
            &End { namespace: &self.server, interface: "server", addresses: &SERVERS },
        )?;
        self.server_mac = self.server.enter(|| net::mac_address("server"))??;
        Ok(())
    }
}

/// Why a test that sends frames over veth cannot run, if it cannot.
pub fn obstacle() -> Option<Verdict> {
    crate::kernel::obstacle().or_else(|| {
        (!lab().is_file()).then(|| Verdict::Skipped("no lab programs: `cargo xtask build`".into()))
    })
}

/// What `ip` says of the server's device; it names any XDP program.
pub fn link(server: &Namespace) -> Result<String> {
    let mut show = Command::new("ip");
    show.args(["-d", "link", "show", "dev", "server"]);
    let output = server.output(&mut show, Duration::from_secs(5))?;
    Ok(String::from_utf8(output.stdout)?)
}
