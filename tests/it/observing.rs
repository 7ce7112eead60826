//! What can be seen from outside: metrics, groups, the tree as a value.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{Family, Metric};
use greenroom_it::*;

use super::start;

#[tokio::test(start_paused = true)]
async fn every_count_of_a_mailbox_is_in_the_metrics() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(9, Duration::from_secs(60))
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()).mailbox(4));
    let builder = super::builder().measure_every(1);
    let system = builder.start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Hold).await.unwrap();
    settle().await;
    for _ in 0..5 {
        let _ = it.try_tell(Say("x"));
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    let stuck = system.scrape();
    let group = ("group", "Scripted");
    assert_eq!(number(&stuck, Metric::MailboxDepth, &[group]), 4.0);
    assert_eq!(number(&stuck, Metric::MailboxDepthMax, &[group]), 4.0);
    assert_eq!(number(&stuck, Metric::MailboxCapacity, &[group]), 4.0);
    assert!(number(&stuck, Metric::MailboxOldestAge, &[group]) >= 7.0);
    assert_eq!(
        number(
            &stuck,
            Metric::MailboxRejected,
            &[group, ("reason", "full")]
        ),
        1.0
    );
    assert_eq!(
        number(&stuck, Metric::Actors, &[group, ("state", "running")]),
        1.0
    );
    assert_eq!(
        number(
            &stuck,
            Metric::Actors,
            &[("group", "_supervisor"), ("state", "running")]
        ),
        1.0
    );
    script.gate.add_permits(1);
    it.tell(Panic("boom")).await.unwrap();
    it.tell(Fail("bust")).await.unwrap();
    settle().await;
    let after = system.scrape();
    assert_eq!(number(&after, Metric::MailboxDepth, &[group]), 0.0);
    assert_eq!(number(&after, Metric::MailboxEnqueued, &[group]), 7.0);
    assert_eq!(number(&after, Metric::MailboxDequeued, &[group]), 7.0);
    assert_eq!(number(&after, Metric::MailboxWait, &[group]), 7.0);
    assert_eq!(number(&after, Metric::MessageHandle, &[group]), 7.0);
    assert_eq!(
        number(&after, Metric::MessagesHandled, &[group, ("result", "ok")]),
        5.0
    );
    assert_eq!(
        number(
            &after,
            Metric::MessagesHandled,
            &[group, ("result", "failed")]
        ),
        2.0
    );
    assert_eq!(
        number(&after, Metric::ActorRestarts, &[group, ("reason", "panic")]),
        1.0
    );
    assert_eq!(
        number(&after, Metric::ActorRestarts, &[group, ("reason", "error")]),
        1.0
    );
    assert_eq!(number(&after, Metric::ActorStarts, &[group]), 3.0);
    assert_eq!(
        number(&after, Metric::DeadLetters, &[("reason", "failed")]),
        2.0
    );
    let quiet = system.scrape();
    assert_eq!(
        number(&quiet, Metric::MailboxDepthMax, &[group]),
        0.0,
        "the deepest level begins anew with a scrape"
    );
    let exposed: Vec<Metric> = quiet.iter().map(|f| f.metric).collect();
    let without_events = |m: &&Metric| {
        !matches!(
            m,
            Metric::EventsPublished
                | Metric::EventsDelivered
                | Metric::EventSubscribers
                | Metric::SubscriptionEvents
                | Metric::SubscriptionDelivered
                | Metric::SubscriptionDropped
                | Metric::SubscriptionLag
        )
    };
    assert_eq!(
        exposed,
        Metric::ALL
            .iter()
            .filter(without_events)
            .copied()
            .collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_actors_of_one_kind_make_one_set_of_series_and_lose_no_count() {
    let script = Script::default();
    let system = start(Supervisor::one_for_one("app").child(Supervisor::dynamic("pool")))
        .await
        .unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    let series = |families: &[Family]| families.iter().map(|f| f.samples.len()).sum::<usize>();
    pool.start_child(Scripted::spec("first", script.clone()))
        .await
        .unwrap();
    let before = series(&system.scrape());
    for n in 0..10_000 {
        let it = pool
            .start_child(Scripted::spec(format!("n{n}"), script.clone()))
            .await
            .unwrap();
        it.tell(Say("x")).await.unwrap();
    }
    settle().await;
    let families = system.scrape();
    assert_eq!(series(&families), before);
    let group = ("group", "Scripted");
    assert_eq!(
        number(&families, Metric::Actors, &[group, ("state", "running")]),
        10_001.0
    );
    system.stop().await;
    let ledger = system.ledger();
    assert_eq!((ledger.sent, ledger.handled), (10_000, 10_000));
    let families = system.scrape();
    assert_eq!(
        number(&families, Metric::MailboxEnqueued, &[group]),
        10_000.0
    );
}

#[tokio::test(start_paused = true)]
async fn events_are_counted_by_type_and_result() {
    let script = Script::default();
    let tree =
        Supervisor::one_for_one("app").child(Scripted::spec("it", script.clone()).mailbox(1));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.ask(with(|cx| cx.subscribe::<Happened>())).await.unwrap();
    system.publish(Happened(1));
    system.publish(Happened(2));
    let families = system.scrape();
    let event = ("event", "Happened");
    assert_eq!(number(&families, Metric::EventsPublished, &[event]), 2.0);
    assert_eq!(
        number(
            &families,
            Metric::EventsDelivered,
            &[event, ("result", "delivered")]
        ),
        1.0
    );
    assert_eq!(
        number(
            &families,
            Metric::EventsDelivered,
            &[event, ("result", "full")]
        ),
        1.0
    );
    assert_eq!(number(&families, Metric::EventSubscribers, &[event]), 1.0);
    assert_eq!(
        number(
            &families,
            Metric::MailboxDropped,
            &[("group", "Scripted"), ("reason", "full")]
        ),
        1.0
    );
}

#[test]
fn trees_are_values_that_can_be_compared() {
    let script = Script::default();
    let tree = |capacity| {
        Supervisor::rest_for_one("app")
            .child(Scripted::spec("it", script.clone()).mailbox(capacity))
    };
    assert_eq!(tree(8), tree(8));
    assert_ne!(tree(8), tree(9));
}

#[tokio::test(start_paused = true)]
async fn a_system_is_ready_only_while_all_of_it_runs() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .backoff(Backoff::exponential(Duration::from_secs(10), Duration::from_secs(10)).jitter(0.0))
        .child(Scripted::spec("it", script.clone()));
    let system = start(tree).await.unwrap();
    assert_eq!(system.ready(), Ok(()));
    system
        .find::<Scripted>("app/it")
        .unwrap()
        .tell(Fail("bust"))
        .await
        .unwrap();
    settle().await;
    assert_eq!(
        system.ready().unwrap_err().to_string(),
        "app/it is restarting"
    );
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(system.ready(), Ok(()));
    system.stop().await;
    assert_eq!(
        system.ready().unwrap_err().to_string(),
        "the system has stopped"
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_cannot_hide_behind_a_name_of_the_runtime() {
    let script = Script::default();
    let spec = |name: &str, group: &str| {
        Scripted::spec(name, script.clone())
            .group(group)
            .mailbox(usize::MAX)
    };
    let tree = Supervisor::one_for_one("app")
        .child(spec("a", "_supervisor"))
        .child(spec("b", "mine"))
        .child(spec("c", "mine"));
    let system = start(tree).await.unwrap();
    system
        .find::<Scripted>("app/a")
        .unwrap()
        .tell(Say("x"))
        .await
        .unwrap();
    settle().await;
    let families = system.scrape();
    assert_eq!(
        number(&families, Metric::MailboxEnqueued, &[("group", "_other")]),
        1.0
    );
    assert_eq!(
        number(
            &families,
            Metric::Actors,
            &[("group", "_supervisor"), ("state", "running")]
        ),
        1.0
    );
    let capacity = greenroom::MAILBOX_CAPACITY_MAX as f64;
    assert_eq!(
        number(&families, Metric::MailboxCapacity, &[("group", "mine")]),
        capacity
    );
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_child_that_restarts_does_not_make_the_system_unready() {
    let script = Script::default();
    let pool = Supervisor::dynamic("pool").backoff(Backoff::exponential(
        Duration::from_secs(10),
        Duration::from_secs(10),
    ));
    let system = start(Supervisor::one_for_one("app").child(pool))
        .await
        .unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    let it = pool
        .start_child(Scripted::spec("it", script.clone()))
        .await
        .unwrap();
    it.tell(Fail("bust")).await.unwrap();
    settle().await;
    assert_eq!(
        system.snapshot()[2].state,
        greenroom::ActorState::Restarting
    );
    assert_eq!(system.ready(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_timed_is_counted_all_the_same() {
    let tree =
        Supervisor::one_for_one("app").child(Scripted::spec("it", Script::default()).mailbox(64));
    let system = super::builder().measure_every(0).start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    for _ in 0..50 {
        it.tell(Say("x")).await.unwrap();
    }
    settle().await;
    let after = system.scrape();
    let group = ("group", "Scripted");
    let ok = number(&after, Metric::MessagesHandled, &[group, ("result", "ok")]);
    assert_eq!(ok, 50.0);
    assert_eq!(number(&after, Metric::MailboxWait, &[group]), 0.0);
    assert_eq!(number(&after, Metric::MessageHandle, &[group]), 0.0);
}
