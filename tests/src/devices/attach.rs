//! The daemon's data plane with the real object on real devices: attaching, counting, growing.

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use sealdns::{
    compile::Memory as _,
    config::{Config, XdpMode},
    datapath::{
        Plane,
        interface::Interface,
        load::LoadedPrograms,
        memory::Size,
        seam::{Attaching, DataPlane, Observing, Publishing},
    },
    observe::{ProgramCounters, usage::Completeness},
    zone::{Version, text},
};
use testbed::net::{self, End, Namespace};
use tests::harness::Verdict;
use xdp_common::Outcome;

use crate::{
    kernel::obstacle,
    wire::{pair::link, stage::PATIENCE},
};

const CLIENT: &str = "198.51.100.1/24";
const SERVER: &str = "198.51.100.2/24";

/// Little memory, so that little outgrows it.
const FLOOR: Size = Size { slab: 1 << 16, buckets: 64 };

/// A query for example. SOA, no EDNS.
const QUERY: &[u8] = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07example\0\0\x06\0\x01";

/// Two namespaces joined by a veth pair; the server's end is `server`.
struct Stage {
    client: Namespace,
    server: Namespace,
}

impl Stage {
    fn new(test: &str) -> Result<Self> {
        net::sweep();
        let client = Namespace::new(&format!("{test}-c"))?;
        let server = Namespace::new(&format!("{test}-s"))?;
        net::veth(
            &End { namespace: &client, interface: "client", addresses: &[CLIENT] },
            &End { namespace: &server, interface: "server", addresses: &[SERVER] },
        )?;
        Ok(Self { client, server })
    }

    /// A socket of the client that sends to a port of the server.
    fn socket(&self, port: u16) -> Result<UdpSocket> {
        let server = SocketAddr::new(net::address_of(SERVER)?, port);
        self.client.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(server)?;
            Ok(socket)
        })?
    }

    /// Sends without minding that nobody listens there, which the next call would be told.
    fn send(&self, socket: &UdpSocket, message: &[u8]) {
        if socket.send(message).is_err() {
            let _ = socket.send(message);
        }
    }
}

/// Waits until the plane's counters are as they are to be; the error shows them.
fn wait_for_counters(plane: &Plane, are_right: impl Fn(&ProgramCounters) -> bool) -> Result<()> {
    let are_right = || plane.counters().xdp.is_some_and(|counters| are_right(&counters));
    net::wait_until("the counters to be right", PATIENCE, are_right)
        .with_context(|| format!("{:?}", plane.counters()))
}

/// Waits until a count has grown by a hundred.
fn wait_for_more(count: &AtomicU64) -> Result<()> {
    let before = count.load(Relaxed);
    net::wait_until("packets to go on", PATIENCE, || count.load(Relaxed) >= before + 100)
}

/// A configuration that ends with its section `[xdp]`. A mode that is not named is native: what is tested is XDP.
fn config(more: &str) -> Result<Config> {
    let mode = if more.contains("mode =") { "" } else { "mode = \"native\"\n" };
    let text = format!("version = \"v1\"\n{more}\n{mode}addresses = [\"198.51.100.2\"]\n");
    Ok(Config::parse(&text, Path::new("sealdns.toml"))?)
}

/// A zone `example.` with this many hosts.
fn zone(hosts: u32) -> Result<Version> {
    let text = format!(
        "$TTL 300\n@ SOA ns mail 1 256 256 1024 60\n@ NS ns\nns A 192.0.2.53\n\
         $GENERATE 1-{hosts} host$ TXT one-of-many\n"
    );
    let apex = "example".parse().context("a name")?;
    let none = &mut |_: &str| Err(std::io::ErrorKind::NotFound.into());
    Ok(text::parse(text.into(), "zone", &apex, text::Options::default(), none)?.zone.into())
}

/// From opening to detaching, natively; the kernel's own tool sees the same.
pub fn xdp_is_attached_counts_and_goes() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("attach")?;
    let config = config("[xdp]\ninterfaces = [\"server\"]")?;
    let mut plane = stage.server.enter(|| Plane::new(&config, FLOOR))??;
    let status = plane.status();
    ensure!(status.attachments.len() == 1, "{status:?}");
    ensure!(status.attachments[0].interface == "server", "{status:?}");
    ensure!(status.attachments[0].mode == XdpMode::Native, "{status:?}");
    ensure!(status.maps.iter().all(|map| map.capacity > 0), "{status:?}");
    ensure!(link(&stage.server)?.contains("prog/xdp id"), "{}", link(&stage.server)?);

    let (foreign, served) = (stage.socket(4242)?, stage.socket(53)?);
    for _ in 0..5 {
        stage.send(&foreign, b"not for port 53");
    }
    stage.send(&served, QUERY);
    // The image is empty: port and addresses were ours, the name is nobody's.
    wait_for_counters(&plane, |ProgramCounters { outcomes, .. }| {
        outcomes[Outcome::NotOurPort] >= 5
            && outcomes[Outcome::Miss] + outcomes[Outcome::NotOurs] >= 1
    })?;
    let counters = plane.counters().xdp.context("no counters")?;
    ensure!(counters.outcomes[Outcome::NotOurAddress] == 0, "{counters:?}");
    ensure!(counters.octets_out == 0, "{counters:?}");

    let error = plane.detach(Some("other")).err().context("detached from nowhere")?.to_string();
    ensure!(error == "XDP is not attached to other, but to server", "{error}");
    ensure!(stage.server.enter(|| plane.detach(None))??.detached == ["server"]);
    ensure!(!link(&stage.server)?.contains("xdp"), "{}", link(&stage.server)?);
    ensure!(plane.status().attachments.is_empty());

    // Once more at run time; this time it goes with the plane.
    stage.server.enter(|| plane.attach("server"))??;
    ensure!(link(&stage.server)?.contains("prog/xdp id"), "{}", link(&stage.server)?);
    let error = stage.server.enter(|| plane.attach("server"))?.err().context("attached twice")?;
    ensure!(error.to_string() == "XDP is attached to server already", "{error}");
    drop(plane);
    ensure!(!link(&stage.server)?.contains("xdp"), "{}", link(&stage.server)?);
    Ok(Verdict::Passed)
}

/// The program that came first keeps the device, and is named.
pub fn a_program_of_another_is_not_replaced() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("busy")?;
    let config = config("[xdp]\ninterfaces = [\"server\"]")?;
    let first = stage.server.enter(|| Plane::new(&config, FLOOR))??;
    let attached = stage.server.enter(|| Interface::find("server"))??.xdp.context("no program")?;
    let error =
        stage.server.enter(|| Plane::new(&config, FLOOR).err().map(|e| format!("{e:#}")))?;
    let error = error.context("the program was replaced")?;
    ensure!(error.contains(&format!("id {}, native mode", attached.id)), "{error}");
    let now = stage.server.enter(|| Interface::find("server"))??.xdp;
    ensure!(now == Some(attached), "{now:?}");
    drop(first);

    let missing = config_of_missing()?;
    let error =
        stage.server.enter(|| Plane::new(&missing, FLOOR).err().map(|e| format!("{e:#}")))?;
    let error = error.context("attached to what does not exist")?;
    ensure!(error.contains("no network interface \"servre\""), "{error}");
    ensure!(error.contains("there are: lo, server"), "{error}");
    Ok(Verdict::Passed)
}

fn config_of_missing() -> Result<Config> {
    config("[xdp]\ninterfaces = [\"servre\"]")
}

/// A bridge's driver has no XDP, and on veth nobody can know whether it would do.
pub fn each_device_takes_the_path_that_it_needs() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("generic")?;
    if stage.server.ip("link add bridge type bridge").is_err() {
        return Ok(Verdict::Skipped("this kernel has no bridges".into()));
    }
    let plane = |text: &str| {
        let config = config(&format!("[xdp]\n{text}"))?;
        stage.server.enter(|| Plane::new(&config, FLOOR))?
    };
    let mode = |plane: Plane| plane.status().attachments[0].mode;
    for device in ["bridge", "server"] {
        let on = format!("interfaces = [\"{device}\"]\nmode = \"auto\"\n");
        ensure!(mode(plane(&on)?) == XdpMode::Tcx, "{device}");
        // As before Linux 6.6.
        ensure!(mode(plane(&format!("{on}tcx = \"off\""))?) == XdpMode::Generic, "{device}");
    }
    ensure!(mode(plane("interfaces = [\"server\"]\nmode = \"generic\"")?) == XdpMode::Generic);
    ensure!(mode(plane("interfaces = [\"server\"]\nmode = \"native\"")?) == XdpMode::Native);
    let refused = plane("interfaces = [\"bridge\"]\nmode = \"native\"").err();
    let refused = format!("{:#}", refused.context("a bridge runs XDP natively")?);
    ensure!(refused.contains("bridge cannot run XDP in native mode: "), "{refused}");
    ensure!(refused.contains("mode = \"generic\""), "{refused}");
    Ok(Verdict::Passed)
}

/// While packets come, zones outgrow the maps twice: every packet is counted, by the old programs or
/// by the new.
pub fn programs_are_replaced_and_no_packet_is_lost() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("grow")?;
    let config = config("[xdp]\ninterfaces = [\"server\"]\nmemory = \"64MiB\"")?;
    let mut plane = stage.server.enter(|| Plane::new(&config, FLOOR))??;
    let id =
        || anyhow::Ok(stage.server.enter(|| Interface::find("server"))??.xdp.map(|xdp| xdp.id));
    let capacity = |plane: &Plane| plane.status().maps[0].capacity;
    let (first_id, first_capacity) = (id()?, capacity(&plane));

    let socket = stage.socket(4242)?;
    // Somebody must listen, or refusals come back and sending fails.
    let server = SocketAddr::new(net::address_of(SERVER)?, 4242);
    let _listener = stage.server.enter(|| UdpSocket::bind(server))??;
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !stop.load(Relaxed) {
                sent.fetch_add(u64::from(socket.send(b"not for port 53").is_ok()), Relaxed);
                // The rate is what the test gives: not so fast that the device drops.
                thread::sleep(Duration::from_micros(100));
            }
        });
        let grown = [2_000, 40_000].map(|hosts| -> Result<_> {
            plane.publish(&zone(hosts)?, None)?;
            Ok((id()?, capacity(&plane)))
        });
        let more = wait_for_more(&sent);
        stop.store(true, Relaxed);
        sender.join().ok().context("the sender panicked")?;
        more?;
        let [second, third] = grown;
        let (second, third) = (second?, third?);
        ensure!(second.0 != first_id && third.0 != second.0, "{first_id:?} {second:?} {third:?}");
        ensure!(second.1 > first_capacity && third.1 > second.1, "{second:?} {third:?}");
        anyhow::Ok(sent.load(Relaxed))
    })?;
    wait_for_counters(&plane, |counters| counters.outcomes[Outcome::NotOurPort] >= sent)?;
    let counters = plane.counters().xdp.context("no counters")?;
    ensure!(sent > 100, "{sent} packets prove nothing");
    ensure!(counters.outcomes[Outcome::NotOurPort] == sent, "{sent} sent, {counters:?}");
    drop(plane);
    ensure!(!link(&stage.server)?.contains("xdp"), "{}", link(&stage.server)?);
    Ok(Verdict::Passed)
}

/// Queries for a name that is there are answered from XDP, all of them, with its data, while the maps
/// grow and while the name's zone is published again.
pub fn answers_come_from_xdp_while_maps_grow() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("answer")?;
    let on =
        |interface| config(&format!("[xdp]\ninterfaces = [\"{interface}\"]\nmemory = \"64MiB\""));
    // A veth end takes what XDP sends from the other only if it has a program itself.
    let _client = stage.client.enter(|| Plane::new(&on("client")?, FLOOR))??;
    let mut plane = stage.server.enter(|| Plane::new(&on("server")?, FLOOR))??;
    plane.publish(&zone(1)?, None)?;
    let capacity = |plane: &Plane| plane.status().maps[0].capacity;
    let before = capacity(&plane);

    let socket = stage.socket(53)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let asked = thread::scope(|scope| {
        let asker = scope.spawn(|| -> Result<u64> {
            let (mut asked, mut room) = (0u16, [0; 512]);
            while !stop.load(Relaxed) {
                asked += 1;
                let id = asked.to_be_bytes();
                let query = [&id[..], &HOST_QUERY[2..]].concat();
                socket.send(&query)?;
                let len = socket.recv(&mut room).with_context(|| format!("query {asked}"))?;
                let answer = &room[..len];
                ensure!(answer.starts_with(&id) && answer[2..4] == [0x84, 0], "{answer:02x?}");
                ensure!(answer.ends_with(b"\0\x0c\x0bone-of-many"), "{answer:02x?}");
                answered.fetch_add(1, Relaxed);
                // The rate is what the test gives: query numbers are not to come round.
                thread::sleep(Duration::from_micros(500));
            }
            Ok(u64::from(asked))
        });
        let published = [1, 2_000, 2_000, 20_000].map(|hosts| plane.publish(&zone(hosts)?, None));
        // If the asker has failed, its error says more than that of the wait.
        let more = wait_for_more(&answered);
        stop.store(true, Relaxed);
        let asked = asker.join().ok().context("the client panicked")?;
        let asked = asked.and_then(|asked| more.map(|()| asked));
        published.into_iter().collect::<Result<Vec<_>>>()?;
        asked
    })?;
    ensure!(capacity(&plane) > 2 * before, "{:?}", plane.status());
    let counters = plane.counters().xdp.context("no counters")?;
    ensure!(asked > 100, "{asked} queries prove nothing");
    ensure!(counters.outcomes[Outcome::Positive] == asked, "{asked} asked, {counters:?}");
    ensure!(counters.octets_in == asked * HOST_QUERY.len() as u64, "{counters:?}");
    Ok(Verdict::Passed)
}

/// A query for host1.example. TXT, no EDNS.
const HOST_QUERY: &[u8] = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x05host1\x07example\0\0\x10\0\x01";

/// What an older version of a zone took is free a tick later.
pub fn old_versions_are_freed() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("free")?;
    let config = config("[xdp]\ninterfaces = [\"server\"]")?;
    let mut plane = stage.server.enter(|| Plane::new(&config, FLOOR))??;
    let used = |plane: &Plane| plane.status().maps[0].used;
    let (many, few) = (zone(100)?, zone(50)?);
    plane.publish(&many, None)?;
    plane.tick();
    let before = used(&plane);
    plane.publish(&few, None)?;
    let both = used(&plane);
    ensure!(both >= before, "{before}, {both}: the older version was overwritten while it is read");
    plane.tick();
    let after = used(&plane);
    ensure!(after < before, "{before}, {after}");
    // What is the same takes nothing.
    plane.publish(&few, None)?;
    ensure!(used(&plane) <= after + 64, "{after}, {}", used(&plane));
    // Without a tick it is freed when memory runs out, and only then is more made.
    for _ in 0..50 {
        plane.publish(&many, None)?;
        plane.publish(&few, None)?;
    }
    ensure!(plane.status().maps[0].capacity == FLOOR.slab as u64, "{:?}", plane.status());
    plane.remove(many.apex())?;
    plane.tick();
    ensure!(used(&plane) == 0, "{}", used(&plane));
    Ok(Verdict::Passed)
}

/// The maps as memory: what is written is there, and behind the slab's end are zeros.
pub fn maps_are_memory() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let loaded = LoadedPrograms::new(FLOOR)?;
    let memory = loaded.memory();
    ensure!(memory.slab_len() == FLOOR.slab && memory.bucket_count() == FLOOR.buckets);
    memory.write(FLOOR.slab - 8, &[0xff; 8]);
    memory.store(63, 7, 0x1234);
    let window = memory.read(FLOOR.slab - 8, 4096).context("a window at the end")?;
    ensure!(window[..8] == [0xff; 8] && window[8..].iter().all(|octet| *octet == 0));
    ensure!(memory.bucket(63) == [0, 0, 0, 0, 0, 0, 0, 0x1234]);
    Ok(Verdict::Passed)
}

/// Who may not load is told what it takes.
pub fn without_the_right_to_load_a_sentence_says_so() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    // Capabilities belong to a thread.
    let refused = thread::spawn(|| -> Result<_> {
        caps::clear(None, caps::CapSet::Effective)?;
        Ok(LoadedPrograms::new(FLOOR).err().map(|error| error.to_string()))
    });
    let refused = refused.join().ok().context("the thread panicked")??;
    let refused = refused.context("programs were loaded without capabilities")?;
    ensure!(refused.contains("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"), "{refused}");
    Ok(Verdict::Passed)
}

/// What does not fit is partial within the limit, and complete again once it fits.
pub fn memory_has_a_limit() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("limit")?;
    let config = config("[xdp]\ninterfaces = [\"server\"]\nmemory = \"1MiB\"")?;
    let mut plane = stage.server.enter(|| Plane::new(&config, FLOOR))??;
    for (hosts, is_partial) in
        [(10, false), (40_000, true), (40_001, true), (11, false), (40_000, true)]
    {
        let published = plane.publish(&zone(hosts)?, None)?;
        ensure!(published.is_partial == is_partial, "{hosts}: {published:?}");
        let status = plane.status();
        let octets: u64 = status.maps.iter().map(|map| map.memory_octets).sum();
        ensure!(octets <= 1 << 20, "{status:?}");
        ensure!(
            status.zones[0].held
                == if is_partial { Completeness::Partial } else { Completeness::Complete },
            "{status:?}"
        );
        ensure!(status.zones[0].names == u64::from(hosts) + 2, "{status:?}");
    }
    plane.remove(zone(1)?.apex())?;
    plane.tick();
    ensure!(plane.status().zones.is_empty() && plane.status().maps[0].used == 0);
    Ok(Verdict::Passed)
}

/// A daemon that gives up its privileges cannot make maps later.
pub fn without_privileges_all_memory_is_made_at_once() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("user")?;
    let config = config(
        "[server]\nuser = \"nobody\"\n[xdp]\ninterfaces = [\"server\"]\nmemory = \"64MiB\"",
    )?;
    let plane = stage.server.enter(|| Plane::new(&config, FLOOR))??;
    let octets: u64 = plane.status().maps.iter().map(|map| map.memory_octets).sum();
    ensure!(octets <= 64 << 20 && octets > 60 << 20, "{octets}");
    Ok(Verdict::Passed)
}

/// A device's MAC address and name may change while XDP is attached.
pub fn a_device_may_change_and_go() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let stage = Stage::new("mac")?;
    let config = config("[xdp]\ninterfaces = [\"server\"]")?;
    let mut plane = stage.server.enter(|| Plane::new(&config, FLOOR))??;
    let socket = stage.socket(53)?;
    stage.server.ip("link set server address 02:00:00:00:00:99")?;
    stage.client.ip("neigh replace 198.51.100.2 lladdr 02:00:00:00:00:99 dev client")?;
    stage.send(&socket, QUERY);
    wait_for_counters(&plane, |counters| counters.outcomes[Outcome::NotOurAddress] >= 1)?;
    let before = plane.counters().xdp.context("no counters")?.outcomes;
    stage.server.enter(|| plane.tick())?;
    stage.send(&socket, QUERY);
    wait_for_counters(&plane, |ProgramCounters { outcomes: after, .. }| {
        after[Outcome::Miss] + after[Outcome::NotOurs]
            > before[Outcome::Miss] + before[Outcome::NotOurs]
    })?;

    stage.server.ip("link set server down")?;
    stage.server.ip("link set server name renamed")?;
    stage.server.enter(|| plane.tick())?;
    let now = plane.status().attachments;
    ensure!(now.len() == 1 && now[0].interface == "renamed", "{now:?}");

    // A device that goes takes its attachment along.
    stage.server.ip("link delete renamed")?;
    stage.server.enter(|| plane.tick())?;
    ensure!(plane.status().attachments.is_empty(), "{:?}", plane.status());
    Ok(Verdict::Passed)
}
