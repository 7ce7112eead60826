//! The mailbox by itself, one step after the other: the runner is a test's own hand.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

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
        self.desks.push(Box::new(Desk::new()));
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
        unsafe { self.mailbox.take_stamp(self.desk()) }
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

// ===== order, readiness and the bound =====

#[test]
fn messages_come_out_as_they_went_in() {
    let it = bench(100, Overflow::Wait);
    assert!(it.run().is_empty());
    for n in 0..5 {
        it.tell(n);
    }
    let (first, _) = it.enter().unwrap();
    assert_eq!(first, Some(0), "what made it ready lies on its desk");
    assert!(it.finish());
    assert_eq!(it.next().unwrap().0, 1);
    it.tell(5);
    assert!(it.finish());
    assert_eq!(it.go_on(None), [2, 3, 4, 5]);
    it.assert_balanced();
}

#[test]
fn the_first_message_to_an_idle_life_makes_it_ready_and_no_other_does() {
    let it = bench(10, Overflow::Wait);
    assert!(!it.tell(1), "a life that begins is ready");
    assert_eq!(it.run(), [1]);
    assert!(it.tell(2));
    assert!(!it.tell(3));
    let (hand, _) = it.enter().unwrap();
    assert!(!it.tell(4), "it is being run");
    assert_eq!(it.go_on(hand), [2, 3, 4]);
    assert!(it.tell(5));
}

#[test]
fn a_run_whose_budget_is_used_up_stays_ready_and_goes_on_where_it_was() {
    let it = bench(10, Overflow::Wait);
    for n in 0..3 {
        it.tell(n);
    }
    it.enter();
    assert_eq!(it.next().unwrap().0, 0);
    assert!(it.finish());
    assert_eq!(it.mailbox.pause(it.desk()), Left::Again);
    assert!(!it.tell(3), "it is ready");
    assert_eq!(it.run(), [1, 2, 3]);
}

#[test]
fn a_mailbox_holds_what_it_is_for_and_the_batch_counts() {
    for capacity in 1..=4 {
        let it = bench(capacity, Overflow::Reject);
        assert!(it.run().is_empty());
        for round in 0..3 {
            for n in 0..capacity as u32 {
                it.tell(n);
            }
            let refused = |n| matches!(it.offer(n, WhenFull::Refuse), Admission::Full(m) if m == n);
            assert!(refused(99));
            // In hand it has left the queue; what lies behind it in the batch has not.
            let (hand, _) = it.enter().unwrap();
            assert_eq!(hand, Some(0));
            it.tell(100);
            assert!(refused(99), "capacity {capacity}, round {round}");
            assert_eq!(it.reading().depth, capacity);
            assert_eq!(it.reading().depth_max, capacity);
            assert_eq!(it.go_on(hand).len(), capacity + 1);
            it.assert_balanced();
        }
    }
}

#[test]
fn the_deepest_level_begins_anew_with_each_scrape() {
    let it = bench(10, Overflow::Wait);
    for n in 0..7 {
        it.tell(n);
    }
    assert_eq!(it.run().len(), 7);
    assert_eq!(it.mailbox.reading(true).depth_max, 7);
    assert_eq!(it.mailbox.reading(true).depth_max, 0);
    it.tell(1);
    it.tell(2);
    assert_eq!(it.mailbox.reading(true).depth_max, 2);
}

// ===== full =====

#[test]
fn those_who_wait_are_let_in_one_by_one_in_the_order_they_came() {
    let it = bench(1, Overflow::Wait);
    it.tell(0);
    let bells: Vec<_> = (0..3).map(|_| bell()).collect();
    let tickets: Vec<_> = (0..3)
        .map(|n| it.wait(n + 1, &bells[n as usize].1))
        .collect();
    let rung = || {
        bells
            .iter()
            .map(|(bell, _)| bell.0.load(SeqCst))
            .collect::<Vec<_>>()
    };
    it.enter();
    for n in 0..4 {
        assert_eq!(it.next().unwrap().0, n);
        let is_in: Vec<_> = (0..3).map(|m| usize::from(m <= n && m < 3)).collect();
        assert_eq!(rung(), is_in);
        assert!(it.finish());
    }
    for (ticket, (_, waker)) in tickets.iter().zip(&bells) {
        let admission = it.mailbox.poll_ticket(*ticket, waker);
        assert!(matches!(admission, Admission::Accepted { ready: None }));
    }
    assert!(it.next().is_none());
    it.assert_balanced();
}

#[test]
fn nobody_overtakes_who_stands_in_line() {
    let it = bench(2, Overflow::Wait);
    it.tell(0);
    it.tell(1);
    let (_, waker) = bell();
    it.wait(2, &waker);
    it.wait(3, &waker);
    // There is room for one now, and somebody waits for it.
    assert!(it.enter().unwrap().0.is_none());
    assert_eq!(it.next().unwrap().0, 0);
    it.wait(4, &waker);
    assert!(it.finish());
    assert_eq!(it.go_on(None), [1, 2, 3, 4]);
}

#[test]
fn a_sender_that_polls_with_another_waker_is_woken_by_that() {
    let it = bench(1, Overflow::Wait);
    it.tell(0);
    let ((old, first), (new, second)) = (bell(), bell());
    let ticket = it.wait(1, &first);
    assert!(matches!(
        it.mailbox.poll_ticket(ticket, &second),
        Admission::Waiting { ticket: same } if same == ticket
    ));
    drop(first);
    assert_eq!(Arc::strong_count(&old), 1, "the old one is let go of");
    it.run();
    assert_eq!((old.0.load(SeqCst), new.0.load(SeqCst)), (0, 1));
}

#[test]
fn who_gives_up_gets_its_message_back_unless_it_was_let_in() {
    let it = bench(1, Overflow::Wait);
    it.tell(0);
    let (_, waker) = bell();
    let tickets: Vec<_> = (1..=4).map(|n| it.wait(n, &waker)).collect();
    assert_eq!(it.mailbox.give_up(tickets[0], GivenUp::TimedOut), Some(1));
    assert_eq!(it.mailbox.give_up(tickets[1], GivenUp::Cancelled), Some(2));
    assert_eq!(it.mailbox.give_up(tickets[2], GivenUp::Lost), Some(3));
    assert_eq!(it.run(), [0, 4]);
    assert_eq!(it.mailbox.give_up(tickets[3], GivenUp::TimedOut), None);
    let tally = it.reading().tally;
    assert_eq!(tally.rejected[Rejected::TimedOut as usize], 1);
    assert_eq!(tally.rejected[Rejected::Cancelled as usize], 1);
    assert_eq!(tally.dropped[Dropped::Full as usize], 1);
    it.assert_balanced();
    assert!(it.tell(5), "nobody is in line any more");
}

#[test]
fn a_full_mailbox_refuses_loses_the_newest_or_loses_the_oldest() {
    let (_, waker) = bell();
    let wait = || WhenFull::Wait(&waker);
    let it = bench(1, Overflow::Reject);
    it.tell(0);
    assert!(matches!(it.offer(1, wait()), Admission::Full(1)));
    assert!(matches!(it.offer(1, WhenFull::Drop), Admission::Lost(1)));
    assert_eq!(it.run(), [0]);
    it.assert_balanced();

    let it = bench(1, Overflow::DropNewest);
    it.tell(0);
    assert!(matches!(it.offer(1, wait()), Admission::Lost(1)));
    assert!(matches!(it.offer(1, WhenFull::Refuse), Admission::Full(1)));
    assert!(matches!(
        it.offer(1, WhenFull::WaitOrRefuse(&waker)),
        Admission::Full(1)
    ));
    assert_eq!(it.run(), [0]);
    it.assert_balanced();

    let it = bench(2, Overflow::DropOldest);
    it.tell(0);
    it.tell(1);
    assert!(matches!(it.offer(2, wait()), Admission::Replaced(0)));
    assert!(matches!(
        it.offer(3, WhenFull::Refuse),
        Admission::Replaced(1)
    ));
    assert_eq!(it.run(), [2, 3]);
    assert_eq!(it.reading().tally.dropped[Dropped::Full as usize], 2);
    it.assert_balanced();
}

#[test]
fn what_is_in_hand_is_not_the_oldest_that_makes_room() {
    let it = bench(1, Overflow::DropOldest);
    it.tell(0);
    assert!(it.enter().unwrap().0.is_none());
    assert_eq!(it.next().unwrap().0, 0);
    it.tell(1);
    assert!(matches!(
        it.offer(2, WhenFull::Refuse),
        Admission::Replaced(1)
    ));
    it.assert_balanced();
    assert_eq!(it.reading().in_flight, 1);
    assert!(it.finish());
    assert_eq!(it.go_on(None), [2]);
}

// ===== the control lane, wakes and the end =====

#[test]
fn a_word_of_the_control_lane_comes_before_every_message() {
    let it = bench(10, Overflow::Wait);
    it.run();
    it.tell(1);
    assert_eq!(it.mailbox.control(1, Control::Stop { drain: true }), None);
    assert_eq!(
        it.enter(),
        Some((None, false)),
        "it looks under the lock first"
    );
    // SAFETY: the test is the runner.
    let next = |draining| unsafe { it.mailbox.next(it.desk(), draining) };
    assert!(matches!(
        next(false),
        Next::Control(Control::Stop { drain: true })
    ));
    assert!(matches!(next(true), Next::Message(1, _)));
    assert!(matches!(next(true), Next::Empty));
    assert_eq!(
        it.mailbox.control(2, Control::Stop { drain: true }),
        None,
        "no such life"
    );
}

#[test]
fn a_word_makes_an_idle_life_ready_and_lets_a_pending_handler_finish() {
    let it = bench(10, Overflow::Wait);
    it.run();
    let stop = || Control::Stop { drain: false };
    assert_eq!(it.mailbox.control(1, stop()), Some(0));
    it.enter();
    assert_eq!(it.mailbox.pend(it.desk(), false), Left::Gone);
    assert_eq!(it.mailbox.control(1, stop()), None);
    assert_eq!(it.mailbox.kill(1), Some(0), "a kill does not wait for it");
}

#[test]
fn a_wake_runs_a_pending_handler_once() {
    let it = bench(10, Overflow::Wait);
    it.enter();
    assert_eq!(it.mailbox.pend(it.desk(), false), Left::Gone);
    assert_eq!(it.mailbox.wake(), Some(0));
    assert_eq!(it.mailbox.wake(), None, "it is ready");
    // The second wake came before the run began, but nobody can tell that: once more.
    it.enter();
    assert_eq!(it.mailbox.pend(it.desk(), false), Left::Again);
    it.enter();
    assert_eq!(it.mailbox.pend(it.desk(), false), Left::Gone);
    assert_eq!(it.mailbox.wake(), Some(0));
    it.enter();
    assert_eq!(
        it.mailbox.pend(it.desk(), false),
        Left::Gone,
        "polled in vain"
    );
}

#[test]
fn a_wake_during_the_run_is_the_tasks_affair_where_there_is_one() {
    let it = bench(10, Overflow::Wait);
    it.enter();
    assert_eq!(it.mailbox.wake(), None);
    assert_eq!(it.mailbox.pend(it.desk(), true), Left::Gone);
}

#[test]
fn a_closed_mailbox_gives_all_back_and_opens_with_the_next_life() {
    let mut it = bench(1, Overflow::Wait);
    it.tell(0);
    let (bell, waker) = bell();
    let ticket = it.wait(1, &waker);
    it.mailbox.close();
    assert_eq!(bell.0.load(SeqCst), 1);
    assert!(matches!(
        it.mailbox.poll_ticket(ticket, &waker),
        Admission::Closed(1)
    ));
    assert!(matches!(
        it.offer(2, WhenFull::Refuse),
        Admission::Closed(2)
    ));
    assert!(matches!(it.offer(3, WhenFull::Drop), Admission::Closed(3)));
    assert!(matches!(
        it.offer(4, WhenFull::WaitOrDrop(&waker)),
        Admission::Closed(4)
    ));
    let tally = it.reading().tally;
    assert_eq!(tally.rejected[Rejected::Stopped as usize], 2);
    assert_eq!(tally.dropped[Dropped::Stopped as usize], 2);
    it.enter();
    assert!(it.mailbox.leave(it.desk()));
    it.assert_balanced();
    it.begin();
    assert_eq!(it.run(), [0]);
    assert!(it.tell(5));
}

#[test]
fn the_counts_are_handed_over_once_and_begin_anew() {
    let mut it = bench(2, Overflow::Wait);
    it.tell(0);
    assert_eq!(it.mailbox.take_tally(), Tally::default(), "a life reads");
    assert_eq!(it.run(), [0]);
    it.tell(1);
    it.tell(2);
    it.mailbox.close();
    assert!(it.mailbox.leave(it.desk()));
    assert_eq!(it.mailbox.clear(), [1, 2]);
    let tally = it.mailbox.take_tally();
    assert_eq!((tally.sent, tally.handled), (3, 1));
    assert_eq!(tally.dropped[Dropped::Stopped as usize], 2);
    assert_eq!(it.mailbox.take_tally(), Tally::default());
    it.begin();
    it.tell(3);
    it.tell(4);
    assert!(matches!(it.offer(5, WhenFull::Refuse), Admission::Full(5)));
    assert_eq!(it.run(), [3, 4]);
    it.assert_balanced();
}

// ===== cut off =====

#[test]
fn a_resting_life_that_is_cut_off_is_its_cutters() {
    let mut it = bench(10, Overflow::Wait);
    it.run();
    let cut_off = it.mailbox.cut_off(1, true);
    assert!(matches!(
        cut_off,
        CutOff::Resting {
            life: 0,
            in_flight: false
        }
    ));
    assert!(matches!(it.mailbox.cut_off(1, true), CutOff::Nothing));
    assert!(!it.tell(1), "nobody is to be made ready");
    it.begin();
    assert_eq!(it.run(), [1]);
}

#[test]
fn a_ready_life_that_is_cut_off_is_whoevers_has_the_entry() {
    for has_entries in [true, false] {
        let mut it = bench(10, Overflow::Wait);
        it.run();
        assert!(it.tell(1));
        it.tell(2);
        match it.mailbox.cut_off(1, has_entries) {
            CutOff::Running { in_flight: false } if has_entries => {
                assert_eq!(it.enter(), None, "the entry finds that it is over");
            }
            CutOff::Resting {
                life: 0,
                in_flight: false,
            } if !has_entries => {}
            _ => panic!("freed by two, or by nobody"),
        }
        it.begin();
        assert_eq!(it.run(), [1, 2], "what lay on the desk comes first");
    }
}

#[test]
fn a_running_life_that_is_cut_off_loses_what_it_has_in_hand_and_nothing_else() {
    let mut it = bench(10, Overflow::Wait);
    it.run();
    for n in 0..4 {
        it.tell(n);
    }
    let (hand, _) = it.enter().unwrap();
    assert_eq!(hand, Some(0));
    assert!(it.finish());
    assert_eq!(it.next().unwrap().0, 1);
    assert!(matches!(
        it.mailbox.cut_off(1, true),
        CutOff::Running { in_flight: true }
    ));
    let old = it.life();
    it.begin();
    // What the old runner does now is nobody's business any more.
    let desk = &it.desks[old];
    // SAFETY: the test is the runner of this one, too.
    unsafe {
        assert!(!it.mailbox.finish(desk));
        let mut hand = None;
        it.mailbox.next_at_once(desk, &mut hand);
        assert_eq!(hand, None);
        assert!(!it.mailbox.rest(desk));
        assert!(matches!(it.mailbox.next(desk, false), Next::Superseded));
    }
    assert!(!it.mailbox.fail(desk));
    it.mailbox.discard(desk, Dropped::Stale);
    assert_eq!(it.mailbox.pend(desk, false), Left::Superseded);
    assert_eq!(it.mailbox.pause(desk), Left::Superseded);
    assert!(!it.mailbox.leave(desk));
    assert_eq!(it.run(), [2, 3]);
    let tally = it.reading().tally;
    assert_eq!((tally.handled, tally.failed), (3, 1));
    it.assert_balanced();
}

#[test]
fn a_life_that_is_killed_sees_it_at_its_next_step() {
    let it = bench(10, Overflow::Wait);
    it.tell(0);
    it.tell(1);
    it.enter();
    assert_eq!(it.next().unwrap().0, 0);
    assert_eq!(it.mailbox.kill(1), None, "it is being run");
    assert!(it.desk().is_killed());
    assert!(it.finish(), "what was done is done");
    // SAFETY: the test is the runner.
    unsafe {
        assert!(!it.mailbox.rest(it.desk()));
        assert!(matches!(it.mailbox.next(it.desk(), false), Next::Killed));
    }
    assert!(!it.mailbox.fail(it.desk()), "nothing is in flight");
    assert!(it.mailbox.leave(it.desk()));
    assert_eq!(it.reading().depth, 1);
}

// ===== what is timed =====

#[test]
fn every_message_is_timed_or_one_in_so_many() {
    for (every, timed) in [(1, vec![0, 1, 2, 3, 4, 5, 6, 7, 8]), (4, vec![0, 4, 8])] {
        let it = timed_bench(100, Overflow::Wait, every);
        for n in 0..9 {
            it.tell(n);
        }
        it.enter();
        let mut stamped = Vec::new();
        for n in 0..9 {
            let (message, is_stamped) = it.next().unwrap();
            assert_eq!(message, n);
            if is_stamped {
                assert!(it.stamp().is_some());
                stamped.push(n);
            }
            assert!(it.finish());
        }
        assert_eq!(stamped, timed);
        assert!(it.next().is_none());
        // And so it goes on with what lies on the desk of an idle life.
        for n in 9..17 {
            it.tell(n);
            let (hand, is_stamped) = it.enter().unwrap();
            assert_eq!((hand, is_stamped), (Some(n), n % every == 0));
            assert_eq!(is_stamped, is_stamped && it.stamp().is_some());
            assert!(it.finish());
            assert!(it.next().is_none());
        }
    }
}

#[test]
fn the_message_after_a_life_that_was_cut_off_is_timed_again() {
    let mut it = bench(10, Overflow::Wait);
    it.run();
    it.tell(0);
    // Cut off between the step that took it and the one that asks when it came.
    assert_eq!(it.enter(), Some((Some(0), true)));
    it.mailbox.cut_off(1, true);
    assert_eq!(it.stamp(), None);
    it.begin();
    it.run();
    for n in 1..4 {
        it.tell(n);
        assert_eq!(it.enter(), Some((Some(n), true)), "never timed again");
        assert!(it.stamp().is_some());
        assert!(it.finish());
        assert!(it.next().is_none());
    }
    let stamps = it.mailbox.inner.with(|inner| inner.rare().stamps.len());
    assert_eq!(stamps, 0, "nobody will ever take these out");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_age_is_that_of_what_is_in_hand_or_next() {
    let pass = || tokio::time::advance(Duration::from_secs(1));
    let it = bench(10, Overflow::Wait);
    it.run();
    let age = || it.reading().oldest_age.as_secs();
    assert_eq!(age(), 0);
    it.tell(0);
    pass().await;
    it.tell(1);
    pass().await;
    assert_eq!(age(), 2);
    assert_eq!(it.enter(), Some((Some(0), true)));
    assert_eq!(age(), 2);
    it.stamp();
    pass().await;
    assert_eq!(age(), 3, "as long as it is in hand");
    assert!(it.finish());
    assert_eq!(age(), 2, "the second came a second later");
    assert_eq!(it.go_on(None), [1]);
    pass().await;
    assert_eq!(age(), 0);
}

// ===== all of it, against a model =====

/// What may happen to a mailbox, the choice of which message or ticket aside.
#[derive(Clone, Copy, Debug)]
enum Step {
    Tell,
    Refuse,
    Drop,
    Wait,
    GiveUp(usize),
    /// A run of so many messages; with the last, as the second says.
    Run(usize, Last),
    CutOff,
    Kill,
    Close,
    NextLife,
}

#[derive(Clone, Copy, Debug)]
enum Last {
    Finishes,
    Fails,
    IsDiscarded,
    IsCutOff,
}

/// The rules, as simple as they can be said.
#[derive(Default)]
struct Rules {
    capacity: usize,
    overflow: Overflow,
    open: bool,
    queue: VecDeque<u32>,
    line: VecDeque<(u32, Ticket)>,
    /// Given back by the close, and not picked up.
    back: Vec<(u32, Ticket)>,
    accepted: Vec<Ticket>,
    sent: u64,
    handled: u64,
    failed: u64,
    rejected: u64,
    dropped: u64,
}

impl Rules {
    fn let_in(&mut self) {
        while self.queue.len() < self.capacity
            && let Some((n, ticket)) = self.line.pop_front()
        {
            self.queue.push_back(n);
            self.accepted.push(ticket);
        }
    }
}

fn a_step() -> impl Strategy<Value = Step> {
    let last = prop_oneof![
        6 => Just(Last::Finishes),
        1 => Just(Last::Fails),
        1 => Just(Last::IsDiscarded),
        1 => Just(Last::IsCutOff),
    ];
    prop_oneof![
        6 => Just(Step::Tell),
        2 => Just(Step::Refuse),
        2 => Just(Step::Drop),
        6 => Just(Step::Wait),
        2 => any::<usize>().prop_map(Step::GiveUp),
        6 => (0..6usize, last).prop_map(|(n, last)| Step::Run(n, last)),
        1 => Just(Step::CutOff),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
        2 => Just(Step::NextLife),
    ]
}

/// The mailbox as driven by the steps, beside the rules.
struct Play {
    it: Bench,
    rules: Rules,
    next: u32,
    /// A life reads.
    reads: bool,
    is_ready: bool,
}

impl Play {
    fn offer(&mut self, when_full: &str) {
        let n = self.next;
        self.next += 1;
        self.rules.sent += 1;
        let waker = Waker::noop();
        let (admission, is_loss) = match when_full {
            "drop" => (self.it.offer(n, WhenFull::Drop), true),
            "refuse" => (self.it.offer(n, WhenFull::Refuse), false),
            _ => (
                self.it.offer(n, WhenFull::Wait(waker)),
                self.rules.overflow == Overflow::DropNewest,
            ),
        };
        let rules = &mut self.rules;
        let has_room = rules.queue.len() < rules.capacity;
        match admission {
            Admission::Closed(back) => {
                assert!(!rules.open && back == n);
                *if when_full == "drop" {
                    &mut rules.dropped
                } else {
                    &mut rules.rejected
                } += 1;
            }
            Admission::Accepted { ready } => {
                assert!(rules.open && has_room && rules.line.is_empty());
                rules.queue.push_back(n);
                let should = self.reads && !self.is_ready;
                assert_eq!(ready.is_some(), should, "ready at the wrong time");
                self.is_ready |= should;
            }
            Admission::Replaced(oldest) => {
                assert!(!has_room && rules.overflow == Overflow::DropOldest);
                assert_eq!(rules.queue.pop_front(), Some(oldest));
                rules.queue.push_back(n);
                rules.dropped += 1;
            }
            Admission::Waiting { ticket } => {
                assert!(!has_room && when_full == "wait" && rules.overflow == Overflow::Wait);
                rules.line.push_back((n, ticket));
            }
            Admission::Full(back) => {
                assert!(!has_room && back == n && !is_loss);
                rules.rejected += 1;
            }
            Admission::Lost(back) => {
                assert!(!has_room && back == n && is_loss);
                rules.dropped += 1;
            }
        }
    }

    fn cut_off(&mut self) {
        let incarnation = self.it.desks.len() as u64;
        let cut_off = self.it.mailbox.cut_off(incarnation, true);
        let (reads, ready) = (self.reads, self.is_ready);
        match cut_off {
            CutOff::Nothing => assert!(!reads),
            CutOff::Running { in_flight } => assert!(reads && ready && !in_flight),
            CutOff::Resting { in_flight, .. } => assert!(reads && !ready && !in_flight),
        }
        if reads && ready {
            assert_eq!(self.it.enter(), None);
        }
        (self.reads, self.is_ready) = (false, false);
    }

    fn run(&mut self, most: usize, last: Last) {
        if !self.is_ready {
            return;
        }
        let (mut hand, _) = self.it.enter().unwrap();
        let mut is_first = true;
        for n in 0..=most {
            let message = match hand.take() {
                Some(message) if is_first => Some(message),
                _ if n == most => break,
                _ => self.it.next().map(|(message, _)| message),
            };
            is_first = false;
            self.rules.let_in();
            assert_eq!(message, self.rules.queue.pop_front());
            let Some(_) = message else {
                self.is_ready = false;
                return;
            };
            self.rules.let_in();
            let is_last = n + 1 >= most;
            match last {
                Last::Fails if is_last => {
                    assert!(self.it.mailbox.fail(self.it.desk()));
                    self.rules.failed += 1;
                }
                Last::IsDiscarded if is_last => {
                    self.it.mailbox.discard(self.it.desk(), Dropped::Stale);
                    self.rules.dropped += 1;
                }
                Last::IsCutOff if is_last => {
                    let incarnation = self.it.desks.len() as u64;
                    let cut_off = self.it.mailbox.cut_off(incarnation, true);
                    assert!(matches!(cut_off, CutOff::Running { in_flight: true }));
                    assert!(!self.it.finish());
                    self.rules.failed += 1;
                    (self.reads, self.is_ready) = (false, false);
                    return;
                }
                _ => {
                    assert!(self.it.finish());
                    self.rules.handled += 1;
                }
            }
            if is_last {
                break;
            }
        }
        assert_eq!(self.it.mailbox.pause(self.it.desk()), Left::Again);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Tell => self.offer("wait"),
            Step::Refuse => self.offer("refuse"),
            Step::Drop => self.offer("drop"),
            Step::Wait => self.offer("wait"),
            Step::GiveUp(which) => {
                let rules = &mut self.rules;
                let line = rules.line.len();
                if line > 0 {
                    let (n, ticket) = rules.line.remove(which % line).unwrap();
                    assert_eq!(self.it.mailbox.give_up(ticket, GivenUp::TimedOut), Some(n));
                    rules.rejected += 1;
                } else if let Some(ticket) = rules.accepted.pop() {
                    assert_eq!(self.it.mailbox.give_up(ticket, GivenUp::TimedOut), None);
                } else if let Some((n, ticket)) = rules.back.pop() {
                    assert_eq!(self.it.mailbox.give_up(ticket, GivenUp::TimedOut), Some(n));
                }
            }
            Step::Run(most, last) => self.run(most, last),
            Step::CutOff => self.cut_off(),
            Step::Kill => {
                let incarnation = self.it.desks.len() as u64;
                let ready = self.it.mailbox.kill(incarnation);
                assert_eq!(ready.is_some(), self.reads && !self.is_ready);
                if self.reads {
                    assert_eq!(self.it.enter(), Some((None, false)));
                    // SAFETY: the test is the runner.
                    let next = unsafe { self.it.mailbox.next(self.it.desk(), false) };
                    assert!(matches!(next, Next::Killed));
                    assert!(self.it.mailbox.leave(self.it.desk()));
                    (self.reads, self.is_ready) = (false, false);
                }
            }
            Step::Close => {
                self.it.mailbox.close();
                let rules = &mut self.rules;
                rules.open = false;
                rules.rejected += rules.line.len() as u64;
                rules.back.extend(rules.line.drain(..));
            }
            Step::NextLife => {
                if !self.reads {
                    self.it.begin();
                    (self.reads, self.is_ready, self.rules.open) = (true, true, true);
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        let (reading, rules) = (self.it.reading(), &self.rules);
        assert_eq!(reading.depth, rules.queue.len());
        assert!(reading.depth <= rules.capacity);
        assert_eq!(reading.waiting, rules.line.len());
        assert_eq!(reading.in_flight, 0);
        let tally = reading.tally;
        assert_eq!(tally.sent, rules.sent);
        assert_eq!((tally.handled, tally.failed), (rules.handled, rules.failed));
        assert_eq!(tally.rejected.iter().sum::<u64>(), rules.rejected);
        assert_eq!(tally.dropped.iter().sum::<u64>(), rules.dropped);
        self.it.assert_balanced();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 8 } else { 512 },
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(
            std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap_or(1)),
        ),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_mailbox_does_what_its_rules_say_whatever_comes(
        capacity in 1..5usize,
        overflow in prop_oneof![
            3 => Just(Overflow::Wait),
            1 => Just(Overflow::Reject),
            1 => Just(Overflow::DropNewest),
            1 => Just(Overflow::DropOldest),
        ],
        every in prop_oneof![Just(1), Just(4)],
        steps in prop::collection::vec(a_step(), 1..80),
    ) {
        let mut play = Play {
            it: timed_bench(capacity, overflow, every),
            rules: Rules { capacity, overflow, open: true, ..Rules::default() },
            next: 0,
            reads: true,
            is_ready: true,
        };
        for step in steps {
            play.step(step);
        }
    }
}

/// A waker of an executor that is broken.
struct Broken;

impl Wake for Broken {
    fn wake(self: Arc<Self>) {
        panic!("broken");
    }
}

#[test]
fn a_waker_that_panics_does_not_reach_whoever_has_let_go_of_its_life() {
    let bench = bench(1, Overflow::Wait);
    bench.enter();
    assert!(!bench.tell(1));
    let waker = Waker::from(Arc::new(Broken));
    bench.wait(2, &waker);
    // Takes the one and lets the other in, or does so when it pends.
    assert_eq!(bench.next().map(|(n, _)| n), Some(1));
    bench.wait(3, &waker);
    assert_eq!(bench.mailbox.pend(bench.desk(), false), Left::Gone);
}
