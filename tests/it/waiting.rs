//! Actors that wait for each other: cycles are told of at once, and whoever does not get on is seen from outside.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{
    ActorInfo, ActorStuck, AskError, Builder, DeadlockSuspected, Family, Metric, Value, WaitsFor,
};
use greenroom_it::{Log, settle};
use tokio::sync::{Semaphore, mpsc as channel};

const SOON: Duration = Duration::from_secs(20);

// ===== actors =====

/// An actor that asks others on behalf of whoever asks it.
struct Peer {
    script: Script,
}

#[derive(Clone)]
struct Script {
    log: Log,
    gate: Arc<Semaphore>,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            log: Log::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Actor for Peer {
    type Args = Script;
    type Error = Infallible;

    async fn start(script: Script, _: &mut Context<Self>) -> Result<Self, Infallible> {
        Ok(Peer { script })
    }
}

impl Peer {
    async fn held(&self) {
        if let Ok(permit) = self.script.gate.acquire().await {
            permit.forget();
        }
    }
}

macro_rules! messages {
    ($($name:ident -> $reply:ty;)*) => {$(
        impl Message for $name {
            type Reply = $reply;
        }
    )*};
}

type Route = Vec<&'static str>;

/// Asks the first of the route to go on with the rest; answers with what came of it.
#[derive(Clone)]
struct Visit(Route);
/// Visits both routes at the same time.
struct Both(Route, Route);
/// Waits for the gate, visits the route and writes down what came of it.
#[derive(Clone)]
struct Later(Route);
/// Writes down what came of a visit right away.
#[derive(Clone)]
struct Now(Route);
/// Asks one to be held, but not for long.
struct Impatient(&'static str);
/// Asks one to be held, polls that once and drops it.
struct Fickle(&'static str);
/// Lets the actor tell itself to visit the route, and answers before it does.
struct AndThen(Route);
/// Visits the route in the background, and writes down what came of it.
struct Beside(Route);
/// What came of a visit in the background.
struct Came(String);
/// Is held at the gate.
#[derive(Clone)]
struct Hold;
/// Tells one to hold, once the gate is open, and waits for room.
#[derive(Clone)]
struct Press(&'static str);
/// Blocks its thread.
struct Block(mpsc::Receiver<()>);

messages! {
    Visit -> String;
    Both -> String;
    Later -> ();
    Now -> ();
    Impatient -> String;
    Fickle -> ();
    AndThen -> ();
    Beside -> ();
    Came -> ();
    Hold -> ();
    Press -> ();
    Block -> ();
}

fn peer(system: &System, name: &str) -> ActorRef<Peer> {
    system.find(&format!("app/{name}")).unwrap()
}

/// Goes the route from here; an answer is a word, or the names in a cycle.
async fn visit(system: System, route: Route) -> String {
    let [first, rest @ ..] = &route[..] else {
        return "there".to_owned();
    };
    match peer(&system, first).ask(Visit(rest.to_vec())).await {
        Ok(answer) => answer,
        Err(AskError::Cycle {
            cycle,
            message: Visit(message),
            path,
        }) => {
            assert_eq!(message, rest, "the message comes back");
            assert_eq!(path.name(), *first);
            let names: Vec<&str> = cycle.iter().map(|path| path.name()).collect();
            format!("cycle {}", names.join(" "))
        }
        Err(error) => error.to_string(),
    }
}

type Ran<T = ()> = Result<T, Infallible>;

impl Handler<Visit> for Peer {
    async fn handle(&mut self, Visit(route): Visit, cx: &mut Context<Self>) -> Ran<String> {
        Ok(visit(cx.system(), route).await)
    }
}

impl Handler<Both> for Peer {
    async fn handle(&mut self, Both(one, other): Both, cx: &mut Context<Self>) -> Ran<String> {
        let (one, other) = tokio::join!(visit(cx.system(), one), visit(cx.system(), other));
        Ok(format!("{one}, {other}"))
    }
}

impl Handler<Later> for Peer {
    async fn handle(&mut self, Later(route): Later, cx: &mut Context<Self>) -> Ran {
        self.held().await;
        self.script.log.add(visit(cx.system(), route).await);
        Ok(())
    }
}

impl Handler<Now> for Peer {
    async fn handle(&mut self, Now(route): Now, cx: &mut Context<Self>) -> Ran {
        self.script.log.add(visit(cx.system(), route).await);
        Ok(())
    }
}

impl Handler<Impatient> for Peer {
    async fn handle(&mut self, Impatient(name): Impatient, cx: &mut Context<Self>) -> Ran<String> {
        let other = peer(&cx.system(), name);
        let asked = other.ask(Hold).within(Duration::from_millis(10)).await;
        Ok(asked.unwrap_err().to_string())
    }
}

impl Handler<Fickle> for Peer {
    async fn handle(&mut self, Fickle(name): Fickle, cx: &mut Context<Self>) -> Ran {
        let other = peer(&cx.system(), name);
        let asked = other.ask(Hold);
        tokio::select! {
            biased;
            _ = asked => {}
            () = std::future::ready(()) => {}
        }
        Ok(())
    }
}

impl Handler<AndThen> for Peer {
    async fn handle(&mut self, AndThen(route): AndThen, cx: &mut Context<Self>) -> Ran {
        cx.me().try_tell(Now(route)).unwrap();
        Ok(())
    }
}

impl Handler<Beside> for Peer {
    async fn handle(&mut self, Beside(route): Beside, cx: &mut Context<Self>) -> Ran {
        let system = cx.system();
        cx.background(async move { Came(visit(system, route).await) });
        Ok(())
    }
}

impl Handler<Came> for Peer {
    async fn handle(&mut self, Came(answer): Came, _: &mut Context<Self>) -> Ran {
        self.script.log.add(answer);
        Ok(())
    }
}

impl Handler<Hold> for Peer {
    async fn handle(&mut self, _: Hold, _: &mut Context<Self>) -> Ran {
        self.held().await;
        Ok(())
    }
}

impl Handler<Press> for Peer {
    async fn handle(&mut self, Press(name): Press, cx: &mut Context<Self>) -> Ran {
        self.held().await;
        let _ = peer(&cx.system(), name).tell(Now(vec![])).await;
        Ok(())
    }
}

impl Handler<Block> for Peer {
    async fn handle(&mut self, Block(until): Block, _: &mut Context<Self>) -> Ran {
        // It ends with an error when the test has dropped its end, which is the signal.
        let _ = until.recv();
        Ok(())
    }
}

/// Hands on what the runtime reports.
struct Listener {
    stuck: channel::UnboundedSender<ActorStuck>,
    deadlocks: channel::UnboundedSender<DeadlockSuspected>,
}

type Ends = (
    channel::UnboundedSender<ActorStuck>,
    channel::UnboundedSender<DeadlockSuspected>,
);

impl Actor for Listener {
    type Args = Ends;
    type Error = Infallible;

    async fn start((stuck, deadlocks): Ends, cx: &mut Context<Self>) -> Ran<Self> {
        cx.subscribe::<ActorStuck>();
        cx.subscribe::<DeadlockSuspected>();
        Ok(Listener { stuck, deadlocks })
    }
}

impl Handler<ActorStuck> for Listener {
    async fn handle(&mut self, event: ActorStuck, _: &mut Context<Self>) -> Ran {
        // The test may be over.
        let _ = self.stuck.send(event);
        Ok(())
    }
}

impl Handler<DeadlockSuspected> for Listener {
    async fn handle(&mut self, event: DeadlockSuspected, _: &mut Context<Self>) -> Ran {
        // The test may be over.
        let _ = self.deadlocks.send(event);
        Ok(())
    }
}

// ===== systems =====

/// Peers by the names of `a` to `d`, each with room for so many.
fn peers(script: &Script, capacity: usize) -> Supervisor {
    let tree = Supervisor::one_for_one("app");
    ["a", "b", "c", "d"].into_iter().fold(tree, |tree, name| {
        let peer = Peer::spec(name, script.clone()).mailbox(capacity);
        tree.child(peer.stop_within(Duration::from_millis(50)))
    })
}

fn runtime(is_paused: bool) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(is_paused)
        .build()
        .unwrap()
}

/// Runs the test on workers, in a runtime of the test's own, and simulated in some orders.
fn on_every_driver(test: impl AsyncFn(Builder)) {
    greenroom::block_on(test(System::builder().workers(2)));
    runtime(true).block_on(test(System::builder().in_current_runtime()));
    for seed in 0..32 {
        runtime(true).block_on(test(System::builder().simulated(seed)));
    }
}

/// Runs the test on every driver by a clock that the watch goes by.
fn on_every_driver_by_the_clock(test: impl AsyncFn(Builder)) {
    greenroom::block_on(test(System::builder().workers(2)));
    runtime(false).block_on(test(System::builder().in_current_runtime()));
    for seed in 0..8 {
        runtime(true).block_on(test(System::builder().simulated(seed)));
    }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !is_so() {
            settle().await;
        }
    });
    waited.await.unwrap();
}

/// What was written down, when there are so many lines.
async fn lines(script: &Script, n: usize) -> Vec<String> {
    let mut lines = Vec::new();
    until(|| {
        lines.append(&mut script.log.take());
        lines.len() >= n
    })
    .await;
    lines
}

fn info(system: &System, name: &str) -> ActorInfo {
    let infos = system.snapshot().into_iter();
    let mut found = infos.filter(|info| info.path.name() == name);
    found.next().unwrap()
}

fn waits_of(system: &System, name: &str) -> Vec<String> {
    let paths = info(system, name).waiting_for;
    paths.iter().map(|path| path.name().to_owned()).collect()
}

fn nobody_waits(system: &System) -> bool {
    let infos = system.snapshot();
    infos.iter().all(|info| info.waiting_for.is_empty())
}

fn number(system: &System, metric: Metric, group: Option<&str>) -> f64 {
    let families: Vec<Family> = system.scrape();
    let family = families.iter().find(|f| f.metric == metric).unwrap();
    let has_group = |s: &&greenroom::Sample| {
        group.is_none_or(|group| s.labels.iter().any(|(_, value)| value == group))
    };
    match family.samples.iter().find(has_group).unwrap().value {
        Value::Number(n) => n,
        _ => unreachable!(),
    }
}

// ===== cycles =====

#[test]
fn an_actor_that_asks_itself_is_told_so_at_once() {
    on_every_driver(async |builder| {
        let system = builder.start(peers(&Script::default(), 8)).await.unwrap();
        let answer = peer(&system, "a").ask(Visit(vec!["a"])).await.unwrap();
        assert_eq!(answer, "cycle a");
        assert!(nobody_waits(&system));
        system.stop().await;
    });
}

#[test]
fn two_that_ask_each_other_are_a_cycle_and_the_first_one_gets_its_answer() {
    on_every_driver(async |builder| {
        let system = builder.start(peers(&Script::default(), 8)).await.unwrap();
        let answer = peer(&system, "a").ask(Visit(vec!["b", "a"])).await.unwrap();
        assert_eq!(answer, "cycle b a");
        assert!(nobody_waits(&system));
        system.stop().await;
    });
}

#[test]
fn a_cycle_of_three_is_seen_whoever_closes_it() {
    on_every_driver(async |builder| {
        let system = builder.start(peers(&Script::default(), 8)).await.unwrap();
        for _ in 0..10 {
            let answer = peer(&system, "a").ask(Visit(vec!["b", "c", "a"])).await;
            assert_eq!(answer.unwrap(), "cycle c a b");
            let answer = peer(&system, "a").ask(Visit(vec!["b", "c", "b"])).await;
            assert_eq!(answer.unwrap(), "cycle c b");
            let answer = peer(&system, "d").ask(Visit(vec!["a", "b", "c"])).await;
            assert_eq!(answer.unwrap(), "there");
        }
        assert!(nobody_waits(&system));
        system.stop().await;
    });
}

#[test]
fn the_error_of_a_cycle_says_who_waits_for_whom_and_what_to_do() {
    let paths = ["app/a", "app/b"].map(|path| greenroom::Path::parse(path).unwrap());
    let error = AskError::Cycle {
        message: Hold,
        path: paths[1].clone(),
        cycle: paths.to_vec(),
    };
    assert_eq!(
        error.to_string(),
        "app/b would never reply: app/a -> app/b -> app/a wait for each other; \
         tell instead of ask, or reply first and ask in a message of its own"
    );
    assert!(error.into_message().is_some());
}

#[test]
fn a_cycle_that_is_closed_late_is_seen_by_the_one_that_closes_it() {
    on_every_driver(async |builder| {
        let script = Script::default();
        let system = builder.start(peers(&script, 8)).await.unwrap();
        let (a, b) = (peer(&system, "a"), peer(&system, "b"));
        b.tell(Later(vec!["c", "a"])).await.unwrap();
        let asked = tokio::spawn(async move { a.ask(Visit(vec!["b"])).await.unwrap() });
        until(|| waits_of(&system, "a") == ["b"]).await;
        script.gate.add_permits(1);
        assert_eq!(lines(&script, 1).await, ["cycle c a b"]);
        assert_eq!(asked.await.unwrap(), "there", "it only had to wait");
        assert!(nobody_waits(&system));
        system.stop().await;
    });
}

#[test]
fn one_of_two_asks_that_a_handler_joins_can_be_a_cycle() {
    on_every_driver(async |builder| {
        let system = builder.start(peers(&Script::default(), 8)).await.unwrap();
        let a = peer(&system, "a");
        let answer = a.ask(Both(vec!["b", "a"], vec!["c", "d"])).await;
        assert_eq!(answer.unwrap(), "cycle b a, there");
        let answer = a.ask(Both(vec!["b", "d"], vec!["c", "a"])).await;
        assert_eq!(answer.unwrap(), "there, cycle c a");
        assert!(nobody_waits(&system));
        system.stop().await;
    });
}

#[test]
fn two_ways_to_the_same_actor_are_no_cycle() {
    on_every_driver(async |builder| {
        let system = builder.start(peers(&Script::default(), 8)).await.unwrap();
        let a = peer(&system, "a");
        for _ in 0..10 {
            let answer = a.ask(Both(vec!["b", "d"], vec!["c", "d"])).await;
            assert_eq!(answer.unwrap(), "there, there");
            let answer = a.ask(Both(vec!["d"], vec!["d"])).await;
            assert_eq!(answer.unwrap(), "there, there");
        }
        assert!(nobody_waits(&system));
        system.stop().await;
    });
}

#[test]
fn an_ask_that_was_given_up_waits_for_nobody() {
    on_every_driver(async |builder| {
        let script = Script::default();
        let system = builder.start(peers(&script, 8)).await.unwrap();
        let (a, b) = (peer(&system, "a"), peer(&system, "b"));
        b.tell(Later(vec!["a"])).await.unwrap();
        until(|| b.depth() == 0).await;
        let answer = a.ask(Impatient("b")).await.unwrap();
        assert!(answer.contains("did not reply within 10ms"), "{answer}");
        a.ask(Fickle("b")).await.unwrap();
        assert!(nobody_waits(&system));
        // Now it is busy with something else when it is asked in turn, and two questions that it
        // does not wait for any more are in the mailbox of whoever asks.
        a.tell(Hold).await.unwrap();
        until(|| a.depth() == 0).await;
        script.gate.add_permits(1);
        until(|| waits_of(&system, "b") == ["a"]).await;
        script.gate.add_permits(3);
        assert_eq!(lines(&script, 1).await, ["there"]);
        system.stop().await;
    });
}

#[test]
fn one_that_has_its_answer_already_waits_for_nobody() {
    on_every_driver(async |builder| {
        let script = Script::default();
        let system = builder.start(peers(&script, 8)).await.unwrap();
        let (a, b) = (peer(&system, "a"), peer(&system, "b"));
        b.tell(Hold).await.unwrap();
        let asked = tokio::spawn(async move { a.ask(Visit(vec!["b"])).await.unwrap() });
        until(|| waits_of(&system, "a") == ["b"]).await;
        // Behind the question, and so handled when it is answered but that is not known there yet.
        b.tell(Now(vec!["a"])).await.unwrap();
        script.gate.add_permits(1);
        assert_eq!(lines(&script, 1).await, ["there"]);
        assert_eq!(asked.await.unwrap(), "there");
        system.stop().await;
    });
}

#[test]
fn one_that_has_answered_may_ask_the_asker_on_whose_stack_it_still_is() {
    on_every_driver(async |builder| {
        let script = Script::default();
        let system = builder.start(peers(&script, 8)).await.unwrap();
        let (a, b) = (peer(&system, "a"), peer(&system, "b"));
        // From a handler of a: b answers, and on the same stack goes on to ask a.
        a.ask(Relay(b)).await.unwrap();
        assert_eq!(lines(&script, 1).await, ["there"]);
        system.stop().await;
    });
}

/// Asks it to visit `a` when it has answered.
struct Relay(ActorRef<Peer>);

impl Message for Relay {
    type Reply = ();
}

impl Handler<Relay> for Peer {
    async fn handle(&mut self, Relay(to): Relay, _: &mut Context<Self>) -> Ran {
        to.ask(AndThen(vec!["a"])).await.unwrap();
        Ok(())
    }
}

#[test]
fn what_asks_in_the_background_waits_for_nobody() {
    on_every_driver(async |builder| {
        let script = Script::default();
        let system = builder.start(peers(&script, 8)).await.unwrap();
        peer(&system, "a")
            .ask(Beside(vec!["b", "a"]))
            .await
            .unwrap();
        assert_eq!(lines(&script, 1).await, ["there"]);
        system.stop().await;
    });
}

#[test]
fn of_two_that_ask_each_other_at_the_same_instant_one_is_told_and_neither_waits_in_vain() {
    greenroom::block_on(async {
        let builder = System::builder().workers(2);
        let system = builder.start(peers(&Script::default(), 8)).await.unwrap();
        let (a, b) = (peer(&system, "a"), peer(&system, "b"));
        let start = Arc::new(std::sync::Barrier::new(2));
        let rounds = |it: ActorRef<Peer>, route: &'static [&'static str]| {
            let start = Arc::clone(&start);
            std::thread::spawn(move || {
                let mut cycles = 0;
                for _ in 0..1_000 {
                    start.wait();
                    let answer = greenroom::block_on(it.ask(Visit(route.to_vec())));
                    match answer.unwrap() {
                        answer if answer.starts_with("cycle") => cycles += 1,
                        answer => assert_eq!(answer, "there"),
                    }
                }
                cycles
            })
        };
        let one = rounds(a, &["b"]);
        let other = rounds(b, &["a"]);
        println!(
            "{} and {} cycles in 1,000 rounds",
            one.join().unwrap(),
            other.join().unwrap()
        );
        until(|| nobody_waits(&system)).await;
        system.stop().await;
    });
}

#[test]
fn of_three_that_ask_in_a_ring_at_the_same_instant_nobody_waits_in_vain() {
    greenroom::block_on(async {
        let builder = System::builder().workers(3);
        let system = builder.start(peers(&Script::default(), 8)).await.unwrap();
        let start = Arc::new(std::sync::Barrier::new(3));
        let rounds = [("a", "b"), ("b", "c"), ("c", "a")].map(|(it, next)| {
            let (it, start) = (peer(&system, it), Arc::clone(&start));
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    start.wait();
                    let answer = greenroom::block_on(it.ask(Visit(vec![next]))).unwrap();
                    assert!(!answer.contains("did not reply"), "{answer}");
                }
            })
        });
        for rounds in rounds {
            rounds.join().unwrap();
        }
        until(|| nobody_waits(&system)).await;
        system.stop().await;
    });
}

#[test]
fn a_life_that_is_ended_while_it_waits_leaves_no_edge_behind() {
    on_every_driver(async |builder| {
        let script = Script::default();
        let tree = Supervisor::one_for_one("app")
            .child(Peer::spec("a", script.clone()).stop_within(Duration::from_millis(20)))
            .child(Peer::spec("b", script.clone()));
        let system = builder.start(tree).await.unwrap();
        let (a, b) = (peer(&system, "a"), peer(&system, "b"));
        b.tell(Hold).await.unwrap();
        a.tell(Now(vec!["b"])).await.unwrap();
        until(|| waits_of(&system, "a") == ["b"]).await;
        let supervisor = system.supervisor("app").unwrap();
        supervisor.stop_child("a").await.unwrap();
        assert!(nobody_waits(&system));
        script.gate.add_permits(1);
        system.stop().await;
    });
}

// ===== seen from outside =====

type Reports = (
    channel::UnboundedReceiver<ActorStuck>,
    channel::UnboundedReceiver<DeadlockSuspected>,
);

/// The same peers, and somebody who listens.
fn watched(script: &Script, capacity: usize) -> (Supervisor, Reports) {
    let (stuck, hear_stuck) = channel::unbounded_channel();
    let (deadlocks, hear_deadlocks) = channel::unbounded_channel();
    let listener = Listener::spec("listener", (stuck, deadlocks));
    let tree = peers(script, capacity).child(listener);
    (tree, (hear_stuck, hear_deadlocks))
}

async fn next<T>(reports: &mut channel::UnboundedReceiver<T>) -> T {
    let next = tokio::time::timeout(SOON, reports.recv()).await;
    next.unwrap().unwrap()
}

#[test]
fn two_that_wait_for_room_at_each_other_are_reported_once() {
    on_every_driver_by_the_clock(async |builder| {
        let script = Script::default();
        let (tree, (_, mut deadlocks)) = watched(&script, 1);
        let system = builder.start(tree).await.unwrap();
        let (a, b) = (peer(&system, "a"), peer(&system, "b"));
        a.tell(Press("b")).await.unwrap();
        b.tell(Press("a")).await.unwrap();
        until(|| a.depth() == 0 && b.depth() == 0).await;
        for it in [&a, &b] {
            it.try_tell(Now(vec![])).unwrap();
        }
        assert_eq!(number(&system, Metric::DeadlocksSuspected, None), 0.0);
        script.gate.add_permits(2);
        let event = next(&mut deadlocks).await;
        let names: Vec<&str> = event.cycle.iter().map(|path| path.name()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(event.waits, [WaitsFor::Room, WaitsFor::Room]);
        assert_eq!(waits_of(&system, "a"), ["b"]);
        assert_eq!(waits_of(&system, "b"), ["a"]);
        assert_eq!(number(&system, Metric::DeadlocksSuspected, None), 1.0);
        // Two more looks.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert!(deadlocks.try_recv().is_err(), "it is told of once");
        assert_eq!(number(&system, Metric::DeadlocksSuspected, None), 1.0);
        // Only cutting them off helps them.
        system.stop().await;
    });
}

#[test]
fn a_handler_that_waits_too_long_is_reported_once_and_forgotten_when_it_ends() {
    on_every_driver_by_the_clock(async |builder| {
        let script = Script::default();
        let (tree, (mut stuck, _)) = watched(&script, 8);
        let limit = Duration::from_millis(700);
        let system = builder.stuck_after(limit).start(tree).await.unwrap();
        let a = peer(&system, "a");
        a.tell(Hold).await.unwrap();
        let event = next(&mut stuck).await;
        assert_eq!(event.path.as_str(), "app/a");
        assert_eq!(event.message, "Hold");
        assert!(event.stuck_for >= limit, "{:?}", event.stuck_for);
        let of_mailbox = |name| info(&system, name).mailbox.unwrap().stuck_for;
        assert!(of_mailbox("a") >= Some(limit));
        assert_eq!(of_mailbox("b"), None);
        assert_eq!(number(&system, Metric::ActorsStuck, Some("Peer")), 1.0);
        assert_eq!(number(&system, Metric::ActorsStuck, Some("Listener")), 0.0);
        script.gate.add_permits(1);
        until(|| of_mailbox("a").is_none()).await;
        assert_eq!(number(&system, Metric::ActorsStuck, Some("Peer")), 0.0);
        assert!(stuck.try_recv().is_err(), "it is told of once");
        // The next one is another occurrence.
        a.tell(Hold).await.unwrap();
        assert_eq!(next(&mut stuck).await.path, *a.path());
        script.gate.add_permits(1);
        system.stop().await;
    });
}

#[test]
fn handlers_that_block_all_workers_are_reported_and_nobody_has_to_run_for_it() {
    greenroom::block_on(async {
        let script = Script::default();
        let limit = Duration::from_millis(700);
        let builder = System::builder().workers(2).stuck_after(limit);
        let (tree, _reports) = watched(&script, 8);
        let system = builder.start(tree).await.unwrap();
        let ends = ["a", "b"].map(|name| {
            let (end, until) = mpsc::channel();
            peer(&system, name).try_tell(Block(until)).unwrap();
            end
        });
        until(|| number(&system, Metric::ActorsStuck, Some("Peer")) == 2.0).await;
        let stuck = info(&system, "a").mailbox.unwrap();
        assert_eq!(stuck.handling.as_deref(), Some("Block"));
        assert!(stuck.stuck_for >= Some(limit));
        drop(ends);
        until(|| number(&system, Metric::ActorsStuck, Some("Peer")) == 0.0).await;
        system.stop().await;
    });
}

#[test]
fn who_was_woken_on_a_worker_that_is_then_blocked_is_run_by_another_one() {
    greenroom::block_on(async {
        let script = Script::default();
        let builder = System::builder().workers(2);
        let system = builder.start(peers(&script, 8)).await.unwrap();
        for _ in 0..50 {
            let (end, until) = mpsc::channel();
            let (a, b) = (peer(&system, "a"), peer(&system, "b"));
            // It makes b ready where it runs, and stays there.
            a.tell(TellAndBlock(b, until)).await.unwrap();
            assert_eq!(lines(&script, 1).await, ["there"]);
            drop(end);
            peer(&system, "a").ask(Visit(vec![])).await.unwrap();
        }
        system.stop().await;
    });
}

/// Tells it something and then blocks its thread.
struct TellAndBlock(ActorRef<Peer>, mpsc::Receiver<()>);

impl Message for TellAndBlock {
    type Reply = ();
}

impl Handler<TellAndBlock> for Peer {
    async fn handle(
        &mut self,
        TellAndBlock(to, until): TellAndBlock,
        _: &mut Context<Self>,
    ) -> Ran {
        to.tell(Now(vec![])).await.unwrap();
        // It ends with an error when the test has dropped its end, which is the signal.
        let _ = until.recv();
        Ok(())
    }
}

#[test]
fn how_long_handlers_were_busy_is_counted() {
    on_every_driver(async |builder| {
        let builder = builder.measure_every(1);
        let script = Script::default();
        let system = builder.start(peers(&script, 8)).await.unwrap();
        peer(&system, "a").tell(Hold).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        script.gate.add_permits(1);
        until(|| number(&system, Metric::Busy, Some("Peer")) >= 0.03).await;
        system.stop().await;
    });
}
