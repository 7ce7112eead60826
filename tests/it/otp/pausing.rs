//! Actors that are held still for a while: part of the live operations, beyond OTP (`sys:suspend` comes nearest).

use std::time::Duration;

use greenroom::ActorState;
use greenroom::prelude::*;
use greenroom_it::*;

use super::start;

const SECOND: Duration = Duration::from_secs(1);

async fn paused(tree: Supervisor, script: &Script) -> (System, ActorRef<Scripted>) {
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    script.log.clear();
    it.pause();
    settle().await;
    (system, it)
}

fn app(script: &Script) -> Supervisor {
    Supervisor::one_for_one("app")
        .restart_limit(9, SECOND)
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()))
}

fn state(system: &System) -> ActorState {
    let all = system.snapshot();
    let it = all.iter().find(|info| info.path.as_str() == "app/it");
    it.unwrap().state
}

#[tokio::test(start_paused = true)]
async fn a_paused_actor_handles_what_has_come_when_it_is_resumed_in_order() {
    let script = Script::default();
    let (system, it) = paused(app(&script), &script).await;
    for word in ["one", "two", "three"] {
        it.tell(Say(word)).await.unwrap();
    }
    settle().await;
    assert_eq!((state(&system), it.depth()), (ActorState::Paused, 3));
    let supervisor = system.supervisor("app").unwrap();
    assert_eq!(
        supervisor.count_children().unwrap().active,
        1,
        "it has a life"
    );
    assert_eq!(script.log.take(), Vec::<String>::new());
    assert!(system.ready().is_ok(), "somebody wants it to wait");
    it.resume();
    settle().await;
    assert_eq!(state(&system), ActorState::Running);
    assert_eq!(script.log.take(), ["it: one", "it: two", "it: three"]);
    system.stop().await;
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn the_message_in_hand_is_handled_before_the_pause() {
    let script = Script::default();
    let system = start(app(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    hold(&it, &script).await;
    it.tell(Say("later")).await.unwrap();
    it.pause();
    settle().await;
    assert_eq!(state(&system), ActorState::Running);
    script.log.clear();
    script.gate.add_permits(1);
    settle().await;
    assert_eq!((state(&system), it.depth()), (ActorState::Paused, 1));
    it.resume();
    settle().await;
    assert!(script.log.take().ends_with(&["it: later".to_owned()]));
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_pause_so_that_nothing_accepted_is_lost() {
    let script = Script::default();
    let (system, it) = paused(app(&script), &script).await;
    it.tell(Say("one")).await.unwrap();
    system.stop().await;
    assert_eq!(script.log.take(), ["it: one", "it: stop"]);
    assert_eq!(system.ledger().handled, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlasts_the_life_that_is_killed_in_it() {
    let script = Script::default();
    let (system, it) = paused(app(&script), &script).await;
    it.tell(Say("one")).await.unwrap();
    it.kill();
    settle().await;
    assert_eq!((state(&system), it.depth()), (ActorState::Paused, 1));
    assert_eq!(script.log.take(), ["it: start 2"]);
    it.resume();
    settle().await;
    assert_eq!(script.log.take(), ["it: one"]);
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_life_that_is_ended_in_a_pause_ends_in_order() {
    let script = Script::default();
    let (system, it) = paused(app(&script), &script).await;
    it.tell(Say("one")).await.unwrap();
    it.stop().await.unwrap();
    settle().await;
    assert_eq!(script.log.take(), ["it: stop", "it: start 2"]);
    assert_eq!((state(&system), it.depth()), (ActorState::Paused, 1));
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pauses_and_resumes_that_come_fast_leave_it_as_the_last_one_says() {
    let script = Script::default();
    let system = start(app(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    for _ in 0..100 {
        it.pause();
        it.pause();
        it.resume();
    }
    settle().await;
    assert_eq!(state(&system), ActorState::Running);
    it.tell(Say("one")).await.unwrap();
    settle().await;
    it.resume();
    it.pause();
    it.tell(Say("two")).await.unwrap();
    settle().await;
    assert_eq!((state(&system), it.depth()), (ActorState::Paused, 1));
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_pauses_a_child_and_all_actors_below_it_by_name() {
    let script = Script::default();
    let inner = Supervisor::one_for_one("inner").child(Scripted::spec("it", script.clone()));
    let tree = Supervisor::one_for_one("app")
        .child(inner)
        .child(Scripted::spec("other", script.clone()));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let paused = || {
        let mut all = system.snapshot();
        all.retain(|info| info.state == ActorState::Paused);
        let paths = all.iter().map(|info| info.path.to_string());
        paths.collect::<Vec<_>>()
    };
    app.pause_child("inner").unwrap();
    settle().await;
    assert_eq!(paused(), ["app/inner/it"]);
    app.resume_child("inner").unwrap();
    app.pause_child("other").unwrap();
    settle().await;
    assert_eq!(paused(), ["app/other"]);
    assert!(app.pause_child("nobody").is_err());
    system.stop().await;
    assert!(app.pause_child("other").is_err(), "it has stopped");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_down_can_be_paused_by_name_too_and_waits_when_it_is_up() {
    let script = Script::default();
    let system = start(app(&script)).await.unwrap();
    let app = system.supervisor("app").unwrap();
    app.stop_child("it").await.unwrap();
    app.pause_child("it").unwrap();
    app.restart_child("it").await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Say("one")).await.unwrap();
    settle().await;
    assert_eq!((state(&system), it.depth()), (ActorState::Paused, 1));
    app.stop_child("it").await.unwrap();
    app.resume_child("it").unwrap();
    app.restart_child("it").await.unwrap();
    settle().await;
    assert_eq!(state(&system), ActorState::Running);
    system.stop().await;
    assert!(system.ledger().is_balanced());
}
