//! The zones that are asked: made and signed once, and kept.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use sealdns::{
    cli::zone_file,
    clock::WallTime,
    dnssec::{
        keys::{Algorithm, NewKey, Role},
        policy::{Denial, SigningPolicy},
        sign::sign,
    },
    zone::{Name, Rtype, Zone, ZoneBuilder, ZoneWriter},
};

use crate::dns::HEADER_LEN;

/// When the zones are signed and asked, in seconds since 1970: the same in all runs, so that kept
/// signatures do not expire.
pub const NOW: u32 = 1_800_000_000;

/// Addresses of each host: with their signature they make a reply of about 300 octets.
pub const ADDRESSES: u16 = 4;

/// Where in a query for a host its digits stand: behind the header, the label's length and an `h`.
pub const DIGITS_AT: usize = HEADER_LEN + 2;

/// Changes whenever what is made does, so that what was kept is made anew.
const VERSION: u32 = 2;

const TTL: u32 = 3600;

/// A name in wire format.
pub type Wire = Vec<u8>;

const APEX: &[&str] = &["measured", "example"];
const APEX_NSEC3: &[&str] = &["hashed", "example"];

/// For how long the signatures of [`served`] zones are valid, and for how long such a zone is kept, in
/// seconds.
const SERVED_VALIDITY: u32 = 90 * 86400;
const SERVED_KEPT: u64 = 30 * 86400;

/// The name with these labels.
pub fn wire(labels: &[&str]) -> Wire {
    let mut wire = Vec::new();
    for label in labels {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A name in the zone with NSEC.
pub fn below(labels: &[&str]) -> Wire {
    wire(&[labels, APEX].concat())
}

/// A name in the zone with NSEC3.
pub fn below_nsec3(labels: &[&str]) -> Wire {
    wire(&[labels, APEX_NSEC3].concat())
}

/// A name in no zone.
pub fn elsewhere() -> Wire {
    wire(&["www", "elsewhere", "test"])
}

/// The first label of a host.
pub fn host(number: usize) -> String {
    format!("h{number:08x}")
}

/// A label right behind that of a host: there is no such name.
pub fn gap(number: usize) -> String {
    host(number) + "z"
}

/// The zone with NSEC and so many hosts.
pub fn nsec(cache: &Path, names: usize) -> Result<Zone> {
    kept(cache, "nsec", APEX, names, Denial::Nsec)
}

/// The zone with NSEC3 and so many hosts.
pub fn nsec3(cache: &Path, names: usize) -> Result<Zone> {
    kept(cache, "nsec3", APEX_NSEC3, names, Denial::Nsec3 { opt_out: false })
}

fn kept(cache: &Path, kind: &str, apex: &[&str], names: usize, denial: Denial) -> Result<Zone> {
    let apex = Name::from_wire(&wire(apex)).context("no name")?;
    let path = cache.join(format!("{kind}-{names}-v{VERSION}.signed"));
    match File::open(&path) {
        Ok(file) => read(BufReader::with_capacity(1 << 20, file), apex)
            .with_context(|| format!("{} is damaged: remove it", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("signing a zone of {names} names, once");
            let policy = SigningPolicy { denial, ..SigningPolicy::default() };
            let zone = signed(&unsigned(apex, names)?, &policy, NOW)?;
            let beside = path.with_extension("new");
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&beside)?);
            write(&mut file, &zone)?;
            file.into_inner()?;
            fs::rename(&beside, &path)?;
            Ok(zone)
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// A zone file, for servers that run now, of a zone with NSEC, these labels and so many hosts.
pub fn served(cache: &Path, labels: &[&str], names: usize) -> Result<PathBuf> {
    let path = cache.join(format!("{}-{names}-v{VERSION}.zone", labels.join(".")));
    let made = path.metadata().and_then(|metadata| metadata.modified());
    let age = made.ok().and_then(|made| made.elapsed().ok());
    if age.is_none_or(|age| age.as_secs() > SERVED_KEPT) {
        eprintln!("signing a zone of {names} names, once a month");
        let policy = SigningPolicy { validity: SERVED_VALIDITY, ..SigningPolicy::default() };
        zone_file::write_zone(
            &path,
            &signed(&hosts(labels, names)?, &policy, WallTime::now().signature_time())?,
        )?;
    }
    Ok(path)
}

/// A zone with these labels and so many hosts, not signed.
pub fn hosts(labels: &[&str], names: usize) -> Result<Zone> {
    unsigned(Name::from_wire(&wire(labels)).context("no name")?, names)
}

/// A zone with these labels and so many delegations: two name servers each, glue for both or for one, and
/// for every other one a DS; not signed.
pub fn delegations(labels: &[&str], count: usize) -> Result<Zone> {
    let apex = Name::from_wire(&wire(labels)).context("no name")?;
    let below =
        |label: &str, above: &[u8]| [&[label.len() as u8], label.as_bytes(), above].concat();
    let mut builder = ZoneBuilder::new(apex.clone());
    let server = below("ns", apex.as_wire());
    let mut soa = [&server[..], &below("hostmaster", apex.as_wire())].concat();
    soa.extend([1u32, 14400, 3600, 1_209_600, 900].map(u32::to_be_bytes).concat());
    builder.push(apex.as_wire(), Rtype::SOA, TTL, &soa)?;
    builder.push(apex.as_wire(), Rtype::NS, TTL, &server)?;
    builder.push(&server, Rtype::A, TTL, &[192, 0, 2, 53])?;
    for number in 0..count {
        let cut = below(&format!("d{number:08x}"), apex.as_wire());
        let [_, a, b, c] = (number as u32).to_be_bytes();
        for (server, has_glue) in [(1, true), (2, number % 4 != 3)] {
            let name = below(&format!("ns{server}"), &cut);
            builder.push(&cut, Rtype::NS, TTL, &name)?;
            if has_glue {
                builder.push(&name, Rtype::A, TTL, &[server + 9, a, b, c])?;
            }
        }
        if number % 2 == 0 {
            let mut ds = vec![a, b, 13, 2];
            ds.extend([c; 32]);
            builder.push(&cut, Rtype::DS, TTL, &ds)?;
        }
    }
    Ok(builder.finish()?)
}

fn unsigned(apex: Name, names: usize) -> Result<Zone> {
    let at = |label: &str| [&[label.len() as u8], label.as_bytes(), apex.as_wire()].concat();
    let mut builder = ZoneBuilder::new(apex.clone());
    let mut push =
        |owner: &[u8], rtype: Rtype, rdata: &[u8]| builder.push(owner, rtype, TTL, rdata);

    let mut soa = [at("ns"), at("hostmaster")].concat();
    soa.extend([1u32, 14400, 3600, 1_209_600, 900].map(u32::to_be_bytes).concat());
    push(apex.as_wire(), Rtype::SOA, &soa)?;
    push(apex.as_wire(), Rtype::NS, &at("ns"))?;
    push(&at("ns"), Rtype::A, &[192, 0, 2, 53])?;
    push(&at("chain"), Rtype::CNAME, &at("link"))?;
    push(&at("link"), Rtype::CNAME, &at("h00000007"))?;
    let mut below_cut = vec![2, b'n', b's'];
    below_cut.extend(at("cut"));
    push(&at("cut"), Rtype::NS, &below_cut)?;
    push(&below_cut, Rtype::A, &[192, 0, 2, 54])?;
    let mut ds = vec![0x30, 0x39, 13, 2];
    ds.extend([0xd5; 32]);
    push(&at("cut"), Rtype::DS, &ds)?;
    push(&[b"\x01*", &at("wild")[..]].concat(), Rtype::A, &[192, 0, 2, 42])?;
    let text: Vec<u8> = (0..3).flat_map(|_| [vec![200], vec![b't'; 200]].concat()).collect();
    push(&at("long"), Rtype::TXT, &text)?;
    for number in 0..names {
        let owner = at(&host(number));
        let [_, a, b, c] = (number as u32).to_be_bytes();
        for address in 0..ADDRESSES as u8 {
            push(&owner, Rtype::A, &[address + 1, a, b, c])?;
        }
    }
    Ok(builder.finish()?)
}

fn signed(zone: &Zone, policy: &SigningPolicy, now: u32) -> Result<Zone> {
    let keys = [Role::Ksk, Role::Zsk].into_iter().map(|role| {
        let key = NewKey::generate(zone.apex(), role, Algorithm::default(), &[], now)?;
        Ok(key.key)
    });
    let keys = keys.collect::<Result<Vec<_>>>()?;
    Ok(sign(zone, &keys, policy, now)?.0)
}

//----------- Keeping --------------------------------------------------------------------------------

// Each owner: length and octets of the name, number of RRsets; each RRset: type, TTL, number of
// records; each record: length and octets. A length of zero ends the file.

fn write(file: &mut impl Write, zone: &Zone) -> Result<()> {
    for owner in zone.owners() {
        file.write_all(&[owner.name().len() as u8, owner.rrsets().len() as u8])?;
        file.write_all(owner.name())?;
        for rrset in owner.rrsets() {
            file.write_all(&rrset.rtype().0.to_be_bytes())?;
            file.write_all(&rrset.ttl().to_be_bytes())?;
            file.write_all(&u16::try_from(rrset.len())?.to_be_bytes())?;
            for rdata in rrset.rdatas() {
                file.write_all(&u16::try_from(rdata.len())?.to_be_bytes())?;
                file.write_all(rdata)?;
            }
        }
    }
    file.write_all(&[0])?;
    Ok(())
}

fn read(mut file: impl Read, apex: Name) -> Result<Zone> {
    let mut writer = ZoneWriter::with_capacity(apex, 0);
    let mut octets = Vec::new();
    loop {
        let [len] = array(&mut file)?;
        if len == 0 {
            break;
        }
        let [rrsets] = array(&mut file)?;
        octets.resize(usize::from(len), 0);
        file.read_exact(&mut octets)?;
        writer.owner(&octets)?;
        for _ in 0..rrsets {
            let rtype = Rtype(u16::from_be_bytes(array(&mut file)?));
            let ttl = u32::from_be_bytes(array(&mut file)?);
            let count = u16::from_be_bytes(array(&mut file)?);
            let mut ends = vec![0];
            octets.clear();
            for _ in 0..count {
                let len = u16::from_be_bytes(array(&mut file)?);
                let at = octets.len();
                octets.resize(at + usize::from(len), 0);
                file.read_exact(&mut octets[at..])?;
                ends.push(octets.len());
            }
            writer.rrset(rtype, ttl, ends.windows(2).map(|pair| &octets[pair[0]..pair[1]]))?;
        }
    }
    ensure!(file.read(&mut [0])? == 0, "there is more behind the end");
    Ok(writer.finish()?)
}

fn array<const N: usize>(file: &mut impl Read) -> Result<[u8; N]> {
    let mut octets = [0; N];
    file.read_exact(&mut octets)?;
    Ok(octets)
}
