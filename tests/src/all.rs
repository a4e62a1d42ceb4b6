//! The one test binary: every test by name.

mod accepted;
mod again;
mod cache;
mod crossing;
mod datapath;
mod edns;
mod faults;
mod foul;
mod kernel;
mod limiting;
mod matrix;
mod options;
mod paths;
mod pieces;
mod pinned;
mod probe;
mod random;
mod ratelimit;
mod rights;
mod scale;
mod serving;
mod slow_tcp;
mod wire;

use std::process::ExitCode;

use faults::{keys as key_faults, signing as signing_faults};
use tests::{
    harness::{Test, main as run},
    oracle::answers as oracle,
};

/// Tests by the path of what they run, which is their name.
macro_rules! tests {
    ($($room:ident::$what:ident,)*) => {
        &[$(Test { name: concat!(stringify!($room), "::", stringify!($what)), run: $room::$what }),*]
    };
}

const TESTS: &[Test] = tests![
    accepted::what_is_accepted_is_served,
    accepted::a_wildcard_dname_is_the_question_s,
    accepted::ended_signatures_beside_others_do_no_harm,
    datapath::xdp_is_attached_counts_and_goes,
    datapath::a_program_of_another_is_not_replaced,
    datapath::each_device_takes_the_path_that_it_needs,
    datapath::programs_are_replaced_and_no_packet_is_lost,
    datapath::answers_come_from_xdp_while_maps_grow,
    datapath::old_versions_are_freed,
    datapath::maps_are_memory,
    datapath::without_the_right_to_load_a_sentence_says_so,
    datapath::memory_has_a_limit,
    datapath::without_privileges_all_memory_is_made_at_once,
    datapath::a_device_may_change_and_go,
    kernel::the_object_loads,
    kernel::a_foreign_frame_passes,
    kernel::xdp_answers_as_the_daemon_does,
    kernel::xdp_hashes_salts_and_leaves_iterations,
    kernel::each_outcome_has_its_frame,
    kernel::signatures_expire_without_a_daemon,
    matrix::every_frame_is_answered_or_left_as_it_came,
    crossing::every_query_over_veth_is_answered,
    foul::what_a_stack_drops_is_passed_up,
    foul::the_daemon_tells_the_broadcast_addresses,
    pieces::every_length_is_answered,
    random::random_frames_do_no_harm,
    cache::what_is_foretold_happens,
    cache::the_commands_look_in,
    limiting::over_the_limit_responses_are_slipped_in_turn_and_else_dropped,
    limiting::each_class_has_its_rate_and_its_name,
    limiting::large_answers_cost_what_they_amplify,
    limiting::dry_run_counts_and_answers,
    limiting::who_is_exempt_is_answered,
    limiting::blocked_prefixes_and_names_get_nothing,
    limiting::totals_are_limited_at_each_prefix_length,
    limiting::what_is_passed_up_has_a_budget,
    limiting::a_zone_may_have_a_policy_of_its_own,
    limiting::packets_of_one_netblock_may_come_on_both_cores,
    edns::options_are_those_of_the_daemon,
    edns::a_plan_becomes_badcookie_with_a_cookie,
    options::dig_gets_its_options_without_the_daemon,
    options::names_of_no_zone_are_refused_where_it_is_told,
    options::cookies_are_those_of_named_and_knotd,
    options::secrets_are_exchanged_by_reloads,
    wire::live_frames_cross_a_veth_pair,
    wire::the_driver_counts_what_xdp_sends,
    wire::a_relay_carries_answers_back,
    serving::letters_come_back_as_they_were_sent,
    serving::what_xdp_has_no_room_for_the_daemon_says,
    serving::what_xdp_has_no_room_for_tcx_says,
    serving::tcx_answers_alone,
    serving::tcp_is_served_beside_xdp,
    serving::reloads_go_unnoticed,
    serving::a_broken_zone_leaves_the_old_one_serving,
    serving::an_interface_that_is_not_there_is_said,
    serving::sigterm_detaches_and_drains,
    slow_tcp::idle_clients_shut_nobody_out,
    slow_tcp::slow_clients_are_ended_and_keep_nobody_waiting,
    slow_tcp::too_few_descriptors_mean_fewer_connections,
    slow_tcp::descriptors_that_run_out_end_idle_connections,
    paths::auto_answers_where_nothing_stands_at_the_other_end,
    paths::tags_are_kept,
    paths::answers_that_do_not_leave_are_said,
    paths::what_does_not_load_is_said_and_may_be_required,
    paths::who_may_not_load_serves_by_sockets,
    pinned::a_crash_goes_unnoticed,
    pinned::a_crash_goes_unnoticed_on_tcx,
    pinned::what_is_pinned_goes_without_a_trace,
    pinned::pins_that_do_not_fit_are_replaced,
    pinned::what_is_pinned_answers_while_nobody_can,
    rights::pins_stay_root_s_and_go_with_the_daemon,
    rights::nothing_is_left_when_a_daemon_dies,
    rights::what_others_put_among_the_pins_is_refused,
    rights::a_daemon_that_stays_root_keeps_little,
    rights::root_makes_nothing_where_its_user_leads_it,
    rights::keys_that_root_makes_are_the_folder_s_owner_s,
    again::a_device_made_anew_gets_its_programs_back,
    probe::each_device_gets_its_path,
    probe::what_comes_is_looked_at,
    ratelimit::commands_take_effect_at_once,
    ratelimit::options_do_over_the_wire_what_binds_do,
    ratelimit::a_restart_keeps_what_was_saved,
    ratelimit::a_victim_receives_less_than_the_attacker_sends,
    signing_faults::a_full_disk_does_not_keep_from_signing,
    signing_faults::a_read_only_state_directory_does_not_keep_from_signing,
    signing_faults::a_broken_or_missing_file_does_not_keep_from_signing,
    signing_faults::a_clock_that_was_ahead_leaves_nothing_behind,
    signing_faults::a_garbled_serial_file_does_not_keep_from_serving,
    signing_faults::keys_that_are_gone_are_not_replaced,
    key_faults::a_command_that_ends_leaves_all_keys_or_none,
    key_faults::a_daemon_that_ends_leaves_all_keys_or_none,
    key_faults::a_daemon_that_is_killed_at_any_moment_leaves_all_keys_or_none,
    scale::an_update_goes_unnoticed,
    scale::a_zone_that_does_not_fit_is_held_hot,
    scale::many_zones_are_served,
    scale::delegations_are_loaded_beside_knotd,
    oracle::the_daemon_answers_as_knotd_does,
    oracle::the_daemon_answers_as_nsd_does,
    oracle::zones_made_by_chance_are_answered_as_knotd_does,
    oracle::zones_made_by_chance_are_answered_as_nsd_does,
    oracle::chains_are_followed_as_knotd_does,
    oracle::chains_are_followed_as_nsd_does,
    oracle::salts_and_iterations_are_served_as_knotd_does,
    oracle::salts_and_iterations_are_served_as_nsd_does,
    oracle::a_validator_accepts_salts_and_iterations,
    oracle::an_unsigned_zone_refers_as_others_do,
    oracle::a_validator_accepts_what_the_daemon_answers,
];

fn main() -> ExitCode {
    run(TESTS)
}
