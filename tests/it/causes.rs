//! Envelopes and causes: what an event tells of itself, what led to it, and what it led to.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{
    AskError, CausalKind, CloudEvent, DeadLetterReason, Envelope, EventId, MailboxInfo, Overflow,
    TellError,
};
use greenroom_it::{Fail, Happened, Script, Scripted, hold, until};
use parking_lot::Mutex;

use super::builder;

/// What the actors of a test saw, in order: who, what message, and its envelope.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Sight>>>);

type Sight = (String, &'static str, Option<Arc<Envelope>>);

impl Seen {
    fn all(&self) -> Vec<(String, &'static str)> {
        let seen = self.0.lock();
        seen.iter()
            .map(|(who, what, _)| (who.clone(), *what))
            .collect()
    }

    /// The envelope of the first message of this kind.
    fn of(&self, what: &str) -> Option<Arc<Envelope>> {
        let seen = self.0.lock();
        let (_, _, envelope) = seen.iter().find(|(_, seen, _)| *seen == what)?;
        envelope.clone()
    }

    fn has(&self, what: &str) -> bool {
        self.0.lock().iter().any(|(_, seen, _)| *seen == what)
    }
}

/// Opens a door; the first of three.
#[derive(Clone, Debug)]
struct DoorOpened(&'static str);
impl Event for DoorOpened {
    fn subject(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(format!("home.{}.door", self.0).into())
    }
    fn key(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.0.into())
    }
    fn event_type() -> &'static str {
        "com.example.door.opened"
    }
}

/// Told by who heard of the door.
struct Ring;
impl Message for Ring {
    type Reply = ();
}

/// Asked by who was told.
struct HowLoud;
impl Message for HowLoud {
    type Reply = u8;
}

/// Published by who was asked.
#[derive(Clone, Debug)]
struct BellRang;
impl Event for BellRang {}

/// Sent by a timer of who heard that.
#[derive(Clone)]
struct Later;
impl Message for Later {
    type Reply = ();
}

/// Says so; changes nothing.
struct Plain;
impl Message for Plain {
    type Reply = ();
}

/// Asks the other one, which asks back.
struct AskBack(ActorRef<Station>);
impl Message for AskBack {
    type Reply = Result<(), String>;
}

/// One of the actors that the line goes through; `next` is the one behind it.
#[derive(Clone, Default)]
struct Plan {
    seen: Seen,
    hears_doors: bool,
    hears_bells: bool,
    next: Arc<Mutex<Option<ActorRef<Station>>>>,
}

struct Station(Plan);

impl Actor for Station {
    type Args = Plan;
    type Error = Infallible;
    async fn start(plan: Plan, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        assert!(cx.envelope().is_none(), "nothing is in hand");
        if plan.hears_doors {
            cx.subscribe::<DoorOpened>();
        }
        if plan.hears_bells {
            cx.subscribe::<BellRang>();
        }
        Ok(Station(plan))
    }
}

impl Station {
    fn note(&self, what: &'static str, cx: &Context<Self>) {
        let seen = (cx.path().name().to_owned(), what, cx.envelope());
        self.0.seen.0.lock().push(seen);
    }

    fn next(&self) -> ActorRef<Station> {
        self.0.next.lock().clone().unwrap()
    }
}

impl Handler<DoorOpened> for Station {
    async fn handle(&mut self, _: DoorOpened, cx: &mut Context<Self>) -> Result<(), Infallible> {
        self.note("door", cx);
        self.next().tell(Ring).await.unwrap();
        Ok(())
    }
}

impl Handler<Ring> for Station {
    async fn handle(&mut self, _: Ring, cx: &mut Context<Self>) -> Result<(), Infallible> {
        self.note("ring", cx);
        assert_eq!(self.next().ask(HowLoud).await.unwrap(), 7);
        Ok(())
    }
}

impl Handler<HowLoud> for Station {
    async fn handle(&mut self, _: HowLoud, cx: &mut Context<Self>) -> Result<u8, Infallible> {
        self.note("how loud", cx);
        // Also behind an await it is still the same message.
        tokio::task::yield_now().await;
        cx.publish(BellRang);
        Ok(7)
    }
}

impl Handler<BellRang> for Station {
    async fn handle(&mut self, _: BellRang, cx: &mut Context<Self>) -> Result<(), Infallible> {
        self.note("bell", cx);
        cx.after(Duration::from_millis(5), Later);
        Ok(())
    }
}

impl Handler<Later> for Station {
    async fn handle(&mut self, _: Later, cx: &mut Context<Self>) -> Result<(), Infallible> {
        self.note("later", cx);
        Ok(())
    }
}

impl Handler<Plain> for Station {
    async fn handle(&mut self, _: Plain, cx: &mut Context<Self>) -> Result<(), Infallible> {
        self.note("plain", cx);
        Ok(())
    }
}

impl Handler<AskBack> for Station {
    async fn handle(
        &mut self,
        AskBack(other): AskBack,
        cx: &mut Context<Self>,
    ) -> Result<Result<(), String>, Infallible> {
        let answer = other.ask(AskBack(cx.me())).await;
        Ok(match answer {
            Ok(answer) => answer,
            Err(AskError::Cycle { .. }) => Err("cycle".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// The line of three: `home/hall` hears of doors, `home/bell` is told, `home/gong` is asked; and the hall hears of bells.
async fn line(builder: greenroom::Builder) -> (System, Seen) {
    let seen = Seen::default();
    let plan = |hears: bool| Plan {
        seen: seen.clone(),
        hears_doors: hears,
        hears_bells: hears,
        next: Arc::default(),
    };
    let plans = [plan(true), plan(false), plan(false)];
    let [hall, bell, gong] = plans.clone();
    let tree = Supervisor::one_for_one("home")
        .child(Station::spec("hall", hall))
        .child(Station::spec("bell", bell))
        .child(Station::spec("gong", gong));
    let system = builder.start(tree).await.unwrap();
    for (plan, next) in plans.iter().zip(["home/bell", "home/gong"]) {
        *plan.next.lock() = Some(system.find(next).unwrap());
    }
    (system, seen)
}

#[tokio::test(start_paused = true)]
async fn an_effect_leads_back_to_its_cause_through_events_messages_questions_and_timers() {
    let (system, seen) = line(builder().keep_causes(100)).await;
    assert_eq!(system.publish(DoorOpened("hall")).delivered, 1);
    until(|| seen.has("later")).await;
    let line = ["door", "ring", "how loud", "bell", "later"];
    let who = ["hall", "bell", "gong", "hall", "hall"];
    let expected: Vec<_> = who.iter().map(|who| (*who).to_owned()).zip(line).collect();
    assert_eq!(seen.all(), expected);

    let envelopes: Vec<_> = line.iter().map(|what| seen.of(what).unwrap()).collect();
    for pair in envelopes.windows(2) {
        assert_eq!(pair[1].causation_id.as_ref(), Some(&pair[0].id));
        assert_eq!(pair[1].correlation_id.as_ref(), Some(&envelopes[0].id));
        assert!(pair[0].id < pair[1].id, "ids sort by time");
    }
    let door = &envelopes[0];
    assert_eq!(door.event_type, "com.example.door.opened");
    assert_eq!(door.source, "/home", "nobody inside published it");
    assert_eq!(door.subject.as_deref(), Some("home.hall.door"));
    assert_eq!(door.key.as_deref(), Some("hall"));
    assert_eq!(door.causation_id, None);
    assert!(door.time.is_some());
    let sources: Vec<&str> = envelopes[1..].iter().map(|e| &*e.source).collect();
    assert_eq!(
        sources,
        ["/home/hall", "/home/bell", "/home/gong", "/home/hall"]
    );

    let later = &envelopes[4].id;
    let causes = system.causes_of(later);
    let shown: Vec<String> = causes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "Later posted by home/hall to home/hall",
            "BellRang published by home/gong",
            "HowLoud asked by home/bell to home/gong",
            "Ring told by home/hall to home/bell",
            "DoorOpened published by outside",
        ]
    );
    let mut effects = system.effects_of(&door.id);
    effects.reverse();
    assert_eq!(effects, causes);
    assert_eq!(system.effects_of(later).len(), 1);
    assert_eq!(causes[3].kind, CausalKind::Told);
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_and_nothing_has_an_envelope_unless_somebody_asks_for_it() {
    let (system, seen) = line(builder()).await;
    system.publish(DoorOpened("hall"));
    until(|| seen.has("later")).await;
    for what in ["door", "ring", "how loud", "bell", "later"] {
        assert_eq!(seen.of(what), None, "{what}");
    }
    assert!(system.effects_of(&EventId::from("1")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded_by_number() {
    let (system, seen) = line(builder().keep_causes(4)).await;
    system.publish(DoorOpened("hall"));
    until(|| seen.has("later")).await;
    let (door, later) = (seen.of("door").unwrap(), seen.of("later").unwrap());
    assert!(system.effects_of(&door.id).is_empty(), "it is forgotten");
    let causes = system.causes_of(&later.id);
    assert_eq!(causes.len(), 4);
    assert_eq!(causes[3].message, "Ring");
    assert_eq!(causes[3].cause.as_ref(), Some(&door.id), "and still named");
}

#[tokio::test(start_paused = true)]
async fn an_event_from_elsewhere_keeps_its_envelope_and_its_trace_goes_on() {
    let (system, seen) = line(builder()).await;
    let mut envelope = Envelope::new("order-1", "https://example.com/shop", "com.example.order");
    envelope.correlation_id = Some("cart-7".into());
    envelope.traceparent =
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    envelope.tracestate = Some("vendor=opaque".to_owned());
    let event = CloudEvent::new(envelope.clone(), DoorOpened("hall"));
    assert_eq!(system.publish_received(event).delivered, 1);
    until(|| seen.has("later")).await;
    assert_eq!(seen.of("door").as_deref(), Some(&envelope));
    assert_eq!(
        seen.of("ring"),
        None,
        "nobody keeps where messages come from"
    );

    let (system, seen) = line(builder().keep_causes(100)).await;
    let event = CloudEvent::new(envelope.clone(), DoorOpened("hall"));
    system.publish_received(event);
    until(|| seen.has("later")).await;
    assert_eq!(seen.of("door").as_deref(), Some(&envelope));
    let ring = seen.of("ring").unwrap();
    assert_eq!(ring.causation_id, Some("order-1".into()));
    let later = seen.of("later").unwrap();
    assert_eq!(later.correlation_id, Some("cart-7".into()));
    assert_eq!(later.traceparent, envelope.traceparent);
    assert_eq!(later.tracestate, envelope.tracestate);
    assert_eq!(system.effects_of(&"order-1".into()).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_envelope_does_not_have_that_of_the_one_before() {
    let (system, seen) = line(builder()).await;
    let hall = system.find::<Station>("home/hall").unwrap();
    let envelope = Envelope::new("1", "/", "com.example.door.opened");
    system.publish_received(CloudEvent::new(envelope, DoorOpened("hall")));
    hall.tell(Plain).await.unwrap();
    // One that has a time limit is of another make.
    hall.tell(Plain)
        .expires(Duration::from_secs(9))
        .await
        .unwrap();
    until(|| {
        seen.all()
            .iter()
            .filter(|(_, what)| *what == "plain")
            .count()
            == 2
    })
    .await;
    let seen = seen.0.lock();
    let plain = seen.iter().filter(|(_, what, _)| *what == "plain");
    assert!(plain.map(|(_, _, envelope)| envelope).all(Option::is_none));
    assert!(
        seen.iter()
            .any(|(_, what, envelope)| *what == "door" && envelope.is_some())
    );
}

#[tokio::test(start_paused = true)]
async fn an_envelope_can_be_asked_for_to_send_an_event_elsewhere() {
    let (system, _) = line(builder().keep_causes(10)).await;
    let first = system.envelope_of(&DoorOpened("attic"));
    assert_eq!(first.source, "/home");
    assert_eq!(first.subject.as_deref(), Some("home.attic.door"));
    assert_eq!(first.content_type.as_deref(), Some("application/json"));
    assert_eq!(first.correlation_id.as_ref(), Some(&first.id));
    assert!(first.id < system.envelope_of(&DoorOpened("attic")).id);
    let found = system.causes_of(&first.id);
    assert_eq!(found.len(), 1, "what leaves is an event as others are");
}

#[tokio::test(start_paused = true)]
async fn questions_that_wait_for_each_other_are_refused_as_ever() {
    let (system, _) = line(builder().keep_causes(100)).await;
    let hall = system.find::<Station>("home/hall").unwrap();
    let bell = system.find::<Station>("home/bell").unwrap();
    let answer = hall.ask(AskBack(bell)).await.unwrap();
    assert_eq!(answer, Err("cycle".to_owned()));
    let answer = hall.ask(AskBack(hall.clone())).await.unwrap();
    assert_eq!(answer, Err("cycle".to_owned()));
}

fn small(script: &Script, overflow: Overflow) -> Supervisor {
    let spec = Scripted::spec("it", script.clone());
    Supervisor::one_for_one("app")
        .backoff(Backoff::none())
        .child(spec.mailbox(1).overflow(overflow))
}

fn mailbox(system: &System) -> MailboxInfo {
    let actors = system.snapshot();
    let it = actors.into_iter().find(|actor| actor.path.name() == "it");
    it.unwrap().mailbox.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_tells_its_id_and_so_what_led_to_it() {
    let script = Script::default();
    let system = builder()
        .keep_causes(100)
        .start(small(&script, Overflow::Wait))
        .await
        .unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(greenroom_it::with(|cx| cx.subscribe::<Happened>()))
        .await
        .unwrap();
    greenroom_it::caught_up(&it).await;
    let last = |reason| {
        let letters = system.dead_letters();
        let letter = letters.last().unwrap();
        assert_eq!(letter.reason, reason);
        let causes = system.causes_of(letter.event_id.as_ref().unwrap());
        causes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // An event that finds no room.
    hold(&it, &script).await;
    it.tell(Fail("bust")).await.unwrap();
    assert_eq!(system.publish(Happened(1)).dropped, 1);
    assert_eq!(
        last(DeadLetterReason::Full),
        ["Happened published by outside"]
    );
    // A message that fails.
    script.gate.add_permits(1);
    until(|| system.dead_letters().len() == 2).await;
    assert_eq!(
        last(DeadLetterReason::Failed),
        ["Fail told by outside to app/it"]
    );
    // One whose time is up; sent by the actor itself, whose clock is not the test's where it has a thread of its own.
    until(|| system.ready().is_ok()).await;
    let me = it.clone();
    it.tell(greenroom_it::awaiting(async move {
        let never = me.tell(Fail("never")).expires(Duration::ZERO);
        never.await.unwrap();
    }))
    .await
    .unwrap();
    until(|| system.dead_letters().len() == 3).await;
    assert_eq!(
        last(DeadLetterReason::Expired),
        [
            "Fail told by app/it to app/it",
            "Await told by outside to app/it"
        ]
    );
    // What the actor itself reports, about the message that it has in hand.
    it.tell(greenroom_it::with(|cx| {
        cx.dead_letter("line", "unreadable")
    }))
    .await
    .unwrap();
    greenroom_it::caught_up(&it).await;
    assert_eq!(
        last(DeadLetterReason::Reported),
        ["Do told by outside to app/it"]
    );
    // What is left when it stops for good.
    hold(&it, &script).await;
    it.tell(greenroom_it::Say("left")).await.unwrap();
    it.kill();
    system.stop().await;
    let letters = system.dead_letters();
    assert!(
        letters.iter().all(|letter| letter.event_id.is_some()),
        "{letters:?}"
    );
    assert!(system.ledger().is_balanced(), "{:?}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn what_a_full_mailbox_loses_has_its_id() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let script = Script::default();
        let system = builder()
            .keep_causes(100)
            .start(small(&script, overflow))
            .await
            .unwrap();
        let it = system.find::<Scripted>("app/it").unwrap();
        hold(&it, &script).await;
        for text in ["one", "two", "three"] {
            it.tell(greenroom_it::Say(text)).await.unwrap();
        }
        let letters = system.dead_letters();
        assert_eq!(letters.len(), 2, "{letters:?}");
        for letter in &letters {
            let causes = system.causes_of(letter.event_id.as_ref().unwrap());
            assert_eq!(causes[0].message, "Say");
        }
        assert_eq!(mailbox(&system).dropped, 2);
        script.gate.add_permits(1);
        until(|| system.ledger().queued == 0).await;
        assert!(system.ledger().is_balanced());
        system.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_given_back_as_ever() {
    let script = Script::default();
    let system = builder()
        .keep_causes(100)
        .start(small(&script, Overflow::Wait))
        .await
        .unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    hold(&it, &script).await;
    it.try_tell(greenroom_it::Say("in")).unwrap();
    let error = it.try_tell(greenroom_it::Say("out")).unwrap_err();
    assert_eq!(error.into_message(), greenroom_it::Say("out"));
    let limit = Duration::from_millis(5);
    let error = it.tell(greenroom_it::Say("late")).within(limit).await;
    assert!(matches!(error, Err(TellError::Timeout { message, .. }) if message.0 == "late"));
    let error = it.ask(greenroom_it::Echo(1)).within(limit).await;
    assert!(matches!(error, Err(AskError::NoRoom { .. })), "{error:?}");
    script.gate.add_permits(1);
    assert_eq!(it.ask(greenroom_it::Echo(2)).await.unwrap(), 2);
    system.stop().await;
    let error = it.tell(greenroom_it::Say("gone")).await;
    assert!(matches!(error, Err(TellError::Stopped { .. })));
    assert!(system.ledger().is_balanced(), "{:?}", system.ledger());
}

/// Fails at the first try of each.
#[derive(Clone, Debug)]
struct Shaky;
impl Message for Shaky {
    type Reply = u32;
}

#[derive(Clone, Default)]
struct Tries(Arc<Mutex<Vec<Option<Arc<Envelope>>>>>);

struct Shaker(Tries);

impl Actor for Shaker {
    type Args = Tries;
    type Error = &'static str;
    async fn start(tries: Tries, _: &mut Context<Self>) -> Result<Self, &'static str> {
        Ok(Shaker(tries))
    }
}

impl Handler<Shaky> for Shaker {
    async fn handle(&mut self, _: Shaky, cx: &mut Context<Self>) -> Result<u32, &'static str> {
        let mut tries = self.0.0.lock();
        tries.push(cx.envelope());
        match tries.len() {
            1 | 3.. => Err("not yet"),
            n => Ok(n as u32),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_tried_again_is_still_the_same() {
    let tries = Tries::default();
    let spec = Shaker::spec("it", tries.clone()).retry::<Shaky>(2);
    let tree = Supervisor::one_for_one("app")
        .backoff(Backoff::none())
        .restart_limit(100, Duration::from_secs(1))
        .child(spec);
    let system = builder().keep_causes(100).start(tree).await.unwrap();
    let it = system.find::<Shaker>("app/it").unwrap();
    assert_eq!(it.ask(Shaky).await.unwrap(), 2);
    {
        let seen = tries.0.lock();
        assert!(seen[0].is_some());
        assert_eq!(seen[0], seen[1]);
    }
    // The next one fails at both of its tries, and then can be sent again as what it was.
    assert!(it.ask(Shaky).await.is_err());
    until(|| system.dead_letters().len() == 1).await;
    let letter = system.dead_letters().remove(0);
    let failed = tries.0.lock()[2].clone().unwrap();
    assert_eq!(letter.event_id.as_ref(), Some(&failed.id));
    system.resend(letter.number).unwrap();
    until(|| tries.0.lock().len() >= 5).await;
    assert_eq!(tries.0.lock()[4].as_ref(), Some(&failed));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_waits_for_room_gets_the_event_with_its_envelope() {
    let script = Script::default();
    let system = builder()
        .keep_causes(100)
        .start(small(&script, Overflow::Wait))
        .await
        .unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.ask(greenroom_it::with(|cx| cx.subscribe::<Happened>()))
        .await
        .unwrap();
    hold(&it, &script).await;
    system.publish(Happened(1));
    let later = tokio::spawn({
        let system = system.clone();
        async move {
            system
                .publish_within(Happened(2), Duration::from_secs(60))
                .await
        }
    });
    until(|| mailbox(&system).waiting_senders == 1).await;
    script.gate.add_permits(1);
    assert_eq!(later.await.unwrap().delivered, 1);
    greenroom_it::caught_up(&it).await;
    let log = script.log.take();
    assert!(log.contains(&"it: happened 2".to_owned()), "{log:?}");
}
