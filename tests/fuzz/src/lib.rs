//! What the targets stand on: the zones of the tests, signed and compiled once for each process.

use std::sync::{Arc, LazyLock};

use sealdns::{
    clock::WallTime,
    compile::{Image, Reader},
    datapath::memory::{Mapping, Size},
    dnssec::policy::Denial,
    zone::Zone,
};
use tests::servers::{CORNER, DEMO, signed};
use xdp_common::maps::EdnsSettings;

/// The largest response over UDP that the server allows, in octets.
pub const LIMIT: usize = 1232;

/// Zones, and the engine over them.
pub struct Compiled {
    /// The demo's and the one with all that is rare.
    pub zones: [Arc<Zone>; 2],
    /// The engine; all made by one call answer alike.
    pub reader: Arc<Reader>,
    /// The engine's depth, as the maps hold it.
    pub max_labels: u32,
}

/// How the server presents itself: with all there is.
pub static EDNS_SETTINGS: LazyLock<EdnsSettings> = LazyLock::new(|| EdnsSettings {
    secrets: [[1, 2], [3, 4]],
    secret_count: 2,
    refuse: 1,
    ..EdnsSettings::new().with_nsid(b"fuzzed")
});

/// Both zones signed with NSEC, and with NSEC3.
pub static COMPILED: LazyLock<[Compiled; 2]> =
    LazyLock::new(|| [Denial::Nsec, Denial::Nsec3 { opt_out: false }].map(compiled));

/// When the zones were signed, in seconds since 1970: no signature expires while the fuzzer runs.
pub static NOW: LazyLock<u32> = LazyLock::new(|| WallTime::now().signature_time());

fn compiled(denial: Denial) -> Compiled {
    let keys = tempfile::tempdir().expect("a directory");
    let memory = Mapping::anonymous(Size { slab: 16 << 20, buckets: 4096 }).expect("memory");
    let mut image = Image::new(Arc::new(memory), 0x5ea1_d115);
    let zones = [DEMO, CORNER].map(|zone| {
        let zone = signed(zone, denial, keys.path()).expect("a signed zone");
        drop(image.publish(&zone).expect("room for it"));
        Arc::new(zone)
    });
    LazyLock::force(&NOW);
    Compiled { zones, reader: Arc::new(image.reader()), max_labels: image.max_labels() }
}
