//! Who is measured: the catalogue of frameworks and their variants, and how each is run.

use clap::ValueEnum;

use crate::frameworks::actix::{self, Sends};
use crate::frameworks::channels::{
    Channels, FlumeBounded, FlumeUnbounded, MpscBounded, MpscUnbounded,
};
use crate::frameworks::kameo::Kameo;
use crate::frameworks::ractor::Ractor;
use crate::frameworks::xtra::Xtra;
use crate::frameworks::{bare, greenroom, on_tokio};
use crate::node::lost;
use crate::workloads::Workload;

/// A framework in one of its variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Subject {
    Greenroom,
    /// With the timing of messages turned off
    GreenroomUntimed,
    GreenroomTokio,
    ActixBounded,
    ActixUnbounded,
    ActixBroker,
    KameoBounded,
    KameoUnbounded,
    KameoPubsub,
    RactorLoop,
    RactorPort,
    XtraBounded,
    XtraUnbounded,
    FlumeBounded,
    FlumeUnbounded,
    MpscBounded,
    MpscUnbounded,
    Erlang,
    Bare,
}

/// Whom a subject belongs to; its best variant counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    Actix,
    Kameo,
    Ractor,
    Xtra,
    Flume,
    /// Tokio's mpsc channels, and bare tokio tasks
    Tokio,
    Erlang,
}

impl Subject {
    pub(crate) fn all() -> &'static [Subject] {
        Self::value_variants()
    }

    /// Returns what it is called in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Greenroom => "greenroom",
            Subject::GreenroomUntimed => "greenroom, untimed",
            Subject::GreenroomTokio => "greenroom-tokio",
            Subject::ActixBounded => "actix/bounded",
            Subject::ActixUnbounded => "actix/unbounded",
            Subject::ActixBroker => "actix/broker",
            Subject::KameoBounded => "kameo/bounded",
            Subject::KameoUnbounded => "kameo/unbounded",
            Subject::KameoPubsub => "kameo/pubsub",
            Subject::RactorLoop => "ractor",
            Subject::RactorPort => "ractor/port",
            Subject::XtraBounded => "xtra/bounded",
            Subject::XtraUnbounded => "xtra/unbounded",
            Subject::FlumeBounded => "flume/bounded",
            Subject::FlumeUnbounded => "flume/unbounded",
            Subject::MpscBounded => "tokio-mpsc/bounded",
            Subject::MpscUnbounded => "tokio-mpsc/unbounded",
            Subject::Erlang => "erlang",
            Subject::Bare => "tokio tasks",
        }
    }

    /// Returns the name under which a child process is told to be it.
    pub(crate) fn argument(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns whose variant it is; `None` for Greenroom.
    pub(crate) fn peer(self) -> Option<Peer> {
        match self {
            Subject::Greenroom | Subject::GreenroomUntimed | Subject::GreenroomTokio => None,
            Subject::ActixBounded | Subject::ActixUnbounded | Subject::ActixBroker => {
                Some(Peer::Actix)
            }
            Subject::KameoBounded | Subject::KameoUnbounded | Subject::KameoPubsub => {
                Some(Peer::Kameo)
            }
            Subject::RactorLoop | Subject::RactorPort => Some(Peer::Ractor),
            Subject::XtraBounded | Subject::XtraUnbounded => Some(Peer::Xtra),
            Subject::FlumeBounded | Subject::FlumeUnbounded => Some(Peer::Flume),
            Subject::MpscBounded | Subject::MpscUnbounded | Subject::Bare => Some(Peer::Tokio),
            Subject::Erlang => Some(Peer::Erlang),
        }
    }

    /// Returns whether it is left out when time is short: its sibling is as fast or faster in most workloads.
    pub(crate) fn is_second_choice(self) -> bool {
        matches!(
            self,
            Subject::ActixBounded
                | Subject::ActixBroker
                | Subject::KameoBounded
                | Subject::KameoPubsub
                | Subject::RactorPort
                | Subject::XtraBounded
                | Subject::FlumeBounded
                | Subject::MpscBounded
        )
    }

    /// Returns whether it does this workload, and not just as its sibling does.
    pub(crate) fn takes(self, workload: Workload) -> bool {
        match self {
            Subject::Greenroom | Subject::GreenroomTokio => true,
            Subject::GreenroomUntimed => matches!(workload, Workload::Tell | Workload::Pingpong),
            Subject::Bare => matches!(workload, Workload::Sleep | Workload::Echo),
            _ if workload.is_our_own() => false,
            Subject::ActixBroker | Subject::KameoPubsub | Subject::RactorPort => {
                workload.subscribers().is_some()
            }
            Subject::Erlang => !matches!(workload, Workload::Busyw | Workload::Skew),
            _ => true,
        }
    }

    /// Measures in this process, prints the result and ends it.
    pub(crate) fn run(self, workload: Workload, threads: usize, scale: f64) -> ! {
        match self {
            Subject::Greenroom => greenroom::own_workers(true, workload, threads, scale),
            Subject::GreenroomUntimed => greenroom::own_workers(false, workload, threads, scale),
            Subject::GreenroomTokio => greenroom::in_tokio(workload, threads, scale),
            Subject::ActixBounded => actix::arbiters(Sends::Bounded, workload, threads, scale),
            Subject::ActixUnbounded => actix::arbiters(Sends::Unbounded, workload, threads, scale),
            Subject::ActixBroker => actix::arbiters(Sends::Broker, workload, threads, scale),
            Subject::KameoBounded => on_tokio(Kameo::Bounded, workload, threads, scale),
            Subject::KameoUnbounded => on_tokio(Kameo::Unbounded, workload, threads, scale),
            Subject::KameoPubsub => on_tokio(Kameo::PubSub, workload, threads, scale),
            Subject::RactorLoop => on_tokio(Ractor::Loop, workload, threads, scale),
            Subject::RactorPort => on_tokio(Ractor::Port, workload, threads, scale),
            Subject::XtraBounded => on_tokio(Xtra::Bounded, workload, threads, scale),
            Subject::XtraUnbounded => on_tokio(Xtra::Unbounded, workload, threads, scale),
            Subject::FlumeBounded => on_tokio(Channels(FlumeBounded), workload, threads, scale),
            Subject::FlumeUnbounded => on_tokio(Channels(FlumeUnbounded), workload, threads, scale),
            Subject::MpscBounded => on_tokio(Channels(MpscBounded), workload, threads, scale),
            Subject::MpscUnbounded => on_tokio(Channels(MpscUnbounded), workload, threads, scale),
            Subject::Bare => bare::tasks(workload, threads, scale),
            Subject::Erlang => lost("Erlang is a program of its own"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_first_choice() {
        for peer in Peer::value_variants() {
            let of_peer = |s: &&Subject| s.peer() == Some(*peer) && !s.is_second_choice();
            assert!(Subject::all().iter().any(|s| of_peer(&s)), "{peer:?}");
        }
    }

    #[test]
    fn what_is_our_own_is_compared_with_bare_tasks_only() {
        let takers = |workload| -> Vec<Subject> {
            let all = Subject::all().iter().copied();
            all.filter(|subject| subject.takes(workload)).collect()
        };
        let ours = [Subject::Greenroom, Subject::GreenroomTokio];
        assert_eq!(takers(Workload::Restart), ours);
        assert_eq!(takers(Workload::Echo), [ours[0], ours[1], Subject::Bare]);
    }
}
