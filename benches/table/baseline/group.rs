//! The best a group commit over one file can do: those who wait while a sync runs share the next one.
//!
//! Callers put their bytes into one buffer. The first leads: it takes the buffer, appends it to the
//! pre-zeroed file and syncs. Then it wakes those it served and hands the lead to the first of those
//! who came meanwhile; where it served many, it hands the lead over before it wakes them. Either
//! order measured best for its number of callers, 10 and 100.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, Thread};

use parking_lot::Mutex;

use super::raw::RawLog;

const WAITING: u8 = 0;
const SERVED: u8 = 1;
const LEADS: u8 = 2;

/// Served at once, from which on the lead goes over first.
const MANY: usize = 16;

/// A caller's place; each thread keeps one and uses it again.
#[derive(Debug)]
pub struct Seat {
    fate: AtomicU8,
    thread: Thread,
}

impl Seat {
    /// For the calling thread.
    pub fn here() -> Arc<Self> {
        Arc::new(Self { fate: AtomicU8::new(WAITING), thread: thread::current() })
    }

    fn wait(&self) -> u8 {
        loop {
            match self.fate.load(Ordering::Acquire) {
                WAITING => thread::park(),
                fate => return fate,
            }
        }
    }

    fn settle(&self, fate: u8) {
        self.fate.store(fate, Ordering::Release);
        self.thread.unpark();
    }
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    seats: Vec<Arc<Seat>>,
    led: bool,
}

#[derive(Debug)]
struct Log {
    raw: RawLog,
    /// Taken in turns with the queue's buffers, so that none is made anew.
    bytes: Vec<u8>,
    seats: Vec<Arc<Seat>>,
}

/// A raw log shared by many callers.
#[derive(Debug)]
pub struct RawGroup {
    queue: Mutex<Queue>,
    log: Mutex<Log>,
}

impl RawGroup {
    /// Shares a raw log.
    pub fn new(raw: RawLog) -> Self {
        let log = Log { raw, bytes: Vec::new(), seats: Vec::new() };
        Self { queue: Mutex::default(), log: Mutex::new(log) }
    }

    /// Makes the bytes durable, together with those of others who wait.
    pub fn commit(&self, seat: &Arc<Seat>, bytes: &[u8]) {
        seat.fate.store(WAITING, Ordering::Relaxed);
        let leads = {
            let mut queue = self.queue.lock();
            queue.bytes.extend_from_slice(bytes);
            queue.seats.push(Arc::clone(seat));
            !std::mem::replace(&mut queue.led, true)
        };
        if leads || seat.wait() == LEADS {
            self.lead(seat);
        }
    }

    fn lead(&self, own: &Arc<Seat>) {
        let mut log = self.log.lock();
        let Log { raw, bytes, seats } = &mut *log;
        {
            let mut queue = self.queue.lock();
            std::mem::swap(&mut queue.bytes, bytes);
            std::mem::swap(&mut queue.seats, seats);
        }
        raw.commit(bytes);
        bytes.clear();
        let served = std::mem::take(seats);
        drop(log);
        let handed_over = served.len() >= MANY && self.hand_over();
        for seat in served.iter().filter(|seat| !Arc::ptr_eq(seat, own)) {
            seat.settle(SERVED);
        }
        if !handed_over {
            self.hand_over_or_end();
        }
    }

    fn hand_over(&self) -> bool {
        let queue = self.queue.lock();
        let next = queue.seats.first();
        next.inspect(|next| next.settle(LEADS)).is_some()
    }

    fn hand_over_or_end(&self) {
        let mut queue = self.queue.lock();
        match queue.seats.first() {
            Some(next) => next.settle(LEADS),
            None => queue.led = false,
        }
    }
}
