//! RG, S79: names of which each stands for one actor, and where a name leads after a failure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greenroom::names::{Change, Entry, Groups, Names, RegisterError};
use greenroom::prelude::*;
use greenroom::{DeadLetterReason, Down, StartChildError};
use greenroom_it::{Log, settle};
use tokio::sync::oneshot;

use super::{builder, start};

type Roster = Names<&'static str, ActorRef<Member>, u32>;
pub(super) type Rooms = Groups<&'static str, ActorRef<Member>, u32>;
type Told = Change<&'static str, ActorRef<Member>, u32>;
type Begin = Arc<dyn Fn(&mut Context<Member>) -> Result<(), BoxError> + Send + Sync>;

/// An actor that does what it is told, and writes down what it hears.
pub(super) struct Member {
    on_down: Begin,
    log: Log,
}

/// What a member does in `start` and at the end of another, and where it writes.
#[derive(Clone)]
pub(super) struct Plan {
    begin: Begin,
    on_down: Begin,
    pub(super) log: Log,
}

impl Default for Plan {
    fn default() -> Self {
        Plan::new(|_| Ok(()))
    }
}

impl Plan {
    pub(super) fn new(
        begin: impl Fn(&mut Context<Member>) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Self {
        Plan {
            begin: Arc::new(begin),
            on_down: Arc::new(|_| Ok(())),
            log: Log::default(),
        }
    }
}

impl Actor for Member {
    type Args = Plan;
    type Error = BoxError;

    async fn start(plan: Plan, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        (plan.begin)(cx)?;
        Ok(Member {
            on_down: plan.on_down,
            log: plan.log,
        })
    }
}

/// Runs a closure with the context of the member.
pub(super) struct Run(pub(super) Action);

pub(super) type Action = Box<dyn FnOnce(&mut Context<Member>) + Send>;

/// Written down.
#[derive(Clone, Debug)]
struct Hello(&'static str);
/// Fails.
pub(super) struct Crash;
/// Answers which life this is.
struct Life;

impl Message for Run {
    type Reply = ();
}
impl Message for Hello {
    type Reply = ();
}
impl Message for Crash {
    type Reply = ();
}
impl Message for Life {
    type Reply = u64;
}

impl Handler<Run> for Member {
    async fn handle(&mut self, Run(f): Run, cx: &mut Context<Self>) -> Result<(), BoxError> {
        f(cx);
        Ok(())
    }
}

impl Handler<Hello> for Member {
    async fn handle(&mut self, Hello(text): Hello, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.log.add(text);
        Ok(())
    }
}

impl Handler<Crash> for Member {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Result<(), BoxError> {
        Err("crash".into())
    }
}

impl Handler<Life> for Member {
    async fn handle(&mut self, _: Life, cx: &mut Context<Self>) -> Result<u64, BoxError> {
        Ok(cx.incarnation())
    }
}

impl Handler<Down> for Member {
    async fn handle(&mut self, down: Down, cx: &mut Context<Self>) -> Result<(), BoxError> {
        (self.on_down)(cx)?;
        self.log.add(down.path.to_string());
        Ok(())
    }
}

impl Handler<Told> for Member {
    async fn handle(&mut self, told: Told, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.log.add(format!("{told:?}"));
        Ok(())
    }
}

/// Runs a closure in a handler of the member, and returns what it returns.
pub(super) async fn as_member<T: Send + fmt::Debug + 'static>(
    it: &ActorRef<Member>,
    f: impl FnOnce(&mut Context<Member>) -> T + Send + 'static,
) -> T {
    let (reply, answer) = oneshot::channel();
    let run = Run(Box::new(move |cx| reply.send(f(cx)).unwrap()));
    it.ask(run).await.unwrap();
    answer.await.unwrap()
}

async fn register(
    it: &ActorRef<Member>,
    names: &Roster,
    key: &'static str,
    value: u32,
) -> Result<(), RegisterError> {
    let names = names.clone();
    as_member(it, move |cx| names.register(cx, key, value)).await
}

pub(super) async fn join(it: &ActorRef<Member>, rooms: &Rooms, key: &'static str, value: u32) {
    let rooms = rooms.clone();
    as_member(it, move |cx| rooms.join(cx, key, value))
        .await
        .unwrap();
}

/// A system with a supervisor of members that come and go, `app/all`, and these members in it.
pub(super) async fn members<const N: usize>(names: [&str; N]) -> (System, [ActorRef<Member>; N]) {
    let all = Supervisor::dynamic("all")
        .restart_limit(1000, Duration::from_secs(60))
        .backoff(Backoff::none());
    let system = start(Supervisor::one_for_one("app").child(all))
        .await
        .unwrap();
    let all = system.supervisor("app/all").unwrap();
    let mut members = Vec::new();
    for name in names {
        let spec = Member::spec(name, Plan::default());
        members.push(all.start_child(spec).await.unwrap());
    }
    let Ok(members) = members.try_into() else {
        unreachable!("as many as names")
    };
    (system, members)
}

pub(super) async fn stop(system: &System, name: &str) {
    let all = system.supervisor("app/all").unwrap();
    all.stop_child(name).await.unwrap();
}

pub(super) fn values<K, R>(entries: &[Arc<Entry<K, R, u32>>]) -> Vec<u32> {
    entries.iter().map(|entry| entry.value).collect()
}

// ===== unique keys =====

#[tokio::test(start_paused = true)]
async fn rg01_a_unique_key_is_registered_once_by_the_same_or_another_actor() {
    let names = Roster::new();
    let (_system, [a, b]) = members(["a", "b"]).await;
    register(&a, &names, "hello", 1).await.unwrap();
    let owner = a.path().clone();
    let taken = RegisterError::AlreadyRegistered { owner };
    for it in [&a, &b] {
        let error = register(it, &names, "hello", 2).await.unwrap_err();
        assert_eq!(error, taken);
    }
    assert_eq!(
        taken.to_string(),
        "app/all/a has that name already; look it up, or choose another"
    );
    register(&b, &names, "world", 4).await.unwrap();
    assert_eq!(names.lookup(&"hello"), Some(a));
    assert_eq!(names.lookup(&"world"), Some(b));
    assert_eq!((names.entry(&"hello").unwrap().value, names.len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn rg01_keys_are_the_same_only_if_they_are_equal_in_kind_too() {
    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    enum Number {
        Whole(i64),
        Real(u64),
    }
    let names: Names<Number, ActorRef<Member>> = Names::new();
    let (_system, [a]) = members(["a"]).await;
    let of_both = names.clone();
    as_member(&a, move |cx| {
        of_both.register(cx, Number::Whole(1), ()).unwrap();
        of_both
            .register(cx, Number::Real(1.0f64.to_bits()), ())
            .unwrap();
    })
    .await;
    assert_eq!(names.len(), 2);
    assert!(names.lookup(&Number::Whole(2)).is_none());
}

#[tokio::test(start_paused = true)]
async fn rg01_a_new_life_that_registers_again_replaces_the_value_and_nothing_else() {
    let names = Roster::new();
    let (system, [other]) = members(["other"]).await;
    let of_start = names.clone();
    let plan = Plan::new(move |cx| {
        let life = u32::try_from(cx.incarnation())?;
        of_start.register(cx, "it", life)?;
        Ok(())
    });
    let all = system.supervisor("app/all").unwrap();
    let it = all.start_child(Member::spec("it", plan)).await.unwrap();
    for life in 1..4 {
        let entry = names.entry(&"it").unwrap();
        assert_eq!((entry.value, &entry.to), (life, &it));
        assert!(register(&other, &names, "it", 0).await.is_err());
        it.tell(Crash).await.unwrap();
        settle().await;
    }
    assert_eq!(it.ask(Life).await.unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn rg02_a_name_is_free_at_once_when_its_owner_has_stopped_for_good() {
    let names = Roster::new();
    let (system, [a, b]) = members(["a", "b"]).await;
    register(&a, &names, "it", 1).await.unwrap();
    stop(&system, "a").await;
    // Nobody cleans up later: it is free when the stop has returned.
    assert!(names.lookup(&"it").is_none());
    register(&b, &names, "it", 2).await.unwrap();
    assert_eq!(names.lookup(&"it"), Some(b.clone()));
    // An owner that ended by itself.
    let all = system.supervisor("app/all").unwrap();
    let spec = Member::spec("c", Plan::default()).restart(Restart::Temporary);
    let c = all.start_child(spec).await.unwrap();
    register(&c, &names, "mine", 1).await.unwrap();
    c.tell(Crash).await.unwrap();
    settle().await;
    register(&b, &names, "mine", 2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rg02_a_name_of_a_start_that_failed_is_free_when_the_start_returns() {
    let names = Roster::new();
    let (system, [b]) = members(["b"]).await;
    let of_start = names.clone();
    let plan = Plan::new(move |cx| {
        of_start.register(cx, "it", 1)?;
        Err("no luck".into())
    });
    let all = system.supervisor("app/all").unwrap();
    let error = all.start_child(Member::spec("a", plan)).await.unwrap_err();
    assert!(matches!(error, StartChildError::Failed(_)));
    register(&b, &names, "it", 2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rg02_who_is_told_of_the_end_of_an_owner_can_have_its_name() {
    let names = Roster::new();
    let (system, [a]) = members(["a"]).await;
    register(&a, &names, "it", 1).await.unwrap();
    let (of_heir, owner) = (names.clone(), a.clone());
    let mut plan = Plan::new(move |cx| {
        cx.monitor(&owner);
        Ok(())
    });
    plan.on_down = Arc::new(move |cx| Ok(of_heir.register(cx, "it", 2)?));
    let all = system.supervisor("app/all").unwrap();
    let spec = Member::spec("heir", plan.clone());
    let heir = all.start_child(spec).await.unwrap();
    stop(&system, "a").await;
    settle().await;
    assert_eq!(plan.log.take(), ["app/all/a"]);
    assert_eq!(names.lookup(&"it"), Some(heir));
}

#[tokio::test(start_paused = true)]
async fn rg03_nothing_is_left_after_crashes_and_refusals() {
    /// Enough that every part of the tables has some.
    const KEYS: u32 = 200;
    let names: Names<u32, ActorRef<Member>, u32> = Names::new();
    let rooms: Groups<u32, ActorRef<Member>, u32> = Groups::new();
    let (system, both) = members(["a", "b"]).await;
    for it in &both {
        let (names, rooms) = (names.clone(), rooms.clone());
        as_member(it, move |cx| {
            for key in 0..KEYS {
                let _ = names.register(cx, key, 0);
                assert!(names.register(cx, key, 0).is_err());
                rooms.join(cx, key, 0).unwrap();
                rooms.join(cx, key, 1).unwrap();
            }
        })
        .await;
    }
    assert_eq!((names.len(), rooms.len()), (200, 200));
    assert_eq!(rooms.entries(|_| true).len(), 800);
    stop(&system, "a").await;
    assert_eq!((names.len(), rooms.entries(|_| true).len()), (0, 400));
    stop(&system, "b").await;
    assert!(names.is_empty() && rooms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rg04_a_value_is_updated_by_its_owner_only() {
    let names = Roster::new();
    let (_system, [a, b]) = members(["a", "b"]).await;
    let update = |it: ActorRef<Member>| {
        let names = names.clone();
        async move { as_member(&it, move |cx| names.update(cx, &"it", |n| n + 1)).await }
    };
    assert!(!update(a.clone()).await);
    register(&a, &names, "it", 1).await.unwrap();
    let before = names.entry(&"it").unwrap();
    assert!(!update(b).await);
    assert!(update(a.clone()).await);
    let after = names.entry(&"it").unwrap();
    // Whoever looked before keeps what he saw, and it is the same registration.
    assert_eq!((before.value, after.value), (1, 2));
    assert!(before == after && after.to == a);
}

#[tokio::test(start_paused = true)]
async fn rg05_dispatch_reaches_nobody_or_one_or_all_and_never_waits() {
    let rooms = Rooms::new();
    let (system, [a, b]) = members(["a", "b"]).await;
    let nobody = rooms.dispatch(&"hello", Hello("lost"));
    assert_eq!((nobody.delivered, nobody.dropped), (0, 0));
    join(&a, &rooms, "hello", 1).await;
    assert_eq!(rooms.dispatch(&"hello", Hello("1")).delivered, 1);
    join(&b, &rooms, "hello", 2).await;
    join(&b, &rooms, "world", 3).await;
    assert_eq!(rooms.dispatch(&"hello", Hello("2")).delivered, 2);
    assert_eq!(rooms.dispatch(&"world", Hello("3")).delivered, 1);
    // With the values, in the order in which they joined.
    assert_eq!(values(&rooms.entries_of(&"hello")), [1, 2]);
    assert_eq!(rooms.members(&"hello"), [a, b]);
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn rg05_a_member_without_room_holds_up_no_other_and_its_loss_is_counted() {
    let rooms: Groups<&'static str, Recipient<Hello>> = Groups::new();
    let of_start = rooms.clone();
    let plan = Plan::new(move |cx| Ok(of_start.join(cx, "all", ())?));
    let tree = Supervisor::one_for_one("app")
        .child(Member::spec("small", plan.clone()).mailbox(1))
        .child(Member::spec("large", plan.clone()));
    let system = start(tree).await.unwrap();
    let told = [1, 2, 3].map(|_| rooms.dispatch(&"all", Hello("hello")));
    let delivered: usize = told.iter().map(|told| told.delivered).sum();
    let dropped: usize = told.iter().map(|told| told.dropped).sum();
    assert_eq!(delivered + dropped, 6);
    assert_eq!(told.last().map(|told| told.delivered), Some(1));
    settle().await;
    assert_eq!(plan.log.take().len(), delivered);
    let letters = system.dead_letters();
    assert_eq!(letters.len(), dropped);
    assert!(
        letters
            .iter()
            .all(|letter| letter.reason == DeadLetterReason::Full)
    );
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn rg06_unregistering_is_idempotent_and_takes_own_entries_of_that_key_only() {
    let (names, rooms) = (Roster::new(), Rooms::new());
    let (_system, [a, b]) = members(["a", "b"]).await;
    let of_a = (names.clone(), rooms.clone());
    as_member(&a, move |cx| {
        let (names, rooms) = of_a;
        assert!(!names.unregister(cx, &"hello"));
        names.register(cx, "hello", 1).unwrap();
        names.register(cx, "world", 2).unwrap();
        assert!(names.unregister(cx, &"hello"));
        assert!(!names.unregister(cx, &"hello"));
        assert_eq!(values(&names.own(cx)), [2]);
        assert_eq!(rooms.leave(cx, &"hello"), 0);
        rooms.join(cx, "hello", 1).unwrap();
        rooms.join(cx, "hello", 2).unwrap();
        rooms.join(cx, "world", 3).unwrap();
    })
    .await;
    join(&b, &rooms, "hello", 4).await;
    let of_b = (names.clone(), rooms.clone());
    as_member(&b, move |cx| {
        let (names, rooms) = of_b;
        assert!(!names.unregister(cx, &"world"));
        assert_eq!(rooms.leave(cx, &"world"), 0);
    })
    .await;
    let of_a = rooms.clone();
    as_member(&a, move |cx| {
        assert_eq!(of_a.leave(cx, &"hello"), 2);
        assert_eq!(of_a.leave(cx, &"hello"), 0);
        assert_eq!(values(&of_a.own(cx)), [3]);
    })
    .await;
    assert_eq!(values(&rooms.entries_of(&"hello")), [4]);
    assert_eq!(names.lookup(&"world"), Some(a));
}

#[tokio::test(start_paused = true)]
async fn rg06_entries_are_taken_out_by_any_condition_on_their_values() {
    let (names, rooms) = (Roster::new(), Rooms::new());
    let (_system, [a]) = members(["a"]).await;
    let of_a = (names.clone(), rooms.clone());
    as_member(&a, move |cx| {
        let (names, rooms) = of_a;
        names.register(cx, "hello", 1).unwrap();
        assert!(!names.unregister_if(cx, &"hello", |value| *value > 1));
        assert_eq!(names.len(), 1);
        assert!(names.unregister_if(cx, &"hello", |value| *value == 1));
        assert!(names.is_empty());
        for value in 0..6 {
            rooms.join(cx, "hello", value).unwrap();
        }
        assert_eq!(rooms.leave_if(cx, &"hello", |value| value % 2 == 0), 3);
        assert_eq!(rooms.leave_if(cx, &"hello", |value| value % 2 == 0), 0);
    })
    .await;
    assert_eq!(values(&rooms.entries_of(&"hello")), [1, 3, 5]);
}

#[tokio::test(start_paused = true)]
async fn rg07_those_who_monitor_hear_who_registers_and_who_goes() {
    let names = Roster::new();
    let (system, [a, b]) = members(["a", "b"]).await;
    let of_start = names.clone();
    let plan = Plan::new(move |cx| {
        assert_eq!(
            of_start.monitor_all(cx).len(),
            usize::from(cx.incarnation() > 1)
        );
        Ok(())
    });
    let all = system.supervisor("app/all").unwrap();
    let spec = Member::spec("listener", plan.clone());
    let listener = all.start_child(spec).await.unwrap();
    register(&a, &names, "hello", 1).await.unwrap();
    register(&b, &names, "world", 2).await.unwrap();
    let of_b = names.clone();
    as_member(&b, move |cx| of_b.unregister(cx, &"world")).await;
    settle().await;
    assert_eq!(
        plan.log.take(),
        [
            "Joined(\"hello\": app/all/a)",
            "Joined(\"world\": app/all/b)",
            "Left(\"world\": app/all/b)",
        ]
    );
    // It belongs to the role, and is not doubled by a new life that asks again.
    listener.tell(Crash).await.unwrap();
    settle().await;
    stop(&system, "a").await;
    settle().await;
    assert_eq!(plan.log.take(), ["Left(\"hello\": app/all/a)"]);
    let of_listener = names.clone();
    as_member(&listener, move |cx| of_listener.demonitor_all(cx)).await;
    register(&b, &names, "hello", 3).await.unwrap();
    settle().await;
    assert!(plan.log.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn rg07_a_listener_without_room_holds_up_nobody_and_its_loss_is_counted() {
    let rooms = Rooms::new();
    let (system, [a]) = members(["a"]).await;
    let all = system.supervisor("app/all").unwrap();
    let spec = Member::spec("listener", Plan::default()).mailbox(1);
    let listener = all.start_child(spec).await.unwrap();
    let of_listener = rooms.clone();
    as_member(&listener, move |cx| of_listener.monitor(cx, &"hello").len()).await;
    let of_a = rooms.clone();
    as_member(&a, move |cx| {
        for value in 0..10 {
            of_a.join(cx, "hello", value).unwrap();
        }
    })
    .await;
    settle().await;
    assert_eq!(rooms.entries_of(&"hello").len(), 10);
    let letters = system.dead_letters();
    assert!(!letters.is_empty());
    for letter in letters {
        assert_eq!(letter.reason, DeadLetterReason::Full);
        assert_eq!(letter.text, "Joined(\"hello\": app/all/a)");
    }
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn rg08_a_name_is_taken_in_start_then_sent_to_looked_up_and_given_up() {
    let names: Names<&'static str, Recipient<Hello>> = Names::new();
    let of_start = names.clone();
    let plan = Plan::new(move |cx| Ok(of_start.register(cx, "agent", ())?));
    let (system, []) = members([]).await;
    let all = system.supervisor("app/all").unwrap();
    let agent = all.start_child(Member::spec("agent", plan.clone())).await;
    let agent = agent.unwrap();
    names
        .lookup(&"agent")
        .unwrap()
        .tell(Hello("hi"))
        .await
        .unwrap();
    settle().await;
    assert_eq!(plan.log.take(), ["hi"]);
    // A second one does not start, and says why; nothing of it is left.
    let second = all.start_child(Member::spec("second", plan)).await;
    let error = second.unwrap_err().to_string();
    assert!(
        error.contains("app/all/agent has that name already"),
        "{error}"
    );
    assert_eq!(names.lookup(&"agent").unwrap().path(), agent.path());
    let of_agent = names.clone();
    assert!(as_member(&agent, move |cx| of_agent.unregister(cx, &"agent")).await);
    assert!(names.lookup(&"agent").is_none());
}

#[tokio::test(start_paused = true)]
async fn rg09_entries_are_selected_by_any_condition_and_no_key_is_a_wildcard() {
    let rooms = Rooms::new();
    let (_system, [a, b]) = members(["a", "b"]).await;
    for (it, key, value) in [
        (&a, "_", 1),
        (&b, "$1", 2),
        (&a, "$$", 3),
        (&b, "$_", 4),
        (&a, "hello", 5),
    ] {
        join(it, &rooms, key, value).await;
    }
    for (key, value) in [("_", 1), ("$1", 2), ("$$", 3), ("$_", 4)] {
        assert_eq!(values(&rooms.entries_of(&key)), [value]);
    }
    assert!(rooms.entries_of(&"*").is_empty());
    // By key, actor and value; more than one condition at once; and to be counted.
    let path = a.path().clone();
    let of_a = rooms.entries(|entry| entry.owner == path);
    assert_eq!(values(&of_a), [1, 3, 5]);
    let some = rooms.entries(|entry| entry.key.starts_with('$') || entry.value > 4);
    assert_eq!(values(&some), [2, 3, 4, 5]);
    assert_eq!(rooms.entries(|entry| entry.value > 5).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn rg10_the_lock_of_a_key_keeps_out_others_of_that_key_only() {
    let names = Roster::new();
    let first = names.lock(&"a").await;
    drop(names.lock(&"b").await);
    let log = Log::default();
    let waiters = ["one", "two"].map(|who| {
        let (names, log) = (names.clone(), log.clone());
        tokio::spawn(async move {
            let _held = names.lock(&"a").await;
            log.add(who);
        })
    });
    settle().await;
    assert!(log.take().is_empty());
    drop(first);
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!(log.take(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn rg10_a_lock_is_freed_when_its_holder_fails_and_a_waiter_that_is_gone_is_in_nobodys_way() {
    let names = Roster::new();
    let of_holder = names.clone();
    let holder = tokio::spawn(async move {
        let _held = of_holder.lock(&"a").await;
        std::future::pending::<()>().await;
    });
    settle().await;
    let of_waiter = names.clone();
    let waiter = tokio::spawn(async move {
        let _held = of_waiter.lock(&"a").await;
    });
    settle().await;
    waiter.abort();
    settle().await;
    holder.abort();
    drop(names.lock(&"a").await);
    let of_holder = names.clone();
    let holder = tokio::spawn(async move {
        let held = of_holder.lock(&"a").await;
        assert!(format!("{held:?}").is_empty(), "it panics");
    });
    assert!(holder.await.is_err());
    drop(names.lock(&"a").await);
}

// ===== where a name leads after a failure =====

/// A tree in which `app/sub/worker` registers itself as `it`.
async fn named() -> (System, Roster) {
    let names = Roster::new();
    let of_start = names.clone();
    let plan = Plan::new(move |cx| {
        let life = u32::try_from(cx.incarnation())?;
        of_start.register(cx, "it", life)?;
        Ok(())
    });
    let sub = Supervisor::one_for_one("sub")
        .restart_limit(0, Duration::from_secs(5))
        .child(Member::spec("worker", plan.clone()));
    let tree = Supervisor::one_for_one("app")
        .restart_limit(3, Duration::from_secs(5))
        .backoff(Backoff::none())
        .child(sub);
    (builder().start(tree).await.unwrap(), names)
}

/// Which life answers at the name; it has to be there 200 ms from now at the latest.
async fn life_of(names: &Roster) -> u64 {
    let limit = Duration::from_millis(200);
    let it = names.lookup(&"it").unwrap();
    it.ask(Life).within(limit).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn s79_a_name_leads_to_a_new_life_when_its_supervisor_is_started_again() {
    let (_system, names) = named().await;
    assert_eq!(life_of(&names).await, 1);
    // One failure more than `sub` may restart: it gives up, and comes back with the worker.
    names.lookup(&"it").unwrap().tell(Crash).await.unwrap();
    assert_eq!(life_of(&names).await, 2);
    assert_eq!(names.entry(&"it").unwrap().value, 2);
}

#[tokio::test(start_paused = true)]
async fn s79_a_name_leads_to_a_new_life_when_the_worker_fails_or_ends() {
    let names = Roster::new();
    let (system, []) = members([]).await;
    let of_start = names.clone();
    let plan = Plan::new(move |cx| Ok(of_start.register(cx, "it", 0)?));
    let all = system.supervisor("app/all").unwrap();
    all.start_child(Member::spec("it", plan)).await.unwrap();
    let it = names.lookup(&"it").unwrap();
    it.tell(Crash).await.unwrap();
    assert_eq!(life_of(&names).await, 2);
    // A permanent worker that exits by itself, and one that is killed.
    as_member(&it, Context::stop).await;
    assert_eq!(life_of(&names).await, 3);
    it.kill();
    settle().await;
    assert_eq!(life_of(&names).await, 4);
}

#[tokio::test(start_paused = true)]
async fn s79_a_name_leads_to_a_new_life_when_its_worker_is_restarted_by_order() {
    let (system, names) = named().await;
    let sub = system.supervisor("app/sub").unwrap();
    sub.stop_child("worker").await.unwrap();
    assert!(names.lookup(&"it").is_none());
    sub.restart_child("worker").await.unwrap();
    assert_eq!(life_of(&names).await, 2);
}

#[tokio::test(start_paused = true)]
async fn s79_names_are_gone_when_the_top_is() {
    let (system, names) = named().await;
    system.stop().await;
    assert!(names.lookup(&"it").is_none() && names.is_empty());
    // The same when it gave up.
    let (system, names) = named().await;
    let it = names.lookup(&"it").unwrap();
    for _ in 0..4 {
        it.tell(Crash).await.unwrap();
        settle().await;
    }
    assert!(system.stopped().await.is_err());
    assert!(names.lookup(&"it").is_none());
}

#[tokio::test(start_paused = true)]
async fn names_of_one_table_are_listed_in_the_order_in_which_they_came() {
    let names: Names<String, ActorRef<Member>, u32> = Names::new();
    let (_system, [a]) = members(["a"]).await;
    let of_a = names.clone();
    as_member(&a, move |cx| {
        for n in 0..100 {
            of_a.register(cx, format!("name {n}"), n).unwrap();
        }
    })
    .await;
    let all = values(&names.entries(|_| true));
    assert_eq!(all, (0..100).collect::<Vec<u32>>());
}
