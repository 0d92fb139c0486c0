//! Creating a container: checking, merging the image's defaults in, writing down.
//!
//! **Invariant:** what is told to be created is durable. What a crash leaves of a creation that
//! was cut off (a directory without a record) is swept at the next start.

use std::sync::Arc;

use jiff::Timestamp;
use wadah_oci::{ContainerId, ContainerName};

use super::{
    ask::{Create, Created},
    container::Container,
    names,
    registry::NameHold,
    shared::Shared,
    validate,
};
use crate::{
    EngineError,
    config::{Config, HostConfig, NetworkMode, PidMode},
    images::Defaults,
    record::{Definition, Record},
};

/// How many names are made up before giving up.
const ATTEMPTS: u32 = 32;

impl Shared {
    pub(super) async fn create(self: Arc<Self>, create: Create) -> Result<Created, EngineError> {
        let Create { name, mut config, mut host, endpoints, platform: _ } = create;
        validate::check(&config, &host)?;
        for (network, endpoint) in &endpoints {
            validate::check_endpoint(network, endpoint)?;
        }
        self.name_joined(&mut host);
        let image = self.images.resolve(&config.image)?;
        let layers = self.images.hold(&image.layers);
        let mut warnings = Vec::new();
        merge(&mut config, &image.config.defaults, &mut warnings)?;
        let command = command(&config)?;
        let id = ContainerId::from_bytes(names::random()?);
        let hold = self.hold_name(name.as_deref(), &id)?;
        let definition = Definition {
            id: id.clone(),
            created: Timestamp::now(),
            image: image.id,
            layers: image.layers.clone(),
            config: Arc::new(config),
            host: Arc::new(host),
            endpoints,
            command,
        };
        let name = hold.name().clone();
        let definition = Arc::new(definition);
        let record = Record {
            definition,
            name,
            last: None,
            running_since: None,
            stopped: false,
            restarts: 0,
        };
        self.write_new(record.clone()).await?;
        let container = Arc::new(Container::new(record, layers));
        self.registry.add(Arc::clone(&container), hold);
        self.tell(&container, "create", &[]);
        Ok(Created { id, warnings })
    }

    /// Names the containers whose namespaces are joined by their ids. As in Docker, one that does
    /// not exist fails the start, not the creation.
    fn name_joined(&self, host: &mut HostConfig) {
        let name = |reference: &mut String| {
            if let Ok(found) = self.registry.find(reference) {
                *reference = found.id().to_string();
            }
        };
        if let NetworkMode::Container(reference) = &mut host.network_mode {
            name(reference);
        }
        if let PidMode::Container(reference) = &mut host.pid_mode {
            name(reference);
        }
    }

    fn hold_name(&self, asked: Option<&str>, id: &ContainerId) -> Result<NameHold, EngineError> {
        if let Some(asked) = asked.filter(|it| !it.is_empty()) {
            let name: ContainerName =
                asked.parse().map_err(|it| EngineError::invalid(format!("{it}")))?;
            return self.registry.hold(name, id);
        }
        let mut attempt = 0;
        loop {
            let held = self.registry.hold(names::made_up(attempt)?, id);
            attempt += 1;
            if held.is_ok() || attempt == ATTEMPTS {
                return held;
            }
        }
    }

    /// Makes the container's directories, and then its record; neither, if one fails.
    async fn write_new(self: &Arc<Self>, record: Record) -> Result<(), EngineError> {
        let shared = Arc::clone(self);
        let written = move || {
            let id = &record.definition.id;
            let operation = || format!("cannot create container {id}");
            let containers = &shared.store.containers;
            let made =
                containers.create(id).map_err(|it| EngineError::mechanism(operation(), it))?;
            let matched = match record.definition.layers.last() {
                Some(top) => made.match_root(&shared.store.layers.path(top)),
                None => Ok(()),
            };
            let written = matched
                .map_err(|it| EngineError::mechanism(operation(), it))
                .and_then(|()| shared.put(&record));
            if written.is_err()
                && let Err(error) = containers.remove(id)
            {
                tracing::warn!(%id, %error, "what is left of a failed creation stays");
            }
            written
        };
        self.tasks.block(written).await
    }
}

/// Merges an image's defaults into what was asked for.
fn merge(
    config: &mut Config,
    image: &Defaults,
    warnings: &mut Vec<String>,
) -> Result<(), EngineError> {
    let take = |into: &mut String, from: &str| {
        if into.is_empty() {
            from.clone_into(into);
        }
    };
    take(&mut config.user, &image.user);
    take(&mut config.working_dir, &image.working_dir);
    merge_command(config, image);
    let asked = std::mem::take(&mut config.env);
    config.env.clone_from(&image.env);
    for variable in &asked {
        crate::spec::process::set_variable(&mut config.env, variable);
    }
    for (name, value) in &image.labels {
        config.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for port in &image.exposed_ports {
        config.exposed_ports.insert(port.parse()?);
    }
    if config.stop_signal.is_none() && !image.stop_signal.is_empty() {
        config.stop_signal = Some(image.stop_signal.clone());
    }
    config.stop_timeout = config.stop_timeout.or(image.stop_timeout);
    for volume in &image.volumes {
        warnings.push(format!(
            "the image declares a volume at {volume}: volumes are not supported yet, and what is \
             written there is removed with the container"
        ));
    }
    Ok(())
}

/// As Docker has it: an entrypoint that was asked for drops the image's command, too.
fn merge_command(config: &mut Config, image: &Defaults) {
    let is_reset = |it: &[String]| it.is_empty() || it == [String::new()];
    let has_command = config.command.as_ref().is_some_and(|it| !it.is_empty());
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if !has_command {
            config.command = Some(image.cmd.clone()).filter(|it| !it.is_empty());
        }
        if config.entrypoint.is_none() {
            config.entrypoint = Some(image.entrypoint.clone()).filter(|it| !it.is_empty());
        }
    } else if config.entrypoint.as_deref().is_some_and(is_reset) {
        // One empty string: the image's entrypoint is taken away, and its command stays away.
        config.entrypoint = None;
    }
}

fn command(config: &Config) -> Result<Vec<String>, EngineError> {
    let entrypoint = config.entrypoint.iter().flatten();
    let command: Vec<_> = entrypoint.chain(config.command.iter().flatten()).cloned().collect();
    match command.first() {
        None => Err(EngineError::invalid("no command specified")),
        Some(_) if command.iter().any(|it| it.contains('\0')) => {
            Err(EngineError::invalid("an argument of the command contains a NUL"))
        }
        Some(_) => Ok(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(entrypoint: Option<&[&str]>, asked: Option<&[&str]>) -> Vec<String> {
        let owned = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let image = Defaults {
            entrypoint: vec!["/entry".to_owned()],
            cmd: vec!["default".to_owned()],
            ..Defaults::default()
        };
        let (entrypoint, command) = (entrypoint.map(owned), asked.map(owned));
        let mut config = Config { entrypoint, command, ..Config::default() };
        merge(&mut config, &image, &mut Vec::new()).unwrap();
        super::command(&config).unwrap_or_default()
    }

    #[test]
    fn commands_and_entrypoints_combine_as_in_docker() {
        assert_eq!(merged(None, None), ["/entry", "default"]);
        assert_eq!(merged(None, Some(&["mine"])), ["/entry", "mine"]);
        assert_eq!(merged(Some(&["/bin/sh"]), None), ["/bin/sh"]);
        assert_eq!(merged(Some(&[""]), Some(&["mine"])), ["mine"]);
        assert!(merged(Some(&[""]), None).is_empty());
    }

    #[test]
    fn what_is_asked_for_goes_over_the_image() {
        let image = Defaults {
            env: vec!["A=image".to_owned(), "B=image".to_owned()],
            user: "www".to_owned(),
            working_dir: "/srv".to_owned(),
            ..Defaults::default()
        };
        let env = vec!["A=mine".to_owned()];
        let mut config = Config { env, user: "root".to_owned(), ..Config::default() };
        merge(&mut config, &image, &mut Vec::new()).unwrap();
        assert_eq!(config.env, ["A=mine", "B=image"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("root", "/srv"));
    }
}
