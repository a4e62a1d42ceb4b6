//! The configuration of sealdns in front of a server, and what that must be told.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use super::listening::LocalAddress;
use super::{PORT, Takeover};

/// Where the server tells of new serials. Port 53 of loopback is its own, and 5353 is multicast DNS's.
pub const NOTIFIED_AT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5300));

impl Takeover {
    /// The configuration, with what the server must be told and what was left out as comments. `local`: the addresses of this
    /// host.
    pub fn write(&self, local: &[LocalAddress]) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "# sealdns in front of {}.", self.server);
        let _ = writeln!(text, "#\n# To be added to the configuration of {}:\n#", self.server);
        for line in &self.advice {
            let _ = writeln!(text, "#     {line}");
        }
        if !self.notes.is_empty() {
            let _ = writeln!(text, "#\n# To be known:");
            for note in &self.notes {
                let _ = writeln!(text, "# - {note}");
            }
        }
        let answers: Vec<&SocketAddr> =
            self.listens.iter().filter(|address| !address.ip().is_loopback()).collect();
        let addresses: BTreeSet<IpAddr> = answers.iter().map(|address| address.ip()).collect();
        let ports: BTreeSet<u16> = answers.iter().map(|address| address.port()).collect();
        let interfaces: BTreeSet<&str> = local
            .iter()
            .filter(|one| addresses.contains(&one.address))
            .map(|one| one.interface.as_str())
            .collect();
        let _ = writeln!(text, "\nversion = \"v1\"\n\n[server]\nlisten = []");
        let _ = writeln!(text, "\n[xdp]");
        if interfaces.is_empty() {
            text.push_str("# No interface of this host has one of these addresses: name those that queries come to.\n");
        }
        let _ = writeln!(text, "interfaces = {}", list(interfaces));
        if addresses.is_empty() {
            text.push_str(
                "# The server listens on loopback alone: add the addresses that it answers on.\n",
            );
        }
        let _ = writeln!(text, "addresses = {}", list(addresses));
        if !ports.is_empty() && ports != BTreeSet::from([PORT]) {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "ports = [{}]", ports.join(", "));
        }
        let _ = writeln!(
            text,
            "\n[front]\nserver = \"{}\"\nnotify = \"{NOTIFIED_AT}\"",
            self.asked_at()
        );
        if let Some(secret) = &self.cookie_secret {
            text.push_str("\n# That of the server: who can read this file can make its cookies.\n");
            let _ = writeln!(text, "[cookies]\nsecret = \"{secret}\"");
        }
        for (name, is_signed) in &self.zones {
            let _ = writeln!(text, "\n[[zone]]\nname = {}", quoted(name));
            if *is_signed == Some(false) {
                text.push_str("dnssec = \"off\"\n");
            }
        }
        if self.zones.is_empty() {
            text.push_str("\n# No zone is known: list them with --zones.\n");
        }
        text
    }
}

/// A list of strings as TOML has it.
fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    format!("[{}]", items.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// A string as TOML has it.
fn quoted(item: impl ToString) -> String {
    toml::Value::from(item.to_string()).to_string()
}
