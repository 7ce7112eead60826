//! Which messages are timed, and how old the oldest is.

use std::time::Duration;

use super::{bench, timed_bench};
use crate::mailbox::words::Overflow;

/// Tells and handles `n` messages, `at_a_time` of them; returns which were timed.
fn timed(every: u32, n: u32, at_a_time: u32) -> Vec<u32> {
    let it = timed_bench(100, Overflow::Wait, every);
    let mut timed = Vec::new();
    for first in (0..n).step_by(at_a_time as usize) {
        let all = first..n.min(first + at_a_time);
        for n in all.clone() {
            it.tell(n);
        }
        let (mut hand, mut is_stamped) = it.enter().unwrap();
        for n in all {
            if hand.is_none() {
                let (message, has_stamp) = it.next().unwrap();
                (hand, is_stamped) = (Some(message), has_stamp);
            }
            assert_eq!(hand.take(), Some(n));
            if is_stamped {
                assert!(it.stamp().is_some());
                timed.push(n);
            }
            assert!(it.finish());
        }
        assert!(it.next().is_none());
    }
    timed
}

#[test]
fn every_message_is_timed_or_one_in_so_many() {
    let every_one: Vec<u32> = (0..200).collect();
    assert!(timed(0, 200, 7).is_empty());
    for at_a_time in [1, 7, 100] {
        assert_eq!(timed(1, 200, at_a_time), every_one);
        // The first one, as nobody knows when there was one before.
        let share = timed(4, 4_096, at_a_time);
        assert_eq!(share[0], 0);
        assert!((1_000..1_050).contains(&share.len()), "{}", share.len());
    }
}

#[test]
fn senders_that_take_turns_have_each_their_share_of_what_is_timed() {
    let share = timed(16, 1 << 16, 64);
    for senders in 2..=16 {
        for sender in 0..senders {
            let of = share.iter().filter(|n| *n % senders == sender).count();
            let fair = f64::from(1 << 12) / f64::from(senders);
            let ratio = of as f64 / fair;
            assert!(
                (0.9..1.1).contains(&ratio),
                "{sender} of {senders}: {ratio}"
            );
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
    it.mailbox.cut_off(1, true, |_| None);
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
    let stamp = it.mailbox.inner.with(|inner| inner.rare().stamps.front());
    assert_eq!(stamp, None, "nobody will ever take it out");
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
