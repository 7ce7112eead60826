//! How lives end, as those hear who watch them: each with its own reason, whoever ordered the end.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom_it::*;
use tokio::time::Instant;

use super::start;
use crate::look::{life, running};

const SECOND: Duration = Duration::from_secs(1);

/// How a [`Leaver`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Normal,
    Shutdown,
    Because(&'static str),
    Error(&'static str),
}

const ALL: [How; 4] = [
    How::Normal,
    How::Shutdown,
    How::Because("test"),
    How::Error("other"),
];

impl How {
    /// What is heard of it from one who ends so when it is stopped.
    fn when_stopped(self) -> String {
        match self {
            How::Normal => "ended normally".to_owned(),
            How::Shutdown => "was shut down".to_owned(),
            How::Because(why) => format!("was shut down: {why}"),
            How::Error(why) => format!("failed stopping: {why}"),
        }
    }

    /// The same from one who ends by itself.
    fn by_itself(self) -> String {
        match self {
            How::Error(why) => format!("failed handling End: {why}"),
            other => other.when_stopped(),
        }
    }
}

/// A child that ends with a reason of its own: when it is told to, and when it is stopped.
struct Leaver(How);

impl Leaver {
    fn leave(&self, cx: &mut Context<Self>) -> Result<(), BoxError> {
        match self.0 {
            How::Normal => cx.stop(),
            How::Shutdown => cx.shutdown(""),
            How::Because(why) => cx.shutdown(why),
            How::Error(why) => return Err(why.into()),
        }
        Ok(())
    }
}

impl Actor for Leaver {
    type Args = How;
    type Error = BoxError;

    async fn start(how: How, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Leaver(how))
    }

    async fn stop(&mut self, cx: &mut Context<Self>) -> Result<(), BoxError> {
        self.leave(cx)
    }
}

struct End;

impl Message for End {
    type Reply = ();
}

impl Handler<End> for Leaver {
    async fn handle(&mut self, _: End, cx: &mut Context<Self>) -> Result<(), BoxError> {
        self.leave(cx)
    }
}

/// A tree `top` of a witness that outlives all others, and this one.
fn witnessed(tree: Supervisor, script: &Script) -> Supervisor {
    let witness = Scripted::spec("witness", script.clone());
    Supervisor::one_for_one("top").child(witness).child(tree)
}

/// Lets the witness watch these.
async fn watch<A: Actor>(system: &System, watched: &[ActorRef<A>]) {
    let witness = system.find::<Scripted>("top/witness").unwrap();
    for it in watched {
        let it = it.clone();
        let watching = with(move |cx| drop(cx.monitor(&it)));
        witness.ask(watching).await.unwrap();
    }
}

/// What the witness heard: by name how each has ended, sorted.
fn heard(script: &Script) -> Vec<(String, String)> {
    let log = script.log.take();
    let downs = log
        .iter()
        .filter_map(|line| line.strip_prefix("witness: down "));
    let mut heard: Vec<(String, String)> = downs
        .map(|down| {
            let (path, how) = down.split_once(" (incarnation 1) ").unwrap();
            let name = path.rsplit_once('/').unwrap().1;
            (name.to_owned(), how.to_owned())
        })
        .collect();
    heard.sort();
    heard
}

fn said(name: &str, how: &str) -> (String, String) {
    (name.to_owned(), how.to_owned())
}

/// Stops the system; returns how long that took.
async fn stopped(system: &System) -> Duration {
    let before = Instant::now();
    system.stop().await;
    let took = before.elapsed();
    assert!(system.stopped().await.is_ok(), "it was stopped by order");
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    took
}

/// A tree of two children with this deadline, of which the second is busy for far longer, after its stop.
async fn with_a_busy_child(tree: Supervisor, stop_within: Duration) -> Vec<(String, String)> {
    let script = Script::default();
    let system = start(witnessed(tree, &script)).await.unwrap();
    let sup = system.supervisor("top/sup").unwrap();
    let spec = |name: &str| Scripted::spec(name, script.clone());
    let c1 = spec("c1").stop_within(SECOND);
    let c2 = spec("c2").stop_within(stop_within);
    let c1 = sup.start_child(c1).await.unwrap();
    let c2 = sup.start_child(c2).await.unwrap();
    watch(&system, &[c1, c2.clone()]).await;
    c2.tell(Slow(200 * SECOND)).await.unwrap();
    settle().await;
    assert_eq!(stopped(&system).await, stop_within);
    heard(&script)
}

#[tokio::test(start_paused = true)]
async fn s17_who_misses_its_deadline_ends_as_killed_and_its_sibling_in_order() {
    let heard = with_a_busy_child(Supervisor::one_for_one("sup"), SECOND).await;
    assert_eq!(
        heard,
        [said("c1", "was shut down"), said("c2", "was killed")]
    );
}

#[tokio::test(start_paused = true)]
async fn s18_a_dynamic_child_that_misses_its_deadline_ends_as_killed() {
    let heard = with_a_busy_child(Supervisor::dynamic("sup"), SECOND).await;
    assert_eq!(
        heard,
        [said("c1", "was shut down"), said("c2", "was killed")]
    );
}

#[tokio::test(start_paused = true)]
async fn s19_who_has_no_time_to_stop_ends_as_killed() {
    let heard = with_a_busy_child(Supervisor::one_for_one("sup"), Duration::ZERO).await;
    assert_eq!(
        heard,
        [said("c1", "was shut down"), said("c2", "was killed")]
    );
}

#[tokio::test(start_paused = true)]
async fn s21_children_that_end_by_themselves_while_their_supervisor_stops_keep_their_reasons() {
    let script = Script::default();
    let sup = Supervisor::one_for_one("sup").restart_limit(2, Duration::from_secs(3600));
    let system = start(witnessed(sup, &script)).await.unwrap();
    let sup = system.supervisor("top/sup").unwrap();
    let first = Scripted::spec("first", script.clone()).restart(Restart::Temporary);
    let first = sup.start_child(first.stop_within(SECOND)).await.unwrap();
    let (mut leavers, mut expected) = (Vec::new(), vec![said("first", "was shut down")]);
    for restart in [Restart::Temporary, Restart::Transient, Restart::Permanent] {
        for (n, how) in ALL.into_iter().enumerate() {
            let name = format!("{restart}-{n}");
            expected.push(said(&name, &how.by_itself()));
            let spec = Leaver::spec(name, how).restart(restart).stop_within(SECOND);
            leavers.push(sup.start_child(spec).await.unwrap());
        }
    }
    let slow = Script {
        stop_takes: SECOND,
        ..script.clone()
    };
    let last = Scripted::spec("last", slow).restart(Restart::Temporary);
    let last = sup.start_child(last.stop_within(2 * SECOND)).await.unwrap();
    expected.push(said("last", "was shut down"));
    watch(&system, &[first, last]).await;
    watch(&system, &leavers).await;
    script.log.clear();
    let stopping = tokio::spawn({
        let system = system.clone();
        async move { stopped(&system).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    for leaver in &leavers {
        leaver.tell(End).await.unwrap();
    }
    assert_eq!(stopping.await.unwrap(), SECOND, "nobody else took time");
    let heard = heard(&script);
    expected.sort();
    assert_eq!(heard, expected);
    // Nobody was started again, and nobody gave up.
    let families = system.scrape();
    let restarts = number(&families, greenroom::Metric::ActorRestarts, &[]);
    assert_eq!(restarts, 0.0);
}

#[tokio::test(start_paused = true)]
async fn s22_dynamic_children_that_end_with_a_reason_of_their_own_when_stopped_keep_it() {
    for restart in [Restart::Temporary, Restart::Transient, Restart::Permanent] {
        let script = Script::default();
        let system = start(witnessed(Supervisor::dynamic("sup"), &script));
        let system = system.await.unwrap();
        let sup = system.supervisor("top/sup").unwrap();
        let (mut leavers, mut expected) = (Vec::new(), Vec::new());
        for (n, how) in ALL.into_iter().enumerate() {
            let spec = Leaver::spec(n.to_string(), how).restart(restart);
            leavers.push(sup.start_child(spec).await.unwrap());
            expected.push(said(&n.to_string(), &how.when_stopped()));
        }
        watch(&system, &leavers).await;
        assert_eq!(stopped(&system).await, Duration::ZERO);
        assert_eq!(heard(&script), expected, "{restart}");
    }
}

/// Three children of a dynamic supervisor, of which one is busy, after its stop.
async fn three(how: How, stop_within: Duration, restart: Restart) -> [String; 3] {
    let script = Script::default();
    let system = start(witnessed(Supervisor::dynamic("sup"), &script));
    let system = system.await.unwrap();
    let sup = system.supervisor("top/sup").unwrap();
    let mut leavers = Vec::new();
    for name in ["1", "2"] {
        let spec = Leaver::spec(name, how).restart(restart);
        let leaver = sup.start_child(spec.stop_within(stop_within));
        leavers.push(leaver.await.unwrap());
    }
    let busy = Scripted::spec("3", script.clone()).restart(restart);
    let busy = sup
        .start_child(busy.stop_within(stop_within))
        .await
        .unwrap();
    watch(&system, &leavers).await;
    watch(&system, std::slice::from_ref(&busy)).await;
    busy.tell(Slow(SECOND)).await.unwrap();
    settle().await;
    stopped(&system).await;
    let heard: Vec<String> = heard(&script).into_iter().map(|(_, how)| how).collect();
    heard.try_into().unwrap()
}

#[tokio::test(start_paused = true)]
async fn dy09_how_dynamic_children_end_is_their_deadline_s_affair_and_their_own() {
    let oops = How::Because("oops");
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        // No time: nobody is asked.
        let ends = three(oops, Duration::ZERO, restart).await;
        assert_eq!(ends, ["was killed"; 3]);
        // All the time, or enough of it.
        for within in [Duration::MAX, 2 * SECOND] {
            let ends = three(How::Shutdown, within, restart).await;
            assert_eq!(ends, ["was shut down"; 3]);
            let ends = three(oops, within, restart).await;
            let own = "was shut down: oops";
            assert_eq!(ends, [own, own, "was shut down"]);
        }
        // Too little: only for who is busy.
        let ends = three(How::Normal, Duration::from_millis(1), restart).await;
        let own = "ended normally";
        assert_eq!(ends, [own, own, "was killed"]);
    }
}

// ===== the restart types =====

/// Lets a child of this restart type shut itself down, first without a reason and then with one.
///
/// Returns its life after each, if it has one then.
async fn shut_down_twice(restart: Restart) -> [Vec<(String, u64)>; 2] {
    let mut after = [Vec::new(), Vec::new()];
    for (how, after) in [How::Shutdown, How::Because("done")]
        .into_iter()
        .zip(&mut after)
    {
        let script = Script::default();
        let sup = Supervisor::one_for_one("sup")
            .restart_limit(2, Duration::from_secs(3600))
            .backoff(Backoff::none());
        let system = start(witnessed(sup, &script)).await.unwrap();
        let sup = system.supervisor("top/sup").unwrap();
        let spec = Leaver::spec("it", how).restart(restart);
        let it = sup.start_child(spec).await.unwrap();
        watch(&system, std::slice::from_ref(&it)).await;
        it.tell(End).await.unwrap();
        settle().await;
        assert_eq!(heard(&script), [said("it", &how.by_itself())]);
        *after = running(&system, "top/sup");
        if restart == Restart::Temporary {
            // It has left nothing behind: the same spec may be started again.
            sup.start_child(Leaver::spec("it", how)).await.unwrap();
        } else {
            let again = sup.start_child(Leaver::spec("it", how)).await;
            assert!(again.is_err(), "it has its place");
        }
    }
    after
}

#[tokio::test(start_paused = true)]
async fn s48_permanent_child_that_shuts_itself_down_is_restarted() {
    let after = shut_down_twice(Restart::Permanent).await;
    assert_eq!(after, [[life("it", 2)], [life("it", 2)]]);
}

#[tokio::test(start_paused = true)]
async fn s49_transient_child_that_shuts_itself_down_stays_down_in_its_place() {
    let after = shut_down_twice(Restart::Transient).await;
    assert!(after.iter().all(Vec::is_empty));
}

#[tokio::test(start_paused = true)]
async fn s50_temporary_child_that_shuts_itself_down_is_forgotten() {
    let after = shut_down_twice(Restart::Temporary).await;
    assert!(after.iter().all(Vec::is_empty));
}
