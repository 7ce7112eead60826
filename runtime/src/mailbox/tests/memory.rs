//! What a mailbox keeps of the memory that a long queue took.

use super::bench;
use crate::mailbox::words::{Overflow, WhenFull};

#[test]
fn g16_the_memory_of_a_long_queue_is_given_back_when_nobody_runs() {
    for overflow in [Overflow::Wait, Overflow::DropOldest] {
        let it = bench(10_000, overflow);
        assert!(it.run().is_empty());
        for round in 0..2 {
            for n in 0..1_000 {
                it.offer(n, WhenFull::Refuse);
            }
            it.mailbox.trim();
            assert!(it.mailbox.room() >= 999, "it is in use");
            assert!(it.run().into_iter().eq(0..1_000), "round {round}");
            assert!(it.mailbox.room() >= 999, "nobody has looked");
            it.mailbox.trim();
            assert_eq!(it.mailbox.room(), 0);
        }
        it.assert_balanced();
    }
}

#[test]
fn g16_a_short_queue_keeps_its_memory() {
    let it = bench(10_000, Overflow::Wait);
    assert!(it.run().is_empty());
    for n in 0..50 {
        it.tell(n);
    }
    assert_eq!(it.run().len(), 50);
    let room = it.mailbox.room();
    it.mailbox.trim();
    assert_eq!(it.mailbox.room(), room);
}

#[test]
fn g16_a_mailbox_whose_role_has_ended_keeps_no_memory() {
    let it = bench(10_000, Overflow::Wait);
    for n in 0..1_000 {
        it.tell(n);
    }
    assert!(it.mailbox.leave(it.desk()));
    assert_eq!(it.mailbox.clear().len(), 1_000);
    assert_eq!(it.mailbox.room(), 0);
}
