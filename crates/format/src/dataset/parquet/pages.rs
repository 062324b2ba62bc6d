//! The bytes of a Parquet file, page by page.

use std::collections::VecDeque;
use std::sync::Arc;

use super::options::Codec;
use super::page::{self, PageEncoding};
use super::part::Part;
use super::plan::{FilePlan, MAGIC};

/// An encoder of a file from a column chunk on.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    plan: Arc<FilePlan>,
    group: u64,
    column: usize,
    row: u64,
    footer: Footer,
    footer_len: u32,
    parts: VecDeque<Part>,
}

/// The part of the footer that comes next.
#[derive(Debug, Clone, Copy)]
enum Footer {
    Head,
    Group { group: u64, offset: u64 },
    Tail,
    Done,
}

impl Pages {
    pub(super) fn new(plan: Arc<FilePlan>, group: u64, column: usize) -> Self {
        Self { plan, group, column, row: 0, footer: Footer::Head, footer_len: 0, parts: VecDeque::new() }
    }

    /// Creates an encoder of the whole file; `footer_len` is the length of its footer in bytes.
    pub(super) fn whole_file(plan: Arc<FilePlan>, footer_len: u32) -> Self {
        let magic = VecDeque::from([Part::bytes(MAGIC.to_vec())]);
        Self { footer_len, parts: magic, ..Self::new(plan, 0, 0) }
    }

    /// Writes the next bytes and returns their number: 0 at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            while let Some(part) = self.parts.front_mut() {
                let count = part.fill(buffer);
                if part.remaining() == 0 {
                    self.parts.pop_front();
                }
                if count > 0 {
                    return count;
                }
            }
            if !self.next() {
                return 0;
            }
        }
    }

    /// Prepares the next parts; returns `false` at the end.
    fn next(&mut self) -> bool {
        let plan = self.plan.clone();
        if self.group >= plan.groups() {
            return self.next_of_footer(&plan);
        }
        let rows = plan.group(self.group).rows;
        let column = &plan.columns[self.column];
        let encoding = PageEncoding::of(column, rows);
        if self.row == 0
            && let Some((dictionary, _)) = plan.dictionary(column, encoding)
        {
            self.parts.push_back(Part::bytes(dictionary));
        }
        let end = rows.min(self.row + page::rows_per_page(column, encoding));
        if plan.codec == Codec::None {
            self.parts.extend(plan.page(self.group, self.column, self.row..end));
        } else {
            self.parts.push_back(Part::bytes(plan.compressed_page(self.group, self.column, self.row..end)));
        }
        self.row = end;
        if self.row == rows {
            (self.row, self.column) = (0, self.column + 1);
            if self.column == plan.columns.len() {
                (self.column, self.group) = (0, self.group + 1);
            }
        }
        true
    }

    fn next_of_footer(&mut self, plan: &FilePlan) -> bool {
        let bytes = match self.footer {
            Footer::Head => {
                self.footer = Footer::Group { group: 0, offset: MAGIC.len() as u64 };
                plan.footer_head()
            }
            Footer::Group { group, offset } if group < plan.groups() => {
                self.footer = Footer::Group { group: group + 1, offset: offset + plan.group_stored(group) };
                plan.group_meta(group, offset)
            }
            Footer::Group { .. } => {
                self.footer = Footer::Tail;
                plan.footer_tail()
            }
            Footer::Tail => {
                self.footer = Footer::Done;
                [&self.footer_len.to_le_bytes(), &MAGIC[..]].concat()
            }
            Footer::Done => return false,
        };
        self.parts.push_back(Part::bytes(bytes));
        true
    }
}
