//! A program for tests: its one actor says when it is asked to stop, and does not.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::time::Duration;

use greenroom::prelude::*;

struct Stubborn;

impl Actor for Stubborn {
    type Args = ();
    type Error = Infallible;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
        Ok(Stubborn)
    }

    async fn stop(&mut self, _: &mut Context<Self>) -> Result<(), Infallible> {
        println!("asked to stop");
        std::future::pending().await
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    greenroom::block_on(async {
        let spec = Stubborn::spec("stubborn", ()).stop_within(Duration::from_secs(600));
        let system = System::start(Supervisor::one_for_one("app").child(spec)).await?;
        system.stop_on_signals();
        println!("ready");
        system.stopped().await?;
        Ok(())
    })
}
