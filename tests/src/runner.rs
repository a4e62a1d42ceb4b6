//! Runs a list of named tests by `libtest-mimic`: one after the other, since they share the machine's network and its
//! processors. When all are run, those of [`BESIDE`] are run meanwhile by another process. What could not run is counted, and is a failure where nothing may be skipped (`SEALDNS_NO_SKIP=1`); so
//! is a filter that no test's name contains.

use std::{
    env,
    fs::{self, File},
    io::{self, Seek as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Child, Command, ExitCode},
    sync::{Arc, Mutex},
    time::Instant,
};

use anyhow::{Result, ensure};
use clap::Parser;
use libtest_mimic::{Arguments, Completion, FormatSetting, Trial};
use tests::harness::{Test, Verdict};

/// With another value than 0: no test may be skipped.
const NO_SKIP: &str = "SEALDNS_NO_SKIP";

/// With another value than 0: other test binaries are given the same filters, and somebody else has seen that each
/// finds a test in one of them.
const SHARED_FILTERS: &str = "SEALDNS_SHARED_FILTERS";

/// The start of the names of tests that use nothing of the machine but ports of the loopback device that nobody else
/// has, and count nothing of it: they ask servers, and mostly wait for them.
const BESIDE: &[&str] = &[
    "oracle::",
    "secondary::follows",
    "secondary::faults",
    "secondary::tls",
    "updates::",
    "catalogs::",
];

/// The user and the group of a process that may do nothing.
const NOBODY: u32 = 65534;

/// What libtest takes, and more than one filter, which it takes too.
#[derive(Parser, Debug)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
    /// Tests whose names contain this are run, too.
    #[arg(value_name = "FILTER")]
    more: Vec<String>,
}

impl CommandLine {
    /// The filters, and the rest.
    fn split(self) -> (Vec<String>, Arguments) {
        let Self { mut arguments, more } = self;
        // Whatever is asked for: tests count what the machine does while they run.
        arguments.test_threads = Some(1);
        (arguments.filter.take().into_iter().chain(more).collect(), arguments)
    }
}

/// Whether a filter takes a test; without `exact` a part of its name will do.
fn takes(filter: &str, name: &str, exact: bool) -> bool {
    if exact { name == filter } else { name.contains(filter) }
}

/// The filters that take no test.
fn idle<'a>(filters: &'a [String], tests: &[Test], exact: bool) -> Vec<&'a str> {
    let is_idle = |filter: &&String| !tests.iter().any(|test| takes(filter, test.name, exact));
    filters.iter().filter(is_idle).map(String::as_str).collect()
}

/// Tests that were skipped, each with the reason.
type Skipped = Arc<Mutex<Vec<(&'static str, String)>>>;

/// A test as libtest-mimic runs it. If `is_timed`, its time stands in its line.
fn trial(test: Test, is_timed: bool, skipped: Skipped) -> Trial {
    Trial::ignorable_test(test.name, move || {
        let start = Instant::now();
        let result = (test.run)();
        if is_timed {
            print!("({:.2} s) ", start.elapsed().as_secs_f64());
        }
        match result {
            Ok(Verdict::Passed) => Ok(Completion::Completed),
            Ok(Verdict::Skipped(reason)) => {
                skipped.lock().map_err(|_| "no lock")?.push((test.name, reason.clone()));
                Ok(Completion::ignored_with(reason))
            }
            Err(error) => Err(format!("{error:#}").into()),
        }
    })
}

fn is_set(variable: &str) -> bool {
    env::var(variable).is_ok_and(|value| value != "0")
}

/// Runs the tests that the command line selects, one after the other.
pub fn main(tests: &[Test]) -> ExitCode {
    let (filters, arguments) = CommandLine::parse().split();
    let idle = idle(&filters, tests, arguments.exact);
    if !idle.is_empty() && !is_set(SHARED_FILTERS) {
        eprintln!("error: no test has a name with {idle:?}; `--list` prints all names");
        return ExitCode::FAILURE;
    }
    let is_wanted = |test: &&Test| {
        filters.is_empty() || filters.iter().any(|filter| takes(filter, test.name, arguments.exact))
    };
    let is_pretty = arguments.format.is_none_or(|format| format == FormatSetting::Pretty);
    let is_timed = is_pretty && !arguments.quiet && arguments.logfile.is_none();
    let is_all = filters.is_empty() && !arguments.list && arguments.skip.is_empty();
    let beside = match is_all.then(Beside::start).transpose() {
        Ok(beside) => beside,
        Err(error) => {
            eprintln!("error: another process for some of the tests: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let is_here = |test: &&Test| beside.is_none() || !is_beside(test.name);
    let skipped = Skipped::default();
    let wanted = tests.iter().filter(is_wanted).filter(is_here);
    let trials = wanted.map(|test| trial(*test, is_timed, Arc::clone(&skipped))).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let skipped = skipped.lock().map(|skipped| skipped.clone()).unwrap_or_default();
    for (name, reason) in &skipped {
        println!("SKIPPED: {name}: {reason}");
    }
    let has_failed_beside = beside.is_some_and(|beside| {
        beside.end().inspect_err(|error| println!("the tests beside: {error:#}")).is_err()
    });
    if !skipped.is_empty() && is_set(NO_SKIP) {
        println!("{} tests were skipped, and {NO_SKIP} says that none may be", skipped.len());
        return ExitCode::FAILURE;
    }
    if has_failed_beside { ExitCode::FAILURE } else { conclusion.exit_code() }
}

/// Whether a test of this name is one of [`BESIDE`].
fn is_beside(name: &str) -> bool {
    BESIDE.iter().any(|start| name.starts_with(start))
}

/// The tests of [`BESIDE`], run by another process at the same time. What it says is told when it has ended.
struct Beside {
    process: Child,
    said: File,
}

impl Beside {
    fn start() -> Result<Beside> {
        let said = tempfile::tempfile()?;
        let mut command = Command::new(env::current_exe()?);
        command.args(BESIDE).stdout(said.try_clone()?).stderr(said.try_clone()?);
        Ok(Beside { process: command.spawn()?, said })
    }

    /// Waits for it.
    ///
    /// # Errors
    /// If a test failed.
    fn end(mut self) -> Result<()> {
        println!("\nrun beside the others ({}):", BESIDE.join(", "));
        let status = self.process.wait()?;
        self.said.rewind()?;
        io::copy(&mut self.said, &mut io::stdout())?;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

//----------- Tests ----------------------------------------------------------------------------------

/// This program with other arguments, listing only, and what it says; it must succeed or fail as `succeeds` has it.
fn listed(arguments: &[&str], shared: &str, succeeds: bool) -> Result<String> {
    let mut command = Command::new(env::current_exe()?);
    let output = command.args(arguments).arg("--list").env(SHARED_FILTERS, shared).output()?;
    ensure!(output.status.success() == succeeds, "{arguments:?}: {output:?}");
    let said = if succeeds { output.stdout } else { output.stderr };
    Ok(String::from_utf8(said)?)
}

/// Filters are parts of names, and each must be in one: alone, or over all test binaries that are given it.
pub fn each_filter_finds_a_test() -> Result<()> {
    let all = listed(&[], "0", true)?;
    let kernel = listed(&["kernel::"], "0", true)?;
    let both = listed(&["kernel::", "--nocapture", "--color", "never", "runner::"], "0", true)?;
    let [all, kernel, both] = [all, kernel, both].map(|said| said.lines().count());
    ensure!(kernel > 0 && both == kernel + 2 && both < all, "{kernel}, {both} of {all}");
    let exact = "runner::each_filter_finds_a_test";
    ensure!(listed(&["--exact", exact], "0", true)?.trim() == format!("{exact}: test"));
    for filters in [&["no::such"][..], &["kernel::", "no::such"], &["--exact", "kernel::"]] {
        let said = listed(filters, "0", false)?;
        ensure!(said.contains(filters[filters.len() - 1]), "{said}");
    }
    ensure!(listed(&["no::such"], "1", true)?.is_empty());
    ensure!(listed(&["no::such", "kernel::"], "1", true)?.lines().count() == kernel);
    Ok(())
}

/// Who is not root cannot load programs: the test is named with the reason, and it is a failure where none may be
/// skipped.
pub fn what_is_skipped_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let program = folder.path().join("all");
    fs::copy(env::current_exe()?, &program)?;
    for no_skip in ["0", "1"] {
        let mut command = Command::new(&program);
        command.arg("kernel::programs::the_object_loads").env(NO_SKIP, no_skip);
        command.current_dir("/");
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output()?;
        let said = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() == (no_skip == "0"), "{said}");
        let line = "SKIPPED: kernel::programs::the_object_loads: needs root";
        ensure!(said.lines().any(|said| said == line), "{said}");
        ensure!(said.contains("0 failed; 1 ignored"), "{said}");
    }
    Ok(())
}
