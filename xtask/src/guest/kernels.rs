//! Debian's kernels, fetched and unpacked below `target/`, never installed.
//!
//! By meta-package, since exact versions leave the mirror. Each suite has package lists of its own, so that this
//! machine's packages never see those of another release: apt downloads here, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// After so long a suite is asked for a newer kernel.
const FRESH: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The package that depends on a suite's newest kernel.
const META: &str = "linux-image-amd64";

/// Written into a suite's folder once all is there.
const DONE: &str = "done";

/// A kernel that can be booted.
#[derive(Debug)]
pub struct Kernel {
    /// As it says itself, such as `6.1.0-50-amd64`.
    pub release: String,
    /// The compressed kernel.
    pub image: PathBuf,
}

/// The newest kernel of a suite of Debian, such as `bookworm`. Without a network the one that was fetched before
/// serves.
pub fn fetch(suite: &str) -> Result<Kernel> {
    let folder = shell::target().join("matrix").join(suite);
    let done = folder.join(DONE);
    let age =
        fs::metadata(&done).and_then(|it| it.modified()).ok().and_then(|at| at.elapsed().ok());
    if age.is_none_or(|age| age > FRESH) {
        let fetched = download(suite, &folder).and_then(|()| Ok(fs::write(&done, "")?));
        match fetched {
            Err(error) if age.is_some() => {
                eprintln!(
                    "note: the kernel of {suite} was fetched before and may be old: {error:#}"
                );
            }
            fetched => fetched.with_context(|| format!("the kernel of {suite}"))?,
        }
    }
    find(&folder.join("root")).with_context(|| format!("{} has no kernel", folder.display()))
}

fn download(suite: &str, folder: &Path) -> Result<()> {
    let mirror = mirror()?;
    for below in ["lists/partial", "cache/archives/partial", "packages"] {
        fs::create_dir_all(folder.join(below))?;
    }
    // Debian's own keys where they are a file; else those that apt trusts.
    let signed =
        if Path::new(KEYS).exists() { format!("[signed-by={KEYS}] ") } else { String::new() };
    fs::write(folder.join("sources.list"), format!("deb {signed}{mirror} {suite} main\n"))?;
    let path = |below: &str| folder.join(below).display().to_string();
    let config = format!(
        "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"-\";\nDir::State::lists \"{}\";\n\
         Dir::Cache \"{}\";\nAPT::Sandbox::User \"root\";\n",
        path("sources.list"),
        path("lists"),
        path("cache")
    );
    fs::write(folder.join("apt.conf"), config)?;
    let apt = |program: &str| {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", folder.join("apt.conf")).current_dir(folder.join("packages"));
        command
    };
    shell::output_of(apt("apt-get").args(["-q", "update"]))?;
    let kernel = dependencies(&shell::output_of(apt("apt-cache").args(["show", META]))?);
    ensure!(!kernel.is_empty(), "{META} of {suite} depends on no kernel");
    // Some suites have kernel and modules in packages of their own.
    let mut packages = kernel.clone();
    for package in &kernel {
        packages.extend(dependencies(&shell::output_of(apt("apt-cache").args(["show", package]))?));
    }
    packages.retain(|name| !name.starts_with("linux-base"));
    let (root, old) = (folder.join("root"), folder.join("packages"));
    for folder in [&root, &old] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
    }
    shell::output_of(apt("apt-get").args(["-q", "download"]).args(&packages))?;
    for package in fs::read_dir(&old)? {
        shell::output_of(Command::new("dpkg").arg("-x").arg(package?.path()).arg(&root))?;
    }
    Ok(())
}

/// The keys that sign Debian's suites (package debian-archive-keyring). That of bookworm has trixie's, too.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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

/// The packages of kernels that the first paragraph of what `apt-cache show` says depends on.
fn dependencies(shown: &str) -> Vec<String> {
    let line = shown.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
    line.split(',')
        .filter_map(|one| one.split_whitespace().next())
        .filter(|name| name.starts_with("linux-") && *name != "linux-initramfs-tool")
        .map(str::to_owned)
        .collect()
}

/// The kernel below a folder into which its packages were unpacked: in `boot`, or beside its modules.
fn find(root: &Path) -> Option<Kernel> {
    let boot = fs::read_dir(root.join("boot")).into_iter().flatten().flatten();
    let modules = fs::read_dir(root.join("usr/lib/modules")).into_iter().flatten().flatten();
    boot.map(|entry| entry.path())
        .chain(modules.map(|entry| entry.path().join("vmlinuz")))
        .filter(|path| path.is_file())
        .find_map(|image| {
            let name = image.file_name()?.to_str()?;
            let release = match name.strip_prefix("vmlinuz-") {
                Some(release) => release.to_owned(),
                None if name == "vmlinuz" => {
                    image.parent()?.file_name()?.to_string_lossy().into_owned()
                }
                None => return None,
            };
            Some(Kernel { release, image })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_s_packages_are_those_it_depends_on() {
        let shown = "Package: linux-image-amd64\nDepends: linux-base-amd64 (= 7.2.13-1), \
                     linux-image-7.2.13+deb14-amd64 (= 7.2.13-1)\nDepends: linux-image-6.1\n";
        assert_eq!(dependencies(shown), ["linux-base-amd64", "linux-image-7.2.13+deb14-amd64"]);
        let either = "Depends: dracut | linux-initramfs-tool, linux-modules-7.2 (= 1)";
        assert_eq!(dependencies(either), ["linux-modules-7.2"]);
        assert!(dependencies("Package: none").is_empty());
    }
}
