//! `sealdns cache explain`.

use std::net::IpAddr;

use clap::Args;
use serde_json::Value;
use xdp_common::dns::MAX_PAYLOAD;

use super::super::output::{CommandResult, Exit, Output, cell, table};
use super::super::{Global, PATIENCE};
use super::lookup::pieces_table;
use crate::control::protocol::{Asked, Request};

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
    let request = Request::CacheExplain(Asked {
        name: args.name.clone(),
        rtype: args.rtype.clone(),
        dnssec_ok: !args.no_do,
        payload: args.bufsize,
        tcp: args.tcp,
        from: args.from,
    });
    let explained = global.call(&request, PATIENCE)?;
    let differs = explained["kernel"]["agrees"] == false;
    output.data(explained, text);
    Ok(if differs { Exit::Problems } else { Exit::Ok })
}

fn text(explained: &Value) -> String {
    let stages = explained["stages"].as_array().into_iter().flatten();
    let stages = stages.map(|stage| vec![cell(&stage["stage"]), cell(&stage["found"])]);
    let mut text = table(&["stage", "found"], stages);
    text.push_str(&pieces_table("section", &explained["pieces"], "section"));
    let bounds = explained["bounds"].as_array().into_iter().flatten();
    let bounds = bounds.filter(|bound| bound["needed"] != 0).map(|bound| {
        let exceeded = bound["needed"].as_u64() > bound["limit"].as_u64();
        let exceeded = if exceeded { "exceeded" } else { "" };
        vec![cell(&bound["bound"]), cell(&bound["needed"]), cell(&bound["limit"]), exceeded.into()]
    });
    text.push_str(&table(&["bound", "needed", "of", ""], bounds));
    let (outcome, fate) = (cell(&explained["outcome"]), cell(&explained["fate"]));
    let octets = match &explained["response_octets"] {
        Value::Null => String::new(),
        octets => format!(", {} octets", cell(octets)),
    };
    text.push_str(&format!("XDP: {outcome}, {fate}{octets}\n"));
    let kernel = &explained["kernel"];
    text.push_str(&match (&kernel["tried"], &kernel["agrees"]) {
        (Value::Bool(true), Value::Bool(true)) => "tried in the kernel: the same\n".to_owned(),
        (Value::Bool(true), _) => {
            format!("tried in the kernel, and it differs: {}\n", cell(&kernel["differences"]))
        }
        _ => format!("not tried in the kernel: {}\n", cell(&kernel["why"])),
    });
    if fate == "passed up" {
        let daemon = &explained["daemon"];
        let (outcome, octets) = (cell(&daemon["outcome"]), cell(&daemon["response_octets"]));
        text.push_str(&format!("the daemon's engine: {outcome}, {octets} octets\n"));
    }
    text
}
