//! Zones that are read again: no query is lost by it, and a broken one changes nothing.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use sealdns::{
    compile::Image,
    datapath::memory::{Mapping, Size},
    dnssec::policy::Denial,
};
use testbed::net::{self, Process};
use tests::{
    dns::Message,
    harness::Verdict,
    servers::{DEMO, signed},
};

use super::{
    client::{A, Client, RRSIG, TXT, WITH_DNSSEC, WITHOUT_DNSSEC, query, server},
    stage::{PATIENCE, Section, Stage, obstacle},
};

/// A zone that is broken when the daemon reads it again leaves the old one serving, from XDP and from the
/// daemon; where it is broken is in the log and in what the commands print.
pub fn a_broken_zone_leaves_the_old_one_serving() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let mut stage = Stage::new("broken", &[(DEMO.0, DEMO.1, "")])?;
    let client = Client::new(&stage.pair)?;
    let from_xdp = query("www.example.org", A, WITH_DNSSEC);
    let from_daemon = query("www.example.org", RRSIG, WITH_DNSSEC);
    let asked = || -> Result<[Vec<u8>; 2]> {
        stage.pair.client.enter(|| -> Result<_> {
            Ok([client.inject(0, &from_xdp)?, client.inject(0, &from_daemon)?])
        })?
    };
    let old = asked()?;
    let file = stage.folder.path().join("example.org.zone");
    let line = DEMO.1.lines().count() + 1;
    fs::write(&file, format!("{}www A 192.0.2.300\n", DEMO.1))?;
    stage.server.process.signal(Signal::SIGHUP)?;
    let place = format!("{}:{line}:7", file.display());
    stage.server.process.wait_for_line(PATIENCE, |line| line.contains("the older version"))?;
    stage.server.process.wait_for_line(PATIENCE, |line| line.contains(&place))?;
    let asked = || -> Result<[Vec<u8>; 2]> {
        stage.pair.client.enter(|| -> Result<_> {
            Ok([client.inject(0, &from_xdp)?, client.inject(0, &from_daemon)?])
        })?
    };
    let before = stage.sent_by_xdp()?;
    ensure!(asked()? == old, "the broken zone changed what is said");
    ensure!(stage.sent_by_xdp()? == before + 1, "XDP did not answer once");

    let status = stage.command(&["zone", "status", "example.org"])?;
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(said.contains("serving-old") && said.contains(&place), "{said}");
    ensure!(stage.command(&["health"])?.status.code() == Some(3), "health does not mind");
    let reload = stage.command(&["zone", "reload"])?;
    ensure!(reload.status.code() == Some(1), "{reload:?}");
    Ok(Verdict::Passed)
}

//----------- Reloading under load -------------------------------------------------------------------

/// Versions that are served one after the other.
const VERSIONS: usize = 6;

/// Queries that each client asks between one version and the next.
const ASKED: u64 = 400;

/// One version of a zone: every record says which, and names come and go.
fn version(number: usize) -> String {
    let come_and_go = if number.is_multiple_of(2) {
        format!(
            "a.b.c.d TXT \"version {number}\"\nnew A 192.0.2.{number}\n*.e TXT \"{number}\"\n\
             x.wild TXT \"version {number}\"\n"
        )
    } else {
        format!("old A 192.0.2.{number}\n*.d TXT \"version {number}\"\n")
    };
    format!(
        "$TTL 300\n@ SOA ns hostmaster {number} 4h 1h 2w 60\n@ NS ns\nns A 192.0.2.53\n\
         www A 192.0.2.{number}\nwww A 198.51.100.{number}\nwww TXT \"version {number}\"\n\
         chain CNAME step\nstep CNAME www\n*.wild TXT \"version {number}\"\n\
         large TXT {}\ncut NS ns{number}.example.net.\n{come_and_go}\
         $GENERATE 1-1000 host$ A 192.0.2.{number}\n",
        format!("\"{number}{}\" ", "x".repeat(200)).repeat(3),
    )
}

/// The files of all versions, signed, and what is said of each.
pub struct Versions {
    pub queries: Vec<Vec<u8>>,
    pub files: Vec<Vec<u8>>,
    pub expected: Vec<Vec<Vec<u8>>>,
}

impl Versions {
    pub fn new() -> Result<Self> {
        const NAMES: [&str; 18] = [
            "", "www.", "chain.", "nobody.", "x.wild.", "y.wild.", "large.", "x.cut.", "host7.",
            "new.", "old.", "a.b.c.d.", "b.c.d.", "c.d.", "d.", "x.b.c.d.", "x.e.", "x.d.",
        ];
        let queries: Vec<Vec<u8>> = NAMES
            .iter()
            .flat_map(|name| [A, TXT].map(|rtype| (format!("{name}example.org"), rtype)))
            .flat_map(|(name, rtype)| {
                [WITHOUT_DNSSEC, WITH_DNSSEC].map(|edns| query(&name, rtype, edns))
            })
            .collect();
        let keys = tempfile::tempdir()?;
        let (mut files, mut expected) = (Vec::new(), Vec::new());
        for number in 1..=VERSIONS {
            let zone = signed(("example.org", &version(number)), Denial::Nsec, keys.path())?;
            let mut text = Vec::new();
            sealdns::zone::text::write(&zone, &mut text)?;
            files.push(text);
            let memory = Mapping::anonymous(Size { slab: 16 << 20, buckets: 4096 })?;
            let mut image = Image::new(std::sync::Arc::new(memory), number as u64);
            drop(image.publish(&zone)?);
            let reader = image.reader();
            let answers: Result<Vec<Vec<u8>>> = queries
                .iter()
                .map(|query| {
                    let (mut said, now) =
                        (Vec::new(), sealdns::clock::WallTime::now().signature_time());
                    let outcome = reader.answer(query, false, 1232, now, &mut said);
                    ensure!(outcome.is_answered(), "{outcome:?}");
                    Ok(said)
                })
                .collect();
            expected.push(answers?);
        }
        Ok(Self { queries, files, expected })
    }
}

/// A version of the zone as the daemon is to serve it.
pub fn presigned(file: &[u8]) -> Result<Section<'_>> {
    Ok(("example.org", str::from_utf8(file)?, "dnssec = \"presigned\""))
}

/// While clients ask without pause, by frames and through sockets, every query is answered, and every
/// answer is octet for octet that of the version before or of the version after.
pub fn reloads_go_unnoticed() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(obstacle);
    }
    let Versions { queries, files, expected } = Versions::new()?;
    let stage = Stage::new("reload", &[presigned(&files[0])?])?;
    let client = Client::new(&stage.pair)?;
    let load = Load::new(&queries, &expected, 3);
    let before = stage.sent_by_xdp()?;
    let asked = stage.pair.client.enter(|| -> Result<[u64; 3]> {
        thread::scope(|scope| {
            let by_frame = scope.spawn(|| load.ask(0, |query| client.inject(0, query)));
            let by_socket = scope.spawn(|| load.ask(1, |query| client.send(1, query)));
            let over_tcp = scope.spawn(|| {
                let mut stream = TcpStream::connect(server(0)?)?;
                stream.set_read_timeout(Some(Duration::from_secs(3)))?;
                load.ask(2, |query| ask_over_tcp(&mut stream, query))
            });
            let reloaded = reload(&stage, &files, &load);
            load.over.store(true, SeqCst);
            let asked = [by_frame, by_socket, over_tcp]
                .map(|asker| asker.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
            reloaded?;
            let [by_frame, by_socket, over_tcp] = asked;
            Ok([by_frame?, by_socket?, over_tcp?])
        })
    })??;
    let sent = stage.sent_by_xdp()? - before;
    ensure!(asked.iter().all(|count| *count > 1000), "{asked:?} queries prove nothing");
    ensure!(sent > asked[0] / 3, "of {asked:?} queries XDP answered {sent}");
    Ok(Verdict::Passed)
}

/// Serves one version after the other.
fn reload(stage: &Stage, files: &[Vec<u8>], load: &Load<'_>) -> Result<()> {
    let file = stage.folder.path().join("example.org.zone");
    let process: &Process = &stage.server.process;
    for (place, text) in files.iter().enumerate().skip(1) {
        load.wait_for_more(ASKED)?;
        let new = file.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &file)?;
        load.newest.store(place, SeqCst);
        process.signal(Signal::SIGHUP)?;
        let reloaded = || process.log().matches("reloaded zones=1 failed=0").count() == place;
        net::wait_until("the zone is reloaded", PATIENCE, reloaded)
            .with_context(|| process.log())?;
        load.served.store(place, SeqCst);
    }
    load.wait_for_more(ASKED)
}

/// What clients ask while zones are reloaded.
pub struct Load<'a> {
    pub queries: &'a [Vec<u8>],
    /// The answers of each version.
    pub expected: &'a [Vec<Vec<u8>>],
    /// The version that is served at least.
    pub served: AtomicUsize,
    /// The newest version that may be served.
    pub newest: AtomicUsize,
    pub over: AtomicBool,
    /// The queries that each client has asked.
    asked: Vec<AtomicU64>,
}

impl<'a> Load<'a> {
    /// Nothing was asked yet by so many clients, and the first version is served.
    pub fn new(queries: &'a [Vec<u8>], expected: &'a [Vec<Vec<u8>>], clients: usize) -> Self {
        Self {
            queries,
            expected,
            served: AtomicUsize::new(0),
            newest: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            asked: (0..clients).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Waits until each client has asked so many queries more. When one has failed there is nothing to wait for: its
    /// own result says why.
    pub fn wait_for_more(&self, count: u64) -> Result<()> {
        let before: Vec<u64> = self.asked.iter().map(|asked| asked.load(SeqCst)).collect();
        let has_more = |(asked, before): (&AtomicU64, &u64)| asked.load(SeqCst) >= before + count;
        net::wait_until("each client to go on", PATIENCE, || {
            self.over.load(SeqCst) || self.asked.iter().zip(&before).all(has_more)
        })
    }

    /// Asks one query after the other until it is over, as the client of this number; says how many.
    pub fn ask(
        &self,
        client: usize,
        exchange: impl FnMut(&[u8]) -> Result<Vec<u8>>,
    ) -> Result<u64> {
        let asked = self.ask_until_over(&self.asked[client], exchange);
        if asked.is_err() {
            self.over.store(true, SeqCst);
        }
        asked
    }

    fn ask_until_over(
        &self,
        count: &AtomicU64,
        mut exchange: impl FnMut(&[u8]) -> Result<Vec<u8>>,
    ) -> Result<u64> {
        let started = Instant::now();
        let mut asked = 0u64;
        while !self.over.load(SeqCst) {
            let place = asked as usize % self.queries.len();
            let mut query = self.queries[place].clone();
            query[..2].copy_from_slice(&(asked as u16).to_be_bytes());
            let oldest = self.served.load(SeqCst);
            let answer = exchange(&query)
                .with_context(|| format!("query {asked} after {:?}", started.elapsed()))?;
            let newest = self.newest.load(SeqCst);
            let is_one =
                (oldest..=newest).any(|version| self.expected[version][place][2..] == answer[2..]);
            if !is_one {
                let read = |answer: &[u8]| Message::read(answer);
                let (said, old) = (read(&answer), read(&self.expected[oldest][place]));
                let new = read(&self.expected[newest][place]);
                bail!("versions {oldest} to {newest}: {said:?}\nold {old:?}\nnew {new:?}");
            }
            asked += 1;
            count.store(asked, SeqCst);
        }
        Ok(asked)
    }
}

/// Asks one query over a connection.
fn ask_over_tcp(stream: &mut TcpStream, query: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], query].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
