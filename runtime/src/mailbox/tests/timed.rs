//! Which messages are timed, and how old the oldest is.

use std::time::Duration;

use super::{bench, timed_bench};
use crate::mailbox::words::Overflow;

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
