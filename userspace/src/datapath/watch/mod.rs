//! Whether answers that were counted leave, and packets that a device received are seen: what programs count
//! beside what the driver counts.
//!
//! A driver may take a program and show it no packet, or take its answers and drop them, and say success each
//! time. So counters are compared, from one snapshot to a later one between which enough has happened to tell.
//! What is said must be true: where a driver's counters do not tell, nothing is said.

use std::collections::BTreeMap;

use crate::config::XdpMode;
use crate::observe::attachment::{Fault, FaultKind};

/// Answers from which on it is told whether they leave: a client has tried again by then.
const ANSWERS: u64 = 4;

/// Packets received from which on it is told whether programs see any.
const PACKETS: u64 = 32;

/// One answer in so many may be dropped under load without being a fault: rings fill.
const DROPPED_OF: u64 = 100;

/// What a device and its driver count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// The interface's name.
    pub interface: String,
    /// How programs are attached: never [`XdpMode::Auto`].
    pub mode: XdpMode,
    /// The driver, or the kind of a virtual device.
    pub driver: String,
    /// Packets received, as all devices count.
    pub received: u64,
    /// Packets sent, as all devices count.
    pub sent: u64,
    /// What the driver counts of XDP.
    pub counted: DriverCounters,
}

/// What a driver counts of XDP, summed over its queues; `None` for what it does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DriverCounters {
    /// Packets shown to a program.
    pub seen: Option<u64>,
    /// Frames sent back that left.
    pub left: Option<u64>,
    /// Frames sent back that were dropped.
    pub dropped: Option<u64>,
}

/// What all programs of one hook count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Programs {
    /// Packets.
    pub seen: u64,
    /// Answers.
    pub answered: u64,
    /// Answers of programs of another hook on these devices.
    pub other_hook: u64,
}

/// Everything at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The programs of the devices below.
    pub programs: Programs,
    /// The devices that one hook is on.
    pub devices: Vec<Device>,
}

//----------- Drivers --------------------------------------------------------------------------------

/// The names of counters of a driver, `#` for a number.
struct Names {
    driver: &'static str,
    seen: &'static [&'static str],
    left: &'static [&'static str],
    dropped: &'static [&'static str],
    /// Whether what XDP sends back is among the packets sent that all devices count.
    is_in_sent: bool,
}

/// As the drivers have them in drivers/net/ of Linux 6.1 to 6.18.
const DRIVERS: [Names; 9] = [
    Names {
        driver: "veth",
        seen: &["rx_queue_#_xdp_packets"],
        left: &["rx_queue_#_xdp_tx"],
        dropped: &["rx_queue_#_xdp_tx_errors"],
        is_in_sent: true,
    },
    Names {
        driver: "virtio_net",
        seen: &["rx#_xdp_packets", "rx_queue_#_xdp_packets"],
        // "rx#_xdp_tx" counts what a program said, not what came of it.
        left: &[],
        dropped: &["tx#_xdp_tx_drops", "tx_queue_#_xdp_tx_drops"],
        is_in_sent: true,
    },
    Names {
        driver: "vmxnet3",
        seen: &["xdp packets"],
        left: &["xdp tx"],
        // "xdp drops" has what a program said in it.
        dropped: &[],
        is_in_sent: true,
    },
    Names {
        driver: "mlx5_core",
        seen: &[],
        left: &["rx_xdp_tx_xmit"],
        dropped: &["rx_xdp_tx_full", "rx_xdp_tx_err"],
        is_in_sent: false,
    },
    Names {
        driver: "ena",
        seen: &[],
        left: &["queue_#_xdp_tx_cnt"],
        dropped: &[
            "queue_#_xdp_tx_dma_mapping_err",
            "queue_#_xdp_tx_prepare_ctx_err",
            "queue_#_xdp_tx_linearize_failed",
        ],
        is_in_sent: false,
    },
    Names { driver: "igb", ..PLAIN },
    Names { driver: "ixgbe", ..PLAIN },
    Names { driver: "i40e", ..PLAIN },
    Names { driver: "ice", ..PLAIN },
];

/// A driver without counters of XDP, whose queues for it count as all others.
const PLAIN: Names = Names { driver: "", seen: &[], left: &[], dropped: &[], is_in_sent: true };

fn names(driver: &str) -> Option<&'static Names> {
    DRIVERS.iter().find(|names| names.driver == driver)
}

impl DriverCounters {
    /// Picks what is said of XDP from a driver's counters.
    pub fn of(driver: &str, statistics: &BTreeMap<String, u64>) -> DriverCounters {
        let sum = |is_one: &dyn Fn(&str) -> bool| {
            let found = statistics.iter().filter(|(name, _)| is_one(&without_numbers(name)));
            found.map(|(_, count)| *count).reduce(u64::wrapping_add)
        };
        let Some(names) = names(driver) else {
            return DriverCounters { dropped: sum(&is_dropped), ..DriverCounters::default() };
        };
        let named = |list: &[&str]| sum(&|name| list.contains(&name));
        DriverCounters {
            seen: named(names.seen),
            left: named(names.left),
            dropped: named(names.dropped),
        }
    }
}

/// Whether a counter of a driver that is not known counts answers that were dropped.
fn is_dropped(name: &str) -> bool {
    let endings = ["err", "errs", "error", "errors", "drop", "drops", "dropped", "full", "busy"];
    let last = name.rsplit(['_', '.', ' ', '-']).next().unwrap_or_default();
    name.contains("xdp_tx") && endings.contains(&last)
}

/// A name with each run of digits as one `#`.
fn without_numbers(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            letter => plain.push(letter),
        }
    }
    plain
}

/// Whether answers are among the packets sent that all devices count.
fn is_in_sent(device: &Device) -> bool {
    // On socket buffers they leave as all others do.
    device.mode != XdpMode::Native || names(&device.driver).is_some_and(|names| names.is_in_sent)
}

//----------- Judging --------------------------------------------------------------------------------

/// What became of answers and packets between two snapshots: of which it can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchFindings {
    /// What was found of answers; `None` if too few were counted.
    pub answers: Option<Vec<Fault>>,
    /// What was found of packets received; `None` if too few were.
    pub packets: Option<Vec<Fault>>,
}

/// Compares what two snapshots of the same devices tell. `None` if a counter began again meanwhile.
pub fn judge(before: &Snapshot, after: &Snapshot) -> Option<WatchFindings> {
    let programs = Programs {
        seen: after.programs.seen.checked_sub(before.programs.seen)?,
        answered: after.programs.answered.checked_sub(before.programs.answered)?,
        other_hook: after.programs.other_hook.checked_sub(before.programs.other_hook)?,
    };
    let pairs = before.devices.iter().zip(&after.devices);
    let devices: Option<Vec<Device>> = pairs.map(|(before, after)| moved(before, after)).collect();
    let devices = devices.filter(|devices| devices.len() == after.devices.len())?;
    let received = devices.iter().map(|device| device.received).max().unwrap_or(0);
    let answers = || devices.iter().filter_map(|one| answers(one, &devices, programs)).collect();
    let packets = || devices.iter().filter_map(|one| packets(one, programs)).collect();
    Some(WatchFindings {
        answers: (programs.answered >= ANSWERS).then(answers),
        packets: (received >= PACKETS).then(packets),
    })
}

/// What a device counted between two snapshots.
fn moved(before: &Device, after: &Device) -> Option<Device> {
    let is_same = (&before.interface, before.mode) == (&after.interface, after.mode);
    let difference = |before: Option<u64>, after: Option<u64>| match (before, after) {
        (Some(before), Some(after)) => Some(Some(after.checked_sub(before)?)),
        // A counter that was not there before tells nothing yet.
        _ => Some(None),
    };
    is_same.then_some(())?;
    Some(Device {
        received: after.received.checked_sub(before.received)?,
        sent: after.sent.checked_sub(before.sent)?,
        counted: DriverCounters {
            seen: difference(before.counted.seen, after.counted.seen)?,
            left: difference(before.counted.left, after.counted.left)?,
            dropped: difference(before.counted.dropped, after.counted.dropped)?,
        },
        ..after.clone()
    })
}

/// What is wrong with the answers of a device.
fn answers(device: &Device, all: &[Device], programs: Programs) -> Option<Fault> {
    let DriverCounters { left, dropped, .. } = device.counted;
    let dropped = dropped.unwrap_or(0);
    // Programs count for all devices together: that is the most that were this one's.
    let made = left.map_or(programs.answered, |left| left + dropped);
    if dropped >= ANSWERS && dropped * DROPPED_OF >= made {
        let what = format!("the driver drops {dropped} of {made} answers of XDP");
        return Some(fault(device, FaultKind::AnswersLost, what));
    }
    // Fewer than half: counters are read one after the other, and some run late. Other packets that were sent
    // hide a loss, and never make one.
    let sent = |one: &Device| if is_in_sent(one) { Some(one.sent) } else { one.counted.left };
    let sent: Option<u64> = all.iter().map(sent).sum();
    let sent = sent?.saturating_sub(programs.other_hook);
    if sent * 2 >= programs.answered {
        return None;
    }
    // Of several devices the one that answers least for what it receives.
    let worst = all
        .iter()
        .min_by(|a, b| (a.sent * b.received.max(1)).cmp(&(b.sent * a.received.max(1))))?;
    (worst.interface == device.interface).then(|| {
        let answered = programs.answered;
        let what = format!(
            "of {answered} answers that XDP counted as sent at most {sent} left the interface"
        );
        fault(device, FaultKind::AnswersLost, what)
    })
}

/// What is wrong with what the programs on a device see.
fn packets(device: &Device, programs: Programs) -> Option<Fault> {
    // Before TCX there may be another's program that takes all.
    let seen = device.counted.seen.unwrap_or(programs.seen);
    if device.mode == XdpMode::Tcx || device.received < PACKETS || seen > 0 {
        return None;
    }
    let what = format!(
        "the driver has shown its XDP program none of {} packets received: the sockets answer",
        device.received
    );
    Some(fault(device, FaultKind::PacketsUnseen, what))
}

fn fault(device: &Device, kind: FaultKind, what: String) -> Fault {
    let fix = match (device.driver.as_str(), device.mode) {
        ("veth", XdpMode::Native) => {
            "mode = \"auto\" in [xdp], which takes TCX here, or a program of XDP on the other end of the pair"
        }
        ("virtio_net", XdpMode::Native) if kind == FaultKind::PacketsUnseen => {
            "mode = \"tcx\" in [xdp], or for this device on the host: mrg_rxbuf=on, or \
             guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"
        }
        (_, XdpMode::Native | XdpMode::Generic) => "mode = \"tcx\" in [xdp]",
        _ => "interfaces = [] in [xdp]: the sockets answer then",
    };
    Fault { interface: device.interface.clone(), kind, what, fix: Some(fix.into()) }
}

//----------- Watching -------------------------------------------------------------------------------

/// What is remembered from one look to the next, of the devices that one hook is on.
#[derive(Debug, Default)]
pub struct Watch {
    answers: Baseline,
    packets: Baseline,
}

/// A snapshot that later ones are compared with until enough has happened, and what was found last.
#[derive(Debug, Default)]
struct Baseline {
    before: Snapshot,
    found: Vec<Fault>,
}

impl Baseline {
    fn look(&mut self, now: &Snapshot, of: impl Fn(WatchFindings) -> Option<Vec<Fault>>) {
        match judge(&self.before, now) {
            None => *self = Baseline { before: now.clone(), found: Vec::new() },
            Some(judged) => {
                if let Some(found) = of(judged) {
                    *self = Baseline { before: now.clone(), found };
                }
            }
        }
    }
}

impl Watch {
    /// Looks once more; what was found stands until something else is.
    pub fn look(&mut self, now: &Snapshot) {
        self.answers.look(now, |judged| judged.answers);
        self.packets.look(now, |judged| judged.packets);
    }

    /// What was found last.
    pub fn found(&self) -> impl Iterator<Item = &Fault> {
        self.answers.found.iter().chain(&self.packets.found)
    }
}

#[cfg(test)]
mod tests;
