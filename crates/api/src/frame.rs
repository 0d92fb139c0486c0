//! Frames: how two output streams share one connection without a terminal.
//!
//! A frame is `[stream, 0, 0, 0, length as u32 big-endian]` and that many bytes.

/// The stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Channel {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// The eight bytes in front of a payload of `length` bytes.
pub(crate) fn header(channel: Channel, length: usize) -> [u8; 8] {
    let length = u32::try_from(length).expect("BUG: chunks are bounded far below 4 GiB");
    let [a, b, c, d] = length.to_be_bytes();
    [channel as u8, 0, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_its_stream_and_length() {
        assert_eq!(header(Channel::Stderr, 2), [2, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(header(Channel::Stdout, 0x0102_0304), [1, 0, 0, 0, 1, 2, 3, 4]);
    }
}
