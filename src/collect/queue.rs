//! Work that makes more work, shared by several threads.
//!
//! The newest job is taken first, so that few wait at any time; jobs that can wait come last. The
//! queue is at its end when no job waits and none is being done, or after the first failure.

use parking_lot::{Condvar, Mutex};

/// Jobs, and how many are being done.
#[derive(Debug)]
pub(super) struct Queue<J, E> {
    state: Mutex<State<J, E>>,
    moved: Condvar,
}

#[derive(Debug)]
struct State<J, E> {
    jobs: Vec<J>,
    later: Vec<J>,
    working: usize,
    failure: Option<E>,
}

/// A job is being done as long as this lives, through a panic too.
pub(super) struct Turn<'q, J, E>(&'q Queue<J, E>);

impl<J, E> Queue<J, E> {
    pub(super) fn new(first: J) -> Self {
        let state = State { jobs: vec![first], later: Vec::new(), working: 0, failure: None };
        Self { state: Mutex::new(state), moved: Condvar::new() }
    }

    /// Takes a job, waiting for one as long as another may still come.
    pub(super) fn next(&self) -> Option<(J, Turn<'_, J, E>)> {
        let mut state = self.state.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(job) = state.jobs.pop().or_else(|| state.later.pop()) {
                state.working += 1;
                return Some((job, Turn(self)));
            }
            if state.working == 0 {
                return None;
            }
            self.moved.wait(&mut state);
        }
    }

    /// Adds jobs, and such as can wait.
    pub(super) fn add(&self, jobs: Vec<J>, later: Vec<J>) {
        let count = jobs.len() + later.len();
        if count > 0 {
            let mut state = self.state.lock();
            state.jobs.extend(jobs);
            state.later.extend(later);
            drop(state);
            self.moved.notify_all();
        }
    }

    /// Ends the work; the first failure is kept.
    pub(super) fn fail(&self, error: E) {
        self.state.lock().failure.get_or_insert(error);
        self.moved.notify_all();
    }

    pub(super) fn into_failure(self) -> Option<E> {
        self.state.into_inner().failure
    }
}

impl<J, E> Drop for Turn<'_, J, E> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.working -= 1;
        if state.working == 0 {
            self.0.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(queue: &Queue<u32, &'static str>, seen: &Mutex<Vec<u32>>) {
        while let Some((job, _turn)) = queue.next() {
            seen.lock().push(job);
            if job == 13 {
                queue.fail("unlucky");
            } else if job > 0 && job < 100 {
                queue.add(vec![job - 1, job - 1], vec![100 + job]);
            }
        }
    }

    #[test]
    fn everything_is_done_once_and_what_can_wait_comes_last() {
        let (queue, seen) = (Queue::new(5), Mutex::default());
        work(&queue, &seen);
        let seen = seen.into_inner();
        assert_eq!(seen.len(), 63 + 31);
        assert!(seen[..63].iter().all(|job| *job < 100) && seen[63..].iter().all(|job| *job > 100));

        let (queue, seen) = (Queue::new(9), Mutex::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| work(&queue, &seen));
            }
        });
        assert_eq!(seen.into_inner().len(), 1023 + 511);
        assert_eq!(queue.into_failure(), None);
    }

    #[test]
    fn a_failure_ends_the_work() {
        let (queue, seen) = (Queue::new(15), Mutex::default());
        work(&queue, &seen);
        assert_eq!(seen.into_inner(), [15, 14, 13]);
        assert_eq!(queue.into_failure(), Some("unlucky"));
    }
}
