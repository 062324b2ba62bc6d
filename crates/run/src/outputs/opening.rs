//! First log lines of a run: the settings in force before anything is read or written.

use dlio_config::vocabulary::Dialect;
use dlio_event::quantity::counted;

use crate::backend::assign::share;
use crate::backend::location::Target;
use crate::launch;
use crate::resolve::settings::MARKS;
use crate::session::Session;

/// Number of endpoints that are listed by name.
const NAMED: usize = 4;

/// Returns at most five lines on rank 0: dialect, world, storage, endpoints, output folder.
pub(crate) fn lines(session: &Session) -> Vec<String> {
    if session.rank() > 0 {
        return Vec::new();
    }
    let place = session.comm.place();
    let launcher = launch::detect(&session.front.environment);
    let world = match launcher {
        Some(launcher) if place.size > 1 => {
            let library = dlio_comm::Mpi::library().map(|library| format!(" and {library}")).unwrap_or_default();
            format!(", found through {}{library}", launcher.name)
        }
        _ => dlio_comm::Mpi::library().map(|library| format!(", through {library}")).unwrap_or_default(),
    };
    let mut lines = Vec::new();
    // A replayed trace has no keys whose meaning depends on the dialect.
    if !replays_a_trace(session) {
        lines.push(format!("Dialect {} ({})", session.loaded.workload.dlio_rs.dialect, decided(session)));
    }
    lines.push(format!("World: {} on {}{world}", counted(place.size, "rank"), counted(place.nodes, "node")));
    lines.push(storage_line(session));
    lines.extend(endpoints(session));
    lines.push(format!("Output folder: {}", session.request.output.display()));
    lines
}

fn replays_a_trace(session: &Session) -> bool {
    session.request.wanted.name == crate::resolve::config_source::REPLAY
}

/// Returns the dialect and what decided it, if `dlio_benchmark` was called and the dialect is not DLIO's.
pub(crate) fn unasked(session: &Session) -> Option<String> {
    let row = session.request.report.rows.iter().find(|row| row.setting == "dialect")?;
    let told = session.rank() == 0 && session.as_reference() && row.from == MARKS;
    told.then(|| format!("dialect {}: {}", session.loaded.workload.dlio_rs.dialect, decided(session)))
}

/// Returns what decided the dialect.
fn decided(session: &Session) -> String {
    let row = session.request.report.rows.iter().find(|row| row.setting == "dialect" && !row.from.is_empty());
    match (row, &session.request.wanted.marks) {
        (None, _) => "the default; --dialect and dlio_rs.dialect choose another".to_owned(),
        (Some(row), Some(marks)) if row.from == MARKS => {
            format!("{marks}; ++workload.dlio_rs.dialect={} overrules this", Dialect::Dlio)
        }
        (Some(row), _) => row.from.clone(),
    }
}

fn storage_line(session: &Session) -> String {
    let workload = &session.loaded.workload;
    let name = |target: Result<Target, _>| {
        target.map_or_else(|_: crate::failure::Failure| "?".to_owned(), |target| target.place())
    };
    let data = name(Target::of(workload));
    if replays_a_trace(session) {
        return match data.as_str() {
            "/" => "Storage: local files, under the paths of the trace".to_owned(),
            _ => format!("Storage: the trace's objects in {data}"),
        };
    }
    let workflow = workload.workflow;
    if workflow.checkpoint && !workflow.train && !workflow.generate_data {
        format!("Storage: checkpoints in {}", name(Target::of_checkpoints(workload)))
    } else if workflow.checkpoint {
        format!("Storage: data in {data}, checkpoints in {}", name(Target::of_checkpoints(workload)))
    } else {
        format!("Storage: data in {data}")
    }
}

fn endpoints(session: &Session) -> Option<String> {
    let request = &session.request;
    if !request.uses_s3() {
        return None;
    }
    let from = request
        .report
        .rows
        .iter()
        .find(|row| row.setting == crate::resolve::settings::ENDPOINTS && !row.from.is_empty());
    let from = from.map_or_else(String::new, |row| format!(" ({})", row.from));
    let shown = match request.endpoints.as_slice() {
        [] => format!("none given: those of AWS in {}", request.region),
        all if all.len() > NAMED => format!("{} and {} more", all[..NAMED].join(", "), all.len() - NAMED),
        all => all.join(", "),
    };
    let share = share(&session.loaded.workload, &request.endpoints, 0, session.comm.place().size);
    let mapping = share.notice.map_or_else(String::new, |notice| format!("; {notice}"));
    Some(format!("Endpoints: {shown}{from}{mapping}"))
}
