//! Zones that tests serve, the daemon under test as a process, and what others need to be compared with it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, anyhow};
use sealdns::{
    cli::zone_file,
    clock::WallTime,
    control::reply::read::{self, Readable},
    dnssec::{
        keys::{Algorithm, KeyLayout, store::KeyStore},
        policy::{Denial, SigningPolicy},
        sign,
    },
    zone::{Rtype, Zone, name::write_name, text::write_record},
};
use testbed::{
    net::{self, Process},
    servers::{Anchor, START, Server, ZoneFile, free_address},
};

use crate::dns::Query;

//----------- Zones ----------------------------------------------------------------------------------

/// The zone of the demo: what people have.
pub const DEMO: (&str, &str) = ("example.org", include_str!("../zones/demo.zone"));
/// The zone with all that is rare.
pub const CORNER: (&str, &str) = ("corner.example", include_str!("../zones/corner.zone"));
/// Every zone of a file that servers are compared with: that of the demo, that with all that is rare,
/// one that leads to others, its child, and one that is moved whole.
pub const FIXED: [(&str, &str); 5] = [
    DEMO,
    CORNER,
    ("leads.example", include_str!("../zones/leads.zone")),
    ("child.leads.example", include_str!("../zones/child.leads.zone")),
    ("moved.example", include_str!("../zones/moved.zone")),
];

/// Every way to prove that a name does not exist.
pub const DENIALS: [(&str, Denial); 3] = [
    ("NSEC", Denial::Nsec),
    ("NSEC3", Denial::Nsec3 { opt_out: false }),
    ("NSEC3 with opt-out", Denial::Nsec3 { opt_out: true }),
];

/// Signs a zone with keys made in `directory`.
pub fn signed(zone: (&str, &str), denial: Denial, directory: &Path) -> Result<Zone> {
    signed_as(zone, SigningPolicy { denial, ..SigningPolicy::default() }, directory)
}

/// The same with all that can be chosen.
pub fn signed_as(
    (apex, text): (&str, &str),
    policy: SigningPolicy,
    directory: &Path,
) -> Result<Zone> {
    let apex = apex.parse()?;
    let zone = zone_file::parse_zone(text.as_bytes(), &apex)?;
    let store = KeyStore::new(directory);
    let algorithm = Algorithm::EcdsaP256Sha256;
    let now = WallTime::now().signature_time();
    let (keys, _) = store.load_or_generate(&apex, KeyLayout::KskZsk, algorithm, now)?;
    Ok(sign::sign(&zone, &keys, &policy, now)?.0)
}

/// Reads a zone that is not signed.
pub fn unsigned(apex: &str, text: &str) -> Result<Zone> {
    let apex = apex.parse()?;
    zone_file::parse_zone(text.as_bytes(), &apex)
}

//----------- Server ---------------------------------------------------------------------------------

/// The binary under test, if it was built like this test: `target/<profile>/sealdns`.
pub fn sealdns() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    own.ancestors().skip(1).take(2).map(|folder| folder.join("sealdns")).find(|file| file.is_file())
}

/// What a command of sealdns printed with `--json`.
pub fn reply_of<T: Readable>(output: &Output) -> Result<T> {
    let text = std::str::from_utf8(&output.stdout)?;
    read::printed(text).map_err(|error| anyhow!("{error}: {output:?}"))
}

fn is_signed(zone: &Zone) -> bool {
    let apex = zone.find(zone.apex().as_wire());
    apex.is_some_and(|apex| apex.rrset(Rtype::DNSKEY).is_some())
}

/// Runs sealdns over zones in `directory`, where their files are written.
pub fn run_sealdns(directory: &Path, zones: &[&Zone]) -> Result<Server> {
    let binary = sealdns().context("no sealdns beside this test: `cargo xtask build`")?;
    let address = free_address()?;
    let mut config = format!(
        "version = \"v1\"\n[server]\nlisten = [\"{address}\"]\n\
             control = \"control.sock\"\nstate-dir = \"state\"\n"
    );
    for (zone, file) in zones.iter().zip(zone_files(directory, zones)?) {
        write!(
            config,
            "[[zone]]\nname = \"{}\"\nfile = \"{}\"\ndnssec = \"{}\"\n",
            file.apex,
            file.path.display(),
            if is_signed(zone) { "presigned" } else { "off" }
        )?;
    }
    let path = directory.join("sealdns.toml");
    fs::write(&path, config)?;
    let mut command = Command::new(binary);
    command.args(["run", "--config"]).arg(&path);
    let mut process = Process::spawn("sealdns", &mut command)?;
    process.wait_for_line(START, |line| line.trim() == "ready")?;
    Ok(Server { address, process })
}

/// Writes zones to `directory`, for any server.
pub fn zone_files(directory: &Path, zones: &[&Zone]) -> Result<Vec<ZoneFile>> {
    let written = |zone: &&Zone| -> Result<ZoneFile> {
        let apex = zone.apex().to_string();
        let path = directory.join(format!("{apex}zone"));
        zone_file::write_zone(&path, zone)?;
        Ok(ZoneFile { apex, path })
    };
    zones.iter().map(written).collect()
}

/// The zone and its keys, for who is to find it secure.
pub fn anchor(zone: &Zone) -> Anchor {
    let apex = zone.apex();
    let keys = zone.find(apex.as_wire()).and_then(|owner| owner.rrset(Rtype::DNSKEY));
    let keys = keys.iter().flat_map(|keys| keys.rdatas()).map(|key| {
        let record = write_record(apex.as_wire(), Rtype::DNSKEY, 3600, key);
        record.trim_end().replace('\t', " ")
    });
    Anchor { apex: apex.to_string(), keys: keys.collect() }
}

/// Whether delv, which trusts the zone's keys, finds this server's answer secure.
pub fn is_secure_to_delv(
    server: &Server,
    directory: &Path,
    zone: &Zone,
    query: &Query,
) -> Result<bool> {
    let binary = net::find_program("delv").context("no delv: `cargo xtask setup`")?;
    let Anchor { apex, keys } = anchor(zone);
    let mut anchors = String::from("trust-anchors {\n");
    for key in keys {
        let fields: Vec<&str> = key.split_whitespace().skip(4).collect();
        let [flags, protocol, algorithm, key @ ..] = fields.as_slice() else { continue };
        let key = key.concat();
        writeln!(anchors, "{apex} static-key {flags} {protocol} {algorithm} \"{key}\";")?;
    }
    let path = directory.join("delv.keys");
    fs::write(&path, anchors + "};\n")?;
    let mut name = String::new();
    write_name(&mut name, &query.name)?;
    let mut command = Command::new(binary);
    command.arg(format!("@{}", server.address.ip()));
    command.args(["-p", &server.address.port().to_string(), "-a"]).arg(&path);
    command.args([&format!("+root={apex}"), "-q", &name, "-t"]);
    command.arg(Rtype(query.rtype).to_string());
    let output = net::output_within(&mut command, START)?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("fully validated"))
}
