//! What the files of the log are made of besides records.

/// The first line of a file.
pub(super) const HEADER: &[u8] = b"keyrack events 3\n";
/// The first line of a file whose events lack what the third format keeps besides.
pub(super) const HEADER_2: &[u8] = b"keyrack events 2\n";
/// The first line of a file of 0.1.0.
pub(super) const HEADER_1: &[u8] = b"keyrack events 1\n";
/// Bytes of a frame before its records: their length and checksum.
pub(super) const FRAME_HEAD: usize = 8;
/// Bytes of records after which a frame is closed, so that who reads it needs little memory.
pub(super) const FULL_FRAME: usize = 1 << 20;
/// Bytes of records that a frame has at most: what goes beyond [`FULL_FRAME`] is one record, whose texts are cut.
pub(super) const MOST_FRAME: u64 = 2 << 20;
/// The same for earlier formats, of which a frame held all that a moment brought: the ring full of the longest texts.
pub(super) const MOST_EARLIER_FRAME: u64 = 256 << 20;
