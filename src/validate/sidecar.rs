//! A real sidecar over its socket: killed under load, and left by clients that hang up.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::Value;

use super::Ground;
use super::life::state;
use super::scratch::Scratch;
use super::trial::{Broken, Outcome, Trial, Tried, ensure};
use crate::manager::{CheckpointManager, Filter, Options};
use crate::state::Digest;

/// A sidecar; killed when this goes.
struct Sidecar {
    child: Child,
    socket: PathBuf,
}

impl Sidecar {
    fn start(ground: &Ground, store: &Path, tried: &mut Tried) -> Result<Self, Broken> {
        let mut child = Command::new(&ground.program)
            .args(["serve", "--json", "--store"])
            .arg(store)
            .env("STATEWARD_RETENTION__ROUTINE__KEEP_LAST", "1000000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Broken::from(error).after("cannot start a sidecar"))?;
        tried.processes += 1;
        let out = child.stdout.take().ok_or_else(|| Broken::new("the sidecar has no output"))?;
        let mut line = String::new();
        let heard = BufReader::new(out).read_line(&mut line);
        let told: Option<Value> = serde_json::from_str(&line).ok();
        let url = told.as_ref().and_then(|told| told["url"].as_str()?.strip_prefix("unix:"));
        let Some(socket) = url.map(PathBuf::from).filter(|_| heard.is_ok()) else {
            child.kill().ok();
            child.wait().ok();
            return Err(Broken::new(format!("the sidecar does not say where it answers: {line}")));
        };
        Ok(Self { child, socket })
    }

    fn kill(mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Both fail where it was ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn request(agent: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/agents/{agent}/checkpoints HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn body(state: &[u8]) -> Vec<u8> {
    [b"{\"kind\":\"routine\",\"state\":", state, b"}"].concat()
}

/// Asks for a checkpoint; its id, where it was acknowledged.
fn keep(socket: &Path, agent: &str, state: &[u8]) -> io::Result<Option<String>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&request(agent, &body(state)))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    if !head.starts_with("HTTP/1.1 201") {
        return Ok(None);
    }
    let receipt: Option<Value> = serde_json::from_str(body).ok();
    Ok(receipt.and_then(|receipt| Some(receipt["checkpoint_id"].as_str()?.to_owned())))
}

/// What was acknowledged: agent, id, and the digest of the state.
type Acknowledged = Mutex<Vec<(String, String, Digest)>>;

fn options(store: &Path) -> Options {
    let mut options = Options::new(store);
    options.retention.routine.keep_last = 1_000_000;
    options
}

fn check(store: &Path, acknowledged: &Acknowledged, tried: &mut Tried) -> Outcome {
    let manager = CheckpointManager::open(options(store))?;
    let damage = manager.status().damage;
    ensure(damage.is_empty(), || format!("{damage:?}"))?;
    for (agent, id, digest) in acknowledged.lock().iter() {
        let read = manager.agent(agent)?.read_checkpoint(id);
        let read = read.map_err(|error| Broken::lost(1, format!("{agent} lost {id}: {error}")))?;
        let bytes = read.state_bytes().unwrap_or_default();
        tried.read(bytes.len());
        ensure(Digest::of(bytes) == *digest, || format!("{id} is read as other bytes"))?;
    }
    for one in manager.agents() {
        for found in manager.agent(one.agent_id.as_str())?.list_checkpoints(Filter::default())? {
            let read = manager.agent(one.agent_id.as_str())?;
            let read = read.read_checkpoint(found.checkpoint_id.to_string())?;
            let whole = read.state_bytes().map(Digest::of) == found.state_digest;
            ensure(whole, || format!("{} of {} is half", found.seq, one.agent_id))?;
        }
    }
    Ok(())
}

/// Four clients ask as fast as they can; the sidecar is killed in the midst of it.
pub(super) fn killed(ground: &Ground) -> Trial<'_> {
    Trial::real(1, move |case, tried| {
        let dir = Scratch::new(ground, case)?;
        let store = dir.path.join("store");
        let acknowledged = Acknowledged::default();
        for round in 0..2 {
            let sidecar = Sidecar::start(ground, &store, tried)?;
            load(sidecar, &acknowledged, 5 + case.draw(round, 120))?;
            tried.crash_points += 1;
            let checked = check(&store, &acknowledged, tried);
            checked.map_err(|broken| dir.kept(broken.after(format!("round {round}"))))?;
        }
        dir.remove()
    })
}

/// Puts a sidecar under load until so many requests were acknowledged, and kills it.
fn load(sidecar: Sidecar, acknowledged: &Acknowledged, until: u64) -> Outcome {
    let (heard, socket) = (AtomicU64::new(0), sidecar.socket.clone());
    let client = |client: usize| {
        let agent = format!("agent-{client}");
        for n in 0.. {
            let state = state(n, [100, 3000, 40_000][n % 3]);
            match keep(&socket, &agent, &state) {
                Ok(Some(id)) => {
                    acknowledged.lock().push((agent.clone(), id, Digest::of(&state)));
                    heard.fetch_add(1, Ordering::SeqCst);
                }
                // It was killed, or refuses; the check tells whether anything went with it.
                Ok(None) | Err(_) => return,
            }
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|one| scope.spawn(move || client(one))).collect();
        while heard.load(Ordering::SeqCst) < until && clients.iter().any(|one| !one.is_finished()) {
            std::thread::yield_now();
        }
        sidecar.kill()
    })?;
    let count = heard.into_inner();
    ensure(count >= until, || format!("only {count} requests were acknowledged"))
}

/// Clients hang up in the midst of their request, or before they read the answer; the sidecar goes
/// on, and nothing half is kept.
pub(super) fn hung_up(ground: &Ground) -> Trial<'_> {
    Trial::real(1, move |case, tried| {
        let dir = Scratch::new(ground, case)?;
        let store = dir.path.join("store");
        let sidecar = Sidecar::start(ground, &store, tried)?;
        let acknowledged = Acknowledged::default();
        for n in 0..20_usize {
            let rude = request("rude", &body(&state(n, 30_000)));
            let length = usize::try_from(case.draw(n as u64, rude.len() as u64 + 1)).unwrap_or(0);
            let length = if n.is_multiple_of(3) { rude.len() } else { length };
            UnixStream::connect(&sidecar.socket)?.write_all(&rude[..length])?;
            tried.faults += 1;
            let polite = state(n, 500);
            let id = keep(&sidecar.socket, "polite", &polite)?;
            let id = id.ok_or_else(|| Broken::new("the sidecar does not go on"))?;
            acknowledged.lock().push(("polite".to_owned(), id, Digest::of(&polite)));
        }
        sidecar.kill()?;
        check(&store, &acknowledged, tried).map_err(|broken| dir.kept(broken))?;
        dir.remove()
    })
}
