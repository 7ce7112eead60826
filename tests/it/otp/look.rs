//! What a tree looks like from outside, in as few words as the tests want.

use greenroom::ActorState;
use greenroom::prelude::*;
use greenroom_it::*;

/// The children of a supervisor that run, with the number of their life, sorted by name.
pub(crate) fn running(system: &System, supervisor: &str) -> Vec<(String, u64)> {
    let infos = system.snapshot().into_iter();
    let mut running: Vec<(String, u64)> = infos
        .filter(|info| info.state == ActorState::Running)
        .filter_map(|info| {
            let name = info.path.as_str().strip_prefix(supervisor)?;
            let name = name.strip_prefix('/').filter(|name| !name.contains('/'))?;
            Some((name.to_owned(), info.incarnation))
        })
        .collect();
    running.sort();
    running
}

/// A life of a child, as [`running`] shows it.
pub(crate) fn life(name: &str, incarnation: u64) -> (String, u64) {
    (name.to_owned(), incarnation)
}

/// Makes a child fail, and lets its supervisor act on it.
pub(crate) async fn fails(system: &System, path: &str) {
    let it = system.find::<Scripted>(path).unwrap();
    it.tell(Fail("died")).await.unwrap();
    settle().await;
}

/// Lets a child end by itself, normally, and its supervisor act on it.
pub(crate) async fn quits(system: &System, path: &str) {
    let it = system.find::<Scripted>(path).unwrap();
    it.tell(Quit).await.unwrap();
    settle().await;
}
