//! No framework at all: a task with a channel for each actor, which is the least one can write by hand.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::node::{Node, Payload, Reading, Seed, Wiring, lost};
use crate::workloads::{CAPACITY, Framework};

/// A kind of channel.
pub(crate) trait Channel: Copy + Send + Sync + 'static {
    const BOUNDED: bool;
    type Sender<T: Send + 'static>: Clone + Send + Sync + 'static;
    type Receiver<T: Send + 'static>: Send + 'static;

    fn open<T: Send + 'static>() -> (Self::Sender<T>, Self::Receiver<T>);
    fn send<T: Send + 'static>(
        sender: &Self::Sender<T>,
        message: T,
    ) -> impl Future<Output = Result<(), Closed>> + Send;
    fn receive<T: Send + 'static>(
        receiver: &mut Self::Receiver<T>,
    ) -> impl Future<Output = Option<T>> + Send;
}

/// Nobody receives any more.
pub(crate) struct Closed;

#[derive(Clone, Copy)]
pub(crate) struct MpscBounded;
impl Channel for MpscBounded {
    const BOUNDED: bool = true;
    type Sender<T: Send + 'static> = mpsc::Sender<T>;
    type Receiver<T: Send + 'static> = mpsc::Receiver<T>;

    fn open<T: Send + 'static>() -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
        mpsc::channel(CAPACITY)
    }
    async fn send<T: Send + 'static>(sender: &mpsc::Sender<T>, message: T) -> Result<(), Closed> {
        sender.send(message).await.map_err(|_| Closed)
    }
    async fn receive<T: Send + 'static>(receiver: &mut mpsc::Receiver<T>) -> Option<T> {
        receiver.recv().await
    }
}

#[derive(Clone, Copy)]
pub(crate) struct MpscUnbounded;
impl Channel for MpscUnbounded {
    const BOUNDED: bool = false;
    type Sender<T: Send + 'static> = mpsc::UnboundedSender<T>;
    type Receiver<T: Send + 'static> = mpsc::UnboundedReceiver<T>;

    fn open<T: Send + 'static>() -> (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>) {
        mpsc::unbounded_channel()
    }
    async fn send<T: Send + 'static>(
        sender: &mpsc::UnboundedSender<T>,
        message: T,
    ) -> Result<(), Closed> {
        sender.send(message).map_err(|_| Closed)
    }
    async fn receive<T: Send + 'static>(receiver: &mut mpsc::UnboundedReceiver<T>) -> Option<T> {
        receiver.recv().await
    }
}

#[derive(Clone, Copy)]
pub(crate) struct FlumeBounded;
impl Channel for FlumeBounded {
    const BOUNDED: bool = true;
    type Sender<T: Send + 'static> = flume::Sender<T>;
    type Receiver<T: Send + 'static> = flume::Receiver<T>;

    fn open<T: Send + 'static>() -> (flume::Sender<T>, flume::Receiver<T>) {
        flume::bounded(CAPACITY)
    }
    async fn send<T: Send + 'static>(sender: &flume::Sender<T>, message: T) -> Result<(), Closed> {
        sender.send_async(message).await.map_err(|_| Closed)
    }
    async fn receive<T: Send + 'static>(receiver: &mut flume::Receiver<T>) -> Option<T> {
        receiver.recv_async().await.ok()
    }
}

#[derive(Clone, Copy)]
pub(crate) struct FlumeUnbounded;
impl Channel for FlumeUnbounded {
    const BOUNDED: bool = false;
    type Sender<T: Send + 'static> = flume::Sender<T>;
    type Receiver<T: Send + 'static> = flume::Receiver<T>;

    fn open<T: Send + 'static>() -> (flume::Sender<T>, flume::Receiver<T>) {
        flume::unbounded()
    }
    async fn send<T: Send + 'static>(sender: &flume::Sender<T>, message: T) -> Result<(), Closed> {
        sender.send(message).map_err(|_| Closed)
    }
    async fn receive<T: Send + 'static>(receiver: &mut flume::Receiver<T>) -> Option<T> {
        receiver.recv_async().await.ok()
    }
}

pub(crate) struct Address<C: Channel>(C::Sender<Message<C>>);

impl<C: Channel> Clone for Address<C> {
    fn clone(&self) -> Self {
        Address(self.0.clone())
    }
}

pub(crate) enum Message<C: Channel> {
    Add(u64),
    Question(u64, oneshot::Sender<u64>),
    Hop(u32),
    Wire(Wiring<Address<C>>),
    Read(oneshot::Sender<Reading>),
    Published(Arc<Payload>),
}

/// What an actor is without a framework.
async fn actor<C: Channel>(mut receiver: C::Receiver<Message<C>>, seed: Arc<Seed>) {
    let mut node: Node<Address<C>> = Node::new(&seed);
    node.on_started();
    while let Some(message) = C::receive(&mut receiver).await {
        match message {
            Message::Add(value) => node.on_add(value),
            // Whoever asks waits for it.
            Message::Question(value, reply) => {
                let _ = reply.send(node.on_ask(value));
            }
            Message::Hop(hops) => {
                if let Some(next) = node.on_hop(hops) {
                    send(next, Message::Hop(hops - 1)).await;
                }
            }
            Message::Wire(wiring) => node.on_wire(wiring),
            Message::Read(reply) => {
                let _ = reply.send(node.on_read());
            }
            Message::Published(event) => node.on_event(&event),
        }
    }
}

async fn send<C: Channel>(to: &Address<C>, message: Message<C>) {
    if let Err(Closed) = C::send(&to.0, message).await {
        lost("the channel is closed");
    }
}

/// Actors by hand over one kind of channel.
#[derive(Clone, Copy)]
pub(crate) struct Channels<C>(pub(crate) C);

impl<C: Channel> Framework for Channels<C> {
    type Addr = Address<C>;
    type Publisher = Vec<Address<C>>;

    fn waits_for_room(&self) -> bool {
        C::BOUNDED
    }

    async fn spawn(&self, seed: &Arc<Seed>) -> Address<C> {
        let (sender, receiver) = C::open();
        tokio::spawn(actor::<C>(receiver, Arc::clone(seed)));
        Address(sender)
    }

    async fn tell(&self, to: &Address<C>, value: u64) {
        send(to, Message::Add(value)).await;
    }

    async fn ask(&self, to: &Address<C>, value: u64) -> u64 {
        let (reply, answer) = oneshot::channel();
        send(to, Message::Question(value, reply)).await;
        answer.await.unwrap_or_else(|error| lost(error))
    }

    async fn hop(&self, to: &Address<C>, hops: u32) {
        send(to, Message::Hop(hops)).await;
    }

    async fn wire(&self, to: &Address<C>, wiring: Wiring<Address<C>>) {
        send(to, Message::Wire(wiring)).await;
    }

    async fn read(&self, to: &Address<C>) -> Reading {
        let (reply, answer) = oneshot::channel();
        send(to, Message::Read(reply)).await;
        answer.await.unwrap_or_else(|error| lost(error))
    }

    async fn publisher(&self, subscribers: &[Address<C>]) -> Vec<Address<C>> {
        subscribers.to_vec()
    }

    async fn publish(&self, subscribers: &mut Vec<Address<C>>, event: Arc<Payload>) {
        for subscriber in subscribers.iter() {
            send(subscriber, Message::Published(Arc::clone(&event))).await;
        }
    }
}
