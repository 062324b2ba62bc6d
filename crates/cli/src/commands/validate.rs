//! `dlio-rs validate`: checks every key of a configuration, its value and its consequences.

use std::path::PathBuf;

use dlio_config::{Loaded, Notice, NoticeCode, Severity, Workload};
use dlio_plan::{FileSet, World};
use serde_json::{Value, json};

use crate::args::{OutputFormat, ValidateArgs};
use crate::log::print;
use crate::terminal;
use crate::{front, launch};
use dlio_run::backend::location::Target;
use dlio_run::failure::{Code, Failure};
use dlio_run::front_end::FrontEnd;
use dlio_run::message::Verbosity;
use dlio_run::resolve::config_source::ConfigSource;
use dlio_run::resolve::connections::Connections;
use dlio_run::resolve::setting_sources::SettingSources;
use dlio_run::resolve::settings::Report;
use dlio_run::resolve::{config_source, credentials, endpoints, resolved_run};
use dlio_run::{layout, prepared};

pub(super) fn run(args: ValidateArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let ValidateArgs { config, registry, format } = args;
    let front = front::front_end(verbosity);
    let env = &front.environment;
    let checked = config_source::find(&config.words(), None).and_then(|wanted| Valid::new(wanted, registry, &front));
    let text = match (format, &checked) {
        (OutputFormat::Text, Ok(valid)) => terminal::wrapped(&valid.text(), terminal::columns(env)),
        (OutputFormat::Json, Ok(valid)) => format!("{:#}\n", valid.json()),
        (OutputFormat::Json, Err(failure)) if failure.code == Code::Usage => {
            let answer = json!({ "valid": false, "workload": config.words.first(), "error": failure.message });
            format!("{answer:#}\n")
        }
        (_, Err(_)) => String::new(),
    };
    print(text.as_bytes())?;
    checked.map(drop)
}

/// A valid configuration.
struct Valid {
    name: String,
    loaded: Loaded,
    target: Target,
    /// Origins of the settings.
    settings: Vec<String>,
}

impl Valid {
    fn new(wanted: ConfigSource, registry: Option<PathBuf>, front: &FrontEnd) -> Result<Self, Failure> {
        let env = &front.environment;
        let mut loaded = resolved_run::load(&wanted, env)?;
        let target = Target::of(&loaded.workload)?;
        has_files(&loaded.workload)?;
        loaded.notices.extend(without_steps(&loaded.workload));
        let mut flags = wanted.flags.clone();
        flags.extend(registry.map(|folder| ("--registry".to_owned(), folder.display().to_string())));
        let mut places = SettingSources::new(&wanted, flags, (&loaded, &loaded), env)?;
        let mut remarks = Vec::new();
        launch::block_on(places.look_into_registry(std::time::Duration::ZERO, &*front.observer, &mut remarks))?;
        let source = credentials::source(&loaded.workload, &places)?;
        let mut report = Report::new(&places.given());
        if places.on_s3 && !places.has_registry() {
            let endpoints = endpoints::choose(&loaded.workload, &places.given())?;
            let region = report.value("region").map(str::to_owned);
            let connections = Connections::find(&loaded.workload, &mut report, env, false);
            connections.check(&loaded.workload, &endpoints, region.as_deref())?;
        }
        let mut settings = report.render();
        settings.extend(source.map(|source| format!("credentials: {source}")));
        settings.extend(remarks);
        Ok(Self { name: wanted.name, loaded, target, settings })
    }

    /// Formats the result as text.
    fn text(&self) -> String {
        let Self { name, loaded, target, settings } = self;
        let notice = |notice: &Notice| format!("{}: {}", kind(notice), notice.text);
        let mut lines: Vec<String> = loaded.notices.iter().map(notice).collect();
        lines.push(format!(
            "{name}: valid (dialect {}, {} in {})",
            loaded.workload.dlio_rs.dialect,
            loaded.workload.dataset.format,
            target.place(),
        ));
        lines.push(format!("{name}: {}", loaded.core_config));
        lines.extend(settings.iter().cloned());
        crate::log::lines(lines)
    }

    /// Formats the result as JSON; `docs/json.md` describes the keys.
    fn json(&self) -> Value {
        let Self { name, loaded, target, settings } = self;
        let notice = |notice: &Notice| json!({ "severity": kind(notice), "code": notice.code, "text": notice.text });
        json!({
            "valid": true,
            "workload": name,
            "dialect": loaded.workload.dlio_rs.dialect.to_string(),
            "format": loaded.workload.dataset.format.to_string(),
            "data": target.name(),
            "core_config": loaded.core_config.to_string(),
            "notices": loaded.notices.iter().map(notice).collect::<Vec<_>>(),
            "settings": settings,
        })
    }
}

/// Rejects datasets that every run would reject in its first step, because no file or plan can have them.
fn has_files(workload: &Workload) -> Result<(), Failure> {
    let workflow = workload.workflow;
    if workflow.train || workflow.generate_data || !workflow.checkpoint {
        layout::layout(workload)?;
        FileSet::new(workload).map_err(Failure::usage)?;
    }
    Ok(())
}

/// Warns that a training has no steps on one rank; then it has none on any number of ranks, and `replay` rejects it.
fn without_steps(workload: &Workload) -> Option<Notice> {
    let plan = workload.workflow.train.then(|| dlio_plan::training(workload, World { size: 1 }))?;
    // Other errors of a plan for one rank may not occur with more ranks.
    let refused = prepared::no_steps(&plan.ok()?, workload)?;
    Some(Notice::warning(NoticeCode::Suspicious, format!("{}; `dlio-rs replay` refuses that", refused.message)))
}

fn kind(notice: &Notice) -> &'static str {
    match notice.severity {
        Severity::Warning => "warning",
        Severity::Info => "notice",
    }
}
