//! The application's own metrics: the recorder behind the `metrics` facade.
//!
//! The facade has one recorder for the whole process, so it is installed once
//! and shared by every `Telemetry` that the process ever starts.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds for what takes time beyond this process: a request, a query.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Bounds for anything else, which is bytes or a number of things: 4^0 to 4^12.
const SIZES: [f64; 13] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// Returns the recorder of the process, installed by the first call; `None` if there was another one before.
pub(crate) fn recorder() -> Option<PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER
        .get_or_init(|| match install() {
            Ok(handle) => Some(handle),
            Err(error) => {
                tracing::warn!(%error, "The application's own metrics are not served: the process has another recorder.");
                None
            }
        })
        .clone()
}

fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        // `_total` and units in the names, as promtool asks for.
        .with_recommended_naming(true)
        // Without bounds the exporter makes summaries, which cannot be added up over instances.
        .set_buckets(&SIZES)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()
}
