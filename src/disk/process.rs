//! What the system tells about processes, which is no file of any disk.
//!
//! Linux tells it under `/proc`. Elsewhere nothing is told: lists are empty, and whoever asks does
//! without.

use std::sync::OnceLock;

/// A process as the system tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// The number of its parent.
    pub parent: i32,
    /// The number of its process group.
    pub group: i32,
    /// The number of its session.
    pub session: i32,
    /// When it began, in clock ticks since the machine's start, which tells two processes with one
    /// number apart.
    pub start: u64,
    /// What it is doing.
    pub standing: Standing,
}

/// What a process is doing, as far as anybody here cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs, or waits for something.
    Running,
    /// It was stopped by a signal.
    Stopped,
    /// It has ended, and its parent was not told yet.
    Ended,
}

/// What a process has taken of the machine since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, in clock ticks.
    pub cpu_ticks: u64,
    /// Resident memory, in pages.
    pub memory_pages: u64,
    /// Bytes it made to be written to storage; absent where it may not be looked at.
    pub written_bytes: Option<u64>,
}

/// The units in which [`Usage`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Clock ticks in a second.
    pub ticks_per_second: u64,
    /// Bytes in a page.
    pub page_bytes: u64,
}

/// Changes with every start of the machine; absent where the system does not tell.
#[must_use]
pub fn boot_id() -> Option<String> {
    Some(text("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The process of this number.
#[must_use]
pub fn process(pid: i32) -> Option<Process> {
    read(pid, &text(&format!("/proc/{pid}/stat"))?)
}

/// Every process there is, in no particular order.
#[must_use]
pub fn processes() -> Vec<Process> {
    numbers().into_iter().filter_map(process).collect()
}

/// The children of this process, ended ones too. One may be missing just when another ends, as
/// `proc_pid_children(5)` has it.
#[must_use]
pub fn own_children() -> Vec<Process> {
    let own = own();
    match children(own) {
        Some(children) => children.into_iter().filter_map(process).collect(),
        None => processes().into_iter().filter(|one| one.parent == own).collect(),
    }
}

/// Every process that may descend from this one: all that do, or all there are, where the system does
/// not tell the children of a process.
#[must_use]
pub fn own_descendants() -> Vec<Process> {
    let Some(mut left) = children(own()) else { return processes() };
    let mut found = Vec::new();
    while let Some(pid) = left.pop() {
        found.extend(process(pid));
        left.extend(children(pid).into_iter().flatten());
    }
    found
}

/// What the process of this number has taken of the machine.
#[must_use]
pub fn usage(pid: i32) -> Option<Usage> {
    let fields = text(&format!("/proc/{pid}/stat"))?;
    let written = || {
        let io = text(&format!("/proc/{pid}/io"))?;
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?;
        line.trim().parse().ok()
    };
    read_usage(&fields, written())
}

/// The units of this system.
#[must_use]
pub fn rates() -> Rates {
    Rates {
        ticks_per_second: rustix::param::clock_ticks_per_second(),
        page_bytes: rustix::param::page_size() as u64,
    }
}

/// Whether a process has a file open to write; not where it may not be looked at.
#[must_use]
pub fn writes(pid: i32, path: &std::path::Path) -> bool {
    let open = names(&format!("/proc/{pid}/fd"));
    open.iter().any(|number| {
        let leads_there =
            target(&format!("/proc/{pid}/fd/{number}")).is_some_and(|file| file == path);
        leads_there
            && text(&format!("/proc/{pid}/fdinfo/{number}")).is_some_and(|info| may_write(&info))
    })
}

/// Opens what a process has as its stream of this number, to read; a pipe is the same pipe.
#[must_use]
pub fn stream(pid: i32, number: usize) -> Option<std::os::fd::OwnedFd> {
    opened(&format!("/proc/{pid}/fd/{number}"))
}

/// Whether the flags in `/proc/PID/fdinfo/N` (octal, as of `open(2)`) allow to write.
fn may_write(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 0o3 != 0)
}

/// Whether a process was started with this variable, `NAME=VALUE`, in its environment; not where it
/// may not be looked at.
#[must_use]
pub fn was_given(pid: i32, variable: &str) -> bool {
    let all = bytes(&format!("/proc/{pid}/environ")).unwrap_or_default();
    all.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
}

/// The signals this process ignores, signal `n` as bit `n - 1`; none where the system does not tell.
#[must_use]
pub fn ignored_signals() -> u64 {
    let status = text("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Reads a line of `/proc/PID/stat` (`proc_pid_stat(5)`).
fn read(pid: i32, stat: &str) -> Option<Process> {
    // The second field, the command, may hold spaces and brackets itself: count from its end.
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<i32>().ok();
    Some(Process {
        pid,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        start: fields.get(19)?.parse().ok()?,
        standing: match *fields.first()? {
            "T" | "t" => Standing::Stopped,
            "Z" | "X" => Standing::Ended,
            _ => Standing::Running,
        },
    })
}

/// Reads the numbers in a line of `/proc/PID/stat` that tell what was taken.
fn read_usage(stat: &str, written_bytes: Option<u64>) -> Option<Usage> {
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let cpu_ticks = number(11)?.saturating_add(number(12)?);
    Some(Usage { cpu_ticks, memory_pages: number(21)?, written_bytes })
}

#[cfg(target_os = "linux")]
fn text(path: &str) -> Option<String> {
    super::real::kernel_text(path)
}

#[cfg(not(target_os = "linux"))]
fn text(_: &str) -> Option<String> {
    None
}

#[cfg(target_os = "linux")]
fn bytes(path: &str) -> Option<Vec<u8>> {
    super::real::kernel_bytes(path)
}

#[cfg(not(target_os = "linux"))]
fn bytes(_: &str) -> Option<Vec<u8>> {
    None
}

#[cfg(target_os = "linux")]
fn target(path: &str) -> Option<std::path::PathBuf> {
    super::real::kernel_link(path)
}

#[cfg(not(target_os = "linux"))]
fn target(_: &str) -> Option<std::path::PathBuf> {
    None
}

#[cfg(target_os = "linux")]
fn opened(path: &str) -> Option<std::os::fd::OwnedFd> {
    super::real::kernel_open(path)
}

#[cfg(not(target_os = "linux"))]
fn opened(_: &str) -> Option<std::os::fd::OwnedFd> {
    None
}

fn own() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// The numbers of a process's children; absent where the system does not list them.
fn children(pid: i32) -> Option<Vec<i32>> {
    static LISTED: OnceLock<bool> = OnceLock::new();
    let listed = || text(&format!("/proc/{own}/task/{own}/children", own = own())).is_some();
    if !LISTED.get_or_init(listed) {
        return None;
    }
    let of_task = |task: String| text(&format!("/proc/{pid}/task/{task}/children"));
    let lists: Vec<String> =
        names(&format!("/proc/{pid}/task")).into_iter().filter_map(of_task).collect();
    let numbers = lists.iter().flat_map(|list| list.split_whitespace());
    Some(numbers.filter_map(|number| number.parse().ok()).collect())
}

fn numbers() -> Vec<i32> {
    names("/proc").iter().filter_map(|name| name.parse().ok()).collect()
}

#[cfg(target_os = "linux")]
fn names(directory: &str) -> Vec<String> {
    super::real::kernel_names(directory)
}

#[cfg(not(target_os = "linux"))]
fn names(_: &str) -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_fields_behind_it() {
        let stat = "12 (a) Z 1 (b)) T 4 5 6 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0";
        let found = read(12, stat).unwrap();
        let wanted = Process {
            pid: 12,
            parent: 4,
            group: 5,
            session: 6,
            start: 777,
            standing: Standing::Stopped,
        };
        assert_eq!(found, wanted);
        assert_eq!(read(12, "12 (cut"), None);
    }

    #[test]
    fn what_was_taken_stands_behind_the_name() {
        let stat = "12 (a) 1) R 4 5 6 0 -1 0 0 0 0 0 30 12 0 0 20 0 1 0 777 9000 55 18";
        let wanted = Usage { cpu_ticks: 42, memory_pages: 55, written_bytes: Some(3) };
        assert_eq!(read_usage(stat, Some(3)), Some(wanted));
        assert_eq!(read_usage("12 (cut) R 4", None), None);
        assert!(may_write("pos:\t0\nflags:\t0100001\n") && may_write("flags:\t02\n"));
        assert!(!may_write("pos:\t0\nflags:\t0100000\n") && !may_write(""));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_is_being_written_is_told() {
        let own = i32::try_from(std::process::id()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new_in(folder.path().canonicalize().unwrap()).unwrap();
        assert!(writes(own, file.path()));
        assert!(!writes(own, std::path::Path::new("/no/such/file")));
        assert!(usage(own).unwrap().memory_pages > 0 && rates().ticks_per_second > 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_descends_from_this_process_is_told() {
        use std::io::{BufRead, BufReader};
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; read line; kill $!"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (child, grandchild): (i32, i32) =
            (i32::try_from(shell.id()).unwrap(), line.trim().parse().unwrap());
        let is = |all: &[Process], pid| all.iter().any(|one| one.pid == pid);
        // Other tests have children too, and one may be missing just when another ends.
        let told = |all: fn() -> Vec<Process>, pid| (0..1000).any(|_| is(&all(), pid));
        assert!(told(own_children, child) && told(own_descendants, child));
        assert!(told(own_descendants, grandchild) && !is(&own_children(), grandchild));
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(!is(&own_descendants(), child));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_among_them() {
        let own = i32::try_from(std::process::id()).unwrap();
        let found = process(own).unwrap();
        assert!(found.start > 0 && found.standing == Standing::Running);
        assert!(processes().iter().any(|one| one.pid == own && one.start == found.start));
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
