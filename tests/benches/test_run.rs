//! What an answer costs the processor: the real programs, run by the kernel a few hundred thousand
//! times on one query (`BPF_PROG_TEST_RUN`), less what measuring costs.
//!
//! `cargo xtask bench` calls it and shows the figures; by itself it prints them as JSON.

use std::{
    env,
    net::{IpAddr, SocketAddr},
    sync::Barrier,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use aya::{Ebpf, maps::ProgramArray, programs::ProgramFd};
use sealdns::{
    clock::{self, WallTime},
    compile::{Image, PublishError, QueryContext, Reader},
    datapath::{limiting::ListsInMaps, load::LoadedPrograms, memory::Size},
    ratelimit::limits::Limits,
    zone::{Rtype, Zone},
};
use serde_json::{Value, json};
use testbed::frames::Frame;
use tests::{
    measure::{
        self,
        figures::Figures,
        programs::{self, Names, xdp},
        waits,
        zones::{self, NOW, Wire},
    },
    prog_test_run::{self, Action, Run},
};
use xdp_common::{
    Outcome,
    cookie::ServerCookie,
    image::Bucket,
    lab::control,
    limit::{
        Class, Mode, Policy,
        policy::{Circumstances, MAX_RATE},
    },
    maps::{self, CHUNK_LEN, EdnsSettings, XDP_COUNTERS, address_words},
};

/// How often each figure is taken; the median is shown.
const ROUNDS: usize = 7;

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const CLIENTS: [&str; 2] = ["198.51.100.1:5353", "[2001:db8::1]:5353"];
const SERVERS: [&str; 2] = ["198.51.100.2:53", "[2001:db8::2]:53"];
/// The key of the names' hash: any, but the same each time.
const SEED: u64 = 0x5ea1_d115_0bad_cafe;
const PAYLOAD: u16 = 1232;
/// The secret of cookies.
const SECRET: [u64; 2] = [1, 2];

/// Cache lines that a record and what lies behind it are spread over.
const RECORD_LINES: usize = 8;

/// The programs that measure.
const PROGRAMS: [&str; 5] = ["measure", "finish", "regrow", "count_in_bucket", "count_in_lru"];

/// Steps back between which the time of one is taken.
const SHRINKS: [u64; 2] = [0, 16];

fn main() -> Result<()> {
    // `cargo test --all-targets` calls it without an argument that `cargo bench` gives.
    let (bench, arguments): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|argument| argument == "--bench");
    let mut arguments = arguments.iter().map(|argument| argument.parse::<u32>());
    let names: u32 = arguments.next().transpose()?.unwrap_or(1000);
    let repeat: u32 = arguments.next().transpose()?.unwrap_or(1000);
    if bench.is_empty() && !nix::unistd::geteuid().is_root() {
        println!("not run: loading programs needs root");
        return Ok(());
    }
    let cache = measure::cache()?;
    let nsec = zones::nsec(&cache, names as usize)?;
    let nsec3 = zones::nsec3(&cache, names as usize)?;
    let rig = Rig::new(&[nsec, nsec3])?;
    let mut all = cases(names);
    all.extend(limited());
    println!("{:#}", rig.run(&all, repeat)?);
    Ok(())
}

//----------- Cases ----------------------------------------------------------------------------------

/// A question, asked again and again.
struct Case {
    title: &'static str,
    name: Wire,
    qtype: u16,
    edns: Edns,
    ipv6: bool,
    port: u16,
    /// How many names are asked for, in random order; 0 for always the same.
    names: u32,
    outcome: Outcome,
    /// Records expected in the answer section.
    answers: u16,
    /// How many netblocks of IPv4 ask, in random order; 0 for one.
    sources: u32,
    /// What is limited.
    limits: Limits,
    /// What is run.
    program: &'static str,
}

/// What the query says of EDNS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edns {
    None,
    Plain,
    DnssecOk,
    /// As [`Edns::DnssecOk`], with a valid cookie.
    Cookie,
}

impl Case {
    fn new(title: &'static str, name: Wire, qtype: Rtype, outcome: Outcome, answers: u16) -> Self {
        Self {
            title,
            name,
            qtype: qtype.0,
            edns: Edns::DnssecOk,
            ipv6: false,
            port: 53,
            names: 0,
            outcome,
            answers,
            sources: 0,
            limits: Limits::default(),
            program: "serve",
        }
    }
}

/// Netblocks that ask at random.
const NETBLOCKS: u32 = 1_000_000;

/// Limits that nobody reaches: as many at once as can be said.
fn unreached() -> Limits {
    let policy = Policy {
        mode: Mode::On as u32,
        rates: [MAX_RATE / 2; Class::COUNT],
        burst: u32::MAX,
        total: MAX_RATE / 2,
        total_burst: u32::MAX,
        ..Policy::new()
    };
    Limits { policy, ..Limits::default() }
}

/// The same, without totals: one account for each response.
fn without_totals() -> Limits {
    let unreached = unreached();
    let policy = Policy { total: 0, ..unreached.policy };
    Limits { policy, ..unreached }
}

/// One response a second of any kind, and nothing is slipped.
fn reached(total: bool) -> Limits {
    let rates = if total { MAX_RATE / 2 } else { 1 };
    let policy = Policy {
        rates: [rates; Class::COUNT],
        burst: 1,
        slip: 0,
        total: u32::from(total),
        total_burst: 1,
        total_slip: 0,
        ..unreached().policy
    };
    Limits { policy, ..Limits::default() }
}

fn cases(names: u32) -> Vec<Case> {
    use Outcome::{Nodata, NotOurPort, NotOurs, Nxdomain, Positive, Referral, Truncated, Wildcard};
    let (host, gap) = (&*zones::host(7), &*zones::gap(7));
    let (nsec, nsec3) = (zones::below, zones::below_nsec3);
    let hot =
        |title, name, qtype, outcome, answers| Case::new(title, name, qtype, outcome, answers);
    let random = |title, name, qtype, outcome, answers| Case {
        names,
        ..Case::new(title, name, qtype, outcome, answers)
    };
    vec![
        hot("positive", nsec(&[host]), Rtype::A, Positive, zones::ADDRESSES + 1),
        Case {
            edns: Edns::Plain,
            ..hot("positive, DO=0", nsec(&[host]), Rtype::A, Positive, zones::ADDRESSES)
        },
        Case {
            ipv6: true,
            ..hot("positive, over IPv6", nsec(&[host]), Rtype::A, Positive, zones::ADDRESSES + 1)
        },
        Case {
            edns: Edns::Cookie,
            ..hot("positive, cookie", nsec(&[host]), Rtype::A, Positive, zones::ADDRESSES + 1)
        },
        Case {
            edns: Edns::Cookie,
            ipv6: true,
            ..hot("positive, cookie, IPv6", nsec(&[host]), Rtype::A, Positive, zones::ADDRESSES + 1)
        },
        hot("CNAME chain of 2", nsec(&["chain"]), Rtype::A, Positive, 4 + 5),
        hot("NODATA, NSEC", nsec(&[host]), Rtype::MX, Nodata, 0),
        hot("NODATA, NSEC3", nsec3(&[host]), Rtype::MX, Nodata, 0),
        hot("referral with DS", nsec(&["cut"]), Rtype::A, Referral, 0),
        hot("referral below the cut", nsec(&[host, "cut"]), Rtype::A, Referral, 0),
        hot("wildcard, NSEC", nsec(&[host, "wild"]), Rtype::A, Wildcard, 2),
        hot("wildcard, NSEC3", nsec3(&[host, "wild"]), Rtype::A, Wildcard, 2),
        hot("NXDOMAIN, NSEC", nsec(&[gap]), Rtype::A, Nxdomain, 0),
        hot("NXDOMAIN, NSEC3", nsec3(&[gap]), Rtype::A, Nxdomain, 0),
        Case { edns: Edns::None, ..hot("NXDOMAIN, no EDNS", nsec(&[gap]), Rtype::A, Nxdomain, 0) },
        Case { edns: Edns::None, ..hot("truncated", nsec(&["long"]), Rtype::TXT, Truncated, 0) },
        hot("not ours, passed up", zones::elsewhere(), Rtype::A, NotOurs, 0),
        Case { port: 54, ..hot("foreign, passed up", nsec(&[host]), Rtype::A, NotOurPort, 0) },
        random("positive, random", nsec(&[host]), Rtype::A, Positive, zones::ADDRESSES + 1),
        random("NODATA, random", nsec(&[host]), Rtype::MX, Nodata, 0),
        random("referral, random", nsec(&[host, "cut"]), Rtype::A, Referral, 0),
        random("wildcard, NSEC, random", nsec(&[host, "wild"]), Rtype::A, Wildcard, 2),
        random("wildcard, NSEC3, random", nsec3(&[host, "wild"]), Rtype::A, Wildcard, 2),
        random("NXDOMAIN, NSEC, random", nsec(&[gap]), Rtype::A, Nxdomain, 0),
        random("NXDOMAIN, NSEC3, random", nsec3(&[gap]), Rtype::A, Nxdomain, 0),
    ]
}

/// What limiting costs: the difference to the same case without it, and each table by itself.
fn limited() -> Vec<Case> {
    use Outcome::{Limited, Positive};
    let host = &*zones::host(7);
    let case = |title, outcome, limits, sources| Case {
        sources,
        limits,
        ..Case::new(title, zones::below(&[host]), Rtype::A, outcome, zones::ADDRESSES + 1)
    };
    let alone = |title, program, sources| Case {
        program,
        ..case(title, Positive, Limits::default(), sources)
    };
    vec![
        case("positive, from a million netblocks", Positive, Limits::default(), NETBLOCKS),
        case("limited, one netblock, no totals", Positive, without_totals(), 0),
        case("limited, a million netblocks, no totals", Positive, without_totals(), NETBLOCKS),
        case("limited, one netblock, four totals", Positive, unreached(), 0),
        case("limited, a million netblocks, four totals", Positive, unreached(), NETBLOCKS),
        case("over its total, dropped", Limited, reached(true), 0),
        case("over its class, dropped", Limited, reached(false), 0),
        alone("one account by itself, a million netblocks", "count_in_bucket", NETBLOCKS),
        alone("LRU map of the kernel, one netblock", "count_in_lru", 0),
        alone("LRU map of the kernel, a million netblocks", "count_in_lru", NETBLOCKS),
    ]
}

/// The query as a frame.
fn frame(case: &Case) -> Result<Frame> {
    let mut query = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(case.edns != Edns::None)];
    query.extend(&case.name);
    query.extend(case.qtype.to_be_bytes());
    query.extend([0, 1]);
    if case.edns != Edns::None {
        let [high, low] = PAYLOAD.to_be_bytes();
        let flags = u8::from(case.edns != Edns::Plain) << 7;
        query.extend([0, 0, 41, high, low, 0, 0, flags, 0, 0]);
        let client: SocketAddr = CLIENTS[usize::from(case.ipv6)].parse()?;
        let cookie = if case.edns == Edns::Cookie { cookie(client.ip()) } else { Vec::new() };
        query.push(u8::try_from(cookie.len())?);
        query.extend(cookie);
    }
    let family = usize::from(case.ipv6);
    let mut destination: SocketAddr = SERVERS[family].parse()?;
    destination.set_port(case.port);
    Ok(Frame {
        source_mac: CLIENT_MAC,
        destination_mac: SERVER_MAC,
        tags: Vec::new(),
        source: CLIENTS[family].parse()?,
        destination,
        ttl: 64,
        payload: query,
    })
}

/// A COOKIE option with a cookie that the server has made a minute ago.
fn cookie(client: IpAddr) -> Vec<u8> {
    const CLIENT: u64 = 0x0123_4567_89ab_cdef;
    let server = ServerCookie::new(&SECRET, CLIENT, address_words(client), NOW - 60);
    [&[0, 10, 0, 24][..], &[CLIENT, server.head, server.hash].map(u64::to_le_bytes).concat()]
        .concat()
}

fn edns_settings() -> EdnsSettings {
    EdnsSettings { secrets: [SECRET; 2], secret_count: 1, ..EdnsSettings::new() }
}

//----------- Rig ------------------------------------------------------------------------------------

/// The programs that are measured and those that measure.
struct Rig {
    loaded: LoadedPrograms,
    reader: Reader,
    lab: Ebpf,
    /// Octets of the table, and of the slab in use.
    table: usize,
    slab: usize,
    config: maps::Config,
    written: ListsInMaps,
}

impl Rig {
    fn new(zones: &[Zone]) -> Result<Self> {
        let mut size = Size { slab: 16 << 20, buckets: 4096 };
        let (mut loaded, image) = 'sizes: loop {
            let loaded = LoadedPrograms::new(size)?;
            let mut image = Image::new(loaded.memory(), SEED);
            for zone in zones {
                match image.publish(zone) {
                    Ok(_nothing_retired) => {}
                    Err(PublishError::Full { slab_needed, buckets_needed }) => {
                        let larger = Size {
                            slab: slab_needed.next_multiple_of(CHUNK_LEN),
                            buckets: buckets_needed.next_power_of_two(),
                        };
                        ensure!(larger != size, "the zones do not fit what they ask for");
                        size = larger;
                        continue 'sizes;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            break (loaded, image);
        };
        let (table, slab) = (size.buckets * size_of::<Bucket>(), image.usage().slab_octets);
        let mut config = prog_test_run::served(SERVER_MAC, &SERVERS)?;
        config.booted_at_s = WallTime::from_seconds(NOW.into()).booted_at_s();
        config.seed = SEED;
        config.bucket_mask = u32::try_from(size.buckets - 1)?;
        config.payload_limit = u32::from(PAYLOAD);
        config.max_labels = image.max_labels();
        config.tick_ns = clock::tick_ns()?;
        loaded.edns_settings.write(&edns_settings());
        let lab = programs::load(&PROGRAMS)?;
        let reader = image.reader();
        let written = ListsInMaps::default();
        Ok(Self { loaded, reader, lab, table, slab, config, written })
    }

    /// Limits as a case says.
    fn set_limits(&mut self, limits: &Limits) -> Result<()> {
        let Self { loaded, config, written, .. } = self;
        let circumstances = Circumstances { tick_ns: config.tick_ns, qps: 0 };
        written.write(loaded, limits, circumstances, config)?;
        loaded.config.write(config);
        Ok(())
    }

    fn run(mut self, cases: &[Case], repeat: u32) -> Result<Value> {
        let shrink = self.shrink(repeat)?;
        let mut rows = Vec::new();
        for case in cases {
            let frame = frame(case)?;
            self.set_limits(&case.limits)?;
            self.ask(case, &frame)?;
            let reply = self.check(case, &frame)?;
            let grown = reply.is_some_and(|octets| octets != frame.encode().map_or(0, |f| f.len()));
            let (mut alone, mut net) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let wrapper = self.time("finish", repeat)?;
                let whole = self.time(case.program, repeat)?;
                let undone = if grown { shrink.median() } else { 0.0 };
                alone.push(wrapper);
                net.push(whole - wrapper - undone);
            }
            rows.push(json!({
                "case": case.title,
                "names": case.names.max(case.sources),
                "reply_octets": reply,
                "wrapper_ns": Figures(alone).json(),
                "net_ns": Figures(net).json(),
            }));
        }
        Ok(json!({
            "repeat": repeat,
            "rounds": ROUNDS,
            "shrink_ns": shrink.json(),
            "load_average": measure::load_average(),
            "two_cores": self.two_cores(repeat)?,
            "waits": self.waits(),
            "cases": rows,
        }))
    }

    /// How much more two cores answer than one, under a flood from spoofed addresses.
    fn two_cores(&mut self, repeat: u32) -> Result<Value> {
        let mut rows = Vec::new();
        for case in limited().iter().filter(|case| case.sources != 0 && case.program == "serve") {
            let frame = frame(case)?;
            self.set_limits(&case.limits)?;
            self.ask(case, &frame)?;
            self.check(case, &frame)?;
            let (mut gains, mut lines) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                lines.push(waits::between_cores()?);
                let mut net = [0.0; 2];
                for (net, cores) in net.iter_mut().zip(1..) {
                    *net = self.time_on(cores, case.program, repeat)?
                        - self.time_on(cores, "finish", repeat)?;
                }
                let [one, two] = net;
                gains.push(2.0 * one / two);
            }
            rows.push(json!({
                "case": case.title,
                "gain": Figures(gains).json(),
                "line_ns": Figures(lines).json(),
            }));
        }
        Ok(rows.into())
    }

    /// The time of a run on each of the first so many cores at once: their mean, in nanoseconds.
    fn time_on(&mut self, cores: usize, program: &str, repeat: u32) -> Result<f64> {
        self.set_measured(program)?;
        let measure = &*xdp(&mut self.lab, "measure")?;
        let start = Barrier::new(cores);
        let times: Result<Vec<f64>> = thread::scope(|scope| {
            let run = |core: usize| {
                let start = &start;
                scope.spawn(move || -> Result<f64> {
                    measure::pin_to_core(core)?;
                    start.wait();
                    let run = prog_test_run::run(measure, &[0; 64], repeat)?;
                    Ok(run.duration.as_nanos() as f64)
                })
            };
            let threads: Vec<_> = (0..cores).map(run).collect();
            let ended = threads.into_iter().map(|thread| thread.join());
            ended.map(|ended| ended.expect("a thread that panics has said why")).collect()
        });
        Ok(times?.iter().sum::<f64>() / cores as f64)
    }

    /// What a name costs that is in no cache: the wait for its bucket, then the wait for its record.
    fn waits(&self) -> Value {
        let figures =
            |octets, lines| Figures((0..ROUNDS).map(|_| waits::of(octets, lines)).collect());
        json!({
            "table_octets": self.table,
            "table_ns": figures(self.table, 1).json(),
            "slab_octets": self.slab,
            "record_lines": RECORD_LINES,
            "record_ns": figures(self.slab, RECORD_LINES).json(),
        })
    }

    /// What one step back of the frame's end costs: regrowing with many less regrowing with none. A step
    /// costs the same whatever its length.
    fn shrink(&mut self, repeat: u32) -> Result<Figures> {
        let case = Case::new("", zones::below(&[&zones::host(7)]), Rtype::A, Outcome::Positive, 0);
        let frame = frame(&case)?;
        self.ask(&case, &frame)?;
        let mut figures = Vec::new();
        for _ in 0..ROUNDS {
            let mut times = [0.0; 2];
            for (time, shrinks) in times.iter_mut().zip(SHRINKS) {
                let steps = [(control::GROW, 200), (control::SHRINKS, shrinks)];
                programs::tell(&mut self.lab, &[&[(control::TEMPLATES, 1)], &steps[..]].concat())?;
                *time = self.time("regrow", repeat)?;
            }
            figures.push((times[1] - times[0]) / (SHRINKS[1] - SHRINKS[0]) as f64);
        }
        Ok(Figures(figures))
    }

    /// Tells `measure` what to ask.
    fn ask(&mut self, case: &Case, frame: &Frame) -> Result<()> {
        let names = Names { digits_at: zones::DIGITS_AT, count: case.names };
        let names = (case.names != 0).then_some(names);
        let template = programs::template_from(frame, names, case.sources)?;
        programs::ask(&mut self.lab, &[template])?;
        programs::tell(&mut self.lab, &[(control::TEMPLATES, 1)])
    }

    /// Has `measure` call a program.
    fn set_measured(&mut self, program: &str) -> Result<()> {
        let fd: ProgramFd = match program {
            "serve" => self.loaded.entry()?.fd()?.try_clone()?,
            name => xdp(&mut self.lab, name)?.fd()?.try_clone()?,
        };
        let map = self.lab.map_mut("MEASURED").context("no map MEASURED")?;
        Ok(ProgramArray::try_from(map)?.set(0, &fd, 0)?)
    }

    /// Runs a program behind `measure`.
    fn run_program(&mut self, program: &str, repeat: u32) -> Result<Run> {
        self.set_measured(program)?;
        // `measure` writes the frame; what comes in only has a length.
        prog_test_run::run(xdp(&mut self.lab, "measure")?, &[0; 64], repeat)
    }

    fn time(&mut self, program: &str, repeat: u32) -> Result<f64> {
        let run = self.run_program(program, repeat)?;
        Ok(run.duration.as_nanos() as f64)
    }

    /// Sees that the answer is the engine's on the host, and that XDP gives it every time. Returns the
    /// octets of the reply's frame, if there is one.
    fn check(&mut self, case: &Case, asked: &Frame) -> Result<Option<usize>> {
        const TIMES: u32 = 1000;
        if case.program != "serve" {
            let run = self.run_program(case.program, TIMES)?;
            ensure!(run.action == Action::Tx, "{}: {:?}", case.title, run.action);
            return Ok(None);
        }
        if case.outcome.is_dropped() {
            // What is allowed at first.
            self.run_program("serve", TIMES)?;
        }
        let before = self.loaded.counters(XDP_COUNTERS)?;
        let run = self.run_program("serve", TIMES)?;
        let after = self.loaded.counters(XDP_COUNTERS)?;
        let counted = after[case.outcome.index()] - before[case.outcome.index()];
        let title = case.title;
        ensure!(counted == u64::from(TIMES), "{title}: {counted} of {TIMES} as expected");
        if !case.outcome.is_answered() {
            let expected = if case.outcome.is_dropped() { Action::Drop } else { Action::Pass };
            ensure!(run.action == expected, "{title}: {:?}", run.action);
            ensure!(run.frame == asked.encode()?, "{title}: the frame was changed");
            return Ok(None);
        }
        ensure!(run.action == Action::Tx, "{title}: {:?}", run.action);
        let reply = Frame::decode(&run.frame).with_context(|| title.to_owned())?;
        ensure!(reply.source == asked.destination);
        ensure!(reply.destination == asked.source || case.sources != 0);
        let mut query = asked.payload.clone();
        if case.names != 0 {
            let digits = zones::DIGITS_AT..zones::DIGITS_AT + 8;
            query[digits.clone()].copy_from_slice(&reply.payload[digits]);
        }
        let mut expected = Vec::new();
        let asked = QueryContext {
            client: asked.source.ip(),
            over_tcp: false,
            limit: usize::from(PAYLOAD),
            now: NOW,
            edns_settings: &edns_settings(),
        };
        self.reader.respond(&query, &asked, &mut expected);
        ensure!(reply.payload == expected, "{title}: not what the engine says on the host");
        let answers = u16::from_be_bytes([expected[6], expected[7]]);
        ensure!(answers == case.answers, "{title}: {answers} records");
        Ok(Some(run.frame.len()))
    }
}
