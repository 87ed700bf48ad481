//! What the system tells about processes, which is no file of any disk.
//!
//! Linux tells it under `/proc`. Elsewhere nothing is told: lists are empty, and whoever asks does
//! without.

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
fn numbers() -> Vec<i32> {
    super::real::kernel_names("/proc").iter().filter_map(|name| name.parse().ok()).collect()
}

#[cfg(not(target_os = "linux"))]
fn numbers() -> Vec<i32> {
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
    #[cfg(target_os = "linux")]
    fn this_process_is_among_them() {
        let own = i32::try_from(std::process::id()).unwrap();
        let found = process(own).unwrap();
        assert!(found.start > 0 && found.standing == Standing::Running);
        assert!(processes().iter().any(|one| one.pid == own && one.start == found.start));
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
