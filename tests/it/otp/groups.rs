//! pg: groups of actors, and those who monitor them.

use std::time::Duration;

use greenroom::names::Groups;
use greenroom::prelude::*;
use greenroom_it::settle;

use super::names::{Crash, Member, Plan, Rooms, Run, as_member, join, members, stop, values};

#[tokio::test(start_paused = true)]
async fn pg_leave_exit_race_leaves_no_member() {
    let rooms = Rooms::new();
    let (system, []) = members([]).await;
    let all = system.supervisor("app/all").unwrap();
    for n in 0..100 {
        let spec = Member::spec(format!("m{n}"), Plan::default()).restart(Restart::Temporary);
        let it = all.start_child(spec).await.unwrap();
        let of_it = rooms.clone();
        let it_leaves = n % 2 == 0;
        let run = Run(Box::new(move |cx| {
            of_it.join(cx, "test", n).unwrap();
            cx.stop();
            if it_leaves {
                assert_eq!(of_it.leave(cx, &"test"), 1);
            }
        }));
        it.tell(run).await.unwrap();
    }
    settle().await;
    assert!(rooms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn pg_multi_monitor_tells_once_for_each_monitor() {
    let rooms = Rooms::new();
    let (system, []) = members([]).await;
    let of_start = rooms.clone();
    let plan = Plan::new(move |cx| {
        assert!(of_start.monitor(cx, &"one").is_empty());
        assert!(of_start.monitor(cx, &"two").is_empty());
        assert!(of_start.monitor_all(cx).is_empty());
        of_start.join(cx, "one", 1)?;
        of_start.join(cx, "two", 2)?;
        of_start.join(cx, "three", 3)?;
        Ok(())
    });
    let all = system.supervisor("app/all").unwrap();
    let spec = Member::spec("it", plan.clone());
    all.start_child(spec).await.unwrap();
    settle().await;
    let told = |room: &str| format!("Joined(\"{room}\": app/all/it)");
    let expected = ["one", "one", "two", "two", "three"].map(told);
    assert_eq!(plan.log.take(), expected);
    // Nobody is told of his own end.
    stop(&system, "it").await;
    assert!(rooms.is_empty() && system.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pg_monitor_lists_what_is_there_and_tells_what_comes_after() {
    let rooms = Rooms::new();
    let (system, [a, b]) = members(["a", "b"]).await;
    join(&a, &rooms, "one", 1).await;
    join(&b, &rooms, "two", 2).await;
    let plan = Plan::default();
    let all = system.supervisor("app/all").unwrap();
    let spec = Member::spec("listener", plan.clone());
    let listener = all.start_child(spec).await.unwrap();
    let of_listener = rooms.clone();
    let there = as_member(&listener, move |cx| of_listener.monitor(cx, &"one")).await;
    assert_eq!(values(&there), [1]);
    join(&b, &rooms, "one", 3).await;
    join(&b, &rooms, "two", 4).await;
    stop(&system, "a").await;
    settle().await;
    assert_eq!(
        plan.log.take(),
        ["Joined(\"one\": app/all/b)", "Left(\"one\": app/all/a)"]
    );
    let of_listener = rooms.clone();
    as_member(&listener, move |cx| of_listener.demonitor(cx, &"one")).await;
    stop(&system, "b").await;
    settle().await;
    assert!(plan.log.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pg_monitor_scope_hears_of_all_groups() {
    let rooms = Rooms::new();
    let other = Rooms::new();
    let (system, [a, b]) = members(["a", "b"]).await;
    join(&a, &rooms, "one", 1).await;
    join(&b, &rooms, "two", 2).await;
    let plan = Plan::default();
    let all = system.supervisor("app/all").unwrap();
    let spec = Member::spec("listener", plan.clone());
    let listener = all.start_child(spec).await.unwrap();
    let of_listener = rooms.clone();
    let there = as_member(&listener, move |cx| of_listener.monitor_all(cx)).await;
    assert_eq!(values(&there), [1, 2]);
    join(&a, &rooms, "three", 3).await;
    // Another table is another scope.
    join(&a, &other, "three", 4).await;
    stop(&system, "a").await;
    settle().await;
    assert_eq!(
        plan.log.take(),
        [
            "Joined(\"three\": app/all/a)",
            "Left(\"one\": app/all/a)",
            "Left(\"three\": app/all/a)",
        ]
    );
    // The end of the listener is the end of its monitors.
    stop(&system, "listener").await;
    stop(&system, "b").await;
    assert!(system.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pg_thundering_herd_of_joins_and_leaves_is_taken_in_its_stride() {
    const GROUPS: u32 = 10_000;
    const JOINS: u32 = 20_000;
    let rooms: Groups<u32, ActorRef<Member>, u32> = Groups::new();
    let (system, [a, b]) = members(["a", "b"]).await;
    let begun = std::time::Instant::now();
    let of_a = rooms.clone();
    as_member(&a, move |cx| {
        for group in 0..GROUPS {
            of_a.join(cx, group, 0).unwrap();
        }
        for n in 0..JOINS {
            of_a.join(cx, 0, n).unwrap();
        }
    })
    .await;
    let of_b = rooms.clone();
    as_member(&b, move |cx| of_b.join(cx, 0, 1)).await.unwrap();
    assert_eq!(rooms.entries_of(&0).len(), JOINS as usize + 2);
    stop(&system, "a").await;
    assert_eq!(rooms.members(&0), [b]);
    assert_eq!(rooms.len(), 1);
    // Far less, unless a join or a leave looks at all the others.
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn pg_a_group_is_empty_after_the_death_of_its_members() {
    let rooms = Rooms::new();
    let (system, [a, b]) = members(["a", "b"]).await;
    join(&a, &rooms, "one", 1).await;
    join(&b, &rooms, "one", 2).await;
    stop(&system, "a").await;
    assert_eq!(rooms.members(&"one"), [b]);
    stop(&system, "b").await;
    assert!(rooms.members(&"one").is_empty() && rooms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn pg_a_member_that_is_restarted_is_a_member_once() {
    let rooms = Rooms::new();
    let (system, [a]) = members(["a"]).await;
    let of_start = rooms.clone();
    let plan = Plan::new(move |cx| {
        let life = u32::try_from(cx.incarnation())?;
        of_start.join(cx, "one", life)?;
        of_start.join(cx, "one", life + 10)?;
        Ok(())
    });
    let all = system.supervisor("app/all").unwrap();
    let it = all.start_child(Member::spec("it", plan)).await.unwrap();
    join(&a, &rooms, "one", 0).await;
    assert_eq!(values(&rooms.entries_of(&"one")), [1, 11, 0]);
    it.tell(Crash).await.unwrap();
    settle().await;
    // In the place of the earlier life where it can be.
    assert_eq!(values(&rooms.entries_of(&"one")), [2, 0, 12]);
    // What a life joined stays, whether the next one joins it or not.
    join(&it, &rooms, "two", 9).await;
    it.tell(Crash).await.unwrap();
    settle().await;
    assert_eq!(values(&rooms.entries_of(&"two")), [9]);
    let of_it = rooms.clone();
    let own = as_member(&it, move |cx| of_it.own(cx)).await;
    assert_eq!(values(&own), [3, 9, 13]);
}
