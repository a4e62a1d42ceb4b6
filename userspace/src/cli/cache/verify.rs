//! `sealdns cache verify`.

use super::super::output::{CommandResult, Exit, Output, list_cell, table};
use super::super::{Global, RELOAD_PATIENCE};
use crate::control::protocol::Request;
use crate::control::reply::cache::CacheVerify;

/// Does it.
pub fn run(zone: Option<&str>, global: &Global, output: &Output) -> CommandResult {
    let request = Request::CacheVerify { zone: zone.map(str::to_owned) };
    let verified: CacheVerify = global.call(&request, RELOAD_PATIENCE)?;
    output.data(&verified, text);
    Ok(exit(&verified))
}

fn text(verified: &CacheVerify) -> String {
    let found = &verified.found;
    let rows = found
        .problems
        .iter()
        .map(|problem| vec![problem.name.clone(), problem.part.clone(), problem.problem.clone()]);
    let mut text = table(&["name", "part", "problem"], rows);
    if !verified.unfinished.is_empty() {
        let unfinished = list_cell(&verified.unfinished);
        text.push_str(&format!("changed meanwhile, or not published: {unfinished}\n"));
    }
    text.push_str(&format!(
        "{} zones, {} names, {} pieces, {} RRsets with valid signatures: {} problems\n",
        verified.zones,
        found.names,
        found.pieces,
        found.signed_rrsets,
        found.problems.len(),
    ));
    text
}

fn exit(verified: &CacheVerify) -> Exit {
    match (verified.found.problems.is_empty(), verified.unfinished.is_empty()) {
        (false, _) => Exit::Problems,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::inspect::verify::{Findings, Problem};

    #[test]
    fn problems_are_what_counts() {
        let problem = Problem { name: "a.".into(), part: "A".into(), problem: "wrong".into() };
        for (problems, unfinished, expected) in [
            (vec![], vec![], Exit::Ok),
            (vec![], vec!["a.".to_owned()], Exit::Failed),
            (vec![problem.clone()], vec![], Exit::Problems),
            (vec![problem], vec!["a.".to_owned()], Exit::Problems),
        ] {
            let found = Findings { problems, ..Findings::default() };
            let verified = CacheVerify { zones: 1, unfinished, found };
            assert_eq!(exit(&verified), expected);
        }
    }
}
