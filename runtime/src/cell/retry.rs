//! What becomes of messages when their actor fails: given up, tried again, or kept to be sent again.
//!
//! Most actors have none of this. One that has keeps a copy of the message in
//! hand where the one who fails it finds it: the life itself, or who cuts off a
//! life that blocks its thread.

use std::any::{TypeId, type_name};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ActorCell;
use crate::dead_letter::{Dead, DeadLetterReason, Kept, NotSent};
use crate::envelope::{self, Letter, event_id};
use crate::failure::{Failure, Panic, ShortType, guarded, logged};
use crate::mailbox::words::{Admission, Failed, Overflow, WhenFull};
use crate::pool::count_messages;
use crate::postmark::Sender;
use crate::role::Role;
use crate::simulation::Step;
use crate::spec::QueuedAsks;
use crate::{Actor, Handler, Message};

/// What a spec says about the messages of its actor.
pub(crate) struct Intake<A: Actor> {
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) queued_asks: QueuedAsks,
    /// The types that are tried again; most actors have none.
    pub(crate) retries: Vec<Retry<A>>,
}

/// How often a message of one type is tried.
pub(crate) struct Retry<A: Actor> {
    message_id: fn() -> TypeId,
    message_type: fn() -> &'static str,
    tries: u32,
    keep: Keep<A>,
}

type Keep<A> = fn(&mut Option<Letter<A>>) -> Result<Option<Letter<A>>, Panic>;

impl<A: Actor> Retry<A> {
    pub(crate) fn of<M: Message + Clone>(tries: u32) -> Self
    where
        A: Handler<M>,
    {
        Retry {
            message_id: TypeId::of::<M>,
            message_type: type_name::<M>,
            tries: tries.max(1),
            keep: envelope::keep::<A, M>,
        }
    }

    pub(crate) fn is_of_same_type(&self, other: &Self) -> bool {
        (self.message_id)() == (other.message_id)()
    }
}

impl<A: Actor> fmt::Display for Retry<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ShortType((self.message_type)());
        let s = if self.tries == 1 { "" } else { "s" };
        write!(f, "{} try{s} for {name}", self.tries)
    }
}

/// The part of a role that tries messages again, or gives questions back.
pub(super) struct Care<A: Actor> {
    retries: Vec<Retry<A>>,
    refuses_questions: bool,
    held: Mutex<Held<A>>,
}

/// The copy of the message in hand.
struct Held<A: Actor> {
    /// The life that may put one here; 0 is none.
    incarnation: u64,
    tries: u32,
    copy: Option<Letter<A>>,
}

impl<A: Actor> Care<A> {
    /// `None` where a spec asks for nothing of it.
    pub(super) fn new(retries: Vec<Retry<A>>, queued_asks: QueuedAsks) -> Option<Self> {
        let refuses_questions = queued_asks == QueuedAsks::Refuse;
        (refuses_questions || !retries.is_empty()).then(|| Care {
            retries,
            refuses_questions,
            held: Mutex::new(Held {
                incarnation: 0,
                tries: 0,
                copy: None,
            }),
        })
    }

    /// A life begins, and the one before it has let go.
    pub(super) fn begin(&self, incarnation: u64) {
        self.held.lock().incarnation = incarnation;
    }

    /// The handler of the message in hand has failed: its copy is to be queued again, or comes to `last`.
    ///
    /// It is called under the lock of the mailbox.
    fn fail(
        &self,
        incarnation: u64,
        failure: &Failure,
        has_room: bool,
        last: &mut Option<Letter<A>>,
    ) -> Option<Letter<A>> {
        let mut held = self.held.lock();
        if held.incarnation != incarnation {
            return None;
        }
        let mut copy = held.copy.take()?;
        let trial = copy.table().trial.as_ref();
        if let Some(history) = trial.and_then(|trial| (trial.history)(&mut copy)) {
            history.failed += 1;
            history.failure = Some(failure.clone());
            if has_room && history.failed < held.tries {
                return Some(copy);
            }
        }
        *last = Some(copy);
        None
    }

    /// This life puts no copy here any more; returns the one that is left.
    fn let_go(&self, incarnation: u64) -> Option<Letter<A>> {
        let mut held = self.held.lock();
        if held.incarnation != incarnation {
            return None;
        }
        held.incarnation = 0;
        held.copy.take()
    }
}

/// Whether somebody asked it and it was never in hand; what is tried again goes on as it was asked.
fn waits_untried<A: Actor>(letter: &mut Letter<A>) -> bool {
    let table = letter.table();
    let trial = table.trial.as_ref();
    let history = trial.and_then(|trial| (trial.history)(letter));
    history.is_none_or(|history| history.failed == 0) && (table.is_asked)(letter)
}

/// Drops a message, which runs its author's code.
fn discard<A: Actor>(letter: Option<Letter<A>>) {
    if let Some(letter) = letter {
        let _ = guarded(|| drop(letter));
    }
}

impl<A: Actor> ActorCell<A> {
    fn care(&self) -> Option<&Care<A>> {
        self.known_extras()?.care.as_ref()
    }

    /// Keeps a copy of the message in hand, if its type is tried again.
    ///
    /// # Errors
    /// When its `clone` panics.
    #[cold]
    pub(crate) fn keep_copy(
        &self,
        incarnation: u64,
        hand: &mut Option<Letter<A>>,
    ) -> Result<(), Panic> {
        let (Some(care), Some(table)) = (self.care(), hand.as_ref().map(Letter::table)) else {
            return Ok(());
        };
        let id = (table.message_id)();
        let Some(retry) = care.retries.iter().find(|r| (r.message_id)() == id) else {
            return Ok(());
        };
        // The copy is made by the author's code: whoever cuts this life off finds what it was about.
        self.show_in_hand(table);
        let copy = (retry.keep)(hand)?;
        let late = {
            let mut held = care.held.lock();
            if held.incarnation == incarnation {
                held.tries = retry.tries;
                std::mem::replace(&mut held.copy, copy)
            } else {
                // It was cut off meanwhile, and the message is given up.
                copy
            }
        };
        discard(late);
        Ok(())
    }

    /// Drops the copy of a message that has ended well.
    #[cold]
    pub(crate) fn drop_copy(&self, incarnation: u64) {
        let Some(care) = self.care() else { return };
        let copy = {
            let mut held = care.held.lock();
            if held.incarnation != incarnation {
                return;
            }
            held.copy.take()
        };
        discard(copy);
    }

    /// Says whether the message in hand, whose handler has failed, is tried again: for the mailbox, under its lock.
    pub(crate) fn fail_copy(
        &self,
        incarnation: u64,
        failure: &Failure,
        has_room: bool,
        last: &mut Option<Letter<A>>,
    ) -> Option<Letter<A>> {
        self.care()?.fail(incarnation, failure, has_room, last)
    }

    /// Takes note that a life is over, and gives back the questions that wait for the next one, if it `failed`.
    pub(crate) fn let_go(&self, incarnation: u64, failed: bool) {
        let Some(care) = self.care() else { return };
        discard(care.let_go(incarnation));
        if failed && care.refuses_questions {
            for letter in self.mailbox.recall(waits_untried) {
                // Waking who asked is its executor's code, dropping what nobody waits for its author's.
                let _ = guarded(|| (letter.table().give_back)(letter));
            }
        }
    }

    /// Puts on record what becomes of a message whose handler has failed: it is tried again, or a dead letter.
    pub(crate) fn tried(
        &self,
        failed: Failed,
        message: &'static str,
        failure: Failure,
        last: Option<Letter<A>>,
    ) {
        let incarnation = failure.incarnation();
        if failed == Failed::Again {
            self.system.saw(&Step::Retries {
                path: self.path.as_str(),
                incarnation,
                name: message,
            });
            let message = ShortType(message);
            logged(
                || tracing::debug!(actor = %self.path, incarnation, %message, "Is to be tried again."),
            );
            return;
        }
        let mut dead = match last {
            Some(copy) => KeptLetter::of(copy),
            None => Dead::default(),
        };
        dead.attempt = dead.attempt.max(1);
        if dead.event_id.is_none() {
            dead.event_id = self.origin_of_last().map(|origin| origin.id().clone());
        }
        let text = failure.text().to_owned();
        dead.failure = Some(failure);
        self.system.dead_letters.add(
            (&self.path, incarnation),
            message,
            DeadLetterReason::Failed,
            text,
            dead,
        );
    }

    /// Makes dead letters of all that was left in the mailbox; what later ones would push out at once is counted only.
    pub(crate) fn bury_all(&self, incarnation: u64, left: VecDeque<Letter<A>>) {
        let (letters, reason) = (&self.system.dead_letters, DeadLetterReason::Stopped);
        // Whether it wants them is asked of the author's subscriber.
        let is_logged = guarded(|| tracing::enabled!(tracing::Level::DEBUG)).unwrap_or(false);
        let (unseen, mut passed) = (left.len().saturating_sub(letters.capacity()), 0);
        for (n, mut letter) in left.into_iter().enumerate() {
            let table = letter.table();
            self.observe_loss(Sender::Unknown, &mut letter);
            if n < unseen && !is_logged && table.trial.is_none() {
                let _ = guarded(|| (table.abandon)(&mut letter));
                let _ = guarded(|| drop(letter));
                passed += 1;
            } else {
                letters.pass(reason, std::mem::take(&mut passed));
                self.bury(incarnation, letter, reason, "left in the mailbox");
            }
        }
        letters.pass(reason, passed);
    }

    /// Makes a dead letter of a message that was queued; one that had been tried before can be sent again.
    pub(crate) fn bury(
        &self,
        incarnation: u64,
        mut letter: Letter<A>,
        reason: DeadLetterReason,
        text: &str,
    ) {
        let table = letter.table();
        // Waking who asked is its executor's code.
        let _ = guarded(|| (table.abandon)(&mut letter));
        let event_id = event_id(&mut letter);
        let dead = if table.trial.is_some() {
            KeptLetter::of(letter)
        } else {
            // What a message does when it is dropped is its author's.
            let _ = guarded(|| drop(letter));
            Dead {
                event_id,
                ..Dead::default()
            }
        };
        let message = (table.message_type)();
        self.system
            .dead_letters
            .add((&self.path, incarnation), message, reason, text, dead);
    }
}

/// A message that may be sent to the role once more.
struct KeptLetter<A: Actor>(Option<Letter<A>>);

impl<A: Actor> KeptLetter<A> {
    fn of(mut letter: Letter<A>) -> Dead {
        let table = letter.table();
        let mut dead = Dead {
            event_id: event_id(&mut letter),
            ..Dead::default()
        };
        if let Some(trial) = &table.trial {
            if let Some(history) = (trial.history)(&mut letter) {
                dead.attempt = history.failed;
                dead.failure = history.failure.take();
            }
            (trial.renew)(&mut letter);
        }
        dead.kept = Some(Box::new(KeptLetter(Some(letter))));
        dead
    }
}

impl<A: Actor> Kept for KeptLetter<A> {
    fn send(mut self: Box<Self>, to: Arc<dyn Role>) -> Result<(), (Box<dyn Kept>, NotSent)> {
        let Ok(cell) = to.into_any().downcast::<ActorCell<A>>() else {
            return Err((self, NotSent::Gone));
        };
        let Some(letter) = self.0.take() else {
            return Ok(());
        };
        let (letter, why) = match cell.mailbox.offer(letter, WhenFull::Refuse) {
            Admission::Accepted { ready } => {
                count_messages(1);
                if let Some(life) = ready {
                    cell.make_ready(life);
                }
                return Ok(());
            }
            Admission::Replaced(oldest) => {
                cell.replaced(oldest);
                return Ok(());
            }
            // Who refuses to wait gets no place in line.
            Admission::Waiting { .. } => return Ok(()),
            Admission::Full(letter) | Admission::Lost(letter) | Admission::Restarting(letter) => {
                (letter, NotSent::Full)
            }
            Admission::Closed(letter) => {
                cell.fold_counts();
                (letter, NotSent::Gone)
            }
        };
        self.0 = Some(letter);
        Err((self, why))
    }
}

impl<A: Actor> Drop for KeptLetter<A> {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}
