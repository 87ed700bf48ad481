//! The section `run`: how an agent is run and when checkpoints of it are taken.

use serde::{Deserialize, Serialize};

use super::sense::transcript;
use crate::state::Span;

/// What is put back after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum OnCrash {
    /// Nothing: the agent finds what the crash left.
    Keep,
    /// State files that are missing or damaged; the workspace stays as the crash left it.
    #[default]
    State,
    /// State files and workspace, both as the newest checkpoint holds them.
    Both,
}

/// What becomes of an agent's checkpoints when its command has ended with 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum OnSuccess {
    /// They stay, as retention has it.
    #[default]
    Keep,
    /// The newest stays, the others are forgotten.
    Forget,
}

/// Whether a command that crashed is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Unless it has the terminal: there somebody sits who saw it end.
    #[default]
    Auto,
    /// On a terminal too.
    Always,
    /// Never.
    Never,
}

/// How an agent is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// A checkpoint of all parts is taken this long after the first change that none holds yet.
    pub every: Span,
    /// The workspace has fallen quiet when nothing changed for this long.
    pub quiet_after: Span,
    /// A workspace that never falls quiet is taken this often.
    pub steady_every: Span,
    /// A state file is read when it did not change for this long.
    pub state_settle: Span,
    /// What is put back after a crash.
    pub on_crash: OnCrash,
    /// What becomes of the checkpoints after an end with exit code 0.
    pub on_success: OnSuccess,
    /// Whether a crashed command is started again.
    pub restart: Restart,
    /// The wait before the first restart; doubles with each crash in a row.
    pub restart_delay_initial: Span,
    /// No wait is longer; a command that lived longer than this begins a new row.
    pub restart_delay_max: Span,
    /// No more restarts than this within `restarts_within`.
    pub restarts_max: u32,
    /// The time in which restarts are counted.
    pub restarts_within: Span,
    /// A command that ends sooner than this after its start ended quickly.
    pub quick_exit: Span,
    /// So many quick exits on the same content are a crash loop.
    pub crash_loop_exits: u32,
    /// How long a command that was asked to end may take before it is killed.
    pub stop_grace: Span,
    /// Stop the command while a checkpoint of it is taken.
    pub freeze: bool,
    /// A command that gives no sign of life for this long has crashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout: Option<Span>,
    /// A command that ran this long is started afresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_uptime: Option<Span>,
    /// Count what the command prints where it has no terminal.
    pub watch_output: bool,
    /// How often output and processes are looked at.
    pub look_every: Span,
    /// The agent's own account of its work.
    pub transcript: transcript::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            every: Span::from_minutes(30),
            quiet_after: Span::from_secs(2),
            steady_every: Span::from_minutes(2),
            state_settle: Span::from_secs(1),
            on_crash: OnCrash::default(),
            on_success: OnSuccess::default(),
            restart: Restart::default(),
            restart_delay_initial: Span::from_secs(1),
            restart_delay_max: Span::from_minutes(1),
            restarts_max: 30,
            restarts_within: Span::from_hours(1),
            quick_exit: Span::from_secs(10),
            crash_loop_exits: 3,
            stop_grace: Span::from_secs(8),
            freeze: false,
            heartbeat_timeout: None,
            max_uptime: None,
            watch_output: true,
            look_every: Span::from_secs(10),
            transcript: transcript::Options::default(),
        }
    }
}
