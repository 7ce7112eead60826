//! Names and groups where threads meet: who is cut off, and who comes while others go.

use std::sync::mpsc;
use std::time::Duration;

use greenroom::names::{Change, Groups, Names, RegisterError};
use greenroom::prelude::*;
use greenroom_it::until;

type Rooms = Groups<u32, ActorRef<Member>>;

/// Registers and joins as it is told.
struct Member {
    rooms: Rooms,
    names: Names<u32, ActorRef<Member>>,
}

/// Joins and leaves so often, and fights for a name with the others; answers how often it had it.
struct Storm(u32);
/// Blocks the thread until the test lets go, then registers and answers what came of it through the channel.
struct Block(mpsc::Receiver<()>, mpsc::Sender<Result<(), RegisterError>>);

impl Message for Storm {
    type Reply = u32;
}
impl Message for Block {
    type Reply = ();
}

impl Actor for Member {
    type Args = (Rooms, Names<u32, ActorRef<Member>>);
    type Error = BoxError;

    async fn start((rooms, names): Self::Args, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Member { rooms, names })
    }
}

impl Handler<Storm> for Member {
    async fn handle(&mut self, Storm(n): Storm, cx: &mut Context<Self>) -> Result<u32, BoxError> {
        let mut had = 0;
        for n in 0..n {
            self.rooms.join(cx, n % 3, ())?;
            if self.names.register(cx, 0, ()).is_ok() {
                had += 1;
                assert_eq!(self.names.lookup(&0), Some(cx.me()));
                assert!(self.names.unregister(cx, &0));
            }
            if n % 2 == 0 {
                assert!(self.rooms.leave(cx, &(n % 3)) > 0);
            }
        }
        Ok(had)
    }
}

impl Handler<Block> for Member {
    async fn handle(&mut self, block: Block, cx: &mut Context<Self>) -> Result<(), BoxError> {
        let Block(gate, reply) = block;
        gate.recv()?;
        reply.send(self.names.register(cx, 1, ()))?;
        Ok(())
    }
}

/// Keeps a list of who is in, by what it is told alone.
struct Listener {
    /// One may be in a room more than once.
    members: Vec<(u32, greenroom::Path)>,
}

/// Answers who is in which room, as far as it was told.
struct Known;

impl Message for Known {
    type Reply = Vec<(u32, greenroom::Path)>;
}

impl Actor for Listener {
    type Args = Rooms;
    type Error = BoxError;

    async fn start(rooms: Rooms, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        let there = rooms.monitor_all(cx);
        let members = there.iter().map(|entry| (entry.key, entry.owner.clone()));
        Ok(Listener {
            members: members.collect(),
        })
    }
}

impl Handler<Change<u32, ActorRef<Member>>> for Listener {
    async fn handle(
        &mut self,
        change: Change<u32, ActorRef<Member>>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match change {
            Change::Joined(entry) => self.members.push((entry.key, entry.owner.clone())),
            Change::Left(entry) => {
                let left = (entry.key, entry.owner.clone());
                let at = self.members.iter().position(|member| *member == left);
                // Who leaves has come before: the changes of a group come in their order.
                self.members.swap_remove(at.ok_or("left before it joined")?);
            }
            other => return Err(format!("unknown: {other:?}").into()),
        }
        Ok(())
    }
}

impl Handler<Known> for Listener {
    async fn handle(
        &mut self,
        _: Known,
        _: &mut Context<Self>,
    ) -> Result<Vec<(u32, greenroom::Path)>, BoxError> {
        let mut known = self.members.clone();
        known.sort();
        known.dedup();
        Ok(known)
    }
}

#[tokio::test]
async fn rg_a_life_that_was_cut_off_registers_nothing_any_more() {
    let (rooms, names) = (Rooms::new(), Names::new());
    let tree = Supervisor::one_for_one("app").child(Supervisor::dynamic("all"));
    let system = System::builder().workers(2).start(tree).await.unwrap();
    let all = system.supervisor("app/all").unwrap();
    let spec = Member::spec("it", (rooms, names.clone())).stop_within(Duration::from_millis(10));
    let it = all.start_child(spec).await.unwrap();
    let (open, gate) = mpsc::channel();
    let (reply, answer) = mpsc::channel();
    it.tell(Block(gate, reply)).await.unwrap();
    until(|| it.depth() == 0).await;
    // It blocks its thread, so it is left behind.
    all.stop_child("it").await.unwrap();
    open.send(()).unwrap();
    let registered = answer.recv().unwrap();
    assert_eq!(registered, Err(RegisterError::CutOff(it.path().clone())));
    assert!(names.is_empty());
    system.stop().await;
}

#[tokio::test]
async fn pg_many_threads_join_and_leave_and_a_listener_knows_who_is_in() {
    const MEMBERS: u32 = 8;
    let (rooms, names) = (Rooms::new(), Names::new());
    let mut tree = Supervisor::one_for_one("app")
        .child(Listener::spec("listener", rooms.clone()).mailbox(100_000));
    for n in 0..MEMBERS {
        tree = tree.child(Member::spec(
            format!("m{n}"),
            (rooms.clone(), names.clone()),
        ));
    }
    let system = System::builder().workers(4).start(tree).await.unwrap();
    let storms: Vec<_> = (0..MEMBERS)
        .map(|n| {
            let it = system.find::<Member>(&format!("app/m{n}")).unwrap();
            tokio::spawn(async move { it.ask(Storm(1_000)).await.unwrap() })
        })
        .collect();
    let mut had = 0;
    for storm in storms {
        had += storm.await.unwrap();
    }
    assert!(had >= 1_000, "who was alone had it each time");
    assert!(names.is_empty());
    let mut there: Vec<_> = rooms
        .entries(|_| true)
        .iter()
        .map(|entry| (entry.key, entry.owner.clone()))
        .collect();
    there.sort();
    there.dedup();
    let listener = system.find::<Listener>("app/listener").unwrap();
    assert_eq!(listener.ask(Known).await.unwrap(), there);
    // Each has left the third room last of all.
    assert_eq!(there.len(), 2 * MEMBERS as usize);
    assert!(system.dead_letters().is_empty());
    system.stop().await;
    assert!(rooms.is_empty());
}
