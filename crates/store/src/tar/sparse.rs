//! Files with holes: where their data go.

use super::{
    Problem,
    header::{BLOCK, Header, number},
};

/// How many stretches of data a file may have.
pub(super) const MAX_EXTENTS: usize = 65_536;

/// A stretch of data within a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// The map in GNU tar's own format: four extents in the header, more in the blocks that follow.
pub(super) struct GnuMap {
    pub(super) extents: Vec<Extent>,
    pub(super) size: u64,
    pub(super) goes_on: bool,
}

impl GnuMap {
    pub(super) fn begin(header: &Header) -> Result<Self, Problem> {
        let (extents, goes_on, size) = header.sparse();
        let size = u64::try_from(number(size, "the size")?).map_err(|_| Problem::Sparse)?;
        let mut map = Self { extents: Vec::new(), size, goes_on };
        map.add(extents)?;
        Ok(map)
    }

    pub(super) fn extend(&mut self, block: &[u8; BLOCK]) -> Result<(), Problem> {
        self.goes_on = block[504] != 0;
        self.add(&block[..504])
    }

    fn add(&mut self, fields: &[u8]) -> Result<(), Problem> {
        for field in fields.chunks_exact(24) {
            if field[0] == 0 || field[12] == 0 {
                break;
            }
            let value =
                |field| u64::try_from(number(field, "a sparse map")?).map_err(|_| Problem::Sparse);
            self.extents
                .push(Extent { offset: value(&field[..12])?, length: value(&field[12..])? });
        }
        if self.extents.len() > MAX_EXTENTS {
            return Err(Problem::TooLong("a sparse map"));
        }
        Ok(())
    }
}

/// Reads the decimal lines of sparse format 1.0: the number of extents, then two for each.
#[derive(Default)]
pub(super) struct LineParser {
    line: Vec<u8>,
    count: Option<u64>,
    numbers: Vec<u64>,
}

impl LineParser {
    pub(super) fn is_done(&self) -> bool {
        self.count.is_some_and(|it| self.numbers.len() as u64 >= it * 2)
    }

    /// Reads the lines of one block; what comes after the last one is padding.
    pub(super) fn feed(&mut self, block: &[u8]) -> Result<(), Problem> {
        for byte in block {
            if self.is_done() {
                break;
            }
            match byte {
                b'\n' => self.end_line()?,
                b'0'..=b'9' if self.line.len() < 20 => self.line.push(*byte),
                _ => return Err(Problem::Sparse),
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Problem> {
        if self.line.is_empty() {
            return Err(Problem::Sparse);
        }
        let number = super::pax::unsigned(&std::mem::take(&mut self.line))?;
        match self.count {
            None if number > MAX_EXTENTS as u64 => return Err(Problem::TooLong("a sparse map")),
            None => self.count = Some(number),
            Some(_) => self.numbers.push(number),
        }
        Ok(())
    }

    pub(super) fn extents(&self) -> Vec<Extent> {
        pairs(&self.numbers).unwrap_or_default()
    }
}

pub(super) fn pairs(numbers: &[u64]) -> Result<Vec<Extent>, Problem> {
    if !numbers.len().is_multiple_of(2) {
        return Err(Problem::Sparse);
    }
    Ok(numbers.chunks_exact(2).map(|it| Extent { offset: it[0], length: it[1] }).collect())
}

/// Demands that the extents are in order, lie in the file, and are as long together as the data.
pub(super) fn check(extents: &[Extent], size: u64, data: u64) -> Result<(), Problem> {
    let mut end = 0;
    let mut total = 0_u64;
    for extent in extents {
        let next = extent.offset.checked_add(extent.length).ok_or(Problem::Sparse)?;
        if extent.offset < end || next > size {
            return Err(Problem::Sparse);
        }
        end = next;
        total = total.checked_add(extent.length).ok_or(Problem::Sparse)?;
    }
    if total == data { Ok(()) } else { Err(Problem::Sparse) }
}
