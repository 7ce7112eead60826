//! Who subscribes with replay while others publish, on threads of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use greenroom::Subscription;
use greenroom::prelude::*;
use greenroom_it::{Level, until};
use parking_lot::Mutex;

type Seen = Arc<Mutex<HashMap<&'static str, Vec<u32>>>>;

/// Comes late to what others publish meanwhile, on other threads.
struct Latecomer(Seen);

impl Actor for Latecomer {
    type Args = Seen;
    type Error = BoxError;

    async fn start(seen: Seen, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        let terms = Subscription::<Level>::new("levels").replay();
        cx.subscribe_with(terms.buffer(1 << 20))?;
        Ok(Latecomer(seen))
    }
}

impl Handler<Level> for Latecomer {
    async fn handle(&mut self, level: Level, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.0.lock().entry(level.0).or_default().push(level.1);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_and_nothing_comes_twice_while_others_publish() {
    let tree = Supervisor::one_for_one("app").child(Supervisor::dynamic("late"));
    let system = System::builder().workers(2).start(tree).await.unwrap();
    let pool = system.supervisor("app/late").unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let publisher = |room| {
        let (system, is_over) = (system.clone(), Arc::clone(&is_over));
        std::thread::spawn(move || {
            let mut n = 0;
            // It ends by itself before any buffer is full.
            while n < 200_000 && !is_over.load(Ordering::Relaxed) {
                let _ = system.publish(Level(room, n));
                n += 1;
                // Others are to have their turn on a machine of two cores.
                std::thread::yield_now();
            }
            n
        })
    };
    let publishers = ["a", "b"].map(publisher);
    let mut all = Vec::new();
    for n in 0..10 {
        let seen = Seen::default();
        let child = Latecomer::spec(format!("n{n}"), Arc::clone(&seen)).mailbox(16);
        pool.start_child(child).await.unwrap();
        until(|| seen.lock().len() == 2).await;
        all.push(seen);
    }
    is_over.store(true, Ordering::Relaxed);
    let published = publishers.map(|publisher| publisher.join().unwrap());
    for seen in all {
        let last = |room| seen.lock().get(room).and_then(|ns| ns.last().copied());
        until(|| [last("a"), last("b")] == published.map(|n| Some(n - 1))).await;
        for (room, numbers) in &*seen.lock() {
            let is_row = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
            assert!(is_row, "{room}: {numbers:?}");
        }
    }
    system.stop().await;
}
