//! What becomes of those who asked when the one whom they asked fails.

use super::*;

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
