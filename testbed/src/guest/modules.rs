//! Modules of a kernel, in the order in which they are loaded: each behind those that it depends on.
//!
//! Each module says itself what it depends on (the section `.modinfo`), so that `depmod` need not have been run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

/// A module, not compressed.
pub struct Module {
    /// Its name, with `_` between words.
    pub name: String,
    /// The object.
    pub octets: Vec<u8>,
}

/// These modules and what they depend on, from the folder of a kernel. A name that there is no file of is left out: it
/// is built into the kernel.
pub fn in_order(folder: &Path, names: &[&str]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    ensure!(!files.is_empty(), "{} has no modules", folder.display());
    let mut modules = Vec::new();
    for name in names {
        add(name, &files, &mut modules)?;
    }
    Ok(modules)
}

/// All modules below a folder, by name.
fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let (kind, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if kind?.is_dir() {
            find(&path, files)?;
        } else if let Some((name, "" | ".xz" | ".zst" | ".gz")) = name.split_once(".ko") {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, modules: &mut Vec<Module>) -> Result<()> {
    let name = name.replace('-', "_");
    let Some(file) = files.get(&name).filter(|_| modules.iter().all(|one| one.name != name)) else {
        return Ok(());
    };
    let octets = read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    for needed in dependencies(&octets) {
        add(&needed, files, modules)?;
    }
    modules.push(Module { name, octets });
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => return Ok(fs::read(file)?),
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => bail!("it is compressed in an unknown way"),
    };
    let output = Command::new(program)
        .arg("-dc")
        .arg(file)
        .output()
        .with_context(|| format!("{program} did not start"))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(output.stdout)
}

/// What a module says that it depends on.
fn dependencies(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let found = module.windows(FIELD.len()).position(|octets| octets == FIELD);
    let rest = found.map_or(&[][..], |at| &module[at + FIELD.len()..]);
    let value = rest.split(|octet| *octet == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_depends_on() {
        let module = b"\x7fELF\0license=GPL\0depends=i2c-algo-bit,dca\0retpoline=Y\0";
        assert_eq!(dependencies(module), ["i2c-algo-bit", "dca"]);
        assert!(dependencies(b"\0license=GPL\0depends=\0").is_empty());
        assert!(dependencies(b"no module").is_empty());
    }

    #[test]
    fn what_is_depended_on_comes_first_and_once() {
        let folder = std::env::temp_dir().join(format!("sealdns-modules-{}", std::process::id()));
        fs::create_dir_all(folder.join("kernel/net")).expect("a folder");
        let write = |path: &str, depends: &str| {
            let text = format!("\0depends={depends}\0");
            fs::write(folder.join("kernel").join(path), text).expect("a file");
        };
        write("net/card.ko", "fail-over,bus");
        write("net/fail-over.ko", "bus");
        write("bus.ko", "");
        write("other.ko", "");
        let order = in_order(&folder, &["card", "built_in", "bus"]).expect("modules");
        let names: Vec<&str> = order.iter().map(|module| module.name.as_str()).collect();
        let _ = fs::remove_dir_all(&folder);
        assert_eq!(names, ["bus", "fail_over", "card"]);
    }
}
