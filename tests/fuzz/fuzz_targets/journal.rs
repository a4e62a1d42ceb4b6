//! Journals: whatever is in a file, what comes out is what lies before the first fault, no larger than the file says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealdns::journal::Contents;

/// The number of the first frame.
const SEQUENCE: u64 = 1;

fuzz_target!(|input: (&[u8], Vec<&[u8]>)| {
    let (raw, frames) = input;
    read(raw.to_vec());

    // Checksums, numbers and hashes that are right: no fuzzer finds these.
    let mut file = b"sealdnsj\0\x01\xff\xfe\x09\x07example\0".to_vec();
    file.extend_from_slice(&(SEQUENCE - 1).to_be_bytes());
    file.extend_from_slice(&[7; 32]);
    file.extend_from_slice(&crc32c::crc32c(&file).to_be_bytes());
    for (number, frame) in (SEQUENCE..).zip(frames) {
        let Some(before) = read(file.clone()) else { break };
        let mut content = number.to_be_bytes().to_vec();
        content.extend_from_slice(&before);
        content.extend_from_slice(frame);
        let len = (content.len() as u32).to_be_bytes();
        let sum = crc32c::crc32c_append(crc32c::crc32c(&len), &content);
        file.extend_from_slice(&len);
        file.extend_from_slice(&sum.to_be_bytes());
        file.extend_from_slice(&content);
    }
    read(file);
});

/// Goes through all that is in a file. Returns the digest of the version that it leads to, if it is right to its end.
fn read(file: Vec<u8>) -> Option<[u8; 32]> {
    let len = file.len();
    let contents = Contents::read(file).ok()?;
    assert_eq!(contents.file_len(), len);
    for frame in contents.backward() {
        let behind = contents.after(&frame.place()).map(|frames| frames.len() as u64);
        assert_eq!(behind, contents.last().sequence.checked_sub(frame.sequence));
        assert!(frame.facts.len() <= len);
        let Ok((zone, beside)) = frame.differences(contents.apex()) else { continue };
        for difference in [Some(zone), beside].into_iter().flatten() {
            // Each record has two octets of the file at least.
            assert!(difference.removed().len() + difference.added().len() <= len / 2);
        }
    }
    contents.cut().is_none().then_some(contents.last().hash)
}
