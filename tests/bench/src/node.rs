//! The actor that every framework runs: one state and one set of reactions, so that only the frameworks differ.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many turns of busy work make about half a microsecond.
pub(crate) const HALF_A_MICROSECOND: u32 = 500;

/// Ends the process because a message did not arrive, or not as it was sent.
///
/// A framework would catch a panic in an actor and go on; a benchmark that has
/// lost a message has no result.
pub(crate) fn lost(why: impl Display) -> ! {
    eprintln!("a message was lost: {why}");
    std::process::exit(1)
}

/// Lets one waiter through when it has been hit as often as was agreed.
pub(crate) struct Latch {
    left: AtomicUsize,
    open: Notify,
}

impl Latch {
    pub(crate) fn new(hits: usize) -> Arc<Self> {
        let (left, open) = (AtomicUsize::new(hits), Notify::new());
        Arc::new(Latch { left, open })
    }

    pub(crate) fn hit(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.notify_one();
        }
    }

    pub(crate) async fn wait(&self) {
        while self.left.load(Ordering::Acquire) != 0 {
            self.open.notified().await;
        }
    }
}

/// What is published: 64 bytes behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Payload(pub(crate) [u64; 8]);

/// What an actor is made of; shared by all actors of a workload.
#[derive(Default)]
pub(crate) struct Seed {
    /// Hit the latch at this many messages; 0 for never.
    pub(crate) target: u64,
    /// Turns of busy work for each hop.
    pub(crate) work: u32,
    pub(crate) latch: Option<Arc<Latch>>,
    /// Hit the latch as soon as the actor is up.
    pub(crate) hits_at_start: bool,
    /// Subscribe to the published events, where the framework subscribes in the actor.
    pub(crate) subscribes: bool,
}

/// Where an actor passes a token on to.
#[derive(Clone)]
pub(crate) enum Wiring<A> {
    Next(A),
    /// Any of these, at random from this seed.
    Peers(Arc<Vec<A>>, u64),
}

/// What an actor has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

/// The state of every measured actor: 64 bytes where an address is a pointer.
pub(crate) struct Node<A> {
    sum: u64,
    count: u64,
    target: u64,
    random: u64,
    work: u32,
    hits_at_start: bool,
    latch: Option<Arc<Latch>>,
    next: Option<A>,
    peers: Option<Arc<Vec<A>>>,
}

impl<A> Node<A> {
    pub(crate) fn new(seed: &Seed) -> Self {
        Node {
            sum: 0,
            count: 0,
            target: seed.target,
            random: 1,
            work: seed.work,
            hits_at_start: seed.hits_at_start,
            latch: seed.latch.clone(),
            next: None,
            peers: None,
        }
    }

    /// Belongs into the framework's start hook: an actor is up when that has run.
    pub(crate) fn on_started(&self) {
        if self.hits_at_start {
            self.hit();
        }
    }

    #[inline]
    fn took(&mut self, value: u64) {
        self.sum = self.sum.wrapping_add(value);
        self.count += 1;
        if self.count == self.target {
            self.hit();
        }
    }

    fn hit(&self) {
        if let Some(latch) = &self.latch {
            latch.hit();
        }
    }

    #[inline]
    pub(crate) fn on_add(&mut self, value: u64) {
        self.took(value);
    }

    #[inline]
    pub(crate) fn on_ask(&mut self, value: u64) -> u64 {
        self.took(value);
        self.sum
    }

    #[inline]
    pub(crate) fn on_event(&mut self, event: &Payload) {
        self.took(event.0[0] ^ event.0[7]);
    }

    /// Returns to whom a token with `hops` left goes; `None` when it has arrived.
    #[inline]
    pub(crate) fn on_hop(&mut self, hops: u32) -> Option<&A> {
        self.took(0);
        let mut busy = self.random;
        for _ in 0..self.work {
            busy ^= busy << 13;
            busy ^= busy >> 7;
        }
        std::hint::black_box(busy);
        if hops == 0 {
            self.hit();
            return None;
        }
        let Some(peers) = &self.peers else {
            return self.next.as_ref();
        };
        // A xorshift step, then a fraction of the list: cheaper than a remainder.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let at = ((self.random >> 32) * peers.len() as u64) >> 32;
        peers.get(at as usize)
    }

    pub(crate) fn on_wire(&mut self, wiring: Wiring<A>) {
        match wiring {
            Wiring::Next(next) => self.next = Some(next),
            Wiring::Peers(peers, seed) => {
                self.peers = Some(peers);
                self.random = seed;
            }
        }
    }

    pub(crate) fn on_read(&self) -> Reading {
        let Node { count, sum, .. } = *self;
        Reading { count, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_64_bytes_where_an_address_is_a_pointer() {
        assert_eq!(size_of::<Node<Arc<u8>>>(), 64);
    }

    #[test]
    fn a_token_goes_round_until_its_hops_are_used_up() {
        let latch = Latch::new(1);
        let mut node = Node::new(&Seed {
            latch: Some(Arc::clone(&latch)),
            ..Seed::default()
        });
        node.on_wire(Wiring::Next(7));
        assert_eq!(node.on_hop(1), Some(&7));
        assert_eq!(node.on_hop(0), None);
        assert_eq!(latch.left.load(Ordering::Relaxed), 0);
        assert_eq!(node.on_read(), Reading { count: 2, sum: 0 });
    }

    #[test]
    fn peers_are_all_chosen_now_and_then() {
        let mut node = Node::new(&Seed::default());
        node.on_wire(Wiring::Peers(
            Arc::new((0..8).collect()),
            0x9E37_79B9_7F4A_7C15,
        ));
        let mut seen = [0; 8];
        for _ in 0..1_000 {
            if let Some(&peer) = node.on_hop(1) {
                seen[peer] += 1;
            }
        }
        assert!(seen.iter().all(|times| *times > 50), "{seen:?}");
    }
}
