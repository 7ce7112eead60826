//! One mailbox under many random schedules, of more threads than loom can try.
//!
//! `SEED` says which; a schedule that fails is printed, to be replayed.

use std::sync::Arc;
use std::task::{Wake, Waker};

use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::thread;
use shuttle::{Config, Runner};

use super::stage::{Life, Ran, Stage, stage};
use super::words::{Admission, Control, CutOff, GivenUp, Overflow, WhenFull};

/// How many schedules of each kind.
const SCHEDULES: usize = 10_000;

fn seed() -> u64 {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap_or(1));
    println!("SEED={seed}");
    seed
}

fn check(body: impl Fn() + Send + Sync + Clone + 'static) {
    fn run(scheduler: impl Scheduler + 'static, body: impl Fn() + Send + Sync + 'static) {
        Runner::new(scheduler, Config::new()).run(body);
    }
    let seed = seed();
    run(
        RandomScheduler::new_from_seed(seed, SCHEDULES),
        body.clone(),
    );
    run(PctScheduler::new_from_seed(seed, 3, SCHEDULES), body);
}

/// Rings by a channel, so that who waits for it sleeps.
struct Bell(std::sync::Mutex<Sender<()>>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // A receiver that is gone gave up.
        let sender = self.0.lock().unwrap().clone();
        let _ = sender.send(());
    }
}

fn bell() -> (Waker, Receiver<()>) {
    let (sender, rings) = channel();
    (Arc::new(Bell(std::sync::Mutex::new(sender))).into(), rings)
}

/// Sends three messages, and waits in line where it has to; how many were accepted.
fn sends(stage: &Stage, sender: u32, ready: &Sender<Option<Life>>) -> usize {
    let mut accepted = 0;
    for n in 0..3 {
        let n = sender * 10 + n;
        let (waker, rings) = bell();
        match stage.mailbox.offer(stage.value(n), WhenFull::Wait(&waker)) {
            Admission::Accepted { ready: life } => {
                accepted += 1;
                if life.is_some() {
                    ready.send(life).unwrap();
                }
            }
            Admission::Waiting { ticket } => {
                if n % 3 == 2 {
                    // Out of patience.
                    let back = stage.mailbox.give_up(ticket, GivenUp::TimedOut);
                    accepted += usize::from(back.is_none());
                    continue;
                }
                // Where nobody rings, this is a deadlock, and shuttle says so.
                rings.recv().unwrap();
                match stage.mailbox.poll_ticket(ticket, Waker::noop()) {
                    Admission::Accepted { .. } => accepted += 1,
                    Admission::Closed(_) => {}
                    _ => panic!("woken for nothing"),
                }
            }
            Admission::Closed(_) => {}
            _ => unreachable!("this mailbox lets senders wait"),
        }
        assert!(stage.mailbox.depth() <= stage.mailbox.capacity());
    }
    accepted
}

/// Runs whatever is made ready, to the end.
fn works(stage: &Stage, ready: &Receiver<Option<Life>>) {
    while let Some(life) = ready.recv().unwrap() {
        match stage.run(life) {
            Ran::Rests | Ran::CutOff => {}
            Ran::Killed => stage.die(life),
            Ran::Stops => assert!(stage.mailbox.leave(stage.desk(life))),
        }
    }
}

#[derive(Clone, Copy)]
enum Stop {
    Word,
    Kill,
    CutOff,
}

/// Three senders, a runner, and one who ends the first life somewhere in the middle and begins a second.
fn stop_during_send(how: Stop, capacity: usize) {
    check(move || {
        let stage = stage(capacity, Overflow::Wait);
        let (ready, is_ready) = channel();
        ready.send(Some(0)).unwrap();
        let runner = {
            let stage = stage.clone();
            thread::spawn(move || works(&stage, &is_ready))
        };
        let senders = [1, 2, 3].map(|sender| {
            let (stage, ready) = (stage.clone(), ready.clone());
            thread::spawn(move || sends(&stage, sender, &ready))
        });
        for _ in 0..shuttle::rand::thread_rng().gen_range(0..20) {
            thread::yield_now();
        }
        let life = match how {
            Stop::Word => stage.mailbox.control(1, Control::Stop { drain: false }),
            Stop::Kill => stage.mailbox.kill(1),
            Stop::CutOff => {
                stage.mailbox.cut_off(1, true, |_| None);
                None
            }
        };
        if life.is_some() {
            ready.send(life).unwrap();
        }
        while stage.mailbox.is_read_by(1) {
            thread::yield_now();
        }
        stage.begin_life(1);
        ready.send(Some(1)).unwrap();
        let accepted: usize = senders.map(|sender| sender.join().unwrap()).iter().sum();
        ready.send(None).unwrap();
        runner.join().unwrap();
        let failed = stage.mailbox.reading(false).tally.failed as usize;
        assert_eq!(stage.handled().len() + failed, accepted);
        stage.assert_at_rest(9);
    });
}

#[test]
fn a_life_is_stopped_while_three_send() {
    stop_during_send(Stop::Word, 2);
}

#[test]
fn a_life_is_killed_while_three_send() {
    stop_during_send(Stop::Kill, 1);
}

#[test]
fn a_life_is_cut_off_while_three_send() {
    stop_during_send(Stop::CutOff, 2);
}

#[test]
fn a_mailbox_is_closed_while_three_send() {
    check(|| {
        let stage = stage(1, Overflow::Wait);
        let (ready, is_ready) = channel();
        ready.send(Some(0)).unwrap();
        let runner = {
            let stage = stage.clone();
            thread::spawn(move || works(&stage, &is_ready))
        };
        let senders = [1, 2, 3].map(|sender| {
            let (stage, ready) = (stage.clone(), ready.clone());
            thread::spawn(move || sends(&stage, sender, &ready))
        });
        for _ in 0..shuttle::rand::thread_rng().gen_range(0..20) {
            thread::yield_now();
        }
        stage.mailbox.close();
        let accepted: usize = senders.map(|sender| sender.join().unwrap()).iter().sum();
        ready.send(None).unwrap();
        runner.join().unwrap();
        assert_eq!(stage.handled().len(), accepted);
        stage.assert_at_rest(9);
    });
}
