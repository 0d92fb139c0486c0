//! The bytes of a row: a checksum (8 bytes), the version (`u32`, big-endian), the record as JSON.
//!
//! JSON, because the records outlive the release that wrote them and a person may have to read
//! one; its size does not matter here.

use serde_json::Error;
use wadah_oci::Hasher;

use super::Record;

const CHECKSUM: usize = 8;
const HEADER: usize = CHECKSUM + 4;

/// Writes a record as the row `key` of its table.
pub(super) fn encode<V: Record>(key: &str, record: &V) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; CHECKSUM];
    bytes.extend(V::VERSION.to_be_bytes());
    serde_json::to_writer(&mut bytes, record)?;
    let checksum = checksum(V::TABLE, key, &bytes[CHECKSUM..]);
    bytes[..CHECKSUM].copy_from_slice(&checksum);
    Ok(bytes)
}

/// Reads the row `key`, unless it is not what was written there.
pub(super) fn decode<V: Record>(key: &str, bytes: &[u8]) -> Option<V> {
    if !is_whole(V::TABLE, key, bytes) {
        return None;
    }
    let version = u32::from_be_bytes(bytes[CHECKSUM..HEADER].try_into().ok()?);
    let json = &bytes[HEADER..];
    if version == V::VERSION {
        return serde_json::from_slice(json).ok();
    }
    V::upgrade(version, serde_json::from_slice(json).ok()?)
}

/// Whether the bytes are those written as the row `key` of `table`.
pub(super) fn is_whole(table: &str, key: &str, bytes: &[u8]) -> bool {
    bytes.len() > HEADER && bytes[..CHECKSUM] == checksum(table, key, &bytes[CHECKSUM..])
}

fn checksum(table: &str, key: &str, rest: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = Hasher::default();
    for part in [table.as_bytes(), b"\0", key.as_bytes(), b"\0", rest] {
        hasher.update(part);
    }
    let hex = hasher.finish().hex();
    let mut checksum = [0; CHECKSUM];
    hex::decode_to_slice(&hex[..CHECKSUM * 2], &mut checksum)
        .expect("BUG: a digest is hexadecimal");
    checksum
}
