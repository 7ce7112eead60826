//! Every line of the lists of OTP and Elixir has a test named after its id, or a reason in `CONFORMANCE.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The lists: what an id begins with, how many there are, and how many digits it has.
const LISTS: [(&str, usize, usize, &str); 9] = [
    ("s", 91, 2, "OTP's supervisor suite"),
    ("x", 12, 2, "rules of OTP's supervisor beside its suite"),
    ("d", 6, 1, "where Rust differs from the BEAM"),
    ("g", 19, 2, "calls and servers"),
    ("m", 12, 2, "monitors and links"),
    ("dy", 12, 2, "Elixir's dynamic supervisors"),
    ("pa", 6, 2, "Elixir's partitioned supervisors"),
    ("rg", 10, 2, "Elixir's registry"),
    ("ts", 7, 2, "Elixir's tasks"),
];

/// Names of functions in all sources below this directory.
fn functions(of: &Path, names: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(of) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let found = source.lines().filter_map(|line| {
                let (_, after) = line.trim_start().split_once("fn ")?;
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
                Some(after[..end].to_owned())
            });
            names.extend(found);
        }
    }
}

#[test]
fn every_line_of_the_lists_has_a_test_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut names = Vec::new();
    for room in ["supervision", "runtime/src", "tests/it"] {
        functions(&root.join(room), &mut names);
    }
    let table = fs::read_to_string(root.join("tests/it/otp/CONFORMANCE.md")).unwrap();
    let rows: BTreeMap<String, &str> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim);
            let (id, reason) = (cells.nth(1)?, cells.next()?);
            (!reason.is_empty()).then(|| (id.to_lowercase(), reason))
        })
        .collect();
    let mut missing = Vec::new();
    for (list, count, digits, about) in LISTS {
        let (mut tested, mut reasoned) = (0, 0);
        for n in 1..=count {
            let id = format!("{list}{n:0digits$}");
            let prefix = format!("{id}_");
            let has_test = names.iter().any(|name| name.starts_with(&prefix));
            match (has_test, rows.contains_key(&id)) {
                (true, _) => tested += 1,
                (false, true) => reasoned += 1,
                (false, false) => missing.push(id),
            }
        }
        let list = list.to_uppercase();
        println!("{list} {tested} tested, {reasoned} with a reason, of {count}: {about}");
    }
    assert!(
        missing.is_empty(),
        "neither a test nor a reason: {missing:?}"
    );
}
