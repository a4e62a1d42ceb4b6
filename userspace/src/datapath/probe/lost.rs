//! What makes a device lose every answer of XDP, which its driver counts as sent all the same: there XDP is not
//! attached, and another path is taken.

use super::finding::Finding;
use crate::config::XdpMode;
use crate::datapath::device::Device;

/// The offloads that take VLAN tags off received packets and put them into sent ones, by the kernel's names.
const STRIPS: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];
const INSERTS: &str = "tx-vlan-hw-insert";

/// Why answers would be lost in this mode, and the command that mends it; `None` if nothing is known.
pub fn with(name: &str, device: &Device, mode: XdpMode) -> Option<Finding> {
    match mode {
        XdpMode::Native => tags(name, device, mode).or_else(|| head_room(name, device)),
        XdpMode::Generic => tags(name, device, mode),
        // The kernel keeps a tag beside the packet on TCX, and answers have it too.
        XdpMode::Tcx | XdpMode::Auto => None,
    }
}

/// A tag that the card has taken off is known to the kernel and not to XDP, and an answer leaves without one.
/// Generic mode answers with what the kernel knows, and needs a driver that puts the tag in again.
fn tags(name: &str, device: &Device, mode: XdpMode) -> Option<Finding> {
    let strips: Vec<&&str> = STRIPS.iter().filter(|one| device.offloads.contains(**one)).collect();
    let is_put_back = mode == XdpMode::Generic && device.offloads.contains(INSERTS);
    if device.vlans.is_empty() || strips.is_empty() || is_put_back {
        return None;
    }
    let found = Finding::problem(format!(
        "the card takes VLAN tags off (rx-vlan-offload) and there are VLANs ({}): answers of XDP would leave \
         without a tag, into another network",
        device.vlans.join(", ")
    ));
    Some(if strips.iter().any(|one| device.fixed.contains(**one)) {
        found.fix(
            "mode = \"tcx\" in [xdp], which keeps the tag: the offload cannot be switched off here",
        )
    } else {
        let stag = if strips.contains(&&STRIPS[1]) { " rx-vlan-stag-hw-parse off" } else { "" };
        found.fix(format!("ethtool -K {name} rxvlan off{stag}"))
    })
}

/// The kernel keeps its record of a frame that is sent back in front of it: without room there it is dropped.
fn head_room(name: &str, device: &Device) -> Option<Finding> {
    device.legacy_rx.then(|| {
        Finding::problem(format!(
            "{} receives in its older way (legacy-rx), without room in front of packets: answers of XDP are \
             dropped",
            device.driver
        ))
        .fix(format!("ethtool --set-priv-flags {name} legacy-rx off"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [XdpMode; 3] = [XdpMode::Native, XdpMode::Generic, XdpMode::Tcx];

    fn fixes(device: &Device) -> [Option<String>; 3] {
        MODES.map(|mode| with("eth0", device, mode)?.fix)
    }

    #[test]
    fn tags_are_lost_only_where_there_are_any_and_the_card_takes_them_off() {
        let offloads = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for vlans in [0, 1] {
            for strips in [&[][..], &STRIPS[..1], &STRIPS[..]] {
                for inserts in [&[][..], &[INSERTS][..]] {
                    let device = Device {
                        vlans: vec!["eth0.5".into(); vlans],
                        offloads: offloads(&[strips, inserts].concat()),
                        ..Device::default()
                    };
                    let [native, generic, tcx] = fixes(&device);
                    let command = match (vlans, strips.len()) {
                        (0, _) | (_, 0) => None,
                        (_, 1) => Some("ethtool -K eth0 rxvlan off".to_owned()),
                        _ => {
                            Some("ethtool -K eth0 rxvlan off rx-vlan-stag-hw-parse off".to_owned())
                        }
                    };
                    assert_eq!(native, command, "{device:?}");
                    assert_eq!(generic, command.filter(|_| inserts.is_empty()), "{device:?}");
                    assert_eq!(tcx, None, "{device:?}");
                }
            }
        }
        let device = Device {
            vlans: vec!["eth0.5".into()],
            offloads: offloads(&STRIPS[..1]),
            fixed: offloads(&STRIPS[..1]),
            ..Device::default()
        };
        let [native, ..] = fixes(&device);
        assert!(native.is_some_and(|fix| fix.starts_with("mode = \"tcx\"")));
    }

    #[test]
    fn without_head_room_only_native_mode_loses() {
        let device = Device { driver: "igb".into(), legacy_rx: true, ..Device::default() };
        let command = Some("ethtool --set-priv-flags eth0 legacy-rx off".to_owned());
        assert_eq!(fixes(&device), [command, None, None]);
        assert_eq!(fixes(&Device::default()), [None, None, None]);
    }
}
