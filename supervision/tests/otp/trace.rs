//! What a random tree is, what happens to it, and what is seen of it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use greenroom_supervision::{AutoShutdown, Exit, Limit, Restart, Strategy};

/// The number of a child or of a supervisor; no two of a trace share one.
pub(crate) type Id = u64;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flags {
    pub(crate) strategy: Strategy,
    pub(crate) restarts: u32,
    pub(crate) within_s: u64,
    pub(crate) rule: AutoShutdown,
}

impl Flags {
    pub(crate) fn limit(&self) -> Limit {
        Limit::new(self.restarts, std::time::Duration::from_secs(self.within_s))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) id: Id,
    pub(crate) restart: Restart,
    pub(crate) is_significant: bool,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Worker,
    /// With the children that it has from the start. One that is dynamic has one that is started
    /// never itself: what its children are like.
    Supervisor(Flags, Vec<Spec>),
}

/// One thing that happens. Whatever it names may be gone by then; then nothing happens.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A worker ends by itself.
    Ends(Id, Exit),
    /// The next starts of a worker fail.
    FailNext(Id, u32),
    /// The next start of a worker says that there is nothing to start.
    IgnoreNext(Id),
    /// OTP's `start_child`, `terminate_child`, `restart_child` and `delete_child` of a supervisor.
    Start(Id, Spec),
    Stop(Id, Id),
    StartAgain(Id, Id),
    Remove(Id, Id),
    /// OTP's `code_change`.
    SetFlags(Id, Flags),
    SetTerms(Id, Id, Restart, bool),
    /// Seconds go by.
    Wait(u64),
}

/// What happens in traces: some of it does not go on a machine in real time.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scope {
    Rules,
    /// No time goes by, and no restart of a dynamic child finds nothing to start: old releases list
    /// a child without a process from then on.
    Otp,
}

/// What a start comes to.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Up,
    Fails,
    Ignored,
}

/// What children's starts come to, and what has been done since it was last asked.
#[derive(Default)]
pub(crate) struct World {
    fates: BTreeMap<Id, VecDeque<Fate>>,
    log: Vec<Done>,
    pub(crate) now_s: u64,
    uses: Uses,
}

/// How often which rule was used, by its name.
pub(crate) type Uses = BTreeMap<&'static str, u64>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Done {
    Started(Id),
    Failed(Id),
    Ignored(Id),
    Stopped(Id),
}

impl World {
    /// Does what concerns no supervisor; `false` if the operation is another.
    pub(crate) fn does(&mut self, op: &Op) -> bool {
        match *op {
            Op::FailNext(id, times) => {
                let fates = self.fates.entry(id).or_default();
                fates.extend((0..times).map(|_| Fate::Fails));
            }
            Op::IgnoreNext(id) => self.fates.entry(id).or_default().push_back(Fate::Ignored),
            Op::Wait(seconds) => self.now_s += seconds,
            _ => return false,
        }
        true
    }

    /// Starts a worker.
    pub(crate) fn start(&mut self, id: Id) -> Fate {
        let fates = self.fates.get_mut(&id);
        let fate = fates.and_then(VecDeque::pop_front).unwrap_or(Fate::Up);
        self.log.push(match fate {
            Fate::Up => Done::Started(id),
            Fate::Fails => Done::Failed(id),
            Fate::Ignored => Done::Ignored(id),
        });
        fate
    }

    /// A supervisor begins to start its children.
    pub(crate) fn begins(&mut self, id: Id) {
        self.log.push(Done::Started(id));
    }

    /// A worker is stopped by its supervisor.
    pub(crate) fn stops(&mut self, id: Id) {
        self.log.push(Done::Stopped(id));
    }

    /// A rule is used.
    pub(crate) fn uses(&mut self, rule: &'static str) {
        *self.uses.entry(rule).or_default() += 1;
    }

    pub(crate) fn take_uses(&mut self) -> Uses {
        std::mem::take(&mut self.uses)
    }

    pub(crate) fn take_log(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.log)
    }
}

/// What is seen of a trace after a step.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) log: Vec<Done>,
    pub(crate) tree: Tree,
}

/// The supervisors that run, each before those below it. It is empty once the root is over.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tree(pub(crate) Vec<Listing>);

/// One supervisor.
#[derive(Debug, PartialEq)]
pub(crate) struct Listing {
    pub(crate) id: Id,
    pub(crate) flags: Flags,
    /// In start order; those of a dynamic supervisor by number.
    pub(crate) children: Vec<Listed>,
    /// The restarts that count against the limit.
    pub(crate) restarts: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) id: Id,
    pub(crate) restart: Restart,
    pub(crate) is_significant: bool,
    pub(crate) is_worker: bool,
    pub(crate) is_up: bool,
}

impl Tree {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// As the script for OTP writes it.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for done in &self.log {
            match done {
                Done::Started(id) => write!(f, "+{id} ")?,
                Done::Failed(id) => write!(f, "!{id} ")?,
                Done::Ignored(id) => write!(f, "~{id} ")?,
                Done::Stopped(id) => write!(f, "-{id} ")?,
            }
        }
        f.write_str("|")?;
        for supervisor in &self.tree.0 {
            write!(f, " {}[", supervisor.id)?;
            for (n, child) in supervisor.children.iter().enumerate() {
                let (space, sign) = (["", " "][usize::from(n > 0)], ["-", "+"]);
                write!(f, "{space}{}{}", child.id, sign[usize::from(child.is_up)])?;
            }
            f.write_str("]")?;
        }
        if self.tree.is_over() {
            f.write_str(" over")?;
        }
        Ok(())
    }
}

/// SplitMix64, from which all choices of a trace are drawn.
pub(crate) struct Dice {
    state: u64,
    /// The numbers that have been given out.
    ids: Id,
    /// All that a supervisor was ever to start.
    specs: Vec<(Id, Spec)>,
    /// What the children of dynamic supervisors are like.
    templates: BTreeMap<Id, Restart>,
}

const STRATEGIES: [Strategy; 4] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
    Strategy::Dynamic,
];
const RESTARTS: [Restart; 3] = [Restart::Permanent, Restart::Transient, Restart::Temporary];
const EXITS: [Exit; 4] = [Exit::Normal, Exit::Shutdown, Exit::Failed, Exit::Killed];
const RULES: [AutoShutdown; 3] = [
    AutoShutdown::Never,
    AutoShutdown::AnySignificant,
    AutoShutdown::AllSignificant,
];

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice {
            state: seed,
            ids: 0,
            specs: vec![],
            templates: BTreeMap::new(),
        }
    }

    fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u32) -> u32 {
        (self.roll() % u64::from(n)) as u32
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// One of some.
    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// One of those that there are.
    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| self.any(of))
    }

    fn flags(&mut self, strategies: &[Strategy]) -> Flags {
        let strategy = self.any(strategies);
        // Most rules end a trace soon.
        let rule = if strategy == Strategy::Dynamic || self.one_in(2) {
            AutoShutdown::Never
        } else {
            self.any(&RULES)
        };
        Flags {
            strategy,
            restarts: self.below(6),
            within_s: self.any(&[3, 10, 3600]),
            rule,
        }
    }

    fn new_id(&mut self) -> Id {
        // In no order, as OTP sees none in them; the law keeps those that rise in less room.
        let id = self.ids;
        self.ids += 1;
        match id {
            0 => 0,
            id => (id / 4 + 1) * 4 - id % 4,
        }
    }

    /// A supervisor at the top, which has the number 0.
    pub(crate) fn root(&mut self) -> Spec {
        self.supervisor(0, Restart::Permanent, false)
    }

    fn supervisor(&mut self, depth: u32, restart: Restart, is_significant: bool) -> Spec {
        let id = self.new_id();
        // A tree of dynamic children alone is a poor one.
        let strategies = &STRATEGIES[..if self.one_in(3) { 4 } else { 3 }];
        let flags = self.flags(strategies);
        let mut children = vec![];
        if flags.strategy == Strategy::Dynamic {
            let restart = self.any(&RESTARTS);
            self.templates.insert(id, restart);
            children.push(self.worker(restart, false));
        } else {
            for _ in 0..self.below(5) {
                let child = self.child(depth + 1, flags.rule);
                self.specs.push((id, child.clone()));
                children.push(child);
            }
        }
        Spec {
            id,
            restart,
            is_significant,
            kind: Kind::Supervisor(flags, children),
        }
    }

    fn worker(&mut self, restart: Restart, is_significant: bool) -> Spec {
        Spec {
            id: self.new_id(),
            restart,
            is_significant,
            kind: Kind::Worker,
        }
    }

    /// A child that a supervisor of this rule may have from the start.
    fn child(&mut self, depth: u32, rule: AutoShutdown) -> Spec {
        let restart = self.any(&RESTARTS);
        let may = rule.check_child(restart).is_ok();
        let is_significant = may && self.one_in(2);
        if depth < 3 && self.one_in(4) {
            self.supervisor(depth, restart, is_significant)
        } else {
            self.worker(restart, is_significant)
        }
    }

    /// What happens next to a tree that runs.
    pub(crate) fn op(&mut self, tree: &Tree, scope: Scope) -> Op {
        loop {
            if let Some(op) = self.try_op(tree, scope) {
                return op;
            }
        }
    }

    fn try_op(&mut self, tree: &Tree, scope: Scope) -> Option<Op> {
        let n = self.below(tree.0.len() as u32) as usize;
        let supervisor = &tree.0[n];
        let (id, flags) = (supervisor.id, supervisor.flags);
        let is_dynamic = flags.strategy == Strategy::Dynamic;
        let children: Vec<&Listed> = supervisor.children.iter().collect();
        let child = self.pick(&children);
        Some(match self.below(20) {
            0..=7 => {
                let child = child.filter(|child| child.is_worker && child.is_up)?;
                Op::Ends(child.id, self.any(&EXITS))
            }
            8 | 9 => {
                let child = child.filter(|child| child.is_worker)?;
                Op::FailNext(child.id, 1 + self.below(3))
            }
            10 => {
                let may = |child: &&Listed| child.is_worker && (!is_dynamic || scope != Scope::Otp);
                Op::IgnoreNext(child.filter(may)?.id)
            }
            11 | 12 => {
                let spec = if is_dynamic {
                    let restart = self.templates.get(&id).copied()?;
                    self.worker(restart, false)
                } else if self.one_in(3) {
                    let own = self.specs.iter().filter(|(owner, _)| *owner == id);
                    let own: Vec<Spec> = own.map(|(_, spec)| spec.clone()).collect();
                    let n = self.pick(&(0..own.len()).collect::<Vec<_>>())?;
                    own[n].clone()
                } else {
                    // One in some is refused.
                    let rule = if self.one_in(8) {
                        self.any(&RULES)
                    } else {
                        flags.rule
                    };
                    let spec = self.child(2, rule);
                    self.specs.push((id, spec.clone()));
                    spec
                };
                Op::Start(id, spec)
            }
            13 | 14 => Op::Stop(id, child?.id),
            15 if !is_dynamic => Op::StartAgain(id, child?.id),
            16 if !is_dynamic => Op::Remove(id, child?.id),
            17 => {
                let strategies = &STRATEGIES[if is_dynamic { 3..4 } else { 0..3 }];
                Op::SetFlags(id, self.flags(strategies))
            }
            18 if !is_dynamic => {
                let (child, restart) = (child?.id, self.any(&RESTARTS));
                let is_significant = self.one_in(2);
                Op::SetTerms(id, child, restart, is_significant)
            }
            19 if scope == Scope::Rules => Op::Wait(1 + u64::from(self.below(6))),
            _ => return None,
        })
    }
}
