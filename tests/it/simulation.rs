//! A simulated system: one seed, one order of events.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom_it::*;

/// Runs a future in a fresh runtime whose clock is paused.
fn in_virtual_time<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

/// A crowd whose members tell and ask each other, wait, fail and are restarted; returns who did what, in order,
/// and of so many records what led to each dead letter.
async fn crowd(seed: u64, kept: usize) -> Vec<String> {
    const N: usize = 6;
    let script = Script::default();
    let mut tree = Supervisor::one_for_one("app").restart_limit(100, Duration::from_secs(60));
    for n in 0..N {
        let spec = Scripted::spec(n.to_string(), script.clone());
        tree = tree.child(spec.mailbox(2).group(format!("kind {}", n % 3)));
    }
    let builder = System::builder().simulated(seed).keep_causes(kept);
    let system = builder.start(tree).await.unwrap();
    let find = |n: usize| system.find::<Scripted>(&format!("app/{n}")).unwrap();
    let all: Vec<_> = (0..N).map(find).collect();
    for (n, it) in all.iter().enumerate() {
        let (next, other) = (all[(n + 1) % N].clone(), all[(n + 2) % N].clone());
        it.tell(awaiting(async move {
            let _ = next.try_tell(Say("a"));
            let _ = other.ask(Echo(1)).within(Duration::from_millis(3)).await;
            let _ = next.tell(Say("b")).within(Duration::from_millis(2)).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            let _ = other.try_tell(Fail("bust"));
            let _ = next.try_tell(Say("c"));
        }))
        .await
        .unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    system.stop().await;
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "SEED={seed}: {ledger}");
    script.log.add(ledger.to_string());
    script.log.add(system.flow_graph().to_mermaid());
    for letter in system.dead_letters() {
        let Some(id) = letter.event_id else { continue };
        let causes = system.causes_of(&id);
        script.log.add(format!("{id}: {causes:?}"));
    }
    script.log.take()
}

#[test]
fn the_same_seed_makes_the_same_run_and_others_make_others() {
    let mut runs = BTreeSet::new();
    for seed in 0..20 {
        let first = in_virtual_time(crowd(seed, 0));
        assert_eq!(first, in_virtual_time(crowd(seed, 0)), "SEED={seed}");
        runs.insert(first);
    }
    assert!(runs.len() > 10, "only {} of 20 runs differ", runs.len());
}

#[test]
fn ids_times_and_causes_are_those_of_the_seed() {
    let mut runs = BTreeSet::new();
    for seed in 0..20 {
        let first = in_virtual_time(crowd(seed, 1_000));
        let caused = first.iter().filter(|line| line.contains("cause: Some"));
        assert!(caused.count() > 0, "SEED={seed}: {first:?}");
        assert_eq!(first, in_virtual_time(crowd(seed, 1_000)), "SEED={seed}");
        runs.insert(first);
    }
    assert_eq!(runs.len(), 20, "no two seeds give the same ids");
}

#[test]
fn a_day_of_timers_passes_at_once() {
    let begun = std::time::Instant::now();
    in_virtual_time(async {
        let script = Script::default();
        let builder = System::builder().simulated(1);
        let system = builder.start(lone(&script)).await.unwrap();
        let it = system.find::<Scripted>("app/it").unwrap();
        it.ask(with(|cx| {
            cx.every(Duration::from_secs(60), Say("tick"));
        }))
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_secs(86_400) + Duration::from_millis(1)).await;
        assert_eq!(script.log.take().len(), 1 + 24 * 60);
        system.stop().await;
    });
    // So much less than a day that no machine is too slow for it.
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn who_asks_from_another_thread_runs_nobody_there() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(async {
        let here = thread::current().id();
        let builder = System::builder().simulated(1);
        let system = builder.start(lone(&Script::default())).await.unwrap();
        let it = system.find::<Scripted>("app/it").unwrap();
        let there = greenroom::blocking(move || {
            greenroom::block_on(async {
                let mut there = 0;
                for _ in 0..32 {
                    let asked = it.ask(with(move |_| assert_eq!(thread::current().id(), here)));
                    there += usize::from(asked.await.is_err());
                }
                there
            })
        });
        assert_eq!(there.await, 0);
        system.stop().await;
    });
}

#[test]
fn a_runtime_with_several_threads_is_refused_with_a_sentence() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let starting = async {
        drop(
            System::builder()
                .simulated(1)
                .start(lone(&Script::default()))
                .await,
        )
    };
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(starting);
    }))
    .unwrap_err();
    let text = panic.downcast_ref::<String>().map_or("", String::as_str);
    let sentence = "a simulated system runs on one thread: start it in a current-thread runtime";
    assert!(text.contains(sentence), "{text}");
}
