//! The oracle tests of the zone reader and writer, which the test binary of `tests` runs too.

#[path = "../../tests/src/oracle/zone_text.rs"]
mod zone_text;

#[test]
fn zones_read_as_the_oracles_do() -> anyhow::Result<()> {
    zone_text::zones_read_as_the_oracles_do()
}
