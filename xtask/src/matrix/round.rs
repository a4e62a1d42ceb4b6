//! In a guest: the daemon serves the demo's zone on a pair of devices in every mode, and is asked all questions.
//!
//! Each answer on the port that programs see is compared, octet by octet, with what the daemon answers on a port that they
//! do not see. Who answered is what counters say: those of the programs, and those of the kernel for its sockets.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    questions::{self, AnsweredBy, Question},
    scene::{Asker, Counts, Daemon, Scene},
};
use testbed::guest::cards::Card;

/// What joins the two ends where no card does.
pub const VETH: &str = "veth";

/// Arguments of `round`, which only a guest runs.
#[derive(clap::Args)]
pub struct Arguments {
    /// Over which devices: `veth`, or drivers of network cards of which there are two
    devices: Vec<String>,
    /// The `sealdns` to run
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
}

/// After so many faults a pass is given up: each lost answer takes long.
const ENOUGH: usize = 5;

//----------- Passes ---------------------------------------------------------------------------------

/// Who answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answerer {
    Xdp,
    Tcx,
    Daemon,
}

use Answerer::{Daemon as ByDaemon, Tcx, Xdp};

/// What must come of a pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// The daemon ends, and says this.
    Refusal(&'static str),
    /// These answer what programs can answer, and the first of them answers some of it.
    Answers(&'static [Answerer]),
}

/// What is special about the devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Setup {
    Plain,
    /// A VLAN on each, whose tags the card takes off.
    Vlan,
    /// igb's older way to receive.
    LegacyRx,
}

/// How queries are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Sockets,
    /// Frames with room around them, as a card's driver has them; for veth, whose other end then has a program.
    Frames,
    /// Sockets, with a program at the other end: veth takes what XDP sends only there.
    SocketsBehindProgram,
}

/// One run of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pass {
    name: &'static str,
    mode: &'static str,
    setup: Setup,
    by: By,
    expected: Expected,
}

/// Linux's major and minor number.
type Version = (u32, u32);

/// Since when the kernel has TCX.
const TCX_SINCE: Version = (6, 6);

const NO_NATIVE: Expected = Expected::Refusal("cannot run XDP in native mode");
const NO_TCX: Expected = Expected::Refusal("needs TCX, which came with Linux 6.6");

/// Whether a driver runs XDP.
fn is_native(device: &str, kernel: Version) -> bool {
    match device {
        "vmxnet3" => kernel >= (6, 6),
        "e1000e" => false,
        _ => true,
    }
}

/// All that is tried on a device.
fn passes(device: &str, kernel: Version) -> Vec<Pass> {
    use Expected::Answers;
    let (has_tcx, is_native) = (kernel >= TCX_SINCE, is_native(device, kernel));
    // What has no room for an answer is TCX's, or the daemon's.
    let generic = Answers(if has_tcx { &[Xdp, Tcx] } else { &[Xdp, ByDaemon] });
    let tcx = if has_tcx { Answers(&[Tcx]) } else { NO_TCX };
    let without_driver = if has_tcx { Answers(&[Tcx]) } else { generic };
    let pass =
        |name, mode, expected| Pass { name, mode, setup: Setup::Plain, by: By::Sockets, expected };
    let common = [pass("generic", "generic", generic), pass("tcx", "tcx", tcx)];
    if device == VETH {
        let native = pass("native", "native", generic);
        return vec![
            Pass { name: "native, frames", by: By::Frames, expected: Answers(&[Xdp]), ..native },
            Pass { by: By::SocketsBehindProgram, ..native },
            common[0],
            common[1],
            pass("auto", "auto", without_driver),
        ];
    }
    let native = if is_native { Answers(&[Xdp]) } else { NO_NATIVE };
    let auto = if is_native { native } else { without_driver };
    let mut passes = vec![pass("native", "native", native), pass("auto", "auto", auto)];
    passes.extend(common);
    let mut mended = |names: [&'static str; 2], setup, words| {
        let native = pass(names[0], "native", Expected::Refusal(words));
        let auto = pass(names[1], "auto", without_driver);
        passes.extend([native, auto].map(|pass| Pass { setup, ..pass }));
    };
    // The other cards take tags off.
    if device != "virtio_net" {
        mended(["native, VLAN", "auto, VLAN"], Setup::Vlan, "the card takes VLAN tags off");
    }
    if device == "igb" {
        mended(["native, legacy-rx", "auto, legacy-rx"], Setup::LegacyRx, "legacy-rx");
    }
    passes
}

//----------- Task -----------------------------------------------------------------------------------

/// Runs the task: a line of JSON for each pass.
pub fn run(arguments: &Arguments) -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = version(&release).with_context(|| format!("{release} is no version"))?;
    let questions = questions::all();
    for device in &arguments.devices {
        let card = Card::of(device);
        if card.is_none() && device != VETH {
            bail!("{device} is none of the drivers that are known");
        }
        let mut scene = match Scene::new(card, &arguments.binary) {
            Ok(scene) => scene,
            Err(error) => {
                report_round(device, "devices", &failed(&error));
                continue;
            }
        };
        for pass in passes(device, kernel) {
            eprintln!("{device}: {}", pass.name);
            let start = Instant::now();
            let came = go(&mut scene, device, &pass, &questions);
            let mut came = came.unwrap_or_else(|error| failed(&error));
            came["seconds"] = start.elapsed().as_secs().into();
            report_round(device, pass.name, &came);
        }
    }
    Ok(())
}

fn report_round(device: &str, pass: &str, came: &Value) {
    println!("{}", json!({ "device": device, "pass": pass, "came": came }));
}

fn failed(error: &anyhow::Error) -> Value {
    json!({ "faults": [format!("{error:#}")] })
}

fn version(release: &str) -> Option<Version> {
    let mut numbers = release.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Makes a pass, with what is special about the devices.
fn go(scene: &mut Scene, device: &str, pass: &Pass, questions: &[Question]) -> Result<Value> {
    match pass.setup {
        Setup::Plain => make(scene, device, pass, questions),
        Setup::Vlan => {
            scene.tag()?;
            let came = make(scene, device, pass, questions);
            scene.untag()?;
            came
        }
        Setup::LegacyRx => {
            const FLAG: &str = "legacy-rx";
            if !scene.set_flag(FLAG, true)? {
                return Ok(json!({ "none": "its driver has no such flag" }));
            }
            let came = make(scene, device, pass, questions);
            scene.set_flag(FLAG, false)?;
            came
        }
    }
}

fn make(scene: &Scene, device: &str, pass: &Pass, questions: &[Question]) -> Result<Value> {
    let by = match pass.expected {
        Expected::Answers(by) => by,
        Expected::Refusal(words) => {
            let said = match scene.serve(pass.mode) {
                Ok(_) => bail!("it serves, where {words:?} is to be said"),
                Err(error) => format!("{error:#}"),
            };
            if !said.contains(words) {
                bail!("{words:?} is not said: {said}");
            }
            return Ok(json!({ "refused": words }));
        }
    };
    // Before the daemon looks, as the program at the other end must be there when it sends.
    let behind = (pass.by == By::SocketsBehindProgram).then(|| scene.asker(true)).transpose()?;
    let daemon = scene.serve(pass.mode)?;
    let mut asker = scene.asker(pass.by == By::Frames)?;
    asker.wait_for_daemon()?;
    let sent = || if device == VETH { daemon.sent_by_veth() } else { Ok(0) };
    let before = sent()?;
    let mut tally = ask_all(&daemon, &mut asker, by, questions)?;
    let sent = sent()? - before;
    // In generic mode the driver has no part in it.
    if pass.mode == "native" && device == VETH && tally.faults.is_empty() && sent != tally.xdp {
        tally
            .faults
            .push(format!("the driver sent {sent} answers of XDP, {} are counted", tally.xdp));
    }
    tally.faults.extend(daemon.complaint()?.map(|said| format!("health: {said}")));
    drop(behind);
    daemon.stop()?;
    Ok(tally.report(by))
}

//----------- Questions ------------------------------------------------------------------------------

/// How many answers came from whom, and what was wrong.
#[derive(Default)]
struct Tally {
    asked: u64,
    xdp: u64,
    tcx: u64,
    daemon: u64,
    faults: Vec<String>,
}

impl Tally {
    /// Adds the answers to one question, asked from so many addresses between two counts. Each was asked of the daemon
    /// besides. All counters must agree.
    fn add(
        &mut self,
        ends: u64,
        before: Counts,
        now: Counts,
        allowed: &[Answerer],
    ) -> Result<(), String> {
        let (xdp, tcx) = (now.xdp - before.xdp, now.tcx - before.tcx);
        let daemon = (now.sockets - before.sockets).checked_sub(ends);
        let counts = [(Xdp, Some(xdp)), (Tcx, Some(tcx)), (ByDaemon, daemon)];
        let counts_text = || format!("XDP, TCX and the daemon count {counts:?} for {ends} queries");
        let daemon = daemon.filter(|daemon| xdp + tcx + daemon == ends).ok_or_else(counts_text)?;
        let is_wrong =
            |(who, count): &(Answerer, Option<u64>)| *count != Some(0) && !allowed.contains(who);
        if counts.iter().any(is_wrong) {
            return Err(format!("{}: only {allowed:?} may", counts_text()));
        }
        self.asked += ends;
        self.xdp += xdp;
        self.tcx += tcx;
        self.daemon += daemon;
        Ok(())
    }

    fn report(mut self, by: &[Answerer]) -> Value {
        let first = match by.first() {
            Some(Xdp) => self.xdp,
            Some(Tcx) => self.tcx,
            Some(ByDaemon) | None => self.daemon,
        };
        if self.faults.is_empty() && first == 0 {
            self.faults.push(format!("nothing was answered by the first of {by:?}"));
        }
        json!({ "asked": self.asked, "xdp": self.xdp, "tcx": self.tcx, "daemon": self.daemon,
            "faults": self.faults })
    }
}

/// Asks everything, from every address.
fn ask_all(
    daemon: &Daemon<'_>,
    asker: &mut Asker<'_>,
    by: &[Answerer],
    questions: &[Question],
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut before = daemon.counts()?;
    for question in questions {
        let mut faults = Vec::new();
        for place in 0..asker.ends() {
            let came = ask(asker, place, question)?;
            faults.extend(came.err().map(|fault| format!("[{place}] {fault}")));
        }
        let now = daemon.counts_after(before, 2 * asker.ends() as u64)?;
        let allowed = if question.answered_by == AnsweredBy::Program { by } else { &[ByDaemon] };
        // What was lost is missing in the counts too.
        if faults.is_empty() {
            let came = tally.add(asker.ends() as u64, before, now, allowed);
            faults.extend(came.err());
        }
        before = now;
        tally.faults.extend(faults.into_iter().map(|fault| format!("{}: {fault}", question.what)));
        if tally.faults.len() >= ENOUGH {
            return Ok(tally);
        }
    }
    if (0..asker.ends()).any(|place| asker.cookies(place).compared() == 0) {
        tally.faults.push("no cookie could be compared with the daemon's".into());
    }
    Ok(tally)
}

/// Asks one question from one address, of the daemon and on the port that the programs serve; says what is wrong with their answer.
fn ask(asker: &mut Asker<'_>, place: usize, question: &Question) -> Result<Result<(), String>> {
    let wanted = asker.daemon_answer(place, question)?;
    let Some(answer) = asker.ask(place, question)? else {
        return Ok(Err("no answer".into()));
    };
    Ok(asker.cookies(place).agree(&answer, &wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(device: &str, kernel: Version, name: &str) -> Option<Expected> {
        let passes = passes(device, kernel);
        passes.iter().find(|pass| pass.name == name).map(|pass| pass.expected)
    }

    #[test]
    fn what_is_expected_depends_on_kernel_and_driver() {
        use Expected::Answers;
        let (old, new) = ((6, 1), (6, 12));
        for device in ["veth", "virtio_net", "vmxnet3", "e1000e", "igb"] {
            assert_eq!(expected(device, old, "tcx"), Some(NO_TCX), "{device}");
            assert_eq!(expected(device, new, "tcx"), Some(Answers(&[Tcx])), "{device}");
            assert_eq!(expected(device, old, "generic"), Some(Answers(&[Xdp, ByDaemon])));
        }
        assert_eq!(expected("vmxnet3", old, "native"), Some(NO_NATIVE));
        assert_eq!(expected("vmxnet3", new, "native"), Some(Answers(&[Xdp])));
        assert_eq!(expected("igb", old, "auto"), Some(Answers(&[Xdp])));
        assert_eq!(expected("veth", old, "auto"), Some(Answers(&[Xdp, ByDaemon])));
        assert_eq!(expected("igb", new, "auto, VLAN"), Some(Answers(&[Tcx])));
        assert_eq!(expected("virtio_net", new, "auto, VLAN"), None);
        assert!(expected("igb", new, "native, legacy-rx").is_some());
    }

    #[test]
    fn counters_agree_on_who_answered() {
        let counts = |xdp, tcx, sockets| Counts { xdp, tcx, sockets };
        let before = counts(5, 6, 7);
        let mut tally = Tally::default();
        let mut add = |now, allowed| tally.add(2, before, now, allowed).is_ok();
        assert!(add(counts(7, 6, 9), &[Xdp]));
        assert!(add(counts(6, 7, 9), &[Xdp, Tcx]));
        assert!(add(counts(5, 6, 11), &[ByDaemon]));
        assert!(!add(counts(5, 6, 11), &[Xdp]), "by another");
        assert!(!add(counts(7, 6, 10), &[Xdp, ByDaemon]), "one counted twice");
        assert!(!add(counts(6, 6, 9), &[Xdp]), "one not counted");
        assert!(!add(counts(7, 6, 8), &[Xdp]), "the daemon was asked besides");
        assert_eq!((tally.asked, tally.xdp, tally.tcx, tally.daemon), (6, 3, 1, 2));
    }

    #[test]
    fn a_release_has_a_version() {
        assert_eq!(version("6.1.0-50-amd64\n"), Some((6, 1)));
        assert_eq!(version("7.2.13+deb14-amd64"), Some((7, 2)));
        assert_eq!(version("none"), None);
    }
}
