//! Durable commits of fresh states, alone and many at once.

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;
use stateward::disk::Disk;
use stateward::{Agent, CheckpointManager, Observation};

use crate::arguments::Arguments;
use crate::baseline::group::{RawGroup, Seat};
use crate::baseline::raw::RawLog;
use crate::baseline::rename::Replaced;
use crate::baseline::sqlite::Sqlite;
use crate::chat::Chat;
use crate::counting::{CountingDisk, syncs_here};
use crate::ours;
use crate::rounds::{Contestant, interleave, median_seconds};
use crate::row::{Row, Unit};

const SIZES: [(usize, &str); 4] =
    [(1_000, "1 KB"), (10_000, "10 KB"), (100_000, "100 KB"), (1_000_000, "1 MB")];

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let mut rows = Vec::new();
    for (bytes, size) in SIZES {
        rows.extend(one_writer(arguments, bytes, size));
    }
    rows.push(watched(arguments));
    for writers in [10, 100] {
        for (bytes, size) in SIZES {
            rows.extend(many_writers(arguments, writers, bytes, size));
        }
    }
    rows
}

fn one_writer(arguments: &Arguments, bytes: usize, size: &str) -> Vec<Row> {
    let home = arguments.scratch();
    let states =
        |round: usize| Chat::seeded(round as u64).states((200_000 / bytes).clamp(5, 20), bytes);
    let mut raw = RawLog::create(home.path(), 64 << 20);
    let replaced = Replaced::new(home.path(), "state.json");
    let sqlite = Sqlite::create(&home.path().join("state.sqlite"));
    let manager = ours::open_on(home.path(), Arc::new(CountingDisk::default()));
    let agent = ours::agent(&manager, "agent");
    let mut syncs = Vec::new();
    let mut contestants = [
        Contestant::new(|round| {
            let p50 = median_seconds(states(round), |state| {
                let before = syncs_here();
                ours::commit(&agent, state);
                syncs.push((syncs_here() - before) as f64);
            });
            ours::settle(&manager);
            p50
        }),
        Contestant::new(|round| median_seconds(states(round), |state| raw.commit(&state))),
        Contestant::new(|round| median_seconds(states(round), |state| replaced.commit(&state))),
        Contestant::new(|round| {
            median_seconds(states(round), |state| sqlite.commit("agent", &state))
        }),
    ];
    let figures = interleave(arguments.rounds(100), &mut contestants);
    drop(contestants);
    let row = |name: &str, at: usize| {
        let work = format!("{size}, 1 writer, against {name}");
        Row::against(work, Unit::Seconds, &figures[0], &figures[at])
    };
    let raw = row("raw append + fdatasync", 1);
    vec![
        if bytes <= 10_000 { raw.at_most(1.2) } else { raw },
        row("temp + fsync + rename + fsync", 2),
        row("SQLite WAL FULL", 3),
        Row::alone(format!("{size}, 1 writer: syncs a commit waits for"), Unit::Syncs, &syncs)
            .at_most(1.0),
    ]
}

/// What it costs a commit that its agent was observed since the last one.
fn watched(arguments: &Arguments) -> Row {
    let home = arguments.scratch();
    let manager = ours::open(home.path());
    let (watched, plain) = (ours::agent(&manager, "watched"), ours::agent(&manager, "plain"));
    let states = |round: usize| Chat::seeded(round as u64).states(20, 1_000).into_iter();
    let observed = |(step, state): (usize, Vec<u8>)| {
        let told = Observation::action("edit", step).ok(true).metric("latency_s", step as f64);
        watched.observe(told).expect("what is told is in bounds");
        state
    };
    let mut contestants = [
        Contestant::new(|round| {
            // Observed as each is taken, which is outside the clock.
            let states = states(round).enumerate().map(observed);
            let p50 = median_seconds(states, |state| ours::commit(&watched, state));
            ours::settle(&manager);
            p50
        }),
        Contestant::new(|round| {
            let p50 = median_seconds(states(round), |state| ours::commit(&plain, state));
            ours::settle(&manager);
            p50
        }),
    ];
    let figures = interleave(arguments.rounds(100), &mut contestants);
    drop(contestants);
    let work = "1 KB of an agent observed before each, against one that is not";
    Row::against(work.to_owned(), Unit::Seconds, &figures[0], &figures[1])
}

fn many_writers(arguments: &Arguments, writers: usize, bytes: usize, size: &str) -> Vec<Row> {
    let home = arguments.scratch();
    let each = (2_000_000 / bytes / writers).clamp(1, 200);
    let crowd = |round: usize| Crowd::new(round, writers, each, bytes);
    let group = RawGroup::new(RawLog::create(home.path(), 128 << 20));
    let files: Vec<Replaced> =
        (0..writers).map(|at| Replaced::new(home.path(), &format!("{at}.json"))).collect();
    let sqlite = Mutex::new(Sqlite::create(&home.path().join("state.sqlite")));
    let ours = OurCrowd::open(home.path(), writers);
    let mut syncs = Vec::new();
    let mut contestants = [
        Contestant::new(|round| {
            let (rate, syncs_per_commit) = ours.rate(crowd(round), writers * each);
            syncs.push(syncs_per_commit);
            rate
        }),
        Contestant::new(|round| {
            crowd(round).rate(|_| {
                let (seat, group) = (Seat::here(), &group);
                move |state| group.commit(&seat, &state)
            })
        }),
        Contestant::new(|round| {
            crowd(round).rate(|at| {
                let file = &files[at];
                move |state| file.commit(&state)
            })
        }),
        Contestant::new(|round| {
            crowd(round).rate(|at| {
                let (sqlite, agent) = (&sqlite, format!("agent-{at}"));
                move |state| sqlite.lock().commit(&agent, &state)
            })
        }),
    ];
    let figures = interleave(arguments.rounds(20), &mut contestants);
    drop(contestants);
    let row = |name: &str, at: usize| {
        let work = format!("{size}, {writers} writers, against {name}");
        Row::against(work, Unit::PerSecond, &figures[0], &figures[at])
    };
    let shared = format!("{size}, {writers} writers: syncs per commit");
    let shared = Row::alone(shared, Unit::Syncs, &syncs);
    let raw = row("raw group commit", 1);
    let judged = writers == 100 && bytes <= 10_000;
    vec![
        if judged { raw.at_least(0.7) } else { raw },
        row("a rename of each its own", 2),
        row("SQLite WAL FULL, shared", 3),
        if judged { shared.at_most(0.05) } else { shared },
    ]
}

/// One store with an agent for each writer.
struct OurCrowd {
    disk: Arc<CountingDisk>,
    manager: CheckpointManager,
    agents: Vec<Agent>,
}

impl OurCrowd {
    fn open(home: &Path, writers: usize) -> Self {
        let disk = Arc::new(CountingDisk::default());
        let manager = ours::open_on(home, Arc::clone(&disk) as Arc<dyn Disk>);
        let agent = |at| ours::agent(&manager, &format!("agent-{at}"));
        Self { agents: (0..writers).map(agent).collect(), disk, manager }
    }

    /// Commits per second and syncs per commit, those of background work included.
    fn rate(&self, crowd: Crowd, commits: usize) -> (f64, f64) {
        let before = self.disk.syncs();
        let rate = crowd.rate(|at| {
            let agent = &self.agents[at];
            move |state| ours::commit(agent, state)
        });
        let syncs = self.disk.syncs() - before;
        ours::settle(&self.manager);
        (rate, syncs as f64 / commits as f64)
    }
}

/// Many threads that commit at once, each its own states.
pub struct Crowd {
    states: Vec<Vec<Vec<u8>>>,
}

impl Crowd {
    pub fn new(round: usize, writers: usize, each: usize, bytes: usize) -> Self {
        let mut chat = Chat::seeded(round as u64);
        Self { states: (0..writers).map(|_| chat.states(each, bytes)).collect() }
    }

    /// Commits per second, from the moment all threads stand ready until the last is done. `writer`
    /// is called in each thread with its number, before the clock starts.
    pub fn rate<F: FnMut(Vec<u8>)>(self, writer: impl Fn(usize) -> F + Sync) -> f64 {
        let commits: usize = self.states.iter().map(Vec::len).sum();
        let all = self.states.len() + 1;
        let (ready, done) = (Barrier::new(all), Barrier::new(all));
        let seconds = thread::scope(|scope| {
            for (at, states) in self.states.into_iter().enumerate() {
                let (writer, ready, done) = (&writer, &ready, &done);
                scope.spawn(move || {
                    let mut commit = writer(at);
                    ready.wait();
                    for state in states {
                        commit(state);
                    }
                    done.wait();
                });
            }
            ready.wait();
            let began = Instant::now();
            done.wait();
            began.elapsed().as_secs_f64()
        });
        commits as f64 / seconds
    }
}
