//! Who watches a role: told, or ended with it, when a life of it is over.
//!
//! ```text
//!   a life ends          the supervisor has decided            the watcher
//!        |                           |                              |
//!        v                           v                              |
//!    fall: those who          announce: they are told,       ---->  behind what the
//!    watch it are put         once the next life goes on            dead life had
//!    aside                    or the role is released               told it
//! ```
//!
//! Whoever watches a role watches the life that goes on, or the next one where
//! none does; so who has just been told can watch again without being told at once.
//! Which one it is, is read under the lock of the list. The mailbox is asked for
//! it, in a section of its own: either that sees that the life is over, or the end
//! of the life, which comes later, sees the list.
//!
//! A link stands in the lists of both roles, under the identity of the other.
//! It is put there, and taken back, under the locks of both, the one with the
//! lower address first; so whichever of two sides links or unlinks later has the
//! last word.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Sleep;

use crate::waits::Node;
use crate::{Down, ExitReason, Path};

/// A role whose lives can be watched.
pub(crate) trait Watched: Send + Sync {
    fn path(&self) -> &Path;
    /// What tells it from all others while it exists.
    fn identity(&self) -> usize;
    fn watchers(&self) -> &Watchers;
    /// The number of the life that goes on; of the next one, and `false`, where none does.
    fn life(&self) -> (u64, bool);
    /// Whether there is no next life, unless somebody starts the role anew.
    fn is_retired(&self) -> bool;
}

/// An actor's role, whose lives can be ended by others too; a supervisor's are the affair of the one above it.
pub(crate) trait Linked: Watched {
    /// Asks this life to end normally after the current message.
    fn end(&self, incarnation: u64);
    /// Lets this life hear that one that it was linked to has ended.
    fn hear(&self, incarnation: u64, end: LinkedEnd);
    /// Its place in the graph of who waits for whom.
    fn node(&self) -> &Arc<Node>;
    fn sleep(&self, time: Duration) -> Pin<Box<Sleep>>;
}

/// Somebody who is told of one end, once.
pub(crate) trait Watcher: Send + Sync {
    fn seat(&self) -> &Seat;
    fn tell(&self, down: &Down);
    /// From here on it does not want to be told.
    fn cancel(&self) {}
}

/// Where a watcher is written down.
pub(crate) struct Seat {
    role: Weak<dyn Watched>,
    /// Given with the place.
    number: AtomicU64,
}

impl Seat {
    pub(crate) fn at(role: &Arc<dyn Watched>) -> Self {
        Seat {
            role: Arc::downgrade(role),
            number: AtomicU64::new(u64::MAX),
        }
    }

    /// The path of whom it is at, unless that is forgotten by all.
    pub(crate) fn path(&self) -> Option<Path> {
        Some(self.role.upgrade()?.path().clone())
    }

    /// Takes the watcher out of the list that it is in.
    pub(crate) fn leave(&self) {
        if let Some(role) = self.role.upgrade() {
            let gone = role.watchers().remove(self.number.load(Ordering::Relaxed));
            drop(gone);
        }
    }
}

/// Who watches one role.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<List>);

#[derive(Default)]
struct List {
    next: u64,
    watching: BTreeMap<u64, Watching>,
    /// By the identity of the other end.
    links: BTreeMap<usize, Arc<Link>>,
    /// Lives that have ended, until the supervisor has decided what follows.
    fallen: Vec<Fallen>,
}

struct Watching {
    /// Which life.
    life: u64,
    watcher: Arc<dyn Watcher>,
}

/// A life that has ended, and who is to be told.
struct Fallen {
    down: Down,
    watchers: Vec<Arc<dyn Watcher>>,
    links: Vec<Arc<Link>>,
}

impl Watchers {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock()
    }

    /// A life is over: whoever watches it is put aside, to be told by [`announce`](Self::announce).
    pub(crate) fn fall(
        &self,
        role: &dyn Watched,
        incarnation: u64,
        reason: impl FnOnce() -> ExitReason,
    ) {
        let mut list = self.list();
        let (mut watchers, mut links) = (Vec::new(), Vec::new());
        // Those who came since its end watch the next one.
        list.watching.retain(|_, watching| {
            let stays = watching.life > incarnation;
            if !stays {
                watchers.push(Arc::clone(&watching.watcher));
            }
            stays
        });
        list.links.retain(|_, link| {
            let stays = link.life_of(role) > incarnation;
            if !stays {
                links.push(Arc::clone(link));
            }
            stays
        });
        if !watchers.is_empty() || !links.is_empty() {
            let down = Down::new(role.path(), incarnation, reason());
            list.fallen.push(Fallen {
                down,
                watchers,
                links,
            });
        }
    }

    /// Tells those who watched lives that are over; of a role that `is_gone` also those who wait for a next one.
    ///
    /// To be called under no lock: what does not fit into a mailbox is dropped, which is an author's code.
    pub(crate) fn announce(&self, role: &dyn Watched, is_gone: bool) {
        let fallen = {
            let mut list = self.list();
            let mut fallen = std::mem::take(&mut list.fallen);
            if is_gone && !(list.watching.is_empty() && list.links.is_empty()) {
                let left = std::mem::take(&mut list.watching).into_values();
                fallen.push(Fallen {
                    down: not_running(role),
                    watchers: left.map(|watching| watching.watcher).collect(),
                    links: std::mem::take(&mut list.links).into_values().collect(),
                });
            }
            fallen
        };
        for Fallen {
            down,
            watchers,
            links,
        } in fallen
        {
            for watcher in watchers {
                watcher.tell(&down);
            }
            for link in links {
                link.ended(role, &down);
            }
        }
    }

    fn remove(&self, number: u64) -> Option<Arc<dyn Watcher>> {
        let watching = self.0.lock().watching.remove(&number)?;
        Some(watching.watcher)
    }
}

fn not_running(role: &dyn Watched) -> Down {
    let (next, goes_on) = role.life();
    let latest = next - u64::from(!goes_on);
    Down::new(role.path(), latest, ExitReason::NotRunning)
}

/// Lets somebody watch the life that goes on, or the next one; where the role has ended it is told at once.
pub(crate) fn watch(role: &dyn Watched, watcher: Arc<dyn Watcher>) {
    let number = {
        let mut list = role.watchers().list();
        let (life, _) = role.life();
        list.add(life, watcher)
    };
    // Either this sees that the role has ended, or whoever ends it sees that somebody watches.
    fence(Ordering::SeqCst);
    if role.is_retired()
        && let Some(watcher) = role.watchers().remove(number)
    {
        watcher.tell(&not_running(role));
    }
}

/// The same for who is only concerned with a life that goes on; returns which one that is.
pub(crate) fn watch_running(role: &dyn Watched, watcher: Arc<dyn Watcher>) -> Option<u64> {
    let mut list = role.watchers().list();
    let (life, goes_on) = role.life();
    if goes_on {
        list.add(life, watcher);
    }
    goes_on.then_some(life)
}

impl List {
    fn add(&mut self, life: u64, watcher: Arc<dyn Watcher>) -> u64 {
        let number = self.next;
        self.next += 1;
        watcher.seat().number.store(number, Ordering::Relaxed);
        self.watching.insert(number, Watching { life, watcher });
        number
    }
}

// ===== links =====

/// What binds two lives.
struct Link {
    /// It was taken back: whoever is told of an end of the other has nothing to do with it any more.
    ///
    /// Shared with the link in whose place it came, of an earlier life whose end may have come and not been heard yet.
    is_off: Arc<AtomicBool>,
    ends: [End; 2],
}

struct End {
    role: Weak<dyn Linked>,
    identity: usize,
    life: u64,
}

/// The end of a life that another one was linked to.
pub(crate) struct LinkedEnd {
    link: Arc<Link>,
    pub(crate) down: Down,
}

impl LinkedEnd {
    /// Whether the link has not been taken back meanwhile.
    pub(crate) fn is_meant(&self) -> bool {
        !self.link.is_off.load(Ordering::Acquire)
    }
}

impl Link {
    /// Which life of this role it binds.
    fn life_of(&self, role: &dyn Watched) -> u64 {
        let [one, other] = &self.ends;
        if one.identity == role.identity() {
            one.life
        } else {
            other.life
        }
    }

    /// The life of this role has ended: the other fails, or is free of it.
    fn ended(self: Arc<Self>, role: &dyn Watched, down: &Down) {
        let me = role.identity();
        let [one, other] = &self.ends;
        let other = if one.identity == me { other } else { one };
        let life = other.life;
        let Some(other) = other.role.upgrade() else {
            return;
        };
        if matches!(down.reason, ExitReason::Normal) {
            let mut list = other.watchers().list();
            let is_this = |link: &Arc<Link>| Arc::ptr_eq(link, &self);
            if list.links.get(&me).is_some_and(is_this) {
                list.links.remove(&me);
            }
            return;
        }
        // It stays in the list of that life, which may still take it back.
        let down = down.clone();
        other.hear(life, LinkedEnd { link: self, down });
    }
}

/// Links the life of `mine`, if it still goes on, to that of `other` which goes on, or to the next one.
pub(crate) fn link(mine: &Arc<dyn Linked>, life: u64, other: &Arc<dyn Linked>) {
    let (me, them) = (mine.identity(), other.identity());
    if me == them {
        return;
    }
    {
        let (mut my_list, mut their_list) = lists(&**mine, &**other);
        if mine.life() != (life, true) {
            return;
        }
        let (their_life, _) = other.life();
        let known = my_list.links.get(&them);
        if known.is_some_and(|link| link.life_of(&**other) == their_life) {
            return;
        }
        let end = |role: &Arc<dyn Linked>, life| End {
            role: Arc::downgrade(role),
            identity: role.identity(),
            life,
        };
        // Of earlier lives at most one side has one: each would have to be older than the other.
        let earlier = known.or_else(|| their_list.links.get(&me));
        let is_off = earlier.map_or_else(Arc::default, |link| Arc::clone(&link.is_off));
        let link = Arc::new(Link {
            is_off,
            ends: [end(mine, life), end(other, their_life)],
        });
        my_list.links.insert(them, Arc::clone(&link));
        their_list.links.insert(me, link);
    }
    // Either this sees that the role has ended, or whoever ends it sees the link.
    fence(Ordering::SeqCst);
    if other.is_retired() {
        let link = other.watchers().list().links.remove(&me);
        if let Some(link) = link {
            link.ended(&**other, &not_running(&**other));
        }
    }
}

/// Takes the link of two roles back.
pub(crate) fn unlink(mine: &dyn Watched, other: &dyn Watched) {
    let (me, them) = (mine.identity(), other.identity());
    if me == them {
        return;
    }
    let (mut my_list, mut their_list) = lists(mine, other);
    let links = [my_list.links.remove(&them), their_list.links.remove(&me)];
    for link in links.iter().flatten() {
        link.is_off.store(true, Ordering::Release);
    }
}

/// Locks the lists of two roles that are not the same.
fn lists<'a>(
    mine: &'a dyn Watched,
    other: &'a dyn Watched,
) -> (MutexGuard<'a, List>, MutexGuard<'a, List>) {
    if mine.identity() < other.identity() {
        let my_list = mine.watchers().list();
        (my_list, other.watchers().list())
    } else {
        let their_list = other.watchers().list();
        (mine.watchers().list(), their_list)
    }
}

#[cfg(all(test, not(greenroom_loom)))]
#[allow(
    clippy::expect_used,
    reason = "a test that cannot go on shall fail where it stands"
)]
mod tests {
    use std::convert::Infallible;

    use crate::{Actor, ActorRef, Context, Down, Handler, Message, Restart, Supervisor, System};

    struct Party;

    impl Actor for Party {
        type Args = ();
        type Error = Infallible;

        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
            Ok(Party)
        }
    }

    type Doing = Box<dyn FnOnce(&mut Context<Party>) + Send>;

    struct Do(Doing);

    impl Message for Do {
        type Reply = ();
    }

    impl Handler<Do> for Party {
        async fn handle(&mut self, Do(f): Do, cx: &mut Context<Self>) -> Result<(), Infallible> {
            f(cx);
            Ok(())
        }
    }

    impl Handler<Down> for Party {
        async fn handle(&mut self, _: Down, _: &mut Context<Self>) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// How many watch, are linked, and wait to be told.
    fn sizes(role: &ActorRef<Party>) -> [usize; 3] {
        let role = role.watched();
        let list = role.watchers().list();
        [list.watching.len(), list.links.len(), list.fallen.len()]
    }

    async fn run(it: &ActorRef<Party>, f: impl FnOnce(&mut Context<Party>) + Send + 'static) {
        it.ask(Do(Box::new(f))).await.expect("it runs");
    }

    async fn two() -> (System, ActorRef<Party>, ActorRef<Party>) {
        let tree = Supervisor::one_for_one("app")
            .restart_limit(10_000, std::time::Duration::from_secs(1))
            .backoff(crate::Backoff::none())
            .child(Party::spec("a", ()))
            .child(Party::spec("b", ()).restart(Restart::Permanent));
        let builder = System::builder().in_current_runtime();
        let system = builder.start(tree).await.expect("it starts");
        let find = |path| system.find::<Party>(path).expect("it is there");
        let (a, b) = (find("app/a"), find("app/b"));
        (system, a, b)
    }

    #[tokio::test(start_paused = true)]
    async fn m04_the_lists_are_empty_after_any_number_of_rounds() {
        let (system, a, b) = two().await;
        for round in 0..1000 {
            let other = b.clone();
            run(&a, move |cx| {
                let monitor = cx.monitor(&other);
                cx.link(&other);
                cx.monitor(&other);
                if round % 2 == 0 {
                    monitor.cancel();
                    cx.unlink(&other);
                }
            })
            .await;
            let left = usize::from(round % 2 == 1);
            assert_eq!(sizes(&b), [1 + left, left, 0], "round {round}");
            match round % 3 {
                0 => b.stop().await.expect("it stops"),
                1 => b.kill(),
                _ => a.kill(),
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            // Where only the one that watched has ended, it took its watches with it.
            assert_eq!([sizes(&a), sizes(&b)], [[0; 3]; 2], "round {round}");
        }
        system.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn m04_a_life_that_watches_again_and_again_does_not_grow() {
        let (system, a, b) = two().await;
        run(&a, move |cx| {
            for _ in 0..100_000 {
                cx.monitor(&b).cancel();
            }
            assert!(cx.watching() < 16, "{}", cx.watching());
        })
        .await;
        system.stop().await;
    }
}
