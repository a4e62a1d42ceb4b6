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
pub enum Way {
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

impl Way {
    /// In words, with the settings that give it.
    pub fn words(self) -> &'static str {
        match self {
            Way::Native => "XDP in the driver (mode = \"native\", tcx = \"off\")",
            Way::NativeAndTcx => {
                "XDP in the driver, TCX behind it (mode = \"native\", tcx = \"on\")"
            }
            Way::Tcx => "TCX alone (mode = \"tcx\")",
            Way::Generic => {
                "XDP in generic mode, the rest from sockets (mode = \"generic\", tcx = \"off\")"
            }
            Way::Sockets => "sockets only: XDP cannot be used here",
        }
    }

    /// The mode that programs are attached in; none if they are not.
    pub fn mode(self) -> Option<XdpMode> {
        match self {
            Way::Native | Way::NativeAndTcx => Some(XdpMode::Native),
            Way::Tcx => Some(XdpMode::Tcx),
            Way::Generic => Some(XdpMode::Generic),
            Way::Sockets => None,
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
    pub fn way(&self) -> Way {
        let room = self.room.filter(|room| room.packets > 0);
        let lacks_room = room.map_or(self.lacks_room, |room| room.at_tail < room.packets);
        // Such packets are copied for XDP, and those with larger answers passed on.
        let is_in_vain = room.is_some_and(|room| room.at_tail == 0);
        match (self.native && !self.is_pair, self.tcx) {
            (false, true) => Way::Tcx,
            (true, true) if is_in_vain => Way::Tcx,
            (true, true) if lacks_room => Way::NativeAndTcx,
            (true, _) => Way::Native,
            (false, false) if self.generic => Way::Generic,
            (false, false) => Way::Sockets,
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
pub struct Path<'a> {
    interface: &'a Interface,
    /// None if a mode is named.
    facts: Option<Facts>,
    mode: XdpMode,
}

impl<'a> Path<'a> {
    /// The first mode. What is known to lose all answers is refused.
    pub fn new(
        interface: &'a Interface,
        mode: XdpMode,
        tcx: TcxMode,
    ) -> Result<Path<'a>, AttachError> {
        // A device that cannot be asked is given the chance to refuse.
        let device = Device::at(interface.index).unwrap_or_default();
        let name = &interface.name;
        if mode == XdpMode::Auto {
            let may_use_tcx = tcx != TcxMode::Off && has_tcx(name);
            let facts = Facts::of(name, &device, may_use_tcx);
            return Path { interface, facts: Some(facts), mode }.decide();
        }
        if mode == XdpMode::Tcx && !has_tcx(name) {
            return Err(AttachError::NoTcx(name.clone()));
        }
        match lost::with(name, &device, mode) {
            Some(finding) => Err(lost_error(name, mode, finding)),
            None => Ok(Path { interface, facts: None, mode }),
        }
    }

    /// What is to be tried: never [`XdpMode::Auto`].
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// The next mode, after this one was refused for a reason that says nothing of others.
    pub fn next(mut self, refused: AttachError) -> Result<Path<'a>, AttachError> {
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

    fn decide(mut self) -> Result<Path<'a>, AttachError> {
        let way = self.facts.map_or(Way::Sockets, |facts| facts.way());
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
            (&card, Way::Native, Way::Native),
            (&silent, Way::Native, Way::Native),
            (&no_driver, Way::Tcx, Way::Generic),
            (&legacy, Way::Tcx, Way::Generic),
            (&tagged, Way::Tcx, Way::Sockets),
            // The other end may have no program.
            (&device("veth", "veth"), Way::Tcx, Way::Generic),
            (&device("tun", "tun"), Way::NativeAndTcx, Way::Native),
            (&device("bond", "bond"), Way::Native, Way::Native),
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
            (None, Way::Native),
            (room(0, 0), Way::Native),
            (room(9, 9), Way::Native),
            (room(9, 8), Way::NativeAndTcx),
            (room(9, 0), Way::Tcx),
        ] {
            assert_eq!(Facts { room, ..card }.way(), way);
            // Not on a pair: whether answers arrive is not to be seen from here.
            let pair = Facts { is_pair: true, ..card };
            assert_eq!(Facts { room, ..pair }.way(), Way::Tcx);
        }
    }
}
