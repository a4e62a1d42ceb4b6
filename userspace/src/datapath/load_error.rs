//! Why programs could not be loaded.

use std::io;

use aya::EbpfError;

use super::object::NoObject;

/// What the programs need of the kernel, and the version that first had it. The last is the oldest that works: its
/// verifier, and those of newer kernels, look at every program in `cargo xtask matrix`.
pub(super) const NEEDS: [((u32, u32), &str); 6] = [
    ((5, 3), "bounded loops in programs"),
    ((5, 5), "arrays that can be mapped into memory"),
    ((5, 8), "growing a packet at its tail"),
    ((5, 9), "links of XDP programs, which detach by themselves and can be replaced"),
    ((5, 12), "atomic instructions that return a value"),
    ((6, 1), "a verifier that follows these programs"),
];

/// Why the programs could not be loaded, in words for an operator.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no object.
    #[error(transparent)]
    NoObject(#[from] NoObject),
    /// The kernel lacks something.
    #[error(
        "XDP needs Linux {}.{} or later; this is {release}, which lacks: {lacks}",
        NEEDS[NEEDS.len() - 1].0.0, NEEDS[NEEDS.len() - 1].0.1
    )]
    OldKernel {
        /// As the kernel says.
        release: String,
        /// What it lacks.
        lacks: String,
    },
    /// Not allowed.
    #[error(
        "the kernel does not let this process load XDP programs: start it as root, or with the \
         capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN). A \
         daemon that gives them up (`user` in [server]) loads programs only when it starts, if \
         [xdp] names `interfaces`"
    )]
    Permission,
    /// Too little memory.
    #[error("the kernel has no {} MiB of memory for the maps: lower `memory` in [xdp]", octets >> 20)]
    NoMemory {
        /// What was asked for.
        octets: usize,
    },
    /// The verifier refused a program.
    #[error(
        "the verifier of kernel {release} refuses the program \"{program}\", which is worth a report: {reason}"
    )]
    Refused {
        /// The program's name.
        program: String,
        /// As the kernel says.
        release: String,
        /// What the system said.
        source: io::Error,
        /// What it refused, in its own words.
        reason: String,
    },
    /// The object is not the one this binary was made for.
    #[error("the eBPF object has no {0}: build it again with `cargo xtask build`")]
    Lacks(String),
    /// A map could not be mapped into memory.
    #[error("mapping the map {map} into memory: {source}")]
    Mapping {
        /// Its name.
        map: &'static str,
        /// What the system said.
        source: nix::errno::Errno,
    },
    /// Anything else.
    #[error("loading the XDP programs: {0}")]
    Object(#[source] EbpfError),
}

pub(super) fn other(error: impl Into<EbpfError>) -> LoadError {
    LoadError::Object(error.into())
}

pub(super) fn lacks(what: &str, name: &str) -> LoadError {
    LoadError::Lacks(format!("{what} \"{name}\""))
}
