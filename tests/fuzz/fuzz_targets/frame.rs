//! Ethernet frames through all that XDP does with them: what is not answered is unchanged, and what is
//! answered is a right frame with what the engine says to the message, back to who asked.
#![no_main]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::LazyLock,
};

use libfuzzer_sys::fuzz_target;
use sealdns::compile::{QueryContext, Reader};
use sealdns_fuzz::{COMPILED, Compiled, EDNS_SETTINGS, LIMIT, NOW};
use testbed::frames::Frame;
use tests::{
    dns::Message,
    prog_test_run::served,
    stack::{Host, repaired},
};
use xdp_common::{
    Outcome, Scratch,
    engine::sequence::{self, Driver, FrameDriver, Stage},
    frame::{Frame as AnyFrame, SliceFrame},
    image::Store as _,
    maps::{Config, EdnsSettings},
    state::Query,
};

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const CLIENTS: [&str; 2] = ["198.51.100.1:5353", "[2001:db8::1]:5353"];
const SERVERS: [&str; 2] = ["198.51.100.2:53", "[2001:db8::2]:53"];
const TAGS: [&[(u16, u16)]; 4] =
    [&[], &[(0x8100, 7)], &[(0x88a8, 9), (0x8100, 7)], &[(0x8100, 1), (0x8100, 2), (0x8100, 3)]];

/// Who is asked: it judges, by arithmetic of the tests' own, which frames a stack would drop.
static HOST: LazyLock<Host> = LazyLock::new(|| Host {
    macs: vec![SERVER_MAC, [0x0a, 0x55, 0xc0, 0xff, 0xee, 0x07]],
    addresses: SERVERS.map(|text| text.parse::<SocketAddr>().expect("an address").ip()).to_vec(),
    broadcasts: vec![Ipv4Addr::new(198, 51, 100, 255)],
});

/// Octets of a frame at the most, of what comes in and of what goes out.
const ROOM: usize = 4096;

/// Octets behind a packet that a socket sends into a veth pair (Linux 6.18).
const LITTLE: usize = 42;

// The input is a choice, and a frame as it is or a message that a right frame is made of.
fuzz_target!(|input: (u8, &[u8])| {
    let (choice, octets) = input;
    let compiled = &COMPILED[usize::from(choice & 1)];
    let asked = if choice & 2 == 0 {
        octets.to_vec()
    } else {
        framed(octets, usize::from(choice >> 2 & 1), usize::from(choice >> 3 & 3))
    };
    if asked.len() > ROOM {
        return;
    }
    let mut room = [0; ROOM];
    room[..asked.len()].copy_from_slice(&asked);
    let end = if choice & 0x20 == 0 { ROOM } else { ROOM.min(asked.len() + LITTLE) };
    let mut frame = SliceFrame::new(&mut room[..end], asked.len());
    match serve(compiled, &mut frame) {
        Err(outcome) => {
            assert!(!matches!(outcome, Outcome::Torn | Outcome::Broken), "{outcome:?}");
            assert!(!outcome.is_answered());
            assert_eq!(frame.octets(), asked, "{outcome:?}: changed");
        }
        Ok(()) => check(compiled, &asked, frame.octets()),
    }
});

fn framed(message: &[u8], family: usize, tags: usize) -> Vec<u8> {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let frame = Frame {
        source_mac: CLIENT_MAC,
        destination_mac: SERVER_MAC,
        tags: TAGS[tags].to_vec(),
        source: address(CLIENTS[family]),
        destination: address(SERVERS[family]),
        ttl: 64,
        payload: message.to_vec(),
    };
    frame.encode().unwrap_or_default()
}

fn config(max_labels: u32, seed: u64) -> Config {
    let mut config = served(SERVER_MAC, &SERVERS).expect("addresses");
    HOST.tell(&mut config);
    config.seed = seed;
    config.payload_limit = LIMIT as u32;
    config.max_labels = max_labels;
    config
}

/// The stages as the programs take them, over the daemon's engine: with its bounds, and unlimited.
struct Programs<'a> {
    compiled: &'a Compiled,
    config: Config,
}

impl Driver for Programs<'_> {
    type Store = Reader;
    type Entered = Stage;
    const FRAMED: bool = true;

    fn store(&self) -> &Reader {
        &self.compiled.reader
    }

    fn edns_settings(&self) -> Option<&EdnsSettings> {
        Some(&EDNS_SETTINGS)
    }

    fn now_s(&self) -> u32 {
        *NOW
    }

    fn changes(&self) -> Option<u64> {
        Some(0)
    }

    fn response_limit(&self, query: &Query) -> usize {
        query.payload_limit(LIMIT)
    }

    fn payload(&self) -> u16 {
        LIMIT as u16
    }

    fn limit_bits(&self) -> u32 {
        0
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn enter(&mut self, stage: Stage) -> Option<Stage> {
        Some(stage)
    }
}

impl FrameDriver for Programs<'_> {
    fn config(&self) -> &Config {
        &self.config
    }

    fn arrive<F: AnyFrame>(&self, _frame: &F, _scratch: &mut Scratch) -> Result<(), Outcome> {
        Ok(())
    }
}

fn serve(compiled: &Compiled, frame: &mut SliceFrame<'_>) -> Result<(), Outcome> {
    let config = config(compiled.max_labels, compiled.reader.seed());
    let mut programs = Programs { compiled, config };
    sequence::answer_frame(&mut programs, frame, &mut Box::<Scratch>::default()).map(drop)
}

fn check(compiled: &Compiled, asked: &[u8], replied: &[u8]) {
    // Taking it apart recomputes both checksums by the tests' own arithmetic.
    let reply = Frame::decode(replied).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!((&asked[..6], &asked[6..12]), (&replied[6..12], &replied[..6]));
    assert!(reply.payload.len() <= LIMIT);
    Message::read(&reply.payload).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(HOST.fault(asked), None, "answered, and a stack would have dropped it");
    // Padding, no checksum and bare pseudo-header sums are all that may be other than the tests' reader wants.
    let asked = repaired(asked).and_then(|asked| Frame::decode(&asked));
    let asked = asked.unwrap_or_else(|error| panic!("{error:#}"));
    let mut said = Vec::new();
    let client = asked.source.ip();
    let circumstances = QueryContext {
        client,
        over_tcp: false,
        limit: LIMIT,
        now: *NOW,
        edns_settings: &EDNS_SETTINGS,
    };
    compiled.reader.respond(&asked.payload, &circumstances, &mut said);
    assert_eq!(reply, asked.reply(said));
}
