//! Figures for Prometheus.
//!
//! What happens is counted when it happens; how things stand is looked up when somebody asks. Names of
//! agents are labels, so there is a bound on how many have figures of their own: the first so many;
//! what the others do is counted under `_other`, which is no agent's id.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::app::App;
use crate::manager::{CheckpointManager, CommitEnd};
#[cfg(feature = "cli")]
use crate::state::Timestamp;
use crate::state::{AgentId, Durable, Receipt};

/// The media type of the figures.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of agents that have no figures of their own.
const OTHER: &str = "_other";

/// Seconds: from a commit to memory to one that waits for a disk that comes back.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Labels with their values, in a fixed order.
type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge<i64, AtomicI64>>;
type Seconds<const N: usize> = Family<Labels<N>, Gauge<f64, AtomicU64>>;
type Histograms = Family<Labels<1>, Histogram, fn() -> Histogram>;

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Everything that is counted.
pub(super) struct Metrics {
    registry: Registry,
    agents_max: usize,
    agents: Mutex<HashSet<AgentId>>,
    commits: Counters<2>,
    commit_seconds: Histograms,
    failed: Counters<1>,
    state_bytes: Counter,
    stored_bytes: Counter,
    retries: Counter,
    fallbacks: Counter,
    restores: Counters<1>,
    requests: Counters<3>,
    request_seconds: Histograms,
    refused: Counter,
    connections: Gauge<i64, AtomicI64>,
    held: Gauges<2>,
    writable: Gauges<2>,
    free_bytes: Gauges<2>,
    log_bytes: Gauges<2>,
    damage: Gauge<i64, AtomicI64>,
    unsaved: Gauge<i64, AtomicI64>,
    troubles: Gauge<i64, AtomicI64>,
    drills: Counter,
    drills_failed: Counter,
    drill_time: Gauge<f64, AtomicU64>,
    drill_failures: Gauge<i64, AtomicI64>,
    recovery_point: Seconds<1>,
    recovery_time: Seconds<1>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub(super) fn new(agents_max: usize) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("stateward"),
            agents_max,
            agents: Mutex::default(),
            commits: Family::default(),
            commit_seconds: Family::new_with_constructor(seconds),
            failed: Family::default(),
            state_bytes: Counter::default(),
            stored_bytes: Counter::default(),
            retries: Counter::default(),
            fallbacks: Counter::default(),
            restores: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            refused: Counter::default(),
            connections: Gauge::default(),
            held: Family::default(),
            writable: Family::default(),
            free_bytes: Family::default(),
            log_bytes: Family::default(),
            damage: Gauge::default(),
            unsaved: Gauge::default(),
            troubles: Gauge::default(),
            drills: Counter::default(),
            drills_failed: Counter::default(),
            drill_time: Gauge::default(),
            drill_failures: Gauge::default(),
            recovery_point: Family::default(),
            recovery_time: Family::default(),
        };
        metrics.register_counts();
        metrics.register_standings();
        metrics.register_drills();
        metrics
    }

    fn register_counts(&mut self) {
        let to = &mut self.registry;
        to.register("commits", "Commits that were acknowledged", self.commits.clone());
        let help = "Seconds from a commit's admission to its receipt";
        to.register("commit_seconds", help, self.commit_seconds.clone());
        to.register("commits_failed", "Commits that failed, by kind of error", self.failed.clone());
        let help = "Bytes of state in acknowledged commits";
        to.register("state_bytes", help, self.state_bytes.clone());
        let help = "Bytes that acknowledged commits added to stores";
        to.register("stored_bytes", help, self.stored_bytes.clone());
        to.register("retries", "Tries to commit that failed", self.retries.clone());
        let help = "Commits that a fallback store took";
        to.register("fallback_commits", help, self.fallbacks.clone());
        to.register("restores", "Restores that were finished", self.restores.clone());
        to.register("requests", "Requests that were answered", self.requests.clone());
        let help = "Seconds from a request's head to the head of its answer";
        to.register("request_seconds", help, self.request_seconds.clone());
        let help = "Connections for which there was no room";
        to.register("connections_refused", help, self.refused.clone());
    }

    fn register_standings(&mut self) {
        let to = &mut self.registry;
        to.register("connections", "Connections that are open", self.connections.clone());
        to.register("checkpoints", "Checkpoints that are held", self.held.clone());
        let help = "Whether a store takes commits";
        to.register("store_writable", help, self.writable.clone());
        let help = "Bytes free on the file system of a store";
        to.register("store_free_bytes", help, self.free_bytes.clone());
        let help = "Bytes of records in the log of a store";
        to.register("store_log_bytes", help, self.log_bytes.clone());
        let help = "Things that opening the store found damaged";
        to.register("damage", help, self.damage.clone());
        let help = "Agents whose newest state no store could take yet";
        to.register("unsaved", help, self.unsaved.clone());
        to.register("troubles", "Reasons why /readyz says no", self.troubles.clone());
    }

    fn register_drills(&mut self) {
        let to = &mut self.registry;
        to.register("drills", "Drills that were made", self.drills.clone());
        let help = "Drills in which something did not come back";
        to.register("drills_failed", help, self.drills_failed.clone());
        let help = "When the last drill ended, in seconds since 1970; 0 before the first";
        to.register("drill_last_timestamp_seconds", help, self.drill_time.clone());
        let help = "Agents whose newest checkpoint did not come back in the last drill";
        to.register("drill_failures", help, self.drill_failures.clone());
        let help = "Age of the newest sound checkpoint in the last drill";
        to.register("drill_recovery_point_seconds", help, self.recovery_point.clone());
        let help = "How long the last drill took to bring it back and compare it";
        to.register("drill_recovery_time_seconds", help, self.recovery_time.clone());
    }

    /// Counts what came of a drill. Of agents that are counted together the worst is told.
    #[cfg(feature = "cli")]
    pub(super) fn count_drill(&self, drill: &super::drills::Drill) {
        let failed = drill.failed().count() as u64;
        self.drills.inc();
        if failed > 0 || drill.trouble.is_some() {
            self.drills_failed.inc();
        }
        self.drill_failures.set(whole(failed));
        self.drill_time.set(drill.at.since(Timestamp::from_unix_ms(0)).as_secs_f64());
        self.recovery_point.clear();
        self.recovery_time.clear();
        let seconds = |ms| Duration::from_millis(ms).as_secs_f64();
        for one in &drill.drilled {
            let labels = [("agent", self.label(&one.agent_id))];
            // Where nothing comes back there is no recovery point, and no figure for one.
            let Some(age) = one.recovery_point_ms.filter(|_| one.sound) else { continue };
            for (gauges, ms) in
                [(&self.recovery_point, age), (&self.recovery_time, one.recovery_time_ms)]
            {
                let gauge = gauges.get_or_create(&labels);
                gauge.set(gauge.get().max(seconds(ms)));
            }
        }
    }

    /// Counts what a commit came to.
    pub(super) fn count_commit(&self, ended: CommitEnd<'_>) {
        let kind = ended.kind.as_str().to_owned();
        match ended.answer {
            Ok(receipt) => {
                let agent = self.label(&receipt.agent_id);
                self.commits.get_or_create(&[("agent", agent), ("kind", kind.clone())]).inc();
                let seconds = self.commit_seconds.get_or_create(&[("kind", kind)]);
                seconds.observe(ended.took.as_secs_f64());
                self.count_receipt(receipt);
            }
            Err(error) => {
                self.retries.inc_by(error.attempts().len() as u64);
                self.failed.get_or_create(&[("error", words(error.kind()))]).inc();
            }
        }
    }

    fn count_receipt(&self, receipt: &Receipt) {
        self.state_bytes.inc_by(receipt.state_bytes);
        self.stored_bytes.inc_by(receipt.stored_bytes);
        let failed = receipt.attempts.iter().filter(|attempt| attempt.error.is_some());
        self.retries.inc_by(failed.count() as u64);
        if receipt.durable == Durable::Fallback {
            self.fallbacks.inc();
        }
        if receipt.restored_from.is_some() {
            self.restores.get_or_create(&[("agent", self.label(&receipt.agent_id))]).inc();
        }
    }

    /// Counts a request that was answered; `route` is a pattern, so that there are few.
    pub(super) fn count_request(&self, route: &str, method: String, status: u16, took: Duration) {
        let labels =
            [("route", route.to_owned()), ("method", method), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        let seconds = self.request_seconds.get_or_create(&[("route", route.to_owned())]);
        seconds.observe(took.as_secs_f64());
    }

    pub(super) fn connection_opened(&self) {
        self.connections.inc();
    }

    pub(super) fn connection_closed(&self) {
        self.connections.dec();
    }

    pub(super) fn connection_refused(&self) {
        self.refused.inc();
    }

    /// The name an agent is counted under.
    fn label(&self, agent: &AgentId) -> String {
        let mut agents = self.agents.lock();
        if agents.contains(agent) {
            return agent.to_string();
        }
        if agents.len() < self.agents_max {
            agents.insert(agent.clone());
            return agent.to_string();
        }
        OTHER.to_owned()
    }

    /// All figures as text.
    pub(super) fn text(&self, app: &App) -> Result<String, fmt::Error> {
        self.look(app.manager());
        self.unsaved.set(whole(app.unsaved().len() as u64));
        self.troubles.set(whole(app.troubles().len() as u64));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn look(&self, manager: &CheckpointManager) {
        self.held.clear();
        for ((agent, kind), count) in manager.held_by_kind() {
            let labels = [("agent", self.label(&agent)), ("kind", kind.as_str().to_owned())];
            self.held.get_or_create(&labels).inc_by(whole(count));
        }
        for gauges in [&self.writable, &self.free_bytes, &self.log_bytes] {
            gauges.clear();
        }
        for target in manager.targets() {
            let labels = [("path", target.path.display().to_string()), ("role", target.role)];
            self.writable.get_or_create(&labels).set(i64::from(target.writable));
            self.log_bytes.get_or_create(&labels).set(whole(target.log_bytes));
            if let Some(free) = target.free_bytes {
                self.free_bytes.get_or_create(&labels).set(whole(free));
            }
        }
        self.damage.set(whole(manager.damage().len() as u64));
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The name of a kind of error, as JSON has it.
fn words(kind: crate::error::ErrorKind) -> String {
    let name = serde_json::to_value(kind).unwrap_or_default();
    name.as_str().unwrap_or("failed").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_beyond_the_bound_are_counted_together() {
        let metrics = Metrics::new(2);
        let label = |name: &str| metrics.label(&AgentId::new(name).unwrap());
        assert_eq!(["a", "b", "c", "a", "d"].map(label), ["a", "b", OTHER, "a", OTHER]);
        assert!(AgentId::new(OTHER).is_err());
    }
}
