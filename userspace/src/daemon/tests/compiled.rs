//! Large zones are compiled for the next start, and served from that; whatever is wrong with it, they are served as ever.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

use super::last_run::Machine;
use super::*;
use crate::compile::Image;
use crate::compile::inspect::verify::{verify, verify_table};
use crate::daemon::prepare;
use crate::datapath;
use crate::datapath::memory::{Mapping, Size};
use crate::dnssec::policy::SigningPolicy;

const HOSTS: u32 = 3000;

/// A daemon over compiled zones, without XDP.
fn start(machine: &Machine, hash_key: u64) -> Daemon {
    let config = Config::load(&machine.path("sealdns.toml")).unwrap();
    let expected = prepare::expected_size(&config);
    let is_kept = ["sign", "off"].iter().any(|dnssec| compiled(machine, dnssec).exists());
    assert_eq!(expected.names > u64::from(HOSTS), is_kept);
    let mut plane = datapath::open(&config, expected).unwrap();
    plane.set_hash_key(hash_key);
    machine.start_over(plane)
}

/// What was compiled.
fn compiled(machine: &Machine, dnssec: &str) -> PathBuf {
    let kept = if dnssec == "sign" { "signed" } else { "served" };
    machine.path("state").join(kept).join("example.compiled")
}

fn write(machine: &Machine, dnssec: &str, serial: u32, hosts: u32) {
    match dnssec {
        "presigned" => {
            machine.write_zone(&machine.signed(serial, hosts, SigningPolicy::default()));
        }
        _ => machine.write_zone(&testing::zone(serial, hosts)),
    }
}

/// Whether the daemon serves this version, and what it has in memory is as it should be.
fn is_sound(daemon: &Daemon, serial: u32) {
    daemon.zones.until_idle();
    let apex = testing::name("example");
    let served = daemon.zones.states()[&apex].loaded.as_ref().unwrap().zone.clone();
    assert_eq!(served.serial().0, serial);
    let (inspection, listing) = {
        let plane = daemon.plane.hold();
        (plane.inspect().unwrap(), plane.nodes(&apex))
    };
    let now = daemon.clock.wall().signature_time();
    let findings = verify(&inspection.reader, &apex, &listing, now).unwrap();
    assert_eq!(findings.problems, []);
    assert_eq!(verify_table(&inspection.reader), []);
    let memory = Mapping::anonymous(Size { slab: 256 << 16, buckets: 1 << 12 }).unwrap();
    let mut fresh = Image::new(Arc::new(memory), 7);
    drop(fresh.at(now).publish(&served.flat().unwrap()).unwrap());
    let expected = fresh.reader();
    for owner in served.owners() {
        for rtype in [1u16, 6, 16, 48] {
            let mut query = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
            query.extend(owner.name());
            query.extend(rtype.to_be_bytes());
            query.extend([0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
            let answers = [&inspection.reader, &expected].map(|reader| {
                let mut answer = Vec::new();
                reader.answer(&query, false, 1232, now, &mut answer);
                answer
            });
            assert_eq!(answers[0], answers[1], "{rtype}");
        }
    }
}

#[test]
fn a_large_zone_is_served_from_what_was_compiled() {
    for dnssec in ["sign", "presigned", "off"] {
        let machine = Machine::new(dnssec);
        write(&machine, dnssec, 7, HOSTS);
        let run = start(&machine, 1);
        run.zones.until_idle();
        let file = compiled(&machine, dnssec);
        let made = fs::metadata(&file).unwrap();
        assert_eq!(made.mode() & 0o777, 0o600);
        // What changed since is served, too.
        write(&machine, dnssec, 8, HOSTS + 1);
        let Response::Reply(reply) = run.handle(Request::ZoneReload { zone: None }) else {
            panic!("no reply");
        };
        assert_eq!(ZoneReload::of(reply).unwrap().zones[0].change, zone::Change::Loaded);
        is_sound(&run, 8);
        drop(run);
        // It was of use: else it would be made again.
        let again = start(&machine, 1);
        is_sound(&again, 8);
        drop(again);
        assert_eq!(fs::metadata(&file).unwrap().ino(), made.ino(), "{dnssec}");
        // That of another key is not.
        let another = start(&machine, 2);
        is_sound(&another, 8);
        drop(another);
        let made = fs::metadata(&file).unwrap();
        // Nor is one that is damaged.
        let octets = fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
        let (mut octet, at) = ([0], made.len() / 2);
        octets.read_exact_at(&mut octet, at).unwrap();
        octets.write_all_at(&[octet[0] ^ 1], at).unwrap();
        let third = start(&machine, 2);
        is_sound(&third, 8);
        drop(third);
        assert_ne!(fs::metadata(&file).unwrap().ino(), made.ino());
        // A zone that becomes small leaves nothing behind.
        write(&machine, dnssec, 9, 2);
        let small = start(&machine, 2);
        small.zones.follow_up();
        is_sound(&small, 9);
        assert!(!file.exists(), "{dnssec}");
    }
}
