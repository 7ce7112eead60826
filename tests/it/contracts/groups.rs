//! Subscriptions that share events: each event is one member's.

use greenroom::Share;

use super::*;

async fn members(n: usize, capacity: usize, script: &Script) -> (System, Vec<ActorRef<Scripted>>) {
    let mut tree = Supervisor::one_for_one("app")
        .restart_limit(100, Duration::from_secs(60))
        .backoff(Backoff::none());
    for n in 0..n {
        let spec = Scripted::spec(format!("n{n}"), script.clone());
        tree = tree.child(spec.mailbox(capacity));
    }
    let system = start(tree).await.unwrap();
    let find = |n| system.find::<Scripted>(&format!("app/n{n}")).unwrap();
    let members = (0..n).map(find).collect();
    script.log.clear();
    (system, members)
}

async fn join(members: &[ActorRef<Scripted>], share: Share) {
    for member in members {
        subscribe(member, readings().group("team", share)).await;
    }
}

/// Who had how many.
fn parts(log: &Log, n: usize) -> Vec<usize> {
    let lines = log.take();
    let part = |n| {
        let own = format!("n{n}: ");
        lines.iter().filter(|line| line.starts_with(&own)).count()
    };
    (0..n).map(part).collect()
}

#[tokio::test(start_paused = true)]
async fn each_has_its_turn() {
    let script = Script::default();
    let (system, team) = members(3, 64, &script).await;
    join(&team, Share::RoundRobin).await;
    for n in 0..30 {
        assert_eq!(system.publish(Reading(ROOM, n)).delivered, 1);
    }
    settle().await;
    assert_eq!(parts(&script.log, 3), [10, 10, 10]);
    assert_eq!(counted(&system, "readings").delivered, 30);
}

#[tokio::test(start_paused = true)]
async fn who_is_behind_is_passed_over_and_those_outside_have_all() {
    let script = Script::default();
    let (system, team) = members(4, 2, &script).await;
    join(&team[..3], Share::RoundRobin).await;
    subscribe(&team[3], named("outside")).await;
    hold(&team[0], &script).await;
    script.log.clear();
    for n in 0..30 {
        let _ = system.publish(Reading(ROOM, n));
        settle().await;
    }
    let parts_then = parts(&script.log, 4);
    assert_eq!((parts_then[0], parts_then[3]), (0, 30));
    assert_eq!(parts_then[1] + parts_then[2], 28, "two are queued");
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(parts(&script.log, 4), [2, 0, 0, 0]);
    let counted = counted(&system, "readings");
    assert_eq!((counted.delivered, counted.lag), (30, 0));
}

#[tokio::test(start_paused = true)]
async fn the_one_with_the_least_to_do_has_the_next() {
    let script = Script::default();
    let (system, team) = members(3, 64, &script).await;
    join(&team, Share::LeastLoaded).await;
    hold(&team[0], &script).await;
    hold(&team[1], &script).await;
    for _ in 0..4 {
        team[0].try_tell(Say("busy")).unwrap();
    }
    script.log.clear();
    for n in 0..4 {
        assert_eq!(system.publish(Reading(ROOM, n)).delivered, 1);
    }
    script.gate.add_permits(2);
    settle().await;
    let lines = script.log.take();
    let heard = |who: &str| {
        let own = format!("{who}: {ROOM}");
        lines.iter().filter(|line| line.starts_with(&own)).count()
    };
    // One has a message in hand and four queued, one has one in hand, one has none.
    assert_eq!(heard("n0"), 0, "{lines:?}");
    assert_eq!(heard("n1") + heard("n2"), 4, "{lines:?}");
    assert!(heard("n2") >= 2, "{lines:?}");
}

const ROOMS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// Whose the rooms are.
async fn owners(system: &System, script: &Script) -> Vec<String> {
    script.log.clear();
    let mut owners = Vec::new();
    for room in ROOMS {
        let _ = system.publish(Reading(room, 0));
        settle().await;
        let lines = script.log.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        owners.push(lines[0].split(':').next().unwrap_or("").to_owned());
    }
    owners
}

#[tokio::test(start_paused = true)]
async fn a_key_stays_with_one_over_restarts_and_only_those_of_who_goes_move() {
    let script = Script::default();
    let (system, team) = members(4, 64, &script).await;
    join(&team, Share::ByKey).await;
    let before = owners(&system, &script).await;
    let distinct: std::collections::BTreeSet<&String> = before.iter().collect();
    assert!(distinct.len() > 1, "{before:?}");
    for member in &team {
        member.tell(Fail("bust")).await.unwrap();
    }
    settle().await;
    assert_eq!(owners(&system, &script).await, before);
    let leave = with(|cx| cx.unsubscribe_from::<Reading>("readings"));
    team[1].ask(leave).await.unwrap();
    let after = owners(&system, &script).await;
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || before == "n1", "{before} {after}");
        assert_ne!(after, "n1");
    }
    join(&team[1..2], Share::ByKey).await;
    assert_eq!(owners(&system, &script).await, before);
}

#[tokio::test(start_paused = true)]
async fn only_members_that_want_an_event_share_it() {
    let script = Script::default();
    let (system, team) = members(3, 64, &script).await;
    for (member, room) in team.iter().zip(["a", "a", "b"]) {
        let terms = readings().group("team", Share::RoundRobin);
        subscribe(member, terms.key(room)).await;
    }
    for (n, room) in ["a", "b", "a", "c"].into_iter().enumerate() {
        let delivery = system.publish(Reading(room, n as u32));
        assert_eq!(delivery.delivered, usize::from(room != "c"));
    }
    settle().await;
    assert_eq!(parts(&script.log, 3), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_group_has_the_priority_of_its_first() {
    let script = Script::default();
    let (system, team) = members(3, 64, &script).await;
    let log = script.log.clone();
    let seen = move |_: &Reading| {
        log.add("single");
        true
    };
    let single = named("single").priority(1).filter(seen);
    subscribe(&team[2], single).await;
    for (member, priority) in team.iter().zip([0, 5]) {
        let log = script.log.clone();
        let terms = readings().group("team", Share::RoundRobin);
        let terms = terms.priority(priority).filter(move |_| {
            log.add(format!("member {priority}"));
            true
        });
        subscribe(member, terms).await;
    }
    assert_eq!(system.publish(Reading(ROOM, 0)).delivered, 2);
    assert_eq!(script.log.take()[..3], ["member 5", "member 0", "single"]);
}

#[tokio::test(start_paused = true)]
async fn who_stops_is_given_nothing_while_another_is_there() {
    for share in [Share::RoundRobin, Share::LeastLoaded, Share::ByKey] {
        let script = Script::default();
        let (system, team) = members(3, 64, &script).await;
        join(&team, share).await;
        hold(&team[0], &script).await;
        let app = system.supervisor("app").unwrap();
        let stopped = tokio::spawn(async move { app.stop_child("n0").await });
        settle().await;
        script.log.clear();
        for room in ROOMS {
            let delivery = system.publish(Reading(room, 1));
            assert_eq!((delivery.delivered, delivery.dropped), (1, 0), "{share:?}");
        }
        script.gate.add_permits(1);
        stopped.await.unwrap().unwrap();
        settle().await;
        let parts = parts(&script.log, 3);
        assert_eq!(parts[1] + parts[2], ROOMS.len(), "{share:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_would_lose_it_is_passed_over_while_another_has_room() {
    for share in [Share::RoundRobin, Share::LeastLoaded] {
        for buffer in [0, 1] {
            let script = Script::default();
            let (system, team) = members(2, 2, &script).await;
            for member in &team {
                subscribe(member, readings().group("team", share).buffer(buffer)).await;
            }
            hold(&team[0], &script).await;
            for n in 0..30 {
                let _ = system.publish(Reading(ROOM, n));
                settle().await;
            }
            let counted = counted(&system, "readings");
            assert!(
                counted.dropped.is_empty(),
                "{share:?} of {buffer}: {counted:?}"
            );
            script.gate.add_permits(1);
            settle().await;
        }
    }
}
