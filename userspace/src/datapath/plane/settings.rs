//! What the programs are told.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{anyhow, bail};
use ring::rand::SecureRandom;
use xdp_common::dns::MAX_PAYLOAD;
use xdp_common::limit::policy::Circumstances;
use xdp_common::maps::{self, MAX_ADDRESSES, MAX_MACS, MAX_PORTS, address_words, mac_word};

use super::Plane;
use crate::config::Config;
use crate::datapath::{broadcasts, clock, limiting};

impl Plane {
    /// Brings the limiter's maps up to date, if there are any.
    pub(super) fn tell_limits(&mut self) -> anyhow::Result<()> {
        let circumstances = self.circumstances();
        let Some(loaded) = &mut self.loaded else { return Ok(()) };
        self.written.write(loaded, &self.limits, circumstances, &mut self.config)?;
        loaded.config.write(&self.config);
        self.written.clear(loaded, &self.limits, self.config.seed)
    }

    pub(super) fn circumstances(&self) -> Circumstances {
        Circumstances { tick_ns: self.config.tick_ns, qps: self.qps }
    }

    pub(super) fn tell(&mut self) {
        self.config.booted_at_s = clock::booted_at_s(clock::now_s());
        if let Some(loaded) = &mut self.loaded {
            loaded.config.write(&self.config);
        }
    }

    /// What the programs are told of options and refusals. While a zone is hot its apex may be missing for
    /// a moment, or as long as the maps have no room for it: they must not take the absence of all zones
    /// above a name for the name being nobody's here.
    pub(super) fn manners_told(&self) -> maps::Manners {
        let refuse = if self.hot.is_empty() { self.manners.refuse } else { 0 };
        maps::Manners { refuse, ..self.manners }
    }

    pub(super) fn tell_manners(&mut self) {
        let told = self.manners_told();
        if let Some(loaded) = &mut self.loaded {
            loaded.manners.write(&told);
        }
    }

    /// Tells the programs the MAC addresses of all devices, and the broadcast addresses of our subnets.
    pub(super) fn tell_macs(&mut self) {
        self.config.macs = [0; MAX_MACS];
        for (place, attachment) in self.config.macs.iter_mut().zip(&self.attachments) {
            *place = mac_word(attachment.interface().mac);
        }
        self.tell_broadcasts();
    }

    pub(super) fn tell_broadcasts(&mut self) {
        if !self.attachments.is_empty() {
            let names = self.attachments.iter().map(|one| one.interface().name.as_str());
            broadcasts::tell(&mut self.config, &names.collect::<Vec<_>>());
        }
        self.tell();
    }
}

pub(super) const NO_ADDRESS: &str = "XDP would answer nothing: it knows no address; set `listen` in [server], \
                          or `addresses` in [xdp]";

/// What the programs are told from the start.
pub(super) fn told(config: &Config) -> anyhow::Result<maps::Config> {
    let mut told = maps::Config::new();
    let mut seed = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| anyhow!("the system has no random numbers"))?;
    told.seed = u64::from_ne_bytes(seed);
    told.tick_ns = limiting::tick_ns()?;
    told.payload_limit = config.server.udp_payload.octets().min(MAX_PAYLOAD.into()) as u32;

    let addresses: BTreeSet<IpAddr> = config.xdp_addresses().into_iter().collect();
    if addresses.len() > MAX_ADDRESSES {
        bail!(
            "XDP can answer on {MAX_ADDRESSES} addresses, and there are {}: name those that matter \
             most in `addresses` of [xdp]; the sockets serve the others",
            addresses.len()
        );
    }
    for (place, address) in told.addresses.iter_mut().zip(&addresses) {
        *place = address_words(*address);
    }
    told.address_count = addresses.len() as u32;

    let ports: BTreeSet<u16> = config.xdp.ports.iter().copied().collect();
    if ports.len() > MAX_PORTS {
        bail!("XDP can answer on {MAX_PORTS} ports: `ports` in [xdp] has {}", ports.len());
    }
    for (place, port) in told.ports.iter_mut().zip(&ports) {
        *place = port.to_be();
    }

    let interfaces = config.xdp.interfaces.len();
    if interfaces > MAX_MACS {
        bail!("XDP can be on {MAX_MACS} interfaces: `interfaces` in [xdp] has {interfaces}");
    }
    if interfaces > 0 && addresses.is_empty() {
        bail!(NO_ADDRESS);
    }
    if interfaces > 0 && (ports.is_empty() || ports.contains(&0)) {
        bail!(
            "XDP would answer nothing: `ports` in [xdp] must be UDP ports from 1 on, mostly [53]"
        );
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        let text = format!("version = \"v1\"\n{text}");
        Config::parse(&text, Path::new("sealdns.toml")).unwrap()
    }

    #[test]
    fn what_programs_are_told_lies_as_packets_have_it() {
        let config = config(
            "[server]\nlisten = [\"192.0.2.1:53\", \"192.0.2.1:5353\", \"[2001:db8::1]:53\"]\n\
             udp-payload = 1400\n[xdp]\nports = [53, 5353, 53]\n",
        );
        let told = told(&config).unwrap();
        assert_eq!(told.address_count, 2);
        let octets = |words: [u64; 2]| words.map(u64::to_ne_bytes).concat();
        assert_eq!(octets(told.addresses[0]), b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01");
        assert_eq!(octets(told.addresses[1]), b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01");
        assert_eq!(told.ports.map(u16::to_ne_bytes), [[0, 53], [20, 233], [0, 0], [0, 0]]);
        assert_eq!(told.payload_limit, 1232);
        assert_eq!(mac_word([2, 0, 0, 0, 0, 1]).to_ne_bytes(), [2, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn what_programs_have_no_room_for_is_refused() {
        let addresses: Vec<String> = (0..=16).map(|host| format!("\"192.0.2.{host}\"")).collect();
        let addresses = addresses.join(", ");
        for (text, said) in [
            (format!("addresses = [{addresses}]"), "16 addresses, and there are 17"),
            ("ports = [1, 2, 3, 4, 5]".into(), "4 ports"),
            ("interfaces = [\"a\"]".into(), "knows no address"),
            (
                "interfaces = [\"a\"]\naddresses = [\"192.0.2.1\"]\nports = []".into(),
                "`ports` in [xdp]",
            ),
            (
                "interfaces = [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]".into(),
                "8 interfaces",
            ),
        ] {
            let error = told(&config(&format!("[xdp]\n{text}"))).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
