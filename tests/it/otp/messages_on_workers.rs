//! What is tried again and kept, in real time, where those who send, handle and ask do so at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{AskError, QueuedAsks};
use greenroom_it::{Driver, until};

const TRIES: u32 = 3;

/// How often each number was tried.
type Tried = Arc<Vec<AtomicU32>>;

struct Worker(Tried);

#[derive(Clone)]
struct Work(usize);

impl Message for Work {
    type Reply = usize;
}

fn is_poison(n: usize) -> bool {
    n % 50 == 7
}

impl Actor for Worker {
    type Args = Tried;
    type Error = BoxError;

    async fn start(tried: Tried, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Worker(tried))
    }
}

impl Handler<Work> for Worker {
    async fn handle(&mut self, Work(n): Work, _: &mut Context<Self>) -> Result<usize, BoxError> {
        self.0[n].fetch_add(1, Ordering::Relaxed);
        if n % 7 == 0 {
            tokio::task::yield_now().await;
        }
        if is_poison(n) {
            return Err("poison".into());
        }
        Ok(n)
    }
}

/// Asks for the work of all others, one after the other.
struct Asker(ActorRef<Worker>);

struct Ask(std::ops::Range<usize>);

impl Message for Ask {
    type Reply = usize;
}

impl Actor for Asker {
    type Args = ActorRef<Worker>;
    type Error = BoxError;

    async fn start(worker: ActorRef<Worker>, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Asker(worker))
    }
}

impl Handler<Ask> for Asker {
    async fn handle(&mut self, Ask(all): Ask, _: &mut Context<Self>) -> Result<usize, BoxError> {
        let mut failed = 0;
        for n in all {
            loop {
                match self.0.ask(Work(n)).await {
                    Ok(answer) => assert_eq!(answer, n),
                    Err(AskError::Failed { .. }) => failed += 1,
                    // It had not been in hand.
                    Err(AskError::Restarting {
                        message: Work(again),
                        ..
                    }) if again == n => continue,
                    Err(error) => return Err(error.into()),
                }
                break;
            }
        }
        Ok(failed)
    }
}

const ASKERS: usize = 4;
const EACH: usize = 2_000;

async fn all_are_tried_as_often_as_they_may(queued_asks: QueuedAsks) {
    let tried: Tried = (0..ASKERS * EACH)
        .map(|_| AtomicU32::new(0))
        .collect::<Vec<_>>()
        .into();
    let worker = Worker::spec("worker", tried.clone());
    let tree = Supervisor::one_for_one("app")
        .restart_limit(u32::MAX, Duration::from_secs(60))
        .backoff(Backoff::none())
        .child(worker.retry::<Work>(TRIES).queued_asks(queued_asks))
        .child(Supervisor::dynamic("askers"));
    let system = Driver::Workers(3).builder().start(tree).await.unwrap();
    let worker = system.find::<Worker>("app/worker").unwrap();
    let askers = system.supervisor("app/askers").unwrap();
    let mut asks = Vec::new();
    for n in 0..ASKERS {
        let spec = Asker::spec(format!("asker {n}"), worker.clone());
        let asker = askers.start_child(spec).await.unwrap();
        let all = n * EACH..(n + 1) * EACH;
        let limit = Duration::from_secs(60);
        asks.push(tokio::spawn(async move {
            asker.ask(Ask(all)).within(limit).await
        }));
    }
    let poison = (0..ASKERS * EACH).filter(|n| is_poison(*n)).count();
    let mut failed = 0;
    for ask in asks {
        failed += ask.await.unwrap().unwrap();
    }
    assert_eq!(failed, poison, "each asker is told of each");
    for (n, tries) in tried.iter().enumerate() {
        let expected = if is_poison(n) { TRIES } else { 1 };
        assert_eq!(tries.load(Ordering::Relaxed), expected, "number {n}");
    }
    let letters = system.dead_letters();
    assert_eq!(letters.len(), poison);
    assert!(
        letters
            .iter()
            .all(|letter| letter.attempt == TRIES && letter.is_kept)
    );
    until(|| system.ledger().queued == 0).await;
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    assert_eq!(ledger.failed, poison as u64, "{ledger}");
    system.stop().await;
}

#[tokio::test]
async fn r13_handlers_that_ask_at_once_get_each_poison_message_back_after_n_tries() {
    all_are_tried_as_often_as_they_may(QueuedAsks::Keep).await;
}

#[tokio::test]
async fn r13_so_they_do_where_what_is_queued_is_refused() {
    all_are_tried_as_often_as_they_may(QueuedAsks::Refuse).await;
}
