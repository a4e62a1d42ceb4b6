//! The wire: a veth pair between two namespaces, whose ends take frames in threads of their own.
//!
//! Without threaded NAPI, a program on one end runs on the core of the program that sends from the other, and
//! nobody accounts for it.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use testbed::net::{self, End, Namespace, output_within};

use super::schedule::{self, GENERATOR_CORE, NAPI, SERVE, SERVER_CORE};

// RFC 5737.
const CLIENT: &str = "198.51.100.1";
const SERVER: &str = "198.51.100.2";
/// The port that the client asks from.
const CLIENT_PORT: u16 = 5353;

/// How often the NAPI thread of a new device is looked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The two namespaces and what lies between them; gone when this is dropped.
pub struct Wire {
    /// Where queries come from.
    pub client: Namespace,
    /// Where they are answered.
    pub server: Namespace,
    /// The client's device.
    pub client_end: String,
    /// The server's device.
    pub server_end: String,
    /// The address of the client's device.
    pub client_mac: [u8; 6],
    /// The address of the server's device.
    pub server_mac: [u8; 6],
}

/// How often the client's end looks for answers in vain before it asks to be woken, and how long it waits
/// before each look, in nanoseconds. No official reference: some ten answers come meanwhile.
const MODERATION_LOOKS: u32 = 100;
const MODERATION_NS: u32 = 20_000;

impl Wire {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let (client, server) = (Namespace::new("flood-client")?, Namespace::new("flood-server")?);
        // Their threads carry these names, in all of the system.
        let [client_end, server_end] =
            ["c", "s"].map(|end| format!("sd{}{end}", std::process::id()));
        let prefixes = [CLIENT, SERVER].map(|address| format!("{address}/24"));
        net::veth(
            &End { namespace: &client, interface: &client_end, addresses: &[&prefixes[0]] },
            &End { namespace: &server, interface: &server_end, addresses: &[&prefixes[1]] },
        )?;
        let client_mac = client.enter(|| net::mac_address(&client_end))??;
        let server_mac = server.enter(|| net::mac_address(&server_end))??;
        let wire = Self { client, server, client_end, server_end, client_mac, server_mac };
        wire.thread(&wire.client, &wire.client_end)?;
        // As a program at the other end asks for, whether there is one or not. A burst of a socket is cut
        // into packets before it reaches the wire: a client asks one question in a packet. And a veth end
        // leaves packets to its thread only if the other cannot send segments of TCP: else they are worked
        // on unaccounted, by whoever sends.
        let offloads = ["tso", "off", "gso", "off", "tx-udp-segmentation", "off"];
        wire.offload(&wire.client, &wire.client_end, &offloads)?;
        wire.thread(&wire.server, &wire.server_end)?;
        // A flood would drown who asks for an address.
        wire.introduce(&wire.server, &wire.server_end, CLIENT, client_mac)?;
        wire.introduce(&wire.client, &wire.client_end, SERVER, server_mac)?;
        Ok(wire)
    }

    /// Where the client asks from.
    pub fn client_address() -> Result<SocketAddr> {
        Ok(SocketAddr::new(CLIENT.parse()?, CLIENT_PORT))
    }

    /// Where the server is asked.
    pub fn server_address() -> Result<SocketAddr> {
        Ok(SocketAddr::new(SERVER.parse()?, 53))
    }

    /// Makes an end take frames in a thread of its own, with and without a program on it.
    fn thread(&self, namespace: &Namespace, interface: &str) -> Result<()> {
        // With GRO a veth end has NAPI even without a program.
        self.offload(namespace, interface, &["gro", "on"])?;
        self.setting(namespace, interface, "threaded", 1)
            .context("threaded NAPI came with Linux 5.12")?;
        net::wait_until("a NAPI thread", PATIENCE, || {
            napi_threads(interface).is_ok_and(|ids| !ids.is_empty())
        })
    }

    /// Whether the client's thread looks again for a while before it sleeps, as cards put off interrupts. Else a
    /// server pays for waking it, an interrupt to another core, with each answer that it sends alone; but the
    /// looks take time that the generator needs to send as many frames as XDP can answer.
    pub fn moderate(&self, is_on: bool) -> Result<()> {
        let [looks, ns] = if is_on { [MODERATION_LOOKS, MODERATION_NS] } else { [0, 0] };
        self.setting(&self.client, &self.client_end, "napi_defer_hard_irqs", looks)?;
        self.setting(&self.client, &self.client_end, "gro_flush_timeout", ns)
    }

    /// Makes a setting of a device in /sys, which shows the devices of the namespace that it is mounted in.
    fn setting(
        &self,
        namespace: &Namespace,
        interface: &str,
        name: &str,
        value: u32,
    ) -> Result<()> {
        let script = format!("echo {value} > /sys/class/net/{interface}/{name}");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace.name(), "sh", "-c", &script]);
        let output = output_within(&mut command, PATIENCE)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{script}`: {}", said.trim());
        Ok(())
    }

    /// Switches what a device does for the stack, by ethtool's words.
    fn offload(&self, namespace: &Namespace, interface: &str, words: &[&str]) -> Result<()> {
        let mut command = Command::new("ethtool");
        let output = namespace.output(command.args(["-K", interface]).args(words), PATIENCE)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{interface}: `{}`: {}", words.join(" "), said.trim());
        Ok(())
    }

    fn introduce(
        &self,
        namespace: &Namespace,
        interface: &str,
        address: &str,
        mac: [u8; 6],
    ) -> Result<()> {
        let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
        namespace.ip(&format!("neigh replace {address} lladdr {mac} nud permanent dev {interface}"))
    }

    /// Puts the threads of both ends and of the server where they belong. To be called again when the
    /// server has started threads.
    pub fn pin(&self) -> Result<()> {
        for (end, core) in [(&self.client_end, GENERATOR_CORE), (&self.server_end, SERVER_CORE)] {
            for id in napi_threads(end)? {
                schedule::pin_process(id, core, NAPI)?;
            }
        }
        for id in self.server_processes()? {
            schedule::pin_process(id, SERVER_CORE, SERVE)?;
        }
        Ok(())
    }

    /// Processes in the server's namespace.
    fn server_processes(&self) -> Result<Vec<u32>> {
        let mut command = Command::new("ip");
        command.args(["netns", "pids", self.server.name()]);
        let output = output_within(&mut command, PATIENCE)?;
        let ids = String::from_utf8_lossy(&output.stdout).into_owned();
        ids.split_whitespace().map(|id| id.parse().context("no process id")).collect()
    }

    /// Where the kernel says how long each thread ran that the server's side consists of: those of
    /// the servers' processes, and those that take frames off the wire for them.
    pub fn server_accounts(&self) -> Result<Vec<PathBuf>> {
        let mut accounts = Vec::new();
        for id in self.server_processes()?.into_iter().chain(napi_threads(&self.server_end)?) {
            // A process that has ended since has no threads.
            for task in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten() {
                accounts.push(task?.path().join("schedstat"));
            }
        }
        Ok(accounts)
    }

    /// Takes away the program that the server's end may still have.
    pub fn clear(&self) -> Result<()> {
        self.server.ip(&format!("link set dev {} xdp off", self.server_end))
    }

    /// Frames that programs on the server's end have sent back.
    pub fn transmitted(&self) -> Result<u64> {
        self.server.enter(|| net::xdp_transmitted(&self.server_end))?
    }
}

/// Ids of the kernel threads that take frames for a device.
fn napi_threads(interface: &str) -> Result<Vec<u32>> {
    let prefix = format!("napi/{interface}-");
    let mut ids = Vec::new();
    for process in fs::read_dir("/proc")? {
        let process = process?;
        let Ok(id) = process.file_name().to_string_lossy().parse() else { continue };
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if name.starts_with(&prefix) {
            ids.push(id);
        }
    }
    Ok(ids)
}
