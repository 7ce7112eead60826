//! What a subscription keeps of the events for which its mailbox has no room: in order, bounded, and when that is full
//! as its contract says.
//!
//! It is a plain value that knows no actors. The first of the events may be on its way into the mailbox; its place is
//! kept here meanwhile, without it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::Instant;

use super::{DropReason, EventOverflow};
use crate::postmark::Postmark;

/// What an event is the latest state of; none is a key of its own.
pub(super) type Key = Option<Box<str>>;

/// A place in the buffer.
pub(super) struct Kept<T, W> {
    /// `None` while it is on its way into the mailbox.
    pub(super) event: Option<T>,
    key: Key,
    expires: Option<Instant>,
    /// Who waits for it to be delivered.
    pub(super) waits: Option<W>,
    /// Whose code published it, or had it replayed. It is another's that lets it in.
    pub(super) from: Postmark,
}

impl<T, W> Kept<T, W> {
    pub(super) fn new(event: Option<T>, key: Key, waits: Option<W>) -> Self {
        Kept {
            event,
            key,
            expires: None,
            waits,
            from: Postmark::here(),
        }
    }

    /// The same with the event, which has come back from its way.
    pub(super) fn with(self, event: T) -> Self {
        Kept {
            event: Some(event),
            ..self
        }
    }
}

/// Those that have lost their place, and why.
pub(super) type Lost<T, W> = Vec<(u64, Kept<T, W>, DropReason)>;

pub(super) struct Buffer<T, W> {
    /// By a number that only rises, so in their order.
    places: BTreeMap<u64, Kept<T, W>>,
    next: u64,
    length: usize,
    overflow: EventOverflow,
    /// Beyond the length: what a publisher still holds, and what is replayed. They come to count when there is room.
    extra: BTreeSet<u64>,
    /// Where only the latest of a key is wanted: which that is.
    latest: HashMap<Key, u64>,
    /// Those that have a later one of their key and keep their turn all the same.
    obsolete: BTreeSet<u64>,
    /// What is below keeps its turn. Or a key that changes faster than events leave would be put back for ever.
    fixed: u64,
}

impl<T, W> Buffer<T, W> {
    pub(super) fn new(overflow: EventOverflow, length: usize) -> Self {
        Buffer {
            places: BTreeMap::new(),
            next: 0,
            length,
            overflow,
            extra: BTreeSet::new(),
            latest: HashMap::new(),
            obsolete: BTreeSet::new(),
            fixed: 0,
        }
    }

    /// Changes the terms; returns what they have no place for.
    pub(super) fn change(&mut self, overflow: EventOverflow, length: usize) -> Lost<T, W> {
        if !self.is_by_key() || overflow != EventOverflow::LatestPerKey {
            self.latest.clear();
            self.obsolete.clear();
            // What came under other terms was not asked for its key.
            self.fixed = self.next;
        }
        self.overflow = overflow;
        self.length = length;
        let mut lost = Vec::new();
        self.enforce(&mut lost);
        lost
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether the subscription ends where there is no room.
    pub(super) fn breaks(&self) -> bool {
        self.overflow == EventOverflow::Disconnect
    }

    fn is_by_key(&self) -> bool {
        self.overflow == EventOverflow::LatestPerKey
    }

    pub(super) fn has_room(&self) -> bool {
        self.places.len() - self.extra.len() < self.length
    }

    /// Puts one behind the others; returns its place. Whoever `holds` it has it kept though there is no room.
    pub(super) fn push(
        &mut self,
        mut kept: Kept<T, W>,
        now: impl FnOnce() -> Instant,
        holds: bool,
        lost: &mut Lost<T, W>,
    ) -> u64 {
        let place = self.next;
        self.next += 1;
        if let EventOverflow::Wait(limit) = self.overflow {
            kept.expires = now().checked_add(limit);
        }
        if self.is_by_key()
            && let Some(earlier) = self.latest.insert(kept.key.clone(), place)
        {
            if earlier < self.fixed {
                self.obsolete.insert(earlier);
            } else {
                self.lose(earlier, DropReason::Replaced, lost);
            }
        }
        if holds && !self.has_room() {
            self.extra.insert(place);
        }
        self.places.insert(place, kept);
        self.enforce(lost);
        place
    }

    /// Keeps places free behind the others, to be filled by [`put_extra`](Self::put_extra) or not at all.
    pub(super) fn reserve(&mut self, n: usize) -> u64 {
        let first = self.next;
        self.next += n as u64;
        first
    }

    /// Fills a place that was kept free; it is kept whether there is room or not.
    pub(super) fn put_extra(&mut self, place: u64, kept: Kept<T, W>) {
        if self.is_by_key() {
            // What is live is later than what is replayed, though it may have come before.
            let latest = self.latest.entry(kept.key.clone()).or_insert(place);
            *latest = place.max(*latest);
            if *latest != place {
                self.obsolete.insert(place);
            }
        }
        self.extra.insert(place);
        self.places.insert(place, kept);
        self.promote();
    }

    /// Nobody holds it any more: it has to have room as all others.
    pub(super) fn let_go(&mut self, place: u64) -> Lost<T, W> {
        let mut lost = Vec::new();
        if self.extra.remove(&place) {
            self.enforce(&mut lost);
        }
        lost
    }

    /// Takes the first out on its way into the mailbox; its place stays until it is [removed](Self::remove).
    pub(super) fn take_first(&mut self) -> Option<(u64, T)> {
        let (place, kept) = self.places.first_key_value()?;
        let place = *place;
        kept.event.as_ref()?;
        self.fix(place);
        let kept = self.places.get_mut(&place)?;
        kept.event.take().map(|event| (place, event))
    }

    /// Whose code published the one in this place.
    pub(super) fn postmark(&self, place: u64) -> Option<Postmark> {
        self.places.get(&place).map(|kept| kept.from)
    }

    /// The place of the first that is not on its way.
    pub(super) fn first_here(&self) -> Option<u64> {
        let mut places = self.places.iter();
        let here = places.find(|(_, kept)| kept.event.is_some());
        here.map(|(place, _)| *place)
    }

    /// From here on the first keeps its turn, as do all that are behind it now.
    pub(super) fn fix(&mut self, first: u64) {
        if first >= self.fixed {
            self.fixed = self.next;
        }
    }

    /// Takes the first out if its time is up.
    pub(super) fn take_expired(
        &mut self,
        now: impl FnOnce() -> Instant,
    ) -> Option<(u64, Kept<T, W>)> {
        let (place, kept) = self.places.first_key_value()?;
        let place = *place;
        if kept.expires? > now() {
            return None;
        }
        self.remove(place).map(|kept| (place, kept))
    }

    /// From when on what is in a place comes too late.
    pub(super) fn expires(&self, place: u64) -> Option<Instant> {
        self.places.get(&place)?.expires
    }

    pub(super) fn remove(&mut self, place: u64) -> Option<Kept<T, W>> {
        let kept = self.places.remove(&place)?;
        self.extra.remove(&place);
        self.obsolete.remove(&place);
        if self.latest.get(&kept.key) == Some(&place) {
            self.latest.remove(&kept.key);
        }
        self.promote();
        Some(kept)
    }

    pub(super) fn clear(&mut self, why: DropReason) -> Lost<T, W> {
        self.extra.clear();
        self.latest.clear();
        self.obsolete.clear();
        let all = std::mem::take(&mut self.places).into_iter();
        all.map(|(place, kept)| (place, kept, why)).collect()
    }

    fn lose(&mut self, place: u64, why: DropReason, lost: &mut Lost<T, W>) {
        if let Some(kept) = self.remove(place) {
            lost.push((place, kept, why));
        }
    }

    /// Lets those count that were kept without room, while there is some.
    fn promote(&mut self) {
        while !self.extra.is_empty() && self.has_room() {
            self.extra.pop_first();
        }
    }

    fn enforce(&mut self, lost: &mut Lost<T, W>) {
        while self.places.len() - self.extra.len() > self.length {
            let counts = |place: &&u64| !self.extra.contains(place);
            let (victim, why) = match self.overflow {
                EventOverflow::Wait(_) | EventOverflow::DropNewest => {
                    (self.places.keys().rev().find(counts), DropReason::Full)
                }
                EventOverflow::Disconnect => {
                    let newest = self.places.keys().rev().find(counts);
                    (newest, DropReason::Disconnected)
                }
                EventOverflow::DropOldest => (self.places.keys().find(counts), DropReason::Full),
                EventOverflow::LatestPerKey => match self.obsolete.iter().find(counts) {
                    Some(obsolete) => (Some(obsolete), DropReason::Replaced),
                    None => (self.places.keys().find(counts), DropReason::Full),
                },
            };
            // All that is not extra counts, so there is one.
            let Some(victim) = victim.copied() else {
                return;
            };
            self.lose(victim, why, lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    type Numbers = Buffer<u64, ()>;

    fn key(n: u8) -> Key {
        (n > 0).then(|| n.to_string().into())
    }

    fn push(buffer: &mut Numbers, n: u64, of: u8, lost: &mut Lost<u64, ()>) -> u64 {
        let kept = Kept::new(Some(n), key(of), None);
        buffer.push(kept, Instant::now, false, lost)
    }

    /// Takes the first out, as into a mailbox.
    fn pop(buffer: &mut Numbers) -> Option<u64> {
        let (place, n) = buffer.take_first()?;
        buffer.remove(place);
        Some(n)
    }

    fn numbers(lost: &Lost<u64, ()>) -> Vec<(u64, DropReason)> {
        let one =
            |(place, kept, why): &(u64, Kept<u64, ()>, _)| (kept.event.unwrap_or(*place), *why);
        lost.iter().map(one).collect()
    }

    #[test]
    fn a_key_that_changes_all_the_time_has_its_turn() {
        let mut buffer = Numbers::new(EventOverflow::LatestPerKey, 8);
        let mut lost = Vec::new();
        let mut n = 0;
        let mut last = [0; 3];
        for _ in 0..100 {
            // One changes often, the others often enough to be in front of it for ever.
            for of in [1, 2, 2, 3, 2] {
                n += 1;
                push(&mut buffer, n, of, &mut lost);
            }
            if let Some((place, popped)) = buffer.take_first() {
                let of = buffer.remove(place).and_then(|kept| kept.key);
                let of = of.and_then(|of| of.parse::<usize>().ok()).unwrap_or(1);
                last[of - 1] = popped;
            }
        }
        assert!(last.iter().all(|last| n - last < 50), "{last:?} of {n}");
    }

    #[test]
    fn what_is_held_counts_when_there_is_room_or_nobody_holds_it() {
        let mut buffer = Numbers::new(EventOverflow::DropNewest, 1);
        let mut lost = Vec::new();
        push(&mut buffer, 0, 0, &mut lost);
        let hold = |buffer: &mut Numbers, n, lost: &mut _| {
            buffer.push(Kept::new(Some(n), None, None), Instant::now, true, lost)
        };
        let held = [1, 2, 3].map(|n| hold(&mut buffer, n, &mut lost));
        assert!(lost.is_empty());
        assert_eq!(pop(&mut buffer), Some(0));
        // Now the first of them has room, and keeps it.
        assert!(buffer.let_go(held[0]).is_empty());
        assert_eq!(numbers(&buffer.let_go(held[1])), [(2, DropReason::Full)]);
        assert_eq!([pop(&mut buffer), pop(&mut buffer)], [Some(1), Some(3)]);
    }

    #[test]
    fn time_is_up_in_order() {
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        let mut buffer = Numbers::new(EventOverflow::Wait(Duration::from_millis(10)), 8);
        let mut lost = Vec::new();
        for n in 0..3 {
            let kept = Kept::new(Some(n), None, None);
            buffer.push(kept, || at(n * 5), false, &mut lost);
        }
        assert!(buffer.take_expired(|| at(9)).is_none());
        let mut expired = |millis| {
            let taken = buffer.take_expired(|| at(millis));
            taken.and_then(|(_, kept)| kept.event)
        };
        assert_eq!(
            [expired(15), expired(15), expired(15)],
            [Some(0), Some(1), None]
        );
    }

    #[derive(Clone, Debug)]
    enum Do {
        Push(u8, bool),
        Pop,
        LetGo,
        Change(EventOverflow, usize),
    }

    fn doing() -> impl Strategy<Value = Do> {
        let overflow = prop_oneof![
            1 => Just(EventOverflow::DropNewest),
            1 => Just(EventOverflow::DropOldest),
            4 => Just(EventOverflow::LatestPerKey),
            1 => Just(EventOverflow::Wait(Duration::from_secs(1))),
            1 => Just(EventOverflow::Disconnect),
        ];
        prop_oneof![
            8 => (0..4_u8, prop::bool::weighted(0.1)).prop_map(|(of, holds)| Do::Push(of, holds)),
            4 => Just(Do::Pop),
            1 => Just(Do::LetGo),
            1 => (overflow, 0..6_usize).prop_map(|(overflow, length)| Do::Change(overflow, length)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_seed: proptest::test_runner::RngSeed::Fixed(
                std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap_or(1)),
            ),
            ..ProptestConfig::default()
        })]

        /// Nothing is in no count, all that comes out is in order, and there is never more than may be.
        #[test]
        fn whatever_is_done_nothing_is_uncounted_or_out_of_order(
            doings in prop::collection::vec(doing(), 0..200)
        ) {
            let mut buffer = Numbers::new(EventOverflow::LatestPerKey, 4);
            let mut lost = Vec::new();
            let (mut pushed, mut held, mut popped) = (0, Vec::new(), Vec::new());
            for doing in doings {
                match doing {
                    Do::Push(of, holds) => {
                        let kept = Kept::new(Some(pushed), key(of), None);
                        let place = buffer.push(kept, Instant::now, holds, &mut lost);
                        if holds {
                            held.push(place);
                        }
                        pushed += 1;
                    }
                    Do::Pop => popped.extend(pop(&mut buffer)),
                    Do::LetGo => lost.extend(held.pop().into_iter().flat_map(|place| buffer.let_go(place))),
                    Do::Change(overflow, length) => lost.extend(buffer.change(overflow, length)),
                }
                prop_assert!(buffer.len() <= buffer.length() + held.len());
                prop_assert_eq!(pushed as usize, popped.len() + lost.len() + buffer.len());
            }
            prop_assert!(popped.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", popped);
        }

        /// Where there is room for one of each key, the last of each is never lost.
        #[test]
        fn the_last_of_each_key_is_never_lost(
            doings in prop::collection::vec((0..4_u8, 0..3_usize), 0..200)
        ) {
            let mut buffer = Numbers::new(EventOverflow::LatestPerKey, 4);
            let mut lost = Vec::new();
            let mut last = [None; 4];
            let mut popped = Vec::new();
            for (n, (of, pops)) in (0..).zip(doings) {
                push(&mut buffer, n, of, &mut lost);
                last[usize::from(of)] = Some(n);
                popped.extend((0..pops).filter_map(|_| pop(&mut buffer)));
            }
            popped.extend(std::iter::from_fn(|| pop(&mut buffer)));
            let all = lost.iter().all(|(_, _, why)| *why == DropReason::Replaced);
            prop_assert!(all);
            prop_assert!(last.iter().flatten().all(|n| popped.contains(n)), "{:?} of {:?}", popped, last);
        }
    }
}
