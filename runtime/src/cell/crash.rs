//! What a role knows of its lives when one fails: the crash report.

use std::any::type_name;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ActorCell;
use crate::core::micros::Micros;
use crate::envelope::{Letter, LetterTable};
use crate::failure::{Cause, During, Failure};
use crate::history::Lived;
use crate::mailbox::census::Census;
use crate::mailbox::desk::Desk;
use crate::role::Ended;
use crate::{Actor, CrashReport, LastMessage};

/// How many messages there are of each type, as they are met.
struct Types<A: Actor>(Vec<(&'static LetterTable<A>, usize)>);

impl<A: Actor> Types<A> {
    fn count(&mut self, letter: &Letter<A>) {
        let table = letter.table();
        let is_its = |(one, _): &&mut (&'static LetterTable<A>, usize)| std::ptr::eq(*one, table);
        match self.0.iter_mut().find(is_its) {
            Some((_, n)) => *n += 1,
            None => self.0.push((table, 1)),
        }
    }

    /// The most first. What is told and what is asked has two tables, and a table may exist twice in a program.
    fn by_name(self) -> Vec<(&'static str, usize)> {
        let mut named: Vec<(&'static str, usize)> = Vec::with_capacity(self.0.len());
        for (table, n) in self.0 {
            let name = (table.message_type)();
            match named.iter_mut().find(|(one, _)| *one == name) {
                Some((_, sum)) => *sum += n,
                None => named.push((name, n)),
            }
        }
        named.sort_by(|(name, n), (other, m)| m.cmp(n).then(name.cmp(other)));
        named
    }
}

/// What has been seen of a life that fails, before it is known how.
pub(super) struct Seen<A: Actor> {
    census: Census,
    types: Types<A>,
}

impl<A: Actor> ActorCell<A> {
    /// Puts a failure on record, with all that is known of the life that failed; whoever runs it gives its desk.
    pub(crate) fn fail(
        &self,
        (incarnation, began): (u64, Option<Micros>),
        desk: Option<&Desk<Letter<A>>>,
        during: During,
        cause: Cause,
    ) -> Failure {
        let failure = Failure::new(self.path.clone(), incarnation, during, cause);
        let failure = self.with_report(failure, began, desk);
        self.record(&failure);
        failure
    }

    /// Adds what is known of the life, if somebody may see it and it has not been cut off.
    pub(crate) fn with_report(
        &self,
        failure: Failure,
        began: Option<Micros>,
        desk: Option<&Desk<Letter<A>>>,
    ) -> Failure {
        match self.look(failure.incarnation(), desk) {
            Some(seen) => self.reported(failure, began, seen),
            None => failure,
        }
    }

    /// Looks at a life that fails, if anybody may see what comes of it: that takes about as long as a restart.
    pub(super) fn look(&self, incarnation: u64, desk: Option<&Desk<Letter<A>>>) -> Option<Seen<A>> {
        if !Failure::is_logged() && !self.system.registry.hears_supervision() {
            return None;
        }
        let mut types = Types(Vec::new());
        let census = self
            .mailbox
            .census(incarnation, desk, |letter| types.count(letter))?;
        Some(Seen { census, types })
    }

    /// Counts what is queued anew: of a life that has been cut off since, it is all there.
    pub(super) fn look_again(&self, seen: &mut Seen<A>) {
        seen.types.0.clear();
        self.mailbox.show_left(|letter| seen.types.count(letter));
    }

    pub(super) fn reported(
        &self,
        failure: Failure,
        began: Option<Micros>,
        Seen { census, types }: Seen<A>,
    ) -> Failure {
        let now = self.system.now();
        let shown = |message, queued: Micros, begun: Micros| LastMessage {
            message,
            age: Some(now.since(queued)),
            begun: Some(now.since(begun)),
        };
        let in_hand = census.in_hand.and_then(|in_hand| {
            let message = (self.in_hand()?.message_type)();
            let age = || in_hand.queued.map(|at| now.since(self.system.micros(at)));
            Some(match in_hand.timed {
                Some(timed) => shown(message, timed.queued, timed.begun),
                None => LastMessage {
                    message,
                    age: age(),
                    begun: None,
                },
            })
        });
        let earlier = census.earlier.iter();
        let report = CrashReport {
            failure: failure.clone(),
            actor: type_name::<A>(),
            cause: self.cause.get(),
            ran_for: now.since(census.began.or(began).unwrap_or(now)),
            in_hand,
            last_messages: earlier
                .map(|timed| shown((timed.message_type)(), timed.queued, timed.begun))
                .collect(),
            queued: census.queued,
            queued_types: types.by_name(),
            waiting_senders: census.waiting,
            history: self.system.histories.of(&self.path, now),
        };
        failure.reported(Arc::new(report))
    }

    /// Notes a life that is over for the reports of those that follow, from the first that failed on.
    pub(crate) fn remember(
        &self,
        incarnation: u64,
        began: Micros,
        has_failed: bool,
        ended: &Ended,
    ) {
        if !has_failed && self.restarts.load(Ordering::Relaxed) == 0 {
            return;
        }
        let life = Lived {
            incarnation,
            end: ended.life_end(),
            began,
            ended: self.system.now(),
            cause: self.cause.get(),
        };
        self.system.histories.add(&self.path, has_failed, life);
    }
}
