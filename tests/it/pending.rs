//! Handlers that wait: woken from anywhere, many at a time, cut short, and failing while they wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenroom::prelude::*;
use greenroom_it::*;
use tokio::sync::oneshot;

use super::start;

/// Counts its drops, or panics at them.
struct Drops(Arc<AtomicUsize>, bool);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        assert!(!self.1, "dropped");
    }
}

async fn pool(n: usize) -> (System, Vec<ActorRef<Scripted>>, Script) {
    let script = Script::default();
    let mut tree = Supervisor::one_for_one("app")
        .restart_limit(1000, Duration::from_secs(60))
        .backoff(Backoff::none());
    for i in 0..n {
        tree = tree.child(Scripted::spec(i.to_string(), script.clone()));
    }
    let system = start(tree).await.unwrap();
    let find = |i: usize| system.find::<Scripted>(&format!("app/{i}")).unwrap();
    let all = (0..n).map(find).collect();
    (system, all, script)
}

#[tokio::test]
async fn many_handlers_wait_at_once_and_are_woken_from_foreign_threads() {
    const N: usize = 200;
    let (system, all, script) = pool(N).await;
    for round in 0..5 {
        let mut wakers = Vec::new();
        for it in &all {
            let (wake, woken) = oneshot::channel::<()>();
            it.tell(awaiting(async move { drop(woken.await) }))
                .await
                .unwrap();
            it.tell(Hold).await.unwrap();
            wakers.push(wake);
        }
        assert_eq!(script.held.available_permits(), 0, "round {round}");
        let thread = std::thread::spawn(move || {
            for wake in wakers {
                let _ = wake.send(());
            }
        });
        script.held.acquire_many(N as u32).await.unwrap().forget();
        thread.join().unwrap();
        script.gate.add_permits(N);
    }
    for it in &all {
        caught_up(it).await;
    }
    assert_eq!(system.ledger().handled, 11 * N as u64);
}

#[tokio::test]
async fn a_handler_waits_for_timers_and_tasks_of_tokio_again_and_again() {
    let (system, all, _script) = pool(8).await;
    let asks: Vec<_> = all
        .iter()
        .cloned()
        .map(|it| {
            tokio::spawn(async move {
                it.ask(awaiting(async {
                    for _ in 0..10 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        tokio::task::yield_now().await;
                        tokio::spawn(async {}).await.unwrap();
                    }
                }))
                .await
            })
        })
        .collect();
    for ask in asks {
        ask.await.unwrap().unwrap();
    }
    assert_eq!(system.ledger().handled, 8);
}

#[tokio::test]
async fn what_a_handler_waits_with_is_dropped_when_it_is_killed_also_if_that_panics() {
    for panics in [false, true] {
        let script = Script::default();
        let spec = Scripted::spec("it", script.clone()).stop_within(Duration::ZERO);
        let system = start(Supervisor::one_for_one("app").child(spec))
            .await
            .unwrap();
        let it = system.find::<Scripted>("app/it").unwrap();
        let (drops, entered) = (Arc::default(), Arc::clone(&script.held));
        let held = Drops(Arc::clone(&drops), panics);
        it.tell(awaiting(async move {
            let _held = held;
            entered.add_permits(1);
            std::future::pending().await
        }))
        .await
        .unwrap();
        script.held.acquire().await.unwrap().forget();
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        system.stop().await;
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        let ledger = system.ledger();
        assert_eq!((ledger.handled, ledger.failed), (0, 1), "{ledger}");
    }
}

#[tokio::test]
async fn a_panic_after_a_wait_is_a_failure_like_any_other() {
    let (system, all, script) = pool(1).await;
    let it = &all[0];
    let drops = Arc::new(AtomicUsize::new(0));
    let held = Drops(Arc::clone(&drops), false);
    let (wake, woken) = oneshot::channel::<()>();
    let entered = Arc::clone(&script.held);
    it.tell(awaiting(async move {
        let _held = held;
        entered.add_permits(1);
        let _ = woken.await;
        panic!("later");
    }))
    .await
    .unwrap();
    script.held.acquire().await.unwrap().forget();
    it.tell(Say("next")).await.unwrap();
    wake.send(()).unwrap();
    caught_up(it).await;
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    assert_eq!(script.log.take(), ["0: start 1", "0: start 2", "0: next"]);
    let ledger = system.ledger();
    assert_eq!((ledger.handled, ledger.failed), (2, 1), "{ledger}");
}
