//! What is shown at the end: a column for each kernel.

use std::collections::BTreeMap;

use serde_json::Value;

/// The width of a column.
const WIDTH: usize = 30;

/// Instructions that each verifier processed, program by program.
pub fn print_verified(columns: &[Value]) {
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (place, column) in columns.iter().enumerate() {
        let programs = column["programs"].as_object().into_iter().flatten();
        let accepted =
            programs.map(|(name, figures)| (name, figures["instructions_processed"].to_string()));
        let refused = column["refused"].as_object().into_iter().flatten();
        let refused = refused.map(|(name, _)| (name, "refused".to_owned()));
        for (name, text) in accepted.chain(refused) {
            let row = rows.entry(name).or_insert_with(|| vec![String::new(); columns.len()]);
            row[place] = text;
        }
    }
    let kernels: Vec<&str> =
        columns.iter().map(|column| column["kernel"].as_str().unwrap_or_default()).collect();
    println!();
    println!("{}", line("instructions", "", &kernels));
    for (name, cells) in rows {
        println!("{}", line(name, "", &cells));
    }
}

/// What came of the passes, in the order in which they were made.
#[derive(Default)]
pub struct Rounds {
    kernels: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    device: String,
    pass: String,
    /// By kernel.
    cells: BTreeMap<String, String>,
}

impl Rounds {
    /// Adds what came of a pass.
    pub fn add(&mut self, device: &str, pass: &str, kernel: &str, came: &Value) {
        if self.kernels.iter().all(|one| one != kernel) {
            self.kernels.push(kernel.to_owned());
        }
        let place = self.rows.iter().position(|row| row.device == device && row.pass == pass);
        let place = place.unwrap_or_else(|| {
            let row = Row { device: device.into(), pass: pass.into(), cells: BTreeMap::new() };
            self.rows.push(row);
            self.rows.len() - 1
        });
        self.rows[place].cells.insert(kernel.to_owned(), cell(came));
    }
}

/// What came of a pass, in short.
fn cell(came: &Value) -> String {
    if let Some(faults) = came["faults"].as_array().filter(|faults| !faults.is_empty()) {
        return format!("FAULTS: {}", faults.len());
    }
    if came["refused"].is_string() {
        return "refused, as it must be".into();
    }
    if let Some(why) = came["none"].as_str() {
        return why.into();
    }
    let count = |who: &str, word: &str| {
        let count = came[who].as_u64().filter(|count| *count > 0)?;
        Some(format!("{word} {count}"))
    };
    let counts = [count("xdp", "XDP"), count("tcx", "TCX"), count("daemon", "daemon")];
    counts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Prints who answered how many of the questions; that all answers were the daemon's, octet by octet, is why a cell
/// has no fault.
pub fn print_rounds(rounds: &Rounds) {
    if rounds.rows.is_empty() {
        return;
    }
    println!();
    println!("{}", line("device", "pass", &rounds.kernels));
    for row in &rounds.rows {
        let cells =
            rounds.kernels.iter().map(|kernel| row.cells.get(kernel).map_or("", String::as_str));
        println!("{}", line(&row.device, &row.pass, &cells.collect::<Vec<_>>()));
    }
    println!();
}

fn line(name: &str, more: &str, cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<String> =
        cells.iter().map(|cell| format!("{:>WIDTH$}", cell.as_ref())).collect();
    format!("{name:12} {more:18}{}", cells.concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_tells_who_answered_or_what_is_wrong() {
        assert_eq!(
            cell(&json!({ "xdp": 3, "tcx": 0, "daemon": 1, "faults": [] })),
            "XDP 3, daemon 1"
        );
        assert_eq!(cell(&json!({ "xdp": 3, "faults": ["lost"] })), "FAULTS: 1");
        assert_eq!(cell(&json!({ "refused": "no TCX" })), "refused, as it must be");
        assert_eq!(cell(&json!({ "none": "no such flag" })), "no such flag");
    }

    #[test]
    fn a_pass_has_one_row_for_all_kernels() {
        let mut rounds = Rounds::default();
        for kernel in ["6.1", "6.12"] {
            for pass in ["native", "auto"] {
                rounds.add("igb", pass, kernel, &json!({ "xdp": 1 }));
            }
        }
        assert_eq!((rounds.rows.len(), rounds.kernels.len()), (2, 2));
        assert_eq!(rounds.rows[1].cells["6.12"], "XDP 1");
    }
}
