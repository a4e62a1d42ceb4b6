//! A guest: one of Debian's kernels in QEMU, files, devices and a script; what the script said, and how it ended.
//!
//! Without KVM, so that it runs inside of machines too: some ten times slower than the host. A guest has two
//! processors and no network but what its devices say. It ends by itself, or after a limit.

pub mod apt;
pub mod cards;
pub mod initramfs;
pub mod kernels;
pub mod modules;
pub mod qemu;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::net::output_within;
use anyhow::{Context as _, Result, anyhow};

use initramfs::Initramfs;
use kernels::Kernel;
use qemu::Qemu;

/// What is run first: it mounts what a script may want, loads the modules, runs the script, and tells how it ended. The
/// second serial line carries what the script says, unaltered.
const INIT: &str = "#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
$b mount -t tmpfs tmpfs /run
$b mount -t tmpfs tmpfs /tmp
$b mount -t bpf bpf /sys/fs/bpf
for m in /modules/*; do $b insmod $m; done
$b stty -F /dev/ttyS1 raw
$b echo sealdns-guest-started > /dev/ttyS1
export PATH=/bin LD_LIBRARY_PATH=/lib
$b sh /script > /dev/ttyS1 2> /dev/ttyS0
$b poweroff -f
";

/// The first line that a guest says, before its script.
const STARTED: &str = "sealdns-guest-started\n";

/// How often a guest is booted whose kernel dies before anything of ours runs in it.
const BOOTS: usize = 3;

/// In front of the exit code of the script, on the last line that a guest says.
const ENDED: &str = "sealdns-guest-ended ";

/// Something to boot.
pub struct Guest<'a> {
    /// What boots it.
    pub qemu: &'a Qemu,
    /// What boots.
    pub kernel: &'a Kernel,
    /// What is in it, besides the script.
    pub files: &'a Initramfs,
    /// Further arguments of QEMU, such as `-device`.
    pub devices: &'a [String],
    /// What busybox's shell runs. What it writes to standard error is on the console.
    pub script: &'a str,
    /// Octets of memory, in MiB.
    pub memory_mib: u32,
    /// How long it may take in all.
    pub limit: Duration,
}

/// How a guest ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code of the script; an error if the guest died before, or took too long.
    pub code: Result<i32>,
    /// What the script wrote to standard output, as far as it came.
    pub said: String,
    /// The last lines of the console.
    pub console: String,
}

impl Guest<'_> {
    /// Boots it, and waits until it has ended. `folder` takes its console and the rest of what it makes.
    ///
    /// A kernel that dies before its first program runs says something of the emulator and nothing of what is
    /// tested: it is booted again, which is said, a few times at most.
    pub fn run(&self, folder: &Path) -> Result<Ended> {
        for _ in 1..BOOTS {
            let (ended, came_up) = self.boot(folder)?;
            if came_up {
                return Ok(ended);
            }
            eprintln!(
                "Linux {} did not come up, and is booted again; its console:\n{}",
                self.kernel.release, ended.console
            );
        }
        Ok(self.boot(folder)?.0)
    }

    /// Boots it once. The second value is false if its kernel died before its first program ran.
    fn boot(&self, folder: &Path) -> Result<(Ended, bool)> {
        fs::create_dir_all(folder)?;
        self.files.script("init", INIT)?;
        // In a shell of its own, so that `exit` ends no more than the script.
        let script = format!("(\n{}\n)\necho \"\n{ENDED}$?\"\n", self.script);
        self.files.script("script", &script)?;
        let (initramfs, console, said) =
            (folder.join("initramfs"), folder.join("console"), folder.join("said"));
        self.files.pack(&initramfs)?;
        let serial = |path: &PathBuf| format!("file:{}", path.display());
        let mut command = self.qemu.command();
        command.args(["-nodefaults", "-no-reboot", "-display", "none"]);
        // The two processors take turns: side by side, one may execute what the other has patched away, and a kernel,
        // which patches its code while it boots, dies of that now and then.
        command.args(["-machine", "q35", "-accel", "tcg,thread=single"]);
        command.args(["-cpu", "max", "-smp", "2"]);
        command.arg("-m").arg(self.memory_mib.to_string());
        command.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(&initramfs);
        // On a busy host the timer looks dead to the kernel, which then panics at its start: it is not to look.
        command.args(["-append", "console=ttyS0 panic=-1 quiet no_timer_check"]);
        command.args(["-serial", &serial(&console), "-serial", &serial(&said)]);
        command.args(self.devices);
        let output = output_within(&mut command, self.limit);
        let Heard { came_up, said, code } = Heard::of(&lossy(&said));
        let console = end(&lossy(&console));
        let (code, came_up) = match (output, code) {
            // One that hangs is not waited for again.
            (Err(error), _) => (Err(error), true),
            (Ok(output), _) if !output.status.success() => {
                (Err(anyhow!("QEMU: {}", String::from_utf8_lossy(&output.stderr).trim())), true)
            }
            (Ok(_), None) => (Err(anyhow!("it died")), came_up),
            (Ok(_), Some(code)) => (code, true),
        };
        Ok((Ended { code, said, console }, came_up))
    }
}

/// What came over the second serial line.
struct Heard {
    /// Whether the first program was run.
    came_up: bool,
    /// What the script wrote.
    said: String,
    /// Its exit code, if it ended.
    code: Option<Result<i32>>,
}

impl Heard {
    fn of(line: &str) -> Heard {
        let (came_up, said) = match line.strip_prefix(STARTED) {
            Some(said) => (true, said),
            None => (false, line),
        };
        let (said, code) = match said.rsplit_once(ENDED) {
            Some((said, code)) => (said.trim(), Some(code.trim().parse())),
            None => (said, None),
        };
        let code = code.map(|code| code.context("the script has an exit code"));
        Heard { came_up, said: said.to_owned(), code }
    }
}

fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\r', "")
}

/// The last lines of a console.
fn end(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_died_is_told_from_a_script_that_did() {
        for line in ["", "\n", "sealdns-guest-st"] {
            assert!(!Heard::of(line).came_up, "{line:?}");
        }
        let half = Heard::of(&format!("{STARTED}{{\"dev"));
        assert!(half.came_up && half.code.is_none());
        assert_eq!(half.said, "{\"dev");
        let whole = Heard::of(&format!("{STARTED}all\n\n{ENDED}3\n"));
        assert!(whole.came_up);
        assert_eq!((whole.said.as_str(), whole.code.and_then(Result::ok)), ("all", Some(3)));
        assert!(
            Heard::of(&format!("{STARTED}{ENDED}three")).code.is_some_and(|code| code.is_err())
        );
    }
}
