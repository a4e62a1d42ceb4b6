//! The daemon follows knotd, nsd and named: AXFR, IXFR, NOTIFY, TSIG, through small changes and large ones, removals, and
//! serials that wrap.

use super::*;

/// The serials of the versions: the last ones have wrapped.
const SERIALS: [u32; 7] = [7, 8, 9, 10, 0x7fff_0000, 0xfffe_0000, 5];

/// The zone's file in its versions.
fn text(version: usize) -> String {
    let mut text = format!(
        "$TTL 300\n$ORIGIN {APEX}.\n@ IN SOA ns hostmaster {} 3600 900 604800 60\n@ NS ns\n\
         ns A 192.0.2.1\nalias CNAME www\nmail MX 10 ns\n*.wild TXT \"any\" \"thing\"\n\
         sub NS ns.sub\nns.sub A 192.0.2.2\n_s._tcp SRV 1 2 53 ns\n\
         odd\\.dot TYPE65280 \\# 3 010203\n",
        SERIALS[version]
    );
    // Names that come, change and go; in one version many at once.
    for host in 0..200 {
        if !(host + version).is_multiple_of(50) {
            let last = if host < 3 { version } else { host % 200 };
            let _ = writeln!(text, "host{host} A 192.0.2.{last}");
        }
    }
    let many = if version == 3 { 3000 } else { 0 };
    for name in 0..many {
        let _ = writeln!(text, "many{name} 60 AAAA 2001:db8::{name:x}");
    }
    // An RRset whose TTL changes.
    let _ = writeln!(text, "ttl {} TXT \"same\"", 100 + version);
    text
}

/// A server that is the primary.
struct Primary {
    process: Process,
    zone: PathBuf,
}

impl Primary {
    fn start(name: &str, folder: &Path, secret: Option<&str>) -> Result<Self> {
        let zone = folder.join("zone");
        fs::write(&zone, text(0))?;
        fs::create_dir(folder.join("knotd"))?;
        let (config, arguments, started): (_, &[&str], &str) = match name {
            "knotd" => (knotd(folder, secret), &["-c"], "server started"),
            "nsd" => (nsd(folder, secret), &["-d", "-c"], "nsd started"),
            _ => (named(folder, secret), &["-g", "-n", "1", "-c"], " running"),
        };
        let path = folder.join(format!("{name}.conf"));
        fs::write(&path, config)?;
        let binary = net::find_program(name).context("no such program")?;
        let mut process = Process::spawn(name, Command::new(binary).args(arguments).arg(&path))?;
        process.wait_for_line(PATIENCE, |line| line.trim_end().contains(started))?;
        Ok(Self { process, zone })
    }

    /// Has it serve another version.
    fn change(&self, version: usize) -> Result<()> {
        // nsd looks at whole seconds of the time of the file.
        let before = fs::metadata(&self.zone)?.modified()?;
        fs::write(&self.zone, text(version))?;
        let file = fs::File::options().write(true).open(&self.zone)?;
        file.set_modified(before + Duration::from_secs(2))?;
        self.process.signal(Signal::SIGHUP)
    }
}

fn knotd(folder: &Path, secret: Option<&str>) -> String {
    let here = folder.display();
    let (key, with) = match secret {
        Some(secret) => (
            format!("key:\n  - id: transfer.\n    algorithm: hmac-sha256\n    secret: {secret}\n"),
            "\n    key: transfer.",
        ),
        None => (String::new(), ""),
    };
    format!(
        "server:\n  listen: 127.0.0.1@5300\n  rundir: {here}\n  pidfile: {here}/knotd.pid\n  \
         udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {here}/knotd\nlog:\n  - target: stderr\n    any: info\n{key}\
         remote:\n  - id: secondary\n    address: {DAEMON}@53\n    via: 127.0.0.1{with}\n\
         acl:\n  - id: transfer\n    address: 127.0.0.1\n    action: transfer{with}\n\
         zone:\n  - domain: {APEX}.\n    file: {here}/zone\n    zonefile-sync: -1\n    \
         zonefile-load: difference\n    journal-content: changes\n    notify: secondary\n    \
         acl: transfer\n"
    )
}

fn nsd(folder: &Path, secret: Option<&str>) -> String {
    let here = folder.display();
    let (key, with) = match secret {
        Some(secret) => (
            format!("key:\n  name: transfer.\n  algorithm: hmac-sha256\n  secret: \"{secret}\"\n"),
            "transfer.",
        ),
        None => (String::new(), "NOKEY"),
    };
    format!(
        "server:\n  ip-address: 127.0.0.1@5300\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{here}\"\n  \
         database: \"\"\n  pidfile: \"{here}/nsd.pid\"\n  xfrdfile: \"{here}/nsd.xfrd\"\n  \
         zonelistfile: \"{here}/nsd.list\"\n  xfrdir: \"{here}\"\n  server-count: 1\n  verbosity: 2\n  \
         rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n{key}\
         zone:\n  name: {APEX}\n  zonefile: zone\n  provide-xfr: 127.0.0.1 {with}\n  \
         notify: {DAEMON} {with}\n  store-ixfr: yes\n  create-ixfr: yes\n"
    )
}

fn named(folder: &Path, secret: Option<&str>) -> String {
    let here = folder.display();
    let (key, with) = match secret {
        Some(secret) => (
            format!("key \"transfer.\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n"),
            " key \"transfer.\"",
        ),
        None => (String::new(), ""),
    };
    let allowed = secret.map_or("127.0.0.1;".to_owned(), |_| "key \"transfer.\";".to_owned());
    format!(
        "{key}options {{\n  directory \"{here}\";\n  pid-file none;\n  session-keyfile none;\n  \
         listen-on port 5300 {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  recursion no;\n  \
         empty-zones-enable no;\n  notify explicit;\n  notify-delay 0;\n  notify-source 127.0.0.1;\n}};\n\
         controls {{ }};\nzone \"{APEX}\" {{\n  type primary;\n  file \"{here}/zone\";\n  \
         ixfr-from-differences yes;\n  allow-transfer {{ {allowed} }};\n  \
         also-notify {{ {DAEMON} port 53{with}; }};\n}};\n"
    )
}

/// The zone is the same after each change: as it comes, and signed here.
fn follow(name: &str) -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[name]) {
        return Ok(obstacle);
    }
    apart(|| {
        for (secret, dnssec) in [(None, "off"), (Some(SECRETS[0]), "off"), (None, "sign")] {
            let folder = tempfile::tempdir()?;
            let primary = Primary::start(name, folder.path(), secret)?;
            let own = folder.path().join("sealdns");
            fs::create_dir(&own)?;
            let settings =
                Settings { dnssec, secret, primaries: &[PRIMARY], server: "", variables: &[] };
            let mut secondary = Secondary::start(&own, settings)?;
            let mut by_difference = 0;
            for (version, serial) in SERIALS.into_iter().enumerate() {
                if version > 0 {
                    primary.change(version)?;
                }
                // From the second one on a NOTIFY brings it.
                let status = secondary.wait_for(serial).with_context(|| primary.process.log())?;
                ensure!(status.summary.error.is_none(), "{name}: {status:?}");
                let without: &[&str] = if dnssec == "sign" { &MADE } else { &[] };
                let theirs = transferred(PRIMARY, secret, without)?;
                let ours = || transferred("127.0.0.1:53", None, without);
                let is_same = || ours().is_ok_and(|ours| ours == theirs);
                net::wait_until("the sockets have it", PATIENCE, is_same).with_context(|| {
                    format!("{name}, {dnssec}, serial {serial}: {:#?}\n{theirs:#?}", ours())
                })?;
                if version == 4 {
                    // What was served is served again, and goes on.
                    secondary.stop()?;
                    secondary = Secondary::start(&own, settings)?;
                    let again = transferred("127.0.0.1:53", None, without)?;
                    ensure!(again == theirs, "{name}: {again:#?}");
                }
                let differences = secondary.process.log().matches("differences, to serial").count();
                by_difference = by_difference.max(differences);
            }
            ensure!(by_difference >= 2, "{name}: {}", secondary.process.log());
            secondary.stop()?;
        }
        Ok(())
    })
}

/// Knot DNS as the primary.
pub fn knotd_is_followed() -> Result<Verdict> {
    follow("knotd")
}

/// NSD as the primary.
pub fn nsd_is_followed() -> Result<Verdict> {
    follow("nsd")
}

/// BIND as the primary.
pub fn named_is_followed() -> Result<Verdict> {
    follow("named")
}

/// With another secret nothing comes, and the reason is told; with the right one it does.
pub fn a_wrong_key_is_told() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["knotd"]) {
        return Ok(obstacle);
    }
    apart(|| {
        let folder = tempfile::tempdir()?;
        let _primary = Primary::start("knotd", folder.path(), Some(SECRETS[0]))?;
        let own = folder.path().join("sealdns");
        fs::create_dir(&own)?;
        let settings = |secret| Settings {
            dnssec: "off",
            secret,
            primaries: &[PRIMARY],
            server: "",
            variables: &[],
        };
        for (secret, said) in [(Some(SECRETS[1]), "BADSIG"), (None, "NOTAUTH")] {
            let secondary = Secondary::start(&own, settings(secret))?;
            let status = secondary.wait_for_failure(said)?;
            ensure!(status.summary.serial.is_none(), "{status:?}");
            secondary.stop()?;
        }
        let secondary = Secondary::start(&own, settings(Some(SECRETS[0])))?;
        secondary.wait_for(SERIALS[0])?;
        secondary.stop()
    })
}

/// A clock that is an hour ahead: the primary refuses what is signed then, and the reason is told.
pub fn a_wrong_clock_is_told() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&["knotd"]) {
        return Ok(obstacle);
    }
    let found = Command::new("sh").args(["-c", &format!("ls {FAKETIME}")]).output()?;
    let library = String::from_utf8(found.stdout)?;
    let Some(library) = library.lines().next().filter(|line| !line.is_empty()) else {
        return Ok(Verdict::Skipped("no libfaketime: `cargo xtask setup`".into()));
    };
    apart(|| {
        let folder = tempfile::tempdir()?;
        let secret = Some(SECRETS[0]);
        let _primary = Primary::start("knotd", folder.path(), secret)?;
        let own = folder.path().join("sealdns");
        fs::create_dir(&own)?;
        let ahead =
            [("LD_PRELOAD", library), ("FAKETIME", "+1h"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
        let right =
            Settings { dnssec: "off", secret, primaries: &[PRIMARY], server: "", variables: &[] };
        let secondary = Secondary::start(&own, Settings { variables: &ahead, ..right })?;
        let status = secondary.wait_for_failure("BADTIME: the clock of the server is -3")?;
        ensure!(status.summary.serial.is_none(), "{status:?}");
        secondary.stop()?;
        let secondary = Secondary::start(&own, right)?;
        secondary.wait_for(SERIALS[0])?;
        secondary.stop()
    })
}

/// Where Debian has the library that shows a process another time.
const FAKETIME: &str = "/usr/lib/*/faketime/libfaketimeMT.so.1";
