//! One mailbox and its lives for models of it.
//!
//! There is no driver here. Whoever is told to make the life ready runs it: so
//! what is lost is never handled, and what is made ready twice is run by two.
//! The counters are std's, no part of what is modelled.

use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use super::Mailbox;
use super::desk::Desk;
use super::words::{Admission, Next, Overflow, Ticket, WhenFull};
use crate::core::micros::Micros;

/// A message: `sender * 10 + number`; counts its end.
pub(super) struct Value(pub(super) u32, Arc<AtomicUsize>);

impl Drop for Value {
    fn drop(&mut self) {
        self.1.fetch_add(1, SeqCst);
    }
}

#[derive(Default)]
pub(super) struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Bell {
    pub(super) fn rung(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// How a run by hand ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ran {
    Rests,
    /// It was told to stop by a word of the control lane, or to end at once; the run is still on.
    Stops,
    Killed,
    /// The life is over for this runner, who has to drop it.
    CutOff,
}

/// A life as the mailbox gives it back: which one, and its desk.
pub(super) type Life = u8;

/// One mailbox, its lives, and what became of every message.
pub(super) struct Stage {
    pub(super) mailbox: Mailbox<Value, Life>,
    desks: [Desk<Value>; 2],
    runs: [AtomicUsize; 2],
    dropped: Arc<AtomicUsize>,
    handled: Mutex<Vec<u32>>,
    /// Taken in hand by a runner who learned at the end of it that it was cut off.
    pub(super) unfinished: Mutex<Vec<u32>>,
    /// What is in hand, where whoever fails it finds it.
    pub(super) held: Mutex<Option<Value>>,
}

pub(super) fn stage(capacity: usize, overflow: Overflow) -> Arc<Stage> {
    with(Mailbox::new(capacity, overflow, 1))
}

/// One whose messages are tried again.
#[cfg(greenroom_loom)]
pub(super) fn keeping_stage(capacity: usize) -> Arc<Stage> {
    with(Mailbox::new(capacity, Overflow::Wait, 1).keeping())
}

fn with(mailbox: Mailbox<Value, Life>) -> Arc<Stage> {
    let stage = Arc::new(Stage {
        mailbox,
        desks: [Desk::new(Micros::default()), Desk::new(Micros::default())],
        runs: Default::default(),
        dropped: Arc::default(),
        handled: Mutex::default(),
        unfinished: Mutex::default(),
        held: Mutex::default(),
    });
    stage.begin_life(0);
    stage
}

impl Stage {
    pub(super) fn begin_life(&self, life: Life) {
        let desk = NonNull::from(&self.desks[usize::from(life)]);
        // SAFETY: the desk lives as long as the mailbox.
        unsafe { self.mailbox.begin_life(desk, life) };
    }

    pub(super) fn desk(&self, life: Life) -> &Desk<Value> {
        &self.desks[usize::from(life)]
    }

    pub(super) fn value(&self, n: u32) -> Value {
        Value(n, Arc::clone(&self.dropped))
    }

    /// Sends where there is room; returns the life that is to be run.
    pub(super) fn send(&self, n: u32) -> Option<Life> {
        match self.mailbox.offer_at_once::<false, _>(n, |n| self.value(n)) {
            Ok(ready) => ready,
            Err(n) => match self.mailbox.offer(self.value(n), WhenFull::Refuse) {
                Admission::Accepted { ready } => ready,
                Admission::Replaced(_) => None,
                _ => panic!("there is room for {n}"),
            },
        }
    }

    /// Sends, or stands in line.
    pub(super) fn send_or_wait(&self, n: u32, bell: &Arc<Bell>) -> Sent {
        let n = match self.mailbox.offer_at_once::<false, _>(n, |n| self.value(n)) {
            Ok(ready) => return Sent::Accepted(ready),
            Err(n) => n,
        };
        let waker = Waker::from(Arc::clone(bell));
        match self.mailbox.offer(self.value(n), WhenFull::Wait(&waker)) {
            Admission::Accepted { ready } => Sent::Accepted(ready),
            Admission::Waiting { ticket } => Sent::Waits(ticket),
            Admission::Closed(_) => Sent::Closed,
            _ => unreachable!("this mailbox lets senders wait"),
        }
    }

    /// Sends and runs what that makes ready.
    pub(super) fn send_and_run(&self, n: u32) {
        if let Some(life) = self.send(n) {
            assert_eq!(self.run(life), Ran::Rests);
        }
    }

    pub(super) fn enter(&self, life: Life) -> Option<Option<Value>> {
        let mut hand = None;
        // SAFETY: the mailbox, or the beginning of the life, has made the caller its runner.
        unsafe { self.mailbox.enter(self.desk(life), true, &mut hand) }?;
        let runs = &self.runs[usize::from(life)];
        assert_eq!(runs.fetch_add(1, SeqCst), 0, "a life is run by two");
        Some(hand)
    }

    /// To be called before the step that ends a run.
    pub(super) fn exit(&self, life: Life) {
        self.runs[usize::from(life)].fetch_sub(1, SeqCst);
    }

    /// To be called by who goes on after [`exit`](Self::exit).
    pub(super) fn enter_again(&self, life: Life) {
        self.runs[usize::from(life)].fetch_add(1, SeqCst);
    }

    pub(super) fn has_handled(&self, message: &Value) {
        self.handled.lock().unwrap().push(message.0);
    }

    /// One run, as a worker's.
    pub(super) fn run(&self, life: Life) -> Ran {
        match self.enter(life) {
            Some(hand) => self.go_on(life, hand),
            None => Ran::CutOff,
        }
    }

    pub(super) fn go_on(&self, life: Life, mut hand: Option<Value>) -> Ran {
        let desk = self.desk(life);
        loop {
            if let Some(message) = hand.take() {
                // SAFETY: this is the runner.
                if unsafe { self.mailbox.finish(desk) } {
                    self.has_handled(&message);
                } else {
                    self.unfinished.lock().unwrap().push(message.0);
                }
            }
            // SAFETY: this is the runner.
            unsafe { self.mailbox.next_at_once(desk, &mut hand) };
            if hand.is_some() {
                continue;
            }
            self.exit(life);
            // SAFETY: this is the runner.
            if unsafe { self.mailbox.rest(desk) } {
                return Ran::Rests;
            }
            // SAFETY: this is the runner.
            match unsafe { self.mailbox.next(desk, false) } {
                Next::Message(message, _) => hand = Some(message),
                Next::Idle => return Ran::Rests,
                Next::Control(_) => return Ran::Stops,
                Next::Killed => return Ran::Killed,
                Next::Superseded => return Ran::CutOff,
                Next::Empty => unreachable!("nobody drains"),
            }
            self.enter_again(life);
        }
    }

    /// What a life does that was killed in the middle of a message or between two.
    pub(super) fn die(&self, life: Life) {
        self.mailbox.fail(self.desk(life), |_| None);
        self.mailbox.leave(self.desk(life));
    }

    pub(super) fn handled(&self) -> Vec<u32> {
        self.handled.lock().unwrap().clone()
    }

    /// Each sender's messages were handled in the order in which it sent them.
    pub(super) fn assert_order(&self) {
        let handled = self.handled();
        for sender in 1..=3 {
            let of: Vec<_> = handled.iter().filter(|n| *n / 10 == sender).collect();
            assert!(of.is_sorted(), "out of order: {handled:?}");
        }
    }

    /// All that was sent has ended once, and the counts say so.
    pub(super) fn assert_at_rest(&self, sent: u64) {
        let reading = self.mailbox.reading(false);
        let tally = reading.tally;
        assert_eq!(
            (reading.depth, reading.in_flight, reading.waiting),
            (0, 0, 0)
        );
        let rejected: u64 = tally.rejected.iter().sum();
        let dropped: u64 = tally.dropped.iter().sum();
        assert_eq!(tally.sent, sent);
        assert_eq!(
            tally.sent,
            tally.handled + tally.failed + rejected + dropped
        );
        assert_eq!(tally.handled as usize, self.handled().len());
        assert_eq!(
            self.dropped.load(SeqCst) as u64,
            sent,
            "leaked, or read twice"
        );
        self.assert_order();
    }
}

#[derive(Debug)]
pub(super) enum Sent {
    Accepted(Option<Life>),
    Waits(Ticket),
    Closed,
}
