//! The fields of SOA RDATA (RFC 1035 section 3.3.13).

use super::name::wire_name_len;
use super::serial::Serial;

/// Octets of the five numbers that end the RDATA.
const NUMBERS_LEN: usize = 20;

/// SOA RDATA taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Soa<'a> {
    /// MNAME: the primary, in uncompressed wire format.
    pub mname: &'a [u8],
    /// RNAME: the mailbox of who is responsible, as a name.
    pub rname: &'a [u8],
    /// SERIAL.
    pub serial: Serial,
    /// REFRESH, in seconds.
    pub refresh: u32,
    /// RETRY, in seconds.
    pub retry: u32,
    /// EXPIRE, in seconds.
    pub expire: u32,
    /// MINIMUM, in seconds: what negative answers are kept at the most (RFC 2308 section 4).
    pub minimum: u32,
}

impl<'a> Soa<'a> {
    /// Takes uncompressed RDATA apart; `None` if it is not two names and five numbers.
    pub fn parse(rdata: &'a [u8]) -> Option<Soa<'a>> {
        let (names, numbers) = rdata.split_last_chunk::<NUMBERS_LEN>()?;
        let (mname, rname) = names.split_at_checked(wire_name_len(names)?)?;
        if wire_name_len(rname)? != rname.len() {
            return None;
        }
        let (words, _) = numbers.as_chunks();
        let [serial, refresh, retry, expire, minimum] =
            [0, 1, 2, 3, 4].map(|at| u32::from_be_bytes(words[at]));
        Some(Soa { mname, rname, serial: Serial(serial), refresh, retry, expire, minimum })
    }
}

/// Puts another serial into SOA RDATA, if that is long enough to have one.
pub fn set_serial(rdata: &mut [u8], serial: Serial) {
    if let Some(numbers) = rdata.last_chunk_mut::<NUMBERS_LEN>() {
        numbers[..4].copy_from_slice(&serial.0.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RDATA: &[u8] = b"\x02ns\x00\x04mail\x00\x00\x00\x00\x07\x00\x00\x0e\x10\x00\x00\x03\x84\x00\x09\x3a\x80\x00\x00\x00\x3c";

    #[test]
    fn fields_are_where_rfc_1035_has_them() {
        let soa = Soa::parse(RDATA).unwrap();
        assert_eq!((soa.mname, soa.rname), (&b"\x02ns\x00"[..], &b"\x04mail\x00"[..]));
        let numbers = (soa.refresh, soa.retry, soa.expire, soa.minimum);
        assert_eq!((soa.serial, numbers), (Serial(7), (3600, 900, 604_800, 60)));
        let mut changed = RDATA.to_vec();
        set_serial(&mut changed, Serial(8));
        assert_eq!(Soa::parse(&changed), Some(Soa { serial: Serial(8), ..soa }));
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_none() {
        for len in 0..RDATA.len() {
            assert_eq!(Soa::parse(&RDATA[..len]), None, "{len}");
        }
        assert_eq!(Soa::parse(&[RDATA, b"\0"].concat()), None);
        set_serial(&mut [], Serial(1));
    }
}
