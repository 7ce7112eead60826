//! actix 0.13: a thread with a runtime of its own for each arbiter, actors placed in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::dev::SendError;
use actix::prelude::*;
use actix_broker::{Broker, BrokerSubscribe, SystemBroker};

use super::finish;
use crate::node::{Node, Payload, Reading, Seed, Wiring, lost};
use crate::workloads::{CAPACITY, Framework, Workload, measure};

struct Measuree {
    node: Node<Addr<Measuree>>,
    sends: Sends,
}

impl Actor for Measuree {
    type Context = Context<Self>;

    fn started(&mut self, cx: &mut Context<Self>) {
        if matches!(self.sends, Sends::Bounded) {
            cx.set_mailbox_capacity(CAPACITY);
        }
        self.node.on_started();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Add(u64);
impl Handler<Add> for Measuree {
    type Result = ();
    fn handle(&mut self, Add(value): Add, _: &mut Context<Self>) {
        self.node.on_add(value);
    }
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Question(u64);
impl Handler<Question> for Measuree {
    type Result = u64;
    fn handle(&mut self, Question(value): Question, _: &mut Context<Self>) -> u64 {
        self.node.on_ask(value)
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Hop(u32);
impl Handler<Hop> for Measuree {
    type Result = ();
    fn handle(&mut self, Hop(hops): Hop, _: &mut Context<Self>) {
        if let Some(next) = self.node.on_hop(hops) {
            // A handler cannot wait for room; this is what actix has for it.
            next.do_send(Hop(hops - 1));
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Wire(Wiring<Addr<Measuree>>);
impl Handler<Wire> for Measuree {
    type Result = ();
    fn handle(&mut self, Wire(wiring): Wire, _: &mut Context<Self>) {
        self.node.on_wire(wiring);
    }
}

#[derive(Message)]
#[rtype(result = "ReadingReply")]
struct Read;

#[derive(MessageResponse)]
struct ReadingReply(Reading);
impl Handler<Read> for Measuree {
    type Result = ReadingReply;
    fn handle(&mut self, Read: Read, _: &mut Context<Self>) -> ReadingReply {
        ReadingReply(self.node.on_read())
    }
}

#[derive(Clone, Message)]
#[rtype(result = "()")]
struct Published(Arc<Payload>);
impl Handler<Published> for Measuree {
    type Result = ();
    fn handle(&mut self, Published(event): Published, _: &mut Context<Self>) {
        self.node.on_event(&event);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Subscribe;
impl Handler<Subscribe> for Measuree {
    type Result = ();
    fn handle(&mut self, Subscribe: Subscribe, cx: &mut Context<Self>) {
        self.subscribe_system_async::<Published>(cx);
    }
}

/// Which of its ways of sending is measured.
#[derive(Clone, Copy)]
pub(crate) enum Sends {
    /// `try_send`, and again after a yield while there is no room
    Bounded,
    /// `do_send`, and a loop to publish
    Unbounded,
    /// `actix-broker` to publish
    Broker,
}

#[derive(Clone)]
struct Actix {
    sends: Sends,
    /// Where to place actors in turn; empty for where the driver is.
    arbiters: Arc<[ArbiterHandle]>,
    placed: Arc<AtomicUsize>,
}

impl Actix {
    async fn send<M>(&self, to: &Addr<Measuree>, mut message: M)
    where
        M: Message<Result = ()> + Send + 'static,
        Measuree: Handler<M>,
    {
        if !matches!(self.sends, Sends::Bounded) {
            return to.do_send(message);
        }
        loop {
            match to.try_send(message) {
                Ok(()) => return,
                Err(SendError::Full(back)) => message = back,
                Err(SendError::Closed(_)) => lost("the mailbox is closed"),
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Framework for Actix {
    type Addr = Addr<Measuree>;
    type Publisher = Vec<Addr<Measuree>>;

    /// It has no tell that waits, so the sender yields in all variants.
    fn waits_for_room(&self) -> bool {
        false
    }

    async fn spawn(&self, seed: &Arc<Seed>) -> Addr<Measuree> {
        let sends = self.sends;
        if self.arbiters.is_empty() {
            let node = Node::new(seed);
            return Measuree { node, sends }.start();
        }
        let at = self.placed.fetch_add(1, Ordering::Relaxed) % self.arbiters.len();
        let seed = Arc::clone(seed);
        Measuree::start_in_arbiter(&self.arbiters[at], move |_| {
            let node = Node::new(&seed);
            Measuree { node, sends }
        })
    }

    async fn tell(&self, to: &Addr<Measuree>, value: u64) {
        self.send(to, Add(value)).await;
    }

    async fn ask(&self, to: &Addr<Measuree>, value: u64) -> u64 {
        let answer = to.send(Question(value)).await;
        answer.unwrap_or_else(|error| lost(error))
    }

    async fn hop(&self, to: &Addr<Measuree>, hops: u32) {
        self.send(to, Hop(hops)).await;
    }

    async fn wire(&self, to: &Addr<Measuree>, wiring: Wiring<Addr<Measuree>>) {
        self.send(to, Wire(wiring)).await;
    }

    async fn read(&self, to: &Addr<Measuree>) -> Reading {
        let ReadingReply(reading) = to.send(Read).await.unwrap_or_else(|error| lost(error));
        reading
    }

    async fn publisher(&self, subscribers: &[Addr<Measuree>]) -> Vec<Addr<Measuree>> {
        if matches!(self.sends, Sends::Broker) {
            for subscriber in subscribers {
                let subscribed = subscriber.send(Subscribe).await;
                subscribed.unwrap_or_else(|error| lost(error));
            }
        }
        subscribers.to_vec()
    }

    async fn publish(&self, subscribers: &mut Vec<Addr<Measuree>>, event: Arc<Payload>) {
        if matches!(self.sends, Sends::Broker) {
            return Broker::<SystemBroker>::issue_async(Published(event));
        }
        for subscriber in subscribers.iter() {
            self.send(subscriber, Published(Arc::clone(&event))).await;
        }
    }

    /// So that the first actor is away from the driver again.
    async fn reset(&self) {
        self.placed.store(0, Ordering::Relaxed);
    }
}

pub(crate) fn arbiters(sends: Sends, workload: Workload, threads: usize, scale: f64) -> ! {
    let run = async move {
        let mut arbiters = Vec::new();
        if threads > 1 {
            arbiters.extend((1..threads).map(|_| Arbiter::new().handle()));
            arbiters.push(Arbiter::current());
        }
        let framework = Actix {
            sends,
            arbiters: arbiters.into(),
            placed: Arc::default(),
        };
        finish(measure(&framework, workload, scale).await)
    };
    // As a task, like the drivers of the others.
    match System::new().block_on(async { actix::spawn(run).await }) {
        Ok(never) => never,
        Err(error) => lost(error),
    }
}
