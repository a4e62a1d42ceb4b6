//! Programs that the kernel runs on frames that it is handed, without a device (`BPF_PROG_TEST_RUN`), and the rig on
//! which it does.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use nix::time::{ClockId, clock_gettime};
use sealdns::{
    cli::zone_file,
    clock::WallTime,
    compile::{Image, Reader},
    datapath::{
        load::{Counters, LoadedPrograms},
        memory::Size,
        object,
    },
    dnssec::policy::Denial,
    zone::{Zone, name},
};
use testbed::frames::Frame;
use tests::{
    dns::{Edns, Query},
    harness::Verdict,
    prog_test_run::{self, Action, Run},
    servers::{DEMO, signed},
};
use xdp_common::{
    Outcome,
    maps::{self, Config},
};

pub mod children;
pub mod edns;
pub mod foretold;
pub mod foul;
pub mod limiting;
pub mod pieces;
pub mod programs;
pub mod random;
pub mod room;

/// Why a test that needs the kernel cannot run, if it cannot.
pub fn obstacle() -> Option<Verdict> {
    if !nix::unistd::geteuid().is_root() {
        return Some(Verdict::Skipped("needs root".into()));
    }
    object::object().err().map(|missing| Verdict::Skipped(missing.to_string()))
}

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const CLIENTS: [&str; 2] = ["198.51.100.1:5353", "[2001:db8::1]:5353"];
const SERVERS: [&str; 2] = ["198.51.100.2:53", "[2001:db8::2]:53"];
const SEED: u64 = 0x5ea1_d115;
const SIZE: Size = Size { slab: 16 << 20, buckets: 4096 };
/// Tags that frames have in turn: none, a VLAN's, a provider's and a VLAN's.
pub const TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 7)], &[(0x88a8, 9), (0x8100, 7)]];

/// The programs with a zone in their maps, and the host's engine over the same memory.
pub struct Rig {
    /// The programs and their maps.
    pub loaded: LoadedPrograms,
    /// The engine over the same memory.
    pub reader: Arc<Reader>,
    /// What the programs are told.
    pub config: Config,
    /// Their time, in seconds since 1970.
    pub now: u32,
}

impl Rig {
    /// Publishes a zone.
    pub fn new(zone: &Zone) -> Result<Self> {
        Self::of_size(zone, SIZE)
    }

    /// Publishes a zone in maps of this size.
    pub fn of_size(zone: &Zone, size: Size) -> Result<Self> {
        let loaded = LoadedPrograms::new(size)?;
        let mut image = Image::new(loaded.memory(), SEED);
        drop(image.publish(zone)?);
        let config = prog_test_run::served(SERVER_MAC, &SERVERS)?;
        let reader = Arc::new(image.reader());
        let mut rig = Self { loaded, reader, config, now: WallTime::now().signature_time() };
        rig.configure(&image, size)?;
        Ok(rig)
    }

    /// Publishes the demo's zone.
    pub fn of_demo(denial: Denial) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        Self::new(&signed(DEMO, denial, directory.path())?)
    }

    fn configure(&mut self, image: &Image, size: Size) -> Result<()> {
        let config = &mut self.config;
        config.booted_at_s = WallTime::from_seconds(self.now.into()).booted_at_s();
        config.seed = SEED;
        config.bucket_mask = u32::try_from(size.buckets - 1)?;
        config.payload_limit = 1232;
        config.max_labels = image.max_labels();
        self.loaded.config.write(config);
        Ok(())
    }

    /// What the programs may take for the time, of a frame that they have just run on: they read the clock only every
    /// so often, so that they may be late by less than a second.
    pub fn times(&self) -> Result<[u32; 2]> {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME)?.tv_sec();
        let now = u32::try_from(self.config.booted_at_s + u64::try_from(since_boot)?)?;
        Ok([now, now - 1])
    }

    fn run(&mut self, frame: &[u8]) -> Result<Run> {
        prog_test_run::run(self.loaded.entry()?, frame, 1)
    }

    /// Runs, with room for the frame that comes back: the verdict, and how long that frame is.
    pub fn run_in(&mut self, frame: &[u8], room: &mut [u8]) -> Result<(Action, usize)> {
        let (action, len, _) = prog_test_run::run_in(self.loaded.entry()?, frame, 1, room)?;
        Ok((action, len))
    }

    /// The counters by [`Outcome::index`].
    pub fn counters(&self) -> Result<Counters> {
        Ok(self.loaded.counters(maps::XDP_COUNTERS)?)
    }

    /// Runs and says what was counted.
    pub fn run_counted(&mut self, frame: &[u8]) -> Result<(Run, Outcome)> {
        let before = self.loaded.counters(maps::XDP_COUNTERS)?;
        let run = self.run(frame)?;
        let after = self.loaded.counters(maps::XDP_COUNTERS)?;
        let counted: Vec<Outcome> = Outcome::ALL
            .into_iter()
            .filter(|outcome| after[outcome.index()] != before[outcome.index()])
            .collect();
        match counted[..] {
            [outcome] => Ok((run, outcome)),
            _ => bail!("{counted:?} were counted"),
        }
    }
}

/// A zone whose apex is as short as can be: names below it have up to 127 labels.
pub const SHORT: (&str, &str) = (
    "e",
    "$TTL 5m
@ SOA a b 1 4h 1h 2w 1m
@ NS a
a A 192.0.2.1
*.w A 192.0.2.2
c NS a.c
a.c A 192.0.2.3
d DNAME w
*.v CNAME w.w
",
);

/// A zone without signatures.
pub fn unsigned((apex, text): (&str, &str)) -> Result<Zone> {
    let apex = apex.parse()?;
    zone_file::parse_zone(text.as_bytes(), &apex)
}

/// A question; `edns` is whether there is an OPT record and whether DO is set in it.
pub fn question(name: &[u8], rtype: u16, edns: Option<bool>) -> Vec<u8> {
    let edns = edns.map(|dnssec_ok| Edns { payload: 1232, dnssec_ok });
    Query { name: name.to_vec(), rtype, edns }.message(0x1234)
}

/// A frame from the client to the server, IPv4 (0) or IPv6 (1).
pub fn framed(payload: Vec<u8>, family: usize, tags: &[(u16, u16)]) -> Result<Frame> {
    Ok(Frame {
        source_mac: CLIENT_MAC,
        destination_mac: SERVER_MAC,
        tags: tags.to_vec(),
        source: CLIENTS[family].parse()?,
        destination: SERVERS[family].parse()?,
        ttl: 63,
        payload,
    })
}

/// Questions for names of 255 octets, in as many labels as fit and in as few, right below the apex and below
/// each name one label down.
pub fn at_the_limits(zone: &Zone) -> Vec<Query> {
    const EDNS: [Option<Edns>; 2] = [None, Some(Edns { payload: 1232, dnssec_ok: true })];
    let depth = name::labels(zone.apex().as_wire()).count() + 1;
    let owners = zone.owners().map(|owner| owner.name());
    let mut queries = Vec::new();
    for above in owners.filter(|owner| name::labels(owner).count() <= depth) {
        for len in [1, 63] {
            let mut wire = above.to_vec();
            while wire.len() < 254 {
                let len = len.min(254 - wire.len());
                wire = [&[len as u8], &vec![b'y'; len][..], &wire].concat();
            }
            queries.extend(EDNS.map(|edns| Query { name: wire.clone(), rtype: 1, edns }));
        }
    }
    queries
}

/// Asks once and sees that what is sent is what the daemon says, and that what is not is unchanged.
pub fn compare_one(rig: &mut Rig, asked: &Frame) -> Result<Outcome> {
    let octets = asked.encode()?;
    let (run, outcome) = rig.run_counted(&octets)?;
    let mut said = Vec::new();
    let on_host = rig.reader.answer(&asked.payload, false, 1232, rig.now, &mut said);
    if run.action == Action::Pass {
        ensure!(run.frame == octets, "changed, though passed");
        let is_ours = outcome != Outcome::NotOurs || on_host == Outcome::NotOurs;
        ensure!(is_ours, "not ours, and the daemon says {on_host:?}");
        return Ok(outcome);
    }
    ensure!(run.action == Action::Tx, "{:?}", run.action);
    ensure!(on_host == outcome, "{outcome:?}, and the daemon says {on_host:?}");
    let expected = asked.reply(said);
    // Taking it apart recomputes both checksums by the tests' own arithmetic.
    let reply = Frame::decode(&run.frame)?;
    ensure!(reply == expected, "\n{reply:?}\n{expected:?}");
    Ok(outcome)
}
