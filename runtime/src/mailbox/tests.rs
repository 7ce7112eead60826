//! The mailbox by itself, one step after the other: the runner is a test's own hand.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Wake, Waker};

use tokio::time::Instant;

use super::Mailbox;
use super::counts::Reading;
use super::desk::Desk;
use super::recent::Timed;
use super::words::{Admission, Next, Overflow, Ticket, WhenFull};
use crate::core::micros::Micros;

mod census;
mod full;
mod lives;
mod memory;
mod order;
mod rules;
mod timed;

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A waker, and how often it rang.
fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell::default());
    (bell.clone(), bell.into())
}

/// A mailbox of numbers and the lives that read from it, by their index.
struct Bench {
    mailbox: Mailbox<u32, usize>,
    #[expect(clippy::vec_box, reason = "a desk stays where it is while more come")]
    desks: Vec<Box<Desk<u32>>>,
}

fn bench(capacity: usize, overflow: Overflow) -> Bench {
    timed_bench(capacity, overflow, 1)
}

fn timed_bench(capacity: usize, overflow: Overflow, every: u32) -> Bench {
    let mut bench = Bench {
        mailbox: Mailbox::new(capacity, overflow, every),
        desks: Vec::new(),
    };
    bench.begin();
    bench
}

impl Bench {
    /// Begins the next life; the mailbox says of each that it is ready.
    fn begin(&mut self) -> usize {
        self.desks.push(Box::new(Desk::new(Micros::default())));
        let life = self.desks.len() - 1;
        // SAFETY: the desks are kept as long as the mailbox.
        unsafe {
            self.mailbox
                .begin_life(NonNull::from(&*self.desks[life]), life);
        }
        life
    }

    fn life(&self) -> usize {
        self.desks.len() - 1
    }

    fn desk(&self) -> &Desk<u32> {
        &self.desks[self.life()]
    }

    fn offer(&self, n: u32, when_full: WhenFull<'_>) -> Admission<u32, usize> {
        match self.mailbox.offer_at_once::<false, _>(n, |n| n) {
            Ok(ready) => Admission::Accepted { ready },
            Err(n) => self.mailbox.offer(n, when_full),
        }
    }

    /// Queues it; whether the actor is to be made ready.
    fn tell(&self, n: u32) -> bool {
        match self.offer(n, WhenFull::Refuse) {
            Admission::Accepted { ready } => ready.is_some(),
            _ => panic!("there is room for {n}"),
        }
    }

    fn wait(&self, n: u32, waker: &Waker) -> Ticket {
        match self.offer(n, WhenFull::Wait(waker)) {
            Admission::Waiting { ticket } => ticket,
            _ => panic!("{n} should wait"),
        }
    }

    /// Begins a run; what came with it is in hand.
    fn enter(&self) -> Option<(Option<u32>, bool)> {
        let mut hand = None;
        // SAFETY: each test enters only what is ready.
        let is_stamped = unsafe { self.mailbox.enter(self.desk(), true, &mut hand) }?;
        Some((hand, is_stamped))
    }

    /// The next message in hand, or `None` where the run ends.
    fn next(&self) -> Option<(u32, bool)> {
        let mut hand = None;
        // SAFETY: the test is the runner.
        let is_stamped = unsafe { self.mailbox.next_at_once(self.desk(), &mut hand) };
        if let Some(n) = hand {
            return Some((n, is_stamped));
        }
        // SAFETY: the test is the runner.
        if unsafe { self.mailbox.rest(self.desk()) } {
            return None;
        }
        // SAFETY: the test is the runner.
        match unsafe { self.mailbox.next(self.desk(), false) } {
            Next::Message(n, is_stamped) => Some((n, is_stamped)),
            Next::Idle => None,
            _ => panic!("neither a message nor the end of the run"),
        }
    }

    fn finish(&self) -> bool {
        // SAFETY: the test is the runner.
        unsafe { self.mailbox.finish(self.desk()) }
    }

    fn stamp(&self) -> Option<Instant> {
        // SAFETY: the test is the runner.
        let stamp = unsafe {
            let noted = Timed::new(|| "a number", Micros::default(), Micros::default());
            self.mailbox.take_stamp(self.desk(), |_| noted)
        };
        stamp.map(|stamp| stamp.since)
    }

    /// Runs until it rests, all well; what it handled.
    fn run(&self) -> Vec<u32> {
        let (hand, _) = self.enter().unwrap();
        self.go_on(hand)
    }

    fn go_on(&self, mut hand: Option<u32>) -> Vec<u32> {
        let mut handled = Vec::new();
        loop {
            if let Some(n) = hand {
                assert!(self.finish());
                handled.push(n);
            }
            let Some((n, is_stamped)) = self.next() else {
                return handled;
            };
            if is_stamped {
                self.stamp();
            }
            hand = Some(n);
        }
    }

    fn reading(&self) -> Reading {
        self.mailbox.reading(false)
    }

    /// Checks that every message is somewhere, once.
    fn assert_balanced(&self) {
        let Reading {
            depth,
            waiting,
            in_flight,
            tally,
            ..
        } = self.reading();
        let ended = tally.handled + tally.failed;
        let lost = tally.rejected.iter().sum::<u64>() + tally.dropped.iter().sum::<u64>();
        assert_eq!(
            tally.sent,
            ended + lost + waiting as u64 + depth as u64 + in_flight,
            "{:?}",
            self.reading()
        );
    }
}
