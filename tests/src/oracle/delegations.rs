//! Delegations to many name servers, beside knotd and nsd: what fits a message over TCP is answered, glue that does not
//! is left out and TC says so (RFC 9471 section 3.1), and over UDP there is TC before.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use sealdns::dnssec::policy::Denial;
use sealdns::zone::{Rtype, Zone};

use super::answers::{self, obstacle};
use super::legal::Peer;
use testbed::servers::Server;
use tests::dns::{Edns, Message, Query};
use tests::harness::Verdict;
use tests::questions::PAYLOAD;
use tests::servers::{run_sealdns, signed, unsigned};

const APEX: &str = "many.example";

/// Where the number of servers is a bound, of messages over UDP without EDNS and with it, of pointers in a piece, of
/// pointers that reach, of addresses in a message over TCP and of servers in one; and around each.
const AROUND: [usize; 14] = [3, 9, 13, 20, 60, 95, 190, 280, 440, 575, 900, 1020, 1500, 2000];

/// The largest record of addresses, in octets: its owner name is written out to the name of the delegation.
const LARGEST: usize = 8 + 10 + 16;

/// Octets that knotd saves by pointers to names in NS records, at most: there are some twenty.
const SAVED: usize = 128;

/// The largest message over TCP, in octets.
const MOST: usize = 65_535;

/// A delegation to some servers.
struct Cut {
    servers: usize,
    /// Whether they are below the delegation and have two addresses each.
    has_glue: bool,
    is_secure: bool,
}

impl Cut {
    fn label(&self) -> String {
        format!(
            "s{}{}{}",
            self.servers,
            if self.has_glue { "g" } else { "n" },
            u8::from(self.is_secure)
        )
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let label = self.label();
        for n in 0..self.servers {
            match self.has_glue {
                true => writeln!(
                    text,
                    "{label} NS n{n}.{label}\nn{n}.{label} A 192.0.2.1\nn{n}.{label} AAAA 2001:db8::1"
                )?,
                false => writeln!(text, "{label} NS a-server-{n}.example.net.")?,
            }
        }
        if self.is_secure {
            let digest = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
            writeln!(text, "{label} DS 1 13 2 {digest}")?;
        }
        Ok(())
    }
}

fn cuts() -> Vec<Cut> {
    let numbers = AROUND.into_iter().flat_map(|bound| [bound - 2, bound - 1, bound, bound + 1]);
    let numbers: Vec<usize> = numbers.collect();
    let mut all = Vec::new();
    for (has_glue, is_secure) in [(true, true), (true, false), (false, true), (false, false)] {
        // Half of them with DS and half without: both are at every bound.
        let some = numbers.iter().skip(usize::from(is_secure)).step_by(2);
        all.extend(some.map(|&servers| Cut { servers, has_glue, is_secure }));
    }
    all
}

/// Before knotd.
pub fn many_name_servers_are_referred_to_as_knotd_does() -> Result<Verdict> {
    compare(Peer::Knotd)
}

/// Before nsd.
pub fn many_name_servers_are_referred_to_as_nsd_does() -> Result<Verdict> {
    compare(Peer::Nsd)
}

fn compare(peer: Peer) -> Result<Verdict> {
    if let Some(obstacle) = obstacle(peer.program()) {
        return Ok(obstacle);
    }
    let cuts = cuts();
    let mut text = String::from("$TTL 300\n@ SOA ns host 1 4h 1h 2w 60\n@ NS ns\nns A 192.0.2.1\n");
    for cut in &cuts {
        cut.write(&mut text)?;
    }
    for denial in [None, Some(Denial::Nsec), Some(Denial::Nsec3 { opt_out: false })] {
        let folder = tempfile::tempdir()?;
        let zone = match denial {
            None => unsigned(APEX, &text)?,
            Some(denial) => signed((APEX, &text), denial, folder.path())?,
        };
        let ours = run_sealdns(folder.path(), &[&zone])?;
        let theirs = answers::serve(peer, folder.path(), &[&zone])?;
        let said = compare_zone(peer, &zone, &cuts, &ours, &theirs)
            .with_context(|| format!("{denial:?} before {}", peer.program()))?;
        println!("  {denial:?} before {}: {said}", peer.program());
    }
    Ok(Verdict::Passed)
}

fn compare_zone(
    peer: Peer,
    zone: &Zone,
    cuts: &[Cut],
    ours: &Server,
    theirs: &Server,
) -> Result<String> {
    let clients = [
        None,
        Some(Edns { payload: PAYLOAD, dnssec_ok: false }),
        Some(Edns { payload: PAYLOAD, dnssec_ok: true }),
    ];
    let asked: Vec<(&Cut, Query)> = cuts
        .iter()
        .flat_map(|cut| clients.map(|edns| (cut, edns)))
        .map(|(cut, edns)| {
            let label = cut.label();
            let mut name = vec![1, b'x', label.len() as u8];
            name.extend(label.bytes());
            name.extend(zone.apex().as_wire());
            (cut, Query { name, rtype: Rtype::A.0, edns })
        })
        .collect();
    let messages: Vec<Vec<u8>> = asked.iter().map(|(_, query)| query.message(0)).collect();
    let udp = ours.ask_all(&messages)?.into_iter().zip(theirs.ask_all(&messages)?);
    let tcp =
        ours.ask_all_over_tcp(&messages)?.into_iter().zip(theirs.ask_all_over_tcp(&messages)?);
    let (mut whole, mut in_part) = (0, 0);
    for ((cut, query), (udp, tcp)) in asked.iter().zip(udp.zip(tcp)) {
        let what = || format!("{query:?}, {} servers", cut.servers);
        let [ours, theirs] = [Message::read(&udp.0)?, Message::read(&udp.1)?];
        // The one that has room for more says more: we spell names out that others point to.
        ensure!(theirs.is_truncated() <= ours.is_truncated(), "{}: no TC over UDP", what());
        let is_near = theirs.len + cut.servers * APEX.len() * 2 > query.response_limit();
        ensure!(ours.is_truncated() == theirs.is_truncated() || is_near, "{}: TC over UDP", what());

        let [ours, theirs] = [Message::read(&tcp.0)?, Message::read(&tcp.1)?];
        ensure!(ours.rcode == 0 && theirs.rcode == 0, "{}: rcode {}", what(), ours.rcode);
        ensure!(ours.authority == theirs.authority, "{}: another authority section", what());
        ensure!(ours.repeats == 0, "{}: a record stands twice", what());
        let addresses = if cut.has_glue { 2 * cut.servers } else { 0 };
        if !ours.is_truncated() {
            ensure!(ours.additional.len() == addresses, "{}: glue is missing, no TC", what());
            whole += 1;
            continue;
        }
        in_part += 1;
        // nsd points from addresses to the names in NS records, knotd to the first of them, and we write those out.
        let would_fit = !theirs.is_truncated() && theirs.len + SAVED <= MOST;
        ensure!(peer == Peer::Nsd || !would_fit, "{}: it would fit", what());
        ensure!(ours.len + LARGEST > MOST, "{}: {} octets, and more would fit", what(), ours.len);
        let fits = ours.additional.len();
        ensure!(fits > 0 && fits < addresses, "{}: {fits} addresses of {addresses}", what());
    }
    ensure!(whole > 0 && in_part > 0, "{whole} were whole and {in_part} in part");
    Ok(format!("{whole} answers over TCP were whole, {in_part} without some of the glue"))
}
