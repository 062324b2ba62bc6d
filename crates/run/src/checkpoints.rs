//! Checkpoints of a run: plan, storage and the lines that DLIO logs about them.

use std::sync::Arc;

use dlio_config::vocabulary::CheckpointMode;
use dlio_engine::Checkpoints;
use dlio_format::checkpoint::Container;
use dlio_format::payload::Payload;
use dlio_plan::{CheckpointPlan, World};
use dlio_storage::s3::S3;

use crate::backend::{self, Opened};
use crate::failure::Failure;
use crate::session::Session;

const GIB: f64 = 1_073_741_824.0;

/// Plan and open storage of the checkpoints of a run.
pub(crate) struct Prepared {
    /// Input of the engine.
    pub(crate) checkpoints: Checkpoints,
    opened: Opened,
}

impl Prepared {
    /// Plans the checkpoints and opens their storage.
    ///
    /// # Errors
    /// If the number of ranks does not fit the model's parallelism, or the storage cannot be used.
    pub(crate) fn new(session: &Session) -> Result<Self, Failure> {
        let workload = &session.loaded.workload;
        let place = session.comm.place();
        let plan = dlio_plan::checkpoints(workload, World { size: place.size }).map_err(Failure::usage)?;
        let container = Container::new(workload.dlio_rs.dialect, workload.framework);
        let opened = backend::open_checkpoints(workload, &session.request, place, session.clock.clone(), &plan)?;
        let opened = crate::outputs::outages::watch(session, opened);
        let checkpoints = Checkpoints {
            plan,
            container,
            payload: Payload::new(workload.dlio_rs.payload_seed),
            randomize: workload.checkpoint.randomize_tensor,
            storage: opened.storage.clone(),
            loading: backend::checkpoint_loading(workload, place, opened.s3.is_some()),
        };
        Ok(Self { checkpoints, opened })
    }

    /// The S3 client of the checkpoints' bucket; `None` on local storage.
    pub(crate) fn client(&self) -> Option<&Arc<S3>> {
        self.opened.s3.as_ref()
    }

    /// Checks the endpoints of the checkpoints. A missing bucket is created if checkpoints will be saved.
    ///
    /// # Errors
    /// If an endpoint, the credentials or the bucket cannot be used.
    pub(crate) async fn preflight(&self, session: &Session) -> Result<(), Failure> {
        let Some(client) = &self.opened.s3 else { return Ok(()) };
        let plan = &self.checkpoints.plan;
        if plan.alone().is_some_and(|alone| alone.writes == 0) {
            // Which checkpoints can be loaded is checked before the first file is read.
            return Ok(());
        }
        backend::preflight_writing(&*session.comm, client).await
    }

    /// Logs the notices of the plan and the model sizes, as DLIO does before a run.
    pub(crate) fn log_sizes(&self, session: &Session) {
        let plan = &self.checkpoints.plan;
        for notice in plan.notices() {
            match notice.severity {
                dlio_config::Severity::Warning => session.warn(&notice.text),
                dlio_config::Severity::Info => session.log.info(&format!("{} {}", session.stamp(), notice.text)),
            }
        }
        for line in lines(plan, session.loaded.workload.checkpoint.mode) {
            session.log_output(&line);
        }
    }
}

/// Returns DLIO's log lines about the size of a model.
fn lines(plan: &CheckpointPlan, mode: CheckpointMode) -> Vec<String> {
    let gb = |bytes: u64| format!("{:.6} GB", bytes as f64 / GIB);
    let suffix = if mode == CheckpointMode::Subset { " (subset)" } else { "" };
    let reported = plan.reported();
    let mut lines = Vec::new();
    if let Some(whole) = plan.subset_of() {
        lines.push(format!("Performing subset checkpointing: {} of {whole}", plan.world().size));
    }
    if plan.parameters() > 0 {
        lines.push(format!("Total number of parameters in the model: {}", plan.parameters()));
    }
    lines.push(format!("Model size: {} {suffix}", gb(reported.model)));
    if plan.parameters() > 0 || plan.written().optimizer > 0 {
        lines.push(format!("Optimizer state size: {} {suffix}", gb(reported.optimizer)));
    }
    lines.push(format!("Total checkpoint size: {} {suffix}", gb(reported.total())));
    lines
}
