//! Tar archives written byte by byte, so that every lie can be told.

/// An archive in the making.
#[derive(Default, Clone)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

/// A header whose fields can be set to anything.
#[derive(Clone)]
pub(crate) struct Header {
    block: [u8; 512],
}

impl Header {
    pub(crate) fn new(name: impl AsRef<[u8]>, kind: u8) -> Self {
        let name = name.as_ref();
        let mut header = Self { block: [0; 512] };
        header.block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        header.block[156] = kind;
        header.block[257..265].copy_from_slice(b"ustar\x0000");
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        header.mode(mode).number(108, 8, 0).number(116, 8, 0).size(0).number(136, 12, 1_000_000)
    }

    pub(crate) fn number(mut self, at: usize, width: usize, value: u64) -> Self {
        let digits = format!("{value:0width$o}\0", width = width - 1);
        self.block[at..at + width].copy_from_slice(digits.as_bytes());
        self
    }

    pub(crate) fn field(mut self, at: usize, value: &[u8]) -> Self {
        self.block[at..at + value.len()].copy_from_slice(value);
        self
    }

    pub(crate) fn mode(self, mode: u64) -> Self {
        self.number(100, 8, mode)
    }

    pub(crate) fn size(self, size: u64) -> Self {
        self.number(124, 12, size)
    }

    pub(crate) fn link(self, target: impl AsRef<[u8]>) -> Self {
        let target = target.as_ref();
        self.field(157, &target[..target.len().min(100)])
    }

    pub(crate) fn device(self, major: u64, minor: u64) -> Self {
        self.number(329, 8, major).number(337, 8, minor)
    }

    fn finish(mut self) -> [u8; 512] {
        self.block[148..156].fill(b' ');
        let sum: u64 = self.block.iter().map(|it| u64::from(*it)).sum();
        self.number(148, 7, sum).block
    }
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn header(mut self, header: Header) -> Self {
        self.bytes.extend(header.finish());
        self
    }

    /// Bytes as they are, without padding.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// Bytes, padded to whole blocks.
    pub(crate) fn data(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn entry(self, header: Header, data: &[u8]) -> Self {
        self.header(header.size(data.len() as u64)).data(data)
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, data: &[u8]) -> Self {
        self.entry(Header::new(name, b'0'), data)
    }

    pub(crate) fn directory(self, name: impl AsRef<[u8]>) -> Self {
        self.header(Header::new(name, b'5'))
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.header(Header::new(name, b'2').link(target))
    }

    pub(crate) fn hard_link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.header(Header::new(name, b'1').link(target))
    }

    /// A pax header for the entry that follows.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..).find(|it| rest + it.to_string().len() == *it).unwrap();
            body.extend(format!("{length} {key}=").bytes());
            body.extend(*value);
            body.push(b'\n');
        }
        self.entry(Header::new("pax", b'x'), &body)
    }

    /// The archive with its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }

    /// The archive without its end.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.bytes
    }
}
