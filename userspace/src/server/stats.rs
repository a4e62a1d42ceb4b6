//! Counters of the sockets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use xdp_common::Outcome;
use xdp_common::limit::amplified::{Amplified, SECONDS};

use super::message::Rcode;
use crate::observe::word::PerWord;
use crate::observe::{Connections, Responses, Tcp, Transfers, Tsig, Udp};
use crate::transfer::tsig::TsigError;

/// Over what a message came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// Counters of one daemon. They only grow, except `tcp_connections`.
#[derive(Default)]
pub struct SocketStats {
    outcomes: [Outcomes; 2],
    formerr: AtomicU64,
    servfail: AtomicU64,
    notimp: AtomicU64,
    refused: AtomicU64,
    notauth: AtomicU64,
    badvers: AtomicU64,
    /// Responses by plain code that are no error: CHAOS, and the SOA for IXFR.
    pub plain: AtomicU64,
    /// Messages that deserve no response.
    pub silent: AtomicU64,
    /// Zones sent whole.
    pub transfers: AtomicU64,
    /// What changed of zones sent (IXFR) over TCP.
    pub transfers_incremental: AtomicU64,
    /// Transfers that ended early.
    pub transfers_failed: AtomicU64,
    /// Transfers that were asked for by who may not have them.
    pub transfers_refused: AtomicU64,
    /// NOTIFY messages of primaries.
    pub notify_heeded: AtomicU64,
    /// NOTIFY messages of others.
    pub notify_refused: AtomicU64,
    /// Updates that wait for their zone, or were done.
    pub updates_taken: AtomicU64,
    /// Updates of those who may not change the zone.
    pub updates_refused: AtomicU64,
    /// Messages whose TSIG record was right.
    pub tsig_verified: AtomicU64,
    tsig_badkey: AtomicU64,
    tsig_badsig: AtomicU64,
    tsig_badtime: AtomicU64,
    tsig_badtrunc: AtomicU64,
    /// Octets of the queries over UDP that were answered, and of the responses.
    udp_octets: [AtomicU64; 2],
    /// The worst response of each second.
    amplified: Seconds,
    /// UDP responses that the system did not take.
    pub udp_send_failed: AtomicU64,
    /// Queries over UDP at which this program failed: faults of it, each in the log.
    pub udp_faults: AtomicU64,
    /// Open TCP connections.
    pub tcp_connections: AtomicU64,
    /// TCP connections taken.
    pub tcp_accepted: AtomicU64,
    /// TCP connections closed at once: too many, all together or of one client, and none of them idle.
    pub tcp_refused: AtomicU64,
    /// TCP connections closed, mostly idle ones, because their places were needed for others.
    pub tcp_gave_way: AtomicU64,
    /// TCP connections that could not be taken, as when descriptors run out.
    pub tcp_accept_failed: AtomicU64,
    /// TCP connections closed because no whole query came in time.
    pub tcp_idle: AtomicU64,
    /// TCP connections closed because the client did not take its response in time.
    pub tcp_slow: AtomicU64,
}

/// Words of [`Amplified`], by the last bits of the second.
struct Seconds([AtomicU64; SECONDS]);

impl Default for Seconds {
    fn default() -> Seconds {
        Seconds([const { AtomicU64::new(0) }; _])
    }
}

/// Counters by [`Outcome::index`].
struct Outcomes([AtomicU64; Outcome::ALL.len()]);

impl Default for Outcomes {
    fn default() -> Outcomes {
        Outcomes([const { AtomicU64::new(0) }; _])
    }
}

impl SocketStats {
    /// Counts what the engine said of a message.
    pub fn outcome(&self, transport: Transport, outcome: Outcome) {
        self.outcomes[transport as usize].0[outcome.index()].fetch_add(1, Relaxed);
    }

    /// Counts a response over UDP that was sent in this second since 1970: octets of its query and of itself.
    pub fn count_sent(&self, second: u32, query: usize, response: usize) {
        for (sum, octets) in self.udp_octets.iter().zip([query, response]) {
            sum.fetch_add(octets as u64, Relaxed);
        }
        let octets = |octets| u16::try_from(octets).unwrap_or(u16::MAX);
        let seen = Amplified { second, query: octets(query), response: octets(response) };
        let noted = |word| {
            let mut worst = Amplified::from_word(word);
            worst.see(seen);
            Some(worst.to_word()).filter(|now| *now != word)
        };
        // Refused if what is there is worse: then there is nothing to do.
        let _ = self.amplified.0[second as usize % SECONDS].fetch_update(Relaxed, Relaxed, noted);
    }

    /// The worst responses of the seconds that are remembered.
    pub fn amplified(&self) -> [Amplified; SECONDS] {
        std::array::from_fn(|second| Amplified::from_word(self.amplified.0[second].load(Relaxed)))
    }

    /// Messages over UDP, whatever became of them.
    pub fn udp_messages(&self) -> u64 {
        self.outcomes[Transport::Udp as usize].0.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Counts an error response by plain code.
    pub fn rcode(&self, rcode: Rcode) {
        let counter = match rcode {
            Rcode::FORMERR => &self.formerr,
            Rcode::SERVFAIL => &self.servfail,
            Rcode::NOTIMP => &self.notimp,
            Rcode::REFUSED => &self.refused,
            Rcode::NOTAUTH => &self.notauth,
            Rcode::BADVERS => &self.badvers,
            _ => &self.plain,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Messages over a transport by what became of them.
    fn outcomes(&self, transport: Transport) -> PerWord<Outcome> {
        let counters = &self.outcomes[transport as usize].0;
        PerWord::new(|outcome: Outcome| counters[outcome.index()].load(Relaxed))
    }

    /// Messages over UDP.
    pub fn udp(&self) -> Udp {
        let [octets_in, octets_out] = &self.udp_octets;
        Udp {
            outcomes: self.outcomes(Transport::Udp),
            octets_in: octets_in.load(Relaxed),
            octets_out: octets_out.load(Relaxed),
            send_failed: self.udp_send_failed.load(Relaxed),
            fault: self.udp_faults.load(Relaxed),
        }
    }

    /// Messages over TCP.
    pub fn tcp(&self) -> Tcp {
        Tcp { outcomes: self.outcomes(Transport::Tcp) }
    }

    /// TCP connections.
    pub fn connections(&self) -> Connections {
        Connections {
            open: self.tcp_connections.load(Relaxed),
            accepted: self.tcp_accepted.load(Relaxed),
            refused: self.tcp_refused.load(Relaxed),
            gave_way: self.tcp_gave_way.load(Relaxed),
            accept_failed: self.tcp_accept_failed.load(Relaxed),
            idle: self.tcp_idle.load(Relaxed),
            slow: self.tcp_slow.load(Relaxed),
        }
    }

    /// Responses by plain code.
    pub fn responses(&self) -> Responses {
        Responses {
            formerr: self.formerr.load(Relaxed),
            servfail: self.servfail.load(Relaxed),
            notimp: self.notimp.load(Relaxed),
            refused: self.refused.load(Relaxed),
            notauth: self.notauth.load(Relaxed),
            badvers: self.badvers.load(Relaxed),
            plain: self.plain.load(Relaxed),
            silent: self.silent.load(Relaxed),
        }
    }

    /// Transfers of zones.
    pub fn transfers(&self) -> Transfers {
        Transfers {
            sent: self.transfers.load(Relaxed),
            incremental: self.transfers_incremental.load(Relaxed),
            failed: self.transfers_failed.load(Relaxed),
            refused: self.transfers_refused.load(Relaxed),
            notified: self.notify_heeded.load(Relaxed),
            notify_refused: self.notify_refused.load(Relaxed),
            updates: self.updates_taken.load(Relaxed),
            updates_refused: self.updates_refused.load(Relaxed),
        }
    }

    /// Counts a message whose TSIG record was answered with an error.
    pub fn tsig_error(&self, error: TsigError) {
        let counter = match error {
            TsigError::BADKEY => &self.tsig_badkey,
            TsigError::BADTIME => &self.tsig_badtime,
            TsigError::BADTRUNC => &self.tsig_badtrunc,
            _ => &self.tsig_badsig,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Messages with TSIG.
    pub fn tsig(&self) -> Tsig {
        Tsig {
            verified: self.tsig_verified.load(Relaxed),
            badkey: self.tsig_badkey.load(Relaxed),
            badsig: self.tsig_badsig.load(Relaxed),
            badtime: self.tsig_badtime.load(Relaxed),
            badtrunc: self.tsig_badtrunc.load(Relaxed),
        }
    }
}
