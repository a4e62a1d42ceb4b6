//! Transfers into the server: whatever a primary sends, what comes is a zone, differences that lead on from each other, or a
//! reason, and no more of it than was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealdns::transfer::incoming::{Asked, AskedKind, Limits, Stream, Transferred};
use sealdns::zone::{Name, Serial};

/// Header and question of a response to AXFR of `example`, and of one to IXFR.
const HEADS: [&[u8]; 2] = [
    b"\x5e\xa1\x84\0\0\x01\0\0\0\0\0\0\x07example\0\0\xfc\0\x01",
    b"\x5e\xa1\x84\0\0\x01\0\0\0\0\0\0\x07example\0\0\xfb\0\x01",
];

/// An SOA record with this serial, in a message that begins with one of the heads.
fn soa(serial: u8) -> Vec<u8> {
    let head = b"\xc0\x0c\0\x06\0\x01\0\0\0\x3c\0\x18\xc0\x0c\xc0\x0c\0\0\0";
    [&head[..], &[serial], &[0, 0, 0, 60].repeat(4)].concat()
}

const NS: &[u8] = b"\xc0\x0c\0\x02\0\x01\0\0\0\x3c\0\x02\xc0\x0c";

fuzz_target!(|input: (bool, Vec<&[u8]>, Vec<(u8, &[u8])>)| {
    let (is_whole, raw, parts) = input;
    let kind = if is_whole { AskedKind::Zone } else { AskedKind::Since(Serial(1)) };
    read(kind, raw.iter().map(|message| message.to_vec()));

    // A right head, and records some of which are right: no fuzzer finds these often.
    let mut message = HEADS[usize::from(!is_whole)].to_vec();
    let mut count = 0u16;
    for (choice, octets) in parts {
        count = count.saturating_add(1);
        match choice {
            0..=99 => message.extend_from_slice(&soa(choice % 5)),
            100..=129 => message.extend_from_slice(NS),
            130..=199 => {
                message.extend_from_slice(b"\x01a\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02");
                message.push(choice);
            }
            _ => message.extend_from_slice(octets),
        }
    }
    message[6..8].copy_from_slice(&count.to_be_bytes());
    read(kind, std::iter::once(message));
});

fn read(kind: AskedKind, messages: impl Iterator<Item = Vec<u8>>) {
    let apex = Name::from_wire(b"\x07example\0").expect("a name");
    let limits = Limits { octets: 1 << 20, records: 1 << 16, messages: 1 << 10 };
    let mut stream = Stream::new(Asked { id: 0x5ea1, apex: apex.clone(), kind }, limits);
    let mut records = 0;
    for message in messages {
        records += usize::from(u16::from_be_bytes(match message.get(6..8) {
            Some(count) => [count[0], count[1]],
            None => [0, 0],
        }));
        match stream.read(&message) {
            Ok(false) => {}
            Ok(true) => break,
            Err(_) => return,
        }
    }
    match (stream.finish(), kind) {
        (Err(_), _) => {}
        (Ok(Transferred::Zone(zone)), _) => {
            assert!(zone.record_count() <= records);
            assert_eq!(zone.apex(), &apex);
        }
        (Ok(Transferred::UpToDate(serial)), AskedKind::Since(ours)) => {
            assert!(!serial.is_newer_than(ours));
        }
        (Ok(Transferred::Differences(differences)), AskedKind::Since(ours)) => {
            let mut reached = ours;
            for difference in &differences {
                assert_eq!(difference.old_serial(), reached);
                assert!(difference.new_serial().is_newer_than(reached));
                reached = difference.new_serial();
            }
            assert!(!differences.is_empty());
        }
        (Ok(other), AskedKind::Zone) => panic!("{other:?}"),
    }
}
