//! What whoever starts a program sees of a tree that does not come up, and what a program must be built with.

use std::path::Path;
use std::process::Command;

use greenroom::prelude::*;
use greenroom::{During, FailureKind, StartError};
use greenroom_it::*;

struct Faulty;

impl Actor for Faulty {
    type Args = ();
    type Error = BoxError;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> {
        panic!("no configuration");
    }
}

#[tokio::test(start_paused = true)]
async fn s51_an_application_whose_child_panics_as_it_starts_tells_who_and_why_and_leaves_nothing() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("before", script.clone()))
        .child(Supervisor::one_for_one("in").child(Faulty::spec("it", ())))
        .child(Scripted::spec("behind", script.clone()));
    let error = Driver::Tasks.builder().start(tree).await.unwrap_err();
    let StartError::ChildFailed(failure) = error else {
        panic!("{error}")
    };
    assert_eq!(failure.path().as_str(), "app/in/it");
    assert_eq!(failure.during(), During::Start);
    assert_eq!(failure.kind(), FailureKind::Panic);
    assert_eq!(failure.text(), "no configuration");
    let location = failure.location().unwrap();
    assert!(location.contains("application.rs:"), "{location}");
    assert!(failure.backtrace().is_some(), "nothing else panics there");
    assert_eq!(script.log.take(), ["before: start 1", "before: stop"]);
}

/// Compiles the file of the runtime that says how it must be built; returns whether that went, and what was said.
fn built_with(panic: &str) -> (bool, String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtime/src/unwinding.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
        ])
        .args([
            "-o",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/unwinding.rmeta"),
        ])
        .args(["-C", &format!("panic={panic}")])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn d2_a_build_that_aborts_on_a_panic_is_refused_in_a_clear_sentence() {
    let (is_built, said) = built_with("abort");
    assert!(!is_built);
    assert!(said.contains("set `panic = \"unwind\"`"), "{said}");
    let (is_built, said) = built_with("unwind");
    assert!(is_built, "{said}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtime/src/lib.rs");
    let root = std::fs::read_to_string(root).unwrap();
    assert!(
        root.contains("\nmod unwinding;\n"),
        "it is a part of the runtime"
    );
}
