//! Who compiles for bpfel-unknown-none on this machine.
//!
//! Two ways are known. Debian's `rustc-web` with `libstd-rust-web-dev-bpf` brings a compiled `core`
//! for the target and needs neither a nightly compiler nor the standard library's sources. Elsewhere
//! a rustup nightly with rust-src builds `core` itself. Either way bpf-linker must read the bitcode
//! of that compiler, so both must come from the same major version of LLVM.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use testbed::{net::find_program, shell};

/// The target: eBPF, little endian, as all machines are that sealdns runs on.
pub const TARGET: &str = "bpfel-unknown-none";

/// The bpf-linker that is built where none fits.
pub const BPF_LINKER: &str = "0.13.0";

/// A way to compile for [`TARGET`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compiler {
    /// A compiler whose sysroot holds `core` for the target.
    Precompiled {
        /// The compiler.
        rustc: PathBuf,
    },
    /// A rustup toolchain with rust-src, which builds `core`.
    BuildStd {
        /// The toolchain's name, as `cargo +name` takes it.
        toolchain: String,
    },
}

impl Compiler {
    /// Finds a compiler, the one without unstable flags first.
    pub fn find() -> Option<Self> {
        let plain = env::var_os("RUSTC").map(PathBuf::from);
        let candidates = [plain, find_program("rustc"), Some("/usr/bin/rustc".into())];
        for rustc in candidates.into_iter().flatten() {
            let Some(sysroot) = shell::output(Command::new(&rustc).args(["--print", "sysroot"]))
            else {
                continue;
            };
            if Path::new(&sysroot).join("lib/rustlib").join(TARGET).join("lib").is_dir() {
                return Some(Self::Precompiled { rustc });
            }
        }
        let list = shell::output(Command::new("rustup").args(["toolchain", "list"]))?;
        list.lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| name.starts_with("nightly"))
            .find(|name| {
                shell::output(
                    Command::new("rustup")
                        .args(["run", name, "rustc"])
                        .args(["--print", "sysroot"]),
                )
                .is_some_and(|sysroot| {
                    Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir()
                })
            })
            .map(|name| Self::BuildStd { toolchain: name.to_owned() })
    }

    /// `rustc` of this compiler.
    fn rustc(&self) -> Command {
        match self {
            Self::Precompiled { rustc } => Command::new(rustc),
            Self::BuildStd { toolchain } => {
                let mut command = Command::new("rustup");
                command.args(["run", toolchain, "rustc"]);
                command
            }
        }
    }

    /// `cargo` with this compiler, in the directory of the eBPF crate.
    pub fn cargo(&self) -> Command {
        let mut command = match self {
            Self::Precompiled { rustc } => {
                let mut command = shell::cargo();
                // The kernel's target is unstable to rustc, and so are some features of the crate.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                command
            }
            Self::BuildStd { toolchain } => {
                let mut command = Command::new("rustup");
                command.args(["run", toolchain, "cargo"]);
                // Set by rustup and cargo around this program, for the toolchain of this program.
                command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC").env_remove("CARGO");
                command
            }
        };
        command.current_dir(shell::root().join("xdp-ebpf"));
        command
    }

    /// `cargo clippy` with this compiler: clippy must be of the very version of the compiler.
    pub fn clippy(&self) -> Option<Command> {
        let mut command = match self {
            Self::Precompiled { rustc } => {
                let clippy = rustc.parent()?.join("cargo-clippy");
                if !clippy.is_file() {
                    return None;
                }
                let mut command = Command::new(clippy);
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                command
            }
            Self::BuildStd { .. } => self.cargo(),
        };
        command.current_dir(shell::root().join("xdp-ebpf")).arg("clippy");
        Some(command)
    }

    /// What cargo is told besides, for this compiler.
    pub fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Precompiled { .. } => &[],
            Self::BuildStd { .. } => &["-Z", "build-std=core"],
        }
    }

    /// The major version of the compiler's LLVM.
    pub fn llvm(&self) -> Option<u32> {
        let version = shell::output(self.rustc().arg("-vV"))?;
        let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
        llvm.split('.').next()?.parse().ok()
    }

    /// Who this is, for the reader.
    pub fn describe(&self) -> String {
        let version = shell::output(self.rustc().arg("-V")).unwrap_or_default();
        match self {
            Self::Precompiled { rustc } => format!("{version} at {}", rustc.display()),
            Self::BuildStd { toolchain } => format!("{version} ({toolchain}, -Z build-std)"),
        }
    }
}

/// Where tools are installed that no package brings: below `target`, so that nothing of the user's
/// is replaced.
pub fn tools() -> PathBuf {
    shell::target().join("tools")
}

/// A bpf-linker that reads this compiler's bitcode.
pub fn find_bpf_linker(compiler: &Compiler) -> Option<PathBuf> {
    let own = tools().join("bin/bpf-linker");
    let candidates = [Some(own), find_program("bpf-linker")];
    candidates.into_iter().flatten().find(|linker| fits(linker, compiler))
}

fn fits(linker: &Path, compiler: &Compiler) -> bool {
    let Some(version) = shell::output(Command::new(linker).arg("--version")) else {
        return false;
    };
    // "bpf-linker 0.13.0"; from 0.10 on it takes --cpu-features and writes BTF as the loader wants it.
    let minor = version.split(['.', ' ']).nth(2).and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < 10) {
        return false;
    }
    // Linked against one LLVM, it reads that version's bitcode. Otherwise it is of the kind that
    // looks for the compiler's own LLVM when it starts.
    let libraries = shell::output(Command::new("ldd").arg(linker)).unwrap_or_default();
    let Some(llvm) = libraries.split_whitespace().find(|word| word.starts_with("libLLVM")) else {
        return true;
    };
    let major = llvm.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
    major.and_then(|major| major.parse::<u32>().ok()) == compiler.llvm()
}
