//! What an actor costs, and whose wakes are whose.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Wake, Waker};

use tokio::sync::mpsc;

use super::ActorCell;
use super::run::LifeTask;
use crate::book::Lead;
use crate::life::Life;
use crate::role::{Boss, Role};
use crate::watch::LOOK;
use crate::{Actor, Context, Handler, Message, StartCause, Supervisor, System};

struct Small;

impl Actor for Small {
    type Args = ();
    type Error = Infallible;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
        Ok(Small)
    }
}

/// Whoever adds a field sees here what it costs each actor, and may lower the bounds.
#[test]
fn an_idle_actor_is_no_larger_than_it_was() {
    let sizes = [
        ("cell", size_of::<ActorCell<Small>>(), 176),
        ("life", size_of::<Life<Small>>(), 176),
        ("context", size_of::<Context<Small>>(), 64),
    ];
    for (what, size, bound) in sizes {
        assert!(
            size <= bound,
            "a {what} takes {size} bytes, more than {bound}"
        );
    }
}

struct Word;

impl Message for Word {
    type Reply = ();
}

impl Handler<Word> for Small {
    async fn handle(&mut self, _: Word, _: &mut Context<Self>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn g16_the_memory_of_a_burst_is_given_back_when_the_actor_is_idle_again() {
    let tree = Supervisor::one_for_one("app").child(Small::spec("small", ()));
    let builder = System::builder().simulated(1);
    let system = builder.start(tree).await.expect("it starts");
    let role = system.find::<Small>("app/small").expect("it is there");
    let mailbox = &role.cell().mailbox;
    for round in 1..=2 {
        for _ in 0..1_000 {
            role.try_tell(Word).expect("there is room");
        }
        assert!(mailbox.room() >= 999);
        tokio::time::sleep(3 * LOOK).await;
        assert_eq!(system.ledger().handled, round * 1_000);
        assert_eq!(mailbox.room(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_role_that_has_failed_keeps_a_history() {
    let tree = Supervisor::one_for_one("app").child(Small::spec("small", ()));
    let builder = System::builder().simulated(1);
    let system = builder.start(tree).await.expect("it starts");
    let role = system.find::<Small>("app/small").expect("it is there");
    let cell = role.cell();
    let history = || cell.system.histories.of(&cell.path, cell.system.now());
    let app = system.supervisor("app").expect("it is there");
    for _ in 0..3 {
        role.ask(Word).await.expect("it answers");
        app.stop_child("small").await.expect("it stops");
        app.restart_child("small").await.expect("it starts");
    }
    assert!(history().is_empty());
    role.kill();
    tokio::time::sleep(LOOK).await;
    assert_eq!(history().len(), 1);
}

#[tokio::test]
async fn a_task_that_comes_late_does_not_take_the_wakes_of_the_next_life() {
    let tree = Supervisor::one_for_one("app").child(Small::spec("small", ()));
    let builder = System::builder().in_current_runtime();
    let system = builder.start(tree).await.expect("it starts");
    let role = system.find::<Small>("app/small").expect("it is there");
    let cell = role.cell();
    system.stop().await;
    let (notes, _inbox) = mpsc::unbounded_channel();
    let boss = Boss::new(&*cell, &Lead::above(cell.id, notes));
    let launch = || {
        let launched = Arc::clone(&cell).launch(boss.clone(), StartCause::Boot);
        let incarnation = launched.incarnation;
        LifeTask {
            cell: Arc::clone(&cell),
            incarnation,
            is_known: false,
        }
    };
    let wakers = [(), ()].map(|()| Waker::from(Arc::new(Bell)));
    let mut late = launch();
    Arc::clone(&cell).cut_off(late.incarnation);
    let mut next = launch();
    let polls = [(&mut next, &wakers[1]), (&mut late, &wakers[0])];
    let ended = polls.map(|(task, waker)| {
        let polled = Pin::new(task).poll(&mut Task::from_waker(waker));
        polled.is_ready()
    });
    assert_eq!(ended, [false, true]);
    let is_next = |waker: &Waker| waker.will_wake(&wakers[1]);
    assert!(
        cell.apart
            .get()
            .unwrap()
            .task
            .lock()
            .as_ref()
            .is_some_and(is_next)
    );
}

struct Bell;

impl Wake for Bell {
    fn wake(self: Arc<Self>) {}
}
