//! `[xdp]`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ByteSize, OnExit, PinFolder};

/// `[xdp]`: where and how the XDP program is attached.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Xdp {
    /// Interfaces to attach to; empty: no XDP, the sockets answer everything.
    pub interfaces: Vec<String>,
    /// In which way to attach.
    pub mode: XdpMode,
    /// Whether the daemon ends if it cannot be attached to an interface.
    pub required: bool,
    /// Where a program on TCX stands behind XDP.
    pub tcx: TcxMode,
    /// UDP ports answered.
    pub ports: Vec<u16>,
    /// Destination addresses answered; empty: those of `listen`.
    pub addresses: Vec<IpAddr>,
    /// Whether queries for names of no zone are refused in XDP.
    pub refuse: RefuseMode,
    /// Memory for the maps.
    pub memory: ByteSize,
    /// Where programs, maps and links are pinned, so that they outlive the daemon.
    pub pin: PinFolder,
    /// What becomes of them when the daemon is told to end.
    pub on_exit: OnExit,
}

impl Default for Xdp {
    fn default() -> Xdp {
        Xdp {
            interfaces: Vec::new(),
            mode: XdpMode::Auto,
            required: false,
            tcx: TcxMode::Auto,
            ports: vec![53],
            addresses: Vec::new(),
            refuse: RefuseMode::Auto,
            memory: ByteSize(512 << 20),
            pin: PinFolder::default(),
            on_exit: OnExit::Detach,
        }
    }
}

/// In which way packets come to the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum XdpMode {
    /// What `sealdns xdp probe` recommends for the device.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// On socket buffers: for devices whose driver has no XDP.
    Generic,
    /// No XDP: a program on TCX answers alone, behind whatever XDP program another has attached.
    Tcx,
}

/// Where a program on TCX stands behind XDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcxMode {
    /// Where packets have no room for an answer.
    Auto,
    /// Everywhere.
    On,
    /// Nowhere.
    Off,
}

/// Whether queries for names of no zone are refused in XDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefuseMode {
    /// Unless another name server may have the zone: there are addresses to listen on.
    Auto,
    /// They are.
    On,
    /// They pass on.
    Off,
}
