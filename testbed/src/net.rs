//! Network namespaces, veth pairs and processes that are gone when the test is.
//!
//! Needs root and iproute2. Names carry this process's id, so that runs do not meet; what a killed
//! run left behind, the next one sweeps away.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Where iproute2 keeps its namespaces.
const NAMESPACES: &str = "/run/netns";

/// Before every name.
const PREFIX: &str = "sealdns-";

/// How long a process has to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How often something is looked at that gives no notice.
const POLL: Duration = Duration::from_millis(10);

//----------- Namespace ------------------------------------------------------------------------------

/// A network namespace of its own, removed when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback up. `role` tells it from others of this process.
    pub fn new(role: &str) -> Result<Self> {
        let namespace = Self { name: format!("{PREFIX}{}-{role}", std::process::id()) };
        run(Command::new("ip").args(["netns", "add", &namespace.name]))?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns exec` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread inside the namespace; sockets made and processes started there belong
    /// to it. Unlike `ip netns exec` this leaves the mounts alone, so that /sys/fs/bpf stays visible.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        within(&self.name, work)
    }

    /// Runs `ip` inside, with arguments separated by blanks.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// Runs a command inside to its end, at most for `limit`.
    pub fn output(&self, command: &mut Command, limit: Duration) -> Result<Output> {
        self.enter(|| output_within(command, limit))?
    }

    /// Starts a process inside.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        self.enter(|| Process::spawn(name, command))?
    }
}

/// As [`Namespace::enter`], by the namespace's name.
pub fn within<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let path = Path::new(NAMESPACES).join(name);
    let handle = File::open(&path).with_context(|| format!("{} is gone", path.display()))?;
    thread::scope(|scope| {
        let inside = scope.spawn(|| -> Result<T> {
            setns(&handle, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("namespace {name} cannot be entered"))?;
            Ok(work())
        });
        inside.join().map_err(|_| anyhow!("work in namespace {name} panicked"))?
    })
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(Command::new("ip").args(["netns", "delete", &self.name]));
    }
}

/// Removes the namespaces of processes that were killed before they could, and what runs in them.
pub fn sweep() {
    for entry in fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|owner: i32| kill(Pid::from_raw(owner), None).is_err()) {
            let inside = run_output(Command::new("ip").args(["netns", "pids", &name]));
            for id in inside.unwrap_or_default().split_whitespace() {
                let _ = id.parse().map(|id| kill(Pid::from_raw(id), Signal::SIGKILL));
            }
            let _ = run(Command::new("ip").args(["netns", "delete", &name]));
        }
    }
}

//----------- Veth -----------------------------------------------------------------------------------

/// One end of a veth pair.
pub struct End<'a> {
    /// Where it lies.
    pub namespace: &'a Namespace,
    /// Its name, at most 15 characters.
    pub interface: &'a str,
    /// Its addresses with prefix lengths, such as `192.0.2.1/24`.
    pub addresses: &'a [&'a str],
}

/// Makes a veth pair, up, with addresses that can be used at once. It goes with either namespace.
pub fn veth(one: &End<'_>, other: &End<'_>) -> Result<()> {
    one.namespace.ip(&format!(
        "link add {} type veth peer name {} netns {}",
        one.interface, other.interface, other.namespace.name
    ))?;
    for end in [one, other] {
        for address in end.addresses {
            // An IPv6 address is of no use while its uniqueness is being asked for.
            let nodad = if address.contains(':') { "nodad" } else { "" };
            end.namespace.ip(&format!("address add {address} dev {} {nodad}", end.interface))?;
        }
        end.namespace.ip(&format!("link set {} up", end.interface))?;
    }
    Ok(())
}

/// The link-layer address of an interface of the current namespace.
pub fn mac_address(interface: &str) -> Result<[u8; 6]> {
    let show = run_output(Command::new("ip").args(["-o", "link", "show", "dev", interface]))?;
    let text = show
        .split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .with_context(|| format!("{interface} has no Ethernet address: {show}"))?;
    let mut address = [0; 6];
    for (octet, digits) in address.iter_mut().zip(text.split(':')) {
        *octet = u8::from_str_radix(digits, 16)?;
    }
    Ok(address)
}

/// The first address of a prefix in text, such as `192.0.2.1` of `192.0.2.1/24`.
pub fn address_of(prefix: &str) -> Result<IpAddr> {
    let address = prefix.split('/').next().unwrap_or_default();
    address.parse().with_context(|| format!("{prefix:?} is no address with a prefix length"))
}

/// How often XDP programs on this veth of the current namespace said XDP_TX, as the driver counts.
pub fn xdp_transmitted(interface: &str) -> Result<u64> {
    let statistics = run_output(Command::new("ethtool").args(["-S", interface]))?;
    let mut sum = None;
    for line in statistics.lines() {
        let Some((name, value)) = line.trim().split_once(':') else { continue };
        // "rx_queue_0_xdp_tx"; the neighbours "…_xdp_tx_errors" and "tx_queue_…" count otherwise.
        if name.starts_with("rx_queue_") && name.ends_with("_xdp_tx") {
            sum = Some(sum.unwrap_or(0) + value.trim().parse::<u64>()?);
        }
    }
    sum.with_context(|| format!("{interface} does not count XDP_TX (is it a veth?)"))
}

//----------- Process --------------------------------------------------------------------------------

/// A process that is ended when this is dropped; what it says is kept.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<OutputLog>,
}

/// The lines that a process wrote to either stream.
#[derive(Debug, Default)]
struct OutputLog {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Process {
    /// Starts a process and listens to both its streams.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!("{name} ({}) did not start", command.get_program().display())
            })?;
        let log = Arc::new(OutputLog::default());
        if let Some(stream) = child.stdout.take() {
            listen(stream, Arc::clone(&log));
        }
        if let Some(stream) = child.stderr.take() {
            listen(stream, Arc::clone(&log));
        }
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it writes a line that satisfies `wanted`, and returns that line.
    ///
    /// Fails after `limit`, or when it ends before; the error quotes what it printed.
    pub fn wait_for_line(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let deadline = Instant::now() + limit;
        let mut seen = 0;
        loop {
            // Asked before the lines are read: what it wrote before it ended is then among them.
            let ended = self.child.try_wait()?;
            let lines = self.log.lines.lock().map_err(|_| anyhow!("a listener panicked"))?;
            if let Some(line) = lines[seen..].iter().find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            seen = lines.len();
            if ended.is_some() || Instant::now() >= deadline {
                let why = ended.map_or_else(
                    || format!("did not say what was awaited within {limit:?}"),
                    |status| format!("ended ({status})"),
                );
                bail!("{} {why}; it said:\n{}", self.name, lines.join("\n"));
            }
            // The listener may still have lines of a process that has ended: hence never for long.
            drop(self.log.more.wait_timeout(lines, POLL * 5));
        }
    }

    /// Everything that it has printed so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(id, signal).with_context(|| format!("{} cannot be sent {signal}", self.name))
    }

    /// Asks it to end with SIGTERM, and kills it after a while if it does not; says how it ended.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.end()
    }

    fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn listen(stream: impl Read + Send + 'static, log: Arc<OutputLog>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            if let Ok(mut lines) = log.lines.lock() {
                lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            log.more.notify_all();
            line.clear();
        }
    });
}

//----------- Bounded waits --------------------------------------------------------------------------

/// Waits until `ready` says so. Fails with what was awaited after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !ready() {
        if Instant::now() >= deadline {
            bail!("{what}: not within {limit:?}");
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Runs a command to its end, at most for `limit`; then it is killed and this fails.
pub fn output_within(command: &mut Command, limit: Duration) -> Result<Output> {
    let program = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} did not start"))?;
    let collect = |stream: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stream) = stream {
                let _ = stream.read_to_end(&mut bytes);
            }
            bytes
        })
    };
    let stdout = collect(child.stdout.take().map(|stream| Box::new(stream) as _));
    let stderr = collect(child.stderr.take().map(|stream| Box::new(stream) as _));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("{program} did not end within {limit:?}");
        }
        thread::sleep(Duration::from_millis(1));
    };
    let joined = |handle: thread::JoinHandle<Vec<u8>>| handle.join().unwrap_or_default();
    Ok(Output { status, stdout: joined(stdout), stderr: joined(stderr) })
}

/// Where a program lies in `PATH` or where Debian keeps what is the administrator's.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

fn run(command: &mut Command) -> Result<()> {
    run_output(command).map(drop)
}

fn run_output(command: &mut Command) -> Result<String> {
    let output = output_within(command, Duration::from_secs(10))?;
    let log = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if !output.status.success() {
        let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        bail!("`{} {}` failed: {log}", command.get_program().display(), words.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
