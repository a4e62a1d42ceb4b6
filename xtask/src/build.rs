//! `cargo xtask build` and `cargo xtask load`: the eBPF object, and the binary that embeds it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use testbed::shell;

use crate::{
    compiler::{self, Compiler, TARGET},
    setup,
};

/// Arguments of `build`.
#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Build the eBPF object only
    #[arg(long)]
    pub ebpf_only: bool,
}

/// Arguments of `load`.
#[derive(clap::Args)]
pub struct LoadArguments {
    /// The interface
    interface: String,
    /// How to attach: in the driver, in the kernel's generic hook, the better that works, or to TCX alone
    #[arg(long, value_parser = ["auto", "native", "generic", "tcx"], default_value = "auto")]
    mode: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Builds the eBPF object, then `sealdns` around it.
pub fn run(arguments: &Arguments) -> Result<()> {
    shell::step("eBPF object", object)?;
    if !arguments.ebpf_only {
        shell::step("sealdns", || {
            shell::run(shell::cargo().args(["build", "--release", "--package", "sealdns"]))
        })?;
        eprintln!("built {}", sealdns().display());
    }
    Ok(())
}

/// The binary.
pub fn sealdns() -> PathBuf {
    shell::target().join("release/sealdns")
}

/// The object that is embedded.
pub const SERVING: &str = "sealdns-xdp";
/// The object with programs for tests and measurements.
pub const LAB: &str = "lab";

/// Where an object of the eBPF crate is built.
pub fn object_path(name: &str) -> PathBuf {
    // Not moved by CARGO_TARGET_DIR: userspace/build.rs looks here.
    ebpf_folder().join(TARGET).join("release").join(name)
}

/// The command that builds the eBPF crate into a folder.
fn ebpf_build(folder: &Path) -> Result<Command> {
    let compiler = ebpf_compiler()?;
    let mut command = compiler.cargo();
    command.arg("build");
    add_ebpf_arguments(&mut command, &compiler, folder)?;
    Ok(command)
}

/// Where the eBPF crate is built.
fn ebpf_folder() -> PathBuf {
    shell::root().join("target/ebpf")
}

/// The command that lints the eBPF crate.
pub fn ebpf_clippy() -> Result<Command> {
    let compiler = ebpf_compiler()?;
    let mut command = compiler.clippy().with_context(|| {
        format!("{} has no clippy beside it; run `cargo xtask setup`", compiler.describe())
    })?;
    add_ebpf_arguments(&mut command, &compiler, &ebpf_folder())?;
    Ok(command)
}

fn ebpf_compiler() -> Result<Compiler> {
    Compiler::find().context(
        "no compiler for bpfel-unknown-none was found; run `cargo xtask setup`, which installs one \
         or says what to install",
    )
}

fn add_ebpf_arguments(command: &mut Command, compiler: &Compiler, folder: &Path) -> Result<()> {
    let linker = compiler::find_bpf_linker(compiler).with_context(|| {
        format!(
            "no bpf-linker was found that fits {} (LLVM {}); run `cargo xtask setup`, which builds one",
            compiler.describe(),
            compiler.llvm().map_or_else(|| "unknown".into(), |major| major.to_string()),
        )
    })?;
    // v3 instructions (32-bit jumps, atomics: Linux 5.12) are what the oldest kernel has that works, 6.1. Loads
    // need no alignment in packets and map values on x86-64 and arm64; without saying so, LLVM splits
    // each into single bytes. The paths of this machine stay out of the object.
    let flags = [
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Else the linker has LLVM call functions that fill and copy octet by octet, where two stores do.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        format!("-Clinker={}", linker.display()),
        "-Ctarget-cpu=v3".to_owned(),
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access".to_owned(),
        format!("--remap-path-prefix={}=.", shell::root().display()),
    ];
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTFLAGS")
        .args(["--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(folder)
        .args(compiler.arguments());
    Ok(())
}

/// Builds the object that is embedded, without the programs that trace, beside the other; gives its path.
pub fn untraced_object() -> Result<PathBuf> {
    let folder = shell::root().join("target/ebpf-untraced");
    let mut command = ebpf_build(&folder)?;
    command.args(["--bin", SERVING, "--no-default-features"]);
    shell::run(&mut command).context("the eBPF object without tracing did not build")?;
    Ok(folder.join(TARGET).join("release").join(SERVING))
}

fn object() -> Result<()> {
    let mut command = ebpf_build(&ebpf_folder())?;
    shell::run(&mut command).context(
        "the eBPF object did not build; if a tool is missing or too old, `cargo xtask setup` says which",
    )?;
    let object = object_path(SERVING);
    let size =
        fs::metadata(&object).with_context(|| format!("{} was not made", object.display()))?.len();
    eprintln!("built {} ({size} bytes)", object.display());
    Ok(())
}

/// Builds, and attaches to an interface until Ctrl-C.
pub fn load(arguments: &LoadArguments) -> Result<()> {
    let mut command = Command::new(sealdns());
    command.args(["xdp", "attach", "--foreground", &arguments.interface]);
    command.args(["--mode", &arguments.mode]);
    if !Path::new("/sys/class/net").join(&arguments.interface).exists() {
        bail!("there is no interface {:?}; `ip link` lists those there are", arguments.interface);
    }
    if arguments.dry_run {
        eprintln!("would build {}, and run\n  $ {}", sealdns().display(), shell::shown(&command));
        return Ok(());
    }
    if !shell::is_root() {
        bail!("attaching an XDP program needs root (CAP_BPF and CAP_NET_ADMIN): run this as root");
    }
    setup::ensure(setup::Purpose::Build)?;
    run(&Arguments::default())?;
    // Ctrl-C is for sealdns, which detaches; this program waits until it has.
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))?;
    let result = shell::run(&mut command);
    if interrupted.load(Ordering::Relaxed) { Ok(()) } else { result }
}
