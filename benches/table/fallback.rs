//! How long commits stand still when the primary fails under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use stateward::state::{Durable, Kind};
use stateward::{Agent, Options};

use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::failing::FailingDisk;
use crate::ours;
use crate::row::{Row, Unit};

const WRITERS: usize = 4;

/// Commits of each writer before the primary fails.
const BEFORE: usize = 200;

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let seconds: Vec<f64> = (0..arguments.rounds(10)).map(|_| stand_still(arguments)).collect();
    let work = "the primary fails (EIO) under 4 writers: until the slowest has a fallback receipt";
    vec![Row::alone(work, Unit::Seconds, &seconds).at_most(2.0)]
}

/// Seconds from the failure until the last writer was acknowledged by the fallback.
fn stand_still(arguments: &Arguments) -> f64 {
    let home = arguments.scratch();
    let disk = FailingDisk::new(&ours::store_in(home.path()));
    let mut options =
        Options::new(ours::store_in(home.path())).fallback(home.path().join("fallback"));
    options.disk = Arc::new(disk.clone());
    let manager = ours::open_with(options);
    let failed = AtomicBool::new(false);
    let writers: Vec<Agent> =
        (0..WRITERS).map(|at| ours::agent(&manager, &format!("agent-{at}"))).collect();
    thread::scope(|scope| {
        let running: Vec<_> = writers
            .iter()
            .map(|agent| scope.spawn(|| acknowledged_by_fallback(agent, &failed)))
            .collect();
        let failing = scope.spawn(|| {
            let mut chat = Chat::seeded(12);
            let own = ours::agent(&manager, "agent-before");
            for _ in 0..BEFORE {
                ours::commit(&own, chat.state(1000));
            }
            let began = Instant::now();
            disk.fail();
            failed.store(true, Ordering::Release);
            began
        });
        let began = failing.join().expect("the failure is made");
        let ends = running.into_iter().map(|one| one.join().expect("no commit was refused"));
        ends.map(|end| end.duration_since(began).as_secs_f64()).fold(0.0, f64::max)
    })
}

/// Commits until a receipt says `fallback`, and answers when.
fn acknowledged_by_fallback(agent: &Agent, failed: &AtomicBool) -> Instant {
    let mut chat = Chat::seeded(11);
    loop {
        let request = agent.checkpoint(Kind::Routine).state_bytes(chat.state(1000));
        let receipt = request.commit().expect("one of the two targets takes it");
        match receipt.checkpoint.durable {
            Durable::Fallback => return Instant::now(),
            Durable::Local => assert!(
                !failed.load(Ordering::Acquire) || receipt.attempts.len() == 1,
                "acknowledged by a primary that fails"
            ),
        }
    }
}
