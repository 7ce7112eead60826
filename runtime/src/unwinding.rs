//! How a program has to be built for supervision to mean anything: so that a panic can be caught.
//!
//! With `panic = "abort"` the first panic of any actor would end the process,
//! and no supervisor would ever be asked. So that is no build at all.

#[cfg(not(panic = "unwind"))]
compile_error!(
    "greenroom restarts actors that panic, which takes unwinding: set `panic = \"unwind\"`, the default, in the profile of Cargo.toml that this build uses"
);
