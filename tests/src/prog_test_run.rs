//! The real programs, run by the kernel on frames that we hand them (`BPF_PROG_TEST_RUN`).

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, SchedClassifier, TestRun as _, TestRunOptions, Xdp},
};
use xdp_common::maps::{Config, address_words, mac_word};

/// Room for the frame that comes back: the largest that XDP makes of a page, and more.
pub const LARGEST: usize = 8192;

/// What the kernel does with a frame after XDP (`enum xdp_action` of linux/bpf.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// An error of the program.
    Aborted,
    /// Thrown away.
    Drop,
    /// Given to the network stack.
    Pass,
    /// Sent back where it came from.
    Tx,
    /// Sent elsewhere.
    Redirect,
}

impl Action {
    fn from_number(number: u32) -> Result<Self> {
        Ok(match number {
            0 => Self::Aborted,
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Tx,
            4 => Self::Redirect,
            other => bail!("{other} is no XDP action"),
        })
    }
}

/// What became of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The program's verdict.
    pub action: Action,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// Time of one run, averaged over all repetitions.
    pub duration: Duration,
}

/// What the programs are told of a device with this MAC address and of what it serves. The rest is the
/// image's.
pub fn served(mac: [u8; 6], servers: &[&str]) -> Result<Config> {
    let mut config = Config::new();
    config.macs[0] = mac_word(mac);
    for (place, server) in config.addresses.iter_mut().zip(servers) {
        let server: SocketAddr = server.parse()?;
        *place = address_words(server.ip());
        config.ports[0] = server.port().to_be();
    }
    config.address_count = u32::try_from(servers.len())?;
    Ok(config)
}

/// The lab's object, as `cargo xtask build` leaves it.
pub fn lab() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/ebpf/bpfel-unknown-none/release/lab"
    ))
}

/// Opens an object and loads all its programs.
pub fn load(object: &[u8]) -> Result<Ebpf> {
    let mut ebpf = EbpfLoader::new().load(object).context("the object does not load")?;
    for (name, program) in ebpf.programs_mut() {
        match program {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            other => bail!("program {name} is of the unexpected type {:?}", other.prog_type()),
        }
        .with_context(|| format!("program {name} does not load"))?;
    }
    Ok(ebpf)
}

/// Runs a loaded program on a frame. `repeat` times, each on the frame as the last run left it: more
/// than once only makes sense for measuring programs that restore it.
pub fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<Run> {
    let mut frame_out = vec![0; LARGEST];
    let (action, len, duration) = run_in(program, frame, repeat, &mut frame_out)?;
    frame_out.truncate(len);
    Ok(Run { action, frame: frame_out, duration })
}

/// The same with room for the frame that comes back, of which the octets are counted: for many runs.
pub fn run_in(
    program: &Xdp,
    frame: &[u8],
    repeat: u32,
    room: &mut [u8],
) -> Result<(Action, usize, Duration)> {
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(room),
            repeat,
            ..TestRunOptions::new()
        })
        .context("BPF_PROG_TEST_RUN failed")?;
    let action = Action::from_number(result.return_value)?;
    Ok((action, result.data_size_out as usize, result.duration))
}

/// Runs a program on a socket buffer with a frame in it, with room for the frame that comes back: the verdict
/// (`TC_ACT_…` of linux/pkt_cls.h), and how long that frame is.
pub fn run_skb_in(
    program: &SchedClassifier,
    frame: &[u8],
    room: &mut [u8],
) -> Result<(i32, usize)> {
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(room),
            repeat: 1,
            ..TestRunOptions::new()
        })
        .context("BPF_PROG_TEST_RUN failed")?;
    Ok((result.return_value as i32, result.data_size_out as usize))
}
