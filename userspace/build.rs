//! Embeds the eBPF object that `cargo xtask build` made, so that `sealdns` is one file.
//!
//! The object comes from `SEALDNS_EBPF_OBJECT` (a path, for packagers), else from where
//! `cargo xtask build` puts it. Without one the build goes on, on any stable Rust: everything
//! works but XDP, and the binary says so when it is asked for XDP.
//!
//! What is embedded is the object without its DWARF, which only debuggers read and which is most of it. The file that
//! `cargo xtask build` made keeps it, for `llvm-objdump -S`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::exit,
};

use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// Where `cargo xtask build` leaves the object, below the workspace.
const BUILT: &str = "target/ebpf/bpfel-unknown-none/release/sealdns-xdp";

/// `e_machine` of eBPF in an ELF header.
const EM_BPF: u16 = 247;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_ebpf_object)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SEALDNS_EBPF_OBJECT");

    let Some(object) = find_object() else {
        println!(
            "cargo::warning=no eBPF object: this sealdns will not answer from XDP; \
             `cargo xtask setup` and `cargo xtask build` make one"
        );
        return;
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let bytes = fs::read(&object).unwrap_or_else(|error| fail(&object, &error.to_string()));
    let machine = bytes.get(18..20).map(|two| u16::from_le_bytes([two[0], two[1]]));
    if !bytes.starts_with(b"\x7fELF") || machine != Some(EM_BPF) {
        fail(&object, "not a little-endian eBPF object");
    }
    let bytes = without_debug_sections(&bytes)
        .unwrap_or_else(|error| fail(&object, &format!("its sections cannot be read: {error}")));
    let copy = variable("OUT_DIR").join("ebpf-object");
    fs::write(&copy, bytes).unwrap_or_else(|error| fail(&copy, &error.to_string()));
    println!("cargo::rustc-cfg=has_ebpf_object");
}

/// The object without DWARF and without relocations of BTF, which only linkers apply. What the kernel is told stays:
/// programs, maps, their symbols, BTF with its lines of source.
fn without_debug_sections(object: &[u8]) -> Result<Vec<u8>, object::build::Error> {
    let mut builder = Builder::read(object)?;
    let mut has_section_names = false;
    for section in &mut builder.sections {
        let is_left_out = |start: &&[u8]| section.name.as_slice().starts_with(start);
        section.delete = LEFT_OUT.iter().any(is_left_out);
        has_section_names |= matches!(section.data, SectionData::SectionString);
    }
    // LLVM has one table for the names of sections and symbols; the builder writes two.
    if !has_section_names {
        let names = builder.sections.add();
        names.name = b".shstrtab"[..].into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut out = Vec::new();
    builder.write(&mut out)?;
    Ok(out)
}

/// How the names of those sections begin that are not embedded.
const LEFT_OUT: [&[u8]; 3] = [b".debug_", b".rel.debug_", b".rel.BTF"];

/// The object to embed, if there is one.
fn find_object() -> Option<PathBuf> {
    if let Some(given) = env::var_os("SEALDNS_EBPF_OBJECT").filter(|path| !path.is_empty()) {
        return Some(given.into());
    }
    let workspace = variable("CARGO_MANIFEST_DIR").parent()?.to_owned();
    let built = workspace.join(BUILT);
    if built.is_file() {
        return Some(built);
    }
    // Cargo takes a watched file that is missing for one that changed, and would build this crate
    // anew each time; so the directory is watched in which the object is going to appear.
    let directory = workspace.join("target/ebpf");
    if fs::create_dir_all(&directory).is_ok() {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
    None
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name).map(PathBuf::from).unwrap_or_else(|| {
        eprintln!("cargo did not set {name}");
        exit(1)
    })
}

fn fail(path: &Path, reason: &str) -> ! {
    println!("cargo::error={}: {reason}", path.display());
    exit(1)
}
