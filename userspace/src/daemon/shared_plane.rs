//! The data plane as all threads of the daemon share it: one at a time, and a thread that only asks does not wait for long.
//!
//! It is held while a zone is published, which may take minutes. A thread that asks takes it if it is free, and gets the
//! last answer if it is not. So what is told is right to the packet while nothing is going on, and some seconds old
//! during a change; and no question waits for a change.

use std::sync::Arc;
use std::time::Duration;

use xdp_common::limit::Limited;
use xdp_common::limit::amplified::Amplified;
use xdp_common::maps::Verdicts;

use super::locks::{Lock, LockGuard, Rank};
use crate::control::protocol::Failure;
use crate::datapath::seam::{DataPlane, Observing, PlaneStatus};
use crate::observe::KernelCounters;

/// How long a question waits for the data plane: longer than other questions hold it, and too short to
/// be noticed.
pub const GLANCE: Duration = Duration::from_millis(50);

/// How long a command waits for it that cannot do without: less than the command line's patience, so
/// that it is told why nothing was done.
const COMMAND: Duration = Duration::from_secs(5);

/// All that XDP and TCX count, read at once.
pub struct PlaneCounters {
    /// What became of packets.
    pub kernel: KernelCounters,
    /// What the limiter decided.
    pub verdicts: Verdicts,
    /// The worst responses.
    pub amplified: Vec<Amplified>,
}

impl PlaneCounters {
    fn of(plane: &(impl Observing + ?Sized)) -> PlaneCounters {
        PlaneCounters {
            kernel: plane.counters(),
            verdicts: plane.verdicts(),
            amplified: plane.amplified(),
        }
    }
}

/// The data plane, and what it said last.
pub struct SharedPlane {
    plane: Lock<Box<dyn DataPlane>>,
    status: Lock<Arc<PlaneStatus>>,
    counted: Lock<Arc<PlaneCounters>>,
    limited: Lock<Arc<Vec<Limited>>>,
}

impl SharedPlane {
    /// Shares it.
    pub fn new(plane: Box<dyn DataPlane>) -> SharedPlane {
        SharedPlane {
            status: last(plane.status()),
            counted: last(PlaneCounters::of(&*plane)),
            limited: last(plane.limited()),
            plane: Lock::new(Rank::Plane, plane),
        }
    }

    //--- To change it

    /// The data plane, however long that takes.
    pub fn hold(&self) -> LockGuard<'_, Box<dyn DataPlane>> {
        self.plane.hold()
    }

    /// The data plane, if it is free.
    pub fn hold_if_free(&self) -> Option<LockGuard<'_, Box<dyn DataPlane>>> {
        self.plane.hold_for(GLANCE)
    }

    /// The data plane for a command that changes or reads it, unless it is held for long.
    pub fn hold_soon(&self) -> Result<LockGuard<'_, Box<dyn DataPlane>>, Failure> {
        self.plane.hold_for(COMMAND).ok_or_else(|| {
            Failure::new("busy", "nothing was done: a zone is being published").with_hint(
                "try again later; `sealdns zone list` shows which zones are being loaded",
            )
        })
    }

    /// Notes what `health` needs, for whom the data plane is not free. The caller holds it.
    pub fn note(&self, plane: &dyn Observing) {
        *self.status.hold() = Arc::new(plane.status());
    }

    //--- To ask it

    /// Where XDP is attached and how full the maps are.
    pub fn status(&self) -> Arc<PlaneStatus> {
        self.glance(&self.status, |plane| plane.status())
    }

    /// All that XDP and TCX count.
    pub fn counted(&self) -> Arc<PlaneCounters> {
        self.glance(&self.counted, |plane| PlaneCounters::of(plane))
    }

    /// The netblocks that XDP and TCX limit.
    pub fn limited(&self) -> Arc<Vec<Limited>> {
        self.glance(&self.limited, |plane| plane.limited())
    }

    fn glance<T>(&self, last: &Lock<Arc<T>>, read: impl FnOnce(&dyn Observing) -> T) -> Arc<T> {
        match self.hold_if_free() {
            Some(plane) => {
                let value = Arc::new(read(&**plane));
                *last.hold() = Arc::clone(&value);
                value
            }
            None => Arc::clone(&last.hold()),
        }
    }
}

fn last<T>(value: T) -> Lock<Arc<T>> {
    Lock::new(Rank::PlaneSnapshot, Arc::new(value))
}
