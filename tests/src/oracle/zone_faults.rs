//! `zone check` beside `named-checkzone` and `kzonecheck`: zones of one fault each (`tests/zones/faults`), named by it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sealdns::check::Severity;
use sealdns::daemon::prepare;
use sealdns::zone::text::{self, Options};

use super::zone_text::{apex, files};

/// Seconds since 1970: none of these zones is signed.
const NOW: u32 = 1_800_000_000;

/// What another checker says of a file.
struct Verdict {
    tool: &'static str,
    /// It takes the zone.
    takes: bool,
    /// What it complains of, if it does.
    said: String,
}

fn verdicts(path: &Path) -> Result<[Verdict; 2]> {
    let run = |tool: &'static str, arguments: &[&str]| -> Result<Verdict> {
        let output = Command::new(tool)
            .current_dir(path.parent().context("a folder")?)
            .args(arguments)
            .arg(path)
            .output()
            .with_context(|| format!("cannot run {tool}"))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let complains =
            |line: &&str| !line.is_empty() && *line != "OK" && !line.contains("loaded serial");
        let said = said.lines().filter(complains).collect::<Vec<_>>().join("\n");
        Ok(Verdict { tool, takes: output.status.success(), said })
    };
    Ok([run("named-checkzone", &["example"])?, run("kzonecheck", &["-o", "example"])?])
}

/// Each zone has the findings that its first line names (`; expect [LINE:COLUMN] SEVERITY CODE, …`) and no others; what
/// another checker refuses is an error here, and what one complains of is found.
pub fn zones_of_one_fault_are_judged_as_by_others() -> Result<()> {
    let mut complaints = String::new();
    for (name, path) in files("faults")? {
        let text = std::fs::read_to_string(&path)?;
        let first = text.lines().next().and_then(|line| line.strip_prefix("; expect"));
        let expected = first.with_context(|| name.clone())?.trim();
        let report = prepare::check(&path, &apex(), NOW);
        let found = report.findings.iter().map(|finding| {
            let place = match finding.place.line {
                0 => String::new(),
                line => format!("{line}:{} ", finding.place.column),
            };
            format!("{place}{} {}", finding.severity.word(), finding.code)
        });
        let found = found.collect::<Vec<_>>().join(", ");
        if found != expected {
            writeln!(complaints, "{name}: expected {expected}\n  found {found}")?;
        }
        for Verdict { tool, takes, said } in verdicts(&path)? {
            let has_error = report.findings.iter().any(|one| one.severity == Severity::Error);
            if !takes && !has_error {
                writeln!(complaints, "{name}: {tool} refuses it: {said}")?;
            }
            if !said.is_empty() && report.findings.is_empty() {
                writeln!(complaints, "{name}: {tool} says: {said}")?;
            }
        }
    }
    ensure!(complaints.is_empty(), "{complaints}");
    Ok(())
}

/// Of files that are no zones the first error is the one that the daemon would give, and reading goes on behind it.
pub fn all_faults_of_a_text_are_found() -> Result<()> {
    let mut complaints = String::new();
    for (name, path) in files("broken")? {
        let read = text::read(&path, &apex(), Options::default());
        let checked = text::check_file(&path, &apex(), Options::default(), 100);
        let first = checked.faults.first();
        if read.as_ref().err() != first || checked.zone.is_some() {
            writeln!(complaints, "{name}: {:?}\n  but {first:?}", read.err())?;
        }
    }
    // The same fault in each of many lines, up to the bound.
    let line = "www A 192.0.2.300\n";
    let text = format!("$TTL 60\n@ SOA a. b. 1 2 3 4 5\n@ NS a.\n{}", line.repeat(250));
    for most in [1, 2, 99, 250, 251, 1000] {
        let mut none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let read =
            text::check(text.clone().into(), "zone", &apex(), Options::default(), most, &mut none);
        let lines: Vec<usize> = read.faults.iter().map(|fault| fault.place.line).collect();
        let expected: Vec<usize> = (4..254).take(most).collect();
        ensure!(lines == expected, "at most {most}: {lines:?}");
        ensure!(read.has_more == (most <= 250), "at most {most}");
    }
    ensure!(complaints.is_empty(), "{complaints}");
    Ok(())
}
