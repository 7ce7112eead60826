//! Degrees, ways and cycles of a flow graph.
//!
//! All of it is by breadth first over the edges in their order, so that of two equal answers it is always the same.

use std::collections::{BTreeSet, VecDeque};

use super::{Degree, Edge, FlowGraph};

impl FlowGraph {
    /// Returns how a kind of actors is connected.
    #[must_use]
    pub fn degree(&self, kind: &str) -> Option<Degree> {
        self.position(kind)?;
        let incoming = self.edges.iter().filter(|edge| edge.to == kind);
        let outgoing = self.edges.iter().filter(|edge| edge.from == kind);
        let sources: BTreeSet<&str> = incoming.clone().map(|edge| &*edge.from).collect();
        let targets: BTreeSet<&str> = outgoing.clone().map(|edge| &*edge.to).collect();
        Some(Degree {
            incoming: incoming.count(),
            outgoing: outgoing.count(),
            sources: sources.len(),
            targets: targets.len(),
        })
    }

    /// Returns the shortest way from one kind to another, by the fewest edges; empty from a kind to itself.
    ///
    /// Of several that are equally short it is the one whose edges come first.
    #[must_use]
    pub fn path(&self, from: &str, to: &str) -> Option<Vec<&Edge>> {
        let (from, to) = (self.position(from)?, self.position(to)?);
        let way = Index::of(self, |_| true).way(from, to)?;
        Some(self.all(&way))
    }

    /// Returns the cycles: for each edge that lies on one a shortest through it, and none twice, the shortest first.
    ///
    /// Their number is at most that of the edges. There may be others, made of the same edges: all cycles of a
    /// graph are too many to be listed.
    #[must_use]
    pub fn cycles(&self) -> Vec<Vec<&Edge>> {
        self.cycles_of(|_| true)
    }

    /// Returns the cycles of edges that [wait](Edge::is_waiting): actors of these kinds may come to wait for each other.
    ///
    /// A tree that has one does not start: see [`Actor::flow`](crate::Actor::flow).
    #[must_use]
    pub fn waiting_cycles(&self) -> Vec<Vec<&Edge>> {
        self.cycles_of(Edge::is_waiting)
    }

    fn cycles_of(&self, keep: impl Fn(&Edge) -> bool) -> Vec<Vec<&Edge>> {
        let index = Index::of(self, keep);
        let mut cycles = BTreeSet::new();
        for edge in index.leaving.iter().flatten() {
            let (from, to) = index.ends[*edge];
            let Some(back) = index.way(to, from) else {
                continue;
            };
            let mut cycle = vec![*edge];
            cycle.extend(back);
            // A cycle has no beginning: the same one begins with the same edge.
            let first = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or(0);
            cycle.rotate_left(first);
            cycles.insert((cycle.len(), cycle));
        }
        cycles.iter().map(|(_, cycle)| self.all(cycle)).collect()
    }

    fn all(&self, edges: &[usize]) -> Vec<&Edge> {
        edges.iter().map(|at| &self.edges[*at]).collect()
    }
}

/// The edges by number.
struct Index {
    /// From where to where each leads.
    ends: Vec<(usize, usize)>,
    /// Those that leave each node, but for those that were left out.
    leaving: Vec<Vec<usize>>,
}

impl Index {
    fn of(graph: &FlowGraph, keep: impl Fn(&Edge) -> bool) -> Self {
        let mut leaving = vec![Vec::new(); graph.nodes.len()];
        let ends = graph.edges.iter().enumerate().map(|(at, edge)| {
            let ends = (graph.position(&edge.from), graph.position(&edge.to));
            let (Some(from), Some(to)) = ends else {
                unreachable!("each end of an edge is a node")
            };
            if keep(edge) {
                leaving[from].push(at);
            }
            (from, to)
        });
        Index {
            ends: ends.collect(),
            leaving,
        }
    }

    fn way(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        if from == to {
            return Some(Vec::new());
        }
        // By which edge each node was reached.
        let mut reached: Vec<Option<usize>> = vec![None; self.leaving.len()];
        let mut next = VecDeque::from([from]);
        while let Some(at) = next.pop_front() {
            for edge in &self.leaving[at] {
                let end = self.ends[*edge].1;
                if end == from || reached[end].is_some() {
                    continue;
                }
                reached[end] = Some(*edge);
                next.push_back(end);
            }
        }
        let mut way = Vec::new();
        let mut at = to;
        while at != from {
            let edge = reached[at]?;
            way.push(edge);
            at = self.ends[edge].0;
        }
        way.reverse();
        Some(way)
    }
}
