//! `kill -9` of a real process on a real disk, and two processes at one store.
//!
//! The processes are this test binary, started again with the test named that plays the part.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use stateward::error::ErrorKind;
use stateward::state::{CheckpointId, Digest, Kind};
use stateward::{CheckpointManager, Filter, Options};

use crate::history::state;

/// Names the store for a process that plays a part.
const STORE: &str = "STATEWARD_TEST_STORE";
const ROUNDS: usize = 30;
const THREADS: usize = 4;
const KEPT: u64 = 40;

/// Small segments, so that killing meets segments being made, and few checkpoints, so that it meets
/// forgetting and compaction.
fn options(store: &Path) -> Options {
    let mut options = Options::new(store);
    options.log.segment_bytes_min = 64 << 10;
    options.log.segment_bytes_max = 256 << 10;
    options.retention.routine.keep_last = KEPT;
    options.retention.routine.anchors = Vec::new();
    options
}

/// The store, where this process was started to play a part.
fn own_part() -> Option<PathBuf> {
    std::env::var_os(STORE).map(PathBuf::from)
}

/// A process that plays the part of the test named.
struct Player {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    told: ChildStdin,
}

impl Player {
    fn start(part: &str, store: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&format!("kill::{part}"), "--exact", "--nocapture", "--quiet"])
            .env(STORE, store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = child.stdin.take().unwrap();
        Self { child, said, told }
    }

    /// The next line that the part says, without the mark that tells it from the test harness's.
    fn hear(&mut self) -> Option<String> {
        self.said.find_map(|line| Some(line.ok()?.strip_prefix("> ")?.to_owned()))
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.told, "{word}").unwrap();
    }

    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.hear()).collect()
    }
}

fn say(words: &str) {
    // One write, so that what a killed process said is a line or is nothing.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("> {words}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn wait_for_word() {
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
}

/// The part of a process that commits as fast as it can and says what was acknowledged.
#[test]
fn part_of_a_busy_writer() {
    let Some(store) = own_part() else { return };
    let manager = CheckpointManager::open(options(&store)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let manager = &manager;
            scope.spawn(move || {
                let agent = manager.agent(&format!("agent-{thread}")).unwrap();
                for n in 0.. {
                    let bytes = state(n, [100, 3000, 40_000][n % 3]);
                    let digest = Digest::of(&bytes);
                    let made = agent.checkpoint(Kind::Routine).state_bytes(bytes).commit().unwrap();
                    let made = made.checkpoint;
                    say(&format!("{thread} {} {} {digest}", made.checkpoint_id, made.seq));
                }
            });
        }
    });
}

/// What each agent was acknowledged: by number, the checkpoint and the digest of its state.
#[derive(Default)]
struct Acknowledged(BTreeMap<String, BTreeMap<u64, (CheckpointId, String)>>);

impl Acknowledged {
    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap();
        let agent = format!("agent-{}", next());
        let (id, seq) = (next().parse().unwrap(), next().parse().unwrap());
        self.0.entry(agent).or_default().insert(seq, (id, next().to_owned()));
    }

    /// Everything that retention cannot have let go is listed and restores.
    fn check(&self, manager: &CheckpointManager, round: usize) -> usize {
        let mut checked = 0;
        for (agent, acknowledged) in &self.0 {
            let agent = manager.agent(agent).unwrap();
            let listed = agent.list_checkpoints(Filter::default()).unwrap();
            let newest = listed[0].seq.0;
            let last = *acknowledged.last_key_value().unwrap().0;
            assert!(newest >= last, "round {round}: the newest of {} is lost", agent.id());
            // One commit of each agent may have been under way.
            assert!(newest <= last + 1, "round {round}: nobody asked for {newest} behind {last}");
            for (seq, (id, digest)) in acknowledged.range((newest + 1).saturating_sub(KEPT)..) {
                let one = listed.iter().find(|one| one.checkpoint_id == *id);
                assert!(one.is_some(), "round {round}: {} lost {seq}", agent.id());
                let read = agent.read_checkpoint(id.to_string()).unwrap();
                assert_eq!(Digest::of(read.state_bytes().unwrap()).to_string(), *digest);
                checked += 1;
            }
        }
        checked
    }
}

#[test]
fn killed_at_random_moments_nothing_acknowledged_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("store");
    let mut acknowledged = Acknowledged::default();
    let mut checked = 0;
    for round in 0..ROUNDS {
        let mut writer = Player::start("part_of_a_busy_writer", &store);
        // Now and then before the first, mostly in the midst of it.
        for _ in 0..(round * 37) % 151 {
            acknowledged.take(&writer.hear().unwrap());
        }
        writer.kill().iter().for_each(|line| acknowledged.take(line));
        let manager = CheckpointManager::open(options(&store)).unwrap();
        let damage = manager.status().damage;
        assert!(damage.is_empty(), "round {round}: {damage:?}");
        checked += acknowledged.check(&manager, round);
    }
    let manager = CheckpointManager::open(options(&store)).unwrap();
    let verified = manager.verify(&stateward::VerifyOptions::default(), &mut |_| {}).unwrap();
    assert!(verified.iter().all(|one| one.sound), "{verified:#?}");
    println!("{checked} restores after {ROUNDS} kills");
}

/// The part of a process that tries to open a store, and keeps it.
#[test]
fn part_of_an_opener() {
    let Some(store) = own_part() else { return };
    let mut options = options(&store);
    // Long enough for the other to have written who it is.
    options.store.lock_wait_ms = 300;
    say("ready");
    wait_for_word();
    let opened = CheckpointManager::open(options);
    match &opened {
        Ok(_) => say(&format!("opened {}", std::process::id())),
        Err(error) => say(&format!("{:?} {error}", error.kind())),
    }
    wait_for_word();
}

#[test]
fn of_two_processes_one_gets_the_lock() {
    let home = tempfile::tempdir().unwrap();
    for round in 0..6 {
        let store = home.path().join(format!("store-{}", round % 3));
        let mut both = ["a", "b"].map(|_| Player::start("part_of_an_opener", &store));
        for player in &mut both {
            assert_eq!(player.hear().unwrap(), "ready");
        }
        for player in &mut both {
            player.tell("go");
        }
        let mut answers: Vec<String> =
            both.iter_mut().map(|player| player.hear().unwrap()).collect();
        answers.sort_unstable_by_key(|answer| !answer.starts_with("opened"));
        let pid = answers[0].strip_prefix("opened ").unwrap_or_else(|| panic!("{answers:?}"));
        let refused = format!("{:?} ", ErrorKind::Locked);
        assert!(answers[1].starts_with(&refused), "{answers:?}");
        assert!(answers[1].contains(&format!("process {pid} ")), "{answers:?}");
        for player in both {
            player.kill();
        }
    }
}

#[test]
fn reading_while_another_process_writes_and_forgets() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("store");
    let mut writer = Player::start("part_of_a_busy_writer", &store);
    let mut acknowledged = Acknowledged::default();
    for _ in 0..40 {
        acknowledged.take(&writer.hear().unwrap());
    }
    for round in 0..25 {
        let reader = CheckpointManager::open_to_look(options(&store)).unwrap();
        let damage = reader.status().damage;
        assert!(damage.is_empty(), "round {round}: {damage:?}");
        for agent in acknowledged.0.keys() {
            let agent = reader.agent(agent).unwrap();
            let listed = agent.list_checkpoints(Filter::default()).unwrap();
            assert!(!listed.is_empty(), "round {round}: {} has nothing", agent.id());
            for one in listed {
                let read = agent.read_checkpoint(one.checkpoint_id.to_string());
                let read = read.unwrap_or_else(|error| panic!("round {round}: {error}"));
                assert_eq!(read.state_bytes().map(Digest::of), one.state_digest);
            }
        }
        for _ in 0..20 {
            acknowledged.take(&writer.hear().unwrap());
        }
    }
    writer.kill();
}
