//! Who asks: a program in the kernel that writes queries onto pages of their own and puts them on the
//! wire, as a network card would, and one at the same end that counts the replies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::PerCpuArray,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, xdp::XdpMode},
};
use tests::measure::programs::{self, xdp};
use xdp_common::lab::{BURST, Template, control, counter, template};

use super::wire::Wire;

/// Frames of one system call: some milliseconds.
const REPEAT: u32 = 1 << 16;
/// Frames that the kernel hands on at a time.
const BATCH: u32 = 64;

/// What was sent and received.
pub type Counters = [u64; counter::WORDS];

pub struct Generator {
    /// Holds the programs; the wire's end keeps its program for as long.
    ebpf: Ebpf,
    index: u32,
    templates: u64,
    /// Octets of the first query: frames start with this length.
    frame_len: usize,
    interrupted: Arc<AtomicBool>,
}

impl Generator {
    pub fn new(wire: &Wire, interrupted: Arc<AtomicBool>) -> Result<Self> {
        wire.client.enter(|| {
            let mut ebpf = programs::load(&["generate", "receive"])?;
            xdp(&mut ebpf, "receive")?.attach(&wire.client_end, XdpMode::Driver)?;
            let index = nix::net::if_::if_nametoindex(wire.client_end.as_str())?;
            Ok(Self { ebpf, index, templates: 0, frame_len: 0, interrupted })
        })?
    }

    /// Says what to ask from now on.
    pub fn ask(&mut self, templates: &[Template]) -> Result<()> {
        let first = templates.first().context("nothing to ask")?;
        self.frame_len = first[template::LEN] as usize;
        self.templates = templates.len() as u64;
        programs::ask(&mut self.ebpf, templates)
    }

    /// Asks for a while: so many queries a second, or as many as it can. The calling thread must be in
    /// the client's namespace.
    pub fn run(&mut self, rate: Option<f64>, duration: Duration) -> Result<()> {
        let interval = rate.map_or(0, |rate| (BURST as f64 * 1e9 / rate) as u64);
        programs::tell(
            &mut self.ebpf,
            &[(control::TEMPLATES, self.templates), (control::INTERVAL_NS, interval)],
        )?;
        // `struct xdp_md`, as in `inject`.
        let mut context = [0u8; 24];
        context[4..8].copy_from_slice(&u32::try_from(self.frame_len)?.to_ne_bytes());
        context[12..16].copy_from_slice(&self.index.to_ne_bytes());
        let frame = vec![0; self.frame_len];
        let generate = xdp(&mut self.ebpf, "generate")?;
        let start = Instant::now();
        while start.elapsed() < duration {
            let result = generate.test_run(TestRunOptions {
                data_in: Some(&frame),
                ctx_in: Some(&context),
                repeat: REPEAT,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::new()
            });
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted; all is cleaned up");
            }
            result.context("the kernel does not send live frames (Linux 5.18 and later do)")?;
        }
        Ok(())
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
        Ok(sum)
    }
}
