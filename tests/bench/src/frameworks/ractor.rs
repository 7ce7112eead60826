//! ractor 0.16: unbounded mailboxes only; publishing by a loop or by its output port.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, OutputPort, RpcReplyPort};

use crate::node::{Node, Payload, Reading, Seed, Wiring, lost};
use crate::workloads::Framework;

pub(crate) enum Message {
    Add(u64),
    Question(u64, RpcReplyPort<u64>),
    Hop(u32),
    Wire(Wiring<ActorRef<Message>>),
    Read(RpcReplyPort<Reading>),
    Published(Arc<Payload>),
}

struct Measuree;

impl Actor for Measuree {
    type Msg = Message;
    type State = Node<ActorRef<Message>>;
    type Arguments = Arc<Seed>;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        seed: Arc<Seed>,
    ) -> Result<Self::State, ActorProcessingErr> {
        let node = Node::new(&seed);
        node.on_started();
        Ok(node)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        node: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add(value) => node.on_add(value),
            Message::Question(value, reply) => reply.send(node.on_ask(value))?,
            Message::Hop(hops) => {
                if let Some(next) = node.on_hop(hops) {
                    next.cast(Message::Hop(hops - 1))?;
                }
            }
            Message::Wire(wiring) => node.on_wire(wiring),
            Message::Read(reply) => reply.send(node.on_read())?,
            Message::Published(event) => node.on_event(&event),
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Ractor {
    Loop,
    Port,
}

#[derive(Clone)]
pub(crate) struct Published(Arc<Payload>);

pub(crate) enum Publisher {
    Loop(Vec<ActorRef<Message>>),
    Port(OutputPort<Published>),
}

fn cast(to: &ActorRef<Message>, message: Message) {
    to.cast(message).unwrap_or_else(|error| lost(error));
}

async fn call<T: Send + 'static>(
    to: &ActorRef<Message>,
    message: impl FnOnce(RpcReplyPort<T>) -> Message,
) -> T {
    match to.call(message, None).await {
        Ok(result) => result.success_or(()).unwrap_or_else(|()| lost("no reply")),
        Err(error) => lost(error),
    }
}

impl Framework for Ractor {
    type Addr = ActorRef<Message>;
    type Publisher = Publisher;

    fn waits_for_room(&self) -> bool {
        false
    }

    async fn spawn(&self, seed: &Arc<Seed>) -> ActorRef<Message> {
        match Actor::spawn(None, Measuree, Arc::clone(seed)).await {
            Ok((actor, _)) => actor,
            Err(error) => lost(error),
        }
    }

    async fn tell(&self, to: &ActorRef<Message>, value: u64) {
        cast(to, Message::Add(value));
    }

    async fn ask(&self, to: &ActorRef<Message>, value: u64) -> u64 {
        call(to, |reply| Message::Question(value, reply)).await
    }

    async fn hop(&self, to: &ActorRef<Message>, hops: u32) {
        cast(to, Message::Hop(hops));
    }

    async fn wire(&self, to: &ActorRef<Message>, wiring: Wiring<ActorRef<Message>>) {
        cast(to, Message::Wire(wiring));
    }

    async fn read(&self, to: &ActorRef<Message>) -> Reading {
        call(to, Message::Read).await
    }

    async fn publisher(&self, subscribers: &[ActorRef<Message>]) -> Publisher {
        let Ractor::Port = self else {
            return Publisher::Loop(subscribers.to_vec());
        };
        let port = OutputPort::default();
        for subscriber in subscribers {
            port.subscribe(subscriber.clone(), |event: Published| {
                Some(Message::Published(event.0))
            });
        }
        Publisher::Port(port)
    }

    async fn publish(&self, publisher: &mut Publisher, event: Arc<Payload>) {
        match publisher {
            Publisher::Port(port) => port.send(Published(event)),
            Publisher::Loop(subscribers) => {
                for subscriber in subscribers.iter() {
                    cast(subscriber, Message::Published(Arc::clone(&event)));
                }
            }
        }
    }
}
