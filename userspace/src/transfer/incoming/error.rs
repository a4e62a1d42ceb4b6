//! Why what a primary sends is no transfer.

use crate::zone::difference::SequenceError;
use crate::zone::{Name, Rtype, Serial, ZoneError, ZoneFaultKind};

/// Why what a primary sends is no transfer, or not the whole of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// A message is not in wire format.
    #[error("a message is malformed")]
    Malformed,
    /// A message is no response to the query.
    #[error("a message is no response to the query: its id or its question is another")]
    OtherMessage,
    /// The primary answers with an error.
    #[error("the primary answers with {}", rcode_word(*.0))]
    Rcode(u8),
    /// A message has TC set, which none over TCP has.
    #[error("a message is truncated")]
    Truncated,
    /// The primary does not say that the zone is its own.
    #[error("the primary is not authoritative for the zone")]
    NotAuthoritative,
    /// A message has no record.
    #[error("a message has no record")]
    Empty,
    /// RDATA has not the form of its type.
    #[error("the RDATA of {rtype} at {owner} is malformed")]
    MalformedRdata {
        /// The record's owner.
        owner: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// A record has a type or a class that no zone has.
    #[error("a record of type {0} is none that a zone of class IN has")]
    NoZoneRecord(Rtype),
    /// The first record is not the SOA record of the zone.
    #[error("the first record is not the SOA record of the zone")]
    NoSoaFirst,
    /// An SOA record is not that of the zone's apex.
    #[error("an SOA record is of {0}, which is not the zone's apex")]
    OtherSoa(Name),
    /// The SOA record that is to end the transfer is not the one that it began with.
    #[error(
        "the transfer began with the SOA record of serial {first} and has another one, of serial {found}"
    )]
    SoaChanged {
        /// The serial of the first record.
        first: Serial,
        /// The serial of the other SOA record.
        found: Serial,
    },
    /// Differences do not lead on from the serial that was reached.
    #[error("a difference begins at serial {found}, where serial {reached} was reached")]
    Gap {
        /// The serial that was asked for, or to which the difference before leads.
        reached: Serial,
        /// The serial that the difference begins with.
        found: Serial,
    },
    /// Differences lead past the serial that they are to lead to.
    #[error("a difference leads to serial {found}, past {last}, which is the last one")]
    Past {
        /// The serial of the first record.
        last: Serial,
        /// The serial that the difference leads to.
        found: Serial,
    },
    /// A difference is none.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// There are records behind the SOA record that ends the transfer.
    #[error("there are records behind the SOA record that ends the transfer")]
    Trailing,
    /// The transfer ended before its last SOA record.
    #[error("the transfer is not whole: the SOA record that ends it did not come")]
    Unfinished,
    /// The records make no zone.
    #[error(transparent)]
    NoZone(#[from] ZoneError),
    /// The records make a zone that must not be served.
    #[error("{owner}: {kind}")]
    Fault {
        /// The owner at fault.
        owner: Name,
        /// What is wrong.
        kind: ZoneFaultKind,
    },
    /// The transfer is larger than the configuration allows.
    #[error("the transfer has more than {most} {what}, which is the most that is allowed")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How many are allowed.
        most: u64,
    },
}

impl TransferError {
    /// Whether the whole zone may be had where differences could not: they were refused, or did not fit.
    pub fn may_try_whole(&self) -> bool {
        // A primary without IXFR says FORMERR, NOTIMP or, some of them, SERVFAIL or REFUSED.
        !matches!(self, TransferError::TooLarge { .. } | TransferError::Rcode(9))
    }
}

/// A response code by its mnemonic.
fn rcode_word(rcode: u8) -> String {
    let word = match rcode {
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        9 => "NOTAUTH",
        other => return format!("response code {other}"),
    };
    word.to_owned()
}
