//! `sealdns front init`: a configuration made of that of the server that sealdns is to stand in front of.

use std::io::{self, Read as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{self, RecordType};
use serde::Serialize;

use crate::cli::output::{CliError, CommandResult, Exit, Output};
use crate::control::protocol::Failure;
use crate::files;
use crate::foreign::takeover::{self, LocalAddress, Takeover};
use crate::zone::Name;

/// How long a server on this host may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whose configuration it is.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// BIND's named.conf
    Named,
    /// Knot's knot.conf
    Knot,
    /// NSD's nsd.conf
    Nsd,
    /// PowerDNS's pdns.conf
    Pdns,
}

impl Server {
    fn whose(self) -> takeover::Server {
        match self {
            Server::Named => takeover::Server::Named,
            Server::Knot => takeover::Server::Knot,
            Server::Nsd => takeover::Server::Nsd,
            Server::Pdns => takeover::Server::Pdns,
        }
    }
}

/// What the server's configuration becomes.
#[derive(Serialize)]
struct InitReport {
    /// The server's program.
    server: String,
    /// The configuration of sealdns.
    config: String,
    /// What the server must be told.
    advice: Vec<String>,
    /// What was left out, and what else is to be known.
    notes: Vec<String>,
}

/// Prints the configuration.
pub fn run(
    file: &Path,
    from: Option<Server>,
    zones: Option<&Path>,
    is_offline: bool,
    output: &Output,
) -> CommandResult {
    let fault = |fault: crate::foreign::Fault| CliError {
        exit: Exit::Failed,
        failure: Failure::new("front", fault.to_string()),
    };
    let local = LocalAddress::all().context("the addresses of this host")?;
    let mut takeover = Takeover::read(file, from.map(Server::whose), &local).map_err(fault)?;
    if let Some(path) = zones {
        let list = read_list(path).with_context(|| path.display().to_string())?;
        takeover.add_zones(&list, path).map_err(fault)?;
    }
    if !is_offline {
        let server = takeover.asked_at();
        if let Err(error) = ask(server, &mut takeover) {
            takeover.notes.push(format!(
                "{server} was asked which zones are signed, and did not answer ({error}): of those that are not, set dnssec = \"off\""
            ));
        }
    }
    let config = takeover.write(&local);
    if takeover.cookie_secret.is_some() {
        eprintln!(
            "the secret of the server's cookies is in this configuration: keep it from others"
        );
    }
    let Takeover { server, advice, notes, .. } = takeover;
    let report = InitReport { server: server.to_string(), config, advice, notes };
    output.data(&report, |report| report.config.clone());
    Ok(Exit::Ok)
}

fn read_list(path: &Path) -> io::Result<String> {
    if path != Path::new("-") {
        return files::read_to_string(path);
    }
    let mut list = String::new();
    io::stdin().read_to_string(&mut list)?;
    Ok(list)
}

/// Asks the server for the keys of each zone: what has some is signed.
fn ask(server: SocketAddr, takeover: &mut Takeover) -> io::Result<()> {
    let any: SocketAddr = (if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })
        .parse()
        .map_err(io::Error::other)?;
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for (id, (name, is_signed)) in (1..).zip(&mut takeover.zones) {
        *is_signed = is_zone_signed(&socket, name, id)?;
    }
    Ok(())
}

/// `None` if the server does not answer for the zone.
fn is_zone_signed(socket: &UdpSocket, name: &Name, id: u32) -> io::Result<Option<bool>> {
    let name = rr::Name::from_ascii(name.to_string()).map_err(io::Error::other)?;
    let mut query = Message::new(id as u16, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(name, RecordType::DNSKEY));
    socket.send(&query.to_vec().map_err(io::Error::other)?)?;
    let mut octets = [0; 512];
    loop {
        let len = socket.recv(&mut octets)?;
        // What comes late answers what was asked before.
        let Ok(answer) = Message::from_vec(&octets[..len]) else { continue };
        if answer.metadata.id != query.metadata.id {
            continue;
        }
        // Keys are often larger than what fits without EDNS.
        let has_keys = answer.metadata.truncation || !answer.answers.is_empty();
        return Ok(answer.metadata.authoritative.then_some(has_keys));
    }
}
