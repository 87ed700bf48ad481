//! Reports.
use serde::{Deserialize, Serialize};
/// x
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentSummary {}
/// x
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogEntry {}
/// x
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {}
/// x
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetStatus {}
