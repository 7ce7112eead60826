//! What is seen of a mailbox when its life fails, and by whom.

use super::{Bench, bench};
use crate::mailbox::census::COUNTED_MAX;
use crate::mailbox::words::{Left, Overflow};

/// How many are queued, and which of them are shown to who runs the life, or to another.
fn seen(it: &Bench, by_runner: bool) -> (usize, Vec<u32>) {
    let mut shown = Vec::new();
    let runner = by_runner.then(|| it.desk());
    let census = it.mailbox.census(1, runner, |n| shown.push(*n));
    (census.unwrap().queued, shown)
}

#[test]
fn the_batch_is_counted_by_who_runs_the_life_and_by_others_while_nobody_does() {
    let mut it = bench(10, Overflow::Wait);
    it.run();
    for n in 0..4 {
        it.tell(n);
    }
    it.enter();
    assert!(it.finish());
    assert_eq!(it.next(), Some((1, false)));
    it.tell(4);
    assert_eq!(seen(&it, true), (3, vec![2, 3, 4]));
    assert_eq!(seen(&it, false), (3, vec![4]), "somebody runs it");
    assert_eq!(it.mailbox.pend(it.desk(), false), Left::Gone);
    assert_eq!(seen(&it, false), (3, vec![2, 3, 4]));
    assert!(it.mailbox.census(2, None, |_| {}).is_none(), "no such life");
    it.mailbox.cut_off(1, true, |_| None);
    assert!(it.mailbox.census(1, Some(it.desk()), |_| {}).is_none());
    assert_eq!(seen(&it, false), (3, vec![2, 3, 4]), "what it leaves");
    it.begin();
    assert!(
        it.mailbox.census(1, None, |_| {}).is_none(),
        "another reads"
    );
}

#[test]
fn what_lies_on_the_desk_of_a_life_that_was_idle_is_counted_once() {
    let it = bench(10, Overflow::Wait);
    it.run();
    it.tell(0);
    it.tell(1);
    // It is ready, and nobody else may look at its desk.
    assert_eq!(seen(&it, false), (2, vec![1]));
    assert_eq!(seen(&it, true), (2, vec![0, 1]));
}

#[test]
fn of_a_long_queue_the_front_is_counted() {
    let many = 3 * COUNTED_MAX as u32;
    let it = bench(many as usize, Overflow::Wait);
    it.run();
    for n in 0..many {
        it.tell(n);
    }
    let (queued, shown) = seen(&it, true);
    assert_eq!(queued, many as usize);
    assert!(shown.into_iter().eq(0..COUNTED_MAX as u32));
}

#[test]
fn the_message_in_hand_is_known_as_long_as_it_is() {
    let it = bench(2, Overflow::DropOldest);
    it.run();
    let in_hand = || {
        let census = it.mailbox.census(1, None, |_| {}).unwrap();
        let timed = census.in_hand.map(|in_hand| in_hand.timed.is_some());
        (timed, census.earlier.len())
    };
    assert_eq!(in_hand(), (None, 0));
    it.tell(0);
    it.enter();
    if it.next().is_some() {
        it.stamp();
    }
    assert_eq!(in_hand(), (Some(true), 0));
    for n in 1..6 {
        // The oldest is lost for it, behind the one in hand.
        it.offer(n, crate::mailbox::words::WhenFull::Refuse);
    }
    assert_eq!(in_hand(), (Some(true), 0));
    assert!(it.finish());
    assert_eq!(in_hand(), (None, 1));
}
