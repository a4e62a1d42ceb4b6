//! A catalog zone made of the zones that it is to list.

use data_encoding::BASE32HEX_NOPAD;
use ring::digest;

use super::{GROUP, VERSION, ZONES, below};
use crate::zone::{Name, Rtype, Serial, Zone, ZoneBuilder, ZoneError};

/// Octets of a zone's hash that make its label: enough for no two zones to have the same.
const HASH_LEN: usize = 20;

/// REFRESH, RETRY, EXPIRE and MINIMUM of its SOA record, in seconds. Consumers are told of each change (NOTIFY), and a
/// catalog that expires changes nothing, so it hardly ever should: those of the example in RFC 9432 appendix A.
const TIMES: [u32; 4] = [3600, 600, 2_147_483_646, 0];

/// A zone that is to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeMember {
    /// Its apex.
    pub zone: Name,
    /// The group that it is in, if it is in one: at most 255 octets.
    pub group: Option<String>,
}

/// A catalog zone that lists these zones. Each has the label that is the hash of its name, so that it has the same one
/// whenever the catalog is made, and wherever.
///
/// # Errors
/// If the catalog's name is so long that names below it are too long.
pub fn made(apex: &Name, serial: Serial, members: &[MadeMember]) -> Result<Zone, ZoneError> {
    let mut catalog = ZoneBuilder::new(apex.clone());
    let invalid = b"\x07invalid\x00";
    let numbers = [serial.0].into_iter().chain(TIMES).flat_map(u32::to_be_bytes);
    let soa: Vec<u8> = invalid.iter().chain(invalid).copied().chain(numbers).collect();
    catalog.push(apex.as_wire(), Rtype::SOA, 0, &soa)?;
    catalog.push(apex.as_wire(), Rtype::NS, 0, invalid)?;
    let version = below(b"version", apex.as_wire());
    catalog.push(&version, Rtype::TXT, 0, &character_string(VERSION))?;
    let zones = below(ZONES, apex.as_wire());
    for MadeMember { zone, group } in members {
        let node = below(&label_for(zone), &zones);
        catalog.push(&node, Rtype::PTR, 0, zone.as_wire())?;
        if let Some(group) = group {
            let text = character_string(group.as_bytes());
            catalog.push(&below(GROUP, &node), Rtype::TXT, 0, &text)?;
        }
    }
    catalog.finish()
}

/// The label that a zone is listed under: the first octets of the SHA-256 of its name in wire format, in base32hex.
fn label_for(zone: &Name) -> Vec<u8> {
    let hash = digest::digest(&digest::SHA256, zone.as_wire());
    let mut label = BASE32HEX_NOPAD.encode(&hash.as_ref()[..HASH_LEN]).into_bytes();
    label.make_ascii_lowercase();
    label
}

/// A `<character-string>` (RFC 1035 section 3.3), cut at 255 octets.
fn character_string(text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(usize::from(u8::MAX))];
    [&[text.len() as u8], text].concat()
}
