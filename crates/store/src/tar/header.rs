//! The 512 bytes before each entry.

use super::{Kind, Problem};

pub(super) const BLOCK: usize = 512;

/// A header whose checksum was right.
pub(super) struct Header {
    block: [u8; BLOCK],
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Gnu,
}

impl Header {
    pub(super) fn parse(block: [u8; BLOCK]) -> Result<Self, Problem> {
        let expected = number(&block[148..156], "the checksum")?;
        // Old writers summed signed characters.
        let sums = |(unsigned, signed): (i64, i64), (at, byte): (usize, &u8)| {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            (unsigned + i64::from(byte), signed + i64::from(byte.cast_signed()))
        };
        let (unsigned, signed) = block.iter().enumerate().fold((0, 0), sums);
        if expected != unsigned && expected != signed {
            return Err(Problem::Checksum);
        }
        let format = match &block[257..265] {
            b"ustar  \0" => Format::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Format::Ustar,
            _ => Format::V7,
        };
        Ok(Self { block, format })
    }

    pub(super) fn kind(&self) -> u8 {
        self.block[156]
    }

    pub(super) fn size(&self) -> Result<u64, Problem> {
        u64::try_from(number(&self.block[124..136], "the size")?)
            .map_err(|_| Problem::Number("the size"))
    }

    pub(super) fn mode(&self) -> Result<u32, Problem> {
        let mode = number(&self.block[100..108], "the mode")?;
        u32::try_from(mode & 0o7777).map_err(|_| Problem::Number("the mode"))
    }

    pub(super) fn uid(&self) -> Result<i64, Problem> {
        number(&self.block[108..116], "the owner")
    }

    pub(super) fn gid(&self) -> Result<i64, Problem> {
        number(&self.block[116..124], "the group")
    }

    pub(super) fn mtime(&self) -> Result<i64, Problem> {
        number(&self.block[136..148], "the time")
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.block[..100]);
        let prefix = text(&self.block[345..500]);
        if self.format != Format::Ustar || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.block[157..257]).to_vec()
    }

    /// The bytes of GNU's sparse fields.
    pub(super) fn sparse(&self) -> (&[u8], bool, &[u8]) {
        (&self.block[386..482], self.block[482] != 0, &self.block[483..495])
    }

    /// What the entry is, once its name and link are known.
    pub(super) fn entry_kind(&self, path: &[u8], link: Vec<u8>) -> Result<Kind, Problem> {
        Ok(match self.kind() {
            // Before POSIX, a directory was a file whose name ends with a slash.
            0 if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'3' => Kind::Character { major: self.major()?, minor: self.minor()? },
            b'4' => Kind::Block { major: self.major()?, minor: self.minor()? },
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(Problem::Type(other)),
        })
    }

    fn major(&self) -> Result<u32, Problem> {
        self.device(329)
    }

    fn minor(&self) -> Result<u32, Problem> {
        self.device(337)
    }

    fn device(&self, at: usize) -> Result<u32, Problem> {
        if self.format == Format::V7 {
            return Ok(0);
        }
        let value = number(&self.block[at..at + 8], "the device")?;
        u32::try_from(value).map_err(|_| Problem::Number("the device"))
    }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|it| *it == 0).next().unwrap_or_default()
}

/// Octal digits between spaces and zero bytes, or, with the highest bit set, base 256 in two's
/// complement.
pub(super) fn number(field: &[u8], what: &'static str) -> Result<i64, Problem> {
    let out_of_range = Problem::Number(what);
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            let first = first & 0x7f;
            let start: i64 = if first & 0x40 != 0 { -1 } else { 0 };
            let shift = |value: i64, byte: u8| {
                value.checked_mul(256).map(|it| it | i64::from(byte)).ok_or(out_of_range)
            };
            let first = (start << 7) | i64::from(first);
            rest.iter().try_fold(first, |value, byte| shift(value, *byte))
        }
        _ => octal(field, out_of_range),
    }
}

fn octal(field: &[u8], out_of_range: Problem) -> Result<i64, Problem> {
    let is_blank = |it: &u8| matches!(it, b' ' | 0);
    let Some(start) = field.iter().position(|it| !is_blank(it)) else { return Ok(0) };
    let digits = field[start..].split(is_blank).next().unwrap_or_default();
    let add = |value: i64, digit: &u8| match digit {
        b'0'..=b'7' => value.checked_mul(8).map(|it| it + i64::from(digit - b'0')),
        _ => None,
    };
    digits.iter().try_fold(0, add).ok_or(out_of_range)
}
