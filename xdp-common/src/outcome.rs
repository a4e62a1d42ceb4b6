//! What became of a packet: one word for control flow, counter, command line and documentation.

/// The fate of one packet or message. Each value has a counter of its own.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    // --- answered ---------------------------------------------------------------------------
    /// The RRset asked for, or the CNAME that stands in its place.
    Positive,
    /// The name exists, the type does not (RFC 2308 section 2.2).
    Nodata,
    /// A referral to the servers of a delegated zone.
    Referral,
    /// An answer synthesised from a wildcard (RFC 4592), positive or NODATA.
    Wildcard,
    /// The name does not exist (RFC 8020).
    Nxdomain,
    /// A CNAME synthesised from a DNAME (RFC 6672).
    Dname,
    /// TC=1: the answer does not fit the client's payload size.
    Truncated,
    /// BADVERS: an EDNS version other than 0 (RFC 6891 section 6.1.3).
    BadVersion,
    /// REFUSED: no zone that is served encloses the name.
    Refused,
    /// FORMERR: a malformed DNS cookie (RFC 7873 section 5.2.2).
    FormErr,
    /// TC=1 in place of an answer over its rate limit.
    Slipped,

    // --- passed up: somebody else's, or the daemon's ------------------------------------------
    /// Neither IPv4 nor IPv6, or a frame too short to tell.
    NotIp,
    /// IPv4 options or IPv6 extension headers.
    IpOptions,
    /// A fragment of a datagram.
    Fragment,
    /// Not UDP.
    NotUdp,
    /// Not to a port that is served.
    NotOurPort,
    /// The destination MAC or IP address is not one that is served.
    NotOurAddress,
    /// The source address is one that no honest client has.
    BadSource,
    /// The source address is the broadcast address of one of our subnets.
    BroadcastSource,
    /// An IPv6 header with an IPv4-mapped address in it, which is none for the wire (RFC 4291 section
    /// 2.5.5.2).
    MappedAddress,
    /// The source MAC address is one that no other station has: multicast, broadcast, zero, or our own.
    SourceMac,
    /// The IP header announces less than a UDP header, or more than the frame holds.
    IpLength,
    /// The IPv4 header checksum or the UDP checksum is wrong.
    BadChecksum,
    /// A query longer than XDP reads.
    TooLong,
    /// An opcode other than QUERY. In front of another server a response, too, which may be one to that server.
    Opcode,
    /// Not one question, or records where a query has none.
    Counts,
    /// A class other than IN.
    Class,
    /// A malformed name, question or OPT record.
    Malformed,
    /// A meta type: AXFR, IXFR, or another that is not data; in front of another server ANY, too.
    MetaType,
    /// No zone that is served encloses the name.
    NotOurs,
    /// The answer is not one that these programs compose: it exceeds their bounds, or changes at the moment. In front of
    /// another server also what is answered for a zone that is passed to it, and to EDNS options of its own.
    Miss,
    /// A signature of the answer has expired.
    Expired,
    /// The proof takes more hashing than XDP does: NSEC3 with additional iterations, or with a long salt (RFC
    /// 9276).
    Hashing,
    /// No message can carry the answer: an RRset is too large, or a name has more types than are held.
    Oversize,
    /// The packet could not be made large enough for the answer.
    NoRoom,
    /// The image is damaged.
    Broken,

    // --- dropped: what can have no honest sender, and what is over a limit --------------------
    /// A response (QR=1) sent to a server port.
    Response,
    /// Source port 0.
    SourcePort,
    /// Lengths that lie: the datagram says it is longer than the IP packet that carries it.
    BadLength,
    /// The response, or what would be passed up, is over its rate limit.
    Limited,
    /// From a blocked prefix, or for a blocked name.
    Blocked,
    /// A check failed after the packet was edited. The checks before make this impossible; the
    /// verifier does not know.
    Torn,
}

impl Outcome {
    /// All outcomes, in the order of their counters.
    pub const ALL: [Outcome; 42] = {
        use Outcome::*;
        [
            Positive,
            Nodata,
            Referral,
            Wildcard,
            Nxdomain,
            Dname,
            Truncated,
            BadVersion,
            Refused,
            FormErr,
            Slipped,
            NotIp,
            IpOptions,
            Fragment,
            NotUdp,
            NotOurPort,
            NotOurAddress,
            BadSource,
            BroadcastSource,
            MappedAddress,
            SourceMac,
            IpLength,
            BadChecksum,
            TooLong,
            Opcode,
            Counts,
            Class,
            Malformed,
            MetaType,
            NotOurs,
            Miss,
            Expired,
            Hashing,
            Oversize,
            NoRoom,
            Broken,
            Response,
            SourcePort,
            BadLength,
            Limited,
            Blocked,
            Torn,
        ]
    };

    /// The place of its counter.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether a response was made.
    pub const fn is_answered(self) -> bool {
        (self as u8) <= Outcome::Slipped as u8
    }

    /// Whether nothing comes of the packet: it can have no honest sender, or is over a limit.
    pub const fn is_dropped(self) -> bool {
        (self as u8) >= Outcome::Response as u8
    }

    /// Whether the packet is passed up and is for a port and an address that are served: the daemon's, then.
    pub const fn is_ours(self) -> bool {
        (self as u8) >= Outcome::TooLong as u8 && (self as u8) <= Outcome::Broken as u8
    }

    /// Whether it was a query to this server: answered, the daemon's, or over a limit.
    pub const fn is_query(self) -> bool {
        self.is_answered() || self.is_ours() || matches!(self, Outcome::Limited | Outcome::Blocked)
    }

    /// What XDP does with the packet: the only place where an XDP number appears
    /// (`enum xdp_action` of linux/bpf.h).
    pub const fn action(self) -> u32 {
        const XDP_DROP: u32 = 1;
        const XDP_PASS: u32 = 2;
        const XDP_TX: u32 = 3;
        if self.is_answered() {
            XDP_TX
        } else if self.is_dropped() {
            XDP_DROP
        } else {
            XDP_PASS
        }
    }

    /// The word for it in metrics, on the command line and in the documentation.
    pub const fn word(self) -> &'static str {
        match self {
            Outcome::Positive => "positive",
            Outcome::Nodata => "nodata",
            Outcome::Referral => "referral",
            Outcome::Wildcard => "wildcard",
            Outcome::Nxdomain => "nxdomain",
            Outcome::Dname => "dname",
            Outcome::Truncated => "truncated",
            Outcome::BadVersion => "bad-version",
            Outcome::Refused => "refused",
            Outcome::FormErr => "formerr",
            Outcome::Slipped => "slipped",
            Outcome::NotIp => "not-ip",
            Outcome::IpOptions => "ip-options",
            Outcome::Fragment => "fragment",
            Outcome::NotUdp => "not-udp",
            Outcome::NotOurPort => "not-our-port",
            Outcome::NotOurAddress => "not-our-address",
            Outcome::BadSource => "bad-source",
            Outcome::BroadcastSource => "broadcast-source",
            Outcome::MappedAddress => "mapped-address",
            Outcome::SourceMac => "source-mac",
            Outcome::IpLength => "ip-length",
            Outcome::BadChecksum => "bad-checksum",
            Outcome::TooLong => "too-long",
            Outcome::Opcode => "opcode",
            Outcome::Counts => "counts",
            Outcome::Class => "class",
            Outcome::Malformed => "malformed",
            Outcome::MetaType => "meta-type",
            Outcome::NotOurs => "not-ours",
            Outcome::Miss => "miss",
            Outcome::Expired => "expired",
            Outcome::Hashing => "hashing",
            Outcome::Oversize => "oversize",
            Outcome::NoRoom => "no-room",
            Outcome::Broken => "broken",
            Outcome::Response => "response",
            Outcome::SourcePort => "source-port",
            Outcome::BadLength => "bad-length",
            Outcome::Limited => "limited",
            Outcome::Blocked => "blocked",
            Outcome::Torn => "torn",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn counters_stand_in_the_order_of_the_outcomes() {
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(outcome.index(), index);
        }
        assert_eq!(Outcome::ALL.len() - 1, Outcome::Torn.index());
    }
}
