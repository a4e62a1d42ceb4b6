//! Runs a list of named tests and says how each ended; what could not run is counted, and is a
//! failure where nothing may be skipped (`SEALDNS_NO_SKIP=1`).

use std::{
    any::Any,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Result, anyhow};

/// How a test ended that did not fail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// What it asserts holds.
    Passed,
    /// It could not be run, for this reason.
    Skipped(String),
}

/// Where nothing can keep a test from running.
impl From<()> for Verdict {
    fn from((): ()) -> Self {
        Self::Passed
    }
}

/// A test: it fails by an error or a panic.
pub struct Test {
    /// Its name: the path of what is run.
    pub name: &'static str,
    /// What is run.
    pub run: fn() -> Result<Verdict>,
}

/// What the command line of `cargo test` asks for.
#[derive(PartialEq, Eq, Debug, Default)]
struct Selection {
    /// Run tests whose names contain one of these; all if there is none.
    wanted: Vec<String>,
    unwanted: Vec<String>,
    exact: bool,
    list: bool,
}

impl Selection {
    /// Reads the arguments that libtest knows; those about its own output are ignored.
    fn parse(arguments: impl IntoIterator<Item = String>) -> Self {
        let mut selection = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => selection.exact = true,
                "--list" => selection.list = true,
                "--skip" => selection.unwanted.extend(arguments.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => {
                    arguments.next();
                }
                _ if argument.starts_with('-') => {}
                _ => selection.wanted.push(argument),
            }
        }
        selection
    }

    fn takes(&self, name: &str) -> bool {
        let matches =
            |word: &String| if self.exact { name == word } else { name.contains(word.as_str()) };
        (self.wanted.is_empty() || self.wanted.iter().any(matches))
            && !self.unwanted.iter().any(matches)
    }
}

/// Runs the tests that the command line selects, one after the other: they share the machine's
/// network and its processors.
pub fn main(tests: &[Test]) -> ExitCode {
    let selection = Selection::parse(env::args().skip(1));
    let selected: Vec<&Test> = tests.iter().filter(|test| selection.takes(test.name)).collect();
    if selection.list {
        for test in &selected {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    let no_skip = env::var("SEALDNS_NO_SKIP").is_ok_and(|value| value != "0");
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    for test in &selected {
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(test.run))
            .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", message(&*panic))));
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(Verdict::Passed) => {
                println!("test {} ... ok ({seconds:.2} s)", test.name);
                passed += 1;
            }
            Ok(Verdict::Skipped(reason)) => {
                println!("test {} ... SKIPPED: {reason}", test.name);
                skipped += 1;
            }
            Err(error) => {
                println!("test {} ... FAILED ({seconds:.2} s): {error:#}", test.name);
                failed.push(test.name);
            }
        }
    }
    for name in &failed {
        println!("failed: {name}");
    }
    if skipped > 0 && no_skip {
        println!("tests were skipped, and SEALDNS_NO_SKIP says that none may be");
    }
    println!("{passed} passed, {} failed, {skipped} skipped", failed.len());
    if failed.is_empty() && !(skipped > 0 && no_skip) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Selection {
        Selection::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn cargos_flags_are_not_filters() {
        let selection = parse("--nocapture --test-threads 1 --color always -q wire --skip ipv6");
        assert!(selection.takes("wire::ipv4"));
        assert!(!selection.takes("wire::ipv6"));
        assert!(!selection.takes("kernel::ipv4"));
    }

    #[test]
    fn exact_takes_whole_names() {
        assert!(!parse("wire --exact").takes("wire::ipv4"));
        assert!(parse("wire::ipv4 --exact").takes("wire::ipv4"));
        assert!(parse("").takes("anything"));
    }
}
