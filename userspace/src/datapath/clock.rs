//! The clock of the programs: the kernel's boot clock, and what it takes to make wall-clock time of it.

use nix::time::{ClockId, clock_gettime};

/// What the programs are told ([`Config::booted_at_s`](xdp_common::maps::Config::booted_at_s)) so that
/// for them it is now `now_s`, in wall-clock seconds since 1970. 0, which is no time, if the boot clock
/// cannot be read or the wall clock is behind it.
pub fn booted_at_s(now_s: u64) -> u64 {
    let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME);
    let since_boot_s = since_boot.ok().and_then(|time| u64::try_from(time.tv_sec()).ok());
    since_boot_s.map_or(0, |since_boot_s| now_s.saturating_sub(since_boot_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now_s;

    #[test]
    fn a_wall_clock_that_was_never_set_is_no_time() {
        assert_eq!(booted_at_s(0), 0);
        let now_s = now_s();
        assert!((1..now_s).contains(&booted_at_s(now_s)));
    }
}
