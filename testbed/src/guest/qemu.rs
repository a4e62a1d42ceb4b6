//! QEMU: this machine's, or a newer one where this machine's lacks a device.
//!
//! The newer one is of another suite, with the libraries that it was linked against, and is run from where it was
//! unpacked by its own dynamic linker. Nothing of it is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::net::find_program;
use anyhow::{Context as _, Result, ensure};

use super::apt;
use crate::shell;

/// The suite that has a newer QEMU.
const SUITE: &str = "trixie";

/// The program, and the package that it is of.
const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// A QEMU that can be run.
#[derive(Debug)]
pub struct Qemu {
    program: PathBuf,
    /// Where it was unpacked, if it is not this machine's.
    unpacked: Option<PathBuf>,
}

impl Qemu {
    /// One that has all these devices, by the names of `-device`.
    pub fn with(devices: &[&str]) -> Result<Qemu> {
        let program = find_program(PROGRAM).context("QEMU is missing: `cargo xtask setup`")?;
        let own = Qemu { program, unpacked: None };
        let Some(lacked) = devices.iter().find(|device| !own.has(device)) else { return Ok(own) };
        let newer = Qemu::fetch().with_context(|| {
            format!("this machine's QEMU has no {lacked}, and there is no other")
        })?;
        for device in devices {
            ensure!(newer.has(device), "QEMU of {SUITE} has no {device} either");
        }
        Ok(newer)
    }

    /// The one of another suite.
    fn fetch() -> Result<Qemu> {
        let folder = shell::target().join("matrix/qemu");
        let root = apt::fetch(SUITE, &folder, |apt| apt.with_dependencies(PACKAGE))?;
        let newer = Qemu { program: root.join("usr/bin").join(PROGRAM), unpacked: Some(root) };
        newer.place_linker()?;
        Ok(newer)
    }

    /// Puts the dynamic linker beside the program: QEMU takes the folder of what was executed for its own, and looks
    /// for its parts from there.
    fn place_linker(&self) -> Result<()> {
        let Some(root) = &self.unpacked else { return Ok(()) };
        let to = self.program.with_file_name(LINKER);
        // One that runs cannot be written over.
        if !to.exists() {
            let from = ["usr/lib64", "lib64"].map(|folder| root.join(folder).join(LINKER));
            let from = from.iter().find(|file| file.is_file()).context("it has no linker")?;
            fs::copy(from, to)?;
        }
        Ok(())
    }

    /// The command that runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new("nice");
        let Some(root) = &self.unpacked else {
            command.arg(&self.program);
            return command;
        };
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        // Else it loads parts of this machine's QEMU.
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        command.arg(self.program.with_file_name(LINKER)).arg("--library-path").arg(libraries);
        command.arg(&self.program);
        for data in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            command.arg("-L").arg(root.join(data));
        }
        command
    }

    /// Whether it has a device. It exits with success where it has none of this name, too.
    pub fn has(&self, device: &str) -> bool {
        let mut command = self.command();
        command.args(["-device", &format!("{device},help")]);
        shell::output(&mut command)
            .is_some_and(|said| said.starts_with(&format!("{device} options")))
    }

    /// What it says of its version.
    pub fn version(&self) -> String {
        let said = shell::output(self.command().arg("--version")).unwrap_or_default();
        said.lines().next().unwrap_or_default().to_owned()
    }

    /// Where it lies.
    pub fn place(&self) -> &Path {
        &self.program
    }
}

/// The dynamic linker of x86-64.
const LINKER: &str = "ld-linux-x86-64.so.2";
