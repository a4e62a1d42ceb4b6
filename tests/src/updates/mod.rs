//! Dynamic updates (RFC 2136), sent by nsupdate to the daemon and to named alike: both say the same of each, and have the
//! same records after it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use testbed::net::{self, Process};
use tests::{chance::Chance, harness::Verdict, servers};

use crate::secondary::{APEX, MADE, PATIENCE, SECRETS, apart, obstacle, transferred};

/// Where the daemon listens, and named, in a network of their own.
const SERVERS: [&str; 2] = ["127.0.0.1:53", "127.0.0.1:5300"];

/// Messages that are sent one after the other.
const UPDATES: usize = 60;

/// The zone that both begin with.
const BEGUN: &str = "$TTL 300\n@ IN SOA ns hostmaster 7 3600 900 604800 60\n@ NS ns\n\
    ns A 192.0.2.1\na A 192.0.2.2\na TXT \"one\"\nb.a A 192.0.2.3\nalias CNAME a\n";

/// Names of few labels, so that updates meet; the last one is in no zone here.
const NAMES: [&str; 9] = ["", "a.", "b.", "b.a.", "c.b.a.", "alias.", "new.", "*.w.", "elsewhere"];

/// Types, and data of each in presentation format.
const DATA: [(&str, [&str; 3]); 6] = [
    ("A", ["192.0.2.2", "192.0.2.9", "192.0.2.10"]),
    ("TXT", ["\"one\"", "\"two\" \"parts\"", "\"\""]),
    ("MX", ["10 a.moved.test.", "10 A.Moved.Test.", "20 b.moved.test."]),
    ("NS", ["ns.moved.test.", "ns.b.moved.test.", "ns.elsewhere."]),
    ("CNAME", ["a.moved.test.", "b.moved.test.", "elsewhere."]),
    ("AAAA", ["2001:db8::1", "2001:db8::2", "2001:db8::3"]),
];

/// What nsupdate is told: one message, of some prerequisites and some changes.
fn message(chance: &mut Chance) -> String {
    let mut text = String::new();
    // Most have none: a prerequisite that does not hold ends all.
    for _ in 0..chance.throw(5).saturating_sub(2) {
        let (name, (rtype, data)) = (name(chance), data(chance));
        let _ = match chance.throw(5) {
            0 => writeln!(text, "prereq nxdomain {name}"),
            1 => writeln!(text, "prereq yxdomain {name}"),
            2 => writeln!(text, "prereq nxrrset {name} {rtype}"),
            3 => writeln!(text, "prereq yxrrset {name} {rtype}"),
            _ => writeln!(text, "prereq yxrrset {name} {rtype} {data}"),
        };
    }
    for _ in 0..1 + chance.throw(4) {
        let (name, (rtype, data)) = (name(chance), data(chance));
        // Beyond the RFC, named refuses to leave a server of the zone without an address (so that name is not among these), and
        // leaves out NS of wildcards.
        let is_beyond = rtype == "NS" && (name == format!("{APEX}.") || name.starts_with('*'));
        if is_beyond {
            continue;
        }
        let _ = match chance.throw(8) {
            0 => writeln!(text, "update delete {name}"),
            1 => writeln!(text, "update delete {name} {rtype}"),
            2 | 3 => writeln!(text, "update delete {name} {rtype} {data}"),
            _ => writeln!(text, "update add {name} {} {rtype} {data}", 300 + 60 * chance.throw(2)),
        };
    }
    text
}

fn name(chance: &mut Chance) -> String {
    // The one that is in no zone is rare: it ends all of a message.
    let sides = if chance.throw(8) == 0 { NAMES.len() } else { NAMES.len() - 1 };
    match NAMES[chance.throw(sides as u64) as usize] {
        "elsewhere" => "elsewhere.".to_owned(),
        label => format!("{label}{APEX}."),
    }
}

fn data(chance: &mut Chance) -> (&'static str, &'static str) {
    let (rtype, data) = DATA[chance.throw(DATA.len() as u64) as usize];
    (rtype, data[chance.throw(3) as usize])
}

/// Has nsupdate send one message, signed with this secret.
fn send(
    folder: &Path,
    server: &str,
    secret: &str,
    message: &str,
    over_tcp: bool,
) -> Result<Output> {
    let (ip, port) = server.split_once(':').context("no port")?;
    let script = format!(
        "server {ip} {port}\nzone {APEX}.\nkey hmac-sha256:update. {secret}\n{message}send\nquit\n"
    );
    let path = folder.join("script");
    fs::write(&path, script)?;
    let mut command = Command::new("nsupdate");
    command.args(["-t", "20"]);
    if over_tcp {
        command.arg("-v");
    }
    net::output_within(command.arg(&path), PATIENCE)
}

/// What a server has answered: the word that nsupdate has for a response code.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let failed = text.lines().find_map(|line| line.strip_prefix("update failed: "));
    match (failed, output.status.success()) {
        (Some(word), _) => word.trim().to_owned(),
        (None, true) => "NOERROR".to_owned(),
        (None, false) => format!("another error: {text}"),
    }
}

fn sealdns(folder: &Path, dnssec: &str) -> Result<Process> {
    let own = folder.join("sealdns");
    fs::create_dir_all(own.join("state"))?;
    fs::write(own.join("zone"), BEGUN)?;
    let config = format!(
        "version = \"v1\"\n[server]\nlisten = [\"{}\"]\ncontrol = \"control.sock\"\nstate-dir = \"state\"\n\
         [[tsig]]\nname = \"update.\"\nsecret = \"{}\"\n[[zone]]\nname = \"{APEX}\"\nfile = \"zone\"\n\
         dnssec = \"{dnssec}\"\nallow-transfer = [\"127.0.0.1\"]\n\
         allow-update = [{{ key = \"update.\", types = [\"A\", \"AAAA\", \"TXT\", \"MX\", \"NS\", \"CNAME\"] }}]\n",
        SERVERS[0], SECRETS[0]
    );
    fs::write(own.join("sealdns.toml"), config)?;
    let mut command = Command::new(servers::sealdns().context("no sealdns")?);
    command.args(["run", "--config"]).arg(own.join("sealdns.toml"));
    let mut process = Process::spawn("sealdns", &mut command)?;
    process.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
    Ok(process)
}

fn named(folder: &Path) -> Result<Process> {
    let here = folder.display();
    fs::write(folder.join("zone"), BEGUN)?;
    let config = format!(
        "key \"update.\" {{ algorithm hmac-sha256; secret \"{}\"; }};\noptions {{\n  directory \"{here}\";\n  \
         pid-file none;\n  session-keyfile none;\n  listen-on port 5300 {{ 127.0.0.1; }};\n  \
         listen-on-v6 {{ none; }};\n  recursion no;\n  empty-zones-enable no;\n  notify no;\n}};\n\
         controls {{ }};\nzone \"{APEX}\" {{\n  type primary;\n  file \"{here}/zone\";\n  \
         check-integrity no;\n  allow-transfer {{ 127.0.0.1; }};\n  allow-update {{ key \"update.\"; }};\n}};\n",
        SECRETS[0]
    );
    let path = folder.join("named.conf");
    fs::write(&path, config)?;
    let binary = net::find_program("named").context("no named")?;
    let mut command = Command::new(binary);
    let mut process = Process::spawn("named", command.args(["-g", "-n", "1", "-c"]).arg(&path))?;
    process.wait_for_line(PATIENCE, |line| line.trim_end().contains(" running"))?;
    Ok(process)
}

/// Messages made by chance are answered as named answers them, and leave the records that they leave there.
pub fn the_daemon_is_updated_as_named_is() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["named", "nsupdate"]) {
        return Ok(obstacle);
    }
    apart(|| {
        for (seed, dnssec) in [(1, "off"), (2, "sign")] {
            let folder = tempfile::tempdir()?;
            let (named, sealdns) = (named(folder.path())?, sealdns(folder.path(), dnssec)?);
            let mut chance = Chance(seed);
            let mut codes = BTreeMap::<String, usize>::new();
            for number in 0..UPDATES {
                let message = message(&mut chance);
                let over_tcp = number % 3 == 0;
                let answers = SERVERS.map(|server| {
                    send(folder.path(), server, SECRETS[0], &message, over_tcp)
                        .map(|output| said(&output))
                });
                let [ours, theirs] = answers;
                let (ours, theirs) = (ours?, theirs?);
                let what = || format!("{dnssec} {number}:\n{message}{}", sealdns.log());
                ensure!(ours == theirs, "ours {ours}, named's {theirs}; {}", what());
                *codes.entry(ours).or_default() += 1;
                // A daemon that signs has names in RDATA in lower case (RFC 4034 section 6.2), named as they came.
                let [ours, theirs] = SERVERS.map(|server| -> Result<Vec<String>> {
                    let records = transferred(server, None, &MADE)?;
                    Ok(records.iter().map(|record| record.to_lowercase()).collect())
                });
                let (ours, theirs) = (ours?, theirs?);
                ensure!(ours == theirs, "{ours:#?}\n{theirs:#?}\n{}\n{}", what(), named.log());
            }
            // All that an update may be answered has been.
            for code in ["NOERROR", "NXDOMAIN", "YXDOMAIN", "NXRRSET", "YXRRSET", "NOTZONE"] {
                ensure!(codes.contains_key(code), "no {code} among {codes:?}");
            }
        }
        Ok(())
    })
}

/// Who has another key, or none, or the key of somebody else changes nothing.
pub fn strangers_update_nothing() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["nsupdate"]) {
        return Ok(obstacle);
    }
    apart(|| {
        let folder = tempfile::tempdir()?;
        let _sealdns = sealdns(folder.path(), "sign")?;
        let before = transferred(SERVERS[0], None, &[])?;
        let message = format!("update add new.{APEX}. 300 A 192.0.2.77\n");
        for over_tcp in [false, true] {
            let output = send(folder.path(), SERVERS[0], SECRETS[1], &message, over_tcp)?;
            ensure!(!output.status.success(), "{output:?}");
            let unsigned = format!("server 127.0.0.1 53\nzone {APEX}.\n{message}send\n");
            fs::write(folder.path().join("unsigned"), unsigned)?;
            let mut command = Command::new("nsupdate");
            let output = net::output_within(command.arg(folder.path().join("unsigned")), PATIENCE)?;
            ensure!(said(&output) == "REFUSED", "{output:?}");
            let made =
                "update add moved.test. 300 SOA ns.moved.test. mail.moved.test. 99 1 1 1 1\n";
            let output = send(folder.path(), SERVERS[0], SECRETS[0], made, over_tcp)?;
            ensure!(said(&output) == "REFUSED", "no rule lets SOA be changed: {output:?}");
        }
        ensure!(transferred(SERVERS[0], None, &[])? == before, "something has changed");
        Ok(())
    })
}
