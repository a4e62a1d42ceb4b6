//! Debian's kernels: fetched by meta-package, since exact versions leave the mirror, and never installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::apt::{self, Apt};
use crate::shell;

/// The package that depends on a suite's newest kernel.
const META: &str = "linux-image-amd64";

/// A kernel that can be booted.
#[derive(Debug)]
pub struct Kernel {
    /// As it says itself, such as `6.1.0-50-amd64`.
    pub release: String,
    /// The compressed kernel.
    pub image: PathBuf,
    /// The folder with its modules.
    pub modules: PathBuf,
}

/// The newest kernel of a suite of Debian, such as `bookworm`. Without a network the one that was fetched before
/// serves.
pub fn fetch(suite: &str) -> Result<Kernel> {
    let folder = shell::target().join("matrix").join(suite);
    let root = apt::fetch(suite, &folder, |apt| packages(apt, suite))?;
    find(&root).with_context(|| format!("{} has no kernel", folder.display()))
}

/// The kernel that the meta-package depends on, and its modules: some suites have them in packages of their own.
fn packages(apt: &Apt, suite: &str) -> Result<Vec<String>> {
    let kernel = dependencies(&apt.shown(META)?);
    ensure!(!kernel.is_empty(), "{META} of {suite} depends on no kernel");
    let mut packages = kernel.clone();
    for package in &kernel {
        packages.extend(dependencies(&apt.shown(package)?));
    }
    packages.retain(|name| !name.starts_with("linux-base"));
    Ok(packages)
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
    let folders = ["usr/lib/modules", "lib/modules"].map(|folder| root.join(folder));
    let modules = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    modules.flatten().find_map(|entry| {
        let (release, modules) = (entry.file_name().into_string().ok()?, entry.path());
        let images =
            [root.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
        let image = images.into_iter().find(|image| image.is_file())?;
        Some(Kernel { release, image, modules })
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
