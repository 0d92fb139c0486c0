//! What a layer's bytes are wrapped in.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

/// The largest window a zstd frame may ask for: 64 MiB, what `zstd --ultra -21` uses.
const ZSTD_WINDOW_LOG: u32 = 26;
const BUFFER: usize = 128 << 10;

/// How a stream is compressed, as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `gzip`, of one or many members.
    Gzip,
    /// Zstandard, of one or many frames.
    Zstd,
    /// Something known that is not spoken here.
    Unsupported(&'static str),
}

impl Compression {
    /// Looks at the first bytes of a stream; six are enough.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, which zstd:chunked may begin with.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Self::Unsupported("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Unsupported("bzip2"),
            _ => Self::None,
        }
    }
}

/// Unwraps a stream.
pub fn decompressed<'a>(
    mut reader: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut start = Vec::with_capacity(6);
    reader.by_ref().take(6).read_to_end(&mut start)?;
    let compression = Compression::detect(&start);
    let reader = Cursor::new(start).chain(reader);
    let buffered = |reader| BufReader::with_capacity(BUFFER, reader);
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(MultiGzDecoder::new(buffered(reader))),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered(reader))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Unsupported(format) => {
            let message = format!("{format} compression is not supported");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    };
    Ok((compression, reader))
}
