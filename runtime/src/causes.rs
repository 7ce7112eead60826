//! Where events come from.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::cloud_event::{Ids, source_of};
use crate::role::with_current_actor;
use crate::{Envelope, Event, Path, System};

/// What a system knows of where its events come from.
pub(crate) struct Origins {
    ids: Ids,
    /// Whose events are those that no actor publishes.
    root: OnceLock<Path>,
}

impl Origins {
    pub(crate) fn new(ids: Ids) -> Self {
        Origins {
            ids,
            root: OnceLock::new(),
        }
    }

    /// The tree has been raised, and this is the path of its root.
    pub(crate) fn raised(&self, root: &Path) {
        // A system is raised once.
        let _ = self.root.set(root.clone());
    }

    /// The envelope of an event that is published by the code that calls this.
    pub(crate) fn envelope_of<E: Event>(&self, event: &E) -> Envelope {
        let (id, now) = self.ids.next();
        let root = || self.root.get().map_or("", Path::as_str);
        let source = with_current_actor(|path| source_of(path.as_str()));
        let source = source.unwrap_or_else(|| source_of(root()));
        Envelope {
            subject: text_of(event.subject()),
            key: text_of(event.key()),
            time: Some(now),
            content_type: Some("application/json".to_owned()),
            correlation_id: Some(id.clone()),
            ..Envelope::new(id, source, E::event_type())
        }
    }
}

/// An empty text is none, as an attribute may not be empty.
fn text_of(text: Option<Cow<'_, str>>) -> Option<String> {
    let text = text.filter(|text| !text.is_empty());
    text.map(Cow::into_owned)
}

impl System {
    /// Returns the envelope of an event that is to leave this system, as it is now.
    ///
    /// It is for whoever carries events elsewhere: together with the event it makes a
    /// [`CloudEvent`](crate::CloudEvent). Its source is the actor whose code calls this, or the root of the tree. Each
    /// call gives another id, which sorts behind those given before. In a
    /// [simulated](crate::Builder::simulated) system ids and times are the same in each run of the same seed; its
    /// time begins with the year 2000.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenroom::prelude::*;
    /// # use greenroom::CloudEvent;
    /// # #[derive(Clone, Debug, serde::Serialize)] struct DoorOpened { door: String }
    /// # impl Event for DoorOpened {}
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # greenroom::block_on(async {
    /// let system = System::start(Supervisor::one_for_one("home")).await?;
    /// let event = DoorOpened { door: "front".to_owned() };
    /// let event = CloudEvent::new(system.envelope_of(&event), event);
    /// assert_eq!(event.envelope.source, "/home");
    /// let json = serde_json::to_string(&event)?;
    /// assert!(json.starts_with(r#"{"specversion":"1.0","id":""#));
    /// # system.stop().await;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[must_use]
    pub fn envelope_of<E: Event>(&self, event: &E) -> Envelope {
        self.shared().registry.origins.envelope_of(event)
    }
}
