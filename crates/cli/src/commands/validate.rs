//! `dlio-rs validate`: every key, value and consequence of a configuration.

use dlio_config::{Notice, Severity, Workload};
use dlio_plan::FileSet;

use crate::args::ValidateArgs;
use crate::connections::Connections;
use crate::exit::Failure;
use crate::log::print;
use crate::places::Places;
use crate::sources::Report;
use crate::storage::Target;
use crate::{credentials, endpoints, launch, prepared, request, workload};

pub(super) fn run(args: ValidateArgs) -> Result<(), Failure> {
    let ValidateArgs { config, registry } = args;
    let wanted = workload::find(&config, None)?;
    let env = launch::environment();
    let loaded = request::load(&wanted, &env)?;
    let target = Target::of(&loaded.workload)?;
    has_files(&loaded.workload)?;
    let mut flags = wanted.flags.clone();
    flags.extend(registry.map(|folder| ("--registry".to_owned(), folder.display().to_string())));
    let mut places = Places::new(&wanted, flags, (&loaded, &loaded), &env)?;
    let mut remarks = Vec::new();
    launch::block_on(places.look_into_registry(std::time::Duration::ZERO, &mut remarks))?;
    let source = credentials::source(&loaded.workload, &places)?;
    let mut report = Report::new(&places.given());
    if places.on_s3 && !places.has_registry() {
        let endpoints = endpoints::choose(&loaded.workload, &places.given())?;
        let region = report.value("region").map(str::to_owned);
        let connections = Connections::find(&loaded.workload, &mut report, &env, false);
        connections.check(&loaded.workload, &endpoints, region.as_deref())?;
    }
    let mut lines: Vec<String> =
        loaded.notices.iter().map(|notice| format!("{}: {}", kind(notice), notice.text)).collect();
    lines.push(format!(
        "{}: valid (dialect {}, {} in {})",
        wanted.name,
        loaded.workload.dlio_rs.dialect,
        loaded.workload.dataset.format,
        target.place(),
    ));
    lines.push(format!("{}: {}", wanted.name, loaded.core_config));
    lines.extend(report.render());
    lines.extend(source.map(|source| format!("credentials: {source}")));
    lines.extend(remarks);
    print(crate::log::lines(lines).as_bytes())
}

/// Refuses what the first step of every run would refuse: a data set that no file or plan can have.
fn has_files(workload: &Workload) -> Result<(), Failure> {
    let workflow = workload.workflow;
    if workflow.train || workflow.generate_data || !workflow.checkpoint {
        prepared::layout(workload)?;
        FileSet::new(workload).map_err(Failure::usage)?;
    }
    Ok(())
}

fn kind(notice: &Notice) -> &'static str {
    match notice.severity {
        Severity::Warning => "warning",
        Severity::Info => "notice",
    }
}
