//! Signatures are made when they are due, whatever else is ill.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use tests::chance::Chance;

/// Where Debian puts the library that tells a program another time.
const FAKETIME: &str = "/usr/lib/*/faketime/libfaketimeMT.so.1";

/// A full disk: signatures are made, the serial is kept in the place of the old one, and what cannot be kept is
/// told until there is room.
pub fn a_full_disk_does_not_keep_from_signing() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let mut stage = Stage::new(SHORT)?;
        let _disk = Mount::new(&stage.path("state"), &["-t", "tmpfs", "-o", "size=512k", "tmpfs"])?;
        stage.start()?;
        ensure!(stage.health()?.0 == Some(0), "{:?}", stage.health()?);
        let mut fill = fs::File::create(stage.path("state/fill"))?;
        let full = (0..1 << 20).find_map(|_| fill.write_all(&[7; 512]).err());
        let full = full.context("the disk is never full")?;
        ensure!(full.kind() == ErrorKind::StorageFull, "{full}");
        ensure!(fs::write(stage.path("state/more"), [7; 4096]).is_err(), "there is room");

        stage.wait_for_signings(3)?;
        stage.is_right()?;
        let (code, said) = stage.health()?;
        ensure!(code == Some(3) && said.contains("could not be saved"), "{code:?} {said}");
        // Started again, it does not go back behind what it served.
        let served = stage.serial()?;
        stage.stop()?;
        stage.start()?;
        ensure!(stage.serial()? >= served, "{} after {served}", stage.serial()?);
        stage.wait_for_signings(1)?;
        stage.is_right()?;

        drop(fill);
        fs::remove_file(stage.path("state/fill"))?;
        fs::remove_file(stage.path("state/more")).or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let is_well = || stage.health().is_ok_and(|(code, _)| code == Some(0));
        net::wait_until("all is kept again", PATIENCE, is_well)
            .with_context(|| format!("{:?}", stage.health()))?;
        drop(stage.stop());
        Ok(())
    })
}

/// A state directory that nobody may write to.
pub fn a_read_only_state_directory_does_not_keep_from_signing() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let mut stage = Stage::new(SHORT)?;
        stage.start()?;
        let state = stage.path("state");
        let text = state.to_str().context("a path that is text")?;
        let _mount = Mount::new(&state, &["--bind", text])?;
        run(&["mount", "-o", "remount,bind,ro", text])?;
        let refused = fs::write(state.join("more"), "").err().context("it can be written to")?;
        ensure!(refused.kind() == ErrorKind::ReadOnlyFilesystem, "{refused}");

        stage.wait_for_signings(3)?;
        stage.is_right()?;
        let (code, said) = stage.health()?;
        ensure!(code == Some(3) && said.contains("could not be saved"), "{code:?} {said}");
        stage.stop()?;
        stage.start()?;
        stage.wait_for_signings(1)?;
        stage.is_right()?;
        stage.stop()
    })
}

/// A file that is broken, and then gone, when signatures are due: the records in hand are signed, the fault is
/// told, also after a restart.
pub fn a_broken_or_missing_file_does_not_keep_from_signing() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let mut stage = Stage::new(SHORT)?;
        stage.start()?;
        for (text, says) in [(Some("@ SOA broken\n"), "zone:1:"), (None, "No such file")] {
            match text {
                Some(text) => stage.write_zone(text)?,
                None => fs::remove_file(stage.path("zone"))?,
            }
            for restarts in [false, true] {
                if restarts {
                    stage.stop()?;
                    stage.start()?;
                }
                stage.wait_for_signings(3)?;
                stage.is_right()?;
                let error = stage.status()?.summary.error.unwrap_or_default();
                ensure!(error.contains(says), "{error}");
                let (code, said) = stage.health()?;
                ensure!(code == Some(3) && said.contains(says), "{code:?} {said}");
            }
        }
        stage.write_zone(&format!("{ZONE}new A 192.0.2.3\n"))?;
        ensure!(stage.sealdns(&["zone", "reload"])?.status.success(), "no reload");
        ensure!(stage.health()?.0 == Some(0), "{:?}", stage.health()?);
        stage.is_right()?;
        ensure!(stage.transfer()?.iter().any(|line| line.starts_with("new.")), "no new record");
        stage.stop()
    })
}

/// A clock that was ahead once: what was signed then is made anew as soon as the clock is right, and a failure
/// of that time is not waited out by the clock.
pub fn a_clock_that_was_ahead_leaves_nothing_behind() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    let libraries = Command::new("sh").args(["-c", &format!("ls {FAKETIME}")]).output()?;
    let library = String::from_utf8(libraries.stdout)?.lines().next().map(PathBuf::from);
    let Some(library) = library else {
        return Ok(Verdict::Skipped("no libfaketime: `cargo xtask setup`".into()));
    };
    apart(|| {
        // A failure is tried again after a sixteenth of the refresh time: two seconds.
        let mut stage = Stage::new("signature-validity = \"30d\"\nrefresh = \"32s\"\n")?;
        let clock = stage.path("clock");
        let set = |time: &str| -> Result<()> {
            fs::write(clock.with_extension("new"), format!("{time}\n"))?;
            Ok(fs::rename(clock.with_extension("new"), &clock)?)
        };
        set("+0")?;
        for (name, value) in [
            ("LD_PRELOAD", library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", clock.clone()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ] {
            stage.variables.push((name.into(), value));
        }
        stage.start()?;
        let first = stage.serial()?;
        let rises = |stage: &Stage, above: u32| {
            net::wait_until("the serial rises", PATIENCE, || {
                stage.serial().is_ok_and(|serial| serial > above)
            })
            .with_context(|| stage.log())
        };
        stage.is_right()?;
        set("+400d")?;
        rises(&stage, first)?;
        ensure!(stage.is_right().is_err(), "the daemon's clock is not ahead");
        set("+0")?;
        rises(&stage, first + 1)?;
        stage.is_right()?;

        // Ahead again, and then so far that it fails; the clock comes back, and the fault goes.
        set("+400d")?;
        rises(&stage, first + 2)?;
        let keys = stage.path("state/keys");
        let open = |mode: u32| -> Result<()> {
            for entry in fs::read_dir(&keys)? {
                fs::set_permissions(entry?.path(), fs::Permissions::from_mode(mode))?;
            }
            Ok(())
        };
        open(0o644)?;
        set("+800d")?;
        net::wait_until("signing fails", PATIENCE, || {
            stage.status().is_ok_and(|status| {
                status.summary.error.is_some_and(|error| error.contains("chmod 600"))
            })
        })?;
        set("+0")?;
        open(0o600)?;
        rises(&stage, first + 3)?;
        stage.is_right()?;
        ensure!(stage.health()?.0 == Some(0), "{:?}", stage.health()?);

        // Ended while the clock is ahead, and started when it is right.
        set("+400d")?;
        rises(&stage, first + 4)?;
        stage.stop()?;
        set("+0")?;
        stage.start()?;
        ensure!(stage.serial()? > first + 5, "{}", stage.serial()?);
        stage.is_right()?;
        stage.stop()
    })
}

/// Whatever lies in the file of a serial at start: the zone is served, and its serial does not go back, since
/// what was served is kept with it.
pub fn a_garbled_serial_file_does_not_keep_from_serving() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let mut stage = Stage::new("")?;
        stage.start()?;
        let records = stage.transfer()?;
        let file = stage.path("state/serials").join(format!("{APEX}.serial"));
        let whole = fs::read(&file)?;
        let mut chance = Chance(0x5ea1);
        let mut contents: Vec<Vec<u8>> =
            (0..whole.len() - 1).map(|len| whole[..len].into()).collect();
        // Cut short, a number is a smaller one, which counts for nothing beside what was kept.
        for _ in 0..5 {
            contents.push((0..32).map(|_| chance.throw(256) as u8).collect());
        }
        for absurd in ["-1", "99999999999", "\n", "7 8", "seven"] {
            contents.push(absurd.into());
        }
        for content in &contents {
            stage.stop()?;
            fs::write(&file, content)?;
            stage.start()?;
            ensure!(stage.transfer()? == records, "{content:?}: {}", stage.log());
            let number =
                str::from_utf8(content).ok().and_then(|text| text.trim().parse::<u32>().ok());
            let warned = stage.log().contains("holds no serial");
            ensure!(warned == number.is_none(), "{content:?}: {}", stage.log());
            ensure!(stage.health()?.0 == Some(0), "{:?}", stage.health()?);
        }
        // Without what was kept it is served all the same.
        stage.stop()?;
        fs::write(&file, "")?;
        fs::remove_dir_all(stage.path("state/signed"))?;
        stage.start()?;
        stage.is_right()?;
        stage.stop()
    })
}

/// A zone that was ever signed gets no new keys by itself: neither when their folder is away, nor when their
/// public parts are.
pub fn keys_that_are_gone_are_not_replaced() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let mut stage = Stage::new("")?;
        stage.start()?;
        let before = stage.published_tags()?;
        ensure!(before.len() == 2, "{before:?}");
        let (keys, away) = (stage.path("state/keys"), stage.path("away"));
        let is_told = |stage: &Stage, says: &str| -> Result<()> {
            let reload = stage.sealdns(&["zone", "reload", APEX])?;
            ensure!(reload.status.code() == Some(1), "{reload:?}");
            ensure!(stage.published_tags()? == before, "other keys are published");
            let (code, said) = stage.health()?;
            ensure!(code == Some(3) && said.contains(says), "{code:?} {said}");
            Ok(())
        };
        fs::rename(&keys, &away)?;
        is_told(&stage, "are gone from")?;
        // Started again, it serves what it served.
        stage.stop()?;
        stage.start()?;
        is_told(&stage, "are gone from")?;
        stage.is_right()?;
        let _ = fs::remove_dir_all(&keys);
        fs::rename(&away, &keys)?;
        ensure!(stage.sealdns(&["zone", "reload", APEX])?.status.success(), "no reload");
        ensure!(stage.health()?.0 == Some(0), "{:?}", stage.health()?);

        fs::create_dir(&away)?;
        for entry in fs::read_dir(&keys)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "key") {
                fs::rename(&path, away.join(path.file_name().unwrap_or_default()))?;
            }
        }
        is_told(&stage, "has no .key file beside it")?;
        stage.stop()?;
        stage.start()?;
        is_told(&stage, "has no .key file beside it")?;
        ensure!(!stage.log().contains(" made "), "{}", stage.log());

        // Who wants new ones says so; `key` finds the daemon's folder by itself.
        fs::remove_dir_all(&keys)?;
        let made = stage.sealdns(&["key", "generate", APEX, "--role", "ksk,zsk"])?;
        ensure!(made.status.success(), "{made:?}");
        ensure!(stage.sealdns(&["zone", "reload", APEX])?.status.success(), "no reload");
        let after = stage.published_tags()?;
        ensure!(after.len() == 2 && after.is_disjoint(&before), "{after:?} after {before:?}");
        ensure!(stage.stored_tags() == after, "{:?}", stage.stored_tags());
        stage.is_right()?;
        let control = stage.path("run/control");
        let mut dnskey = Command::new(servers::sealdns().context("no sealdns")?);
        dnskey.args(["key", "dnskey", APEX, "--control"]).arg(control);
        let printed = String::from_utf8(net::output_within(&mut dnskey, PATIENCE)?.stdout)?;
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let served: BTreeSet<_> = stage.transfer()?.iter().map(|line| words(line)).collect();
        ensure!(printed.lines().count() == 2, "{printed}");
        for line in printed.lines() {
            // dig breaks the key into parts.
            let whole = |words: &[String]| (words[..7].to_vec(), words[7..].concat());
            let printed = whole(&words(line));
            let is_served = served.iter().any(|line| line.len() > 7 && whole(line) == printed);
            ensure!(is_served, "{line} is not served");
        }
        stage.stop()
    })
}
