//! What kind of response it is, what becomes of it, and which limit says so.

/// What is said: responses of each class have a rate of their own.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The RRset asked for, a CNAME, a DNAME's; from a wildcard too.
    Positive,
    /// The name exists, the type does not.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// A referral.
    Referral,
    /// An error: REFUSED, FORMERR, SERVFAIL, NOTIMP, BADVERS.
    Error,
    /// The keys of a zone: large, and the same for all.
    Dnskey,
    /// What is said to a question for ANY.
    Any,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// All of them, by [`Class::index`].
    pub const ALL: [Class; Class::COUNT] = [
        Class::Positive,
        Class::Nodata,
        Class::Nxdomain,
        Class::Referral,
        Class::Error,
        Class::Dnskey,
        Class::Any,
    ];

    /// Its place in arrays.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for it in metrics, on the command line and in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Class::Positive => "positive",
            Class::Nodata => "nodata",
            Class::Nxdomain => "nxdomain",
            Class::Referral => "referral",
            Class::Error => "error",
            Class::Dnskey => "dnskey",
            Class::Any => "any",
        }
    }
}

/// The place of what is passed up to the daemon, behind those of the classes.
pub const PASSED: usize = Class::COUNT;

/// What becomes of a response.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is sent.
    Answer,
    /// TC=1 is sent in its place, no larger than the query: an honest client asks again over TCP.
    Slip,
    /// Nothing is sent.
    Drop,
    /// It is an error over its limit, and sent all the same: errors have no shorter form.
    Leak,
}

impl Verdict {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// All of them, by [`Verdict::index`].
    pub const ALL: [Verdict; Verdict::COUNT] =
        [Verdict::Answer, Verdict::Slip, Verdict::Drop, Verdict::Leak];

    /// Its place in arrays.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for it in metrics and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Answer => "answer",
            Verdict::Slip => "slip",
            Verdict::Drop => "drop",
            Verdict::Leak => "leak",
        }
    }
}

/// The limit that is hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hit {
    /// Responses of a class for a name, to a netblock.
    Class(Class),
    /// All responses to a netblock, at a place in [`Policy::ipv4_levels`](super::Policy::ipv4_levels) or
    /// [`Policy::ipv6_levels`](super::Policy::ipv6_levels).
    Total(usize),
    /// What is passed up to the daemon from a netblock.
    Passed,
    /// What is passed up to the daemon from all.
    PassedTotal,
    /// A blocked prefix.
    BlockedPrefix,
    /// A blocked name.
    BlockedName,
}

/// Where the numbers of totals and of the others start.
const TOTAL: u32 = 8;
const OTHERS: u32 = 16;

impl Hit {
    /// Its number in [`Limited::hit`].
    pub const fn number(self) -> u32 {
        match self {
            Hit::Class(class) => class.index() as u32,
            Hit::Total(level) => TOTAL + level as u32,
            Hit::Passed => OTHERS,
            Hit::PassedTotal => OTHERS + 1,
            Hit::BlockedPrefix => OTHERS + 2,
            Hit::BlockedName => OTHERS + 3,
        }
    }

    /// What a number stands for.
    pub const fn of_number(number: u32) -> Option<Hit> {
        match number {
            0..=6 => Some(Hit::Class(Class::ALL[number as usize])),
            8..=15 => Some(Hit::Total((number - TOTAL) as usize)),
            16 => Some(Hit::Passed),
            17 => Some(Hit::PassedTotal),
            18 => Some(Hit::BlockedPrefix),
            19 => Some(Hit::BlockedName),
            _ => None,
        }
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Hit::Class(class) => class.word(),
            Hit::Total(_) => "total",
            Hit::Passed => "passed",
            Hit::PassedTotal => "passed-total",
            Hit::BlockedPrefix => "blocked-prefix",
            Hit::BlockedName => "blocked-name",
        }
    }
}

/// A netblock that is limited, or near it: what `top` and `explain` show. Written without a lock: a number
/// may be short of what two CPUs count at the same moment.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// Its address as IPv6 (IPv4 mapped), as it lies in memory, bits behind the prefix zero.
    pub netblock: [u64; 2],
    /// When it was limited first, in seconds since 1970; 0 if it was near and never over.
    pub since_s: u64,
    /// When it was limited, or near it, last.
    pub last_s: u64,
    /// Slips since then.
    pub slips: u64,
    /// Drops since then.
    pub drops: u64,
    /// Length of its prefix as IPv6, in bits.
    pub prefix: u32,
    /// The [`Hit::number`].
    pub hit: u32,
    /// How firmly the entry is held: others that share its place take it when this has come to zero.
    pub votes: u32,
    /// Reserved, zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Limited>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_what_they_are_made_of() {
        let totals = (0..8).map(Hit::Total);
        let others = [Hit::Passed, Hit::PassedTotal, Hit::BlockedPrefix, Hit::BlockedName];
        for hit in Class::ALL.into_iter().map(Hit::Class).chain(totals).chain(others) {
            assert_eq!(Hit::of_number(hit.number()), Some(hit));
        }
        assert_eq!(Hit::of_number(7), None);
        assert_eq!(Hit::of_number(20), None);
    }

    #[test]
    fn places_are_those_of_the_lists() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
        }
        for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict.index(), index);
        }
    }
}
