//! Where an automation of the smart home is tested: the actor, and a stand-in for the gateway.
//!
//! Everything runs in the test's own runtime, on virtual time:
//! `#[tokio::test(start_paused = true)]`.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use greenroom::prelude::*;
use home_protocol::{Checkpoint, Command, Decided, DeviceKnown, TakesPart};

/// An actor at `home/actor`, and a gateway that tells it the devices and writes down what it publishes.
#[derive(Debug)]
pub struct Stage<A: Actor> {
    /// The actor that is tested.
    pub actor: ActorRef<A>,
    system: System,
    gateway: ActorRef<Gateway>,
    seen: Seen,
}

/// Ends a life of the actor by a panic, which nothing that it really handles does.
///
/// The test implements its handler for the actor.
#[derive(Clone, Copy, Debug)]
pub struct Crash;

impl Message for Crash {
    type Reply = ();
}

type Seen = Arc<Mutex<Vec<String>>>;

impl<A> Stage<A>
where
    A: Handler<Checkpoint>,
{
    /// Starts the actor before a home of these devices, and lets both come to rest.
    ///
    /// # Panics
    ///
    /// When the actor does not start.
    pub async fn open(args: A::Args, devices: Vec<DeviceKnown>) -> Self {
        let seen = Seen::default();
        let script = Script {
            devices,
            seen: Arc::clone(&seen),
        };
        let tree = Supervisor::one_for_one("home")
            .child(Gateway::spec("gateway", script))
            .child(A::spec("actor", args));
        let builder = System::builder().seed(1).in_current_runtime();
        let system = builder
            .start(tree)
            .await
            .unwrap_or_else(|error| fail(&error));
        let stage = Stage {
            actor: system
                .find("home/actor")
                .unwrap_or_else(|error| fail(&error)),
            gateway: system
                .find("home/gateway")
                .unwrap_or_else(|error| fail(&error)),
            system,
            seen,
        };
        stage.rest().await;
        stage
    }

    /// Returns what the gateway wrote, once the actor and it have handled all.
    ///
    /// # Panics
    ///
    /// When one of them does not answer.
    pub async fn rest(&self) -> Vec<String> {
        // What the actor does to the gateway may come back to it.
        for _ in 0..2 {
            self.actor
                .ask(Checkpoint)
                .await
                .unwrap_or_else(|error| fail(&error));
            self.gateway
                .ask(Checkpoint)
                .await
                .unwrap_or_else(|error| fail(&error));
        }
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes an event, and returns what the gateway wrote because of it.
    ///
    /// # Panics
    ///
    /// As [`rest`](Self::rest).
    pub async fn publish<E: Event>(&self, event: E) -> Vec<String> {
        self.system.publish(event);
        self.rest().await
    }
}

fn fail(error: &dyn fmt::Display) -> ! {
    panic!("the stage does not stand: {error}")
}

/// Answers a `TakesPart` with the devices, and writes down all that the actor publishes.
#[derive(Debug)]
struct Gateway(Script);

#[derive(Clone, Debug)]
struct Script {
    devices: Vec<DeviceKnown>,
    seen: Seen,
}

impl Gateway {
    fn write(&self, line: String) {
        self.0
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

impl Actor for Gateway {
    type Args = Script;
    type Error = Infallible;

    async fn start(script: Script, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<TakesPart>();
        cx.subscribe::<Command>();
        cx.subscribe::<Decided>();
        Ok(Gateway(script))
    }
}

impl Handler<TakesPart> for Gateway {
    async fn handle(
        &mut self,
        TakesPart(who): TakesPart,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.write(format!("{} takes part", who.path()));
        for device in &self.0.devices {
            cx.publish(device.clone());
        }
        Ok(())
    }
}

impl Handler<Command> for Gateway {
    async fn handle(&mut self, command: Command, _: &mut Context<Self>) -> Result<(), Infallible> {
        self.write(format!("{}: {:?}", command.device, command.order));
        Ok(())
    }
}

impl Handler<Decided> for Gateway {
    async fn handle(&mut self, decided: Decided, _: &mut Context<Self>) -> Result<(), Infallible> {
        self.write(format!("{} {}", decided.at, decided.what));
        Ok(())
    }
}

impl Handler<Checkpoint> for Gateway {
    async fn handle(&mut self, _: Checkpoint, _: &mut Context<Self>) -> Result<(), Infallible> {
        Ok(())
    }
}
