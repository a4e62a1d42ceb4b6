//! `sealdns cache verify`.

use serde_json::Value;

use super::super::output::{CommandResult, Exit, Output, cell, table};
use super::super::xdp::rows;
use super::super::{Global, RELOAD_PATIENCE};
use crate::control::protocol::Request;

/// Does it.
pub fn run(zone: Option<&str>, global: &Global, output: &Output) -> CommandResult {
    let request = Request::CacheVerify { zone: zone.map(str::to_owned) };
    let found = global.call(&request, RELOAD_PATIENCE)?;
    let exit = exit(&found);
    output.data(found, |found| {
        let columns = ["name", "part", "problem"];
        let mut text = table(&columns, rows(&found["problems"], &columns));
        if !is_empty(found, "unfinished") {
            text.push_str(&format!(
                "changed meanwhile, or not published: {}\n",
                cell(&found["unfinished"])
            ));
        }
        text.push_str(&format!(
            "{} zones, {} names, {} pieces, {} RRsets with valid signatures: {} problems\n",
            cell(&found["zones"]),
            cell(&found["names"]),
            cell(&found["pieces"]),
            cell(&found["signed_rrsets"]),
            found["problems"].as_array().map_or(0, Vec::len),
        ));
        text
    });
    Ok(exit)
}

fn is_empty(found: &Value, field: &str) -> bool {
    found[field].as_array().is_none_or(Vec::is_empty)
}

fn exit(found: &Value) -> Exit {
    match (is_empty(found, "problems"), is_empty(found, "unfinished")) {
        (false, _) => Exit::Problems,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Ok,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn problems_are_what_counts() {
        let problem = json!([{ "name": "a.", "part": "A", "problem": "wrong" }]);
        for (problems, unfinished, expected) in [
            (json!([]), json!([]), Exit::Ok),
            (json!([]), json!(["a."]), Exit::Failed),
            (problem.clone(), json!([]), Exit::Problems),
            (problem, json!(["a."]), Exit::Problems),
        ] {
            let found = json!({ "problems": problems, "unfinished": unfinished });
            assert_eq!(exit(&found), expected);
        }
    }
}
