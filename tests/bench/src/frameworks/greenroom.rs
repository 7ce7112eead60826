//! Greenroom itself: what is measured lives in its tree, and so does who measures.
//!
//! The director's handler runs the workloads, and senders beside it are actors
//! too, because that is where a user's code is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{SupervisorRef, TellError};

use super::{finish, greenroom_only, on_tokio_runtime};
use crate::node::{Latch, Node, Payload, Reading, Seed, Wiring, lost};
use crate::workloads::{Framework, Job, Measured, Workload, measure};

/// Longer than any measurement may take, whose limit is the parent's.
const LONG: Duration = Duration::from_secs(600);

/// How many senders stand ready beside the director.
const SENDERS: usize = 64;

/// The measured actor.
struct Measuree {
    node: Node<ActorRef<Measuree>>,
}

impl Actor for Measuree {
    type Args = Arc<Seed>;
    type Error = BoxError;
    async fn start(seed: Arc<Seed>, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        if seed.subscribes {
            cx.subscribe::<Published>();
        }
        let node = Node::new(&seed);
        node.on_started();
        Ok(Measuree { node })
    }
}

struct Add(u64);
impl Message for Add {
    type Reply = ();
}
impl Handler<Add> for Measuree {
    async fn handle(&mut self, Add(value): Add, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.node.on_add(value);
        Ok(())
    }
}

struct Question(u64);
impl Message for Question {
    type Reply = u64;
}
impl Handler<Question> for Measuree {
    async fn handle(
        &mut self,
        Question(value): Question,
        _: &mut Context<Self>,
    ) -> Result<u64, BoxError> {
        Ok(self.node.on_ask(value))
    }
}

struct Hop(u32);
impl Message for Hop {
    type Reply = ();
}
impl Handler<Hop> for Measuree {
    async fn handle(&mut self, Hop(hops): Hop, _: &mut Context<Self>) -> Result<(), BoxError> {
        if let Some(next) = self.node.on_hop(hops) {
            next.tell(Hop(hops - 1)).await?;
        }
        Ok(())
    }
}

struct Wire(Wiring<ActorRef<Measuree>>);
impl Message for Wire {
    type Reply = ();
}
impl Handler<Wire> for Measuree {
    async fn handle(&mut self, Wire(wiring): Wire, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.node.on_wire(wiring);
        Ok(())
    }
}

struct Read;
impl Message for Read {
    type Reply = Reading;
}
impl Handler<Read> for Measuree {
    async fn handle(&mut self, Read: Read, _: &mut Context<Self>) -> Result<Reading, BoxError> {
        Ok(self.node.on_read())
    }
}

#[derive(Clone, Debug)]
struct Published(Arc<Payload>);
impl Event for Published {}
impl Handler<Published> for Measuree {
    async fn handle(&mut self, event: Published, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.node.on_event(&event.0);
        Ok(())
    }
}

/// An actor that sends beside others.
struct Sender;

impl Actor for Sender {
    type Args = ();
    type Error = BoxError;
    async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Sender)
    }
}

struct Run {
    bench: Greenroom,
    to: ActorRef<Measuree>,
    job: Job,
    done: Arc<Latch>,
}
impl Message for Run {
    type Reply = ();
}
impl Handler<Run> for Sender {
    async fn handle(&mut self, run: Run, _: &mut Context<Self>) -> Result<(), BoxError> {
        run.job.run(&run.bench, &run.to).await;
        run.done.hit();
        Ok(())
    }
}

/// The actor whose handler is the benchmark.
struct Director {
    bench: Greenroom,
}

impl Actor for Director {
    type Args = ();
    type Error = BoxError;
    async fn start((): (), cx: &mut Context<Self>) -> Result<Self, BoxError> {
        let system = cx.system();
        let senders: Result<Vec<_>, _> = (0..SENDERS)
            .map(|i| system.find::<Sender>(&format!("bench/sender{i}")))
            .collect();
        let bench = Greenroom {
            nodes: system.supervisor("bench/nodes")?,
            senders: senders?.into(),
            started: Arc::new(AtomicUsize::new(0)),
            system,
        };
        Ok(Director { bench })
    }
}

struct Direct {
    workload: Workload,
    scale: f64,
}
impl Message for Direct {
    type Reply = Measured;
}
impl Handler<Direct> for Director {
    async fn handle(&mut self, order: Direct, _: &mut Context<Self>) -> Result<Measured, BoxError> {
        let Direct { workload, scale } = order;
        let Greenroom { nodes, system, .. } = &self.bench;
        Ok(match workload {
            Workload::Restart => greenroom_only::restart(nodes, system, scale).await,
            Workload::Sleep => greenroom_only::sleep(nodes, scale).await,
            Workload::Echo => greenroom_only::echo(nodes, scale).await,
            _ => measure(&self.bench, workload, scale).await,
        })
    }
}

/// Greenroom as the workloads see it, from inside of an actor.
#[derive(Clone)]
struct Greenroom {
    system: System,
    nodes: SupervisorRef,
    senders: Arc<[ActorRef<Sender>]>,
    started: Arc<AtomicUsize>,
}

impl Framework for Greenroom {
    type Addr = ActorRef<Measuree>;
    type Publisher = ();

    fn waits_for_room(&self) -> bool {
        true
    }

    async fn spawn(&self, seed: &Arc<Seed>) -> ActorRef<Measuree> {
        let name = format!("n{}", self.started.fetch_add(1, Ordering::Relaxed));
        let child = Measuree::spec(name, Arc::clone(seed));
        let started = self.nodes.start_child(child).await;
        started.unwrap_or_else(|error| lost(error))
    }

    async fn tell(&self, to: &ActorRef<Measuree>, value: u64) {
        let told = to.tell(Add(value)).await;
        told.unwrap_or_else(|error: TellError<_>| lost(error));
    }

    async fn ask(&self, to: &ActorRef<Measuree>, value: u64) -> u64 {
        let answer = to.ask(Question(value)).await;
        answer.unwrap_or_else(|error| lost(error))
    }

    async fn hop(&self, to: &ActorRef<Measuree>, hops: u32) {
        let told = to.tell(Hop(hops)).await;
        told.unwrap_or_else(|error| lost(error));
    }

    async fn wire(&self, to: &ActorRef<Measuree>, wiring: Wiring<ActorRef<Measuree>>) {
        let told = to.tell(Wire(wiring)).await;
        told.unwrap_or_else(|error| lost(error));
    }

    async fn read(&self, to: &ActorRef<Measuree>) -> Reading {
        // It may stand behind a whole backlog of others.
        let answer = to.ask(Read).within(LONG).await;
        answer.unwrap_or_else(|error| lost(error))
    }

    async fn publisher(&self, _: &[ActorRef<Measuree>]) {}

    async fn publish(&self, (): &mut (), event: Arc<Payload>) {
        let delivery = self.system.publish_within(Published(event), LONG).await;
        if delivery.dropped > 0 {
            lost(format_args!("{delivery:?}"));
        }
    }

    async fn side_by_side(&self, senders: usize, to: &ActorRef<Measuree>, job: Job) {
        let done = Latch::new(senders);
        for sender in self.senders.iter().take(senders) {
            let run = Run {
                bench: self.clone(),
                to: to.clone(),
                job,
                done: Arc::clone(&done),
            };
            let told = sender.tell(run).await;
            told.unwrap_or_else(|error| lost(error));
        }
        done.wait().await;
    }

    /// Unlike a task whose channel is closed, a child lives until it is stopped.
    async fn reset(&self) {
        for i in 0..self.started.load(Ordering::Relaxed) {
            let stopped = self.nodes.stop_child(&format!("n{i}")).await;
            stopped.unwrap_or_else(|error| lost(error));
        }
    }
}

/// Measures on workers of Greenroom's own.
pub(crate) fn own_workers(timed: bool, workload: Workload, threads: usize, scale: f64) -> ! {
    let mut builder = System::builder().workers(threads);
    if !timed {
        builder = builder.measure_every(0);
    }
    greenroom::block_on(async { finish(direct(builder, workload, scale).await) })
}

/// Measures in a tokio runtime that is there already.
pub(crate) fn in_tokio(workload: Workload, threads: usize, scale: f64) -> ! {
    let builder = System::builder().in_current_runtime();
    on_tokio_runtime(threads, direct(builder, workload, scale))
}

async fn direct(builder: greenroom::Builder, workload: Workload, scale: f64) -> Measured {
    // Reports of failures would cost what a terminal costs.
    let silent = tracing::subscriber::NoSubscriber::default();
    if let Err(error) = tracing::subscriber::set_global_default(silent) {
        lost(error);
    }
    // Every restart is on purpose; the window is short because a supervisor remembers what is in it.
    let nodes = Supervisor::dynamic("nodes")
        .restart_limit(1_000_000, Duration::from_millis(10))
        .backoff(Backoff::none());
    let mut tree = Supervisor::one_for_one("bench").child(nodes);
    for i in 0..SENDERS {
        tree = tree.child(Sender::spec(format!("sender{i}"), ()));
    }
    let tree = tree.child(Director::spec("director", ()));
    let system = builder.start(tree).await.unwrap_or_else(|e| lost(e));
    let director = system.find::<Director>("bench/director");
    let director = director.unwrap_or_else(|error| lost(error));
    let measured = director.ask(Direct { workload, scale }).within(LONG).await;
    measured.unwrap_or_else(|error| lost(error))
}
