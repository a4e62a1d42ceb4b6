//! `sealdns cache lookup`.

use clap::Args;
use serde_json::Value;

use super::super::output::{CommandResult, Exit, Output, cell, table, time_cell};
use super::super::{Global, PATIENCE};
use crate::control::protocol::Request;

/// Arguments of `cache lookup`.
#[derive(Args, Debug)]
pub struct LookupArgs {
    /// The name
    #[arg(value_name = "NAME")]
    name: String,
    /// The type that matters [default: all that the name has]
    #[arg(value_name = "TYPE")]
    rtype: Option<String>,
}

/// Does it.
pub fn run(args: &LookupArgs, global: &Global, output: &Output) -> CommandResult {
    let request = Request::CacheLookup { name: args.name.clone(), rtype: args.rtype.clone() };
    let found = global.call(&request, PATIENCE)?;
    output.data(found, |found| {
        let mut text = String::new();
        if found["zone"].is_null() {
            text.push_str("no zone of this daemon encloses the name\n");
        }
        let nodes = found["nodes"].as_array().into_iter().flatten();
        for (head, node) in nodes
            .map(|node| ("", node))
            .chain([("closest encloser ", &found["closest_encloser"])])
            .chain([("wildcard ", &found["wildcard"])])
            .filter(|(_, node)| !node.is_null())
        {
            text.push_str(head);
            text.push_str(&node_text(node));
        }
        text
    });
    Ok(Exit::Ok)
}

fn node_text(node: &Value) -> String {
    let target = match &node["target"] {
        Value::Null => String::new(),
        target => format!(", leads to {}", cell(target)),
    };
    format!(
        "{}: {}, serial {}, node of {} octets at {}{target}\n{}",
        cell(&node["name"]),
        cell(&node["kind"]),
        cell(&node["serial"]),
        cell(&node["octets"]),
        cell(&node["address"]),
        pieces_table("part", &node["pieces"], "part"),
    )
}

/// Pieces as a table, the first column as told.
pub fn pieces_table(head: &str, pieces: &Value, column: &str) -> String {
    let heads = [head, "owner", "types", "ttl", "records", "octets", "expires", "address", ""];
    let pieces = pieces.as_array().into_iter().flatten();
    table(
        &heads,
        pieces.map(|piece| {
            let both = |field: &str| {
                let [plain, all] = [0, 1].map(|at| cell(&piece[field][at]));
                if plain == all { all } else { format!("{plain}, DO {all}") }
            };
            let problem = match &piece["problem"] {
                Value::Null => String::new(),
                problem => cell(problem),
            };
            vec![
                cell(&piece[column]),
                cell(&piece["owner"]),
                cell(&piece["types"]),
                cell(&piece["ttl"]),
                both("records"),
                both("octets"),
                time_cell(&piece["not_after"]),
                cell(&piece["address"]),
                problem,
            ]
        }),
    )
}
