//! The figures as tables on the terminal, and how they read in print.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::change;

/// Prints a part of the figures.
type Print = fn(&Value) -> Result<()>;

/// Prints what there is.
pub fn print(figures: &Value) -> Result<()> {
    let parts: [(&str, Print); 4] =
        [("run", run), ("flood", flood), ("sign", sign), ("change", change::print)];
    for (word, print) in parts {
        if !figures[word].is_null() {
            println!();
            print(&figures[word])?;
        }
    }
    Ok(())
}

//----------- Numbers --------------------------------------------------------------------------------

/// A number; not a number if it is something else.
pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// The median of a figure.
pub fn median(figure: &Value) -> f64 {
    number(&figure["median"])
}

/// Rounded, with commas between thousands.
pub fn grouped(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A figure's least and greatest value.
fn range(figure: &Value) -> String {
    format!("{}-{}", grouped(number(&figure["min"])), grouped(number(&figure["max"])))
}

/// The text of a value; empty if it has none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A list of the figures.
pub fn list<'a>(figures: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    figures[name].as_array().with_context(|| format!("the figures lack {name:?}"))
}

//----------- Flood ----------------------------------------------------------------------------------

/// The mixes in the order in which they were asked.
pub fn mixes(flood: &Value) -> Result<Vec<&str>> {
    let mut mixes: Vec<&str> = list(flood, "rows")?.iter().map(|row| text(&row["mix"])).collect();
    mixes.dedup();
    Ok(mixes)
}

/// The rows of a mix.
pub fn rows<'a>(flood: &'a Value, mix: &str) -> Result<Vec<&'a Value>> {
    Ok(list(flood, "rows")?.iter().filter(|row| row["mix"] == mix).collect())
}

/// CPU time of an answer in nanoseconds, in a flood or below the knee.
pub fn cost(row: &Value, when: &str) -> f64 {
    median(&row[when]["cpu_ns_per_answer"])
}

/// CPU time of an answer of one target in nanoseconds, if it can be compared.
pub fn cost_of(rows: &[&Value], target: &str, when: &str) -> Option<f64> {
    let row = rows.iter().find(|row| row["target"] == target && row["void"].is_null())?;
    Some(cost(row, when))
}

/// The cost of one target as a multiple of another's, in words; void if either cannot be compared.
pub fn ratio(rows: &[&Value], target: &str, to: &str, when: &str) -> String {
    let of = |word: &str| cost_of(rows, word, when);
    of(target).zip(of(to)).map_or("void".into(), |(one, other)| format!("{:.1}", one / other))
}

fn flood(flood: &Value) -> Result<()> {
    for mix in mixes(flood)? {
        println!(
            "{mix:24} {:>9} {:>9} {:>8} {:>13} {:>6}  {:>9} {:>8} {:>13} {:>6} {:>6} {:>5} {:>5}",
            "flood q/s",
            "answers/s",
            "CPU ns",
            "min-max",
            "x refl",
            "knee q/s",
            "CPU ns",
            "min-max",
            "x refl",
            "octets",
            "XDP",
            "TCX"
        );
        let rows = rows(flood, mix)?;
        for row in &rows {
            let [in_flood, below_knee] = [&row["flood"], &row["below_knee"]];
            let of_reflector = |when| ratio(&rows, text(&row["target"]), "reflector", when);
            let bound = row["knee"]["is_generator_bound"].as_bool().unwrap_or_default();
            println!(
                "  {:22} {:>9} {:>9} {:>8} {:>13} {:>6} {:>1}{:>9} {:>8} {:>13} {:>6} {:>6.0} {:>4.0}% {:>4.0}%",
                text(&row["title"]),
                grouped(median(&in_flood["asked_per_second"])),
                grouped(median(&in_flood["answers_per_second"])),
                grouped(cost(row, "flood")),
                range(&in_flood["cpu_ns_per_answer"]),
                of_reflector("flood"),
                if bound { ">" } else { "" },
                grouped(median(&row["knee"]["queries_per_second"])),
                grouped(cost(row, "below_knee")),
                range(&below_knee["cpu_ns_per_answer"]),
                of_reflector("below_knee"),
                number(&row["reply_octets"]),
                number(&row["by_xdp"]) * 100.0,
                number(&row["by_tcx"]) * 100.0,
            );
        }
        for row in &rows {
            println!("  {:22} {}", text(&row["title"]), character(row));
        }
        for own in ["sealdns", "sealdns-tcx"] {
            for peer in ["knotd-xdp", "knotd", "nsd"] {
                let times = |when| ratio(&rows, peer, own, when);
                println!(
                    "  {peer} takes {} times what {own} takes in a flood, {} times at 80 % of the knee",
                    times("flood"),
                    times("below_knee"),
                );
            }
        }
        println!();
    }
    println!(
        "CPU ns: run time of the server's threads and of its device's NAPI thread per answer, in a flood \
         and at 80 % of the knee\n(the highest rate of which 98 % is answered; >: all that the \
         generator sends). Medians of {} rounds; the large zone has {} names.\nXDP, TCX: shares \
         of the answers that these sent; the rest came from sockets. AF_XDP copies on veth, which \
         flatters sealdns.\nServers have priority \
         over NAPI, which has it over everything else. Load average {} before, {} after.",
        flood["rounds"],
        grouped(number(&flood["names"])),
        flood["load_average"]["before"],
        flood["load_average"]["after"],
    );
    Ok(())
}

/// What the answers of a row were like.
fn character(row: &Value) -> String {
    let percent = |value: &Value| format!("{:.1} %", number(value) * 100.0);
    let rcodes = row["rcodes"].as_object().into_iter().flatten();
    let rcodes: Vec<String> =
        rcodes.map(|(rcode, share)| format!("{} RCODE {rcode}", percent(share))).collect();
    let void = row["void"].as_str().map_or(String::new(), |why| format!("; VOID: {why}"));
    format!(
        "{}, {} with answers, {} TC; takes {} of its core in a flood; {} answered at 80 % of the knee{void}",
        rcodes.join(", "),
        percent(&row["with_answers"]),
        percent(&row["truncated"]),
        percent(&row["flood"]["core_used"]["median"]),
        percent(&row["below_knee"]["answered"]["median"]),
    )
}

//----------- Run ------------------------------------------------------------------------------------

fn run(run: &Value) -> Result<()> {
    println!(
        "{:28} {:>8} {:>6} {:>8} {:>13} {:>9}",
        "question", "names", "reply", "net ns", "min-max", "wrapper"
    );
    for row in list(run, "cases")? {
        let reply =
            row["reply_octets"].as_u64().map_or("-".to_owned(), |octets| octets.to_string());
        println!(
            "{:28} {:>8} {reply:>6} {:>8.0} {:>13} {:>9.0}",
            text(&row["case"]),
            row["names"].as_u64().unwrap_or_default().max(1),
            median(&row["net_ns"]),
            range(&row["net_ns"]),
            median(&row["wrapper_ns"]),
        );
    }
    println!(
        "\nMedians of {} rounds of {} runs; less the wrapper (an empty program included), and less \
         {:.0} ns where it makes the reply as short as the query again. Load average {}.",
        run["rounds"],
        run["repeat"],
        median(&run["shrink_ns"]),
        run["load_average"],
    );
    println!(
        "Reply: octets of the frame. Of each question one reply was compared with the engine's on the \
         host, and 1000 were counted.\n{}\n{}",
        two_cores(run)?,
        waits(run),
    );
    Ok(())
}

/// How much more two cores answer than one when queries come from a million netblocks.
pub fn two_cores(run: &Value) -> Result<String> {
    let gain = |row: &Value| {
        let [median, min, max] = ["median", "min", "max"].map(|of| number(&row["gain"][of]));
        format!("{median:.2} times as much ({min:.2} to {max:.2}) for \"{}\"", text(&row["case"]))
    };
    let rows = list(run, "two_cores")?;
    let gains: Vec<String> = rows.iter().map(gain).collect();
    let lines: Vec<String> =
        rows.iter().map(|row| format!("{:.0}", median(&row["line_ns"]))).collect();
    Ok(format!(
        "Two cores at once answer, beside one alone, {}. Meanwhile a cache line took {} ns from one core to the \
         other: a virtual machine's cores may be moved apart, and then accounts that both change cost more.",
        gains.join(", "),
        lines.join(", "),
    ))
}

/// What no program can save of the cost of a name that is in no cache.
pub fn waits(run: &Value) -> String {
    let waits = &run["waits"];
    let mebibytes = |octets: &Value| grouped(number(octets) / 1_048_576.0);
    format!(
        "This machine waits {:.0} ns for one cache line at random of {} MiB (the table's size) and then \
         {:.0} ns for {} neighbouring ones of {} MiB (the slab's): what is asked at random costs that much \
         more than what is hot, on any program that looks a name up and reads its record.",
        median(&waits["table_ns"]),
        mebibytes(&waits["table_octets"]),
        median(&waits["record_ns"]),
        waits["record_lines"],
        mebibytes(&waits["slab_octets"]),
    )
}

//----------- Sign -----------------------------------------------------------------------------------

/// By how much sealdns makes more signatures per CPU second than the best of the others.
pub fn lead(sign: &Value) -> Result<f64> {
    let rate = |signer: &Value| median(&signer["signatures_per_cpu_second"]);
    let (own, others): (Vec<&Value>, Vec<&Value>) =
        list(sign, "signers")?.iter().partition(|signer| signer["signer"] == "sealdns");
    let own = own.first().map_or(f64::NAN, |signer| rate(signer));
    Ok(own / others.into_iter().map(rate).fold(f64::NAN, f64::max))
}

fn sign(sign: &Value) -> Result<()> {
    println!(
        "{:18} {:>10} {:>10} {:>15} {:>8} {:>8} {:>9}",
        "signer", "signatures", "sig/CPU s", "min-max", "CPU s", "wall s", "peak MiB"
    );
    for row in list(sign, "signers")? {
        println!(
            "{:18} {:>10} {:>10} {:>15} {:>8.2} {:>8.2} {:>9.0}",
            text(&row["signer"]),
            grouped(number(&row["signatures"])),
            grouped(median(&row["signatures_per_cpu_second"])),
            range(&row["signatures_per_cpu_second"]),
            median(&row["cpu_seconds"]),
            median(&row["wall_seconds"]),
            median(&row["peak_mib"]),
        );
    }
    println!(
        "\nsealdns makes {:.2} times the signatures of the best other per CPU second. From zone file to \
         zone file, {} names with NSEC,\nECDSAP256SHA256, the whole command's user and system time; \
         medians of {} rounds. Load average {} before, {} after.",
        lead(sign)?,
        grouped(number(&sign["names"])),
        sign["rounds"],
        sign["load_average"]["before"],
        sign["load_average"]["after"],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0.4), "0");
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(f64::NAN), "-");
    }

    #[test]
    fn the_lead_is_over_the_best_other() {
        let signer = |name: &str, rate: f64| {
            json!({
                "signer": name, "signatures_per_cpu_second": { "median": rate },
            })
        };
        let figures =
            json!({ "signers": [signer("a", 10.0), signer("sealdns", 30.0), signer("b", 20.0)] });
        assert_eq!(lead(&figures).expect("a lead"), 1.5);
    }
}
