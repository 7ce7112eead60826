//! Where there is no room: the line of those who wait, and what is refused or lost instead.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Wake, Waker};

use super::{bell, bench};
use crate::mailbox::words::{Admission, GivenUp, Left, Overflow, WhenFull};
use crate::tally::{Dropped, Rejected};

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
