//! A synthetic run with times that can be checked by hand.

use std::path::Path;

use dlio_analyze::metric::Parameters;
use dlio_event::mix::Lcg64;
use dlio_event::{EndpointId, Event, EventSink, Lane, Nanos, ObjectId, OpKind, Outcome, Phase, Position};
use dlio_trace::{ClockAnchor, Error, Header, TraceWriter, file_name};

const MS: u64 = 1_000_000;

/// Size of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) ranks: u32,
    pub(crate) epochs: u32,
    pub(crate) steps: u32,
    pub(crate) samples_per_step: u32,
    pub(crate) endpoints: u32,
}

impl Shape {
    pub(crate) fn parameters(self) -> Parameters {
        Parameters {
            exclude_start_steps: 1,
            exclude_end_steps: 0,
            train_steps: u64::from(self.steps),
            eval_steps: 0,
            batch_size: u64::from(self.samples_per_step),
            eval_batch_size: 1,
            record_bytes: f64::from(1 << 20),
            au_threshold: 0.9,
            train_samples: Some(u64::from(self.ranks * self.steps * self.samples_per_step)),
            formula: dlio_analyze::metric::Formula::Dlio,
            checkpoint_bytes: None,
        }
    }
}

/// Writes one trace per rank.
pub(crate) fn write(folder: &Path, shape: Shape) -> Result<(), Error> {
    for rank in 0..shape.ranks {
        let header = header(rank, shape);
        let writer = TraceWriter::create(&folder.join(file_name(rank)), &header)?;
        Loop { writer: &writer, shape, rank, random: Lcg64::new(u64::from(rank) + 1) }.run();
        writer.finish()?;
    }
    Ok(())
}

fn header(rank: u32, shape: Shape) -> Header {
    let config = serde_json::json!({"workload": {"model": {"name": "synthetic"}}});
    Header {
        rank,
        world: shape.ranks,
        host: format!("node{}", rank / 4),
        node: rank / 4,
        pid: 100 + rank,
        clock: ClockAnchor { wall_unix_ns: 1_700_000_000_000_000_000, ..ClockAnchor::default() },
        clock_end: None,
        argv: vec!["dlio-rs".to_owned(), "run".to_owned(), "synthetic.yaml".to_owned()],
        config_json: shape.parameters().embed(config),
        tool_version: "0.1.0".to_owned(),
        ..Header::default()
    }
}

struct Loop<'a> {
    writer: &'a TraceWriter,
    shape: Shape,
    rank: u32,
    random: Lcg64,
}

impl Loop<'_> {
    /// Writes every epoch: steps that fetch for at least 20 ms, compute for 100 ms and enter a barrier for 5 ms. The
    /// first step of an epoch fetches for 200 ms, every 16th sample needs a second attempt, and a checkpoint of 50 ms
    /// ends each epoch.
    fn run(&mut self) {
        let mut now = 10 * MS;
        for epoch in 1..=self.shape.epochs {
            let at = Position { phase: Phase::Train, epoch, block: 1, ..Position::default() };
            let start = now;
            for step in 1..=self.shape.steps {
                now = self.step(Position { step, ..at }, now);
            }
            self.span(OpKind::Block, at, start, now);
            let saving = Position { phase: Phase::Checkpoint, epoch, block: 1, ..Position::default() };
            let end = now + 50 * MS;
            let write = Event::span(OpKind::Write, Lane::MAIN, saving, now + MS, end - MS);
            let object = self.writer.object("checkpoint/model.pt");
            self.writer.record(Event { bytes: 64 << 20, object, ..write });
            self.span(OpKind::CheckpointSave, saving, now, end);
            now = end + 2 * MS;
            self.span(OpKind::Epoch, Position { block: 0, ..at }, start, now);
        }
    }

    fn step(&mut self, at: Position, start: Nanos) -> Nanos {
        let wait = if at.step == 1 { 200 * MS } else { 20 * MS + self.draw(10) * MS + u64::from(self.rank) * MS };
        let loaded = start + wait;
        let lane = Lane(u16::try_from(at.step % 4).unwrap_or(0));
        for sample in 0..self.shape.samples_per_step {
            self.read(at, lane, sample, start);
        }
        self.event(Event::span(OpKind::Batch, lane, at, start, loaded));
        self.span(OpKind::Fetch, at, start, loaded);
        let computed = loaded + 100 * MS;
        self.span(OpKind::Compute, at, loaded, computed);
        self.span(OpKind::Barrier, at, computed, computed + 5 * MS);
        computed + 5 * MS
    }

    fn read(&mut self, at: Position, lane: Lane, sample: u32, start: Nanos) {
        let batch = (at.step - 1) * self.shape.ranks + self.rank;
        let index = u64::from(batch * self.shape.samples_per_step + sample);
        let at = Position { sample: Some(index), ..at };
        let endpoint = self.endpoint(index);
        let object = self.writer.object(&format!("data/train/img_{index:06}.npz"));
        let took = 4 * MS + self.draw(8_000) * 1_000 + if self.draw(50) == 0 { 40 * MS } else { 0 };
        let mut event = Event {
            object,
            endpoint,
            bytes: 1 << 20,
            first_byte: Some(start + took / 4),
            status: 200,
            ..Event::span(OpKind::Get, lane, at, start, start + took)
        };
        if index % 16 == 3 {
            let refused = Event { bytes: 0, first_byte: None, status: 503, outcome: Outcome::Throttled, ..event };
            self.writer.record(Event { end: start + MS, ..refused });
            event.attempt = 1;
        }
        self.writer.record(event);
    }

    fn endpoint(&self, index: u64) -> EndpointId {
        if self.shape.endpoints == 0 {
            return EndpointId::NONE;
        }
        self.writer.endpoint(&format!("http://10.0.0.{}:9000", index % u64::from(self.shape.endpoints) + 1))
    }

    fn span(&self, kind: OpKind, at: Position, start: Nanos, end: Nanos) {
        self.event(Event::span(kind, Lane::MAIN, at, start, end));
    }

    fn event(&self, event: Event) {
        self.writer.record(Event { object: ObjectId::NONE, ..event });
    }

    /// Returns a number from a small linear congruential generator, which is the same in every run.
    fn draw(&mut self, below: u64) -> u64 {
        self.random.below(below)
    }
}
