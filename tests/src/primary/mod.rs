//! The daemon as the primary of servers of others: they take its zones whole and by what changed, with TSIG, told by
//! NOTIFY; and what it says to who has a wrong key or a wrong clock.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use sealdns::control::reply::zone::ZoneStatus;
use sealdns::observe::Snapshot;
use testbed::{
    net::{self, Process},
    servers::{Secondary, Server, SharedKey, free_address},
};
use tests::{harness::Verdict, servers};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A zone whose serials are those of its file, and one that the daemon signs.
const ZONES: [&str; 2] = ["plain.test", "signed.test"];

const KEY: SharedKey<'static> =
    SharedKey { name: "transfer.test.", secret: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" };

/// Runs a server as a secondary.
type Run = fn(&Path, SocketAddr, &[Secondary<'_>]) -> Result<Server>;

/// knotd has what the daemon has, after each of a series of changes.
pub fn knotd_follows() -> Result<Verdict> {
    follows("knotd", Server::knotd_secondary)
}

/// The same with nsd.
pub fn nsd_follows() -> Result<Verdict> {
    follows("nsd", Server::nsd_secondary)
}

/// The same with named.
pub fn named_follows() -> Result<Verdict> {
    follows("named", Server::named_secondary)
}

fn follows(program: &str, run: Run) -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[program, "dig"]) {
        return Ok(obstacle);
    }
    let address = free_address()?;
    let primary = Primary::new(&format!("notify = [\"{address}\"]\ntsig = \"{}\"\n", KEY.name))?;
    let folder = tempfile::tempdir()?;
    let zones = ZONES.map(|apex| Secondary { apex, primary: primary.address, key: KEY });
    let mut secondary = run(folder.path(), address, &zones)?;
    primary.wait_until_followed(address, &mut secondary, "as it begins")?;
    for (step, text) in changes().iter().enumerate().skip(1) {
        let before = primary.counters()?.transfer;
        primary.write(text)?;
        primary.sealdns(&["zone", "reload"])?;
        let what = format!("change {step}");
        primary.wait_until_followed(address, &mut secondary, &what)?;
        let after = primary.counters()?.transfer;
        // Only what changed was sent.
        let counted = (after.incremental - before.incremental, after.sent - before.sent);
        ensure!(counted.0 >= 2, "{what}: {counted:?} transfers\n{}", secondary.process.log());
        ensure!(counted.1 == OWN_TRANSFERS, "{what}: {counted:?}\n{}", secondary.process.log());
    }
    Ok(Verdict::Passed)
}

/// Zones that the test itself transfers for each change: those of the daemon.
const OWN_TRANSFERS: u64 = ZONES.len() as u64;

/// What dig and kdig are told about keys, by who has the right one, another, none, or another time; all of it is counted.
pub fn keys_and_clocks_are_checked() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["dig", "kdig", "faketime"]) {
        return Ok(obstacle);
    }
    let primary = Primary::new(&format!("tsig = \"{}\"\n", KEY.name))?;
    let (right, wrong) = (KEY.secret, "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=");
    let key = |name: &str, secret: &str| format!("hmac-sha256:{name}:{secret}");
    let ask = |words: &[&str], rtype: &str, key: Option<&str>| -> Result<String> {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args([
            &format!("@{}", primary.address.ip()),
            "-p",
            &primary.address.port().to_string(),
        ]);
        command.args([ZONES[0], rtype]);
        command.args(key.iter().flat_map(|key| ["-y", key]));
        let output = net::output_within(&mut command, PATIENCE)?;
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        Ok(said.concat())
    };
    let good = key(KEY.name, right);
    for rtype in ["AXFR", "IXFR=4294967290"] {
        for program in ["dig", "kdig"] {
            let said = ask(&[program], rtype, Some(&good))?;
            let is_refused =
                ["REFUSED", "failed", "BAD", "NOTAUTH"].iter().any(|word| said.contains(word));
            ensure!(said.contains("SOA") && !is_refused, "{program} {rtype}: {said}");
        }
    }
    // Over UDP, the answer is signed as well: dig says so if it is not, or if that is wrong.
    for program in ["dig", "kdig"] {
        let said = ask(&[program], "NS", Some(&good))?;
        ensure!(said.contains("NOERROR") && said.contains("hmac-sha256"), "{said}");
        ensure!(!said.to_lowercase().contains("could not be validated"), "{said}");
    }
    let verified = primary.counters()?.tsig.verified;
    ensure!(verified >= 6, "{verified} messages were verified");
    for (words, key, expected) in [
        (&["dig"][..], Some(key("other.test.", right)), "BADKEY"),
        (&["dig"], Some(key(KEY.name, wrong)), "BADSIG"),
        // Its other time is for kdig, not for the clock that it waits by.
        (&["faketime", "--exclude-monotonic", "-f", "+1h", "kdig"], Some(good.clone()), "BADTIME"),
        (&["faketime", "--exclude-monotonic", "-f", "-1h", "kdig"], Some(good.clone()), "BADTIME"),
    ] {
        let said = ask(words, "SOA", key.as_deref())?;
        ensure!(said.contains(expected), "{words:?} {key:?}: {said}");
    }
    // From an address that may transfer the zone, but without its key.
    let said = ask(&["dig", "+noall", "+comments"], "AXFR", None)?;
    ensure!(said.contains("Transfer failed") || said.contains("REFUSED"), "{said}");
    let counted = primary.counters()?;
    let tsig = &counted.tsig;
    ensure!([tsig.badkey, tsig.badsig, tsig.badtime] == [1, 1, 2], "{tsig:?}");
    ensure!(counted.transfer.refused == 1, "{:?}", counted.transfer);
    Ok(Verdict::Passed)
}

fn obstacle(programs: &[&str]) -> Option<Verdict> {
    if servers::sealdns().is_none() {
        let missing = "no sealdns beside this test: `cargo xtask build`";
        return Some(Verdict::Skipped(missing.into()));
    }
    let missing = programs.iter().find(|name| net::find_program(name).is_none())?;
    Some(Verdict::Skipped(format!("no {missing}: `cargo xtask setup`")))
}

/// The texts of a zone, one after the other: names and records come and go, many at once, TTLs change, serials wrap.
fn changes() -> Vec<String> {
    let zone = |serial: u32, rest: &str| {
        format!(
            "$TTL 300\n@ SOA ns hostmaster {serial} 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n{rest}"
        )
    };
    let filled = "$GENERATE 1-300 host$ A 192.0.2.1\n";
    let with = |rest: &str| format!("{filled}{rest}");
    vec![
        zone(4_294_967_290, filled),
        zone(4_294_967_291, &with("www A 192.0.2.2\nwww TXT \"a\"\n")),
        zone(4_294_967_294, &with("www A 192.0.2.3\n*.wild MX 10 www\n")),
        // Across the end of the serials.
        zone(
            1,
            &with("www 600 A 192.0.2.3\n*.wild MX 10 www\n$GENERATE 1-60 more$ TXT \"more\"\n"),
        ),
        zone(2, &with("sub NS ns.sub\nns.sub A 192.0.2.4\n$GENERATE 1-60 more$ TXT \"other\"\n")),
        zone(7, filled),
    ]
}

/// The daemon with its zones.
struct Primary {
    address: SocketAddr,
    // Ended before its folder goes.
    daemon: Process,
    folder: tempfile::TempDir,
}

impl Primary {
    /// With these lines in each zone's section.
    fn new(lines: &str) -> Result<Self> {
        let (address, folder) = (free_address()?, tempfile::tempdir()?);
        let sections = ZONES.map(|apex| {
            let dnssec = if apex == ZONES[0] { "off" } else { "sign" };
            format!(
                "[[zone]]\nname = \"{apex}\"\nfile = \"{apex}\"\ndnssec = \"{dnssec}\"\n\
                 allow-transfer = [\"127.0.0.1\"]\n{lines}"
            )
        });
        let config = format!(
            "version = \"v1\"\n[server]\nlisten = [\"{address}\"]\ncontrol = \"control\"\nstate-dir = \"state\"\n\
             [[tsig]]\nname = \"{}\"\nsecret = \"{}\"\n{}",
            KEY.name,
            KEY.secret,
            sections.concat()
        );
        let path = folder.path().join("sealdns.toml");
        fs::write(&path, config)?;
        for apex in ZONES {
            fs::write(folder.path().join(apex), &changes()[0])?;
        }
        let mut command = Command::new(servers::sealdns().context("no sealdns")?);
        let mut daemon = Process::spawn("sealdns", command.args(["run", "--config"]).arg(path))?;
        daemon.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
        Ok(Self { address, daemon, folder })
    }

    fn write(&self, text: &str) -> Result<()> {
        ZONES.iter().try_for_each(|apex| Ok(fs::write(self.folder.path().join(apex), text)?))
    }

    /// What a command says in JSON.
    fn sealdns(&self, words: &[&str]) -> Result<std::process::Output> {
        let mut command = Command::new(servers::sealdns().context("no sealdns")?);
        command
            .args(words)
            .arg("--config")
            .arg(self.folder.path().join("sealdns.toml"))
            .arg("--json");
        let output = net::output_within(&mut command, PATIENCE)?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{words:?}: {said}");
        Ok(output)
    }

    fn counters(&self) -> Result<Snapshot> {
        servers::reply_of(&self.sealdns(&["stats"])?)
    }

    fn status(&self, apex: &str) -> Result<ZoneStatus> {
        servers::reply_of(&self.sealdns(&["zone", "status", apex])?)
    }

    /// Waits until a secondary has acknowledged the serials, and has the same records.
    fn wait_until_followed(
        &self,
        address: SocketAddr,
        secondary: &mut Server,
        what: &str,
    ) -> Result<()> {
        for apex in ZONES {
            let is_told = || {
                let status = self.status(apex)?;
                let serial = status.summary.serial;
                let told = status.notify.iter().find(|one| one.server == address);
                let told = told.with_context(|| format!("{status:?}"))?;
                Ok::<_, anyhow::Error>(told.acknowledged == serial && told.error.is_none())
            };
            net::wait_until(&format!("{what}: {apex} is told"), PATIENCE, || {
                is_told().unwrap_or(false)
            })
            .with_context(|| {
                format!(
                    "{:?}\n{}\n{}",
                    self.status(apex),
                    self.daemon.log(),
                    secondary.process.log()
                )
            })?;
            let wanted = self.status(apex)?.summary.serial.context("a serial")?;
            let has = || serial_of(address, apex).is_ok_and(|serial| serial == Some(wanted));
            net::wait_until(&format!("{what}: {apex} is taken"), PATIENCE, has).with_context(
                || format!("serial {wanted}\n{}\n{}", self.daemon.log(), secondary.process.log()),
            )?;
            let [ours, theirs] =
                [transferred(self.address, apex, Some(KEY))?, transferred(address, apex, None)?];
            ensure!(ours == theirs, "{what}: {apex}:\n{}", different(&ours, &theirs));
        }
        Ok(())
    }
}

/// The serial of a zone that a server has.
fn serial_of(server: SocketAddr, apex: &str) -> Result<Option<u32>> {
    let mut dig = Command::new("dig");
    dig.args([
        &format!("@{}", server.ip()),
        "-p",
        &server.port().to_string(),
        apex,
        "SOA",
        "+short",
    ]);
    let output = net::output_within(dig.args(["+tries=1", "+time=2"]), PATIENCE)?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().nth(2).and_then(|serial| serial.parse().ok()))
}

/// The records of a zone, as dig transfers them, in order.
fn transferred(server: SocketAddr, apex: &str, key: Option<SharedKey<'_>>) -> Result<Vec<String>> {
    let mut dig = Command::new("dig");
    dig.args([&format!("@{}", server.ip()), "-p", &server.port().to_string(), apex, "AXFR"]);
    dig.args(["+noall", "+answer", "+onesoa", "+tries=1", "+time=10"]);
    if let Some(SharedKey { name, secret }) = key {
        dig.args(["-y", &format!("hmac-sha256:{name}:{secret}")]);
    }
    let output = net::output_within(&mut dig, PATIENCE)?;
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
    // dig lays columns out by what came before.
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = lines.map(line).collect();
    lines.retain(|line| !line.contains(" TSIG "));
    lines.sort();
    ensure!(!lines.is_empty(), "no transfer of {apex} from {server}: {text}");
    Ok(lines)
}

fn different(ours: &[String], theirs: &[String]) -> String {
    let only = |a: &[String], b: &[String], sign: char| {
        let lines = a.iter().filter(|line| !b.contains(line));
        lines.map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    only(ours, theirs, '-') + &only(theirs, ours, '+')
}
