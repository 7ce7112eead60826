//! A lamp: the actor that most of these tests are about.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom_testkit::pass;

/// Counts how often it was switched; fails at what it is told to fail at.
#[derive(Debug)]
pub(crate) struct Lamp {
    switched: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Switch(pub(crate) bool);
impl Event for Switch {}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Switched;
impl Message for Switched {
    type Reply = u32;
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Burn(pub(crate) &'static str);
impl Message for Burn {
    type Reply = ();
}

/// Takes so long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fade(pub(crate) Duration);
impl Message for Fade {
    type Reply = ();
}

impl Actor for Lamp {
    type Args = u32;
    type Error = &'static str;

    async fn start(switched: u32, cx: &mut Context<Self>) -> Result<Self, Self::Error> {
        cx.subscribe::<Switch>();
        Ok(Lamp { switched })
    }
}

impl Handler<Switch> for Lamp {
    async fn handle(&mut self, _: Switch, _: &mut Context<Self>) -> Result<(), Self::Error> {
        self.switched += 1;
        Ok(())
    }
}

impl Handler<Switched> for Lamp {
    async fn handle(&mut self, _: Switched, _: &mut Context<Self>) -> Result<u32, Self::Error> {
        Ok(self.switched)
    }
}

impl Handler<Burn> for Lamp {
    async fn handle(&mut self, burn: Burn, _: &mut Context<Self>) -> Result<(), Self::Error> {
        Err(burn.0)
    }
}

impl Handler<Fade> for Lamp {
    async fn handle(&mut self, fade: Fade, _: &mut Context<Self>) -> Result<(), Self::Error> {
        pass(fade.0).await;
        self.switched += 1;
        Ok(())
    }
}
