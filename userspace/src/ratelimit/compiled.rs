//! What is limited, as the decisions need it: which policy counts for a name, what is exempt and blocked.
//!
//! The daemon's sockets decide by it, and so does a capture that is replayed: so both say the same. XDP has it in
//! its maps.

use std::collections::BTreeMap;

use xdp_common::Outcome;
use xdp_common::limit::decide::{self, Client, Limiter, PlannedResponse, weight};
use xdp_common::limit::list::NameListing;
use xdp_common::limit::policy::Circumstances;
use xdp_common::limit::response_key::ResponseKey;
use xdp_common::limit::{ListEntry, Policy, Rules, Verdict};
use xdp_common::maps::limits;
use xdp_common::state::LimitState;

use super::limits::{Block, Limits, Prefixes, longest};
use crate::zone::{Name, name};

/// What is limited, compiled.
#[derive(Default)]
pub struct CompiledLimits {
    bits: u32,
    /// The default policy, and those of names in their order.
    policies: Vec<Policy>,
    rules: Vec<Rules>,
    /// Names with a policy, and its place.
    places: BTreeMap<Name, u32>,
    exempt: Prefixes,
    block: Prefixes,
    block_names: BTreeMap<Name, Block>,
}

/// A response that may be sent.
pub struct Response<'a> {
    /// The lower-case name of the question.
    pub qname: &'a [u8],
    /// What it counts as.
    pub key: ResponseKey,
    /// Its octets.
    pub octets: usize,
    /// Those of the query.
    pub query_octets: usize,
    /// The client has shown a valid cookie: only blocks count.
    pub is_vouched_for: bool,
}

impl CompiledLimits {
    /// As this says. `qps` is how many queries a second come, for policies that are scaled by it.
    pub fn new(limits: &Limits, qps: u64) -> CompiledLimits {
        let policies = [&limits.policy].into_iter().chain(limits.overrides.values());
        let mut compiled = CompiledLimits {
            bits: limits.bits(),
            policies: policies.copied().collect(),
            rules: Vec::new(),
            places: limits.overrides.keys().cloned().zip(1..).collect(),
            exempt: limits.exempt_prefixes(),
            block: limits.blocked_prefixes(),
            block_names: limits.block_names.clone(),
        };
        compiled.scale(qps);
        compiled
    }

    /// Scales the policies by so many queries a second.
    pub fn scale(&mut self, qps: u64) {
        // The clock of the host does not tick.
        let circumstances = Circumstances { tick_ns: 0, qps };
        self.rules = self.policies.iter().map(|policy| Rules::new(policy, circumstances)).collect();
    }

    /// What there is to look at: bits of [`limits`].
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// A policy by its place.
    pub fn rules(&self, place: u32) -> Option<&Rules> {
        self.rules.get(place as usize)
    }

    /// The longest exempt prefix of an address.
    pub fn exempt(&self, source: [u64; 2]) -> Option<ListEntry> {
        longest(&self.exempt, source)
    }

    /// The longest blocked prefix of an address.
    pub fn block(&self, source: [u64; 2]) -> Option<ListEntry> {
        longest(&self.block, source)
    }

    /// Decides whether a response is sent to who was taken on: by the blocks of its name, and by the policy of
    /// the longest name above it. `limiter` has the accounts.
    pub fn respond(
        &self,
        limiter: &impl Limiter,
        client: &Client,
        response: &Response<'_>,
        state: &mut LimitState,
    ) -> Result<Verdict, Outcome> {
        let listed = self.listed(response.qname, limiter.now_s());
        let said = || {
            Ok(PlannedResponse {
                class: response.key.class as usize,
                name: response.key.name,
                weight: weight(response.octets, response.query_octets),
                policy: listed.policy,
            })
        };
        let is_vouched_for = response.is_vouched_for;
        let verdict = decide::decide(limiter, client, listed, is_vouched_for, said, state)?;
        decide::charge_amplification(limiter, client, state);
        Ok(verdict)
    }

    /// What is listed for a lower-case name: any block above it, the policy of the longest name.
    fn listed(&self, qname: &[u8], now_s: u64) -> NameListing {
        let mut listed = NameListing { block: 0, policy: 0 };
        if self.bits & limits::NAMES == 0 {
            return listed;
        }
        let mut suffix = Some(qname);
        while let Some(wire) = suffix {
            suffix = name::parent(wire);
            let Some(name) = Name::from_wire(wire) else { break };
            if let Some(block) = self.block_names.get(&name)
                && block.entry().holds(now_s)
            {
                listed.block |= block.entry().flags;
            }
            if listed.policy == 0
                && let Some(place) = self.places.get(&name)
            {
                listed.policy = *place;
            }
        }
        listed
    }
}
