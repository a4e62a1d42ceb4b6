//! The path that answers of a device take: what `xdp probe` recommends and what `mode = "auto"` does are the same
//! decision.

use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use serde::Serialize;

use super::attach_error::{AttachError, lost as lost_error, word};
use super::device::Device;
use super::interface::Interface;
use super::probe::findings::{self, lacks_room};
use super::probe::lost;
use super::probe::trial::Room;
use crate::config::{TcxMode, XdpMode};

/// A path for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerPath {
    /// XDP in the driver.
    Native,
    /// XDP in the driver, and TCX behind it.
    NativeAndTcx,
    /// TCX alone.
    Tcx,
    /// XDP in generic mode, and the daemon's sockets.
    Generic,
    /// The daemon's sockets only.
    Sockets,
}

impl AnswerPath {
    /// In words, with the settings that give it.
    pub fn words(self) -> &'static str {
        match self {
            AnswerPath::Native => "XDP in the driver (mode = \"native\", tcx = \"off\")",
            AnswerPath::NativeAndTcx => {
                "XDP in the driver, TCX behind it (mode = \"native\", tcx = \"on\")"
            }
            AnswerPath::Tcx => "TCX alone (mode = \"tcx\")",
            AnswerPath::Generic => {
                "XDP in generic mode, the rest from sockets (mode = \"generic\", tcx = \"off\")"
            }
            AnswerPath::Sockets => "sockets only: XDP cannot be used here",
        }
    }

    /// The mode that programs are attached in; none if they are not.
    pub fn mode(self) -> Option<XdpMode> {
        match self {
            AnswerPath::Native | AnswerPath::NativeAndTcx => Some(XdpMode::Native),
            AnswerPath::Tcx => Some(XdpMode::Tcx),
            AnswerPath::Generic => Some(XdpMode::Generic),
            AnswerPath::Sockets => None,
        }
    }
}

/// What the path depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Whether the device is one end of a pair of virtual devices. What XDP sends there reaches the other end only
    /// if a program is on that too, which cannot be known here.
    pub is_pair: bool,
    /// Whether the driver runs XDP, and its answers leave.
    pub native: bool,
    /// Whether answers of XDP in generic mode leave.
    pub generic: bool,
    /// Whether packets have no room for answers, as far as that is known without having seen any.
    pub lacks_room: bool,
    /// Whether there is TCX, and it may be used.
    pub tcx: bool,
    /// What room packets had that came; `None` if none were looked at.
    pub room: Option<Room>,
}

impl Facts {
    /// What is known of a device without trying.
    pub fn of(name: &str, device: &Device, tcx: bool) -> Facts {
        let leaves = |mode| lost::with(name, device, mode).is_none();
        // A driver that does not say is given the chance to refuse.
        let native =
            device.native.unwrap_or(true) && !findings::refuses(device) && leaves(XdpMode::Native);
        Facts {
            is_pair: matches!(device.kind.as_str(), "veth" | "netkit"),
            native,
            generic: leaves(XdpMode::Generic),
            lacks_room: lacks_room(&device.kind, XdpMode::Native),
            tcx,
            room: None,
        }
    }

    /// The path.
    pub fn way(&self) -> AnswerPath {
        let room = self.room.filter(|room| room.packets > 0);
        let lacks_room = room.map_or(self.lacks_room, |room| room.at_tail < room.packets);
        // Such packets are copied for XDP, and those with larger answers passed on.
        let is_in_vain = room.is_some_and(|room| room.at_tail == 0);
        match (self.native && !self.is_pair, self.tcx) {
            (false, true) => AnswerPath::Tcx,
            (true, true) if is_in_vain => AnswerPath::Tcx,
            (true, true) if lacks_room => AnswerPath::NativeAndTcx,
            (true, _) => AnswerPath::Native,
            (false, false) if self.generic => AnswerPath::Generic,
            (false, false) => AnswerPath::Sockets,
        }
    }
}

/// Whether a kernel has TCX (since Linux 6.6). One that does not say is believed to have it, and says so when
/// asked to attach.
pub fn has_tcx(interface: &str) -> bool {
    match SchedClassifier::query_tcx(interface, TcAttachType::Ingress) {
        Err(ProgramError::SyscallError(error)) => {
            error.io_error.raw_os_error() != Some(libc::EINVAL)
        }
        _ => true,
    }
}

/// The modes that are to be tried on a device, as its configuration and what comes of each say.
pub struct PathChoice<'a> {
    interface: &'a Interface,
    /// None if a mode is named.
    facts: Option<Facts>,
    mode: XdpMode,
}

impl<'a> PathChoice<'a> {
    /// The first mode. What is known to lose all answers is refused.
    pub fn new(
        interface: &'a Interface,
        mode: XdpMode,
        tcx: TcxMode,
    ) -> Result<PathChoice<'a>, AttachError> {
        // A device that cannot be asked is given the chance to refuse.
        let device = Device::at(interface.index).unwrap_or_default();
        let name = &interface.name;
        if mode == XdpMode::Auto {
            let may_use_tcx = tcx != TcxMode::Off && has_tcx(name);
            let facts = Facts::of(name, &device, may_use_tcx);
            return PathChoice { interface, facts: Some(facts), mode }.decide();
        }
        if mode == XdpMode::Tcx && !has_tcx(name) {
            return Err(AttachError::NoTcx(name.clone()));
        }
        match lost::with(name, &device, mode) {
            Some(finding) => Err(lost_error(name, mode, finding)),
            None => Ok(PathChoice { interface, facts: None, mode }),
        }
    }

    /// What is to be tried: never [`XdpMode::Auto`].
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// The next mode, after this one was refused for a reason that says nothing of others.
    pub fn next(mut self, refused: AttachError) -> Result<PathChoice<'a>, AttachError> {
        let Some(facts) = &mut self.facts else { return Err(refused) };
        match (&refused, self.mode) {
            (AttachError::Unsupported { .. }, XdpMode::Native) => facts.native = false,
            (AttachError::NoTcx(_), XdpMode::Tcx) => facts.tcx = false,
            _ => return Err(refused),
        }
        let next = self.decide()?;
        tracing::info!(
            interface = next.interface.name,
            "{} is taken instead: {refused}",
            word(next.mode)
        );
        Ok(next)
    }

    fn decide(mut self) -> Result<PathChoice<'a>, AttachError> {
        let way = self.facts.map_or(AnswerPath::Sockets, |facts| facts.way());
        self.mode = way.mode().ok_or_else(|| AttachError::NoPath(self.interface.name.clone()))?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(kind: &str, driver: &str) -> Device {
        Device { kind: kind.into(), driver: driver.into(), native: Some(true), ..Device::default() }
    }

    #[test]
    fn each_device_has_its_path() {
        let card = device("", "igb");
        let no_driver = Device { native: Some(false), ..device("", "e1000e") };
        let silent = Device { native: None, ..card.clone() };
        let tagged = Device {
            vlans: vec!["eth0.5".into()],
            offloads: ["rx-vlan-hw-parse".to_owned()].into(),
            ..card.clone()
        };
        let legacy = Device { legacy_rx: true, ..card.clone() };
        for (device, with_tcx, without) in [
            (&card, AnswerPath::Native, AnswerPath::Native),
            (&silent, AnswerPath::Native, AnswerPath::Native),
            (&no_driver, AnswerPath::Tcx, AnswerPath::Generic),
            (&legacy, AnswerPath::Tcx, AnswerPath::Generic),
            (&tagged, AnswerPath::Tcx, AnswerPath::Sockets),
            // The other end may have no program.
            (&device("veth", "veth"), AnswerPath::Tcx, AnswerPath::Generic),
            (&device("tun", "tun"), AnswerPath::NativeAndTcx, AnswerPath::Native),
            (&device("bond", "bond"), AnswerPath::Native, AnswerPath::Native),
        ] {
            assert_eq!(Facts::of("eth0", device, true).way(), with_tcx, "{device:?}");
            assert_eq!(Facts::of("eth0", device, false).way(), without, "{device:?}");
        }
    }

    #[test]
    fn what_packets_were_seen_to_have_counts_for_more_than_the_kind_of_device() {
        let room = |packets, at_tail| Some(Room { packets, at_tail, at_head: 0 });
        let card = Facts::of("eth0", &device("", "igb"), true);
        for (room, way) in [
            (None, AnswerPath::Native),
            (room(0, 0), AnswerPath::Native),
            (room(9, 9), AnswerPath::Native),
            (room(9, 8), AnswerPath::NativeAndTcx),
            (room(9, 0), AnswerPath::Tcx),
        ] {
            assert_eq!(Facts { room, ..card }.way(), way);
            // Not on a pair: whether answers arrive is not to be seen from here.
            let pair = Facts { is_pair: true, ..card };
            assert_eq!(Facts { room, ..pair }.way(), AnswerPath::Tcx);
        }
    }
}
