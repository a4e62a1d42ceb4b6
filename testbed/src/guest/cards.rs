//! Network cards of a guest, two of a kind and joined: what one sends the other receives.
//!
//! They meet in a hub inside of QEMU, so that a guest needs no network of the host, and no rights. A hub carries plain
//! frames: no card is offered anything that its driver could leave to the host.

/// A kind of network card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Card {
    /// The driver, and the module that brings it.
    pub driver: &'static str,
    /// What QEMU calls the device.
    pub device: &'static str,
    /// Further modules that it takes.
    modules: &'static [&'static str],
}

/// All that there are.
pub const CARDS: [Card; 4] = [
    Card { driver: "virtio_net", device: "virtio-net-pci", modules: &["virtio_pci"] },
    Card { driver: "vmxnet3", device: "vmxnet3", modules: &[] },
    Card { driver: "e1000e", device: "e1000e", modules: &[] },
    Card { driver: "igb", device: "igb", modules: &[] },
];

impl Card {
    /// The card with this driver.
    pub fn of(driver: &str) -> Option<Card> {
        CARDS.into_iter().find(|card| card.driver == driver)
    }

    /// The modules that it takes.
    pub fn modules(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.modules.iter().copied().chain([self.driver])
    }

    /// QEMU's arguments for two of them.
    pub fn pair(&self) -> Vec<String> {
        let place = CARDS.iter().position(|card| card == self).unwrap_or_default();
        let one = |end: usize| {
            let name = format!("{}{end}", self.driver);
            // Each with an address of its own, without code to boot from, and on a bus of its own: the virtual
            // functions of a card lie in places that the next card would be given.
            let (mac, bus) = (format!("52:54:00:53:{place:02x}:{end:02x}"), format!("{name}bus"));
            [
                "-netdev".to_owned(),
                format!("hubport,id={name},hubid={place}"),
                "-device".to_owned(),
                format!("pcie-root-port,id={bus},chassis={}", 2 * place + end),
                "-device".to_owned(),
                format!("{},netdev={name},bus={bus},mac={mac},romfile=", self.device),
            ]
        };
        [one(1), one(2)].concat()
    }
}
