//! Drills on a schedule: whether the newest checkpoints come back is tried before somebody needs it.
//!
//! Each drill brings the newest checkpoint of each agent back into a directory of the store's own,
//! compares it byte for byte, and takes it away again. It fails where a newest checkpoint does not
//! come back as it was kept, also where an older one would: that is work which is lost already and
//! nobody knows. A drill that failed is told in the log, as an event, and by `/readyz` until a later
//! one succeeds; figures tell how old what came back was, and how long it took.
//!
//! One agent is drilled at a time, and a sidecar that ends waits for no more than the agent that is
//! being drilled. When the next drill is due is not remembered across a restart.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::app::App;
use crate::state::{AgentId, Timestamp};
use crate::store::Layout;
use crate::validate::{Drilled, Yard, remove_all};

/// The first drill comes after this part of the time between two, so that a sidecar that is started
/// anew each day has drills as well, and one that was just started has better things to do.
const FIRST: u32 = 24;
/// How often it is looked whether the schedule is another one.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What came of the last drill.
#[derive(Debug, Default)]
pub(super) struct Drills(Mutex<Option<Drill>>);

/// One drill of all agents.
#[derive(Debug, Clone)]
pub(super) struct Drill {
    /// When it ended.
    pub at: Timestamp,
    /// Agent by agent.
    pub drilled: Vec<Drilled>,
    /// Why it could not be made at all.
    pub trouble: Option<String>,
}

impl Drill {
    /// Agents whose newest checkpoint did not come back.
    pub(super) fn failed(&self) -> impl Iterator<Item = &Drilled> {
        self.drilled.iter().filter(|one| one.failed())
    }
}

impl Drills {
    /// What the last drill found amiss, in words.
    pub(super) fn troubles(&self) -> Vec<String> {
        let last = self.0.lock();
        let Some(drill) = last.as_ref() else { return Vec::new() };
        let whole = drill.trouble.iter().map(|why| format!("the drill could not be made: {why}"));
        whole
            .chain(drill.failed().map(|one| format!("the drill failed: {}", in_words(one))))
            .collect()
    }
}

/// What does not come back of an agent, and what does instead.
fn in_words(one: &Drilled) -> String {
    let agent = &one.agent_id;
    match (&one.why, one.seq) {
        (Some(why), Some(seq)) => {
            format!("checkpoint {seq} of agent {agent} does not come back: {why}")
        }
        (Some(why), None) => format!("no checkpoint of agent {agent} comes back: {why}"),
        (None, seq) => {
            let older = seq.map(|seq| format!("; {seq} does")).unwrap_or_default();
            let past = one.walked_past;
            format!(
                "the newest {past} of agent {agent} are damaged and do not come back{older}; \
                 `stateward verify` tells more"
            )
        }
    }
}

/// Drills whenever it is due, until the sidecar is told to end.
pub(super) async fn keep_drilling(app: App) {
    let mut last: Option<Duration> = None;
    let began = app.elapsed();
    loop {
        let wait = wait(app.options().drill_every.as_duration(), began, last, app.elapsed());
        if wait.is_zero() {
            drill(&app).await;
            last = Some(app.elapsed());
            continue;
        }
        tokio::select! {
            () = app.ended() => return,
            () = sleep(wait.min(LOOK_EVERY)) => {}
        }
    }
}

/// How long until the next drill; for ever where none is wanted.
fn wait(every: Duration, began: Duration, last: Option<Duration>, now: Duration) -> Duration {
    if every.is_zero() {
        return Duration::MAX;
    }
    let due = last.map_or(began.saturating_add(every / FIRST), |last| last.saturating_add(every));
    due.saturating_sub(now)
}

/// Makes one drill, and tells what came of it.
async fn drill(app: &App) {
    let asked = app.clone();
    let made = spawn_blocking(move || make(&asked)).await;
    let made = made.unwrap_or_else(|died| (Vec::new(), Some(format!("it died: {died}"))));
    if app.is_ending() {
        // It was cut short, and says nothing about those that it did not come to.
        return;
    }
    let (drilled, trouble) = made;
    let drill = Drill { at: app.manager().now(), drilled, trouble };
    tell(app, &drill);
    app.metrics().count_drill(&drill);
    *app.drills().0.lock() = Some(drill);
}

/// What came of each agent, and why there is nothing to tell of the others.
fn make(app: &App) -> (Vec<Drilled>, Option<String>) {
    let manager = app.manager();
    let disk = manager.disk_in_use();
    let dir = Layout::new(manager.store_path()).drill();
    // A sidecar that was killed while it drilled leaves what it brought back.
    let left = match remove_all(&*disk, &dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let yard = match left.and_then(|()| Yard::open(&disk, manager.clock(), &dir)) {
        Ok(yard) => yard,
        Err(error) => return (Vec::new(), Some(format!("{}: {error}", dir.display()))),
    };
    let agents = manager.agents();
    let kept = agents.iter().filter(|one| one.checkpoints > 0).map(|one| &one.agent_id);
    let drilled =
        kept.take_while(|_| !app.is_ending()).map(|agent| one(app, &yard, agent)).collect();
    let trouble = yard.close().err().map(|error| format!("{}: {error}", dir.display()));
    (drilled, trouble)
}

fn one(app: &App, yard: &Yard, agent: &AgentId) -> Drilled {
    let span = tracing::debug_span!("drill", %agent);
    span.in_scope(|| yard.drill(app.manager(), agent))
}

fn tell(app: &App, drill: &Drill) {
    for one in drill.failed() {
        tracing::error!(agent = %one.agent_id, "the drill failed: {}", in_words(one));
    }
    if let Some(why) = &drill.trouble {
        tracing::error!(why, "the drill could not be made");
    }
    let failed: Vec<&Drilled> = drill.failed().collect();
    let sound = drill.drilled.len() - failed.len();
    tracing::info!(
        sound,
        failed = failed.len(),
        "drilled: the newest checkpoints were brought back"
    );
    let detail = json!({ "sound": sound, "failed": failed, "trouble": drill.trouble });
    let entry =
        if failed.is_empty() && drill.trouble.is_none() { "drilled" } else { "drill_failed" };
    app.announce(entry, detail);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_drill_comes_soon_and_the_next_ones_in_their_time() {
        let at = Duration::from_secs;
        let day = at(24 * 3600);
        assert_eq!(wait(day, at(5), None, at(5)), at(3600));
        assert_eq!(wait(day, at(5), None, at(3700)), Duration::ZERO);
        assert_eq!(wait(day, at(5), Some(at(4000)), at(4000)), day);
        assert_eq!(wait(at(60), at(5), Some(at(4000)), at(9000)), Duration::ZERO, "made shorter");
        assert_eq!(wait(Duration::ZERO, at(5), Some(at(9)), at(9000)), Duration::MAX, "never");
    }
}
