//! `forget` and `prune`: letting go, and freeing the space.

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::output::{count, size, table};
use super::session::{Session, ask};
use crate::manager::{ForgetReport, ForgetRequest, PruneReport};
use crate::server::api::{self, ForgetSingle, ForgetSingleBody, Prune};
use crate::server::reach::Reach;
use crate::state::Span;

const EXAMPLES: &str = "\
Examples:
  stateward forget --dry-run                what the rules would let go, and why
  stateward forget --keep-last 5            keep five of each kind instead
  stateward forget 41                       a single one
  stateward forget 41 --erase               and every copy of it: a leaked secret

Without --agent the policy is applied to every agent. It keeps what recovery needs in any case: \
latest, the last known good, the checkpoint of an open operation, pinned ones. A single one goes as it \
is named, except that of an open operation. What is forgotten does not come back; on a terminal this \
asks first. The space is freed in time, or at once by `stateward prune`.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Forget {
    /// Single checkpoints; without them the policy decides
    #[arg(value_name = "REF", conflicts_with_all = ["keep_last", "keep_within", "dry_run"])]
    references: Vec<String>,
    /// Leave no copy anywhere in the store
    #[arg(long, requires = "references")]
    erase: bool,
    /// Instead of the configured rules, keep the newest so many of each kind
    #[arg(long, value_name = "N")]
    keep_last: Option<u64>,
    /// Instead of the configured rules, keep what is younger, as `36h` or `7d`
    #[arg(long, value_name = "DURATION")]
    keep_within: Option<Span>,
    /// Only tell
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn forget(session: &Session, arguments: &Forget) -> Result<(), Failure> {
    if !arguments.references.is_empty() {
        return forget_single(session, arguments);
    }
    let request = ForgetRequest {
        agent: session.agent_is_named().then(|| session.agent_id().clone()),
        keep_last: arguments.keep_last,
        keep_within: arguments.keep_within,
        dry_run: arguments.dry_run,
    };
    let reports = session.reach(&session.store(), |reach| {
        if session.can_ask() && !request.dry_run {
            let dry = ForgetRequest { dry_run: true, ..request.clone() };
            let going = session.call(reach, api::Forget { request: dry })?;
            let going: usize = going.iter().map(|report| report.forgotten.len()).sum();
            agree(going, "Forget")?;
        }
        session.call(reach, api::Forget { request })
    })?;
    session.out.data(&reports, || {
        reports.iter().map(|report| in_words(report, arguments.dry_run)).collect()
    })
}

/// Asks before checkpoints go that will not come back.
fn agree(going: usize, verb: &str) -> Result<(), Failure> {
    if going == 0 {
        return Ok(());
    }
    let going = count(going, "checkpoint", "checkpoints");
    ask(&format!("{verb} {going}? This cannot be undone."))
}

fn in_words(report: &ForgetReport, dry_run: bool) -> String {
    let ForgetReport { agent_id, kept, forgotten, .. } = report;
    let goes = if dry_run { "would go" } else { "gone" };
    let stays = kept.iter().map(|it| (it.seq, "kept", it.checkpoint_id, it.reasons.join(", ")));
    let going = forgotten.iter().map(|it| (it.seq, goes, it.checkpoint_id, it.reason.clone()));
    let mut rows: Vec<_> = stays.chain(going).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.0));
    let rows = rows
        .into_iter()
        .map(|(seq, what, id, why)| [seq.to_string(), what.to_owned(), id.to_string(), why])
        .collect();
    format!(
        "Agent {agent_id}: {} kept, {} {goes}.\n{}",
        kept.len(),
        forgotten.len(),
        table(["SEQ", "", "ID", "WHY"], rows)
    )
}

fn forget_single(session: &Session, arguments: &Forget) -> Result<(), Failure> {
    let references = arguments.references.clone();
    let named = session.named_by(&references[0], false)?;
    let gone = session.reach(&named.store, |reach| {
        let agent = session.owner_of(reach, &references[0], &named)?;
        if session.can_ask() {
            agree(references.len(), if arguments.erase { "Erase" } else { "Forget" })?;
        }
        let body = ForgetSingleBody { references, erase: arguments.erase };
        session.call(reach, ForgetSingle { agent, body })
    })?;
    let gone = gone.forgotten;
    let ids: Vec<_> = gone.iter().map(|it| it.checkpoint_id).collect();
    session.out.data(&json!({ "forgotten": ids, "erased": arguments.erase }), || {
        let verb = if arguments.erase { "Erased" } else { "Forgot" };
        format!("{verb} {}.", count(gone.len(), "checkpoint", "checkpoints"))
    })
}

pub(super) fn prune(session: &Session) -> Result<(), Failure> {
    let bar = session.out.progress("compacting");
    let report = session.reach(&session.store(), |reach| match reach {
        Reach::Here(manager) => {
            Ok(manager.prune(&mut |progress| bar.show(progress.done, progress.total))?)
        }
        Reach::There(_) => session.call(reach, Prune),
    })?;
    drop(bar);
    session.out.data(&report, || {
        let PruneReport { before_bytes, after_bytes, segments_removed } = report;
        let freed = size(before_bytes.saturating_sub(after_bytes));
        format!("Freed {freed}: {segments_removed} segments gone, {} left.", size(after_bytes))
    })
}
