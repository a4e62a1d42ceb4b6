//! The oracle tests of the zone reader and writer, which the test binary of `tests` runs too.

#[path = "../../tests/src/oracle/owners.rs"]
mod owners;
#[path = "../../tests/src/oracle/zone_faults.rs"]
mod zone_faults;
#[path = "../../tests/src/oracle/zone_text.rs"]
mod zone_text;

#[test]
fn zones_read_as_the_oracles_do() -> anyhow::Result<()> {
    zone_text::zones_read_as_the_oracles_do()
}

#[test]
fn broken_zones_are_refused_where_the_fault_is() -> anyhow::Result<()> {
    zone_text::broken_zones_are_refused_where_the_fault_is()
}

#[test]
fn what_is_written_reads_back() -> anyhow::Result<()> {
    zone_text::what_is_written_reads_back()
}

#[test]
fn signed_zones_pass_the_checkers() -> anyhow::Result<()> {
    zone_text::signed_zones_pass_the_checkers()
}

#[test]
fn sequences_leave_the_owner_that_they_do_in_named() -> anyhow::Result<()> {
    owners::sequences_leave_the_owner_that_they_do_in_named()
}

#[test]
fn zones_of_one_fault_are_judged_as_by_others() -> anyhow::Result<()> {
    zone_faults::zones_of_one_fault_are_judged_as_by_others()
}

#[test]
fn all_faults_of_a_text_are_found() -> anyhow::Result<()> {
    zone_faults::all_faults_of_a_text_are_found()
}
