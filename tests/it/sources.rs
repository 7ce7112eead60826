//! Why is this mailbox full? Whose messages are queued in it, by share.

use greenroom::prelude::*;
use greenroom::{MailboxInfo, Subscription};
use greenroom_it::{
    Do, Happened, Hold, Say, Script, Scripted, awaiting, caught_up, hold, until, with,
};

use super::builder;

/// A mailbox that is held, and two who can send to it.
struct Crowd {
    system: System,
    script: Script,
    it: ActorRef<Scripted>,
}

const PUMP: &str = "app/pump";
const TAP: &str = "app/tap";

/// `measure_every` 1 notes each message.
async fn crowd(capacity: usize, measure_every: u32) -> Crowd {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", script.clone()).mailbox(capacity))
        .child(Scripted::spec("pump", script.clone()).group("pumps"))
        .child(Scripted::spec("tap", script.clone()).group("taps"));
    let builder = builder().measure_every(measure_every);
    let system = builder.start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    Crowd { system, script, it }
}

impl Crowd {
    async fn hold(&self) {
        hold(&self.it, &self.script).await;
    }

    /// Lets an actor send so many.
    async fn send(&self, from: &str, n: usize) {
        let from = self.system.find::<Scripted>(from).unwrap();
        let it = self.it.clone();
        let send = with(move |_| (0..n).for_each(|_| it.try_tell(Say("more")).unwrap()));
        from.ask(send).await.unwrap();
    }

    fn mailbox(&self) -> MailboxInfo {
        let actors = self.system.snapshot();
        let it = actors.into_iter().find(|actor| actor.path.name() == "it");
        it.unwrap().mailbox.unwrap()
    }

    /// Kind, share in thousandths, and how many wait.
    fn sources(&self) -> Vec<(String, u32, usize)> {
        let sources = self.mailbox().sources;
        let rounded = sources.into_iter().map(|source| {
            let share = (source.share * 1000.0).round() as u32;
            (source.kind, share, source.waiting)
        });
        rounded.collect()
    }
}

fn shares<const N: usize>(of: [(&str, u32, usize); N]) -> Vec<(String, u32, usize)> {
    let owned = |(kind, share, waiting): (&str, _, _)| (kind.to_owned(), share, waiting);
    of.into_iter().map(owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_tells_whose_messages_are_queued_by_share() {
    let crowd = crowd(10, 1).await;
    assert_eq!(crowd.sources(), []);
    crowd.hold().await;
    assert_eq!(crowd.sources(), [], "what is in hand is not queued");
    crowd.send(PUMP, 6).await;
    crowd.send(TAP, 3).await;
    crowd.it.try_tell(Say("more")).unwrap();
    let expected = shares([("pumps", 600, 0), ("taps", 300, 0), ("_outside", 100, 0)]);
    assert_eq!(crowd.sources(), expected);
    // Those who wait for room count as well.
    let pump = crowd.system.find::<Scripted>(PUMP).unwrap();
    let to = crowd.it.clone();
    let last = awaiting(async move { to.tell(Say("last")).await.unwrap() });
    pump.tell(last).await.unwrap();
    until(|| crowd.mailbox().waiting_senders == 1).await;
    let expected = shares([("pumps", 636, 1), ("taps", 273, 0), ("_outside", 91, 0)]);
    assert_eq!(crowd.sources(), expected);
    crowd.script.gate.add_permits(1);
    caught_up(&crowd.it).await;
    assert_eq!(crowd.sources(), [], "nothing is queued");
}

#[tokio::test(start_paused = true)]
async fn who_sent_what_is_handled_already_is_none_of_the_sources() {
    let crowd = crowd(100, 1).await;
    for _ in 0..10 {
        crowd.send(TAP, 90).await;
        caught_up(&crowd.it).await;
    }
    crowd.hold().await;
    crowd.send(PUMP, 20).await;
    assert_eq!(crowd.sources(), shares([("pumps", 1000, 0)]));
}

#[tokio::test(start_paused = true)]
async fn of_a_long_queue_the_shares_are_known_though_few_of_its_messages_were_timed() {
    let crowd = crowd(20_000, 256).await;
    crowd.hold().await;
    for _ in 0..200 {
        crowd.send(PUMP, 70).await;
        crowd.send(TAP, 30).await;
    }
    let sources = crowd.sources();
    // A message that was not timed may count as sent by who held it.
    for (kind, sent) in [("pumps", 700), ("taps", 300), ("_outside", 0)] {
        let of = sources.iter().find(|(source, ..)| source == kind);
        let share = of.map_or(0, |(_, share, _)| *share);
        assert!(share.abs_diff(sent) <= 100, "{sources:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_timed_the_sources_are_unknown() {
    let crowd = crowd(10, 0).await;
    crowd.hold().await;
    crowd.send(PUMP, 3).await;
    assert_eq!(crowd.sources(), shares([("_unknown", 1000, 0)]));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_its_publishers_and_a_timer_the_actors_own() {
    let crowd = crowd(10, 1).await;
    let subscribe = with(|cx| {
        cx.subscribe::<Happened>();
        cx.after(std::time::Duration::from_millis(1), Say("later"));
    });
    crowd.it.ask::<Do>(subscribe).await.unwrap();
    crowd.hold().await;
    let tap = crowd.system.find::<Scripted>(TAP).unwrap();
    let publish = with(|cx| {
        assert_eq!(cx.publish(Happened(1)).delivered, 1);
    });
    tap.ask::<Do>(publish).await.unwrap();
    until(|| crowd.mailbox().depth == 2).await;
    let expected = shares([("Scripted", 500, 0), ("taps", 500, 0)]);
    assert_eq!(crowd.sources(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_kept_for_want_of_room_is_its_publishers_whoever_lets_it_in() {
    let crowd = crowd(2, 1).await;
    let subscribe = with(|cx| {
        cx.subscribe_with(Subscription::<Happened>::new("all"))
            .unwrap()
    });
    crowd.it.ask::<Do>(subscribe).await.unwrap();
    crowd.hold().await;
    crowd.it.try_tell(Hold).unwrap();
    let tap = crowd.system.find::<Scripted>(TAP).unwrap();
    let publish = with(|cx| {
        let buffered = (0..5).map(|n| cx.publish(Happened(n)).buffered);
        assert_eq!(buffered.sum::<usize>(), 4);
    });
    tap.ask::<Do>(publish).await.unwrap();
    let expected = shares([("taps", 667, 1), ("_outside", 333, 0)]);
    assert_eq!(crowd.sources(), expected);
    // The reader takes one, and so lets the first in line in and the next get in line.
    crowd.script.gate.add_permits(1);
    crowd.script.held.acquire().await.unwrap().forget();
    until(|| crowd.mailbox().waiting_senders == 1).await;
    assert_eq!(crowd.sources(), shares([("taps", 1000, 1)]));
    crowd.script.gate.add_permits(1);
    caught_up(&crowd.it).await;
    until(|| crowd.system.ledger().queued == 0).await;
    assert!(crowd.system.ledger().is_balanced());
}
