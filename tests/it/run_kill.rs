//! `run` killed with -9 at any moment, the agent, its sidecar or both, and started again: it goes on
//! from the last checkpoint, nothing acknowledged is lost, and a torn memory is put back.
//!
//! Who is killed and when follows from a seed, which a failure names. `STATEWARD_EXHAUSTIVE=1` tries
//! many.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use stateward::{CheckpointManager, Options};

use crate::cli_home::Home;
use crate::history::is_exhaustive;
use crate::run_home::{lives, until};
use crate::server_home::Sidecar;

const KILLS: u64 = 8;
const STEPS: u64 = 60;

/// An agent that says nothing to its sidecar. It writes each step into the workspace, and then its
/// memory, slowly and in place, so that a kill tears it.
const SILENT: &str = r#"
import json, os, sys, time
attempt, steps = os.environ["STATEWARD_ATTEMPT"], int(os.environ["STEPS"])
with open("w/memory.json") as file:
    text = file.read()
try:
    n = json.loads(text)["n"]
except ValueError:
    sys.exit(print("torn %r" % text, flush=True))
print("attempt %s: goes on after step %d" % (attempt, n), flush=True)
there = [i for i in range(1, steps + 2) if os.path.exists("w/step-%d" % i)]
missing = [i for i in range(1, n + 1) if i not in there]
if missing:
    sys.exit(print("apart: %r beside %d" % (there, n), flush=True))
while n < steps:
    n += 1
    with open("w/step-%d" % n, "w") as file:
        file.write(str(n))
    text = json.dumps({"n": n, "done": [], "pad": "x" * 3000})
    with open("w/memory.json", "w") as file:
        for at in range(0, len(text), 500):
            file.write(text[at:at + 500])
            file.flush()
            time.sleep(0.004)
    time.sleep(0.03)
print("did %d" % n)
"#;

/// Numbers that look like chance and follow from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn seeds() -> std::ops::Range<u64> {
    if is_exhaustive() { 0..30 } else { 0..2 }
}

/// A `run` that goes on, and what came of it so far.
struct Life {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Life {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, told) = (Arc::default(), Arc::default());
        let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers = vec![
            std::thread::spawn({
                let said: Arc<Mutex<Vec<String>>> = Arc::clone(&said);
                move || {
                    let lines = BufReader::new(out).lines().map_while(Result::ok);
                    lines.for_each(|line| said.lock().push(line));
                }
            }),
            std::thread::spawn({
                let told: Arc<Mutex<String>> = Arc::clone(&told);
                move || {
                    let mut piece = [0; 4096];
                    while let Ok(read @ 1..) = err.read(&mut piece) {
                        told.lock().push_str(&String::from_utf8_lossy(&piece[..read]));
                    }
                }
            }),
        ];
        Self { child, said, told, readers }
    }

    fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it where it is not over, and waits; its exit code, and what its command had said.
    fn end(mut self, kill: bool) -> (Option<i32>, Vec<String>, String) {
        if kill {
            self.child.kill().unwrap();
        }
        let code = self.child.wait().unwrap().code();
        let mut readers = self.readers;
        // A command that lives on holds what `run` printed to only where it was given that itself.
        readers.drain(..).for_each(|reader| reader.join().unwrap());
        let said = std::mem::take(&mut *self.said.lock());
        let told = std::mem::take(&mut *self.told.lock());
        (code, said, told)
    }
}

/// One agent, killed again and again.
struct Case {
    seed: u64,
    chance: Chance,
    home: Home,
    program: Vec<String>,
    flags: Vec<&'static str>,
    /// What was acknowledged to the agent, or held by the newest checkpoint, when an attempt was
    /// killed: no later attempt begins with less.
    floors: Vec<(u64, u64)>,
    /// What went on, for whoever has to find out.
    history: Vec<String>,
}

impl Case {
    fn new(seed: u64, program: &[&str], flags: &[&'static str]) -> Self {
        let home = Home::new();
        home.write("w/memory.json", "{\"n\":0,\"done\":[]}");
        Self {
            seed,
            chance: Chance(seed),
            home,
            program: program.iter().map(|word| (*word).to_owned()).collect(),
            flags: flags.to_vec(),
            floors: Vec::new(),
            history: Vec::new(),
        }
    }

    fn store(&self) -> PathBuf {
        self.home.store_of("w")
    }

    fn start(&self) -> Life {
        let fixed = ["run", "--workspace", "w", "--state", "w/memory.json"];
        let program: Vec<&str> = self.program.iter().map(String::as_str).collect();
        let mut command = self.home.raw(&[&fixed[..], &self.flags, &["--"], &program[..]].concat());
        for (name, value) in [
            ("RESTART_DELAY_INITIAL", "1ms"),
            ("RESTART_DELAY_MAX", "20ms"),
            ("RESTARTS_MAX", "10000"),
            ("QUICK_EXIT", "0s"),
            ("STATE_SETTLE", "10ms"),
            ("QUIET_AFTER", "100ms"),
        ] {
            command.env(format!("STATEWARD_RUN__{name}"), value);
        }
        command.env("STEPS", STEPS.to_string());
        command.env("PAUSE", "0.06").env("THINKS", "0.1");
        Life::start(command)
    }

    /// The attempt that is recorded as running, and its process.
    fn recorded(&self) -> (u64, Option<i32>) {
        let text = std::fs::read(self.store().join("runs/default.lock")).unwrap_or_default();
        let record: Value = serde_json::from_slice(&text).unwrap_or_default();
        let pid = record["child"]["leader"]["pid"].as_i64();
        let attempt = record["child"]["attempt"].as_u64().unwrap_or(0);
        (attempt, pid.and_then(|pid| i32::try_from(pid).ok()))
    }

    /// How many steps the newest checkpoint holds.
    fn newest(&self) -> u64 {
        let Ok(manager) = CheckpointManager::open_to_look(Options::new(self.store())) else {
            return 0;
        };
        let agent = manager.agent("default").unwrap();
        let newest = agent.read_checkpoint("latest");
        newest.ok().and_then(|it| Some(steps_of(it.state_bytes()?))).unwrap_or(0)
    }

    /// Kills a process of the agent, where it is there; whether it was.
    fn kill_agent(&self, pid: Option<i32>) -> bool {
        let name = &self.program[1];
        let is_it = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(name.as_str())
        };
        let Some(pid) = pid.filter(is_it) else { return false };
        Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
        until("the agent is gone", || !lives(pid));
        true
    }

    /// Kills again and again, and lets it come to its end; what its command had said in each life.
    fn play(&mut self, mut sidecar: Option<Sidecar>) {
        let mut life = self.start();
        for _ in 0..KILLS {
            // Now and then before it has begun, mostly in the midst of its work.
            let most = [300, 3000, 3000][usize::try_from(self.chance.below(3)).unwrap()];
            std::thread::park_timeout(Duration::from_millis(self.chance.below(most)));
            if life.is_over() {
                break;
            }
            let (attempt, pid) = self.recorded();
            let way = self.chance.below(4);
            self.history.push(format!("way {way} at attempt {attempt}, process {pid:?}"));
            match way {
                0 => {
                    let floor = self.newest();
                    self.kill_agent(pid);
                    self.floors.push((attempt, floor));
                    continue;
                }
                1 if sidecar.is_some() => {
                    sidecar.take().unwrap().kill();
                    continue;
                }
                2 => _ = self.kill_agent(pid),
                _ => {}
            }
            let (_, said, told) = life.end(true);
            self.hear(&said, &told);
            let floor = self.newest();
            self.floors.push((attempt, floor));
            // Only one that was there can have been in the midst of a write.
            if way == 3 && self.kill_agent(pid) {
                self.tear();
            }
            life = self.start();
        }
        until(&format!("seed {}: it ends", self.seed), || life.is_over());
        let (code, said, told) = life.end(false);
        self.hear(&said, &told);
        self.check_end(code, &told);
    }

    /// Cuts the memory off somewhere.
    fn tear(&mut self) {
        let path = self.home.path("w/memory.json");
        let text = std::fs::read(&path).unwrap_or_default();
        let len = usize::try_from(self.chance.below(text.len() as u64 + 1)).unwrap();
        std::fs::write(path, &text[..len]).unwrap();
        self.history.push(format!("torn after {len} of {} bytes", text.len()));
    }

    /// Takes what an agent said in one life: each attempt goes on from what was kept before it.
    fn hear(&mut self, said: &[String], told: &str) {
        self.history.extend(said.iter().cloned());
        self.history.extend(told.lines().map(str::to_owned));
        let mut attempt = 0;
        for line in said {
            let numbers: Vec<u64> = line
                .split(|letter: char| !letter.is_ascii_digit())
                .filter_map(|word| word.parse().ok())
                .collect();
            if line.contains("goes on after step") {
                attempt = numbers[0];
                let floors = self.floors.iter().filter(|(killed, _)| *killed < attempt);
                let floor = floors.map(|(_, floor)| *floor).max().unwrap_or(0);
                assert!(numbers[1] >= floor, "{line}, but {floor} were kept: {self}");
            } else if line.starts_with("  step ") {
                self.floors.push((attempt, numbers[0]));
            }
            assert!(!line.starts_with("torn") && !line.starts_with("apart"), "{line}: {self}");
        }
    }

    fn check_end(&self, code: Option<i32>, told: &str) {
        assert_eq!(code, Some(0), "{told}\n{self}");
        assert_eq!(self.newest(), STEPS, "{self}");
        let last = self.home.read("w/memory.json");
        assert_eq!(steps_of(&last), STEPS, "{self}");
        let store = self.store();
        let flags = ["--store", store.to_str().unwrap()];
        let out = self.home.path("back");
        let back = ["restore", "latest", "--to", out.to_str().unwrap()];
        self.home.done(&[&back[..], &flags].concat());
        assert_eq!(names(&out), names(&self.home.path("w")), "{self}");
        let verified = self.home.json(&[&["verify"], &flags[..]].concat());
        assert_eq!(verified[0]["sound"], true, "{verified}\n{self}");
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}\n{}", self.seed, self.history.join("\n"))
    }
}

/// How many steps a state tells of.
fn steps_of(state: &[u8]) -> u64 {
    let state: Value = serde_json::from_slice(state).unwrap();
    let done = state["done"].as_array().map_or(0, |done| done.len() as u64);
    state["n"].as_u64().unwrap_or(0).max(done)
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Where Python itself lies: what stands before it on the path may be a script that looks for it.
fn python() -> String {
    let told = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(told.unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn an_agent_that_posts_goes_on_from_what_was_acknowledged() {
    let example = format!("{}/examples/agent.py", env!("CARGO_MANIFEST_DIR"));
    for seed in seeds() {
        let mut case = Case::new(seed, &[&python(), &example, "w/memory.json"], &[]);
        let store = case.store();
        let sidecar =
            (seed % 2 == 1).then(|| case.home.serve(&["--store", store.to_str().unwrap()]));
        case.play(sidecar);
    }
}

#[test]
fn an_agent_that_says_nothing_goes_on_from_what_was_kept() {
    for seed in seeds() {
        let mut case = Case::new(seed, &[&python(), "silent.py"], &[]);
        case.home.write("silent.py", SILENT);
        case.play(None);
    }
}

#[test]
fn the_state_knows_of_nothing_that_the_workspace_lost_where_both_go_back() {
    for seed in seeds() {
        let mut case = Case::new(seed, &[&python(), "silent.py"], &["--on-crash", "both"]);
        case.home.write("silent.py", SILENT);
        case.play(None);
    }
}
