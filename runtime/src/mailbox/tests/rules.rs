//! All of it, against rules as simple as they can be said.

use std::collections::VecDeque;
use std::task::Waker;

use proptest::prelude::*;

use super::Bench;
use crate::mailbox::Mailbox;
use crate::mailbox::words::{
    Admission, CutOff, Failed, GivenUp, Left, Next, Overflow, Ticket, WhenFull,
};
use crate::tally::Dropped;

/// What may happen to a mailbox, the choice of which message or ticket aside.
#[derive(Clone, Copy, Debug)]
enum Step {
    Tell,
    Refuse,
    Drop,
    Wait,
    GiveUp(usize),
    /// A run of so many messages; with the last, as the second says.
    Run(usize, Last),
    CutOff,
    Kill,
    Close,
    /// What has an even number is a question.
    Recall,
    NextLife,
}

#[derive(Clone, Copy, Debug)]
enum Last {
    Finishes,
    Fails,
    IsTriedAgain,
    IsDiscarded,
    IsCutOff,
    IsCutOffAndTriedAgain,
}

/// The rules, as simple as they can be said.
#[derive(Default)]
struct Rules {
    capacity: usize,
    overflow: Overflow,
    keeps: bool,
    open: bool,
    queue: VecDeque<u32>,
    line: VecDeque<(u32, Ticket)>,
    /// Given back by the close or the recall, and not picked up.
    back: Vec<(u32, Ticket)>,
    accepted: Vec<Ticket>,
    sent: u64,
    handled: u64,
    failed: u64,
    retried: u64,
    rejected: u64,
    dropped: u64,
}

impl Rules {
    /// What is in hand has its place still where it may come back.
    fn let_in(&mut self, is_in_hand: bool) {
        let holds = is_in_hand && self.keeps && self.overflow != Overflow::DropOldest;
        while self.queue.len() + usize::from(holds) < self.capacity
            && let Some((n, ticket)) = self.line.pop_front()
        {
            self.queue.push_back(n);
            self.accepted.push(ticket);
        }
    }
}

fn a_step() -> impl Strategy<Value = Step> {
    let last = prop_oneof![
        6 => Just(Last::Finishes),
        1 => Just(Last::Fails),
        2 => Just(Last::IsTriedAgain),
        1 => Just(Last::IsDiscarded),
        1 => Just(Last::IsCutOff),
        1 => Just(Last::IsCutOffAndTriedAgain),
    ];
    prop_oneof![
        6 => Just(Step::Tell),
        2 => Just(Step::Refuse),
        2 => Just(Step::Drop),
        6 => Just(Step::Wait),
        2 => any::<usize>().prop_map(Step::GiveUp),
        6 => (0..6usize, last).prop_map(|(n, last)| Step::Run(n, last)),
        1 => Just(Step::CutOff),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
        1 => Just(Step::Recall),
        2 => Just(Step::NextLife),
    ]
}

/// The mailbox as driven by the steps, beside the rules.
struct Play {
    it: Bench,
    rules: Rules,
    next: u32,
    /// A life reads.
    reads: bool,
    is_ready: bool,
}

impl Play {
    fn offer(&mut self, when_full: &str) {
        let n = self.next;
        self.next += 1;
        self.rules.sent += 1;
        let waker = Waker::noop();
        let (admission, is_loss) = match when_full {
            "drop" => (self.it.offer(n, WhenFull::Drop), true),
            "refuse" => (self.it.offer(n, WhenFull::Refuse), false),
            _ => (
                self.it.offer(n, WhenFull::Wait(waker)),
                self.rules.overflow == Overflow::DropNewest,
            ),
        };
        let rules = &mut self.rules;
        let has_room = rules.queue.len() < rules.capacity;
        match admission {
            Admission::Closed(back) => {
                assert!(!rules.open && back == n);
                *if when_full == "drop" {
                    &mut rules.dropped
                } else {
                    &mut rules.rejected
                } += 1;
            }
            Admission::Accepted { ready } => {
                assert!(rules.open && has_room && rules.line.is_empty());
                rules.queue.push_back(n);
                let should = self.reads && !self.is_ready;
                assert_eq!(ready.is_some(), should, "ready at the wrong time");
                self.is_ready |= should;
            }
            Admission::Replaced(oldest) => {
                assert!(!has_room && rules.overflow == Overflow::DropOldest);
                assert_eq!(rules.queue.pop_front(), Some(oldest));
                rules.queue.push_back(n);
                rules.dropped += 1;
            }
            Admission::Waiting { ticket } => {
                assert!(!has_room && when_full == "wait" && rules.overflow == Overflow::Wait);
                rules.line.push_back((n, ticket));
            }
            Admission::Full(back) => {
                assert!(!has_room && back == n && !is_loss);
                rules.rejected += 1;
            }
            Admission::Lost(back) => {
                assert!(!has_room && back == n && is_loss);
                rules.dropped += 1;
            }
            Admission::Restarting(_) => panic!("none of these is a question"),
        }
    }

    fn cut_off(&mut self) {
        let incarnation = self.it.desks.len() as u64;
        let cut_off = self.it.mailbox.cut_off(incarnation, true, |_| None);
        let (reads, ready) = (self.reads, self.is_ready);
        match cut_off {
            CutOff::Nothing => assert!(!reads),
            CutOff::Running { in_flight } => assert!(reads && ready && in_flight.is_none()),
            CutOff::Resting { in_flight, .. } => assert!(reads && !ready && in_flight.is_none()),
        }
        if reads && ready {
            assert_eq!(self.it.enter(), None);
        }
        (self.reads, self.is_ready) = (false, false);
    }

    fn run(&mut self, most: usize, last: Last) {
        if !self.is_ready {
            return;
        }
        let (mut hand, _) = self.it.enter().unwrap();
        let mut is_first = true;
        for n in 0..=most {
            let message = match hand.take() {
                Some(message) if is_first => Some(message),
                _ if n == most => break,
                _ => self.it.next().map(|(message, _)| message),
            };
            is_first = false;
            self.rules.let_in(false);
            assert_eq!(message, self.rules.queue.pop_front());
            let Some(message) = message else {
                self.is_ready = false;
                return;
            };
            self.rules.let_in(true);
            let is_last = n + 1 >= most;
            let keeps = self.rules.keeps;
            match last {
                Last::IsTriedAgain if is_last && keeps => {
                    let again = |has_room: bool| has_room.then_some(message);
                    let failed = self.it.mailbox.fail(self.it.desk(), again);
                    assert_eq!(failed, Some(Failed::Again), "there is room for it");
                    self.rules.queue.push_front(message);
                    self.rules.retried += 1;
                }
                Last::IsCutOffAndTriedAgain if is_last && keeps => {
                    let incarnation = self.it.desks.len() as u64;
                    let cut_off = self
                        .it
                        .mailbox
                        .cut_off(incarnation, true, |_| Some(message));
                    let in_flight = Some(Failed::Again);
                    assert!(
                        matches!(cut_off, CutOff::Running { in_flight: failed } if failed == in_flight)
                    );
                    assert!(!self.it.finish());
                    self.rules.queue.push_front(message);
                    self.rules.retried += 1;
                    self.rules.let_in(false);
                    (self.reads, self.is_ready) = (false, false);
                    return;
                }
                Last::Fails if is_last => {
                    let failed = self.it.mailbox.fail(self.it.desk(), |_| None);
                    assert_eq!(failed, Some(Failed::GivenUp));
                    self.rules.failed += 1;
                }
                Last::IsDiscarded if is_last => {
                    self.it.mailbox.discard(self.it.desk(), Dropped::Stale);
                    self.rules.dropped += 1;
                }
                Last::IsCutOff if is_last => {
                    let incarnation = self.it.desks.len() as u64;
                    let cut_off = self.it.mailbox.cut_off(incarnation, true, |_| None);
                    assert!(matches!(
                        cut_off,
                        CutOff::Running {
                            in_flight: Some(Failed::GivenUp)
                        }
                    ));
                    assert!(!self.it.finish());
                    self.rules.failed += 1;
                    self.rules.let_in(false);
                    (self.reads, self.is_ready) = (false, false);
                    return;
                }
                _ => {
                    assert!(self.it.finish());
                    self.rules.handled += 1;
                }
            }
            if is_last {
                break;
            }
        }
        assert_eq!(self.it.mailbox.pause(self.it.desk()), Left::Again);
        self.rules.let_in(false);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Tell => self.offer("wait"),
            Step::Refuse => self.offer("refuse"),
            Step::Drop => self.offer("drop"),
            Step::Wait => self.offer("wait"),
            Step::GiveUp(which) => {
                let rules = &mut self.rules;
                let line = rules.line.len();
                if line > 0 {
                    let (n, ticket) = rules.line.remove(which % line).unwrap();
                    assert_eq!(self.it.mailbox.give_up(ticket, GivenUp::TimedOut), Some(n));
                    rules.rejected += 1;
                } else if let Some(ticket) = rules.accepted.pop() {
                    assert_eq!(self.it.mailbox.give_up(ticket, GivenUp::TimedOut), None);
                } else if let Some((n, ticket)) = rules.back.pop() {
                    assert_eq!(self.it.mailbox.give_up(ticket, GivenUp::TimedOut), Some(n));
                }
            }
            Step::Run(most, last) => self.run(most, last),
            Step::CutOff => self.cut_off(),
            Step::Kill => {
                let incarnation = self.it.desks.len() as u64;
                let ready = self.it.mailbox.kill(incarnation);
                assert_eq!(ready.is_some(), self.reads && !self.is_ready);
                if self.reads {
                    assert_eq!(self.it.enter(), Some((None, false)));
                    // SAFETY: the test is the runner.
                    let next = unsafe { self.it.mailbox.next(self.it.desk(), false) };
                    assert!(matches!(next, Next::Killed));
                    assert!(self.it.mailbox.leave(self.it.desk()));
                    (self.reads, self.is_ready) = (false, false);
                }
            }
            Step::Close => {
                self.it.mailbox.close();
                let rules = &mut self.rules;
                rules.open = false;
                rules.rejected += rules.line.len() as u64;
                rules.back.extend(rules.line.drain(..));
            }
            Step::Recall => {
                let is_question = |n: &mut u32| n.is_multiple_of(2);
                let recalled = self.it.mailbox.recall(is_question);
                let rules = &mut self.rules;
                if self.reads || !rules.open {
                    assert!(recalled.is_empty());
                } else {
                    let (asked, told) = rules.queue.iter().partition(|n| *n % 2 == 0);
                    rules.queue = told;
                    assert_eq!(recalled, Vec::from(asked));
                    let line = std::mem::take(&mut rules.line);
                    let (asked, told) = line.into_iter().partition(|(n, _)| n % 2 == 0);
                    rules.line = told;
                    let asked: VecDeque<_> = asked;
                    rules.rejected += (recalled.len() + asked.len()) as u64;
                    rules.back.extend(asked);
                    let refused = self.it.offer(0, WhenFull::WaitOrRefuse(Waker::noop()));
                    assert!(matches!(refused, Admission::Restarting(0)));
                    rules.sent += 1;
                    rules.rejected += 1;
                    // Whoever comes in, as a question has, lets those in who wait.
                    rules.let_in(false);
                }
            }
            Step::NextLife => {
                if !self.reads {
                    self.it.begin();
                    (self.reads, self.is_ready, self.rules.open) = (true, true, true);
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        let (reading, rules) = (self.it.reading(), &self.rules);
        assert_eq!(reading.depth, rules.queue.len());
        assert!(reading.depth <= rules.capacity);
        assert_eq!(reading.waiting, rules.line.len());
        assert_eq!(reading.in_flight, 0);
        let tally = reading.tally;
        assert_eq!(tally.sent, rules.sent);
        assert_eq!((tally.handled, tally.failed), (rules.handled, rules.failed));
        assert_eq!(tally.retried, rules.retried);
        assert_eq!(tally.rejected.iter().sum::<u64>(), rules.rejected);
        assert_eq!(tally.dropped.iter().sum::<u64>(), rules.dropped);
        self.it.assert_balanced();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 8 } else { 512 },
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(
            std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap_or(1)),
        ),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_mailbox_does_what_its_rules_say_whatever_comes(
        capacity in 1..5usize,
        overflow in prop_oneof![
            3 => Just(Overflow::Wait),
            1 => Just(Overflow::Reject),
            1 => Just(Overflow::DropNewest),
            1 => Just(Overflow::DropOldest),
        ],
        every in prop_oneof![Just(1), Just(4)],
        keeps in any::<bool>(),
        steps in prop::collection::vec(a_step(), 1..80),
    ) {
        let mut mailbox = Mailbox::new(capacity, overflow, every);
        if keeps {
            mailbox = mailbox.keeping();
        }
        let mut it = Bench { mailbox, desks: Vec::new() };
        it.begin();
        let mut play = Play {
            it,
            rules: Rules { capacity, overflow, keeps, open: true, ..Rules::default() },
            next: 0,
            reads: true,
            is_ready: true,
        };
        for step in steps {
            play.step(step);
        }
    }
}
