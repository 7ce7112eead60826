//! What was measured, and its medians.

use std::collections::BTreeMap;

use crate::children::Task;
use crate::plan::Subject;
use crate::workloads::{Measured, Workload};

/// All measurements of one run of this program.
#[derive(Default)]
pub(crate) struct Results {
    measured: BTreeMap<Task, Vec<Measured>>,
    pub(crate) failures: Vec<(Task, String)>,
}

impl Results {
    pub(crate) fn add(&mut self, task: Task, result: Result<Measured, String>) {
        match result {
            Ok(measured) => self.measured.entry(task).or_default().push(measured),
            Err(why) => self.failures.push((task, why)),
        }
    }

    /// Returns the median time of an operation in nanoseconds.
    pub(crate) fn ns(&self, subject: Subject, workload: Workload, threads: usize) -> Option<f64> {
        median(self.times(subject, workload, threads).collect())
    }

    /// Returns the shortest time of an operation in nanoseconds.
    pub(crate) fn least_ns(&self, s: Subject, workload: Workload, threads: usize) -> Option<f64> {
        self.times(s, workload, threads).reduce(f64::min)
    }

    /// Returns the median memory of an idle actor beyond its state.
    pub(crate) fn bytes(&self, subject: Subject, threads: usize) -> Option<f64> {
        let all = self.all(subject, Workload::Spawn, threads);
        median(all.filter_map(|measured| measured.bytes).collect())
    }

    /// Returns the fastest of these subjects and its median.
    pub(crate) fn best(
        &self,
        subjects: impl Iterator<Item = Subject>,
        workload: Workload,
        threads: usize,
    ) -> Option<(Subject, f64)> {
        subjects
            .filter_map(|subject| Some((subject, self.ns(subject, workload, threads)?)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Returns whether it was tried at all.
    pub(crate) fn has(&self, workload: Workload, threads: usize) -> bool {
        let tried = self.measured.keys();
        let failed = self.failures.iter().map(|(task, _)| task);
        tried
            .chain(failed)
            .any(|task| task.workload == workload && task.threads == threads)
    }

    fn all(
        &self,
        subject: Subject,
        workload: Workload,
        threads: usize,
    ) -> impl Iterator<Item = &Measured> {
        let task = Task {
            workload,
            threads,
            subject,
        };
        self.measured.get(&task).into_iter().flatten()
    }

    fn times(
        &self,
        subject: Subject,
        workload: Workload,
        threads: usize,
    ) -> impl Iterator<Item = f64> {
        self.all(subject, workload, threads).map(|m| m.ns_per_op)
    }
}

/// Returns the middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Results as if each of these had been measured once.
    pub(crate) fn results(measured: &[(Subject, Workload, usize, f64)]) -> Results {
        let mut results = Results::default();
        for &(subject, workload, threads, ns_per_op) in measured {
            let task = Task {
                workload,
                threads,
                subject,
            };
            let bytes = (workload == Workload::Spawn).then_some(300.0);
            results.add(task, Ok(Measured { ns_per_op, bytes }));
        }
        results
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn the_best_is_the_one_with_the_lowest_median() {
        let (mpsc, flume) = (Subject::MpscUnbounded, Subject::FlumeUnbounded);
        let results = results(&[
            (mpsc, Workload::Tell, 1, 50.0),
            (mpsc, Workload::Tell, 1, 52.0),
            (mpsc, Workload::Tell, 1, 90.0),
            (flume, Workload::Tell, 1, 10.0),
            (flume, Workload::Tell, 1, 55.0),
            (flume, Workload::Tell, 1, 56.0),
            (flume, Workload::Tell, 2, 1.0),
        ]);
        let best = results.best([flume, mpsc].into_iter(), Workload::Tell, 1);
        assert_eq!(best, Some((mpsc, 52.0)));
        assert_eq!(results.least_ns(flume, Workload::Tell, 1), Some(10.0));
        assert!(results.has(Workload::Tell, 2) && !results.has(Workload::Ask, 1));
    }
}
