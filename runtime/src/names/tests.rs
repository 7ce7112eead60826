//! What is left in memory when nobody is registered any more.

use std::convert::Infallible;

use super::lock::Locks;
use super::{Change, Groups, Names};
use crate::{Actor, ActorRef, Context, Handler, Message, Supervisor, System};

struct Holder;

impl Actor for Holder {
    type Args = ();
    type Error = Infallible;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
        Ok(Holder)
    }
}

struct Run(Action);

type Action = Box<dyn FnOnce(&mut Context<Holder>) + Send>;

impl Message for Run {
    type Reply = ();
}

impl Handler<Run> for Holder {
    async fn handle(&mut self, Run(f): Run, cx: &mut Context<Self>) -> Result<(), Infallible> {
        f(cx);
        Ok(())
    }
}

impl Handler<Change<u32, ActorRef<Holder>>> for Holder {
    async fn handle(
        &mut self,
        _: Change<u32, ActorRef<Holder>>,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        Ok(())
    }
}

fn holds(cx: &Context<Holder>) -> Option<usize> {
    cx.cell().with_holdings(cx.incarnation(), |held| held.len())
}

#[tokio::test]
async fn a_role_holds_nothing_once_it_has_left_all_and_monitors_nothing() {
    let tree = Supervisor::one_for_one("app").child(Holder::spec("it", ()));
    let builder = System::builder().in_current_runtime();
    let system = builder.start(tree).await.expect("it starts");
    let it = system.find::<Holder>("app/it").expect("it is there");
    let run = Run(Box::new(|cx| {
        let names: Names<u32, ActorRef<Holder>> = Names::new();
        let groups: Groups<u32, ActorRef<Holder>> = Groups::new();
        assert_eq!(holds(cx), Some(0));
        for key in 0..20 {
            names.register(cx, key, ()).expect("it is free");
            groups.join(cx, key, ()).expect("it may");
        }
        assert!(names.register(cx, 0, ()).is_err());
        assert!(names.monitor(cx, &0).is_some());
        assert_eq!(groups.monitor_all(cx).len(), 20);
        assert_eq!(holds(cx), Some(2));
        for key in 0..20 {
            assert!(names.unregister(cx, &key));
            assert_eq!(groups.leave(cx, &key), 1);
        }
        assert_eq!(holds(cx), Some(2), "it monitors both");
        names.demonitor(cx, &0);
        groups.demonitor_all(cx);
        assert_eq!(holds(cx), Some(0));
    }));
    it.ask(run).await.expect("it answers");
    system.stop().await;
}

#[tokio::test]
async fn a_role_may_outlive_the_table_in_which_it_is_registered() {
    let tree = Supervisor::one_for_one("app").child(Holder::spec("it", ()));
    let builder = System::builder().in_current_runtime();
    let system = builder.start(tree).await.expect("it starts");
    let it = system.find::<Holder>("app/it").expect("it is there");
    let run = Run(Box::new(|cx| {
        let names: Names<u32, ActorRef<Holder>> = Names::new();
        names.register(cx, 1, ()).expect("it is free");
    }));
    it.ask(run).await.expect("it answers");
    system.stop().await;
}

#[tokio::test]
async fn a_lock_that_nobody_holds_or_waits_for_takes_no_place() {
    let locks = std::sync::Arc::new(Locks::new());
    let held = locks.lock(&1).await;
    let other = locks.lock(&2).await;
    assert_eq!(locks.len(), 2);
    drop(other);
    assert_eq!(locks.len(), 1);
    let waiter = tokio::spawn({
        let locks = std::sync::Arc::clone(&locks);
        async move { drop(locks.lock(&1).await) }
    });
    tokio::task::yield_now().await;
    waiter.abort();
    assert!(waiter.await.is_err());
    assert_eq!(locks.len(), 1);
    drop(held);
    assert_eq!(locks.len(), 0);
}
