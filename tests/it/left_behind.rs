//! What is left of a life that was cut off, and of a start that was overtaken: on workers, and as tasks of one thread.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use greenroom::{ActorState, AskError, SupervisionEvent, TellError, TryTellError, WeakActorRef};
use greenroom_it::*;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Where code blocks its thread until the test lets it go on.
#[derive(Clone)]
struct Gate {
    reached: mpsc::Sender<()>,
    opened: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Gate {
    fn new() -> (Self, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (reached, is_reached) = mpsc::channel();
        let (open, opened) = mpsc::channel();
        let opened = Arc::new(Mutex::new(opened));
        (Gate { reached, opened }, is_reached, open)
    }

    fn block(&self) {
        self.reached.send(()).unwrap();
        self.opened.lock().recv().unwrap();
    }
}

fn hear<T>(from: &mpsc::Receiver<T>) -> T {
    from.recv_timeout(10 * SECOND).unwrap()
}

/// Blocks its thread in a handler, and says what it finds in the end.
struct Blocker {
    me: WeakActorRef<Self>,
    log: Log,
    gate: Gate,
    gone: mpsc::Sender<bool>,
    panics: bool,
}

#[derive(Clone)]
struct Blocks(Log, Gate, mpsc::Sender<bool>, bool);

impl Actor for Blocker {
    type Args = Blocks;
    type Error = BoxError;

    async fn start(args: Blocks, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        let Blocks(log, gate, gone, panics) = args;
        let me = cx.me().downgrade();
        Ok(Blocker {
            me,
            log,
            gate,
            gone,
            panics,
        })
    }

    async fn stop(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.log.add("stop");
        Ok(())
    }
}

impl Drop for Blocker {
    fn drop(&mut self) {
        // Whoever waited for it may have gone.
        let _ = self.gone.send(self.me.upgrade().is_some());
        assert!(!self.panics, "state");
    }
}

/// How a handler goes on that has blocked its thread.
#[derive(Clone, Copy)]
enum Then {
    Fail,
    StopAndFail,
    Pend,
}

struct Block(Then);
impl Message for Block {
    type Reply = ();
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("future");
    }
}

impl Handler<Block> for Blocker {
    async fn handle(&mut self, Block(then): Block, cx: &mut Context<Self>) -> Result<(), BoxError> {
        self.gate.block();
        match then {
            Then::Fail => {}
            Then::StopAndFail => cx.stop(),
            Then::Pend => {
                let _bomb = Bomb;
                std::future::pending::<()>().await;
            }
        }
        Err("late".into())
    }
}

/// Blocks an actor, stops its system, which leaves it behind, and waits until its state is dropped.
fn left_behind(then: Then, panics: bool) -> (bool, Vec<String>) {
    let log = Log::default();
    let (gone, is_gone) = mpsc::channel();
    let (gate, is_blocked, open) = Gate::new();
    let role = greenroom::block_on(async {
        let blocks = Blocks(log.clone(), gate, gone, panics);
        let it = Blocker::spec("it", blocks).stop_within(10 * MS);
        let tree = Supervisor::one_for_one("app").child(it);
        let system = System::builder().workers(2).start(tree).await.unwrap();
        let it = system.find::<Blocker>("app/it").unwrap();
        it.tell(Block(then)).await.unwrap();
        hear(&is_blocked);
        system.stop().await;
        it.downgrade()
    });
    open.send(()).unwrap();
    let had_role = hear(&is_gone);
    // The run is over when it has let go of the role.
    let limit = Instant::now() + 10 * SECOND;
    while role.upgrade().is_some() {
        assert!(Instant::now() < limit, "the run does not end");
        thread::yield_now();
    }
    (had_role, log.take())
}

#[test]
fn a_role_is_there_until_the_last_code_of_its_actor_has_run() {
    for then in [Then::Fail, Then::Pend] {
        let (had_role, _) = left_behind(then, false);
        assert!(
            had_role,
            "the state is dropped as code of a role that is gone"
        );
    }
}

#[test]
fn a_life_that_was_cut_off_does_not_stop_in_order_afterwards() {
    let (_, log) = left_behind(Then::StopAndFail, false);
    assert_eq!(log, Vec::<String>::new());
}

#[test]
fn a_future_and_a_state_that_both_panic_when_dropped_are_survived() {
    left_behind(Then::Pend, true);
}

/// Somebody who listens, so that reports are made.
struct Listens;

impl Actor for Listens {
    type Args = ();
    type Error = BoxError;

    async fn start((): (), cx: &mut Context<Self>) -> Result<Self, BoxError> {
        cx.subscribe::<SupervisionEvent>();
        Ok(Listens)
    }
}

impl Handler<SupervisionEvent> for Listens {
    async fn handle(&mut self, _: SupervisionEvent, _: &mut Context<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

#[test]
fn s89_the_crash_report_of_who_blocks_its_thread_has_all_that_it_had_taken_over() {
    let (gone, is_gone) = mpsc::channel();
    let (gate, is_blocked, open) = Gate::new();
    greenroom::block_on(async {
        let tree = Supervisor::one_for_one("app").child(Listens::spec("listens", ()));
        let system = System::builder().workers(2).start(tree).await.unwrap();
        let app = system.supervisor("app").unwrap();
        let blocks = Blocks(Log::default(), gate, gone, false);
        let it = Blocker::spec("it", blocks).stop_within(10 * MS);
        let it = app.start_child(it).await.unwrap();
        it.pause();
        for _ in 0..4 {
            it.tell(Block(Then::Fail)).await.unwrap();
        }
        it.resume();
        hear(&is_blocked);
        it.tell(Block(Then::Pend)).await.unwrap();
        app.stop_child("it").await.unwrap();
        let letters = system.dead_letters();
        let failure = letters.iter().find_map(|letter| letter.failure.as_ref());
        let report = failure.unwrap().crash_report().unwrap();
        let in_hand = report.in_hand.unwrap();
        assert!(in_hand.message.ends_with("Block") && in_hand.begun >= Some(10 * MS));
        assert_eq!(report.queued, 4);
        assert_eq!(report.queued_types, [(in_hand.message, 4)]);
        system.stop().await;
    });
    open.send(()).unwrap();
    hear(&is_gone);
}

/// Comes up at once in its first life, and falls at once; later lives take their time.
struct Faller;

impl Actor for Faller {
    type Args = ();
    type Error = BoxError;

    async fn start((): (), cx: &mut Context<Self>) -> Result<Self, BoxError> {
        if cx.incarnation() == 1 {
            cx.me().try_tell(Fall)?;
        } else {
            sleep(20 * MS).await;
        }
        Ok(Faller)
    }
}

struct Fall;
impl Message for Fall {
    type Reply = ();
}

impl Handler<Fall> for Faller {
    async fn handle(&mut self, Fall: Fall, _: &mut Context<Self>) -> Result<(), BoxError> {
        Err("fell".into())
    }
}

#[tokio::test]
async fn a_child_that_falls_before_its_start_is_seen_does_not_hold_up_its_supervisor() {
    let pool = Supervisor::dynamic("pool").backoff(Backoff::none());
    let tree = Supervisor::one_for_one("app").child(pool);
    let builder = System::builder().in_current_runtime();
    let system = builder.start(tree).await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    let started = timeout(SECOND, pool.start_child(Faller::spec("faller", ()))).await;
    assert!(matches!(started, Ok(Ok(_))), "{started:?}");
    let other = pool.start_child(Scripted::spec("other", Script::default()));
    assert!(matches!(timeout(SECOND, other).await, Ok(Ok(_))));
    system.stop().await;
}

/// Blocks its thread in the start of its second life; the start of the third does not end.
struct Slow {
    incarnation: u64,
    ended: mpsc::Sender<u64>,
}

#[derive(Clone)]
struct Slows(Gate, mpsc::Sender<()>, mpsc::Sender<u64>);

impl Actor for Slow {
    type Args = Slows;
    type Error = BoxError;

    async fn start(args: Slows, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        let Slows(gate, third, ended) = args;
        let incarnation = cx.incarnation();
        match incarnation {
            1 => {}
            2 => gate.block(),
            _ => {
                third.send(())?;
                std::future::pending::<()>().await;
            }
        }
        Ok(Slow { incarnation, ended })
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        // Whoever waited for it may have gone.
        let _ = self.ended.send(self.incarnation);
    }
}

impl Handler<Fall> for Slow {
    async fn handle(&mut self, Fall: Fall, _: &mut Context<Self>) -> Result<(), BoxError> {
        Err("fell".into())
    }
}

#[test]
fn a_start_that_was_left_behind_does_not_pass_for_that_of_the_next_life() {
    greenroom::block_on(async {
        let (gate, is_blocked, open) = Gate::new();
        let (third, is_third) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let slows = Slows(gate, third, ended);
        let inner = Supervisor::one_for_one("inner")
            .restart_limit(1, 3600 * SECOND)
            .backoff(Backoff::none())
            .child(Slow::spec("slow", slows).stop_within(10 * MS))
            .child(Scripted::spec("other", Script::default()));
        let tree = Supervisor::one_for_one("app")
            .backoff(Backoff::none())
            .child(inner);
        let system = System::builder().workers(2).start(tree).await.unwrap();
        let slow = system.find::<Slow>("app/inner/slow").unwrap();
        let other = system.find::<Scripted>("app/inner/other").unwrap();
        slow.tell(Fall).await.unwrap();
        hear(&is_blocked);
        // One more than may be restarted: all stop, and `slow` is left behind in its start.
        other.tell(Panic("too much")).await.unwrap();
        hear(&is_third);
        open.send(()).unwrap();
        assert_eq!([hear(&has_ended), hear(&has_ended)], [1, 2]);
        let infos = system.snapshot();
        let slow = infos
            .iter()
            .find(|info| info.path.name() == "slow")
            .unwrap();
        assert_eq!((slow.incarnation, slow.state), (3, ActorState::Starting));
        system.stop().await;
    });
}

/// Blocks its thread, and tries to go on with its work when it is let go.
struct Zombie {
    late: Late,
}

#[derive(Clone)]
struct Late {
    gate: Gate,
    ear: ActorRef<Ear>,
    lives: mpsc::Sender<u64>,
    refused: mpsc::Sender<Vec<(&'static str, bool)>>,
}

impl Actor for Zombie {
    type Args = Late;
    type Error = BoxError;

    async fn start(late: Late, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        if cx.incarnation() == 2 {
            late.ear.tell(Heard("the next life")).await?;
            late.lives.send(2)?;
        }
        Ok(Zombie { late })
    }
}

#[derive(Debug)]
struct Linger;
impl Message for Linger {
    type Reply = u32;
}

impl Handler<Linger> for Zombie {
    async fn handle(&mut self, _: Linger, cx: &mut Context<Self>) -> Result<u32, BoxError> {
        let Late {
            gate, ear, refused, ..
        } = &self.late;
        gate.block();
        let tell = ear.tell(Heard("tell")).await;
        let try_tell = ear.try_tell(Heard("try_tell"));
        let ask = ear.ask(Heard("ask")).await;
        let publish = cx.publish(Heard("publish")).delivered + cx.publish(Heard("twice")).delivered;
        let limited = cx.publish_within(Heard("publish_within"), SECOND).await;
        // What a supervisor does is told by itself, whoever wanted it.
        let pool = cx.system().supervisor("app/pool")?;
        let late = Scripted::spec("late", Script::default());
        pool.start_child(late).await?;
        refused.send(vec![
            ("tell", matches!(tell, Err(TellError::Fenced { .. }))),
            (
                "try_tell",
                matches!(try_tell, Err(TryTellError::Fenced { .. })),
            ),
            ("ask", matches!(ask, Err(AskError::Fenced { .. }))),
            ("publish", publish == 0),
            ("publish_within", limited.delivered == 0),
            ("is_current", !cx.is_current()),
        ])?;
        Ok(7)
    }
}

/// Writes down what it hears.
struct Ear(Log);

#[derive(Clone, Debug)]
struct Heard(&'static str);
impl Event for Heard {}

impl Actor for Ear {
    type Args = Log;
    type Error = BoxError;

    async fn start(log: Log, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        cx.subscribe::<Heard>();
        cx.subscribe::<SupervisionEvent>();
        Ok(Ear(log))
    }
}

impl Handler<SupervisionEvent> for Ear {
    async fn handle(
        &mut self,
        event: SupervisionEvent,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        if let SupervisionEvent::Ordered { order, .. } = event {
            self.0.add(order.to_string());
        }
        Ok(())
    }
}

impl Handler<Heard> for Ear {
    async fn handle(&mut self, heard: Heard, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.0.add(heard.0);
        Ok(())
    }
}

#[test]
fn d1_a_life_that_was_cut_off_while_it_blocked_its_thread_can_no_longer_send_or_reply() {
    greenroom::block_on(async {
        let log = Log::default();
        let (gate, is_blocked, open) = Gate::new();
        let (lives, life) = mpsc::channel();
        let (refused, is_refused) = mpsc::channel();
        let tree = Supervisor::one_for_one("app")
            .backoff(Backoff::none())
            .child(Ear::spec("ear", log.clone()))
            .child(Supervisor::dynamic("pool"));
        let system = System::builder().workers(3).start(tree).await.unwrap();
        let late = Late {
            gate,
            ear: system.find::<Ear>("app/ear").unwrap(),
            lives,
            refused,
        };
        let pair = Supervisor::one_for_all("pair")
            .backoff(Backoff::none())
            .child(Zombie::spec("zombie", late).stop_within(10 * MS))
            .child(Scripted::spec("fuse", Script::default()));
        let pool = system.supervisor("app/pool").unwrap();
        pool.start_supervisor(pair).await.unwrap();
        let zombie = system.find::<Zombie>("app/pool/pair/zombie").unwrap();
        let fuse = system.find::<Scripted>("app/pool/pair/fuse").unwrap();
        let asker = ask_apart(&zombie);
        hear(&is_blocked);
        fuse.tell(Panic("blown")).await.unwrap();
        // The next life is up while the old one blocks its thread, and may send.
        assert_eq!(hear(&life), 2);
        open.send(()).unwrap();
        for (what, is_refused) in hear(&is_refused) {
            assert!(is_refused, "{what} went through");
        }
        let answer = hear(&asker);
        assert!(answer.is_err(), "it replied: {answer:?}");
        system.stop().await;
        let told = [
            "start app/pool/pair",
            "the next life",
            "start app/pool/late",
        ];
        assert_eq!(log.take(), told);
        assert!(system.ledger().is_balanced(), "{}", system.ledger());
    });
}

/// Asks from a thread of its own.
fn ask_apart(zombie: &ActorRef<Zombie>) -> mpsc::Receiver<Result<u32, AskError<Linger>>> {
    let (answer, is_answered) = mpsc::channel();
    let zombie = zombie.clone();
    thread::spawn(move || {
        let asked = greenroom::block_on(async { zombie.ask(Linger).within(60 * SECOND).await });
        answer.send(asked)
    });
    is_answered
}
