//! The law against a small model of its own, on random traces.

use super::*;

/// The law as one would write it down in a meeting: lists, and every restart ever ordered.
struct Model {
    strategy: Strategy,
    limit: Limit,
    book: Vec<(ChildId, Restart)>,
    restarts: Vec<Duration>,
}

impl Model {
    /// What happens when `child` ends, or when its start fails (`exit` is `None`).
    fn ended(&mut self, now: Duration, child: ChildId, exit: Option<Exit>) -> Verdict {
        let Some(place) = self.book.iter().position(|&(id, _)| id == child) else {
            return Verdict::Ignore;
        };
        let restart = self.book[place].1;
        let clean = matches!(exit, Some(Normal | Shutdown));
        if restart == Temporary || (restart == Transient && clean && self.strategy == Dynamic) {
            self.book.remove(place);
            return Verdict::Forget;
        }
        if restart == Transient && clean {
            return Verdict::Ignore;
        }
        self.restarts.push(now);
        if self.in_window(now) > self.limit.restarts() as usize {
            let stop = self
                .book
                .iter()
                .rev()
                .map(|entry| entry.0)
                .filter(|&id| id != child);
            return Verdict::Escalate {
                stop: stop.collect(),
            };
        }
        let group: Vec<_> = match self.strategy {
            OneForOne | Dynamic => vec![self.book[place]],
            OneForAll => self.book.clone(),
            RestForOne => self.book[place..].to_vec(),
        };
        let pick = |wanted: &dyn Fn((ChildId, Restart)) -> bool| -> Vec<ChildId> {
            group
                .iter()
                .copied()
                .filter(|&entry| wanted(entry))
                .map(|entry| entry.0)
                .collect()
        };
        let start = pick(&|(_, restart)| restart != Temporary);
        let mut stop = pick(&|(id, _)| id != child);
        let mut forget = pick(&|(_, restart)| restart == Temporary);
        stop.reverse();
        forget.reverse();
        self.book.retain(|(id, _)| !forget.contains(id));
        Verdict::Restart {
            stop,
            forget,
            start,
            after: Duration::ZERO,
        }
    }

    fn in_window(&self, now: Duration) -> usize {
        self.restarts
            .iter()
            .filter(|&&at| at + self.limit.within() >= now)
            .count()
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Exited(ChildId, Exit),
    StartFailed(ChildId),
    Add(ChildId, Restart),
    Remove(ChildId),
}

fn any_strategy() -> impl Generate<Value = Strategy> {
    prop::sample::select(STRATEGIES.to_vec())
}

fn any_restart() -> impl Generate<Value = Restart> {
    prop::sample::select(vec![Permanent, Transient, Temporary])
}

fn any_limit() -> impl Generate<Value = Limit> {
    (0..5_u32, 0..20_u64).prop_map(|(restarts, within)| Limit::new(restarts, ms(within)))
}

fn any_event() -> impl Generate<Value = Event> {
    let child = || (0..8_u64).prop_map(ChildId);
    let exit = prop::sample::select(EXITS.to_vec());
    prop_oneof![
        8 => (child(), exit).prop_map(|(child, exit)| Event::Exited(child, exit)),
        3 => child().prop_map(Event::StartFailed),
        2 => (child(), any_restart()).prop_map(|(child, restart)| Event::Add(child, restart)),
        1 => child().prop_map(Event::Remove),
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
        limit in any_limit(),
        children in prop::collection::vec(any_restart(), 0..8),
        trace in prop::collection::vec((0..12_u64, any_event()), 0..60),
    ) {
        let mut law = law(strategy, limit, &children);
        let book = (1..).map(ChildId).zip(children).collect();
        let mut model = Model { strategy, limit, book, restarts: vec![] };
        let mut now = Duration::ZERO;
        for (step, event) in trace {
            now += ms(step);
            match event {
                Event::Exited(child, exit) => {
                    let expected = model.ended(now, child, Some(exit));
                    prop_assert_eq!(law.exited(now, child, exit), expected);
                }
                Event::StartFailed(child) => {
                    let expected = model.ended(now, child, None);
                    prop_assert_eq!(law.start_failed(now, child), expected);
                }
                Event::Add(child, restart) => {
                    if model.book.iter().all(|&(id, _)| id != child) {
                        model.book.push((child, restart));
                    }
                    law.add(child, restart);
                }
                Event::Remove(child) => {
                    let length = model.book.len();
                    model.book.retain(|&(id, _)| id != child);
                    prop_assert_eq!(law.remove(child), model.book.len() < length);
                }
            }
            let children: Vec<_> = model.book.iter().map(|&(id, _)| id).collect();
            prop_assert_eq!(law.children().collect::<Vec<_>>(), children);
            let counted = model.in_window(now).min(limit.restarts() as usize + 1);
            prop_assert_eq!(law.restarts_in_window(now) as usize, counted);
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
