//! What is tried again: how often, where it stands meanwhile, and what is left of it.

use super::*;

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
