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

// ===== tried again =====

#[tokio::test(start_paused = true)]
async fn d5_a_message_is_tried_as_often_as_its_spec_says_and_then_kept() {
    let (system, clerk, log) = office(|spec| spec.retry::<Job>(3)).await;
    clerk.tell(Job(1, Way::Panics)).await.unwrap();
    clerk.tell(Other(2, Way::Panics)).await.unwrap();
    clerk.tell(Job(3, Way::Well)).await.unwrap();
    settle().await;
    let lines = log.take();
    let tries = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!(
        (tries("job 1"), tries("other 2"), tries("job 3")),
        (3, 1, 1)
    );
    let letters = system.dead_letters();
    assert_eq!(gist(&letters[0]), ("Job", "app/clerk", 3, 3, true));
    assert_eq!(gist(&letters[1]), ("Other", "app/clerk", 4, 1, false));
    assert_eq!(
        letters[0].to_string(),
        "Job to app/clerk (failed after 3 tries): no job 1"
    );
    assert!(letters[0].failure.as_ref().unwrap().backtrace().is_some());
    let ledger = system.ledger();
    assert_eq!((ledger.handled, ledger.failed), (1, 2), "{ledger}");
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_one_try_is_quarantine() {
    let (system, clerk, log) = office(|spec| spec.retry::<Job>(1)).await;
    clerk.tell(Job(1, Way::WellFrom(2))).await.unwrap();
    settle().await;
    assert_eq!(log.take(), ["start 1", "job 1 in 1", "start 2"]);
    let letter = &system.dead_letters()[0];
    assert_eq!(gist(letter), ("Job", "app/clerk", 1, 1, true));
    system.resend(letter.number).unwrap();
    settle().await;
    assert_eq!(log.take(), ["job 1 in 2"]);
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_each_type_has_its_own_tries_and_the_last_word_counts() {
    let (system, clerk, _) =
        office(|spec| spec.retry::<Job>(9).retry::<Noticed>(2).retry::<Job>(4)).await;
    clerk.tell(Job(1, Way::Errs)).await.unwrap();
    system.publish(Noticed(2, Way::Panics));
    settle().await;
    let letters = system.dead_letters();
    let attempts: Vec<_> = letters
        .iter()
        .map(|l| (l.message.as_str(), l.attempt))
        .collect();
    assert_eq!(attempts, [("Job", 4), ("Noticed", 2)], "events too");
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_what_a_timer_sent_is_tried_again_by_the_next_life() {
    let (system, clerk, log) = office(|spec| spec.retry::<Job>(3)).await;
    let jobs = vec![Job(1, Way::WellFrom(2))];
    clerk.tell(Begin(jobs)).await.unwrap();
    settle().await;
    settle().await;
    assert_eq!(
        log.take(),
        ["start 1", "job 1 in 1", "start 2", "job 1 in 2"]
    );
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_each_try_waits_as_the_back_off_says() {
    let log = Log::default();
    let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60)).jitter(0.0);
    let tree = Supervisor::one_for_one("app")
        .restart_limit(100, Duration::from_secs(1000))
        .backoff(backoff)
        .child(Clerk::spec("clerk", log.clone()).retry::<Job>(4));
    let system = start(tree).await.unwrap();
    let clerk = system.find::<Clerk>("app/clerk").unwrap();
    let begun = Instant::now();
    clerk.tell(Job(1, Way::Panics)).await.unwrap();
    let letter = loop {
        settle().await;
        if let Some(letter) = system.dead_letters().pop() {
            break letter;
        }
    };
    assert_eq!(letter.attempt, 4);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(3), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn d5_a_message_in_hand_that_is_killed_has_had_a_try() {
    let log = Log::default();
    let clerk = |name| {
        let spec = Clerk::spec(name, log.clone()).stop_within(Duration::from_secs(1));
        spec.retry::<Job>(2)
    };
    let tree = Supervisor::one_for_all("app")
        .restart_limit(100, Duration::from_secs(1000))
        .backoff(Backoff::none())
        .child(clerk("first"))
        .child(clerk("second"));
    let system = start(tree).await.unwrap();
    let first = system.find::<Clerk>("app/first").unwrap();
    let second = system.find::<Clerk>("app/second").unwrap();
    second.tell(Job(1, Way::Hangs)).await.unwrap();
    second.tell(Job(2, Way::Well)).await.unwrap();
    for attempt in 1..=2 {
        settle().await;
        assert!(
            system
                .dead_letters()
                .iter()
                .all(|letter| letter.message == "Other")
        );
        first.tell(Other(attempt, Way::Panics)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    settle().await;
    let letters = system.dead_letters();
    let stuck = letters
        .iter()
        .find(|letter| letter.message == "Job")
        .unwrap();
    assert_eq!(gist(stuck), ("Job", "app/second", 2, 2, true));
    assert_eq!(stuck.failure.as_ref().unwrap().kind(), FailureKind::Killed);
    let lines = log.take();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("job 1"))
            .count(),
        2
    );
    assert!(lines.contains(&"job 2 in 3".to_owned()), "{lines:?}");
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_to_be_taken_along_by_a_sibling_is_no_try() {
    let log = Log::default();
    let tree = Supervisor::one_for_all("app")
        .restart_limit(100, Duration::from_secs(1000))
        .backoff(Backoff::none())
        .child(Clerk::spec("first", Log::default()))
        .child(Clerk::spec("second", log.clone()).retry::<Job>(2));
    let system = start(tree).await.unwrap();
    let first = system.find::<Clerk>("app/first").unwrap();
    let second = system.find::<Clerk>("app/second").unwrap();
    for n in 0..4 {
        first.tell(Other(n, Way::Panics)).await.unwrap();
        second.tell(Job(n, Way::Well)).await.unwrap();
        settle().await;
    }
    second.tell(Job(9, Way::Panics)).await.unwrap();
    settle().await;
    let jobs = system.dead_letters();
    let job = jobs.iter().find(|letter| letter.message == "Job").unwrap();
    assert_eq!(job.attempt, 2);
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_a_full_mailbox_has_room_for_what_comes_back() {
    for overflow in [Overflow::Wait, Overflow::Reject, Overflow::DropNewest] {
        let (system, clerk, log) =
            office(|spec| spec.retry::<Job>(3).mailbox(2).overflow(overflow)).await;
        settle().await;
        log.clear();
        // In hand and queued: full.
        clerk.tell(Job(1, Way::WellFrom(3))).await.unwrap();
        clerk.tell(Job(2, Way::Well)).await.unwrap();
        let full = clerk.try_tell(Job(3, Way::Well));
        assert!(
            matches!(full, Err(TryTellError::Full { .. })),
            "{overflow:?}"
        );
        settle().await;
        assert_eq!(
            log.take(),
            [
                "job 1 in 1",
                "start 2",
                "job 1 in 2",
                "start 3",
                "job 1 in 3",
                "job 2 in 3"
            ],
            "{overflow:?}"
        );
        assert_at_rest(&system);
    }
}

#[tokio::test(start_paused = true)]
async fn d5_a_sender_waits_until_the_message_in_hand_has_ended() {
    let (system, clerk, log) = office(|spec| spec.retry::<Job>(2).mailbox(1)).await;
    let all = (0..20).map(|n| {
        let clerk = clerk.clone();
        let way = if n % 3 == 0 { Way::Panics } else { Way::Well };
        tokio::spawn(async move { clerk.tell(Job(n, way)).await })
    });
    for told in all.collect::<Vec<_>>() {
        told.await.unwrap().unwrap();
        assert!(clerk.depth() <= 1);
    }
    settle().await;
    let lines = log.take();
    for n in 0..20 {
        let tries = lines
            .iter()
            .filter(|line| line.starts_with(&format!("job {n} ")))
            .count();
        assert_eq!(tries, if n % 3 == 0 { 2 } else { 1 }, "{n}");
    }
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_where_the_oldest_is_dropped_it_comes_back_if_there_is_room() {
    let (system, clerk, log) = office(|spec| {
        spec.retry::<Job>(5)
            .mailbox(2)
            .overflow(Overflow::DropOldest)
    })
    .await;
    clerk.tell(Job(1, Way::WellFrom(2))).await.unwrap();
    settle().await;
    assert_eq!(
        log.take(),
        ["start 1", "job 1 in 1", "start 2", "job 1 in 2"]
    );
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_a_temporary_actor_leaves_what_it_failed_on_as_a_letter_that_is_kept() {
    let (system, clerk, _) = office(|spec| spec.restart(Restart::Temporary).retry::<Job>(3)).await;
    clerk.tell(Job(1, Way::Panics)).await.unwrap();
    clerk.tell(Job(2, Way::Well)).await.unwrap();
    settle().await;
    let letters = system.dead_letters();
    let gists: Vec<_> = letters.iter().map(gist).collect();
    assert_eq!(
        gists,
        [
            ("Job", "app/clerk", 1, 1, true),
            ("Job", "app/clerk", 1, 0, false)
        ]
    );
    assert_eq!(letters[0].reason, DeadLetterReason::Stopped);
    let failure = letters[0].failure.as_ref().unwrap();
    assert_eq!(failure.text(), "no job 1");
    assert_eq!(
        system.resend(letters[0].number),
        Err(ResendError::Gone(clerk.path().clone()))
    );
    assert!(system.dead_letters()[0].is_kept, "the letter keeps it");
    assert_at_rest(&system);
}

/// A message whose copy cannot be had.
#[derive(Debug)]
struct Unique;

impl Message for Unique {
    type Reply = ();
}

impl Clone for Unique {
    fn clone(&self) -> Self {
        panic!("there is only one");
    }
}

impl Handler<Unique> for Clerk {
    async fn handle(&mut self, _: Unique, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.log.add("unique");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn d5_a_clone_that_panics_is_the_only_try_of_its_message() {
    let (system, clerk, log) = office(|spec| spec.retry::<Unique>(3)).await;
    clerk.tell(Unique).await.unwrap();
    clerk.tell(Other(1, Way::Well)).await.unwrap();
    settle().await;
    assert_eq!(log.take(), ["start 1", "start 2", "other 1 in 2"]);
    let letter = &system.dead_letters()[0];
    assert_eq!(gist(letter), ("Unique", "app/clerk", 1, 1, false));
    assert_eq!(letter.text, "there is only one");
    assert_at_rest(&system);
}

/// Counts how many of it there are.
#[derive(Clone, Debug)]
struct Counted(std::sync::Arc<()>, Way);

impl Message for Counted {
    type Reply = ();
}

impl Handler<Counted> for Clerk {
    async fn handle(
        &mut self,
        Counted(held, way): Counted,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        let ended = self.go("counted", way, cx.incarnation()).await;
        drop(held);
        ended
    }
}

#[tokio::test(start_paused = true)]
async fn d5_no_copy_outlives_its_message_and_no_letter_the_system() {
    let (system, clerk, _) = office(|spec| spec.retry::<Counted>(2)).await;
    let count = std::sync::Arc::new(());
    let copies = || std::sync::Arc::strong_count(&count) - 1;
    clerk.tell(Counted(count.clone(), Way::Well)).await.unwrap();
    settle().await;
    assert_eq!(copies(), 0, "it has ended well");
    clerk
        .tell(Counted(count.clone(), Way::WellFrom(2)))
        .await
        .unwrap();
    settle().await;
    assert_eq!(copies(), 0, "so has the second try");
    clerk
        .tell(Counted(count.clone(), Way::Panics))
        .await
        .unwrap();
    settle().await;
    assert_eq!(copies(), 1, "in the letter");
    system.stop().await;
    assert_eq!(copies(), 0);
    let letters = system.dead_letters();
    assert_eq!((letters.len(), letters[0].is_kept), (1, false));
}

// ===== asked =====

#[tokio::test(start_paused = true)]
async fn d5_whoever_asked_for_what_is_tried_again_goes_on_waiting() {
    let (system, clerk, log) = office(|spec| spec.retry::<Order>(3)).await;
    assert_eq!(clerk.ask(Order(1, Way::Well)).await, Ok(1));
    assert_eq!(clerk.ask(Order(2, Way::WellFrom(3))).await, Ok(2));
    let failed = clerk.ask(Order(3, Way::Panics)).await.unwrap_err();
    assert!(
        matches!(&failed, AskError::Failed { reason, .. } if reason == "it panicked: no order 3"),
        "{failed}"
    );
    let lines = log.take();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("order 3"))
            .count(),
        3
    );
    let letter = &system.dead_letters()[0];
    assert_eq!(gist(letter), ("Order", "app/clerk", 5, 3, true));
    // Nobody waits for its reply any more.
    system.resend(letter.number).unwrap();
    settle().await;
    assert_eq!(system.dead_letters().len(), 2);
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d5_an_ask_that_is_tried_again_ends_with_its_own_limit() {
    let (system, clerk, log) =
        office(|spec| spec.retry::<Order>(3).stop_within(Duration::from_secs(1))).await;
    let limit = Duration::from_millis(10);
    let late = clerk
        .ask(Order(1, Way::Hangs))
        .within(limit)
        .await
        .unwrap_err();
    assert!(matches!(late, AskError::Timeout { waited, .. } if waited == limit));
    system.stop().await;
    assert_eq!(log.take(), ["start 1", "order 1 in 1"]);
    assert_at_rest(&system);
}

/// Asks another for an order.
struct Desk;

#[derive(Debug)]
struct Fetch(ActorRef<Clerk>, Order);

impl Message for Fetch {
    type Reply = Result<u32, String>;
}

impl Actor for Desk {
    type Args = ();
    type Error = BoxError;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Desk)
    }
}

impl Handler<Fetch> for Desk {
    async fn handle(
        &mut self,
        Fetch(clerk, order): Fetch,
        _: &mut Context<Self>,
    ) -> Result<Result<u32, String>, BoxError> {
        Ok(clerk.ask(order).await.map_err(|error| error.to_string()))
    }
}

#[tokio::test(start_paused = true)]
async fn d5_a_handler_that_asks_gets_the_answer_of_a_later_try() {
    let log = Log::default();
    let tree =
        tree(Clerk::spec("clerk", log.clone()).retry::<Order>(2)).child(Desk::spec("desk", ()));
    let system = start(tree).await.unwrap();
    let clerk = system.find::<Clerk>("app/clerk").unwrap();
    let desk = system.find::<Desk>("app/desk").unwrap();
    let order = |n, way| Fetch(clerk.clone(), Order(n, way));
    assert_eq!(desk.ask(order(1, Way::Well)).await.unwrap(), Ok(1));
    assert_eq!(desk.ask(order(2, Way::WellFrom(2))).await.unwrap(), Ok(2));
    let failed = desk.ask(order(3, Way::Errs)).await.unwrap().unwrap_err();
    assert!(failed.ends_with("cannot do order 3"), "{failed}");
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d6_queued_asks_are_answered_by_the_next_life() {
    let (system, clerk, _) = office(|spec| spec).await;
    clerk.tell(Other(1, Way::Panics)).await.unwrap();
    let asks = (2..5).map(|n| {
        let clerk = clerk.clone();
        tokio::spawn(async move { clerk.ask(Order(n, Way::Well)).await })
    });
    for (ask, n) in asks.collect::<Vec<_>>().into_iter().zip(2..) {
        assert_eq!(ask.await.unwrap(), Ok(n));
    }
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d6_queued_asks_are_refused_where_the_spec_says_so() {
    let log = Log::default();
    let backoff =
        Backoff::exponential(Duration::from_secs(10), Duration::from_secs(60)).jitter(0.0);
    let clerk = Clerk::spec("clerk", log.clone()).queued_asks(QueuedAsks::Refuse);
    let tree = Supervisor::one_for_one("app")
        .restart_limit(100, Duration::from_secs(1000))
        .backoff(backoff)
        .child(clerk.stop_within(Duration::from_secs(1)));
    let system = start(tree).await.unwrap();
    let clerk = system.find::<Clerk>("app/clerk").unwrap();
    // The first restart is at once.
    clerk.tell(Other(0, Way::Panics)).await.unwrap();
    settle().await;
    log.clear();
    clerk.tell(Other(1, Way::Panics)).await.unwrap();
    let asks = (2..5).map(|n| {
        let clerk = clerk.clone();
        tokio::spawn(async move { clerk.ask(Order(n, Way::Well)).await })
    });
    let asks: Vec<_> = asks.collect();
    clerk.tell(Other(5, Way::Well)).await.unwrap();
    let begun = Instant::now();
    for (ask, n) in asks.into_iter().zip(2..) {
        let refused = ask.await.unwrap().unwrap_err();
        assert!(
            matches!(&refused, AskError::Restarting { path, .. } if path == clerk.path()),
            "{refused}"
        );
        assert_eq!(refused.into_message(), Some(Order(n, Way::Well)));
    }
    // It is down, and who asks now need not wait either.
    let refused = clerk.ask(Order(6, Way::Well)).await.unwrap_err();
    assert!(refused.to_string().contains("ask again"), "{refused}");
    assert_eq!(refused.into_message(), Some(Order(6, Way::Well)));
    clerk.tell(Other(7, Way::Well)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(clerk.ask(Order(8, Way::Well)).await, Ok(8));
    let lines = log.take();
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("other"))
        .collect();
    assert_eq!(
        told,
        ["other 1 in 2", "other 5 in 3", "other 7 in 3"],
        "what is told stays"
    );
    assert_eq!(
        number(
            &system.scrape(),
            Metric::MailboxRejected,
            &[("group", "Clerk"), ("reason", "restarting")]
        ),
        4.0
    );
    assert!(
        system
            .dead_letters()
            .iter()
            .all(|letter| letter.message == "Other")
    );
    assert_at_rest(&system);
}

#[tokio::test(start_paused = true)]
async fn d6_the_ask_in_hand_is_tried_again_and_the_others_are_refused() {
    let (system, clerk, log) =
        office(|spec| spec.retry::<Order>(2).queued_asks(QueuedAsks::Refuse)).await;
    settle().await;
    log.clear();
    let ask = |order| {
        let clerk = clerk.clone();
        tokio::spawn(async move { clerk.ask(order).await })
    };
    clerk.tell(Other(0, Way::Well)).await.unwrap();
    let asks = [ask(Order(1, Way::WellFrom(2))), ask(Order(2, Way::Well))];
    let [first, second] = asks.map(|ask| async { ask.await.unwrap() });
    assert_eq!(first.await, Ok(1), "it was in hand");
    let second = second.await;
    let lines = log.take();
    let is_tried = |n: u32| {
        lines
            .iter()
            .any(|line| line.starts_with(&format!("order {n}")))
    };
    match second {
        // It came later than the failure.
        Ok(2) => assert!(is_tried(2)),
        other => {
            assert!(
                matches!(other, Err(AskError::Restarting { .. })),
                "{other:?}"
            );
            assert!(!is_tried(2));
        }
    }
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
