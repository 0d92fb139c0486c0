//! `create`: makes a container, and pulls its image first if need be.

use std::{fs, io::Write as _, path::Path};

use serde::Deserialize;

use crate::{
    client::{Client, Request},
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    grammar::Flags,
    options::{Options, Plan, Pull, table},
    output, progress,
    reference::Reference,
};

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Create a new container",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    arity: Arity::AtLeast(1),
    flags: &[
        table::CONTAINER,
        table::PROCESS,
        table::HEALTH,
        table::PRIVILEGES,
        table::RESOURCES,
        table::FILES,
        table::NETWORK,
        table::REFUSED,
    ],
    placement: Flags::First,
    failed: 125,
    run: |cx, options, arguments| Box::pin(run(cx, options, arguments)),
};

async fn run(cx: &Context, options: Options, arguments: Vec<String>) -> Result<u8, Failure> {
    let plan = options.finish(arguments)?;
    let client = cx.client()?;
    let id = create(&client, &plan).await?;
    output::line(&id).map(|()| 0)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

/// Creates the container of `plan` and returns its ID.
pub(crate) async fn create(client: &Client, plan: &Plan) -> Result<String, Failure> {
    let cidfile = plan.cidfile.as_deref().map(Path::new).map(CidFile::open).transpose()?;
    let image = plan.body.image.as_deref().unwrap_or_default();
    if plan.pull == Pull::Always {
        pull(client, plan, image).await?;
    }
    let created = match request(client, plan).await {
        Err(failure) if missing(&failure) && plan.pull == Pull::Missing => {
            output::note(&format!("Unable to find image '{}' locally", Reference::familiar(image)));
            pull(client, plan, image).await?;
            request(client, plan).await?
        }
        other => other?,
    };
    for warning in created.warnings.unwrap_or_default() {
        output::note(&format!("WARNING: {warning}"));
    }
    if let Some(cidfile) = cidfile {
        cidfile.write(&created.id)?;
    }
    Ok(created.id)
}

async fn request(client: &Client, plan: &Plan) -> Result<Created, Failure> {
    let request = Request::post(&["containers", "create"])
        .query_some("name", plan.name.as_deref())
        .query_some("platform", plan.platform.as_deref())
        .json(&plan.body);
    client.json(request).await
}

/// Whether the daemon lacks the image, rather than anything else.
fn missing(failure: &Failure) -> bool {
    matches!(failure, Failure::Daemon { status: 404, message } if message.contains("No such image")
        || message.contains("no such image"))
}

async fn pull(client: &Client, plan: &Plan, image: &str) -> Result<(), Failure> {
    let (name, tag) = Reference::split(image);
    let request = Request::post(&["images", "create"])
        .query("fromImage", name)
        .query("tag", tag.unwrap_or("latest"))
        .query_some("platform", plan.platform.as_deref());
    let pending = client.open(request).await?;
    // Standard output belongs to the container.
    progress::show(pending, plan.quiet, progress::To::Stderr).await
}

/// The file that gets the container's ID; removed again if there is no container.
struct CidFile<'a> {
    path: &'a Path,
    file: Option<fs::File>,
}

impl<'a> CidFile<'a> {
    fn open(path: &'a Path) -> Result<Self, Failure> {
        match fs::File::create_new(path) {
            Ok(file) => Ok(Self { path, file: Some(file) }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Failure::refused(format!(
                    "container ID file found, make sure the other container isn't running or \
                     delete {}",
                    path.display()
                )))
            }
            Err(source) => {
                let path = path.to_owned();
                Err(Failure::File { action: "create the container ID file", path, source })
            }
        }
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        file.write_all(id.as_bytes()).map_err(|source| {
            let path = self.path.to_owned();
            Failure::File { action: "write the container ID file", path, source }
        })
    }
}

impl Drop for CidFile<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            // An empty file that stays behind is told by the next create.
            drop(fs::remove_file(self.path));
        }
    }
}
