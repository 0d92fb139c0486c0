//! Operations on images.
//!
//! What touches files runs on the blocking pool; an archive is read from the request as it comes.

use std::{
    io::{self, Read as _},
    sync::Arc,
};

use hyper::StatusCode;
use tokio::task::spawn_blocking;
use wadah_engine::{
    containers::Containers,
    images::{ImageError, Images, Import, Listing, Platform, Progress},
};

use crate::{
    call::Call,
    error::ApiError,
    filters,
    progress::Lines,
    query::Query,
    reply::Reply,
    upload::{Upload, upload},
    wire::{HistoryItem, InspectedImage, ListedImage, RemovedItem},
};

/// How much of an archive is read on, and dropped, after an error: its sender reads the answer
/// only when it could send everything.
const MAX_DROPPED: u64 = 64 << 30;

/// `GET /images/json`.
pub(crate) fn list(images: &Images, call: &Call) -> Result<Reply, ApiError> {
    let filters = filters::parse(&call.query)?;
    let found = images.list(&Listing { all: call.query.flag("all"), filters })?;
    let models: Vec<_> = found.iter().map(|it| ListedImage::new(it, call.version)).collect();
    Ok(Reply::json(&models))
}

/// `GET /images/{name}/json`.
pub(crate) fn inspect(images: &Images, call: &Call) -> Result<Reply, ApiError> {
    Ok(Reply::json(&InspectedImage::new(&images.resolve(&call.name)?, call.version)))
}

/// `GET /images/{name}/history`.
pub(crate) fn history(images: &Images, call: &Call) -> Result<Reply, ApiError> {
    let lines = images.history(&call.name)?;
    Ok(Reply::json(&lines.iter().map(HistoryItem::from).collect::<Vec<_>>()))
}

/// `POST /images/{name}/tag`.
pub(crate) async fn tag(images: &Arc<Images>, call: Call) -> Result<Reply, ApiError> {
    let repository = call.query.get("repo").unwrap_or_default();
    let name = named(repository, call.query.get("tag"));
    let images = Arc::clone(images);
    blocking(move || Ok(images.tag(&call.name, &name)?)).await?;
    Ok(Reply::status(StatusCode::CREATED))
}

/// `DELETE /images/{name}`.
pub(crate) async fn delete(
    images: &Arc<Images>,
    containers: &Arc<Containers>,
    call: Call,
) -> Result<Reply, ApiError> {
    let (images, containers) = (Arc::clone(images), Arc::clone(containers));
    let removed = blocking(move || {
        let (force, noprune) = (call.query.flag("force"), call.query.flag("noprune"));
        Ok(images.remove(&call.name, force, noprune, &|id| containers.image_use(id))?)
    });
    let removed = removed.await?;
    Ok(Reply::json(&removed.iter().map(RemovedItem::from).collect::<Vec<_>>()))
}

/// `POST /images/load`.
pub(crate) fn load(images: &Arc<Images>, call: Call) -> Reply {
    let images = Arc::clone(images);
    let quiet = call.query.flag("quiet");
    streamed(call, move |reader, lines| {
        images.load(reader, quiet, &mut |it| tell(lines, &it))?;
        Ok(())
    })
}

fn tell(lines: &Lines, progress: &Progress) {
    match progress {
        Progress::Layer { diff_id, current, total } => {
            let id = diff_id.to_string();
            let digits = id.strip_prefix("sha256:").unwrap_or(&id);
            lines.bar("Loading layer", digits.get(..12).unwrap_or(digits), *current, *total);
        }
        Progress::Renamed { reference, old } => lines.text(&format!(
            "The image {reference} already exists, renaming the old one with ID {old} to empty \
             string\n"
        )),
        Progress::Loaded { reference } => lines.text(&format!("Loaded image: {reference}\n")),
        Progress::LoadedId { id } => lines.text(&format!("Loaded image ID: {id}\n")),
    }
}

/// `POST /images/create`: an import; a pull where there is a source to pull from.
pub(crate) fn create(images: &Arc<Images>, call: Call) -> Result<Reply, ApiError> {
    if let Some(source) = call.query.get("fromImage") {
        let name = named(source, call.query.get("tag"));
        return Err(ApiError::not_implemented(format!("pulling (here: {name}) from a registry")));
    }
    match call.query.get("fromSrc") {
        Some("-") => {}
        Some(_) => return Err(ApiError::not_implemented("importing from a URL")),
        None => return Err(ApiError::bad_request("one of fromImage and fromSrc is needed")),
    }
    let import = parse_import(&call.query)?;
    let images = Arc::clone(images);
    Ok(streamed(call, move |reader, lines| {
        let id = images.import(reader, &import)?;
        lines.status(&id.to_string());
        Ok(())
    }))
}

fn parse_import(query: &Query) -> Result<Import, ApiError> {
    let name = query.get("repo").map(|it| named(it, query.get("tag")));
    let platform = query.get("platform").map(str::parse::<Platform>).transpose();
    Ok(Import {
        name,
        message: query.get("message").unwrap_or_default().to_owned(),
        changes: query.all("changes").map(str::to_owned).collect(),
        platform: platform.map_err(|error: ImageError| ApiError::from(error))?,
    })
}

/// A repository and a tag, or a digest, as one name.
fn named(repository: &str, tag: Option<&str>) -> String {
    match tag {
        None => repository.to_owned(),
        Some(digest) if digest.contains(':') => format!("{repository}@{digest}"),
        Some(tag) => format!("{repository}:{tag}"),
    }
}

/// Answers with lines that `work`, on the blocking pool, tells about the body it reads.
fn streamed(
    call: Call,
    work: impl FnOnce(&mut Upload, &Lines) -> Result<(), ImageError> + Send + 'static,
) -> Reply {
    let (sender, reply) = Reply::stream("application/json");
    let (carry, mut reader) = upload(call.body);
    // Not awaited: the answer begins now, and its end is the end of the lines.
    drop(spawn_blocking(move || {
        let lines = Lines::new(sender);
        if let Err(error) = work(&mut reader, &lines) {
            let error = ApiError::from(error).to_string();
            drop(io::copy(&mut reader.take(MAX_DROPPED), &mut io::sink()));
            lines.failure(&error);
        }
    }));
    reply.fed_by(carry)
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let died = |_| ApiError::Died { operation: "an operation on images".to_owned() };
    spawn_blocking(work).await.map_err(died)?
}
