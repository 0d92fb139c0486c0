//! `tag`: gives an image a further name.

use super::verbs::Plain;
use crate::{
    client::{Request, image},
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    grammar::Flags,
    reference::Reference,
};

pub(crate) static COMMAND: Command<Plain> = Command {
    about: "Give an image a further name",
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    arity: Arity::Exactly(2),
    flags: &[],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, Plain, arguments| Box::pin(tag(cx, arguments)),
};

async fn tag(cx: &Context, arguments: Vec<String>) -> Result<u8, Failure> {
    let [source, target] = [arguments[0].as_str(), arguments[1].as_str()];
    if target.contains('@') {
        return Err(Failure::refused("refusing to create a tag with a digest reference"));
    }
    if source.is_empty() || target.is_empty() {
        return Err(Failure::refused("invalid reference format"));
    }
    let (repository, tag) = Reference::split(target);
    let request = Request::post(&image(source, "tag"))
        .query("repo", repository)
        .query("tag", tag.unwrap_or("latest"));
    cx.client()?.unit(request).await.map(|()| 0)
}
