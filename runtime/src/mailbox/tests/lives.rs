//! The control lane, wakes and the end; and lives that are cut off.

use std::sync::atomic::Ordering::SeqCst;

use super::{bell, bench};
use crate::mailbox::words::{Admission, Control, CutOff, Failed, Left, Next, Overflow, WhenFull};
use crate::tally::{Dropped, Rejected, Tally};

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
    let cut_off = it.mailbox.cut_off(1, true, |_| None);
    assert!(matches!(
        cut_off,
        CutOff::Resting {
            life: 0,
            in_flight: None
        }
    ));
    assert!(matches!(
        it.mailbox.cut_off(1, true, |_| None),
        CutOff::Nothing
    ));
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
        match it.mailbox.cut_off(1, has_entries, |_| None) {
            CutOff::Running { in_flight: None } if has_entries => {
                assert_eq!(it.enter(), None, "the entry finds that it is over");
            }
            CutOff::Resting {
                life: 0,
                in_flight: None,
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
        it.mailbox.cut_off(1, true, |_| None),
        CutOff::Running {
            in_flight: Some(Failed::GivenUp)
        }
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
    assert!(it.mailbox.fail(desk, |_| None).is_none());
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
    let failed = it.mailbox.fail(it.desk(), |_| None);
    assert_eq!(failed, None, "nothing is in flight");
    assert!(it.mailbox.leave(it.desk()));
    assert_eq!(it.reading().depth, 1);
}
