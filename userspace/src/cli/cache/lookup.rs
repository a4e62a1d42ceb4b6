//! `sealdns cache lookup`.

use clap::Args;

use super::super::output::{CommandResult, Exit, Output, cell, table, time_cell};
use super::super::{Global, PATIENCE};
use crate::compile::inspect::lookup::{NodeView, PieceView};
use crate::control::protocol::Request;
use crate::control::reply::cache::CacheLookup;

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
    let lookup: CacheLookup = global.call(&request, PATIENCE)?;
    output.data(&lookup, text);
    Ok(Exit::Ok)
}

fn text(lookup: &CacheLookup) -> String {
    let mut text = String::new();
    if lookup.zone.is_none() {
        text.push_str("no zone of this daemon encloses the name\n");
    }
    let found = &lookup.found;
    let nodes = found.nodes.iter().map(|node| ("", node));
    let encloser = found.closest_encloser.iter().map(|node| ("closest encloser ", node));
    let wildcard = found.wildcard.iter().map(|node| ("wildcard ", node));
    for (head, node) in nodes.chain(encloser).chain(wildcard) {
        text.push_str(head);
        text.push_str(&node_text(node));
    }
    text
}

fn node_text(node: &NodeView) -> String {
    let target = node.target.as_ref();
    let target = target.map_or_else(String::new, |target| format!(", leads to {target}"));
    format!(
        "{}: {}, serial {}, node of {} octets at {}{target}\n{}",
        node.name,
        node.kind,
        cell(node.serial),
        node.octets,
        node.address,
        pieces_table("part", node.pieces.iter().map(|piece| (&piece.part, piece))),
    )
}

/// Pieces as a table, each with what stands in the first column.
pub fn pieces_table<'a>(
    head: &str,
    pieces: impl Iterator<Item = (&'a String, &'a PieceView)>,
) -> String {
    let heads = [head, "owner", "types", "ttl", "records", "octets", "expires", "address", ""];
    let both = |[plain, all]: [usize; 2]| {
        if plain == all { all.to_string() } else { format!("{plain}, DO {all}") }
    };
    let rows = pieces.map(|(first, piece)| {
        vec![
            first.clone(),
            piece.owner.clone(),
            piece.types.clone(),
            piece.ttl.to_string(),
            both(piece.records),
            both(piece.octets),
            time_cell(piece.not_after),
            piece.address.to_string(),
            piece.problem.clone().unwrap_or_default(),
        ]
    });
    table(&heads, rows)
}
