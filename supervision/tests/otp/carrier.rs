//! A supervisor that does what the law says, and decides nothing itself.

use std::collections::BTreeMap;
use std::time::Duration;

use greenroom_supervision::{
    AutoShutdown, Backoff, ChildId, Exit, Law, Restart, Strategy, Verdict,
};

use crate::trace::{Fate, Flags, Id, Kind, Listed, Listing, Op, Seen, Spec, Tree, World};

pub(crate) struct Carrier {
    world: World,
    root: Option<Lead>,
}

/// One life of a supervisor.
struct Lead {
    id: Id,
    flags: Flags,
    law: Law,
    table: BTreeMap<Id, Child>,
}

struct Child {
    spec: Spec,
    life: Option<Life>,
}

enum Life {
    Worker,
    Supervisor(Box<Lead>),
}

/// What a start came to.
enum Start {
    Up(Life),
    Failed,
    Ignored,
}

/// The law said so.
struct Over;

impl Carrier {
    pub(crate) fn new(root: &Spec) -> Self {
        let mut world = World::default();
        let root = match start(root, &mut world) {
            Start::Up(Life::Supervisor(root)) => Some(*root),
            _ => None,
        };
        Carrier { world, root }
    }

    pub(crate) fn does(&mut self, op: &Op) {
        if self.world.does(op) {
            return;
        }
        if let Some(root) = &mut self.root
            && let Err(Over) = root.meets(op, &mut self.world)
        {
            self.root = None;
        }
    }

    /// The root is told to stop.
    pub(crate) fn end(&mut self) {
        if let Some(mut root) = self.root.take() {
            root.stop_all(&mut self.world);
        }
    }

    pub(crate) fn seen(&mut self) -> Seen {
        let mut tree = Tree::default();
        if let Some(root) = &self.root {
            root.list(now(&self.world), &mut tree);
        }
        let log = self.world.take_log();
        Seen { log, tree }
    }
}

fn now(world: &World) -> Duration {
    Duration::from_secs(world.now_s)
}

fn start(spec: &Spec, world: &mut World) -> Start {
    let Kind::Supervisor(flags, specs) = &spec.kind else {
        return match world.start(spec.id) {
            Fate::Up => Start::Up(Life::Worker),
            Fate::Fails => Start::Failed,
            Fate::Ignored => Start::Ignored,
        };
    };
    world.begins(spec.id);
    // Waits are for clocks: whatever they are, the decisions are the same.
    let law = Law::new(flags.strategy, flags.limit(), Backoff::default(), spec.id);
    let mut lead = Lead {
        id: spec.id,
        flags: *flags,
        law: law.auto_shutdown(flags.rule),
        table: BTreeMap::new(),
    };
    if flags.strategy != Strategy::Dynamic {
        for spec in specs {
            if !lead.start_new(spec, world) {
                // What a failed boot means is no matter of the law.
                lead.stop_all(world);
                return Start::Failed;
            }
        }
    }
    Start::Up(Life::Supervisor(Box::new(lead)))
}

impl Lead {
    /// Starts a child that is not in the book; `false` if it failed.
    fn start_new(&mut self, spec: &Spec, world: &mut World) -> bool {
        let id = ChildId(spec.id);
        let life = match start(spec, world) {
            Start::Failed => return false,
            Start::Up(life) => Some(life),
            Start::Ignored => None,
        };
        if spec.is_significant {
            self.law.add_significant(id, spec.restart);
        } else {
            self.law.add(id, spec.restart);
        }
        let is_up = life.is_some();
        let spec = spec.clone();
        self.table.insert(spec.id, Child { spec, life });
        if !is_up {
            self.down_by_order(id.0);
        }
        true
    }

    fn down_by_order(&mut self, id: Id) {
        match self.law.stopped(ChildId(id)) {
            Verdict::Ignore => {}
            Verdict::Forget => {
                self.table.remove(&id);
            }
            verdict => panic!("a stop by order is no reason for {verdict:?}"),
        }
    }

    fn is_up(&self, id: Id) -> bool {
        self.table
            .get(&id)
            .is_some_and(|child| child.life.is_some())
    }

    fn stop(&mut self, id: Id, world: &mut World) {
        match self.table.get_mut(&id).and_then(|child| child.life.take()) {
            None => {}
            Some(Life::Worker) => world.stops(id),
            Some(Life::Supervisor(mut lead)) => lead.stop_all(world),
        }
    }

    fn stop_these(&mut self, children: impl IntoIterator<Item = ChildId>, world: &mut World) {
        let mut ids: Vec<Id> = children.into_iter().map(|child| child.0).collect();
        if self.flags.strategy == Strategy::Dynamic {
            // All at once.
            ids.sort_unstable();
        }
        for id in ids {
            self.stop(id, world);
        }
    }

    fn stop_all(&mut self, world: &mut World) {
        let all: Vec<ChildId> = self.law.children().rev().collect();
        self.stop_these(all, world);
    }

    fn meets(&mut self, op: &Op, world: &mut World) -> Result<(), Over> {
        match op {
            Op::Ends(id, exit) => {
                if let Some(child) = self.table.get_mut(id)
                    && let Some(Life::Worker) = &child.life
                {
                    child.life = None;
                    return self.ended(*id, *exit, world);
                }
            }
            Op::Start(to, spec) if *to == self.id => {
                let check = self.flags.rule.check_child(spec.restart);
                let is_refused = spec.is_significant && check.is_err();
                if !is_refused && !self.table.contains_key(&spec.id) {
                    self.start_new(spec, world);
                }
            }
            Op::Stop(to, id) if *to == self.id => {
                self.stop(*id, world);
                self.down_by_order(*id);
            }
            Op::StartAgain(to, id) if *to == self.id => {
                if let Some(child) = self.table.get_mut(id)
                    && child.life.is_none()
                    && let Start::Up(life) = start(&child.spec, world)
                {
                    child.life = Some(life);
                    self.law.started(ChildId(*id));
                }
            }
            Op::Remove(to, id) if *to == self.id && !self.is_up(*id) => {
                let is_known = self.table.remove(id).is_some();
                assert_eq!(self.law.remove(ChildId(*id)), is_known);
            }
            Op::SetFlags(to, flags) if *to == self.id => {
                self.flags = *flags;
                self.law.set_strategy(flags.strategy);
                self.law.set_limit(flags.limit());
                self.law.set_auto_shutdown(flags.rule);
            }
            Op::SetTerms(to, id, restart, is_significant) if *to == self.id => {
                self.set_terms(*id, *restart, *is_significant);
            }
            _ => {}
        }
        let below: Vec<Id> = self.table.keys().copied().collect();
        for id in below {
            if let Some(child) = self.table.get_mut(&id)
                && let Some(Life::Supervisor(lead)) = &mut child.life
                && let Err(Over) = lead.meets(op, world)
            {
                child.life = None;
                self.ended(id, Exit::Shutdown, world)?;
            }
        }
        Ok(())
    }

    fn set_terms(&mut self, id: Id, restart: Restart, is_significant: bool) {
        let rule: AutoShutdown = self.flags.rule;
        let terms = |child: &Child| {
            if child.spec.id == id {
                return (restart, is_significant);
            }
            (child.spec.restart, child.spec.is_significant)
        };
        let mut all = self.table.values().map(terms);
        let is_refused = all.any(|(restart, is)| is && rule.check_child(restart).is_err());
        if let Some(child) = self.table.get_mut(&id).filter(|_| !is_refused) {
            (child.spec.restart, child.spec.is_significant) = (restart, is_significant);
            assert!(self.law.set_terms(ChildId(id), restart, is_significant));
        }
    }

    fn ended(&mut self, id: Id, exit: Exit, world: &mut World) -> Result<(), Over> {
        let verdict = self.law.exited(now(world), ChildId(id), exit);
        self.carry_out(id, verdict, world)
    }

    /// Does what the documentation of [`Verdict`] says, and nothing else.
    fn carry_out(&mut self, id: Id, verdict: Verdict, world: &mut World) -> Result<(), Over> {
        match verdict {
            Verdict::Ignore => Ok(()),
            Verdict::Forget => {
                self.table.remove(&id);
                Ok(())
            }
            Verdict::Restart {
                stop,
                forget,
                start: ordered,
                after: _,
            } => {
                self.stop_these(stop, world);
                for child in forget {
                    self.table.remove(&child.0);
                }
                for ChildId(id) in ordered {
                    let Some(child) = self.table.get_mut(&id) else {
                        panic!("{id} is to be started, and is not in the table");
                    };
                    match start(&child.spec, world) {
                        Start::Up(life) => child.life = Some(life),
                        Start::Ignored => self.down_by_order(id),
                        Start::Failed => {
                            let verdict = self.law.start_failed(now(world), ChildId(id));
                            return self.carry_out(id, verdict, world);
                        }
                    }
                }
                Ok(())
            }
            Verdict::Escalate { stop } | Verdict::AutoShutdown { stop } => {
                self.stop_these(stop, world);
                Err(Over)
            }
        }
    }

    fn list(&self, now: Duration, tree: &mut Tree) {
        let mut ids: Vec<Id> = self.law.children().map(|child| child.0).collect();
        if self.flags.strategy == Strategy::Dynamic {
            ids.sort_unstable();
        }
        let listed = |id: &Id| {
            let child = &self.table[id];
            let terms = (child.spec.restart, child.spec.is_significant);
            assert_eq!(self.law.terms(ChildId(*id)), Some(terms), "{id}");
            Listed {
                id: *id,
                restart: child.spec.restart,
                is_significant: child.spec.is_significant,
                is_worker: matches!(child.spec.kind, Kind::Worker),
                is_up: child.life.is_some(),
            }
        };
        assert_eq!(
            ids.len(),
            self.table.len(),
            "all that is kept is in the book"
        );
        tree.0.push(Listing {
            id: self.id,
            flags: self.flags,
            children: ids.iter().map(listed).collect(),
            restarts: self.law.restarts_in_window(now) as usize,
        });
        for id in &ids {
            if let Some(Life::Supervisor(lead)) = &self.table[id].life {
                lead.list(now, tree);
            }
        }
    }
}
