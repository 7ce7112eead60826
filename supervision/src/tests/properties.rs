//! The law against a small model of its own, on random traces.

use super::*;

/// The law as one would write it down in a meeting: lists, and every restart that still counts.
#[derive(Clone)]
struct Model {
    strategy: Strategy,
    limit: Limit,
    rule: AutoShutdown,
    book: Vec<Row>,
    restarts: Vec<Duration>,
}

#[derive(Clone, Copy)]
struct Row {
    id: ChildId,
    restart: Restart,
    is_significant: bool,
    is_down: bool,
}

impl Model {
    /// What happens when `child` ends, or when its start fails (`exit` is `None`).
    fn ended(&mut self, now: Duration, child: ChildId, exit: Option<Exit>) -> Verdict {
        let Some(place) = self.place(child) else {
            return Verdict::Ignore;
        };
        let row = self.book[place];
        let clean = matches!(exit, Some(Normal | Shutdown));
        if row.restart == Temporary || (row.restart == Transient && clean) {
            self.book[place].is_down = true;
            let waits_for = |row: &Row| row.is_significant && !row.is_down;
            let is_over = match self.rule {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => row.is_significant,
                AutoShutdown::AllSignificant => {
                    row.is_significant && !self.book.iter().any(waits_for)
                }
            };
            if is_over && exit.is_some() {
                let stop = self.others(child);
                return Verdict::AutoShutdown { stop };
            }
            return self.let_go(place);
        }
        self.restarts.retain(|&at| at + self.limit.within() >= now);
        self.restarts.push(now);
        if self.restarts.len() > self.limit.restarts() as usize {
            let stop = self.others(child);
            return Verdict::Escalate { stop };
        }
        let group = match self.strategy {
            OneForOne | Dynamic => place..place + 1,
            OneForAll => 0..self.book.len(),
            RestForOne => place..self.book.len(),
        };
        for row in &mut self.book[group.clone()] {
            row.is_down = false;
        }
        let pick = |wanted: &dyn Fn(&Row) -> bool| -> Vec<ChildId> {
            let group = self.book[group.clone()].iter();
            group.filter(|row| wanted(row)).map(|row| row.id).collect()
        };
        let start = pick(&|row| row.restart != Temporary);
        let mut stop = pick(&|row| row.id != child);
        let mut forget = pick(&|row| row.restart == Temporary);
        stop.reverse();
        forget.reverse();
        self.book.retain(|row| !forget.contains(&row.id));
        Verdict::Restart {
            stop,
            forget,
            start,
            after: Duration::ZERO,
        }
    }

    fn stopped(&mut self, child: ChildId) -> Verdict {
        let Some(place) = self.place(child) else {
            return Verdict::Ignore;
        };
        self.book[place].is_down = true;
        self.let_go(place)
    }

    fn let_go(&mut self, place: usize) -> Verdict {
        if self.book[place].restart == Temporary || self.strategy == Dynamic {
            self.book.remove(place);
            return Verdict::Forget;
        }
        Verdict::Ignore
    }

    fn place(&self, child: ChildId) -> Option<usize> {
        self.book.iter().position(|row| row.id == child)
    }

    fn others(&self, child: ChildId) -> Vec<ChildId> {
        let others = self.book.iter().rev().map(|row| row.id);
        others.filter(|&id| id != child).collect()
    }

    fn in_window(&self, now: Duration) -> usize {
        let within = |&&at: &&Duration| at + self.limit.within() >= now;
        self.restarts.iter().filter(within).count()
    }

    fn add(&mut self, id: ChildId, restart: Restart, is_significant: bool) {
        if self.place(id).is_none() {
            self.book.push(Row {
                id,
                restart,
                is_significant,
                is_down: false,
            });
        }
    }

    /// The law of the next life of a supervisor that ended.
    fn next_life(&mut self) -> Law {
        self.restarts.clear();
        let law = Law::new(self.strategy, self.limit, Backoff::none(), 0);
        let mut law = law.auto_shutdown(self.rule);
        for row in &mut self.book {
            row.is_down = false;
            if row.is_significant {
                law.add_significant(row.id, row.restart);
            } else {
                law.add(row.id, row.restart);
            }
        }
        law
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Exited(ChildId, Exit),
    StartFailed(ChildId),
    Stopped(ChildId),
    Started(ChildId),
    Add(ChildId, Restart, bool),
    Remove(ChildId),
    SetTerms(ChildId, Restart, bool),
    SetLimit(Limit),
    SetStrategy(Strategy),
    SetAutoShutdown(AutoShutdown),
}

fn any_strategy() -> impl Generate<Value = Strategy> {
    prop::sample::select(STRATEGIES.to_vec())
}

fn any_restart() -> impl Generate<Value = Restart> {
    prop::sample::select(vec![Permanent, Transient, Temporary])
}

fn any_rule() -> impl Generate<Value = AutoShutdown> {
    prop::sample::select(vec![
        AutoShutdown::Never,
        AutoShutdown::AnySignificant,
        AutoShutdown::AllSignificant,
    ])
}

fn any_limit() -> impl Generate<Value = Limit> {
    (0..5_u32, 0..20_u64).prop_map(|(restarts, within)| Limit::new(restarts, ms(within)))
}

fn any_event() -> impl Generate<Value = Event> {
    let child = || (0..8_u64).prop_map(ChildId);
    let terms = || (child(), any_restart(), any::<bool>());
    let exit = prop::sample::select(EXITS.to_vec());
    prop_oneof![
        8 => (child(), exit).prop_map(|(child, exit)| Event::Exited(child, exit)),
        3 => child().prop_map(Event::StartFailed),
        2 => child().prop_map(Event::Stopped),
        1 => child().prop_map(Event::Started),
        2 => terms().prop_map(|(child, restart, is)| Event::Add(child, restart, is)),
        1 => child().prop_map(Event::Remove),
        1 => terms().prop_map(|(child, restart, is)| Event::SetTerms(child, restart, is)),
        1 => any_limit().prop_map(Event::SetLimit),
        1 => any_strategy().prop_map(Event::SetStrategy),
        1 => any_rule().prop_map(Event::SetAutoShutdown),
    ]
}

/// Whether `part` is what remains of `whole` when some members are left out.
fn keeps_order(part: &[ChildId], whole: &[ChildId]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|id| rest.any(|other| other == id))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_law_decides_as_the_model(
        strategy in any_strategy(),
        rule in any_rule(),
        limit in any_limit(),
        children in prop::collection::vec((any_restart(), any::<bool>()), 0..8),
        trace in prop::collection::vec((0..12_u64, any_event()), 0..60),
    ) {
        let mut model = Model { strategy, limit, rule, book: vec![], restarts: vec![] };
        for (number, (restart, is_significant)) in (1..).zip(children) {
            model.add(ChildId(number), restart, is_significant);
        }
        let mut law = model.next_life();
        let mut now = Duration::ZERO;
        for (step, event) in trace {
            now += ms(step);
            let mut verdicts = (Verdict::Ignore, Verdict::Ignore);
            match event {
                Event::Exited(child, exit) => {
                    verdicts = (law.exited(now, child, exit), model.ended(now, child, Some(exit)));
                }
                Event::StartFailed(child) => {
                    verdicts = (law.start_failed(now, child), model.ended(now, child, None));
                }
                Event::Stopped(child) => verdicts = (law.stopped(child), model.stopped(child)),
                Event::Started(child) => {
                    law.started(child);
                    if let Some(place) = model.place(child) {
                        model.book[place].is_down = false;
                    }
                }
                Event::Add(child, restart, is_significant) => {
                    model.add(child, restart, is_significant);
                    if is_significant {
                        law.add_significant(child, restart);
                    } else {
                        law.add(child, restart);
                    }
                }
                Event::Remove(child) => {
                    let place = model.place(child);
                    prop_assert_eq!(law.remove(child), place.is_some());
                    place.map(|place| model.book.remove(place));
                }
                Event::SetTerms(child, restart, is_significant) => {
                    let place = model.place(child);
                    let is_known = law.set_terms(child, restart, is_significant);
                    prop_assert_eq!(is_known, place.is_some());
                    if let Some(place) = place {
                        let row = &mut model.book[place];
                        (row.restart, row.is_significant) = (restart, is_significant);
                    }
                }
                Event::SetLimit(limit) => {
                    law.set_limit(limit);
                    model.limit = limit;
                }
                Event::SetStrategy(strategy) => {
                    law.set_strategy(strategy);
                    model.strategy = strategy;
                }
                Event::SetAutoShutdown(rule) => {
                    law.set_auto_shutdown(rule);
                    model.rule = rule;
                }
            }
            prop_assert_eq!(&verdicts.0, &verdicts.1, "{:?}", event);
            let children: Vec<_> = model.book.iter().map(|row| row.id).collect();
            prop_assert_eq!(law.children().collect::<Vec<_>>(), children);
            for row in &model.book {
                prop_assert_eq!(law.terms(row.id), Some((row.restart, row.is_significant)));
            }
            if let Verdict::Escalate { .. } | Verdict::AutoShutdown { .. } = verdicts.0 {
                law = model.next_life();
            }
            prop_assert_eq!(law.restarts_in_window(now) as usize, model.in_window(now));
        }
    }

    #[test]
    fn no_window_sees_more_restarts_than_the_limit(
        limit in any_limit(),
        strategy in any_strategy(),
        steps in prop::collection::vec(0..12_u64, 1..80),
    ) {
        let mut law = law(strategy, limit, &[Permanent; 4]);
        let (mut now, mut ordered) = (Duration::ZERO, vec![]);
        for (number, step) in steps.into_iter().enumerate() {
            now += ms(step);
            let child = ChildId(number as u64 % 4 + 1);
            if let Verdict::Restart { .. } = law.exited(now, child, Failed) {
                ordered.push(now);
            }
        }
        for (place, &last) in ordered.iter().enumerate() {
            let seen = ordered[..=place].iter().filter(|&&at| last - at <= limit.within()).count();
            prop_assert!(seen <= limit.restarts() as usize, "{} up to {:?}", seen, last);
        }
    }

    #[test]
    fn orders_follow_the_book_and_what_is_forgotten_never_comes_back(
        strategy in any_strategy(),
        children in prop::collection::vec(any_restart(), 1..10),
        trace in prop::collection::vec((1..10_u64, prop::sample::select(EXITS.to_vec())), 1..40),
    ) {
        let mut law = law(strategy, Limit::new(30, HOUR), &children);
        let mut forgotten: Vec<ChildId> = vec![];
        for (number, exit) in trace {
            let ended = ChildId(number);
            let book: Vec<_> = law.children().collect();
            match law.exited(ms(0), ended, exit) {
                Verdict::Ignore => {}
                Verdict::Forget => forgotten.push(ended),
                Verdict::Restart { mut stop, mut forget, start, after: _ } => {
                    stop.reverse();
                    forget.reverse();
                    prop_assert!(keeps_order(&stop, &book), "stop {:?} of {:?}", stop, book);
                    prop_assert!(keeps_order(&start, &book), "start {:?} of {:?}", start, book);
                    prop_assert!(keeps_order(&forget, &stop), "forget {:?} of {:?}", forget, stop);
                    prop_assert!(start.contains(&ended) && !stop.contains(&ended));
                    prop_assert!(start.iter().all(|id| !forget.contains(id)));
                    let named = [stop, start].concat();
                    prop_assert!(named.iter().all(|id| !forgotten.contains(id)));
                    forgotten.extend(forget);
                }
                Verdict::AutoShutdown { .. } => unreachable!("nobody is significant"),
                Verdict::Escalate { mut stop } => {
                    stop.reverse();
                    let others: Vec<_> = book.into_iter().filter(|&id| id != ended).collect();
                    prop_assert_eq!(stop, others);
                }
            }
            prop_assert!(law.children().all(|id| !forgotten.contains(&id)));
        }
    }

    #[test]
    fn times_in_any_order_are_judged_as_their_running_maximum(
        limit in any_limit(),
        seed in any::<u64>(),
        trace in prop::collection::vec((0..60_u64, 1..4_u64), 1..60),
    ) {
        let backoff = Backoff::exponential(ms(1), ms(20)).reset_after(ms(5));
        let mut jumping = Law::new(OneForOne, limit, backoff, seed);
        for number in 1..4 {
            jumping.add(ChildId(number), Permanent);
        }
        let mut rising = jumping.clone();
        let mut latest = Duration::ZERO;
        for (now, child) in trace {
            latest = latest.max(ms(now));
            let verdict = jumping.exited(ms(now), ChildId(child), Failed);
            prop_assert_eq!(verdict, rising.exited(latest, ChildId(child), Failed));
        }
    }

    #[test]
    fn waits_grow_within_their_jitter_and_are_capped(
        (first, max) in (0..5_000_u64, 0..100_000_u64),
        factor in 1.0..4.0_f64,
        jitter in 0.0..=1.0_f64,
        seed in any::<u64>(),
    ) {
        let backoff = Backoff::exponential(ms(first), ms(max)).factor(factor).jitter(jitter);
        let drawn = waits(backoff, seed, 20);
        prop_assert_eq!(&drawn, &waits(backoff, seed, 20), "the same seed draws the same waits");

        let max = max as f64 / 1e3;
        let mut base = (first as f64 / 1e3).min(max);
        for wait in drawn {
            let range = base * (1.0 - jitter) - 1e-6..=(base * (1.0 + jitter)).min(max) + 1e-6;
            prop_assert!(range.contains(&wait.as_secs_f64()), "{:?} in {:?}", wait, range);
            prop_assert!(wait.as_secs_f64() <= max);
            base = (base * factor).min(max);
        }
    }

    #[test]
    fn no_backoff_and_no_time_panics(
        (first, max, reset_after) in any::<(Duration, Duration, Duration)>(),
        (factor, jitter) in any::<(f64, f64)>(),
        times in prop::collection::vec(any::<Duration>(), 1..20),
    ) {
        let backoff = Backoff::exponential(first, max)
            .factor(factor)
            .jitter(jitter)
            .reset_after(reset_after);
        let mut law = backing_off(backoff, 0);
        for now in times {
            prop_assert!(after(law.exited(now, ChildId(1), Killed)) <= max);
        }
    }
}
