//! Subscriptions on random terms, under random faults: no event is in no count, none overtakes another, and none stays
//! in a buffer for ever.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{
    Delivery, EventOverflow, Gap, Metric, Overflow, Restart, Share, SubscribeError, Subscription,
    Value,
};
use greenroom_testkit::{Checks, Faults, Sim, pass, simulate};
use parking_lot::Mutex;

const ROOMS: [&str; 4] = ["attic", "bath", "cellar", "den"];

/// Numbered by who published it.
#[derive(Clone, Debug)]
struct News {
    from: &'static str,
    n: u64,
    room: &'static str,
}

impl Event for News {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.room.into())
    }
}

/// The same, and the last of three rooms is retained.
#[derive(Clone, Debug)]
struct State {
    room: &'static str,
}

impl Event for State {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.room.into())
    }

    fn retained() -> usize {
        3
    }
}

/// To be published by a handler.
#[derive(Debug)]
struct Publish(usize);

impl Message for Publish {
    type Reply = ();
}

#[derive(Clone)]
struct World {
    sim: Sim,
    /// The latest number of each publisher.
    numbers: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl World {
    fn news(&self, from: &'static str) -> News {
        let mut numbers = self.numbers.lock();
        let n = numbers.entry(from).or_default();
        *n += 1;
        News {
            from,
            n: *n,
            room: self.room(),
        }
    }

    fn room(&self) -> &'static str {
        ROOMS[self.sim.choose(ROOMS.len())]
    }

    /// Terms as the dice say.
    fn terms<E: Event>(&self, name: &str, me: &ActorRef<Listener>) -> Subscription<E> {
        let sim = &self.sim;
        let overflow = [
            EventOverflow::DropNewest,
            EventOverflow::DropOldest,
            EventOverflow::LatestPerKey,
            EventOverflow::Wait(Duration::from_millis(30)),
            EventOverflow::Disconnect,
        ];
        let shares = [Share::RoundRobin, Share::LeastLoaded, Share::ByKey];
        let mut terms = Subscription::new(name)
            .when_full(overflow[sim.choose(5)])
            .buffer([4, 0, 1, 2][sim.choose(4)]);
        if sim.chance(1, 2) {
            terms = terms.gaps_to(me.clone());
        }
        if sim.chance(1, 4) {
            terms = terms.group("team", shares[sim.choose(3)]);
        }
        if sim.chance(1, 4) {
            terms = terms.key(self.room());
        }
        if sim.chance(1, 4) {
            terms = terms.filter(|_| true).priority(sim.choose(3) as i32 - 1);
        }
        if sim.chance(1, 4) {
            terms = terms.required();
        }
        terms
    }
}

struct Listener(World);

impl Actor for Listener {
    type Args = World;
    type Error = SubscribeError;

    async fn start(world: World, cx: &mut Context<Self>) -> Result<Self, SubscribeError> {
        let me = cx.me();
        // Half of all lives leave it at the terms that the role has.
        if cx.incarnation() == 1 || world.sim.chance(1, 2) {
            cx.subscribe_with(world.terms::<News>("news", &me))?;
            cx.subscribe_with(world.terms::<State>("state", &me).replay())?;
        }
        Ok(Listener(world))
    }
}

impl Listener {
    async fn take_time(&self, cx: &mut Context<Self>) {
        let sim = &self.0.sim;
        match sim.choose(10) {
            0..=5 => {}
            6 | 7 => pass(Duration::from_millis([1, 20, 200][sim.choose(3)])).await,
            8 => {
                let terms = self.0.terms::<News>("news", &cx.me());
                let _ = cx.subscribe_with(terms);
            }
            _ => cx.unsubscribe_from::<State>("state"),
        }
    }
}

impl Handler<News> for Listener {
    async fn handle(&mut self, _: News, cx: &mut Context<Self>) -> Result<(), SubscribeError> {
        self.take_time(cx).await;
        Ok(())
    }
}

impl Handler<State> for Listener {
    async fn handle(&mut self, _: State, cx: &mut Context<Self>) -> Result<(), SubscribeError> {
        self.take_time(cx).await;
        Ok(())
    }
}

impl Handler<Gap> for Listener {
    async fn handle(&mut self, _: Gap, _: &mut Context<Self>) -> Result<(), SubscribeError> {
        Ok(())
    }
}

struct Publisher(World);

impl Actor for Publisher {
    type Args = World;
    type Error = SubscribeError;

    async fn start(world: World, _: &mut Context<Self>) -> Result<Self, SubscribeError> {
        Ok(Publisher(world))
    }
}

impl Handler<Publish> for Publisher {
    async fn handle(
        &mut self,
        publish: Publish,
        cx: &mut Context<Self>,
    ) -> Result<(), SubscribeError> {
        for _ in 0..publish.0 {
            let delivery = cx.publish(self.0.news("the publisher"));
            wait_perhaps(&self.0.sim, delivery).await;
        }
        Ok(())
    }
}

async fn wait_perhaps(sim: &Sim, delivery: Delivery) {
    if sim.chance(1, 2) {
        // Whether they have it in time is as the dice say.
        let _ = delivery.await_required(Duration::from_millis(15)).await;
    }
}

async fn scenario(sim: Sim) {
    let world = World {
        sim: sim.clone(),
        numbers: Arc::default(),
    };
    let overflow = [
        Overflow::Wait,
        Overflow::Wait,
        Overflow::DropOldest,
        Overflow::Reject,
    ];
    let restart = [Restart::Permanent, Restart::Permanent, Restart::Transient];
    let mut tree = Supervisor::one_for_one("home")
        .restart_limit(1_000, Duration::from_secs(1))
        .backoff(Backoff::none())
        .child(Publisher::spec("publisher", world.clone()));
    for n in 0..=sim.choose(3) {
        let listener = Listener::spec(format!("l{n}"), world.clone())
            .mailbox([1, 2, 3, 64][sim.choose(4)])
            .overflow(overflow[sim.choose(4)])
            .restart(restart[sim.choose(3)]);
        tree = tree.child(listener);
    }
    let system = sim.start(tree).await.unwrap();
    let publisher = system.find::<Publisher>("home/publisher").unwrap();
    for _ in 0..sim.choose(30) {
        match sim.choose(8) {
            0..=2 => {
                let delivery = system.publish(world.news("the test"));
                wait_perhaps(&sim, delivery).await;
            }
            3 | 4 => {
                let _ = system.publish(State { room: world.room() });
            }
            5 | 6 => drop(publisher.try_tell(Publish(1 + sim.choose(5)))),
            _ => pass(Duration::from_millis([1, 10, 100][sim.choose(3)])).await,
        }
        check(&sim, &system, false);
    }
    sim.calm();
    pass(Duration::from_secs(120)).await;
    check(&sim, &system, true);
}

/// Whether each event of each subscription is in one count, and none is left behind.
fn check(sim: &Sim, system: &System, is_at_rest: bool) {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for family in system.scrape() {
        let sign = match family.metric {
            Metric::SubscriptionEvents => 1,
            Metric::SubscriptionDelivered | Metric::SubscriptionDropped => -1,
            Metric::SubscriptionLag => -1,
            _ => continue,
        };
        for sample in family.samples {
            let Value::Number(n) = sample.value else {
                continue;
            };
            let mut labels = sample.labels.iter();
            let name = labels.find(|(label, _)| *label == "subscription");
            let name = name.map_or("", |(_, name)| name).to_owned();
            if is_at_rest && family.metric == Metric::SubscriptionLag && n > 0.0 {
                sim.fail(format_args!("{name} keeps {n} events for ever"));
            }
            *sums.entry(name).or_default() += sign * n as i64;
        }
    }
    for (name, sum) in sums {
        if sum != 0 {
            sim.fail(format_args!("{sum} events of {name} are in no count"));
        }
    }
}

#[test]
fn no_contract_loses_count_or_order_whatever_goes_wrong() {
    let checks = Checks::all().order(|news: &News| (news.from.to_owned(), news.n));
    simulate(scenario)
        .faults(Faults::new().random(20))
        .checks(checks)
        .show::<News>()
        .show::<State>()
        .show::<Gap>()
        .seeds(0..300)
        .run();
}
