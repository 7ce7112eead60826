//! What a crash report holds: the last messages with their ages, the mailbox by type, the lives before, and the chain
//! of decisions.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{
    AutoShutdown, CrashReport, Decided, Failure, FailureKind, LastMessage, LifeEnd, Path,
    StartCause, StartChildError, SupervisionEvent,
};
use greenroom_it::*;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::builder;
use crate::look::{fails, quits};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Starts a tree in which every message is timed, as in virtual time no tenth of a second passes, and somebody listens.
async fn start(tree: Supervisor) -> System {
    let listens = Witness::spec("listens", Told::default()).restart(Restart::Temporary);
    let tree = tree.child(listens);
    builder().measure_every(1).start(tree).await.unwrap()
}

/// `app/it` alone, which may be restarted a hundred times.
async fn alone(script: &Script) -> (System, ActorRef<Scripted>) {
    let system = start(lone(script)).await;
    let it = system.find::<Scripted>("app/it").unwrap();
    (system, it)
}

/// The latest failure that left a dead letter.
fn failure(system: &System) -> Failure {
    let letters = system.dead_letters();
    let latest = letters
        .iter()
        .rev()
        .find_map(|letter| letter.failure.clone());
    latest.unwrap()
}

fn report(system: &System) -> CrashReport {
    failure(system).crash_report().unwrap().clone()
}

/// A type's name without its modules.
fn short(name: &'static str) -> &'static str {
    name.rsplit("::").next().unwrap()
}

fn shown(message: &LastMessage) -> (&'static str, Option<Duration>, Option<Duration>) {
    (short(message.message), message.age, message.begun)
}

// ===== the last messages =====

#[tokio::test(start_paused = true)]
async fn s89_a_crash_report_tells_what_was_in_hand_and_for_how_long() {
    let (system, it) = alone(&Script::default()).await;
    sleep(SECOND).await;
    it.tell(Slow(SECOND)).await.unwrap();
    let panics = async {
        sleep(2 * SECOND).await;
        panic!("boom");
    };
    it.tell(awaiting(panics)).await.unwrap();
    sleep(5 * SECOND).await;
    let report = report(&system);
    assert_eq!(report.failure.path().as_str(), "app/it");
    assert_eq!(
        (report.failure.text(), report.failure.incarnation()),
        ("boom", 1)
    );
    assert_eq!(short(report.actor), "Scripted");
    assert_eq!(
        (report.cause, report.ran_for),
        (StartCause::Boot, 4 * SECOND)
    );
    let in_hand = report.in_hand.unwrap();
    assert_eq!(
        shown(&in_hand),
        ("Await", Some(3 * SECOND), Some(2 * SECOND))
    );
    let before: Vec<_> = report.last_messages.iter().map(shown).collect();
    assert_eq!(before, [("Slow", Some(3 * SECOND), Some(3 * SECOND))]);
}

#[tokio::test(start_paused = true)]
async fn s89_a_crash_report_tells_the_last_messages_of_the_life_with_their_ages() {
    let (system, it) = alone(&Script::default()).await;
    it.tell(Say("a")).await.unwrap();
    sleep(SECOND).await;
    it.ask(Echo(1)).await.unwrap();
    sleep(SECOND).await;
    fails(&system, "app/it").await;
    let ages = |report: &CrashReport| -> Vec<(&str, u64)> {
        let last = report.last_messages.iter();
        last.map(|message| (short(message.message), message.age.unwrap().as_secs()))
            .collect()
    };
    assert_eq!(ages(&report(&system)), [("Echo", 1), ("Say", 2)]);

    // The next life had none before.
    fails(&system, "app/it").await;
    assert!(report(&system).last_messages.is_empty());
    for _ in 0..20 {
        it.tell(Say("b")).await.unwrap();
        sleep(SECOND).await;
    }
    fails(&system, "app/it").await;
    let report = report(&system);
    let last: Vec<(&str, u64)> = (1..=7).map(|n| ("Say", n)).collect();
    assert_eq!(ages(&report), last);
    assert_eq!(shown(&report.in_hand.unwrap()).0, "Fail");
}

#[tokio::test(start_paused = true)]
async fn s89_where_nothing_is_timed_the_type_in_hand_is_known_all_the_same() {
    let listens = Witness::spec("listens", Told::default());
    let tree = lone(&Script::default()).child(listens);
    let system = builder().measure_every(0).start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Say("a")).await.unwrap();
    fails(&system, "app/it").await;
    let report = report(&system);
    assert_eq!(shown(&report.in_hand.unwrap()), ("Fail", None, None));
    assert!(report.last_messages.is_empty());
}

#[tokio::test(start_paused = true)]
async fn s89_a_crash_report_of_a_start_has_no_message() {
    let system = start(Supervisor::one_for_one("app")).await;
    let script = Script::default();
    script
        .failing_starts
        .store(1, std::sync::atomic::Ordering::SeqCst);
    let app = system.supervisor("app").unwrap();
    let started = app.start_child(Scripted::spec("it", script)).await;
    let Err(StartChildError::Failed(failure)) = started else {
        panic!("{started:?}");
    };
    let report = failure.crash_report().unwrap();
    assert_eq!(report.cause, StartCause::Order);
    assert!(report.in_hand.is_none() && report.last_messages.is_empty());
    let decisions = failure.decisions();
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].to_string(), "app does without app/it");
}

#[tokio::test(start_paused = true)]
async fn s90_a_report_that_nobody_sees_is_not_made_but_chain_and_history_are_there() {
    // In a process of its own: other tests listen to the log of this one.
    const ALONE: &str = "GREENROOM_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let this = std::thread::current().name().unwrap().to_owned();
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let output = again.env(ALONE, "1").args([&this, "--exact"]).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    let system = builder().start(lone(&Script::default())).await.unwrap();
    fails(&system, "app/it").await;
    let first = failure(&system);
    assert!(first.crash_report().is_none());
    assert_eq!(
        chain(&first),
        ["app restarts app/it at once (1 of 100 in 60s)"]
    );
    let told = Told::listen(&system).await;
    fails(&system, "app/it").await;
    let second = told.ended("app/it");
    let history = &second.crash_report().unwrap().history;
    assert_eq!((history.len(), history[0].incarnation), (1, 1));
}

// ===== the mailbox =====

#[tokio::test(start_paused = true)]
async fn s89_a_crash_report_counts_the_mailbox_by_type() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app").child(Scripted::spec("it", script).mailbox(6));
    let system = start(tree).await;
    let it = system.find::<Scripted>("app/it").unwrap();
    let fails = async {
        sleep(SECOND).await;
        panic!("boom");
    };
    it.tell(awaiting(fails)).await.unwrap();
    settle().await;
    for _ in 0..2 {
        it.tell(Happened(1)).await.unwrap();
        it.tell(Say("a")).await.unwrap();
    }
    // What is asked is of the same type as what is told.
    let asks = it.clone();
    let asked = tokio::spawn(async move { asks.ask(Say("asked")).await });
    settle().await;
    it.tell(Happened(2)).await.unwrap();
    let waits = tokio::spawn(async move { it.tell(Happened(3)).await });
    settle().await;
    sleep(SECOND).await;
    asked.await.unwrap().unwrap();
    waits.await.unwrap().unwrap();
    let report = report(&system);
    assert_eq!((report.queued, report.waiting_senders), (6, 1));
    let types: Vec<_> = report
        .queued_types
        .iter()
        .map(|(name, n)| (short(name), *n))
        .collect();
    assert_eq!(types, [("Happened", 3), ("Say", 3)]);
}

#[tokio::test(start_paused = true)]
async fn s90_of_a_long_queue_a_part_is_counted_by_type() {
    let tree = lone(&Script::default());
    let many = Scripted::spec("many", Script::default()).mailbox(5_000);
    let system = start(tree.child(many)).await;
    let many = system.find::<Scripted>("app/many").unwrap();
    many.tell(Fail("died")).await.unwrap();
    for _ in 0..1_000 {
        many.tell(Say("a")).await.unwrap();
    }
    for _ in 0..2_000 {
        many.tell(Happened(1)).await.unwrap();
    }
    settle().await;
    let report = report(&system);
    assert_eq!(report.queued, 3_000);
    let types: Vec<_> = report
        .queued_types
        .iter()
        .map(|(name, n)| (short(name), *n))
        .collect();
    assert_eq!(types, [("Say", 1_000), ("Happened", 24)]);
}

fn fails_beside() -> Say {
    panic!("beside")
}

#[tokio::test(start_paused = true)]
async fn s89_a_crash_report_of_background_work_sees_the_handler_that_pends() {
    let script = Script::default();
    let (system, it) = alone(&script).await;
    let begins = with(|cx| {
        cx.background(async {
            sleep(SECOND).await;
            fails_beside()
        });
    });
    it.tell(begins).await.unwrap();
    settle().await;
    it.tell(Hold).await.unwrap();
    it.tell(Say("a")).await.unwrap();
    it.tell(Happened(1)).await.unwrap();
    let told = Told::listen(&system).await;
    sleep(2 * SECOND).await;
    script.gate.add_permits(1);
    settle().await;
    let failure = told.ended("app/it");
    let report = failure.crash_report().unwrap();
    let (name, _, begun) = shown(&report.in_hand.unwrap());
    assert_eq!((name, begun), ("Hold", Some(SECOND - MS)));
    assert_eq!(report.queued, 2);
    let types: Vec<_> = report
        .queued_types
        .iter()
        .map(|(name, n)| (short(name), *n))
        .collect();
    assert_eq!(types, [("Happened", 1), ("Say", 1)]);
}

#[tokio::test(start_paused = true)]
async fn s89_a_crash_report_of_who_is_killed_in_a_message_has_it_and_what_waits() {
    let (system, it) = alone(&Script::default()).await;
    it.tell(Hold).await.unwrap();
    it.tell(Say("a")).await.unwrap();
    sleep(3 * SECOND).await;
    it.kill();
    settle().await;
    let report = report(&system);
    assert_eq!(report.failure.kind(), FailureKind::Killed);
    let in_hand = shown(&report.in_hand.unwrap());
    assert_eq!(in_hand, ("Hold", Some(3 * SECOND), Some(3 * SECOND)));
    assert_eq!((report.queued, report.queued_types.len()), (1, 1));
}

// ===== the lives before =====

#[tokio::test(start_paused = true)]
async fn s89_a_crash_report_has_the_history_of_the_lives_before() {
    let (system, it) = alone(&Script::default()).await;
    sleep(SECOND).await;
    fails(&system, "app/it").await;
    assert!(report(&system).history.is_empty());
    sleep(2 * SECOND).await;
    quits(&system, "app/it").await;
    sleep(3 * SECOND).await;
    it.kill();
    sleep(MS).await;
    fails(&system, "app/it").await;
    let history = report(&system).history;
    let lives: Vec<(u64, StartCause, u64)> = history
        .iter()
        .map(|life| (life.incarnation, life.cause, life.ran_for.as_secs()))
        .collect();
    let again = StartCause::Restart;
    assert_eq!(
        lives,
        [(3, again, 3), (2, again, 2), (1, StartCause::Boot, 1)]
    );
    assert_eq!(
        (history[0].ended, history[2].ended),
        (MS, 5 * SECOND + 3 * MS)
    );
    assert_eq!(
        (&history[0].end, &history[1].end),
        (&LifeEnd::Killed, &LifeEnd::Normal)
    );
    let LifeEnd::Failed { kind, text, .. } = &history[2].end else {
        panic!("{:?}", history[2]);
    };
    assert_eq!((*kind, &**text), (FailureKind::Error, "died"));
}

#[tokio::test(start_paused = true)]
async fn s90_the_history_has_eight_lives_at_most_the_latest_first() {
    let (system, it) = alone(&Script::default()).await;
    let long: &'static str = Box::leak("é".repeat(10_000).into_boxed_str());
    for _ in 0..11 {
        it.tell(Fail(long)).await.unwrap();
        settle().await;
    }
    fails(&system, "app/it").await;
    let report = report(&system);
    for life in &report.history {
        assert!(matches!(&life.end, LifeEnd::Failed { text, .. } if text.len() == 512));
    }
    let lives: Vec<u64> = report.history.iter().map(|life| life.incarnation).collect();
    assert_eq!(report.failure.incarnation(), 12);
    assert_eq!(lives, [11, 10, 9, 8, 7, 6, 5, 4]);
}

#[tokio::test(start_paused = true)]
async fn s89_the_history_tells_who_was_taken_along_and_by_whom_a_life_was_wanted() {
    let script = Script::default();
    let app = Supervisor::one_for_all("app")
        .restart_limit(5, 10 * SECOND)
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()))
        .child(Scripted::spec("other", script));
    let system = start(app).await;
    fails(&system, "app/it").await;
    fails(&system, "app/other").await;
    let app = system.supervisor("app").unwrap();
    app.stop_child("it").await.unwrap();
    app.restart_child("it").await.unwrap();
    fails(&system, "app/it").await;
    let lives: Vec<String> = report(&system)
        .history
        .iter()
        .map(|life| format!("{} {} {}", life.incarnation, life.cause.as_str(), life.end))
        .collect();
    assert_eq!(
        lives,
        [
            "3 restart was shut down",
            "2 restart was shut down",
            "1 boot failed handling Fail: died"
        ]
    );
    assert_eq!(report(&system).cause, StartCause::Order);
}

// ===== the chain of decisions =====

/// What was told of failures, and how many decisions there were about each at that moment.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(SupervisionEvent, usize)>>>);

struct Witness(Told);

impl Actor for Witness {
    type Args = Told;
    type Error = Infallible;

    async fn start(told: Told, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<SupervisionEvent>();
        Ok(Witness(told))
    }
}

fn failure_of(event: &SupervisionEvent) -> Option<&Failure> {
    match event {
        SupervisionEvent::Ended {
            reason: greenroom::ExitReason::Failed(failure),
            ..
        } => Some(failure),
        SupervisionEvent::Restarting { failure, .. } | SupervisionEvent::GaveUp { failure, .. } => {
            failure.as_ref()
        }
        _ => None,
    }
}

impl Handler<SupervisionEvent> for Witness {
    async fn handle(
        &mut self,
        event: SupervisionEvent,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        let decisions = failure_of(&event).map_or(0, |failure| failure.decisions().len());
        self.0.0.lock().push((event, decisions));
        Ok(())
    }
}

impl Told {
    async fn listen(system: &System) -> Told {
        let told = Told::default();
        let app = system.supervisor("app").unwrap();
        let witness = Witness::spec("witness", told.clone());
        app.start_child(witness).await.unwrap();
        told
    }

    /// The failure by which this child ended.
    fn ended(&self, path: &str) -> Failure {
        let told = self.0.lock();
        let of = |event: &SupervisionEvent| matches!(event, SupervisionEvent::Ended { child, .. } if child.as_str() == path);
        let events = told.iter().filter(|(event, _)| of(event));
        let mut failures = events.filter_map(|(event, _)| failure_of(event));
        failures.next_back().unwrap().clone()
    }
}

/// What supervisors decided about a failure, as text.
fn chain(failure: &Failure) -> Vec<String> {
    let decisions = failure.decisions();
    decisions.iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn s89_a_failure_has_the_chain_of_decisions_up_to_the_one_that_ended_the_escalation() {
    let it = Scripted::spec("it", Script::default());
    let inner = Supervisor::one_for_one("inner").restart_limit(1, 10 * SECOND);
    let inner = inner.backoff(Backoff::none()).child(it);
    let middle = Supervisor::one_for_one("middle")
        .restart_limit(0, 10 * SECOND)
        .child(inner);
    let told = Told::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(3, 10 * SECOND)
        .backoff(Backoff::exponential(SECOND, SECOND).jitter(0.0))
        .child(Witness::spec("witness", told.clone()))
        .child(middle);
    let system = start(tree).await;
    fails(&system, "app/middle/inner/it").await;
    assert_eq!(
        chain(&failure(&system)),
        ["app/middle/inner restarts app/middle/inner/it at once (1 of 1 in 10s)"]
    );
    fails(&system, "app/middle/inner/it").await;
    let failure = failure(&system);
    assert_eq!(
        chain(&failure),
        [
            "app/middle/inner gives up over app/middle/inner/it (more than 1 in 10s)",
            "app/middle gives up over app/middle/inner (more than 0 in 10s)",
            "app restarts app/middle after 1s (1 of 3 in 10s)",
        ]
    );
    let last = &failure.decisions()[2];
    assert_eq!(
        (last.supervisor.as_str(), last.child.as_str()),
        ("app", "app/middle")
    );
    assert!(matches!(
        last.decided,
        Decided::Restart {
            after: SECOND,
            siblings: 0,
            restarts: 1,
            ..
        }
    ));
    sleep(2 * SECOND).await;
    // Whoever is told of a decision has those up to it; of the end, those that have been made since.
    let told = told.0.lock();
    let decided: Vec<(&str, usize)> = told
        .iter()
        .filter(|(event, _)| failure_of(event).is_some_and(|of| of.incarnation() == 2))
        .filter_map(|(event, decisions)| match event {
            SupervisionEvent::GaveUp { supervisor, .. }
            | SupervisionEvent::Restarting { supervisor, .. } => {
                Some((Path::as_str(supervisor), *decisions))
            }
            _ => None,
        })
        .collect();
    let supervisors: Vec<&str> = decided.iter().map(|(supervisor, _)| *supervisor).collect();
    assert_eq!(supervisors, ["app/middle/inner", "app/middle", "app"]);
    for (n, (_, decisions)) in decided.iter().enumerate() {
        assert!((n + 1..=3).contains(decisions), "{decided:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s89_the_chain_of_a_system_that_ends_goes_up_to_its_root() {
    let it = Scripted::spec("it", Script::default());
    let inner = Supervisor::one_for_one("inner")
        .restart_limit(0, SECOND)
        .child(it);
    let tree = Supervisor::one_for_one("app")
        .restart_limit(0, SECOND)
        .child(inner);
    let system = start(tree).await;
    let it = system.find::<Scripted>("app/inner/it").unwrap();
    it.tell(Panic("boom")).await.unwrap();
    let escalated = system.stopped().await.unwrap_err();
    let failure = escalated.failure().unwrap();
    assert_eq!(
        chain(failure),
        [
            "app/inner gives up over app/inner/it (more than 0 in 1s)",
            "app gives up over app/inner (more than 0 in 1s)",
        ]
    );
    let report = failure.crash_report().unwrap();
    assert_eq!(
        chain(&report.failure),
        chain(failure),
        "it is the same failure"
    );
}

#[tokio::test(start_paused = true)]
async fn s89_what_becomes_of_children_that_are_not_restarted_alone_is_in_the_chain() {
    let script = Script::default();
    let child = |name| Scripted::spec(name, script.clone());
    let tree = Supervisor::one_for_all("app")
        .restart_limit(5, 10 * SECOND)
        .backoff(Backoff::none())
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(child("c1"))
        .child(child("c2").restart(Restart::Temporary))
        .child(child("c3"))
        .child(child("c4").restart(Restart::Temporary).significant());
    let system = start(tree).await;
    fails(&system, "app/c2").await;
    assert_eq!(chain(&failure(&system)), ["app forgets app/c2"]);
    let added = child("c5").restart(Restart::Temporary);
    system
        .supervisor("app")
        .unwrap()
        .start_child(added)
        .await
        .unwrap();
    fails(&system, "app/c3").await;
    assert_eq!(
        chain(&failure(&system)),
        ["app restarts app/c3 and a sibling at once (1 of 5 in 10s)"]
    );
}

#[tokio::test(start_paused = true)]
async fn s89_a_significant_child_that_fails_for_good_ends_its_supervisor_and_the_chain_says_so() {
    let it = Scripted::spec("it", Script::default());
    let inner = Supervisor::one_for_one("inner")
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(it.restart(Restart::Temporary).significant());
    let system =
        start(Supervisor::one_for_one("app").child(inner.restart(Restart::Temporary))).await;
    fails(&system, "app/inner/it").await;
    assert_eq!(
        chain(&failure(&system)),
        ["app/inner is done with app/inner/it"]
    );
}

#[tokio::test(start_paused = true)]
async fn s89_a_start_that_fails_with_its_supervisor_is_in_the_chain_of_each_level() {
    let script = Script::default();
    let it = Scripted::spec("it", script.clone());
    let inner = Supervisor::one_for_one("inner")
        .restart_limit(0, SECOND)
        .child(it);
    let tree = Supervisor::one_for_one("app")
        .restart_limit(1, 10 * SECOND)
        .backoff(Backoff::none())
        .child(inner);
    let system = start(tree).await;
    // It comes up no more.
    script
        .failing_starts
        .store(9, std::sync::atomic::Ordering::SeqCst);
    let it = system.find::<Scripted>("app/inner/it").unwrap();
    it.tell(Fail("died")).await.unwrap();
    let escalated = system.stopped().await.unwrap_err();
    assert_eq!(
        chain(escalated.failure().unwrap()),
        [
            "app/inner does without app/inner/it",
            "app gives up over app/inner (more than 1 in 10s)",
        ]
    );
}

// ===== all of it =====

#[tokio::test(start_paused = true)]
async fn s90_a_crash_report_is_shown_in_a_few_lines_whatever_an_error_says() {
    let tree = Supervisor::one_for_one("app")
        .restart_limit(1, 10 * SECOND)
        .backoff(Backoff::none())
        .child(Scripted::spec("it", Script::default()));
    let system = start(tree).await;
    let it = system.find::<Scripted>("app/it").unwrap();
    sleep(60 * SECOND).await;
    it.tell(Fail("no\nsuch lamp")).await.unwrap();
    sleep(SECOND).await;
    it.tell(Say("a")).await.unwrap();
    sleep(SECOND).await;
    it.tell(Slow(300 * MS)).await.unwrap();
    it.tell(Fail("no\nsuch lamp")).await.unwrap();
    it.tell(Say("b")).await.unwrap();
    it.tell(Happened(1)).await.unwrap();
    it.tell(Happened(2)).await.unwrap();
    let escalated = system.stopped().await.unwrap_err();
    let report = escalated.failure().unwrap().crash_report().unwrap();
    let lines = [
        "app/it (incarnation 2) failed handling Fail: no such lamp",
        "  Scripted, begun by restart, ran for 2.3s",
        "  in hand: Fail, queued 300ms ago, begun 0ns ago",
        "  before it: Slow 300ms ago, Say 1.3s ago",
        "  queued: 3 (2 Happened, 1 Say), and 0 senders wait",
        "  life 1, begun by boot, ran for 60s, ended 2.3s ago: failed handling Fail: no such lamp",
        "  decided: app gives up over app/it (more than 1 in 10s)",
    ];
    assert_eq!(report.to_string(), lines.join("\n"));
}
