//! The data plane without XDP: the image in memory, for the sockets alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;

use super::state::{DataPlane, PlaneStatus};
use crate::compile::Image;
use crate::config::Config;
use crate::server::Engine;
use crate::zone::{Name, Zone};

/// Zones compiled into memory.
struct SocketsOnly {
    image: Image,
}

/// Opens it; fails where the configuration wants XDP.
pub fn open(config: &Config) -> anyhow::Result<Box<dyn DataPlane>> {
    if !config.xdp.interfaces.is_empty() {
        bail!(NO_XDP);
    }
    let memory = crate::datapath::memory::Mapping::anonymous(crate::datapath::memory::Size {
        slab: 256 << 20,
        buckets: 1 << 16,
    })?;
    Ok(Box::new(SocketsOnly { image: Image::new(Arc::new(memory), 12345) }))
}

const NO_XDP: &str = "this build has no XDP program: set `interfaces = []` in [xdp]";

impl DataPlane for SocketsOnly {
    fn publish(&mut self, zone: &Arc<Zone>) -> anyhow::Result<()> {
        let r = self.image.publish(zone)?;
        self.image.release(r);
        Ok(())
    }

    fn remove(&mut self, _apex: &Name) -> anyhow::Result<()> {
        Ok(())
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.image.reader()) as Arc<dyn Engine>
    }

    fn attach(&mut self, _interface: &str) -> anyhow::Result<()> {
        bail!(NO_XDP)
    }

    fn detach(&mut self, interface: Option<&str>) -> anyhow::Result<Vec<String>> {
        match interface {
            Some(interface) => bail!("XDP is not attached to {interface}"),
            None => Ok(Vec::new()),
        }
    }

    fn status(&self) -> PlaneStatus {
        PlaneStatus::default()
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    fn tick(&mut self) {}
}
