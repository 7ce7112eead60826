//! What stands behind one subscription of one role: its way into the mailbox, and its buffer where that has no room.
//!
//! As long as nothing is kept an event goes straight into the mailbox. Else it is
//! kept; the first one stands in the mailbox's line of waiting senders, and when it
//! is let in the next one follows. So the order of a publisher holds, and nobody
//! waits. Whoever moves events has the exclusive right to it for that time (it
//! *pumps*) and holds no lock meanwhile, as letting go of an event runs its author's code.

use std::any::type_name;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use super::buffer::{Buffer, Kept, Key, Lost};
use super::group::Fit;
use super::meter::Meter;
use super::required::{Held, Holder};
use super::{DropReason, EventOverflow, Gap};
use crate::dead_letter::DeadLetterReason;
use crate::entry::{Offered, Receive};
use crate::envelope::Parcel;
use crate::failure::guarded;
use crate::mailbox::words::{GivenUp, Room, Ticket, WhenFull};
use crate::postmark::Postmark;
use crate::registry::Counts;
use crate::waits::Node;
use crate::{Event, EventId, Recipient};

pub(super) struct Consumer<E: Event> {
    to: Arc<dyn Receive<E>>,
    role: usize,
    name: Arc<str>,
    meter: Arc<Meter>,
    counts: Arc<Counts>,
    /// Something is kept, or was a moment ago: who comes has to look under the lock.
    is_behind: AtomicBool,
    state: Mutex<State<E>>,
}

type Place<E> = Kept<Parcel<E>, Held>;

struct State<E: Event> {
    buffer: Buffer<Parcel<E>, Held>,
    head: Head,
    /// The head has lost its place in the buffer, and is to be taken out of the line.
    evicted: Option<(u64, Place<E>, DropReason)>,
    /// Somebody moves events.
    is_pumping: bool,
    /// The mailbox has let the head in, or given it back; or the same of a notice.
    is_woken: bool,
    /// What is replayed comes first; by the edition of the terms that it is replayed for.
    filling: Option<u64>,
    /// Of the latest terms: who was cut off while it subscribed may come to it later than the next life.
    edition: u64,
    /// The subscription has ended, and this is what becomes of events that come all the same.
    over: Option<DropReason>,
    gaps: Gaps,
}

/// The first event, on its way into the mailbox.
#[derive(Clone, Copy)]
enum Head {
    None,
    /// Whoever pumps has it.
    Going,
    InLine(u64, Ticket),
}

struct Gaps {
    to: Option<Recipient<Gap>>,
    /// The actor that has the events has the notices too: then each of these has its place among those.
    is_own: bool,
    /// Missed since the latest notice.
    due: Option<Due>,
    /// A notice that waits for room.
    line: Option<(Arc<dyn Receive<Gap>>, Ticket)>,
}

struct Due {
    /// The place of the first that is missing.
    at: u64,
    missed: u64,
    reason: DropReason,
}

/// What has become of an event, as far as is known at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    /// It is kept in this place.
    Kept(u64),
    Dropped,
    /// It is lost, and the subscription is over.
    Over,
}

impl<E: Event> Consumer<E> {
    pub(super) fn new(
        (to, role): (Arc<dyn Receive<E>>, usize),
        name: Arc<str>,
        meter: Arc<Meter>,
        counts: Arc<Counts>,
        (overflow, length): (EventOverflow, usize),
    ) -> Arc<Self> {
        Arc::new(Consumer {
            to,
            role,
            name,
            meter,
            counts,
            is_behind: AtomicBool::new(false),
            state: Mutex::new(State {
                buffer: Buffer::new(overflow, length),
                head: Head::None,
                evicted: None,
                is_pumping: false,
                is_woken: false,
                filling: None,
                edition: 0,
                over: None,
                gaps: Gaps {
                    to: None,
                    is_own: false,
                    due: None,
                    line: None,
                },
            }),
        })
    }

    pub(super) fn to(&self) -> &Arc<dyn Receive<E>> {
        &self.to
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// How much its actor has to do: what is queued or in hand, and what is kept here.
    pub(super) fn load(&self) -> usize {
        let kept = match self.is_behind() {
            true => self.state.lock().buffer.len(),
            false => 0,
        };
        self.to.load() + kept
    }

    /// How an event would fare that came now.
    pub(super) fn fit(&self) -> Fit {
        let room = self.to.room();
        if room == Room::Closed {
            return Fit::Never;
        }
        if room == Room::Free && !self.is_behind() {
            return Fit::Now;
        }
        let state = self.state.lock();
        let has_room = match state.buffer.length() {
            0 => room == Room::Free,
            _ => state.buffer.has_room(),
        };
        match has_room && state.over.is_none() {
            true => Fit::Later,
            false => Fit::Never,
        }
    }

    /// Whether its actor takes anything any more.
    pub(super) fn is_open(&self) -> bool {
        self.to.room() != Room::Closed
    }

    /// An author's code panicked over an event that was, or may have been, for this subscription.
    pub(super) fn panicked(self: &Arc<Self>, event: &E, id: Option<EventId>) {
        self.meter.matched();
        self.meter.dropped(DropReason::Panicked, false);
        self.counts.dropped(DropReason::Panicked);
        self.to.lost(event, DeadLetterReason::Failed, id);
        let mut state = self.state.lock();
        let place = state.buffer.reserve(1);
        if state.miss(place, DropReason::Panicked) {
            self.is_behind.store(true, Ordering::Release);
            drop(state);
            self.pump();
        }
    }

    /// Gives it an event; `key` and `waits` are asked only if it has to be kept.
    #[inline]
    pub(super) fn deliver(
        self: &Arc<Self>,
        mut event: Parcel<E>,
        key: impl FnOnce() -> Option<Key>,
        waits: impl FnOnce() -> Option<Held>,
    ) -> Fate {
        if !self.is_behind() {
            match self.tell(event) {
                Ok(()) => {
                    self.meter.matched();
                    self.delivered(None);
                    return Fate::Delivered;
                }
                Err(back) => event = back,
            }
        }
        match key() {
            Some(key) => {
                self.meter.matched();
                self.deliver_later(event, key, waits())
            }
            None => {
                self.panicked(&event.message, event_id(&event));
                drop_guarded(event);
                Fate::Dropped
            }
        }
    }

    /// Puts an event into the mailbox, if there is room.
    #[inline]
    fn tell(&self, event: Parcel<E>) -> Result<(), Parcel<E>> {
        if event.origin.is_some() {
            return self.to.parcel_at_once(event);
        }
        self.to.tell_at_once(event.message).map_err(Parcel::told)
    }

    #[cold]
    fn deliver_later(self: &Arc<Self>, event: Parcel<E>, key: Key, waits: Option<Held>) -> Fate {
        let holds = waits.is_some();
        let mut state = self.state.lock();
        if let Some(why) = state.over {
            drop(state);
            self.meter.keep(1);
            self.lose(Kept::new(Some(event), key, waits), why, false);
            return Fate::Over;
        }
        let is_free = state.buffer.is_empty() && !state.is_pumping && state.filling.is_none();
        if is_free && state.buffer.length() == 0 && !holds {
            drop(state);
            return self.offer_once(event);
        }
        self.meter.keep(1);
        self.is_behind.store(true, Ordering::Release);
        let mut lost = Vec::new();
        if is_free && state.gaps.due.is_none() {
            let kept = Kept::new(None, key, waits);
            let place = state.buffer.push(kept, Instant::now, holds, &mut lost);
            state.buffer.fix(place);
            let until = state.buffer.expires(place);
            state.is_pumping = true;
            state.head = Head::Going;
            drop(state);
            let fate = self.offer(place, event, until, Postmark::here());
            self.run();
            return fate;
        }
        let kept = Kept::new(Some(event), key, waits);
        let place = state.buffer.push(kept, Instant::now, holds, &mut lost);
        let mut fate = Fate::Kept(place);
        if lost.iter().any(|(lost, ..)| *lost == place) {
            fate = Fate::Dropped;
        }
        state.sort_out(&mut lost);
        if state.over.is_some() {
            fate = Fate::Over;
        }
        drop(state);
        self.lose_all(lost);
        self.pump();
        fate
    }

    /// With no buffer there is no line either: as a plain subscription.
    fn offer_once(self: &Arc<Self>, event: Parcel<E>) -> Fate {
        let (event, why) = match self.to.offer(event, WhenFull::Drop) {
            Offered::Accepted | Offered::Waiting(_) => {
                self.delivered(None);
                return Fate::Delivered;
            }
            Offered::Full(parcel) | Offered::Lost(parcel) => (parcel, DropReason::Full),
            Offered::Closed(parcel) | Offered::Restarting(parcel) => (parcel, DropReason::Stopped),
        };
        self.meter.keep(1);
        let mut state = self.state.lock();
        let place = state.buffer.reserve(1);
        let mut fate = Fate::Dropped;
        let mut why = why;
        if why == DropReason::Full && state.buffer.breaks() {
            why = DropReason::Disconnected;
            state.over = Some(why);
            fate = Fate::Over;
        }
        if state.miss(place, why) {
            self.is_behind.store(true, Ordering::Release);
        }
        drop(state);
        self.lose(Kept::new(Some(event), None, None), why, true);
        self.pump();
        fate
    }

    // ===== terms =====

    /// Takes other terms, unless it has later ones; what is kept stays, as far as they have room for it.
    pub(super) fn change(
        self: &Arc<Self>,
        edition: u64,
        (overflow, length): (EventOverflow, usize),
        gaps_to: Option<Recipient<Gap>>,
    ) {
        let to = gaps_to.as_ref().map(Recipient::receiver);
        let is_own = to.is_some_and(|to| to.same_role(self.role));
        let mut state = self.state.lock();
        if edition < state.edition {
            return;
        }
        state.edition = edition;
        // Who was cut off in the middle of that may never come back to it.
        state.filling = state.filling.filter(|filling| *filling == edition);
        let mut lost = state.buffer.change(overflow, length);
        state.over = None;
        state.gaps.is_own = is_own;
        let before = std::mem::replace(&mut state.gaps.to, gaps_to);
        if state.gaps.to.is_none() {
            state.gaps.due = None;
        }
        state.sort_out(&mut lost);
        drop(state);
        drop(before);
        self.lose_all(lost);
        self.pump();
    }

    /// Ends the subscription, and with it all that is kept.
    pub(super) fn end(self: &Arc<Self>, why: DropReason) {
        let mut state = self.state.lock();
        self.is_behind.store(true, Ordering::Release);
        state.over = Some(why);
        state.edition = u64::MAX;
        state.filling = None;
        let mut lost = state.buffer.clear(why);
        state.sort_out(&mut lost);
        state.gaps.due = None;
        let line = state.gaps.line.take();
        let to = state.gaps.to.take();
        drop(state);
        if let Some((to, ticket)) = line {
            drop(to.give_up(ticket, GivenUp::Cancelled));
        }
        drop(to);
        self.lose_all(lost);
        self.pump();
    }

    /// Keeps places for what is to be replayed; nothing moves until [`filled`](Self::filled).
    pub(super) fn fill(&self, edition: u64, n: usize) -> u64 {
        let mut state = self.state.lock();
        self.is_behind.store(true, Ordering::Release);
        state.edition = edition;
        state.filling = Some(edition);
        state.buffer.reserve(n)
    }

    /// Puts one into its place, unless the subscription has ended or has later terms.
    pub(super) fn replay(&self, edition: u64, place: u64, event: Parcel<E>, key: Key) {
        let kept = Kept::new(Some(event), key, None);
        let mut state = self.state.lock();
        if state.filling == Some(edition) {
            self.meter.matched();
            self.meter.keep(1);
            state.buffer.put_extra(place, kept);
            return;
        }
        drop(state);
        drop_guarded(kept.event);
    }

    pub(super) fn filled(self: &Arc<Self>, edition: u64) {
        let mut state = self.state.lock();
        state.filling = state.filling.filter(|filling| *filling != edition);
        drop(state);
        self.pump();
    }

    // ===== the way into the mailbox =====

    /// Moves what can move.
    pub(super) fn pump(self: &Arc<Self>) {
        {
            let mut state = self.state.lock();
            if state.is_pumping {
                // Whoever does looks again before it leaves.
                return;
            }
            state.is_pumping = true;
        }
        self.run();
    }

    /// As whoever pumps: until nothing moves.
    fn run(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            if let Head::InLine(_, ticket) = state.head
                && let Some((place, kept, why)) = state.evicted.take()
            {
                state.head = Head::None;
                drop(state);
                self.take_out(place, ticket, kept, why);
            } else if let Some((place, kept)) = state.buffer.take_expired(Instant::now) {
                let mut lost = vec![(place, kept, DropReason::Expired)];
                state.sort_out(&mut lost);
                drop(state);
                self.lose_all(lost);
            } else if state.is_woken {
                state.is_woken = false;
                let head = state.head;
                let line = state.gaps.line.clone();
                drop(state);
                if let Head::InLine(place, ticket) = head {
                    self.poll(place, ticket);
                }
                if let Some((to, ticket)) = line {
                    self.poll_gap(&*to, ticket);
                }
            } else if let Some((to, gap)) = state.take_gap(&self.name) {
                drop(state);
                self.tell_gap(to.receiver(), gap);
            } else if state.may_offer()
                && let Some((place, event)) = state.buffer.take_first()
            {
                let until = state.buffer.expires(place);
                state.head = Head::Going;
                let from = state.buffer.postmark(place);
                drop(state);
                let from = from.unwrap_or_else(Postmark::here);
                self.offer(place, event, until, from);
            } else {
                state.is_pumping = false;
                let is_idle = state.buffer.is_empty()
                    && state.gaps.due.is_none()
                    && state.filling.is_none()
                    && state.over.is_none();
                if is_idle {
                    self.is_behind.store(false, Ordering::Release);
                }
                return;
            }
        }
    }

    fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Sends the first event on its way, for whoever published it.
    fn offer(
        self: &Arc<Self>,
        place: u64,
        event: Parcel<E>,
        until: Option<Instant>,
        from: Postmark,
    ) -> Fate {
        let event = match from.sends(|| self.tell(event)) {
            Ok(()) => return self.let_in(place),
            Err(event) => event,
        };
        let waker = &self.waker();
        let when_full = WhenFull::Line(waker, until);
        match from.sends(|| self.to.offer(event, when_full)) {
            Offered::Accepted => self.let_in(place),
            Offered::Waiting(ticket) => {
                self.meter.enter_line();
                let mut state = self.state.lock();
                // Whether it has its place still or not: the next look sees to it.
                state.head = Head::InLine(place, ticket);
                Fate::Kept(place)
            }
            Offered::Full(parcel) | Offered::Lost(parcel) => {
                self.turned_away(place, parcel, DropReason::Full)
            }
            Offered::Closed(parcel) | Offered::Restarting(parcel) => {
                self.turned_away(place, parcel, DropReason::Stopped)
            }
        }
    }

    /// Looks what has become of the head.
    fn poll(self: &Arc<Self>, place: u64, ticket: Ticket) {
        match self.to.poll_ticket(ticket, &self.waker()) {
            Offered::Waiting(_) => {}
            Offered::Accepted => {
                self.meter.leave_line();
                self.let_in(place);
            }
            Offered::Full(parcel)
            | Offered::Lost(parcel)
            | Offered::Closed(parcel)
            | Offered::Restarting(parcel) => {
                self.meter.leave_line();
                self.turned_away(place, parcel, DropReason::Stopped);
            }
        }
    }

    /// The head is in the mailbox.
    fn let_in(&self, place: u64) -> Fate {
        let kept = self.state.lock().take_head(place);
        self.meter.unkeep();
        self.delivered(kept.and_then(|kept| kept.waits));
        Fate::Delivered
    }

    /// The mailbox does not take the head, and has counted that.
    fn turned_away(&self, place: u64, event: Parcel<E>, why: DropReason) -> Fate {
        let mut state = self.state.lock();
        let kept = state.take_head(place);
        state.miss(place, why);
        drop(state);
        let kept = kept.unwrap_or_else(|| Kept::new(None, None, None));
        self.lose(kept.with(event), why, true);
        Fate::Dropped
    }

    /// Takes one out of the line that has lost its place, unless it was let in a moment ago.
    fn take_out(&self, place: u64, ticket: Ticket, kept: Place<E>, why: DropReason) {
        self.meter.leave_line();
        match self.to.give_up(ticket, GivenUp::Lost) {
            Some(parcel) => {
                self.state.lock().miss(place, why);
                self.lose(kept.with(parcel), why, true);
            }
            None => {
                self.meter.unkeep();
                self.delivered(kept.waits);
            }
        }
    }

    fn delivered(&self, waits: Option<Held>) {
        self.meter.delivered();
        self.counts.delivered(1);
        if let Some(waits) = waits {
            waits.settle(true);
        }
    }

    fn lose_all(&self, lost: Lost<Parcel<E>, Held>) {
        for (_, kept, why) in lost {
            self.lose(kept, why, false);
        }
    }

    /// Counts a loss of what counts as kept; `seen` is whether the mailbox has counted it.
    fn lose(&self, kept: Place<E>, why: DropReason, seen: bool) {
        self.meter.unkeep();
        self.meter.dropped(why, seen);
        self.counts.dropped(why);
        if let Some(event) = kept.event {
            if let Some(reason) = why.dead_letter() {
                let id = event_id(&event);
                kept.from.sends(|| self.to.lost(&event.message, reason, id));
            }
            drop_guarded(event);
        }
        if let Some(waits) = kept.waits {
            waits.settle(false);
        }
    }

    // ===== notices =====

    fn tell_gap(self: &Arc<Self>, to: &Arc<dyn Receive<Gap>>, gap: Gap) {
        // It is not sent by who happened to publish.
        Postmark::OUTSIDE.sends(|| self.offer_gap(to, gap));
    }

    fn offer_gap(self: &Arc<Self>, to: &Arc<dyn Receive<Gap>>, gap: Gap) {
        let Err(gap) = to.tell_at_once(gap) else {
            return;
        };
        match to.offer(Parcel::told(gap), WhenFull::Line(&self.waker(), None)) {
            Offered::Accepted => {}
            Offered::Waiting(ticket) => {
                self.state.lock().gaps.line = Some((Arc::clone(to), ticket));
            }
            Offered::Full(parcel) | Offered::Lost(parcel) => {
                to.lost(&parcel.message, DeadLetterReason::Full, None);
            }
            Offered::Closed(parcel) | Offered::Restarting(parcel) => {
                to.lost(&parcel.message, DeadLetterReason::Stopped, None);
            }
        }
    }

    fn poll_gap(self: &Arc<Self>, to: &dyn Receive<Gap>, ticket: Ticket) {
        let parcel = match to.poll_ticket(ticket, &self.waker()) {
            Offered::Waiting(_) => return,
            Offered::Accepted => None,
            Offered::Full(parcel)
            | Offered::Lost(parcel)
            | Offered::Closed(parcel)
            | Offered::Restarting(parcel) => Some(parcel),
        };
        let line = self.state.lock().gaps.line.take();
        drop(line);
        if let Some(parcel) = parcel {
            to.lost(&parcel.message, DeadLetterReason::Stopped, None);
        }
    }
}

impl<E: Event> State<E> {
    /// Takes the head's place back, wherever it is by now.
    fn take_head(&mut self, place: u64) -> Option<Place<E>> {
        self.head = Head::None;
        let kept = self.buffer.remove(place);
        kept.or_else(|| self.evicted.take().map(|(_, kept, _)| kept))
    }

    /// Sees to what those are that have lost their place: the head is to be taken out of the line, others are gone.
    fn sort_out(&mut self, lost: &mut Lost<Parcel<E>, Held>) {
        if let Some(head) = lost.iter().position(|(_, kept, _)| kept.event.is_none()) {
            self.evicted = Some(lost.remove(head));
        }
        for (place, _, why) in lost {
            self.miss(*place, *why);
            if *why == DropReason::Disconnected {
                self.over = Some(*why);
            }
        }
    }

    /// Whether the first event may go on its way: not before a notice that has its place before it.
    fn may_offer(&self) -> bool {
        let is_told = !self.gaps.is_own || self.gaps.line.is_none();
        is_told && self.filling.is_none() && matches!(self.head, Head::None)
    }

    /// Takes note that an event is missing; whether there is something to be told of it.
    fn miss(&mut self, place: u64, reason: DropReason) -> bool {
        if !reason.is_gap() || self.gaps.to.is_none() {
            return false;
        }
        let due = self.gaps.due.get_or_insert(Due {
            at: place,
            missed: 0,
            reason,
        });
        due.at = due.at.min(place);
        due.missed += 1;
        due.reason = reason;
        true
    }

    /// The notice that is to be told now: all events before the gap are on their way.
    fn take_gap(&mut self, name: &Arc<str>) -> Option<(Recipient<Gap>, Gap)> {
        let due = self.gaps.due.as_ref()?;
        let is_next = self.buffer.first_here().is_none_or(|place| place > due.at);
        if !is_next || self.gaps.line.is_some() {
            return None;
        }
        let to = self.gaps.to.clone()?;
        let due = self.gaps.due.take()?;
        let gap = Gap {
            subscription: Arc::clone(name),
            event: type_name::<E>(),
            missed: due.missed,
            reason: due.reason,
        };
        Some((to, gap))
    }
}

impl<E: Event> Wake for Consumer<E> {
    fn wake(self: Arc<Self>) {
        self.state.lock().is_woken = true;
        self.pump();
    }
}

impl<E: Event> Holder for Consumer<E> {
    fn let_go(self: Arc<Self>, place: u64) -> bool {
        let mut state = self.state.lock();
        let mut lost = state.buffer.let_go(place);
        let is_kept = lost.iter().all(|(lost, ..)| *lost != place);
        state.sort_out(&mut lost);
        drop(state);
        self.lose_all(lost);
        self.pump();
        is_kept
    }

    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn node(&self) -> &Arc<Node> {
        self.to.node()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<Sleep>> {
        self.to.sleep(duration)
    }
}

/// What its dead letter tells an event by.
fn event_id<E: Event>(event: &Parcel<E>) -> Option<EventId> {
    event.origin.as_ref().map(|origin| origin.id().clone())
}

/// Lets go of an event, whose author's code may panic.
pub(super) fn drop_guarded<E>(event: E) {
    // It is lost already, and there is nothing more to say of it.
    let _ = guarded(|| drop(event));
}
