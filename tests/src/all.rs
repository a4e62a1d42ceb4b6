//! The one test binary: every test by name.

mod kernel;
mod wire;

use std::process::ExitCode;

use tests::{
    harness::{Test, main as run},
    oracle::answers,
};

const TESTS: &[Test] = &[
    Test { name: "kernel::the_object_loads", run: kernel::the_object_loads },
    Test { name: "kernel::a_foreign_frame_passes", run: kernel::a_foreign_frame_passes },
    Test { name: "wire::live_frames_cross_a_veth_pair", run: wire::live_frames_cross_a_veth_pair },
    Test {
        name: "wire::the_driver_counts_what_xdp_sends",
        run: wire::the_driver_counts_what_xdp_sends,
    },
    Test { name: "wire::a_relay_carries_answers_back", run: wire::a_relay_carries_answers_back },
    Test {
        name: "oracle::the_daemon_answers_as_knotd_does",
        run: answers::the_daemon_answers_as_knotd_does,
    },
];

fn main() -> ExitCode {
    run(TESTS)
}
