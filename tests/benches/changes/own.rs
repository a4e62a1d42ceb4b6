//! sealdns: a difference signed, verified, journalled, compiled into maps of the kernel.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use sealdns::{
    compile::{ChangeError, Image, PublishError},
    datapath::{load::LoadedPrograms, memory::Size},
    dnssec::{
        incremental::sign_difference,
        keys::{Algorithm, Key, NewKey, Role},
        policy::{Denial, SigningPolicy},
        sign::sign,
        verify::{Verified, VerifyReport, verify, verify_difference},
    },
    journal::{Entry, FrameKind, Journal, Limits, Place},
    zone::{
        Version, Zone,
        difference::{Difference, Rules},
    },
};
use serde_json::{Value, json};
use tests::measure::{figures::Figures, zones::NOW};
use xdp_common::maps::CHUNK_LEN;

use super::zone::{self, Change};

/// The key of the names' hash: any, but the same each time.
const SEED: u64 = 0x5ea1_d115_0bad_cafe;

/// A signed zone that is published in maps of the kernel, and its journal.
pub struct House {
    keys: Vec<Key>,
    policy: SigningPolicy,
    version: Version,
    report: VerifyReport,
    journal: Journal,
    image: Image,
    _programs: LoadedPrograms,
    journal_file: PathBuf,
}

/// What the steps of one change took.
#[derive(Default)]
struct Steps {
    sign: Duration,
    verify: Duration,
    journal: Duration,
    publish: Duration,
}

impl House {
    /// Signs the zone and publishes it.
    pub fn new(directory: &Path, unsigned: &Zone, denial: Denial) -> Result<Self> {
        let policy = SigningPolicy { denial, ..SigningPolicy::default() };
        let keys = [Role::Ksk, Role::Zsk].into_iter().map(|role| {
            Ok(NewKey::generate(unsigned.apex(), role, Algorithm::default(), &[], NOW)?.key)
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let signed = sign(unsigned, &keys, &policy, NOW)?.0;
        let report = verify(&signed, NOW).ok().context("the signed zone has faults")?;
        let (programs, image) = published(&signed)?;
        let journal_file = directory.join("journal");
        let journal = new_journal(&journal_file)?;
        let version = Version::of(signed);
        Ok(Self {
            keys,
            policy,
            version,
            report,
            journal,
            image,
            _programs: programs,
            journal_file,
        })
    }

    /// So many changes, each of which is durable and in the maps before the next one begins.
    pub fn one_by_one(&mut self, change: Change, changes: usize, names: usize) -> Result<Value> {
        let mut steps = Vec::with_capacity(changes);
        let mut as_whole = Vec::new();
        let (mut merges, mut merging) = (0, Duration::ZERO);
        for number in 0..changes {
            let difference = zone::difference(&[change.records(number, names)])?;
            let (taken, why_whole) = self.change(&difference)?;
            steps.push(taken);
            as_whole.extend(why_whole);
            // The daemon merges in the background.
            if self.version.is_merge_due() {
                let started = Instant::now();
                self.version = Version::of(self.version.flat()?);
                (merges, merging) = (merges + 1, merging + started.elapsed());
            }
            // Each of them takes seconds.
            if as_whole.len() == 3 {
                break;
            }
        }
        let all: Duration = steps.iter().map(Steps::all).sum();
        let of = |part: fn(&Steps) -> Duration| {
            let times = steps.iter().map(|steps| part(steps).as_secs_f64() * 1e3);
            milliseconds(times.collect())
        };
        Ok(json!({
            "changes": steps.len(),
            "sign_ms": of(|steps| steps.sign),
            "verify_ms": of(|steps| steps.verify),
            "journal_ms": of(|steps| steps.journal),
            "publish_ms": of(|steps| steps.publish),
            "without_journal_ms": of(|steps| steps.all() - steps.journal),
            "per_second": steps.len() as f64 / all.as_secs_f64(),
            "as_whole": as_whole,
            "merges": merges,
            "merging_s": merging.as_secs_f64(),
        }))
    }

    /// So many changed DS RRsets in one difference.
    pub fn together(&mut self, changes: usize, names: usize) -> Result<Value> {
        // Those that were changed one after the other changed back or stay: other numbers are taken.
        let first = names / 4;
        let records: Vec<_> =
            (first..first + changes).map(|number| Change::Ds.records(number, names)).collect();
        let (steps, why_whole) = self.change(&zone::difference(&records)?)?;
        Ok(json!({
            "changes": changes,
            "sign_ms": steps.sign.as_secs_f64() * 1e3,
            "verify_ms": steps.verify.as_secs_f64() * 1e3,
            "journal_ms": steps.journal.as_secs_f64() * 1e3,
            "publish_ms": steps.publish.as_secs_f64() * 1e3,
            "as_whole": why_whole,
        }))
    }

    /// One change, until it is in the maps; and why it was published as a whole, if it was.
    fn change(&mut self, unsigned: &Difference) -> Result<(Steps, Option<String>)> {
        let mut clock = Clock(Instant::now());
        let (keys, policy) = (&self.keys, &self.policy);
        let made = sign_difference(&self.version, unsigned, Rules::Strict, keys, policy, NOW)?;
        let made = made.context("nothing changed")?.zone;
        let next = self.version.apply(&made, Rules::Strict)?;
        let mut steps = Steps { sign: clock.lap(), ..Steps::default() };
        let before = Verified { version: &self.version, report: &self.report };
        self.report = verify_difference(before, &next, &made, NOW)
            .map_err(|fault| anyhow::anyhow!("it is not verified: {fault:?}"))?
            .report;
        steps.verify = clock.lap();
        if self.journal.is_trim_due() {
            self.journal = new_journal(&self.journal_file)?;
            clock.lap();
        }
        let entry = Entry {
            time: NOW.into(),
            kind: FrameKind::Update,
            zone: &made,
            any_answers: None,
            facts: &[],
        };
        self.journal.append(&[entry])?;
        self.journal.sync()?;
        steps.journal = clock.lap();
        let published = self.image.publish_change(&next, &made);
        let (retired, why_whole) = match published {
            Ok((_, retired)) => (retired, None),
            Err(ChangeError::Whole(why)) => {
                (self.image.publish(&next.flat()?)?.1, Some(why.to_string()))
            }
            Err(error) => return Err(error.into()),
        };
        steps.publish = clock.lap();
        // The daemon waits for programs that may still read it, once a second. Here none runs.
        self.image.release(retired);
        self.version = next;
        Ok((steps, why_whole))
    }
}

impl Steps {
    fn all(&self) -> Duration {
        self.sign + self.verify + self.journal + self.publish
    }
}

/// The time since the last look.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.0;
        self.0 = now;
        lap
    }
}

/// Median, what one in a hundred takes longer than, and the greatest.
fn milliseconds(mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    let p99 = times.get(times.len() * 99 / 100).copied();
    let mut figures = Figures(times).json();
    figures["p99"] = json!(p99);
    figures
}

fn new_journal(path: &Path) -> Result<Journal> {
    Ok(Journal::create(path, &zone::apex()?, Place::beginning([0; 32]), Limits::default())?)
}

/// The zone in maps that have room for more.
fn published(zone: &Zone) -> Result<(LoadedPrograms, Image)> {
    let mut size = Size { slab: 16 << 20, buckets: 4096 };
    loop {
        let programs = LoadedPrograms::new(size)?;
        let mut image = Image::new(programs.memory(), SEED);
        match image.at(NOW).publish(zone) {
            Ok(_nothing_retired) => return Ok((programs, image)),
            Err(PublishError::Full { slab_needed, buckets_needed }) => {
                let slab = (slab_needed + slab_needed / 8).next_multiple_of(CHUNK_LEN);
                let larger = Size { slab, buckets: buckets_needed.next_power_of_two() };
                ensure!(larger != size, "the zone does not fit what it asks for");
                size = larger;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
