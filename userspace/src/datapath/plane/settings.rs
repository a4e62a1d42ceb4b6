//! What the programs are told: what they answer on, what is said beside the records of zones, and what is limited.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use ring::rand::SecureRandom;
use xdp_common::dns::MAX_PAYLOAD;
use xdp_common::limit::policy::Circumstances;
use xdp_common::maps::{self, MAX_ADDRESSES, MAX_MACS, MAX_PORTS, limits, mac_word};

use crate::clock::{self, WallTime};
use crate::config::Config;
use crate::datapath::addresses::Answered;
use crate::datapath::broadcasts;
use crate::datapath::interface::Interface;
use crate::datapath::limiting::ListsInMaps;
use crate::datapath::load::LoadedPrograms;
use crate::ratelimit::limits::Limits;

/// What the programs are told, whether any are loaded or not. A change is written to the maps of those that are.
pub(super) struct Settings {
    config: maps::Config,
    answered: Answered,
    edns_settings: maps::EdnsSettings,
    /// Whether names of no zone may be refused.
    may_refuse: bool,
    /// Whether queries for zones that are published are passed on.
    passes_zones: bool,
    limits: Arc<Limits>,
    /// What of the limits stands in the maps.
    written: ListsInMaps,
    /// Queries a second, for the limits that are scaled by them.
    qps: u64,
}

impl Settings {
    /// What a configuration says.
    pub(super) fn new(config: &Config) -> anyhow::Result<Settings> {
        Ok(Settings {
            config: program_config(config)?,
            answered: Answered::of(config),
            edns_settings: maps::EdnsSettings::new(),
            may_refuse: true,
            passes_zones: config.front.is_some(),
            limits: Arc::default(),
            written: ListsInMaps::default(),
            qps: 0,
        })
    }

    /// What the programs answer on.
    pub(super) fn config(&self) -> &maps::Config {
        &self.config
    }

    /// Whether there is no address that they could answer on.
    pub(super) fn have_no_address(&self) -> bool {
        self.answered.are_none()
    }

    /// What they are told of options and refusals.
    pub(super) fn edns_settings(&self) -> maps::EdnsSettings {
        let refuse = if self.may_refuse { self.edns_settings.refuse } else { 0 };
        maps::EdnsSettings { refuse, ..self.edns_settings }
    }

    //--- All of it

    /// Writes all of it to maps that no program reads yet, whose table has this many buckets.
    pub(super) fn fill(
        &mut self,
        loaded: &mut LoadedPrograms,
        buckets: usize,
    ) -> anyhow::Result<()> {
        self.config.bucket_mask = (buckets - 1) as u32;
        self.config.booted_at_s = WallTime::now().booted_at_s();
        let mut written = ListsInMaps::default();
        written.write(loaded, &self.limits, self.circumstances(), &mut self.config)?;
        self.written = written;
        self.mark_passed_zones();
        loaded.config.write(&self.config);
        loaded.edns_settings.write(&self.edns_settings());
        Ok(())
    }

    fn write_config(&mut self, loaded: Option<&mut LoadedPrograms>) {
        self.config.booted_at_s = WallTime::now().booted_at_s();
        if let Some(loaded) = loaded {
            loaded.config.write(&self.config);
        }
    }

    //--- Options of responses, and refusals

    /// Sets what is said beside the records of zones.
    pub(super) fn set_edns_settings(
        &mut self,
        edns_settings: &maps::EdnsSettings,
        loaded: Option<&mut LoadedPrograms>,
    ) {
        self.edns_settings = *edns_settings;
        self.tell_manners(loaded);
    }

    /// Sets whether names of no zone may be refused.
    pub(super) fn set_may_refuse(&mut self, may_refuse: bool, loaded: Option<&mut LoadedPrograms>) {
        self.may_refuse = may_refuse;
        self.tell_manners(loaded);
    }

    fn tell_manners(&self, loaded: Option<&mut LoadedPrograms>) {
        if let Some(loaded) = loaded {
            loaded.edns_settings.write(&self.edns_settings());
        }
    }

    /// Sets whether queries for zones that are published are passed on.
    pub(super) fn set_passes_zones(
        &mut self,
        passes_zones: bool,
        loaded: Option<&mut LoadedPrograms>,
    ) {
        if self.passes_zones != passes_zones {
            self.passes_zones = passes_zones;
            self.mark_passed_zones();
            self.write_config(loaded);
        }
    }

    fn mark_passed_zones(&mut self) {
        match self.passes_zones {
            true => self.config.limits |= limits::PASSED_ZONES,
            false => self.config.limits &= !limits::PASSED_ZONES,
        }
    }

    //--- Zones and devices

    /// Sets the key of the names' hash, before there are any.
    pub(super) fn set_hash_key(&mut self, key: u64, loaded: Option<&mut LoadedPrograms>) {
        self.config.seed = key;
        self.write_config(loaded);
    }

    /// Sets how many labels the longest name of all zones has, and the time.
    pub(super) fn set_max_labels(&mut self, max_labels: u32, loaded: Option<&mut LoadedPrograms>) {
        self.config.max_labels = max_labels;
        self.write_config(loaded);
    }

    /// Adds the MAC address of one more device, `others` being there already, and the broadcast addresses of our
    /// subnets.
    pub(super) fn add_device(
        &mut self,
        others: usize,
        device: &Interface,
        loaded: Option<&mut LoadedPrograms>,
    ) {
        self.config.macs[others] = mac_word(device.mac);
        broadcasts::set(&mut self.config, &[&device.name]);
        if others == 0 {
            self.answered.follow(&mut self.config, &[&device.name]);
        }
        self.write_config(loaded);
    }

    /// Sets the MAC addresses of all devices, and the broadcast addresses of our subnets.
    pub(super) fn set_devices<'a>(
        &mut self,
        devices: impl Iterator<Item = &'a Interface> + Clone,
        loaded: Option<&mut LoadedPrograms>,
    ) {
        self.config.macs = [0; MAX_MACS];
        for (place, device) in self.config.macs.iter_mut().zip(devices.clone()) {
            *place = mac_word(device.mac);
        }
        self.look_at_subnets(devices, loaded);
    }

    /// Sets the broadcast addresses of our subnets, the addresses of the devices where they are answered on, and the time.
    pub(super) fn look_at_subnets<'a>(
        &mut self,
        devices: impl Iterator<Item = &'a Interface>,
        loaded: Option<&mut LoadedPrograms>,
    ) {
        let names: Vec<&str> = devices.map(|device| device.name.as_str()).collect();
        if !names.is_empty() {
            broadcasts::set(&mut self.config, &names);
            self.answered.follow(&mut self.config, &names);
        }
        self.write_config(loaded);
    }

    /// Sets where is answered. On an error what was set before stays.
    pub(super) fn answer_on<'a>(
        &mut self,
        config: &Config,
        devices: impl Iterator<Item = &'a Interface>,
        loaded: Option<&mut LoadedPrograms>,
    ) -> anyhow::Result<()> {
        let told = program_config(config)?;
        (self.config.addresses, self.config.address_count) = (told.addresses, told.address_count);
        self.answered = Answered::of(config);
        self.look_at_subnets(devices, loaded);
        Ok(())
    }

    //--- Limits

    /// Sets what is limited. On an error what was set before stays.
    pub(super) fn set_limits(
        &mut self,
        limits: &Arc<Limits>,
        qps: u64,
        mut loaded: Option<&mut LoadedPrograms>,
    ) -> anyhow::Result<()> {
        limits.check()?;
        let before = (std::mem::replace(&mut self.limits, Arc::clone(limits)), self.qps);
        self.qps = qps;
        let program_config = self.tell_limits(loaded.as_deref_mut());
        if program_config.is_err() {
            (self.limits, self.qps) = before;
            if let Err(error) = self.tell_limits(loaded) {
                tracing::error!("the limits before cannot be set again: {error:#}");
            }
        }
        program_config
    }

    /// Brings the limiter's maps up to date, if there are any.
    fn tell_limits(&mut self, loaded: Option<&mut LoadedPrograms>) -> anyhow::Result<()> {
        let circumstances = self.circumstances();
        let Some(loaded) = loaded else { return Ok(()) };
        self.written.write(loaded, &self.limits, circumstances, &mut self.config)?;
        self.mark_passed_zones();
        loaded.config.write(&self.config);
        self.written.clear(loaded, &self.limits, self.config.seed)
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances { tick_ns: self.config.tick_ns, qps: self.qps }
    }
}

pub(super) const NO_ADDRESS: &str = "XDP would answer nothing: it knows no address; set `listen` in [server], \
                          or `addresses` in [xdp]";

/// What the programs are told from the start.
fn program_config(config: &Config) -> anyhow::Result<maps::Config> {
    let mut program_config = maps::Config::new();
    let mut seed = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| anyhow!("the random number generator of the system failed"))?;
    program_config.seed = u64::from_ne_bytes(seed);
    program_config.tick_ns = clock::tick_ns().context("asking for the clock's tick")?;
    program_config.payload_limit =
        config.server.udp_payload.octets().min(MAX_PAYLOAD.into()) as u32;

    let addresses = Answered::of(config);
    if addresses.named() > MAX_ADDRESSES {
        bail!(
            "XDP can answer on {MAX_ADDRESSES} addresses, and there are {}: name those that matter \
             most in `addresses` of [xdp]; the sockets serve the others",
            addresses.named()
        );
    }
    addresses.set_named(&mut program_config);

    let ports: BTreeSet<u16> = config.xdp.ports.iter().copied().collect();
    if ports.len() > MAX_PORTS {
        bail!("XDP can answer on {MAX_PORTS} ports: `ports` in [xdp] has {}", ports.len());
    }
    for (place, port) in program_config.ports.iter_mut().zip(&ports) {
        *place = port.to_be();
    }

    let interfaces = config.xdp.interfaces.len();
    if interfaces > MAX_MACS {
        bail!("XDP can be on {MAX_MACS} interfaces: `interfaces` in [xdp] has {interfaces}");
    }
    if interfaces > 0 && addresses.are_none() {
        bail!(NO_ADDRESS);
    }
    if interfaces > 0 && (ports.is_empty() || ports.contains(&0)) {
        bail!(
            "XDP would answer nothing: `ports` in [xdp] must be UDP ports from 1 on, mostly [53]"
        );
    }
    Ok(program_config)
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
        let program_config = program_config(&config).unwrap();
        assert_eq!(program_config.address_count, 2);
        let octets = |words: [u64; 2]| words.map(u64::to_ne_bytes).concat();
        assert_eq!(
            octets(program_config.addresses[0]),
            b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01"
        );
        assert_eq!(
            octets(program_config.addresses[1]),
            b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
        );
        assert_eq!(
            program_config.ports.map(u16::to_ne_bytes),
            [[0, 53], [20, 233], [0, 0], [0, 0]]
        );
        assert_eq!(program_config.payload_limit, 1232);
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
            let error = program_config(&config(&format!("[xdp]\n{text}"))).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
