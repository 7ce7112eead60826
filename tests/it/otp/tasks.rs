//! Tasks as Elixir has them: work beside an actor, its result, and how the two share their ends.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_core::Stream;
use greenroom::prelude::*;
use greenroom::{AskError, StartChildError, StopChildError, SupervisorRef};
use greenroom_it::*;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::start;

const SECOND: Duration = Duration::from_secs(1);

/// `app/it`, and the dynamic supervisor `app/tasks`.
async fn some(script: &Script) -> (System, ActorRef<Scripted>, SupervisorRef) {
    let tree = Supervisor::one_for_one("app")
        .restart_limit(100, SECOND)
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()))
        .child(Supervisor::dynamic("tasks").backoff(Backoff::none()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let tasks = system.supervisor("app/tasks").unwrap();
    settle().await;
    script.log.clear();
    (system, it, tasks)
}

fn monitors(other: &ActorRef<Scripted>) -> Do {
    let other = other.clone();
    with(move |cx| drop(cx.monitor(&other)))
}

#[tokio::test(start_paused = true)]
async fn ts01_a_task_of_an_actor_brings_one_result_and_its_failure_is_the_actor_s() {
    let script = Script::default();
    let (system, it, _tasks) = some(&script).await;
    let works = |text| {
        with(move |cx| {
            cx.background(async move {
                sleep(SECOND).await;
                assert_ne!(text, "boom");
                Say(text)
            });
        })
    };
    it.tell(works("done")).await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!(script.log.take(), ["it: done"]);
    it.tell(works("boom")).await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!(script.log.take(), ["it: start 2"]);
    // And it ends with the actor.
    it.ask(works("too late")).await.unwrap();
    it.kill();
    sleep(10 * SECOND).await;
    assert_eq!(script.log.take(), ["it: start 3"]);
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn ts01_a_task_that_fails_alone_is_a_temporary_child_and_monitored() {
    let script = Script::default();
    let (system, it, tasks) = some(&script).await;
    let spec = |name| Scripted::spec(name, Script::default()).restart(Restart::Temporary);
    for name in ["one", "two"] {
        let task = tasks.start_child(spec(name)).await.unwrap();
        it.ask(monitors(&task)).await.unwrap();
        let work = awaiting(async move {
            sleep(SECOND).await;
            assert_ne!(name, "two", "boom");
        });
        task.tell(work).await.unwrap();
        task.tell(Quit).await.unwrap();
    }
    sleep(10 * SECOND).await;
    let mut log = script.log.take();
    log.sort();
    assert_eq!(
        log[0],
        "it: down app/tasks/one (incarnation 1) ended normally"
    );
    assert!(log[1].starts_with("it: down app/tasks/two (incarnation 1) failed handling Await"));
    assert_eq!(log.len(), 2);
    // Started and forgotten: nobody hears of it.
    let task = tasks.start_child(spec("three")).await.unwrap();
    task.tell(Quit).await.unwrap();
    sleep(10 * SECOND).await;
    assert!(script.log.take().is_empty());
    assert!(system.find::<Scripted>("app/tasks/three").is_err());
}

#[tokio::test(start_paused = true)]
async fn ts02_a_task_has_the_stop_deadline_and_the_restart_type_of_its_spec() {
    let script = Script::default();
    let (_system, it, tasks) = some(&script).await;
    let spec = Scripted::spec("brutal", Script::default()).stop_within(Duration::ZERO);
    let brutal = tasks.start_child(spec).await.unwrap();
    it.ask(monitors(&brutal)).await.unwrap();
    brutal.tell(Slow(100 * SECOND)).await.unwrap();
    settle().await;
    let before = Instant::now();
    tasks.stop_child("brutal").await.unwrap();
    assert!(before.elapsed() < SECOND / 5);
    settle().await;
    assert_eq!(
        script.log.take(),
        ["it: down app/tasks/brutal (incarnation 1) was killed"]
    );
    let spec = Scripted::spec("again", script.clone()).restart(Restart::Permanent);
    let again = tasks.start_child(spec).await.unwrap();
    again.ask(Quit).await.unwrap();
    again.ask(Echo(1)).await.unwrap();
    assert_eq!(
        script.log.take(),
        [
            "again: start 1",
            "again: quit",
            "again: stop",
            "again: start 2"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn ts03_an_actor_whose_tasks_have_no_place_left_is_told_so() {
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", Script::default()))
        .child(Supervisor::dynamic("tasks").max_children(1));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let tasks = system.supervisor("app/tasks").unwrap();
    let spec = |name: &str| Scripted::spec(name, Script::default()).restart(Restart::Temporary);
    let begins = awaiting(async move {
        let first = tasks.start_child(spec("first")).await.unwrap();
        let error = tasks.start_child(spec("second")).await.unwrap_err();
        assert!(
            matches!(error, StartChildError::MaxChildren { max: 1, .. }),
            "{error}"
        );
        // With its end there is a place again.
        first.stop().await.unwrap();
        tasks.start_child(spec("second")).await.unwrap();
    });
    it.ask(begins).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ts04_who_asked_whom_is_known_through_all_levels() {
    let (_system, it, tasks) = some(&Script::default()).await;
    let spec = |name| Scripted::spec(name, Script::default());
    let middle = tasks.start_child(spec("middle")).await.unwrap();
    let last = tasks.start_child(spec("last")).await.unwrap();
    let (first, next) = (it.clone(), last.clone());
    let asks_first = awaiting(async move {
        let Err(AskError::Cycle { cycle, .. }) = first.ask(Echo(1)).await else {
            panic!("nobody knows who waits");
        };
        let cycle: Vec<&str> = cycle.iter().map(greenroom::Path::as_str).collect();
        assert_eq!(cycle, ["app/tasks/last", "app/it", "app/tasks/middle"]);
    });
    let asks_last = awaiting(async move { next.ask(asks_first).await.unwrap() });
    let asks_middle = awaiting(async move { middle.ask(asks_last).await.unwrap() });
    it.ask(asks_middle).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ts05_who_gives_a_task_up_gets_no_late_result() {
    let script = Script::default();
    let (system, it, _tasks) = some(&script).await;
    let (send, task) = oneshot::channel();
    let works = with(move |cx| {
        let task = cx.background(async {
            sleep(3 * SECOND).await;
            Say("late")
        });
        let _ = send.send(task);
    });
    it.tell(works).await.unwrap();
    let task = task.await.unwrap();
    sleep(SECOND).await;
    task.cancel();
    sleep(10 * SECOND).await;
    assert!(script.log.take().is_empty());
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn ts05_a_failure_of_what_is_awaited_is_told_as_it_was() {
    let (_system, _it, tasks) = some(&Script::default()).await;
    for (name, how) in [("error", false), ("panic", true)] {
        let spec = Scripted::spec(name, Script::default()).restart(Restart::Temporary);
        let task = tasks.start_child(spec).await.unwrap();
        let error = match how {
            false => task.ask(Fail("no luck")).await.unwrap_err().to_string(),
            true => task.ask(Panic("boom")).await.unwrap_err().to_string(),
        };
        let text = ["no luck", "it panicked: boom"][usize::from(how)];
        assert!(error.ends_with(text), "{error}");
    }
}

/// Counts itself for as long as it exists.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Job = Pin<Box<dyn Future<Output = &'static str> + Send>>;

/// Jobs that run at the same time, and their results in the order of the jobs.
struct InOrder(VecDeque<Result<&'static str, Job>>);

impl Stream for InOrder {
    type Item = Say;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Say>> {
        for job in &mut self.0 {
            if let Err(running) = job
                && let Poll::Ready(result) = running.as_mut().poll(cx)
            {
                *job = Ok(result);
            }
        }
        match self.0.front() {
            None => Poll::Ready(None),
            Some(Err(_)) => Poll::Pending,
            Some(Ok(_)) => {
                let first = self.0.pop_front().and_then(Result::ok);
                Poll::Ready(first.map(Say))
            }
        }
    }
}

fn jobs(seconds: &[(u32, &'static str)], running: &Arc<AtomicUsize>) -> InOrder {
    let jobs = seconds.iter().map(|&(seconds, result)| {
        let counted = Counted::new(running);
        let job: Job = Box::pin(async move {
            sleep(SECOND * seconds).await;
            drop(counted);
            result
        });
        Err(job)
    });
    InOrder(jobs.collect())
}

#[tokio::test(start_paused = true)]
async fn ts06_results_of_a_stream_come_in_the_order_of_its_input_the_slowest_first_too() {
    let script = Script::default();
    let (_system, it, _tasks) = some(&script).await;
    let running = Arc::default();
    let stream = jobs(&[(3, "slowest"), (1, "a"), (2, "b")], &running);
    let before = Instant::now();
    it.ask(with(move |cx| drop(cx.attach(stream))))
        .await
        .unwrap();
    sleep(3 * SECOND + SECOND / 2).await;
    assert_eq!(script.log.take(), ["it: slowest", "it: a", "it: b"]);
    assert!(before.elapsed() < 4 * SECOND, "one after the other");
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn ts06_a_stream_that_is_given_up_ends_what_it_had_begun_and_leaves_no_message() {
    let script = Script::default();
    let (system, it, _tasks) = some(&script).await;
    let running = Arc::default();
    let stream = jobs(&[(1, "first"), (2, "second"), (100, "third")], &running);
    let (send, task) = oneshot::channel();
    let attaches = with(move |cx| {
        let _ = send.send(cx.attach(stream));
    });
    it.ask(attaches).await.unwrap();
    let task = task.await.unwrap();
    sleep(SECOND + SECOND / 2).await;
    assert_eq!(running.load(Ordering::SeqCst), 2);
    task.cancel();
    sleep(10 * SECOND).await;
    assert_eq!(running.load(Ordering::SeqCst), 0);
    assert_eq!(script.log.take(), ["it: first"]);
    assert!(system.ledger().is_balanced() && it.depth() == 0);
}

#[tokio::test(start_paused = true)]
async fn ts07_a_task_that_was_stopped_is_not_found_a_second_time() {
    let (_system, _it, tasks) = some(&Script::default()).await;
    let spec = Scripted::spec("one", Script::default());
    tasks.start_child(spec).await.unwrap();
    tasks.stop_child("one").await.unwrap();
    let error = tasks.stop_child("one").await.unwrap_err();
    assert!(matches!(error, StopChildError::NotFound(_)), "{error}");
}
