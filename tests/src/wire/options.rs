//! EDNS options and DNS cookies as clients see them: dig, and those who ask several servers of one address.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use sealdns::clock::WallTime;
use testbed::net::{self, Process};
use tests::{dns::Message, harness::Verdict, servers::DEMO};
use xdp_common::{cookie::ServerCookie, maps::address_words};

use crate::{
    kernel::edns::{
        A, CLIENT_COOKIE, COOKIE, OTHER_SECRET, SECRET, option, options_of, secret, with_options,
    },
    wire::{
        client::{self, Client, WITH_DNSSEC},
        stage::{self, PATIENCE, Settings, Stage},
    },
};

fn cookies(more: &str) -> String {
    format!("[cookies]\n{more}\n")
}

/// A stage whose daemon has an identifier and a secret. With the client there is a program at its end, without
/// which veth does not deliver what XDP sends back.
fn stage(test: &str, sections: &str) -> Result<(Client, Stage)> {
    let settings = Settings { server: "nsid = \"node-1\"\n", sections, ..Settings::NATIVE };
    let stage = Stage::with(&settings, test, &ZONES)?;
    Ok((Client::new(&stage.pair)?, stage))
}

const ZONES: [stage::Section<'_>; 1] = [(DEMO.0, DEMO.1, "")];

/// Answers sent without the daemon.
fn sent(stage: &Stage) -> Result<u64> {
    Ok(stage.sent_by_xdp()? + stage.sent_by_tcx()?)
}

/// What dig or kdig prints, asked from the client's end over both families in turn, and whether it came
/// without the daemon.
fn dig(stage: &Stage, program: &str, family: usize, arguments: &str) -> Result<(String, bool)> {
    let before = sent(stage)?;
    let mut command = Command::new(program);
    command.args(["-b", &client::client(family)?.to_string()]);
    command.arg(format!("@{}", client::server(family)?.ip()));
    command.args(arguments.split_whitespace());
    let output = stage.pair.client.output(&mut command, PATIENCE)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((said, sent(stage)? == before + 1))
}

/// Waits until all who make cookies have another second: XDP's clock may be late by less than one.
fn wait_for_another_second() -> Result<()> {
    let before = WallTime::now().signature_time();
    net::wait_until("another second", PATIENCE, || WallTime::now().signature_time() >= before + 2)
}

/// The value of what dig prints after `; COOKIE: `.
fn printed_cookie(said: &str) -> Result<&str> {
    let (_, rest) = said.split_once("; COOKIE: ").with_context(|| format!("no cookie: {said}"))?;
    rest.split_whitespace().next().context("no cookie")
}

/// What clients see: each option as dig understands it, and never the daemon's answer.
pub fn dig_gets_its_options_without_the_daemon() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let (_client, stage) = stage("options", &cookies(&format!("secret = \"{SECRET}\"")))?;
    for family in 0..2 {
        let ask = |arguments: &str| -> Result<String> {
            let name = if arguments.contains("example") { "" } else { "www.example.org A " };
            let (said, is_without) = dig(&stage, "dig", family, &format!("{name}{arguments}"))?;
            ensure!(is_without, "{arguments}: the daemon answered: {said}");
            Ok(said)
        };
        for (arguments, expected) in [
            ("+nsid", &["NOERROR", "; NSID: 6e 6f 64 65 2d 31"][..]),
            ("+ednsopt=65001:abcd +nocookie", &["NOERROR", "EDNS: version: 0, flags:; udp: 1232"]),
            ("+dnssec +nocookie", &["flags: do; udp: 1232", "RRSIG"]),
            // Two labels, a SOA's serial.
            ("+ednsopt=19 +nocookie", &["NOERROR", "OPT=19: 02 00 "]),
            ("nobody.example.org +dnssec +ednsopt=19", &["NXDOMAIN", "OPT=19: 02 00 "]),
            ("partner.example.org +ednsopt=19", &["NOERROR", "OPT=19: 02 00 "]),
            ("+edns=1 +noednsnegotiation +nocookie", &["BADVERS", "version: 0"]),
            ("+cookie=0011", &["FORMERR"]),
            (
                "www.example.net +nsid",
                &["REFUSED", "EDE: 20 (Not Authoritative)", "(good)", "node-1"],
            ),
        ] {
            let said = ask(arguments)?;
            for expected in expected {
                ensure!(said.contains(expected), "{arguments}: no {expected:?} in {said}");
            }
            let is_quiet = !said.contains("OPT=65001")
                && said.contains("; COOKIE:") != arguments.contains("cookie");
            ensure!(is_quiet, "{arguments}: {said}");
        }
        let first = ask("+cookie=0123456789abcdef")?;
        ensure!(first.contains("(good)"), "{first}");
        let cookie = printed_cookie(&first)?;
        wait_for_another_second()?;
        let second = ask(&format!("+cookie={cookie}"))?;
        ensure!(printed_cookie(&second)? == cookie, "{second}");
        let invalid = ask(&format!("+cookie={}", cookie.replace("01000000", "02000000")))?;
        ensure!(printed_cookie(&invalid)? != cookie, "{invalid}");

        let (said, is_without) =
            dig(&stage, "kdig", family, "www.example.org A +cookie=0123456789abcdef +nsid")?;
        ensure!(is_without && said.contains("node-1"), "{said}");
        ensure!(said.to_lowercase().contains("0123456789abcdef01000000"), "{said}");
    }
    Ok(Verdict::Passed)
}

/// Names of no zone: refused in XDP, unless it is told to pass them on, and not while one of the daemon's
/// zones is missing.
pub fn names_of_no_zone_are_refused_where_it_is_told() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let broken = ("broken.example", "no zone\n", "");
    for (xdp, zones, from_xdp) in [
        ("", &ZONES[..], true),
        ("refuse = \"off\"\n", &ZONES[..], false),
        ("refuse = \"on\"\n", &ZONES[..], true),
        ("refuse = \"on\"\n", &[ZONES[0], broken][..], false),
    ] {
        let lines = format!("mode = \"native\"\n{xdp}");
        let stage = Stage::with(&Settings { xdp: &lines, ..Settings::default() }, "refuse", zones)?;
        let client = Client::new(&stage.pair)?;
        let before = sent(&stage)?;
        let asked = client::query("www.example.net", A, WITH_DNSSEC);
        let refused = stage.pair.client.enter(|| client.send(0, &asked))??;
        let over_tcp = stage
            .pair
            .client
            .enter(|| stage.server.ask_all_over_tcp(std::slice::from_ref(&asked)))??;
        ensure!(Message::read(&refused)?.rcode == 5, "{refused:02x?}");
        ensure!(options_of(&refused)? == BTreeMap::from([(15, vec![0, 20])]), "{refused:02x?}");
        ensure!(refused[2..] == over_tcp[0][2..], "{refused:02x?} {over_tcp:02x?}");
        ensure!(sent(&stage)? - before == u64::from(from_xdp), "{xdp} {}", zones.len());
        if zones.len() > 1 {
            let asked = client::query("www.broken.example", A, WITH_DNSSEC);
            let failed = stage.pair.client.enter(|| client.send(0, &asked))??;
            ensure!(Message::read(&failed)?.rcode == 2, "{failed:02x?}");
        }
    }
    Ok(Verdict::Passed)
}

/// Asks from the client's end, for the demo's `www` with these options.
fn ask(stage: &Stage, to: SocketAddr, options: &[u8]) -> Result<(u16, BTreeMap<u16, Vec<u8>>)> {
    let query = with_options(client::query("www.example.org", A, WITH_DNSSEC), options);
    let response = stage.pair.client.enter(|| -> Result<Vec<u8>> {
        let family = usize::from(to.is_ipv6());
        let socket = UdpSocket::bind(SocketAddr::new(client::client(family)?, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        socket.connect(to)?;
        socket.send(&query)?;
        let mut buffer = vec![0; 4096];
        let len = socket.recv(&mut buffer).context("no answer")?;
        buffer.truncate(len);
        Ok(buffer)
    })??;
    Ok((Message::read(&response)?.rcode, options_of(&response)?))
}

/// Asks with a cookie and gives the one that comes back.
fn exchange(stage: &Stage, to: SocketAddr, cookie: &[u8]) -> Result<(u16, Vec<u8>)> {
    let (rcode, options) = ask(stage, to, &option(COOKIE, cookie))?;
    Ok((rcode, options.get(&COOKIE).context("no cookie")?.clone()))
}

/// Servers of one address accept each other's cookies (RFC 9018): BIND's and Knot's that want one, with the
/// secret of ours; and not with another.
pub fn cookies_are_those_of_named_and_knotd() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    const NOERROR: u16 = 0;
    const BADCOOKIE: u16 = 23;
    let (_client, stage) = stage("peers", &cookies(&format!("secret = \"{SECRET}\"")))?;
    let zone = stage.folder.path().join("example.org.zone");
    let peers = [
        (named(&stage, &zone, SECRET, 5301)?, 5301, true),
        (knotd(&stage, &zone, SECRET, 5302)?, 5302, true),
        (named(&stage, &zone, OTHER_SECRET, 5303)?, 5303, false),
        (knotd(&stage, &zone, OTHER_SECRET, 5304)?, 5304, false),
    ];
    for family in 0..2 {
        for (peer, port, is_of_our_secret) in &peers {
            let what = || format!("port {port}, family {family}: {}", peer.log());
            let ours = client::server(family)?;
            let theirs = SocketAddr::new(ours.ip(), *port);
            let client = CLIENT_COOKIE.to_le_bytes();
            let before = sent(&stage)?;
            let (rcode, from_us) = exchange(&stage, ours, &client)?;
            ensure!(rcode == NOERROR && from_us.len() == 24);
            let (rcode, from_them) = exchange(&stage, theirs, &client).with_context(what)?;
            ensure!(rcode == BADCOOKIE && from_them.len() == 24, "{}", what());
            // So that a new one differs.
            wait_for_another_second()?;
            let (rcode, _) = exchange(&stage, theirs, &from_us)?;
            ensure!(rcode == if *is_of_our_secret { NOERROR } else { BADCOOKIE }, "{}", what());
            let (rcode, answered) = exchange(&stage, ours, &from_them)?;
            ensure!(rcode == NOERROR, "{}", what());
            ensure!((answered == from_them) == *is_of_our_secret, "{}", what());
            ensure!(sent(&stage)? == before + 2, "the daemon answered");
        }
    }
    Ok(Verdict::Passed)
}

/// BIND's name server at the daemon's addresses on a port of its own, which answers nobody without a cookie.
fn named(stage: &Stage, zone: &Path, secret: &str, port: u16) -> Result<Process> {
    let here = stage.folder.path().join(format!("named-{port}"));
    fs::create_dir(&here)?;
    let addresses = [client::server(0)?.ip(), client::server(1)?.ip()];
    let mut config = format!(
        "options {{\n  directory \"{0}\";\n  pid-file none;\n  session-keyfile none;\n  recursion no;\n  \
         listen-on port {port} {{ {1}; }};\n  listen-on-v6 port {port} {{ {2}; }};\n  \
         cookie-algorithm siphash24;\n  cookie-secret \"{secret}\";\n  require-server-cookie yes;\n}};\n\
         controls {{ }};\n",
        here.display(),
        addresses[0],
        addresses[1],
    );
    writeln!(config, "zone \"example.org\" {{ type primary; file \"{}\"; }};", zone.display())?;
    let path = here.join("named.conf");
    fs::write(&path, config)?;
    let binary = net::find_program("named").context("no named: `cargo xtask setup`")?;
    let mut command = Command::new(binary);
    command.args(["-g", "-n", "1", "-c"]).arg(&path);
    let mut process = stage.pair.server.spawn("named", &mut command)?;
    process.wait_for_line(PATIENCE, |line| line.trim_end().ends_with(" running"))?;
    Ok(process)
}

/// Knot's.
fn knotd(stage: &Stage, zone: &Path, secret: &str, port: u16) -> Result<Process> {
    let here = stage.folder.path().join(format!("knotd-{port}"));
    fs::create_dir(&here)?;
    let addresses = [client::server(0)?.ip(), client::server(1)?.ip()];
    let here_text = here.display();
    let config = format!(
        "server:\n  listen: [ {}@{port}, {}@{port} ]\n  rundir: {here_text}\n  pidfile: {here_text}/pid\n  \
         udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {here_text}/db\nlog:\n  - target: stderr\n    any: info\n\
         mod-cookies:\n  - id: default\n    secret: 0x{secret}\n    badcookie-slip: 1\n\
         template:\n  - id: default\n    global-module: mod-cookies/default\n\
         zone:\n  - domain: example.org\n    file: {}\n    zonefile-sync: -1\n    journal-content: none\n",
        addresses[0],
        addresses[1],
        zone.display()
    );
    let path = here.join("knotd.conf");
    fs::write(&path, config)?;
    let binary = net::find_program("knotd").context("no knotd: `cargo xtask setup`")?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&path);
    let mut process = stage.pair.server.spawn("knotd", &mut command)?;
    process.wait_for_line(PATIENCE, |line| line.contains("server started"))?;
    Ok(process)
}

/// SIGHUP reads the file of secrets again: the new one makes cookies, the old one's stay good; a file that
/// others may read changes nothing.
pub fn secrets_are_exchanged_by_reloads() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cookie.secret");
    let write = |text: &str, mode| -> Result<()> {
        fs::write(&file, text)?;
        Ok(fs::set_permissions(&file, PermissionsExt::from_mode(mode))?)
    };
    write(&format!("{SECRET}\n"), 0o600)?;
    let (_client, mut stage) =
        stage("secrets", &cookies(&format!("secret-file = \"{}\"", file.display())))?;
    let ours = client::server(0)?;
    let client = address_words(client::client(0)?);
    let is_of = |cookie: &[u8], secret_text: &str| -> Result<bool> {
        let word = |at: usize| cookie[at..at + 8].try_into().map(u64::from_le_bytes);
        let server = ServerCookie { head: word(8)?, hash: word(16)? };
        Ok(server.is_of(&secret(secret_text), CLIENT_COOKIE, client))
    };
    let (_, old) = exchange(&stage, ours, &CLIENT_COOKIE.to_le_bytes())?;
    ensure!(is_of(&old, SECRET)?, "{old:02x?}");

    let mut reloads = 0;
    let mut reload = |stage: &mut Stage| -> Result<()> {
        reloads += 1;
        stage.server.process.signal(Signal::SIGHUP)?;
        let process = &stage.server.process;
        let reloaded = || process.log().matches("reloaded zones=1").count() == reloads;
        net::wait_until("the secrets are read", PATIENCE, reloaded).with_context(|| process.log())
    };
    write(&format!("{OTHER_SECRET}\n{SECRET}\n"), 0o600)?;
    reload(&mut stage)?;
    let (_, new) = exchange(&stage, ours, &old)?;
    ensure!(is_of(&new, OTHER_SECRET)?, "{new:02x?}");
    let (_, again) = exchange(&stage, ours, &new)?;
    ensure!(again == new, "{again:02x?}");
    // Over TCP it is the daemon that says so.
    let query =
        with_options(client::query("www.example.org", A, WITH_DNSSEC), &option(COOKIE, &new));
    let over_tcp = stage.pair.client.enter(|| stage.server.ask_all_over_tcp(&[query]))??;
    ensure!(options_of(&over_tcp[0])?.get(&COOKIE) == Some(&new), "{over_tcp:02x?}");

    write(&format!("{SECRET}\n"), 0o644)?;
    reload(&mut stage)?;
    stage.server.process.wait_for_line(PATIENCE, |line| line.contains("has mode 0644"))?;
    let (_, still) = exchange(&stage, ours, &new)?;
    ensure!(still == new, "{still:02x?}");
    Ok(Verdict::Passed)
}
