//! A message that is tried again if its handler fails: what is queued again, and the copy of it that is kept meanwhile.
//!
//! ```text
//!   queue ──> in hand ──> handler            it ends well: the copy is dropped
//!                │                           it fails: the copy goes back to the front,
//!                └──> copy                       or, after the last try, becomes a dead letter
//! ```
//!
//! A handler gets its message by value, so a second try needs a copy. Only
//! types that a [`Spec::retry`](crate::Spec::retry) names are copied; all
//! others are not even looked at.

use std::any::{TypeId, type_name};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Context as Task;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Answer, AnyReply, Asked, Begun, Letter, LetterTable, Letters, NoReply, Parcel, Replies,
    ReplyTable, Told, defer, handle, receive,
};
use crate::causes::Origin;
use crate::core::inline::{Form, Kind};
use crate::core::slot::Replier;
use crate::failure::{Panic, guarded};
use crate::life::Life;
use crate::tally::Dropped;
use crate::{Actor, Failure, Handler, Message};

/// A message with the tries that it has behind it.
///
/// It belongs to no life: what a timer or a stream of an earlier one sent is tried again by the next.
struct Trial<M: Message> {
    message: M,
    reply: Option<Lent<M::Reply>>,
    /// From when on it is not to be handled any more.
    expires: Option<Instant>,
    origin: Option<Origin>,
    history: History,
}

/// What is known of the tries of a message.
#[derive(Clone, Default)]
pub(crate) struct History {
    /// How many failed.
    pub(crate) failed: u32,
    /// How the latest of them did.
    pub(crate) failure: Option<Failure>,
}

/// What can be done with a message that may be tried again.
pub(crate) struct TrialTable<A: Actor> {
    pub(crate) history: fn(&mut Letter<A>) -> Option<&mut History>,
    /// Makes it a message that was never tried and that nobody asked.
    pub(crate) renew: fn(&mut Letter<A>),
}

/// The address of an asker, held by the message in hand and by its copy: whoever is first answers.
struct Lent<T: Send>(Arc<Mutex<Option<ReplierOf<T>>>>);

type ReplierOf<T> = Replier<Answer<T>>;

impl<T: Send> Clone for Lent<T> {
    fn clone(&self) -> Self {
        Lent(Arc::clone(&self.0))
    }
}

impl<T: Send> Lent<T> {
    fn new(reply: ReplierOf<T>) -> Self {
        Lent(Arc::new(Mutex::new(Some(reply))))
    }

    fn take(&self) -> Option<ReplierOf<T>> {
        self.0.lock().take()
    }

    fn refuse(&self, why: NoReply) {
        if let Some(reply) = self.take() {
            // Whoever asked may have gone.
            let _ = reply.send(Err(Box::new(why)));
        }
    }
}

/// Answers where the address may be in other hands by now.
#[cold]
#[inline(never)]
pub(super) fn answer_lent<T: Send + 'static>(reply: AnyReply, answer: T) {
    if let Ok(lent) = reply.downcast::<Lent<T>>()
        && let Some(reply) = lent.take()
    {
        // Where nobody listens any more, a late reply goes nowhere.
        let _ = reply.send(Ok(answer));
    }
}

// SAFETY: the form is that of the type.
unsafe impl<T: Send + 'static> Kind<Lent<T>> for Replies {
    const TABLE: &'static ReplyTable = &ReplyTable {
        form: Form::of::<Self, Lent<T>>(),
        refuse: |reply, why| {
            if let Ok(lent) = reply.downcast::<Lent<T>>() {
                lent.refuse(why);
            }
        },
    };
}

/// Makes a copy of the message in hand, which has to be an `M`; `None` if it is not.
///
/// Whoever asked is from here on known to both.
///
/// # Errors
/// When the author's `clone` panics.
pub(crate) fn keep<A: Handler<M>, M: Message + Clone>(
    hand: &mut Option<Letter<A>>,
) -> Result<Option<Letter<A>>, Panic> {
    let Some(letter) = hand else {
        return Ok(None);
    };
    if let Some(Told(message)) = letter.get_mut::<Told<M>>() {
        return Ok(Some(Letter::new(Trial {
            message: guarded(|| message.clone())?,
            reply: None,
            expires: None,
            origin: None,
            history: History::default(),
        })));
    }
    if let Some(trial) = letter.get_mut::<Trial<M>>() {
        return Ok(Some(Letter::new(Trial {
            message: guarded(|| trial.message.clone())?,
            reply: trial.reply.clone(),
            expires: trial.expires,
            origin: trial.origin.clone(),
            history: trial.history.clone(),
        })));
    }
    let (message, reply, expires, origin) = if let Some(asked) = letter.get_mut::<Asked<M>>() {
        let message = guarded(|| asked.message.clone())?;
        (message, asked.reply.take(), None, None)
    } else if let Some(parcel) = letter.get_mut::<Parcel<M>>() {
        let message = guarded(|| parcel.message.clone())?;
        let origin = parcel.origin.clone();
        (message, parcel.reply.take(), parcel.expires, origin)
    } else {
        return Ok(None);
    };
    let reply = reply.map(Lent::new);
    if reply.is_some() {
        *hand = hand
            .take()
            .map(|letter| lend(letter, reply.clone(), expires, origin.clone()));
    }
    Ok(Some(Letter::new(Trial {
        message,
        reply,
        expires,
        origin,
        history: History::default(),
    })))
}

/// Gives a question in hand an address that it shares with its copy.
fn lend<A: Handler<M>, M: Message>(
    letter: Letter<A>,
    reply: Option<Lent<M::Reply>>,
    expires: Option<Instant>,
    origin: Option<Origin>,
) -> Letter<A> {
    let in_hand = |message| {
        Letter::new(Trial {
            message,
            reply,
            expires,
            origin,
            history: History::default(),
        })
    };
    match letter.downcast::<Asked<M>>() {
        Ok(Asked { message, .. }) => in_hand(message),
        Err(letter) => match letter.downcast::<Parcel<M>>() {
            Ok(Parcel { message, .. }) => in_hand(message),
            Err(letter) => letter,
        },
    }
}

// SAFETY: the form is that of the type.
unsafe impl<A: Handler<M>, M: Message> Kind<Trial<M>> for Letters<A> {
    const TABLE: &'static LetterTable<A> = &LetterTable {
        form: Form::of::<Self, Trial<M>>(),
        message_type: type_name::<M>,
        message_id: TypeId::of::<M>,
        message: |letter| match letter.get_mut::<Trial<M>>() {
            Some(trial) => &trial.message,
            None => &(),
        },
        check: Some(|letter, _| match letter.get_mut::<Trial<M>>() {
            Some(Trial {
                expires: Some(expires),
                ..
            }) if *expires <= Instant::now() => Err(Dropped::Expired),
            _ => Ok(()),
        }),
        begin: begin_trial,
        // SAFETY: as the caller promises.
        defer: |hand, life| unsafe {
            let trial = Letter::take::<Trial<M>>(hand);
            receive(life, trial.origin);
            defer(trial.message, trial.reply.map(AnyReply::new), life)
        },
        abandon: |letter| {
            if let Some(trial) = letter.get_mut::<Trial<M>>()
                && let Some(lent) = &trial.reply
            {
                lent.refuse(NoReply::Abandoned);
            }
        },
        is_asked: |letter| {
            let trial = letter.get_mut::<Trial<M>>();
            trial.is_some_and(|trial| trial.reply.is_some())
        },
        give_back: |letter| {
            if let Ok(Trial { message, reply, .. }) = letter.downcast::<Trial<M>>()
                && let Some(lent) = reply
            {
                lent.refuse(NoReply::Restarting(Box::new(message)));
            }
        },
        trial: Some(TrialTable {
            history: |letter| {
                let trial = letter.get_mut::<Trial<M>>();
                trial.map(|trial| &mut trial.history)
            },
            renew: |letter| {
                if let Some(trial) = letter.get_mut::<Trial<M>>() {
                    trial.reply = None;
                    trial.expires = None;
                    trial.history = History::default();
                }
            },
        }),
        origin: Some(|letter| letter.get_mut::<Trial<M>>()?.origin.as_ref()),
    };
}

/// As [`begin_told`](super::begin_told).
///
/// # Safety
/// As [`LetterTable::begin`].
unsafe fn begin_trial<A: Handler<M>, M: Message>(
    hand: &mut Option<Letter<A>>,
    life: NonNull<Life<A>>,
    task: &mut Task<'_>,
) -> Begun {
    // SAFETY: as the caller promises.
    unsafe {
        let trial = Letter::take::<Trial<M>>(hand);
        receive(life, trial.origin);
        let reply = trial.reply.map(AnyReply::new);
        handle(trial.message, reply, life, task)
    }
}
