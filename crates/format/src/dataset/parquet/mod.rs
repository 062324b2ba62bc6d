//! Parquet: written page by page with a length that is known in advance, read row group by row group.
//!
//! The pages are written here and not by a library, because a library holds a row group in memory, knows the length
//! of a file only after writing it, and cannot use payload as plain pages. Reading needs only the locations of the
//! row groups in the footer. If values are decoded, the `parquet` crate decodes them.

mod footer;
pub(crate) mod options;
mod page;
pub(crate) mod pages;
mod part;
mod plan;
mod read;
mod schema;
mod thrift;
mod value_decoder;

use std::sync::Arc;

use crate::encode::Encoder;
use crate::error::Error;
use crate::layout::Layout;
use crate::shape::FileShape;
use options::Options;
use pages::Pages;
use plan::{FilePlan, MAGIC};

pub use footer::Footer;
pub(crate) use read::Reader;

/// Returns the encoder of a file.
pub(crate) fn encoder(layout: &Layout, options: &Options, shape: &FileShape) -> Result<Encoder, Error> {
    let plan = Arc::new(FilePlan::measured(layout, options, shape)?);
    let (mut offset, mut footer) = (MAGIC.len() as u64, 0);
    for group in 0..plan.groups() {
        footer += plan.group_meta(group, offset).len() as u64;
        offset += plan.group_stored(group);
    }
    footer += plan.footer_head().len() as u64 + plan.footer_tail().len() as u64;
    let len = offset + footer + 8;
    let footer = u32::try_from(footer).ok().filter(|&footer| footer < i32::MAX as u32);
    let footer = footer.ok_or_else(|| plan.refuse(shape, "its footer has more than 2 GiB; use larger row groups"))?;
    Ok(Encoder::pages(len, Pages::whole_file(plan, footer)))
}
