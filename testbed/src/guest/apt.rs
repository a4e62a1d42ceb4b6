//! Packages of another suite of Debian, downloaded and unpacked below `target/`, never installed.
//!
//! Each folder has package lists and an (empty) list of installed packages of its own, so that this machine's
//! packages never see those of another release: apt downloads here, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::shell;

/// After so long a suite is asked for newer packages.
const FRESH: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Written into a folder once all is there.
const DONE: &str = "done";

/// The keys that sign Debian's suites (package debian-archive-keyring). That of bookworm has trixie's, too.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The folder into which packages of a suite are unpacked, once `choose` has said which. What was fetched before
/// serves for a week, and without a network for longer.
pub fn fetch(
    suite: &str,
    folder: &Path,
    choose: impl FnOnce(&Apt) -> Result<Vec<String>>,
) -> Result<PathBuf> {
    let (done, root) = (folder.join(DONE), folder.join("root"));
    let age =
        fs::metadata(&done).and_then(|it| it.modified()).ok().and_then(|at| at.elapsed().ok());
    if age.is_some_and(|age| age <= FRESH) {
        return Ok(root);
    }
    let fetched = Apt::new(suite, folder)
        .and_then(|apt| apt.unpack(&choose(&apt)?, &root))
        .and_then(|()| Ok(fs::write(&done, "")?));
    match fetched {
        Err(error) if age.is_some() => {
            eprintln!("note: what was fetched from {suite} before may be old: {error:#}");
        }
        fetched => fetched.with_context(|| format!("packages of {suite}"))?,
    }
    Ok(root)
}

/// apt with a configuration of its own.
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Makes the configuration, and asks the mirror what the suite has.
    fn new(suite: &str, folder: &Path) -> Result<Apt> {
        let mirror = mirror()?;
        for below in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(folder.join(below))?;
        }
        // Debian's own keys where they are a file; else those that apt trusts.
        let signed =
            if Path::new(KEYS).exists() { format!("[signed-by={KEYS}] ") } else { String::new() };
        fs::write(folder.join("sources.list"), format!("deb {signed}{mirror} {suite} main\n"))?;
        fs::write(folder.join("status"), "")?;
        let path = |below: &str| folder.join(below).display().to_string();
        let config = format!(
            "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"-\";\nDir::State::lists \"{}\";\n\
             Dir::State::status \"{}\";\nDir::Cache \"{}\";\nDir::Log \"{}\";\n\
             APT::Sandbox::User \"root\";\nAPT::Install-Recommends \"false\";\n",
            path("sources.list"),
            path("lists"),
            path("status"),
            path("cache"),
            path("log"),
        );
        fs::write(folder.join("apt.conf"), config)?;
        let apt = Apt { folder: folder.to_owned() };
        shell::output_of(apt.command("apt-get").args(["-q", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command.current_dir(self.folder.join("packages"));
        command
    }

    /// What `apt-cache show` says of a package.
    pub fn shown(&self, package: &str) -> Result<String> {
        shell::output_of(self.command("apt-cache").args(["show", package]))
    }

    /// A package with all that it depends on, as if nothing were installed.
    pub fn with_dependencies(&self, package: &str) -> Result<Vec<String>> {
        let planned = shell::output_of(self.command("apt-get").args(["-s", "install", package]))?;
        Ok(to_install(&planned))
    }

    /// Downloads packages, and unpacks them into a folder, which is emptied.
    fn unpack(&self, packages: &[String], root: &Path) -> Result<()> {
        let downloaded = self.folder.join("packages");
        for folder in [root, &downloaded] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir_all(folder)?;
        }
        shell::output_of(self.command("apt-get").args(["-q", "download"]).args(packages))?;
        for package in fs::read_dir(&downloaded)? {
            shell::output_of(Command::new("dpkg").arg("-x").arg(package?.path()).arg(root))?;
        }
        // Only what is unpacked is read again.
        let _ = fs::remove_dir_all(&downloaded);
        Ok(())
    }
}

/// Where this machine's own packages of Debian come from.
fn mirror() -> Result<String> {
    let targets = shell::output_of(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL)|$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    let debian = targets.lines().find_map(|line| line.strip_prefix("Debian|"));
    let mirror = debian.context(
        "apt knows no mirror of Debian here: `apt-get update`, or add one to its sources",
    )?;
    Ok(mirror.to_owned())
}

/// The packages that `apt-get -s install` says it would install.
fn to_install(planned: &str) -> Vec<String> {
    let lines = planned.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_installed_is_read_from_a_simulation() {
        let planned = "Reading package lists...\nInst libc6 (2.41-12 Debian:13/stable [amd64])\n\
                       Inst qemu-system-x86 (1:10.0 Debian:13/stable [amd64])\nConf libc6 (2.41-12)\n";
        assert_eq!(to_install(planned), ["libc6", "qemu-system-x86"]);
    }
}
