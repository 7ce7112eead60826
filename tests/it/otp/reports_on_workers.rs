//! What is told of supervisors' decisions where lives end and begin on many threads.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use greenroom::SupervisionEvent;
use greenroom::prelude::*;
use greenroom_it::*;
use parking_lot::Mutex;

const CHILDREN: usize = 8;
const FAILURES: usize = 100;

/// What has been told of each child, in that order.
type Told = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

struct Witness(Told);

impl Actor for Witness {
    type Args = Told;
    type Error = Infallible;

    async fn start(told: Told, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<SupervisionEvent>();
        Ok(Witness(told))
    }
}

impl Handler<SupervisionEvent> for Witness {
    async fn handle(
        &mut self,
        event: SupervisionEvent,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        let (child, what) = match event {
            SupervisionEvent::Started {
                child, incarnation, ..
            } => (child, format!("started {incarnation}")),
            SupervisionEvent::Ended {
                child, incarnation, ..
            } => (child, format!("ended {incarnation}")),
            SupervisionEvent::Restarting { child, .. } => (child, "restarting".to_owned()),
            _ => return Ok(()),
        };
        let mut told = self.0.lock();
        told.entry(child.to_string()).or_default().push(what);
        Ok(())
    }
}

#[test]
fn s89_what_is_told_of_a_child_is_in_order_and_complete() {
    greenroom::block_on(async {
        let (told, script) = (Told::default(), Script::default());
        let mut tree = Supervisor::one_for_one("app")
            .restart_limit(u32::MAX, Duration::from_secs(1))
            .backoff(Backoff::none())
            .child(Witness::spec("witness", Arc::clone(&told)).mailbox(65_536));
        for n in 0..CHILDREN {
            tree = tree.child(Scripted::spec(format!("c{n}"), script.clone()));
        }
        let system = Driver::Workers(4).builder().start(tree).await.unwrap();
        for _ in 0..FAILURES {
            for n in 0..CHILDREN {
                let child = system.find::<Scripted>(&format!("app/c{n}")).unwrap();
                child.tell(Fail("died")).await.unwrap();
            }
        }
        let mut wanted = vec!["started 1".to_owned()];
        for life in 1..=FAILURES {
            wanted.extend([
                format!("ended {life}"),
                "restarting".to_owned(),
                format!("started {}", life + 1),
            ]);
        }
        let is_all = |told: &Told| {
            let told = told.lock();
            (0..CHILDREN).all(|n| {
                let of = told.get(&format!("app/c{n}"));
                of.is_some_and(|of| of.len() >= wanted.len())
            })
        };
        until(|| is_all(&told)).await;
        for n in 0..CHILDREN {
            assert_eq!(told.lock()[&format!("app/c{n}")], wanted, "of c{n}");
        }
        system.stop().await;
    });
}
