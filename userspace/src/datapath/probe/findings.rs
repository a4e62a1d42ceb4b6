//! What is known of devices and drivers: by their settings, and by what others have met with.

use super::finding::Finding;
use super::lost;
use crate::config::XdpMode;
use crate::datapath::device::Device;

/// The largest MTU that native XDP takes with every driver known: ENA's (amzn-drivers #240, #294). A frame
/// must fit a page, with head room in front and the kernel's record behind.
const MAX_MTU: u32 = 3498;

/// Whether packets come without room for an answer: socket buffers in generic mode, and on virtual devices
/// what sockets have sent. A bond's packets are those of its network cards.
pub fn lacks_room(kind: &str, mode: XdpMode) -> bool {
    mode == XdpMode::Generic || !(kind.is_empty() || kind == "bond")
}

/// All that is known of a device with this name, on a host with so many CPUs.
pub fn of(name: &str, device: &Device, cpus: u32) -> Vec<Finding> {
    let parts = [
        of_kind(name, device),
        of_settings(name, device),
        of_losses(name, device),
        of_queues(name, device, cpus),
        of_driver(device),
    ];
    parts.concat()
}

fn of_kind(name: &str, device: &Device) -> Vec<Finding> {
    let finding = match device.kind.as_str() {
        "bridge" => Finding::problem(
            "a bridge sees only what is addressed to itself, in generic mode: attach to its ports",
        )
        .fix(format!("`ip link show master {name}` lists them, for `interfaces` in [xdp]")),
        "vlan" => {
            Finding::problem("a VLAN interface has no native XDP: attach to the device below it")
                .fix(format!(
                    "`ip -d link show dev {name}` names it behind the @, for `interfaces` in [xdp]"
                ))
                .source("cilium #24768")
        }
        "bond" => Finding::note(
            "XDP on a bond (natively since Linux 5.15) is attached to the bond's devices as well",
        )
        .source("xdp-tools #195"),
        "veth" => Finding::note(
            "answers of XDP cross a veth pair only if its other end has an XDP program too (one that \
             passes everything will do), which is not seen from here: TCX answers without",
        ),
        _ if device.native == Some(false) => {
            Finding::note("the driver runs no XDP: TCX answers, or before Linux 6.6 generic mode")
        }
        _ => return Vec::new(),
    };
    vec![finding]
}

/// What loses every answer of XDP in the driver, or else of generic mode.
fn of_losses(name: &str, device: &Device) -> Vec<Finding> {
    let modes = [XdpMode::Native, XdpMode::Generic].into_iter();
    modes.filter_map(|mode| lost::with(name, device, mode)).take(1).collect()
}

/// Whether the driver is known to refuse XDP as the device is: virtio that cannot tell its host to stop joining
/// packets. Generic mode then makes the kernel complain, which tries the same.
pub fn refuses(device: &Device) -> bool {
    device.driver == "virtio_net" && device.fixed.contains("rx-gro-hw")
}

fn of_settings(name: &str, device: &Device) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_card = device.kind.is_empty() && !device.driver.is_empty();
    let is_on = |offload: &str| device.offloads.contains(offload);
    if device.mtu > MAX_MTU && device.native != Some(false) {
        let what =
            format!("with an MTU of {}, frames do not fit a page as XDP needs it", device.mtu);
        findings.push(
            Finding::problem(what)
                .fix(format!("ip link set dev {name} mtu {MAX_MTU}"))
                .source("amzn-drivers #294, xdp-tools #327"),
        );
    }
    if is_on("rx-lro") {
        findings.push(
            Finding::problem(
                "LRO joins packets before XDP sees them; most drivers refuse XDP with it",
            )
            .fix(format!("ethtool -K {name} lro off"))
            .source("linux virtio_net: commit 9861ce039c2a"),
        );
    }
    if is_card && is_on("rx-gro-hw") && device.driver == "virtio_net" && !refuses(device) {
        findings.push(Finding::note(
            "virtio stops joining packets (hardware GRO) while a program of XDP is attached",
        ));
    } else if is_card && is_on("rx-gro-hw") {
        let fix = if device.fixed.contains("rx-gro-hw") {
            HOST_OFFLOADS.to_owned()
        } else {
            format!("ethtool -K {name} rx-gro-hw off")
        };
        findings.push(
            Finding::problem("the card joins packets before XDP sees them (hardware GRO)")
                .fix(fix)
                .source("linux virtio_net: commit 9861ce039c2a"),
        );
    }
    if is_card && is_on("rx-vlan-hw-parse") && device.vlans.is_empty() {
        findings.push(
            Finding::note(
                "the card takes VLAN tags off (rx-vlan-offload), which XDP cannot put back: before there are \
                 VLANs here",
            )
            .fix(format!("ethtool -K {name} rxvlan off"))
            .source("p4c-xdp #38"),
        );
    }
    findings
}

/// Where a guest cannot switch them off itself.
const HOST_OFFLOADS: &str = "on the host: guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off for \
                             this device";

fn of_queues(name: &str, device: &Device, cpus: u32) -> Vec<Finding> {
    let Some((now, most)) = device.queues else { return Vec::new() };
    let set = |count: u32| format!("ethtool -L {name} combined {}", count.max(1));
    let mut findings = Vec::new();
    match device.driver.as_str() {
        "ena" if now > most / 2 => findings.push(
            Finding::problem("XDP on ENA needs as many spare queues as are in use")
                .fix(set((most / 2).min(cpus)))
                .source("amzn-drivers #164, #240"),
        ),
        "ixgbe" if now + cpus >= most => findings.push(
            Finding::problem("ixgbe hangs in XDP_TX unless queues and CPUs are fewer than it has queues")
                .fix(set(most.saturating_sub(cpus + 1)))
                .source("katran #20"),
        ),
        "i40e" if now > 64 => findings.push(
            Finding::problem("XDP on i40e takes 64 queues at most").fix(set(64)).source(KNOT),
        ),
        "ice" if now > 127 => findings.push(
            Finding::problem("XDP on ice takes 127 queues at most").fix(set(127)).source(KNOT),
        ),
        "virtio_net" if now + cpus > most => findings.push(
            Finding::note(
                "virtio has no queue for XDP on each CPU: answers share locked ones, or older kernels refuse",
            )
            .fix(format!("ask the host for {} queue pairs", now + cpus))
            .source("linux virtio_net: commit 9861ce039c2a"),
        ),
        _ if device.kind.is_empty() && now < cpus.min(most) => findings.push(
            Finding::note(format!("{now} of {most} queues are in use, and there are {cpus} CPUs"))
                .fix(set(cpus.min(most))),
        ),
        _ => {}
    }
    if device.kind.is_empty() && now > 1 {
        findings.push(
            Finding::note("queries spread over the queues if the card hashes UDP ports")
                .fix(format!(
                    "ethtool -N {name} rx-flow-hash udp4 sdfn; ethtool -N {name} rx-flow-hash udp6 sdfn"
                ))
                .source(KNOT),
        );
    }
    findings
}

const KNOT: &str = "Knot DNS, doc/operation.rst, \"Mode XDP\"";

/// What others have met with, by driver.
const MET: [(&str, &str, &str); 6] = [
    ("ixgbe", "native XDP on ixgbe is known to be unstable under load: watch it", KNOT),
    ("ixgbevf", "ixgbevf refuses native XDP with an MTU of 9000", "xdp-tools #327"),
    (
        "ena",
        "XDP_TX on ENA was slower natively than in generic mode: compare both",
        "amzn-drivers #264",
    ),
    (
        "mlx5_core",
        "tested by others (ConnectX-6 Dx); virtual functions have lost DNS",
        "cilium #40259",
    ),
    ("ice", "tested by others (E810) with Linux 6.10.4 and later", KNOT),
    ("i40e", "tested by others (700 series)", KNOT),
];

fn of_driver(device: &Device) -> Vec<Finding> {
    let met = MET.iter().filter(|(driver, ..)| device.driver == *driver);
    met.map(|(_, what, source)| Finding::note(*what).source(source)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::probe::finding::Severity;

    fn card(driver: &str) -> Device {
        Device {
            driver: driver.into(),
            mtu: 1500,
            native: Some(true),
            queues: Some((2, 8)),
            ..Device::default()
        }
    }

    /// The fixes of all problems.
    fn problems(device: &Device) -> Vec<String> {
        let found = of("eth0", device, 2).into_iter();
        let problems = found.filter(|finding| finding.severity == Severity::Problem);
        problems.map(|finding| finding.fix.unwrap_or_default()).collect()
    }

    #[test]
    fn a_card_as_it_should_be_has_no_problem() {
        for driver in ["mlx5_core", "ice", "i40e", "ena", "ixgbe", "virtio_net", "other"] {
            assert_eq!(problems(&card(driver)), [""; 0], "{driver}");
        }
    }

    #[test]
    fn each_obstacle_has_its_command() {
        let with =
            |offload: &str| Device { offloads: [offload.to_owned()].into(), ..card("other") };
        assert_eq!(problems(&with("rx-lro")), ["ethtool -K eth0 lro off"]);
        assert_eq!(problems(&with("rx-gro-hw")), ["ethtool -K eth0 rx-gro-hw off"]);
        let fixed = Device { fixed: ["rx-gro-hw".to_owned()].into(), ..with("rx-gro-hw") };
        assert_eq!(problems(&fixed), [HOST_OFFLOADS]);
        assert_eq!(problems(&with("rx-gro")), [""; 0]);
        // What the driver mends by itself is none, unless it cannot.
        let virtio = Device { driver: "virtio_net".into(), ..with("rx-gro-hw") };
        assert_eq!(problems(&virtio), [""; 0]);
        assert!(!refuses(&virtio));
        let fixed = Device { fixed: ["rx-gro-hw".to_owned()].into(), ..virtio };
        assert_eq!(problems(&fixed), [HOST_OFFLOADS]);
        assert!(refuses(&fixed));
        // Tags that are taken off matter where there are any, and once.
        assert_eq!(problems(&with("rx-vlan-hw-parse")), [""; 0]);
        let tagged = Device { vlans: vec!["eth0.5".into()], ..with("rx-vlan-hw-parse") };
        assert_eq!(problems(&tagged), ["ethtool -K eth0 rxvlan off"]);
        let legacy = Device { legacy_rx: true, ..card("igb") };
        assert_eq!(problems(&legacy), ["ethtool --set-priv-flags eth0 legacy-rx off"]);
        let long = Device { mtu: 9000, ..card("other") };
        assert_eq!(problems(&long), ["ip link set dev eth0 mtu 3498"]);
        let queues = |driver, now, most| Device { queues: Some((now, most)), ..card(driver) };
        assert_eq!(problems(&queues("ena", 8, 8)), ["ethtool -L eth0 combined 2"]);
        assert_eq!(problems(&queues("ixgbe", 63, 64)), ["ethtool -L eth0 combined 61"]);
        assert_eq!(problems(&queues("i40e", 96, 128)), ["ethtool -L eth0 combined 64"]);
        // Nothing mends this, and TCX does without.
        assert_eq!(problems(&Device { native: Some(false), ..card("other") }), [""; 0]);
    }

    #[test]
    fn virtual_devices_and_generic_mode_lack_room() {
        assert!(lacks_room("veth", XdpMode::Native) && lacks_room("", XdpMode::Generic));
        assert!(!lacks_room("", XdpMode::Native) && !lacks_room("bond", XdpMode::Native));
    }
}
