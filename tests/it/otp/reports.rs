//! What is to be seen of what supervisors decide: typed events, and records in the log.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{AutoShutdown, Metric, Path, SupervisionEvent};
use greenroom_it::*;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::{DefaultGuard, Subscriber};
use tracing::{Dispatch, Level, Metadata};

use super::{builder, start};
use crate::look::{fails, quits};

const SECOND: Duration = Duration::from_secs(1);
/// The longest text that is let through.
const TEXT_MAX: usize = 512;

// ===== the log =====

/// One record of the log.
#[derive(Clone, Debug)]
struct Record {
    level: Level,
    message: String,
    fields: BTreeMap<&'static str, String>,
}

impl Record {
    fn field(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => drop(self.fields.insert(name, text)),
        }
    }
}

/// All that the runtime logs on this thread while the guard lives.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Record>>>);

impl Records {
    fn listen() -> (Self, DefaultGuard) {
        // As long as there is one listener only, a record that another thread is the first to come by is judged by
        // that thread, which has none, and then nobody ever sees it. So there always are two more.
        static KEPT: OnceLock<[Dispatch; 2]> = OnceLock::new();
        let listener = |records| Listener {
            records,
            spans: AtomicU64::new(1),
        };
        KEPT.get_or_init(|| [(); 2].map(|()| Dispatch::new(listener(Records::default()))));
        let records = Records::default();
        let guard = tracing::subscriber::set_default(listener(records.clone()));
        (records, guard)
    }

    /// Takes all records with this text out.
    fn take(&self, message: &str) -> Vec<Record> {
        let mut records = self.0.lock();
        let (taken, left) = std::mem::take(&mut *records)
            .into_iter()
            .partition(|record| record.message == message);
        *records = left;
        taken
    }

    fn take_one(&self, message: &str) -> Record {
        let mut taken = self.take(message);
        assert_eq!(taken.len(), 1, "{message} {taken:?} of {:?}", self.0.lock());
        taken.remove(0)
    }
}

struct Listener {
    records: Records,
    spans: AtomicU64,
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("greenroom")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut record = Record {
            level: *event.metadata().level(),
            message: String::new(),
            fields: BTreeMap::new(),
        };
        event.record(&mut record);
        self.records.0.lock().push(record);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A supervisor `app` that restarts at once, and allows a few restarts.
fn app() -> Supervisor {
    Supervisor::one_for_one("app")
        .restart_limit(5, 10 * SECOND)
        .backoff(Backoff::none())
}

#[tokio::test(start_paused = true)]
async fn s44_a_start_that_was_ordered_is_reported_at_a_lower_level() {
    let (log, _guard) = Records::listen();
    let script = Script::default();
    let boot = Scripted::spec("boot", script.clone());
    let system = start(app().child(boot)).await.unwrap();
    let level = |child: &str| {
        let records = log.take("Started.");
        let of = |record: &&Record| record.field("child") == child;
        let record = records.iter().find(of).unwrap().clone();
        (record.level, record.field("cause").to_owned())
    };
    assert_eq!(level("app/boot"), (Level::INFO, "boot".to_owned()));

    let app = system.supervisor("app").unwrap();
    let added = Scripted::spec("added", script.clone());
    app.start_child(added).await.unwrap();
    assert_eq!(level("app/added"), (Level::DEBUG, "order".to_owned()));
    app.stop_child("added").await.unwrap();
    app.restart_child("added").await.unwrap();
    assert_eq!(level("app/added"), (Level::DEBUG, "order".to_owned()));

    fails(&system, "app/added").await;
    assert_eq!(level("app/added"), (Level::INFO, "restart".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn s89_a_report_tells_supervisor_context_reason_and_offender() {
    let (log, _guard) = Records::listen();
    let script = Script::default();
    let tree = app().restart_limit(1, 10 * SECOND);
    let system = start(tree.child(Scripted::spec("it", script.clone())))
        .await
        .unwrap();
    let started = log.take("Started.");
    let it = started.iter().find(|r| r.field("child") == "app/it");
    assert_eq!(it.unwrap().field("supervisor"), "app");

    fails(&system, "app/it").await;
    let report = log.take_one("Restarting.");
    assert_eq!(report.level, Level::WARN);
    assert_eq!(report.field("supervisor"), "app");
    assert_eq!(report.field("context"), "child_terminated");
    assert_eq!(report.field("child"), "app/it");
    assert_eq!(report.field("reason"), "failed handling Fail: died");
    assert_eq!(
        (report.field("restarts"), report.field("limit")),
        ("1", "1")
    );

    let added = app_start(&system, Scripted::spec("bad", failing(&script))).await;
    assert!(added.is_err());
    let report = log.take_one("Did not start.");
    assert_eq!(report.field("context"), "start_error");
    assert_eq!(report.field("child"), "app/bad");
    assert_eq!(report.field("reason"), "failed starting: no luck");

    fails(&system, "app/it").await;
    let report = log.take_one("Restart limit used up, giving up.");
    assert_eq!(report.level, Level::ERROR);
    assert_eq!(report.field("context"), "shutdown");
    assert_eq!(report.field("supervisor"), "app");
    assert_eq!(report.field("child"), "app/it");
    assert_eq!(report.field("reason"), "failed handling Fail: died");
    assert!(log.take("Restarting.").is_empty());
}

async fn app_start(system: &System, spec: Spec<Scripted>) -> Result<(), String> {
    let app = system.supervisor("app").unwrap();
    let started = app.start_child(spec).await;
    started.map(drop).map_err(|error| error.to_string())
}

/// A script whose next start fails.
fn failing(script: &Script) -> Script {
    let script = Script {
        failing_starts: Arc::default(),
        ..script.clone()
    };
    script.failing_starts.store(1, Ordering::SeqCst);
    script
}

#[tokio::test(start_paused = true)]
async fn s90_a_text_in_a_report_is_one_line_and_bounded() {
    let (log, _guard) = Records::listen();
    let it = Scripted::spec("it", Script::default());
    let system = start(app().child(it)).await.unwrap();
    let long: &'static str = Box::leak("no\nlamp\r\n".repeat(10_000).into_boxed_str());
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Fail(long)).await.unwrap();
    settle().await;
    let records = [
        (log.take_one("Actor failed."), "error"),
        (log.take_one("Restarting."), "reason"),
    ];
    for _ in 0..3 {
        it.tell(Fail(long)).await.unwrap();
        settle().await;
    }
    let history = log.take("Actor failed.").pop().unwrap();
    for (record, name) in records.into_iter().chain([(history, "history")]) {
        let text = record.field(name);
        assert!(text.len() <= TEXT_MAX, "{} bytes", text.len());
        assert!(text.len() > TEXT_MAX - 10, "{} bytes", text.len());
        assert!(!text.contains(['\n', '\r']) && text.contains("no lamp"));
        assert!(text.ends_with('…'), "it tells that there is more");
    }
}

#[tokio::test(start_paused = true)]
async fn s89_the_record_of_a_failure_has_the_crash_report() {
    let (log, _guard) = Records::listen();
    let it = Scripted::spec("it", Script::default());
    let system = builder().measure_every(1).start(app().child(it)).await;
    let system = system.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    tokio::time::sleep(SECOND).await;
    it.tell(Say("a")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    it.tell(Fail("died")).await.unwrap();
    it.tell(Say("a")).await.unwrap();
    it.tell(Happened(1)).await.unwrap();
    settle().await;
    let record = log.take_one("Actor failed.");
    assert_eq!(record.level, Level::ERROR);
    for (field, says) in [
        ("actor", "app/it"),
        ("cause", "boot"),
        ("ran_for", "2s"),
        ("in_hand", "Fail, queued 0ns ago, begun 0ns ago"),
        ("last_messages", "Say 1s ago"),
        ("queued", "2"),
        ("queued_types", "1 Happened, 1 Say"),
        ("waiting_senders", "0"),
    ] {
        assert_eq!(record.field(field), says, "{field}");
    }
    assert!(!record.fields.contains_key("history"));
    tokio::time::sleep(SECOND - Duration::from_millis(1)).await;
    fails(&system, "app/it").await;
    let record = log.take_one("Actor failed.");
    assert_eq!(
        record.field("history"),
        "1, begun by boot, ran for 2s, ended 1s ago: failed handling Fail: died"
    );
}

#[tokio::test(start_paused = true)]
async fn s89_the_records_of_an_escalation_have_the_chain_of_decisions() {
    let (log, _guard) = Records::listen();
    let it = Scripted::spec("it", Script::default());
    let tree = Supervisor::one_for_one("top")
        .backoff(Backoff::none())
        .child(app().restart_limit(0, SECOND).child(it));
    let system = start(tree).await.unwrap();
    fails(&system, "top/app/it").await;
    let gave_up = log.take_one("Restart limit used up, giving up.");
    assert!(!gave_up.fields.contains_key("decisions"), "it is the first");
    let record = log.take_one("Restarting.");
    assert_eq!(
        record.field("decisions"),
        "top/app gives up over top/app/it (more than 0 in 1s); top restarts top/app at once (1 of 1 in 5s)"
    );
}

#[tokio::test(start_paused = true)]
async fn s90_alike_dynamic_offenders_are_told_of_by_their_number() {
    let (log, _guard) = Records::listen();
    let system = start(Supervisor::dynamic("app")).await.unwrap();
    let slow = Script {
        stop_takes: 3600 * SECOND,
        ..Script::default()
    };
    for n in 0..100 {
        let spec = Scripted::spec(format!("c{n:03}"), slow.clone()).stop_within(SECOND);
        app_start(&system, spec).await.unwrap();
    }
    system.stop().await;
    let report = log.take_one("Did not stop in order.");
    assert!(report.field("child").starts_with("app/c"), "one of them");
    assert_eq!(report.field("children"), "100");
}

/// How a [`Leaver`] ends when it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    AsTold,
    Normally,
    ForAReason,
    Failing(&'static str),
    Late,
}

struct Leaver(Leave);

impl Actor for Leaver {
    type Args = Leave;
    type Error = &'static str;

    async fn start(how: Leave, _: &mut Context<Self>) -> Result<Self, &'static str> {
        Ok(Leaver(how))
    }

    async fn stop(&mut self, cx: &mut Context<Self>) -> Result<(), &'static str> {
        match self.0 {
            Leave::AsTold => {}
            Leave::Normally => cx.stop(),
            Leave::ForAReason => cx.shutdown("moved out"),
            Leave::Failing(why) => return Err(why),
            Leave::Late => tokio::time::sleep(3600 * SECOND).await,
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn x07_who_is_stopped_and_does_not_end_as_told_is_reported() {
    let (log, _guard) = Records::listen();
    let ways = [
        (Leave::AsTold, None, false),
        (Leave::Normally, Some("ended normally"), false),
        (Leave::ForAReason, Some("was shut down: moved out"), false),
        (Leave::Failing("no"), Some("failed stopping: no"), true),
        (Leave::Late, Some("was killed"), true),
    ];
    for (how, told, also_of_others) in ways {
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            let system = start(app()).await.unwrap();
            let app = system.supervisor("app").unwrap();
            let spec = Leaver::spec("it", how).restart(restart);
            app.start_child(spec.stop_within(SECOND)).await.unwrap();
            app.stop_child("it").await.unwrap();
            let late = log.take("Did not stop within its deadline, cutting it off.");
            assert_eq!(late.len(), usize::from(how == Leave::Late));
            let reports = log.take("Did not stop in order.");
            let is_told = restart == Restart::Permanent || also_of_others;
            let Some(reason) = told.filter(|_| is_told) else {
                assert!(reports.is_empty(), "{how:?} {restart}: {reports:?}");
                continue;
            };
            assert_eq!(reports.len(), 1, "{how:?} {restart}");
            let report = &reports[0];
            assert_eq!(report.level, Level::WARN);
            assert_eq!(report.field("supervisor"), "app");
            assert_eq!(report.field("context"), "shutdown_error");
            assert_eq!(report.field("child"), "app/it");
            assert_eq!(report.field("reason"), reason);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn x07_who_is_killed_by_order_is_not_blamed_for_it() {
    let (log, _guard) = Records::listen();
    let it = Leaver::spec("it", Leave::AsTold).stop_within(Duration::ZERO);
    let system = start(app().child(it)).await.unwrap();
    system.stop().await;
    assert!(log.take("Did not stop in order.").is_empty());
}

#[tokio::test(start_paused = true)]
async fn x08_those_that_stop_together_are_reported_by_how_they_ended() {
    let (log, _guard) = Records::listen();
    let system = start(Supervisor::dynamic("app")).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let ways = [
        Leave::AsTold,
        Leave::Late,
        Leave::Failing("one"),
        Leave::Failing("two"),
        Leave::Late,
        Leave::Failing("three"),
        Leave::Normally,
    ];
    for (n, how) in ways.into_iter().enumerate() {
        let spec = Leaver::spec(format!("c{n}"), how).restart(Restart::Transient);
        app.start_child(spec.stop_within(SECOND)).await.unwrap();
    }
    let before = tokio::time::Instant::now();
    system.stop().await;
    assert_eq!(before.elapsed(), SECOND, "one deadline for all");
    let reports = log.take("Did not stop in order.");
    let mut shown: Vec<(&str, &str)> = reports
        .iter()
        .map(|report| (report.field("children"), report.field("reason")))
        .collect();
    shown.sort_unstable();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!(shown[0], ("2", "was killed"));
    // Which of them was heard of first is the scheduler's affair.
    let (children, reason) = shown[1];
    assert!(children == "3" && reason.starts_with("failed stopping: "));
}

#[tokio::test(start_paused = true)]
async fn s89_the_part_of_the_limit_that_is_used_is_measured() {
    let used = |system: &System| number(&system.scrape(), Metric::SupervisorIntensity, &[]);
    let script = Script::default();
    let calm = Supervisor::one_for_one("calm").child(Scripted::spec("it", script.clone()));
    let system = start(app().child(calm).child(Scripted::spec("it", script)))
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(used(&system));
        fails(&system, "app/it").await;
    }
    assert_eq!(seen, [0.0, 0.2, 0.4]);
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!(used(&system), 0.0, "the window has slid");
}

#[tokio::test(start_paused = true)]
async fn s89_each_decision_is_counted() {
    let script = Script::default();
    let tree = Supervisor::one_for_all("app")
        .restart_limit(1, 10 * SECOND)
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()))
        .child(Scripted::spec("along", script.clone()));
    let tree = Supervisor::one_for_one("top")
        .backoff(Backoff::none())
        .child(tree);
    let system = start(tree).await.unwrap();
    let counted = |decision: &str| {
        let labels = [("decision", decision)];
        number(&system.scrape(), Metric::SupervisorDecisions, &labels)
    };
    assert_eq!(counted("restart"), 0.0);
    fails(&system, "top/app/it").await;
    assert_eq!(counted("restart"), 1.0, "a group counts once");
    fails(&system, "top/app/it").await;
    assert_eq!((counted("give_up"), counted("restart")), (1.0, 2.0));
    let app = system.supervisor("top/app").unwrap();
    app.stop_child("it").await.unwrap();
    app.remove_child("it").await.unwrap();
    app.set_max_children(7).await.unwrap();
    assert_eq!((counted("order"), counted("change")), (2.0, 1.0));
    assert_eq!((counted("keep_down"), counted("forget")), (1.0, 1.0));
}

// ===== events =====

/// Writes down what supervisors decide.
struct Witness(Script);

impl Actor for Witness {
    type Args = Script;
    type Error = Infallible;

    async fn start(script: Script, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<SupervisionEvent>();
        Ok(Witness(script))
    }
}

impl Handler<Hold> for Witness {
    async fn handle(&mut self, _: Hold, _: &mut Context<Self>) -> Result<(), Infallible> {
        if let Ok(permit) = self.0.gate.acquire().await {
            permit.forget();
        }
        Ok(())
    }
}

impl Handler<SupervisionEvent> for Witness {
    async fn handle(
        &mut self,
        event: SupervisionEvent,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.0.log.add(shown(&event));
        Ok(())
    }
}

fn shown(event: &SupervisionEvent) -> String {
    use SupervisionEvent::*;
    match event {
        Started {
            child,
            incarnation,
            cause,
            ..
        } => format!("{child} {incarnation} started: {}", cause.as_str()),
        Ended {
            child,
            incarnation,
            reason,
            ..
        } => format!("{child} {incarnation} {reason}"),
        Restarting {
            supervisor,
            child,
            after,
            restarts,
            limit,
            siblings,
            ..
        } => {
            let siblings: Vec<&str> = siblings.iter().map(Path::as_str).collect();
            format!(
                "{supervisor} restarts {child} after {after:?}, {restarts} of {limit}, with {siblings:?}"
            )
        }
        KeptDown {
            supervisor, child, ..
        } => format!("{supervisor} keeps {child} down"),
        Forgotten {
            supervisor, child, ..
        } => format!("{supervisor} forgets {child}"),
        StartFailed { child, reason, .. } => format!("{child} did not start: {reason}"),
        StopTimedOut { child, .. } => format!("{child} is late"),
        StopFailed { child, reason, .. } => format!("{child} did not stop in order: {reason}"),
        GaveUp {
            supervisor, child, ..
        } => format!("{supervisor} gives up over {child}"),
        AutoShutdown {
            supervisor, child, ..
        } => format!("{supervisor} is done with {child}"),
        Ordered {
            supervisor,
            order,
            by,
            ..
        } => match by {
            Some(by) => format!("{by} wants of {supervisor}: {order}"),
            None => format!("wanted of {supervisor}: {order}"),
        },
        Paused { child, by, .. } => format!("{child} is held still{}", whose(by)),
        Resumed { child, by, .. } => format!("{child} goes on{}", whose(by)),
        other => format!("{other:?}"),
    }
}

fn whose(by: &Option<Path>) -> String {
    by.as_ref()
        .map_or_else(String::new, |by| format!(" by {by}"))
}

/// A root that watches, and `app` below it.
async fn watched(app: Supervisor) -> (System, Log) {
    let script = Script::default();
    let log = script.log.clone();
    let tree = Supervisor::one_for_one("top")
        .backoff(Backoff::none())
        .child(Witness::spec("witness", script))
        .child(app);
    let system = start(tree).await.unwrap();
    settle().await;
    (system, log)
}

#[tokio::test(start_paused = true)]
async fn s89_every_decision_is_told_to_whoever_subscribed() {
    let it = Scripted::spec("it", Script::default());
    let tree = app().restart_limit(1, 10 * SECOND).child(it);
    let (system, log) = watched(tree).await;
    assert_eq!(
        log.take(),
        [
            "top/witness 1 started: boot",
            "top/app/it 1 started: boot",
            "top/app 1 started: boot",
            "top 1 started: boot",
        ]
    );
    fails(&system, "top/app/it").await;
    assert_eq!(
        log.take(),
        [
            "top/app/it 1 failed handling Fail: died",
            "top/app restarts top/app/it after 0ns, 1 of 1, with []",
            "top/app/it 2 started: restart",
        ]
    );
    fails(&system, "top/app/it").await;
    assert_eq!(
        log.take(),
        [
            "top/app/it 2 failed handling Fail: died",
            "top/app gives up over top/app/it",
            "top/app 1 was shut down",
            "top restarts top/app after 0ns, 1 of 1, with []",
            "top/app/it 3 started: boot",
            "top/app 2 started: restart",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn s89_orders_are_told_with_what_becomes_of_them() {
    let script = Script::default();
    let tree = app().child(Scripted::spec("it", script.clone()));
    let (system, log) = watched(tree).await;
    let app = system.supervisor("top/app").unwrap();
    log.clear();
    app.stop_child("it").await.unwrap();
    app.restart_child("it").await.unwrap();
    let added = Scripted::spec("added", script.clone()).restart(Restart::Temporary);
    app.start_child(added).await.unwrap();
    app.set_limit(0, SECOND).await.unwrap();
    quits(&system, "top/app/added").await;
    app.stop_child("it").await.unwrap();
    app.remove_child("it").await.unwrap();
    settle().await;
    assert_eq!(
        log.take(),
        [
            "wanted of top/app: stop top/app/it",
            "top/app/it 1 was shut down",
            "top/app keeps top/app/it down",
            "wanted of top/app: restart top/app/it",
            "top/app/it 2 started: order",
            "wanted of top/app: start top/app/added",
            "top/app/added 1 started: order",
            "wanted of top/app: allow 0 restarts within 1s",
            "top/app/added 1 ended normally",
            "top/app forgets top/app/added",
            "wanted of top/app: stop top/app/it",
            "top/app/it 2 was shut down",
            "top/app keeps top/app/it down",
            "wanted of top/app: remove top/app/it",
            "top/app forgets top/app/it",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn s89_who_is_held_still_is_told_of_and_who_did_it() {
    let script = Script::default();
    let tree = app()
        .child(Scripted::spec("it", script.clone()))
        .child(Scripted::spec("other", script.clone()));
    let (system, log) = watched(tree).await;
    let (records, _guard) = Records::listen();
    let it = system.find::<Scripted>("top/app/it").unwrap();
    let other = system.find::<Scripted>("top/app/other").unwrap();
    log.clear();
    it.resume();
    it.pause();
    it.pause();
    let held = it.clone();
    other.ask(with(move |_| held.resume())).await.unwrap();
    system
        .supervisor("top")
        .unwrap()
        .pause_child("app")
        .unwrap();
    settle().await;
    let mut told = log.take();
    let below = told.split_off(told.len() - 2);
    assert_eq!(
        told,
        [
            "top/app/it is held still",
            "top/app/it goes on by top/app/other",
        ]
    );
    for name in ["it", "other"] {
        assert!(
            below.contains(&format!("top/app/{name} is held still")),
            "{below:?}"
        );
    }
    let paused = records.take("Paused.");
    assert_eq!(paused.len(), 3);
    assert!(paused.iter().all(|paused| paused.level == Level::INFO));
    assert_eq!(paused[0].field("child"), "top/app/it");
    assert_eq!(records.take_one("Resumed.").field("by"), "top/app/other");
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn s89_whoever_is_taken_along_is_told_of() {
    let script = Script::default();
    let child = |name| Scripted::spec(name, script.clone());
    let tree = Supervisor::one_for_all("app")
        .restart_limit(5, 10 * SECOND)
        .backoff(Backoff::none())
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(child("c1"))
        .child(child("c2").restart(Restart::Transient).significant())
        .child(child("c3"));
    let (system, log) = watched(tree).await;
    log.clear();
    fails(&system, "top/app/c1").await;
    let told = log.take();
    let line =
        "top/app restarts top/app/c1 after 0ns, 1 of 5, with [\"top/app/c2\", \"top/app/c3\"]";
    assert_eq!(told[..2], ["top/app/c1 1 failed handling Fail: died", line]);
    quits(&system, "top/app/c2").await;
    let told = log.take();
    assert_eq!(
        told[..2],
        [
            "top/app/c2 2 ended normally",
            "top/app is done with top/app/c2"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn s90_a_witness_that_is_slow_holds_nobody_up_and_misses_the_rest() {
    let script = Script::default();
    let it = Scripted::spec("it", Script::default());
    let tree = app()
        .restart_limit(100, SECOND)
        .child(Witness::spec("witness", script.clone()).mailbox(2))
        .child(it);
    let system = start(tree).await.unwrap();
    settle().await;
    let witness = system.find::<Witness>("app/witness").unwrap();
    witness.tell(Hold).await.unwrap();
    settle().await;
    for _ in 0..10 {
        fails(&system, "app/it").await;
    }
    assert_eq!(crate::look::running(&system, "app")[0].1, 11);
    script.gate.add_permits(1);
    settle().await;
    let letters = system.dead_letters();
    let missed = |letter: &&greenroom::DeadLetter| letter.message == "SupervisionEvent";
    assert_eq!(letters.iter().filter(missed).count(), 30 - 2);
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
}
