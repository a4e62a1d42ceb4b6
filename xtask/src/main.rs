//! `cargo xtask`: what is done with the project, each as one command.

mod bench;
mod build;
mod ci;
mod compiler;
mod demo;
mod fuzz;
mod imports;
mod matrix;
mod setup;
mod test;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of the project. Each calls those that it needs: on a machine with Rust, one command.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what building and testing need; does nothing where nothing is missing
    Setup(setup::Arguments),
    /// Builds the eBPF object and `sealdns` with the object embedded
    Build(build::Arguments),
    /// Loads every program of the object and prints what the verifier did
    Verify(verify::Arguments),
    /// Boots Debian's kernels in QEMU: each verifies every program, and serves over veth and network cards
    Matrix(matrix::Arguments),
    /// What `matrix` runs in a guest: serves over devices in every mode, and compares all answers
    #[command(hide = true)]
    Round(matrix::round::Arguments),
    /// Serves a signed zone from XDP in two namespaces, and has every answer validated
    Demo(demo::Arguments),
    /// Runs all tests: units, kernel, wire, oracles
    Test(test::Arguments),
    /// Measures what an answer costs
    Bench(bench::Arguments),
    /// Runs what CI runs
    Ci(ci::Arguments),
    /// Builds the fuzz targets with address sanitizer and runs each for a while
    Fuzz(fuzz::Arguments),
    /// Builds, loads, and attaches to an interface until Ctrl-C
    Load(build::LoadArguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup(arguments) => setup::run(&arguments),
        Task::Build(arguments) => build::run(&arguments),
        Task::Verify(arguments) => verify::run(&arguments),
        Task::Matrix(arguments) => matrix::run(&arguments),
        Task::Round(arguments) => matrix::round::run(&arguments),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Ci(arguments) => ci::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Load(arguments) => build::load(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
