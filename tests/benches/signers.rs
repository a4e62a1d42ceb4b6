//! What a signature costs: signatures per CPU second and peak memory of sealdns and of other signers, for
//! the same zone with the same keys, from file to file, on all cores.
//!
//! `cargo xtask bench sign` calls it and shows the figures; by itself it prints them as JSON.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use sealdns::{
    cli::zone_file,
    clock::WallTime,
    dnssec::keys::{Algorithm, KeyLayout, store::KeyStore},
    zone::{Name, Rtype},
};
use serde_json::{Value, json};
use testbed::net::{self, output_within};
use tests::{
    measure::{self, figures::Figures, zones},
    servers,
};

/// The zone that is signed.
const LABELS: &[&str] = &["signed", "example"];

/// How long one signer may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What this program is called with to run another and say what that took.
const ACCOUNT: &str = "--account";

fn main() -> Result<()> {
    // `cargo test --all-targets` calls it without an argument that `cargo bench` gives.
    let (bench, arguments): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|argument| argument == "--bench");
    if let [flag, program, rest @ ..] = &arguments[..]
        && flag == ACCOUNT
    {
        return account(program, rest);
    }
    if bench.is_empty() && arguments.is_empty() {
        println!("not run: `cargo xtask bench sign` does");
        return Ok(());
    }
    let numbers: Vec<usize> = arguments.iter().map(|one| one.parse()).collect::<Result<_, _>>()?;
    let [names, rounds] = numbers[..] else { bail!("arguments: names of the zone, rounds") };
    println!("{:#}", measured(names, rounds)?);
    Ok(())
}

fn measured(names: usize, rounds: usize) -> Result<Value> {
    let directory = tempfile::tempdir()?;
    let task = Task::new(directory.path(), names)?;
    let signers = [task.sealdns()?, task.ldns()?, task.bind()?, task.knot()?];
    let mut figures: Vec<[Figures; 4]> = vec![Default::default(); signers.len()];
    let mut signatures = vec![0; signers.len()];
    let before = measure::load_average();
    for round in 1..=rounds {
        for (index, signer) in signers.iter().enumerate() {
            eprintln!("round {round} of {rounds}: {}", signer.name);
            let cost = cost(signer)?;
            signatures[index] = task.signatures(&signer.output)?;
            let per_second = signatures[index] as f64 / cost.cpu_seconds;
            let values = [per_second, cost.cpu_seconds, cost.wall_seconds, cost.peak_mib];
            for (figures, value) in figures[index].iter_mut().zip(values) {
                figures.0.push(value);
            }
            fs::remove_file(&signer.output)?;
        }
    }
    let rows =
        signers.iter().zip(&signatures).zip(&figures).map(|((signer, signatures), figures)| {
            let [per_second, cpu, wall, peak] = figures;
            json!({
                "signer": signer.name,
                "signatures": signatures,
                "signatures_per_cpu_second": per_second.json(),
                "cpu_seconds": cpu.json(),
                "wall_seconds": wall.json(),
                "peak_mib": peak.json(),
            })
        });
    Ok(json!({
        "names": names,
        "rounds": rounds,
        "load_average": { "before": before, "after": measure::load_average() },
        "signers": rows.collect::<Vec<_>>(),
    }))
}

//----------- Signers --------------------------------------------------------------------------------

/// A command that signs the zone.
struct Signer {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    output: PathBuf,
}

/// What is to be done: a zone file, and keys in BIND's format.
struct Task<'a> {
    directory: &'a Path,
    apex: Name,
    input: PathBuf,
    keys: PathBuf,
    /// Files of the keys without their endings.
    key_files: Vec<PathBuf>,
}

impl<'a> Task<'a> {
    fn new(directory: &'a Path, names: usize) -> Result<Self> {
        let apex = Name::from_wire(&zones::wire(LABELS)).context("no name")?;
        let input = directory.join("unsigned.zone");
        zone_file::write_zone(&input, &zones::hosts(LABELS, names)?)?;
        let keys = directory.join("keys");
        let store = KeyStore::new(&keys);
        let (made, _) = store.load_or_generate(
            &apex,
            KeyLayout::KskZsk,
            Algorithm::default(),
            WallTime::now().signature_time(),
        )?;
        let key_files = made.iter().map(|key| store.path_of(key)).collect();
        Ok(Self { directory, apex, input, keys, key_files })
    }

    fn signer(&self, name: &'static str, program: PathBuf, arguments: &[&str]) -> Signer {
        let output = self.directory.join(format!("{name}.zone"));
        let shown = output.display().to_string();
        let fill = |argument: &&str| match *argument {
            "ZONE" => self.apex.to_string(),
            "IN" => self.input.display().to_string(),
            "OUT" => shown.clone(),
            "KEYS" => self.keys.display().to_string(),
            other => other.to_owned(),
        };
        Signer { name, program, arguments: arguments.iter().map(fill).collect(), output }
    }

    fn sealdns(&self) -> Result<Signer> {
        let program = servers::sealdns().context("no sealdns: `cargo xtask build`")?;
        let arguments = ["sign", "ZONE", "--in", "IN", "--out", "OUT", "--keys", "KEYS"];
        Ok(self.signer("sealdns", program, &arguments))
    }

    fn ldns(&self) -> Result<Signer> {
        let program = installed("ldns-signzone")?;
        let mut signer = self.signer("ldns-signzone", program, &["-o", "ZONE", "-f", "OUT", "IN"]);
        signer.arguments.extend(self.key_files.iter().map(|file| file.display().to_string()));
        Ok(signer)
    }

    /// BIND's verifies what it has made, unless it is told not to as here: the others do not either.
    fn bind(&self) -> Result<Signer> {
        let directory = self.directory.display().to_string();
        let arguments =
            ["-P", "-S", "-x", "-K", "KEYS", "-d", &directory, "-o", "ZONE", "-f", "OUT", "IN"];
        Ok(self.signer("dnssec-signzone", installed("dnssec-signzone")?, &arguments))
    }

    fn knot(&self) -> Result<Signer> {
        let here = self.directory.join("knot");
        let out = here.join("out");
        fs::create_dir_all(&out)?;
        let (here, threads) = (here.display(), thread::available_parallelism()?);
        let (zone, input) = (self.apex.to_string(), self.input.display());
        let config = format!(
            "server:\n  rundir: {here}\n  background-workers: {threads}\n\
             database:\n  storage: {here}\n\
             policy:\n  - id: manual\n    manual: on\n    algorithm: ecdsap256sha256\n    \
             signing-threads: {threads}\n\
             zone:\n  - domain: {zone}\n    file: {input}\n    dnssec-signing: on\n    \
             dnssec-policy: manual\n    journal-content: none\n"
        );
        let path = self.directory.join("knot.conf");
        fs::write(&path, config)?;
        for file in &self.key_files {
            let mut import = Command::new(installed("keymgr")?);
            import.arg("-c").arg(&path).args([&zone, "import-bind"]);
            import.arg(format!("{}.key", file.display()));
            let output = output_within(&mut import, PATIENCE)?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "keymgr takes no key: {}", said.trim());
        }
        let (config, out_shown) = (path.display().to_string(), out.display().to_string());
        let arguments = ["-c", &config, "-o", &out_shown, "ZONE"];
        let mut signer = self.signer("kzonesign", installed("kzonesign")?, &arguments);
        signer.output = out.join(self.input.file_name().context("no file name")?);
        Ok(signer)
    }

    /// How many signatures a zone file holds.
    fn signatures(&self, output: &Path) -> Result<usize> {
        let zone = zone_file::read_zone(output, Some(&self.apex))?;
        let signatures = |owner: sealdns::zone::Owner<'_>| {
            owner.rrset(Rtype::RRSIG).map_or(0, |rrset| rrset.len())
        };
        Ok(zone.owners().map(signatures).sum())
    }
}

fn installed(name: &str) -> Result<PathBuf> {
    net::find_program(name).with_context(|| format!("no {name}: `cargo xtask setup`"))
}

//----------- Costs ----------------------------------------------------------------------------------

/// What a command took.
struct Cost {
    /// User and system, of all its threads.
    cpu_seconds: f64,
    wall_seconds: f64,
    /// Resident at most.
    peak_mib: f64,
}

/// Runs a signer through another process of this program: the kernel tells what *all* children took, so
/// each needs a parent of its own.
fn cost(signer: &Signer) -> Result<Cost> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(ACCOUNT).arg(&signer.program).args(&signer.arguments);
    let output = output_within(&mut command, PATIENCE)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", signer.name, said.trim());
    let account: Value = serde_json::from_slice(&output.stdout)?;
    let number = |field: &str| account[field].as_f64().context("no number");
    Ok(Cost {
        cpu_seconds: number("cpu_seconds")?,
        wall_seconds: number("wall_seconds")?,
        peak_mib: number("peak_mib")?,
    })
}

fn account(program: &str, arguments: &[String]) -> Result<()> {
    let start = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{program}: {status}");
    let wall_seconds = start.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time() + usage.system_time();
    let account = json!({
        "cpu_seconds": cpu.num_microseconds() as f64 / 1e6,
        "wall_seconds": wall_seconds,
        "peak_mib": usage.max_rss() as f64 / 1024.0,
    });
    println!("{account}");
    Ok(())
}
