//! The contracts of subscriptions on worker threads, with several publishers and restarts: what holds whoever is first.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{DropReason, EventOverflow, Metric, Share, Subscription};
use greenroom_it::{Reading, number, seed, until};
use parking_lot::Mutex;

const ROOMS: [&str; 3] = ["a", "b", "c"];
/// So many events each publisher has.
const EVENTS: u32 = 4_000;

type Seen = Arc<Mutex<Vec<Reading>>>;

/// Writes down what it is given; some of it makes it fail, by dice.
struct Reader {
    seen: Seen,
    dice: Arc<AtomicU64>,
    one_in: u64,
}

#[derive(Clone)]
struct Terms {
    subscription: Subscription<Reading>,
    seen: Seen,
    dice: Arc<AtomicU64>,
    /// Of so many events one makes it fail; 0 is none.
    one_in: u64,
}

impl Terms {
    fn new(subscription: Subscription<Reading>, one_in: u64) -> Self {
        let seed = seed();
        println!("SEED={seed}");
        Terms {
            subscription,
            seen: Seen::default(),
            dice: Arc::new(AtomicU64::new(seed)),
            one_in,
        }
    }
}

impl Actor for Reader {
    type Args = Terms;
    type Error = BoxError;

    async fn start(terms: Terms, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        cx.subscribe_with(terms.subscription)?;
        Ok(Reader {
            seen: terms.seen,
            dice: terms.dice,
            one_in: terms.one_in,
        })
    }
}

impl Handler<Reading> for Reader {
    async fn handle(&mut self, reading: Reading, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.seen.lock().push(reading);
        let n = self.dice.fetch_add(1, Ordering::Relaxed);
        // The finalizer of SplitMix64 is dice enough.
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        match self.one_in > 0 && (n ^ (n >> 31)).is_multiple_of(self.one_in) {
            true => Err("unlucky".into()),
            false => Ok(()),
        }
    }
}

/// Ends the subscription, or makes it anew.
#[derive(Clone, Copy)]
struct Leave;
#[derive(Clone)]
struct Join(Subscription<Reading>);

impl Message for Leave {
    type Reply = ();
}
impl Message for Join {
    type Reply = ();
}

impl Handler<Leave> for Reader {
    async fn handle(&mut self, _: Leave, cx: &mut Context<Self>) -> Result<(), BoxError> {
        cx.unsubscribe_from::<Reading>("readings");
        Ok(())
    }
}

impl Handler<Join> for Reader {
    async fn handle(&mut self, join: Join, cx: &mut Context<Self>) -> Result<(), BoxError> {
        Ok(cx.subscribe_with(join.0)?)
    }
}

fn readings() -> Subscription<Reading> {
    Subscription::new("readings")
}

async fn start(readers: &[(&str, Terms)], capacity: usize) -> System {
    let mut tree = Supervisor::one_for_one("app")
        .restart_limit(1_000_000, Duration::from_secs(1))
        .backoff(Backoff::none());
    for (name, terms) in readers {
        tree = tree.child(Reader::spec(*name, terms.clone()).mailbox(capacity));
    }
    let system = System::builder().workers(2).start(tree).await;
    system.unwrap()
}

/// What became of events at once.
#[derive(Debug, Default)]
struct Fates {
    delivered: usize,
    buffered: usize,
    dropped: usize,
}

/// Publishes the events of one room on a thread of its own.
fn publisher(system: &System, room: &'static str) -> JoinHandle<Fates> {
    let system = system.clone();
    std::thread::spawn(move || {
        let mut fates = Fates::default();
        for n in 0..EVENTS {
            let delivery = system.publish(Reading(room, n));
            fates.delivered += delivery.delivered;
            fates.buffered += delivery.buffered;
            fates.dropped += delivery.dropped;
            if n % 64 == 0 {
                std::thread::yield_now();
            }
        }
        fates
    })
}

/// Waits without a timer: the publishers' threads need the time.
async fn joined<T: Send + 'static>(threads: Vec<JoinHandle<T>>) -> Vec<T> {
    until(|| threads.iter().all(JoinHandle::is_finished)).await;
    let results = threads.into_iter().map(JoinHandle::join);
    results.map(Result::unwrap).collect()
}

#[derive(Debug)]
struct Counted {
    matched: u64,
    delivered: u64,
    dropped: BTreeMap<&'static str, u64>,
}

impl Counted {
    fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// Waits until nothing is under way, and looks that all is counted.
async fn counted(system: &System) -> Counted {
    until(|| system.ledger().queued == 0).await;
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    let families = system.scrape();
    let name = ("subscription", "readings");
    let get = |metric| number(&families, metric, &[name]) as u64;
    let dropped = [
        DropReason::Full,
        DropReason::Stopped,
        DropReason::Expired,
        DropReason::Replaced,
        DropReason::Unsubscribed,
        DropReason::Disconnected,
        DropReason::Panicked,
    ]
    .map(|why| {
        let labels = [name, ("reason", why.as_str())];
        let n = number(&families, Metric::SubscriptionDropped, &labels) as u64;
        (why.as_str(), n)
    });
    assert_eq!(get(Metric::SubscriptionLag), 0);
    let counted = Counted {
        matched: get(Metric::SubscriptionEvents),
        delivered: get(Metric::SubscriptionDelivered),
        dropped: dropped.into_iter().filter(|(_, n)| *n > 0).collect(),
    };
    let (matched, delivered) = (counted.matched, counted.delivered);
    assert_eq!(matched, delivered + counted.lost(), "{counted:?}");
    counted
}

fn of_room(seen: &[Reading], room: &str) -> Vec<u32> {
    let own = seen.iter().filter(|reading| reading.0 == room);
    own.map(|reading| reading.1).collect()
}

fn is_in_order(seen: &[Reading]) -> bool {
    ROOMS.iter().all(|room| {
        let own = of_room(seen, room);
        own.windows(2).all(|pair| pair[0] < pair[1])
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_policy_counts_all_and_keeps_the_order_of_each_publisher() {
    let policies = [
        EventOverflow::DropNewest,
        EventOverflow::DropOldest,
        EventOverflow::LatestPerKey,
        EventOverflow::Wait(Duration::from_micros(50)),
        EventOverflow::Disconnect,
    ];
    for (overflow, one_in) in policies.into_iter().flat_map(|p| [(p, 0), (p, 16)]) {
        for buffer in [0, 4] {
            let terms = Terms::new(readings().when_full(overflow).buffer(buffer), one_in);
            let system = start(&[("it", terms.clone())], 2).await;
            let threads = ROOMS.map(|room| publisher(&system, room));
            let fates = joined(threads.into()).await;
            let counted = counted(&system).await;
            let what = format!("{overflow:?} of {buffer}, one in {one_in}: {counted:?} {fates:?}");
            let told: usize = fates
                .iter()
                .map(|fates| fates.delivered + fates.buffered + fates.dropped)
                .sum();
            assert_eq!(told as u64, counted.matched, "{what}");
            let seen = terms.seen.lock().clone();
            assert_eq!(seen.len() as u64, counted.delivered, "{what}");
            assert!(is_in_order(&seen), "{what}");
            if overflow != EventOverflow::Disconnect {
                assert_eq!(counted.matched, 3 * u64::from(EVENTS), "{what}");
            }
            if overflow == EventOverflow::LatestPerKey && buffer > 0 {
                let last = ROOMS.map(|room| of_room(&seen, room).last().copied());
                assert_eq!(last, [Some(EVENTS - 1); 3], "{what}");
                assert!(
                    counted.dropped.keys().all(|why| *why == "replaced"),
                    "{what}"
                );
            }
            let ledger = system.ledger();
            let lost = counted.lost() + ledger.handled + ledger.failed;
            assert_eq!(lost, counted.matched, "{what}: {ledger}");
            system.stop().await;
            assert!(system.ledger().is_balanced());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_where_there_is_room_for_all() {
    for (one_in, causes) in [(0, 0), (16, 0), (0, 16)] {
        let terms = Terms::new(readings().buffer(1 << 20), one_in);
        let spec = Reader::spec("it", terms.clone()).mailbox(2);
        let tree = Supervisor::one_for_one("app")
            .restart_limit(1_000_000, Duration::from_secs(1))
            .backoff(Backoff::none())
            .child(spec);
        let builder = System::builder().workers(2).keep_causes(causes);
        let system = builder.start(tree).await.unwrap();
        let threads = ROOMS.map(|room| publisher(&system, room));
        joined(threads.into()).await;
        let counted = counted(&system).await;
        assert!(counted.dropped.is_empty(), "{counted:?}");
        let seen = terms.seen.lock().clone();
        for room in ROOMS {
            assert!(of_room(&seen, room).into_iter().eq(0..EVENTS), "{room}");
        }
        system.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_meet_lose_nothing_while_the_mailbox_has_room() {
    // Where causes are kept each event carries where it comes from.
    let terms = Terms::new(readings().buffer(1), 0);
    let spec = Reader::spec("it", terms.clone()).mailbox(1 << 16);
    let tree = Supervisor::one_for_one("app").child(spec);
    let builder = System::builder().workers(2).keep_causes(16);
    let system = builder.start(tree).await.unwrap();
    let threads = ROOMS.map(|room| publisher(&system, room));
    let fates = joined(threads.into()).await;
    let counted = counted(&system).await;
    assert!(counted.dropped.is_empty(), "{counted:?}");
    assert!(fates.iter().all(|fates| fates.buffered == 0), "{fates:?}");
    assert!(is_in_order(&terms.seen.lock()));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_group_comes_to_one_though_members_come_and_go_and_fail() {
    for share in [Share::RoundRobin, Share::LeastLoaded, Share::ByKey] {
        let team = readings().group("team", share).buffer(16);
        let terms = Terms::new(team.clone(), 64);
        let names = ["n0", "n1", "n2"];
        let readers = names.map(|name| (name, terms.clone()));
        let system = start(&readers, 8).await;
        let threads: Vec<_> = ROOMS[..2]
            .iter()
            .map(|room| publisher(&system, room))
            .collect();
        let leaver = system.find::<Reader>("app/n1").unwrap();
        while !threads.iter().all(JoinHandle::is_finished) {
            let _ = leaver.ask(Leave).await;
            let _ = leaver.ask(Join(team.clone())).await;
        }
        joined(threads).await;
        let counted = counted(&system).await;
        assert_eq!(counted.matched, 2 * u64::from(EVENTS), "{share:?}");
        let seen = terms.seen.lock().clone();
        assert_eq!(seen.len() as u64, counted.delivered, "{share:?}");
        let distinct: HashSet<(&str, u32)> = seen.iter().map(|r| (r.0, r.1)).collect();
        assert_eq!(distinct.len(), seen.len(), "{share:?}: some came twice");
        system.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_while_others_publish_and_look_leaves_nothing_uncounted() {
    for round in 0..10 {
        let overflow = [EventOverflow::DropOldest, EventOverflow::LatestPerKey][round % 2];
        let terms = Terms::new(readings().when_full(overflow).buffer(4), 32);
        let system = start(&[("it", terms.clone())], 2).await;
        let threads: Vec<_> = ROOMS.iter().map(|room| publisher(&system, room)).collect();
        let app = system.supervisor("app").unwrap();
        let is_over = Arc::new(AtomicU32::new(0));
        let looker = {
            let (system, is_over) = (system.clone(), Arc::clone(&is_over));
            std::thread::spawn(move || {
                while is_over.load(Ordering::Relaxed) == 0 {
                    let _ = system.scrape();
                }
            })
        };
        until(|| terms.seen.lock().len() > 100).await;
        app.stop_child("it").await.unwrap();
        joined(threads).await;
        is_over.store(1, Ordering::Relaxed);
        joined(vec![looker]).await;
        let counted = counted(&system).await;
        assert!(counted.matched >= 100, "{counted:?}");
        assert!(is_in_order(&terms.seen.lock()), "{counted:?}");
        system.stop().await;
        assert!(system.ledger().is_balanced());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patient_publishers_lose_nothing_and_wait_for_no_wake_that_never_comes() {
    let terms = Terms::new(readings().required().buffer(1), 32);
    let system = start(&[("it", terms.clone())], 1).await;
    let publishers = ROOMS.map(|room| {
        let system = system.clone();
        tokio::spawn(async move {
            for n in 0..EVENTS / 4 {
                let delivery = system.publish(Reading(room, n));
                let within = Duration::from_secs(10);
                let delivery = delivery.await_required(within).await.unwrap();
                assert_eq!((delivery.delivered, delivery.buffered), (1, 0));
            }
        })
    });
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let counted = counted(&system).await;
    assert_eq!(counted.delivered, 3 * u64::from(EVENTS / 4), "{counted:?}");
    let seen = terms.seen.lock().clone();
    for room in ROOMS {
        assert!(of_room(&seen, room).into_iter().eq(0..EVENTS / 4));
    }
    system.stop().await;
}
