//! xtra 0.6: bounded and unbounded mailboxes; publishing by a loop.

use std::sync::Arc;

use xtra::prelude::*;

use crate::node::{Node, Payload, Reading as Seen, Seed, Wiring, lost};
use crate::workloads::{CAPACITY, Framework};

pub(crate) struct Measuree {
    node: Node<Address<Measuree>>,
}

impl Actor for Measuree {
    type Stop = ();

    async fn started(&mut self, _: &Mailbox<Self>) -> Result<(), ()> {
        self.node.on_started();
        Ok(())
    }

    async fn stopped(self) {}
}

struct Add(u64);
impl Handler<Add> for Measuree {
    type Return = ();
    async fn handle(&mut self, Add(value): Add, _: &mut Context<Self>) {
        self.node.on_add(value);
    }
}

struct Question(u64);
impl Handler<Question> for Measuree {
    type Return = u64;
    async fn handle(&mut self, Question(value): Question, _: &mut Context<Self>) -> u64 {
        self.node.on_ask(value)
    }
}

struct Hop(u32);
impl Handler<Hop> for Measuree {
    type Return = ();
    async fn handle(&mut self, Hop(hops): Hop, _: &mut Context<Self>) {
        if let Some(next) = self.node.on_hop(hops) {
            let told = next.send(Hop(hops - 1)).detach().await;
            drop(told.unwrap_or_else(|error| lost(error)));
        }
    }
}

struct Wire(Wiring<Address<Measuree>>);
impl Handler<Wire> for Measuree {
    type Return = ();
    async fn handle(&mut self, Wire(wiring): Wire, _: &mut Context<Self>) {
        self.node.on_wire(wiring);
    }
}

struct Read;
impl Handler<Read> for Measuree {
    type Return = Seen;
    async fn handle(&mut self, Read: Read, _: &mut Context<Self>) -> Seen {
        self.node.on_read()
    }
}

struct Published(Arc<Payload>);
impl Handler<Published> for Measuree {
    type Return = ();
    async fn handle(&mut self, Published(event): Published, _: &mut Context<Self>) {
        self.node.on_event(&event);
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Xtra {
    Bounded,
    Unbounded,
}

impl Framework for Xtra {
    type Addr = Address<Measuree>;
    type Publisher = Vec<Address<Measuree>>;

    fn waits_for_room(&self) -> bool {
        matches!(self, Xtra::Bounded)
    }

    async fn spawn(&self, seed: &Arc<Seed>) -> Address<Measuree> {
        let node = Node::new(seed);
        let mailbox = match self {
            Xtra::Bounded => Mailbox::bounded(CAPACITY),
            Xtra::Unbounded => Mailbox::unbounded(),
        };
        xtra::spawn_tokio(Measuree { node }, mailbox)
    }

    async fn tell(&self, to: &Address<Measuree>, value: u64) {
        let told = to.send(Add(value)).detach().await;
        drop(told.unwrap_or_else(|error| lost(error)));
    }

    async fn ask(&self, to: &Address<Measuree>, value: u64) -> u64 {
        let answer = to.send(Question(value)).await;
        answer.unwrap_or_else(|error| lost(error))
    }

    async fn hop(&self, to: &Address<Measuree>, hops: u32) {
        let told = to.send(Hop(hops)).detach().await;
        drop(told.unwrap_or_else(|error| lost(error)));
    }

    async fn wire(&self, to: &Address<Measuree>, wiring: Wiring<Address<Measuree>>) {
        let told = to.send(Wire(wiring)).detach().await;
        drop(told.unwrap_or_else(|error| lost(error)));
    }

    async fn read(&self, to: &Address<Measuree>) -> Seen {
        to.send(Read).await.unwrap_or_else(|error| lost(error))
    }

    async fn publisher(&self, subscribers: &[Address<Measuree>]) -> Vec<Address<Measuree>> {
        subscribers.to_vec()
    }

    async fn publish(&self, to: &mut Vec<Address<Measuree>>, event: Arc<Payload>) {
        for subscriber in to {
            let told = subscriber
                .send(Published(Arc::clone(&event)))
                .detach()
                .await;
            drop(told.unwrap_or_else(|error| lost(error)));
        }
    }
}
