//! Everything that is tested from outside, one file per promise.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "tests look at the disk past the seam they test")]

mod api;
mod asynchronous;
mod cli_config;
mod cli_contract;
mod cli_home;
mod cli_look;
mod cli_operation;
mod cli_setup;
mod cli_sidecar;
mod cli_state;
mod cli_upkeep;
mod cli_validate;
mod cli_workspace;
mod compaction;
mod cost;
mod crash;
mod damage;
mod damage_cases;
mod damage_flips;
mod damage_matrix;
mod documents;
mod drift_streams;
mod example;
mod fallback;
mod fallback_real;
mod faults;
mod full_disk;
#[cfg(feature = "testing")]
mod fuzz_seeds;
mod groups;
mod history;
mod homecoming;
mod kill;
mod life;
mod model;
mod old_stores;
mod restore;
mod retention;
mod rules;
mod run_examples;
mod run_home;
mod run_life;
mod run_sidecar;
mod run_signals;
mod run_terminal;
mod run_workspace;
mod server_home;
mod server_life;
mod tidy;
mod tracing;
#[cfg(feature = "testing")]
mod validate_can_fail;
mod workspace_crash;
mod workspace_model;
