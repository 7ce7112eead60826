//! PA: partitioned supervisors: keys, their partitions, and how many of these are in use.

use std::collections::BTreeMap;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{
    ActorState, AutoShutdown, PartitionError, RemoveChildError, ResizeError, SupervisorRef,
    UpdateError,
};
use greenroom_it::{Script, Scripted, settle};

use super::start;

const ALL: usize = 8;

/// `app/parts`, of eight scripted actors.
async fn parts(script: &Script) -> (System, SupervisorRef) {
    let parts = Supervisor::partitioned("parts", ALL, |_| Scripted::spec("part", script.clone()));
    let tree =
        Supervisor::one_for_one("app").child(parts.restart_limit(100, Duration::from_secs(60)));
    let system = start(tree).await.unwrap();
    let parts = system.supervisor("app/parts").unwrap();
    (system, parts)
}

/// How many of a thousand keys belong to each partition.
fn shares(parts: &SupervisorRef) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for key in 0..1000 {
        let part = parts.partition::<Scripted>(&key).unwrap();
        *shares.entry(part.path().name().to_owned()).or_default() += 1;
    }
    shares
}

#[tokio::test(start_paused = true)]
async fn pa01_a_partitioned_supervisor_is_known_by_its_name_and_its_children_by_their_numbers() {
    let script = Script::default();
    let mut numbers = Vec::new();
    let parts = Supervisor::partitioned("parts", 3, |n| {
        numbers.push(n);
        Scripted::spec("whatever it is called here", script.clone())
    });
    assert_eq!(numbers, [0, 1, 2]);
    let drawn = parts.to_string();
    assert!(drawn.contains(", partitions: 3\n"), "{drawn}");
    assert_eq!(
        parts
            .to_string()
            .lines()
            .map(|line| line.split(':').next().unwrap())
            .collect::<Vec<_>>(),
        ["parts", "├─ 0", "├─ 1", "└─ 2"]
    );
    let system = start(Supervisor::one_for_one("app").child(parts))
        .await
        .unwrap();
    assert_eq!(
        script.log.take(),
        ["0: start 1", "1: start 1", "2: start 1"]
    );
    let parts = system.supervisor("app/parts").unwrap();
    assert_eq!(parts.partitions(), 3);
    assert!(system.find::<Scripted>("app/parts/2").is_ok());
    // The root is no different.
    let root = Supervisor::partitioned("root", 1, |_| Scripted::spec("", script.clone()));
    let system = start(root).await.unwrap();
    let root = system.supervisor("root").unwrap();
    let only = root.partition::<Scripted>(&"any key").unwrap();
    assert_eq!(only.path().as_str(), "root/0");
}

#[tokio::test(start_paused = true)]
async fn pa02_a_supervisor_without_partitions_or_that_ends_by_itself_does_not_start() {
    let script = Script::default();
    let none = Supervisor::partitioned("parts", 0, |_| Scripted::spec("", script.clone()));
    let error = start(Supervisor::one_for_one("app").child(none)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "app/parts has no partition; give it one at least"
    );
    let ends = Supervisor::partitioned("parts", 2, |_| Scripted::spec("", script.clone()))
        .auto_shutdown(AutoShutdown::AnySignificant);
    let error = start(ends).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "parts is partitioned and cannot end by itself; leave its auto-shutdown at never"
    );
    let forgotten = Supervisor::partitioned("parts", 2, |_| {
        Scripted::spec("", script.clone()).restart(Restart::Temporary)
    });
    let error = start(forgotten).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "the partition parts/0 is temporary, and its keys would belong to nobody once it has ended; make it permanent or transient"
    );
    assert!(script.log.take().is_empty(), "nothing was run");
}

#[tokio::test(start_paused = true)]
async fn pa03_a_stop_returns_when_all_partitions_are_down_and_their_names_are_free() {
    let script = Script::default();
    let (system, parts) = parts(&script).await;
    let one = parts.partition::<Scripted>(&"key").unwrap();
    script.log.clear();
    let app = system.supervisor("app").unwrap();
    app.stop_child("parts").await.unwrap();
    let stops: Vec<String> = (0..ALL).rev().map(|n| format!("{n}: stop")).collect();
    assert_eq!(script.log.take(), stops);
    assert!(system.find::<Scripted>(one.path().as_str()).is_err());
    assert!(one.try_tell(greenroom_it::Say("late")).is_err());
    assert!(parts.resize(1).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn pa04_each_number_of_partitions_is_reached_from_each_other_and_keys_find_just_those() {
    let script = Script::default();
    let (system, parts) = parts(&script).await;
    let down_and_up = (0..=ALL).rev().chain(0..=ALL);
    let shuffled = [3, 8, 0, 5, 5, 1, 7, 2, 8, 4, 6, 0, 8];
    let mut before = ALL;
    for n in down_and_up.chain(shuffled) {
        assert_eq!(parts.resize(n).await.unwrap(), before);
        before = n;
        assert_eq!(parts.partitions(), n);
        let counts = parts.count_children().unwrap();
        assert_eq!((counts.specs, counts.active), (ALL, n));
        if n > 0 {
            let found: Vec<String> = shares(&parts).into_keys().collect();
            let expected: Vec<String> = (0..n).map(|n| n.to_string()).collect();
            assert_eq!(found, expected);
        }
        for key in 0..n {
            let part = parts.partition::<Scripted>(&key).unwrap();
            assert_eq!(part.ask(greenroom_it::Echo(7)).await.unwrap(), 7);
        }
    }
    system.ready().unwrap();
}

#[tokio::test(start_paused = true)]
async fn pa04_what_is_queued_is_handled_before_a_partition_goes_and_late_senders_hear_of_it() {
    let script = Script::default();
    let (_system, parts) = parts(&script).await;
    let last = (0..).find_map(|key| {
        let part = parts.partition::<Scripted>(&key).unwrap();
        (part.path().name() == "7").then_some(part)
    });
    let last = last.unwrap();
    script.log.clear();
    last.tell(greenroom_it::Say("queued")).await.unwrap();
    parts.resize(7).await.unwrap();
    assert_eq!(script.log.take(), ["7: queued", "7: stop"]);
    assert!(last.tell(greenroom_it::Say("late")).await.is_err());
    parts.resize(8).await.unwrap();
    last.tell(greenroom_it::Say("again")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pa04_of_one_partition_more_only_its_own_keys_move() {
    let script = Script::default();
    let (_system, parts) = parts(&script).await;
    parts.resize(7).await.unwrap();
    let keys: Vec<String> = (0..1000).map(|n| format!("key {n}")).collect();
    let find = |parts: &SupervisorRef| -> Vec<ActorRef<Scripted>> {
        keys.iter()
            .map(|key| parts.partition(key).unwrap())
            .collect()
    };
    let before = find(&parts);
    assert_eq!(find(&parts), before, "equal keys belong to the same");
    parts.resize(8).await.unwrap();
    let after = find(&parts);
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after);
    let to: Vec<&str> = moved.map(|(_, after)| after.path().name()).collect();
    assert!((80..180).contains(&to.len()), "{}", to.len());
    assert!(to.iter().all(|name| *name == "7"));
}

#[tokio::test(start_paused = true)]
async fn pa05_without_partitions_no_key_is_found_and_there_are_never_more_than_at_the_start() {
    let script = Script::default();
    let (system, parts) = parts(&script).await;
    let error = parts.resize(ALL + 1).await.unwrap_err();
    assert!(matches!(error, ResizeError::TooMany { max: ALL, .. }));
    assert_eq!(
        error.to_string(),
        "app/parts was started with 8 partitions and cannot have more; start it with as many as it may ever need"
    );
    assert_eq!(parts.partitions(), ALL);
    parts.resize(0).await.unwrap();
    let error = parts.partition::<Scripted>(&1).unwrap_err();
    assert!(matches!(error, PartitionError::NoneInUse(_)), "{error}");
    // And who has none, or others, says so.
    let app = system.supervisor("app").unwrap();
    let error = app.partition::<Scripted>(&1).unwrap_err();
    assert!(
        matches!(error, PartitionError::NotPartitioned(_)),
        "{error}"
    );
    let error = app.resize(1).await.unwrap_err();
    assert!(matches!(error, ResizeError::NotPartitioned(_)), "{error}");
    assert_eq!(app.partitions(), 0);
    parts.resize(1).await.unwrap();
    let error = parts.supervisor_partition(&1).unwrap_err();
    assert!(matches!(error, PartitionError::WrongType { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn pa06_children_and_counts_are_those_of_workers_or_of_supervisors() {
    let script = Script::default();
    let (system, workers) = parts(&script).await;
    let counts = workers.count_children().unwrap();
    assert_eq!((counts.specs, counts.active), (ALL, ALL));
    assert_eq!((counts.workers, counts.supervisors), (ALL, 0));
    let children = workers.children().unwrap();
    let names: Vec<&str> = children.iter().map(|child| child.path.name()).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert!(
        children
            .iter()
            .all(|child| child.state == ActorState::Running)
    );
    assert!(system.supervisor("app/unknown").is_err());

    let pools = Supervisor::partitioned("pools", 3, |_| Supervisor::dynamic("pool"));
    let system = start(Supervisor::one_for_one("app").child(pools))
        .await
        .unwrap();
    let pools = system.supervisor("app/pools").unwrap();
    let counts = pools.count_children().unwrap();
    assert_eq!((counts.workers, counts.supervisors), (0, 3));
    // A hundred children, each where its key belongs.
    for n in 0..100 {
        let pool = pools.supervisor_partition(&n).unwrap();
        let spec = Scripted::spec(format!("child {n}"), script.clone());
        let child = pool.start_child(spec).await.unwrap();
        assert_eq!(child.path().as_str(), format!("{}/child {n}", pool.path()));
    }
    let each: Vec<usize> = (0..3)
        .map(|n| system.supervisor(&format!("app/pools/{n}")).unwrap())
        .map(|pool| pool.count_children().unwrap().active)
        .collect();
    assert_eq!(each.iter().sum::<usize>(), 100);
    assert!(each.iter().all(|n| *n > 15), "{each:?}");
}

#[tokio::test(start_paused = true)]
async fn pa_a_partition_that_fails_keeps_its_keys_and_a_restarted_supervisor_has_all_again() {
    let script = Script::default();
    let parts = Supervisor::partitioned("parts", 4, |_| Scripted::spec("", script.clone()))
        .restart_limit(1, Duration::from_secs(5))
        .backoff(Backoff::none());
    let tree = Supervisor::one_for_one("app")
        .backoff(Backoff::none())
        .child(parts);
    let system = start(tree).await.unwrap();
    let parts = system.supervisor("app/parts").unwrap();
    parts.resize(2).await.unwrap();
    let one = parts.partition::<Scripted>(&"key").unwrap();
    one.tell(greenroom_it::Fail("once")).await.unwrap();
    settle().await;
    assert_eq!(parts.partition::<Scripted>(&"key").unwrap(), one);
    assert_eq!(parts.partitions(), 2);
    one.tell(greenroom_it::Fail("once too often"))
        .await
        .unwrap();
    settle().await;
    assert_eq!(parts.partitions(), 4);
    assert_eq!(shares(&parts).len(), 4);
    assert_eq!(parts.count_children().unwrap().active, 4);
}

#[tokio::test(start_paused = true)]
async fn pa_a_resize_that_a_restart_of_the_supervisor_overtakes_leaves_as_many_as_it_says() {
    for (from, to) in [(4, 1), (1, 4), (4, 0)] {
        let script = Script::default();
        let parts = Supervisor::partitioned("parts", 4, |_| {
            Scripted::spec("", script.clone()).stop_within(Duration::from_secs(60))
        });
        let tree = Supervisor::one_for_one("app")
            .backoff(Backoff::none())
            .child(parts.restart_limit(0, Duration::from_secs(5)));
        let system = start(tree).await.unwrap();
        let parts = system.supervisor("app/parts").unwrap();
        parts.resize(from).await.unwrap();
        let gives_up = async {
            settle().await;
            let first = system.find::<Scripted>("app/parts/0").unwrap();
            first.tell(greenroom_it::Fail("once")).await.unwrap();
            settle().await;
            script.gate.add_permits(1);
        };
        if from > to {
            // The last one takes its time to stop, and meanwhile the first one fails.
            let last = system.find::<Scripted>("app/parts/3").unwrap();
            greenroom_it::hold(&last, &script).await;
        }
        let (resized, ()) = tokio::join!(parts.resize(to), gives_up);
        settle().await;
        let active = parts.count_children().unwrap().active;
        assert_eq!(parts.partitions(), active, "{from} to {to}: {resized:?}");
        if resized.is_ok() {
            assert_eq!(active, to, "{from} to {to}");
        }
        for key in 0..100 {
            if to > 0 {
                let part = parts.partition::<Scripted>(&key).unwrap();
                part.ask(greenroom_it::Echo(7)).await.unwrap();
            }
        }
        system.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pa_partitions_are_neither_removed_nor_changed_into_something_else() {
    let script = Script::default();
    let (system, parts) = parts(&script).await;
    parts.resize(7).await.unwrap();
    let error = parts.remove_child("7").await.unwrap_err();
    assert!(matches!(error, RemoveChildError::Partition(_)), "{error}");
    assert_eq!(
        error.to_string(),
        "app/parts/7 is a partition and keeps its place; resize its supervisor to have it run or not"
    );
    parts.resize(8).await.unwrap();
    let tree = |n| Supervisor::partitioned("parts", n, |_| Scripted::spec("", script.clone()));
    for other in [tree(9), tree(7), Supervisor::one_for_one("parts")] {
        let error = parts.update(other).await.unwrap_err();
        assert!(matches!(error, UpdateError::Partitions { .. }), "{error}");
    }
    let app = system.supervisor("app").unwrap();
    let error = app.update(Supervisor::partitioned("app", 1, |_| {
        Scripted::spec("", script.clone())
    }));
    assert!(matches!(
        error.await,
        Err(UpdateError::Partitions { partitions: 0, .. })
    ));
    let slow = |_| Scripted::spec("", script.clone()).stop_within(Duration::from_secs(9));
    parts
        .update(Supervisor::partitioned("parts", ALL, slow))
        .await
        .unwrap();
    let info = parts.child("3").unwrap();
    assert_eq!(info.stop_within, Some(Duration::from_secs(9)));
    // Others may come and go beside them.
    parts
        .start_child(Scripted::spec("beside", script.clone()))
        .await
        .unwrap();
    parts.stop_child("beside").await.unwrap();
    parts.remove_child("beside").await.unwrap();
}
