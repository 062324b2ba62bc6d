//! DLIO's output files: two of every rank, and on rank 0 the summary and the `[METRIC]` lines.

use std::path::PathBuf;

use dlio_analyze::metric::{self, Aggregate, Parameters, RankMetric};
use dlio_analyze::outputs::{self as bytes, Host, Metrics, RankRecord, RequestTroubles, Summary, WallClock};
use dlio_engine::Trained;
use dlio_event::{Ending, TimeSource as _};
use dlio_plan::{CheckpointPlan, TrainingPlan};
use serde::{Deserialize, Serialize};

use crate::collective::gather;
use crate::failure::Failure;
use crate::host::HostFacts;
use crate::outputs::file::{SUMMARY, write_file};
use crate::outputs::outages;
use crate::outputs::parameters::parameters;
use crate::rank_ending::RankEnding;
use crate::session::Session;

/// Values that every rank sends to rank 0 for the summary.
#[derive(Serialize, Deserialize)]
struct RankMetrics {
    metric: RankMetric,
    node: u32,
    local_rank: u32,
    host: HostFacts,
}

/// Writes this rank's files; rank 0 also writes the summary and logs the metrics.
///
/// # Errors
/// If any rank cannot write a file.
pub(crate) async fn write(
    session: &Session,
    (plan, checkpoints): (Option<&TrainingPlan>, Option<&CheckpointPlan>),
    trained: &Trained,
    closing: &RankEnding,
) -> Result<(), Failure> {
    let workload = &session.loaded.workload;
    let parameters = parameters(workload, plan, checkpoints);
    let place = session.comm.place();
    let metric = metric::rank(&trained.timings, &parameters);
    let host = HostFacts::read(&place.host);
    let on_node = u64::from(place.local_size);
    let samples = workload.dataset.num_samples_per_file * workload.dataset.num_files_train;
    let data_gb = bytes::data_size_per_host_gb(on_node, u64::from(place.size), samples, parameters.record_bytes);
    let record = RankRecord {
        timings: &trained.timings,
        metric: &metric,
        clock: clock(session),
        host: &host.clone().into(),
        potential_caching: bytes::potential_caching(host.memory_gib(), data_gb),
        checkpoint_bytes: checkpoints.map_or(0, CheckpointPlan::size_bytes),
        checkpoint_only: plan.is_none(),
    };
    let written = write_rank(session, &record);
    session.agree(written).await?;
    let told = RankMetrics { metric: metric.clone(), node: place.node, local_rank: place.local_rank, host };
    let all = gather(&*session.comm, &told).await?;
    let troubles = outages::collect(session).await?;
    let metrics = Metrics {
        checkpoint: checkpoints.map(|plan| metric::checkpoints(&trained.timings, plan.size_bytes())),
        train: plan.map(|_| Aggregate::default()),
        ..Metrics::default()
    };
    let summarised = match session.rank() {
        0 => summarise(session, &parameters, (metrics, checkpoints, troubles), all, data_gb).map(Some),
        _ => Ok(None),
    };
    if let Some((path, summary)) = session.agree(summarised).await? {
        closing.wrote_summary(path, summary);
    }
    Ok(())
}

fn clock(session: &Session) -> WallClock {
    let anchor = &session.request.anchor;
    WallClock {
        monotonic_ns: anchor.monotonic,
        wall_unix_ns: anchor.unix_nanos,
        utc_offset_seconds: anchor.utc_offset_seconds,
    }
}

fn write_rank(session: &Session, record: &RankRecord<'_>) -> Result<(), Failure> {
    let rank = session.rank();
    let folder = &session.request.output;
    write_file(&folder.join(format!("{rank}_output.json")), &bytes::rank_output_json(record))?;
    write_file(&folder.join(format!("{rank}_per_epoch_stats.json")), &bytes::per_epoch_stats_json(record))
}

fn summarise(
    session: &Session,
    parameters: &Parameters,
    (mut metrics, checkpoints, troubles): (Metrics, Option<&CheckpointPlan>, Option<RequestTroubles>),
    all: Vec<RankMetrics>,
    data_gb: f64,
) -> Result<(PathBuf, Summary), Failure> {
    let workload = &session.loaded.workload;
    let place = session.comm.place();
    let ranks: Vec<RankMetric> = all.iter().map(|told| told.metric.clone()).collect();
    let evaluated = ranks.iter().any(|rank| rank.epochs.iter().any(|epoch| epoch.eval.is_some()));
    let trained = metrics.train.is_some();
    metrics.train = trained.then(|| metric::training(&ranks, parameters));
    metrics.eval = evaluated.then(|| metric::evaluations(&ranks, parameters));
    metrics.formula = parameters.formula;
    let mut firsts: Vec<RankMetrics> = all.into_iter().filter(|told| told.local_rank == 0).collect();
    firsts.sort_by_key(|told| told.node);
    let summary = Summary {
        start: session.request.anchor.stamp(session.request.anchor.monotonic),
        end: session.request.anchor.stamp(session.clock.now()),
        num_accelerators: place.size,
        num_hosts: place.nodes,
        num_files_train: workload.dataset.num_files_train,
        num_files_eval: workload.dataset.num_files_eval,
        num_samples_per_file: workload.dataset.num_samples_per_file,
        hosts: firsts.into_iter().map(|told| told.host.into()).collect(),
        data_size_per_host_gb: data_gb,
        epochs: if trained { workload.train.epochs } else { 0 },
        metrics,
        ending: Some(Ending::Completed),
        troubles,
    };
    let folder = &session.request.output;
    let path = folder.join(SUMMARY);
    let json = bytes::summary_json(&summary);
    write_file(&path, &json)?;
    session.outcome.borrow_mut().summary = Some(summary.clone());
    if let Some(troubles) = &summary.troubles {
        outages::log(session, troubles);
    }
    session.log_output(&format!("Saved outputs in {}", folder.display()));
    let (written, read) = checkpoints.map_or((0, 0), |_| {
        let checkpoint = &workload.checkpoint;
        (checkpoint.num_checkpoints_write.unwrap_or(0), checkpoint.num_checkpoints_read.unwrap_or(0))
    });
    let lines = bytes::metric_lines(&summary.metrics, place.size, written, read);
    if session.as_reference() {
        // DLIO's record has no time stamp.
        session.log.line(&lines);
        session.log_output("outputs saved in RANKID_output.json");
    } else {
        session.log_output(&lines);
    }
    Ok((path, summary))
}

impl From<HostFacts> for Host {
    fn from(facts: HostFacts) -> Self {
        let memory_gb = facts.memory_gib();
        Self {
            hostname: facts.hostname,
            cpu_count: u32::try_from(facts.cpu_count).unwrap_or(u32::MAX),
            processor_name: String::new(),
            memory_gb,
            cpuinfo: facts.cpuinfo,
            meminfo: facts.meminfo,
        }
    }
}
