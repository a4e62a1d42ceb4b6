//! `cargo xtask matrix`: the programs on the kernels and the network cards that people have.
//!
//! Debian's kernels are fetched and booted in QEMU. The verifier of each looks at every program of the object, and what it
//! took is compared with the budget of that build; then the daemon serves the demo's zone over veth and over pairs of
//! network cards, and each answer of the programs is compared with the daemon's.

mod cookies;
mod questions;
pub mod round;
mod scene;
mod table;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use testbed::{
    guest::{
        Ended, Guest,
        cards::{CARDS, Card},
        initramfs::Initramfs,
        kernels::{self, Kernel},
        modules,
        qemu::Qemu,
    },
    net::find_program,
    shell,
};

use crate::{build, setup, verify::budget};
use round::VETH;

/// Whose kernels are booted: the oldest that works (6.1), Debian's stable, and the newest.
const SUITES: [&str; 3] = ["bookworm", "trixie", "sid"];

/// What joins two namespaces: all cards, and veth.
const DEVICES: [&str; 5] =
    [VETH, CARDS[0].driver, CARDS[1].driver, CARDS[2].driver, CARDS[3].driver];

/// The guests of the short matrix, which CI runs: each kernel, and one card.
const SHORT: [(&str, &[&str]); 3] =
    [("bookworm", &[VETH]), ("trixie", &[CARDS[0].driver]), ("sid", &[])];

/// What this program, the daemon and the objects are called in a guest.
const PROGRAM: &str = "xtask";
const SEALDNS: &str = "sealdns";
const OBJECT: &str = "/object";
const LAB: &str = "/lab";

/// How long one kernel may take to boot and to verify, and each kind of device: a minute where nothing else runs, each.
const LIMIT: Duration = Duration::from_secs(900);

/// Memory of a guest; less, and the states of the largest program do not fit.
const MEMORY_MIB: u32 = 1024;

/// Arguments of `matrix`.
#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Boot the newest kernel of these suites of Debian only
    #[arg(long, num_args = 1.., value_parser = SUITES)]
    pub kernel: Vec<String>,
    /// Serve over these only: veth, or two network cards with this driver
    #[arg(long, num_args = 1.., value_parser = DEVICES)]
    pub card: Vec<String>,
    /// What CI runs: all verifiers, veth on the oldest kernel, and one card
    #[arg(long, conflicts_with_all = ["kernel", "card"])]
    pub short: bool,
    /// Fail if something cannot be run here
    #[arg(long)]
    pub strict: bool,
    /// Commit to the verifier's figures seen now, for these kernels; serves over what `--card` names only
    #[arg(long)]
    pub write_budget: bool,
}

/// What is found.
#[derive(Default)]
struct Findings {
    /// What each verifier said, as `verify --json` has it.
    verified: Vec<Value>,
    /// What came of each pass: by device and pass, and then by kernel.
    rounds: table::Rounds,
    faults: Vec<String>,
    /// What could not be run here, and why.
    missing: Vec<String>,
}

/// Runs the task. Everything is tried, also after something that fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::Purpose::Build)?;
    build::run(&build::Arguments::default())?;
    let mut findings = Findings::default();
    match setup::ensure(setup::Purpose::Matrix) {
        Ok(()) => boot_all(arguments, &mut findings),
        Err(error) => findings.missing.push(format!("virtual machines: {error:#}")),
    }
    table::print_verified(&findings.verified);
    table::print_rounds(&findings.rounds);
    conclude(findings, arguments.strict)
}

fn conclude(findings: Findings, strict: bool) -> Result<()> {
    let Findings { mut faults, missing, .. } = findings;
    for what in missing {
        if strict {
            faults.push(format!("could not be run: {what}"));
        } else {
            println!("NOT RUN: {what}");
        }
    }
    if !faults.is_empty() {
        bail!("{} faults:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}

/// The suites, and over what devices on the kernel of each.
fn plan(arguments: &Arguments) -> Vec<(String, Vec<String>)> {
    let owned =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).into()).collect() };
    if arguments.short {
        return SHORT.iter().map(|(suite, devices)| ((*suite).into(), owned(devices))).collect();
    }
    let or_all = |chosen: &[String], all: &[&str]| {
        if chosen.is_empty() { owned(all) } else { chosen.to_vec() }
    };
    let devices = or_all(&arguments.card, if arguments.write_budget { &[] } else { &DEVICES });
    let suites = or_all(&arguments.kernel, &SUITES);
    suites.into_iter().map(|suite| (suite, devices.clone())).collect()
}

fn boot_all(arguments: &Arguments, findings: &mut Findings) {
    let mut plan = plan(arguments);
    let qemu = match qemu_for(&mut plan, findings) {
        Ok(qemu) => qemu,
        Err(error) => return findings.missing.push(format!("virtual machines: {error:#}")),
    };
    eprintln!("{}: {}", qemu.place().display(), qemu.version());
    for (suite, devices) in &plan {
        let over: Vec<&str> = devices.iter().map(String::as_str).collect();
        let title = format!("kernel of {suite}: verifier {}", over.join(" "));
        let result = shell::step(title.trim_end(), || {
            let kernel = match kernels::fetch(suite) {
                Ok(kernel) => kernel,
                Err(error) => {
                    findings.missing.push(format!("{error:#}"));
                    return Ok(());
                }
            };
            eprintln!("Linux {}", kernel.release);
            let ended = boot(&qemu, &kernel, &over)?;
            findings.take(&kernel.release, &over, ended, arguments.write_budget);
            Ok(())
        });
        findings.faults.extend(result.err().map(|error| format!("{suite}: {error:#}")));
    }
}

/// A QEMU with all cards; those that no QEMU here has are taken out of the plan.
fn qemu_for(plan: &mut [(String, Vec<String>)], findings: &mut Findings) -> Result<Qemu> {
    let cards = CARDS
        .iter()
        .filter(|card| plan.iter().any(|(_, all)| all.iter().any(|one| one == card.driver)));
    let cards: Vec<Card> = cards.copied().collect();
    let devices: Vec<&str> = cards.iter().map(|card| card.device).collect();
    let newer = match Qemu::with(&devices) {
        Ok(qemu) => return Ok(qemu),
        Err(error) => error,
    };
    let own = Qemu::with(&[])?;
    for card in cards.iter().filter(|card| !own.has(card.device)) {
        findings.missing.push(format!("{}: {newer:#}", card.driver));
        for (_, devices) in &mut *plan {
            devices.retain(|device| device != card.driver);
        }
    }
    Ok(own)
}

/// Boots a kernel with what `verify` and `round` need, and runs both.
fn boot(qemu: &Qemu, kernel: &Kernel, devices: &[&str]) -> Result<Ended> {
    let folder = shell::target().join("matrix/guest");
    let files = Initramfs::new(folder.join("root"))?;
    // By its number: the file may have been replaced since, where another task is built meanwhile.
    files.program(Path::new(&format!("/proc/{}/exe", std::process::id())), PROGRAM)?;
    files.file(OBJECT, &build::object_path(build::SERVING))?;
    let cards: Vec<Card> = devices.iter().filter_map(|device| Card::of(device)).collect();
    let mut script = format!("{PROGRAM} verify --json --object {OBJECT}\n");
    if !devices.is_empty() {
        files.file(LAB, &build::object_path(build::LAB))?;
        files.program(&build::sealdns(), SEALDNS)?;
        for name in ["ip", "ethtool"] {
            let program = find_program(name);
            files.program(&program.with_context(|| format!("{name} is missing"))?, name)?;
        }
        let names: Vec<&str> =
            [VETH, "8021q"].into_iter().chain(cards.iter().flat_map(Card::modules)).collect();
        files.modules(&modules::in_order(&kernel.modules, &names)?)?;
        script += &format!("{PROGRAM} round --binary /bin/{SEALDNS} {}\n", devices.join(" "));
    }
    let pairs: Vec<String> = cards.iter().flat_map(Card::pair).collect();
    let guest = Guest {
        qemu,
        kernel,
        files: &files,
        devices: &pairs,
        script: &script,
        memory_mib: MEMORY_MIB,
        limit: LIMIT * (1 + u32::try_from(devices.len())?),
    };
    let ended = guest.run(&folder);
    let _ = fs::remove_dir_all(folder);
    ended
}

impl Findings {
    /// Takes what a guest said, line by line of JSON, also if it died later.
    fn take(&mut self, release: &str, devices: &[&str], ended: Ended, write_budget: bool) {
        let mut silent: Vec<&str> = devices.to_vec();
        let mut was_verified = false;
        for said in serde_json::Deserializer::from_str(&ended.said).into_iter::<Value>() {
            let Ok(said) = said else { break };
            let Some(device) = said["device"].as_str() else {
                was_verified = true;
                self.faults.extend(faults_of(&said, write_budget));
                self.verified.push(said);
                continue;
            };
            silent.retain(|one| *one != device);
            let pass = said["pass"].as_str().unwrap_or_default();
            eprintln!("{device}, {pass}: {} s", said["came"]["seconds"]);
            let faults = said["came"]["faults"].as_array().into_iter().flatten();
            let faults = faults.map(|fault| fault.as_str().unwrap_or_default());
            self.faults
                .extend(faults.map(|fault| format!("Linux {release}, {device}, {pass}: {fault}")));
            self.rounds.add(device, pass, release, &said["came"]);
        }
        let mut fault = |what: String| self.faults.push(format!("Linux {release}: {what}"));
        match ended.code {
            Ok(0) => {}
            Ok(code) => fault(format!("ended with {code}; its console:\n{}", ended.console)),
            Err(error) => fault(format!("{error:#}; its console:\n{}", ended.console)),
        }
        if !was_verified {
            fault("its verifier said nothing".into());
        }
        if !silent.is_empty() {
            fault(format!("nothing was said of {}", silent.join(", ")));
        }
    }
}

/// What is wrong on a kernel: programs that it refuses, figures over the budget.
fn faults_of(verified: &Value, write_budget: bool) -> Vec<String> {
    let kernel = verified["kernel"].as_str().unwrap_or("unknown");
    let refused = verified["refused"].as_object();
    let mut faults: Vec<String> = refused
        .into_iter()
        .flatten()
        .map(|(name, reason)| {
            format!("Linux {kernel} refuses {name}: {}", reason.as_str().unwrap_or("?"))
        })
        .collect();
    let no_program = verified["programs"].as_object().is_none_or(serde_json::Map::is_empty);
    if no_program && faults.is_empty() {
        faults.push(format!("Linux {kernel} was shown no program"));
    }
    if faults.is_empty() {
        let judged = if write_budget { budget::write(verified) } else { budget::check(verified) };
        faults.extend(judged.err().map(|error| format!("{error:#}")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_refusal_is_a_fault_and_no_program_too() {
        let refused = json!({ "kernel": "6.1", "programs": { "deny": {} },
            "refused": { "serve": "too large", "send": "unbounded" } });
        let faults = faults_of(&refused, false);
        assert_eq!(
            faults,
            ["Linux 6.1 refuses send: unbounded", "Linux 6.1 refuses serve: too large"]
        );
        let nothing = json!({ "kernel": "6.1", "programs": {}, "refused": {} });
        assert_eq!(faults_of(&nothing, false), ["Linux 6.1 was shown no program"]);
    }

    #[test]
    fn what_a_guest_did_not_say_is_a_fault() {
        let take = |said: &str, code| {
            let mut findings = Findings::default();
            let ended = Ended { code, said: said.to_owned(), console: String::new() };
            findings.take("6.1", &["veth", "igb"], ended, false);
            findings.faults
        };
        let igb = "{\"device\": \"igb\", \"pass\": \"native\", \"came\": {\"faults\": [\"lost\"]}}";
        let faults = take(igb, Ok(0));
        let said = ["Linux 6.1, igb, native: lost", "Linux 6.1: its verifier said nothing"];
        assert_eq!(faults[..2], said);
        assert_eq!(faults[2..], ["Linux 6.1: nothing was said of veth"]);
        assert_eq!(take("", Ok(1)).len(), 3);
        assert_eq!(take(&format!("{igb}\n{{\"dev"), Err(anyhow::anyhow!("it died"))).len(), 4);
    }

    #[test]
    fn what_is_missing_fails_only_where_it_must_not_be() {
        let findings = || Findings { missing: vec!["igb".into()], ..Findings::default() };
        assert!(conclude(findings(), false).is_ok());
        assert!(conclude(findings(), true).is_err());
    }

    #[test]
    fn without_arguments_all_is_planned() {
        let all = plan(&Arguments::default());
        assert_eq!(all.len(), SUITES.len());
        assert!(all.iter().all(|(_, devices)| devices == &DEVICES));
        let figures = plan(&Arguments { write_budget: true, ..Arguments::default() });
        assert!(
            figures.len() == SUITES.len() && figures.iter().all(|(_, devices)| devices.is_empty())
        );
        let short = plan(&Arguments { short: true, ..Arguments::default() });
        assert_eq!(short.iter().map(|(_, devices)| devices.len()).sum::<usize>(), 2);
    }
}
