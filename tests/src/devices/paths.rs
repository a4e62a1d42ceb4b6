//! The path that answers take: what `auto` chooses arrives, what does not leave is said, and what cannot be loaded
//! does not keep the sockets from serving.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use sealdns::{
    config::XdpMode, control::reply::xdp::XdpStatus, datapath::object,
    observe::attachment::FaultKind,
};
use testbed::{
    frames::Frame,
    inject::Injector,
    net::{self, Process},
};
use tests::{
    harness::Verdict,
    prog_test_run::lab,
    servers::{self},
};

use crate::wire::{
    client::{A, client, query, server},
    pair::{Pair, link},
    stage::{PATIENCE, Section, Settings, Stage, configure, obstacle},
};

const ZONE: Section<'_> = (
    "veth.test",
    "@ 300 IN SOA ns1 host 1 7200 3600 1209600 300\n@ 300 IN NS ns1\nns1 300 IN A 192.0.2.1\n\
     www 300 IN A 192.0.2.77\n",
    "dnssec = \"off\"",
);

/// Asks from the client's end, where nothing is attached: whether an answer comes.
fn ask(pair: &Pair, family: usize, patience: Duration) -> Result<bool> {
    let asked = query("www.veth.test", A, None);
    pair.client.enter(|| -> Result<bool> {
        let socket = std::net::UdpSocket::bind((client(family)?, 0))?;
        socket.set_read_timeout(Some(patience))?;
        socket.send_to(&asked, server(family)?)?;
        let mut buffer = [0; 512];
        let came = socket.recv(&mut buffer).is_ok_and(|len| len > asked.len());
        Ok(came && buffer[..2] == asked[..2])
    })?
}

fn health(stage: &Stage) -> Result<(Option<i32>, String)> {
    let output = stage.command(&["health"])?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn status(stage: &Stage) -> Result<XdpStatus> {
    stage.reply(&["xdp", "status"])
}

/// The default on veth, as containers have it: the daemon cannot see what stands at the other end.
pub fn auto_answers_where_nothing_stands_at_the_other_end() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    for (test, xdp, mode) in
        [("auto", "", XdpMode::Tcx), ("auto-off", "tcx = \"off\"", XdpMode::Generic)]
    {
        let stage = Stage::with(&Settings { xdp, ..Settings::default() }, test, &[ZONE])?;
        let before = stage.sent_by_tcx()?;
        for family in [0, 1, 0, 1, 0, 1] {
            ensure!(ask(&stage.pair, family, PATIENCE)?, "{mode:?} {family}: no answer");
        }
        let status = status(&stage)?;
        ensure!(status.attachments[0].mode == mode, "{status:?}");
        ensure!(status.faults.is_empty(), "{status:?}");
        if mode == XdpMode::Tcx {
            ensure!(!link(&stage.pair.server)?.contains("xdp"), "{}", link(&stage.pair.server)?);
            ensure!(stage.sent_by_tcx()? - before == 6, "{status:?}");
        }
        // Once what was asked has been looked at. Of a look that finds nothing the daemon says nothing: the time of
        // some looks is what the test gives.
        thread::sleep(Duration::from_secs(5));
        let (code, said) = health(&stage)?;
        ensure!(code == Some(0), "{said}");
    }
    Ok(Verdict::Passed)
}

/// A VLAN tag is kept beside the packet once the kernel has received it: answers of TCX, and of XDP in generic mode,
/// have it again.
pub fn tags_are_kept() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    if Command::new("tcpdump")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        return Ok(Verdict::Skipped("no tcpdump".into()));
    }
    for mode in ["tcx", "generic"] {
        let xdp = format!("mode = \"{mode}\"");
        let stage = Stage::with(&Settings { xdp: &xdp, ..Settings::default() }, "tags", &[ZONE])?;
        let pair = &stage.pair;
        // Without a program of XDP there, the server's end must poll as if it had one to take such frames.
        let mut ethtool = Command::new("ethtool");
        ethtool.args(["-K", "server", "gro", "on"]);
        ensure!(pair.server.output(&mut ethtool, PATIENCE)?.status.success(), "no GRO");
        let mut injector = pair.client.enter(|| Injector::new(&lab(), "client"))??;
        let mut dump = Command::new("tcpdump");
        dump.args(["-n", "-e", "-l", "-i", "client", "-Q", "in", "vlan and udp port 53"]);
        let mut dump = pair.client.spawn("tcpdump", &mut dump)?;
        dump.wait_for_line(PATIENCE, |line| line.contains("listening on"))?;
        for family in 0..2 {
            let frame = Frame {
                source_mac: pair.client.enter(|| net::mac_address("client"))??,
                destination_mac: pair.server_mac,
                tags: vec![(0x8100, 5)],
                source: (client(family)?, 5353).into(),
                destination: server(family)?,
                ttl: 64,
                payload: query("www.veth.test", A, None),
            };
            let frame = frame.encode()?;
            pair.client.enter(|| injector.send(&frame))??;
            let is_answer = |line: &str| line.contains("vlan 5,") && line.contains(".53 > ");
            dump.wait_for_line(PATIENCE, is_answer)
                .with_context(|| format!("{mode}, family {family}: {}", dump_status(&stage)))?;
        }
    }
    Ok(Verdict::Passed)
}

fn dump_status(stage: &Stage) -> String {
    status(stage).map_or_else(|error| error.to_string(), |status| format!("{status:?}"))
}

/// Natively on veth without a program at the other end, in both ways that loses answers: without a queue there, which
/// the driver counts, and with one that nothing empties, which it does not.
pub fn answers_that_do_not_leave_are_said() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    for gro in ["off", "on"] {
        let settings = Settings { xdp: "mode = \"native\"\ntcx = \"off\"", ..Settings::default() };
        let stage = Stage::with(&settings, &format!("lost-{gro}"), &[ZONE])?;
        let mut ethtool = Command::new("ethtool");
        ethtool.args(["-K", "client", "gro", gro]);
        ensure!(stage.pair.client.output(&mut ethtool, PATIENCE)?.status.success(), "no gro {gro}");
        ensure!(health(&stage)?.0 == Some(0), "{}", health(&stage)?.1);
        let fix = "mode = \"auto\" in [xdp], which takes TCX here";
        let is_said = || -> Result<bool> {
            for _ in 0..20 {
                ask(&stage.pair, 0, Duration::from_millis(20))?;
            }
            let (code, said) = health(&stage)?;
            Ok(code == Some(3) && said.contains("interface server") && said.contains(fix))
        };
        net::wait_until("health minds", 2 * PATIENCE, || is_said().unwrap_or(false))
            .with_context(|| format!("gro {gro}: {}", dump_status(&stage)))?;
        let faults = status(&stage)?.faults;
        ensure!(
            faults[0].kind == FaultKind::AnswersLost && faults[0].interface == "server",
            "{faults:?}"
        );
        let said = stage.server.process.log();
        let is_said_once = said.matches("ERROR").count() == 1;
        ensure!(is_said_once && said.contains("which takes TCX here"), "{said}");

        // What the fix says mends it, and is seen to.
        let _pass = stage.pair.client.enter(|| Injector::new(&lab(), "client"))??;
        let is_well = || {
            // An answer that was lost before does not come late; it is all asked again.
            let limit = Duration::from_secs(2);
            let came = (0..20).all(|_| ask(&stage.pair, 0, limit).unwrap_or(false));
            came && health(&stage).is_ok_and(|(code, _)| code == Some(0))
        };
        net::wait_until("health is content", 2 * PATIENCE, is_well)
            .with_context(|| format!("gro {gro}: {}", dump_status(&stage)))?;
        ensure!(
            stage.server.process.log().contains("no longer a problem: "),
            "the end is not said"
        );
    }
    Ok(Verdict::Passed)
}

//----------- Not loaded -----------------------------------------------------------------------------

/// A copy of `sealdns` whose programs in this section of the object are refused by every verifier: they call helpers
/// that no kernel has.
fn refused(section: &str, folder: &Path) -> Result<PathBuf> {
    let object = object::object()?;
    let mut binary = fs::read(servers::sealdns().context("no sealdns")?)?;
    // The whole object, since the compiler may have put parts of it elsewhere too. There is one: of two, the copy that
    // the daemon loads would be anyone's guess.
    let head = &object[..64.min(object.len())];
    let starts = binary.windows(head.len()).enumerate().filter(|(_, window)| *window == head);
    let whole: Vec<usize> =
        starts.map(|(at, _)| at).filter(|at| binary[*at..].starts_with(object)).collect();
    let [at] = whole[..] else {
        bail!("sealdns holds the object of this test {} times, not once", whole.len())
    };
    let (start, len) = place_of(object, section).context("the object has no such section")?;
    let code = &mut binary[at + start..][..len];
    // A call (opcode 0x85) of a helper (source register 0), whose number is the last word.
    for instruction in code.chunks_exact_mut(8).filter(|one| one[..4] == [0x85, 0, 0, 0]) {
        instruction[4..].copy_from_slice(&65535u32.to_le_bytes());
    }
    let path = folder.join(format!("sealdns-without-{section}"));
    fs::write(&path, binary)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Where a section of a 64-bit little-endian ELF file lies, and its length (System V ABI, "Sections").
fn place_of(file: &[u8], section: &str) -> Option<(usize, usize)> {
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(*file.get(at..)?.first_chunk()?)));
    let word = |at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?) as usize);
    let long =
        |at: usize| usize::try_from(u64::from_le_bytes(*file.get(at..)?.first_chunk()?)).ok();
    let (table, size, count, names) = (long(0x28)?, half(0x3a)?, half(0x3c)?, half(0x3e)?);
    let names = long(table + names * size + 0x18)?;
    (0..count).map(|number| table + number * size).find_map(|header| {
        let name = file.get(names + word(header)?..)?;
        let is_it = name.starts_with(section.as_bytes()) && name.get(section.len()) == Some(&0);
        is_it.then_some((long(header + 0x18)?, long(header + 0x20)?))
    })
}

/// Runs a daemon to its end.
fn run(binary: &Path, pair: &Pair, folder: &Path) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(binary);
    command.args(["run", "--config"]).arg(folder.join("sealdns.toml"));
    let output = pair.server.output(&mut command, PATIENCE)?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// In every mode, with the programs of either hook refused: only those that the mode needs matter, what the verifier
/// objects to is said with the program's name, and `required` decides.
pub fn what_does_not_load_is_said_and_may_be_required() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let binaries = tempfile::tempdir()?;
    for section in ["xdp", "classifier"] {
        let binary = refused(section, binaries.path())?;
        for mode in ["native", "generic", "auto", "tcx"] {
            let needs = if matches!(mode, "native" | "generic") { "xdp" } else { "classifier" };
            let case = format!("{mode} without {section}");
            let xdp = format!("mode = \"{mode}\"");
            let settings = Settings { xdp: &xdp, ..Settings::default() };
            let stage =
                Stage::by(binary.clone(), &settings, "refused", &[ZONE]).context(case.clone())?;
            let (code, said) = health(&stage)?;
            let attached = status(&stage)?.attachments;
            if needs != section {
                ensure!(code == Some(0) && attached[0].interface == "server", "{case}: {said}");
                continue;
            }
            ensure!(code == Some(3), "{case}: {said}");
            ensure!(
                said.contains("interface server") && said.contains("invalid func unknown#65535"),
                "{case}: {said}"
            );
            ensure!(said.contains("refuses the program \""), "{case}: {said}");
            ensure!(attached.is_empty(), "{case}: {attached:?}");
            ensure!(!link(&stage.pair.server)?.contains("xdp"), "{case}");
            ensure!(ask(&stage.pair, 0, PATIENCE)?, "{case}: the sockets do not answer");
            let log = stage.server.process.log();
            ensure!(
                log.matches("ERROR").count() == 1 && log.contains("invalid func unknown#65535"),
                "{log}"
            );
            let Stage { pair, folder, server, .. } = stage;
            drop(server);

            let xdp = format!("{xdp}\nrequired = true");
            configure(folder.path(), &Settings { xdp: &xdp, ..Settings::default() }, &[ZONE])?;
            let (code, said) = run(&binary, &pair, folder.path())?;
            ensure!(
                code == Some(1) && said.contains("invalid func unknown#65535"),
                "{case}: {code:?} {said}"
            );
            ensure!(said.contains("`required` in [xdp]"), "{case}: {said}");
        }
    }
    Ok(Verdict::Passed)
}

/// A daemon without the capabilities, in every mode: it serves by its sockets, unless XDP is required or there are
/// none.
pub fn who_may_not_load_serves_by_sockets() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let binary = servers::sealdns().context("no sealdns")?;
    let bounded = || {
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set", "-bpf,-sys_admin,-perfmon"])
            .arg(&binary)
            .args(["run", "--config"]);
        command
    };
    let (pair, folder) = (Pair::new("unable")?, tempfile::tempdir()?);
    let path = folder.path().join("sealdns.toml");
    for mode in ["native", "generic", "auto", "tcx"] {
        for required in [false, true] {
            let xdp = format!("mode = \"{mode}\"\nrequired = {required}");
            configure(folder.path(), &Settings { xdp: &xdp, ..Settings::default() }, &[ZONE])?;
            if required {
                let output = pair.server.output(bounded().arg(&path), PATIENCE)?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(
                    output.status.code() == Some(1) && said.contains("CAP_BPF"),
                    "{mode}: {said}"
                );
                continue;
            }
            let mut process: Process = pair.server.spawn("sealdns", bounded().arg(&path))?;
            process.wait_for_line(PATIENCE, |line| line.trim() == "ready").context(mode)?;
            ensure!(ask(&pair, 0, PATIENCE)?, "{mode}: the sockets do not answer");
            let mut health = Command::new(&binary);
            let output =
                pair.server.output(health.arg("health").arg("--config").arg(&path), PATIENCE)?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(output.status.code() == Some(3) && said.contains("CAP_BPF"), "{mode}: {said}");
        }
    }
    // Sockets that there are none of cannot answer.
    let text =
        fs::read_to_string(&path)?.replace("required = true", "addresses = [\"198.51.100.2\"]");
    let text: String =
        text.lines()
            .map(|line| {
                if line.starts_with("listen") {
                    "listen = []\n".into()
                } else {
                    format!("{line}\n")
                }
            })
            .collect();
    fs::write(&path, text)?;
    let output = pair.server.output(bounded().arg(&path), PATIENCE)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && said.contains("nobody would answer"), "{said}");
    Ok(Verdict::Passed)
}
