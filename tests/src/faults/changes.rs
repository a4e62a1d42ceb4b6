//! Changes are durable once they are acknowledged, wherever the daemon ends and however full its disk is.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::sync::Mutex;
use std::time::Instant;

use super::*;
use sealdns::control::client::call;
use sealdns::control::protocol::Request;
use sealdns::control::reply::zone::{Change, ZoneReload};
use tests::chance::Chance;

/// How often the daemon is killed.
const KILLS: u32 = 200;

/// After so long it is killed no more, unless the run is a heavy one.
const ENOUGH: Duration = Duration::from_secs(60);

/// A change takes some milliseconds: within this time there are a few.
const LATEST_KILL_MS: u64 = 150;

/// Names that come and go.
const NAMES: u64 = 12;

/// The records of a version of the zone, by its number, as owner, type and RDATA.
fn records(number: u32) -> BTreeSet<(String, String, String)> {
    let mut chance = Chance(u64::from(number));
    let mut records = BTreeSet::new();
    for name in 0..NAMES {
        if chance.throw(2) == 0 {
            let owner = format!("n{name}.{APEX}.");
            records.insert((owner, "A".to_owned(), format!("192.0.2.{}", chance.throw(200))));
        }
    }
    records.insert((format!("counter.{APEX}."), "TXT".to_owned(), format!("\"{number}\"")));
    records
}

/// The zone's file with them.
fn text(number: u32) -> String {
    let mut text = String::from(
        "$TTL 300\n@ IN SOA ns hostmaster 7 3600 900 604800 60\n@ NS ns\nns A 192.0.2.201\n",
    );
    for (owner, rtype, rdata) in records(number) {
        let _ = writeln!(text, "{owner} {rtype} {rdata}");
    }
    text
}

/// The number and the records of what is served, and its serial.
fn served(stage: &Stage) -> Result<(u32, u32)> {
    let (mut found, mut number, mut serial) = (BTreeSet::new(), None, None);
    for line in stage.transfer()? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [owner, _, _, rtype, rdata @ ..] = &words[..] else { continue };
        match *rtype {
            "SOA" => serial = rdata.get(2).and_then(|serial| serial.parse().ok()),
            "TXT" => number = rdata[0].trim_matches('"').parse().ok(),
            _ => {}
        }
        if matches!(*rtype, "A" | "TXT") && !owner.starts_with("ns.") {
            found.insert(((*owner).to_owned(), (*rtype).to_owned(), rdata.join(" ")));
        }
    }
    let number = number.with_context(|| format!("no number: {found:?}"))?;
    ensure!(found == records(number), "this was never a version: {found:?}");
    Ok((number, serial.context("no serial")?))
}

/// How far changes are.
#[derive(Clone, Copy)]
struct Progress {
    /// The last change that was acknowledged.
    acknowledged: u32,
    /// The one that was begun last.
    begun: u32,
    /// The newest serial that was told.
    serial: u32,
}

/// Changes the zone until the daemon answers no more.
fn change(stage: &Path, progress: &Mutex<Progress>) -> Result<()> {
    let control = stage.join("run/control");
    loop {
        let number = {
            let mut progress = progress.lock().expect("nobody panicked");
            progress.begun = progress.acknowledged + 1;
            progress.begun
        };
        fs::write(stage.join("next"), text(number))?;
        fs::rename(stage.join("next"), stage.join("zone"))?;
        let request = Request::ZoneReload { zone: Some(APEX.to_owned()) };
        let Ok(reload) = call::<ZoneReload>(&control, &request, PATIENCE) else { return Ok(()) };
        let [zone] = &reload.zones[..] else { anyhow::bail!("{reload:?}") };
        let difference = zone.difference.filter(|_| zone.change == Change::Loaded);
        let serial = difference.with_context(|| format!("{reload:?}"))?.new_serial;
        let mut progress = progress.lock().expect("nobody panicked");
        ensure!(Serial(serial).is_newer_than(Serial(progress.serial)), "{serial}: {reload:?}");
        (progress.acknowledged, progress.serial) = (number, serial);
    }
}

/// Killed at any moment of changes, of signing again and of writing a base: what is served at the next start, without
/// the zone's file, is what was acknowledged last or what was being changed, and no older serial.
pub fn a_daemon_that_is_killed_during_changes_loses_nothing_acknowledged() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    let is_heavy = std::env::var("SEALDNS_HEAVY").is_ok_and(|value| value != "0");
    apart(|| {
        let begun = Instant::now();
        let (mut kills, mut in_flight, mut changes) = (0, 0, 0);
        // Without and with signatures that fall due all the time.
        for policy in ["", SHORT] {
            let mut stage = Stage::new(policy)?;
            let mut chance = Chance(0x0dd + kills);
            stage.write_zone(&text(0))?;
            stage.start()?;
            let serial = stage.serial()?;
            let mut progress = Progress { acknowledged: 0, begun: 0, serial };
            for _ in 0..KILLS / 2 {
                if !is_heavy && begun.elapsed() > ENOUGH {
                    break;
                }
                let (shared, before) = (Mutex::new(progress), progress.acknowledged);
                let folder = stage.folder.path();
                let daemon = stage.daemon.as_ref().context("no daemon")?;
                thread::scope(|scope| {
                    let changing = scope.spawn(|| change(folder, &shared));
                    thread::sleep(Duration::from_micros(chance.throw(1000 * LATEST_KILL_MS)));
                    daemon.signal(Signal::SIGKILL)?;
                    changing.join().map_err(|_| anyhow!("changing panicked"))?
                })?;
                kills += 1;
                drop(stage.daemon.take());
                progress = shared.into_inner().expect("nobody panicked");
                // What is kept alone says what is served.
                fs::remove_file(stage.path("zone"))?;
                stage.start()?;
                let (number, serial) = served(&stage).with_context(|| stage.log())?;
                let Progress { acknowledged, begun, serial: told } = progress;
                ensure!(
                    number == acknowledged || number == begun,
                    "{number} is served after {acknowledged}, {begun} was begun: {}",
                    stage.log()
                );
                ensure!(
                    !Serial(told).is_newer_than(Serial(serial)),
                    "serial {serial} after {told}: {}",
                    stage.log()
                );
                if kills % 16 == 0 {
                    stage.is_right()?;
                }
                in_flight += u64::from(number > acknowledged);
                changes += u64::from(number - before);
                progress = Progress { acknowledged: number, begun: number, serial };
            }
            stage.write_zone(&text(progress.acknowledged))?;
            drop(stage.stop());
        }
        ensure!(kills > 0 && changes > kills, "{kills} kills, {changes} changes");
        eprintln!(
            "{kills} kills during {changes} changes, {in_flight} times the one in flight was there"
        );
        Ok(())
    })
}

/// A full disk: a change that cannot be made durable is refused, what is served stays, signatures are made anew, and the
/// change is made when there is room.
pub fn a_full_disk_refuses_changes_and_loses_none() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let mut stage = Stage::new(SHORT)?;
        let _disk = Mount::new(&stage.path("state"), &["-t", "tmpfs", "-o", "size=512k", "tmpfs"])?;
        stage.write_zone(&text(0))?;
        stage.start()?;
        let mut fill = fs::File::create(stage.path("state/fill"))?;
        let full = (0..1 << 20).find_map(|_| fill.write_all(&[7; 512]).err());
        let full = full.context("the disk is never full")?;
        ensure!(full.kind() == ErrorKind::StorageFull, "{full}");

        // The journal has room for some that it took before; each of them is durable.
        let mut refused = None;
        for number in 1..100 {
            stage.write_zone(&text(number))?;
            let reload = stage.sealdns(&["zone", "reload", APEX])?;
            if !reload.status.success() {
                refused = Some((number, reload));
                break;
            }
            ensure!(served(&stage)?.0 == number, "{number} was acknowledged and is not served");
        }
        let (number, reload) = refused.context("no change was refused")?;
        let said = String::from_utf8_lossy(&reload.stdout).into_owned();
        ensure!(said.contains("could not be made durable"), "{said}");
        ensure!(served(&stage)?.0 == number - 1, "what was refused is served");
        let error = stage.status()?.summary.error.unwrap_or_default();
        ensure!(error.contains("could not be made durable"), "{error}");
        stage.wait_for_signings(3)?;
        stage.is_right()?;
        ensure!(served(&stage)?.0 == number - 1, "what was refused is served");
        let (code, said) = stage.health()?;
        ensure!(code == Some(3) && said.contains("could not be saved"), "{code:?} {said}");

        // Killed now, it serves what it served, with no older serial, and not what was refused.
        let (_, serial) = served(&stage)?;
        fs::rename(stage.path("zone"), stage.path("away"))?;
        stage.daemon.as_ref().context("no daemon")?.signal(Signal::SIGKILL)?;
        drop(stage.daemon.take());
        stage.start()?;
        let again = served(&stage)?;
        ensure!(again.0 == number - 1, "{again:?} after {number} was refused: {}", stage.log());
        ensure!(!Serial(serial).is_newer_than(Serial(again.1)), "{again:?} after {serial}");
        fs::rename(stage.path("away"), stage.path("zone"))?;
        let reload = stage.sealdns(&["zone", "reload", APEX])?;
        ensure!(!reload.status.success(), "there is room: {reload:?}");

        drop(fill);
        fs::remove_file(stage.path("state/fill"))?;
        let is_made = || served(&stage).is_ok_and(|(served, _)| served == number);
        net::wait_until("the change is made", PATIENCE, is_made)
            .with_context(|| format!("{:?}\n{}", stage.status(), stage.log()))?;
        let is_well = || stage.health().is_ok_and(|(code, _)| code == Some(0));
        net::wait_until("all is kept again", PATIENCE, is_well)
            .with_context(|| format!("{:?}", stage.health()))?;
        stage.is_right()?;
        drop(stage.stop());
        Ok(())
    })
}
