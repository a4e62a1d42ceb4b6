//! Large zones and many: as many names as a run of all tests has time for, or with `SEALDNS_HEAVY=1`
//! (`cargo xtask test --heavy`) as many as they are made for. Then the figures are worth printing.

use std::{
    collections::BTreeSet,
    env, fs,
    net::UdpSocket,
    path::Path,
    process::Command,
    sync::{Arc, atomic::Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use sealdns::{
    cli::zone_file,
    clock::WallTime,
    compile::Image,
    control::reply::{cache::CacheStatus, zone::ZoneStatus},
    datapath::memory::{Mapping, Size},
    dnssec::{
        keys::{Algorithm, KeyLayout, store::KeyStore},
        policy::{Denial, SigningPolicy},
        sign::sign_again,
    },
    observe::usage::Completeness,
    zone::{Rtype, Serial, Version, Zone, ZoneBuilder, soa::set_serial},
};
use testbed::{
    net::{self, Process},
    servers::free_address,
};
use tests::{
    harness::Verdict,
    measure::zones,
    servers::{self, DEMO},
};

use crate::wire::{
    client::{Client, WITH_DNSSEC, query},
    reload::Load,
    stage::{self, Settings, Stage},
};

/// Names, delegations and zones, in a run of all tests and in a heavy one.
const NAMES: [usize; 2] = [20_000, 1_000_000];
const HOT_NAMES: [usize; 2] = [20_000, 200_000];
const DELEGATIONS: [usize; 2] = [5_000, 1_000_000];
const ZONES: [usize; 2] = [1_000, 100_000];

/// What a record of so many delegations may take of all memory, maps included.
const MAX_OCTETS_PER_RECORD: u64 = 168;

/// How long a daemon has to load what is large.
const LOADING: Duration = Duration::from_secs(1800);

/// Queries that each client asks before a zone changes, and after.
const ASKED: u64 = 300;

/// Of a hundred names of a zone one is changed, and in each three hundred one goes and one comes.
const CHANGED: usize = 300;

const APEX: &[&str] = &["large", "example"];

const A: u16 = 1;
const TXT: u16 = 16;

fn is_heavy() -> bool {
    env::var("SEALDNS_HEAVY").is_ok_and(|value| value != "0")
}

fn size(sizes: [usize; 2]) -> usize {
    sizes[usize::from(is_heavy())]
}

/// A figure, where it is worth something.
fn tell(what: &str, figure: impl std::fmt::Display) {
    if is_heavy() {
        println!("    {what}: {figure}");
    }
}

/// Octets of memory that are a process's, those it shares counted in part (PSS).
fn memory_of(process: &Process) -> Result<u64> {
    let path = format!("/proc/{}/smaps_rollup", process.id());
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Octets of all maps.
fn map_octets(status: &CacheStatus) -> u64 {
    status.maps.iter().map(|map| map.memory_octets).sum()
}

fn cache_status(stage: &Stage) -> Result<CacheStatus> {
    let status = stage.reply(&["cache", "status"])?;
    tell("cache status", format_args!("{status:?}"));
    Ok(status)
}

/// The daemon over zones of files, given as apex and settings that name the file; `memory` is a line for
/// `[xdp]`.
fn serve(memory: &str, test: &str, zones: &[(&str, &str)]) -> Result<Stage> {
    let section = |(apex, more): &(&str, &str)| format!("[[zone]]\nname = \"{apex}\"\n{more}\n");
    let sections: String = zones.iter().map(section).collect();
    let xdp = format!("mode = \"native\"\n{memory}");
    let settings = Settings { server: "", xdp: &xdp, sections: &sections };
    Stage::with_patience(LOADING, &settings, test, &[])
}

//----------- A change -------------------------------------------------------------------------------

/// Two versions of a zone of hosts, signed one after the other.
fn two_versions(names: usize, keys: &Path) -> Result<[Zone; 2]> {
    let first = zones::hosts(APEX, names)?;
    let host = |number: usize| zones::wire(&[&[&*zones::host(number)], APEX].concat());
    let number = |owner: &[u8]| -> Option<usize> {
        let digits = owner.get(2..10).filter(|_| owner[..2] == *b"\x09h")?;
        usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut second = ZoneBuilder::new(first.apex().clone());
    second.copy(&first, |owner, rrset| {
        rrset.rtype() != Rtype::SOA && number(owner.name()).is_none_or(|n| n % CHANGED != 7)
    })?;
    let soa = first.soa().and_then(|soa| soa.rdatas().next()).context("no SOA")?;
    let mut soa = soa.to_vec();
    set_serial(&mut soa, Serial(2));
    second.push(first.apex().as_wire(), Rtype::SOA, 3600, &soa)?;
    for changed in (8..names).step_by(CHANGED) {
        second.push(&host(changed), Rtype::A, 3600, &[203, 0, 113, 8])?;
        let added = zones::wire(&[&[&*zones::gap(changed)], APEX].concat());
        second.push(&added, Rtype::A, 3600, &[203, 0, 113, 9])?;
    }
    let second = second.finish()?;

    let store = KeyStore::new(keys);
    let (algorithm, now) = (Algorithm::EcdsaP256Sha256, WallTime::now().signature_time());
    let (keys, _) = store.load_or_generate(first.apex(), KeyLayout::KskZsk, algorithm, now)?;
    let policy = SigningPolicy { denial: Denial::Nsec, ..SigningPolicy::default() };
    let first = sign_again(&first, None, &keys, &policy, now)?.0;
    let started = Instant::now();
    let (second, statistics) =
        sign_again(&second, Some((&Version::of(first.clone()), 0)), &keys, &policy, now)?;
    tell("signing what changed, s", started.elapsed().as_secs_f64());
    tell("signatures made, kept", format!("{} {}", statistics.signatures, statistics.kept));
    ensure!(statistics.signatures * 10 < statistics.kept, "{statistics:?}");
    Ok([first, second])
}

/// What an image that has nothing but a version of the zone answers.
fn answers_of(zone: &Zone, queries: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let size = Size {
        slab: (zone.owners().len() * 2000).next_multiple_of(1 << 20) + (1 << 20),
        buckets: (zone.owners().len()).next_power_of_two(),
    };
    let mut image = Image::new(Arc::new(Mapping::anonymous(size)?), 7);
    drop(image.publish(zone)?);
    let reader = image.reader();
    let answer = |query: &Vec<u8>| {
        let mut said = Vec::new();
        let outcome =
            reader.answer(query, false, 1232, WallTime::now().signature_time(), &mut said);
        ensure!(outcome.is_answered(), "{outcome:?}");
        Ok(said)
    };
    queries.iter().map(answer).collect()
}

/// Questions about hosts that stay, change, come and go, and about what does not exist.
fn questions(names: usize) -> Vec<Vec<u8>> {
    let step = (names / CHANGED / 40).max(1) * CHANGED;
    let numbers = (0..names).step_by(step).flat_map(|at| [at + 6, at + 7, at + 8, at + 9]);
    let labels = numbers.flat_map(|number| [zones::host(number), zones::gap(number)]);
    labels
        .flat_map(|label| [A, TXT].map(|rtype| (format!("{label}.{}", APEX.join(".")), rtype)))
        .map(|(name, rtype)| query(&name, rtype, WITH_DNSSEC))
        .collect()
}

/// Asks by a frame. If the device's queue is full the frame is not sent, and is sent again.
fn inject(client: &Client, query: &[u8]) -> Result<Vec<u8>> {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        match client.inject(0, query) {
            Err(error)
                if format!("{error:#}").contains("No space left on device")
                    && Instant::now() < deadline =>
            {
                // The device says nothing when its queue is shorter again.
                thread::sleep(Duration::from_millis(1));
            }
            said => return said,
        }
    }
}

/// While one name in a hundred of a large zone changes, all that is asked is answered, octet for octet as
/// the version before or the one after has it; and only what changed is written.
pub fn an_update_goes_unnoticed() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let names = size(NAMES);
    let keys = tempfile::tempdir()?;
    let versions = two_versions(names, keys.path())?;
    let queries = questions(names);
    let expected = [answers_of(&versions[0], &queries)?, answers_of(&versions[1], &queries)?];
    let differ = expected[0].iter().zip(&expected[1]).filter(|(old, new)| old[2..] != new[2..]);
    ensure!(differ.count() > 40, "the versions answer alike");
    let apex = APEX.join(".");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("zone");
    zone_file::write_zone(&file, &versions[0])?;
    let next = folder.path().join("next");
    zone_file::write_zone(&next, &versions[1])?;
    drop(versions);

    let linked = format!("file = \"{}\"\ndnssec = \"presigned\"", file.display());
    let started = Instant::now();
    let memory = "memory = \"3GiB\"";
    let stage = serve(memory, "update", &[(&apex, &linked)])?;
    tell("loading, s", started.elapsed().as_secs_f64());
    tell("daemon's memory, MiB", memory_of(&stage.server.process)? >> 20);
    cache_status(&stage)?;
    let client = Client::new(&stage.pair)?;
    let load = Load::new(&queries, &expected, 2);
    let before = stage.sent_by_xdp()?;
    let asked = stage.pair.client.enter(|| -> Result<[u64; 2]> {
        thread::scope(|scope| {
            let by_frame = scope.spawn(|| load.ask(0, |query| inject(&client, query)));
            let by_socket = scope.spawn(|| load.ask(1, |query| client.send(1, query)));
            let reloaded = (|| -> Result<()> {
                load.wait_for_more(ASKED)?;
                fs::rename(&next, &file)?;
                load.newest.store(1, SeqCst);
                let started = Instant::now();
                stage.server.process.signal(nix::sys::signal::Signal::SIGHUP)?;
                let done = || stage.server.process.log().contains("reloaded zones=1 failed=0");
                net::wait_until("the zone is reloaded", LOADING, done)
                    .with_context(|| stage.server.process.log())?;
                load.served.store(1, SeqCst);
                tell("reloading, s", started.elapsed().as_secs_f64());
                load.wait_for_more(ASKED)
            })();
            load.over.store(true, SeqCst);
            let asked = [by_frame, by_socket]
                .map(|asker| asker.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
            reloaded?;
            let [by_frame, by_socket] = asked;
            Ok([by_frame?, by_socket?])
        })
    })??;
    ensure!(asked.iter().all(|count| *count > 500), "{asked:?} queries prove nothing");
    let sent = stage.sent_by_xdp()? - before;
    ensure!(sent > asked[0] / 3, "of {asked:?} queries XDP answered {sent}");
    let status: ZoneStatus = stage.reply(&["zone", "status", &apex])?;
    let (written, kept) = (status.records_written, status.records_kept);
    let (written, kept) = (written.context("no figure")?, kept.context("no figure")?);
    tell("asked while it changed, answered by XDP", format!("{asked:?} {sent}"));
    tell("records written, kept", format!("{written} {kept}"));
    tell("daemon's memory after it, MiB", memory_of(&stage.server.process)? >> 20);
    ensure!(written > 3 * names as u64 / CHANGED as u64, "{written} records are not all");
    ensure!(written < names as u64 / 10 && kept > 2 * names as u64, "{written} {kept}");
    Ok(Verdict::Passed)
}

//----------- A zone that does not fit ---------------------------------------------------------------

/// A zone that `memory` has no room for is answered whole, by the daemon; the names that are asked for
/// often come from XDP after a while, nothing is concluded from absence there, and other zones stay.
pub fn a_zone_that_does_not_fit_is_held_hot() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let names = size(HOT_NAMES);
    let keys = tempfile::tempdir()?;
    let versions = two_versions(names, keys.path())?;
    let queries = questions(names);
    let expected = [answers_of(&versions[0], &queries)?, answers_of(&versions[1], &queries)?];
    let apex = APEX.join(".");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("zone");
    zone_file::write_zone(&file, &versions[0])?;
    fs::write(folder.path().join("demo"), DEMO.1)?;
    let demo = format!("file = \"{}\"", folder.path().join("demo").display());
    let linked = format!("file = \"{}\"\ndnssec = \"presigned\"", file.display());
    let sections = [(&*apex, &*linked), (DEMO.0, &*demo)];
    let stage = serve("memory = \"4MiB\"", "hot", &sections)?;
    let held = |stage: &Stage| -> Result<BTreeSet<(String, Completeness)>> {
        let status = cache_status(stage)?;
        let octets = map_octets(&status);
        ensure!(octets > 0 && octets <= 4 << 20, "{status:?}");
        Ok(status.zones.into_iter().map(|zone| (zone.zone, zone.held)).collect())
    };
    let both = [
        (format!("{apex}."), Completeness::Partial),
        (format!("{}.", DEMO.0), Completeness::Complete),
    ];
    ensure!(held(&stage)? == BTreeSet::from(both.clone()), "{:?}", held(&stage)?);

    let client = Client::new(&stage.pair)?;
    let ask_all = |expected: &[Vec<u8>]| -> Result<()> {
        stage.pair.client.enter(|| -> Result<()> {
            for (query, expected) in queries.iter().zip(expected) {
                let said = client.inject(0, query)?;
                ensure!(said[2..] == expected[2..], "{query:02x?}: {said:02x?} {expected:02x?}");
            }
            Ok(())
        })?
    };
    let by_xdp = |query: &[u8]| -> Result<bool> {
        let before = stage.sent_by_xdp()?;
        stage.pair.client.enter(|| client.inject(0, query))??;
        Ok(stage.sent_by_xdp()? > before)
    };
    ask_all(&expected[0])?;
    ensure!(by_xdp(&query(&format!("www.{}", DEMO.0), A, WITH_DNSSEC))?, "the demo is not in XDP");
    let popular = query(&format!("{}.{apex}", zones::host(17)), A, WITH_DNSSEC);
    let absent = query(&format!("{}.{apex}", zones::gap(17)), A, WITH_DNSSEC);
    ensure!(!by_xdp(&popular)?, "a name of a zone that does not fit came from XDP at once");
    let mut attempts = 0;
    net::wait_until(
        "a name that is asked for often comes from XDP",
        Duration::from_secs(30),
        || {
            attempts += 1;
            by_xdp(&absent).is_ok_and(|by_xdp| !by_xdp)
                && by_xdp(&popular).is_ok_and(|by_xdp| by_xdp)
        },
    )?;
    ensure!(attempts > 2, "{attempts} attempts");
    ask_all(&expected[0])?;

    let verified = stage.command(&["cache", "verify"])?;
    ensure!(verified.status.success(), "{verified:?}");

    // The names that are held change with their zone.
    zone_file::write_zone(&file, &versions[1])?;
    ensure!(stage.command(&["zone", "reload"])?.status.success(), "not reloaded");
    ask_all(&expected[1])?;
    ensure!(by_xdp(&popular)? && !by_xdp(&absent)?, "after a change XDP answers others");
    ensure!(held(&stage)? == BTreeSet::from(both), "{:?}", held(&stage)?);
    Ok(Verdict::Passed)
}

//----------- Many zones -----------------------------------------------------------------------------

/// Many small zones are loaded and served, and one of them is loaded again without the others.
pub fn many_zones_are_served() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let count = size(ZONES);
    let folder = tempfile::tempdir()?;
    let text = |serial: u32, number: usize| {
        let [_, a, b, c] = (number as u32).to_be_bytes();
        format!(
            "$TTL 300\n@ SOA ns hostmaster {serial} 4h 1h 2w 60\n@ NS ns\nns A 192.0.2.53\n\
             www A {serial}.{a}.{b}.{c}\nmail A 192.0.2.25\n@ MX 10 mail\n"
        )
    };
    let apex = |number: usize| format!("zone{number:06}.example");
    let mut sections = Vec::with_capacity(count);
    for number in 0..count {
        let file = folder.path().join(number.to_string());
        fs::write(&file, text(1, number))?;
        sections.push((apex(number), format!("file = \"{}\"\ndnssec = \"off\"", file.display())));
    }
    let sections: Vec<(&str, &str)> = sections.iter().map(|(a, b)| (&**a, &**b)).collect();
    let started = Instant::now();
    let stage = serve("memory = \"1GiB\"", "many", &sections)?;
    tell("loading, s", started.elapsed().as_secs_f64());
    tell("daemon's memory, MiB", memory_of(&stage.server.process)? >> 20);
    let client = Client::new(&stage.pair)?;
    let www = |number: usize| query(&format!("www.{}", apex(number)), A, WITH_DNSSEC);
    let before = stage.sent_by_xdp()?;
    let asked: Vec<usize> = (0..count).step_by(count / 500).collect();
    for &number in &asked {
        let said = stage.pair.client.enter(|| client.inject(0, &www(number)))??;
        let [_, a, b, c] = (number as u32).to_be_bytes();
        ensure!(said.windows(4).any(|octets| octets == [1, a, b, c]), "{number}: {said:02x?}");
    }
    let sent = stage.sent_by_xdp()? - before;
    ensure!(sent == asked.len() as u64, "{} asked, {sent} from XDP", asked.len());

    // When each was loaded, and what was written for it: a zone that is loaded again, though unchanged, has another.
    let statuses = || -> Result<Vec<ZoneStatus>> {
        let status = |number: usize| -> Result<ZoneStatus> {
            let said = stage.command_by_socket(&["zone", "status", &apex(number), "--json"])?;
            servers::reply_of(&said)
        };
        (1..=10).map(status).collect()
    };
    let others = statuses()?;
    ensure!(others.iter().all(|status| status.records_written > Some(0)), "{others:?}");
    let mut times = Vec::new();
    for serial in 2..7 {
        let number = count / serial as usize;
        fs::write(folder.path().join(number.to_string()), text(serial, number))?;
        let started = Instant::now();
        let reloaded = stage.command_by_socket(&["zone", "reload", &apex(number)])?;
        times.push(started.elapsed());
        ensure!(reloaded.status.success(), "{reloaded:?}");
        let said = stage.pair.client.enter(|| client.inject(0, &www(number)))??;
        let [_, a, b, c] = (number as u32).to_be_bytes();
        ensure!(said.windows(4).any(|one| one == [serial as u8, a, b, c]), "{said:02x?}");
    }
    times.sort_unstable();
    tell("loading one again, the command included, ms", times[2].as_secs_f64() * 1e3);
    ensure!(statuses()? == others, "zones were loaded that nobody asked for");

    // One zone in a hundred changes, and all are looked at.
    let changed: Vec<usize> = (11..count).step_by(100).collect();
    for &number in &changed {
        fs::write(folder.path().join(number.to_string()), text(100, number))?;
    }
    let started = Instant::now();
    let reloaded = stage.command_by_socket(&["zone", "reload"])?;
    ensure!(reloaded.status.success(), "{reloaded:?}");
    let elapsed = started.elapsed();
    for &number in &changed {
        let said = stage.pair.client.enter(|| client.inject(0, &www(number)))??;
        let [_, a, b, c] = (number as u32).to_be_bytes();
        ensure!(said.windows(4).any(|octets| octets == [100, a, b, c]), "{number}: {said:02x?}");
    }
    let count = changed.len();
    tell(&format!("{count} changed zones among all, until served, s"), elapsed.as_secs_f64());
    ensure!(statuses()? == others, "zones were loaded that did not change");
    Ok(Verdict::Passed)
}

//----------- Delegations ----------------------------------------------------------------------------

/// A zone of delegations, signed with opt-out by keys in a folder.
fn signed_delegations(count: usize, folder: &Path) -> Result<Zone> {
    let zone = zones::delegations(APEX, count)?;
    let store = KeyStore::new(folder.join("keys"));
    let (algorithm, now) = (Algorithm::EcdsaP256Sha256, WallTime::now().signature_time());
    let (keys, _) = store.load_or_generate(zone.apex(), KeyLayout::KskZsk, algorithm, now)?;
    let policy =
        SigningPolicy { denial: Denial::Nsec3 { opt_out: true }, ..SigningPolicy::default() };
    Ok(sign_again(&zone, None, &keys, &policy, now)?.0)
}

/// A zone of delegations, signed with opt-out, loaded by sealdns and by knotd from the same file.
pub fn delegations_are_loaded_beside_knotd() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let Some(knotd) = net::find_program("knotd") else {
        return Ok(Verdict::Skipped("no knotd: `cargo xtask setup`".into()));
    };
    let count = size(DELEGATIONS);
    let folder = tempfile::tempdir()?;
    let here = folder.path().display();
    let zone = signed_delegations(count, folder.path())?;
    let records = zone.record_count() as u64;
    let file = folder.path().join("zone");
    zone_file::write_zone(&file, &zone)?;
    drop(zone);
    let apex = APEX.join(".");

    let address = free_address()?;
    let config = format!(
        "server:\n  listen: {}@{}\n  rundir: {here}\n  pidfile: {here}/knotd.pid\n\
         database:\n  storage: {here}/knotd\nlog:\n  - target: stderr\n    any: info\n\
         zone:\n  - domain: {apex}\n    file: {}\n    zonefile-sync: -1\n    journal-content: none\n",
        address.ip(),
        address.port(),
        file.display()
    );
    fs::write(folder.path().join("knotd.conf"), config)?;
    let asked = query(&format!("www.d{:08x}.{apex}", count / 2), A, WITH_DNSSEC);
    let started = Instant::now();
    let mut command = Command::new(knotd);
    command.arg("-c").arg(folder.path().join("knotd.conf"));
    let process = Process::spawn("knotd", &mut command)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address)?;
    let theirs = first_answer(&socket, &asked)?;
    tell("knotd's first answer after, s", started.elapsed().as_secs_f64());
    let memory = memory_of(&process)?;
    tell("knotd's memory, octets per record", memory / records);
    drop(process);

    // As knotd has it: signatures are not verified.
    let section = format!("file = \"{}\"\ndnssec = \"presigned\"\nverify = false", file.display());
    let started = Instant::now();
    let stage = serve("memory = \"2GiB\"", "cuts", &[(&apex, &section)])?;
    let client = Client::new(&stage.pair)?;
    let ours = stage.pair.client.enter(|| client.inject(0, &asked))??;
    tell("sealdns' first answer after, s", started.elapsed().as_secs_f64());
    let status = cache_status(&stage)?;
    let maps = map_octets(&status);
    let memory = memory_of(&stage.server.process)?;
    tell("records", records);
    tell("sealdns' memory with the mapped maps, octets per record", memory / records);
    tell("octets of maps per record", maps / records);
    ensure!(!is_heavy() || memory / records <= MAX_OCTETS_PER_RECORD, "{}", memory / records);
    let read = |octets: &[u8]| tests::dns::Message::read(octets);
    let (ours, theirs) = (read(&ours)?, read(&theirs)?);
    ensure!(ours.authority == theirs.authority, "{ours:?} {theirs:?}");
    ensure!(ours.additional == theirs.additional, "{ours:?} {theirs:?}");
    ensure!(status.zones[0].held == Completeness::Complete, "{status:?}");
    ensure!(status.zones[0].names >= count as u64, "{status:?}");
    Ok(Verdict::Passed)
}

/// A zone that was verified and served is served by XDP at once when the daemon is started again, whatever has become of
/// its file meanwhile, and that is told.
pub fn a_restart_serves_what_was_served() -> Result<Verdict> {
    if let Some(obstacle) = stage::obstacle() {
        return Ok(obstacle);
    }
    let count = size(DELEGATIONS);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("zone");
    zone_file::write_zone(&file, &signed_delegations(count, folder.path())?)?;
    let apex = APEX.join(".");
    let section = format!("file = \"{}\"\ndnssec = \"presigned\"", file.display());
    let started = Instant::now();
    let mut stage = serve("memory = \"2GiB\"", "restart", &[(&apex, &section)])?;
    tell("ready with all signatures verified after, s", started.elapsed().as_secs_f64());
    let client = Client::new(&stage.pair)?;
    let asked = query(&format!("www.d{:08x}.{apex}", count / 2), A, WITH_DNSSEC);
    let before = stage.pair.client.enter(|| client.inject(0, &asked))??;
    drop(client);
    for text in [None, Some("@ SOA")] {
        if let Some(text) = text {
            fs::write(&file, text)?;
        }
        let started = Instant::now();
        stage.restart_in_order()?;
        tell("ready again after, s", started.elapsed().as_secs_f64());
        let client = Client::new(&stage.pair)?;
        let sent = stage.sent_by_xdp()?;
        let again = stage.pair.client.enter(|| client.inject(0, &asked))??;
        ensure!(again == before, "{again:02x?} {before:02x?}");
        ensure!(stage.sent_by_xdp()? == sent + 1, "not from XDP");
        let status = || stage.reply::<ZoneStatus>(&["zone", "status", &apex]);
        match text {
            None => ensure!(status()?.summary.error.is_none(), "{:?}", status()?),
            Some(_) => net::wait_until("the file's fault is told", stage::PATIENCE, || {
                status().is_ok_and(|status| status.summary.error.is_some())
            })?,
        }
    }
    Ok(Verdict::Passed)
}

/// Asks until somebody answers NOERROR.
fn first_answer(socket: &UdpSocket, query: &[u8]) -> Result<Vec<u8>> {
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let deadline = Instant::now() + LOADING;
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        let received = socket.send(query).and_then(|_| socket.recv(&mut buffer));
        match received {
            Ok(len) if buffer[3] & 15 == 0 => return Ok(buffer[..len].to_vec()),
            // Nobody listens yet, which the socket says at once.
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
    anyhow::bail!("no answer")
}
