//! Under load, what was acknowledged is there: through a disk that fills up and has room again, through
//! an order to end, and of a hundred agents that save steadily.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli_home::Home;
use crate::fallback::words;
use crate::fallback_real::Mounted;
use crate::run_home::until;
use crate::server_home::{Place, Reply, Sidecar, request};

/// Nothing is forgotten, and so small a disk is not over its budget at once.
const SETTINGS: &str = "[retention]\ndisk_budget = \"1GiB\"\nfree_floor = \"0\"\n
[retention.routine]\nkeep_last = 100000\nanchors = []\n
[server]\ndrain_timeout = \"60s\"\n
[log]\nsegment_bytes_min = 131072\nsegment_bytes_max = 524288\n";

fn serve(home: &Home, store: &Path) -> Sidecar {
    home.write("stateward.toml", SETTINGS);
    home.serve(&["--store", store.to_str().unwrap()])
}

/// Asks for a checkpoint; nothing where nobody answers, or not to the end.
fn post(place: &Place, agent: &str, state: &Value) -> Option<Reply> {
    let Place::Socket(path) = place else { unreachable!() };
    let mut wire = UnixStream::connect(path).ok()?;
    let body = json!({ "state": state }).to_string();
    let path = format!("/v1/agents/{agent}/checkpoints");
    let headers = ["content-type: application/json"];
    wire.write_all(&request("POST", &path, &headers, body.as_bytes())).ok()?;
    let mut bytes = Vec::new();
    wire.read_to_end(&mut bytes).ok();
    Reply::of(&bytes).filter(|reply| serde_json::from_slice::<Value>(&reply.body).is_ok())
}

/// What an agent was acknowledged: the checkpoint, and the state in it.
type Acknowledged = Vec<(String, Value)>;

fn id_of(reply: &Reply) -> String {
    reply.json()["checkpoint_id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn all_there(sidecar: &Sidecar, agent: &str, acknowledged: &Acknowledged) {
    for (id, state) in acknowledged {
        let found = sidecar.get(&format!("/v1/agents/{agent}/checkpoints/{id}/state"));
        assert_eq!(found.status, 200, "{agent} {id}: {found}");
        assert_eq!(found.json(), *state, "{agent} {id}");
    }
}

/// One agent that saves until it is told to stop and was acknowledged once more after that.
fn saves(place: &Place, agent: &str, roomy: &AtomicBool, full: &AtomicUsize) -> Acknowledged {
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for n in 0.. {
        let had_room = roomy.load(Ordering::SeqCst);
        let state = json!({ "n": n, "text": words(n, 20_000) });
        let reply = post(place, agent, &state).expect("the sidecar goes on");
        if reply.status == 201 {
            acknowledged.push((id_of(&reply), state));
            if had_room {
                return acknowledged;
            }
            continue;
        }
        reply.problem(507, "unstored");
        refused += 1;
        if refused == 1 {
            full.fetch_add(1, Ordering::SeqCst);
        }
    }
    acknowledged
}

#[test]
fn a_disk_that_fills_up_under_load_and_has_room_again() {
    const AGENTS: usize = 4;
    let home = Home::new();
    let Some(mounted) = Mounted::tmpfs(&home.path("disk"), "8m") else { return };
    let store = home.path("disk/store");
    let sidecar = serve(&home, &store);
    let (place, roomy, full) = (sidecar.socket(), AtomicBool::new(false), AtomicUsize::new(0));
    let all: Vec<Acknowledged> = std::thread::scope(|scope| {
        let (place, roomy, full) = (&place, &roomy, &full);
        let start = |at: usize| scope.spawn(move || saves(place, &agent(at), roomy, full));
        let savers: Vec<_> = (0..AGENTS).map(start).collect();
        until("each was told that there is no room", || full.load(Ordering::SeqCst) == AGENTS);
        assert_eq!(sidecar.get("/readyz").status, 503);
        mounted.remount("size=256m");
        roomy.store(true, Ordering::SeqCst);
        savers.into_iter().map(|saver| saver.join().unwrap()).collect()
    });
    assert!(all.iter().map(Vec::len).sum::<usize>() > 100, "8 MiB hold more than that");
    until("nothing waits in memory", || sidecar.get("/readyz").status == 200);
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    let sidecar = serve(&home, &store);
    for (at, acknowledged) in all.iter().enumerate() {
        all_there(&sidecar, &agent(at), acknowledged);
    }
    assert!(sidecar.stop().0.success());
    drop(mounted);
}

fn agent(at: usize) -> String {
    format!("agent-{at}")
}

#[test]
fn told_to_end_amid_many_commits_each_is_acknowledged_and_there_or_not_acknowledged() {
    const CLIENTS: usize = 64;
    let home = Home::new();
    let mut sidecar = serve(&home, &home.store());
    let (place, done) = (sidecar.socket(), AtomicUsize::new(0));
    let (all, exit, err) = std::thread::scope(|scope| {
        let (place, done) = (&place, &done);
        let client = move |at: usize| {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                let state = json!({ "client": at, "n": n });
                let Some(reply) = post(place, &agent(at), &state) else { break };
                if reply.status != 201 {
                    reply.problem(503, "unavailable");
                    break;
                }
                acknowledged.push((id_of(&reply), state));
                done.fetch_add(1, Ordering::SeqCst);
            }
            acknowledged
        };
        let clients: Vec<_> = (0..CLIENTS).map(|at| scope.spawn(move || client(at))).collect();
        until("they are well under way", || done.load(Ordering::SeqCst) > 10 * CLIENTS);
        sidecar.signal("TERM");
        let (exit, err) = sidecar.over();
        let all: Vec<Acknowledged> = clients.into_iter().map(|it| it.join().unwrap()).collect();
        (all, exit, err)
    });
    assert!(exit.success() && !err.contains("still under way"), "{exit} {err}");
    let sidecar = serve(&home, &home.store());
    for (at, acknowledged) in all.iter().enumerate() {
        all_there(&sidecar, &agent(at), acknowledged);
    }
}

/// One agent that saves once a beat, with how long each took.
fn saves_at(
    place: &Place,
    agent: &str,
    steps: u32,
    beat: Duration,
) -> (Acknowledged, Vec<Duration>) {
    let (began, mut acknowledged, mut took) = (Instant::now(), Vec::new(), Vec::new());
    for n in 1..=steps {
        let state = json!({ "n": n, "text": words(n.into(), 1_000) });
        let asked = Instant::now();
        let reply = post(place, agent, &state).expect("the sidecar goes on");
        took.push(asked.elapsed());
        assert_eq!((reply.status, reply.json()["seq"].as_u64()), (201, Some(n.into())), "{reply}");
        acknowledged.push((id_of(&reply), state));
        std::thread::park_timeout((beat * n).saturating_sub(began.elapsed()));
    }
    (acknowledged, took)
}

#[test]
fn a_hundred_agents_save_at_a_steady_pace() {
    const AGENTS: usize = 100;
    let whole = std::env::var_os("STATEWARD_EXHAUSTIVE").is_some();
    let (steps, beat) = if whole { (60, 1000) } else { (4, 200) };
    let home = Home::new();
    let sidecar = serve(&home, &home.store());
    let place = &sidecar.socket();
    let all: Vec<(Acknowledged, Vec<Duration>)> = std::thread::scope(|scope| {
        let start = |at: usize| {
            scope.spawn(move || saves_at(place, &agent(at), steps, Duration::from_millis(beat)))
        };
        let savers: Vec<_> = (0..AGENTS).map(start).collect();
        savers.into_iter().map(|saver| saver.join().unwrap()).collect()
    });
    let mut took: Vec<Duration> = all.iter().flat_map(|(_, took)| took.iter().copied()).collect();
    took.sort_unstable();
    println!("p50 {:?}, p99 {:?}", took[took.len() / 2], took[took.len() * 99 / 100]);
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    let sidecar = serve(&home, &home.store());
    for (at, (acknowledged, _)) in all.iter().enumerate() {
        all_there(&sidecar, &agent(at), acknowledged);
    }
}
