//! The eBPF object in the kernel: its maps in the sizes asked for, its programs verified.

use std::io;
use std::sync::Arc;

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, ProgramArray};
use aya::programs::{Program, ProgramError, ProgramFd, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use xdp_common::limit::Limited;
use xdp_common::maps::{self, Verdicts};

use super::memory::{ConfigMap, Mapping, Size, Value};
use super::object::{NoObject, object};

/// Counters of one CPU, or their sums: [`maps::Stats`] as words.
pub type Counters = [u64; size_of::<maps::Stats>() / size_of::<u64>()];

/// Lines of the verifier's log that are shown: the last ones say what it refused.
const LOG_LINES: usize = 6;

/// What the programs need of the kernel, and the version that first had it.
const NEEDS: [((u32, u32), &str); 4] = [
    ((5, 3), "bounded loops in programs"),
    ((5, 5), "arrays that can be mapped into memory"),
    ((5, 8), "growing a packet at its tail"),
    ((5, 9), "links of XDP programs, which detach by themselves and can be replaced"),
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
        "the verifier of kernel {release} refuses the program \"{program}\" ({source}); please report \
         this with the kernel's version. It said:\n{log}"
    )]
    Refused {
        /// The program's name.
        program: String,
        /// As the kernel says.
        release: String,
        /// What the system said.
        source: io::Error,
        /// The end of its log.
        log: String,
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

/// The object, loaded: programs that may be attached, and the maps they share with us.
pub struct Loaded {
    ebpf: Ebpf,
    // The kernel empties a program array when its last file descriptor is closed.
    _programs: ProgramArray<MapData>,
    /// Those of TCX, once they are loaded.
    tcx_programs: Option<ProgramArray<MapData>>,
    memory: Arc<Mapping>,
    /// What the programs are told.
    pub config: ConfigMap,
}

impl Loaded {
    /// Makes the maps and verifies the programs.
    pub fn new(size: Size) -> Result<Loaded, LoadError> {
        let object = object()?;
        check_kernel(&release())?;
        let chunks = u32::try_from(size.slab / maps::CHUNK_LEN);
        let (Ok(chunks), Ok(buckets)) = (chunks, u32::try_from(size.buckets)) else {
            return Err(LoadError::NoMemory { octets: size.octets().unwrap_or(usize::MAX) });
        };
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(maps::SLAB, chunks)
            .map_max_entries(maps::TABLE, buckets)
            .load(object)
            .map_err(|error| explain(error, size))?;
        let (slab, table) = (array(&ebpf, maps::SLAB)?, array(&ebpf, maps::TABLE)?);
        let memory = Mapping::of_maps(slab.fd(), table.fd(), size)
            .map_err(|source| LoadError::Mapping { map: maps::SLAB, source })?;
        let config = ConfigMap::new(array(&ebpf, maps::CONFIG)?.fd())
            .map_err(|source| LoadError::Mapping { map: maps::CONFIG, source })?;
        let programs = load_all::<Xdp>(&mut ebpf, maps::PROGRAMS, "")?;
        let memory = Arc::new(memory);
        Ok(Loaded { ebpf, _programs: programs, tcx_programs: None, memory, config })
    }

    /// The slab and the table.
    pub fn memory(&self) -> Arc<Mapping> {
        Arc::clone(&self.memory)
    }

    /// The program that packets come to first.
    pub fn entry(&mut self) -> Result<&mut Xdp, LoadError> {
        program(&mut self.ebpf, maps::ENTRY_PROGRAM)
    }

    /// The program that socket buffers come to first. It and those it calls are verified when they are
    /// asked for first: few devices need them.
    pub fn tcx_entry(&mut self) -> Result<&mut SchedClassifier, LoadError> {
        if self.tcx_programs.is_none() {
            let (array, prefix) = (maps::TCX_PROGRAMS, maps::TCX_PREFIX);
            self.tcx_programs = Some(load_all::<SchedClassifier>(&mut self.ebpf, array, prefix)?);
        }
        program(&mut self.ebpf, maps::TCX_ENTRY_PROGRAM)
    }

    /// A map by its name, to be written.
    pub fn map_mut(&mut self, name: &str) -> Result<&mut Map, LoadError> {
        self.ebpf.map_mut(name).ok_or_else(|| lacks("map", name))
    }

    /// What the limiter decided on a hook, summed over all CPUs.
    pub fn verdicts(&self, hook: u32) -> Result<Verdicts, MapError> {
        let map = self.ebpf.map(maps::VERDICTS).ok_or(MapError::KeyNotFound)?;
        let verdicts = PerCpuArray::<_, Value<Verdicts>>::try_from(map)?;
        let mut sums = Verdicts::default();
        for Value(cpu) in verdicts.get(&hook, 0)?.iter() {
            sums.add(cpu);
        }
        Ok(sums)
    }

    /// The netblocks that are, or were, limited.
    pub fn limited(&self) -> Result<Vec<Limited>, MapError> {
        let map = self.ebpf.map(maps::LIMITED).ok_or(MapError::KeyNotFound)?;
        let entries = Array::<_, Value<Limited>>::try_from(map)?;
        let read: Result<Vec<_>, _> = entries.iter().collect();
        let used = read?.into_iter().map(|Value(entry)| entry).filter(|entry| entry.votes != 0);
        Ok(used.collect())
    }

    /// The counters of a hook (its place in [`maps::STATS`]), summed over all CPUs.
    pub fn counters(&self, hook: u32) -> Result<Counters, MapError> {
        let map = self.ebpf.map(maps::STATS).ok_or(MapError::KeyNotFound)?;
        let stats = PerCpuArray::<_, Counters>::try_from(map)?;
        let mut sums = [0; _];
        for cpu in stats.get(&hook, 0)?.iter() {
            add(&mut sums, cpu);
        }
        Ok(sums)
    }
}

/// Adds counters to others.
pub fn add(sums: &mut Counters, counters: &Counters) {
    for (sum, count) in sums.iter_mut().zip(counters) {
        *sum = sum.wrapping_add(*count);
    }
}

fn array<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData, LoadError> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => Ok(map),
        _ => Err(lacks("map", name)),
    }
}

/// Has all programs of a hook verified, whose names begin with `prefix`; gives the array of those that are
/// called at the end of others.
fn load_all<P: Verify>(
    ebpf: &mut Ebpf,
    array: &str,
    prefix: &str,
) -> Result<ProgramArray<MapData>, LoadError>
where
    for<'a> &'a mut P: TryFrom<&'a mut Program>,
{
    let map = ebpf.take_map(array).ok_or_else(|| lacks("map", array))?;
    let mut programs = ProgramArray::try_from(map).map_err(other)?;
    for (name, place) in maps::TAIL_PROGRAMS {
        let program = load::<P>(ebpf, &format!("{prefix}{name}"))?;
        programs.set(place, program.fd().map_err(other)?, 0).map_err(other)?;
    }
    load::<P>(ebpf, &format!("{prefix}{}", maps::ENTRY_PROGRAM))?;
    Ok(programs)
}

/// A program of the kinds that there are.
trait Verify {
    /// Has the kernel verify it.
    fn verify(&mut self) -> Result<(), ProgramError>;

    /// The kernel's handle on it, once it is verified.
    fn fd(&self) -> Result<&ProgramFd, ProgramError>;
}

impl Verify for Xdp {
    fn verify(&mut self) -> Result<(), ProgramError> {
        self.load()
    }

    fn fd(&self) -> Result<&ProgramFd, ProgramError> {
        self.fd()
    }
}

impl Verify for SchedClassifier {
    fn verify(&mut self) -> Result<(), ProgramError> {
        self.load()
    }

    fn fd(&self) -> Result<&ProgramFd, ProgramError> {
        self.fd()
    }
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| lacks("program", name))?;
    program.try_into().map_err(|_| lacks("program", name))
}

fn load<'a, P: Verify>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    let program: &mut P = program(ebpf, name)?;
    match program.verify() {
        Ok(()) => Ok(program),
        Err(ProgramError::LoadError { io_error, verifier_log }) => {
            let log = verifier_log.to_string();
            // Without the right to load, the verifier is not even asked.
            if is_permission(&io_error) && log.trim().is_empty() {
                return Err(LoadError::Permission);
            }
            let (program, release) = (name.to_owned(), release());
            Err(LoadError::Refused { program, release, source: io_error, log: end_of(&log) })
        }
        Err(error) => Err(other(error)),
    }
}

/// The last lines of a verifier's log, without its statistics.
fn end_of(log: &str) -> String {
    let is_telling = |line: &&str| {
        let line = line.trim();
        !line.is_empty()
            && !["processed ", "verification time", "stack depth"]
                .iter()
                .any(|start| line.starts_with(start))
    };
    let mut lines: Vec<&str> = log.lines().rev().filter(is_telling).take(LOG_LINES).collect();
    lines.reverse();
    lines.join("\n")
}

fn explain(error: EbpfError, size: Size) -> LoadError {
    let EbpfError::MapError(MapError::CreateError { io_error, .. }) = &error else {
        return other(error);
    };
    if is_permission(io_error) {
        return LoadError::Permission;
    }
    match io_error.raw_os_error() {
        Some(libc::ENOMEM | libc::E2BIG) => {
            LoadError::NoMemory { octets: size.octets().unwrap_or(usize::MAX) }
        }
        _ => other(error),
    }
}

fn is_permission(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

fn other(error: impl Into<EbpfError>) -> LoadError {
    LoadError::Object(error.into())
}

fn lacks(what: &str, name: &str) -> LoadError {
    LoadError::Lacks(format!("{what} \"{name}\""))
}

/// The kernel's version in its own words.
fn release() -> String {
    let release = nix::sys::utsname::uname();
    release.map_or_else(|_| "unknown".into(), |name| name.release().to_string_lossy().into_owned())
}

/// Says what a kernel lacks. One whose version cannot be read is given the chance to say it itself.
fn check_kernel(release: &str) -> Result<(), LoadError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Ok(());
    };
    let missing = NEEDS.iter().filter(|(since, _)| (major, minor) < *since);
    let missing: Vec<&str> = missing.map(|(_, what)| *what).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(LoadError::OldKernel { release: release.to_owned(), lacks: missing.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_told_what_they_lack() {
        for release in ["5.9.0", "5.15.0-91-generic", "6.18.44", "10.0", "strange"] {
            assert!(check_kernel(release).is_ok(), "{release}");
        }
        let told = check_kernel("5.4.0-150-generic").unwrap_err().to_string();
        assert_eq!(
            told,
            "XDP needs Linux 5.9 or later; this is 5.4.0-150-generic, which lacks: arrays that can \
             be mapped into memory; growing a packet at its tail; links of XDP programs, which \
             detach by themselves and can be replaced"
        );
        assert!(check_kernel("4.19.1").unwrap_err().to_string().contains("bounded loops"));
    }

    #[test]
    fn of_the_verifier_s_log_the_end_is_shown() {
        let log = "0: R1=ctx()\n1: r0 = 1\n2: r0 = *(u8 *)(r3 +0)\n\
                   invalid access to packet, off=0 size=1, R3(id=2,off=0,r=0)\n\
                   R3 offset is outside of the packet\nverification time 9 usec\nstack depth 0\n\
                   processed 3 insns (limit 1000000) max_states_per_insn 0\n\n";
        let shown = end_of(log);
        assert!(shown.ends_with("R3 offset is outside of the packet"), "{shown}");
        assert_eq!(shown.lines().count(), 5);
    }
}
