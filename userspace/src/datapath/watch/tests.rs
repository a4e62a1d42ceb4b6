use super::*;

fn statistics(names: &[(&str, u64)]) -> BTreeMap<String, u64> {
    names.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// Lines of `ethtool -S`, as each driver has them, blanks taken off and what comes twice summed up.
#[test]
fn counters_of_each_driver_are_known_by_its_names() {
    let counted = |seen, left, dropped| DriverCounters { seen, left, dropped };
    for (driver, lines, expected) in [
        (
            "veth",
            &[
                ("peer_ifindex", 2),
                ("rx_queue_0_xdp_packets", 5),
                ("rx_queue_0_xdp_drops", 1),
                ("rx_queue_0_xdp_tx", 3),
                ("rx_queue_0_xdp_tx_errors", 1),
                ("rx_queue_11_xdp_packets", 50),
                ("rx_queue_11_xdp_tx", 30),
                ("rx_queue_11_xdp_tx_errors", 20),
                ("tx_queue_0_xdp_xmit", 7),
                ("tx_queue_0_xdp_xmit_errors", 7),
            ][..],
            counted(Some(55), Some(33), Some(21)),
        ),
        (
            "virtio_net",
            &[
                ("rx0_packets", 9),
                ("rx0_xdp_packets", 4),
                ("rx0_xdp_tx", 4),
                ("rx0_xdp_drops", 1),
                ("rx1_xdp_packets", 0),
                ("tx0_xdp_tx", 4),
                ("tx0_xdp_tx_drops", 2),
                ("tx1_xdp_tx_drops", 1),
            ],
            counted(Some(4), None, Some(3)),
        ),
        (
            // As Linux 6.1 names them.
            "virtio_net",
            &[
                ("rx_queue_0_xdp_packets", 4),
                ("rx_queue_0_xdp_tx", 4),
                ("tx_queue_0_xdp_tx_drops", 2),
            ],
            counted(Some(4), None, Some(2)),
        ),
        (
            "vmxnet3",
            &[
                ("Rx Queue#", 0),
                ("xdp packets", 8),
                ("xdp tx", 6),
                ("xdp drops", 2),
                ("xdp xmit err", 3),
            ],
            counted(Some(8), Some(6), None),
        ),
        (
            "mlx5_core",
            &[
                ("rx_xdp_drop", 1),
                ("rx_xdp_tx_xmit", 10),
                ("rx_xdp_tx_full", 2),
                ("rx_xdp_tx_err", 1),
                ("rx_xdp_tx_cqes", 9),
                // Of each queue, and in the sum above already.
                ("rx0_xdp_tx_xmit", 10),
                ("rx0_xdp_tx_full", 2),
                ("tx_xdp_full", 5),
            ],
            counted(None, Some(10), Some(3)),
        ),
        (
            "ena",
            &[
                ("queue_0_rx_xdp_tx", 9),
                ("queue_0_rx_xdp_drop", 1),
                ("queue_4_xdp_tx_cnt", 7),
                ("queue_4_xdp_tx_dma_mapping_err", 1),
                ("queue_5_xdp_tx_cnt", 1),
                ("queue_5_xdp_tx_prepare_ctx_err", 1),
                ("queue_0_tx_cnt", 100),
            ],
            counted(None, Some(8), Some(2)),
        ),
        ("igb", &[("rx_queue_0_packets", 9), ("tx_queue_0_packets", 9)], DriverCounters::default()),
        ("i40e", &[("rx-0.packets", 9), ("veb.tx_packets", 9)], DriverCounters::default()),
        ("ice", &[("rx_queue_0_packets", 9), ("tx_dropped.nic", 9)], DriverCounters::default()),
        // Drivers that are not known here.
        (
            "mvneta",
            &[("rx_xdp_tx", 5), ("rx_xdp_tx_errors", 2), ("tx_xdp_xmit_errors", 9)],
            counted(None, None, Some(2)),
        ),
        (
            "enetc",
            &[("Rx ring  0 xdp drops", 3), ("Tx ring  0 xdp_tx_drops", 4)],
            counted(None, None, Some(4)),
        ),
        ("other", &[("rx_packets", 5)], DriverCounters::default()),
    ] {
        assert_eq!(DriverCounters::of(driver, &statistics(lines)), expected, "{driver}");
    }
}

fn device(driver: &str, mode: XdpMode) -> Device {
    Device { interface: "eth0".into(), mode, driver: driver.into(), ..Device::default() }
}

/// What is found after this was counted on one device.
fn judged(seen: u64, answered: u64, device: Device) -> WatchFindings {
    let counted = device.counted;
    let none = |count: Option<u64>| count.map(|_| 0);
    let before = Device {
        received: 0,
        sent: 0,
        counted: DriverCounters {
            seen: none(counted.seen),
            left: none(counted.left),
            dropped: none(counted.dropped),
        },
        ..device.clone()
    };
    let before = Snapshot { programs: Programs::default(), devices: vec![before] };
    let after =
        Snapshot { programs: Programs { seen, answered, other_hook: 0 }, devices: vec![device] };
    judge(&before, &after).unwrap()
}

fn kinds(found: Option<Vec<Fault>>) -> Option<Vec<FaultKind>> {
    found.map(|found| found.iter().map(|fault| fault.kind).collect())
}

fn lost() -> Option<Vec<FaultKind>> {
    Some(vec![FaultKind::AnswersLost])
}

fn well() -> Option<Vec<FaultKind>> {
    Some(Vec::new())
}

#[test]
fn answers_that_do_not_leave_are_found_by_what_each_driver_counts() {
    let native = |driver| device(driver, XdpMode::Native);
    let with = |left, dropped, sent, device| Device {
        sent,
        counted: DriverCounters { seen: None, left, dropped },
        ..device
    };
    for (answered, device, expected) in [
        // As measured: the other end of the pair has nothing that takes frames.
        (4, with(Some(0), Some(4), 0, native("veth")), lost()),
        // Or a queue that nothing empties: counted as sent, and without an error.
        (4, with(Some(4), Some(0), 0, native("veth")), lost()),
        (4, with(Some(4), Some(0), 4, native("veth")), well()),
        // Rings that are full for a moment.
        (10_000, with(None, Some(20), 9_980, native("virtio_net")), well()),
        (10_000, with(None, Some(200), 9_800, native("virtio_net")), lost()),
        // One that was not taken back from the ring yet.
        (8, with(None, Some(0), 7, native("virtio_net")), well()),
        // "legacy-rx": no counter of the driver's own moves.
        (8, with(None, None, 1, native("igb")), lost()),
        (8, with(None, None, 8, native("igb")), well()),
        (8, with(None, None, 0, native("i40e")), lost()),
        (8, with(None, None, 0, native("ice")), lost()),
        (8, with(Some(0), None, 0, native("vmxnet3")), lost()),
        // What these send back is not among the packets sent.
        (8, with(Some(8), Some(0), 0, native("mlx5_core")), well()),
        (8, with(Some(1), Some(7), 0, native("mlx5_core")), lost()),
        (8, with(Some(0), Some(0), 0, native("ena")), lost()),
        // Nothing is known of these: nothing is said.
        (8, with(None, None, 0, native("other")), well()),
        (8, with(None, Some(8), 0, native("other")), lost()),
        // On socket buffers every driver counts alike.
        (8, with(None, None, 0, device("other", XdpMode::Tcx)), lost()),
        (8, with(None, None, 8, device("other", XdpMode::Generic)), well()),
        // Too few to tell.
        (3, with(Some(0), Some(3), 0, native("veth")), None),
    ] {
        let told = format!("{answered} {device:?}");
        assert_eq!(kinds(judged(answered, answered, device).answers), expected, "{told}");
    }
}

/// What TCX sent behind XDP hides nothing of what XDP did not.
#[test]
fn answers_of_another_hook_are_not_taken_for_those_that_are_missing() {
    let at = |answered, sent, other_hook| Snapshot {
        programs: Programs { seen: answered, answered, other_hook },
        devices: vec![Device { sent, ..device("igb", XdpMode::Native) }],
    };
    let found = |after| kinds(judge(&at(0, 0, 0), &after).unwrap().answers);
    assert_eq!(found(at(10, 10, 10)), lost());
    assert_eq!(found(at(10, 20, 10)), well());
    assert_eq!(found(at(10, 5, 10)), lost());
}

#[test]
fn packets_that_no_program_sees_are_found() {
    let received = |received, seen, device| Device {
        received,
        counted: DriverCounters { seen, ..DriverCounters::default() },
        ..device
    };
    let unseen = Some(vec![FaultKind::PacketsUnseen]);
    let virtio = device("virtio_net", XdpMode::Native);
    for (seen, device, expected) in [
        (0, received(32, Some(0), virtio.clone()), unseen.clone()),
        // The driver tells of this device, programs of all.
        (99, received(32, Some(0), virtio.clone()), unseen.clone()),
        (0, received(32, None, device("igb", XdpMode::Native)), unseen.clone()),
        (0, received(32, None, device("e1000e", XdpMode::Generic)), unseen),
        (1, received(32, Some(1), virtio.clone()), well()),
        (0, received(31, Some(0), virtio), None),
        // Another's program of XDP may have taken them.
        (0, received(32, None, device("igb", XdpMode::Tcx)), well()),
    ] {
        let told = format!("{seen} {device:?}");
        assert_eq!(kinds(judged(seen, 0, device).packets), expected, "{told}");
    }
}

#[test]
fn of_several_devices_the_one_that_answers_least_is_named() {
    let [good, bad] = [("eth0", 40), ("eth1", 0)].map(|(interface, sent)| Device {
        interface: interface.into(),
        received: 100,
        sent,
        ..device("igb", XdpMode::Native)
    });
    let none = |one: &Device| Device { received: 0, sent: 0, ..one.clone() };
    let before = Snapshot { programs: Programs::default(), devices: vec![none(&good), none(&bad)] };
    let programs = |answered| Programs { seen: 200, answered, other_hook: 0 };
    let after = |answered| Snapshot {
        programs: programs(answered),
        devices: vec![good.clone(), bad.clone()],
    };
    let found = judge(&before, &after(100)).unwrap().answers.unwrap();
    let names: Vec<&str> = found.iter().map(|fault| fault.interface.as_str()).collect();
    assert_eq!(names, ["eth1"]);
    assert_eq!(judge(&before, &after(40)).unwrap().answers, Some(Vec::new()));
}

#[test]
fn what_was_found_stands_until_enough_was_counted_again() {
    let at = |answered, left, dropped| Snapshot {
        programs: Programs { seen: answered, answered, other_hook: 0 },
        devices: vec![Device {
            sent: left,
            counted: DriverCounters { seen: None, left: Some(left), dropped: Some(dropped) },
            ..device("veth", XdpMode::Native)
        }],
    };
    let mut watch = Watch::default();
    let mut look = |snapshot: Snapshot| {
        watch.look(&snapshot);
        watch.found().count()
    };
    // What was counted before the first look says nothing.
    assert_eq!(look(at(100, 0, 100)), 0);
    // One at a time adds up.
    assert_eq!([101, 102, 103].map(|count| look(at(count, 0, count))), [0, 0, 0]);
    assert_eq!(look(at(104, 0, 104)), 1);
    assert_eq!(look(at(106, 2, 104)), 1);
    assert_eq!(look(at(108, 4, 104)), 0);
    // A driver that was set up anew counts from nothing: that is no loss.
    assert_eq!(look(at(120, 0, 0)), 0);
    assert_eq!(look(at(130, 0, 10)), 1);
    // A device that came or went begins anew.
    assert_eq!(look(Snapshot { devices: Vec::new(), ..at(140, 0, 0) }), 0);
}
