//! The figures in the README: everything between two marks.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::tables::{
    cost, grouped, lead, list, median, mixes, number, ratio, rows, two_cores, waits,
};

/// Where the picture lies, from the root of the repository.
pub const PICTURE: &str = "docs/cost.svg";

/// Characters of a line.
const LINE: usize = 118;

const BEGIN: &str = "<!-- figures: made by `cargo xtask bench --readme` -->\n";
const END: &str = "<!-- end of figures -->\n";

/// The README with other figures.
pub fn with_figures(text: &str, figures: &Value) -> Result<String> {
    let marks = || format!("README.md lacks the mark {} or {}", BEGIN.trim(), END.trim());
    let (before, rest) = text.split_once(BEGIN).with_context(marks)?;
    let (_, after) = rest.split_once(END).with_context(marks)?;
    for part in ["run", "flood", "sign"] {
        ensure!(
            !figures[part].is_null(),
            "the README shows all parts, and {part} was not measured"
        );
    }
    let [run, flood, sign] = ["run", "flood", "sign"].map(|part| &figures[part]);
    let parts =
        [flood_figures(&figures["machine"], flood)?, run_figures(run)?, sign_figures(sign)?];
    Ok(format!("{before}{BEGIN}{}{END}{after}", parts.join("\n")))
}

fn machine(machine: &Value) -> String {
    format!(
        "a {} of {} cores ({}), Linux {}",
        if machine["is_virtual"] == true { "virtual machine" } else { "machine" },
        machine["cores"],
        machine["processor"].as_str().unwrap_or("unknown processor"),
        machine["kernel"].as_str().unwrap_or_default().split('-').next().unwrap_or_default(),
    )
}

fn load(part: &Value) -> String {
    let [before, after] = ["before", "after"].map(|when| number(&part["load_average"][when]));
    format!("load average {before:.1} before, {after:.1} after")
}

/// A paragraph, or an item of a list, in lines of the README's length.
fn wrapped(text: &str) -> String {
    let indent = if text.starts_with("- ") { "  " } else { "" };
    let (mut all, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if line.trim().is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() > LINE {
            all.push_str(&line);
            all.push('\n');
            line = format!("{indent}{word}");
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    all + &line + "\n"
}

fn flood_figures(on: &Value, flood: &Value) -> Result<String> {
    let mixes = mixes(flood)?;
    let mut text = format!("![CPU time of an answer, by server]({PICTURE})\n\n");
    let caption = format!(
        "Run time of the server's threads and of its device's NAPI thread, per answer: at 80 % of the \
         highest rate of which 98 % is answered, and in brackets in a flood of all that the generator \
         sends. All serve the same signed zones (ECDSA P-256, NSEC; DO=1, EDNS 1232), one worker on one \
         core, with priority over NAPI; the generator has the other core. Medians of {} rounds on {}, over veth; {}. On veth knotd's \
         AF_XDP sockets copy each frame, which flatters sealdns; a card can do without. Equal questions \
         got replies of equal size unless it says void. \"From sockets\": packets as programs send them over veth, \
         one query in each; most of them leave XDP no room for the answer, and TCX gives it; there the client's end puts off interrupts for \
         20 µs, so that nobody pays for waking it with each answer, as sockets do in the other rows. \"TCX alone\": \
         mode = \"tcx\", without XDP.",
        flood["rounds"],
        machine(on),
        load(flood),
    );
    text.push_str(&wrapped(&caption));
    text.push('\n');
    let first = rows(flood, mixes.first().context("no mixes")?)?;
    text.push_str("| CPU ns per answer |");
    for row in &first {
        write!(text, " {} |", row["title"].as_str().unwrap_or_default())?;
    }
    writeln!(text, "\n|---|{}", "---|".repeat(first.len()))?;
    for mix in &mixes {
        write!(text, "| {mix} |")?;
        for row in rows(flood, mix)? {
            match row["void"].as_str() {
                Some(why) => write!(text, " void: {why} |")?,
                None => {
                    let [knee, flood] =
                        ["below_knee", "flood"].map(|when| grouped(cost(row, when)));
                    write!(text, " {knee} ({flood}) |")?;
                }
            }
        }
        text.push('\n');
    }
    text.push('\n');
    for mix in &mixes {
        let rows = rows(flood, mix)?;
        let own = rows.iter().find(|row| row["target"] == "sealdns").context("no sealdns")?;
        let times = |to: &str, other: &str| {
            let [knee, flood] = ["below_knee", "flood"].map(|when| ratio(&rows, to, other, when));
            format!("{knee} ({flood})")
        };
        let line = format!(
            "- {mix}: {}; sealdns takes {} times the reflector's time, knotd with AF_XDP {}, \
             knotd {} and nsd {} times that of sealdns, and {} and {} times that of TCX alone.",
            who_answers(own),
            times("sealdns", "reflector"),
            times("knotd-xdp", "sealdns"),
            times("knotd", "sealdns"),
            times("nsd", "sealdns"),
            times("knotd", "sealdns-tcx"),
            times("nsd", "sealdns-tcx"),
        );
        text.push_str(&wrapped(&line));
    }
    Ok(text)
}

/// By which programs sealdns answered.
fn who_answers(own: &Value) -> String {
    let [xdp, tcx] = ["by_xdp", "by_tcx"].map(|by| number(&own[by]) * 100.0);
    let shares = [("XDP", xdp), ("TCX", tcx)].into_iter().filter(|(_, share)| *share >= 0.5);
    let shares: Vec<String> =
        shares.map(|(hook, share)| format!("{hook} answers {share:.0} %")).collect();
    shares.join(", ")
}

fn run_figures(run: &Value) -> Result<String> {
    let mut text = format!(
        "`BPF_PROG_TEST_RUN` of the real programs, less the empty program; medians of {}, load average \
         {:.1}:\n\n| query | names | reply frame, octets | ns |\n|---|---|---|---|\n",
        run["rounds"],
        number(&run["load_average"]),
    );
    for case in list(run, "cases")? {
        let reply =
            case["reply_octets"].as_u64().map_or(String::new(), |octets| octets.to_string());
        writeln!(
            text,
            "| {} | {} | {reply} | {} |",
            case["case"].as_str().unwrap_or_default(),
            grouped(number(&case["names"]).max(1.0)),
            grouped(median(&case["net_ns"])),
        )?;
    }
    text.push('\n');
    text.push_str(&wrapped(&two_cores(run)?));
    text.push_str(&wrapped(&waits(run)));
    Ok(text)
}

fn sign_figures(sign: &Value) -> Result<String> {
    let caption = format!(
        "Signing, from zone file to zone file: {} names, NSEC, ECDSA P-256, all cores; medians of {}; {}. \
         sealdns makes {:.1} times the signatures of the best other per CPU second.",
        grouped(number(&sign["names"])),
        sign["rounds"],
        load(sign),
        lead(sign)?,
    );
    let mut text = wrapped(&caption);
    text.push_str(
        "\n| signer | signatures | per CPU second | wall s | peak MiB |\n|---|---|---|---|---|\n",
    );
    for row in list(sign, "signers")? {
        writeln!(
            text,
            "| {} | {} | {} | {:.1} | {} |",
            row["signer"].as_str().unwrap_or_default(),
            grouped(number(&row["signatures"])),
            grouped(median(&row["signatures_per_cpu_second"])),
            median(&row["wall_seconds"]),
            grouped(median(&row["peak_mib"])),
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures(void: Option<&str>) -> Value {
        let cost = json!({ "cpu_ns_per_answer": { "median": 1234.0 } });
        let row = |target: &str, void: Option<&str>| {
            json!({
                "mix": "hot", "target": target, "title": target, "void": void,
                "flood": cost, "below_knee": cost, "by_xdp": 1.0, "by_tcx": 0.0,
            })
        };
        json!({
            "machine": {}, "run": { "cases": [], "two_cores": [] }, "sign": { "signers": [] },
            "flood": { "rows": [row("sealdns", None), row("nsd", void)] },
        })
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        let new = with_figures(&text, &figures(None)).expect("marks");
        assert!(
            new.starts_with(&format!("before\n{BEGIN}![")) && new.ends_with("after\n"),
            "{new}"
        );
        assert!(new.contains("| hot | 1,234 (1,234) | 1,234 (1,234) |") && !new.contains("old"));
        assert_eq!(with_figures(&new, &figures(None)).expect("marks"), new);
        assert!(with_figures("no marks", &figures(None)).is_err());
    }

    #[test]
    fn void_figures_are_not_shown() {
        let text = format!("{BEGIN}{END}");
        let new = with_figures(&text, &figures(Some("unlike"))).expect("marks");
        assert!(new.contains("| hot | 1,234 (1,234) | void: unlike |"), "{new}");
        assert!(new.contains("and nsd void (void) times"), "{new}");
    }
}
