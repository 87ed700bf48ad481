//! What a command and all it started take of the machine, from one look to the next.

use std::collections::HashMap;
use std::time::Duration;

use crate::disk::process::{self, Process, Rates, Standing, Usage};
use crate::drift::sighting::ProcessSeen;

/// A process by its number and its start, which tells two with one number apart.
type Key = (i32, u64);

/// The last look at a group.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    before: HashMap<Key, Usage>,
    at: Option<Duration>,
}

impl Sampler {
    /// Looks at everything that descends from a group; nothing where the system does not tell.
    pub(crate) fn look(&mut self, group: i32, now: Duration) -> Option<ProcessSeen> {
        let family = family(group);
        let told = |one: &Process| Some(((one.pid, one.start), process::usage(one.pid)?));
        let after: HashMap<Key, Usage> = family.iter().filter_map(told).collect();
        let passed = self.at.replace(now).map(|at| now.saturating_sub(at));
        let before = std::mem::replace(&mut self.before, after);
        let seen = || between(&before, &self.before, passed, process::rates());
        (!self.before.is_empty()).then(seen)
    }
}

/// The processes of a group and their descendants, as far as they live.
pub(super) fn family(group: i32) -> Vec<Process> {
    let family = family_in(&process::own_descendants(), group);
    // A group that was adopted descends from nobody here.
    if family.is_empty() { family_in(&process::processes(), group) } else { family }
}

fn family_in(all: &[Process], group: i32) -> Vec<Process> {
    let mut family: Vec<Process> = Vec::new();
    let lives = |one: &&Process| one.standing != Standing::Ended;
    let mut rest: Vec<&Process> = all.iter().filter(lives).collect();
    loop {
        let known = family.len();
        let belongs = |one: &Process| {
            one.group == group || family.iter().any(|other| other.pid == one.parent)
        };
        let (found, left): (Vec<_>, Vec<_>) = rest.into_iter().partition(|one| belongs(one));
        family.extend(found);
        rest = left;
        if family.len() == known {
            return family;
        }
    }
}

/// What was taken between two looks. A process that ended between them took what was last seen.
fn between(
    before: &HashMap<Key, Usage>,
    after: &HashMap<Key, Usage>,
    passed: Option<Duration>,
    rates: Rates,
) -> ProcessSeen {
    let sum = |of: fn(&Usage) -> Option<u64>| {
        let new = |(key, usage): (&Key, &Usage)| {
            let known = before.get(key).and_then(of).unwrap_or(0);
            Some(of(usage)?.saturating_sub(known))
        };
        let parts: Vec<u64> = after.iter().filter_map(new).collect();
        (!parts.is_empty()).then(|| number(parts.iter().sum()))
    };
    let seconds = passed.map(|passed| passed.as_secs_f64()).filter(|seconds| *seconds > 0.0);
    let ticks = sum(|usage| Some(usage.cpu_ticks));
    let pages: u64 = after.values().map(|usage| usage.memory_pages).sum();
    ProcessSeen {
        cpu: seconds.zip(ticks).map(|(s, ticks)| ticks / number(rates.ticks_per_second) / s),
        memory_bytes: Some(number(pages.saturating_mul(rates.page_bytes))),
        written_bytes: seconds.and_then(|_| sum(|usage| usage.written_bytes)),
        processes: Some(number(after.len() as u64)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a measurement of 2^53 is none")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { ticks_per_second: 100, page_bytes: 4096 };

    fn process(pid: i32, parent: i32, group: i32) -> Process {
        Process { pid, parent, group, session: 1, start: 7, standing: Standing::Running }
    }

    fn pids(all: &[Process], group: i32) -> Vec<i32> {
        let mut pids: Vec<i32> = family_in(all, group).iter().map(|one| one.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn what_left_the_group_belongs_to_it_through_its_parents() {
        let ended = Process { standing: Standing::Ended, ..process(14, 10, 10) };
        let all = [
            process(13, 12, 13),
            process(12, 11, 12),
            process(11, 10, 10),
            process(10, 1, 10),
            process(20, 1, 20),
            ended,
        ];
        assert_eq!(pids(&all, 10), [10, 11, 12, 13]);
        assert_eq!(pids(&all, 30), [] as [i32; 0]);
    }

    #[test]
    fn what_is_taken_is_what_each_took_since_the_last_look() {
        let usage = |cpu_ticks, memory_pages, written_bytes| Usage {
            cpu_ticks,
            memory_pages,
            written_bytes,
        };
        let before = [((1, 7), usage(100, 2, Some(10))), ((2, 7), usage(900, 2, None))].into();
        // The second ended, and its number is another's now.
        let after = [((1, 7), usage(300, 4, Some(25))), ((2, 8), usage(50, 1, Some(5)))].into();
        let seen = between(&before, &after, Some(Duration::from_secs(5)), RATES);
        let wanted = ProcessSeen {
            cpu: Some(0.5),
            memory_bytes: Some(5.0 * 4096.0),
            written_bytes: Some(20.0),
            processes: Some(2.0),
        };
        assert_eq!(seen, wanted);
        let first = between(&HashMap::new(), &after, None, RATES);
        assert_eq!((first.cpu, first.written_bytes), (None, None), "there is no time yet");
    }
}
