//! What a change costs, as a table on the terminal and in `docs/figures.md`.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use super::{
    readme::{CHANGE, wrapped},
    tables::{grouped, list, median, number, text},
};

/// Prints the part `change`.
pub fn print(change: &Value) -> Result<()> {
    println!(
        "{:20} {:22}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9} {:>7}",
        "zone, one by one",
        "ms, medians",
        "sign",
        "verify",
        "journal",
        "publish",
        "without",
        "p99",
        "a second",
        "knotd",
        "ratio"
    );
    for zone in list(change, "denials")? {
        for row in list(zone, "one_by_one")? {
            let cells = cells(row).map(|cell| format!("{cell:>9}")).join("");
            println!(
                "{:20} {:22}{cells} {:>7.2}{}",
                text(&zone["denial"]),
                text(&row["change"]),
                lead(row),
                whole(&row["as_whole"]),
            );
        }
    }
    println!();
    for zone in list(change, "denials")? {
        println!("{:20} {}", text(&zone["denial"]), together(&zone["together"]));
    }
    println!(
        "\n{}\n\n{}\n\n{}",
        files(&change["files"]),
        flooded(&change["flooded"]),
        conditions(change)
    );
    Ok(())
}

/// The text of `docs/figures.md` with the figures of changes.
pub fn with_figures(document: &str, figures: &Value) -> Result<String> {
    let change = &figures["change"];
    let mut inside = wrapped(&conditions(change));
    inside.push_str(
        "\n| zone | change | ms: sign | verify | journal | publish | all but the journal | one in a hundred | a second | \
         knotd |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for zone in list(change, "denials")? {
        for row in list(zone, "one_by_one")? {
            writeln!(
                inside,
                "| {} | {}{} | {} |",
                text(&zone["denial"]),
                text(&row["change"]),
                whole(&row["as_whole"]),
                cells(row).join(" | "),
            )?;
        }
    }
    inside.push('\n');
    for zone in list(change, "denials")? {
        let line = format!("- {}: {}.", text(&zone["denial"]), together(&zone["together"]));
        inside.push_str(&wrapped(&line));
    }
    inside.push('\n');
    inside.push_str(&wrapped(&files(&change["files"])));
    inside.push('\n');
    inside.push_str(&wrapped(&flooded(&change["flooded"])));
    CHANGE.fill(document, &inside)
}

/// Milliseconds of the steps, of all of them but the journal and of the slowest of a hundred such; changes a second, and
/// knotd's.
fn cells(row: &Value) -> [String; 8] {
    let ms = |value: f64| format!("{value:.2}");
    let [sign, verify, journal, publish, without] =
        ["sign_ms", "verify_ms", "journal_ms", "publish_ms", "without_journal_ms"]
            .map(|step| ms(median(&row[step])));
    let p99 = ms(number(&row["without_journal_ms"]["p99"]));
    let [own, knotd] = ["per_second", "knotd_per_second"].map(|rate| grouped(number(&row[rate])));
    [sign, verify, journal, publish, without, p99, own, knotd]
}

/// What many changes in one difference take.
fn together(together: &Value) -> String {
    let ms = |step: &str| number(&together[step]);
    format!(
        "{} changes in one difference, ms: sign {:.0}, verify {:.0}, journal {:.0}, publish {:.0}{}",
        grouped(number(&together["changes"])),
        ms("sign_ms"),
        ms("verify_ms"),
        ms("journal_ms"),
        ms("publish_ms"),
        whole(&together["as_whole"]),
    )
}

/// What was measured, and how.
fn conditions(change: &Value) -> String {
    format!(
        "A change of a signed zone of {} delegations, half of them with DS, ECDSAP256SHA256: {} changes one after the \
         other, each on the disk and in the kernel's maps before the next; medians. \"All but the journal\": from the \
         difference in hand to the last store, without the journal and its fsync, which stand beside it. knotd: dynamic \
         updates over UDP on loopback, one after the other, with a journal on the same disk. Load average {} before, {} \
         after.",
        grouped(number(&change["names"])),
        grouped(number(&change["changes"])),
        change["load_average"]["before"],
        change["load_average"]["after"],
    )
}

/// How many changes sealdns makes in the time of one of knotd's.
fn lead(row: &Value) -> f64 {
    number(&row["per_second"]) / number(&row["knotd_per_second"])
}

/// Why something was published as a whole, if it was.
fn whole(reasons: &Value) -> String {
    let reason = match reasons {
        Value::Array(reasons) => reasons.first().and_then(Value::as_str),
        reason => reason.as_str(),
    };
    reason.map_or(String::new(), |reason| format!(", AS A WHOLE: {reason}"))
}

/// What a flood notices of one change a second.
fn flooded(flooded: &Value) -> String {
    let [quiet, changing] = ["quiet", "changing"].map(|part| &flooded[part]);
    let rate = |part: &Value| grouped(median(&part["answers_per_second"]));
    format!(
        "A flood of questions for the DS RRset of any delegation, {} s without changes and as long with one change a second \
         (signed, verified and published on the server's core), in turns: {} answers a second without, {} with, {:.3} times \
         as many; NOERROR {:.4} % and {:.4} % of them.",
        grouped(number(&flooded["seconds"])),
        rate(quiet),
        rate(changing),
        number(&flooded["throughput"]),
        median(&quiet["noerror"]) * 100.0,
        median(&changing["noerror"]) * 100.0,
    )
}

/// What the daemon takes over a file.
fn files(files: &Value) -> String {
    let records = number(&files["records"]);
    let octets = |field: &str| number(&files[field]) / 1_048_576.0;
    let read = median(&files["read_s"]);
    format!(
        "The daemon, NSEC, {} records in the file: first start {:.1} s until it answers (knotd {:.1} s), peak {} MiB, then {} \
         MiB of its own; start with what was kept {:.1} s, peak {} MiB. Reading the file {read:.2} s; reload with one line \
         changed {:.2} s, {:.2} times as long; without a change {:.2} s.",
        grouped(records),
        number(&files["start_s"]),
        number(&files["knotd_start_s"]),
        grouped(octets("peak_octets")),
        grouped(octets("resident_octets")),
        number(&files["restart_s"]),
        grouped(octets("restart_peak_octets")),
        median(&files["reload_s"]),
        median(&files["reload_s"]) / read,
        median(&files["reload_unchanged_s"]),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_of_changes_stand_between_their_marks() {
        let row = json!({ "change": "a name added", "as_whole": [], "per_second": 1500.0 });
        let zone = json!({ "denial": "NSEC", "one_by_one": [row], "together": { "changes": 100 } });
        let figures =
            json!({ "change": { "names": 5, "changes": 2, "denials": [zone], "files": {} } });
        let (before, _) = include_str!("../../../docs/figures.md")
            .split_once("<!-- figures of changes")
            .expect("the document has marks");
        let new = with_figures(include_str!("../../../docs/figures.md"), &figures).expect("marks");
        assert!(new.starts_with(before) && new.contains("| NSEC | a name added |"), "{new}");
        assert!(new.contains("| 1,500 | - |\n"), "{new}");
        assert_eq!(with_figures(&new, &figures).expect("marks"), new);
        assert!(with_figures("no marks", &figures).is_err());
    }

    #[test]
    fn the_lead_and_the_first_reason_are_told() {
        let row = json!({ "per_second": 30.0, "knotd_per_second": 10.0, "as_whole": ["a", "b"] });
        assert_eq!((lead(&row), whole(&row["as_whole"])), (3.0, ", AS A WHOLE: a".into()));
        assert_eq!([whole(&json!([])), whole(&Value::Null)], [String::new(), String::new()]);
    }
}
