//! What a guest boots into: a folder of files, packed as the kernel wants it (cpio, format `newc`).

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::net::find_program;
use anyhow::{Context as _, Result, ensure};

use super::modules::Module;
use crate::shell;

/// Where shared libraries lie in the guest.
const LIBRARIES: &str = "lib";

/// Files for a guest, collected in a folder.
pub struct Initramfs {
    root: PathBuf,
}

impl Initramfs {
    /// One with busybox and nothing else, made in `root`, which is emptied.
    pub fn new(root: PathBuf) -> Result<Initramfs> {
        let _ = fs::remove_dir_all(&root);
        let mounted = ["proc", "sys", "dev", "tmp", "run"];
        for folder in ["bin", LIBRARIES, "lib64", "modules"].into_iter().chain(mounted) {
            fs::create_dir_all(root.join(folder))?;
        }
        let busybox = find_program("busybox").context("busybox is missing: `cargo xtask setup`")?;
        fs::copy(busybox, root.join("bin/busybox"))?;
        Ok(Initramfs { root })
    }

    /// Puts a file at a path.
    pub fn file(&self, path: &str, from: &Path) -> Result<()> {
        let to = self.root.join(path.trim_start_matches('/'));
        fs::copy(from, &to)
            .with_context(|| format!("{} cannot be copied for a guest", from.display()))?;
        Ok(())
    }

    /// Puts a program into `/bin` by a name, with the libraries that it is linked against.
    pub fn program(&self, from: &Path, name: &str) -> Result<()> {
        self.file(&format!("bin/{name}"), from)?;
        // Most of ours is for debuggers. Where there is no such tool the guest has more to load, and that is all.
        shell::output(
            Command::new("strip").arg("--strip-debug").arg(self.root.join("bin").join(name)),
        );
        let linked = shell::output_of(Command::new("ldd").arg(from))?;
        for word in linked.split_whitespace().filter(|word| word.starts_with('/')) {
            let library = Path::new(word);
            let name = library.file_name().context("a library has a name")?.to_string_lossy();
            // The loader is where programs say that it is; the rest where they are told to look.
            let folder = if word.starts_with("/lib64/") { "lib64" } else { LIBRARIES };
            self.file(&format!("{folder}/{name}"), library)?;
        }
        Ok(())
    }

    /// Puts modules of a kernel where they are loaded from before the script runs, in the order given.
    pub fn modules(&self, modules: &[Module]) -> Result<()> {
        for (place, module) in modules.iter().enumerate() {
            let name = format!("modules/{place:03}-{}.ko", module.name);
            fs::write(self.root.join(name), &module.octets)?;
        }
        Ok(())
    }

    /// Puts a script at a path, to be run.
    pub fn script(&self, path: &str, text: &str) -> Result<()> {
        let to = self.root.join(path.trim_start_matches('/'));
        fs::write(&to, text)?;
        Ok(fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?)
    }

    /// Packs all into a file.
    pub fn pack(&self, to: &Path) -> Result<()> {
        let mut find = Command::new("find")
            .arg(".")
            .current_dir(&self.root)
            .stdout(Stdio::piped())
            .spawn()
            .context("find did not start")?;
        let names = find.stdout.take().context("find has an output")?;
        let packed = Command::new("cpio")
            .args(["--quiet", "-o", "-H", "newc"])
            .current_dir(&self.root)
            .stdin(names)
            .stdout(fs::File::create(to)?)
            .status()
            .context("cpio did not start: `cargo xtask setup`")?;
        ensure!(find.wait()?.success() && packed.success(), "cpio could not pack {}", to.display());
        Ok(())
    }
}
