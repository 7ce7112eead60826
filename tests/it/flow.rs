//! What flows between actors: declared, observed, and refused where it would stand still.

use std::convert::Infallible;
use std::time::Duration;

use greenroom::flow::{Edge, EdgeKind};
use greenroom::prelude::*;
use greenroom::{Overflow, StartChildError, StartError, SupervisionEvent, UpdateError};
use greenroom_it::{settle, until};

use super::{builder, start};

macro_rules! actors {
    ($($actor:ident $(=> $flow:expr)?;)*) => {$(
        struct $actor;
        impl Actor for $actor {
            type Args = ();
            type Error = Infallible;
            async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Infallible> {
                Wakes::wakes(cx);
                Ok($actor)
            }
            $(fn flow(flow: &mut Flow<Self>) {
                let declare: fn(&mut Flow<Self>) = $flow;
                declare(flow);
            })?
        }
    )*};
}

/// What an actor does at its start, if anything.
trait Wakes: Actor {
    fn wakes(_: &mut Context<Self>) {}
}

macro_rules! messages {
    ($($message:ident;)*) => {$(
        #[derive(Clone, Debug)]
        struct $message;
        impl Message for $message {
            type Reply = ();
        }
    )*};
}

messages! {
    Ring;
    Check;
    Tick;
    Go;
}

#[derive(Clone, Debug)]
struct Opened;
impl Event for Opened {}
#[derive(Clone, Debug)]
struct Forgotten;
impl Event for Forgotten {}

actors! {
    Door => |flow| {
        flow.publishes::<Opened>();
        flow.asks::<Alarm, Check>();
        flow.tells::<Alarm, Forgot>();
    };
    Alarm => |flow| {
        flow.subscribes::<Opened>();
        flow.subscribes::<SupervisionEvent>();
    };
    Silent;
}

messages! {
    Forgot;
}

impl Wakes for Door {}
impl Wakes for Silent {}
impl Wakes for Alarm {
    fn wakes(cx: &mut Context<Self>) {
        cx.subscribe::<Opened>();
        cx.subscribe::<SupervisionEvent>();
        cx.after(Duration::from_millis(1), Tick);
    }
}

macro_rules! handles {
    ($($actor:ident: $($message:ident),*;)*) => {$($(
        impl Handler<$message> for $actor {
            async fn handle(&mut self, _: $message, _: &mut Context<Self>) -> Result<(), Infallible> {
                Ok(())
            }
        }
    )*)*};
}

handles! {
    Alarm: Opened, SupervisionEvent, Check, Tick, Ring, Forgot;
    Silent: Ring;
}

impl Handler<Go> for Door {
    async fn handle(&mut self, _: Go, cx: &mut Context<Self>) -> Result<(), Infallible> {
        let alarm = cx.system().find::<Alarm>("home/alarm").unwrap();
        cx.publish(Opened);
        alarm.ask(Check).await.unwrap();
        // It did not declare that.
        alarm.tell(Ring).await.unwrap();
        cx.publish(Forgotten);
        Ok(())
    }
}

fn home() -> Supervisor {
    Supervisor::one_for_one("home")
        .child(Alarm::spec("alarm", ()))
        .child(Supervisor::dynamic("more"))
        .child(Door::spec("door", ()).group("Doors"))
}

fn counts(edges: &[Edge]) -> Vec<(String, u64)> {
    let seen = edges.iter().filter_map(|edge| {
        let traffic = edge.observed?;
        Some((edge.to_string(), traffic.messages))
    });
    seen.collect()
}

#[tokio::test(start_paused = true)]
async fn what_flows_is_counted_by_the_kinds_between_which_it_does() {
    let system = builder().measure_every(1).start(home()).await.unwrap();
    let door = system.find::<Door>("home/door").unwrap();
    for _ in 0..3 {
        door.ask(Go).await.unwrap();
    }
    system.publish(Opened);
    settle().await;
    settle().await;
    let graph = system.flow_graph();
    let seen = counts(graph.edges());
    let seen: Vec<(&str, u64)> = seen.iter().map(|(edge, n)| (edge.as_str(), *n)).collect();
    // Alarm, more, door and home.
    let started = 4;
    assert_eq!(
        seen,
        [
            ("Alarm sends itself Tick", 1),
            ("Doors asks Alarm Check", 3),
            ("Doors publishes Opened to Alarm", 3),
            ("Doors tells Alarm Ring", 3),
            ("_outside publishes Opened to Alarm", 1),
            ("_outside asks Doors Go", 3),
            ("_runtime publishes SupervisionEvent to Alarm", started),
        ],
        "{graph:#?}"
    );
    assert_eq!(
        graph.differences().to_string(),
        "nobody hears Forgotten, published by somebody who does not say so\n\
         not declared: Doors tells Alarm Ring\n\
         not seen: Doors tells Alarm Forgot\n"
    );
    let opened = graph
        .events()
        .iter()
        .find(|event| event.event == "Opened")
        .unwrap();
    assert_eq!((opened.published, opened.subscribed), (4, 1));
    let alarm = graph.node("Alarm").unwrap();
    assert_eq!((alarm.actors, alarm.is_declared), (1, true));
    // A minute later nothing has come, and the rate of all has fallen.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let later = system.flow_graph();
    assert!(counts(later.since(&graph).edges()).is_empty());
    let asked = |edge: &&Edge| edge.kind == EdgeKind::Ask && edge.from == "Doors";
    let asked = later.edges().iter().find(asked).unwrap();
    let rate = asked.observed.unwrap().per_second;
    assert!((rate - 0.05).abs() < 0.001, "{rate}");
    system.stop().await;
    // What was seen stays, but nobody is there.
    let last = system.flow_graph();
    assert_eq!(last.node("Alarm").unwrap().actors, 0);
    // All but what the runtime has told of the end.
    assert_eq!(counts(last.edges())[..6], counts(later.edges())[..6]);
}

#[tokio::test(start_paused = true)]
async fn what_came_in_a_while_is_right_though_few_of_it_are_looked_at() {
    let tree = Supervisor::one_for_one("app").child(Silent::spec("it", ()));
    let system = builder().start(tree).await.unwrap();
    let it = system.find::<Silent>("app/it").unwrap();
    let mut before = system.flow_graph();
    for sent in [700, 1_999, 701, 3_000] {
        for _ in 0..sent {
            it.tell(Ring).await.unwrap();
        }
        settle().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let graph = system.flow_graph();
        let edge = "_outside tells Silent Ring".to_owned();
        assert_eq!(counts(graph.since(&before).edges()), [(edge, sent)]);
        before = graph;
    }
    let edge = &before.edges()[0];
    assert_eq!(edge.observed.unwrap().messages, 6_400);
    system.stop().await;
    // What has ended is counted still.
    assert_eq!(counts(system.flow_graph().edges()), counts(before.edges()));
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_room_is_known_though_the_reader_lets_it_in() {
    use greenroom_it::{Say, Script, Scripted, awaiting};
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(
            Scripted::spec("full", script.clone())
                .mailbox(1)
                .group("Full"),
        )
        .child(Scripted::spec("sender", script.clone()).group("Senders"));
    let system = builder().measure_every(1).start(tree).await.unwrap();
    let full = system.find::<Scripted>("app/full").unwrap();
    let sender = system.find::<Scripted>("app/sender").unwrap();
    greenroom_it::hold(&full, &script).await;
    full.tell(Say("first")).await.unwrap();
    let to = full.clone();
    let send = awaiting(async move { to.tell(Say("second")).await.unwrap() });
    sender.tell(send).await.unwrap();
    settle().await;
    assert_eq!(system.ledger().queued, 4);
    script.gate.add_permits(1);
    settle().await;
    let graph = system.flow_graph();
    assert_eq!(
        counts(graph.edges()),
        [
            ("Senders tells Full Say".to_owned(), 1),
            ("_outside tells Full Hold".to_owned(), 1),
            ("_outside tells Full Say".to_owned(), 1),
            ("_outside tells Senders Await".to_owned(), 1),
        ]
    );
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_counted_by_who_lost_it() {
    use greenroom_it::{Happened, Say, Script, Scripted, with};
    let script = Script::default();
    let full = |name: &str, overflow| {
        let spec = Scripted::spec(name, script.clone());
        spec.mailbox(1).overflow(overflow).group(name)
    };
    let tree = Supervisor::one_for_one("app")
        .child(full("waiting", Overflow::Wait))
        .child(full("newest", Overflow::DropNewest))
        .child(full("oldest", Overflow::DropOldest))
        .child(Scripted::spec("sender", script.clone()).group("Senders"));
    let system = builder().measure_every(0).start(tree).await.unwrap();
    let find = |path: &str| system.find::<Scripted>(path).unwrap();
    let all = [find("app/waiting"), find("app/newest"), find("app/oldest")];
    for it in &all {
        it.ask(with(|cx| cx.subscribe::<Happened>())).await.unwrap();
        greenroom_it::hold(it, &script).await;
    }
    let [_, newest, oldest] = all;
    let send = greenroom_it::awaiting({
        let system = system.clone();
        async move {
            // The first fits.
            for n in 0..4 {
                system.publish(Happened(n));
            }
            newest.tell(Say("is lost")).await.unwrap();
            oldest.tell(Say("makes room for itself")).await.unwrap();
        }
    });
    find("app/sender").ask(send).await.unwrap();
    let graph = system.flow_graph();
    let lost = graph.edges().iter().filter_map(|edge| {
        let traffic = edge.observed?;
        assert_eq!(
            (traffic.messages, traffic.samples),
            (0, 0),
            "nothing is timed"
        );
        Some((edge.to_string(), traffic.dropped))
    });
    let lost: Vec<_> = lost.collect();
    let lost: Vec<(&str, u64)> = lost.iter().map(|(edge, n)| (edge.as_str(), *n)).collect();
    assert_eq!(
        lost,
        [
            ("Senders publishes Happened to newest", 3),
            ("Senders tells newest Say", 1),
            ("Senders publishes Happened to waiting", 3),
            ("_unknown publishes Happened to oldest", 4),
        ]
    );
    let dropped: u64 = lost.iter().map(|(_, n)| n).sum();
    assert_eq!(system.ledger().dropped, dropped);
    script.gate.add_permits(9);
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_tried_again_is_counted_once() {
    use greenroom_it::{Fail, Script, Scripted};
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(100, Duration::from_secs(60))
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()).retry::<Fail>(3));
    let system = builder().measure_every(1).start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Fail("always")).await.unwrap();
    until(|| system.ledger().failed == 1).await;
    assert_eq!(
        counts(system.flow_graph().edges()),
        [("_outside tells Scripted Fail".to_owned(), 1)]
    );
    system.stop().await;
}

// ===== circles =====

actors! {
    Asker => |flow| { flow.asks_recipient::<Check>(); };
    Answerer => |flow| {
        flow.handles::<Check>();
        flow.tells::<Asker, Ring>();
    };
    Polite => |flow| {
        flow.handles::<Check>();
        flow.tells::<Asker, Ring>().lossy();
    };
}
handles! {
    Asker: Ring;
    Answerer: Check;
    Polite: Check;
}
impl Wakes for Asker {}
impl Wakes for Answerer {}
impl Wakes for Polite {}

fn said(cycle: &[Edge]) -> Vec<String> {
    cycle.iter().map(Edge::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_may_wait_in_a_circle_does_not_start() {
    let app = || Supervisor::one_for_one("app").child(Asker::spec("asker", ()));
    let refused = start(app().child(Answerer::spec("answerer", ())))
        .await
        .unwrap_err();
    let StartError::WaitingCycle(cycle) = refused else {
        panic!("{refused}");
    };
    assert_eq!(
        said(&cycle),
        ["Answerer tells Asker Ring", "Asker asks Answerer Check"]
    );
    let system = start(app().child(Polite::spec("polite", ())))
        .await
        .unwrap();
    assert_eq!(system.flow_graph().cycles().len(), 1);
    assert!(system.flow_graph().waiting_cycles().is_empty());
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_comes_later_is_held_to_the_same() {
    let tree = Supervisor::one_for_one("app")
        .child(Asker::spec("asker", ()))
        .child(Supervisor::dynamic("more"));
    let system = start(tree).await.unwrap();
    let more = system.supervisor("app/more").unwrap();
    let expected = ["Answerer tells Asker Ring", "Asker asks Answerer Check"];
    for _ in 0..2 {
        // What was refused leaves nothing behind.
        let refused = more.start_child(Answerer::spec("answerer", ())).await;
        let Err(StartChildError::WaitingCycle(cycle)) = refused else {
            panic!("it is not refused: {refused:?}");
        };
        assert_eq!(said(&cycle), expected);
        let branch = || Supervisor::one_for_one("branch").child(Answerer::spec("answerer", ()));
        let refused = more.start_supervisor(branch()).await;
        let Err(StartChildError::WaitingCycle(cycle)) = refused else {
            panic!("it is not refused: {refused:?}");
        };
        assert_eq!(said(&cycle), expected);
        assert!(system.flow_graph().node("Answerer").is_none());
        assert_eq!(more.children().unwrap().len(), 0);
    }
    let app = system.supervisor("app").unwrap();
    let update = Supervisor::one_for_one("app").child(Answerer::spec("answerer", ()));
    let refused = app.update(update).await;
    assert!(
        matches!(
            &refused,
            Err(UpdateError::InvalidTree(StartError::WaitingCycle(_)))
        ),
        "{refused:?}"
    );
    // Who goes on without it can come, in whatever group, and so can who lets nobody wait.
    more.start_child(Polite::spec("polite", ()).group("Guests"))
        .await
        .unwrap();
    more.start_child(Polite::spec("second", ()).group("Guests"))
        .await
        .unwrap();
    more.start_child(Silent::spec("silent", ())).await.unwrap();
    let graph = system.flow_graph();
    let edges: Vec<String> = graph.edges().iter().map(Edge::to_string).collect();
    assert_eq!(
        edges,
        ["Asker asks Guests Check", "Guests tells Asker Ring"]
    );
    assert_eq!(graph.node("Guests").unwrap().actors, 2);
    assert!(!graph.node("Silent").unwrap().is_declared);
    system.stop().await;
}
