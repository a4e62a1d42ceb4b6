//! A primary that does as it is told: ends in the middle, goes on for ever, sends what is no zone. Nothing of it is served,
//! what was served stays, and the reason is told.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::*;

/// What the primary does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Conduct {
    /// Sends the zone.
    Right,
    /// Closes the connection in the middle of the zone, or of a message.
    Dies(bool),
    /// Sends records without end.
    Endless,
    /// Sends an SOA record and no more of a zone.
    SoaOnly,
    /// Sends a record of another zone.
    OutOfZone,
    /// Refuses.
    Refuses,
    /// Accepts a connection and says nothing.
    Silent,
}

/// A primary that tells each serial over UDP, and over TCP conducts itself so.
pub struct Scripted {
    conduct: Arc<Mutex<Conduct>>,
    serial: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

impl Scripted {
    pub fn start(address: &str) -> Result<Self> {
        let conduct = Arc::new(Mutex::new(Conduct::Right));
        let (serial, is_over) = (Arc::new(AtomicU32::new(7)), Arc::new(AtomicBool::new(false)));
        let (udp, tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
        udp.set_read_timeout(Some(Duration::from_millis(100)))?;
        tcp.set_nonblocking(true)?;
        let (now, over) = (Arc::clone(&serial), Arc::clone(&is_over));
        thread::spawn(move || {
            let mut room = [0; 512];
            while !over.load(Relaxed) {
                let Ok((len, client)) = udp.recv_from(&mut room) else { continue };
                let mut response = head(&room[..len], 1);
                response.extend(soa(now.load(Relaxed)));
                let _ = udp.send_to(&response, client);
            }
        });
        let (how, now, over) = (Arc::clone(&conduct), Arc::clone(&serial), Arc::clone(&is_over));
        thread::spawn(move || {
            while !over.load(Relaxed) {
                let Ok((stream, _)) = tcp.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let how = *how.lock().expect("nobody panicked");
                let (now, over) = (now.load(Relaxed), Arc::clone(&over));
                thread::spawn(move || send(stream, how, now, &over));
            }
        });
        Ok(Self { conduct, serial, is_over })
    }

    pub fn conducts(&self, conduct: Conduct, serial: u32) {
        *self.conduct.lock().expect("nobody panicked") = conduct;
        self.serial.store(serial, Relaxed);
    }
}

/// Header and question of a response with so many answers.
fn head(query: &[u8], answers: u16) -> Vec<u8> {
    let mut end = 12;
    while query.get(end).is_some_and(|len| *len > 0) {
        end += 1 + usize::from(query[end]);
    }
    let mut head = query[..(end + 5).min(query.len())].to_vec();
    (head[2], head[3]) = (0x84, 0);
    head[6..8].copy_from_slice(&answers.to_be_bytes());
    head[8..12].fill(0);
    head
}

fn soa(serial: u32) -> Vec<u8> {
    let fixed = b"\xc0\x0c\0\x06\0\x01\0\0\0\x3c\0\x18\xc0\x0c\xc0\x0c";
    [&fixed[..], &serial.to_be_bytes(), &[0, 0, 0x0e, 0x10].repeat(4)].concat()
}

fn a(owner: &[u8]) -> Vec<u8> {
    [owner, b"\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07"].concat()
}

const NS: &[u8] = b"\xc0\x0c\0\x02\0\x01\0\0\0\x3c\0\x02\xc0\x0c";

/// Sends what is asked for.
fn send(mut stream: TcpStream, how: Conduct, serial: u32, over: &AtomicBool) -> Option<()> {
    stream.set_nonblocking(false).ok()?;
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut query = vec![0; u16::from_be_bytes(len).into()];
    stream.read_exact(&mut query).ok()?;
    let mut put = |answers: &[Vec<u8>], cut: usize| {
        let mut message = head(&query, answers.len() as u16);
        answers.iter().for_each(|answer| message.extend(answer));
        if how == Conduct::Refuses {
            message[3] = 5;
        }
        let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
        stream.write_all(&framed[..framed.len() - cut]).ok()
    };
    let (soa, www) = (soa(serial), a(b"\x03www\xc0\x0c"));
    match how {
        Conduct::Right => put(&[soa.clone(), NS.to_vec(), www, soa], 0),
        Conduct::Refuses => put(&[], 0),
        Conduct::SoaOnly => put(&[soa.clone(), soa], 0),
        Conduct::OutOfZone => put(&[soa.clone(), NS.to_vec(), a(b"\x03www\x03org\0"), soa], 0),
        Conduct::Dies(is_within) => {
            put(&[soa, NS.to_vec()], 0)?;
            put(&[www], usize::from(is_within) * 5)
        }
        Conduct::Silent => {
            while !over.load(Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
            Some(())
        }
        Conduct::Endless => {
            put(&[soa, NS.to_vec()], 0)?;
            for number in 0u32.. {
                let label = format!("n{number:07}");
                put(&vec![a(&[&[8], label.as_bytes(), b"\xc0\x0c"].concat()); 50], 0)?;
            }
            Some(())
        }
    }
}

/// Each fault changes nothing, is told with its reason, and is over when the primary conducts itself.
pub fn a_broken_transfer_changes_nothing() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let folder = tempfile::tempdir()?;
        let primary = Scripted::start(PRIMARY)?;
        let server = "transfer-size = \"1MiB\"\ntransfer-timeout = \"20s\"";
        let settings =
            Settings { dnssec: "off", secret: None, primaries: &[PRIMARY], server, variables: &[] };
        let secondary = Secondary::start(folder.path(), settings)?;
        secondary.wait_for(7)?;
        let has_it = || transferred("127.0.0.1:53", None, &[]).is_ok();
        net::wait_until("the sockets have it", PATIENCE, has_it)?;
        let before = transferred("127.0.0.1:53", None, &[])?;
        let mut serial = 7;
        for (conduct, why) in [
            (Conduct::Dies(false), "waiting for the next message"),
            (Conduct::Dies(true), "waiting for the next message"),
            (Conduct::Endless, "more than 1048576 octets"),
            (Conduct::SoaOnly, "the zone has no NS record"),
            (Conduct::OutOfZone, "is not in the zone"),
            (Conduct::Refuses, "REFUSED"),
        ] {
            serial += 1;
            primary.conducts(conduct, serial);
            secondary.refresh()?;
            let status = secondary.wait_for_failure(why)?;
            ensure!(status.primaries.is_some_and(|one| one.serial == Some(7)), "{conduct:?}");
            let now = transferred("127.0.0.1:53", None, &[])?;
            ensure!(now == before, "{conduct:?}: {now:#?}");
        }
        primary.conducts(Conduct::Right, serial);
        secondary.refresh()?;
        let status = secondary.wait_for(serial)?;
        ensure!(status.summary.error.is_none(), "{status:?}");
        // Without a primary the daemon serves what it has.
        drop(primary);
        secondary.stop()?;
        let secondary = Secondary::start(folder.path(), settings)?;
        ensure!(secondary.status()?.summary.serial == Some(serial), "{:?}", secondary.status());
        secondary.stop()
    })
}

/// A primary that is silent costs the others nothing: the next one is asked.
pub fn a_silent_primary_is_passed_over() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let folder = tempfile::tempdir()?;
        let second = "127.0.0.1:5301";
        let (silent, right) = (Scripted::start(PRIMARY)?, Scripted::start(second)?);
        silent.conducts(Conduct::Silent, 7);
        let primaries = &[PRIMARY, second];
        let server = "transfer-timeout = \"3s\"";
        let settings = Settings { dnssec: "off", secret: None, primaries, server, variables: &[] };
        let secondary = Secondary::start(folder.path(), settings)?;
        let status = secondary.wait_for(7)?;
        let heard = status.primaries.context("it has primaries")?;
        ensure!(heard.asked == Some(second.parse()?), "{heard:?}");
        ensure!(heard.failure.is_some_and(|why| why.contains("3 s")), "no reason");
        // Again, for what changed.
        silent.conducts(Conduct::Silent, 8);
        right.conducts(Conduct::Right, 8);
        secondary.refresh()?;
        secondary.wait_for(8)?;
        secondary.stop()
    })
}

/// What the disk has no room for is refused, and comes when there is room.
pub fn a_full_disk_refuses_what_comes() -> Result<Verdict> {
    if let Some(obstacle) = obstacle(&[]) {
        return Ok(obstacle);
    }
    apart(|| {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state");
        fs::create_dir(&state)?;
        let at = state.to_str().context("a path that is text")?;
        run("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs", at])?;
        let primary = Scripted::start(PRIMARY)?;
        let settings = Settings {
            dnssec: "off",
            secret: None,
            primaries: &[PRIMARY],
            server: "",
            variables: &[],
        };
        let secondary = Secondary::start(folder.path(), settings)?;
        secondary.wait_for(7)?;
        let filler = state.join("filler");
        let mut file = fs::File::create(&filler)?;
        while file.write_all(&[0; 4096]).is_ok() {}
        drop(file);
        primary.conducts(Conduct::Right, 8);
        secondary.refresh()?;
        let error = || secondary.status().ok().and_then(|status| status.summary.error);
        let is_told = || error().is_some_and(|error| error.contains("could not be made durable"));
        net::wait_until("it is refused", PATIENCE, is_told)
            .with_context(|| format!("{:?}\n{}", error(), secondary.process.log()))?;
        ensure!(secondary.status()?.summary.serial == Some(7), "{:?}", secondary.status());
        fs::remove_file(&filler)?;
        secondary.refresh()?;
        secondary.wait_for(8)?;
        ensure!(error().is_none(), "{:?}", error());
        secondary.stop()?;
        let secondary = Secondary::start(folder.path(), settings)?;
        ensure!(secondary.status()?.summary.serial == Some(8), "{:?}", secondary.status());
        secondary.stop()?;
        run("umount", &["-l", at])
    })
}
