//! The trace folder of a run: files of an earlier run are replaced, and this rank's trace is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dlio_event::{EventSink, Planned};
use dlio_trace::{Header, TraceWriter};

use crate::collective::gather;
use crate::failure::{Code, Failure, chain};
use crate::host::HostFacts;
use crate::host::counters::Sampler;
use crate::output_folder::{self, Claim};
use crate::outputs::file::SUMMARY;
use crate::outputs::rank_trace::RankTraceWriter;
use crate::rank_ending::{RankEnding, UnfinishedRunFiles, interruption};
use crate::session::Session;

/// A run whose trace is open.
pub(crate) struct OpenTrace {
    /// Records how the run ends.
    pub(crate) closing: Arc<RankEnding>,
    /// Sink of events; `None` if no trace is written.
    pub(crate) events: Option<Arc<dyn EventSink>>,
    /// Folder of the traces; `None` if none are written.
    pub(crate) traces: Option<PathBuf>,
}

/// Opens this rank's trace in `folder` of the output folder, with `config_json` in its header, and prepares the end of
/// the run. With `dlio_rs.trace: false` nothing is recorded.
///
/// # Errors
/// If the folder or the file cannot be created, on any rank.
pub(crate) async fn begin(
    session: &Session,
    folder: &str,
    config_json: String,
    planned: Planned,
) -> Result<OpenTrace, Failure> {
    let recording = trace(session, folder, config_json, planned).await?;
    let events = recording.as_ref().map(RankTraceWriter::events);
    let traces = recording.as_ref().map(|recording| recording.folder().to_owned());
    let summary = session.request.output.join(SUMMARY);
    // If this run ends early, the summary of an earlier run must not be mistaken for its result.
    let removed = if session.rank() == 0 && folder == "trace" { remove(&summary) } else { Ok(()) };
    session.agree(removed).await?;
    let notes = (session.rank() == 0).then(|| UnfinishedRunFiles {
        log: session.log.file(),
        // DLIO writes no summary for a failed run either; its harnesses take any summary for a result.
        summary: (folder == "trace" && !session.as_reference()).then_some(summary),
        anchor: session.request.anchor,
        clock: session.clock.clone(),
        ranks: session.comm.place().size,
    });
    let stop = session.front.stop.clone();
    let closing = Arc::new(RankEnding::new(recording, (session.failures.clone(), stop), notes));
    let (last, rank, front) = (Arc::clone(&closing), session.rank(), Arc::clone(&session.front));
    session.front.stop.on_signal(move |signal| {
        let closed = last.end(last.interruption(signal), None);
        if rank == 0 {
            front.report(&interruption(&closed, signal));
        }
    });
    Ok(OpenTrace { closing, events, traces })
}

async fn trace(
    session: &Session,
    folder: &str,
    config_json: String,
    planned: Planned,
) -> Result<Option<RankTraceWriter>, Failure> {
    let name = if session.rank() == 0 { prepare_traces(session, folder) } else { Ok(folder.to_owned()) };
    let name = session.agree(name).await?;
    if !session.loaded.workload.dlio_rs.trace {
        return Ok(None);
    }
    let folder = session.trace_folder(&gather(&*session.comm, &name).await?.swap_remove(0));
    let path = folder.join(dlio_trace::file_name(session.rank()));
    let header = Header { planned: Some(planned), ..trace_header(session, config_json) };
    let writer = TraceWriter::create(&path, &header).map_err(|error| Failure::new(Code::Trace, chain(&error)));
    let writer = Arc::new(session.agree(writer).await?);
    let (front, rank) = (Arc::clone(&session.front), session.rank());
    writer.on_failure(move |error| {
        let failure = Failure::new(Code::Trace, chain(error));
        front.observer.note(&format!("rank {rank} loses its trace, so the run ends: {failure}"));
        front.stop.end_with(failure);
    });
    let last = Arc::downgrade(&writer);
    session.front.stop.on_panic(move || last.upgrade().iter().for_each(|writer| writer.give_up()));
    let sampler = Sampler::start(session.clock.clone(), session.rank(), session.clock_offset.0);
    Ok(Some(RankTraceWriter::new(writer, sampler, folder, session.rank())))
}

/// Removes the traces of an earlier run and returns the name of the trace folder. `dlio_benchmark` takes its run folder
/// as it is: if the trace folder holds traces of another program, or another run is writing there, this run gets a new
/// folder.
fn prepare_traces(session: &Session, name: &str) -> Result<String, Failure> {
    let wants_traces = session.loaded.workload.dlio_rs.trace;
    let claim = match &session.output {
        Some(claim) => Arc::clone(claim),
        None if !wants_traces => return Ok(name.to_owned()),
        None => {
            let wish = output_folder::traces_as_reference(&session.request, session.comm.place().size);
            Claim::take_first_free(&session.trace_folder(name), &wish, &session.front.stop)?
        }
    };
    if let Some(text) = claim.replace_earlier()? {
        session.log_own(&text);
    }
    if session.output.is_none() {
        let taken = claim.folder().file_name().and_then(|taken| taken.to_str()).unwrap_or(name);
        if taken != name {
            let folder = session.trace_folder(name);
            session.warn(&format!(
                "{} holds other traces or is in use: the trace of this run is in {taken}",
                folder.display()
            ));
        }
        return Ok(taken.to_owned());
    }
    let folder = session.trace_folder(name);
    if wants_traces {
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::file("creating the trace folder", &folder, &error))?;
    }
    Ok(name.to_owned())
}

fn trace_header(session: &Session, config_json: String) -> Header {
    let place = session.comm.place();
    Header {
        rank: place.rank,
        world: place.size,
        host: place.host.clone(),
        node: place.node,
        pid: std::process::id(),
        clock: session.clock_anchor(session.clock_offset),
        clock_end: None,
        argv: session.request.argv.clone(),
        config_json,
        tool_version: session.front.tool_version.clone(),
        host_facts: host_facts(session),
        planned: None,
    }
}

/// Returns facts about the host that help to interpret the results later: processor, memory, kernel, MPI library.
fn host_facts(session: &Session) -> std::collections::BTreeMap<String, String> {
    let host = HostFacts::read(&session.comm.place().host);
    let kernel = std::fs::read_to_string("/proc/version").unwrap_or_default();
    [
        ("cpu", host.processor().to_owned()),
        ("cpu_count", host.cpu_count.to_string()),
        ("memory_bytes", host.memory_bytes.to_string()),
        ("kernel", kernel.trim().to_owned()),
    ]
    .into_iter()
    .chain(dlio_comm::Mpi::library().map(|library| ("mpi", library.to_string())))
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn remove(file: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::file("removing what an earlier run left:", file, &error))
        }
        _ => Ok(()),
    }
}
