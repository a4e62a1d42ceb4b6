//! The eBPF object in the kernel: its maps in the sizes asked for, its programs verified.

use std::borrow::Borrow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, ProgramArray};
use aya::programs::{
    Program, ProgramError, ProgramFd, SchedClassifier, TestRun as _, TestRunOptions, Xdp,
};
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use xdp_common::limit::Limited;
use xdp_common::limit::amplified::Amplified;
use xdp_common::maps::{self, Clock, Verdicts};

use super::load_error::{LoadError, NEEDS, lacks, other};
use super::memory::{ConfigMap, EdnsSettingsMap, Mapping, Size, Value};
use super::object::object;
use super::tracing::Tracing;

/// Counters of one CPU, or their sums: [`maps::Stats`] as words.
pub type Counters = [u64; STATS_WORDS];

/// Counters of all hooks, by their places in [`maps::STATS`].
pub type HookCounters = [Counters; maps::COUNTERS_COUNT as usize];

const STATS_WORDS: usize = size_of::<maps::Stats>() / size_of::<u64>();
const META_WORDS: usize = size_of::<maps::Meta>() / size_of::<u64>();

/// Lines of the verifier's reason that are shown: the access, and what it knows of the register.
const REASON_LINES: usize = 3;

/// Octets of the largest frame that goes back: two VLAN tags, IPv6, UDP, and the largest payload.
const LARGEST_REPLY: usize = 2048;

/// Where packets come to programs: each hook has programs of its own, which are verified when they are asked
/// for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramSet {
    /// XDP.
    Xdp,
    /// TCX.
    Tcx,
}

impl ProgramSet {
    /// The place of its counters in [`maps::STATS`].
    pub fn counters(self) -> u32 {
        match self {
            ProgramSet::Xdp => maps::XDP_COUNTERS,
            ProgramSet::Tcx => maps::TCX_COUNTERS,
        }
    }
}

/// The object, loaded: programs that may be attached, and the maps they share with us.
pub struct LoadedPrograms {
    // It keeps the maps open: the kernel empties a program array that is neither open nor pinned.
    ebpf: Ebpf,
    has_xdp: bool,
    has_tcx: bool,
    /// The hooks whose programs that trace are verified.
    traced: Vec<ProgramSet>,
    /// Whether those are the ones to attach.
    is_tracing: bool,
    tracing: Arc<Tracing>,
    memory: Arc<Mapping>,
    /// What the programs are told.
    pub config: ConfigMap,
    /// How they present the server.
    pub edns_settings: EdnsSettingsMap,
}

impl LoadedPrograms {
    /// Makes the maps. ProgramSet are verified when they are asked for, those of a hook together: a device that
    /// TCX alone answers needs none for XDP, and a kernel without TCX none for that.
    pub fn new(size: Size) -> Result<LoadedPrograms, LoadError> {
        LoadedPrograms::of(object()?, size)
    }

    /// As [`LoadedPrograms::new`], of this object.
    pub fn of(object: &[u8], size: Size) -> Result<LoadedPrograms, LoadError> {
        check_kernel(&release())?;
        let chunks = u32::try_from(size.slab / maps::CHUNK_LEN);
        let (Ok(chunks), Ok(buckets)) = (chunks, u32::try_from(size.buckets)) else {
            return Err(LoadError::NoMemory { octets: size.octets().unwrap_or(usize::MAX) });
        };
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(maps::SLAB, chunks)
            .map_max_entries(maps::TABLE, buckets)
            // Of a refusal the reason is left, and not each instruction: those overflow the buffer.
            .verifier_log_level(VerifierLogLevel::STATS)
            .load(object)
            .map_err(|error| explain(error, size))?;
        let (slab, table) = (array(&ebpf, maps::SLAB)?, array(&ebpf, maps::TABLE)?);
        let memory = Mapping::of_maps(slab.fd(), table.fd(), size)
            .map_err(|source| LoadError::Mapping { map: maps::SLAB, source })?;
        let config = ConfigMap::new(array(&ebpf, maps::CONFIG)?.fd())
            .map_err(|source| LoadError::Mapping { map: maps::CONFIG, source })?;
        let edns_settings = EdnsSettingsMap::new(array(&ebpf, maps::EDNS_SETTINGS)?.fd())
            .map_err(|source| LoadError::Mapping { map: maps::EDNS_SETTINGS, source })?;
        let memory = Arc::new(memory);
        let tracing = Arc::new(Tracing::of(&mut ebpf)?);
        let mut loaded = LoadedPrograms {
            ebpf,
            has_xdp: false,
            has_tcx: false,
            traced: Vec::new(),
            is_tracing: false,
            tracing,
            memory,
            config,
            edns_settings,
        };
        loaded.carry(&[[0; _]; _]).map_err(other)?;
        Ok(loaded)
    }

    /// The slab and the table.
    pub fn memory(&self) -> Arc<Mapping> {
        Arc::clone(&self.memory)
    }

    /// The program that packets come to first, or the one that traces in its place. It and those it calls are verified
    /// when they are asked for first.
    pub fn entry(&mut self) -> Result<&mut Xdp, LoadError> {
        if !self.has_xdp {
            load_all::<Xdp>(&mut self.ebpf, maps::PROGRAMS, "", &[])?;
            self.has_xdp = true;
        }
        if self.is_tracing {
            self.verify_traced(ProgramSet::Xdp)?;
            return program(&mut self.ebpf, &traced_entry(ProgramSet::Xdp));
        }
        program(&mut self.ebpf, maps::ENTRY_PROGRAM)
    }

    /// The program that socket buffers come to first, or the one that traces in its place. It and those it calls are
    /// verified when they are asked for first.
    pub fn tcx_entry(&mut self) -> Result<&mut SchedClassifier, LoadError> {
        if !self.has_tcx {
            let (array, prefix) = (maps::TCX_PROGRAMS, maps::TCX_PREFIX);
            load_all::<SchedClassifier>(&mut self.ebpf, array, prefix, &[])?;
            self.has_tcx = true;
        }
        if self.is_tracing {
            self.verify_traced(ProgramSet::Tcx)?;
            return program(&mut self.ebpf, &traced_entry(ProgramSet::Tcx));
        }
        program(&mut self.ebpf, maps::TCX_ENTRY_PROGRAM)
    }

    /// Has the programs of a hook verified that trace.
    pub fn verify_traced(&mut self, hook: ProgramSet) -> Result<(), LoadError> {
        if self.traced.contains(&hook) {
            return Ok(());
        }
        let (prefix, tell) = (traced_prefix(hook), [maps::TELL_PROGRAM]);
        match hook {
            ProgramSet::Xdp => {
                load_all::<Xdp>(&mut self.ebpf, maps::TRACED_PROGRAMS, &prefix, &tell)?;
            }
            ProgramSet::Tcx => {
                let array = maps::TCX_TRACED_PROGRAMS;
                load_all::<SchedClassifier>(&mut self.ebpf, array, &prefix, &tell)?;
            }
        }
        self.traced.push(hook);
        Ok(())
    }

    /// Whether [`entry`](LoadedPrograms::entry) and [`tcx_entry`](LoadedPrograms::tcx_entry) are programs that trace, from
    /// now on.
    pub fn set_tracing(&mut self, is_tracing: bool) {
        self.is_tracing = is_tracing;
    }

    /// Whether they are.
    pub fn is_tracing(&self) -> bool {
        self.is_tracing
    }

    /// What programs that trace are told, and write.
    pub fn tracing(&self) -> &Arc<Tracing> {
        &self.tracing
    }

    /// Whether the programs of a hook are verified.
    pub fn has(&self, hook: ProgramSet) -> bool {
        match hook {
            ProgramSet::Xdp => self.has_xdp,
            ProgramSet::Tcx => self.has_tcx,
        }
    }

    /// Has the programs of a hook verified.
    pub fn verify(&mut self, hook: ProgramSet) -> Result<(), LoadError> {
        match hook {
            ProgramSet::Xdp => self.entry().map(drop),
            ProgramSet::Tcx => self.tcx_entry().map(drop),
        }
    }

    /// The hook that a frame is tried on: XDP if its programs are there.
    pub fn tried_hook(&self) -> ProgramSet {
        if self.has_tcx && !self.has_xdp { ProgramSet::Tcx } else { ProgramSet::Xdp }
    }

    /// Runs the programs of [`LoadedPrograms::tried_hook`] on a frame in the kernel, without a device: gives the verdict
    /// (`enum xdp_action`) and the frame as they left it. It has room behind it as on a device with page-sized
    /// buffers.
    pub fn test_run(&mut self, frame: &[u8]) -> Result<(u32, Vec<u8>), ProgramError> {
        let mut left = vec![0; 2 * frame.len() + LARGEST_REPLY];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut left),
            repeat: 1,
            ..TestRunOptions::new()
        };
        let not_loaded = |_: LoadError| ProgramError::NotLoaded;
        let result = match self.tried_hook() {
            ProgramSet::Xdp => self.entry().map_err(not_loaded)?.test_run(options)?,
            ProgramSet::Tcx => self.tcx_entry().map_err(not_loaded)?.test_run(options)?,
        };
        left.truncate(result.data_size_out as usize);
        let action = match self.tried_hook() {
            ProgramSet::Xdp => result.return_value,
            ProgramSet::Tcx => action_of(result.return_value),
        };
        Ok((action, left))
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

    /// The worst responses of each CPU, second by second.
    pub fn amplified(&self) -> Result<Vec<Amplified>, MapError> {
        let map = self.ebpf.map(maps::CLOCK).ok_or(MapError::KeyNotFound)?;
        let clocks = PerCpuArray::<_, Value<Clock>>::try_from(map)?.get(&0, 0)?;
        Ok(clocks.iter().flat_map(|Value(clock)| clock.amplified).collect())
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
        summed(&PerCpuArray::try_from(map)?, hook)
    }

    /// Notes the counters of the programs before these for the next daemon, if there is one that takes
    /// over what is pinned.
    pub fn carry(&mut self, carried: &HookCounters) -> Result<(), MapError> {
        let map = self.ebpf.map_mut(maps::META).ok_or(MapError::KeyNotFound)?;
        let mut meta = [maps::LAYOUT; META_WORDS];
        for (place, word) in meta[1..].iter_mut().zip(carried.as_flattened()) {
            *place = *word;
        }
        Array::<_, [u64; META_WORDS]>::try_from(map)?.set(0, meta, 0)
    }

    /// Every map, and every program that is loaded, to be pinned by their names.
    pub fn objects(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        let maps = self.ebpf.maps().filter_map(|(name, map)| {
            // The kernel has no dots in the names of pins.
            Some((name.replace('.', "_"), descriptor(map)?))
        });
        let programs = self
            .ebpf
            .programs()
            .filter_map(|(name, program)| Some((name.to_owned(), program.fd().ok()?.as_fd())));
        maps.chain(programs)
    }
}

/// The descriptor of a map of the kinds that the object has.
fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::Array(map)
        | Map::PerCpuArray(map)
        | Map::ProgramArray(map)
        | Map::HashMap(map)
        | Map::LpmTrie(map) => Some(map.fd().as_fd()),
        _ => None,
    }
}

/// What [`LoadedPrograms::carry`] noted and counters since then, of another daemon's pinned maps; `None` if they are
/// of another layout.
pub struct PinnedCounters {
    carried: HookCounters,
    stats: PerCpuArray<MapData, Counters>,
}

impl PinnedCounters {
    /// Takes the maps that were pinned as [`maps::META`] and [`maps::STATS`].
    pub fn open(meta: OwnedFd, stats: OwnedFd) -> Result<Option<PinnedCounters>, MapError> {
        let (meta, stats) = (MapData::from_fd(meta)?, MapData::from_fd(stats)?);
        let sizes = [meta.info()?.value_size(), stats.info()?.value_size()];
        if sizes != [META_WORDS, STATS_WORDS].map(|words| (words * size_of::<u64>()) as u32) {
            return Ok(None);
        }
        let meta: [u64; META_WORDS] = Array::try_from(Map::Array(meta))?.get(&0, 0)?;
        if meta[0] != maps::LAYOUT {
            return Ok(None);
        }
        let mut carried: HookCounters = [[0; _]; _];
        carried.as_flattened_mut().copy_from_slice(&meta[1..]);
        Ok(Some(PinnedCounters { carried, stats: Map::PerCpuArray(stats).try_into()? }))
    }

    /// All that a hook (its place in [`maps::STATS`]) ever counted.
    pub fn counters(&self, hook: u32) -> Result<Counters, MapError> {
        let mut sums = summed(&self.stats, hook)?;
        add(&mut sums, &self.carried[hook as usize]);
        Ok(sums)
    }
}

fn summed<T: Borrow<MapData>>(
    stats: &PerCpuArray<T, Counters>,
    hook: u32,
) -> Result<Counters, MapError> {
    let mut sums = [0; _];
    for cpu in stats.get(&hook, 0)?.iter() {
        add(&mut sums, cpu);
    }
    Ok(sums)
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

fn traced_prefix(hook: ProgramSet) -> String {
    match hook {
        ProgramSet::Xdp => maps::TRACED_PREFIX.to_owned(),
        ProgramSet::Tcx => format!("{}{}", maps::TCX_PREFIX, maps::TRACED_PREFIX),
    }
}

/// The name of the program that packets come to first while they are traced.
pub fn traced_entry(hook: ProgramSet) -> String {
    format!("{}{}", traced_prefix(hook), maps::ENTRY_PROGRAM)
}

/// Has all programs of a hook verified, whose names begin with `prefix`, and fills the array of those that
/// are called at the end of others: the stages, and `more`.
fn load_all<P: Verify>(
    ebpf: &mut Ebpf,
    array: &str,
    prefix: &str,
    more: &[(&str, u32)],
) -> Result<(), LoadError>
where
    for<'a> &'a mut P: TryFrom<&'a mut Program>,
{
    for (name, place) in maps::TAIL_PROGRAMS.iter().chain(more).copied() {
        let program = load::<P>(ebpf, &format!("{prefix}{name}"))?;
        let program = program.fd().and_then(|fd| Ok(fd.try_clone()?)).map_err(other)?;
        let map = ebpf.map_mut(array).ok_or_else(|| lacks("map", array))?;
        let mut programs = ProgramArray::try_from(map).map_err(other)?;
        programs.set(place, &program, 0).map_err(other)?;
    }
    load::<P>(ebpf, &format!("{prefix}{}", maps::ENTRY_PROGRAM)).map(drop)
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
            Err(LoadError::Refused { program, release, source: io_error, reason: reason_in(&log) })
        }
        Err(error) => Err(other(error)),
    }
}

/// What an action of TCX (`TC_ACT_…` of linux/pkt_cls.h) would be in XDP.
fn action_of(action: u32) -> u32 {
    const SHOT: u32 = 2;
    const REDIRECT: u32 = 7;
    let [dropped, passed, sent] = [1, 2, 3];
    match action {
        SHOT => dropped,
        REDIRECT => sent,
        _ => passed,
    }
}

/// What a verifier's log gives as the reason: its last lines, without statistics, and without the instructions,
/// states of registers and source lines that it tells of on the way there.
fn reason_in(log: &str) -> String {
    let is_telling = |line: &&str| !line.is_empty() && !is_on_the_way(line);
    let lines = log.lines().rev().map(str::trim).filter(is_telling);
    let mut lines: Vec<&str> = lines.take(REASON_LINES).collect();
    lines.reverse();
    match lines.as_slice() {
        [] => "it gave no reason".into(),
        lines => lines.join("; "),
    }
}

fn is_on_the_way(line: &str) -> bool {
    const STARTS: [&str; 13] = [
        "processed ",
        "verification time",
        "stack depth",
        ";",
        "from ",
        "frame",
        "func#",
        "last_idx",
        "regs=",
        "parent ",
        "mark_precise",
        "propagating",
        "Validating ",
    ];
    let is_numbered = line.split_once(": ").is_some_and(|(number, _)| {
        number.bytes().all(|octet| octet.is_ascii_digit()) && !number.is_empty()
    });
    // "R1=ctx() R10=fp0": a state, where a reason has words.
    let is_state = line.split(' ').all(|word| word.contains('='));
    is_numbered || is_state || STARTS.iter().any(|start| line.starts_with(start))
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

/// The kernel's version in its own words.
pub fn release() -> String {
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
        for release in ["6.1.0-50-amd64", "6.18.44", "7.2.13+deb14-amd64", "10.0", "strange"] {
            assert!(check_kernel(release).is_ok(), "{release}");
        }
        let told = check_kernel("5.4.0-150-generic").unwrap_err().to_string();
        assert_eq!(
            told,
            "XDP needs Linux 6.1 or later; this is 5.4.0-150-generic, which lacks: arrays that can \
             be mapped into memory; growing a packet at its tail; links of XDP programs, which \
             detach by themselves and can be replaced; atomic instructions that return a value; a \
             verifier that follows these programs"
        );
        let told = check_kernel("5.15.0-91-generic").unwrap_err().to_string();
        assert_eq!(
            told,
            "XDP needs Linux 6.1 or later; this is 5.15.0-91-generic, which lacks: a verifier that \
             follows these programs"
        );
        assert!(check_kernel("4.19.1").unwrap_err().to_string().contains("bounded loops"));
    }

    #[test]
    fn of_the_verifier_s_log_the_reason_is_shown() {
        let statistics = "verification time 9 usec\nstack depth 0\n\
                          processed 3 insns (limit 1000000) max_states_per_insn 0\n\n";
        for (log, reason) in [
            // As kernels say it that are asked for statistics only.
            (
                "invalid access to map value, value_size=456 off=456 size=8\n\
                 R1 max value is outside of the allowed memory range\n",
                "invalid access to map value, value_size=456 off=456 size=8; \
                 R1 max value is outside of the allowed memory range",
            ),
            (
                "R2 unbounded memory access, make sure to bounds check any such access\n",
                "R2 unbounded memory access, make sure to bounds check any such access",
            ),
            ("BPF_STX uses reserved fields\n", "BPF_STX uses reserved fields"),
            // And those that tell how they came there.
            (
                "func#0 @0\n0: R1=ctx() R10=fp0\n; let a = 1; @ serve.rs:12\n1: (79) r0 = *(u8 *)(r3 +0)\n\
                 R3 !read_ok\n",
                "R3 !read_ok",
            ),
            (
                "from 4 to 7: safe\n7: (bf) r1 = r2\nR1=scalar() R2=inv(id=0)\n\
                 invalid access to packet, off=0 size=1, R3(id=2,off=0,r=0)\n",
                "invalid access to packet, off=0 size=1, R3(id=2,off=0,r=0)",
            ),
            ("", "it gave no reason"),
        ] {
            assert_eq!(reason_in(&format!("{log}{statistics}")), reason);
        }
    }

    #[test]
    fn actions_of_tcx_are_told_as_those_of_xdp() {
        // TC_ACT_UNSPEC (-1), TC_ACT_OK, TC_ACT_SHOT, TC_ACT_REDIRECT.
        assert_eq!([u32::MAX, 0, 2, 7].map(action_of), [2, 2, 1, 3]);
    }
}
