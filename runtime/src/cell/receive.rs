//! An actor's role as senders have it.

use std::any::type_name;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Sleep;

use super::{ActorCell, INSIDE_BUDGET, LifePtr};
use crate::causes::Origin;
use crate::core::prefetch::prefetch;
use crate::dead_letter::DeadLetterReason;
use crate::entry::{Asked, Back, Offered, Posted, Receive};
use crate::envelope::{self, Letter, Parcel, ReplyTo};
use crate::flow::Type;
use crate::mailbox::words::{Admission, GivenUp, Room, Ticket, WhenFull};
use crate::pool::count_messages;
use crate::postmark::{Postmark, Sender};
use crate::role::{Asker, asker, wait_for_reply};
use crate::waits::{DynAsking, Node};
use crate::{Actor, CausalKind, EventId, Handler, Message, Path};

/// How many cache lines of a mailbox are used for a message.
const MAILBOX_LINES: usize = 2;

impl<A: Handler<M>, M: Message> Receive<M> for ActorCell<A> {
    fn path(&self) -> &Path {
        &self.path
    }

    #[inline]
    fn tell_at_once(&self, message: M) -> Result<(), M> {
        // Behind the lock of an actor that is not in the cache nothing else would be looked up before it is had.
        prefetch(&raw const self.mailbox, MAILBOX_LINES);
        let ready = envelope::offer_told(&self.mailbox, message)?;
        count_messages(1);
        if let Some(life) = ready {
            self.make_ready(life);
        }
        Ok(())
    }

    fn parcel_at_once(&self, parcel: Parcel<M>) -> Result<(), Parcel<M>> {
        let letter = parcel.into_letter();
        let offered = self
            .mailbox
            .offer_at_once::<false, _>(letter, |letter| letter);
        let ready = offered.map_err(Parcel::from_letter)?;
        count_messages(1);
        if let Some(life) = ready {
            self.make_ready(life);
        }
        Ok(())
    }

    #[inline]
    fn ask_at_once(
        &self,
        message: M,
        reply: ReplyTo<M>,
        asking: &DynAsking,
    ) -> Result<Asked, Back<M>> {
        let asker = asker();
        let is_inside = asker != Asker::Outside;
        let runs_here = self.may_run_for(asker);
        // An idle actor waits for nobody, so asking it closes no cycle. Where it cannot be run here
        // it might be met by others before it is known who waits for it.
        let at_once = match (is_inside, runs_here) {
            (true, true) => envelope::offer_asked::<true, A, M, _>(&self.mailbox, message, reply),
            (true, false) => Err((message, reply)),
            (false, _) => envelope::offer_asked::<false, A, M, _>(&self.mailbox, message, reply),
        };
        let (ready, how) = match at_once {
            Ok(ready) => (ready, Asked::Here),
            Err((message, reply)) if is_inside => {
                let ready = self.ask_and_wait(message, reply, asking)?;
                (ready, Asked::Queued)
            }
            Err((message, reply)) => return Err(Back::NoRoom(message, reply)),
        };
        count_messages(1);
        if let Some(life) = ready {
            // SAFETY: a life that is ready is freed by whoever runs it next, which is this call.
            if !runs_here || unsafe { life.body() }.run_for(INSIDE_BUDGET, Some(asking)) {
                self.make_ready(life);
            }
        }
        Ok(match (how, asker) {
            (Asked::Here, Asker::Tired) => Asked::HereTired,
            _ => how,
        })
    }

    fn node(&self) -> &Arc<Node> {
        ActorCell::node(self)
    }

    fn offer(&self, parcel: Parcel<M>, when_full: WhenFull<'_>) -> Offered<M> {
        self.offered(self.mailbox.offer(parcel.into_letter(), when_full))
    }

    fn poll_ticket(&self, ticket: Ticket, waker: &Waker) -> Offered<M> {
        self.offered(self.mailbox.poll_ticket(ticket, waker))
    }

    fn give_up(&self, ticket: Ticket, why: GivenUp) -> Option<Parcel<M>> {
        self.mailbox.give_up(ticket, why).map(Parcel::from_letter)
    }

    fn overflowed(&self, parcel: Parcel<M>) {
        self.observe_lost::<M>();
        ActorCell::overflowed(self, parcel.into_letter());
    }

    fn traced(&self, kind: CausalKind) -> Option<Origin> {
        let origins = &self.system.registry.origins;
        origins.of_message::<M>(kind, &self.path)
    }

    fn lost(&self, message: &M, reason: DeadLetterReason, event_id: Option<EventId>)
    where
        M: fmt::Debug,
    {
        self.observe_lost::<M>();
        let incarnation = self.mailbox.reading(false).incarnation;
        self.dead_letter(
            incarnation,
            type_name::<M>(),
            reason,
            format_args!("{message:?}"),
            event_id,
        );
    }

    fn load(&self) -> usize {
        self.mailbox.load()
    }

    fn room(&self) -> Room {
        self.mailbox.room_now()
    }

    fn post(self: Arc<Self>, message: M) -> Posted
    where
        M: fmt::Debug,
    {
        let Err(message) = self.tell_at_once(message) else {
            return Posted::delivered();
        };
        let letter = Parcel::told(message).into_letter();
        let (letter, reason) = match self.mailbox.offer(letter, WhenFull::Drop) {
            Admission::Accepted { ready } => {
                if let Some(life) = ready {
                    self.make_ready(life);
                }
                return Posted::delivered();
            }
            Admission::Waiting { .. } => return Posted::delivered(),
            Admission::Replaced(oldest) => {
                return Posted {
                    is_delivered: true,
                    afterwards: Some(Box::new(move || self.replaced(oldest))),
                };
            }
            // Only a question is refused for a restart.
            Admission::Full(letter) | Admission::Lost(letter) | Admission::Restarting(letter) => {
                (letter, DeadLetterReason::Full)
            }
            Admission::Closed(letter) => (letter, DeadLetterReason::Stopped),
        };
        Posted {
            is_delivered: false,
            afterwards: Some(Box::new(move || {
                if reason == DeadLetterReason::Stopped {
                    self.fold_counts();
                }
                let parcel: Parcel<M> = Parcel::from_letter(letter);
                Receive::lost(&*self, &parcel.message, reason, None);
            })),
        }
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<Sleep>> {
        self.system.sleep(duration)
    }

    fn same_role(&self, role: usize) -> bool {
        self.identity() == role
    }
}

impl<A: Actor> ActorCell<A> {
    /// Counts a message for the flow graph that the calling code does not get rid of.
    fn observe_lost<M: Message>(&self) {
        let from = Postmark::here().sender(self.system.meters.system);
        let from = from.unwrap_or(Sender::Unknown);
        self.group.incoming.lost(from, Type::of::<M>(), false);
    }

    /// Asks from inside a handler where the answer may take time: nobody may wait for whoever waits for it.
    ///
    /// Returns the life that is to be made ready, if it is.
    #[cold]
    fn ask_and_wait<M: Message>(
        &self,
        message: M,
        reply: ReplyTo<M>,
        asking: &DynAsking,
    ) -> Result<Option<LifePtr<A>>, Back<M>>
    where
        A: Handler<M>,
    {
        if let Err(cycle) = wait_for_reply(ActorCell::node(self), asking) {
            return Err(Back::Cycle(message, cycle));
        }
        envelope::offer_asked::<false, A, M, _>(&self.mailbox, message, reply)
            .map_err(|(message, reply)| Back::NoRoom(message, reply))
    }

    #[cold]
    fn offered<M: Message>(&self, admission: Admission<Letter<A>, LifePtr<A>>) -> Offered<M>
    where
        A: Handler<M>,
    {
        match admission {
            Admission::Accepted { ready } => {
                if let Some(life) = ready {
                    self.make_ready(life);
                }
                Offered::Accepted
            }
            Admission::Replaced(oldest) => {
                self.replaced(oldest);
                Offered::Accepted
            }
            Admission::Waiting { ticket } => Offered::Waiting(ticket),
            Admission::Full(letter) => Offered::Full(Parcel::from_letter(letter)),
            Admission::Lost(letter) => Offered::Lost(Parcel::from_letter(letter)),
            Admission::Closed(letter) => {
                self.fold_counts();
                Offered::Closed(Parcel::from_letter(letter))
            }
            Admission::Restarting(letter) => Offered::Restarting(Parcel::from_letter(letter)),
        }
    }
}
