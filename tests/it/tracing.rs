//! What the library does can be watched: every stage shows in a subscriber of the caller's.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde_json::json;
use stateward::{CheckpointManager, Kind, Options, VerifyOptions};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber, span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Keeps the path of span names of every span, and of every event with its fields.
#[derive(Clone, Default)]
struct Watcher(Arc<Mutex<Vec<String>>>);

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Watcher {
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let path: Vec<&str> =
            context.span_scope(id).into_iter().flatten().map(|it| it.name()).collect();
        self.note(&path, "");
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let path: Vec<&str> =
            context.event_scope(event).into_iter().flatten().map(|it| it.name()).collect();
        let mut words = Words(format!(" {}", event.metadata().level()));
        event.record(&mut words);
        assert!(event.metadata().target().starts_with("stateward"), "{}", words.0);
        self.note(&path, &words.0);
    }
}

impl Watcher {
    fn note(&self, path: &[&str], words: &str) {
        let path: Vec<&str> = path.iter().rev().copied().collect();
        self.0.lock().push(format!("{}{words}", path.join("/")));
    }

    fn has_seen(&self, what: &str) {
        let seen = self.0.lock();
        assert!(seen.iter().any(|line| line.contains(what)), "`{what}` is not in:\n{seen:#?}");
    }
}

/// While a process has one subscriber only, a span or event that some other thread meets first is
/// switched off for good, because that thread has none. A second one, which nobody uses, is kept.
static SECOND: OnceLock<Dispatch> = OnceLock::new();

/// What a subscriber of everything up to `level` sees of `work` on a store that does everything in
/// the caller's thread.
fn watch(level: Level, work: impl FnOnce(&CheckpointManager)) -> Watcher {
    SECOND.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
    let watcher = Watcher::default();
    let layer = watcher.clone().with_filter(LevelFilter::from_level(level));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let options = Options { background: false, ..Options::in_memory() };
        work(&CheckpointManager::open(options).unwrap());
    });
    watcher
}

#[test]
fn the_way_out_is_seen_stage_by_stage() {
    let seen = watch(Level::DEBUG, |manager| {
        let agent = manager.agent("a").unwrap();
        for n in 0..5 {
            agent.create_checkpoint(Kind::Routine, &json!({"n": n})).unwrap();
        }
    });
    seen.has_seen("open");
    seen.has_seen("checkpoint/encode");
    seen.has_seen("checkpoint/commit/store");
    seen.has_seen("checkpoint/commit/store DEBUG message=durable");
    seen.has_seen("checkpoint/commit DEBUG message=retention");
}

#[test]
fn the_way_back_and_the_upkeep_are_seen() {
    let seen = watch(Level::DEBUG, |manager| {
        let agent = manager.agent("a").unwrap();
        let receipt = agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap();
        agent.create_checkpoint(Kind::Routine, &json!({"n": 2})).unwrap();
        agent.restore_checkpoint(&receipt.path).unwrap();
        drop(agent.begin_operation("deploy").unwrap());
        manager.verify(&VerifyOptions::default(), &mut |_| ()).unwrap();
        manager.prune(&mut |_| ()).unwrap();
    });
    seen.has_seen("restore/checkpoint/commit/store");
    seen.has_seen("restore INFO message=restored");
    seen.has_seen("closes an operation");
    seen.has_seen("verify INFO message=verified");
    seen.has_seen("prune INFO message=compacted");
}

#[test]
fn what_goes_well_is_not_shouted_about() {
    let seen = watch(Level::INFO, |manager| {
        let agent = manager.agent("a").unwrap();
        agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap();
        agent.read_checkpoint("latest").unwrap();
    });
    assert_eq!(*seen.0.lock(), Vec::<String>::new());
}
