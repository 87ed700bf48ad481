//! What was written just now, for whoever listens.
//!
//! Each event is told under the lock of the writer that wrote it, each checkpoint before the next
//! group is committed: so whoever has had both locks has heard everything that came before. Telling
//! must not take long, and must not come back to the store.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use uuid::Uuid;

use crate::encode::event::Event;
use crate::state::Checkpoint;

/// Something that is durable since just now.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only a sidecar listens"))]
pub(crate) enum Fresh<'a> {
    /// A checkpoint that was asked for; not one that is only carried from store to store.
    Checkpoint(&'a Checkpoint),
    /// An event, with the store that holds it.
    Event(Uuid, &'a Event),
}

type Ear = Box<dyn Fn(Fresh<'_>) + Send + Sync>;

/// The one who listens, where somebody does. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct News(Arc<RwLock<Option<Ear>>>);

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("News")
    }
}

impl News {
    /// Has somebody listen from now on.
    #[cfg(feature = "server")]
    pub(crate) fn listen(&self, ear: impl Fn(Fresh<'_>) + Send + Sync + 'static) {
        *self.0.write() = Some(Box::new(ear));
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.0.read().is_some()
    }

    pub(crate) fn tell(&self, fresh: Fresh<'_>) {
        if let Some(ear) = &*self.0.read() {
            ear(fresh);
        }
    }
}
