//! Who asks: a program in the kernel that writes queries onto pages of their own and puts them on the
//! wire, as a network card would, or a socket; and a program at the same end that counts the replies.

use std::{
    hint,
    io::ErrorKind,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf,
    maps::PerCpuArray,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, xdp::XdpMode},
};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use xdp_common::lab::{BURST, control, counter, digits, template};

use super::{
    mix::{Message, Mix},
    wire::Wire,
};
use crate::measure::programs::{self, xdp};

/// Frames of the call that finds out how many there are in a second: some milliseconds.
const FEW: u32 = 1 << 14;
/// The most frames of one call: beyond any rate for a minute, and none if it took no time.
const MOST: f64 = 1e9;
/// Frames that the kernel hands on at a time.
const BATCH: u32 = 64;

/// What was sent and received.
pub type Counters = [u64; counter::WORDS];

/// Who asks.
pub struct Generator {
    /// Holds the programs; the wire's end keeps its program for as long.
    ebpf: Ebpf,
    index: u32,
    templates: u64,
    /// What is sent through a socket, if that is how it is asked.
    messages: Vec<Message>,
    /// How many were sent so.
    sent: u64,
    /// Octets of the first query: frames start with this length.
    frame_len: usize,
    /// From one burst to the next, in nanoseconds; 0 for as fast as it goes.
    interval: u64,
    /// How long a frame takes at this pace, in nanoseconds.
    frame_ns: f64,
    /// How often the program was run.
    number: u64,
    interrupted: Arc<AtomicBool>,
}

impl Generator {
    /// Loads the programs, and attaches the one that counts at the client's end.
    pub fn new(wire: &Wire, interrupted: Arc<AtomicBool>) -> Result<Self> {
        wire.client.enter(|| {
            let mut ebpf = programs::load(&["generate", "receive"])?;
            xdp(&mut ebpf, "receive")?.attach(&wire.client_end, XdpMode::Driver)?;
            let index = nix::net::if_::if_nametoindex(wire.client_end.as_str())?;
            Ok(Self {
                ebpf,
                index,
                templates: 0,
                messages: Vec::new(),
                sent: 0,
                frame_len: 0,
                interval: 0,
                frame_ns: 0.0,
                number: 0,
                interrupted,
            })
        })?
    }

    /// Says what to ask from now on.
    pub fn ask(&mut self, mix: &Mix, wire: &Wire) -> Result<()> {
        self.messages = if mix.by_socket { mix.messages() } else { Vec::new() };
        let templates = mix.templates(wire)?;
        let first = templates.first().context("nothing to ask")?;
        self.frame_len = first[template::LEN] as usize;
        self.templates = templates.len() as u64;
        programs::ask(&mut self.ebpf, &templates)
    }

    /// Says how many queries a second to ask from now on, or as many as it can, and finds out how many
    /// frames that are: those for which it is too early count too. The calling thread must be in the
    /// client's namespace, here and in [`Generator::run`].
    pub fn pace(&mut self, rate: Option<f64>) -> Result<()> {
        self.interval = rate.map_or(0, |rate| (BURST as f64 * 1e9 / rate) as u64);
        if !self.messages.is_empty() {
            return Ok(());
        }
        self.frame_ns = self.frames(FEW)?.as_nanos() as f64;
        Ok(())
    }

    /// Asks for about so long, without a pause, and returns how long it was from the first query to the
    /// last. All in one call: after each, the kernel waits tens of milliseconds until it is sure that
    /// nobody uses its pages.
    pub fn run(&mut self, duration: Duration) -> Result<Duration> {
        if !self.messages.is_empty() {
            return self.send(duration);
        }
        let frames = (duration.as_nanos() as f64 / self.frame_ns.max(1.0)).clamp(1.0, MOST) as u32;
        self.frames(frames)?;
        let counters = self.counters()?;
        let taken = Duration::from_nanos(counters[counter::LAST_NS] - counters[counter::FIRST_NS]);
        // What the kernel says leaves out who took the core meanwhile, to receive.
        self.frame_ns = self.frame_ns.max(taken.as_nanos() as f64 / f64::from(frames));
        Ok(taken)
    }

    /// Sends through a socket for so long, and returns how long it took.
    fn send(&mut self, duration: Duration) -> Result<Duration> {
        let socket = UdpSocket::bind(Wire::client_address()?)?;
        socket.connect(Wire::server_address()?)?;
        // Cut into packets on their way: one call, and one wake-up of who takes them, for a burst.
        let len = self.messages[0].octets.len();
        ensure!(self.messages.iter().all(|message| message.octets.len() == len));
        setsockopt(&socket, UdpGsoSegment, &i32::try_from(len)?)?;
        let mut burst = Vec::new();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let (start, mut bursts) = (Instant::now(), 0);
        while start.elapsed() < duration {
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted; all is cleaned up");
            }
            let due = Duration::from_nanos(self.interval * bursts);
            while start.elapsed() < due {
                hint::spin_loop();
            }
            burst.clear();
            for _ in 0..BURST {
                // xorshift (Marsaglia 2003).
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let place = random as usize % self.messages.len();
                let Message { octets, names } = &mut self.messages[place];
                if let Some(names) = names {
                    let number = (random >> 32) as u32 % names.count;
                    octets[names.digits_at..][..8].copy_from_slice(&digits(number).to_le_bytes());
                }
                burst.extend_from_slice(octets);
            }
            // What does not fit on the wire is lost without an error; what a server that does not listen yet
            // refuses is told by the next call.
            match socket.send(&burst) {
                Err(error) if error.kind() != ErrorKind::ConnectionRefused => {
                    return Err(error.into());
                }
                _ => {}
            }
            self.sent += BURST;
            bursts += 1;
        }
        Ok(start.elapsed())
    }

    /// Runs the program on so many frames; says how long one took.
    fn frames(&mut self, repeat: u32) -> Result<Duration> {
        self.number += 1;
        programs::tell(
            &mut self.ebpf,
            &[
                (control::TEMPLATES, self.templates),
                (control::INTERVAL_NS, self.interval),
                (control::RUN, self.number),
            ],
        )?;
        // `struct xdp_md`, as in `inject`.
        let mut context = [0u8; 24];
        context[4..8].copy_from_slice(&u32::try_from(self.frame_len)?.to_ne_bytes());
        context[12..16].copy_from_slice(&self.index.to_ne_bytes());
        let frame = vec![0; self.frame_len];
        let result = xdp(&mut self.ebpf, "generate")?.test_run(TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        });
        // A signal ends the call.
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted; all is cleaned up");
        }
        let result =
            result.context("the kernel does not send live frames (Linux 5.18 and later do)")?;
        Ok(result.duration)
    }

    /// All counters, since the start.
    pub fn counters(&self) -> Result<Counters> {
        let map = self.ebpf.map("COUNTERS").context("no map COUNTERS")?;
        let map = PerCpuArray::<_, Counters>::try_from(map)?;
        let mut sum = [0; counter::WORDS];
        for cpu in map.get(&0, 0)?.iter() {
            for (sum, word) in sum.iter_mut().zip(cpu) {
                *sum += word;
            }
        }
        sum[counter::SENT] += self.sent;
        Ok(sum)
    }
}
