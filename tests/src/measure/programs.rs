//! The programs of `xdp-ebpf/src/bench.rs`, and what they are told.

use std::{fs, net::Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use aya::{Ebpf, EbpfLoader, maps::Array, programs::Xdp};
use testbed::frames::{ETHERNET_LEN, Frame};
use xdp_common::lab::{MAX_FRAME, MAX_TEMPLATES, Template, control, template};

use crate::prog_test_run;

/// Where the checksum of the IPv4 header stands in a frame without tags.
const HEADER_CHECKSUM_AT: usize = ETHERNET_LEN + 10;

/// Names that are asked for at random: they differ in eight hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Where in the message the digits stand, in octets.
    pub digits_at: usize,
    /// The digits are a number below this one.
    pub count: u32,
}

/// Loads some of the programs.
pub fn load(names: &[&str]) -> Result<Ebpf> {
    let path = prog_test_run::lab().with_file_name("bench");
    let object = fs::read(&path)
        .with_context(|| format!("{}: `cargo xtask build` makes it", path.display()))?;
    let mut ebpf = EbpfLoader::new().load(&object)?;
    for name in names {
        xdp(&mut ebpf, name)?.load().with_context(|| format!("program {name} does not load"))?;
    }
    Ok(ebpf)
}

/// A program by its name.
pub fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("no program {name:?}"))?;
    Ok(program.try_into()?)
}

/// Tells the programs what to do: words by their places in [`control`].
pub fn tell(ebpf: &mut Ebpf, words: &[(usize, u64)]) -> Result<()> {
    let mut all = [0; control::WORDS];
    for &(place, word) in words {
        all[place] = word;
    }
    let map = ebpf.map_mut("CONTROL").context("no map CONTROL")?;
    Ok(Array::<_, [u64; control::WORDS]>::try_from(map)?.set(0, all, 0)?)
}

/// Tells the programs what to ask: one of these queries at random each time.
pub fn ask(ebpf: &mut Ebpf, templates: &[Template]) -> Result<()> {
    ensure!(templates.len() <= MAX_TEMPLATES, "{} are too many templates", templates.len());
    let map = ebpf.map_mut("TEMPLATES").context("no map TEMPLATES")?;
    let mut map = Array::<_, Template>::try_from(map)?;
    for (index, words) in (0..).zip(templates) {
        map.set(index, words, 0)?;
    }
    Ok(())
}

/// A query over IPv4 or IPv6 as the programs write it.
pub fn template_of(frame: &Frame, names: Option<Names>) -> Result<Template> {
    template_from(frame, names, 0)
}

/// The same; over IPv4 it may come from any of `sources` netblocks, or with 0 from its own address.
pub fn template_from(frame: &Frame, names: Option<Names>, sources: u32) -> Result<Template> {
    let octets = frame.encode()?;
    ensure!(octets.len() <= MAX_FRAME, "the query is too long for a template");
    let mut words: Template = [0; _];
    for (word, eight) in words.iter_mut().zip(octets.chunks(8)) {
        let mut padded = [0; 8];
        padded[..eight.len()].copy_from_slice(eight);
        *word = u64::from_le_bytes(padded);
    }
    words[template::LEN] = octets.len() as u64;
    let message_at = octets.len() - frame.payload.len();
    // The same frame with zero where something changes, and its checksums undone.
    let mut without = frame.clone();
    if let Some(names) = names {
        words[template::DIGITS_AT] = (message_at + names.digits_at) as u64;
        words[template::NAMES] = u64::from(names.count);
        without.payload[names.digits_at..][..8].fill(0);
    }
    if sources != 0 {
        ensure!(frame.source.is_ipv4(), "many netblocks are IPv4's");
        words[template::SOURCES] = u64::from(sources);
        without.source.set_ip(Ipv4Addr::UNSPECIFIED.into());
    }
    let encoded = without.encode()?;
    let undone = |at: usize| u64::from(!u16::from_le_bytes([encoded[at], encoded[at + 1]]));
    words[template::CHECKSUM_AT] = (message_at - 2) as u64;
    words[template::SUM] = undone(message_at - 2);
    words[template::HEADER_SUM] = undone(HEADER_CHECKSUM_AT);
    Ok(words)
}
