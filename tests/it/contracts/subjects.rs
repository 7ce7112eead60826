//! Subscriptions to patterns of subjects, alone and with other conditions.

use greenroom::SubscribeError;

use super::*;

/// Who hears of `home.<room>.reading`, of all these.
async fn hear(system: &System, script: &Script, room: &'static str) -> Vec<String> {
    let delivery = system.publish(Reading(room, 1));
    settle().await;
    let log = script.log.take();
    assert_eq!(delivery.delivered, log.len());
    log
}

#[tokio::test(start_paused = true)]
async fn only_what_matches_comes_and_each_event_once() {
    let script = Script::default();
    let (system, it) = one(64, &script).await;
    for (name, pattern) in [
        ("one", "home.*.reading"),
        ("rest", "home.>"),
        ("hall", "home.hall.reading"),
        ("other type", "home.*.level"),
        ("longer", "home.*.reading.>"),
    ] {
        subscribe(&it, named(name).subject(pattern)).await;
    }
    assert_eq!(hear(&system, &script, "hall").await, vec!["it: hall 1"; 3]);
    assert_eq!(hear(&system, &script, "bath").await, vec!["it: bath 1"; 2]);
    // A subject with an empty token is none.
    assert!(hear(&system, &script, "").await.is_empty());
    assert_eq!(counted(&system, "hall").delivered, 1);
    // Events that have no subject are not for who names one.
    let nothing = Subscription::<Happened>::new("nothing").subject(">");
    subscribe(&it, nothing).await;
    assert_eq!(system.publish(Happened(1)).delivered, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_goes_together_with_key_filter_and_priority() {
    let script = Script::default();
    let (system, it) = one(64, &script).await;
    let terms = named("all of it").subject("home.*.reading").key("hall");
    subscribe(&it, terms.filter(|reading| reading.1 == 1)).await;
    let never = named("never").subject("home.*.level").key("hall");
    subscribe(&it, never).await;
    assert_eq!(hear(&system, &script, "hall").await, ["it: hall 1"]);
    assert!(hear(&system, &script, "bath").await.is_empty());
    assert_eq!(system.publish(Reading("hall", 2)).delivered, 0);
    let seen = |name: &'static str| {
        let log = script.log.clone();
        move |_: &Reading| {
            log.add(name);
            false
        }
    };
    subscribe(&it, named("low").filter(seen("low")).priority(-1)).await;
    subscribe(&it, named("mid").filter(seen("mid"))).await;
    let high = named("high").subject("home.>").priority(1);
    subscribe(&it, high.filter(seen("high"))).await;
    assert_eq!(system.publish(Reading("bath", 1)).delivered, 0);
    assert_eq!(script.log.take(), ["high", "mid", "low"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_pattern_is_an_error_that_says_where() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    it.ask(with(|cx| {
        let error = cx
            .subscribe_with(readings().subject("home.>.reading"))
            .unwrap_err();
        assert!(matches!(error, SubscribeError::Pattern { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("readings") && text.contains("byte 5"),
            "{text}"
        );
    }))
    .await
    .unwrap();
    assert_eq!(system.publish(Reading(ROOM, 1)).delivered, 0);
}

#[tokio::test(start_paused = true)]
async fn terms_change_from_one_pattern_to_another_and_survive_a_restart() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    subscribe(&it, readings().subject("home.hall.*")).await;
    it.tell(Fail("bust")).await.unwrap();
    settle().await;
    script.log.clear();
    assert_eq!(hear(&system, &script, "hall").await, ["it: hall 1"]);
    subscribe(&it, readings().subject("home.bath.*")).await;
    assert!(hear(&system, &script, "hall").await.is_empty());
    assert_eq!(hear(&system, &script, "bath").await, ["it: bath 1"]);
    subscribe(&it, readings()).await;
    assert_eq!(hear(&system, &script, "attic").await, ["it: attic 1"]);
    subscribe(&it, readings().subject("nowhere")).await;
    assert!(hear(&system, &script, "attic").await.is_empty());
    let leave = with(|cx| cx.unsubscribe_from::<Reading>("readings"));
    it.ask(leave).await.unwrap();
    assert!(hear(&system, &script, "bath").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_retained_is_replayed_to_who_wants_its_subject() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    for (n, room) in ["a", "b", "c"].into_iter().enumerate() {
        let _ = system.publish(Level(room, n as u32));
    }
    let terms = Subscription::<Level>::new("levels").replay();
    subscribe(&it, terms.subject("home.b.level")).await;
    let _ = system.publish(Level("b", 7));
    settle().await;
    assert_eq!(script.log.take(), ["it: b 1", "it: b 7"]);
}
