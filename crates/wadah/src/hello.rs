//! The image `wadah/hello`, which every daemon has: a program of ours and nothing else.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use wadah_engine::{
    Engine,
    images::{Builtin, Defaults},
};

/// What the image runs; compiled by our own build.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

/// Puts the image into the store, if it is not there. A daemon without it works as well, so that a
/// failure is told and no more.
pub(crate) async fn install(engine: &Engine) {
    let images = Arc::clone(&engine.images);
    let installed = spawn_blocking(move || {
        images.install_builtin(&Builtin {
            name: "wadah/hello",
            path: "hello",
            executable: PROGRAM,
            defaults: Defaults { cmd: vec!["/hello".to_owned()], ..Defaults::default() },
        })
    });
    match installed.await {
        Ok(Ok(_id)) => {}
        Ok(Err(error)) => tracing::warn!("cannot install wadah/hello: {error}"),
        Err(error) => tracing::warn!("cannot install wadah/hello: {error}"),
    }
}
