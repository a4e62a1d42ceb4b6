//! What the checks accept is served, and what is not served they name with its place: `zone check`, `sign` and
//! `verify` compile a zone as the daemon does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use sealdns::{
    cli::{
        verify::{Invalid, Valid},
        zone_file,
    },
    clock::WallTime,
    control::reply::zone::ZoneStatus,
    dnssec::{
        keys::{Algorithm, KeyLayout, store::KeyStore},
        policy::{Denial, SigningPolicy},
        sign::sign,
    },
    zone::{Rtype, Zone, ZoneBuilder, text},
};
use testbed::{
    net::{self, Process},
    servers::{Server, free_address},
};
use tests::{
    dns::{Edns, Message, Query},
    harness::Verdict,
    servers::{self, run_sealdns, signed},
};

use super::salted::{self, Signer, Way};

/// How long a command or a daemon's start may take.
const PATIENCE: Duration = Duration::from_secs(60);

const SERVFAIL: u16 = 2;

/// Why none of this can run, if it cannot.
fn obstacle() -> Option<Verdict> {
    let missing = "no sealdns beside this test: `cargo xtask build`";
    servers::sealdns().is_none().then(|| Verdict::Skipped(missing.into()))
}

fn sealdns(arguments: &[&str]) -> Result<Output> {
    let binary = servers::sealdns().context("no sealdns")?;
    net::output_within(Command::new(binary).args(arguments), PATIENCE)
}

/// The daemon over one zone file.
fn daemon(folder: &Path, zone: &str, file: &Path, dnssec: &str) -> Result<Server> {
    daemon_with(folder, zone, file, dnssec, "")
}

/// The same with `more` sections.
fn daemon_with(folder: &Path, zone: &str, file: &Path, dnssec: &str, more: &str) -> Result<Server> {
    let address = free_address()?;
    let config = format!(
        "version = \"v1\"\n[server]\nlisten = [\"{address}\"]\ncontrol = \"control.sock\"\nstate-dir = \"state\"\n\
         [[zone]]\nname = \"{zone}\"\nfile = \"{}\"\ndnssec = \"{dnssec}\"\n{more}",
        file.display()
    );
    let path = folder.join("sealdns.toml");
    fs::write(&path, config)?;
    let binary = servers::sealdns().context("no sealdns")?;
    let mut process =
        Process::spawn("sealdns", Command::new(binary).args(["run", "--config"]).arg(&path))?;
    process.wait_for_line(PATIENCE, |line| line.trim() == "ready")?;
    Ok(Server { address, process })
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let octets = labels.flat_map(|label| {
        std::iter::once(label.len() as u8).chain(label.bytes()).collect::<Vec<_>>()
    });
    octets.chain([0]).collect()
}

fn ask(server: &Server, name: &str, rtype: Rtype) -> Result<Message> {
    let edns = Some(Edns { payload: 1232, dnssec_ok: true });
    let query = Query { name: wire(name), rtype: rtype.0, edns }.message(0);
    let said = server.ask_all_over_tcp(&[query])?;
    Message::read(&said[0])
}

const HEAD: &str = "$TTL 300\n@ SOA ns1 host 1 4h 1h 2w 60\n@ NS ns1\nns1 A 192.0.2.1\n";

/// A zone file, and what of it is not served: line in the file, name and type.
struct Case {
    text: String,
    dnssec: &'static str,
    unserved: Option<(usize, &'static str, Rtype)>,
    /// Whether all of the zone is refused.
    is_refused: bool,
}

fn written(zone: &Zone) -> Result<String> {
    let mut out = Vec::new();
    text::write(zone, &mut out)?;
    Ok(String::from_utf8(out)?)
}

/// Zones of all kinds that a daemon serves in part, as a whole, or not.
fn cases(folder: &Path) -> Result<Vec<Case>> {
    let large: String =
        (0..300).map(|n| format!("big TXT \"{n:03}{}\"\n", "x".repeat(240))).collect();
    let many = |count: usize| -> String {
        (0..count).map(|n| format!("many TYPE{} \\# 1 00\n", 1000 + n)).collect()
    };
    let plain = |rest: &str, unserved| Case {
        text: format!("{HEAD}{rest}"),
        dnssec: "off",
        unserved,
        is_refused: false,
    };
    let mut cases = vec![
        plain("", None),
        plain(&large, Some((5, "big", Rtype::TXT))),
        plain(&format!("; a comment\n{large}"), Some((6, "big", Rtype::TXT))),
        plain(&many(129), Some((5, "many", Rtype(1000)))),
        plain(&many(128), None),
    ];
    let signs = |salt: usize, iterations: u16| -> Result<String> {
        let way = Way { signer: Signer::DnssecSignzone, salt, iterations, opt_out: false };
        written(&salted::signed_of(("served.test", HEAD), way, folder)?)
    };
    for (salt, iterations) in [(0, 0), (8, 0), (255, 0), (0, 1), (8, 50)] {
        let text = signs(salt, iterations)?;
        cases.push(Case { text, dnssec: "presigned", unserved: None, is_refused: false });
    }
    // The NSEC3PARAM record is to blame.
    let text = signs(8, 51)?;
    let line = text.lines().position(|line| line.contains("\tNSEC3PARAM\t"));
    let unserved = line.map(|line| (line + 1, "ns1", Rtype::A));
    cases.push(Case { text, dnssec: "presigned", unserved, is_refused: true });
    let large = signed(("served.test", &format!("{HEAD}{large}")), Denial::Nsec, folder)?;
    let text = written(&large)?;
    let line = text
        .lines()
        .position(|line| line.starts_with("big.served.test.") && line.contains("\tTXT\t"));
    let unserved = line.map(|line| (line + 1, "big", Rtype::TXT));
    cases.push(Case { text, dnssec: "presigned", unserved, is_refused: false });
    Ok(cases)
}

/// Every zone that `zone check`, `verify` and `sign` accept is served whole; of what is not they say what and where,
/// and the rest of such a zone is served, but for one that is refused as a whole.
pub fn what_is_accepted_is_served() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    for tool in ["dnssec-signzone", "dnssec-keygen"] {
        if net::find_program(tool).is_none() {
            return Ok(Verdict::Skipped(format!("{tool} is not installed: `cargo xtask setup`")));
        }
    }
    let keys = tempfile::tempdir()?;
    for (number, case) in cases(keys.path())?.into_iter().enumerate() {
        let folder = tempfile::tempdir()?;
        let file: PathBuf = folder.path().join("zone");
        fs::write(&file, &case.text)?;
        let path = file.to_str().context("a path")?;
        let place = case.unserved.map(|(line, ..)| format!("{path}:{line}:"));
        let mut commands = vec![vec!["zone", "check", "--zone", "served.test", path]];
        let (out, at) = (folder.path().join("out"), folder.path().join("keys"));
        let (out, at) = (out.display().to_string(), at.display().to_string());
        match case.dnssec {
            "presigned" => commands.push(vec!["verify", "--zone", "served.test", path]),
            _ => commands.push(vec![
                "sign",
                "served.test",
                "--in",
                path,
                "--out",
                &out,
                "--keys",
                &at,
            ]),
        }
        for command in commands {
            // What is signed with NSEC has one type more.
            if command[0] == "sign" && case.text.contains("many TYPE1127") {
                continue;
            }
            let output = sealdns(&command)?;
            let said =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            let expected = if place.is_some() { Some(3) } else { Some(0) };
            ensure!(output.status.code() == expected, "case {number}, {command:?}: {output:?}");
            if let Some(place) = &place {
                ensure!(said.contains(place), "case {number}, {command:?}: not at {place}: {said}");
            }
        }
        if let ("presigned", Some((line, ..))) = (case.dnssec, case.unserved) {
            let output = sealdns(&["verify", "--json", "--zone", "served.test", path])?;
            let said: Invalid = servers::reply_of(&output)?;
            let fault = said.faults.first().context("no fault")?;
            let place = (fault.file.as_deref(), fault.line);
            ensure!(place == (Some(path), Some(line)), "case {number}: {said:?}");
            ensure!(fault.column.is_some(), "case {number}: {said:?}");
        }
        let server = daemon(folder.path(), "served.test", &file, case.dnssec)?;
        let rest = ask(&server, "ns1.served.test", Rtype::A)?;
        ensure!((rest.rcode == SERVFAIL) == case.is_refused, "case {number}: {rest:?}");
        if let Some((_, owner, rtype)) = case.unserved {
            let said = ask(&server, &format!("{owner}.served.test"), rtype)?;
            ensure!(said.rcode == SERVFAIL, "case {number}: {said:?}");
        }
    }
    Ok(Verdict::Passed)
}

/// A wildcard's DNAME becomes the record of the name that is asked for (RFC 6672 section 3.2 step 3.C), at every
/// length of its labels.
pub fn a_wildcard_dname_is_the_question_s() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let directory = tempfile::tempdir()?;
    let text = format!("{HEAD}*.old DNAME new.invalid.\n*.a.very.long.place DNAME new\n");
    for denial in servers::DENIALS {
        let zone = signed(("wild.test", &text), denial.1, directory.path())?;
        let server = run_sealdns(directory.path(), &[&zone])?;
        let labels = (1..=63).map(|len| "s".repeat(len)).chain([
            "a.b".into(),
            "a.shop".into(),
            "shop.a.b.c".into(),
        ]);
        for (label, place) in labels
            .flat_map(|label| ["old", "a.very.long.place"].map(|place| (label.clone(), place)))
        {
            let name = format!("{label}.{place}.wild.test");
            for rtype in [Rtype::DNAME, Rtype::ANY] {
                let said = ask(&server, &name, rtype)?;
                let owners: Vec<_> =
                    said.answer.iter().map(|one| (one.rtype, one.owner.clone())).collect();
                let own = wire(&name);
                ensure!(
                    owners.iter().any(|one| *one == (Rtype::DNAME.0, own.clone())),
                    "{name} {rtype}: {said:?}"
                );
                ensure!(owners.iter().all(|one| one.1 == own), "{name} {rtype}: {said:?}");
            }
        }
        // Names below the wildcard itself are redirected.
        let said = ask(&server, "x.*.old.wild.test", Rtype::A)?;
        ensure!(said.answer.iter().any(|one| one.owner == wire("*.old.wild.test")), "{said:?}");
    }
    Ok(Verdict::Passed)
}

/// A signature that ended long ago beside one that holds: at every RRset of a zone, the SOA's and the keys' among
/// them.
pub fn ended_signatures_beside_others_do_no_harm() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let directory = tempfile::tempdir()?;
    let zone = signed(
        ("extra.test", &format!("{HEAD}www A 192.0.2.2\n")),
        Denial::Nsec,
        directory.path(),
    )?;
    let mut builder = ZoneBuilder::new(zone.apex().clone());
    builder.copy(&zone, |_, _| true)?;
    for owner in zone.owners() {
        for rdata in owner.rrset(Rtype::RRSIG).iter().flat_map(|rrset| rrset.rdatas()) {
            let mut ended = rdata.to_vec();
            ended[8..12].copy_from_slice(&1_577_836_800u32.to_be_bytes());
            ended[12..16].copy_from_slice(&1_575_158_400u32.to_be_bytes());
            builder.push(owner.name(), Rtype::RRSIG, 300, &ended)?;
        }
    }
    let zone = builder.finish()?;
    let server = run_sealdns(directory.path(), &[&zone])?;
    for (name, rtype, count) in [
        ("www.extra.test", Rtype::A, 1),
        ("extra.test", Rtype::SOA, 1),
        ("extra.test", Rtype::DNSKEY, 1),
        ("extra.test", Rtype::NS, 1),
        ("nobody.extra.test", Rtype::A, 0),
    ] {
        let said = ask(&server, name, rtype)?;
        ensure!(
            said.rcode != SERVFAIL && (said.answer.is_empty() == (count == 0)),
            "{name} {rtype}: {said:?}"
        );
    }
    let path = directory.path().join("extra.test.zone");
    let output = sealdns(&["verify", "--json", path.to_str().context("a path")?])?;
    let verified: Valid = servers::reply_of(&output)?;
    let config = directory.path().join("sealdns.toml");
    let config = config.to_str().context("a path")?;
    let output = sealdns(&["zone", "status", "extra.test", "--config", config, "--json"])?;
    let status: ZoneStatus = servers::reply_of(&output)?;
    let expiration = Some(verified.expiration);
    ensure!(status.summary.expiration == expiration, "{verified:?}, and {status:?}");
    Ok(Verdict::Passed)
}

/// A presigned zone whose signatures begin to be valid later, and one of which an RRset is held by nothing for some
/// seconds, are served from then on, and nobody has to reload.
pub fn a_presigned_zone_is_served_when_its_signatures_begin() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let folder = tempfile::tempdir()?;
    let at = WallTime::now().signature_time();
    let signed = |inception: u32, expiration: u32| {
        let apex = "later.test".parse()?;
        let text = format!("{HEAD}www A 192.0.2.2\n");
        let zone = zone_file::parse_zone(text.as_bytes(), &apex)?;
        let (layout, algorithm) = (KeyLayout::KskZsk, Algorithm::EcdsaP256Sha256);
        let (keys, _) =
            KeyStore::new(folder.path()).load_or_generate(&apex, layout, algorithm, at)?;
        let policy = SigningPolicy {
            validity: expiration - inception,
            inception_offset: 0,
            ..SigningPolicy::default()
        };
        anyhow::Ok(sign(&zone, &keys, &policy, inception)?.0)
    };
    let later = signed(at + 6, at + 86_400)?;
    // All holds but the addresses of www: their signature ends soon, and the next one begins after that.
    let (whole, soon) = (signed(at - 60, at + 86_400)?, signed(at - 60, at + 5)?);
    let mut gap = ZoneBuilder::new(whole.apex().clone());
    let www = wire("www.later.test");
    let covers_a = |rdata: &[u8]| rdata[..2] == Rtype::A.0.to_be_bytes();
    for owner in whole.owners() {
        for rrset in owner.rrsets() {
            for rdata in rrset.rdatas() {
                let is_replaced =
                    rrset.rtype() == Rtype::RRSIG && owner.name() == www && covers_a(rdata);
                if !is_replaced {
                    gap.push(owner.name(), rrset.rtype(), rrset.ttl(), rdata)?;
                }
            }
        }
    }
    let others = signed(at + 9, at + 86_400)?;
    for zone in [&soon, &others] {
        for rdata in zone.find(&www).context("no www")?.signatures(Rtype::A) {
            gap.push(&www, Rtype::RRSIG, 300, rdata)?;
        }
    }
    for (zone, start) in [(later, SERVFAIL), (gap.finish()?, 0)] {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("zone");
        fs::write(&file, written(&zone)?)?;
        let server = daemon(folder.path(), "later.test", &file, "presigned")?;
        let rcode = || ask(&server, "www.later.test", Rtype::A).map(|said| said.rcode);
        // Who comes late to see how it begins sees how it ends all the same.
        if WallTime::now().signature_time() < at + 4 {
            ensure!(rcode()? == start, "it begins with {}", rcode()?);
        }
        let is_right = |rcode: u16| move |said: Result<u16>| said.is_ok_and(|said| said == rcode);
        if start == 0 {
            net::wait_until("the first signature ends", PATIENCE, || {
                WallTime::now().signature_time() > at + 9 || is_right(SERVFAIL)(rcode())
            })?;
        }
        net::wait_until("the signatures begin", PATIENCE, || is_right(0)(rcode()))
            .with_context(|| server.process.log())?;
        ensure!(
            WallTime::now().signature_time() >= at + if start == 0 { 5 } else { 6 },
            "it was served too early"
        );
    }
    Ok(Verdict::Passed)
}

/// A FIFO where the configuration names a zone file, an `$INCLUDE` or the file of secrets: `config check` says so at
/// once, and a daemon serves the other zones.
pub fn what_is_no_regular_file_is_refused_and_not_waited_for() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU)?;
    fs::write(path("good"), HEAD)?;
    fs::write(path("includes"), format!("{HEAD}$INCLUDE fifo\n"))?;
    let zone = |name: &str, file: &str| {
        format!("[[zone]]\nname = \"{name}.test\"\nfile = \"{file}\"\ndnssec = \"off\"\n")
    };
    let head = "version = \"v1\"\n[server]\nlisten = []\nstate-dir = \"state\"\n";
    let secret = format!("{head}[cookies]\nsecret-file = \"fifo\"\n");
    for text in [format!("{head}{}", zone("bad", "fifo")), secret] {
        fs::write(path("check.toml"), &text)?;
        let file = path("check.toml");
        let output = sealdns(&["config", "check", file.to_str().context("a path")?])?;
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{text}: {said}");
        ensure!(said.contains("not a regular file"), "{text}: {said}");
    }
    let more = zone("bad", "fifo") + &zone("includes", "includes");
    let server = daemon_with(folder.path(), "good.test", &path("good"), "off", &more)?;
    ensure!(ask(&server, "ns1.good.test", Rtype::A)?.rcode == 0);
    for name in ["ns1.bad.test", "ns1.includes.test"] {
        ensure!(ask(&server, name, Rtype::A)?.rcode == SERVFAIL, "{name}");
    }
    Ok(Verdict::Passed)
}
