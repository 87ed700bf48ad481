//! The `_async` twins do what the blocking calls do, and do not hold up a runtime of one thread.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use stateward::{
    Agent, CheckpointManager, ErrorKind, Filter, ForgetRequest, Kind, Options, Outcome,
    RestoreOptions, SourceError, Standing, StateSource, VerifyOptions,
};

async fn agent() -> (CheckpointManager, Agent) {
    let manager = CheckpointManager::open_async(Options::in_memory()).await.unwrap();
    let agent = manager.agent("a").unwrap();
    (manager, agent)
}

async fn kept(agent: &Agent, n: u64) -> String {
    let receipt = agent.create_checkpoint_async(Kind::Routine, &json!({"n": n})).await.unwrap();
    receipt.checkpoint_id.to_string()
}

async fn latest(agent: &Agent) -> Value {
    agent.read_checkpoint_async("latest").await.unwrap().state().unwrap()
}

#[tokio::test]
async fn a_checkpoint_goes_out_and_comes_back() {
    let (manager, agent) = agent().await;
    let first = kept(&agent, 1).await;
    let second = agent.checkpoint(Kind::Routine).state_bytes(b"{\"n\":2}".into());
    let second = second.commit_async().await.unwrap();
    assert_eq!(latest(&agent).await, json!({"n": 2}));

    assert_eq!(agent.diff_async(&first, "latest").await.unwrap().len(), 1);
    assert_eq!(agent.show_async(&first).await.unwrap().seq.0, 1);
    let newest = agent.get_latest_checkpoint_async(Kind::Routine).await.unwrap();
    assert_eq!(newest.as_ref(), Some(&second.checkpoint));
    assert_eq!(agent.list_checkpoints_async(Filter::default()).await.unwrap().len(), 2);

    let bundle = agent.export_async(&first).await.unwrap();
    let other = manager.agent("b").unwrap();
    assert_eq!(other.import_async(bundle).await.unwrap().state_bytes, 7);
    assert_eq!(manager.log_async(None).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_restore_is_done_and_taken_back() {
    let (_manager, agent) = agent().await;
    let first = kept(&agent, 1).await;
    kept(&agent, 2).await;
    agent.restore_checkpoint_async(&first).await.unwrap();
    assert_eq!(latest(&agent).await, json!({"n": 1}));
    agent.undo_async(&RestoreOptions::default()).await.unwrap();
    assert_eq!(latest(&agent).await, json!({"n": 2}));
    let dry = RestoreOptions { dry_run: true, ..RestoreOptions::default() };
    assert_eq!(agent.restore_async("latest", &dry).await.unwrap().restored_as, None);
    agent.reset_async().await.unwrap();
    let none = agent.read_checkpoint_async("latest").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn operations_end_as_they_are_told_to() {
    let (_manager, agent) = agent().await;
    kept(&agent, 1).await;
    agent.begin_operation_async("a").await.unwrap().complete_async().await.unwrap();
    agent.begin_operation_async("b").await.unwrap().fail_async("it broke").await.unwrap();
    let guard = agent.begin_operation_async("c").await.unwrap();
    kept(&agent, 2).await;
    guard.roll_back_async("worse than before").await.unwrap();
    assert_eq!(latest(&agent).await, json!({"n": 1}));
    let open = agent.begin_operation_async("d").await.unwrap().detach();
    agent.close_operation_async(&open.id.to_string(), Outcome::Completed, "").await.unwrap();
    let all = agent.operations_async().await.unwrap();
    let ends: Vec<(&str, Standing)> =
        all.iter().map(|one| (one.name.as_str(), one.status)).collect();
    let (completed, failed) = (Standing::Completed, Standing::Failed);
    assert_eq!(ends, [("b", failed), ("c", failed), ("d", completed)]);
}

#[tokio::test]
async fn a_store_is_looked_after() {
    let (manager, agent) = agent().await;
    for n in 0..6 {
        kept(&agent, n).await;
    }
    let request = ForgetRequest { keep_last: Some(1), ..ForgetRequest::default() };
    manager.forget_async(request).await.unwrap();
    let (told, heard) = mpsc::channel();
    manager.prune_async(move |progress| told.send(progress).unwrap()).await.unwrap();
    assert!(heard.try_iter().count() > 0);
    agent.forget_async(&["latest"], true).await.unwrap();
    let reports = manager.verify_async(VerifyOptions::default(), |_| ()).await.unwrap();
    assert!(reports[0].sound && !reports.is_empty());
    manager.settle_async().await.unwrap();
}

/// Answers only once it was allowed to.
struct Slow(Mutex<mpsc::Receiver<()>>);

impl StateSource for Slow {
    fn collect(&self) -> Result<Vec<u8>, SourceError> {
        self.0.lock().recv()?;
        Ok(b"{}".into())
    }

    fn apply(&self, _: &[u8]) -> Result<(), SourceError> {
        Ok(())
    }
}

/// The commit waits for what the same thread does next: were it to hold that thread up, nothing
/// would ever come of either.
#[tokio::test(flavor = "current_thread")]
async fn a_waiting_commit_leaves_the_thread_to_others() {
    let (_manager, agent) = agent().await;
    let (allow, allowed) = mpsc::channel();
    let agent = agent.with_source(Arc::new(Slow(Mutex::new(allowed))));
    let mut commit = pin!(agent.checkpoint(Kind::Routine).commit_async());
    let first = std::future::poll_fn(|context| {
        std::task::Poll::Ready(commit.as_mut().poll(context).is_pending())
    });
    assert!(first.await);
    allow.send(()).unwrap();
    assert_eq!(commit.await.unwrap().seq.0, 1);
}

#[tokio::test]
async fn what_has_begun_is_finished_when_nobody_waits_any_more() {
    let (_manager, agent) = agent().await;
    let (allow, allowed) = mpsc::channel();
    let slow = agent.clone().with_source(Arc::new(Slow(Mutex::new(allowed))));
    {
        let mut commit = pin!(slow.checkpoint(Kind::Routine).commit_async());
        let begun = std::future::poll_fn(|context| {
            std::task::Poll::Ready(commit.as_mut().poll(context).is_pending())
        });
        assert!(begun.await);
    }
    allow.send(()).unwrap();
    while agent.list_checkpoints_async(Filter::default()).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}
