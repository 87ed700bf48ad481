//! Group commit: whoever comes first leads, whoever comes meanwhile rides along.
//!
//! A caller that finds no leader becomes one: it takes everything that waits, commits it as one
//! batch, and hands the results out. Those that arrive during its sync wait; when it is done, the
//! first of them leads the next batch. A single writer thus never changes threads, and a hundred
//! share syncs. Nothing waits without a leader: the promotion happens under the queue's lock. What
//! is taken together stays within what one batch holds; the rest waits for the next turn.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Bytes that are taken together, unless one item alone is larger: far below what a batch may hold.
const TURN_BYTES_MAX: usize = 32 << 20;

/// A leader died while it held this submission; nothing is known of its fate.
#[derive(Debug, thiserror::Error)]
#[error("the thread that was committing for others died")]
pub(crate) struct LeaderDied;

#[derive(Debug)]
enum Fate<R> {
    Waiting,
    Lead,
    Done(R),
    Died,
}

#[derive(Debug)]
struct Seat<R> {
    fate: Mutex<Fate<R>>,
    changed: Condvar,
}

impl<R> Seat<R> {
    fn settle(&self, fate: Fate<R>) {
        *self.fate.lock() = fate;
        self.changed.notify_one();
    }

    fn wait(&self) -> Fate<R> {
        let mut fate = self.fate.lock();
        while matches!(*fate, Fate::Waiting) {
            self.changed.wait(&mut fate);
        }
        std::mem::replace(&mut *fate, Fate::Waiting)
    }
}

#[derive(Debug)]
struct Waiting<T, R> {
    item: T,
    bytes: usize,
    seat: Arc<Seat<R>>,
}

#[derive(Debug)]
struct Queue<T, R> {
    waiting: Vec<Waiting<T, R>>,
    led: bool,
}

impl<T, R> Queue<T, R> {
    /// Takes the first that wait, at least one.
    fn take_turn(&mut self) -> (Vec<T>, Vec<Arc<Seat<R>>>) {
        let mut bytes = 0;
        let fits = |one: &Waiting<T, R>| {
            bytes += one.bytes;
            bytes <= TURN_BYTES_MAX
        };
        let count = self.waiting.iter().map(fits).take_while(|fits| *fits).count().max(1);
        let turn = self.waiting.drain(..count.min(self.waiting.len()));
        turn.map(|one| (one.item, one.seat)).unzip()
    }
}

/// A queue whose callers take turns in leading.
#[derive(Debug)]
pub(crate) struct Group<T, R> {
    queue: Mutex<Queue<T, R>>,
}

impl<T, R> Default for Group<T, R> {
    fn default() -> Self {
        Self { queue: Mutex::new(Queue { waiting: Vec::new(), led: false }) }
    }
}

impl<T, R> Group<T, R> {
    /// How many wait for the next turn.
    #[cfg(feature = "testing")]
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Submits `item`, of about so many bytes, and returns its result. `commit` gets the items that are taken together, in
    /// the order they came, and answers one result for each; it runs in one thread at a time.
    pub(crate) fn submit(
        &self,
        item: T,
        bytes: usize,
        commit: impl FnOnce(Vec<T>) -> Vec<R>,
    ) -> Result<R, LeaderDied> {
        let seat = Arc::new(Seat { fate: Mutex::new(Fate::Waiting), changed: Condvar::new() });
        let leads = {
            let mut queue = self.queue.lock();
            queue.waiting.push(Waiting { item, bytes, seat: Arc::clone(&seat) });
            !std::mem::replace(&mut queue.led, true)
        };
        if !leads {
            match seat.wait() {
                Fate::Done(result) => return Ok(result),
                Fate::Died => return Err(LeaderDied),
                Fate::Lead | Fate::Waiting => {}
            }
        }
        self.lead(&seat, commit)
    }

    fn lead(
        &self,
        own: &Arc<Seat<R>>,
        commit: impl FnOnce(Vec<T>) -> Vec<R>,
    ) -> Result<R, LeaderDied> {
        let (items, seats) = self.queue.lock().take_turn();
        let mut term = Term { group: self, seats };
        let results = commit(items);
        let mut mine = None;
        for (seat, result) in term.seats.drain(..).zip(results) {
            if Arc::ptr_eq(&seat, own) {
                mine = Some(result);
            } else {
                seat.settle(Fate::Done(result));
            }
        }
        drop(term);
        mine.ok_or(LeaderDied)
    }
}

/// A term of leadership: however it ends, those left are told and the next one leads.
struct Term<'a, T, R> {
    group: &'a Group<T, R>,
    seats: Vec<Arc<Seat<R>>>,
}

impl<T, R> Drop for Term<'_, T, R> {
    fn drop(&mut self) {
        for seat in self.seats.drain(..) {
            seat.settle(Fate::Died);
        }
        let mut queue = self.group.queue.lock();
        match queue.waiting.first() {
            Some(next) => next.seat.settle(Fate::Lead),
            None => queue.led = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_submission_gets_its_own_result_and_some_share_a_turn() {
        let group = Group::<u64, u64>::default();
        let turns = AtomicUsize::new(0);
        let start = Barrier::new(16);
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let (group, turns, start) = (&group, &turns, &start);
                scope.spawn(move || {
                    start.wait();
                    for round in 0..200 {
                        let item = thread * 1000 + round;
                        let result = group.submit(item, 1, |items| {
                            turns.fetch_add(1, Ordering::Relaxed);
                            std::thread::yield_now();
                            items.into_iter().map(|item| item + 1).collect()
                        });
                        assert_eq!(result.unwrap(), item + 1);
                    }
                });
            }
        });
        assert!(turns.into_inner() <= 16 * 200);
    }

    #[test]
    fn a_turn_takes_no_more_than_a_batch_holds() {
        let waiting = |bytes: &usize| {
            let seat = Seat { fate: Mutex::new(Fate::<()>::Waiting), changed: Condvar::new() };
            Waiting { item: *bytes, bytes: *bytes, seat: Arc::new(seat) }
        };
        let sizes = [TURN_BYTES_MAX + 1, 1, TURN_BYTES_MAX - 1, 1, 2];
        let mut queue = Queue { waiting: sizes.iter().map(waiting).collect(), led: true };
        let mut turns = Vec::new();
        while !queue.waiting.is_empty() {
            turns.push(queue.take_turn().0);
        }
        assert_eq!(turns, [&sizes[..1], &sizes[1..3], &sizes[3..]]);
    }

    #[test]
    fn a_leader_that_panics_does_not_leave_the_next_caller_waiting() {
        let group = Arc::new(Group::<(), ()>::default());
        let other = Arc::clone(&group);
        let died = std::thread::spawn(move || other.submit((), 0, |_| panic!("on purpose"))).join();
        assert!(died.is_err());
        assert!(group.submit((), 0, |items| items).is_ok());
    }
}
