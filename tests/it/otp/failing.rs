//! What becomes of an actor's state and mailbox when its code panics, wherever that is.

use std::sync::Arc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom_it::*;
use parking_lot::Mutex;

use super::start;
use crate::look::{life, running};

/// A piece of an actor's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    /// `Actor::start` behind an await.
    StartLater,
    Handler,
    /// A handler behind an await.
    HandlerLater,
    /// The drop of what a panic in a handler carries.
    Payload,
    /// The drop of the actor's state.
    State,
    Stop,
    /// `Actor::stop` behind an await.
    StopLater,
}

/// Where an actor panics next; once.
#[derive(Clone, Default)]
struct Plan(Arc<Mutex<Option<Place>>>);

impl Plan {
    fn is_at(&self, place: Place) -> bool {
        let mut planned = self.0.lock();
        planned.take_if(|planned| *planned == place).is_some()
    }

    #[track_caller]
    fn passes(&self, place: Place) {
        assert!(!self.is_at(place), "{place:?}");
    }
}

/// What panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("bomb");
    }
}

struct Fragile {
    plan: Plan,
    /// How many messages this life has handled.
    handled: u32,
}

impl Actor for Fragile {
    type Args = Plan;
    type Error = BoxError;

    async fn start(plan: Plan, _: &mut Context<Self>) -> Result<Self, BoxError> {
        plan.passes(Place::Start);
        tokio::task::yield_now().await;
        plan.passes(Place::StartLater);
        Ok(Fragile { plan, handled: 0 })
    }

    async fn stop(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.plan.passes(Place::Stop);
        tokio::task::yield_now().await;
        self.plan.passes(Place::StopLater);
        Ok(())
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.plan.passes(Place::State);
    }
}

/// Answers how many the life has handled, this one included.
struct Work;

/// Ends the life: with an error, or else normally.
struct End {
    with_error: bool,
}

impl Message for Work {
    type Reply = u32;
}

impl Message for End {
    type Reply = ();
}

impl Handler<Work> for Fragile {
    async fn handle(&mut self, _: Work, _: &mut Context<Self>) -> Result<u32, BoxError> {
        self.handled += 1;
        self.plan.passes(Place::Handler);
        if self.plan.is_at(Place::Payload) {
            std::panic::panic_any(Bomb);
        }
        tokio::task::yield_now().await;
        self.plan.passes(Place::HandlerLater);
        Ok(self.handled)
    }
}

impl Handler<End> for Fragile {
    async fn handle(&mut self, end: End, cx: &mut Context<Self>) -> Result<(), BoxError> {
        if end.with_error {
            return Err("bust".into());
        }
        cx.stop();
        Ok(())
    }
}

/// Lets an actor panic at a place that it comes to in the course of `what`; returns which life it is in then.
async fn life_after(place: Place, what: &'static str) -> u64 {
    let plan = Plan::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(5, Duration::from_secs(60))
        .backoff(Backoff::none())
        .child(Scripted::spec("sibling", Script::default()))
        .child(Fragile::spec("it", plan.clone()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Fragile>("app/it").unwrap();
    assert_eq!(it.ask(Work).await.unwrap(), 1);
    *plan.0.lock() = Some(place);
    match what {
        "work" => assert!(it.ask(Work).await.is_err()),
        "failure" => it.tell(End { with_error: true }).await.unwrap(),
        _ => it.tell(End { with_error: false }).await.unwrap(),
    }
    settle().await;
    assert_eq!(*plan.0.lock(), None, "it has come to {place:?}");
    // The life is another one, and everybody else the same.
    assert_eq!(it.ask(Work).await.unwrap(), 1);
    let sibling = system.find::<Scripted>("app/sibling").unwrap();
    assert_eq!(sibling.ask(Echo(7)).await.unwrap(), 7);
    let all = running(&system, "app");
    assert_eq!(all[1], life("sibling", 1));
    system.stop().await;
    assert!(system.stopped().await.is_ok());
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    all[0].1
}

#[tokio::test(start_paused = true)]
async fn d3_a_panic_in_start_is_a_start_that_failed() {
    for place in [Place::Start, Place::StartLater] {
        assert_eq!(life_after(place, "failure").await, 3, "{place:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn d3_a_panic_in_a_handler_ends_this_life_alone() {
    for place in [Place::Handler, Place::HandlerLater, Place::Payload] {
        assert_eq!(life_after(place, "work").await, 2, "{place:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn d3_a_panic_in_the_drop_of_the_state_harms_nobody() {
    for what in ["failure", "normal end"] {
        assert_eq!(life_after(Place::State, what).await, 2, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn d3_a_panic_in_stop_ends_the_life_that_stops() {
    for place in [Place::Stop, Place::StopLater] {
        assert_eq!(life_after(place, "normal end").await, 2, "{place:?}");
    }
}

/// A handler that never ends, and panics when it is cut off.
struct Hang;

impl Message for Hang {
    type Reply = ();
}

impl Handler<Hang> for Fragile {
    async fn handle(&mut self, _: Hang, _: &mut Context<Self>) -> Result<(), BoxError> {
        let _bomb = Bomb;
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn d3_a_panic_in_the_drop_of_a_handler_and_of_the_state_do_not_meet() {
    let plan = Plan::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("sibling", Script::default()))
        .child(Fragile::spec("it", plan.clone()).stop_within(Duration::from_secs(1)));
    let system = start(tree).await.unwrap();
    let it = system.find::<Fragile>("app/it").unwrap();
    it.tell(Hang).await.unwrap();
    settle().await;
    *plan.0.lock() = Some(Place::State);
    system.stop().await;
    assert_eq!(*plan.0.lock(), None, "the state was dropped");
    assert!(system.stopped().await.is_ok());
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
}

/// Writes down when its lives begin and when their state is gone.
struct Diary {
    log: Log,
    incarnation: u64,
    handled: u32,
}

impl Actor for Diary {
    type Args = Log;
    type Error = BoxError;

    async fn start(log: Log, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        let incarnation = cx.incarnation();
        log.add(format!("begins {incarnation}"));
        Ok(Diary {
            log,
            incarnation,
            handled: 0,
        })
    }
}

impl Drop for Diary {
    fn drop(&mut self) {
        self.log.add(format!("dropped {}", self.incarnation));
    }
}

impl Handler<Work> for Diary {
    async fn handle(&mut self, _: Work, _: &mut Context<Self>) -> Result<u32, BoxError> {
        self.handled += 1;
        Ok(self.handled)
    }
}

impl Handler<End> for Diary {
    async fn handle(&mut self, end: End, _: &mut Context<Self>) -> Result<(), BoxError> {
        // What it has done so far must not be seen by the next life.
        self.handled += 100;
        if end.with_error {
            return Err("bust".into());
        }
        panic!("half done");
    }
}

#[tokio::test(start_paused = true)]
async fn d4_a_state_that_failed_is_dropped_before_the_next_life_begins_with_a_fresh_one() {
    let log = Log::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(5, Duration::from_secs(60))
        .child(Diary::spec("it", log.clone()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Diary>("app/it").unwrap();
    for with_error in [false, true] {
        assert_eq!(it.ask(Work).await.unwrap(), 1);
        assert_eq!(it.ask(Work).await.unwrap(), 2);
        it.tell(End { with_error }).await.unwrap();
    }
    assert_eq!(it.ask(Work).await.unwrap(), 1);
    assert_eq!(
        log.take(),
        ["begins 1", "dropped 1", "begins 2", "dropped 2", "begins 3"]
    );
}

#[tokio::test(start_paused = true)]
async fn d6_a_mailbox_survives_restarts_of_every_kind_and_keeps_its_order() {
    let script = Script::default();
    let branch = Supervisor::one_for_all("in")
        .restart_limit(2, Duration::from_secs(60))
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()))
        .child(Scripted::spec("sibling", script.clone()));
    let tree = Supervisor::one_for_one("app").child(branch);
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/in/it").unwrap();
    let sibling = system.find::<Scripted>("app/in/sibling").unwrap();
    // Its own panic; its sibling's failure, which takes it along; and one that is too many for the branch.
    for who in ["itself", "sibling", "branch"] {
        hold(&it, &script).await;
        script.log.clear();
        it.tell(Say("one")).await.unwrap();
        if who == "itself" {
            it.tell(Panic("boom")).await.unwrap();
        } else {
            sibling.tell(Fail("bust")).await.unwrap();
            settle().await;
        }
        it.tell(Say("two")).await.unwrap();
        it.tell(Say("three")).await.unwrap();
        script.gate.add_permits(1);
        caught_up(&it).await;
        let log = script.log.take();
        let lines = log.iter().filter_map(|line| line.strip_prefix("it: "));
        let lines: Vec<&str> = lines.collect();
        match who {
            "itself" => assert_eq!(lines, ["one", "panic", "start 2", "two", "three"]),
            "sibling" => assert_eq!(lines, ["stop", "start 3", "one", "two", "three"]),
            _ => assert_eq!(lines, ["stop", "start 4", "one", "two", "three"]),
        }
    }
    assert_eq!(running(&system, "app"), [life("in", 2)]);
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
}
