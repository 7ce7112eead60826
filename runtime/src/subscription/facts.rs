//! What an event says of itself, asked once for each that is published, and only if somebody wants to know.

use std::any::type_name;
use std::borrow::Cow;
use std::cell::OnceCell;

use crate::causes::{Origin, Origins};
use crate::envelope::Parcel;
use crate::failure::guarded;
use crate::{Event, EventId};

/// An event that is retained, with its origin if that was known.
pub(super) struct Published<E> {
    pub(super) event: E,
    pub(super) origin: Option<Origin>,
}

pub(super) struct Facts<'a, E> {
    pub(super) event: &'a E,
    /// Where it comes from, if that is to be known to whoever gets it.
    origin: Option<&'a Origin>,
    /// The same for those who have asked, if that is not known to all.
    made: OnceCell<Origin>,
    subject: OnceCell<Said<'a>>,
    key: OnceCell<Said<'a>>,
}

type Said<'a> = Result<Option<Cow<'a, str>>, Panicked>;

/// The author's code panicked, which has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

impl<'a, E: Event> Facts<'a, E> {
    pub(super) fn new(event: &'a E, origin: Option<&'a Origin>) -> Self {
        Facts {
            event,
            origin,
            made: OnceCell::new(),
            subject: OnceCell::new(),
            key: OnceCell::new(),
        }
    }

    pub(super) fn subject(&self) -> Result<Option<&str>, Panicked> {
        let said = self
            .subject
            .get_or_init(|| author::<E, _>("its `subject`", || self.event.subject()));
        said.as_ref().map(Option::as_deref).map_err(|why| *why)
    }

    pub(super) fn key(&self) -> Result<Option<&str>, Panicked> {
        let said = self
            .key
            .get_or_init(|| author::<E, _>("its `key`", || self.event.key()));
        said.as_ref().map(Option::as_deref).map_err(|why| *why)
    }

    /// Whether it was asked for its subject.
    pub(super) fn knows_subject(&self) -> bool {
        self.subject.get().is_some()
    }

    /// Whether it was asked for its key.
    pub(super) fn knows_key(&self) -> bool {
        self.key.get().is_some()
    }

    /// Whether its key or its subject was asked in vain.
    pub(super) fn was_in_vain(&self) -> bool {
        matches!(self.key.get(), Some(Err(_))) || matches!(self.subject.get(), Some(Err(_)))
    }

    /// A copy for one subscription; `origins` if that has asked where it comes from.
    pub(super) fn parcel(&self, origins: Option<&Origins>) -> Result<Parcel<E>, Panicked> {
        let event = self.copy()?;
        Ok(Parcel::told_from(event, self.origin(origins)))
    }

    /// Where it comes from, if that is known to all; made once for those who ask.
    pub(super) fn origin(&self, origins: Option<&Origins>) -> Option<Origin> {
        if self.origin.is_some() {
            return self.origin.cloned();
        }
        let origins = origins?;
        let origin = self.made.get_or_init(|| {
            // Where it cannot tell, it says nothing of that.
            let subject = self.subject().unwrap_or_default();
            let key = self.key().unwrap_or_default();
            origins.of_told::<E>(subject, key)
        });
        Some(origin.clone())
    }

    /// What its dead letter tells it by.
    pub(super) fn id(&self) -> Option<EventId> {
        let origin = self.origin.or_else(|| self.made.get());
        origin.map(|origin| origin.id().clone())
    }

    /// A copy of the event.
    pub(super) fn copy(&self) -> Result<E, Panicked> {
        author::<E, _>("its `clone`", || self.event.clone())
    }
}

/// Calls code of an author for an event; a panic of its ends here.
pub(super) fn author<E, T>(what: &str, f: impl FnOnce() -> T) -> Result<T, Panicked> {
    guarded(f).map_err(|panic| {
        panic.log_event(type_name::<E>(), what);
        Panicked
    })
}
