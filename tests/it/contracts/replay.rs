//! The last event of each key for who comes later: each once, and before all that is published from then on.

use std::sync::Arc;

use super::*;

fn levels() -> Subscription<Level> {
    Subscription::new("levels").replay()
}

fn level(system: &System, room: &'static str, n: u32) -> usize {
    system.publish(Level(room, n)).delivered
}

#[tokio::test(start_paused = true)]
async fn the_last_of_each_key_comes_first_and_in_order() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    for (n, room) in ["a", "b", "a", "c"].into_iter().enumerate() {
        assert_eq!(level(&system, room, n as u32), 0);
    }
    subscribe(&it, levels()).await;
    level(&system, "b", 4);
    settle().await;
    assert_eq!(
        script.log.take(),
        ["it: b 1", "it: a 2", "it: c 3", "it: b 4"]
    );
    assert_eq!(counted(&system, "levels").delivered, 4);
    // The same life has them once.
    subscribe(&it, levels()).await;
    settle().await;
    assert!(script.log.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_more_keys_are_kept_than_the_type_says_and_plain_subscribers_get_none() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    for (n, room) in ["a", "b", "c", "a", "d"].into_iter().enumerate() {
        level(&system, room, n as u32);
    }
    it.ask(with(|cx| cx.subscribe::<Level>())).await.unwrap();
    settle().await;
    assert!(script.log.take().is_empty());
    subscribe(&it, levels()).await;
    settle().await;
    assert_eq!(script.log.take(), ["it: c 2", "it: a 3", "it: d 4"]);
}

#[tokio::test(start_paused = true)]
async fn only_what_the_subscription_wants_is_replayed() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    for (n, room) in ["a", "b", "c"].into_iter().enumerate() {
        level(&system, room, n as u32);
    }
    subscribe(&it, levels().key("b")).await;
    subscribe(&it, Subscription::<Level>::new("none")).await;
    let late = Subscription::<Level>::new("late").replay();
    subscribe(&it, late.filter(|level| level.1 > 1)).await;
    settle().await;
    assert_eq!(script.log.take(), ["it: b 1", "it: c 2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_replayed_has_room_and_waits_for_it_in_order() {
    let script = Script::default();
    let (system, it) = one(1, &script).await;
    for (n, room) in ["a", "b", "c"].into_iter().enumerate() {
        level(&system, room, n as u32);
    }
    let clone = system.clone();
    let in_a_handler = with(move |cx| {
        cx.subscribe_with(levels().buffer(1)).unwrap();
        level(&clone, "a", 3);
        level(&clone, "a", 4);
    });
    it.ask(in_a_handler).await.unwrap();
    settle().await;
    // All that is replayed, and nothing that has no room behind it.
    assert_eq!(script.log.take(), ["it: a 0", "it: b 1", "it: c 2"]);
    assert_eq!(counted(&system, "levels").dropped, [("full", 2)]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_it_later_has_it_then() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    subscribe(&it, Subscription::<Level>::new("levels").key("none")).await;
    level(&system, "a", 1);
    subscribe(&it, levels()).await;
    settle().await;
    assert_eq!(script.log.take(), ["it: a 1"]);
}

#[tokio::test(start_paused = true)]
async fn who_was_disconnected_begins_anew_with_the_last_ones() {
    let script = Script::default();
    let (system, it) = one(1, &script).await;
    let terms = levels().when_full(EventOverflow::Disconnect).buffer(0);
    subscribe(&it, terms.clone()).await;
    hold(&it, &script).await;
    assert_eq!(level(&system, "a", 1), 1);
    assert_eq!(level(&system, "a", 2), 0);
    assert_eq!(level(&system, "b", 3), 0, "and then it is nobody's");
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(script.log.take(), ["it: hold", "it: a 1"]);
    subscribe(&it, terms).await;
    settle().await;
    assert_eq!(script.log.take(), ["it: a 2", "it: b 3"]);
}

/// Subscribes at each start.
struct Late(Log);

impl Actor for Late {
    type Args = Log;
    type Error = BoxError;

    async fn start(log: Log, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        cx.subscribe_with(levels())?;
        Ok(Late(log))
    }
}

impl Handler<Level> for Late {
    async fn handle(&mut self, level: Level, cx: &mut Context<Self>) -> Result<(), BoxError> {
        self.0.add(format!("{} {}", level.0, level.1));
        if level.1 == 13 && cx.incarnation() == 1 {
            return Err("unlucky".into());
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_life_has_the_last_ones_behind_what_is_queued() {
    let log = Log::default();
    let tree = Supervisor::one_for_one("app")
        .backoff(Backoff::none())
        .child(Late::spec("it", log.clone()).mailbox(2));
    let system = start(tree).await.unwrap();
    for (room, n) in [("a", 1), ("b", 13), ("a", 2), ("c", 3), ("a", 4)] {
        level(&system, room, n);
    }
    settle().await;
    // What the first life had not handled, and then the last of each key.
    let expected = ["a 1", "b 13", "a 2", "c 3", "a 4", "b 13", "c 3", "a 4"];
    assert_eq!(log.take(), expected);
    assert_eq!(counted(&system, "levels").lag, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_retained_does_not_keep_the_system() {
    #[derive(Clone, Debug)]
    struct Here {
        _system: System,
        _alive: Arc<()>,
    }
    impl Event for Here {
        fn retained() -> usize {
            1
        }
    }
    let script = Script::default();
    let (system, _it) = one(1, &script).await;
    let alive = Arc::new(());
    system.publish(Here {
        _system: system.clone(),
        _alive: Arc::clone(&alive),
    });
    assert_eq!(Arc::strong_count(&alive), 2);
    system.stop().await;
    assert_eq!(Arc::strong_count(&alive), 1);
}
