//! Who waits for whom inside handlers: the edges of a graph that finds cycles of asks at once, and is looked at for others.
//!
//! ```text
//!   handler of a asks b          a's node ──> b's node ──> ...
//!                                   edge: for as long as the ask waits
//! ```
//!
//! An ask that is answered on the asker's own stack has no edge: it is seen in
//! the [frames](crate::core::frames) of the thread. Its edge is made up for
//! before anything of it can be met by another thread: before the one that was
//! asked asks on, and before its run ends without an answer.
//!
//! **Nobody is missed.** An ask that has to wait first puts its edge into the
//! asker's node and then walks from the callee, each step under the lock of one
//! node. Let some asks close a cycle together and each of them miss an edge of
//! it: then each has looked at a node before that edge was put there, so its own
//! edge is older than that one. This goes round the cycle, so it cannot be: one
//! of them sees it, while its message is still its own to give back.
//!
//! **Nothing stays.** An edge holds nodes, which are a path and a list, and no
//! roles. It goes with the ask; while an answer is there that the asker has not
//! taken yet, it does not count.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use parking_lot::Mutex;

use crate::Path;
use crate::core::lock::Lock;
use crate::core::slot::Answer;

/// An actor as one that waits and is waited for.
pub(crate) struct Node {
    path: Path,
    waits: Lock<Waits>,
    stall: Stall,
}

#[derive(Default)]
struct Waits {
    next: u64,
    list: Vec<Wait>,
}

#[derive(Clone)]
struct Wait {
    id: u64,
    to: Arc<Node>,
    why: Why,
}

#[derive(Clone)]
enum Why {
    Reply(Arc<dyn Owed>),
    Room,
    End,
}

/// An answer that somebody waits for.
trait Owed: Send + Sync {
    fn is_settled(&self) -> bool;
    /// The same for who must not be held up by the asker's code: `true` where the asker is at it.
    fn seems_settled(&self) -> bool;
}

/// What a handler waits for of another actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitsFor {
    /// The reply to what it asked.
    Reply,
    /// Room in the mailbox for what it tells or publishes.
    Room,
    /// The end of its life, which it has [asked for](crate::ActorRef::stop).
    End,
}

/// One edge as it was seen from outside.
#[derive(Clone)]
pub(crate) struct Seen {
    /// Tells it from all other edges of its node.
    pub(crate) id: u64,
    pub(crate) to: Arc<Node>,
    pub(crate) why: WaitsFor,
}

/// How long the message in hand has been there, as far as was seen.
#[derive(Default)]
struct Stall {
    /// Which one it is, plus one.
    work: AtomicU64,
    /// When it was first seen, in nanoseconds of the watch's clock.
    since: AtomicU64,
    /// For how long, once that is too long.
    stuck: AtomicU64,
}

impl Node {
    pub(crate) fn new(path: Path) -> Arc<Self> {
        Arc::new(Node {
            path,
            waits: Lock::new(Waits::default()),
            stall: Stall::default(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn add(self: &Arc<Self>, to: &Arc<Node>, why: Why) -> Edge {
        let to = Arc::clone(to);
        let id = self.waits.with(|waits| {
            let id = waits.next;
            waits.next += 1;
            waits.list.push(Wait { id, to, why });
            id
        });
        Edge {
            from: Arc::clone(self),
            id,
        }
    }

    /// Notes that this one waits for room at `to`.
    pub(crate) fn wait_for_room(self: &Arc<Self>, to: &Arc<Node>) -> Edge {
        self.add(to, Why::Room)
    }

    /// Notes that this one waits for the end of `to`.
    pub(crate) fn wait_for_end(self: &Arc<Self>, to: &Arc<Node>) -> Edge {
        self.add(to, Why::End)
    }

    /// Forgets what a life that was left behind waits for, and how long it has had its message in hand: a role that
    /// ended counts its messages anew.
    pub(crate) fn clear(&self) {
        self.stall.work.store(0, Ordering::Release);
        let gone = self.waits.with(|waits| std::mem::take(&mut waits.list));
        drop(gone);
    }

    fn list(&self) -> Vec<Wait> {
        self.waits.with(|waits| waits.list.clone())
    }

    /// Whom its handler waits for now; for who must not be held up.
    pub(crate) fn waits(&self) -> Vec<Seen> {
        let seen = self.list().into_iter().filter_map(|wait| {
            let why = match &wait.why {
                Why::Reply(owed) if owed.seems_settled() => return None,
                Why::Reply(_) => WaitsFor::Reply,
                Why::Room => WaitsFor::Room,
                Why::End => WaitsFor::End,
            };
            let (id, to) = (wait.id, wait.to);
            Some(Seen { id, to, why })
        });
        seen.collect()
    }

    /// Whom its handler has asked, or told to stop, and waits for now.
    fn asked(&self) -> Vec<Arc<Node>> {
        let asked = self.list().into_iter().filter_map(|wait| match &wait.why {
            Why::Reply(owed) => (!owed.is_settled()).then_some(wait.to),
            Why::End => Some(wait.to),
            Why::Room => None,
        });
        asked.collect()
    }

    /// Returns the way along asks from here to `end`, both included, if there is one.
    pub(crate) fn way_to(self: &Arc<Self>, end: &Arc<Node>) -> Option<Vec<Path>> {
        if !Arc::ptr_eq(self, end) && self.waits.with(|waits| waits.list.is_empty()) {
            return None;
        }
        // Each node that was reached, and from where.
        let mut reached = vec![(Arc::clone(self), 0)];
        let mut at = 0;
        while at < reached.len() {
            if Arc::ptr_eq(&reached[at].0, end) {
                let mut way = vec![reached[at].0.path.clone()];
                while at != 0 {
                    at = reached[at].1;
                    way.push(reached[at].0.path.clone());
                }
                way.reverse();
                return Some(way);
            }
            for next in reached[at].0.asked() {
                if !reached.iter().any(|(known, _)| Arc::ptr_eq(known, &next)) {
                    reached.push((next, at));
                }
            }
            at += 1;
        }
        None
    }

    // ===== what is in hand =====

    /// Takes note that this message is in hand; returns for how long, when that has just become too long.
    pub(crate) fn see_work(&self, work: u64, now: Duration, limit: Duration) -> Option<Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let Stall {
            work: at,
            since,
            stuck,
        } = &self.stall;
        if at.load(Ordering::Relaxed) != work + 1 {
            stuck.store(0, Ordering::Relaxed);
            since.store(now, Ordering::Relaxed);
            at.store(work + 1, Ordering::Release);
            return None;
        }
        let nanos = now.saturating_sub(since.load(Ordering::Relaxed)).max(1);
        let time = Duration::from_nanos(nanos);
        if time < limit {
            return None;
        }
        (stuck.swap(nanos, Ordering::Relaxed) == 0).then_some(time)
    }

    /// For how long this message was in hand at the latest look, if that is too long.
    pub(crate) fn stuck_for(&self, work: u64) -> Option<Duration> {
        if self.stall.work.load(Ordering::Acquire) != work + 1 {
            return None;
        }
        let nanos = self.stall.stuck.load(Ordering::Relaxed);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }
}

/// An edge of the graph, for as long as it exists.
pub(crate) struct Edge {
    from: Arc<Node>,
    id: u64,
}

impl Drop for Edge {
    fn drop(&mut self) {
        let gone = self.from.waits.with(|waits| {
            let at = waits.list.iter().position(|wait| wait.id == self.id)?;
            Some(waits.list.swap_remove(at))
        });
        // Not under the lock: with it may go the last of a node.
        drop(gone);
    }
}

/// The answer that an ask waits for: its own, until there is an edge that has to know of it.
pub(crate) enum Awaited<T: Send + 'static> {
    Own(Answer<T>),
    Known(Known<T>),
}

/// An answer of which the graph knows.
pub(crate) struct Known<T: Send + 'static> {
    answer: Arc<Mutex<Answer<T>>>,
    _edge: Edge,
}

impl<T: Send + 'static> Owed for Mutex<Answer<T>> {
    fn is_settled(&self) -> bool {
        self.lock().is_settled()
    }

    fn seems_settled(&self) -> bool {
        self.try_lock().is_none_or(|answer| answer.is_settled())
    }
}

impl<T: Send + 'static> Drop for Known<T> {
    fn drop(&mut self) {
        // Here and by nobody who walks along: with it goes what may be an author's.
        let answer = std::mem::replace(&mut *self.answer.lock(), Answer::over());
        drop(answer);
    }
}

impl<T: Send + 'static> Awaited<T> {
    pub(crate) fn poll(&mut self, cx: &mut Task<'_>) -> Poll<Option<T>> {
        match self {
            Awaited::Own(answer) => answer.poll(cx),
            Awaited::Known(known) => known.answer.lock().poll(cx),
        }
    }
}

/// Where an ask that is being made has its answer, for whoever is asked on its stack.
pub(crate) struct Asking<T: Send + 'static> {
    answer: Cell<Answer<T>>,
    /// It holds the answer once the graph knows of it.
    known: Cell<Option<Known<T>>>,
}

/// An [`Asking`] whose answer's type is forgotten.
pub(crate) trait AnyAsking {
    /// Whether the answer is still owed.
    fn is_open(&self) -> bool;
    /// Puts an edge into the graph, unless there is one.
    fn publish(&self, from: &Arc<Node>, to: &Arc<Node>);
}

/// Any ask that is being made.
pub(crate) type DynAsking = dyn AnyAsking;

impl<T: Send + 'static> Asking<T> {
    #[inline(always)]
    pub(crate) fn new(answer: Answer<T>) -> Self {
        Asking {
            answer: Cell::new(answer),
            known: Cell::new(None),
        }
    }

    #[inline(always)]
    pub(crate) fn into_inner(self) -> Awaited<T> {
        match self.known.into_inner() {
            None => Awaited::Own(self.answer.into_inner()),
            Some(known) => Awaited::Known(known),
        }
    }
}

impl<T: Send + 'static> AnyAsking for Asking<T> {
    #[cold]
    fn is_open(&self) -> bool {
        let (answer, known) = (self.answer.replace(Answer::over()), self.known.take());
        let is_open = match &known {
            None => !answer.is_settled(),
            Some(known) => !known.answer.is_settled(),
        };
        self.answer.set(answer);
        self.known.set(known);
        is_open
    }

    #[cold]
    fn publish(&self, from: &Arc<Node>, to: &Arc<Node>) {
        let known = self.known.take().unwrap_or_else(|| {
            let answer = Arc::new(Mutex::new(self.answer.replace(Answer::over())));
            let owed = Arc::clone(&answer) as Arc<dyn Owed>;
            let edge = from.add(to, Why::Reply(owed));
            Known {
                answer,
                _edge: edge,
            }
        });
        self.known.set(Some(known));
    }
}
