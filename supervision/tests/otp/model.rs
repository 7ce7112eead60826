//! The rules of OTP's `supervisor.erl`, written down as what happens to a list of children.
//!
//! It knows nothing of the law, and shares nothing with it but the words. Where `supervisor.erl`
//! tries a failed restart again by a message to itself, this tries again at once: nothing else
//! happens meanwhile in a trace.

use greenroom_supervision::{AutoShutdown, Exit, Restart, Strategy};

use crate::trace::{Fate, Flags, Id, Kind, Listed, Listing, Op, Seen, Spec, Tree, Uses, World};

pub(crate) struct Model {
    world: World,
    /// Gone when it is over.
    root: Option<Supervisor>,
}

struct Supervisor {
    id: Id,
    flags: Flags,
    /// In start order.
    children: Vec<Child>,
    /// When there were restarts, in seconds.
    restarts: Vec<u64>,
}

struct Child {
    spec: Spec,
    /// Its process.
    life: Option<Life>,
}

enum Life {
    Worker,
    Supervisor(Supervisor),
}

/// The supervisor stops all its children and ends.
struct Over;

impl Model {
    pub(crate) fn new(root: &Spec) -> Self {
        let mut world = World::default();
        let root = match start(root, &mut world) {
            Ok(Some(Life::Supervisor(root))) => Some(root),
            _ => None,
        };
        Model { world, root }
    }

    pub(crate) fn does(&mut self, op: &Op) {
        if self.world.does(op) {
            return;
        }
        let world = &mut self.world;
        if let Some(root) = &mut self.root
            && let Err(Over) = root.meets(op, world)
        {
            root.stop_all(world);
            self.root = None;
        }
    }

    /// The root is told to stop.
    pub(crate) fn end(&mut self) {
        if let Some(mut root) = self.root.take() {
            root.stop_all(&mut self.world);
        }
    }

    /// Which rules were used, and how often.
    pub(crate) fn uses(&mut self) -> Uses {
        self.world.take_uses()
    }

    pub(crate) fn seen(&mut self) -> Seen {
        let mut tree = Tree::default();
        if let Some(root) = &self.root {
            root.list(self.world.now_s, &mut tree);
        }
        let log = self.world.take_log();
        Seen { log, tree }
    }
}

/// Starts a child; none if it says that there is nothing to start.
fn start(spec: &Spec, world: &mut World) -> Result<Option<Life>, ()> {
    let Kind::Supervisor(flags, specs) = &spec.kind else {
        return match world.start(spec.id) {
            Fate::Up => Ok(Some(Life::Worker)),
            Fate::Fails => Err(()),
            Fate::Ignored => Ok(None),
        };
    };
    world.begins(spec.id);
    let mut supervisor = Supervisor {
        id: spec.id,
        flags: *flags,
        children: vec![],
        restarts: vec![],
    };
    if flags.strategy == Strategy::Dynamic {
        return Ok(Some(Life::Supervisor(supervisor)));
    }
    for spec in specs {
        match start(spec, world) {
            Ok(None) if spec.restart == Restart::Temporary => {}
            Ok(life) => supervisor.children.push(Child {
                spec: spec.clone(),
                life,
            }),
            Err(()) => {
                world.uses("a failed boot");
                supervisor.stop_all(world);
                return Err(());
            }
        }
    }
    Ok(Some(Life::Supervisor(supervisor)))
}

fn stop(child: &mut Child, world: &mut World) {
    match child.life.take() {
        None => {}
        Some(Life::Worker) => world.stops(child.spec.id),
        Some(Life::Supervisor(mut supervisor)) => supervisor.stop_all(world),
    }
}

impl Supervisor {
    fn stop_all(&mut self, world: &mut World) {
        if self.flags.strategy == Strategy::Dynamic {
            // All at once.
            self.children.sort_by_key(|child| child.spec.id);
            self.children.reverse();
        }
        while let Some(mut child) = self.children.pop() {
            stop(&mut child, world);
        }
    }

    fn find(&self, id: Id) -> Option<usize> {
        self.children.iter().position(|child| child.spec.id == id)
    }

    /// Something happens to this supervisor, or to one below.
    fn meets(&mut self, op: &Op, world: &mut World) -> Result<(), Over> {
        match op {
            Op::Ends(id, exit) => {
                if let Some(place) = self.find(*id)
                    && matches!(self.children[place].life, Some(Life::Worker))
                {
                    return self.ended(*id, *exit, world);
                }
            }
            Op::Start(to, spec) if *to == self.id => self.start_child(spec, world),
            Op::Stop(to, id) if *to == self.id => {
                if let Some(place) = self.find(*id) {
                    stop(&mut self.children[place], world);
                    self.delete(*id);
                }
            }
            Op::StartAgain(to, id) if *to == self.id => {
                if let Some(place) = self.find(*id)
                    && self.children[place].life.is_none()
                    && let Ok(life) = start(&self.children[place].spec, world)
                {
                    self.children[place].life = life;
                }
            }
            Op::Remove(to, id) if *to == self.id => {
                self.children
                    .retain(|child| child.spec.id != *id || child.life.is_some());
            }
            Op::SetFlags(to, flags) if *to == self.id => self.flags = *flags,
            Op::SetTerms(to, id, restart, is_significant) if *to == self.id => {
                self.set_terms(*id, *restart, *is_significant, world);
            }
            _ => {}
        }
        let mut over = vec![];
        for child in &mut self.children {
            if let Some(Life::Supervisor(below)) = &mut child.life
                && let Err(Over) = below.meets(op, world)
            {
                below.stop_all(world);
                over.push(child.spec.id);
            }
        }
        for id in over {
            self.ended(id, Exit::Shutdown, world)?;
        }
        Ok(())
    }

    /// Whether a specification is refused for its combination with the flags.
    fn refuses(&self, restart: Restart, is_significant: bool) -> bool {
        let is_never = self.flags.rule == AutoShutdown::Never;
        is_significant && (is_never || restart == Restart::Permanent)
    }

    fn start_child(&mut self, spec: &Spec, world: &mut World) {
        if self.refuses(spec.restart, spec.is_significant) {
            world.uses("a child that is refused");
            return;
        }
        if self.find(spec.id).is_some() {
            world.uses("a child that is there");
            return;
        }
        let Ok(life) = start(spec, world) else {
            return;
        };
        let is_dynamic = self.flags.strategy == Strategy::Dynamic;
        if life.is_some() || !(is_dynamic || spec.restart == Restart::Temporary) {
            let spec = spec.clone();
            self.children.push(Child { spec, life });
        }
    }

    fn set_terms(&mut self, id: Id, restart: Restart, is_significant: bool, world: &mut World) {
        let Some(place) = self.find(id) else {
            return;
        };
        let others = self.children.iter().filter(|child| child.spec.id != id);
        let refused = others
            .map(|child| &child.spec)
            .any(|spec| self.refuses(spec.restart, spec.is_significant));
        if refused || self.refuses(restart, is_significant) {
            world.uses("terms that are refused");
            return;
        }
        let spec = &mut self.children[place].spec;
        (spec.restart, spec.is_significant) = (restart, is_significant);
    }

    /// `del_child`: its process is gone, and with it its entry if nobody may start it again.
    fn delete(&mut self, id: Id) {
        let is_dynamic = self.flags.strategy == Strategy::Dynamic;
        for child in &mut self.children {
            if child.spec.id == id {
                child.life = None;
            }
        }
        self.children.retain(|child| {
            child.spec.id != id || !(is_dynamic || child.spec.restart == Restart::Temporary)
        });
    }

    /// `do_restart`: a child has ended by itself.
    fn ended(&mut self, id: Id, exit: Exit, world: &mut World) -> Result<(), Over> {
        let Some(place) = self.find(id) else {
            return Ok(());
        };
        self.children[place].life = None;
        let spec = self.children[place].spec.clone();
        let is_clean = exit == Exit::Normal || exit == Exit::Shutdown;
        match spec.restart {
            Restart::Permanent => self.restart(id, world),
            Restart::Transient if !is_clean => self.restart(id, world),
            Restart::Transient | Restart::Temporary => {
                self.delete(id);
                let is_over = match self.flags.rule {
                    AutoShutdown::Never => false,
                    _ if !spec.is_significant => false,
                    AutoShutdown::AnySignificant => true,
                    AutoShutdown::AllSignificant => !self
                        .children
                        .iter()
                        .any(|child| child.spec.is_significant && child.life.is_some()),
                };
                if !is_over {
                    return Ok(());
                }
                world.uses(match self.flags.rule {
                    AutoShutdown::AnySignificant => "any significant",
                    _ => "all significant",
                });
                Err(Over)
            }
        }
    }

    /// Restarts until it succeeds, or until there were too many.
    fn restart(&mut self, mut id: Id, world: &mut World) -> Result<(), Over> {
        loop {
            let now = world.now_s;
            self.restarts.retain(|at| at + self.flags.within_s >= now);
            self.restarts.push(now);
            if self.restarts.len() > self.flags.restarts as usize {
                world.uses("the limit");
                return Err(Over);
            }
            let Some(place) = self.find(id) else {
                panic!("{id} is to be restarted, and is not in the list");
            };
            world.uses(match self.flags.strategy {
                Strategy::OneForOne => "one_for_one",
                Strategy::OneForAll => "one_for_all",
                Strategy::RestForOne => "rest_for_one",
                Strategy::Dynamic => "dynamic",
            });
            match self.flags.strategy {
                Strategy::OneForOne => match start(&self.children[place].spec, world) {
                    Ok(life) => {
                        self.children[place].life = life;
                        return Ok(());
                    }
                    Err(()) => continue,
                },
                Strategy::Dynamic => match start(&self.children[place].spec, world) {
                    Ok(None) => {
                        self.children.remove(place);
                        return Ok(());
                    }
                    Ok(life) => {
                        self.children[place].life = life;
                        return Ok(());
                    }
                    Err(()) => continue,
                },
                Strategy::OneForAll | Strategy::RestForOne => {}
            }
            let from = match self.flags.strategy {
                Strategy::RestForOne => place,
                _ => 0,
            };
            let mut group = self.children.split_off(from);
            for child in group.iter_mut().rev() {
                stop(child, world);
            }
            group.retain(|child| child.spec.restart != Restart::Temporary);
            let mut failed = None;
            for child in &mut group {
                match start(&child.spec, world) {
                    Ok(life) => child.life = life,
                    Err(()) => {
                        failed = Some(child.spec.id);
                        break;
                    }
                }
            }
            self.children.append(&mut group);
            match failed {
                Some(failed) => {
                    world.uses("a group that is tried again");
                    id = failed;
                }
                None => return Ok(()),
            }
        }
    }

    fn list(&self, now_s: u64, tree: &mut Tree) {
        let listed = |child: &Child| Listed {
            id: child.spec.id,
            restart: child.spec.restart,
            is_significant: child.spec.is_significant,
            is_worker: matches!(child.spec.kind, Kind::Worker),
            is_up: child.life.is_some(),
        };
        let mut children: Vec<Listed> = self.children.iter().map(listed).collect();
        if self.flags.strategy == Strategy::Dynamic {
            children.sort_by_key(|child| child.id);
        }
        let counts = |at: &&u64| **at + self.flags.within_s >= now_s;
        tree.0.push(Listing {
            id: self.id,
            flags: self.flags,
            children,
            restarts: self.restarts.iter().filter(counts).count(),
        });
        for child in &self.children {
            if let Some(Life::Supervisor(below)) = &child.life {
                below.list(now_s, tree);
            }
        }
    }
}
