//! `cargo xtask setup`: installs what building and testing need.
//!
//! On Debian 12 everything comes from Debian and from crates.io. On another system the compiler for
//! the kernel is looked for (a rustup nightly with rust-src), what cargo can install is installed,
//! and the rest is named. Nothing is touched that is there already: when nothing is missing, no
//! package list is fetched and nothing is built.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use testbed::{net::find_program, shell};

use crate::compiler::{self, BPF_LINKER, Compiler};

/// The cargo-deny that `ci` runs: the newest, and it still compiles with the oldest Rust we support.
const CARGO_DENY: &str = "0.20.2";

/// What the tools are for; each purpose includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, clap::ValueEnum)]
pub enum Purpose {
    /// The eBPF object and the binary
    Build,
    /// The demo
    Demo,
    /// The tests and the measurements
    Test,
    /// Other kernels in virtual machines
    Matrix,
    /// All that CI runs
    #[default]
    Ci,
}

/// Arguments of `setup`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// What the tools are for; each purpose includes those before it
    #[arg(long = "for", value_enum, default_value_t)]
    purpose: Purpose,
}

/// How to see that a package need not be installed, since another has installed what it brings.
enum Proof {
    /// A program of this name is in `PATH`.
    Program(&'static str),
    /// This file exists.
    File(&'static str),
}

/// A Debian package, what it is good for, and how to see that it is there.
struct Package {
    name: &'static str,
    purpose: Purpose,
    why: &'static str,
    proof: Proof,
    /// The services that it would enable and start.
    services: &'static [&'static str],
}

const fn package(
    name: &'static str,
    purpose: Purpose,
    why: &'static str,
    proof: Proof,
    services: &'static [&'static str],
) -> Package {
    Package { name, purpose, why, proof, services }
}

use Proof::{File, Program};
use Purpose::{Build, Ci, Demo, Matrix, Test};

/// The compiler for the kernel, where rustup does not bring one.
const COMPILER: [Package; 5] = [
    package("rustc-web", Build, "compiler with LLVM 22", Program("/usr/bin/rustc"), &[]),
    package(
        "libstd-rust-web-dev-bpf",
        Build,
        "core for bpfel-unknown-none",
        File("/usr/lib/rustlib/bpfel-unknown-none/lib"),
        &[],
    ),
    package(
        "llvm-22-dev",
        Build,
        "bpf-linker links it",
        File("/usr/lib/llvm-22/bin/llvm-config"),
        &[],
    ),
    package(
        "libpolly-22-dev",
        Build,
        "LLVM asks for it",
        File("/usr/lib/llvm-22/lib/libPolly.a"),
        &[],
    ),
    package(
        "rust-web-clippy",
        Ci,
        "lints of the program for the kernel",
        File("/usr/bin/clippy-driver"),
        &[],
    ),
];

const PACKAGES: [Package; 23] = [
    package("build-essential", Build, "linker, and the C in `ring`", Program("c++"), &[]),
    package("zlib1g-dev", Build, "bpf-linker links it", File("/usr/include/zlib.h"), &[]),
    package("iproute2", Demo, "network namespaces", Program("ip"), &[]),
    package("ethtool", Demo, "features of devices", Program("ethtool"), &[]),
    package("tcpdump", Test, "a look at frames", Program("tcpdump"), &[]),
    package("bpftool", Test, "a look at programs and maps", Program("bpftool"), &[]),
    package("bind9-dnsutils", Demo, "dig and delv", Program("delv"), &[]),
    package("bind9-utils", Test, "dnssec-verify, named-compilezone", Program("dnssec-verify"), &[]),
    package("bind9", Test, "named, a peer", Program("named"), &["named"]),
    package("knot", Test, "knotd, the peer answers are compared with", Program("knotd"), &["knot"]),
    package("knot-dnsutils", Test, "kdig, kxdpgun", Program("kdig"), &[]),
    package("knot-dnssecutils", Test, "kzonecheck, kzonesign", Program("kzonecheck"), &[]),
    package("nsd", Test, "a peer", Program("nsd"), &["nsd"]),
    package(
        "unbound",
        Demo,
        "validating resolver",
        Program("unbound"),
        &["unbound", "unbound-resolvconf"],
    ),
    package("ldnsutils", Test, "ldns-verify-zone", Program("ldns-verify-zone"), &[]),
    package("strace", Test, "ends a program at a system call", Program("strace"), &[]),
    package("faketime", Test, "another time for a program", Program("faketime"), &[]),
    package("dnsviz", Test, "validation, told in detail", Program("dnsviz"), &[]),
    package(
        "python3-dnspython",
        Test,
        "an independent reader of zones and messages",
        File("/usr/lib/python3/dist-packages/dns/__init__.py"),
        &[],
    ),
    package("qemu-system-x86", Matrix, "virtual machines", Program("qemu-system-x86_64"), &[]),
    package("busybox-static", Matrix, "the shell inside of them", Program("busybox"), &[]),
    package("cpio", Matrix, "what they boot into", Program("cpio"), &[]),
    package("xz-utils", Matrix, "modules of their kernels", Program("xz"), &[]),
];

impl Package {
    fn is_there(&self) -> bool {
        match self.proof {
            Program(name) if name.starts_with('/') => Path::new(name).exists(),
            Program(name) => find_program(name).is_some(),
            File(path) => Path::new(path).exists(),
        }
    }
}

/// Something that is missing, and what puts it there.
enum Missing {
    Packages(Vec<&'static Package>),
    BpfLinker,
    CargoDeny,
    Bpffs,
}

/// Runs the task.
pub fn run(arguments: &Arguments) -> Result<()> {
    let missing = look(arguments.purpose)?;
    if arguments.dry_run {
        for what in &missing {
            eprintln!("would {}", what.announce());
        }
        if missing.is_empty() {
            eprintln!("would do nothing: all is there");
        }
        return Ok(());
    }
    install(&missing, arguments.purpose)?;
    if let Some(compiler) = Compiler::find() {
        eprintln!("compiler for the kernel: {}", compiler.describe());
        if let Some(linker) = compiler::find_bpf_linker(&compiler) {
            eprintln!("linker for the kernel: {}", linker.display());
        }
    }
    eprintln!("setup: all is there");
    Ok(())
}

/// Installs what is missing for a purpose, without a word where nothing is.
pub fn ensure(purpose: Purpose) -> Result<()> {
    install(&look(purpose)?, purpose)
}

/// What is missing. Fails where it cannot be installed by this program, and says what to do.
fn look(purpose: Purpose) -> Result<Vec<Missing>> {
    let compiler = Compiler::find();
    let debian = is_debian_12();
    let mut packages: Vec<&Package> = Vec::new();
    if debian && !matches!(compiler, Some(Compiler::BuildStd { .. })) {
        // With a fitting linker at hand, what that linker was built from may be gone.
        let linker = compiler.as_ref().and_then(compiler::find_bpf_linker).is_some();
        packages.extend(COMPILER.iter().filter(|package| !linker || package.purpose > Build));
    }
    packages.extend(&PACKAGES);
    packages.retain(|package| package.purpose <= purpose && !package.is_there());

    if !debian {
        refuse_elsewhere(compiler.as_ref(), &packages)?;
    }
    let mut missing = Vec::new();
    if !packages.is_empty() {
        missing.push(Missing::Packages(packages));
    }
    if compiler.is_none_or(|compiler| compiler::find_bpf_linker(&compiler).is_none()) {
        missing.push(Missing::BpfLinker);
    }
    if purpose >= Ci && find_cargo_deny().is_none() {
        missing.push(Missing::CargoDeny);
    }
    if purpose >= Demo && shell::is_root() && !is_bpffs_mounted() {
        missing.push(Missing::Bpffs);
    }
    Ok(missing)
}

/// On a system whose packages this program does not know, says what is missing.
fn refuse_elsewhere(compiler: Option<&Compiler>, packages: &[&Package]) -> Result<()> {
    let mut advice = String::new();
    if compiler.is_none() {
        advice.push_str(
            "\n  a compiler for bpfel-unknown-none: \
             rustup toolchain install nightly --component rust-src",
        );
    }
    for package in packages {
        let what = match package.proof {
            Program(name) => name,
            File(path) => path,
        };
        advice.push_str(&format!("\n  {what}: {} (Debian calls it {})", package.why, package.name));
    }
    if !advice.is_empty() {
        bail!("this is not Debian 12, so these are yours to install, then run this again:{advice}");
    }
    Ok(())
}

impl Missing {
    /// What is going to be done, after "would".
    fn announce(&self) -> String {
        match self {
            Self::Packages(packages) => {
                let mut text = String::from("install Debian packages:");
                for package in packages {
                    text.push_str(&format!("\n    {:24} {}", package.name, package.why));
                }
                let services = services_of(packages);
                if !services.is_empty() {
                    text.push_str(&format!(
                        "\n    and neither start nor enable the services that they bring: {}",
                        services.join(", ")
                    ));
                }
                text
            }
            Self::BpfLinker => format!(
                "build bpf-linker {BPF_LINKER} into {} (one to three minutes)",
                compiler::tools().display()
            ),
            Self::CargoDeny => format!(
                "build cargo-deny {CARGO_DENY} into {} (some minutes)",
                compiler::tools().display()
            ),
            Self::Bpffs => "mount the BPF file system at /sys/fs/bpf".into(),
        }
    }
}

fn install(missing: &[Missing], purpose: Purpose) -> Result<()> {
    let count = missing.len();
    for (done, what) in missing.iter().enumerate() {
        let announcement = what.announce();
        let (first, details) = announcement.split_once('\n').unwrap_or((&announcement, ""));
        if !details.is_empty() {
            eprintln!("{details}");
        }
        let title = format!("setup {}/{count}: {}", done + 1, first.trim_end_matches(':'));
        shell::step(&title, || match what {
            Missing::Packages(packages) => install_packages(packages),
            Missing::BpfLinker => install_bpf_linker(),
            Missing::CargoDeny => install_cargo_deny(),
            Missing::Bpffs => {
                shell::run(Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]))
            }
        })?;
    }
    if count > 0 && !look(purpose)?.is_empty() {
        bail!("something is still missing after setup; `cargo xtask setup --dry-run` says what");
    }
    Ok(())
}

fn is_debian_12() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let has = |wanted: &str| release.lines().any(|line| line.replace('"', "") == wanted);
    has("ID=debian") && has("VERSION_ID=12")
}

// --- Debian packages ------------------------------------------------------------------------------

fn install_packages(packages: &[&Package]) -> Result<()> {
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    if !shell::is_root() {
        bail!(
            "installing packages needs root: run `apt-get install {}` as root, or this task as root",
            names.join(" ")
        );
    }
    let services = services_of(packages);
    let _policy = NoServices::declare(&services)?;
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y"]);
        command
    };
    shell::run(apt().arg("update"))?;
    let installed = shell::run(apt().args(["install", "--no-install-recommends"]).args(&names));
    // Not started now, they are enabled all the same, and would take port 53 after the next boot: also where systemd
    // does not run while this does, as in an image that is booted later. Services of packages that were there before
    // are left alone.
    let disabled = disable(&services);
    installed.and(disabled)
}

/// The services that packages would enable and start.
fn services_of(packages: &[&Package]) -> Vec<&'static str> {
    packages.iter().flat_map(|package| package.services).copied().collect()
}

/// Keeps services from being started at the next boot.
fn disable(services: &[&str]) -> Result<()> {
    for service in services {
        let unit = format!("/lib/systemd/system/{service}.service");
        // Not there if the package could not be installed.
        if find_program("systemctl").is_some() && Path::new(&unit).exists() {
            shell::run(Command::new("systemctl").args(["disable", "--quiet", service]))?;
        } else if Path::new("/etc/init.d").join(service).exists() {
            shell::run(Command::new("update-rc.d").args([service, "disable"]))?;
        }
    }
    Ok(())
}

/// Where Debian's packages ask whether they may start a service (invoke-rc.d).
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Its answer that they may not.
const FORBIDDEN: i32 = 101;

/// While this lives, Debian's packages start no service.
struct NoServices {
    /// What to remove at the end; nothing if the machine has a policy already.
    ours: Option<PathBuf>,
}

impl NoServices {
    fn declare(services: &[&str]) -> Result<Self> {
        let path = Path::new(POLICY);
        if path.exists() {
            return Self::ask(services).map(|()| Self { ours: None });
        }
        let text = format!(
            "#!/bin/sh\n# While `cargo xtask setup` installs packages.\nexit {FORBIDDEN}\n"
        );
        fs::write(path, text)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("{POLICY} could not be written"))?;
        Ok(Self { ours: Some(path.into()) })
    }

    /// Fails if the policy that the machine has lets one of the services start.
    fn ask(services: &[&str]) -> Result<()> {
        for service in services {
            let status = Command::new(POLICY)
                .args([service, "start"])
                .status()
                .with_context(|| format!("{POLICY} did not start"))?;
            if status.code() != Some(FORBIDDEN) {
                bail!(
                    "{POLICY} of this machine lets packages start the service {service} when they are installed, \
                     which would take port 53: install the packages yourself, then run this again"
                );
            }
        }
        Ok(())
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.ours
            && let Err(error) = fs::remove_file(path)
        {
            eprintln!("warning: remove {} yourself: {error}", path.display());
        }
    }
}

// --- Tools from crates.io -------------------------------------------------------------------------

/// `cargo install` into [`compiler::tools`].
fn cargo_install(cargo: &mut Command, name: &str, version: &str, more: &[String]) -> Result<()> {
    let tools = compiler::tools();
    let build = tools.join("build");
    let result = shell::run(
        cargo
            .args(["install", name, "--version", version, "--locked", "--root"])
            .arg(&tools)
            .arg("--target-dir")
            .arg(&build)
            .args(more),
    );
    // Half a gigabyte that is not going to be looked at again.
    let _ = fs::remove_dir_all(build);
    result
}

fn install_bpf_linker() -> Result<()> {
    let compiler = Compiler::find().context("no compiler for bpfel-unknown-none was found")?;
    let (mut cargo, features) = match &compiler {
        Compiler::Precompiled { .. } => {
            let llvm = compiler.llvm().context("the compiler does not tell its LLVM's version")?;
            let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
            if !prefix.join("bin/llvm-config").exists() {
                bail!(
                    "{} is missing: install llvm-{llvm}-dev and libpolly-{llvm}-dev",
                    prefix.display()
                );
            }
            let mut path = prefix.join("bin").into_os_string();
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap_or_default());
            let mut cargo = shell::cargo();
            // Without the prefix, the build finds another LLVM's library if there is one.
            cargo.env("LLVM_PREFIX", prefix).env("PATH", path);
            (cargo, vec!["--no-default-features".to_owned(), format!("--features=llvm-{llvm}")])
        }
        // By default it loads the LLVM that the compiler itself brings.
        Compiler::BuildStd { .. } => (compiler.cargo(), Vec::new()),
    };
    cargo_install(&mut cargo, "bpf-linker", BPF_LINKER, &features)
}

fn install_cargo_deny() -> Result<()> {
    // Not optimised: it reads one lock file, and compiling it is what takes the time.
    cargo_install(&mut shell::cargo(), "cargo-deny", CARGO_DENY, &["--debug".to_owned()])
}

fn is_bpffs_mounted() -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf"))
}

/// Where cargo-deny is.
pub fn find_cargo_deny() -> Option<PathBuf> {
    let own = compiler::tools().join("bin/cargo-deny");
    if own.is_file() { Some(own) } else { find_program("cargo-deny") }
}
