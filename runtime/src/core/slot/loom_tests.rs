//! Every interleaving of the two sides of a slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};

use loom::thread;

use super::{Answer, Replier, slot, tally};

/// An answer that counts its end; the counters are std's, no part of what is modelled.
struct Value(Arc<AtomicUsize>);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// An answer that is still waited for, and by which waker.
type Waiting = Option<(Answer<Value>, usize)>;

/// Lets the two sides loose on a slot and counts afterwards: values, slots, wakers and, if
/// the waiter still waits, that the last waker it left was woken and the end is there.
fn check(
    replies: fn(Replier<Value>, Value) -> bool,
    waits: fn(Answer<Value>, &[Waker; 2]) -> Waiting,
) {
    loom::model(move || {
        let ends = Arc::new(AtomicUsize::new(0));
        let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
        let wakers = bells.clone().map(Waker::from);
        let (replier, answer) = slot();
        let value = Value(ends.clone());
        let callee = thread::spawn(move || replies(replier, value));
        let waiting = waits(answer, &wakers);
        let is_sent = callee.join().unwrap();
        if let Some((mut answer, last)) = waiting {
            assert_eq!(bells[last].0.load(SeqCst), 1, "the wake was lost");
            let end = answer.try_take().expect("woken for nothing");
            assert_eq!(end.is_some(), is_sent);
        }
        drop(wakers);
        assert!(bells.iter().all(|bell| Arc::strong_count(bell) == 1));
        assert_eq!(ends.load(SeqCst), 1);
        assert_eq!((tally::SLOTS.get(), tally::BLOCKS.get()), (0, 0));
    });
}

fn sends(replier: Replier<Value>, value: Value) -> bool {
    let was_wanted = replier.is_wanted();
    let is_sent = replier.send(value).is_ok();
    assert!(was_wanted || !is_sent);
    is_sent
}

fn drops(replier: Replier<Value>, _: Value) -> bool {
    drop(replier);
    false
}

/// Polls with the wakers of `order` one after the other for as long as there is no end.
fn polls(mut answer: Answer<Value>, wakers: &[Waker; 2], order: &[usize]) -> Waiting {
    for &of in order {
        if answer
            .poll(&mut Context::from_waker(&wakers[of]))
            .is_ready()
        {
            assert!(matches!(answer.try_take(), Some(None)));
            return None;
        }
    }
    Some((answer, order.last().copied().unwrap_or(0)))
}

fn gives_up(answer: Answer<Value>, wakers: &[Waker; 2], order: &[usize]) -> Waiting {
    drop(polls(answer, wakers, order));
    None
}

#[test]
fn a_send_meets_a_poll() {
    check(sends, |answer, wakers| polls(answer, wakers, &[0]));
    check(sends, |answer, wakers| polls(answer, wakers, &[0, 0]));
}

#[test]
fn a_send_meets_a_second_poll_with_another_waker() {
    check(sends, |answer, wakers| polls(answer, wakers, &[0, 1]));
    check(sends, |answer, wakers| polls(answer, wakers, &[1, 1, 0]));
}

#[test]
fn a_dropped_replier_meets_polls() {
    check(drops, |answer, wakers| polls(answer, wakers, &[0]));
    check(drops, |answer, wakers| polls(answer, wakers, &[0, 1]));
}

#[test]
fn the_end_meets_a_dropped_answer() {
    for replies in [sends, drops] {
        check(replies, |answer, wakers| gives_up(answer, wakers, &[]));
        check(replies, |answer, wakers| gives_up(answer, wakers, &[0]));
        check(replies, |answer, wakers| gives_up(answer, wakers, &[0, 1]));
    }
}
