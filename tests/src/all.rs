//! The one test binary: every test by name.

mod datapath;
mod kernel;
mod scale;
mod serving;
mod wire;

use std::process::ExitCode;

use tests::{
    harness::{Test, main as run},
    oracle::answers,
};

const TESTS: &[Test] = &[
    Test {
        name: "datapath::xdp_is_attached_counts_and_goes",
        run: datapath::xdp_is_attached_counts_and_goes,
    },
    Test {
        name: "datapath::a_program_of_another_is_not_replaced",
        run: datapath::a_program_of_another_is_not_replaced,
    },
    Test {
        name: "datapath::generic_mode_is_the_second_choice",
        run: datapath::generic_mode_is_the_second_choice,
    },
    Test {
        name: "datapath::programs_are_replaced_and_no_packet_is_lost",
        run: datapath::programs_are_replaced_and_no_packet_is_lost,
    },
    Test {
        name: "datapath::answers_come_from_xdp_while_maps_grow",
        run: datapath::answers_come_from_xdp_while_maps_grow,
    },
    Test { name: "datapath::old_versions_are_freed", run: datapath::old_versions_are_freed },
    Test { name: "datapath::maps_are_memory", run: datapath::maps_are_memory },
    Test {
        name: "datapath::without_the_right_to_load_a_sentence_says_so",
        run: datapath::without_the_right_to_load_a_sentence_says_so,
    },
    Test { name: "datapath::memory_has_a_limit", run: datapath::memory_has_a_limit },
    Test {
        name: "datapath::without_privileges_all_memory_is_made_at_once",
        run: datapath::without_privileges_all_memory_is_made_at_once,
    },
    Test {
        name: "datapath::a_device_may_change_and_go",
        run: datapath::a_device_may_change_and_go,
    },
    Test { name: "kernel::the_object_loads", run: kernel::the_object_loads },
    Test { name: "kernel::a_foreign_frame_passes", run: kernel::a_foreign_frame_passes },
    Test {
        name: "kernel::xdp_answers_as_the_daemon_does",
        run: kernel::xdp_answers_as_the_daemon_does,
    },
    Test { name: "kernel::each_outcome_has_its_frame", run: kernel::each_outcome_has_its_frame },
    Test { name: "kernel::damaged_frames_do_no_harm", run: kernel::damaged_frames_do_no_harm },
    Test { name: "wire::live_frames_cross_a_veth_pair", run: wire::live_frames_cross_a_veth_pair },
    Test {
        name: "wire::the_driver_counts_what_xdp_sends",
        run: wire::the_driver_counts_what_xdp_sends,
    },
    Test { name: "wire::a_relay_carries_answers_back", run: wire::a_relay_carries_answers_back },
    Test {
        name: "serving::letters_come_back_as_they_were_sent",
        run: serving::letters_come_back_as_they_were_sent,
    },
    Test {
        name: "serving::what_xdp_has_no_room_for_the_daemon_says",
        run: serving::what_xdp_has_no_room_for_the_daemon_says,
    },
    Test {
        name: "serving::what_xdp_has_no_room_for_tcx_says",
        run: serving::what_xdp_has_no_room_for_tcx_says,
    },
    Test { name: "serving::tcp_is_served_beside_xdp", run: serving::tcp_is_served_beside_xdp },
    Test { name: "serving::reloads_go_unnoticed", run: serving::reloads_go_unnoticed },
    Test {
        name: "serving::a_broken_zone_leaves_the_old_one_serving",
        run: serving::a_broken_zone_leaves_the_old_one_serving,
    },
    Test {
        name: "serving::an_interface_that_is_not_there_is_said",
        run: serving::an_interface_that_is_not_there_is_said,
    },
    Test {
        name: "serving::sigterm_detaches_and_drains",
        run: serving::sigterm_detaches_and_drains,
    },
    Test { name: "scale::an_update_goes_unnoticed", run: scale::an_update_goes_unnoticed },
    Test {
        name: "scale::a_zone_that_does_not_fit_is_held_hot",
        run: scale::a_zone_that_does_not_fit_is_held_hot,
    },
    Test { name: "scale::many_zones_are_served", run: scale::many_zones_are_served },
    Test {
        name: "scale::delegations_are_loaded_beside_knotd",
        run: scale::delegations_are_loaded_beside_knotd,
    },
    Test {
        name: "oracle::the_daemon_answers_as_knotd_does",
        run: answers::the_daemon_answers_as_knotd_does,
    },
    Test {
        name: "oracle::the_daemon_answers_as_nsd_does",
        run: answers::the_daemon_answers_as_nsd_does,
    },
    Test {
        name: "oracle::zones_made_by_chance_are_answered_as_knotd_does",
        run: answers::zones_made_by_chance_are_answered_as_knotd_does,
    },
    Test {
        name: "oracle::zones_made_by_chance_are_answered_as_nsd_does",
        run: answers::zones_made_by_chance_are_answered_as_nsd_does,
    },
    Test {
        name: "oracle::a_validator_accepts_what_the_daemon_answers",
        run: answers::a_validator_accepts_what_the_daemon_answers,
    },
];

fn main() -> ExitCode {
    run(TESTS)
}
