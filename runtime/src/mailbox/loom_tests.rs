//! Every interleaving of a few threads at one mailbox, up to so many preemptions.
//!
//! There is no driver here. Whoever is told to make the life ready runs it on
//! the spot, as an asker may: so what is lost is never handled, and what is
//! made ready twice is run by two. The counters are std's, no part of what is
//! modelled.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Wake, Waker};

use loom::thread;

use super::*;
use crate::core::lock::Lock;

/// A message: `sender * 10 + number`; counts its end.
struct Value(u32, Arc<AtomicUsize>);

impl Drop for Value {
    fn drop(&mut self) {
        self.1.fetch_add(1, SeqCst);
    }
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// How a run by hand ended.
#[derive(Debug, PartialEq, Eq)]
enum Ran {
    Rests,
    /// It was told to stop by a word of the control lane, or to end at once; the run is still on.
    Stops,
    Killed,
    /// The life is over for this runner, who has to drop it.
    CutOff,
}

/// A life as the mailbox gives it back: which one, and its desk.
type Life = u8;

/// One mailbox, its lives, and what became of every message.
struct Stage {
    mailbox: Mailbox<Value, Life>,
    desks: [Desk<Value>; 2],
    runs: [AtomicUsize; 2],
    dropped: Arc<AtomicUsize>,
    handled: Mutex<Vec<u32>>,
    /// Taken in hand by a runner who learned at the end of it that it was cut off.
    unfinished: Mutex<Vec<u32>>,
}

fn stage(capacity: usize, overflow: Overflow) -> Arc<Stage> {
    let stage = Arc::new(Stage {
        mailbox: Mailbox::new(capacity, overflow, 1),
        desks: [Desk::new(), Desk::new()],
        runs: Default::default(),
        dropped: Arc::default(),
        handled: Mutex::default(),
        unfinished: Mutex::default(),
    });
    stage.begin_life(0);
    stage
}

impl Stage {
    fn begin_life(&self, life: Life) {
        let desk = NonNull::from(&self.desks[usize::from(life)]);
        // SAFETY: the desk lives as long as the mailbox.
        unsafe { self.mailbox.begin_life(desk, life) };
    }

    fn desk(&self, life: Life) -> &Desk<Value> {
        &self.desks[usize::from(life)]
    }

    fn value(&self, n: u32) -> Value {
        Value(n, Arc::clone(&self.dropped))
    }

    /// Sends where there is room; returns the life that is to be run.
    fn send(&self, n: u32) -> Option<Life> {
        match self.mailbox.offer_at_once(n, |n| self.value(n)) {
            Ok(ready) => ready,
            Err(n) => match self.mailbox.offer(self.value(n), WhenFull::Refuse) {
                Admission::Accepted { ready } => ready,
                Admission::Replaced(_) => None,
                _ => panic!("there is room for {n}"),
            },
        }
    }

    /// Sends, or stands in line.
    fn send_or_wait(&self, n: u32, bell: &Arc<Bell>) -> Sent {
        let n = match self.mailbox.offer_at_once(n, |n| self.value(n)) {
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
    fn send_and_run(&self, n: u32) {
        if let Some(life) = self.send(n) {
            assert_eq!(self.run(life), Ran::Rests);
        }
    }

    fn enter(&self, life: Life) -> Option<Option<Value>> {
        let mut hand = None;
        // SAFETY: the mailbox, or the beginning of the life, has made the caller its runner.
        unsafe { self.mailbox.enter(self.desk(life), &mut hand) }?;
        let runs = &self.runs[usize::from(life)];
        assert_eq!(runs.fetch_add(1, SeqCst), 0, "a life is run by two");
        Some(hand)
    }

    /// To be called before the step that ends a run.
    fn exit(&self, life: Life) {
        self.runs[usize::from(life)].fetch_sub(1, SeqCst);
    }

    /// One run, as a worker's.
    fn run(&self, life: Life) -> Ran {
        match self.enter(life) {
            Some(hand) => self.go_on(life, hand),
            None => Ran::CutOff,
        }
    }

    fn go_on(&self, life: Life, mut hand: Option<Value>) -> Ran {
        let desk = self.desk(life);
        loop {
            if let Some(message) = hand.take() {
                // SAFETY: this is the runner.
                if unsafe { self.mailbox.finish(desk) } {
                    self.handled.lock().unwrap().push(message.0);
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
            self.runs[usize::from(life)].fetch_add(1, SeqCst);
        }
    }

    /// What a life does that was killed in the middle of a message or between two.
    fn die(&self, life: Life) {
        self.mailbox.fail(self.desk(life));
        self.mailbox.leave(self.desk(life));
    }

    fn handled(&self) -> Vec<u32> {
        self.handled.lock().unwrap().clone()
    }

    /// Each sender's messages were handled in the order in which it sent them.
    fn assert_order(&self) {
        let handled = self.handled();
        for sender in 1..=3 {
            let of: Vec<_> = handled.iter().filter(|n| *n / 10 == sender).collect();
            assert!(of.is_sorted(), "out of order: {handled:?}");
        }
    }

    /// All that was sent has ended once, and the counts say so.
    fn assert_at_rest(&self, sent: u64) {
        let reading = self.mailbox.reading(false);
        let tally = reading.tally;
        assert_eq!((reading.depth, reading.in_flight, reading.waiting), (0, 0, 0));
        let rejected: u64 = tally.rejected.iter().sum();
        let dropped: u64 = tally.dropped.iter().sum();
        assert_eq!(tally.sent, sent);
        assert_eq!(tally.sent, tally.handled + tally.failed + rejected + dropped);
        assert_eq!(tally.handled as usize, self.handled().len());
        assert_eq!(self.dropped.load(SeqCst) as u64, sent, "leaked, or read twice");
        self.assert_order();
    }
}

#[derive(Debug)]
enum Sent {
    Accepted(Option<Life>),
    Waits(Ticket),
    Closed,
}

/// Tries every interleaving with at most so many preemptions; of the largest models those of them
/// that it gets to in a quarter of a minute.
fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    if builder.preemption_bound.is_none() {
        builder.preemption_bound = Some(preemptions);
    }
    builder.max_branches = 100_000;
    builder.max_duration = Some(std::time::Duration::from_secs(15));
    builder.check(body);
}

/// Calls `f` with the stage on a thread of its own.
fn aside<R: 'static>(
    stage: &Arc<Stage>,
    f: impl FnOnce(&Stage) -> R + 'static,
) -> thread::JoinHandle<R> {
    let stage = Arc::clone(stage);
    thread::spawn(move || f(&stage))
}

// ===== ready, exactly once =====

#[test]
fn two_senders_and_a_runner_that_goes_idle() {
    model(1, || {
        let stage = stage(8, Overflow::Wait);
        stage.send(30);
        let senders = [10, 20].map(|n| aside(&stage, move |stage| stage.send_and_run(n)));
        assert_eq!(stage.run(0), Ran::Rests);
        senders.map(|sender| sender.join().unwrap());
        stage.assert_at_rest(3);
    });
}

#[test]
fn a_sender_of_two_and_a_runner_that_goes_idle() {
    model(3, || {
        let stage = stage(8, Overflow::Wait);
        let sender = aside(&stage, |stage| {
            stage.send_and_run(10);
            stage.send_and_run(11);
        });
        assert_eq!(stage.run(0), Ran::Rests);
        stage.send_and_run(20);
        sender.join().unwrap();
        stage.assert_at_rest(3);
    });
}

#[test]
fn a_word_of_the_control_lane_meets_a_runner_that_rests() {
    model(3, || {
        let stage = stage(8, Overflow::Wait);
        let teller = aside(&stage, |stage| {
            let ready = stage.mailbox.control(1, Control::Stop { drain: false });
            ready.map(|life| stage.run(life))
        });
        let here = stage.run(0);
        let there = teller.join().unwrap();
        let ends = [Some(here), there];
        let stops = ends.iter().filter(|end| **end == Some(Ran::Stops)).count();
        assert_eq!(stops, 1, "the word was lost, or heard twice: {ends:?}");
    });
}

#[test]
fn a_kill_meets_a_runner_that_rests_or_pends() {
    for pends in [false, true] {
        model(3, move || {
            let stage = stage(8, Overflow::Wait);
            let killer = aside(&stage, |stage| {
                stage.mailbox.kill(1).map(|life| stage.run(life))
            });
            let is_killed = if pends {
                match stage.enter(0) {
                    None => false,
                    Some(_) => {
                        stage.exit(0);
                        stage.mailbox.pend(stage.desk(0), false) == Left::Killed
                    }
                }
            } else {
                stage.run(0) == Ran::Killed
            };
            let there = killer.join().unwrap() == Some(Ran::Killed);
            assert!(is_killed != there, "seen here: {is_killed}, there: {there}");
        });
    }
}

#[test]
fn a_wake_meets_a_handler_that_pends() {
    model(3, || {
        let stage = stage(8, Overflow::Wait);
        let waker = aside(&stage, |stage| stage.mailbox.wake());
        assert!(stage.enter(0).is_some());
        stage.exit(0);
        let left = stage.mailbox.pend(stage.desk(0), false);
        let ready = waker.join().unwrap();
        match left {
            Left::Again => assert_eq!(ready, None, "made ready by two"),
            Left::Gone => assert_eq!(ready, Some(0), "the wake was lost"),
            left => panic!("{left:?}"),
        }
    });
}

#[test]
fn a_message_does_not_run_a_life_whose_handler_pends() {
    model(3, || {
        let stage = stage(8, Overflow::Wait);
        let sender = aside(&stage, |stage| {
            assert_eq!(stage.send(10), None);
            stage.mailbox.wake()
        });
        let hand = stage.enter(0).unwrap();
        stage.exit(0);
        let left = stage.mailbox.pend(stage.desk(0), false);
        let ready = sender.join().unwrap();
        assert!((left == Left::Again) != ready.is_some());
        assert!(hand.is_none());
        assert_eq!(stage.run(0), Ran::Rests);
        stage.assert_at_rest(1);
    });
}

// ===== the bound =====

/// Two senders that wait where there is no room, against a runner; each is let in and woken once.
fn two_at_the_door(capacity: usize, queued: u32, preemptions: usize) {
    model(preemptions, move || {
        let stage = stage(capacity, Overflow::Wait);
        // As after a run: the life is idle, and so what is sent next lies on its desk.
        assert_eq!(stage.run(0), Ran::Rests);
        let mut ready = None;
        for n in 0..queued {
            ready = ready.or(stage.send(30 + n));
        }
        let sends = |n| {
            move |stage: &Stage| {
                let bell = Arc::new(Bell::default());
                let sent = stage.send_or_wait(n, &bell);
                assert!(stage.mailbox.depth() <= capacity, "deeper than the bound");
                if let Sent::Accepted(Some(life)) = sent {
                    assert_eq!(stage.run(life), Ran::Rests);
                }
                (sent, bell)
            }
        };
        let senders = [aside(&stage, sends(10)), aside(&stage, sends(20))];
        if let Some(life) = ready {
            assert_eq!(stage.run(life), Ran::Rests);
        }
        for sender in senders {
            let (sent, bell) = sender.join().unwrap();
            if let Sent::Waits(ticket) = sent {
                assert_eq!(bell.rung(), 1, "a sender in line was not woken once");
                let admission = stage.mailbox.poll_ticket(ticket, Waker::noop());
                assert!(matches!(admission, Admission::Accepted { .. }));
            } else {
                assert_eq!(bell.rung(), 0);
            }
        }
        assert!(stage.mailbox.reading(false).depth_max <= capacity);
        stage.assert_at_rest(u64::from(queued) + 2);
    });
}

#[test]
fn two_senders_at_a_mailbox_for_one() {
    two_at_the_door(1, 1, 1);
}

#[test]
fn two_senders_at_a_mailbox_for_two() {
    two_at_the_door(2, 2, 1);
}

#[test]
fn a_sender_at_a_mailbox_for_one_and_a_runner_that_rests() {
    model(4, || {
        let stage = stage(1, Overflow::Wait);
        assert_eq!(stage.run(0), Ran::Rests);
        assert_eq!(stage.send(30), Some(0));
        let sender = aside(&stage, |stage| {
            let bell = Arc::new(Bell::default());
            let sent = stage.send_or_wait(10, &bell);
            if let Sent::Accepted(Some(life)) = sent {
                assert_eq!(stage.run(life), Ran::Rests);
            }
            (matches!(sent, Sent::Waits(_)), bell)
        });
        assert_eq!(stage.run(0), Ran::Rests);
        let (has_waited, bell) = sender.join().unwrap();
        assert_eq!(bell.rung(), usize::from(has_waited), "the wake was lost");
        stage.assert_at_rest(2);
    });
}

#[test]
fn a_sender_in_line_gives_up_while_it_is_let_in() {
    model(3, || {
        let stage = stage(1, Overflow::Wait);
        stage.send(30);
        let bell = Arc::new(Bell::default());
        let Sent::Waits(ticket) = stage.send_or_wait(10, &bell) else {
            panic!("there was no room")
        };
        let sender = aside(&stage, move |stage| {
            stage.mailbox.give_up(ticket, GivenUp::TimedOut).is_some()
        });
        assert_eq!(stage.run(0), Ran::Rests);
        let is_back = sender.join().unwrap();
        assert_eq!(bell.rung(), usize::from(!is_back));
        assert_eq!(stage.handled().contains(&10), !is_back);
        stage.assert_at_rest(2);
    });
}

#[test]
fn a_mailbox_is_closed_while_a_sender_comes_and_one_is_let_in() {
    model(1, || {
        let stage = stage(1, Overflow::Wait);
        stage.send(30);
        let first = Arc::new(Bell::default());
        let Sent::Waits(ticket) = stage.send_or_wait(10, &first) else {
            panic!("there was no room")
        };
        let closer = aside(&stage, |stage| stage.mailbox.close());
        let sender = aside(&stage, |stage| {
            let bell = Arc::new(Bell::default());
            let sent = stage.send_or_wait(20, &bell);
            if let Sent::Accepted(Some(life)) = sent {
                assert_eq!(stage.run(life), Ran::Rests);
            }
            (sent, bell)
        });
        assert_eq!(stage.run(0), Ran::Rests);
        closer.join().unwrap();
        let (sent, second) = sender.join().unwrap();
        let mut lines = vec![(ticket, first, 10)];
        match sent {
            Sent::Waits(ticket) => lines.push((ticket, second, 20)),
            Sent::Accepted(_) => assert!(stage.handled().contains(&20)),
            Sent::Closed => assert!(!stage.handled().contains(&20)),
        }
        for (ticket, bell, n) in lines {
            assert_eq!(bell.rung(), 1, "{n} was not woken once");
            match stage.mailbox.poll_ticket(ticket, Waker::noop()) {
                Admission::Accepted { .. } => assert!(stage.handled().contains(&n)),
                Admission::Closed(message) => {
                    assert_eq!(message.0, n);
                    assert!(!stage.handled().contains(&n));
                }
                _ => panic!("{n} is neither in nor back"),
            }
        }
        stage.assert_at_rest(3);
    });
}

// ===== cut off =====

/// How somebody else ends life 0, and what it is told.
fn cut(stage: &Stage, kills: bool) -> (Option<Life>, CutOff<Life>) {
    let ready = kills.then(|| stage.mailbox.kill(1)).flatten();
    (ready, stage.mailbox.cut_off(1, true))
}

/// Whatever is left is handled by the next life; each message ended once.
fn next_life(stage: &Stage, sent: u64) {
    stage.begin_life(1);
    assert_eq!(stage.run(1), Ran::Rests);
    let unfinished = stage.unfinished.lock().unwrap().len() as u64;
    let tally = stage.mailbox.reading(false).tally;
    assert!(tally.failed >= unfinished, "taken by a life that is gone, and not failed");
    stage.assert_at_rest(sent);
}

#[test]
fn a_runner_in_its_batch_is_cut_off() {
    for kills in [false, true] {
        model(3, move || {
            let stage = stage(8, Overflow::Wait);
            for n in 10..13 {
                stage.send(n);
            }
            let cutter = aside(&stage, move |stage| cut(stage, kills));
            let ran = stage.run(0);
            if ran == Ran::Killed {
                stage.die(0);
            }
            let (ready, cut_off) = cutter.join().unwrap();
            let is_left_to_us = match cut_off {
                CutOff::Nothing => kills && ran == Ran::Killed,
                CutOff::Running { .. } => ran != Ran::Rests || ready.is_some(),
                CutOff::Resting { in_flight, .. } => {
                    assert!(!in_flight);
                    ran == Ran::Rests && ready.is_none()
                }
            };
            assert!(is_left_to_us, "freed by two or by nobody: {ran:?}, {ready:?}");
            if ready.is_some() {
                assert_eq!(stage.run(0), Ran::CutOff);
            }
            next_life(&stage, 3);
        });
    }
}

#[test]
fn a_runner_is_cut_off_and_the_next_life_runs_meanwhile() {
    model(3, || {
        let stage = stage(8, Overflow::Wait);
        for n in 10..12 {
            stage.send(n);
        }
        let cutter = aside(&stage, |stage| {
            let (_, cut_off) = cut(stage, false);
            stage.begin_life(1);
            assert_eq!(stage.run(1), Ran::Rests);
            matches!(cut_off, CutOff::Running { .. })
        });
        let ran = stage.run(0);
        let was_running = cutter.join().unwrap();
        assert_eq!(ran == Ran::CutOff, was_running);
        stage.assert_at_rest(2);
    });
}

#[test]
fn a_life_that_is_ready_is_cut_off_once_with_what_it_has() {
    // Sent to an idle life, cut off on its way to a runner.
    model(3, || {
        let stage = stage(8, Overflow::Wait);
        assert_eq!(stage.run(0), Ran::Rests);
        let cutter = aside(&stage, |stage| {
            let (_, cut_off) = cut(stage, false);
            matches!(cut_off, CutOff::Running { .. })
        });
        let ready = stage.send(10);
        let ran = ready.map(|life| stage.run(life));
        let is_ours = cutter.join().unwrap();
        match ran {
            None => assert!(!is_ours, "nobody frees it"),
            Some(Ran::CutOff) => assert!(is_ours, "it is freed by two"),
            Some(ran) => {
                assert_eq!(ran, Ran::Rests);
                assert!(!is_ours);
            }
        }
        next_life(&stage, 1);
    });
}

#[test]
fn a_life_that_ends_leaves_its_batch_and_what_comes_meanwhile() {
    model(3, || {
        let stage = stage(8, Overflow::Wait);
        for n in 30..32 {
            stage.send(n);
        }
        let sender = aside(&stage, |stage| {
            for n in [10, 11] {
                assert_eq!(stage.send(n), None, "nobody is to be made ready");
            }
        });
        // Takes the first and all that is queued at that moment onto its desk.
        let hand = stage.enter(0).unwrap();
        assert!(hand.is_none());
        // SAFETY: this is the runner.
        let Next::Message(message, _) = (unsafe { stage.mailbox.next(stage.desk(0), false) }) else {
            panic!("a message is queued")
        };
        assert_eq!(message.0, 30);
        assert!(stage.mailbox.fail(stage.desk(0)));
        drop(message);
        assert!(stage.mailbox.leave(stage.desk(0)));
        sender.join().unwrap();
        next_life(&stage, 4);
        assert_eq!(stage.handled(), [31, 10, 11]);
    });
}

// ===== stepwise =====

#[test]
fn the_oldest_makes_room_while_the_runner_takes_it() {
    model(3, || {
        let stage = stage(1, Overflow::DropOldest);
        let sender = aside(&stage, |stage| {
            stage.send_and_run(10);
            stage.send_and_run(11);
        });
        assert_eq!(stage.run(0), Ran::Rests);
        sender.join().unwrap();
        assert_eq!(stage.handled().last(), Some(&11), "the newest was lost");
        stage.assert_at_rest(2);
    });
}

#[test]
fn a_life_that_drops_the_oldest_is_cut_off() {
    model(1, || {
        let stage = stage(1, Overflow::DropOldest);
        let sender = aside(&stage, |stage| {
            stage.send(10);
            stage.send(11).map(|life| stage.run(life))
        });
        let cutter = aside(&stage, |stage| {
            cut(stage, false);
        });
        stage.run(0);
        sender.join().unwrap();
        cutter.join().unwrap();
        next_life(&stage, 2);
    });
}

// ===== the lock =====

#[test]
fn a_lock_is_held_by_one_at_a_time() {
    model(4, || {
        let lock = Arc::new(Lock::new(0));
        let adds = |lock: Arc<Lock<u32>>| {
            move || {
                for _ in 0..2 {
                    lock.with(|n| *n += 1);
                }
            }
        };
        let threads = [0, 1].map(|_| thread::spawn(adds(lock.clone())));
        threads.map(|thread| thread.join().unwrap());
        assert_eq!(lock.with(|n| *n), 4);
    });
}

#[test]
fn a_section_that_panics_gives_the_lock_back() {
    model(4, || {
        let lock = Arc::new(Lock::new(0));
        let other = lock.clone();
        let panics = thread::spawn(move || {
            let section = std::panic::AssertUnwindSafe(|| {
                other.with(|n| {
                    *n += 1;
                    std::panic::resume_unwind(Box::new(()));
                })
            });
            assert!(std::panic::catch_unwind(section).is_err());
        });
        lock.with(|n| *n += 1);
        panics.join().unwrap();
        assert_eq!(lock.with(|n| *n), 2);
    });
}
