//! What a flood notices of a zone that changes: answers a second while nothing changes, and while one RRset is changed each
//! second, in turns.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use sealdns::{
    clock::WallTime,
    config::Config,
    datapath::{
        plane,
        seam::{DataPlane, ExpectedSize},
    },
    dnssec::{
        incremental::sign_difference,
        keys::{Algorithm, Key, NewKey, Role},
        policy::{Denial, SigningPolicy},
        sign::sign,
        verify::{Verified, VerifyReport, verify, verify_difference},
    },
    zone::{Rtype, Version, Zone, difference::Rules},
};
use serde_json::{Value, json};
use testbed::net;
use tests::{
    dns::{Edns, HEADER_LEN, Query},
    measure::{
        figures::Figures,
        flood::{
            generator::Generator,
            meter::{self, Reading},
            mix::Mix,
            schedule::{self, SERVE, SERVER_CORE},
            trial,
            wire::Wire,
        },
        programs::Names,
        zones,
    },
};
use xdp_common::lab::counter;

use super::zone::{self, Change};

/// How often answers are counted, without changes and with them.
const ROUNDS: usize = 5;

/// How long each time.
const WHILE: Duration = Duration::from_secs(5);

/// From one change to the next.
const EACH: Duration = Duration::from_secs(1);

/// How long the server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// The zone, published in XDP, and what its next version is made by.
struct Changing {
    keys: Vec<Key>,
    policy: SigningPolicy,
    version: Version,
    report: VerifyReport,
    plane: Box<dyn DataPlane>,
    /// Seconds since 1970, truncated to 32 bits.
    now: u32,
    names: usize,
    /// How often it was changed.
    changes: usize,
}

/// Floods a zone of so many delegations.
pub fn measured(directory: &Path, unsigned: &Zone, names: usize) -> Result<Value> {
    net::sweep();
    let wire = Wire::new()?;
    let mut zone = Changing::new(directory, unsigned, names, &wire)?;
    let mut generator = Generator::new(&wire, Arc::default())?;
    generator.ask(&mix(names)?, &wire)?;
    let deadline = Instant::now() + PATIENCE;
    while !trial::is_answering(&wire, &mut generator, Some(0))? {
        anyhow::ensure!(Instant::now() < deadline, "it does not answer");
    }
    wire.pin()?;
    let (mut quiet, mut changing) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (readings, is_changing) in [(&mut quiet, false), (&mut changing, true)] {
            readings.push(zone.live_during(&wire, is_changing, || flood(&wire, &mut generator))?);
        }
    }
    let answered = |readings: &[Reading]| Figures(readings.iter().map(Reading::answered).collect());
    let right = |readings: &[Reading]| {
        Figures(readings.iter().map(|reading| reading.part(counter::RCODES)).collect())
    };
    Ok(json!({
        "changes": zone.changes,
        "seconds": (ROUNDS as u64 * WHILE.as_secs()),
        "quiet": { "answers_per_second": answered(&quiet).json(), "noerror": right(&quiet).json() },
        "changing": { "answers_per_second": answered(&changing).json(), "noerror": right(&changing).json() },
        "throughput": answered(&changing).median() / answered(&quiet).median(),
    }))
}

/// Questions for the DS RRset of any delegation: every other one has one.
fn mix(names: usize) -> Result<Mix> {
    let label = format!("d{:08x}", 0);
    let query = Query {
        name: zones::wire(&[&[label.as_str()], zone::LABELS].concat()),
        rtype: Rtype::DS.0,
        edns: Some(Edns { payload: 1232, dnssec_ok: true }),
    };
    // Behind the length of the label, and its first letter.
    let digits = Names { digits_at: HEADER_LEN + 2, count: u32::try_from(names)? };
    Ok(Mix {
        title: "DS, uniform",
        by_socket: false,
        rcode: 0,
        questions: vec![(query, Some(digits))],
    })
}

fn flood(wire: &Wire, generator: &mut Generator) -> Result<Reading> {
    trial::asking(wire, || meter::read(wire, generator, None, WHILE))
}

impl Changing {
    fn new(directory: &Path, unsigned: &Zone, names: usize, wire: &Wire) -> Result<Self> {
        let now = WallTime::now().signature_time();
        let policy = SigningPolicy { denial: Denial::Nsec, ..SigningPolicy::default() };
        let keys = [Role::Ksk, Role::Zsk].into_iter().map(|role| {
            Ok(NewKey::generate(unsigned.apex(), role, Algorithm::default(), &[], now)?.key)
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let signed = sign(unsigned, &keys, &policy, now)?.0;
        let report = verify(&signed, now).ok().context("the signed zone has faults")?;
        let version = Version::of(signed);
        let text = format!(
            "version = \"v1\"\n[server]\nlisten = [\"{}\"]\n[xdp]\ninterfaces = [\"{}\"]\nmode = \"native\"\n\
             memory = \"4GiB\"\n[[zone]]\nname = \"{}\"\nfile = \"zone\"\n",
            Wire::server_address()?,
            wire.server_end,
            unsigned.apex(),
        );
        let config = Config::parse(&text, &directory.join("sealdns.toml"))?;
        let plane = wire.server.enter(|| -> Result<Box<dyn DataPlane>> {
            let mut plane = plane::open(&config, ExpectedSize::default())?;
            plane.publish(&version, None)?;
            Ok(plane)
        })??;
        Ok(Self { keys, policy, version, report, plane, now, names, changes: 0 })
    }

    /// Does what the daemon does each second as long as `work` goes on, and changes an RRset before if it `is_changing`. That
    /// is done on the server's core, and as what serves: it costs the server what it takes.
    fn live_during<T>(
        &mut self,
        wire: &Wire,
        is_changing: bool,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let changer = scope.spawn(|| -> Result<()> {
                schedule::pin_this_thread(SERVER_CORE, SERVE)?;
                // Where its devices are.
                wire.server.enter(|| -> Result<()> {
                    while !over.load(Ordering::Relaxed) {
                        let next = Instant::now() + EACH;
                        if is_changing {
                            self.change()?;
                        }
                        self.plane.tick();
                        thread::sleep(next.saturating_duration_since(Instant::now()));
                    }
                    Ok(())
                })?
            });
            let worked = work();
            over.store(true, Ordering::Relaxed);
            changer.join().map_err(|_| anyhow!("who changes the zone panicked"))??;
            worked
        })
    }

    /// From a difference in hand to the last store.
    fn change(&mut self) -> Result<()> {
        let difference = zone::difference(&[Change::Ds.records(self.changes, self.names)])?;
        let (keys, policy, now) = (&self.keys, &self.policy, self.now);
        let made = sign_difference(&self.version, &difference, Rules::Strict, keys, policy, now)?;
        let made = made.context("nothing changed")?.zone;
        let next = self.version.apply(&made, Rules::Strict)?;
        let before = Verified { version: &self.version, report: &self.report };
        self.report = verify_difference(before, &next, &made, now)
            .map_err(|fault| anyhow!("it is not verified: {fault:?}"))?
            .report;
        self.plane.publish(&next, Some(&made))?;
        self.version = next;
        self.changes += 1;
        Ok(())
    }
}
