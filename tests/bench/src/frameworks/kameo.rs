//! kameo 0.22: bounded and unbounded mailboxes; publishing by a loop or by the `PubSub` of kameo_actors.

use std::sync::Arc;

use kameo::error::Infallible;
use kameo::prelude::*;
use kameo_actors::DeliveryStrategy;
use kameo_actors::pubsub::PubSub;

use crate::node::{Node, Payload, Reading as Seen, Seed, Wiring, lost};
use crate::workloads::{CAPACITY, Framework};

pub(crate) struct Measuree {
    node: Node<ActorRef<Measuree>>,
}

impl Actor for Measuree {
    type Args = Arc<Seed>;
    type Error = Infallible;

    async fn on_start(seed: Arc<Seed>, _: ActorRef<Self>) -> Result<Self, Infallible> {
        let node = Node::new(&seed);
        node.on_started();
        Ok(Measuree { node })
    }
}

struct Add(u64);
impl Message<Add> for Measuree {
    type Reply = ();
    async fn handle(&mut self, Add(value): Add, _: &mut Context<Self, ()>) {
        self.node.on_add(value);
    }
}

struct Question(u64);
impl Message<Question> for Measuree {
    type Reply = u64;
    async fn handle(&mut self, Question(value): Question, _: &mut Context<Self, u64>) -> u64 {
        self.node.on_ask(value)
    }
}

struct Hop(u32);
impl Message<Hop> for Measuree {
    type Reply = ();
    async fn handle(&mut self, Hop(hops): Hop, _: &mut Context<Self, ()>) {
        if let Some(next) = self.node.on_hop(hops) {
            let told = next.tell(Hop(hops - 1)).await;
            told.unwrap_or_else(|error| lost(error));
        }
    }
}

struct Wire(Wiring<ActorRef<Measuree>>);
impl Message<Wire> for Measuree {
    type Reply = ();
    async fn handle(&mut self, Wire(wiring): Wire, _: &mut Context<Self, ()>) {
        self.node.on_wire(wiring);
    }
}

struct Read;
#[derive(Reply)]
struct Reading(Seen);
impl Message<Read> for Measuree {
    type Reply = Reading;
    async fn handle(&mut self, Read: Read, _: &mut Context<Self, Reading>) -> Reading {
        Reading(self.node.on_read())
    }
}

#[derive(Clone)]
pub(crate) struct Published(Arc<Payload>);
impl Message<Published> for Measuree {
    type Reply = ();
    async fn handle(&mut self, Published(event): Published, _: &mut Context<Self, ()>) {
        self.node.on_event(&event);
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Kameo {
    Bounded,
    Unbounded,
    /// Unbounded mailboxes, and `PubSub` to publish
    PubSub,
}

pub(crate) enum Publisher {
    Loop(Vec<ActorRef<Measuree>>),
    PubSub(PubSub<Published>),
}

impl Framework for Kameo {
    type Addr = ActorRef<Measuree>;
    type Publisher = Publisher;

    fn waits_for_room(&self) -> bool {
        matches!(self, Kameo::Bounded)
    }

    async fn spawn(&self, seed: &Arc<Seed>) -> ActorRef<Measuree> {
        let mailbox = match self {
            Kameo::Bounded => mailbox::bounded(CAPACITY),
            Kameo::Unbounded | Kameo::PubSub => mailbox::unbounded(),
        };
        Measuree::spawn_with_mailbox(Arc::clone(seed), mailbox)
    }

    async fn tell(&self, to: &ActorRef<Measuree>, value: u64) {
        let told = to.tell(Add(value)).await;
        told.unwrap_or_else(|error| lost(error));
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

    async fn read(&self, to: &ActorRef<Measuree>) -> Seen {
        let Reading(seen) = to.ask(Read).await.unwrap_or_else(|error| lost(error));
        seen
    }

    async fn publisher(&self, subscribers: &[ActorRef<Measuree>]) -> Publisher {
        let Kameo::PubSub = self else {
            return Publisher::Loop(subscribers.to_vec());
        };
        let mut topic = PubSub::new(DeliveryStrategy::Guaranteed);
        for subscriber in subscribers {
            topic.subscribe(subscriber.clone());
        }
        Publisher::PubSub(topic)
    }

    async fn publish(&self, publisher: &mut Publisher, event: Arc<Payload>) {
        match publisher {
            Publisher::PubSub(topic) => topic.publish(Published(event)).await,
            Publisher::Loop(subscribers) => {
                for subscriber in subscribers.iter() {
                    let told = subscriber.tell(Published(Arc::clone(&event))).await;
                    told.unwrap_or_else(|error| lost(error));
                }
            }
        }
    }
}
