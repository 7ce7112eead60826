//! Whose messages are queued in a mailbox, by share.

use crate::flow::{OUTSIDE, UNKNOWN};
use crate::mailbox::sources::Part;
use crate::metrics::Group;
use crate::postmark::{Postmark, Sender};
use crate::shared::Shared;
use crate::snapshot::MailboxSource;

impl Shared {
    /// Says whose what is queued or waits is, in the mailbox of an actor of this group.
    pub(crate) fn sources(&self, parts: Vec<Part>, own: &Group) -> Vec<MailboxSource> {
        let all: u64 = parts.iter().map(|part| part.queued + part.waiting).sum();
        let mut sources: Vec<MailboxSource> = Vec::new();
        for part in parts {
            let kind = self.kind_of(part.from, own);
            let share = (part.queued + part.waiting) as f64 / all as f64;
            let waiting = part.waiting as usize;
            // An actor's own timers and those of its kind are one; and so are all outside.
            match sources.iter_mut().find(|source| source.kind == kind) {
                Some(source) => {
                    source.share += share;
                    source.waiting += waiting;
                }
                None => sources.push(MailboxSource {
                    kind,
                    share,
                    waiting,
                }),
            }
        }
        sources.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.kind.cmp(&b.kind)));
        sources
    }

    fn kind_of(&self, from: Postmark, own: &Group) -> String {
        let group = match from.sender(self.meters.system) {
            Some(Sender::Outside) => return OUTSIDE.to_owned(),
            Some(Sender::Own) => return own.name.clone(),
            Some(Sender::Unknown) | None => None,
            Some(Sender::Group(number)) => self.meters.group_noted(number),
        };
        group.map_or_else(|| UNKNOWN.to_owned(), |group| group.name.clone())
    }
}
