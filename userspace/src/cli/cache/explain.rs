//! `sealdns cache explain`.

use std::net::IpAddr;

use clap::Args;
use xdp_common::dns::MAX_PAYLOAD;

use super::super::output::{CommandResult, Exit, Output, list_cell, table};
use super::super::{Global, PATIENCE};
use super::lookup::pieces_table;
use crate::control::protocol::{ExplainQuery, Request};
use crate::control::reply::cache::{CacheExplain, Fate, KernelTrial};
use crate::observe::word::Word as _;

/// Arguments of `cache explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The name
    #[arg(value_name = "NAME")]
    name: String,
    /// The type
    #[arg(value_name = "TYPE", default_value = "A")]
    rtype: String,
    /// Ask for DNSSEC records, as is the default
    #[arg(long = "do", overrides_with = "no_do")]
    with_do: bool,
    /// Ask for no DNSSEC records
    #[arg(long)]
    no_do: bool,
    /// The payload size that the client announces in octets; 0 for a client without EDNS
    #[arg(long, value_name = "OCTETS", default_value_t = MAX_PAYLOAD)]
    bufsize: u16,
    /// Ask over TCP
    #[arg(long)]
    tcp: bool,
    /// The client's address [default: one for documentation]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
}

/// Does it.
pub fn run(args: &ExplainArgs, global: &Global, output: &Output) -> CommandResult {
    let request = Request::CacheExplain(ExplainQuery {
        name: args.name.clone(),
        rtype: args.rtype.clone(),
        dnssec_ok: !args.no_do,
        payload: args.bufsize,
        tcp: args.tcp,
        from: args.from,
    });
    let explained: CacheExplain = global.call(&request, PATIENCE)?;
    output.data(&explained, text);
    Ok(exit(&explained.kernel))
}

fn exit(kernel: &KernelTrial) -> Exit {
    match kernel {
        KernelTrial::Tried { differences, .. } if !differences.is_empty() => Exit::Problems,
        _ => Exit::Ok,
    }
}

fn text(explained: &CacheExplain) -> String {
    let stages = explained.stages.iter();
    let stages = stages.map(|stage| vec![stage.stage.clone(), stage.found.clone()]);
    let mut text = table(&["stage", "found"], stages);
    let pieces = explained.pieces.iter().map(|piece| (&piece.section, &piece.piece));
    text.push_str(&pieces_table("section", pieces));
    let bounds = explained.bounds.iter().filter(|bound| bound.needed != 0).map(|bound| {
        let exceeded = if bound.needed > bound.limit { "exceeded" } else { "" };
        let numbers = [bound.needed, bound.limit].map(|number| number.to_string());
        [vec![bound.bound.clone()], numbers.to_vec(), vec![exceeded.to_owned()]].concat()
    });
    text.push_str(&table(&["bound", "needed", "of", ""], bounds));
    let octets = explained.response_octets;
    let octets = octets.map_or_else(String::new, |octets| format!(", {octets} octets"));
    let (outcome, fate) = (explained.outcome.word(), explained.fate.word());
    text.push_str(&format!("XDP: {outcome}, {fate}{octets}\n"));
    text.push_str(&match &explained.kernel {
        KernelTrial::NotTried { why } => format!("not tried in the kernel: {why}\n"),
        KernelTrial::Tried { differences, .. } if differences.is_empty() => {
            "tried in the kernel: the same\n".to_owned()
        }
        KernelTrial::Tried { differences, .. } => {
            format!("tried in the kernel, and it differs: {}\n", list_cell(differences))
        }
    });
    if explained.fate == Fate::PassedUp {
        let daemon = &explained.daemon;
        let (outcome, octets) = (daemon.outcome.word(), daemon.response_octets);
        text.push_str(&format!("the daemon's engine: {outcome}, {octets} octets\n"));
    }
    text
}
