//! The netlink format: headers, attributes, nesting.
//!
//! **Invariant:** everything is aligned to four bytes; a nested attribute's length is patched in
//! when it is closed. Building cannot fail: an attribute too long for its 16-bit length is a bug
//! of the caller, who knows its data, except for lists, which are split by
//! [`Messages::has_room`].

use std::net::IpAddr;

use super::NetlinkError;

/// `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
const ALIGN: usize = 4;
const NESTED: u16 = 0x8000;
const KIND: u16 = 0x3fff;

pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACK: u16 = 0x4;
pub(super) const DUMP: u16 = 0x300;

/// A request being built: one message or several.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

/// An attribute that holds attributes, open until it is given back to [`Messages::close`].
#[derive(Debug)]
#[must_use = "a nested attribute has no length until it is closed"]
pub struct Nested {
    start: usize,
}

impl Messages {
    /// No message yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the message before and begins one of type `kind` with `flags` beside "request" and the
    /// protocol's own fixed `header`.
    pub fn begin(&mut self, kind: u16, flags: u16, header: &[u8]) {
        self.finish();
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(header);
        self.pad();
    }

    /// How many messages there are.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let nested = self.open_as(kind);
        self.bytes.extend_from_slice(value);
        self.close(nested);
    }

    /// Appends a number in the host's byte order, as rtnetlink wants them.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Appends a number in network byte order, as nf_tables wants them.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends a NUL-terminated text.
    pub fn text(&mut self, kind: u16, value: &str) {
        let nested = self.open_as(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(nested);
    }

    /// Appends an IP address.
    pub fn address(&mut self, kind: u16, value: IpAddr) {
        match value {
            IpAddr::V4(v4) => self.attribute(kind, &v4.octets()),
            IpAddr::V6(v6) => self.attribute(kind, &v6.octets()),
        }
    }

    /// Begins an attribute that holds attributes.
    pub fn open(&mut self, kind: u16) -> Nested {
        self.open_as(kind | NESTED)
    }

    /// Ends it.
    pub fn close(&mut self, nested: Nested) {
        let length = self.bytes.len() - nested.start;
        let length = u16::try_from(length).expect("BUG: a netlink attribute exceeds 64 KiB");
        self.bytes[nested.start..][..2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    /// Whether the open attribute can take `more` bytes.
    pub fn has_room(&self, nested: &Nested, more: usize) -> bool {
        self.bytes.len() - nested.start + more < usize::from(u16::MAX)
    }

    /// Appends bytes as they are: a header inside an attribute.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    fn open_as(&mut self, kind: u16) -> Nested {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        Nested { start }
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    /// Writes the length of the last message.
    fn finish(&mut self) {
        let Some(start) = self.starts.last().copied() else { return };
        let length = self.bytes.len() - start;
        let length = u32::try_from(length).expect("BUG: a netlink message exceeds 4 GiB");
        self.bytes[start..][..4].copy_from_slice(&length.to_ne_bytes());
    }

    /// The finished bytes, numbered from `sequence`, and the index of the last message that wants
    /// an acknowledgement.
    pub(super) fn seal(&mut self, sequence: u32) -> (&[u8], Option<usize>) {
        self.finish();
        let mut last = None;
        for ((index, start), number) in self.starts.iter().enumerate().zip(sequence..) {
            let header = &mut self.bytes[*start..][..HEADER];
            header[8..12].copy_from_slice(&number.to_ne_bytes());
            let flags = u16::from_ne_bytes([header[6], header[7]]);
            if flags & ACK != 0 {
                last = Some(index);
            }
        }
        (&self.bytes, last)
    }
}

/// The attributes of an answer: pairs of a type and its bytes.
///
/// Reading stops at the first attribute that does not fit in what is left.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Reads the attributes in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads the attributes behind a fixed header of `length` bytes.
    pub fn after(payload: &'a [u8], length: usize) -> Result<Self, NetlinkError> {
        let rest = payload.get(length.next_multiple_of(ALIGN)..);
        rest.map(Self::new).ok_or(NetlinkError::Malformed { what: "short header" })
    }

    /// The first attribute of type `kind`.
    pub fn find(&self, kind: u16) -> Option<&'a [u8]> {
        { *self }.find_map(|(it, value)| (it == kind).then_some(value))
    }

    /// The attributes inside the first one of type `kind`; none if there is none.
    pub fn nested(&self, kind: u16) -> Self {
        Self::new(self.find(kind).unwrap_or_default())
    }

    /// A number in the host's byte order.
    pub fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.find(kind)?.try_into().ok()?))
    }

    /// A number in network byte order.
    pub fn be32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.find(kind)?.try_into().ok()?))
    }

    /// A text, up to its NUL.
    pub fn text(&self, kind: u16) -> Option<String> {
        let bytes = self.find(kind)?.split(|it| *it == 0).next()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header: [u8; 4] = self.rest.get(..4)?.try_into().ok()?;
        let [a, b, c, d] = header;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.rest.get(4..length)?;
        let next = length.next_multiple_of(ALIGN);
        self.rest = self.rest.get(next..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & KIND, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_read_back() {
        let mut messages = Messages::new();
        messages.begin(16, 0, &[1, 2, 3, 4]);
        messages.text(3, "wadah0");
        let nested = messages.open(18);
        messages.be32(1, 7);
        messages.close(nested);
        messages.begin(17, 0, &[]);
        let (bytes, last) = messages.seal(5);
        assert_eq!((last, bytes[8], bytes.len() % ALIGN), (None, 5, 0));

        let attributes = Attributes::after(&bytes[HEADER..bytes.len() - HEADER], 4).unwrap();
        assert_eq!(attributes.text(3).as_deref(), Some("wadah0"));
        assert_eq!(attributes.nested(18).be32(1), Some(7));
        assert_eq!(attributes.find(9), None);
    }

    #[test]
    fn broken_attributes_end_the_reading() {
        for bytes in [&[][..], &[4], &[8, 0, 1, 0], &[3, 0, 1, 0], &[0; 7], &[255; 16]] {
            assert_eq!(Attributes::new(bytes).count(), 0, "{bytes:?}");
        }
        let error = Attributes::after(&[0; 3], 4).unwrap_err();
        assert_eq!(error.to_string(), "malformed netlink answer: short header");
    }
}
