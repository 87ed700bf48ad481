//! The sidecar: what its socket costs beside the library call, what it takes of many at once beside
//! what else keeps such things, and what an agent feels of it.

mod http;
mod pause;
mod postgres;
mod redis;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use http::Connection;
use postgres::Postgres;
use redis::Redis;
use server::Server;

use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::commits::Crowd;
use crate::ours;
use crate::rounds::{Contestant, interleave, timed};
use crate::row::{Row, Unit};
use crate::statistics::percentile;

pub use pause::tick;

const BYTES: usize = 1000;

/// Agents that each make a checkpoint a second.
const AGENTS: usize = 100;

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let mut rows = overhead(arguments);
    for connections in [1, 16, 100] {
        rows.extend(rates(arguments, connections));
    }
    rows.push(paced(arguments));
    rows.extend(memory(arguments));
    rows.extend(pause::rows(arguments));
    rows
}

/// A sidecar with a store of its own.
pub struct Sidecar {
    server: Server,
    socket: PathBuf,
}

impl Sidecar {
    pub fn start(home: &Path) -> Self {
        let store = home.join("sidecar");
        let socket = store.join("stateward.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_stateward"));
        command.arg("serve").arg("--store").arg(&store).arg("--socket").arg(&socket);
        command.current_dir(home);
        let server = Server::start(&mut command, || {
            Connection::open(&socket).is_ok_and(|mut connection| connection.is_alive())
        });
        Self { server, socket }
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.socket).expect("the sidecar listens")
    }
}

fn states(round: usize, count: usize) -> Vec<Vec<u8>> {
    Chat::seeded(round as u64).states(count, BYTES)
}

/// The median and the 99th percentile of the time that each state takes.
fn latencies(states: Vec<Vec<u8>>, mut commit: impl FnMut(Vec<u8>)) -> (f64, f64) {
    let times: Vec<f64> =
        states.into_iter().map(|state| timed(|| commit(state)).1.as_secs_f64()).collect();
    (percentile(&times, 0.5), percentile(&times, 0.99))
}

fn overhead(arguments: &Arguments) -> Vec<Row> {
    let home = arguments.scratch();
    let sidecar = Sidecar::start(home.path());
    let mut connection = sidecar.connect();
    let manager = ours::open(home.path());
    let agent = ours::agent(&manager, "agent");
    let mut contestants = [
        Contestant::new(|round| {
            latencies(states(round, 200), |state| connection.commit("agent", &state))
        }),
        Contestant::new(|round| {
            let figures = latencies(states(round, 200), |state| ours::commit(&agent, state));
            ours::settle(&manager);
            figures
        }),
    ];
    let figures = interleave(arguments.rounds(50), &mut contestants);
    drop(contestants);
    let of = |which: fn(&(f64, f64)) -> f64| -> Vec<Vec<f64>> {
        figures.iter().map(|rounds| rounds.iter().map(which).collect()).collect()
    };
    let (p50, p99) = (of(|it| it.0), of(|it| it.1));
    let work = "1 KB over the socket, 1 connection, against the library call";
    vec![
        Row::against(format!("{work}: p50"), Unit::Seconds, &p50[0], &p50[1]).at_most(2.0),
        Row::against(format!("{work}: p99"), Unit::Seconds, &p99[0], &p99[1]),
    ]
}

fn rates(arguments: &Arguments, connections: usize) -> Vec<Row> {
    let home = arguments.scratch();
    let each = (2000 / connections).clamp(20, 200);
    let crowd = |round| Crowd::new(round, connections, each, BYTES);
    let sidecar = Sidecar::start(home.path());
    let (redis, postgres) = (Redis::start(home.path()), Postgres::start(home.path()));
    let mut contestants = vec![Contestant::new(|round| {
        crowd(round).rate(|at| {
            let (mut connection, agent) = (sidecar.connect(), format!("agent-{at}"));
            move |state| connection.commit(&agent, &state)
        })
    })];
    let mut names = Vec::new();
    if let Ok(redis) = &redis {
        names.push("Redis, appendfsync always, SET");
        contestants.push(Contestant::new(|round| {
            crowd(round).rate(|at| {
                let (mut set, agent) = (redis.connect(), format!("agent-{at}"));
                move |state| set(&agent, &state)
            })
        }));
    }
    if let Ok(postgres) = &postgres {
        names.push("PostgreSQL, INSERT");
        contestants.push(Contestant::new(|round| {
            crowd(round).rate(|at| {
                let (mut insert, agent) = (postgres.connect(), format!("agent-{at}"));
                move |state| insert(&agent, &state)
            })
        }));
    }
    let figures = interleave(arguments.rounds(20), &mut contestants);
    drop(contestants);
    let work = format!("1 KB over the socket, {connections} connections");
    let mut rows = vec![Row::alone(work.clone(), Unit::PerSecond, &figures[0])];
    rows.extend(names.iter().zip(&figures[1..]).map(|(name, theirs)| {
        Row::against(format!("{work}, against {name}"), Unit::PerSecond, &figures[0], theirs)
    }));
    for (name, missing) in [("Redis", redis.err()), ("PostgreSQL", postgres.err())] {
        rows.extend(missing.map(|why| Row::skipped(format!("{work}, against {name}"), why)));
    }
    rows
}

/// Many agents at the pace of agents.
fn paced(arguments: &Arguments) -> Row {
    let home = arguments.scratch();
    let sidecar = Sidecar::start(home.path());
    let seconds = if arguments.quick { 20 } else { 60 };
    let began = Instant::now() + Duration::from_millis(200);
    let times: Vec<f64> = thread::scope(|scope| {
        let agents: Vec<_> = (0..AGENTS)
            .map(|at| {
                let mut connection = sidecar.connect();
                scope.spawn(move || pace(at, seconds, began, &mut connection))
            })
            .collect();
        agents.into_iter().flat_map(|it| it.join().expect("an agent ends well")).collect()
    });
    let work = format!("{AGENTS} agents, a checkpoint of 1 KB a second each, {seconds} s: p99");
    Row::alone(work, Unit::Seconds, &[percentile(&times, 0.99)]).at_most(0.05)
}

/// One agent: its turn comes once a second, at a moment of its own.
fn pace(at: usize, seconds: usize, began: Instant, connection: &mut Connection) -> Vec<f64> {
    let agent = format!("agent-{at}");
    let offset = Duration::from_secs_f64(at as f64 / AGENTS as f64);
    let turn = |(second, state): (usize, Vec<u8>)| {
        let due = began + offset + Duration::from_secs(second as u64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // From the moment it was due: who waits for the one before waits too.
        connection.commit(&agent, &state);
        due.elapsed().as_secs_f64()
    };
    states(at, seconds).into_iter().enumerate().map(turn).collect()
}

fn memory(arguments: &Arguments) -> Vec<Row> {
    if !cfg!(target_os = "linux") {
        return vec![Row::skipped("memory of the sidecar", "read from /proc")];
    }
    let home = arguments.scratch();
    let sidecar = Sidecar::start(home.path());
    let idle = sidecar.server.status_bytes("VmRSS:");
    Crowd::new(0, AGENTS, 100, BYTES).rate(|at| {
        let (mut connection, agent) = (sidecar.connect(), format!("agent-{at}"));
        move |state| connection.commit(&agent, &state)
    });
    let loaded = sidecar.server.status_bytes("VmRSS:");
    vec![
        Row::alone("memory of the sidecar, idle", Unit::Bytes, &[idle]).at_most(20e6),
        Row::alone(
            format!("memory of the sidecar after {AGENTS} agents with 100 checkpoints each"),
            Unit::Bytes,
            &[loaded],
        ),
    ]
}
