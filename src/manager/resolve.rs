//! References: from what a person writes to the checkpoint that is meant.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admission::unreadable;
use super::error::Error;
use crate::drift::Level;
use crate::encode::manifest::Manifest;
use crate::state::{AgentId, CheckpointId, Kind, Seq, Taint};
use crate::store::{Catalog, ContentError, Held, Store, Targets, ViewPath};

/// A reference, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    Path(PathBuf),
    Id(CheckpointId),
    /// The first hexadecimal digits of an id, in lower case, without dashes.
    Prefix(String),
    /// The number that an agent's checkpoints are listed with.
    Number(Seq),
    Latest,
    LatestOf(Kind),
    Good,
}

/// A checkpoint that was passed over because it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct WalkedPast {
    /// Which.
    pub checkpoint_id: CheckpointId,
    /// What is wrong with it.
    pub why: String,
}

/// A checkpoint that was found, where it lies, and what was passed over on the way.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub held: Held,
    pub store: Arc<Store>,
    pub walked_past: Vec<WalkedPast>,
    /// The state, where finding the checkpoint meant reading it.
    pub state: Option<Vec<u8>>,
}

const PREFIX_MIN: usize = 4;

impl Reference {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "latest" => return Ok(Self::Latest),
            "good" => return Ok(Self::Good),
            _ => {}
        }
        if let Some(kind) = text.strip_prefix("latest:") {
            return Ok(Self::LatestOf(kind.parse()?));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        if let Some(seq) = number(text) {
            return Ok(Self::Number(seq));
        }
        let digits = text.replace('-', "").to_ascii_lowercase();
        let is_prefix = digits.len() >= PREFIX_MIN
            && digits.len() <= 32
            && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_prefix {
            return Ok(Self::Prefix(digits));
        }
        if text.contains('/') || Path::new(text).extension().is_some_and(|ext| ext == "json") {
            return Ok(Self::Path(text.into()));
        }
        Err(Error::NoReference { reference: text.to_owned() })
    }
}

/// The number that a text is, with or without a `#` before it. Ids are never taken for one: they begin
/// with the time they were made at, in milliseconds, and so with a 0 until the year 2527.
fn number(text: &str) -> Option<Seq> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain).map(Seq)
}

/// Whether a reference means nothing without an agent.
#[cfg(feature = "cli")]
pub(crate) fn is_of_agent(text: &str) -> bool {
    text == "latest" || text == "good" || text.starts_with("latest:") || number(text).is_some()
}

/// What is taken from the newest checkpoint that may be chosen automatically, sound or not, in any of
/// these stores.
pub(crate) fn of_latest<T>(
    stores: &[Arc<Store>],
    agent: &AgentId,
    take: impl Fn(&Manifest) -> T,
) -> Option<T> {
    let start = fresh_start(stores, agent);
    let of_store = |store: &Arc<Store>| {
        let catalog = store.catalog();
        let manifest = &catalog.latest(agent)?.manifest;
        Some((manifest.seq, take(manifest)))
    };
    let latest = stores.iter().filter_map(of_store).max_by_key(|(seq, _)| *seq);
    latest.filter(|(seq, _)| *seq > start).map(|(_, taken)| taken)
}

/// Finds what a reference of an agent means. `latest` and `good` walk past what is damaged; an id
/// or a path does not. What an id or a path means may have gone home since, where the stores that
/// are open are fallbacks.
/// `good` was not made while the agent was drifting, and is older than an onset where something is
/// suspected since then; with that comes the newest checkpoint when watching began.
pub(crate) fn resolve(
    targets: &Targets,
    agent: &AgentId,
    text: &str,
    onset: Option<(u64, Seq)>,
) -> Result<Resolved, Error> {
    let reference = Reference::parse(text)?;
    targets.in_one_view(|stores| resolve_in(targets, stores, (agent, onset), text, &reference))
}

fn resolve_in(
    targets: &Targets,
    stores: &[Arc<Store>],
    (agent, onset): (&AgentId, Option<(u64, Seq)>),
    text: &str,
    reference: &Reference,
) -> Result<Resolved, Error> {
    let named = |stores: &[Arc<Store>]| match reference {
        Reference::Id(id) => Ok(by_id(stores, *id)),
        Reference::Prefix(digits) => by_prefix(stores, digits),
        Reference::Path(path) => match ViewPath::parse(path) {
            Some(view) => Ok(by_id(stores, view.name.id)),
            None => Err(Error::NoReference { reference: text.to_owned() }),
        },
        Reference::Number(seq) => Ok(by_number(stores, agent, *seq)),
        Reference::Latest | Reference::LatestOf(_) | Reference::Good => Ok(None),
    };
    match reference {
        Reference::Latest => walk(targets, stores, agent, text, |_, _| true),
        Reference::Good => {
            // What precedes one that is older is older too: numbers never go back.
            let mut older = onset.is_none();
            let found = walk(targets, stores, agent, text, |held, store| {
                older |= onset.is_some_and(|(onset, began)| {
                    held.observation(began).is_some_and(|at| at < onset)
                });
                older && taint(&store.catalog(), held) == Taint::None
            });
            found.map_err(|error| dated(error, onset))
        }
        Reference::LatestOf(kind) => {
            walk(targets, stores, agent, text, |held, _| held.manifest.kind == *kind)
        }
        Reference::Id(_) | Reference::Prefix(_) | Reference::Path(_) | Reference::Number(_) => {
            if let Some(found) = named(stores)? {
                return Ok(found);
            }
            named(&targets.homes_elsewhere())?.ok_or_else(|| missing(targets, agent, text))
        }
    }
}

/// That nothing is good, with since when something is suspected.
fn dated(error: Error, onset: Option<(u64, Seq)>) -> Error {
    match (error, onset) {
        (Error::NoCheckpoint { agent, reference }, Some((onset, _))) => {
            let since =
                format!("{reference}: older than observation {onset}, suspected since then");
            Error::NoCheckpoint { agent, reference: since }
        }
        (error, _) => error,
    }
}

fn by_id(stores: &[Arc<Store>], id: CheckpointId) -> Option<Resolved> {
    first_held(stores, |catalog| catalog.get(id))
}

fn by_number(stores: &[Arc<Store>], agent: &AgentId, seq: Seq) -> Option<Resolved> {
    first_held(stores, |catalog| catalog.agents.get(agent)?.checkpoints.get(&seq))
}

/// What the first store that holds it has.
fn first_held(stores: &[Arc<Store>], find: impl Fn(&Catalog) -> Option<&Held>) -> Option<Resolved> {
    stores.iter().find_map(|store| {
        let held = find(&store.catalog()).cloned()?;
        let store = Arc::clone(store);
        Some(Resolved { held, store, walked_past: Vec::new(), state: None })
    })
}

/// Whether a drift stands against a checkpoint. A person's word outweighs how the agent stood.
pub(super) fn taint(catalog: &Catalog, held: &Held) -> Taint {
    let watched = held.manifest.watched.as_ref();
    match catalog.called_tainted(held.manifest.id) {
        Some(true) => Taint::Marked,
        None if watched.is_some_and(|it| it.level == Level::Drifting) => Taint::WhileDrifting,
        Some(false) | None => Taint::None,
    }
}

fn by_prefix(stores: &[Arc<Store>], digits: &str) -> Result<Option<Resolved>, Error> {
    let mut matches: Vec<CheckpointId> = stores
        .iter()
        .flat_map(|store| {
            let catalog = store.catalog();
            let begins = |id: &CheckpointId| id.0.simple().to_string().starts_with(digits);
            catalog.ids().filter(begins).collect::<Vec<_>>()
        })
        .collect();
    matches.sort_unstable();
    matches.dedup();
    match matches.as_slice() {
        [] => Ok(None),
        [one] => Ok(by_id(stores, *one)),
        _ => Err(Error::Ambiguous { reference: digits.to_owned(), matches }),
    }
}

/// Walks from the newest checkpoint back to the first that is sound.
fn walk(
    targets: &Targets,
    stores: &[Arc<Store>],
    agent: &AgentId,
    text: &str,
    mut wanted: impl FnMut(&Held, &Store) -> bool,
) -> Result<Resolved, Error> {
    let recovery = text == "latest:recovery";
    let mut walked_past = Vec::new();
    for (held, store) in newest_first(stores, agent, recovery) {
        if !wanted(&held, &store) {
            continue;
        }
        let mut found = Resolved { held, store, walked_past: Vec::new(), state: None };
        let state = read_state(targets, &mut found).and_then(|state| {
            // Its state is sound; what was found damaged may be in its other parts.
            if found.store.catalog().is_damaged(found.held.manifest.id) {
                found.store.prove_parts(&found.held, &mut HashSet::new())?;
            }
            Ok(state)
        });
        let Resolved { held, store, .. } = found;
        match state {
            Ok(state) => return Ok(Resolved { held, store, walked_past, state }),
            Err(ContentError::Damaged(why)) => {
                let id = held.manifest.id;
                tracing::error!(%id, %why, "walked past a damaged checkpoint");
                store.note_damaged(id);
                walked_past.push(WalkedPast { checkpoint_id: id, why });
            }
            Err(error) => return Err(unreadable(held.manifest.id, &error)),
        }
    }
    if walked_past.is_empty() {
        Err(missing(targets, agent, text))
    } else {
        Err(Error::AllDamaged { agent: agent.clone(), walked: walked_past.len() })
    }
}

/// Reads the state of what was found; where it went home meanwhile, there.
pub(crate) fn read_state(
    targets: &Targets,
    found: &mut Resolved,
) -> Result<Option<Vec<u8>>, ContentError> {
    let id = found.held.manifest.id;
    let read = found.store.read_state(&found.held);
    if !matches!(read, Err(ContentError::Damaged(_))) || found.store.catalog().get(id).is_some() {
        return read;
    }
    let Some(moved) = by_id(&targets.sighted(), id) else { return read };
    (found.held, found.store) = (moved.held, moved.store);
    found.store.read_state(&found.held)
}

/// An agent's checkpoints that may be chosen automatically, over every store that can be seen.
pub(crate) fn newest_first(
    stores: &[Arc<Store>],
    agent: &AgentId,
    recovery: bool,
) -> Vec<(Held, Arc<Store>)> {
    let start = fresh_start(stores, agent);
    let mut all: Vec<(Held, Arc<Store>)> = Vec::new();
    for store in stores {
        let catalog = store.catalog();
        let held: Vec<Held> = if recovery {
            catalog.since_reset(agent).cloned().collect()
        } else {
            catalog.candidates(agent).cloned().collect()
        };
        drop(catalog);
        let held = held.into_iter().filter(|held| held.manifest.seq > start);
        all.extend(held.map(|held| (held, Arc::clone(store))));
    }
    all.sort_by_key(|(held, _)| std::cmp::Reverse((held.manifest.seq, held.manifest.id)));
    all.dedup_by_key(|(held, _)| held.manifest.id);
    all
}

/// The number after which an agent's checkpoints count: its last fresh start, whichever store holds
/// the word. What a fallback says in its own numbers counts until it is said at home.
pub(crate) fn fresh_start(stores: &[Arc<Store>], agent: &AgentId) -> Seq {
    let resets = stores.iter().filter_map(|store| {
        let (n, seq) = store.catalog().agents.get(agent)?.reset?;
        (!store.is_at_home(n)).then_some(seq)
    });
    resets.max().unwrap_or_default()
}

fn missing(targets: &Targets, agent: &AgentId, text: &str) -> Error {
    match targets.unseen() {
        Some(why) => Error::Unseen { reference: text.to_owned(), why },
        None => Error::NoCheckpoint { agent: agent.clone(), reference: text.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_told_from_the_others() {
        let id = "0190a1b2-0000-7000-8000-000000000001";
        assert_eq!(Reference::parse("latest").unwrap(), Reference::Latest);
        assert_eq!(Reference::parse("good").unwrap(), Reference::Good);
        assert_eq!(
            Reference::parse("latest:pre-operation").unwrap(),
            Reference::LatestOf(Kind::PreOperation)
        );
        assert_eq!(Reference::parse(id).unwrap(), Reference::Id(id.parse().unwrap()));
        assert_eq!(
            Reference::parse("0190A1B2-00").unwrap(),
            Reference::Prefix("0190a1b200".into())
        );
        for (text, seq) in [("7", 7), ("#7", 7), ("20260", 20_260)] {
            assert_eq!(Reference::parse(text).unwrap(), Reference::Number(Seq(seq)));
        }
        assert_eq!(Reference::parse("01926").unwrap(), Reference::Prefix("01926".into()));
        let path = format!("checkpoints/a/0000000001-routine-{id}.json");
        assert_eq!(Reference::parse(&path).unwrap(), Reference::Path(path.into()));
        for text in ["", "#", "0", "-1", "abc", "newest", "latest:best", "zzzz"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
