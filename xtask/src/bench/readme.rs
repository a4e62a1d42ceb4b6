//! The figures in `docs/figures.md` and the short table in the README: in each file, everything between two marks.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::tables::{
    cost, cost_of, grouped, lead, list, median, mixes, number, ratio, rows, two_cores, waits,
};

/// Where all figures stand, from the root of the repository.
pub const FIGURES: &str = "docs/figures.md";
/// Where a few of them stand.
pub const README: &str = "README.md";
/// Where the picture lies: beside the figures.
pub const PICTURE: &str = "docs/cost.svg";
/// The picture's address as seen from the figures.
const PICTURE_LINK: &str = "cost.svg";

/// Characters of a line.
const LINE: usize = 118;

/// Two lines between which text is generated.
pub(super) struct Marks {
    file: &'static str,
    begin: &'static str,
    end: &'static str,
}

const ALL: Marks = Marks {
    file: FIGURES,
    begin: "<!-- figures: made by `cargo xtask bench --readme` -->\n",
    end: "<!-- end of figures -->\n",
};
const SHORT: Marks = Marks {
    file: README,
    begin: "<!-- short figures: made by `cargo xtask bench --readme` -->\n",
    end: "<!-- end of short figures -->\n",
};

/// What a change costs: measured by itself more often than the rest.
pub(super) const CHANGE: Marks = Marks {
    file: FIGURES,
    begin: "<!-- figures of changes: made by `cargo xtask bench change --readme` -->\n",
    end: "<!-- end of figures of changes -->\n",
};

impl Marks {
    /// The text with `inside` between the marks instead of what stands there.
    pub(super) fn fill(&self, text: &str, inside: &str) -> Result<String> {
        let Self { file, begin, end } = self;
        let lacks = || format!("{file} lacks the mark {} or {}", begin.trim(), end.trim());
        let (before, rest) = text.split_once(begin).with_context(lacks)?;
        let (_, after) = rest.split_once(end).with_context(lacks)?;
        Ok(format!("{before}{begin}{inside}{end}{after}"))
    }
}

/// The text of `docs/figures.md` with all figures.
pub fn with_figures(document: &str, figures: &Value) -> Result<String> {
    for part in ["run", "flood", "sign"] {
        ensure!(!figures[part].is_null(), "{FIGURES} shows all parts, and {part} was not measured");
    }
    let [run, flood, sign] = ["run", "flood", "sign"].map(|part| &figures[part]);
    let parts = [
        flood_figures(&figures["machine"], flood, &figures["versions"])?,
        run_figures(run)?,
        sign_figures(sign, &figures["versions"])?,
    ];
    ALL.fill(document, &parts.join("\n"))
}

/// The text of the README with the short table: what an answer takes, beside the peers.
pub fn with_short_figures(readme: &str, figures: &Value) -> Result<String> {
    let (flood, versions) = (&figures["flood"], &figures["versions"]);
    let mixes = mixes(flood)?;
    let mut inside = wrapped(&takeaway(figures, &mixes)?);
    inside.push_str("\n| CPU time of an answer | XDP_TX reflector | sealdns |");
    for (_, peer, program, way) in PEERS {
        write!(inside, " {peer} {}{way} |", version(versions, program))?;
    }
    writeln!(inside, "\n|---|---|---|{}", "---|".repeat(PEERS.len()))?;
    for mix in mixes {
        let rows = rows(flood, mix)?;
        write!(inside, "| {mix} |")?;
        for target in ["reflector", "sealdns"] {
            let cost = cost_of(&rows, target, AT)
                .map_or("void".into(), |ns| format!("{} ns", grouped(ns)));
            write!(inside, " {cost} |")?;
        }
        for (target, ..) in PEERS {
            write!(inside, " {} times |", ratio(&rows, target, "sealdns", AT))?;
        }
        inside.push('\n');
    }
    SHORT.fill(readme, &inside)
}

/// The rate at which the short table compares: not in a flood, where servers lose queries.
const AT: &str = "below_knee";

/// What sealdns is compared with in the short table: the target, its name, the program that tells its version, and
/// what is special.
const PEERS: [(&str, &str, &str, &str); 3] = [
    ("knotd-xdp", "Knot DNS", "knotd", ", AF_XDP"),
    ("knotd", "Knot DNS", "knotd", ""),
    ("nsd", "NSD", "nsd", ""),
];

/// What the short table says, in a paragraph.
fn takeaway(figures: &Value, mixes: &[&str]) -> Result<String> {
    let flood = &figures["flood"];
    // Of the mixes that XDP answers whole.
    let mut by_xdp = Vec::new();
    for mix in mixes {
        let rows = rows(flood, mix)?;
        if rows.iter().any(|row| row["target"] == "sealdns" && number(&row["by_xdp"]) >= 0.995) {
            by_xdp.push(rows);
        }
    }
    let times = |target: &str, to: &str| {
        let of = |rows: &Vec<&Value>| Some(cost_of(rows, target, AT)? / cost_of(rows, to, AT)?);
        let all = || by_xdp.iter().filter_map(of);
        let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
        if most > 0.0 { format!("{least:.1} to {most:.1}") } else { "void".into() }
    };
    Ok(format!(
        "**An answer out of XDP takes {} times what a program takes that sends the packet back unread. For queries from \
         the wire, Knot DNS takes {} times the CPU time of sealdns where it has AF_XDP sockets, and {} times where it \
         has UDP sockets; NSD takes {} times.** Per CPU second, sealdns makes {:.1} times as many signatures as the \
         best of three other signers. CPU time of the server per answer at 80 % of the highest rate that it answers, on {}, over veth:",
        times("sealdns", "reflector"),
        times("knotd-xdp", "sealdns"),
        times("knotd", "sealdns"),
        times("nsd", "sealdns"),
        lead(&figures["sign"])?,
        machine(&figures["machine"]),
    ))
}

/// The version that a program told of itself when it was measured.
fn version<'a>(versions: &'a Value, program: &str) -> &'a str {
    versions[program].as_str().unwrap_or("of unknown version")
}

/// Programs and their versions, in a sentence.
fn versions_of(versions: &Value, programs: &[&str]) -> String {
    let all: Vec<String> = programs
        .iter()
        .map(|program| format!("{program} {}", version(versions, program)))
        .collect();
    format!("Versions: {}.", all.join(", "))
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

/// A paragraph, or an item of a list, in lines of these documents' length.
pub(super) fn wrapped(text: &str) -> String {
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

fn flood_figures(on: &Value, flood: &Value, versions: &Value) -> Result<String> {
    let mixes = mixes(flood)?;
    let mut text = format!("![CPU time of an answer, by server]({PICTURE_LINK})\n\n");
    let caption = format!(
        "Run time of the server's threads and of its device's NAPI thread, per answer: at 80 % of the \
         highest rate of which 98 % is answered, and in brackets in a flood of all that the generator \
         sends. All serve the same signed zones (ECDSA P-256, NSEC; DO=1, EDNS 1232), one worker on one \
         core, with priority over NAPI; the generator has the other core. Medians of {} rounds on {}, over veth; {}. On veth knotd's \
         AF_XDP sockets copy each frame, which flatters sealdns; a card can do without. Equal questions \
         got replies of equal size unless it says void. \"From sockets\": packets as programs send them over veth, \
         one query in each; most of them leave XDP no room for the answer, and TCX gives it; there the client's end puts off interrupts for \
         20 µs, so that nobody pays for waking it with each answer, as sockets do in the other rows. \"TCX alone\": \
         mode = \"tcx\", without XDP. {}",
        flood["rounds"],
        machine(on),
        load(flood),
        versions_of(versions, &["knotd", "nsd"]),
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

fn sign_figures(sign: &Value, versions: &Value) -> Result<String> {
    let caption = format!(
        "Signing, from zone file to zone file: {} names, NSEC, ECDSA P-256, all cores; medians of {}; {}. \
         sealdns makes {:.1} times the signatures of the best other per CPU second. {}",
        grouped(number(&sign["names"])),
        sign["rounds"],
        load(sign),
        lead(sign)?,
        versions_of(versions, &["ldns-signzone", "dnssec-signzone", "kzonesign"]),
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

    /// A document that has nothing but marks with something between them.
    fn empty(marks: &Marks) -> String {
        format!("before\n{}old\n{}after\n", marks.begin, marks.end)
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        type Write = fn(&str, &Value) -> Result<String>;
        let cases: [(&Marks, Write, &str, &str); 2] = [
            (&ALL, with_figures, "![CPU", "| hot | 1,234 (1,234) | 1,234 (1,234) |"),
            (
                &SHORT,
                with_short_figures,
                "**An answer",
                "| hot | void | 1,234 ns | void times | void times | 1.0 times |",
            ),
        ];
        for (marks, write, first, row) in cases {
            let new = write(&empty(marks), &figures(None)).expect("marks");
            let start = format!("before\n{}{first}", marks.begin);
            assert!(new.starts_with(&start) && new.ends_with("after\n"), "{new}");
            assert!(new.contains(row) && !new.contains("old"), "{new}");
            assert_eq!(write(&new, &figures(None)).expect("marks"), new);
            let error = write("no marks", &figures(None)).expect_err("no marks").to_string();
            assert!(error.starts_with(marks.file), "{error}");
        }
    }

    #[test]
    fn void_figures_are_not_shown() {
        let new = with_figures(&empty(&ALL), &figures(Some("unlike"))).expect("marks");
        assert!(new.contains("| hot | 1,234 (1,234) | void: unlike |"), "{new}");
        assert!(new.contains("and nsd void (void) times"), "{new}");
        let new = with_short_figures(&empty(&SHORT), &figures(Some("unlike"))).expect("marks");
        assert!(new.contains("| void times | void times |\n"), "{new}");
        assert!(new.contains("NSD takes void times.**"), "{new}");
    }

    #[test]
    fn versions_of_peers_are_shown_as_they_were_measured() {
        let mut figures = figures(None);
        let new = with_short_figures(&empty(&SHORT), &figures).expect("marks");
        assert!(new.contains("| NSD of unknown version |"), "{new}");
        figures["versions"] = json!({ "nsd": "4.6.1", "knotd": "3.2.6" });
        let new = with_short_figures(&empty(&SHORT), &figures).expect("marks");
        assert!(new.contains("| Knot DNS 3.2.6, AF_XDP | Knot DNS 3.2.6 | NSD 4.6.1 |"), "{new}");
    }
}
