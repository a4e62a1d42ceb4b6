//! Which records deny the existence of names and types: the NSEC chain (RFC 4034 section 4) and
//! the NSEC3 chain (RFC 5155).

use data_encoding::BASE32_DNSSEC;
use rayon::prelude::*;
use ring::digest;

use super::authority::NameStatus;
use super::policy::Denial;
use crate::zone::name::{is_at_or_below, parent};
use crate::zone::{Name, Owner, Rtype, Zone};

/// The NSEC3 flag that says: delegations without DS may be missing (RFC 5155 section 3.1.2.1).
pub const OPT_OUT: u8 = 1;

/// SHA-1, the only hash algorithm that NSEC3 has (RFC 5155 section 11).
pub const SHA1: u8 = 1;

/// Octets of an NSEC3 hash.
pub const HASH_LEN: usize = 20;

/// Octets of a hash as a label in base32hex, without the length octet.
pub const HASH_LABEL_LEN: usize = 32;

/// An NSEC3 hash.
pub type Hash = [u8; HASH_LEN];

/// The types that an NSEC or NSEC3 record at `owner` lists, as a type bit map.
pub fn bitmap(owner: &Owner<'_>, place: NameStatus, denial: Denial) -> Vec<u8> {
    let at_cut = place == NameStatus::Cut;
    let mut types: Vec<u16> = owner
        .rrsets()
        .map(|rrset| rrset.rtype())
        .filter(|&rtype| !matches!(rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3))
        .filter(|&rtype| !at_cut || matches!(rtype, Rtype::NS | Rtype::DS))
        .map(|rtype| rtype.0)
        .collect();
    match denial {
        // The NSEC record is an RRset of its own and is signed (RFC 4035 section 2.3).
        Denial::Nsec => types.extend([Rtype::RRSIG.0, Rtype::NSEC.0]),
        // The NSEC3 record stands elsewhere: without DS nothing at a cut is signed
        // (RFC 5155 section 7.1).
        Denial::Nsec3 { .. } => {
            let is_signed = if at_cut { types.contains(&Rtype::DS.0) } else { !types.is_empty() };
            if is_signed {
                types.push(Rtype::RRSIG.0);
            }
        }
    }
    types.sort_unstable();
    encode_bitmap(&types)
}

/// Encodes sorted types as a type bit map (RFC 4034 section 4.1.2).
pub fn encode_bitmap(types: &[u16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + 8);
    for block in types.chunk_by(|a, b| a >> 8 == b >> 8) {
        let (Some(first), Some(last)) = (block.first(), block.last()) else { continue };
        let len = usize::from(last & 0xff) / 8 + 1;
        out.extend_from_slice(&[(first >> 8) as u8, len as u8]);
        let start = out.len();
        out.resize(start + len, 0);
        for rtype in block {
            out[start + usize::from(rtype & 0xff) / 8] |= 0x80 >> (rtype % 8);
        }
    }
    out
}

/// The owner that follows `index` in the NSEC chain; the apex follows the last one.
pub fn next_nsec_owner<'a>(zone: &'a Zone, places: &[NameStatus], index: usize) -> Owner<'a> {
    let next = (index + 1..places.len())
        .find(|&next| matches!(places[next], NameStatus::Authoritative | NameStatus::Cut));
    zone.owner(next.unwrap_or(0))
}

/// A name in the NSEC3 chain.
#[derive(Clone, Copy, Debug)]
pub struct HashedName {
    /// Its hash.
    pub hash: Hash,
    /// Its place in canonical order; `None` for an empty non-terminal.
    pub owner: Option<u32>,
}

/// What opt-out leaves without NSEC3 records (RFC 5155 section 7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptOutScope {
    /// Nothing: there is no opt-out.
    Nothing,
    /// Delegations without DS. The empty non-terminals above them keep theirs: without, names below
    /// one could not be denied where there is a wildcard above it.
    Delegations,
    /// Those delegations, and the empty non-terminals that stand above nothing else.
    DelegationsAndAbove,
}

/// The names that have an NSEC3 record, sorted by hash: every name the zone has authority over,
/// every delegation, and the empty non-terminals above them, but for what is `scope`.
pub fn hashed_names(
    zone: &Zone,
    places: &[NameStatus],
    scope: OptOutScope,
    iterations: u16,
    salt: &[u8],
) -> Vec<HashedName> {
    let mut names: Vec<(Option<u32>, &[u8])> = Vec::with_capacity(places.len());
    let mut before = zone.apex().as_wire();
    for (owner, &place) in zone.owners().zip(places) {
        let included = match place {
            NameStatus::Authoritative => true,
            NameStatus::Cut => scope == OptOutScope::Nothing || owner.rrset(Rtype::DS).is_some(),
            NameStatus::Occluded | NameStatus::Hash => continue,
        };
        if !included && scope == OptOutScope::DelegationsAndAbove {
            continue;
        }
        let name = owner.name();
        // In canonical order a name follows its ancestors directly: an ancestor that the name
        // before is not at or below has no records.
        let mut above = parent(name);
        while let Some(ancestor) = above.filter(|ancestor| !is_at_or_below(before, ancestor)) {
            names.push((None, ancestor));
            above = parent(ancestor);
        }
        if included {
            names.push((Some(zone.index_of(&owner) as u32), name));
        }
        before = name;
    }
    let mut hashed: Vec<HashedName> = names
        .par_iter()
        .map(|&(owner, name)| HashedName { hash: nsec3_hash(name, iterations, salt), owner })
        .collect();
    hashed.par_sort_unstable_by_key(|name| name.hash);
    hashed
}

/// The hash of a lower-case wire name (RFC 5155 section 5).
pub fn nsec3_hash(name: &[u8], iterations: u16, salt: &[u8]) -> Hash {
    let mut hash = [0; HASH_LEN];
    let mut input = name;
    for _ in 0..=iterations {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(input);
        context.update(salt);
        hash.copy_from_slice(context.finish().as_ref());
        input = &hash;
    }
    hash
}

/// NSEC RDATA (RFC 4034 section 4.1); `next` is the owner that follows in the chain, uncompressed.
pub fn nsec_rdata(next: &[u8], bitmap: &[u8]) -> Vec<u8> {
    [next, bitmap].concat()
}

/// NSEC3 RDATA without salt and iterations.
pub fn nsec3_rdata(opt_out: bool, next: &Hash, bitmap: &[u8]) -> Vec<u8> {
    let flags = if opt_out { OPT_OUT } else { 0 };
    let mut rdata = Vec::with_capacity(6 + HASH_LEN + bitmap.len());
    rdata.extend_from_slice(&[SHA1, flags, 0, 0, 0, HASH_LEN as u8]);
    rdata.extend_from_slice(next);
    rdata.extend_from_slice(bitmap);
    rdata
}

/// NSEC3PARAM RDATA without salt and iterations. The opt-out flag is not set here
/// (RFC 5155 section 4.1.2).
pub const NSEC3PARAM: [u8; 5] = [SHA1, 0, 0, 0, 0];

/// How many additional NSEC3 iterations are served and accepted. RFC 9276 section 3.2 lets validators
/// treat any above zero as insecure; resolvers in use draw the line at 50 or above.
pub const MAX_ITERATIONS: u16 = 50;

/// What an NSEC3 chain is hashed with (RFC 5155 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parameters<'a> {
    /// Additional iterations, at most [`MAX_ITERATIONS`].
    pub iterations: u16,
    /// The salt, at most 255 octets.
    pub salt: &'a [u8],
}

/// Why a zone's NSEC3 chain is none that validators accept, and is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    /// The NSEC3PARAM record has no salt, or a part of it only.
    #[error("the NSEC3PARAM record is cut short")]
    CutShort,
    /// A hash algorithm that is not SHA-1.
    #[error("NSEC3 hash algorithm {0} is not known; 1 is SHA-1")]
    HashAlgorithm(u8),
    /// Too many iterations.
    #[error(
        "{0} additional NSEC3 iterations are more than the {MAX_ITERATIONS} validators accept; \
         RFC 9276 asks for 0"
    )]
    Iterations(u16),
}

impl<'a> Parameters<'a> {
    /// Those of the chain that a zone is served with, from its apex; `None` if there is no NSEC3PARAM record that
    /// says that a chain is whole: those with other flags than 0 do not count (RFC 5155 section 4.1.2). Of several
    /// any may be taken (its section 7.3): the one that costs least.
    pub fn of(apex: &Owner<'a>) -> Option<Result<Parameters<'a>, ParametersError>> {
        let records = apex.rrset(Rtype::NSEC3PARAM)?.rdatas();
        let records = records.filter(|rdata| rdata.get(1) == Some(&0));
        let (good, bad): (Vec<_>, Vec<_>) = records.map(Parameters::parse).partition(Result::is_ok);
        let cost = |one: &Parameters<'_>| (one.iterations, one.salt.len());
        let best = good.into_iter().flatten().min_by_key(cost);
        best.map(Ok).or_else(|| bad.into_iter().next())
    }

    fn parse(rdata: &'a [u8]) -> Result<Parameters<'a>, ParametersError> {
        let (&[algorithm, _, high, low], rest) =
            rdata.split_first_chunk::<4>().ok_or(ParametersError::CutShort)?;
        let (salt, _) = split_string(rest).ok_or(ParametersError::CutShort)?;
        let iterations = u16::from_be_bytes([high, low]);
        match () {
            () if algorithm != SHA1 => Err(ParametersError::HashAlgorithm(algorithm)),
            () if iterations > MAX_ITERATIONS => Err(ParametersError::Iterations(iterations)),
            () => Ok(Parameters { iterations, salt }),
        }
    }

    /// The hash of a lower-case wire name (RFC 5155 section 5).
    pub fn hash(&self, name: &[u8]) -> Hash {
        nsec3_hash(name, self.iterations, self.salt)
    }

    /// Whether an NSEC3 record is of the chain with these.
    pub fn are_of(&self, record: &Nsec3<'_>) -> bool {
        (record.algorithm, record.iterations, record.salt) == (SHA1, self.iterations, self.salt)
    }
}

/// What an NSEC3 record says.
#[derive(Clone, Copy, Debug)]
pub struct Nsec3<'a> {
    /// The hash algorithm.
    pub algorithm: u8,
    /// The flags.
    pub flags: u8,
    /// Additional iterations.
    pub iterations: u16,
    /// The salt.
    pub salt: &'a [u8],
    /// The next hash.
    pub next: &'a [u8],
    /// The type bit map.
    pub bitmap: &'a [u8],
}

impl<'a> Nsec3<'a> {
    /// Takes RDATA apart; `None` if it is cut short.
    pub fn parse(rdata: &'a [u8]) -> Option<Nsec3<'a>> {
        let (&[algorithm, flags, high, low], rest) = rdata.split_first_chunk::<4>()?;
        let (salt, rest) = split_string(rest)?;
        let (next, bitmap) = split_string(rest)?;
        let iterations = u16::from_be_bytes([high, low]);
        Some(Nsec3 { algorithm, flags, iterations, salt, next, bitmap })
    }
}

/// Splits off octets that their number precedes.
pub fn split_string(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = rest.split_first()?;
    rest.split_at_checked(usize::from(len))
}

/// Writes the owner name of a hash: its base32hex label (RFC 4648 section 7, lower case, without
/// padding) before the apex.
pub fn write_hash_owner(hash: &Hash, apex: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(HASH_LABEL_LEN as u8);
    out.resize(1 + HASH_LABEL_LEN, 0);
    BASE32_DNSSEC.encode_mut(hash, &mut out[1..]);
    out.extend_from_slice(apex);
}

/// The owner name of a hash, which must not be longer than a name may be.
///
/// # Panics
/// If it is.
pub fn hash_owner(hash: &Hash, apex: &Name) -> Name {
    let mut owner = Vec::with_capacity(1 + HASH_LABEL_LEN + apex.as_wire().len());
    write_hash_owner(hash, apex.as_wire(), &mut owner);
    Name::from_wire(&owner).expect("a hash before the apex is a name")
}

/// The hash that the first label of a lower-case owner name stands for.
pub fn read_hash_owner(owner: &[u8]) -> Option<Hash> {
    let (label, _) = split_string(owner)?;
    if label.len() != HASH_LABEL_LEN {
        return None;
    }
    let mut hash = [0; HASH_LEN];
    BASE32_DNSSEC.decode_mut(label, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bitmap_of_rfc_4034_section_4_3() {
        // A MX RRSIG NSEC TYPE1234
        let mut expected = b"\x00\x06\x40\x01\x00\x00\x00\x03\x04\x1b".to_vec();
        expected.resize(expected.len() + 26, 0);
        expected.push(0x20);
        assert_eq!(encode_bitmap(&[1, 15, 46, 47, 1234]), expected);
        assert_eq!(encode_bitmap(&[]), b"");
    }

    #[test]
    fn the_hashes_of_rfc_5155_appendix_a() {
        let mut owner = Vec::new();
        let hash = nsec3_hash(b"\x07example\x00", 12, b"\xaa\xbb\xcc\xdd");
        write_hash_owner(&hash, b"\x07example\x00", &mut owner);
        assert_eq!(owner, b"\x200p9mhaveqvm6t7vbl5lop2u3t2rp3tom\x07example\x00");
        assert_eq!(read_hash_owner(&owner), Some(hash));
        let hash = nsec3_hash(b"\x01*\x01w\x07example\x00", 12, b"\xaa\xbb\xcc\xdd");
        write_hash_owner(&hash, b"\x07example\x00", &mut owner);
        assert_eq!(owner, b"\x20r53bq7cc2uvmubfu5ocmm6pers9tk9en\x07example\x00");
    }
}
