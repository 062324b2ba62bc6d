//! The thoroughness with which a decoder examines a file.

use dlio_config::vocabulary::{Decode, Format, VerifyBy};

use crate::error::Error;

/// How thoroughly a decoder examines a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckLevel {
    /// Only the structure is checked.
    Structure,
    /// Every byte is compared with the output of the generator.
    Payload,
    /// The checksums that the format carries are verified.
    Checksums,
    /// The decoder does the work of a training reader: checksums, decompression, pixels, values.
    Full,
}

impl CheckLevel {
    /// Returns the check level for `decode` and `verify_by`.
    ///
    /// # Errors
    /// Returns an error if checksums are asked for and the format carries none.
    pub(crate) fn new(format: Format, verify_by: VerifyBy, decode: Decode) -> Result<Self, Error> {
        match (decode, verify_by) {
            (Decode::None, _) => Ok(Self::Structure),
            (Decode::Full, _) => Ok(Self::Full),
            (Decode::Verify, VerifyBy::Payload) => Ok(Self::Payload),
            (Decode::Verify, VerifyBy::Checksum) if has_checksums(format) => Ok(Self::Checksums),
            (Decode::Verify, VerifyBy::Checksum) => Err(Error::Option {
                option: "dlio_rs.verify_by: checksum".to_owned(),
                reason: format!(
                    "{format} files carry no checksum of their content; use payload for a dataset of this program"
                ),
            }),
        }
    }

    /// Returns whether decoders verify the checksums of the format.
    pub(crate) fn computes_checksums(self) -> bool {
        matches!(self, Self::Checksums | Self::Full)
    }
}

/// Returns whether files of the format carry checksums of their content.
fn has_checksums(format: Format) -> bool {
    matches!(format, Format::Npz | Format::TfRecord | Format::Png)
}
