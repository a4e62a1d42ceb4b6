//! `cargo xtask fuzz`: the fuzz targets, built with address sanitizer, each run for a while.
//!
//! What cargo-fuzz does, without it and with the stable compiler: the flags are those that it sets,
//! and `RUSTC_BOOTSTRAP` lets stable take the one that is unstable, the sanitizer. The standard
//! library is the prebuilt one, so only our code and our dependencies are watched.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use testbed::shell;

/// Arguments of `fuzz`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Run this target only
    pub target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 20)]
    pub seconds: u32,
}

/// The flags of cargo-fuzz 0.13 for libFuzzer's coverage and the address sanitizer.
const FLAGS: [&str; 10] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "--cfg=fuzzing",
    "-Zsanitizer=address",
    "-Ccodegen-units=1",
    "-Cforce-frame-pointers",
];

/// Builds the targets and runs them.
pub fn run(arguments: &Arguments) -> Result<()> {
    let room = shell::root().join("tests/fuzz");
    let host = host()?;
    let output = shell::target().join("fuzz");
    let mut build = shell::cargo();
    build
        .current_dir(&room)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .env_remove("RUSTFLAGS")
        // With a target named, build scripts and procedural macros are spared the flags.
        .args(["build", "--release", "--locked", "--target", &host, "--target-dir"])
        .arg(&output);
    let targets = match &arguments.target {
        Some(target) => {
            build.args(["--bin", target]);
            vec![target.clone()]
        }
        None => targets(&room.join("fuzz_targets"))?,
    };
    shell::step("fuzz targets, with address sanitizer", || shell::run(&mut build))?;
    for target in &targets {
        shell::step(&format!("fuzz {target} for {} s", arguments.seconds), || {
            let program = output.join(&host).join("release").join(target);
            let (found, corpus) =
                (output.join("corpus").join(target), room.join("corpus").join(target));
            let artifacts = room.join("artifacts").join(target);
            for directory in [&found, &corpus, &artifacts] {
                fs::create_dir_all(directory)?;
            }
            // New inputs go to the first directory, so that a run does not change what is committed.
            shell::run(
                std::process::Command::new(program)
                    .arg(format!("-max_total_time={}", arguments.seconds))
                    .arg(format!("-artifact_prefix={}/", artifacts.display()))
                    .args([
                        "-timeout=10",
                        "-rss_limit_mb=2048",
                        "-print_final_stats=1",
                        "-verbosity=0",
                    ])
                    .args([&found, &corpus]),
            )
            .with_context(|| format!("{target} found something; see {}", artifacts.display()))
        })?;
    }
    Ok(())
}

fn targets(directory: &PathBuf) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    if names.is_empty() {
        bail!("{} holds no fuzz target", directory.display());
    }
    names.sort();
    Ok(names)
}

/// The target triple of this machine, as rustc calls it.
fn host() -> Result<String> {
    let version = shell::output_of(std::process::Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}
