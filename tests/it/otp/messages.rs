//! What happens to messages when their actor fails: skipped, tried again, kept to be sent again.

use std::fmt;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{
    AskError, DeadLetter, DeadLetterReason, During, Event, FailureKind, Metric, Overflow,
    QueuedAsks, ResendError, TryTellError,
};
use greenroom_it::{Log, number, settle};
use tokio::time::Instant;

use super::{DRIVER, System, builder, start};

mod asked;
mod tried;

/// Takes orders, and fails as they say.
struct Clerk {
    log: Log,
}

impl Actor for Clerk {
    type Args = Log;
    type Error = BoxError;

    async fn start(log: Log, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        log.add(format!("start {}", cx.incarnation()));
        cx.subscribe::<Noticed>();
        Ok(Clerk { log })
    }
}

/// What becomes of an order in which life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Well,
    Panics,
    Errs,
    Hangs,
    /// Well from this life on, a panic before.
    WellFrom(u64),
}

/// What is tried again, where the spec says so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order(u32, Way);

impl Message for Order {
    type Reply = u32;
}

/// The same, told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job(u32, Way);

impl Message for Job {
    type Reply = ();
}

/// What no spec names.
#[derive(Debug)]
struct Other(u32, Way);

impl Message for Other {
    type Reply = ();
}

#[derive(Clone, Debug)]
struct Noticed(u32, Way);

impl Event for Noticed {}

/// Runs a stream of these.
#[derive(Debug)]
struct Begin(Vec<Job>);

impl Message for Begin {
    type Reply = ();
}

/// How many messages it has handled in this life is asked like this.
#[derive(Clone, Debug)]
struct Count;

impl Message for Count {
    type Reply = u32;
}

impl Clerk {
    async fn go(
        &self,
        what: impl fmt::Display,
        way: Way,
        incarnation: u64,
    ) -> Result<(), BoxError> {
        self.log.add(format!("{what} in {incarnation}"));
        match way {
            Way::Well => Ok(()),
            Way::WellFrom(life) if incarnation >= life => Ok(()),
            Way::Panics | Way::WellFrom(_) => panic!("no {what}"),
            Way::Errs => Err(format!("cannot do {what}").into()),
            Way::Hangs => std::future::pending().await,
        }
    }
}

impl Handler<Order> for Clerk {
    async fn handle(
        &mut self,
        Order(n, way): Order,
        cx: &mut Context<Self>,
    ) -> Result<u32, BoxError> {
        self.go(format!("order {n}"), way, cx.incarnation()).await?;
        Ok(n)
    }
}

impl Handler<Job> for Clerk {
    async fn handle(&mut self, Job(n, way): Job, cx: &mut Context<Self>) -> Result<(), BoxError> {
        self.go(format!("job {n}"), way, cx.incarnation()).await
    }
}

impl Handler<Other> for Clerk {
    async fn handle(
        &mut self,
        Other(n, way): Other,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        self.go(format!("other {n}"), way, cx.incarnation()).await
    }
}

impl Handler<Noticed> for Clerk {
    async fn handle(
        &mut self,
        Noticed(n, way): Noticed,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        self.go(format!("event {n}"), way, cx.incarnation()).await
    }
}

impl Handler<Count> for Clerk {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> Result<u32, BoxError> {
        Ok(7)
    }
}

impl Handler<Begin> for Clerk {
    async fn handle(&mut self, Begin(jobs): Begin, cx: &mut Context<Self>) -> Result<(), BoxError> {
        for job in jobs {
            cx.after(Duration::ZERO, job);
        }
        Ok(())
    }
}

fn tree(clerk: Spec<Clerk>) -> Supervisor {
    Supervisor::one_for_one("app")
        .restart_limit(10_000, Duration::from_secs(1))
        .backoff(Backoff::none())
        .child(clerk)
}

/// A system with one clerk, and what it writes down.
async fn office(spec: impl FnOnce(Spec<Clerk>) -> Spec<Clerk>) -> (System, ActorRef<Clerk>, Log) {
    let log = Log::default();
    let system = start(tree(spec(Clerk::spec("clerk", log.clone()))))
        .await
        .unwrap();
    let clerk = system.find::<Clerk>("app/clerk").unwrap();
    (system, clerk, log)
}

#[track_caller]
fn assert_at_rest(system: &System) {
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    assert_eq!(ledger.queued, 0, "{ledger}");
}

/// Who, in which life, how often, and whether it can be sent again.
fn gist(letter: &DeadLetter) -> (&str, &str, u64, u32, bool) {
    let DeadLetter {
        message,
        path,
        incarnation,
        attempt,
        is_kept,
        ..
    } = letter;
    (message, path.as_str(), *incarnation, *attempt, *is_kept)
}

// ===== skipped =====

#[tokio::test(start_paused = true)]
async fn d5_a_failing_message_is_lost_to_the_actor_and_a_dead_letter_that_says_all() {
    let (system, clerk, log) = office(|spec| spec).await;
    clerk.tell(Job(1, Way::Panics)).await.unwrap();
    clerk.tell(Job(2, Way::Well)).await.unwrap();
    clerk.tell(Job(3, Way::Errs)).await.unwrap();
    settle().await;
    assert_eq!(
        log.take(),
        [
            "start 1",
            "job 1 in 1",
            "start 2",
            "job 2 in 2",
            "job 3 in 2",
            "start 3"
        ]
    );
    let letters = system.dead_letters();
    let gists: Vec<_> = letters.iter().map(gist).collect();
    assert_eq!(
        gists,
        [
            ("Job", "app/clerk", 1, 1, false),
            ("Job", "app/clerk", 2, 1, false)
        ]
    );
    assert_eq!(letters[0].reason, DeadLetterReason::Failed);
    assert_eq!(letters[0].text, "no job 1");
    let failure = letters[0].failure.as_ref().unwrap();
    assert_eq!(failure.kind(), FailureKind::Panic);
    assert!(matches!(failure.during(), During::Message(name) if name.ends_with("Job")));
    assert!(failure.location().unwrap().contains("messages.rs"));
    assert!(failure.backtrace().is_some());
    assert_eq!(letters[1].text, "cannot do job 3");
    assert!(letters[1].failure.as_ref().unwrap().backtrace().is_none());
    assert_eq!(
        system.resend(letters[0].number),
        Err(ResendError::NotKept(letters[0].number))
    );
    assert_at_rest(&system);
}

// ===== order =====

#[tokio::test(start_paused = true)]
async fn d6_the_mailbox_survives_a_restart_in_order() {
    let (system, clerk, log) = office(|spec| spec).await;
    settle().await;
    log.clear();
    for n in 0..20 {
        let way = if n % 5 == 2 { Way::Panics } else { Way::Well };
        clerk.tell(Other(n, way)).await.unwrap();
    }
    settle().await;
    let lines = log.take();
    let handled: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("other"))
        .collect();
    let expected: Vec<_> = (0..20)
        .map(|n| format!("other {n} in {}", 1 + (n + 2) / 5))
        .collect();
    assert!(handled.into_iter().eq(&expected), "{lines:?}");
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d6_a_message_that_is_tried_again_is_the_first_of_the_next_life() {
    let (system, clerk, log) = office(|spec| spec.retry::<Job>(5)).await;
    clerk.tell(Other(0, Way::Well)).await.unwrap();
    clerk.tell(Job(1, Way::WellFrom(3))).await.unwrap();
    clerk.tell(Other(2, Way::Well)).await.unwrap();
    clerk.tell(Job(3, Way::Well)).await.unwrap();
    settle().await;
    assert_eq!(
        log.take(),
        [
            "start 1",
            "other 0 in 1",
            "job 1 in 1",
            "start 2",
            "job 1 in 2",
            "start 3",
            "job 1 in 3",
            "other 2 in 3",
            "job 3 in 3"
        ]
    );
    let ledger = system.ledger();
    assert_eq!(
        (ledger.sent, ledger.handled, ledger.failed),
        (4, 4, 0),
        "{ledger}"
    );
    assert!(system.dead_letters().is_empty());
    let families = system.scrape();
    let group = [("group", "Clerk")];
    assert_eq!(number(&families, Metric::MessagesRetried, &group), 2.0);
    assert_eq!(number(&families, Metric::MailboxEnqueued, &group), 4.0);
    assert_eq!(number(&families, Metric::MailboxDequeued, &group), 6.0);
    assert_at_rest(&system);
}

// ===== dead letters =====

#[tokio::test(start_paused = true)]
async fn d5_a_letter_is_sent_again_once_and_is_a_new_message() {
    let (system, clerk, log) = office(|spec| spec.retry::<Job>(2)).await;
    clerk.tell(Job(1, Way::WellFrom(3))).await.unwrap();
    clerk.tell(Other(2, Way::Well)).await.unwrap();
    settle().await;
    log.clear();
    let letter = system.dead_letters()[0].clone();
    let sent = system.ledger().sent;
    system.resend(letter.number).unwrap();
    settle().await;
    assert_eq!(log.take(), ["job 1 in 3"]);
    assert_eq!(system.ledger().sent, sent + 1);
    assert!(!system.dead_letters()[0].is_kept);
    assert_eq!(
        system.resend(letter.number),
        Err(ResendError::NotKept(letter.number))
    );
    assert_eq!(system.resend(99), Err(ResendError::NotFound(99)));
    // One that fails again has all its tries, and a letter of its own.
    clerk.tell(Job(3, Way::Panics)).await.unwrap();
    settle().await;
    let letter = system.dead_letters().pop().unwrap();
    system.resend(letter.number).unwrap();
    settle().await;
    let again = system.dead_letters().pop().unwrap();
    assert_ne!(again.number, letter.number);
    assert_eq!((again.attempt, again.is_kept), (2, true));
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_a_letter_waits_for_room_with_whoever_sends_it() {
    let (system, clerk, _) = office(|spec| {
        spec.retry::<Job>(1)
            .mailbox(1)
            .stop_within(Duration::from_secs(1))
    })
    .await;
    clerk.tell(Job(1, Way::Panics)).await.unwrap();
    settle().await;
    clerk.tell(Other(2, Way::Hangs)).await.unwrap();
    settle().await;
    let letter = system.dead_letters()[0].clone();
    assert_eq!(
        system.resend(letter.number),
        Err(ResendError::Full(clerk.path().clone())),
        "what is in hand has its place"
    );
    assert!(system.dead_letters()[0].is_kept);
    system.stop().await;
    assert_eq!(
        system.resend(letter.number),
        Err(ResendError::NotKept(letter.number))
    );
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_letters_that_have_their_message_are_not_pushed_out_by_others() {
    let log = Log::default();
    let tree = tree(Clerk::spec("clerk", log.clone()).retry::<Job>(1));
    let system = builder().dead_letters(3).start(tree).await.unwrap();
    let clerk = system.find::<Clerk>("app/clerk").unwrap();
    clerk.tell(Job(1, Way::Panics)).await.unwrap();
    for n in 0..10 {
        clerk.tell(Other(n, Way::Panics)).await.unwrap();
    }
    settle().await;
    let letters = system.dead_letters();
    let numbers: Vec<_> = letters.iter().map(|letter| letter.number).collect();
    assert_eq!(numbers, [0, 8, 9, 10]);
    assert!(letters[0].is_kept);
    for n in 0..5 {
        clerk.tell(Job(n, Way::Panics)).await.unwrap();
    }
    settle().await;
    let kept = system
        .dead_letters()
        .iter()
        .filter(|letter| letter.is_kept)
        .count();
    assert_eq!(kept, 3, "their number is bounded as well");
    assert_eq!(
        number(
            &system.scrape(),
            Metric::DeadLetters,
            &[("reason", "failed")]
        ),
        16.0
    );
    assert_at_rest(&system);
}

// ===== much of it =====

#[tokio::test(start_paused = true)]
async fn r13_each_poison_message_is_in_the_dead_letters_after_exactly_n_tries() {
    const N: u32 = 3;
    const MESSAGES: u32 = 20_000;
    println!("driver {DRIVER:?}");
    let (system, clerk, log) = office(|spec| spec.retry::<Job>(N)).await;
    let is_poison = |n: u32| n % 1000 == 500;
    for n in 0..MESSAGES {
        let way = if is_poison(n) { Way::Panics } else { Way::Well };
        clerk.tell(Job(n, way)).await.unwrap();
        if n % 10 == 9 {
            settle().await;
        }
    }
    settle().await;
    let poison: Vec<u32> = (0..MESSAGES).filter(|n| is_poison(*n)).collect();
    let letters = system.dead_letters();
    assert_eq!(letters.len(), poison.len());
    for (letter, n) in letters.iter().zip(&poison) {
        assert_eq!((letter.attempt, letter.is_kept), (N, true));
        assert_eq!(letter.text, format!("no job {n}"));
    }
    let lines = log.take();
    let tried: Vec<u32> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("job ")?.split(' ').next()?.parse().ok())
        .collect();
    let expected = (0..MESSAGES).flat_map(|n| vec![n; if is_poison(n) { N as usize } else { 1 }]);
    assert!(
        tried.into_iter().eq(expected),
        "each in order, and as often as it has to be"
    );
    let ledger = system.ledger();
    let failed = poison.len() as u64;
    assert_eq!(
        (ledger.failed, ledger.handled),
        (failed, u64::from(MESSAGES) - failed)
    );
    assert_at_rest(&system);
}
