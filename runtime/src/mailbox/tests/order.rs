//! In order, ready exactly once, and no more than fits.

use super::bench;
use crate::mailbox::words::{Admission, Left, Overflow, WhenFull};

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
