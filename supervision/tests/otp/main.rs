//! The law carried out, compared with OTP's rules and with OTP.
//!
//! A [`trace`] is a random tree and what happens to it. Three carry it out: the [`carrier`], by what
//! the law says; the [`model`], by the rules of `supervisor.erl` written down once more as lists; and
//! OTP itself ([`erlang`]). After each step they have to have started and stopped the same children
//! in the same order, and to list the same ones.

mod carrier;
mod erlang;
mod model;
mod trace;

use carrier::Carrier;
use model::Model;
use trace::{Dice, Op, Scope, Spec, Tree, Uses};

/// Random traces of each run; `TRACES=1` with a `SEED` tries that one alone.
const TRACES: u64 = 10_000;
/// The same on OTP, which takes 4 ms for each.
const OTP_TRACES: u64 = 20;

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| match text.parse() {
        Ok(number) => number,
        Err(_) => panic!("{name} is to be a number, and is {text:?}"),
    })
}

/// What is done to a tree of this seed, one after the other, until its root is over.
struct Script {
    dice: Dice,
    scope: Scope,
    left: u32,
}

impl Script {
    fn new(seed: u64, scope: Scope) -> (Self, Spec) {
        let mut dice = Dice::new(seed);
        let root = dice.root();
        let left = 10 + dice.below(40);
        (Script { dice, scope, left }, root)
    }

    fn next(&mut self, tree: &Tree) -> Option<Op> {
        self.left = self.left.checked_sub(1)?;
        (!tree.is_over()).then(|| self.dice.op(tree, self.scope))
    }
}

#[test]
fn the_law_does_what_the_rules_of_otp_say() {
    let (first, traces) = (number("SEED", 1), number("TRACES", TRACES));
    println!("SEED={first} TRACES={traces}");
    let (mut steps, mut uses) = (0, Uses::new());
    for seed in first..first + traces {
        let (mut script, root) = Script::new(seed, Scope::Rules);
        let (mut model, mut carrier) = (Model::new(&root), Carrier::new(&root));
        let mut done = vec![];
        let mut is_ended = false;
        loop {
            let (expected, seen) = (model.seen(), carrier.seen());
            assert_eq!(
                seen, expected,
                "SEED={seed} TRACES=1\n{root:#?}\n{done:#?}\nThe law is on the left."
            );
            if is_ended {
                break;
            }
            match script.next(&expected.tree) {
                Some(op) => {
                    model.does(&op);
                    carrier.does(&op);
                    done.push(op);
                }
                None => {
                    model.end();
                    carrier.end();
                    is_ended = true;
                }
            }
        }
        steps += done.len();
        for (rule, times) in model.uses() {
            *uses.entry(rule).or_default() += times;
        }
    }
    println!("{steps} steps, {uses:#?}");
    if traces >= TRACES {
        // What no trace comes to is not compared.
        assert_eq!(uses.len(), 12, "{uses:#?}");
        assert!(uses.values().all(|times| *times >= 100), "{uses:#?}");
    }
}

#[test]
fn otp_itself_does_what_the_law_says() {
    let otp = match erlang::Otp::find() {
        Ok(otp) => otp,
        Err(why) if std::env::var_os("CI").is_some() => panic!("{why}"),
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let (first, traces) = (number("SEED", 1), number("TRACES", OTP_TRACES));
    println!("SEED={first} TRACES={traces}");
    let (mut scripts, mut expected) = (vec![], vec![]);
    for seed in first..first + traces {
        let (mut script, root) = Script::new(seed, Scope::Otp);
        let mut carrier = Carrier::new(&root);
        let mut seen = carrier.seen();
        let mut ops = vec![];
        expected.push(format!("{seed} 0 {seen}"));
        while let Some(op) = script.next(&seen.tree) {
            carrier.does(&op);
            seen = carrier.seen();
            ops.push(op);
            expected.push(format!("{seed} {} {seen}", ops.len()));
        }
        if !seen.tree.is_over() {
            carrier.end();
            expected.push(format!("{seed} {} {}", ops.len() + 1, carrier.seen()));
        }
        scripts.push((seed, root, ops));
    }
    let seen = otp.run(&scripts).expect("OTP runs them to the end");
    for (seen, expected) in seen.iter().zip(&expected) {
        let is_of = |seed: u64| expected.starts_with(&format!("{seed} "));
        let script = scripts.iter().find(|script| is_of(script.0));
        assert_eq!(seen, expected, "OTP is on the left. TRACES=1 {script:#?}");
    }
    assert_eq!(seen.len(), expected.len());
    println!("{} steps on OTP {}", seen.len(), otp.release);
}
