//! How a message travels: with its reply address, tied to a life where it belongs to one, with a time limit where it has one.

#![allow(unsafe_code)]

use std::any::{Any, TypeId, type_name};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Task, Poll};

use tokio::time::Instant;

use crate::causes::Origin;
use crate::core::inline::{Family, Form, Inline, Kind, is_inline};
use crate::core::pooled::{Pooled, Then};
use crate::core::slot::Replier;
use crate::flow::Type;
use crate::life::{Life, Outcome};
use crate::mailbox::Mailbox;
use crate::tally::Dropped;
use crate::{Actor, EventId, Handler, Message};

mod trial;

use trial::answer_lent;
pub(crate) use trial::{TrialTable, keep};

/// A message of a known type on its way.
pub(crate) struct Parcel<M: Message> {
    pub(crate) message: M,
    pub(crate) reply: Option<ReplyTo<M>>,
    pub(crate) tie: Option<Tie>,
    /// From when on it is not to be handled any more.
    pub(crate) expires: Option<Instant>,
    /// Where it comes from, if anybody wants to know.
    pub(crate) origin: Option<Origin>,
}

/// What comes back for a question. Why nothing does is boxed: the way of an answer is to be short, as that of most is.
pub(crate) type Answer<T> = Result<T, Box<NoReply>>;

pub(crate) type ReplyTo<M> = Replier<Answer<<M as Message>::Reply>>;

/// Why an accepted question got no answer.
#[derive(Debug)]
pub(crate) enum NoReply {
    Failed(String),
    Abandoned,
    /// Whoever was asked is being restarted; with the message.
    Restarting(Box<dyn Any + Send>),
}

/// Binds a message to the life whose timer, stream or background future sent it.
#[derive(Clone)]
pub(crate) struct Tie {
    pub(crate) incarnation: u64,
    pub(crate) task: Arc<TaskState>,
}

/// What a background task of an actor and the handle to it share.
#[derive(Default)]
pub(crate) struct TaskState {
    pub(crate) cancelled: AtomicBool,
    /// A message of the task is in the mailbox: an interval does not add a second one.
    pub(crate) queued: AtomicBool,
}

impl<M: Message> Parcel<M> {
    pub(crate) fn told(message: M) -> Self {
        Parcel {
            message,
            reply: None,
            tie: None,
            expires: None,
            origin: None,
        }
    }

    /// The same of one whose origin is known.
    pub(crate) fn told_from(message: M, origin: Option<Origin>) -> Self {
        Parcel {
            origin,
            ..Parcel::told(message)
        }
    }

    /// Forgets the message's type; what is told or asked without further ado is small.
    #[inline]
    pub(crate) fn into_letter<A: Handler<M>>(self) -> Letter<A> {
        match self {
            Parcel {
                message,
                reply: None,
                tie: None,
                expires: None,
                origin: None,
            } => Letter::new(Told(message)),
            Parcel {
                message,
                reply: reply @ Some(_),
                tie: None,
                expires: None,
                origin: None,
            } => Letter::new(Asked { message, reply }),
            parcel => Letter::new(parcel),
        }
    }

    /// What a sender gets back is what it had offered, so the type is known.
    pub(crate) fn from_letter<A: Handler<M>>(letter: Letter<A>) -> Self {
        let letter = match letter.downcast::<Told<M>>() {
            Ok(Told(message)) => return Parcel::told(message),
            Err(letter) => letter,
        };
        let letter = match letter.downcast::<Asked<M>>() {
            Ok(Asked { message, reply }) => {
                return Parcel {
                    message,
                    reply,
                    tie: None,
                    expires: None,
                    origin: None,
                };
            }
            Err(letter) => letter,
        };
        match letter.downcast::<Parcel<M>>() {
            Ok(parcel) => parcel,
            Err(_) => unreachable!("a mailbox handed back a message of another sender"),
        }
    }
}

/// Puts a message into a mailbox if there is room; see [`Mailbox::offer_at_once`].
#[inline(always)]
pub(crate) fn offer_told<A: Handler<M>, M: Message, L: Copy>(
    mailbox: &Mailbox<Letter<A>, L>,
    message: M,
) -> Result<Option<L>, M> {
    if is_inline::<Letters<A>, Told<M>>() {
        return mailbox.offer_at_once::<false, _>(message, |message| Letter::new(Told(message)));
    }
    // A box is made before the lock is taken.
    let letter = Letter::new(Told(message));
    mailbox
        .offer_at_once::<false, _>(letter, |letter| letter)
        .map_err(|letter| Parcel::from_letter(letter).message)
}

/// The same for a question; with `ONLY_IDLE`, only where the actor has nothing else to do.
#[inline(always)]
pub(crate) fn offer_asked<const ONLY_IDLE: bool, A: Handler<M>, M: Message, L: Copy>(
    mailbox: &Mailbox<Letter<A>, L>,
    message: M,
    reply: ReplyTo<M>,
) -> Result<Option<L>, (M, ReplyTo<M>)> {
    if is_inline::<Letters<A>, Asked<M>>() {
        return mailbox.offer_at_once::<ONLY_IDLE, _>((message, reply), |(message, reply)| {
            let reply = Some(reply);
            Letter::new(Asked { message, reply })
        });
    }
    // A box is made before the lock is taken.
    let reply = Some(reply);
    let letter = Letter::new(Asked { message, reply });
    mailbox
        .offer_at_once::<ONLY_IDLE, _>(letter, |letter| letter)
        .map_err(|letter| match Parcel::from_letter(letter) {
            Parcel {
                message,
                reply: Some(reply),
                ..
            } => (message, reply),
            _ => unreachable!("a question has a reply address"),
        })
}

/// A message on its way to an `A`, its type forgotten; small ones are not allocated.
pub(crate) type Letter<A> = Inline<Letters<A>>;

/// The kind of all that can be in the mailbox of an `A`.
pub(crate) struct Letters<A>(PhantomData<fn(A)>);

impl<A: Actor> Family for Letters<A> {
    type Room = [u64; 3];
    type Table = LetterTable<A>;
}

/// Looks whether a letter may still be handled by the life of this number.
pub(crate) type Check<A> = fn(&mut Letter<A>, u64) -> Result<(), Dropped>;

/// Handles the message in hand.
type Begin<A> = unsafe fn(&mut Option<Letter<A>>, NonNull<Life<A>>, &mut Task<'_>) -> Begun;

/// Makes the future that handles the message in hand.
type Defer<A> =
    unsafe fn(&mut Option<Letter<A>>, NonNull<Life<A>>) -> Pooled<Outcome<<A as Actor>::Error>>;

/// Says where a message comes from, if it knows.
type OriginOf<A> = fn(&mut Letter<A>) -> Option<&Origin>;

/// How far the handling of a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It has ended, and the life goes on to the next.
    Ended,
    /// The handler pends: its future is the life's.
    Pends,
    /// It has failed, and the life has another phase now.
    Failed,
    /// The mailbox was taken from this life meanwhile.
    CutOff,
}

/// What can be done with a letter.
pub(crate) struct LetterTable<A: Actor> {
    form: Form,
    pub(crate) message_type: fn() -> &'static str,
    pub(crate) message_id: fn() -> TypeId,
    /// Shows the message to who watches a simulation.
    pub(crate) message: fn(&mut Letter<A>) -> &dyn Any,
    /// Whether it may still be handled by this life, or why not; `None` where nothing can stand against it.
    pub(crate) check: Option<Check<A>>,
    /// Handles the message, or begins to.
    ///
    /// # Safety
    /// It is in hand, with this table. The life has no future; the one that it may have afterwards, also when this
    /// panics, is dropped before the life, and while it exists nobody else touches the life's stage.
    pub(crate) begin: Begin<A>,
    /// Makes the future that handles the message, and does not begin: for who disturbs a simulation.
    ///
    /// # Safety
    /// As `begin`.
    pub(crate) defer: Defer<A>,
    /// Tells whoever asked that the message will not be handled, and its timer that it is not queued any more.
    pub(crate) abandon: fn(&mut Letter<A>),
    /// Whether somebody waits for its reply.
    pub(crate) is_asked: fn(&mut Letter<A>) -> bool,
    /// Gives a question back to whoever asked it.
    pub(crate) give_back: fn(Letter<A>),
    /// What is more of a message that may be tried again.
    pub(crate) trial: Option<TrialTable<A>>,
    /// Says where it comes from; `None` where it cannot tell.
    pub(crate) origin: Option<OriginOf<A>>,
}

/// The id of a message that is queued or in hand, if it has one.
#[cold]
pub(crate) fn event_id<A: Actor>(letter: &mut Letter<A>) -> Option<EventId> {
    let origin = letter.table().origin?(letter)?;
    Some(origin.id().clone())
}

impl<A: Actor> LetterTable<A> {
    /// The type of the message.
    pub(crate) fn of(&self) -> Type {
        Type {
            name: (self.message_type)(),
            id: (self.message_id)(),
        }
    }
}

impl<A: Actor> AsRef<Form> for LetterTable<A> {
    #[inline(always)]
    fn as_ref(&self) -> &Form {
        &self.form
    }
}

struct Told<M: Message>(M);

struct Asked<M: Message> {
    message: M,
    reply: Option<ReplyTo<M>>,
}

// SAFETY: the form is that of the type.
unsafe impl<A: Handler<M>, M: Message> Kind<Told<M>> for Letters<A> {
    const TABLE: &'static LetterTable<A> = &LetterTable {
        form: Form::of::<Self, Told<M>>(),
        message_type: type_name::<M>,
        message_id: TypeId::of::<M>,
        message: |letter| match letter.get_mut::<Told<M>>() {
            Some(Told(message)) => message,
            None => &(),
        },
        check: None,
        begin: begin_told,
        // SAFETY: as the caller promises.
        defer: |hand, life| unsafe {
            let Told(message) = Letter::take::<Told<M>>(hand);
            defer(message, None, life)
        },
        abandon: |_| {},
        is_asked: |_| false,
        give_back: drop,
        trial: None,
        origin: None,
    };
}

// SAFETY: the form is that of the type.
unsafe impl<A: Handler<M>, M: Message> Kind<Asked<M>> for Letters<A> {
    const TABLE: &'static LetterTable<A> = &LetterTable {
        form: Form::of::<Self, Asked<M>>(),
        message_type: type_name::<M>,
        message_id: TypeId::of::<M>,
        message: |letter| match letter.get_mut::<Asked<M>>() {
            Some(asked) => &asked.message,
            None => &(),
        },
        check: None,
        begin: begin_asked,
        // SAFETY: as the caller promises.
        defer: |hand, life| unsafe {
            let Asked { message, reply } = Letter::take::<Asked<M>>(hand);
            defer(message, reply.map(AnyReply::new), life)
        },
        abandon: |letter| {
            if let Some(asked) = letter.get_mut::<Asked<M>>() {
                abandon(&mut asked.reply);
            }
        },
        is_asked: |_| true,
        give_back: |letter| {
            if let Ok(Asked { message, reply }) = letter.downcast::<Asked<M>>() {
                give_back::<M>(message, reply);
            }
        },
        trial: None,
        origin: None,
    };
}

// SAFETY: the form is that of the type.
unsafe impl<A: Handler<M>, M: Message> Kind<Parcel<M>> for Letters<A> {
    const TABLE: &'static LetterTable<A> = &LetterTable {
        form: Form::of::<Self, Parcel<M>>(),
        message_type: type_name::<M>,
        message_id: TypeId::of::<M>,
        message: |letter| match letter.get_mut::<Parcel<M>>() {
            Some(parcel) => &parcel.message,
            None => &(),
        },
        check: Some(|letter, incarnation| match letter.get_mut::<Parcel<M>>() {
            Some(parcel) => parcel.check(incarnation),
            None => Ok(()),
        }),
        begin: begin_parcel,
        // SAFETY: as the caller promises.
        defer: |hand, life| unsafe {
            let parcel = Letter::take::<Parcel<M>>(hand);
            receive(life, parcel.origin);
            defer(parcel.message, parcel.reply.map(AnyReply::new), life)
        },
        abandon: |letter| {
            if let Some(parcel) = letter.get_mut::<Parcel<M>>() {
                abandon(&mut parcel.reply);
                if let Some(tie) = &parcel.tie {
                    tie.task.queued.store(false, Ordering::Relaxed);
                }
            }
        },
        is_asked: |letter| {
            let parcel = letter.get_mut::<Parcel<M>>();
            parcel.is_some_and(|parcel| parcel.reply.is_some())
        },
        give_back: |letter| {
            if let Ok(Parcel { message, reply, .. }) = letter.downcast::<Parcel<M>>() {
                give_back::<M>(message, reply);
            }
        },
        trial: None,
        origin: Some(|letter| letter.get_mut::<Parcel<M>>()?.origin.as_ref()),
    };
}

/// Takes a message out of the hand and handles it; a function with a name, as a closure would be one more frame for
/// a panic to unwind.
///
/// # Safety
/// As [`LetterTable::begin`].
unsafe fn begin_told<A: Handler<M>, M: Message>(
    hand: &mut Option<Letter<A>>,
    life: NonNull<Life<A>>,
    task: &mut Task<'_>,
) -> Begun {
    // SAFETY: as the caller promises.
    unsafe {
        let Told(message) = Letter::take::<Told<M>>(hand);
        handle(message, None, life, task)
    }
}

/// The same for one that was asked.
///
/// # Safety
/// As [`LetterTable::begin`].
unsafe fn begin_asked<A: Handler<M>, M: Message>(
    hand: &mut Option<Letter<A>>,
    life: NonNull<Life<A>>,
    task: &mut Task<'_>,
) -> Begun {
    // SAFETY: as the caller promises.
    unsafe {
        let Asked { message, reply } = Letter::take::<Asked<M>>(hand);
        handle(message, reply.map(AnyReply::new), life, task)
    }
}

/// The same for one that has conditions.
///
/// # Safety
/// As [`LetterTable::begin`].
unsafe fn begin_parcel<A: Handler<M>, M: Message>(
    hand: &mut Option<Letter<A>>,
    life: NonNull<Life<A>>,
    task: &mut Task<'_>,
) -> Begun {
    // SAFETY: as the caller promises.
    unsafe {
        let parcel = Letter::take::<Parcel<M>>(hand);
        receive(life, parcel.origin);
        let reply = parcel.reply.map(AnyReply::new);
        handle(parcel.message, reply, life, task)
    }
}

/// Lets the actor know where the message comes from that it takes in hand.
///
/// # Safety
/// As [`LetterTable::begin`].
unsafe fn receive<A: Actor>(life: NonNull<Life<A>>, origin: Option<Origin>) {
    // SAFETY: as the caller promises; the life has no future that has the stage.
    let context = unsafe { &(*life.as_ptr()).stage.cx };
    context.cell().receive(origin);
}

fn abandon<T: Send>(reply: &mut Option<Replier<Answer<T>>>) {
    if let Some(reply) = reply.take() {
        // Whoever asked may have gone.
        let _ = reply.send(Err(Box::new(NoReply::Abandoned)));
    }
}

fn give_back<M: Message>(message: M, reply: Option<ReplyTo<M>>) {
    if let Some(reply) = reply {
        // Whoever asked may have gone.
        let why = NoReply::Restarting(Box::new(message));
        let _ = reply.send(Err(Box::new(why)));
    }
}

impl<M: Message> Parcel<M> {
    fn check(&self, incarnation: u64) -> Result<(), Dropped> {
        if let Some(tie) = &self.tie {
            tie.task.queued.store(false, Ordering::Relaxed);
            let is_stale = tie.incarnation != incarnation;
            #[cfg(greenroom_planted)]
            let is_stale =
                is_stale && !crate::planted::is_planted(crate::planted::Bug::HandledTwice);
            if is_stale {
                return Err(Dropped::Stale);
            } else if tie.task.cancelled.load(Ordering::Relaxed) {
                return Err(Dropped::Cancelled);
            }
        }
        match self.expires {
            Some(expires) if expires <= Instant::now() => Err(Dropped::Expired),
            _ => Ok(()),
        }
    }
}

/// The address of an asker, the answer's type forgotten.
///
/// It is one word, and another for the table.
pub(crate) type AnyReply = Inline<Replies>;

/// The kind of all reply addresses.
pub(crate) struct Replies;

impl Family for Replies {
    type Room = [u64; 1];
    type Table = ReplyTable;
}

/// What can be done with a reply address.
pub(crate) struct ReplyTable {
    form: Form,
    refuse: fn(AnyReply, NoReply),
}

impl AsRef<Form> for ReplyTable {
    fn as_ref(&self) -> &Form {
        &self.form
    }
}

// SAFETY: the form is that of the type.
unsafe impl<T: Send + 'static> Kind<Replier<Answer<T>>> for Replies {
    const TABLE: &'static ReplyTable = &ReplyTable {
        form: Form::of::<Self, Replier<Answer<T>>>(),
        refuse: |reply, why| {
            if let Ok(reply) = reply.downcast::<Replier<Answer<T>>>() {
                // Whoever asked may have gone.
                let _ = reply.send(Err(Box::new(why)));
            }
        },
    };
}

/// Tells whoever asked that there will be no answer, and why.
pub(crate) fn refuse(reply: AnyReply, why: NoReply) {
    (reply.table().refuse)(reply, why);
}

/// What follows when the handler of a message has ended: it is counted, and only then is whoever asked replied to.
///
/// So an asker that has its reply finds the message in the counts, and a life
/// that was cut off meanwhile does not reply at all.
struct Handled<A: Actor, M> {
    life: NonNull<Life<A>>,
    is_asked: bool,
    _message: PhantomData<fn(M)>,
}

// SAFETY: the life may be used by whoever polls, as `begin` demands, and all in it is `Send`.
unsafe impl<A: Actor, M> Send for Handled<A, M> {}

/// # Safety
/// As [`LetterTable::begin`].
#[inline(always)]
unsafe fn handle<A: Handler<M>, M: Message>(
    message: M,
    reply: Option<AnyReply>,
    life: NonNull<Life<A>>,
    task: &mut Task<'_>,
) -> Begun {
    // SAFETY: the caller lets nobody else at the stage while the future exists, so these are the
    // only references, and lets it end before the life, so that they are as good as static to it.
    let (stage, rest) = unsafe { (&mut (*life.as_ptr()).stage, Life::rest(life)) };
    let is_asked = reply.is_some();
    if let Some(reply) = reply {
        // With the context, so that it outlives a panic and can be told of it.
        stage.cx.hold_reply(reply);
    }
    let Some(actor) = &mut stage.actor else {
        unreachable!("messages are handled by an actor that has started")
    };
    let then = Handled::<A, M> {
        life,
        is_asked,
        _message: PhantomData,
    };
    let handle = || actor.handle(message, &mut stage.cx);
    // SAFETY: the life has no future, and this is its runner.
    match unsafe { Pooled::run_new(then, handle, task, rest) } {
        Poll::Pending => Begun::Pends,
        Poll::Ready(Outcome::Well) => Begun::Ended,
        Poll::Ready(Outcome::CutOff) => Begun::CutOff,
        Poll::Ready(Outcome::Failed(error)) => {
            // SAFETY: the future, and its references to the stage, have ended.
            unsafe { Life::failed_at_once(life, error) };
            Begun::Failed
        }
    }
}

/// Makes what [`handle`] runs, and lets it be.
///
/// # Safety
/// As [`LetterTable::begin`].
unsafe fn defer<A: Handler<M>, M: Message>(
    message: M,
    reply: Option<AnyReply>,
    life: NonNull<Life<A>>,
) -> Pooled<Outcome<A::Error>> {
    // SAFETY: as in `handle`.
    let stage = unsafe { &mut (*life.as_ptr()).stage };
    let is_asked = reply.is_some();
    if let Some(reply) = reply {
        stage.cx.hold_reply(reply);
    }
    let Some(actor) = &mut stage.actor else {
        unreachable!("messages are handled by an actor that has started")
    };
    let then = Handled::<A, M> {
        life,
        is_asked,
        _message: PhantomData,
    };
    Pooled::new(then, || actor.handle(message, &mut stage.cx))
}

impl<A: Handler<M>, M: Message> Then<Result<M::Reply, A::Error>> for Handled<A, M> {
    type Result = Outcome<A::Error>;

    #[inline(always)]
    fn then(self, result: Result<M::Reply, A::Error>) -> Outcome<A::Error> {
        let answer = match result {
            Ok(answer) => answer,
            // The asker is told once the failure is on record.
            Err(error) => return Outcome::Failed(error),
        };
        let life = self.life.as_ptr();
        // SAFETY: the life outlives its future, whose references to the stage have ended, and this
        // is its runner.
        let (desk, context) = unsafe { (&(*life).desk, &mut (*life).stage.cx) };
        // SAFETY: as above.
        if !unsafe { context.cell().mailbox.finish(desk) } {
            return Outcome::CutOff;
        }
        context.ended();
        if self.is_asked
            && let Some(reply) = context.take_reply()
        {
            match reply.downcast::<ReplyTo<M>>() {
                // Where nobody listens any more, a late reply goes nowhere.
                Ok(reply) => drop(reply.send(Ok(answer))),
                Err(reply) => answer_lent(reply, answer),
            }
        }
        Outcome::Well
    }
}
