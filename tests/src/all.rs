//! The one test binary: every test by name.

mod cache;
mod datapath;
mod edns;
mod kernel;
mod limiting;
mod options;
mod pinned;
mod probe;
mod random;
mod ratelimit;
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
    Test {
        name: "kernel::signatures_expire_without_a_daemon",
        run: kernel::signatures_expire_without_a_daemon,
    },
    Test { name: "kernel::random_frames_do_no_harm", run: random::random_frames_do_no_harm },
    Test { name: "cache::what_is_foretold_happens", run: cache::what_is_foretold_happens },
    Test { name: "cache::the_commands_look_in", run: cache::the_commands_look_in },
    Test {
        name: "limiting::over_the_limit_responses_are_slipped_in_turn_and_else_dropped",
        run: limiting::over_the_limit_responses_are_slipped_in_turn_and_else_dropped,
    },
    Test {
        name: "limiting::each_class_has_its_rate_and_its_name",
        run: limiting::each_class_has_its_rate_and_its_name,
    },
    Test {
        name: "limiting::large_answers_cost_what_they_amplify",
        run: limiting::large_answers_cost_what_they_amplify,
    },
    Test {
        name: "limiting::dry_run_counts_and_answers",
        run: limiting::dry_run_counts_and_answers,
    },
    Test { name: "limiting::who_is_exempt_is_answered", run: limiting::who_is_exempt_is_answered },
    Test {
        name: "limiting::blocked_prefixes_and_names_get_nothing",
        run: limiting::blocked_prefixes_and_names_get_nothing,
    },
    Test {
        name: "limiting::totals_are_limited_at_each_prefix_length",
        run: limiting::totals_are_limited_at_each_prefix_length,
    },
    Test {
        name: "limiting::what_is_passed_up_has_a_budget",
        run: limiting::what_is_passed_up_has_a_budget,
    },
    Test {
        name: "limiting::a_zone_may_have_a_policy_of_its_own",
        run: limiting::a_zone_may_have_a_policy_of_its_own,
    },
    Test {
        name: "limiting::packets_of_one_netblock_may_come_on_both_cores",
        run: limiting::packets_of_one_netblock_may_come_on_both_cores,
    },
    Test {
        name: "edns::options_are_those_of_the_daemon",
        run: edns::options_are_those_of_the_daemon,
    },
    Test {
        name: "edns::a_plan_becomes_badcookie_with_a_cookie",
        run: edns::a_plan_becomes_badcookie_with_a_cookie,
    },
    Test {
        name: "options::dig_gets_its_options_without_the_daemon",
        run: options::dig_gets_its_options_without_the_daemon,
    },
    Test {
        name: "options::names_of_no_zone_are_refused_where_it_is_told",
        run: options::names_of_no_zone_are_refused_where_it_is_told,
    },
    Test {
        name: "options::cookies_are_those_of_named_and_knotd",
        run: options::cookies_are_those_of_named_and_knotd,
    },
    Test {
        name: "options::secrets_are_exchanged_by_reloads",
        run: options::secrets_are_exchanged_by_reloads,
    },
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
    Test { name: "pinned::a_crash_goes_unnoticed", run: pinned::a_crash_goes_unnoticed },
    Test {
        name: "pinned::what_is_pinned_goes_without_a_trace",
        run: pinned::what_is_pinned_goes_without_a_trace,
    },
    Test {
        name: "pinned::pins_that_do_not_fit_are_replaced",
        run: pinned::pins_that_do_not_fit_are_replaced,
    },
    Test {
        name: "pinned::what_is_pinned_answers_while_nobody_can",
        run: pinned::what_is_pinned_answers_while_nobody_can,
    },
    Test { name: "probe::each_device_gets_its_path", run: probe::each_device_gets_its_path },
    Test { name: "probe::what_comes_is_looked_at", run: probe::what_comes_is_looked_at },
    Test {
        name: "ratelimit::commands_take_effect_at_once",
        run: ratelimit::commands_take_effect_at_once,
    },
    Test {
        name: "ratelimit::a_restart_keeps_what_was_saved",
        run: ratelimit::a_restart_keeps_what_was_saved,
    },
    Test {
        name: "ratelimit::a_victim_receives_less_than_the_attacker_sends",
        run: ratelimit::a_victim_receives_less_than_the_attacker_sends,
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
