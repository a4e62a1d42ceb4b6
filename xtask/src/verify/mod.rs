//! `cargo xtask verify`: what the kernel's verifier makes of every program of the object.
//!
//! The verifier walks all paths through a program; how much it had to walk decides whether the
//! program loads at all (one million instructions) and how long loading takes. That grows silently
//! with innocent changes, so the figures of each kernel are committed (`xdp-ebpf/budget.json`) and
//! compared.

pub mod budget;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{Program, ProgramError},
};
use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use serde_json::{Value, json};
use testbed::shell;

use crate::{build, setup};

/// Arguments of `verify`.
#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Fail if a figure exceeds what is committed to for this kernel by more than 10 %; on a kernel of which nothing
    /// is committed, if a program takes more than 800,000 of the million instructions
    #[arg(long)]
    pub budget: bool,
    /// Commit to the figures seen now, for this kernel
    #[arg(long)]
    pub write_budget: bool,
    /// Verify this object instead of building one
    #[arg(long, value_name = "FILE")]
    pub object: Option<PathBuf>,
    /// Build the object without the programs that trace as well, and fail if any other program has not the same
    /// instructions in both
    #[arg(long, conflicts_with = "object")]
    pub untraced: bool,
    /// Of a program that is refused, show so many of the last lines of the verifier's log
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    pub log_lines: usize,
}

/// What it took to verify and load one program.
struct Figures {
    kind: &'static str,
    /// Instructions the verifier processed, over all paths.
    processed: u64,
    /// States it kept for comparison, in all and at most at one time.
    total_states: u64,
    peak_states: u64,
    /// Of the verifier alone, in microseconds.
    verification_us: u64,
    /// Octets of machine code.
    jited_bytes: u64,
    /// The kernel's hash of its instructions, without the addresses of maps.
    tag: u64,
    /// The whole system call.
    load: Duration,
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> Result<()> {
    if !shell::is_root() {
        bail!("loading programs needs root (CAP_BPF and CAP_NET_ADMIN): run this as root");
    }
    let path = match &arguments.object {
        Some(path) => path.clone(),
        None => {
            setup::ensure(setup::Purpose::Build)?;
            build::run(&build::Arguments { ebpf_only: true })?;
            build::object_path(build::SERVING)
        }
    };
    let object = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let Verified { figures, refused } = verify(&object)?;
    let json = to_json(&figures, &refused);
    if arguments.json {
        println!("{json:#}");
    } else {
        print_table(&figures);
    }
    if !refused.is_empty() {
        for name in refused.keys().filter(|_| arguments.log_lines > 0) {
            eprintln!("{name}:\n{}", path_to_refusal(name, &object, arguments.log_lines)?);
        }
        let reasons: Vec<String> =
            refused.iter().map(|(name, reason)| format!("  {name}: {reason}")).collect();
        bail!("the kernel refuses {} programs:\n{}", refused.len(), reasons.join("\n"));
    }
    if arguments.untraced {
        compare_untraced(&figures)?;
    }
    if arguments.write_budget {
        budget::write(&json)?;
    }
    if arguments.budget {
        budget::check(&json)?;
    }
    Ok(())
}

/// Fails if a program that does not trace is another one in an object without those that do.
fn compare_untraced(figures: &BTreeMap<String, Figures>) -> Result<()> {
    let path = shell::step("eBPF object without tracing", build::untraced_object)?;
    let object = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let Verified { figures: untraced, refused } = verify(&object)?;
    if let Some((name, reason)) = refused.first_key_value() {
        bail!("the kernel refuses {name} of the object without tracing: {reason}");
    }
    let differs = |(name, program): &(&String, &Figures)| {
        figures.get(*name).is_none_or(|figures| figures.tag != program.tag)
    };
    let others: Vec<&str> =
        untraced.iter().filter(differs).map(|(name, _)| name.as_str()).collect();
    if untraced.len() >= figures.len() || !others.is_empty() {
        bail!(
            "of {} programs of an object without tracing {} have other instructions than in the one with it, which \
             has {}: {}",
            untraced.len(),
            others.len(),
            figures.len(),
            others.join(", ")
        );
    }
    eprintln!(
        "{} programs have the same instructions with and without the {} that trace",
        untraced.len(),
        figures.len() - untraced.len()
    );
    Ok(())
}

/// What the verifier said to every program.
struct Verified {
    /// Of those that it accepts, by their names.
    figures: BTreeMap<String, Figures>,
    /// Of those that it refuses: why.
    refused: BTreeMap<String, String>,
}

/// Has every program verified, also those after one that is refused.
fn verify(object: &[u8]) -> Result<Verified> {
    let mut ebpf = open(object, VerifierLogLevel::STATS)?;
    let (mut all, mut refused) = (BTreeMap::new(), BTreeMap::new());
    for (name, program) in ebpf.programs_mut() {
        let log = match statistics(name, program)? {
            Ok(log) => log,
            Err(reason) => {
                refused.insert(name.to_owned(), reason);
                continue;
            }
        };
        let start = Instant::now();
        load(program)?.with_context(|| format!("program {name} does not load"))?;
        let load = start.elapsed();
        let info = program.info()?;
        let find = |before: &str| {
            number_after(&log, before)
                .with_context(|| format!("the verifier's log lacks {before:?}: {log}"))
        };
        let figures = Figures {
            kind: kind(program),
            processed: find("processed ")?,
            total_states: find("total_states ")?,
            peak_states: find("peak_states ")?,
            verification_us: find("verification time ")?,
            jited_bytes: u64::from(info.size_jitted()),
            tag: info.tag(),
            load,
        };
        all.insert(name.to_owned(), figures);
    }
    if all.is_empty() && refused.is_empty() {
        bail!("the object holds no program");
    }
    Ok(Verified { figures: all, refused })
}

fn open(object: &[u8], level: VerifierLogLevel) -> Result<Ebpf> {
    EbpfLoader::new().verifier_log_level(level).load(object).context("the object does not load")
}

/// Loads a program of a kind that sealdns has.
fn load(program: &mut Program) -> Result<Result<(), ProgramError>> {
    Ok(match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        other => bail!("programs of the type {:?} are not expected", other.prog_type()),
    })
}

fn kind(program: &Program) -> &'static str {
    match program {
        Program::Xdp(_) => "xdp",
        _ => "tcx",
    }
}

/// The verifier's closing lines for a program that it accepts.
///
/// The loader asks for the log only once a load has failed. So it is made to fail behind the
/// verifier: the kernel hands out the program's file descriptor last, and there is none left.
/// Of a program that it refuses, the reason: at the level of statistics the log has nothing else.
fn statistics(name: &str, program: &mut Program) -> Result<std::result::Result<String, String>> {
    match without_descriptors(|| load(program))?? {
        Err(ProgramError::LoadError { io_error, verifier_log })
            if io_error.raw_os_error() == Some(Errno::EMFILE as i32) =>
        {
            Ok(Ok(verifier_log.to_string()))
        }
        Err(ProgramError::LoadError { io_error, verifier_log }) => {
            let log = verifier_log.to_string();
            let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
            Ok(Err(format!("{} ({io_error})", lines.join("; "))))
        }
        Err(error) => Err(error).context(format!("program {name} does not load")),
        Ok(()) => bail!("program {name} was given a file descriptor although none was left"),
    }
}

/// Runs `work` while this process can open no further file.
fn without_descriptors<T>(work: impl FnOnce() -> T) -> Result<T> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Descriptors are given out from the lowest: as many as are below the one that would be next.
    let probe = fs::File::open("/dev/null")?;
    let next = std::os::fd::AsRawFd::as_raw_fd(&probe);
    drop(probe);
    setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(next)?, hard)?;
    let result = work();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    Ok(result)
}

/// The last lines of the whole log of a program that the verifier refuses: the path to the reason.
fn path_to_refusal(name: &str, object: &[u8], lines: usize) -> Result<String> {
    let mut ebpf = open(object, VerifierLogLevel::VERBOSE | VerifierLogLevel::STATS)?;
    let program = ebpf.program_mut(name).context("the program was there before")?;
    let Err(ProgramError::LoadError { verifier_log, .. }) = load(program)? else {
        bail!("program {name} was refused, and then accepted");
    };
    let log = verifier_log.to_string();
    let all: Vec<&str> = log.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

/// The number that follows a phrase.
fn number_after(text: &str, phrase: &str) -> Option<u64> {
    let rest = &text[text.find(phrase)? + phrase.len()..];
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn print_table(figures: &BTreeMap<String, Figures>) {
    println!(
        "{:16} {:>4} {:>12} {:>12} {:>12} {:>12} {:>8} {:>9}",
        "program",
        "type",
        "instructions",
        "states",
        "peak states",
        "verifier ms",
        "JIT B",
        "load ms"
    );
    for (name, program) in figures {
        println!(
            "{name:16} {:>4} {:>12} {:>12} {:>12} {:>12.1} {:>8} {:>9.1}",
            program.kind,
            program.processed,
            program.total_states,
            program.peak_states,
            program.verification_us as f64 / 1e3,
            program.jited_bytes,
            program.load.as_secs_f64() * 1e3,
        );
    }
}

fn to_json(figures: &BTreeMap<String, Figures>, refused: &BTreeMap<String, String>) -> Value {
    let programs: serde_json::Map<String, Value> = figures
        .iter()
        .map(|(name, program)| {
            let value = json!({
                "type": program.kind,
                "instructions_processed": program.processed,
                "total_states": program.total_states,
                "peak_states": program.peak_states,
                "verification_us": program.verification_us,
                "jited_bytes": program.jited_bytes,
                "load_us": program.load.as_micros() as u64,
            });
            (name.clone(), value)
        })
        .collect();
    json!({ "kernel": kernel(), "programs": programs, "refused": refused })
}

/// The running kernel's build: another one verifies differently, also within a minor version.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "verification time 1720 usec\nstack depth 96+0\nprocessed 6307 insns \
                       (limit 1000000) max_states_per_insn 4 total_states 120 peak_states 61 \
                       mark_read 0\n";

    #[test]
    fn reads_the_verifiers_closing_lines() {
        assert_eq!(number_after(LOG, "processed "), Some(6307));
        assert_eq!(number_after(LOG, "total_states "), Some(120));
        assert_eq!(number_after(LOG, "peak_states "), Some(61));
        assert_eq!(number_after(LOG, "verification time "), Some(1720));
        assert_eq!(number_after(LOG, "no such phrase "), None);
    }
}
