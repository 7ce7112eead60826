//! Every interleaving of a few threads at one mailbox, up to so many preemptions.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Waker;

use loom::thread;

use super::stage::{Bell, Life, Ran, Sent, Stage, keeping_stage, stage};
use super::words::{Admission, Control, CutOff, Failed, GivenUp, Left, Next, Overflow};
use crate::core::lock::Lock;

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
        for (sent, bell) in senders.map(|sender| sender.join().unwrap()) {
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
    (ready, stage.mailbox.cut_off(1, true, |_| None))
}

/// Whatever is left is handled by the next life; each message ended once.
fn next_life(stage: &Stage, sent: u64) {
    stage.begin_life(1);
    assert_eq!(stage.run(1), Ran::Rests);
    let unfinished = stage.unfinished.lock().unwrap().len() as u64;
    let tally = stage.mailbox.reading(false).tally;
    assert!(
        tally.failed >= unfinished,
        "taken by a life that is gone, and not failed"
    );
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
                    assert!(in_flight.is_none());
                    ran == Ran::Rests && ready.is_none()
                }
            };
            assert!(
                is_left_to_us,
                "freed by two or by nobody: {ran:?}, {ready:?}"
            );
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
        let Next::Message(message, _) = (unsafe { stage.mailbox.next(stage.desk(0), false) })
        else {
            panic!("a message is queued")
        };
        assert_eq!(message.0, 30);
        assert!(stage.mailbox.fail(stage.desk(0), |_| None).is_some());
        drop(message);
        assert!(stage.mailbox.leave(stage.desk(0)));
        sender.join().unwrap();
        next_life(&stage, 4);
        assert_eq!(stage.handled(), [31, 10, 11]);
    });
}

// ===== tried again =====

/// One run of a life that keeps what it has in hand where others find it.
fn run_keeping(stage: &Stage, life: Life) -> Ran {
    let Some(hand) = stage.enter(life) else {
        return Ran::CutOff;
    };
    assert!(hand.is_none(), "each is taken under the lock");
    loop {
        stage.exit(life);
        // SAFETY: this is the runner.
        let next = unsafe { stage.mailbox.next(stage.desk(life), false) };
        let message = match next {
            Next::Message(message, _) => message,
            Next::Idle => return Ran::Rests,
            Next::Superseded => return Ran::CutOff,
            _ => unreachable!("it is only cut off"),
        };
        stage.enter_again(life);
        *stage.held.lock().unwrap() = Some(message);
        // SAFETY: this is the runner.
        let is_handled = unsafe { stage.mailbox.finish(stage.desk(life)) };
        // Where it was cut off between the two, it was given up.
        let message = stage.held.lock().unwrap().take();
        match message {
            Some(message) if is_handled => stage.has_handled(&message),
            Some(_) => {}
            None => assert!(!is_handled, "handled, and put back"),
        }
    }
}

#[test]
fn what_was_in_hand_of_a_life_that_is_cut_off_is_tried_again_in_its_place() {
    model(3, || {
        let stage = keeping_stage(2);
        for n in 10..12 {
            stage.send(n);
        }
        let cutter = aside(&stage, |stage| {
            let again = |_| stage.held.lock().unwrap().take();
            let cut_off = stage.mailbox.cut_off(1, true, again);
            matches!(
                cut_off,
                CutOff::Running {
                    in_flight: Some(Failed::GivenUp)
                }
            )
        });
        run_keeping(&stage, 0);
        let is_given_up = cutter.join().unwrap();
        stage.begin_life(1);
        assert_eq!(run_keeping(&stage, 1), Ran::Rests);
        let tally = stage.mailbox.reading(false).tally;
        assert_eq!(tally.failed, u64::from(is_given_up));
        stage.assert_at_rest(2);
    });
}

#[test]
fn what_failed_is_before_what_comes_meanwhile_and_its_room_is_its_own() {
    model(3, || {
        let stage = keeping_stage(1);
        stage.send(10);
        let bell = Arc::default();
        let sender = aside(&stage, move |stage| {
            let sent = stage.send_or_wait(20, &bell);
            assert!(matches!(sent, Sent::Waits(_)), "it is in hand, or back");
        });
        assert!(stage.enter(0).unwrap().is_none());
        // SAFETY: this is the runner.
        let Next::Message(message, _) = (unsafe { stage.mailbox.next(stage.desk(0), false) })
        else {
            panic!("a message is queued")
        };
        let failed = stage.mailbox.fail(stage.desk(0), |_| Some(message));
        assert_eq!(failed, Some(Failed::Again));
        assert!(stage.mailbox.leave(stage.desk(0)));
        sender.join().unwrap();
        stage.exit(0);
        stage.begin_life(1);
        assert_eq!(run_keeping(&stage, 1), Ran::Rests);
        assert_eq!(stage.handled(), [10, 20]);
        stage.assert_at_rest(2);
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
            // Takes the place of one that is queued, while one before it is in hand and ends.
            stage.send_and_run(12);
        });
        assert_eq!(stage.run(0), Ran::Rests);
        sender.join().unwrap();
        assert_eq!(stage.handled().last(), Some(&12), "the newest was lost");
        stage.assert_at_rest(3);
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
