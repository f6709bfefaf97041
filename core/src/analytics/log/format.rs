//! What the files of the log are made of besides records.

/// The first line of a file.
pub(super) const HEADER: &[u8] = b"keyrack events 2\n";
/// The first line of a file of 0.1.0.
pub(super) const HEADER_1: &[u8] = b"keyrack events 1\n";
/// Bytes of a frame before its records: their length and checksum.
pub(super) const FRAME_HEAD: usize = 8;
