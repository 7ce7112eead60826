//! The graph as a value, and what a tree declares.

use std::collections::BTreeSet;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::{
    Actor, Context, Event, Handler, Message, Overflow, StartError, SupervisionEvent, Supervisor,
};

fn node(name: &str) -> Node {
    Node {
        name: name.to_owned(),
        actors: 1,
        is_declared: true,
    }
}

fn edge(from: &str, to: &str, message: &str) -> Edge {
    Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        message: message.to_owned(),
        kind: EdgeKind::Tell,
        is_declared: true,
        waits: true,
        is_lossy: false,
        is_acyclic: false,
        observed: None,
    }
}

fn event(name: &str, publishers: &[&str], subscribers: &[&str]) -> EventFlow {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    EventFlow {
        event: name.to_owned(),
        publishers: owned(publishers),
        subscribers: owned(subscribers),
        published: 0,
        subscribed: 0,
    }
}

fn graph(edges: Vec<Edge>) -> FlowGraph {
    FlowGraph::new(0.0, vec![], edges, vec![], vec![])
}

fn said(edges: &[&Edge]) -> Vec<String> {
    edges.iter().map(ToString::to_string).collect()
}

#[test]
fn a_graph_is_sorted_and_has_a_node_for_each_end() {
    let graph = FlowGraph::new(
        0.0,
        vec![node("c")],
        vec![
            edge("b", "a", "M"),
            edge("a", "b", "N"),
            edge("a", "b", "M"),
        ],
        vec![],
        vec![],
    );
    let names: Vec<&str> = graph.nodes().iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let edges: Vec<String> = graph.edges().iter().map(Edge::to_string).collect();
    assert_eq!(edges, ["a tells b M", "a tells b N", "b tells a M"]);
    assert_eq!(graph.node("c"), Some(&node("c")));
    assert_eq!(graph.node("d"), None);
}

#[test]
fn a_degree_counts_edges_and_the_kinds_at_their_other_ends() {
    let edges = vec![
        edge("a", "b", "M"),
        edge("a", "b", "N"),
        edge("c", "b", "M"),
        edge("b", "b", "M"),
    ];
    let graph = graph(edges);
    let degree = |incoming, outgoing, sources, targets| Degree {
        incoming,
        outgoing,
        sources,
        targets,
    };
    assert_eq!(graph.degree("b"), Some(degree(4, 1, 3, 1)));
    assert_eq!(graph.degree("a"), Some(degree(0, 2, 0, 1)));
    assert_eq!(graph.degree("d"), None);
}

#[test]
fn a_path_is_the_shortest_and_of_equal_ones_the_first() {
    let graph = graph(vec![
        edge("a", "x", "M"),
        edge("x", "y", "M"),
        edge("y", "d", "M"),
        edge("a", "c", "M"),
        edge("c", "d", "M"),
        edge("a", "b", "N"),
        edge("a", "b", "M"),
        edge("b", "d", "M"),
    ]);
    let path = graph.path("a", "d").unwrap();
    assert_eq!(said(&path), ["a tells b M", "b tells d M"]);
    assert_eq!(graph.path("d", "a"), None);
    assert_eq!(graph.path("a", "a"), Some(vec![]));
    assert_eq!(graph.path("a", "nowhere"), None);
}

#[test]
fn a_cycle_is_found_once_and_what_does_not_wait_makes_none_that_waits() {
    let mut edges = vec![
        edge("a", "b", "M"),
        edge("b", "c", "M"),
        edge("c", "a", "M"),
        edge("c", "b", "M"),
        edge("a", "a", "M"),
        edge("c", "d", "M"),
    ];
    let cycles = |edges: &[Edge]| -> Vec<Vec<String>> {
        let graph = graph(edges.to_vec());
        let cycles = graph.waiting_cycles();
        cycles.iter().map(|cycle| said(cycle)).collect()
    };
    let all = [
        vec!["a tells a M"],
        vec!["b tells c M", "c tells b M"],
        vec!["a tells b M", "b tells c M", "c tells a M"],
    ];
    assert_eq!(cycles(&edges), all);
    edges[4].is_acyclic = true;
    edges[1].is_lossy = true;
    assert!(cycles(&edges).is_empty());
    edges[1].is_lossy = false;
    edges[1].waits = false;
    assert!(cycles(&edges).is_empty());
    assert_eq!(
        graph(edges).cycles().len(),
        3,
        "they are cycles all the same"
    );
}

fn observed(messages: u64, dropped: u64) -> Option<Traffic> {
    Some(Traffic {
        messages,
        samples: messages,
        dropped,
        ..Traffic::default()
    })
}

/// The same where few of them were looked at.
fn estimated(messages: u64, samples: u64) -> Option<Traffic> {
    Some(Traffic {
        messages,
        samples,
        ..Traffic::default()
    })
}

/// A graph in which something of each kind is to be seen.
fn varied() -> FlowGraph {
    let undeclared = Node {
        is_declared: false,
        actors: 3,
        ..node("Stranger")
    };
    let edges = vec![
        Edge {
            kind: EdgeKind::Event,
            waits: false,
            observed: observed(20, 1),
            ..edge("Door", "Alarm", "Opened")
        },
        Edge {
            kind: EdgeKind::Ask,
            ..edge("Alarm", "Siren", "Sound")
        },
        Edge {
            is_declared: false,
            observed: observed(5, 0),
            ..edge("Alarm", "Door", "Lock")
        },
        Edge {
            is_declared: false,
            observed: observed(5, 0),
            ..edge("Stranger", "Door", "Lock")
        },
        Edge {
            is_declared: false,
            observed: observed(5, 0),
            ..edge(OUTSIDE, "Door", "Lock")
        },
        Edge {
            kind: EdgeKind::Own,
            is_declared: false,
            observed: estimated(10, 3),
            ..edge("Siren", "Siren", "Tick")
        },
        Edge {
            is_lossy: true,
            observed: observed(10, 0),
            ..edge("Door", "Siren", "Ring")
        },
    ];
    let events = vec![
        event("Opened", &["Door"], &["Alarm"]),
        event("Closed", &["Door"], &[]),
        event("Smoke", &[], &["Alarm"]),
    ];
    let nodes = vec![node("Door"), node("Alarm"), node("Siren"), undeclared];
    FlowGraph::new(10.0, nodes, edges, events, vec![])
}

#[test]
fn differences_are_said_a_line_each() {
    let graph = varied();
    let differences = graph.differences();
    assert_eq!(
        differences.to_string(),
        "nobody hears Closed, published by Door\n\
         nobody publishes Smoke, to which Alarm subscribes\n\
         not declared: Alarm tells Door Lock\n\
         not seen: Alarm asks Siren Sound\n"
    );
    assert!(!differences.is_empty());
    assert!(FlowGraph::default().differences().is_empty());
}

#[test]
fn who_says_only_one_end_of_an_event_has_not_declared_the_other() {
    let mut seen = Edge {
        kind: EdgeKind::Event,
        is_declared: false,
        observed: observed(1, 0),
        ..edge("Door", "Alarm", "Opened")
    };
    let undeclared = |seen: &Edge, nodes: Vec<Node>, event: EventFlow| {
        let edges = vec![seen.clone()];
        let graph = FlowGraph::new(1.0, nodes, edges, vec![event], vec![]);
        graph.differences().undeclared.len()
    };
    let silent = |name| Node {
        is_declared: false,
        ..node(name)
    };
    let both = || vec![node("Door"), node("Alarm")];
    assert_eq!(
        undeclared(&seen, both(), event("Opened", &["Door"], &[])),
        1
    );
    assert_eq!(
        undeclared(&seen, both(), event("Opened", &[], &["Alarm"])),
        1
    );
    let one = || vec![node("Door"), silent("Alarm")];
    assert_eq!(undeclared(&seen, one(), event("Opened", &["Door"], &[])), 0);
    let other = || vec![silent("Door"), node("Alarm")];
    assert_eq!(
        undeclared(&seen, other(), event("Opened", &[], &["Alarm"])),
        0
    );
    assert_eq!(undeclared(&seen, other(), event("Opened", &[], &[])), 1);
    seen.is_declared = true;
    assert_eq!(undeclared(&seen, other(), event("Opened", &[], &[])), 0);
}

#[test]
fn what_was_seen_since_has_the_rates_of_that_time() {
    let earlier = varied();
    assert!(
        earlier
            .since(&earlier)
            .edges()
            .iter()
            .all(|e| e.observed.is_none())
    );
    let mut later = earlier.clone();
    later.observed_seconds += 2.0;
    let first = later.edges[0].observed.as_mut().unwrap();
    (first.samples, first.dropped) = (11, 4);
    let since = later.since(&earlier);
    let traffic = since.edges()[0].observed.unwrap();
    assert_eq!((traffic.messages, traffic.dropped), (6, 4));
    assert_eq!(traffic.per_second, 3.0);
    assert!(
        since.edges()[1..]
            .iter()
            .all(|edge| edge.observed.is_none())
    );
}

#[test]
fn what_was_not_looked_at_is_shared_out_in_each_time_anew() {
    let at = |seconds, [a, b]: [u64; 2], all, rest| {
        let seen = |samples| estimated(samples, samples);
        let edges = vec![
            Edge {
                observed: seen(a),
                ..edge("a", "c", "M")
            },
            Edge {
                observed: seen(b),
                ..edge("b", "c", "M")
            },
        ];
        let received = Received {
            by: "c".to_owned(),
            messages: all,
            rest: seen(rest).unwrap(),
        };
        FlowGraph::new(seconds, vec![], edges, vec![], vec![received])
    };
    let told = |graph: &FlowGraph| {
        let edges = graph.edges().iter();
        let told = edges.map(|edge| edge.observed.map(|traffic| traffic.messages));
        (told.collect::<Vec<_>>(), graph.rest().messages)
    };
    let first = at(1.0, [9, 1], 100, 0);
    assert_eq!(told(&first), (vec![Some(90), Some(10)], 0));
    // Then the one sends no more, and there is one that has no place.
    let later = at(3.0, [9, 4], 140, 1);
    let since = later.since(&first);
    assert_eq!(told(&since), (vec![None, Some(30)], 10));
    assert_eq!(
        (
            since.edges()[1].observed.unwrap().per_second,
            since.rest().per_second
        ),
        (15.0, 5.0)
    );
}

#[test]
fn mermaid_shows_what_there_is() {
    assert_eq!(
        varied().to_mermaid(),
        r#"flowchart LR
    n0["Alarm"]
    n1["Door"]
    n2["Siren"]
    n3["Stranger × 3"]
    n4["_outside"]
    nobody(("nobody"))
    nobody -.->|"Smoke"| n0
    n0 -->|"Lock 0.5/s"| n1
    n0 ==>|"Sound"| n2
    n1 -.->|"Closed"| nobody
    n1 -.->|"Opened 2.0/s, 1 dropped"| n0
    n1 -->|"Ring (lossy) 1.0/s"| n2
    n2 -.->|"Tick ~1.0/s"| n2
    n3 -->|"Lock 0.5/s"| n1
    n4 -->|"Lock 0.5/s"| n1
    linkStyle 1 stroke:red
"#
    );
}

#[test]
fn dot_shows_the_same() {
    assert_eq!(
        varied().to_dot(),
        r#"digraph flow {
  rankdir=LR;
  node [shape=box];
  n0 [label="Alarm"];
  n1 [label="Door"];
  n2 [label="Siren"];
  n3 [label="Stranger × 3"];
  n4 [label="_outside"];
  nobody [shape=circle];
  nobody -> n0 [label="Smoke", style=dashed];
  n0 -> n1 [label="Lock 0.5/s", color=red];
  n0 -> n2 [label="Sound", style=bold];
  n1 -> nobody [label="Closed", style=dashed];
  n1 -> n0 [label="Opened 2.0/s, 1 dropped", style=dashed];
  n1 -> n2 [label="Ring (lossy) 1.0/s"];
  n2 -> n2 [label="Tick ~1.0/s", style=dotted];
  n3 -> n1 [label="Lock 0.5/s"];
  n4 -> n1 [label="Lock 0.5/s"];
}
"#
    );
}

#[test]
fn json_has_all_of_it() {
    let graph = FlowGraph::new(
        2.0,
        vec![node("Door")],
        vec![Edge {
            observed: observed(3, 1),
            ..edge("Door", "Alarm", "Opened")
        }],
        vec![event("Opened", &["Door"], &[])],
        vec![],
    );
    let json = serde_json::to_value(&graph).unwrap();
    let expected = serde_json::json!({
        "observed_seconds": 2.0,
        "nodes": [
            { "name": "Alarm", "actors": 0, "is_declared": false },
            { "name": "Door", "actors": 1, "is_declared": true },
        ],
        "edges": [{
            "from": "Door", "to": "Alarm", "message": "Opened", "kind": "tell",
            "is_declared": true, "waits": true, "is_lossy": false, "is_acyclic": false,
            "observed": { "messages": 3, "samples": 3, "dropped": 1, "per_second": 1.5 },
        }],
        "events": [{
            "event": "Opened", "publishers": ["Door"], "subscribers": [],
            "published": 0, "subscribed": 0,
        }],
        "rest": { "messages": 0, "samples": 0, "dropped": 0, "per_second": 0.0 },
    });
    assert_eq!(json, expected);
}

// ===== whatever the graph =====

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

prop_compose! {
    fn an_edge()(from in 0..7usize, to in 0..7usize, message in 0..3usize, waits in any::<bool>()) -> Edge {
        Edge { waits, ..edge(NAMES[from], NAMES[to], ["M", "N", "O"][message]) }
    }
}

fn some_edges() -> impl Strategy<Value = Vec<Edge>> {
    // No edge twice: whoever collects them sees to that.
    prop::collection::vec(an_edge(), 0..16).prop_map(|mut edges| {
        edges.sort_by(|a, b| a.key().cmp(&b.key()));
        edges.dedup_by(|a, b| a.key() == b.key());
        edges
    })
}

/// How many edges the shortest way has, found by trying all ways.
fn distances(edges: &[&Edge]) -> [[Option<usize>; 7]; 7] {
    let place = |name: &str| {
        let found = NAMES.iter().position(|n| *n == name);
        found.unwrap_or_else(|| panic!("nobody is called {name}"))
    };
    let mut distances = [[None; 7]; 7];
    for (n, row) in distances.iter_mut().enumerate() {
        row[n] = Some(0);
    }
    for edge in edges {
        let (from, to) = (place(&edge.from), place(&edge.to));
        if from != to {
            distances[from][to] = Some(1);
        }
    }
    for by in 0..7 {
        for from in 0..7 {
            for to in 0..7 {
                if let (Some(a), Some(b)) = (distances[from][by], distances[by][to])
                    && distances[from][to].is_none_or(|known| a + b < known)
                {
                    distances[from][to] = Some(a + b);
                }
            }
        }
    }
    distances
}

fn is_way(way: &[&Edge]) -> bool {
    way.windows(2).all(|pair| pair[0].to == pair[1].from)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 8 } else { 512 },
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(
            std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap_or(1)),
        ),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_path_is_as_short_as_the_shortest_there_is(edges in some_edges()) {
        let graph = graph(edges.clone());
        let distances = distances(&edges.iter().collect::<Vec<_>>());
        for (n, from) in NAMES.iter().enumerate() {
            for (m, to) in NAMES.iter().enumerate() {
                let is_there = graph.node(from).is_some() && graph.node(to).is_some();
                let path = graph.path(from, to);
                let length = path.as_ref().map(Vec::len);
                prop_assert_eq!(length, distances[n][m].filter(|_| is_there));
                let Some(path) = path else { continue };
                prop_assert!(is_way(&path));
                if let (Some(first), Some(last)) = (path.first(), path.last()) {
                    prop_assert_eq!((first.from.as_str(), last.to.as_str()), (*from, *to));
                }
            }
        }
    }

    #[test]
    fn each_edge_that_lies_on_a_cycle_is_in_a_shortest_one(edges in some_edges(), waiting in any::<bool>()) {
        let graph = graph(edges);
        let kept: Vec<&Edge> = graph.edges().iter().filter(|edge| !waiting || edge.waits).collect();
        let cycles = if waiting { graph.waiting_cycles() } else { graph.cycles() };
        let place = |name: &str| NAMES.iter().position(|n| *n == name).unwrap();
        let distances = distances(&kept);
        let mut seen = BTreeSet::new();
        for cycle in &cycles {
            prop_assert!(is_way(cycle));
            prop_assert_eq!(&cycle[0].from, &cycle[cycle.len() - 1].to);
            let mut sorted = said(cycle);
            sorted.sort();
            prop_assert!(seen.insert(sorted), "it is there twice");
        }
        for edge in &kept {
            let back = distances[place(&edge.to)][place(&edge.from)];
            let through = cycles.iter().filter(|cycle| cycle.contains(edge));
            prop_assert_eq!(through.map(Vec::len).min(), back.map(|back| back + 1));
        }
        prop_assert!(cycles.iter().flatten().all(|edge| kept.contains(edge)));
        prop_assert!(cycles.is_sorted_by_key(Vec::len));
    }

    #[test]
    fn the_order_in_which_a_graph_is_put_together_is_not_seen(
        edges in some_edges(),
        by in any::<u64>(),
    ) {
        let mut mixed = edges.clone();
        let len = mixed.len().max(1);
        mixed.rotate_left((by % len as u64) as usize);
        if by % 2 == 0 {
            mixed.reverse();
        }
        let (graph, mixed) = (graph(edges), graph(mixed));
        prop_assert_eq!(&graph, &mixed);
        prop_assert_eq!(graph.to_mermaid(), mixed.to_mermaid());
        prop_assert_eq!(graph.to_dot(), mixed.to_dot());
        prop_assert_eq!(graph.cycles(), mixed.cycles());
    }

    #[test]
    fn no_name_gets_out_of_its_quotes(from in any::<String>(), to in ".*\".*|end|.*\\\\", message in any::<String>()) {
        let graph = graph(vec![edge(&from, &to, &message)]);
        let nodes = graph.nodes().len();
        let mermaid = graph.to_mermaid();
        prop_assert_eq!(mermaid.lines().count(), 2 + nodes);
        for line in mermaid.lines().skip(1) {
            let (first, last) = (line.find('"').unwrap(), line.rfind('"').unwrap());
            let label = &line[first + 1..last];
            let is_raw = |c: char| "\"<>&`[]{}|*\\".contains(c) || c.is_control();
            prop_assert!(!label.contains(is_raw), "{}", line);
            // Each `#` begins a number that ends in `;`.
            for part in label.split('#').skip(1) {
                let number = part.split_once(';').map(|(number, _)| number.parse::<u32>());
                prop_assert!(matches!(number, Some(Ok(_))), "{}", line);
            }
        }
        let dot = graph.to_dot();
        prop_assert_eq!(dot.lines().count(), 5 + nodes);
        for line in dot.lines().filter(|line| line.contains("label=")) {
            let label = line.split_once("label=").unwrap().1;
            let mut inside = label.strip_prefix('"').unwrap().chars();
            while let Some(c) = inside.next() {
                match c {
                    '"' => break,
                    '\\' => prop_assert!(inside.next().is_some()),
                    c => prop_assert!(!c.is_control()),
                }
            }
            prop_assert!(inside.as_str().starts_with(']'), "{}", line);
        }
    }
}

// ===== what a tree declares =====

macro_rules! actors {
    ($($actor:ident $(=> $flow:expr)?;)*) => {$(
        struct $actor;
        impl Actor for $actor {
            type Args = ();
            type Error = Infallible;
            async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
                Ok($actor)
            }
            $(fn flow(flow: &mut Flow<Self>) {
                let declare: fn(&mut Flow<Self>) = $flow;
                declare(flow);
            })?
        }
    )*};
}

macro_rules! handles {
    ($($actor:ident: $($message:ident),*;)*) => {$($(
        impl Handler<$message> for $actor {
            async fn handle(&mut self, _: $message, _: &mut Context<Self>) -> Result<(), Infallible> {
                Ok(())
            }
        }
    )*)*};
}

struct Ring;
impl Message for Ring {
    type Reply = ();
}
struct Check;
impl Message for Check {
    type Reply = ();
}
#[derive(Clone, Debug)]
struct Opened;
impl Event for Opened {}
#[derive(Clone, Debug)]
struct Closed;
impl Event for Closed {}

actors! {
    Silent;
    Door => |flow| {
        flow.publishes::<Opened>();
        flow.publishes::<Closed>().waits();
        flow.handles::<Check>();
    };
    Alarm => |flow| {
        flow.subscribes::<Opened>();
        flow.subscribes::<SupervisionEvent>();
        flow.tells::<Bell, Ring>();
        flow.handles::<Check>();
    };
    // It comes later, as a child of the alarm's say.
    Bell => |flow| { flow.tells_recipient::<Ring>().lossy(); };
    Inspector => |flow| { flow.asks_recipient::<Check>(); };
    // Who asks the inspector makes a circle with it.
    Boss => |flow| {
        flow.handles::<Check>();
        flow.asks::<Inspector, Ring>();
    };
    Teller => |flow| { flow.tells::<Teller, Ring>(); };
    Parent => |flow| { flow.asks::<Parent, Ring>().acyclic(); };
}

handles! {
    Door: Check;
    Alarm: Check, Opened, SupervisionEvent;
    Bell: Ring;
    Boss: Check;
    Inspector: Ring;
    Teller: Ring;
    Parent: Ring;
}

fn edges(tree: &Supervisor) -> Vec<String> {
    tree.flow_graph()
        .edges()
        .iter()
        .map(Edge::to_string)
        .collect()
}

#[test]
fn a_tree_has_the_graph_that_its_actors_declare() {
    let tree = Supervisor::one_for_one("home")
        .child(Silent::spec("silent", ()))
        .child(Door::spec("front", ()))
        .child(Supervisor::one_for_one("more").child(Door::spec("back", ())))
        .child(Alarm::spec("alarm", ()).group("Safety"))
        .child(Inspector::spec("inspector", ()));
    assert_eq!(
        edges(&tree),
        [
            "Door publishes Opened to Safety",
            "Inspector asks Door Check",
            "Inspector asks Safety Check",
            "Safety tells Bell Ring",
            "_runtime publishes SupervisionEvent to Safety",
        ]
    );
    let graph = tree.flow_graph();
    assert_eq!(tree.flow_graph(), graph);
    let seen = graph.nodes().iter();
    let seen: Vec<_> = seen
        .map(|n| (n.name.as_str(), n.actors, n.is_declared))
        .collect();
    assert_eq!(
        seen,
        [
            ("Bell", 0, true),
            ("Door", 2, true),
            ("Inspector", 1, true),
            ("Safety", 1, true),
            ("Silent", 1, false),
            ("_runtime", 0, false),
        ]
    );
    let differences = graph.differences();
    assert_eq!(
        differences.to_string(),
        "nobody hears Closed, published by Door\n"
    );
    assert!(tree.check().is_ok());
}

#[test]
fn a_circle_of_edges_that_wait_is_refused_with_the_way() {
    let refused = |tree: Supervisor| match tree.check() {
        Err(StartError::WaitingCycle(cycle)) => cycle.iter().map(Edge::to_string).collect(),
        Err(other) => panic!("{other}"),
        Ok(()) => Vec::new(),
    };
    let app = || Supervisor::one_for_one("app");
    let boss = app().child(Boss::spec("boss", ()));
    // The inspector is not in the tree, but it is known from whom it would be asked.
    assert_eq!(
        refused(boss),
        ["Boss asks Inspector Ring", "Inspector asks Boss Check"]
    );
    let text = app()
        .child(Boss::spec("boss", ()))
        .check()
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("Boss asks Inspector Ring, Inspector asks Boss Check: each may wait"),
        "{text}"
    );
    let teller = || Teller::spec("teller", ());
    assert_eq!(refused(app().child(teller())), ["Teller tells Teller Ring"]);
    // Who lets nobody wait holds up nobody.
    let dropping = app().child(teller().overflow(Overflow::DropNewest));
    assert!(refused(dropping).is_empty());
    let mixed = app()
        .child(teller().overflow(Overflow::Reject))
        .child(Teller::spec("other", ()));
    assert_eq!(refused(mixed).len(), 1);
    assert!(refused(app().child(Parent::spec("parent", ()))).is_empty());
    assert_eq!(
        edges(&app().child(Parent::spec("parent", ()))),
        ["Parent asks Parent Ring"]
    );
}

#[test]
fn a_tree_has_as_many_kinds_as_metrics_have_groups_whatever_it_makes_up() {
    let tree = (0..10_000).fold(Supervisor::one_for_one("app"), |tree, n| {
        let group = format!("group {n}");
        tree.child(Door::spec(n.to_string(), ()).group(group))
    });
    let graph = tree.flow_graph();
    assert_eq!(graph.nodes().len(), 257);
    assert_eq!(graph.node("_other").unwrap().actors, 10_000 - 256);
    assert!(tree.check().is_ok());
}

#[test]
fn two_types_of_one_name_are_told_apart() {
    mod other {
        use crate::{Event, Message};

        pub(super) struct Ring;
        impl Message for Ring {
            type Reply = ();
        }
        #[derive(Clone, Debug)]
        pub(super) struct Unused;
        impl Event for Unused {}
    }
    struct Both;
    impl Actor for Both {
        type Args = ();
        type Error = Infallible;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
            Ok(Both)
        }
        fn flow(flow: &mut Flow<Self>) {
            flow.tells::<Bell, Ring>().lossy();
            flow.tells_recipient::<other::Ring>();
            flow.handles::<other::Ring>();
            flow.publishes::<other::Unused>();
        }
    }
    impl Handler<other::Ring> for Both {
        async fn handle(
            &mut self,
            _: other::Ring,
            _: &mut Context<Self>,
        ) -> Result<(), Infallible> {
            Ok(())
        }
    }
    let tree = Supervisor::one_for_one("app").child(Both::spec("both", ()));
    let messages: Vec<String> = {
        let graph = tree.flow_graph();
        graph
            .edges()
            .iter()
            .map(|edge| edge.message.clone())
            .collect()
    };
    let module = module_path!();
    assert!(
        messages.contains(&format!("{module}::Ring")),
        "{messages:?}"
    );
    assert!(
        messages.iter().any(|name| name.ends_with("other::Ring")),
        "{messages:?}"
    );
    assert_eq!(tree.flow_graph().differences().unheard[0].event, "Unused");
}

#[test]
fn what_is_said_twice_is_said_once_and_what_waits_counts() {
    struct Twice;
    impl Actor for Twice {
        type Args = ();
        type Error = Infallible;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
            Ok(Twice)
        }
        fn flow(flow: &mut Flow<Self>) {
            flow.tells::<Silent2, Ring>().lossy();
            flow.tells::<Silent2, Ring>();
            flow.publishes::<Opened>().lossy();
            flow.publishes::<Opened>().waits().lossy();
            flow.publishes::<Opened>();
            flow.subscribes::<Opened>();
        }
    }
    actors! { Silent2; }
    handles! {
        Silent2: Ring;
        Twice: Opened;
    }
    let tree = Supervisor::one_for_one("app").child(Twice::spec("twice", ()));
    let graph = tree.flow_graph();
    let seen = graph.edges().iter();
    let seen: Vec<_> = seen.map(|e| (e.to_string(), e.waits, e.is_lossy)).collect();
    assert_eq!(
        seen,
        [
            ("Twice tells Silent2 Ring".to_owned(), true, false),
            ("Twice publishes Opened to Twice".to_owned(), true, true),
        ]
    );
    assert!(tree.check().is_ok());
}
